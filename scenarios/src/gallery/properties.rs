//! Properties of a whole run, judged from its recording: who could talk to whom, and how terms and leaders changed.

use std::collections::BTreeSet;

use sim_core::{
    fault::{FaultKind, Partition, Target, When},
    plan::Plan,
    record::{NodeIndex, Recording},
    search::Failure,
    time::{Duration, SimTime, secs},
};

/// Bug 8: while some majority is connected pair by pair for three seconds, terms change fewer than 24 times.
pub(super) const STABLE_LEADER: &str = "stable leader: a connected majority is not disturbed for long";
/// Bug 9.
pub(super) const UNDISTURBED: &str =
    "a leader that can talk to a majority is not deposed by one who was away";

/// While so many servers are connected pair by pair for that long, there are fewer changes of term than that.
const WINDOW: Duration = secs(3);
const CHANGES: u64 = 24;

/// Which servers can talk to each other, and until when: the partitions of the plan, as they were carried out.
struct Connections {
    servers: Vec<(NodeIndex, String)>,
    cuts: Vec<Cut>,
    end: SimTime,
}

struct Cut {
    from: SimTime,
    to: SimTime,
    a: BTreeSet<String>,
    b: BTreeSet<String>,
    /// Whoever is concerned.
    touched: BTreeSet<String>,
}

impl Connections {
    fn of(recording: &Recording) -> Option<Self> {
        let plan = Plan::from_toml(&recording.origin.plan).ok()?;
        let servers: Vec<(NodeIndex, String)> = (0_u32..)
            .map(NodeIndex)
            .zip(&recording.nodes)
            .filter(|(_, node)| node.service == "raft")
            .map(|(index, node)| (index, node.name.clone()))
            .collect();
        let all: BTreeSet<String> = servers.iter().map(|(_, name)| name.clone()).collect();
        let mut cuts = Vec::new();
        for fault in plan.faults.faults() {
            let FaultKind::Partition(partition) = &fault.what else { continue };
            let When::At(at) = fault.when else { continue };
            let from = SimTime::ZERO + at;
            let to = fault.lasts.map_or(recording.ended, |lasts| from + lasts);
            let set = |names: &[String]| -> BTreeSet<String> { names.iter().cloned().collect() };
            let (a, b) = match (partition, &fault.on) {
                (Partition::Isolate, Target::Node(name)) => {
                    let alone = BTreeSet::from([name.clone()]);
                    (alone.clone(), &all - &alone)
                }
                (Partition::Bridge { left, right }, _) => (set(left), set(right)),
                (Partition::OneWay { from, to }, _) => (set(from), set(to)),
                (Partition::Split(groups), _) if groups.len() == 2 => (set(&groups[0]), set(&groups[1])),
                _ => continue,
            };
            let touched = if *partition == Partition::Isolate { a.clone() } else { &a | &b };
            cuts.push(Cut { from, to, a, b, touched });
        }
        Some(Self { servers, cuts, end: recording.ended })
    }
    fn majority(&self) -> usize {
        self.servers.len() / 2 + 1
    }
    /// Whether two could talk all the time from one instant to another.
    fn are_connected(&self, a: &str, b: &str, from: SimTime, to: SimTime) -> bool {
        self.cuts
            .iter()
            .filter(|cut| cut.from < to && from < cut.to)
            .all(|cut| !(cut.a.contains(a) && cut.b.contains(b) || cut.a.contains(b) && cut.b.contains(a)))
    }
    /// Whether some majority, with this server in it where one is named, was connected pair by pair.
    fn has_clique(&self, with: Option<&str>, from: SimTime, to: SimTime) -> bool {
        let count = self.servers.len();
        (0_u32..1 << count).any(|set| {
            let chosen: Vec<&str> =
                (0..count).filter(|i| set >> i & 1 == 1).map(|i| self.servers[i].1.as_str()).collect();
            chosen.len() >= self.majority()
                && with.is_none_or(|name| chosen.contains(&name))
                && chosen
                    .iter()
                    .enumerate()
                    .all(|(i, a)| chosen[i + 1..].iter().all(|b| self.are_connected(a, b, from, to)))
        })
    }
}

/// The changes of a server's state.
fn changes<'a>(
    recording: &'a Recording,
    key: &'a str,
) -> impl Iterator<Item = (SimTime, NodeIndex, &'a str)> {
    recording
        .states
        .iter()
        .filter(move |change| recording.text(change.key) == key)
        .map(|change| (change.at, change.node, recording.text(change.value)))
}

/// See [`STABLE_LEADER`].
pub(super) fn stable_leader(recording: &Recording) -> Vec<Failure> {
    let Some(connections) = Connections::of(recording) else { return Vec::new() };
    let mut highest = 0;
    let mut rises: Vec<SimTime> = Vec::new();
    for (at, _, value) in changes(recording, "term") {
        let term: u64 = value.parse().unwrap_or(0);
        if term > highest {
            rises.extend((highest..term).map(|_| at));
            highest = term;
        }
    }
    // A window that begins with a rise sees as many as any other of its length.
    for (index, &from) in rises.iter().enumerate() {
        let to = from + WINDOW;
        if to > connections.end {
            break;
        }
        let seen = rises[index..].iter().take_while(|&&at| at <= to).count() as u64;
        if seen >= CHANGES && connections.has_clique(None, from, to) {
            return vec![Failure {
                property: STABLE_LEADER.to_owned(),
                kind: "checker".to_owned(),
                roles: Vec::new(),
                at: to,
                detail: format!("{seen} changes of term from {from} to {to}, while a majority was connected"),
            }];
        }
    }
    Vec::new()
}

/// See [`UNDISTURBED`]: a leader steps down for a higher term, although for two election time-outs it was connected with a
/// majority in which nobody was cut off.
pub(super) fn undisturbed(recording: &Recording) -> Vec<Failure> {
    let Some(connections) = Connections::of(recording) else { return Vec::new() };
    let Ok(plan) = Plan::from_toml(&recording.origin.plan) else { return Vec::new() };
    let knob = |name: &str| plan.knobs.get(name).and_then(toml::Value::as_integer).unwrap_or(0) as u64;
    let settled = sim_core::time::us(2 * (knob("timeout_us") + knob("width_us")));
    let mut leaders: BTreeSet<NodeIndex> = BTreeSet::new();
    let mut since: std::collections::BTreeMap<NodeIndex, SimTime> = std::collections::BTreeMap::new();
    for (at, node, role) in changes(recording, "role") {
        if role == "leader" {
            leaders.insert(node);
            since.insert(node, at);
            continue;
        }
        if !leaders.remove(&node) || role.is_empty() {
            continue;
        }
        let Some((_, name)) = connections.servers.iter().find(|(index, _)| *index == node) else { continue };
        let from = SimTime::from_nanos(at.as_nanos().saturating_sub(settled.as_nanos()));
        // Nobody whom a fault touched lately counts among the majority that should have been left alone.
        let touched: BTreeSet<&String> = connections
            .cuts
            .iter()
            .filter(|cut| cut.from < at && from < cut.to)
            .flat_map(|cut| &cut.touched)
            .collect();
        let quiet = connections.servers.iter().filter(|(_, other)| !touched.contains(other)).count();
        if since[&node] <= from && !touched.contains(name) && quiet >= connections.majority() {
            return vec![Failure {
                property: UNDISTURBED.to_owned(),
                kind: "checker".to_owned(),
                roles: vec!["leader".to_owned()],
                at,
                detail: format!(
                    "{name} led since {}, was cut off from nobody of a majority, and is deposed",
                    since[&node]
                ),
            }];
        }
    }
    Vec::new()
}
