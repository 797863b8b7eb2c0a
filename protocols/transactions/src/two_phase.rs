//! Two-phase commit: a coordinator asks all participants for their vote, and commits when all say yes.
//!
//! ```text
//!   coordinator                      participant
//!     | begin                          |
//!     |-- Prepare -------------------->|  Asked: the application votes
//!     |                                |  writes Prepared: from here on it is in doubt
//!     |<------------------ Vote yes ---|
//!     | all yes: writes Committed      |
//!     |-- Decide commit -------------->|  writes Done: no longer in doubt
//!     |<--------------- Acknowledge ---|
//!     | all: may forget                |
//! ```
//!
//! | message | from | to | when | what it does |
//! |---|---|---|---|---|
//! | `Prepare` | coordinator | each participant | at the begin; again to those whose vote is missing | asks for a vote |
//! | `Vote` | participant | coordinator | its application has voted, and a yes is on its disk | all yes: commit; one no: abort |
//! | `Decide` | coordinator | each participant | it has decided, and a commit is on its disk; again until acknowledged | ends the doubt |
//! | `Acknowledge` | participant | coordinator | the commit is on its disk | from all: the coordinator forgets |
//! | `Inquire` | participant in doubt | coordinator, or peers too | after each `doubt` without a decision, and after a restart | is answered with `Decide` by whoever knows |
//!
//! A node is coordinator of the transactions that it begins and participant of those that it is asked about, at once if need
//! be. Undisturbed, n participants cost 4n messages to a commit, two forced writes at each participant and one at the
//! coordinator.
//!
//! **What it promises.** No two participants end a transaction differently, whatever is lost, doubled, late or crashes: a
//! participant that voted yes commits or aborts only as the coordinator has decided, and the coordinator commits only if all
//! have voted yes. What it does not promise is an end: while the coordinator is gone, whoever has voted yes is *in doubt*.
//!
//! **Presumed abort.** A coordinator writes nothing before it commits. One that does not know a transaction says that it was
//! aborted: it has crashed before it decided, or has aborted and forgotten. So an abort costs the coordinator no write, and
//! nobody acknowledges it. A commit is kept until all have acknowledged it. That it is forgotten is written with the next
//! commit: if a crash is faster, the participants are told once more. A late copy of a vote or a question about a forgotten commit
//! is answered with an abort; whoever asked has committed, and takes no notice.
//!
//! **Numbers.** A coordinator's application begins each number once, also over restarts, and nobody hears of a transaction
//! before it has begun: or it would be presumed aborted, and then begin. Participants remember the outcomes for ever, so that
//! a late `Prepare` does not begin an old transaction anew.
//!
//! **Restarts.** What was voted or decided is on the disk before anybody hears of it. A restarted participant announces all
//! outcomes anew, in order, and then its doubts, so that its application can do and lock again what the crash took; it asks
//! about its doubts at once.
//!
//! **Switches that break it.** [`Termination::AbortAlone`] and [`Config::votes_missing`] are mistakes that people make. They
//! are here to be found.
//!
//! Sources: J. Gray, "Notes on Data Base Operating Systems", 1978; C. Mohan, B. Lindsay, R. Obermarck, "Transaction Management
//! in the R* Distributed Database Management System", ACM TODS 11(4), 1986 (presumed abort); J. Gray, L. Lamport, "Consensus
//! on Transaction Commit", ACM TODS 31(1), 2006 (the specification, see [`Config::specification`]).

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use serde::{Deserialize, Serialize};
use sim_core::{
    NodeId,
    protocol::{Out, Protocol},
    time::{Duration, ms, secs},
};

mod coordinator;
mod participant;
#[cfg(test)]
mod tests;

/// The state that shows on the timeline how many transactions a participant is in doubt about.
pub const IN_DOUBT: &str = "in_doubt";

/// The name of a transaction: its coordinator, and a number that the coordinator's application uses once.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Transaction {
    /// Who decides it.
    pub coordinator: NodeId,
    /// Which of its transactions.
    pub number: u64,
}

