//! An experiment of one's own: a world, its faults, and what must hold.
//!
//! ```
//! use sim_core::{search::scenario::Scenario, time::{ms, secs}};
//!
//! let scenario = Scenario::new("a clock that ticks", secs(1), |_plan, sim| {
//!     sim.node("clock", async |node| {
//!         for _ in 0..10 {
//!             node.sleep(ms(10)).await;
//!             node.sometimes("it ticks", true);
//!         }
//!     });
//! });
//! scenario.seeds(0..10).assert_holds();
//! ```

use std::{ops::Range, sync::Arc};

use super::{Experiment, Failure, failures, generate::Swarm, shrink::Hints, testing::Seeds};
use crate::{
    Sim,
    plan::Plan,
    record::{PropertyKind, Recording, RecordingLevel},
    rng::{Key, Rng},
    time::Duration,
};

type Build = dyn Fn(&Plan, &mut Sim) + Send + Sync;
type Knobs = dyn Fn(&mut Rng) -> toml::Table + Send + Sync;
type Judge = dyn Fn(&Recording) -> Vec<Failure> + Send + Sync;

/// See the module.
#[derive(Clone)]
pub struct Scenario {
    name: String,
    until: Duration,
    build: Arc<Build>,
    knobs: Option<Arc<Knobs>>,
    swarm: Option<Swarm>,
    judges: Vec<Arc<Judge>>,
    expected: Vec<(PropertyKind, String)>,
    hints: Hints,
    level: RecordingLevel,
}

impl Scenario {
    /// A world that lasts at most that long. The closure builds it from nothing but the plan's knobs; what the nodes'
    /// code draws, it draws from its own streams.
    pub fn new(name: &str, until: Duration, build: impl Fn(&Plan, &mut Sim) + Send + Sync + 'static) -> Self {
        Self {
            name: name.to_owned(),
            until,
            build: Arc::new(build),
            knobs: None,
            swarm: None,
            judges: Vec::new(),
            expected: Vec::new(),
            hints: Hints::default(),
            level: RecordingLevel::Essential,
        }
    }
    /// Knobs that are drawn for each seed; they stand in the plan, and a shrinker may set them to their defaults.
    pub fn knobs(mut self, draw: impl Fn(&mut Rng) -> toml::Table + Send + Sync + 'static) -> Self {
        self.knobs = Some(Arc::new(draw));
        self
    }
    /// Faults that are drawn for each seed.
    pub fn faults(mut self, swarm: Swarm) -> Self {
        if self.hints.servers.is_empty() {
            self.hints.servers.clone_from(&swarm.servers);
        }
        self.swarm = Some(swarm);
        self
    }
    /// One more judgement, besides the properties that the world checks itself.
    pub fn check(mut self, judge: impl Fn(&Recording) -> Vec<Failure> + Send + Sync + 'static) -> Self {
        self.judges.push(Arc::new(judge));
        self
    }
    /// A property that must be checked: an `always` or `eventually` that a run never comes to fails it, a `sometimes` that no
    /// run comes to was never reached.
    pub fn expect(mut self, kind: PropertyKind, statement: &str) -> Self {
        self.expected.push((kind, statement.to_owned()));
        self
    }
    /// What a shrinker must know.
    pub fn shrinking(mut self, hints: Hints) -> Self {
        self.hints = hints;
        self
    }
    /// How much must be recorded for the judgements.
    pub fn recording(mut self, level: RecordingLevel) -> Self {
        self.level = level;
        self
    }
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }
    /// Its nodes and their services, with the knobs as they are: for [`Swarm::draw`].
    pub fn roster(&self, plan: &Plan) -> Vec<(String, String)> {
        self.world(plan, RecordingLevel::Essential).roster()
    }
    /// A test over these seeds.
    pub fn seeds(&self, seeds: Range<u64>) -> Seeds<'_> {
        Seeds::new(self, seeds)
    }
    fn world(&self, plan: &Plan, level: RecordingLevel) -> Sim {
        let mut sim = Sim::new(plan, level);
        sim.stop_at_first_violation();
        for (kind, statement) in &self.expected {
            sim.expect_property(*kind, statement);
        }
        (self.build)(plan, &mut sim);
        sim
    }
}

impl Experiment for Scenario {
    fn plan(&self, seed: u64) -> Result<Plan, String> {
        let mut plan = Plan::new(&*self.name, seed, self.until);
        if let Some(draw) = &self.knobs {
            plan.knobs = draw(&mut Rng::new(&Key::root(seed).fork("knobs")));
        }
        if let Some(swarm) = &self.swarm {
            plan.faults = swarm.draw(seed, &self.roster(&plan));
        }
        Ok(plan)
    }
    fn run(&self, plan: &Plan, level: RecordingLevel) -> Result<Recording, String> {
        self.world(plan, level).run().map_err(|error| error.to_string())
    }
    fn judge(&self, recording: &Recording) -> Vec<Failure> {
        let mut found = failures(recording);
        for judge in &self.judges {
            found.extend(judge(recording));
        }
        found
    }
    fn level(&self) -> RecordingLevel {
        self.level
    }
    fn hints(&self) -> Hints {
        self.hints.clone()
    }
}
