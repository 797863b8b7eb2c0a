//! Session guarantees (Terry and others 1994): what a client may expect of replicas that are not always up to date.
//!
//! - *read your writes*: a read gives the session's latest earlier write, or a newer version;
//! - *monotonic reads*: a read gives no older version than an earlier read of the session did;
//! - *monotonic writes*: a session's writes are ordered as it wrote them;
//! - *writes follow reads*: a write is newer than what the session had read before.
//!
//! "Newer" is an order of the versions of a key that nobody recorded. So the question is whether there *is* an order of
//! versions, the first being what was there before all writes, with which all sessions get what they expect. Each
//! expectation says that one version is not newer than another; there is an order if and only if these do not go round in
//! a circle, and a circle is the witness. Keys are judged one by one, and a session is a client, also after it gave up an
//! operation; a write that was given up is not expected to be seen.
//!
//! Values must tell which write a read saw: a key to which one value was written twice is judged as far as the
//! others go, and unknown where nothing is wrong with them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde_json::Value as Json;

use super::{
    Report, Witness,
    history::{History, Operation},
    model::Atom,
    tell,
};

/// What a session may expect.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Guarantee {
    /// Reads give the session's own latest write, or a newer version.
    ReadYourWrites,
    /// Reads do not go back.
    MonotonicReads,
    /// Writes are ordered as the session wrote them.
    MonotonicWrites,
    /// A write is newer than what the session read before it.
    WritesFollowReads,
}

impl Guarantee {
    /// All four.
    pub const ALL: [Self; 4] =
        [Self::ReadYourWrites, Self::MonotonicReads, Self::MonotonicWrites, Self::WritesFollowReads];
    /// `read your writes`.
    pub fn name(self) -> &'static str {
        match self {
            Self::ReadYourWrites => "read your writes",
            Self::MonotonicReads => "monotonic reads",
            Self::MonotonicWrites => "monotonic writes",
            Self::WritesFollowReads => "writes follow reads",
        }
    }
}

/// What is known of the order of versions besides what sessions expect.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum VersionOrder {
    /// Nothing.
    Any,
    /// A write that was acknowledged before another was invoked is the older version: stores with one leader per key.
    RealTime,
}

/// Why one version is not newer than another: these operations of the history.
#[derive(Clone)]
struct Edge {
    to: usize,
    reason: Vec<usize>,
    /// What it rests on: nothing for an order that is known anyway, and for the way to what a session did so far.
    guarantee: Option<Guarantee>,
    /// Whether its operations belong to the story: what a session did, not what is known anyway.
    told: bool,
}

#[derive(Default)]
struct Versions {
    /// Edges from each node. Node 0 is the version before all writes.
    edges: Vec<Vec<Edge>>,
    /// How many of the first nodes are versions; the others are instants, and what a session has read so far.
    versions: usize,
}

impl Versions {
    fn node(&mut self) -> usize {
        self.edges.push(Vec::new());
        self.edges.len() - 1
    }
    /// `from` is not newer than `to`.
    fn at_most(&mut self, from: usize, to: usize, reason: Vec<usize>, guarantee: Option<Guarantee>) {
        if from != to {
            let told = guarantee.is_some();
            self.edges[from].push(Edge { to, reason, guarantee, told });
        }
    }
    /// What a session has seen or written so far, and now this version too: a node that is newer than all of it.
    fn and(&mut self, so_far: Option<usize>, version: usize, operation: usize) -> Option<usize> {
        let all = self.node();
        self.edges[version].push(Edge { to: all, reason: vec![operation], guarantee: None, told: true });
        if let Some(so_far) = so_far {
            self.at_most(so_far, all, Vec::new(), None);
        }
        Some(all)
    }

    /// A shortest circle, among those through the nodes that lie on one.
    fn circle(&self, examined: &mut u64) -> Option<Vec<Edge>> {
        // What is left when nodes without a way in are taken away, again and again, holds all circles.
        let mut ways_in = vec![0_usize; self.edges.len()];
        for edge in self.edges.iter().flatten() {
            ways_in[edge.to] += 1;
        }
        let mut free: Vec<usize> = (0..self.edges.len()).filter(|node| ways_in[*node] == 0).collect();
        let mut taken = vec![false; self.edges.len()];
        while let Some(node) = free.pop() {
            taken[node] = true;
            for edge in &self.edges[node] {
                *examined += 1;
                ways_in[edge.to] -= 1;
                if ways_in[edge.to] == 0 {
                    free.push(edge.to);
                }
            }
        }
        // Every circle goes through a version.
        let left: Vec<usize> = (0..self.versions).filter(|node| !taken[*node]).collect();
        // A handful of starting points is enough to find a short one.
        let mut best: Option<Vec<Edge>> = None;
        for &start in left.iter().take(64) {
            if let Some(circle) = self.circle_through(start, &taken, examined)
                && best.as_ref().is_none_or(|best| reasons(&circle).len() < reasons(best).len())
            {
                best = Some(circle);
            }
        }
        best.or_else(|| left.iter().find_map(|start| self.circle_through(*start, &taken, examined)))
    }