impl fmt::Debug for Transaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}.{}", self.coordinator, self.number)
    }
}

/// How a transaction ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Outcome {
    /// All have done it.
    Committed,
    /// Nobody has done it.
    Aborted,
}

/// A participant's vote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Vote {
    /// It can do its part, and will if all can.
    Yes,
    /// It cannot.
    No,
}

/// Who is the first to speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Voting {
    /// The coordinator asks for the votes.
    Asked,
    /// A participant votes when its work is done, without being asked: a message and a delay less.
    Volunteered,
}

/// Who decides when all have voted yes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Deciding {
    /// The coordinator commits at the last yes.
    AtOnce,
    /// It announces [`Event::Ready`], and its application commits or aborts.
    OnCommand,
}

/// What a participant does that has been in doubt for the time of [`Config::doubt`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Termination {
    /// It asks the coordinator.
    Wait,
    /// It asks the other participants too. One that knows the outcome tells it; one that has not voted aborts, and says so.
    /// It does not help where all have voted yes and nobody knows.
    AskPeers,
    /// It aborts on its own. Wrong: the coordinator may have committed.
    AbortAlone,
}

/// Who am I, and the switches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Config {
    /// This node.
    pub node: NodeId,
    /// Who is the first to speak.
    pub voting: Voting,
    /// Who decides when all have voted yes.
    pub deciding: Deciding,
    /// Whether participants acknowledge a commit and the coordinator forgets what is over. Otherwise it remembers all
    /// commits for ever, aborts until it crashes, and repeats no decision by itself.
    pub acknowledge: bool,
    /// What a participant does that is in doubt.
    pub termination: Termination,
    /// After that time without a decision the coordinator aborts; without it never.
    pub patience: Option<Duration>,
    /// The coordinator repeats what was not answered, each time after so long; without it never.
    pub repeat: Option<Duration>,
    /// A participant in doubt does what `termination` says, each time after so long; without it never.
    pub doubt: Option<Duration>,
    /// The coordinator commits although so many votes are missing. Anything but 0 is wrong.
    pub votes_missing: u32,
}

impl Config {
    /// Two-phase commit with presumed abort, as it is found in databases. Patience of 1 s, repetition after 500 ms, and a
    /// question each 1 s of doubt.
    pub const fn new(node: NodeId) -> Self {
        Self {
            node,
            voting: Voting::Asked,
            deciding: Deciding::AtOnce,
            acknowledge: true,
            termination: Termination::Wait,
            patience: Some(secs(1)),
            repeat: Some(ms(500)),
            doubt: Some(secs(1)),
            votes_missing: 0,
        }
    }
    /// Without time and without answers, as the specification of Gray and Lamport (2006, section 3) has it: participants
    /// prepare on their own, the decision is a step of its own, nobody acknowledges, and messages that are never lost need
    /// not be repeated.
    pub const fn specification(node: NodeId) -> Self {
        Self {
            voting: Voting::Volunteered,
            deciding: Deciding::OnCommand,
            acknowledge: false,
            patience: None,
            repeat: None,
            doubt: None,
            ..Self::new(node)
        }
    }

    /// Whether the switches make sense. What does not still never panics.
    ///
    /// # Errors
    /// Says which one is wrong and what is allowed.
    pub fn validate(&self) -> Result<(), String> {
        for (name, time) in [("patience", self.patience), ("repeat", self.repeat), ("doubt", self.doubt)] {
            if time.is_some_and(|time| time == Duration::ZERO) {
                return Err(format!("`{name}` must be more than 0s; leave it out for never"));
            }
        }
        Ok(())
    }
}

