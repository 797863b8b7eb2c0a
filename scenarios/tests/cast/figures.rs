//! Figures out of a recording, and short programs in a small world.

use std::sync::{Arc, Mutex, PoisonError};

use sim_core::{
    Node, NodeId, Sim,
    fault::{Fault, FaultKind, FaultPlan},
    net::Link,
    plan::Plan,
    record::{Ending, Recording, RecordingLevel},
    time::{Duration, us},
};

/// A world with links of 0.5 ms each way.
pub fn world(seed: u64, until: Duration) -> Sim {
    world_with(seed, until, FaultPlan::none())
}

/// The same, where something goes wrong.
pub fn world_with(seed: u64, until: Duration, faults: FaultPlan) -> Sim {
    let mut plan = Plan::new("cast", seed, until);
    plan.faults = faults;
    let mut sim = Sim::new(&plan, RecordingLevel::Full);
    sim.default_link(Link::constant(us(500)).ordered());
    sim
}

/// One fault on one node.
pub fn fault(at: Duration, lasts: Duration, what: FaultKind, on: &str) -> FaultPlan {
    FaultPlan::none().with(Fault::at(at, "the fault", what).on(on).lasting(lasts))
}

/// Runs the world; a panic in it is a panic of the test.
pub fn run(sim: Sim) -> Recording {
    let recording = sim.run().expect("the plan is sound");
    if let Ending::Panicked { node, message } = &recording.ending {
        panic!("{node}: {message}");
    }
    recording
}

/// What nodes noted, in order, each with the time in whole microseconds.
#[derive(Clone, Default)]
pub struct Notes(Arc<Mutex<Vec<(u64, String)>>>);

impl Notes {
    pub fn write(&self, node: &Node, text: impl Into<String>) {
        let now = node.observer().now().as_nanos() / 1_000;
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((now, text.into()));
    }
    pub fn all(&self) -> Vec<(u64, String)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
    pub fn texts(&self) -> Vec<String> {
        self.all().into_iter().map(|(_, text)| text).collect()
    }
}

/// A node that runs a short program once.
pub fn program(sim: &mut Sim, name: &str, code: impl AsyncFn(Node) + Send + 'static) -> NodeId {
    sim.node(name, code)
}

/// All points of a metric, over all nodes, in order of time.
pub fn points(recording: &Recording, metric: &str) -> Vec<(f64, f64)> {
    let series = recording.metrics.iter().filter(|s| recording.text(s.name) == metric);
    let mut points: Vec<(f64, f64)> =
        series.flat_map(|s| &s.points).map(|p| (p.at.as_secs_f64(), p.value)).collect();
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    points
}

/// The sum of a counter.
pub fn count(recording: &Recording, metric: &str) -> f64 {
    points(recording, metric).iter().map(|(_, value)| value).sum()
}

/// The highest level of a gauge (of one node).
pub fn peak(recording: &Recording, metric: &str) -> f64 {
    points(recording, metric).iter().map(|(_, value)| *value).fold(0.0, f64::max)
}

/// The level of a gauge at the end (of one node).
pub fn last(recording: &Recording, metric: &str) -> f64 {
    points(recording, metric).last().map_or(f64::NAN, |(_, value)| *value)
}

/// The observations of a histogram, sorted.
pub fn sorted(recording: &Recording, metric: &str) -> Vec<f64> {
    let mut values: Vec<f64> = points(recording, metric).iter().map(|(_, value)| *value).collect();
    values.sort_by(f64::total_cmp);
    values
}

/// The observation that a share `p` is not above.
pub fn quantile(sorted: &[f64], p: f64) -> f64 {
    sorted[((sorted.len() as f64 * p).ceil() as usize).clamp(1, sorted.len()) - 1]
}

pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Whether two numbers are alike, up to a share of the second.
#[track_caller]
pub fn assert_near(measured: f64, expected: f64, share: f64) {
    assert!((measured - expected).abs() <= share * expected, "measured {measured}, expected {expected}");
}
