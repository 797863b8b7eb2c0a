//! What servers say to each other, what they persist, what they are asked for, and what they announce.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use sim_core::{NodeId, time::Monotonic};

use super::{Configuration, Role};
use crate::Bytes;

/// Terms number the reigns of leaders: 0 before the first.
pub type Term = u64;
/// The place of an entry in the log: 1 for the first.
pub type Index = u64;

/// An entry's place and term, which say together which entry it is. The default stands before the first entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Position {
    /// The term of the leader that made it.
    pub term: Term,
    /// Its place.
    pub index: Index,
}

impl Position {
    /// Before the first entry.
    pub const START: Self = Self { term: 0, index: 0 };

    /// An entry's place and term.
    pub const fn new(term: Term, index: Index) -> Self {
        Self { term, index }
    }
}

/// One entry of the log.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Entry {
    /// The term of the leader that made it.
    pub term: Term,
    /// What it says.
    pub payload: Payload,
}

/// What an entry says.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Payload {
    /// Nothing: the first entry of a term.
    Noop,
    /// A command for the state machine.
    Command(Bytes),
    /// Who belongs to the cluster from here on.
    Configuration(Configuration),
}

impl Entry {
    /// About how many bytes it takes on the wire.
    pub fn size(&self) -> usize {
        match &self.payload {
            Payload::Noop => 4,
            Payload::Command(data) => data.len() + 8,
            Payload::Configuration(configuration) => 16 + 4 * configuration.members().count(),
        }
    }
}

/// The state that a prefix of the log leads to. Cheap to copy.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Snapshot {
    /// The last entry that it covers.
    pub last: Position,
    /// Who belonged to the cluster there.
    pub configuration: Configuration,
    /// The application's state, sessions included.
    pub data: Bytes,
}

/// See the table in the module [`raft`](super).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Message {
    /// Could I win an election in that term?
    PreVote {
        /// The term that the sender would campaign in.
        term: Term,
        /// The end of its log.
        last: Position,
    },
    /// The answer.
    PreVoted {
        /// The term that was asked for, where granted; the voter's own where not.
        term: Term,
        /// Whether it would vote for it.
        granted: bool,
    },
    /// Vote for me.
    RequestVote {
        /// The candidate's term.
        term: Term,
        /// The end of its log.
        last: Position,
        /// Whether the leader has asked it to campaign: then nobody protects that leader.
        transfer: bool,
    },
    /// The answer.
    Vote {
        /// The voter's term.
        term: Term,
        /// Whether it has voted for the candidate.
        granted: bool,
    },
    /// Entries of the log; without any it is a heartbeat.
    AppendEntries {
        /// The leader's term.
        term: Term,
        /// The entry before the first of these.
        previous: Position,
        /// The entries.
        entries: Vec<Entry>,
        /// What the leader knows to be committed.
        commit: Index,
        /// Which confirmation of leadership this is; comes back in the answer.
        round: u64,
        /// The leader's monotonic clock at the sending; comes back in the answer.
        sent: Monotonic,
    },
    /// The answer to `AppendEntries`, and to the last chunk of `InstallSnapshot`.
    Appended {
        /// The follower's term.
        term: Term,
        /// What came of it.
        outcome: Outcome,
        /// As it came.
        round: u64,
        /// As it came.
        sent: Monotonic,
    },
    /// A part of a snapshot, for a follower whose next entry the leader has no more.
    InstallSnapshot {
        /// The leader's term.
        term: Term,
        /// The last entry that the snapshot covers.
        last: Position,
        /// Who belonged to the cluster there.
        configuration: Configuration,
        /// Where this part begins.
        offset: u64,
        /// The part.
        data: Bytes,
        /// Whether it is the last.
        done: bool,
        /// As in `AppendEntries`.
        round: u64,
        /// As in `AppendEntries`.
        sent: Monotonic,
    },
    /// The answer to all parts but the last.
    SnapshotReceived {
        /// The follower's term.
        term: Term,
        /// The last entry that the snapshot covers.
        last: Position,
        /// How many bytes of it the follower has.
        offset: u64,
        /// As it came.
        round: u64,
        /// As it came.
        sent: Monotonic,
    },
    /// Campaign at once: the leader wants you to follow it.
    TimeoutNow {
        /// The leader's term.
        term: Term,
    },
}

impl Message {
    /// The sender's term; for `PreVote` and a granted `PreVoted` the one that is asked for.
    pub fn term(&self) -> Term {
        match *self {
            Self::PreVote { term, .. }
            | Self::PreVoted { term, .. }
            | Self::RequestVote { term, .. }
            | Self::Vote { term, .. }
            | Self::AppendEntries { term, .. }
            | Self::Appended { term, .. }
            | Self::InstallSnapshot { term, .. }
            | Self::SnapshotReceived { term, .. }
            | Self::TimeoutNow { term } => term,
        }
    }
}

