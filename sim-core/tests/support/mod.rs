//! What the tests of the world share: a log of what nodes did and when, and short ways to build and run a world.
//!
//! The log is the observer's: nodes write to it, none of them reads it.
#![allow(dead_code, reason = "each test binary uses a part of it")]

pub mod busy;

use std::sync::{Arc, Mutex};

use sim_core::{
    Node, NodeSpec, Sim,
    fault::FaultPlan,
    plan::Plan,
    record::{Ending, Recording, RecordingLevel},
    time::{Duration, secs},
};

/// What happened, each entry with its true time.
#[derive(Clone, Default)]
pub struct Log {
    entries: Arc<Mutex<Vec<(Duration, String)>>>,
}

impl Log {
    pub fn new() -> Self {
        Self::default()
    }
    /// Notes something, now.
    pub fn note(&self, node: &Node, what: impl Into<String>) {
        let at = node.observer().now().since_start();
        self.entries.lock().unwrap().push((at, what.into()));
    }
    /// Notes something without a time.
    pub fn say(&self, what: impl Into<String>) {
        self.entries.lock().unwrap().push((Duration::ZERO, what.into()));
    }
    /// `20ms job 1`, in order.
    pub fn lines(&self) -> Vec<String> {
        self.entries.lock().unwrap().iter().map(|(at, what)| format!("{at} {what}")).collect()
    }
    /// What was noted, without times.
    pub fn texts(&self) -> Vec<String> {
        self.entries.lock().unwrap().iter().map(|(_, what)| what.clone()).collect()
    }
    /// How many entries say this.
    pub fn count(&self, what: &str) -> usize {
        self.entries.lock().unwrap().iter().filter(|(_, text)| text == what).count()
    }
}

/// A plan of ten seconds with these faults.
pub fn plan(faults: FaultPlan) -> Plan {
    Plan::new("test", 1, secs(10)).with_faults(faults)
}
/// An empty world for ten seconds without faults.
pub fn world() -> Sim {
    Sim::new(&plan(FaultPlan::none()), RecordingLevel::Full)
}
/// An empty world for ten seconds with these faults.
pub fn world_with(faults: FaultPlan) -> Sim {
    Sim::new(&plan(faults), RecordingLevel::Full)
}

/// Runs a world in which nothing panics.
pub fn run(sim: Sim) -> Recording {
    let recording = sim.run().expect("the plan names nobody unknown");
    assert!(!matches!(recording.ending, Ending::Panicked { .. }), "{:?}", recording.ending);
    recording
}

/// Runs one node alone and gives what it noted.
pub fn alone(
    spec: impl Into<NodeSpec>,
    faults: FaultPlan,
    code: impl AsyncFn(Node, Log) + Send + 'static,
) -> Vec<String> {
    let log = Log::new();
    let mut sim = world_with(faults);
    let noted = log.clone();
    sim.node(spec, async move |node| code(node, noted.clone()).await);
    run(sim);
    log.lines()
}

/// Each state change as `node key=value`, in order.
pub fn states(recording: &Recording) -> Vec<String> {
    let text = |state: &sim_core::record::StateChange| {
        format!(
            "{} {} {}={}",
            state.at.since_start(),
            recording.node_name(state.node),
            recording.text(state.key),
            recording.text(state.value)
        )
    };
    recording.states.iter().map(text).collect()
}

/// How the run ended, where a panic ended it: the node and the message.
pub fn panicked(recording: &Recording) -> Option<(&str, &str)> {
    match &recording.ending {
        Ending::Panicked { node, message } => Some((node, message)),
        _ => None,
    }
}
