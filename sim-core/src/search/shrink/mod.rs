//! Makes a failing plan small: the fewest faults, operations, nodes and fixed deliveries with which it still fails.
//!
//! A candidate counts only if it fails in the same way: the same property, kind and roles of witnesses (the guard against
//! slipping to another bug). Things are taken away in this order, again and again until nothing more goes: whole kinds of
//! faults, single faults, operations, servers; then times and seeds are drawn anew around what is left, which finds
//! plans that taking away alone cannot reach; then the network's chance is replaced by the fewest explicit deliveries, knobs
//! go to their defaults, times become round, and the end moves to the failure. Delta debugging after Zeller and
//! Hildebrandt (2002); the order after Scott et al., Minimizing faulty executions of distributed systems (NSDI 2016).
//!
//! Candidates are tried in batches on all cores, and the first of a batch that fails is taken: the result is the same for
//! any number of workers.

mod mutate;
mod reduce;
mod story;

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::{ControlFlow, RangeInclusive},
};

use serde::{Deserialize, Serialize};

pub use story::story;

use super::{Experiment, Failure, sweep::on_all_cores};
use crate::{
    plan::{Draws, Plan},
    record::{Fate, Recording, RecordingLevel},
    time::{Duration, ms, secs},
};

/// What a shrinker must know of an experiment.
#[derive(Clone, Debug, PartialEq)]
pub struct Hints {
    /// The service whose nodes are the servers: what is counted as nodes. Empty: all nodes.
    pub servers: String,
    /// The knob that says how many servers there are, where there is one, and the fewest that make sense.
    pub servers_knob: Option<(String, u64)>,
    /// The knobs' defaults: what a small plan has where it does not matter.
    pub defaults: toml::Table,
    /// How long faults may last, and when they may begin, when they are drawn anew.
    pub lasts: RangeInclusive<Duration>,
    /// When faults may begin, when they are drawn anew.
    pub within: RangeInclusive<Duration>,
}

impl Default for Hints {
    fn default() -> Self {
        Self {
            servers: String::new(),
            servers_knob: None,
            defaults: toml::Table::new(),
            lasts: ms(1)..=secs(2),
            within: Duration::ZERO..=secs(5),
        }
    }
}

/// How large a failing plan is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Size {
    /// Servers, no clients.
    pub nodes: u64,
    /// Entries of the plan, each with its end; and overrides that lose or double a message.
    pub faults: u64,
    /// Invocations by clients or operators.
    pub operations: u64,
    /// Messages whose delivery the plan must fix. While the network draws by chance: all that arrived.
    pub deliveries: u64,
}

impl std::fmt::Display for Size {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let counted = |n: u64, one: &str, many: &str| format!("{n} {}", if n == 1 { one } else { many });
        write!(
            f,
            "{}, {}, {}, {}",
            counted(self.nodes, "node", "nodes"),
            counted(self.faults, "fault", "faults"),
            counted(self.operations, "operation", "operations"),
            counted(self.deliveries, "delivery", "deliveries"),
        )
    }
}

impl Size {
    /// Counts a plan and its run.
    pub fn of(hints: &Hints, plan: &Plan, recording: &Recording) -> Self {
        let is_server = |service: &str| hints.servers.is_empty() || service == hints.servers;
        let mishaps = plan.overrides.iter().filter(|one| {
            one.fate.lost == Some(true)
                || one.fate.duplicated == Some(true)
                || one.fate.corrupted == Some(true)
        });
        let mishaps = mishaps.count() as u64;
        Self {
            nodes: recording.nodes.iter().filter(|node| is_server(&node.service)).count() as u64,
            faults: plan.faults.faults().len() as u64 + mishaps,
            operations: recording.operations.len() as u64,
            deliveries: if plan.draws == Draws::Median {
                plan.overrides.len() as u64 - mishaps
            } else {
                recording.messages.iter().filter(|m| matches!(m.fate, Fate::Arrived(_))).count() as u64
            },
        }
    }
}

/// What was taken away to see whether it matters, and what happened then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Needed {
    /// What.
    pub without: String,
    /// How the run ends without it.
    pub then: String,
}

/// A small failing plan.
#[derive(Clone, Debug)]
pub struct Shrunk {
    /// How it fails, as the first plan did.
    pub failure: Failure,
    /// The plan.
    pub plan: Plan,
    /// The size of the first plan, and of this one.
    pub before: Size,
    /// See `before`.
    pub after: Size,
    /// For each thing that was kept, what happens without it.
    pub certificate: Vec<Needed>,
    /// How many runs it took.
    pub executions: u64,
    /// A full recording of the small plan.
    pub recording: Recording,
}

/// Why a plan cannot be shrunk.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShrinkError {
    /// It does not fail at all.
    #[error("the plan does not fail: there is nothing to shrink")]
    NoFailure,
    /// It fails, but not as asked.
    #[error("the plan does not fail as asked: it fails by {0}")]
    OtherFailure(String),
    /// It cannot be run.
    #[error("{0}")]
    Run(String),
}

/// How much may be spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effort {
    /// Threads.
    pub workers: usize,
    /// Runs, at most; the certificate's are not counted.
    pub executions: u64,
    /// How many mutated candidates in a row may fail to fail before the search ends.
    pub patience: u64,
    /// Whether to replace the network's chance by explicit deliveries.
    pub deliveries: bool,
}

impl Default for Effort {
    fn default() -> Self {
        Self { workers: 1, executions: 20_000, patience: 600, deliveries: true }
    }
}