    fn circle_through(&self, start: usize, taken: &[bool], examined: &mut u64) -> Option<Vec<Edge>> {
        let mut came: Vec<Option<(usize, usize)>> = vec![None; self.edges.len()];
        let mut queue = VecDeque::from([start]);
        while let Some(node) = queue.pop_front() {
            for (index, edge) in self.edges[node].iter().enumerate().filter(|(_, edge)| !taken[edge.to]) {
                *examined += 1;
                if edge.to == start {
                    let mut circle = vec![edge.clone()];
                    let mut at = node;
                    while at != start {
                        let (previous, index) = came[at]?;
                        circle.push(self.edges[previous][index].clone());
                        at = previous;
                    }
                    circle.reverse();
                    return Some(circle);
                }
                if came[edge.to].is_none() {
                    came[edge.to] = Some((node, index));
                    queue.push_back(edge.to);
                }
            }
        }
        None
    }
}

fn reasons(circle: &[Edge]) -> BTreeSet<usize> {
    circle.iter().flat_map(|edge| edge.reason.iter().copied()).collect()
}

/// Checks that all of these guarantees hold together, for registers that begin with `initial`.
pub fn sessions(history: &History, guarantees: &[Guarantee], order: VersionOrder, initial: &Json) -> Report {
    let mut keys: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (index, operation) in history.operations().iter().enumerate() {
        keys.entry(&operation.key).or_default().push(index);
    }
    let (mut examined, mut ambiguous) = (0, None);
    for (key, indices) in &keys {
        match session_of_key(history, key, indices, guarantees, order, initial, &mut examined) {
            Judged::Holds => {}
            Judged::Ambiguous(why) => ambiguous = ambiguous.or(Some(why)),
            Judged::Violated(report) => return Report { examined, ..*report },
        }
    }
    let names: Vec<&str> = guarantees.iter().map(|guarantee| guarantee.name()).collect();
    match ambiguous {
        Some(why) => Report { examined, ..Report::unknown(why) },
        None => {
            let sentence = format!("an order of versions gives every session {}", names.join(", "));
            Report { examined, ..Report::ok(sentence) }
        }
    }
}

enum Judged {
    Holds,
    Ambiguous(String),
    Violated(Box<Report>),
}

fn session_of_key(
    history: &History,
    key: &str,
    indices: &[usize],
    guarantees: &[Guarantee],
    order: VersionOrder,
    initial: &Json,
    examined: &mut u64,
) -> Judged {
    let operations = history.operations();
    let is_write = |operation: &Operation| matches!(&*operation.function, "write" | "put");
    let is_read = |operation: &Operation| matches!(&*operation.function, "read" | "get") && operation.is_ok();
    let of_key = if key.is_empty() { String::new() } else { format!("key {key}: ") };
    let mut versions = Versions::default();
    versions.node();
    let mut written: BTreeMap<Atom, Option<usize>> = BTreeMap::from([(Atom::from(initial), Some(0))]);
    let mut node_of_write: BTreeMap<usize, usize> = BTreeMap::new();
    let mut twice: Option<String> = None;
    for &index in indices {
        let operation = &operations[index];
        if is_write(operation) && (operation.is_ok() || operation.is_unknown()) {
            let node = versions.node();
            node_of_write.insert(index, node);
            versions.at_most(0, node, vec![index], None);
            written
                .entry(Atom::from(&operation.input))
                .and_modify(|known| {
                    twice = Some(format!(
                        "{of_key}{} was written twice, so that a read of it does not tell its version",
                        tell::value(&operation.input)
                    ));
                    *known = None;
                })
                .or_insert(Some(node));
        }
    }
    versions.versions = versions.edges.len();
    if order == VersionOrder::RealTime {
        known_order(&mut versions, operations, &node_of_write);
    }
    let has = |guarantee| guarantees.contains(&guarantee);
    let mut sessions: BTreeMap<&str, Session> = BTreeMap::new();
    for &index in indices {
        let operation = &operations[index];
        let session = sessions.entry(&operation.client).or_default();
        session.look_back(&mut versions, operations, operation);
        if let Some(&node) = node_of_write.get(&index) {
            if let (true, Some(all)) = (has(Guarantee::MonotonicWrites), session.written) {
                versions.at_most(all, node, vec![index], Some(Guarantee::MonotonicWrites));
            }
            if let (true, Some(all)) = (has(Guarantee::WritesFollowReads), session.read) {
                versions.at_most(all, node, vec![index], Some(Guarantee::WritesFollowReads));
            }
            if operation.is_ok() {
                session.open.push((index, node, true));
            }
        } else if is_read(operation) {
            let output = operation.output().unwrap_or(&Json::Null);
            let version = match written.get(&Atom::from(output)) {
                Some(Some(version)) => *version,
                Some(None) => continue,
                None => {
                    let sentence = format!("{of_key}{}, which nobody wrote", tell::told(history, operation));
                    let shown = vec![operation.clone()];
                    let witness =
                        Witness { key: key.to_owned(), operations: shown, culprit: 0, minimal: true };
                    return Judged::Violated(Box::new(Report::violated(history, witness, sentence)));
                }
            };
            if let (true, Some((write, own))) = (has(Guarantee::ReadYourWrites), session.last_write) {
                versions.at_most(own, version, vec![write, index], Some(Guarantee::ReadYourWrites));
            }
            for &(read, earlier) in session.last_reads.iter().filter(|_| has(Guarantee::MonotonicReads)) {
                versions.at_most(earlier, version, vec![read, index], Some(Guarantee::MonotonicReads));
            }
            session.open.push((index, version, false));
        }
    }
    let Some(circle) = versions.circle(examined) else {
        return twice.map_or(Judged::Holds, Judged::Ambiguous);
    };
    let shown: Vec<usize> = reasons(&circle).into_iter().collect();
    let broken: Vec<&Edge> = circle.iter().filter(|edge| edge.guarantee.is_some()).collect();
    let last =
        broken.iter().filter_map(|edge| edge.reason.last()).max_by_key(|index| operations[**index].end);
    let culprit = last.and_then(|last| shown.iter().position(|index| index == last)).unwrap_or_default();
    let mut names: Vec<&str> = broken.iter().filter_map(|edge| edge.guarantee).map(Guarantee::name).collect();
    names.dedup();
    // What a session did and what it did then may stand on two edges.
    let pairs: Vec<usize> =
        circle.iter().filter(|edge| edge.told).flat_map(|edge| edge.reason.iter().copied()).collect();
    let told: Vec<String> = pairs
        .chunks(2)
        .map(|pair| {
            let told: Vec<String> =
                pair.iter().map(|index| tell::told(history, &operations[*index])).collect();
            told.join(", then ")
        })
        .collect();
    let sentence = format!("{of_key}no order of versions gives {}: {}", names.join(" and "), told.join("; "));
    let witness = Witness {
        key: key.to_owned(),
        operations: shown.into_iter().map(|index| operations[index].clone()).collect(),
        culprit,
        minimal: true,
    };
    Judged::Violated(Box::new(Report::violated(history, witness, sentence)))
}

