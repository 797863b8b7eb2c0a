//! Raft: a leader keeps a log and copies it to the others; what a majority holds is committed, and never lost.
//!
//! ```text
//!   client      leader               followers
//!     | propose   |                      |
//!     |---------->|--- AppendEntries --->|   at once: its own sync runs beside theirs
//!     |           |  sync                |  sync
//!     |           |<----- Appended ------|
//!     | committed |  a majority has it (itself, when its sync is done)
//!     |<----------|
//! ```
//!
//! | message | from, to | when | what it does |
//! |---|---|---|---|
//! | `PreVote` | pre-candidate, all voters | its leader was silent for an election time-out (`pre_vote`) | asks whether an election could be won; changes nobody |
//! | `PreVoted` | voter, pre-candidate | at once | a majority starts the election |
//! | `RequestVote` | candidate, all voters | the election: its term is one higher | raises the term of who hears it, unless a leader was heard just now (`stickiness`) |
//! | `Vote` | voter, candidate | when term and vote are durable | a majority, itself included, makes the leader |
//! | `AppendEntries` | leader, each member | new entries; each heartbeat; each read that must be confirmed | appends, cuts what contradicts, carries the commit index |
//! | `Appended` | follower, leader | when the entries are durable | counts for the commit, or says where to look for the conflict; confirms the leader |
//! | `InstallSnapshot` | leader, follower | the follower's next entry is compacted; one part at a time | the last part replaces the follower's state |
//! | `SnapshotReceived` | follower, leader | at once | asks for the next part |
//! | `TimeoutNow` | leader, its successor | it has the whole log (transfer) | campaigns without waiting |
//!
//! **What it promises**, with fewer than half of the voters gone and disks that keep what they have synced: at most one leader
//! in a term; logs that agree in one entry agree in all before it; a committed entry is in the log of every later leader; no
//! two servers apply different entries at one index. With a majority up and connected for long enough it commits.
//!
//! **What waits for the disk.** Answers do (`Vote`, `Appended`): they are sent after the records on which they depend. What a
//! leader says does not, and neither does a candidate's `RequestVote`: they count themselves when their own copy is durable
//! ([`Timer::Durable`]). A candidate becomes leader only then, whatever the others say: otherwise it could win, crash, forget
//! its term, and win the same term again with other entries.
//!
//! **The application** keeps the state machine: it proposes bytes, applies what is announced as committed, takes snapshots when
//! it likes ([`Command::Compact`]) and puts them in place of its state when told to. Nothing is announced twice between two
//! restarts; after a restart everything since the last snapshot is announced again. See `README.md` of this crate.
//!
//! **States** for the timeline: `role` (`follower`, `pre-candidate`, `candidate`, `leader`), `term`, `config` (who votes, by the
//! numbers of the nodes, such as `n0,n1,n2`).
//!
//! Sources: D. Ongaro and J. Ousterhout, "In Search of an Understandable Consensus Algorithm (Extended Version)", 2014 (the
//! paper): elections 5.2, log 5.3, commit rule 5.4.2 and figure 8, timing 5.6, membership 6, compaction 7, clients 8.
//! D. Ongaro, "Consensus: Bridging Theory and Practice", Stanford 2014 (the thesis): transfer 3.10, single-server changes 4.1,
//! catching up 4.2.1, removed leaders 4.2.2, disruptive servers 4.2.3, joint consensus 4.3, snapshots 5.1, step-down 6.2,
//! sessions 6.3, read index and leases 6.4, pre-vote 9.6, disk beside network 10.2.1, batching and pipelining 10.2.2. The rule that
//! a leader commits an entry of its term before it changes the configuration: D. Ongaro, message to raft-dev, July 2015.

mod config;
mod configuration;
mod election;
mod log;
mod membership;
mod messages;
pub mod observer;
mod peer;
mod reads;
mod replication;
mod snapshot;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use sim_core::{
    NodeId,
    protocol::{Durability, Out, Protocol},
    time::Monotonic,
};

pub use config::{Config, Flaws};
pub use configuration::Configuration;
pub use log::Log;
pub use messages::{
    Command, Entry, Event, Index, Message, Outcome, Payload, Position, ReadMode, Record, Rejection, Snapshot,
    Term, Timer,
};
pub use observer::Observer;
use peer::Leading;
use snapshot::Incoming;

/// The state that shows a server's role on the timeline.
pub const ROLE: &str = "role";
/// The state that shows a server's term.
pub const TERM: &str = "term";
/// The state that shows the newest configuration in a server's log, committed or not.
pub const CONFIG: &str = "config";

