//! What a server says, read from its effects: no simulator, no network, no waiting.

mod changes;
mod elections;
mod logs;
mod reading;
mod snapshots;

use std::collections::BTreeSet;

use sim_core::{
    protocol::Effect,
    time::{Duration, Wall, ms},
};

use super::*;
use crate::Bytes;

const A: NodeId = NodeId(0);
const B: NodeId = NodeId(1);
const C: NodeId = NodeId(2);
const D: NodeId = NodeId(3);

type Effects = Vec<Effect<Raft>>;

/// A server under test and its surroundings.
struct Bench {
    out: Out<Raft>,
    raft: Raft,
}

fn entry(term: Term, text: &str) -> Entry {
    Entry { term, payload: Payload::Command(Bytes::from(text)) }
}
fn noop(term: Term) -> Entry {
    Entry { term, payload: Payload::Noop }
}
fn at(term: Term, index: Index) -> Position {
    Position::new(term, index)
}
fn nodes(list: impl IntoIterator<Item = NodeId>) -> BTreeSet<NodeId> {
    list.into_iter().collect()
}
/// A's configuration, one of three.
fn config() -> Config {
    Config::new(A, [A, B, C])
}

impl Bench {
    fn start(config: Config, records: Vec<Record>) -> (Self, Effects) {
        let mut out = Out::new(Monotonic::ZERO, Wall::START, 5);
        let raft = Raft::restore(&config, records, &mut out);
        let effects = out.take();
        (Self { out, raft }, effects)
    }
    fn new(config: Config) -> Self {
        Self::start(config, Vec::new()).0
    }
    /// With a log of entries of these terms, in the last of them.
    fn with_log(config: Config, terms: &[Term]) -> Self {
        let entries = terms.iter().map(|&term| entry(term, "old")).collect();
        let term = terms.last().copied().unwrap_or(0);
        let records = vec![
            Record::HardState { term, vote: None },
            Record::Entries { previous: Position::START, entries },
        ];
        let mut bench = Self::start(config, records).0;
        bench.pass(secs(10));
        bench
    }
    /// A leader: elected by B, its first entry is on its way and its own copy durable.
    fn leader(config: Config, terms: &[Term]) -> Self {
        let mut bench = Self::with_log(config, terms);
        bench.fire(Timer::Election);
        if bench.raft.role() == Role::PreCandidate {
            let term = bench.raft.term() + 1;
            bench.hear(B, Message::PreVoted { term, granted: true });
        }
        let (term, index) = (bench.raft.term(), bench.raft.log().last().index);
        bench.fire(Timer::Durable { term, index });
        bench.hear(B, Message::Vote { term, granted: true });
        assert!(bench.raft.is_leader());
        bench.durable();
        bench
    }
    /// The server's own copy is durable.
    fn durable(&mut self) -> Effects {
        let (term, index) = (self.raft.term(), self.raft.log().last().index);
        self.fire(Timer::Durable { term, index })
    }
    fn pass(&mut self, time: Duration) {
        self.out.advance(time);
    }
    fn hear(&mut self, from: NodeId, message: Message) -> Effects {
        self.raft.on_message(from, message, &mut self.out);
        self.out.take()
    }
    fn fire(&mut self, timer: Timer) -> Effects {
        self.raft.on_timer(timer, &mut self.out);
        self.out.take()
    }
    fn ask(&mut self, command: Command) -> Effects {
        self.raft.on_command(command, &mut self.out);
        self.out.take()
    }
    fn propose(&mut self, text: &str) -> Effects {
        self.ask(Command::Propose { id: 1, data: text.into() })
    }
    /// A follower says that its log matches, of a message that left just now.
    fn matched(&mut self, from: NodeId, index: Index) -> Effects {
        let (term, sent) = (self.raft.term(), self.out.now());
        let round = match &self.raft.standing {
            Standing::Leader(leading) => leading.round,
            _ => 0,
        };
        self.hear(from, Message::Appended { term, outcome: Outcome::Matched { index }, round, sent })
    }
    fn conflict(&mut self, from: NodeId, rejected: Index, first: Index, of: Option<Term>) -> Effects {
        let (term, sent) = (self.raft.term(), self.out.now());
        let outcome = Outcome::Conflict { rejected, first, term: of };
        self.hear(from, Message::Appended { term, outcome, round: 0, sent })
    }
    /// The leader of a term sends entries.
    fn append(&mut self, term: Term, previous: Position, entries: Vec<Entry>, commit: Index) -> Effects {
        let sent = Monotonic::ZERO;
        self.hear(B, Message::AppendEntries { term, previous, entries, commit, round: 0, sent })
    }
    fn terms(&self) -> Vec<Term> {
        self.raft.log().entries().map(|entry| entry.term).collect()
    }
}

use sim_core::time::secs;

/// The messages among effects, whether or not they wait.
fn sent(effects: &Effects) -> Vec<(NodeId, &Message)> {
    let message = |effect| match effect {
        &Effect::Send(to, ref message) | &Effect::SendNow(to, ref message) => Some((to, message)),
        _ => None,
    };
    effects.iter().filter_map(message).collect()
}
/// What is announced.
fn announced(effects: &Effects) -> Vec<&Event> {
    effects
        .iter()
        .filter_map(|e| if let Effect::AnnounceNow(event) = e { Some(event) } else { None })
        .collect()
}
/// The texts of the commands that are announced as committed.
fn committed(effects: &Effects) -> Vec<(Index, String)> {
    let mut all = Vec::new();
    for event in announced(effects) {
        if let Event::Committed { first, entries } = event {
            for (index, entry) in (*first..).zip(entries) {
                match &entry.payload {
                    Payload::Command(data) => all.push((index, String::from_utf8_lossy(data).into_owned())),
                    Payload::Noop => all.push((index, "noop".to_owned())),
                    Payload::Configuration(c) => all.push((index, c.to_string())),
                }
            }
        }
    }
    all
}
/// The outcome that a follower answers with.
fn outcome(effects: &Effects) -> Outcome {
    match sent(effects)[..] {
        [(_, Message::Appended { outcome, .. })] => *outcome,
        ref other => panic!("{other:?}"),
    }
}
/// Who is sent entries, after which, and how many.
fn entries(effects: &Effects) -> Vec<(NodeId, Index, usize)> {
    let of = |(to, message): (NodeId, &Message)| match message {
        Message::AppendEntries { previous, entries, .. } => Some((to, previous.index, entries.len())),
        _ => None,
    };
    sent(effects).into_iter().filter_map(of).collect()
}
/// The place of an effect in the order.
fn place(effects: &Effects, is: impl Fn(&Effect<Raft>) -> bool) -> usize {
    effects.iter().position(is).unwrap_or_else(|| panic!("not among {effects:?}"))
}
