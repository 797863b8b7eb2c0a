//! An experiment whose panics are told and not reported: node code that panics is a violation, and a panic while a world is
//! built is a mistake of the lab.

use scenarios::lab::experiment::LabExperiment;
use sim_core::{
    plan::Plan,
    record::{Recording, RecordingLevel},
    search::{Experiment, Failure, shrink::Hints},
};

use crate::panics::caught;

/// See the module.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Quiet<'a>(pub(crate) &'a LabExperiment<'a>);

impl Quiet<'_> {
    fn told<T>(&self, what: &str, result: Result<Result<T, String>, String>) -> Result<T, String> {
        let (lab, variant) = (self.0.lab().name(), self.0.variant());
        result.unwrap_or_else(|message| {
            Err(format!("the lab `{lab}` panicked while it {what} `{variant}`: {message}"))
        })
    }
}

impl Experiment for Quiet<'_> {
    fn plan(&self, seed: u64) -> Result<Plan, String> {
        self.told("set up", caught(|| self.0.plan(seed)))
    }
    fn run(&self, plan: &Plan, level: RecordingLevel) -> Result<Recording, String> {
        self.told("set up", caught(|| self.0.run(plan, level)))
    }
    fn judge(&self, recording: &Recording) -> Vec<Failure> {
        self.0.judge(recording)
    }
    fn level(&self) -> RecordingLevel {
        self.0.level()
    }
    fn figures(&self, recording: &Recording) -> Vec<(String, f64)> {
        self.0.figures(recording)
    }
    fn assess(&self, recording: &Recording) -> (Vec<Failure>, Vec<(String, f64)>) {
        self.0.assess(recording)
    }
    fn hints(&self) -> Hints {
        self.0.hints()
    }
}
