//! Many seeds on all cores, with the same result whatever their number.
//!
//! A run happens on one thread and knows of no other; only the choice of who runs which seed is shared. Results come in
//! the order in which they are done and are put in order of seeds by whoever collects them ([`Summary`]).

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::ControlFlow,
    sync::{
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
};

use serde::{Deserialize, Serialize};

use super::{Experiment, Failure, Trial, try_seed};
use crate::record::RunHash;

/// Does `work` for each item on so many threads; `take` gets the results, in no particular order, and may stop it all.
pub fn on_all_cores<I: Sync, R: Send>(
    items: &[I],
    workers: usize,
    work: impl Fn(&I) -> R + Sync,
    mut take: impl FnMut(usize, R) -> ControlFlow<()>,
) {
    let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    let workers = workers.clamp(1, items.len().max(1));
    if workers == 1 {
        for (index, item) in items.iter().enumerate() {
            if take(index, work(item)).is_break() {
                return;
            }
        }
        return;
    }
    let (sender, receiver) = mpsc::sync_channel(4 * workers);
    #[expect(
        clippy::disallowed_methods,
        reason = "around runs, never in one: each run has a thread for itself"
    )]
    std::thread::scope(|scope| {
        for _ in 0..workers {
            let (sender, next, stop, work) = (sender.clone(), &next, &stop, &work);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(item) = items.get(index) else { return };
                    if sender.send((index, work(item))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        for (index, result) in &receiver {
            if take(index, result).is_break() {
                stop.store(true, Ordering::Relaxed);
                break;
            }
        }
        drop(receiver); // whoever waits to send gives up
    });
}

/// Runs these seeds on so many threads.
pub fn sweep(
    experiment: &dyn Experiment,
    seeds: &[u64],
    workers: usize,
    mut take: impl FnMut(Trial) -> ControlFlow<()>,
) {
    on_all_cores(seeds, workers, |&seed| try_seed(experiment, seed), |_, trial| take(trial));
}

/// The first seed, in order of seeds, whose run fails as `wanted` says; and how many runs that took, counted in order of
/// seeds up to and including it. The same for any number of workers.
pub fn first_failure(
    experiment: &dyn Experiment,
    seeds: &[u64],
    workers: usize,
    wanted: impl Fn(&Failure) -> bool,
) -> (u64, Option<Trial>) {
    first_trial(experiment, seeds, workers, |trial| trial.failures.iter().any(&wanted), |_| {})
}

/// As [`first_failure`], for whole trials. `seen` is shown each trial that was run, in no particular order: where one is
/// wanted, more or fewer that come after it, as the number of workers has it.
pub fn first_trial(
    experiment: &dyn Experiment,
    seeds: &[u64],
    workers: usize,
    wanted: impl Fn(&Trial) -> bool,
    mut seen: impl FnMut(&Trial),
) -> (u64, Option<Trial>) {
    let mut failing: BTreeMap<usize, Trial> = BTreeMap::new();
    let mut done = BTreeSet::new();
    let mut complete = 0;
    on_all_cores(
        seeds,
        workers,
        |&seed| try_seed(experiment, seed),
        |index, trial| {
            seen(&trial);
            if wanted(&trial) {
                failing.insert(index, trial);
            }
            done.insert(index);
            while done.remove(&complete) {
                complete += 1;
            }
            // All that come before the first failing one are done: nobody can be earlier.
            if failing.keys().next().is_some_and(|&first| first < complete) {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        },
    );
    match failing.into_iter().next() {
        Some((index, trial)) => (index as u64 + 1, Some(trial)),
        None => (seeds.len() as u64, None),
    }
}

/// All runs that failed in the same way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// Property, kind and roles: see [`Failure::fingerprint`].
    pub fingerprint: String,
    /// The property.
    pub property: String,
    /// What kind of thing did not hold.
    pub kind: String,
    /// The roles of the witnesses.
    pub roles: Vec<String>,
    /// How many runs.
    pub count: u64,
    /// Their seeds, in order.
    pub seeds: Vec<u64>,
}

/// A sweep so far: what its runs say together. Independent of the order in which they were added.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    hashes: BTreeMap<u64, RunHash>,
    groups: BTreeMap<String, (Failure, BTreeSet<u64>)>,
    sometimes: BTreeMap<String, bool>,
    transitions: BTreeSet<u64>,
    figures: BTreeMap<String, BTreeMap<u64, f64>>,
    errors: BTreeMap<u64, String>,
    events: u64,
}

impl Summary {
    /// Takes a run in. A seed that is there already is left as it is.
    pub fn add(&mut self, trial: &Trial) {
        if self.hashes.contains_key(&trial.seed) {
            return;
        }
        self.hashes.insert(trial.seed, trial.hash);
        self.events += trial.events;
        for failure in &trial.failures {
            let group = self
                .groups
                .entry(failure.fingerprint())
                .or_insert_with(|| (failure.clone(), BTreeSet::new()));
            group.1.insert(trial.seed);
        }
        for (name, &held) in &trial.sometimes {
            *self.sometimes.entry(name.clone()).or_default() |= held;
        }
        self.transitions.extend(&trial.transitions);
        for (name, value) in &trial.figures {
            self.figures.entry(name.clone()).or_default().insert(trial.seed, *value);
        }
        if let Some(error) = &trial.error {
            self.errors.insert(trial.seed, error.clone());
        }
    }
    /// How many runs there were.
    pub fn runs(&self) -> u64 {
        self.hashes.len() as u64
    }
    /// How many events they dispatched.
    pub fn events(&self) -> u64 {
        self.events
    }
    /// Whether that seed was run.
    pub fn has(&self, seed: u64) -> bool {
        self.hashes.contains_key(&seed)
    }
    /// The hash over all run hashes, in order of seeds.
    pub fn hash(&self) -> RunHash {
        RunHash::combine(self.hashes.values().copied())
    }
    /// The failures, the most frequent first; equally frequent ones by their fingerprint.
    pub fn failures(&self) -> Vec<Group> {
        let group = |(fingerprint, (failure, seeds)): (&String, &(Failure, BTreeSet<u64>))| Group {
            fingerprint: fingerprint.clone(),
            property: failure.property.clone(),
            kind: failure.kind.clone(),
            roles: failure.roles.clone(),
            count: seeds.len() as u64,
            seeds: seeds.iter().copied().collect(),
        };
        let mut groups: Vec<Group> = self.groups.iter().map(group).collect();
        groups.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.fingerprint.cmp(&b.fingerprint)));
        groups
    }
    /// The `sometimes` properties that held in no run: cases that were never reached.
    pub fn sometimes_never_held(&self) -> Vec<String> {
        self.sometimes.iter().filter(|(_, held)| !**held).map(|(name, _)| name.clone()).collect()
    }
    /// How many different transitions of states were seen.
    pub fn transitions(&self) -> usize {
        self.transitions.len()
    }
    /// The transitions themselves, as hashes.
    pub fn seen(&self) -> &BTreeSet<u64> {
        &self.transitions
    }
    /// The figures by name, each by seed.
    pub fn figures(&self) -> &BTreeMap<String, BTreeMap<u64, f64>> {
        &self.figures
    }
    /// Seeds that could not be run, and why.
    pub fn errors(&self) -> &BTreeMap<u64, String> {
        &self.errors
    }
}
