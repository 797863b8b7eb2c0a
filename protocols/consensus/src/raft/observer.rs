//! The observer's bookkeeping: Raft's four safety properties, checked at each step of each server.
//!
//! It sees the effects of every step before they are carried out, and the server's state after it. It scans no logs: each entry
//! is looked at when it is written, and once more when it is committed.
//!
//! | property | paper | how it is checked |
//! |---|---|---|
//! | [`ELECTION_SAFETY`] | 5.2 | the leader of each term is written down |
//! | [`LOG_MATCHING`] | 5.3 | what an index and a term stand for is written down, and the term before it: by induction, logs that agree in one entry agree in all before it |
//! | [`LEADER_COMPLETENESS`] | 5.4 | a new leader has the last entry that was committed in an earlier term; what an old leader still commits is in the logs of the later leaders |
//! | [`STATE_MACHINE_SAFETY`] | 5.4.3 | what is announced as committed at an index is written down |
//!
//! One observer for a cluster, in an `Arc<Mutex<..>>` that the scenario makes: [`watch`] gives the watch of one server for
//! `Node::host_watched`. A run without it costs nothing.

use std::{
    collections::BTreeMap,
    hash::{Hash, Hasher},
    sync::{Arc, Mutex, PoisonError},
};

use rustc_hash::{FxHashMap, FxHasher};
use sim_core::{
    NodeId,
    protocol::{Effect, Watching},
    record::PropertyKind,
};

use super::{Entry, Event, Index, Position, Raft, Record, Role, Term};

/// At most one leader is elected in a term.
pub const ELECTION_SAFETY: &str = "election safety: at most one leader in a term";
/// Two logs that have an entry of the same index and term are identical up to it.
pub const LOG_MATCHING: &str =
    "log matching: entries of one index and term are the same, and so are all before";
/// What is committed in a term is in the logs of the leaders of all later terms.
pub const LEADER_COMPLETENESS: &str = "leader completeness: every later leader has what is committed";
/// No two servers apply different entries at one index.
pub const STATE_MACHINE_SAFETY: &str = "state-machine safety: one entry is applied at each index";
/// A case that a run should reach.
pub const ELECTED: &str = "a leader was elected";
/// A case that a run may want to reach.
pub const TRUNCATED: &str = "a follower's log was truncated";
/// A case that a run may want to reach.
pub const INSTALLED: &str = "a snapshot was installed";

/// What came of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Always or sometimes.
    pub kind: PropertyKind,
    /// Its statement.
    pub property: &'static str,
    /// Whether it held.
    pub holds: bool,
    /// Where it did not: what was seen, by the roles of the servers.
    pub detail: String,
}

/// What an index and a term stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Written {
    digest: u64,
    /// The term of the entry before it.
    after: Term,
    by: NodeId,
}

/// What was applied at an index.
#[derive(Clone, Copy, Debug)]
struct Applied {
    at: Position,
    digest: u64,
    by: NodeId,
    /// The term of the server that announced it first: not earlier than the term in which it was committed.
    seen_in: Term,
}

/// A server's log as terms, from an index on.
#[derive(Clone, Debug, Default)]
struct Mirror {
    base: Position,
    terms: Vec<Term>,
}