/// What came of an `AppendEntries`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Outcome {
    /// The follower's log is the leader's up to there, durably.
    Matched {
        /// The last entry that is known to match.
        index: Index,
    },
    /// The follower has no such previous entry.
    Conflict {
        /// The index of the previous entry that it lacks.
        rejected: Index,
        /// Where to look next: the first entry of the conflicting term, or the end of a log that is too short.
        first: Index,
        /// The term of the entry that it has there, if it has one.
        term: Option<Term>,
    },
    /// The sender is no leader any more: the follower's term is higher.
    StaleTerm,
}

/// What a server persists. The records are a journal: an entry that comes again at an index replaces all from there on.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Record {
    /// The term, and whom it has voted for in it.
    HardState {
        /// The term.
        term: Term,
        /// The vote.
        vote: Option<NodeId>,
    },
    /// The log goes on after `previous` with these; what it had there is void.
    Entries {
        /// The entry before the first.
        previous: Position,
        /// In order.
        entries: Vec<Entry>,
    },
    /// The log begins after `base`, and this state stands for what lies before.
    Snapshot {
        /// The entry before the first one that is kept; not later than the end of the snapshot.
        base: Position,
        /// The state.
        snapshot: Snapshot,
    },
}

/// How a read is made sure of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ReadMode {
    /// Not at all: whoever takes itself for the leader answers. Stale when it was replaced without noticing.
    Local,
    /// The commit index is noted, a majority confirms the leader, then the read is answered (thesis, section 6.4).
    ReadIndex,
    /// As long as a majority has promised not to elect anybody else, the leader answers alone (thesis, section 6.4.1);
    /// otherwise as with `ReadIndex`.
    Lease,
}

/// What the application asks of its server. `id` is the application's own number for what it asks, and comes back.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Command {
    /// Appends a command to the log: `Accepted`, and `Committed` later; or `Rejected`.
    Propose {
        /// The application's number for it.
        id: u64,
        /// The command.
        data: Bytes,
    },
    /// Asks whether the state may be read: `ReadReady` or `Rejected`.
    Read {
        /// The application's number for it.
        id: u64,
        /// How it is made sure of.
        mode: ReadMode,
    },
    /// Changes who belongs to the cluster: `Accepted`, and `Committed` later; or `Rejected`.
    ChangeMembership {
        /// The application's number for it.
        id: u64,
        /// Who shall vote.
        voters: BTreeSet<NodeId>,
        /// Who shall get the log and not vote.
        learners: BTreeSet<NodeId>,
        /// By joint consensus; otherwise at most one voter may come or go.
        joint: bool,
    },
    /// Makes another server the leader: `RoleChanged`, if it comes to pass; or `Rejected`.
    TransferLeadership {
        /// The application's number for it.
        id: u64,
        /// Who shall lead.
        target: NodeId,
    },
    /// The application's state after an entry, instead of the log up to it. Ignored where it is no news.
    Compact {
        /// The last entry that the state covers; it has been announced as committed.
        index: Index,
        /// The state, sessions included.
        data: Bytes,
    },
}

/// What a server announces to its application.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// A proposal or a change has its place in the leader's log. It may yet be lost.
    Accepted {
        /// The application's number for it.
        id: u64,
        /// Its place.
        at: Position,
    },
    /// It was not done, and will not be.
    Rejected {
        /// The application's number for it.
        id: u64,
        /// Why.
        reason: Rejection,
    },
    /// Entries are committed: apply them, in order. Each index comes once in a server's life (after a restart again).
    Committed {
        /// The index of the first.
        first: Index,
        /// In order, without gaps.
        entries: Vec<Entry>,
    },
    /// The state as of a snapshot: forget yours, take this one. Entries go on after it.
    Restored {
        /// The state.
        snapshot: Snapshot,
    },
    /// The state may be read: everything up to `index` has been announced before this.
    ReadReady {
        /// The application's number for it.
        id: u64,
        /// The last entry that the answer reflects, at least.
        index: Index,
    },
    /// Role, term or leader have changed.
    RoleChanged {
        /// The role.
        role: Role,
        /// The term.
        term: Term,
        /// Who leads, as far as known.
        leader: Option<NodeId>,
    },
}

/// Why something was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Rejection {
    /// This server does not lead.
    NotLeader {
        /// Who does, as far as it knows.
        leader: Option<NodeId>,
    },
    /// The leader is handing over.
    Transferring,
    /// No entry of the leader's own term is committed yet: it must not change the configuration before (the rule of 2015).
    NothingCommittedInTerm,
    /// A change is under way.
    ChangeInFlight,
    /// More than one voter would come or go, and the change is not joint.
    TooManyAtOnce,
    /// This server's log is too far behind for a voter's.
    NotCaughtUp {
        /// Who.
        node: NodeId,
    },
    /// There would be no voters, or the target is none.
    NoVoter,
}

/// The timers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Timer {
    /// The leader has been silent for too long.
    Election,
    /// The leader's next heartbeat is due.
    Heartbeat,
    /// The transfer of leadership has taken too long.
    Transfer,
    /// This server's own copy is durable up to there. Waits for a sync, not for a time.
    Durable {
        /// The term in which it was written.
        term: Term,
        /// The last entry.
        index: Index,
    },
}
