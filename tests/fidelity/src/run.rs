//! Running a model over the fixed list of seeds, on all cores of this machine, and taking one result out of each run.

use std::sync::{Arc, Mutex, PoisonError};

use rayon::prelude::*;
use sim_core::{
    Sim,
    plan::Plan,
    record::{Ending, Recording, RecordingLevel},
    time::{Duration, secs},
};

/// One result per seed, for the seeds 1 to `seeds`, in that order. Each run is a thread's own; results do not depend on how
/// many threads there are.
pub fn over_seeds<T: Send>(seeds: u64, run: impl Fn(u64) -> T + Send + Sync) -> Vec<T> {
    (1..=seeds).into_par_iter().map(run).collect()
}

/// Later than anything here ends: three hundred years.
const FAR: Duration = secs(10_000_000_000);

/// An empty world that records nothing but its ending.
pub fn world(name: &str, seed: u64) -> Sim {
    Sim::new(&Plan::new(name, seed, FAR), RecordingLevel::Essential)
}

/// An empty world that runs for so long, whatever happens in it.
pub fn world_until(name: &str, seed: u64, until: Duration) -> Sim {
    Sim::new(&Plan::new(name, seed, until), RecordingLevel::Essential)
}

/// Runs a world until its planned end, and gives what it recorded: the metrics of the cast's parts.
///
/// # Panics
/// When it ends earlier, or a node's code panicked.
pub fn recorded(sim: Sim) -> Recording {
    let recording = sim.run().expect("the plan names nobody");
    assert_eq!(recording.ending, Ending::Until);
    recording
}

/// Runs a world to its end.
///
/// # Panics
/// When it does not end by itself, or a node's code panicked.
pub fn to_the_end(sim: Sim) {
    let recording = sim.run().expect("the plan names nobody");
    assert!(
        matches!(recording.ending, Ending::Stopped | Ending::Quiet),
        "the run ended with {:?}",
        recording.ending
    );
}

/// The observer's notebook: a node writes the run's result into it, the test takes it out. It crosses no network, so no
/// node may read it.
#[derive(Debug)]
pub struct Notebook<T>(Arc<Mutex<Option<T>>>);

impl<T> Default for Notebook<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}
impl<T> Clone for Notebook<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Notebook<T> {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }
    /// Writes the result.
    pub fn write(&self, value: T) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(value);
    }
    /// Changes the result that is in it, or a new one.
    pub fn update(&self, change: impl FnOnce(&mut T))
    where
        T: Default,
    {
        change(self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_default());
    }
    /// Runs a world and takes the result out.
    ///
    /// # Panics
    /// When the world wrote none.
    pub fn after(self, sim: Sim) -> T {
        to_the_end(sim);
        let result = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        result.expect("the run has written its result")
    }
}