impl Mirror {
    fn term_at(&self, index: Index) -> Option<Term> {
        match index.checked_sub(self.base.index)? {
            0 => Some(self.base.term),
            offset => self.terms.get(offset as usize - 1).copied(),
        }
    }
    fn last(&self) -> Index {
        self.base.index + self.terms.len() as Index
    }
    /// Gives how many entries were cut off.
    fn go_on(&mut self, previous: Position, entries: &[Entry]) -> u64 {
        let cut = self.last().saturating_sub(previous.index);
        self.terms.truncate(previous.index.saturating_sub(self.base.index) as usize);
        self.terms.extend(entries.iter().map(|entry| entry.term));
        cut
    }
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Observer {
    leaders: BTreeMap<Term, NodeId>,
    written: FxHashMap<Position, Written>,
    applied: BTreeMap<Index, Applied>,
    logs: BTreeMap<NodeId, Mirror>,
    roles: BTreeMap<NodeId, Role>,
    findings: Vec<Finding>,
}

fn digest(entry: &Entry) -> u64 {
    let mut hasher = FxHasher::default();
    entry.hash(&mut hasher);
    hasher.finish()
}

impl Observer {
    /// It has seen nothing.
    pub fn new() -> Self {
        Self::default()
    }
    /// The leader of each term so far.
    pub fn leaders(&self) -> &BTreeMap<Term, NodeId> {
        &self.leaders
    }
    /// The last index that anybody has announced as committed.
    pub fn committed(&self) -> Index {
        self.applied.last_key_value().map_or(0, |(index, _)| *index)
    }

    /// A server has taken a step: its state after it, and the effects. Gives what came of the checks.
    pub fn saw(&mut self, raft: &Raft, effects: &[Effect<Raft>]) -> Vec<Finding> {
        let id = raft.id();
        self.roles.insert(id, raft.role());
        // A server starts by showing its role and its term: what was not durable is gone.
        let starts = matches!(effects, [Effect::State(super::ROLE, _), Effect::State(super::TERM, _), ..]);
        if starts {
            let mirror =
                Mirror { base: raft.log().base(), terms: raft.log().entries().map(|e| e.term).collect() };
            self.logs.insert(id, mirror);
        }
        for effect in effects {
            match effect {
                Effect::Append(Record::Entries { previous, entries }) => {
                    self.wrote(id, *previous, entries);
                    let cut = self.logs.entry(id).or_default().go_on(*previous, entries);
                    if cut > 0 {
                        self.find(PropertyKind::Sometimes, TRUNCATED, true, String::new);
                    }
                }
                Effect::Replace(_) => {
                    let mirror = Mirror {
                        base: raft.log().base(),
                        terms: raft.log().entries().map(|e| e.term).collect(),
                    };
                    self.logs.insert(id, mirror);
                }
                Effect::AnnounceNow(Event::Restored { .. }) if !starts => {
                    self.find(PropertyKind::Sometimes, INSTALLED, true, String::new);
                }
                Effect::AnnounceNow(Event::RoleChanged { role: Role::Leader, term, .. }) => {
                    self.elected(id, *term);
                }
                Effect::AnnounceNow(Event::Committed { first, entries }) => {
                    self.committed_at(raft, *first, entries);
                }
                _ => {}
            }
        }
        std::mem::take(&mut self.findings)
    }

    fn find(
        &mut self,
        kind: PropertyKind,
        property: &'static str,
        holds: bool,
        detail: impl FnOnce() -> String,
    ) {
        let detail = if holds { String::new() } else { detail() };
        self.findings.push(Finding { kind, property, holds, detail });
    }

    /// `leader n3`: a server by its role.
    fn call(&self, node: NodeId) -> String {
        let role = self.roles.get(&node).copied().unwrap_or(Role::Follower);
        format!("{} n{}", role.name(), node.0)
    }

    fn elected(&mut self, id: NodeId, term: Term) {
        let other = *self.leaders.entry(term).or_insert(id);
        let (a, b) = (self.call(id), self.call(other));
        self.find(PropertyKind::Always, ELECTION_SAFETY, other == id, || {
            format!("{a} is elected in term {term}, in which {b} was elected")
        });
        self.find(PropertyKind::Sometimes, ELECTED, true, String::new);
        // The last entry that was committed in an earlier term; log matching answers for those before it.
        let last = self.applied.values().rfind(|applied| applied.seen_in < term).copied();
        if let Some(last) = last {
            let has = self.has(id, last.at);
            let b = self.call(last.by);
            self.find(PropertyKind::Always, LEADER_COMPLETENESS, has, || {
                let Position { term: of, index } = last.at;
                format!("{a} of term {term} lacks entry {index} of term {of}, which {b} has committed")
            });
        }
    }

