//! Searching for failures: many plans of one experiment, judged; failures grouped, shrunk, kept.
//!
//! An [`Experiment`] makes a plan from a seed, runs it and judges what it left behind. [`sweep`] runs many seeds on all
//! cores; [`explore`] says which runs; [`generate`] draws faults for a seed; [`shrink`] makes a failing plan small;
//! [`scenario`] is the experiment of a user's own test, and [`testing`] runs it there. [`exhaustive`] leaves out chance and time: it follows every order of
//! events that a small configuration of a protocol allows. Nothing here has a say in a run: a run is a function of its plan.

pub mod exhaustive;
pub mod explore;
pub mod generate;
pub mod scenario;
pub mod shrink;
pub mod sweep;
pub mod testing;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{
    plan::Plan,
    record::{Ending, NodeIndex, PropertyKind, Recording, RecordingLevel, RunHash, hash},
    time::SimTime,
};

/// What can be swept, shrunk and explored.
pub trait Experiment: Sync {
    /// The plan of a seed: knobs, end, faults and all.
    ///
    /// # Errors
    /// A sentence, where the experiment cannot be set up as asked.
    fn plan(&self, seed: u64) -> Result<Plan, String>;
    /// Runs a plan; the plan alone decides.
    ///
    /// # Errors
    /// A sentence, where the world refuses the plan.
    fn run(&self, plan: &Plan, level: RecordingLevel) -> Result<Recording, String>;
    /// What did not hold, in a fixed order. Without a judgement of its own: [`failures`].
    fn judge(&self, recording: &Recording) -> Vec<Failure> {
        failures(recording)
    }
    /// How much must be recorded for the judgement.
    fn level(&self) -> RecordingLevel {
        RecordingLevel::Essential
    }
    /// Figures of a run, for tables and plots.
    fn figures(&self, _recording: &Recording) -> Vec<(String, f64)> {
        Vec::new()
    }
    /// Both at once, for experiments that find them in one look.
    fn assess(&self, recording: &Recording) -> (Vec<Failure>, Vec<(String, f64)>) {
        (self.judge(recording), self.figures(recording))
    }
    /// What a shrinker must know.
    fn hints(&self) -> shrink::Hints {
        shrink::Hints::default()
    }
}

/// Something that did not hold in a run.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Failure {
    /// The property, goal or checker, by its name.
    pub property: String,
    /// What kind of thing that is: `always`, `eventually`, `panic`, `checker`, `goal`, ...
    pub kind: String,
    /// The roles of the nodes that witnessed it, sorted.
    pub roles: Vec<String>,
    /// When it was seen first.
    pub at: SimTime,
    /// What was seen.
    pub detail: String,
}

impl Failure {
    /// What two failures of the same cause most likely share: the property, its kind and the roles of the nodes in the
    /// witness. `election safety (always) by leader`.
    pub fn fingerprint(&self) -> String {
        if self.roles.is_empty() {
            format!("{} ({})", self.property, self.kind)
        } else {
            format!("{} ({}) by {}", self.property, self.kind, self.roles.join(", "))
        }
    }
}

/// The role of a node at a time: its state `role`, or else its service.
pub fn role_at(recording: &Recording, node: NodeIndex, at: SimTime) -> String {
    let Some(record) = recording.nodes.get(node.0 as usize) else { return String::new() };
    let role = recording
        .states
        .iter()
        .take_while(|change| change.at <= at)
        .filter(|change| change.node == node && recording.text(change.key) == "role")
        .last()
        .map_or("", |change| recording.text(change.value));
    if role.is_empty() { record.service.clone() } else { role.to_owned() }
}

