//! What a leader knows: of each member, of reads that wait, of its own copy.

use std::collections::{BTreeMap, VecDeque};

use sim_core::{NodeId, time::Monotonic};

use super::{Index, snapshot::Outgoing};

/// How a leader sends to a member.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Mode {
    /// It does not know where the logs agree: one message at a time.
    Probe {
        /// Whether one is under way.
        waiting: bool,
    },
    /// It does: it sends without waiting. The ends of the messages on their way, and when they left.
    Stream(VecDeque<(Index, Monotonic)>),
    /// The member's next entry is compacted.
    Snapshot(Outgoing),
}

/// What a leader knows of a member.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Peer {
    /// The logs agree up to there, durably.
    pub(super) matched: Index,
    /// The next entry to send.
    pub(super) next: Index,
    pub(super) mode: Mode,
    /// When the latest message left that it has answered, if it has answered any.
    pub(super) heard: Option<Monotonic>,
    /// When the leader met it: it need not have answered before.
    pub(super) since: Monotonic,
    /// The latest confirmation of leadership that it has answered.
    pub(super) round: u64,
}

impl Peer {
    pub(super) fn new(next: Index, now: Monotonic) -> Self {
        Self { matched: 0, next, mode: Mode::Probe { waiting: false }, heard: None, since: now, round: 0 }
    }
    /// Whether it may be sent entries now.
    pub(super) fn may_be_sent_to(&self, in_flight: usize) -> bool {
        match &self.mode {
            Mode::Probe { waiting } => !waiting,
            Mode::Stream(on_their_way) => on_their_way.len() < in_flight,
            Mode::Snapshot(_) => false,
        }
    }
}

/// A read that waits for the confirmation of the leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct PendingRead {
    pub(super) id: u64,
    pub(super) index: Index,
    pub(super) round: u64,
}

/// A transfer of leadership.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Transfer {
    pub(super) target: NodeId,
    /// Whether the target has been told to campaign.
    pub(super) asked: bool,
}

/// What belongs to a leader.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Leading {
    pub(super) peers: BTreeMap<NodeId, Peer>,
    /// Its own copy is durable up to there.
    pub(super) durable: Index,
    /// The last confirmation of leadership that it has asked for.
    pub(super) round: u64,
    /// Reads whose confirmation is under way, in order.
    pub(super) reads: VecDeque<PendingRead>,
    /// Reads that wait until an entry of this term is committed.
    pub(super) early_reads: Vec<u64>,
    pub(super) transfer: Option<Transfer>,
    pub(super) lease_is_void: bool,
    /// Where its term begins: the index after the end of the log that it was elected with.
    pub(super) first: Index,
}

impl Leading {
    pub(super) fn new(durable: Index, first: Index) -> Self {
        Self {
            peers: BTreeMap::new(),
            durable,
            round: 0,
            reads: VecDeque::new(),
            early_reads: Vec::new(),
            transfer: None,
            lease_is_void: false,
            first,
        }
    }
    /// The reads that nobody will answer when it steps down.
    pub(super) fn unanswered_reads(self) -> impl Iterator<Item = u64> {
        self.reads.into_iter().map(|read| read.id).chain(self.early_reads)
    }
}
