//! What the protocol says, read from its effects: no simulator, no network, no waiting.

use sim_core::{
    protocol::Effect,
    time::{Monotonic, Wall},
};

use super::*;

const C: NodeId = NodeId(0);
const P: NodeId = NodeId(1);
const Q: NodeId = NodeId(2);
const T: Transaction = Transaction { coordinator: C, number: 7 };

type Effects = Vec<Effect<TwoPhase>>;

/// A node under test and its surroundings.
struct Bench {
    out: Out<TwoPhase>,
    node: TwoPhase,
}

impl Bench {
    fn start(config: Config, records: Vec<Record>) -> (Self, Effects) {
        let mut out = Out::new(Monotonic::ZERO, Wall::START, 1);
        let node = TwoPhase::restore(&config, records, &mut out);
        let effects = out.take();
        (Self { out, node }, effects)
    }
    fn new(config: Config) -> Self {
        let (bench, effects) = Self::start(config, Vec::new());
        assert_eq!(effects, []);
        bench
    }
    /// A coordinator that has begun with P and Q.
    fn begun() -> Self {
        let mut bench = Self::new(Config::new(C));
        bench.command(Command::Begin { number: 7, participants: vec![Q, P, Q] });
        bench
    }
    /// A participant that has voted yes.
    fn prepared(config: Config) -> Self {
        let mut bench = Self::new(config);
        bench.hear(C, prepare());
        bench.command(Command::Vote(T, Vote::Yes));
        bench
    }
    fn command(&mut self, command: Command) -> Effects {
        self.node.on_command(command, &mut self.out);
        self.out.take()
    }
    fn hear(&mut self, from: NodeId, message: Message) -> Effects {
        self.node.on_message(from, message, &mut self.out);
        self.out.take()
    }
    fn fire(&mut self, timer: Timer) -> Effects {
        self.node.on_timer(timer, &mut self.out);
        self.out.take()
    }
}

fn prepare() -> Message {
    Message::Prepare { transaction: T, participants: vec![P, Q] }
}
fn vote(vote: Vote) -> Message {
    Message::Vote { transaction: T, vote }
}
fn decide(outcome: Outcome) -> Message {
    Message::Decide { transaction: T, outcome }
}
fn acknowledge() -> Message {
    Message::Acknowledge { transaction: T }
}
fn inquire() -> Message {
    Message::Inquire { transaction: T }
}
fn doubts(count: &str) -> Effect<TwoPhase> {
    Effect::State(IN_DOUBT, count.to_owned())
}
fn committed() -> Record {
    Record::Committed { number: 7, participants: vec![P, Q] }
}

#[test]
fn the_coordinator_asks_each_participant_once() {
    let mut bench = Bench::new(Config::new(C));
    let effects = bench.command(Command::Begin { number: 7, participants: vec![Q, P, Q] });
    let wanted = [
        Effect::Send(P, prepare()),
        Effect::Send(Q, prepare()),
        Effect::Arm(Timer::Patience(7), secs(1)),
        Effect::Arm(Timer::Repeat(7), ms(500)),
    ];
    assert_eq!(effects, wanted);
    assert_eq!(bench.command(Command::Begin { number: 7, participants: vec![P] }), []);
}

#[test]
fn the_last_yes_commits_on_disk_first() {
    let mut bench = Bench::begun();
    assert_eq!(bench.hear(P, vote(Vote::Yes)), []);
    assert_eq!(bench.hear(P, vote(Vote::Yes)), [], "a copy is no second vote");
    assert_eq!(bench.hear(NodeId(9), vote(Vote::Yes)), [], "nor is a stranger's");
    let wanted = [
        Effect::Append(committed()),
        Effect::Send(P, decide(Outcome::Committed)),
        Effect::Send(Q, decide(Outcome::Committed)),
        Effect::Announce(Event::Decided(T, Outcome::Committed)),
        Effect::Disarm(Timer::Patience(7)),
        Effect::Disarm(Timer::Repeat(7)),
        Effect::Arm(Timer::Repeat(7), ms(500)),
    ];
    assert_eq!(bench.hear(Q, vote(Vote::Yes)), wanted);
    // Too late to change one's mind.
    assert_eq!(bench.hear(Q, vote(Vote::No)), []);
    assert_eq!(bench.command(Command::Abort(7)), []);
    assert_eq!(bench.fire(Timer::Patience(7)), []);
}

#[test]
fn an_abort_writes_nothing_and_is_forgotten() {
    let aborts: [fn(&mut Bench) -> Effects; 3] = [
        |bench| bench.hear(Q, vote(Vote::No)),
        |bench| bench.fire(Timer::Patience(7)),
        |bench| bench.command(Command::Abort(7)),
    ];
    for (number, abort) in aborts.into_iter().enumerate() {
        let mut bench = Bench::begun();
        bench.hear(P, vote(Vote::Yes));
        let effects = abort(&mut bench);
        assert!(!effects.iter().any(|effect| matches!(effect, Effect::Append(_))), "{effects:?}");
        assert!(effects.contains(&Effect::Send(P, decide(Outcome::Aborted))));
        // Who has voted no knows.
        assert_eq!(effects.contains(&Effect::Send(Q, decide(Outcome::Aborted))), number != 0);
        assert_eq!(bench.node.remembered(), 0);
        // What is unknown is presumed aborted.
        assert_eq!(bench.hear(P, inquire()), [Effect::Send(P, decide(Outcome::Aborted))]);
        assert_eq!(bench.hear(Q, vote(Vote::Yes)), [Effect::Send(Q, decide(Outcome::Aborted))]);
    }
}