/// What a server takes itself for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// It follows a leader, or waits for one.
    Follower,
    /// It asks whether it could win an election.
    PreCandidate,
    /// It asks for votes.
    Candidate,
    /// It leads.
    Leader,
}

impl Role {
    /// As the state [`ROLE`] shows it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Follower => "follower",
            Self::PreCandidate => "pre-candidate",
            Self::Candidate => "candidate",
            Self::Leader => "leader",
        }
    }
}

/// A role and what belongs to it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Standing {
    Follower,
    PreCandidate { granted: BTreeSet<NodeId> },
    Candidate { granted: BTreeSet<NodeId> },
    Leader(Leading),
}

/// One server. See the module.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Raft {
    config: Config,
    term: Term,
    vote: Option<NodeId>,
    standing: Standing,
    leader: Option<NodeId>,
    /// When a leader was heard last.
    heard: Option<Monotonic>,
    log: Log,
    snapshot: Option<Snapshot>,
    commit: Index,
    /// The configurations of the log, each with its index; the first is that of the snapshot, or the first of all.
    configurations: Vec<(Index, Configuration)>,
    /// A snapshot of which parts have come.
    incoming: Option<Incoming>,
}

impl Raft {
    /// This server.
    pub fn id(&self) -> NodeId {
        self.config.id
    }
    /// Its configuration, as it was given.
    pub fn config(&self) -> &Config {
        &self.config
    }
    /// Its term.
    pub fn term(&self) -> Term {
        self.term
    }
    /// Whom it has voted for in its term.
    pub fn vote(&self) -> Option<NodeId> {
        self.vote
    }
    /// What it takes itself for.
    pub fn role(&self) -> Role {
        match self.standing {
            Standing::Follower => Role::Follower,
            Standing::PreCandidate { .. } => Role::PreCandidate,
            Standing::Candidate { .. } => Role::Candidate,
            Standing::Leader(_) => Role::Leader,
        }
    }
    /// Whether it takes itself for the leader.
    pub fn is_leader(&self) -> bool {
        matches!(self.standing, Standing::Leader(_))
    }
    /// Who leads, as far as it knows.
    pub fn leader(&self) -> Option<NodeId> {
        self.leader
    }
    /// Its log, durable or not.
    pub fn log(&self) -> &Log {
        &self.log
    }
    /// The last entry that it knows to be committed; all up to it have been announced.
    pub fn commit_index(&self) -> Index {
        self.commit
    }
    /// Its latest snapshot.
    pub fn snapshot(&self) -> Option<&Snapshot> {
        self.snapshot.as_ref()
    }
    /// The last entry that its latest snapshot covers: 0 without one.
    pub fn snapshot_index(&self) -> Index {
        self.snapshot.as_ref().map_or(0, |snapshot| snapshot.last.index)
    }
    /// The newest configuration in its log, committed or not: the one that counts.
    pub fn configuration(&self) -> &Configuration {
        &self.configurations.last().expect("there is always a first configuration").1
    }
    /// As far as a leader knows a member's log to match its own, durably; itself included. Nothing of others.
    pub fn matched(&self, member: NodeId) -> Option<Index> {
        let Standing::Leader(leading) = &self.standing else { return None };
        if member == self.config.id {
            return Some(leading.durable);
        }
        leading.peers.get(&member).map(|peer| peer.matched)
    }

    fn hard_state(&self) -> Record {
        let vote = if self.config.flaws.forget_vote { None } else { self.vote };
        Record::HardState { term: self.term, vote }
    }

    /// The log goes on after `previous` with these, in memory and on the disk; what it had there is void.
    fn store(&mut self, previous: Position, entries: Vec<Entry>, out: &mut Out<Self>) {
        let before = self.configurations.len();
        self.keep(previous, &entries);
        if before != self.configurations.len() || entries.iter().any(is_configuration) {
            out.state(CONFIG, self.configuration().to_string());
        }
        out.append(Record::Entries { previous, entries });
    }
    /// The same in memory alone.
    fn keep(&mut self, previous: Position, entries: &[Entry]) {
        self.log.cut_after(previous.index);
        while self.configurations.len() > 1
            && self.configurations.last().is_some_and(|(index, _)| *index > previous.index)
        {
            self.configurations.pop();
        }
        for entry in entries {
            let index = self.log.push(entry.clone());
            let newest = self.configurations.last().map_or(0, |(at, _)| *at);
            if let Payload::Configuration(configuration) = &entry.payload
                && index > newest
            {
                self.configurations.push((index, configuration.clone()));
            }
        }
    }

