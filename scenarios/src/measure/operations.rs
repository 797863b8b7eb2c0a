//! Operations: what clients asked for, and what became of it.

use sim_core::{
    record::{Operation, OperationOutcome},
    time::SimTime,
};

use super::{Measure, MeasureError, Measures, Recorded, Run, Sample, Times, Unit};

/// Some of a run's operations, in order of invocation.
#[derive(Clone)]
pub struct Operations<'a> {
    run: Run<'a>,
    label: String,
    chosen: Result<Vec<&'a Operation>, MeasureError>,
}

/// One operation, with its texts.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct OperationView<'a> {
    /// The record itself.
    pub operation: &'a Operation,
    /// The node that invoked it.
    pub node: &'a str,
    /// `read`, `write`, ...
    pub function: &'a str,
    /// The object, empty where there is only one.
    pub key: &'a str,
    /// The input, as JSON text.
    pub input: &'a str,
    /// The output as JSON text where it is ok, the reason where it failed or is unknown, empty while it is pending.
    pub output: &'a str,
}

impl<'a> Operations<'a> {
    pub(super) fn new(run: &Run<'a>, function: Option<&str>) -> Self {
        let asked = function.unwrap_or("operation");
        let find = || {
            run.problem()?;
            let all = &run.recording().operations;
            let name = function.map(|text| run.name(text));
            let is = |one: &&Operation| name.is_none_or(|name| Some(one.function) == name);
            if !all.iter().any(|one| is(&one)) {
                return Err(run.missing(Recorded::Operation, asked));
            }
            Ok(all
                .iter()
                .filter(is)
                .filter(|one| run.has_time(one.invoked) && run.has_node(one.node))
                .collect())
        };
        Self { run: run.clone(), label: asked.to_owned(), chosen: find() }
    }
    /// Those for which this is true.
    pub fn only(mut self, keep: impl Fn(&OperationView<'a>) -> bool) -> Self {
        let run = self.run.clone();
        self.chosen = self.chosen.map(|all| all.into_iter().filter(|&one| keep(&view(&run, one))).collect());
        self
    }
    /// Those on one object.
    pub fn key(self, key: &str) -> Self {
        self.only(|one| one.key == key)
    }
    /// Those that happened.
    pub fn ok(self) -> Self {
        self.only(|one| matches!(one.operation.outcome, OperationOutcome::Ok(_)))
    }
    /// Those that certainly did not happen.
    pub fn failed(self) -> Self {
        self.only(|one| matches!(one.operation.outcome, OperationOutcome::Fail(_)))
    }
    /// Those that may have happened.
    pub fn unknown(self) -> Self {
        self.only(|one| matches!(one.operation.outcome, OperationOutcome::Unknown(_)))
    }
    /// Those that had not ended when the run did.
    pub fn pending(self) -> Self {
        self.only(|one| one.operation.outcome == OperationOutcome::Pending)
    }
    /// How many there are. Zero is an answer.
    pub fn count(&self) -> Measure {
        let count = self.chosen.as_ref().map(|all| all.len() as f64).map_err(Clone::clone);
        Measure::from_result(format!("count of {}", self.label), Unit::Number, count)
    }
    /// When they were invoked.
    pub fn times(&self) -> Times {
        let at =
            self.chosen.as_ref().map(|all| all.iter().map(|one| one.invoked).collect()).map_err(Clone::clone);
        Times::new(self.label.clone(), at)
    }
    /// From invocation to completion, of those that ended.
    pub fn latencies(&self) -> Measures {
        let samples = self.chosen.as_ref().map_err(Clone::clone).map(|all| {
            let ended = all.iter().filter(|one| one.completed != SimTime::MAX);
            ended
                .map(|one| Sample {
                    started: one.invoked,
                    at: one.completed,
                    value: one.completed.since(one.invoked).as_secs_f64(),
                })
                .collect()
        });
        Measures::new(format!("{} latency", self.label), Unit::Seconds, samples)
    }
    /// The operations, one by one.
    ///
    /// # Errors
    /// When the run never recorded any.
    pub fn list(&self) -> Result<Vec<OperationView<'a>>, MeasureError> {
        Ok(self.chosen.as_ref().map_err(Clone::clone)?.iter().map(|&one| view(&self.run, one)).collect())
    }
}

fn view<'a>(run: &Run<'a>, operation: &'a Operation) -> OperationView<'a> {
    let recording = run.recording();
    let output = match operation.outcome {
        OperationOutcome::Pending => "",
        OperationOutcome::Ok(text) | OperationOutcome::Fail(text) | OperationOutcome::Unknown(text) => {
            recording.text(text)
        }
    };
    OperationView {
        operation,
        node: recording.node_name(operation.node),
        function: recording.text(operation.function),
        key: recording.text(operation.key),
        input: recording.text(operation.input),
        output,
    }
}