#[test]
fn a_commit_is_told_until_all_have_acknowledged_it() {
    let mut bench = Bench::begun();
    assert_eq!(bench.hear(P, acknowledge()), [], "of what?");
    bench.hear(P, vote(Vote::Yes));
    let again = [Effect::Send(Q, prepare()), Effect::Arm(Timer::Repeat(7), ms(500))];
    assert_eq!(bench.fire(Timer::Repeat(7)), again, "whoever has voted is not asked again");
    bench.hear(Q, vote(Vote::Yes));
    assert_eq!(bench.hear(P, acknowledge()), []);
    let again = [Effect::Send(Q, decide(Outcome::Committed)), Effect::Arm(Timer::Repeat(7), ms(500))];
    assert_eq!(bench.fire(Timer::Repeat(7)), again);
    assert_eq!(bench.hear(Q, acknowledge()), [Effect::Disarm(Timer::Repeat(7))]);
    assert_eq!(bench.node.remembered(), 0);
    assert_eq!(bench.hear(Q, acknowledge()), []);
    // That it is over is written with the next commit.
    bench.command(Command::Begin { number: 8, participants: vec![P] });
    let next = Message::Vote { transaction: Transaction { number: 8, ..T }, vote: Vote::Yes };
    assert_eq!(bench.hear(P, next)[0], Effect::Append(Record::Ended(vec![7])));
}

#[test]
fn a_restarted_coordinator_tells_its_commits_again() {
    let records =
        vec![committed(), Record::Ended(vec![7]), Record::Committed { number: 8, participants: vec![Q] }];
    let (bench, effects) = Bench::start(Config::new(C), records);
    let eight = Transaction { number: 8, ..T };
    let wanted = [
        Effect::Announce(Event::Decided(eight, Outcome::Committed)),
        Effect::Send(Q, Message::Decide { transaction: eight, outcome: Outcome::Committed }),
        Effect::Arm(Timer::Repeat(8), ms(500)),
    ];
    assert_eq!(effects, wanted);
    assert_eq!((bench.node.decision(7), bench.node.decision(8)), (None, Some(Outcome::Committed)));
}

#[test]
fn a_yes_is_on_disk_before_it_is_said() {
    let mut bench = Bench::new(Config::new(P));
    assert_eq!(bench.command(Command::Vote(T, Vote::Yes)), [], "nobody has asked");
    assert_eq!(bench.hear(C, prepare()), [Effect::Announce(Event::Asked(T))]);
    assert_eq!(bench.hear(C, prepare()), [], "it is thinking");
    let wanted = [
        Effect::Append(Record::Prepared { transaction: T, participants: vec![P, Q] }),
        doubts("1"),
        Effect::Arm(Timer::Doubt(T), secs(1)),
        Effect::Send(C, vote(Vote::Yes)),
    ];
    assert_eq!(bench.command(Command::Vote(T, Vote::Yes)), wanted);
    assert_eq!(bench.node.part(T), PartState::Prepared);
    assert_eq!(bench.hear(C, prepare()), [Effect::Send(C, vote(Vote::Yes))]);
    // It has promised.
    assert_eq!(bench.command(Command::Vote(T, Vote::No)), []);
    assert_eq!(bench.command(Command::Abandon(T)), []);
}

#[test]
fn a_no_ends_the_part_at_once() {
    let mut bench = Bench::new(Config::new(P));
    bench.hear(C, prepare());
    let wanted = [
        Effect::Append(Record::Done(T, Outcome::Aborted)),
        Effect::Announce(Event::Outcome(T, Outcome::Aborted)),
        Effect::Send(C, vote(Vote::No)),
    ];
    assert_eq!(bench.command(Command::Vote(T, Vote::No)), wanted);
    assert_eq!(bench.hear(C, prepare()), [Effect::Send(C, vote(Vote::No))]);
    assert_eq!(bench.hear(C, decide(Outcome::Aborted)), []);
    // Whoever abandons says nothing, until it is asked.
    let mut bench = Bench::new(Config::new(P));
    assert_eq!(bench.command(Command::Abandon(T)), wanted[..2]);
    assert_eq!(bench.hear(C, prepare()), [Effect::Send(C, vote(Vote::No))]);
}