/// A run that fails as it should.
#[derive(Clone)]
struct Found {
    plan: Plan,
    failure: Failure,
    size: Size,
    /// Faults that changed nothing, by their place in the plan.
    idle: BTreeSet<usize>,
    /// Which operations each client made, by their numbers; empty where clients do not ask which they may make.
    operations: BTreeMap<String, BTreeSet<u64>>,
}

/// Runs candidates and says which fail as they should. Shared by the threads.
struct Judge<'a> {
    experiment: &'a dyn Experiment,
    hints: Hints,
    fingerprint: String,
    /// Whether clients ask which operations they may make: of those that do not, none can be taken away.
    clients_ask: bool,
}

impl Judge<'_> {
    fn found(&self, plan: Plan, recording: &Recording, failure: Failure) -> Found {
        let idle = recording.faults.iter().take(plan.faults.faults().len()).enumerate();
        let idle = idle.filter(|(_, fault)| !fault.had_effect()).map(|(index, _)| index).collect();
        let operations = plan.operations.clone().unwrap_or_else(|| {
            let mut all: BTreeMap<String, BTreeSet<u64>> = BTreeMap::new();
            for operation in recording.operations.iter().filter(|_| self.clients_ask) {
                let numbers = all.entry(recording.node_name(operation.node).to_owned()).or_default();
                numbers.insert(numbers.len() as u64 + 1);
            }
            all
        });
        Found { size: Size::of(&self.hints, &plan, recording), plan, failure, idle, operations }
    }
    /// Runs a candidate; gives it where it fails as it should.
    fn attempt(&self, plan: &Plan) -> Option<Found> {
        let recording = self.experiment.run(plan, self.experiment.level()).ok()?;
        let failures = self.experiment.judge(&recording);
        let failure = failures.into_iter().find(|one| one.fingerprint() == self.fingerprint)?;
        Some(self.found(plan.clone(), &recording, failure))
    }
}

struct Shrinker<'a> {
    judge: Judge<'a>,
    effort: Effort,
    executions: u64,
    /// Plans that were tried and did not fail as they should.
    refused: BTreeSet<[u8; 32]>,
}

/// Makes a failing plan small. `fingerprint`: which failure is meant, where the plan has several; the first one otherwise.
///
/// # Errors
/// When the plan does not fail, or not as asked.
pub fn shrink(
    experiment: &dyn Experiment,
    plan: &Plan,
    fingerprint: Option<&str>,
    effort: Effort,
) -> Result<Shrunk, ShrinkError> {
    let recording = experiment.run(plan, RecordingLevel::Full).map_err(ShrinkError::Run)?;
    let failures = experiment.judge(&recording);
    let failure = match fingerprint {
        None => failures.first().ok_or(ShrinkError::NoFailure)?,
        Some(wanted) => failures.iter().find(|one| one.fingerprint() == wanted).ok_or_else(|| {
            failures
                .first()
                .map_or(ShrinkError::NoFailure, |other| ShrinkError::OtherFailure(other.fingerprint()))
        })?,
    };
    let none = Plan { operations: Some(BTreeMap::new()), ..plan.clone() };
    let without = experiment.run(&none, experiment.level()).map_err(ShrinkError::Run)?.operations.len();
    let judge = Judge {
        experiment,
        hints: experiment.hints(),
        fingerprint: failure.fingerprint(),
        clients_ask: plan.operations.is_some() || without < recording.operations.len(),
    };
    let before = Size::of(&judge.hints, plan, &recording);
    let first = judge.found(plan.clone(), &recording, failure.clone());
    let mut shrinker = Shrinker { judge, effort, executions: 2, refused: BTreeSet::new() };
    let best = shrinker.as_small_as_it_gets(first);
    let executions = shrinker.executions;
    let certificate = shrinker.certificate(&best);
    let recording = experiment.run(&best.plan, RecordingLevel::Full).map_err(ShrinkError::Run)?;
    let after = Size::of(&shrinker.judge.hints, &best.plan, &recording);
    Ok(Shrunk { failure: best.failure, plan: best.plan, before, after, certificate, executions, recording })
}

impl Shrinker<'_> {
    fn is_spent(&self) -> bool {
        self.executions >= self.effort.executions
    }

    /// The first of these candidates, in their order, that fails as it should and that `better` likes. The same for any
    /// number of workers.
    fn first(&mut self, candidates: &[Plan], better: impl Fn(&Found) -> bool) -> Option<(usize, Found)> {
        if self.is_spent() {
            return None;
        }
        let mut fresh: Vec<(usize, [u8; 32])> = Vec::new();
        let mut seen = BTreeSet::new();
        for (index, plan) in candidates.iter().enumerate() {
            let key = *blake3::hash(plan.to_toml().as_bytes()).as_bytes();
            if !self.refused.contains(&key) && seen.insert(key) {
                fresh.push((index, key));
            }
        }
        let mut winners: BTreeMap<usize, Found> = BTreeMap::new();
        let mut done = BTreeSet::new();
        let mut complete = 0;
        let judge = &self.judge;
        on_all_cores(
            &fresh,
            self.effort.workers,
            |(index, _)| judge.attempt(&candidates[*index]),
            |place, found| {
                if let Some(found) = found
                    && better(&found)
                {
                    winners.insert(place, found);
                }
                done.insert(place);
                while done.remove(&complete) {
                    complete += 1;
                }
                // All that come before the first winner are done: nobody can be earlier.
                if winners.keys().next().is_some_and(|&first| first < complete) {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            },
        );
        let winner = winners.into_iter().next();
        let failed = winner.as_ref().map_or(fresh.len(), |(place, _)| *place);
        self.executions += failed as u64 + u64::from(winner.is_some());
        self.refused.extend(fresh[..failed].iter().map(|(_, key)| *key));
        winner.map(|(place, found)| (fresh[place].0, found))
    }
}