/// What a session has done so far.
#[derive(Default)]
struct Session {
    /// Operations, their versions, and whether they are writes, that may overlap with the next one.
    open: Vec<(usize, usize, bool)>,
    /// The latest write, and its version.
    last_write: Option<(usize, usize)>,
    /// The latest reads, and what they gave: one, or several that overlapped.
    last_reads: Vec<(usize, usize)>,
    /// A node that is newer than all that was read.
    read: Option<usize>,
    /// A node that is newer than all that was written.
    written: Option<usize>,
}

impl Session {
    /// Takes in what ended before an operation. What overlaps with it is not before it.
    fn look_back(&mut self, versions: &mut Versions, operations: &[Operation], now: &Operation) {
        for (index, version, is_write) in std::mem::take(&mut self.open) {
            if !operations[index].ended_before(now) {
                self.open.push((index, version, is_write));
            } else if is_write {
                self.last_write = self.last_write.max(Some((index, version)));
                self.written = versions.and(self.written, version, index);
            } else {
                self.last_reads.retain(|(read, _)| !operations[*read].ended_before(&operations[index]));
                self.last_reads.push((index, version));
                self.read = versions.and(self.read, version, index);
            }
        }
    }
}

/// Puts a line of instants between the writes: each acknowledged write is before the instant of its end, and each write
/// after the instant of its invocation.
fn known_order(versions: &mut Versions, operations: &[Operation], node_of_write: &BTreeMap<usize, usize>) {
    let mut events: Vec<(u64, bool, usize)> = Vec::new();
    for &index in node_of_write.keys() {
        events.push((operations[index].call, false, index));
        if operations[index].is_ok() {
            events.push((operations[index].end, true, index));
        }
    }
    events.sort_unstable();
    // Inside a process the order is known even where two operations touch at one instant.
    let mut last: BTreeMap<u32, usize> = BTreeMap::new();
    for (&index, &write) in node_of_write {
        if let Some(before) = last.insert(operations[index].process, index) {
            versions.at_most(node_of_write[&before], write, vec![before, index], None);
        }
    }
    let mut line: Option<usize> = None;
    for (_, is_end, index) in events {
        let write = node_of_write[&index];
        if is_end {
            let instant = versions.node();
            if let Some(line) = line {
                versions.at_most(line, instant, Vec::new(), None);
            }
            versions.at_most(write, instant, vec![index], None);
            line = Some(instant);
        } else if let Some(line) = line {
            versions.at_most(line, write, vec![index], None);
        }
    }
}