/// What nodes say to each other.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Message {
    /// Can you do your part?
    Prepare {
        /// Of which transaction.
        transaction: Transaction,
        /// Who takes part: whom to ask when the coordinator is gone.
        participants: Vec<NodeId>,
    },
    /// I can, or cannot.
    Vote {
        /// Of which transaction.
        transaction: Transaction,
        /// Yes or no.
        vote: Vote,
    },
    /// This is how it ends.
    Decide {
        /// Which transaction.
        transaction: Transaction,
        /// How.
        outcome: Outcome,
    },
    /// I have committed, and will not forget it.
    Acknowledge {
        /// Which transaction.
        transaction: Transaction,
    },
    /// I am in doubt: how does it end?
    Inquire {
        /// Which transaction.
        transaction: Transaction,
    },
}

/// What the application asks of its own node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// As coordinator: begin a transaction with these participants. A number that is known is ignored.
    Begin {
        /// A number that was never used before.
        number: u64,
        /// Who takes part; whoever is named twice counts once.
        participants: Vec<NodeId>,
    },
    /// As coordinator: commit, if all have voted yes. Ignored otherwise.
    Commit(u64),
    /// As coordinator: abort, if nothing is decided.
    Abort(u64),
    /// As participant: the vote. Ignored where nobody asked (unless votes are volunteered), and after the first.
    Vote(Transaction, Vote),
    /// As participant: abort without a word, if it has not voted. The coordinator's patience ends the rest.
    Abandon(Transaction),
}

/// What is announced to the application.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Event {
    /// To a participant: vote, please. At least once, unless the node crashes.
    Asked(Transaction),
    /// To a participant, after a restart: this transaction is prepared, and nobody here knows how it ends.
    InDoubt(Transaction),
    /// To a participant: its part is over. At least once: after a restart, all outcomes come again.
    Outcome(Transaction, Outcome),
    /// To a participant: the coordinator has committed what this node has aborted, or never voted for.
    Contradiction(Transaction),
    /// To a coordinator whose application decides: all have voted yes.
    Ready(Transaction),
    /// To a coordinator: it has decided. A commit that is not known to be over comes again after a restart.
    Decided(Transaction, Outcome),
}

/// What is persisted.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Record {
    /// A participant is about to vote yes.
    Prepared {
        /// To which transaction.
        transaction: Transaction,
        /// Whom to ask when the coordinator is gone.
        participants: Vec<NodeId>,
    },
    /// A participant's part is over.
    Done(Transaction, Outcome),
    /// A coordinator has decided to commit.
    Committed {
        /// Which of its transactions.
        number: u64,
        /// Who has to be told.
        participants: Vec<NodeId>,
    },
    /// A coordinator knows that all have committed these.
    Ended(Vec<u64>),
}

/// The timers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Timer {
    /// A coordinator has waited long enough for the votes of this number.
    Patience(u64),
    /// A coordinator repeats what was not answered.
    Repeat(u64),
    /// A participant has been in doubt for long.
    Doubt(Transaction),
}

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TwoPhase {
    config: Config,
    coordinated: BTreeMap<u64, Coordinated>,
    /// Numbers that are over, for the next write.
    ended: Vec<u64>,
    parts: BTreeMap<Transaction, Part>,
}

/// What a coordinator knows of a transaction.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Coordinated {
    participants: BTreeSet<NodeId>,
    yes: BTreeSet<NodeId>,
    decision: Option<Outcome>,
    acknowledged: BTreeSet<NodeId>,
}

/// What a participant knows of a transaction.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Part {
    /// It has been asked, and may still abort.
    Working { participants: Vec<NodeId> },
    /// It has voted yes: in doubt.
    Prepared { participants: Vec<NodeId> },
    /// It is over.
    Done(Outcome),
}

/// What a participant looks like from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PartState {
    /// It has not voted; perhaps it has never heard of the transaction.
    Working,
    /// It has voted yes, and does not know the outcome: in doubt.
    Prepared,
    /// It knows that all commit.
    Committed,
    /// It has aborted.
    Aborted,
}