    /// Entries up to `index` are committed: the application hears of them.
    fn commit_through(&mut self, index: Index, out: &mut Out<Self>) {
        let first = self.commit + 1;
        let entries = self.log.range(first, index);
        self.commit = index;
        if !entries.is_empty() {
            out.announce_now(Event::Committed { first, entries });
        }
    }

    fn reject(&self, id: u64, reason: Rejection, out: &mut Out<Self>) {
        out.announce_now(Event::Rejected { id, reason });
    }
    fn not_leader(&self) -> Rejection {
        Rejection::NotLeader { leader: self.leader }
    }
}

fn is_configuration(entry: &Entry) -> bool {
    matches!(entry.payload, Payload::Configuration(_))
}

impl Protocol for Raft {
    type Config = Config;
    type Message = Message;
    type Command = Command;
    type Event = Event;
    type Record = Record;
    type Timer = Timer;

    fn durability(config: &Config) -> Durability {
        config.durability
    }

    fn restore(config: &Config, records: Vec<Record>, out: &mut Out<Self>) -> Self {
        let mut raft = Self {
            config: config.clone(),
            term: 0,
            vote: None,
            standing: Standing::Follower,
            leader: None,
            // A promise not to elect anybody is forgotten in a crash, and its leader may count on it: it is made again.
            heard: (!records.is_empty()).then(|| out.now()),
            log: Log::default(),
            snapshot: None,
            commit: 0,
            configurations: vec![(0, Configuration::of(config.voters.iter().copied()))],
            incoming: None,
        };
        for record in records {
            match record {
                Record::HardState { term, vote } => (raft.term, raft.vote) = (term, vote),
                Record::Entries { previous, entries } => {
                    if raft.log.position(previous.index) == Some(previous) {
                        raft.keep(previous, &entries);
                    }
                }
                Record::Snapshot { base, snapshot } => raft.begin_from(base, snapshot),
            }
        }
        out.state(ROLE, Role::Follower.name());
        out.state(TERM, raft.term.to_string());
        out.state(CONFIG, raft.configuration().to_string());
        if let Some(snapshot) = &raft.snapshot {
            out.announce_now(Event::Restored { snapshot: snapshot.clone() });
        }
        raft.arm_election(out);
        raft
    }

    fn on_command(&mut self, command: Command, out: &mut Out<Self>) {
        match command {
            Command::Propose { id, data } => self.propose(id, data, out),
            Command::Read { id, mode } => self.read(id, mode, out),
            Command::ChangeMembership { id, voters, learners, joint } => {
                self.change_membership(id, voters, learners, joint, out);
            }
            Command::TransferLeadership { id, target } => self.transfer_leadership(id, target, out),
            Command::Compact { index, data } => self.compact(index, data, out),
        }
    }

    fn on_message(&mut self, from: NodeId, message: Message, out: &mut Out<Self>) {
        if !self.admit_term(from, &message, out) {
            return;
        }
        match message {
            Message::PreVote { term, last } => self.on_pre_vote(from, term, last, out),
            Message::PreVoted { term, granted } => self.on_pre_voted(from, term, granted, out),
            Message::RequestVote { last, .. } => self.on_request_vote(from, last, out),
            Message::Vote { granted, .. } => self.on_vote(from, granted, out),
            Message::AppendEntries { previous, entries, commit, round, sent, .. } => {
                self.follow(from, out);
                let outcome = self.on_append_entries(previous, entries, commit, out);
                out.send(from, Message::Appended { term: self.term, outcome, round, sent });
            }
            Message::Appended { outcome, round, sent, .. } => {
                self.on_appended(from, outcome, round, sent, out);
            }
            Message::InstallSnapshot { last, configuration, offset, data, done, round, sent, .. } => {
                self.follow(from, out);
                let answer =
                    self.on_install_snapshot(last, configuration, offset, &data, done, (round, sent), out);
                out.send(from, answer);
            }
            Message::SnapshotReceived { last, offset, round, sent, .. } => {
                self.on_snapshot_received(from, last, offset, round, sent, out);
            }
            Message::TimeoutNow { .. } => self.on_timeout_now(out),
        }
    }

    fn on_timer(&mut self, timer: Timer, out: &mut Out<Self>) {
        match timer {
            Timer::Election => self.on_election_timeout(out),
            Timer::Heartbeat => self.on_heartbeat(out),
            Timer::Transfer => self.end_transfer(out),
            Timer::Durable { term, index } => self.on_durable(term, index, out),
        }
    }
}
