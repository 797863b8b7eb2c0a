//! What the command line asked for that is not the lab's own: knobs, faults, some of the variants, a plan from a file.
//!
//! It is said at the top of what is shown, stands in the documents, and belongs to every command that is suggested next:
//! without it "another seed" would be another experiment.

use std::path::PathBuf;

use scenarios::lab::{LabEntry, knobs::shown};
use serde::Serialize;
use serde_json::{Map, Value};
use sim_core::plan::Plan;

use crate::delivery::quoted;

/// See the module.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asked {
    /// The variants that were named; none means all.
    pub(crate) variants: Vec<String>,
    /// `--set`, as it was written.
    pub(crate) set: Vec<String>,
    /// `--faults`.
    pub(crate) faults_from: Option<PathBuf>,
    /// The plan that is replayed.
    pub(crate) plan_from: Option<PathBuf>,
}

/// The part of the documents that says how runs differ from the lab's own: the same in all documents of a command.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(crate) struct AskedDocument {
    /// The knobs that were set for all variants, each as one would write it after `=`.
    pub(crate) set: Map<String, Value>,
    /// The file of faults that replaced the lab's own.
    pub(crate) faults_from: Option<String>,
    /// The plan that was replayed.
    pub(crate) plan_from: Option<String>,
}

impl Asked {
    /// The knobs that were set, with their values in the plan; one that was set twice has the last.
    pub(crate) fn knobs(&self, plan: Option<&Plan>) -> Vec<(String, String)> {
        let mut knobs: Vec<(String, String)> = Vec::new();
        for name in self.set.iter().filter_map(|set| set.split_once('=')).map(|(name, _)| name.trim()) {
            if knobs.iter().all(|(known, _)| known != name) {
                let value = plan.and_then(|plan| plan.knobs.get(name));
                knobs.push((name.to_owned(), value.map_or_else(|| "none".to_owned(), shown)));
            }
        }
        knobs
    }
    pub(crate) fn document(&self, plan: Option<&Plan>) -> AskedDocument {
        let text = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
        AskedDocument {
            set: self.knobs(plan).into_iter().map(|(name, value)| (name, value.into())).collect(),
            faults_from: text(&self.faults_from),
            plan_from: text(&self.plan_from),
        }
    }
    /// The command that asks for the same under another seed. A plan has its seed in it.
    pub(crate) fn command(&self, lab: &LabEntry, seed: u64) -> String {
        if let Some(plan) = &self.plan_from {
            return format!("shaketable replay {}", quoted(&plan.display().to_string()));
        }
        let mut command = format!("shaketable scenario {} --seed {seed}", lab.name());
        let mut add = |option: &str, value: &str| command.push_str(&format!(" {option} {}", quoted(value)));
        self.variants.iter().for_each(|variant| add("--variant", variant));
        self.set.iter().for_each(|set| add("--set", set));
        self.faults_from.iter().for_each(|path| add("--faults", &path.display().to_string()));
        command
    }
}
