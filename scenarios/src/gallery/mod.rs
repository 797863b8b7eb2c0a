//! The gallery of known bugs: documented bugs of real protocols, each a switch, with the campaign that finds it.
//!
//! A campaign is a scenario with wide ranges, drawn for each seed: no planted seed, time, target or order. It fixes the kinds
//! of faults that are armed and the ranges of the knobs. Each bug has a twin: the same campaign with the switch off.
//! The command `bugs` finds each, shrinks it, and shows that the twin survives.

mod cluster;
mod properties;
mod raft;

use std::ops::ControlFlow;

use sim_core::search::{
    Experiment, Failure,
    scenario::Scenario,
    shrink::{Effort, Shrunk, Size, shrink},
    sweep::{first_failure, sweep},
};

pub use cluster::{FRESH_READS, Knobs, ONCE, World};

/// A known bug.
#[derive(Clone, Copy)]
pub struct Bug {
    /// Its number in the gallery.
    pub number: u32,
    /// The protocol.
    pub protocol: &'static str,
    /// What is wrong.
    pub title: &'static str,
    /// Where it was described.
    pub source: &'static str,
    /// The property that it violates.
    pub property: &'static str,
    /// The smallest plan that is known: nodes, faults, operations.
    pub target: Size,
    campaign: fn(bool) -> Scenario,
}

impl Bug {
    /// The campaign, on the broken protocol.
    pub fn campaign(&self) -> Scenario {
        (self.campaign)(true)
    }
    /// The same campaign, on the fixed one.
    pub fn twin(&self) -> Scenario {
        (self.campaign)(false)
    }
    /// Whether a plan is as small as it should be: nodes, faults and operations at most one and a half times the target.
    pub fn is_small(&self, size: &Size) -> bool {
        let bar = |target: u64| (3 * target).div_ceil(2);
        size.nodes <= bar(self.target.nodes)
            && size.faults <= bar(self.target.faults)
            && size.operations <= bar(self.target.operations)
    }
}

/// All of them, by number.
pub fn bugs() -> Vec<Bug> {
    raft::bugs()
}

/// What came of looking for a bug.
#[derive(Clone, Debug)]
pub struct Hunted {
    /// Runs in order of seeds, up to and including the first failure.
    pub runs: u64,
    /// The seed whose plan became the smallest.
    pub seed: u64,
    /// The smallest failing plan that was found, with everything about it.
    pub shrunk: Shrunk,
    /// How many failing seeds were shrunk to find it.
    pub shrunk_seeds: u64,
    /// Seeds under which the twin ran, and the shrunk plan.
    pub twin_runs: u64,
    /// In how many of them anything failed.
    pub twin_failures: u64,
    /// How many things the shrunk plan's faults touched when the twin ran it; a plan without faults touches nothing.
    pub twin_touched: u64,
}

/// How long a hunt may go on.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// The first seed.
    pub from_seed: u64,
    /// Threads.
    pub workers: usize,
    /// Runs until the first failure, at most.
    pub runs: u64,
    /// Seeds under which the twin must survive.
    pub twin_seeds: u64,
    /// Failing seeds that are shrunk, at most: one alone often gets stuck.
    pub shrunk_seeds: u64,
    /// Runs of all shrinking together, about.
    pub executions: u64,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            from_seed: 0,
            workers: 1,
            runs: 20_000,
            twin_seeds: 2_000,
            shrunk_seeds: 20,
            executions: 40_000,
        }
    }
}

impl Bug {
    /// Looks for the bug from fresh seeds, shrinks failing seeds and keeps the smallest, and lets the twin run the same plan
    /// and further seeds.
    ///
    /// # Errors
    /// A sentence, where it is not found within the patience.
    pub fn hunt(&self, patience: Patience) -> Result<Hunted, String> {
        let (broken, twin) = (self.campaign(), self.twin());
        let last = patience.from_seed + patience.runs;
        let seeds: Vec<u64> = (patience.from_seed..last).collect();
        let is_meant = |failure: &Failure| failure.property == self.property;
        let (runs, first) = first_failure(&broken, &seeds, patience.workers, is_meant);
        let first = first.ok_or_else(|| {
            format!("bug {} ({}) was not found within {} runs", self.number, self.title, patience.runs)
        })?;
        let fingerprint =
            first.failures.iter().find(|one| is_meant(one)).map(Failure::fingerprint).unwrap_or_default();
        let effort = |left: u64| Effort {
            workers: patience.workers,
            executions: left,
            patience: 2_500,
            deliveries: false,
        };
        let mut spent = 0;
        let mut shrunk_seeds = 0;
        let mut best: Option<(u64, Shrunk)> = None;
        let mut next = Some(first.seed);
        while let Some(seed) = next {
            let left = patience.executions.saturating_sub(spent);
            let small = shrink(&broken, &broken.plan(seed)?, Some(&fingerprint), effort(left.max(1)))
                .map_err(|error| error.to_string())?;
            spent += small.executions;
            shrunk_seeds += 1;
            if best.as_ref().is_none_or(|(_, best)| weight(&small.after) < weight(&best.after)) {
                best = Some((seed, small));
            }
            let done = best.as_ref().is_some_and(|(_, best)| self.is_at_target(&best.after));
            if done || shrunk_seeds >= patience.shrunk_seeds || spent >= patience.executions {
                break;
            }
            let rest: Vec<u64> = (seed + 1..last).collect();
            let same = |failure: &Failure| failure.fingerprint() == fingerprint;
            let (more, trial) = first_failure(&broken, &rest, patience.workers, same);
            spent += more;
            next = trial.map(|trial| trial.seed);
        }
        let (seed, small) = best.ok_or("nothing was shrunk")?;
        // The network's chance is replaced for the winner alone.
        let last_pass = Effort { deliveries: true, patience: 0, ..effort(20_000) };
        let mut shrunk =
            shrink(&broken, &small.plan, Some(&fingerprint), last_pass).map_err(|e| e.to_string())?;
        shrunk.before = small.before;
        shrunk.executions += spent;

        let mut twin_failures = 0;
        let further: Vec<u64> = (last..last + patience.twin_seeds).collect();
        sweep(&twin, &further, patience.workers, |trial| {
            twin_failures += u64::from(!trial.failures.is_empty() || trial.error.is_some());
            ControlFlow::Continue(())
        });
        let recording = twin.run(&shrunk.plan, twin.level())?;
        twin_failures += u64::from(!twin.judge(&recording).is_empty());
        let twin_touched = recording.faults.iter().map(|fault| fault.touched).sum();
        let twin_runs = patience.twin_seeds + 1;
        Ok(Hunted { runs, seed, shrunk, shrunk_seeds, twin_runs, twin_failures, twin_touched })
    }

    fn is_at_target(&self, size: &Size) -> bool {
        size.nodes <= self.target.nodes
            && size.faults <= self.target.faults
            && size.operations <= self.target.operations
    }
}

/// Which of two plans is the smaller one.
fn weight(size: &Size) -> (u64, u64) {
    (size.nodes + size.faults + size.operations, size.faults)
}