/// The violated properties of a run in the order in which they were seen: panics, `always` and `eventually`. (`sometimes`
/// is judged over a whole sweep: one run need not reach every case.)
pub fn failures(recording: &Recording) -> Vec<Failure> {
    let mut found = Vec::new();
    if let Ending::Panicked { node, message } = &recording.ending {
        let role = recording.find_node(node).map(|index| role_at(recording, index, recording.ended));
        found.push(Failure {
            property: "no code panics".to_owned(),
            kind: "panic".to_owned(),
            roles: role.into_iter().collect(),
            at: recording.ended,
            detail: format!("{node}: {message}"),
        });
    }
    let violated =
        recording.properties.iter().filter(|one| one.kind != PropertyKind::Sometimes && !one.held());
    let mut others: Vec<Failure> = violated
        .map(|property| {
            let kind = if property.kind == PropertyKind::Always { "always" } else { "eventually" };
            let (at, roles, detail) = match &property.first_failure {
                Some(first) if property.kind == PropertyKind::Always => {
                    let role = role_at(recording, first.node, first.at);
                    (first.at, if role.is_empty() { vec![] } else { vec![role] }, first.detail.clone())
                }
                Some(first) => (recording.ended, vec![], first.detail.clone()),
                None => (recording.ended, vec![], "it was never checked".to_owned()),
            };
            Failure { property: property.name.clone(), kind: kind.to_owned(), roles, at, detail }
        })
        .collect();
    others.sort_by_key(|failure| failure.at);
    found.extend(others);
    found
}

/// One run of a sweep, with what the sweep keeps of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    /// The seed.
    pub seed: u64,
    /// The hash of the run.
    pub hash: RunHash,
    /// How many events were dispatched.
    pub events: u64,
    /// What did not hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failures: Vec<Failure>,
    /// Its `sometimes` properties and whether they held.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sometimes: BTreeMap<String, bool>,
    /// The transitions of states that were seen, each as a hash of service, state, old and new value.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub transitions: BTreeSet<u64>,
    /// Figures.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub figures: Vec<(String, f64)>,
    /// Why there was no run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Runs and judges one seed.
pub fn try_seed(experiment: &dyn Experiment, seed: u64) -> Trial {
    let result = experiment.plan(seed).and_then(|plan| experiment.run(&plan, experiment.level()));
    match result {
        Ok(recording) => {
            let (failures, figures) = experiment.assess(&recording);
            Trial {
                seed,
                hash: recording.run_hash,
                events: recording.events,
                failures,
                sometimes: sometimes(&recording),
                transitions: transitions(&recording),
                figures,
                error: None,
            }
        }
        Err(error) => Trial {
            seed,
            hash: RunHash::default(),
            events: 0,
            failures: Vec::new(),
            sometimes: BTreeMap::new(),
            transitions: BTreeSet::new(),
            figures: Vec::new(),
            error: Some(error),
        },
    }
}

fn sometimes(recording: &Recording) -> BTreeMap<String, bool> {
    let some = recording.properties.iter().filter(|one| one.kind == PropertyKind::Sometimes);
    some.map(|one| (one.name.clone(), one.held())).collect()
}

/// The transitions of states that a run has seen: coverage that a search can see grow.
///
/// Values that count (terms, versions) would make every transition a new one: digits are taken for one another.
pub fn transitions(recording: &Recording) -> BTreeSet<u64> {
    let plain =
        |text: &str| hash::bytes(text.split(|c: char| c.is_ascii_digit()).collect::<String>().as_bytes());
    let mut last: BTreeMap<(NodeIndex, u32), u64> = BTreeMap::new();
    let mut names: BTreeMap<u32, u64> = BTreeMap::new();
    let mut found = BTreeSet::new();
    for change in &recording.states {
        let value = *names.entry(change.value.0).or_insert_with(|| plain(recording.text(change.value)));
        let key = hash::bytes(recording.text(change.key).as_bytes());
        let service =
            recording.nodes.get(change.node.0 as usize).map_or(0, |n| hash::bytes(n.service.as_bytes()));
        let before = last.insert((change.node, change.key.0), value).unwrap_or(0);
        if before != value {
            found.insert(hash::mix(hash::mix(service, key, 0), before, value));
        }
    }
    found
}