#[test]
fn a_decision_ends_the_doubt_and_only_a_commit_is_acknowledged() {
    for outcome in [Outcome::Committed, Outcome::Aborted] {
        let mut bench = Bench::prepared(Config::new(P));
        let mut wanted = vec![
            Effect::Append(Record::Done(T, outcome)),
            Effect::Disarm(Timer::Doubt(T)),
            doubts("0"),
            Effect::Announce(Event::Outcome(T, outcome)),
        ];
        let answer: Effects =
            if outcome == Outcome::Committed { vec![Effect::Send(C, acknowledge())] } else { Vec::new() };
        wanted.extend(answer.clone());
        assert_eq!(bench.hear(C, decide(outcome)), wanted);
        assert_eq!(bench.hear(C, decide(outcome)), answer, "the first acknowledgement may be lost");
        assert_eq!(bench.fire(Timer::Doubt(T)), []);
        // A presumed abort about a forgotten commit is old news.
        assert_eq!(bench.hear(C, decide(Outcome::Aborted)), []);
    }
}

#[test]
fn in_doubt_it_asks_the_coordinator_or_the_peers_too_or_gives_up() {
    let again = Effect::Arm(Timer::Doubt(T), secs(1));
    let mut bench = Bench::prepared(Config::new(P));
    assert_eq!(bench.fire(Timer::Doubt(T)), [Effect::Send(C, inquire()), again.clone()]);
    assert_eq!(bench.hear(Q, inquire()), [], "it knows no more than the other");

    let mut bench = Bench::prepared(Config { termination: Termination::AskPeers, ..Config::new(P) });
    let both = [Effect::Send(C, inquire()), Effect::Send(Q, inquire()), again];
    assert_eq!(bench.fire(Timer::Doubt(T)), both);
    bench.hear(Q, decide(Outcome::Committed));
    assert_eq!(bench.node.part(T), PartState::Committed);
    assert_eq!(bench.hear(Q, inquire()), [Effect::Send(Q, decide(Outcome::Committed))]);

    let mut bench = Bench::prepared(Config { termination: Termination::AbortAlone, ..Config::new(P) });
    assert_eq!(bench.fire(Timer::Doubt(T))[0], Effect::Append(Record::Done(T, Outcome::Aborted)));
    let caught = [Effect::Announce(Event::Contradiction(T)), Effect::Send(C, acknowledge())];
    assert_eq!(bench.hear(C, decide(Outcome::Committed)), caught);
}

#[test]
fn a_peer_that_has_not_voted_aborts_when_asked_and_never_votes_yes() {
    let mut bench = Bench::new(Config::new(Q));
    let wanted = [
        Effect::Append(Record::Done(T, Outcome::Aborted)),
        Effect::Announce(Event::Outcome(T, Outcome::Aborted)),
        Effect::Send(P, decide(Outcome::Aborted)),
    ];
    assert_eq!(bench.hear(P, inquire()), wanted);
    assert_eq!(bench.hear(C, prepare()), [Effect::Send(C, vote(Vote::No))]);
}

#[test]
fn a_restarted_participant_tells_its_application_all_and_asks_at_once() {
    let old = Transaction { number: 3, ..T };
    let records = vec![
        Record::Prepared { transaction: old, participants: vec![P] },
        Record::Prepared { transaction: T, participants: vec![P, Q] },
        Record::Done(old, Outcome::Committed),
    ];
    let (bench, effects) = Bench::start(Config::new(P), records);
    let wanted = [
        Effect::Announce(Event::Outcome(old, Outcome::Committed)),
        doubts("1"),
        Effect::Announce(Event::InDoubt(T)),
        Effect::Send(C, inquire()),
        Effect::Arm(Timer::Doubt(T), secs(1)),
    ];
    assert_eq!(effects, wanted);
    assert_eq!(bench.node.in_doubt().collect::<Vec<_>>(), [T]);
}

#[test]
fn what_is_meant_for_another_coordinator_is_ignored() {
    let mut bench = Bench::new(Config::new(Q));
    for message in [vote(Vote::Yes), vote(Vote::No), acknowledge()] {
        assert_eq!(bench.hear(P, message), []);
    }
}

#[test]
fn with_deciding_on_command_a_full_count_is_announced_and_no_more() {
    let mut bench = Bench::new(Config { deciding: Deciding::OnCommand, ..Config::new(C) });
    bench.command(Command::Begin { number: 7, participants: vec![P] });
    assert_eq!(bench.command(Command::Commit(7)), [], "a vote is missing");
    assert_eq!(bench.hear(P, vote(Vote::Yes)), [Effect::Announce(Event::Ready(T))]);
    assert_eq!(bench.command(Command::Commit(7))[1], Effect::Send(P, decide(Outcome::Committed)));
    // Without participants there is nobody to wait for.
    let effects = bench.command(Command::Begin { number: 8, participants: Vec::new() });
    assert_eq!(effects.last(), Some(&Effect::Announce(Event::Ready(Transaction { number: 8, ..T }))));
    bench.command(Command::Commit(8));
    assert_eq!(bench.node.decision(8), None, "committed, and forgotten");
}

#[test]
fn a_config_that_makes_no_sense_is_refused_with_what_is_allowed() {
    assert_eq!(Config::new(C).validate(), Ok(()));
    assert_eq!(Config::specification(C).validate(), Ok(()));
    let never = Config { repeat: Some(Duration::ZERO), ..Config::new(C) }.validate().unwrap_err();
    assert!(never.contains("`repeat` must be more than 0s"), "{never}");
}