impl TwoPhase {
    /// Where this node stands as a participant.
    pub fn part(&self, transaction: Transaction) -> PartState {
        match self.parts.get(&transaction) {
            None | Some(Part::Working { .. }) => PartState::Working,
            Some(Part::Prepared { .. }) => PartState::Prepared,
            Some(Part::Done(Outcome::Committed)) => PartState::Committed,
            Some(Part::Done(Outcome::Aborted)) => PartState::Aborted,
        }
    }
    /// The transactions that this node has voted yes to without knowing the outcome.
    pub fn in_doubt(&self) -> impl Iterator<Item = Transaction> {
        let prepared = self.parts.iter().filter(|(_, part)| matches!(part, Part::Prepared { .. }));
        prepared.map(|(&transaction, _)| transaction)
    }
    /// What this node has decided as a coordinator; none where it has not, or has forgotten.
    pub fn decision(&self, number: u64) -> Option<Outcome> {
        self.coordinated.get(&number)?.decision
    }
    /// Who has voted yes, as far as the coordinator has heard and not forgotten.
    pub fn votes(&self, number: u64) -> impl Iterator<Item = NodeId> {
        self.coordinated.get(&number).into_iter().flat_map(|transaction| transaction.yes.iter().copied())
    }
    /// How many transactions the coordinator has in its memory.
    pub fn remembered(&self) -> usize {
        self.coordinated.len()
    }
}

impl Protocol for TwoPhase {
    type Config = Config;
    type Message = Message;
    type Command = Command;
    type Event = Event;
    type Record = Record;
    type Timer = Timer;

    fn restore(config: &Config, records: Vec<Record>, out: &mut Out<Self>) -> Self {
        let mut node =
            Self { config: *config, coordinated: BTreeMap::new(), ended: Vec::new(), parts: BTreeMap::new() };
        for record in records {
            match record {
                Record::Prepared { transaction, participants } => {
                    node.parts.insert(transaction, Part::Prepared { participants });
                }
                Record::Done(transaction, outcome) => {
                    node.parts.insert(transaction, Part::Done(outcome));
                    out.announce(Event::Outcome(transaction, outcome));
                }
                Record::Committed { number, participants } => {
                    node.coordinated.insert(number, Coordinated::committed(participants));
                }
                Record::Ended(numbers) => {
                    for number in numbers {
                        node.coordinated.remove(&number);
                    }
                }
            }
        }
        node.resume_parts(out);
        node.resume_coordinated(out);
        node
    }

    fn on_command(&mut self, command: Command, out: &mut Out<Self>) {
        match command {
            Command::Begin { number, participants } => self.begin(number, participants, out),
            Command::Commit(number) => self.commit_if_ready(number, out),
            Command::Abort(number) => self.decide(number, Outcome::Aborted, None, out),
            Command::Vote(transaction, vote) => self.vote(transaction, vote, out),
            Command::Abandon(transaction) => self.abandon(transaction, out),
        }
    }

    fn on_message(&mut self, from: NodeId, message: Message, out: &mut Out<Self>) {
        match message {
            Message::Prepare { transaction, participants } => self.asked(transaction, participants, out),
            Message::Decide { transaction, outcome } => self.decided(transaction, outcome, out),
            Message::Inquire { transaction } if transaction.coordinator != self.config.node => {
                self.asked_by_peer(from, transaction, out);
            }
            // What follows is for the coordinator. What belongs to another one has gone astray.
            Message::Vote { transaction, .. }
            | Message::Acknowledge { transaction }
            | Message::Inquire { transaction }
                if transaction.coordinator != self.config.node => {}
            Message::Vote { transaction, vote } => self.voted(from, transaction.number, vote, out),
            Message::Acknowledge { transaction } => self.acknowledged(from, transaction.number, out),
            Message::Inquire { transaction } => self.tell(from, transaction.number, out),
        }
    }

    fn on_timer(&mut self, timer: Timer, out: &mut Out<Self>) {
        match timer {
            Timer::Patience(number) => self.decide(number, Outcome::Aborted, None, out),
            Timer::Repeat(number) => self.repeat(number, out),
            Timer::Doubt(transaction) => self.doubt(transaction, out),
        }
    }
}