    /// Whether a server's log has an entry; what it has compacted counts as there.
    fn has(&self, id: NodeId, at: Position) -> bool {
        self.logs
            .get(&id)
            .is_some_and(|log| at.index < log.base.index || log.term_at(at.index) == Some(at.term))
    }

    fn wrote(&mut self, id: NodeId, previous: Position, entries: &[Entry]) {
        let mut after = previous;
        for entry in entries {
            let at = Position::new(entry.term, after.index + 1);
            let new = Written { digest: digest(entry), after: after.term, by: id };
            let known = *self.written.entry(at).or_insert(new);
            if (known.digest, known.after) != (new.digest, new.after) {
                let (a, b) = (self.call(id), self.call(known.by));
                self.find(PropertyKind::Always, LOG_MATCHING, false, || {
                    let (Position { term, index }, was, is) = (at, known.after, new.after);
                    if was == is {
                        format!("entry {index} of term {term} is another on {a} than on {b}")
                    } else {
                        format!("entry {index} of term {term} stands after one of term {is} on {a}, of term {was} on {b}")
                    }
                });
            }
            after = at;
        }
        if !entries.is_empty() {
            self.find(PropertyKind::Always, LOG_MATCHING, true, String::new);
        }
    }

    fn committed_at(&mut self, raft: &Raft, first: Index, entries: &[Entry]) {
        let (id, term) = (raft.id(), raft.term());
        let mut newest = None;
        for (index, entry) in (first..).zip(entries) {
            let at = Position::new(entry.term, index);
            let new = Applied { at, digest: digest(entry), by: id, seen_in: term };
            let known = match self.applied.get(&index) {
                Some(known) => *known,
                None => {
                    self.applied.insert(index, new);
                    newest = Some(new);
                    continue;
                }
            };
            if (known.at, known.digest) != (at, new.digest) {
                let (a, b) = (self.call(id), self.call(known.by));
                self.find(PropertyKind::Always, STATE_MACHINE_SAFETY, false, || {
                    format!(
                        "at index {index} {a} applies an entry of term {}, {b} has applied one of term {}",
                        at.term, known.at.term
                    )
                });
            }
        }
        if !entries.is_empty() {
            self.find(PropertyKind::Always, STATE_MACHINE_SAFETY, true, String::new);
        }
        // Somebody may have been elected in a later term before this was committed: it must have it too.
        let Some(newest) = newest else { return };
        let later: Vec<(Term, NodeId)> = self.leaders.range(term + 1..).map(|(t, id)| (*t, *id)).collect();
        for (later, leader) in later {
            // Its log has only grown if it still leads that term; one that has stepped down proves nothing.
            if self.roles.get(&leader) == Some(&Role::Leader) && leader != id {
                let has = self.has(leader, newest.at);
                let (a, b) = (self.call(leader), self.call(id));
                self.find(PropertyKind::Always, LEADER_COMPLETENESS, has, || {
                    let Position { term: of, index } = newest.at;
                    format!(
                        "{b} commits entry {index} of term {of} in term {term}; {a} of term {later} lacks it"
                    )
                });
            }
        }
    }
}

/// The watch of one server, for `Node::host_watched`: it tells the observer of each step, and records what it finds as
/// properties of the run.
pub fn watch(
    observer: Arc<Mutex<Observer>>,
) -> impl FnMut(&mut Watching<'_>, &Raft, &[Effect<Raft>]) + 'static {
    move |watching, raft, effects| {
        let findings = observer.lock().unwrap_or_else(PoisonError::into_inner).saw(raft, effects);
        for Finding { kind, property, holds, detail } in findings {
            watching.check(kind, property, holds, || detail);
        }
    }
}
