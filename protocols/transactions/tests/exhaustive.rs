//! Two-phase commit in every order of events.
//!
//! Goal: the protocol is the one that Gray and Lamport specified ("Consensus on Transaction Commit", 2006, section 3), and no
//! order of events, crash, loss or copy makes two participants end a transaction differently. Method: the exhaustive search
//! over the real state machine, without time and answers for the specification, with disks and crashes for the rest.

use sim_core::{
    NodeId,
    search::exhaustive::{Budgets, Exhaustive, Network, State, Storage},
};
use transactions::two_phase::{
    Command, Config, Event, Message, Outcome, PartState, Record, Termination, Transaction, TwoPhase, Vote,
};

const COORDINATOR: NodeId = NodeId(0);
const T: Transaction = Transaction { coordinator: COORDINATOR, number: 1 };

/// How a participant has ended the transaction, by its memory, or by its disk while it is down.
fn ended(state: &State<TwoPhase>, node: NodeId) -> Option<Outcome> {
    let Some(protocol) = state.protocol(node) else {
        return state.records(node).iter().find_map(|record| match record {
            Record::Done(T, outcome) => Some(*outcome),
            _ => None,
        });
    };
    match protocol.part(T) {
        PartState::Working | PartState::Prepared => None,
        PartState::Committed => Some(Outcome::Committed),
        PartState::Aborted => Some(Outcome::Aborted),
    }
}

fn participants(state: &State<TwoPhase>) -> impl Iterator<Item = NodeId> {
    state.nodes().filter(|&node| node != COORDINATOR)
}

/// Nobody commits what another has aborted.
fn atomic(state: &State<TwoPhase>) -> Result<(), String> {
    let ended = |wanted| participants(state).find(|&node| ended(state, node) == Some(wanted));
    match (ended(Outcome::Committed), ended(Outcome::Aborted)) {
        (Some(committed), Some(aborted)) => Err(format!("{committed:?} committed, {aborted:?} aborted")),
        _ => Ok(()),
    }
}

/// The protocol as it is used. When its timers fire is up to the search.
const USUAL: Config = Config::new(COORDINATOR);

/// A coordinator and two participants with disks. A set of messages loses, doubles and delays them at will.
fn with_disks(config: Config, crashes: u32) -> Exhaustive<TwoPhase> {
    let mut search = Exhaustive::new();
    search.network(Network::Set).storage(Storage::Stepwise { torn: true });
    search.budgets(Budgets { crashes, ..Budgets::default() });
    for (name, node) in [("coordinator", 0), ("rm-1", 1), ("rm-2", 2)] {
        search.node(name, Config { node: NodeId(node), ..config });
    }
    let participants = vec![NodeId(1), NodeId(2)];
    search.script(COORDINATOR, [Command::Begin { number: 1, participants: participants.clone() }]);
    for node in participants {
        search.offer(node, [Command::Vote(T, Vote::Yes), Command::Vote(T, Vote::No)]);
    }
    search.always("no two participants end differently", atomic);
    search
}

/// The coordinator and its participants, without time and answers: as the specification has them.
fn specification(participants: u32, votes_missing: u32) -> Exhaustive<TwoPhase> {
    let mut search = Exhaustive::new();
    search.network(Network::Set);
    for node in 0..=participants {
        let name = if node == 0 { "coordinator".to_owned() } else { format!("rm-{node}") };
        search.node(name, Config { votes_missing, ..Config::specification(NodeId(node)) });
    }
    let nodes: Vec<NodeId> = (1..=participants).map(NodeId).collect();
    search.before(COORDINATOR, Command::Begin { number: 1, participants: nodes.clone() });
    search.offer(COORDINATOR, [Command::Commit(1), Command::Abort(1)]);
    for node in nodes {
        search.offer(node, [Command::Vote(T, Vote::Yes), Command::Abandon(T)]);
    }
    search.always("no two participants end differently", atomic);
    search
}

#[test]
fn three_participants_have_288_states_and_five_have_8832() {
    // The counts that TLC and other checkers give for the specification. The longest of the shortest ways: n prepare, n
    // votes arrive, the decision, n learn it.
    for (participants, states) in [(3, 288), (5, 8_832)] {
        let found = specification(participants, 0).run(1_000_000);
        assert_eq!(found.violation, None);
        assert!(found.complete);
        assert_eq!((found.states, found.depth), (states, 3 * participants + 1));
    }
}

#[test]
fn participants_are_alike_five_have_314_states_up_to_their_names() {
    let mut search = specification(5, 0);
    search.identify_by(|state| {
        let coordinator = state.protocol(COORDINATOR).expect("nobody crashes");
        let heard: Vec<NodeId> = coordinator.votes(1).collect();
        let vote = Message::Vote { transaction: T, vote: Vote::Yes };
        let participants = state.nodes().skip(1).map(|node| {
            let part = state.protocol(node).map(|protocol| protocol.part(T));
            (part, heard.contains(&node), state.is_sent(node, COORDINATOR, &vote))
        });
        let mut participants: Vec<_> = participants.collect();
        participants.sort_unstable();
        (coordinator.decision(1), participants)
    });
    let found = search.run(10_000);
    // Undecided, each participant is one of 4: working, aborted, or prepared with its vote heard or not. After an abort one of
    // 6: working, or aborted without a vote, or prepared or aborted with the vote heard or not. After a commit one of 2. With
    // names that is 4^n + 6^n + 2^n, which is 8,832 for n = 5; without, the multisets C(8, 5) + C(10, 5) + C(6, 5).
    assert_eq!((found.states, found.complete, found.violation), (56 + 252 + 6, true, None));
}

#[test]
fn a_coordinator_that_does_without_one_vote_is_found_on_a_shortest_way() {
    // Two votes and their arrival, the commit and its arrival; and the third participant, which nobody waited for, aborts.
    let found = specification(3, 1).run(10_000);
    let violation = found.violation.expect("it commits without rm-3's vote");
    assert_eq!(violation.what, "no two participants end differently");
    assert!(!found.complete);
    assert_eq!(violation.steps.len(), 7, "{violation}");
    // The same with the protocol as it is used: nobody volunteers, and the coordinator does not wait to be told.
    let found = with_disks(Config { votes_missing: 1, ..USUAL }, 0).run(100_000);
    let violation = found.violation.expect("it commits without a vote");
    assert_eq!(violation.reason, "#1 committed, #2 aborted");
    let steps: Vec<&str> =
        violation.steps.iter().map(|step| step.split(';').next().unwrap_or_default()).collect();
    assert_eq!(
        steps,
        [
            "coordinator: command Begin { number: 1, participants: [#1, #2] }",
            "coordinator -> rm-1: Prepare { transaction: #0.1, participants: [#1, #2] }",
            "coordinator -> rm-2: Prepare { transaction: #0.1, participants: [#1, #2] }",
            "rm-1: command Vote(#0.1, Yes)",
            "rm-2: command Vote(#0.1, No)",
            "rm-1: sync",
            "rm-1 -> coordinator: Vote { transaction: #0.1, vote: Yes }",
            "coordinator: sync",
            "coordinator -> rm-1: Decide { transaction: #0.1, outcome: Committed }",
        ]
    );
}

/// A commit needs all votes, and a vote is on the disk before it is heard of.
fn voted_for(state: &State<TwoPhase>) -> Result<(), String> {
    let is_commit = |record: &Record| matches!(record, Record::Committed { .. });
    let decided = state.protocol(COORDINATOR).and_then(|protocol| protocol.decision(1));
    if decided != Some(Outcome::Committed) && !state.records(COORDINATOR).iter().any(is_commit) {
        return Ok(());
    }
    let has_voted = |&node: &NodeId| {
        state.records(node).iter().any(|record| matches!(record, Record::Prepared { transaction: T, .. }))
    };
    match participants(state).find(|node| !has_voted(node)) {
        Some(node) => Err(format!("{node:?} has not voted yes")),
        None => Ok(()),
    }
}

/// What is promised whatever happens.
fn promises(search: &mut Exhaustive<TwoPhase>) {
    search.always("a commit needs all votes", voted_for);
    search.events("nobody is told otherwise than it did", |_, event| match event {
        Event::Contradiction(..) => Err(format!("{event:?}")),
        _ => Ok(()),
    });
    search.at_end("nobody stays in doubt", |state| {
        match participants(state).find(|&node| ended(state, node).is_none()) {
            Some(node) => Err(format!("{node:?} never hears how it ends")),
            None => Ok(()),
        }
    });
    search.sometimes("all commit", |state| {
        participants(state).all(|node| ended(state, node) == Some(Outcome::Committed))
    });
    search.sometimes("all abort", |state| {
        participants(state).all(|node| ended(state, node) == Some(Outcome::Aborted))
    });
    search.sometimes("the coordinator forgets a commit", |state| {
        let records = state.records(COORDINATOR);
        let forgotten = state.protocol(COORDINATOR).is_some_and(|protocol| protocol.remembered() == 0);
        forgotten && !records.is_empty()
    });
}

#[test]
fn no_crash_loss_or_copy_makes_two_participants_end_differently() {
    // Two crashes anywhere, also of two nodes at once, and what a torn write leaves; every timer at every moment.
    for termination in [Termination::Wait, Termination::AskPeers] {
        let mut search = with_disks(Config { termination, ..USUAL }, 2);
        promises(&mut search);
        search.sometimes("all are down", |state| {
            state.nodes().filter(|&node| state.protocol(node).is_none()).count() == 2
        });
        let found = search.run(1_000_000);
        if let Some(violation) = &found.violation {
            panic!("{violation}");
        }
        assert!(found.complete && found.never.is_empty(), "{found:?}");
        assert!(found.states > 5_000, "{found:?}");
    }
}

#[test]
fn a_coordinator_may_take_part_itself() {
    let mut search = Exhaustive::new();
    search.network(Network::Set).storage(Storage::Stepwise { torn: true });
    search.budgets(Budgets { crashes: 2, ..Budgets::default() });
    for node in [COORDINATOR, NodeId(1)] {
        search.node(format!("node-{}", node.0), Config { node, ..USUAL });
        search.offer(node, [Command::Vote(T, Vote::Yes), Command::Vote(T, Vote::No)]);
    }
    search.script(COORDINATOR, [Command::Begin { number: 1, participants: vec![COORDINATOR, NodeId(1)] }]);
    search.always("both end alike", |state| {
        let ended: Vec<_> = state.nodes().filter_map(|node| ended(state, node)).collect();
        if ended.windows(2).all(|two| two[0] == two[1]) { Ok(()) } else { Err(format!("{ended:?}")) }
    });
    search.sometimes("both commit", |state| {
        state.nodes().all(|node| ended(state, node) == Some(Outcome::Committed))
    });
    let found = search.run(1_000_000);
    assert_eq!((found.violation, found.complete, found.never), (None, true, vec![]));
}

#[test]
fn whoever_aborts_alone_breaks_it_and_is_found() {
    let mut search = with_disks(Config { termination: Termination::AbortAlone, ..USUAL }, 0);
    let violation = search.run(100_000).violation.expect("rm-1 aborts what rm-2 commits");
    assert_eq!(violation.what, "no two participants end differently");
    // Neither crash nor loss is needed: patience that is too short is enough.
    assert!(violation.steps.iter().any(|step| step.contains("timer Doubt")), "{violation}");
    // Whoever asks the peers instead is safe, see above.
    search.budgets(Budgets { timers: Some(0), ..Budgets::default() });
    assert_eq!(search.run(100_000).violation, None);
}

#[test]
fn undisturbed_each_transaction_commits_with_four_messages_a_participant() {
    // No timer, no loss: a network from which an arrival takes the message, so that all that is sent is counted.
    let mut search = Exhaustive::new();
    search.storage(Storage::Stepwise { torn: false });
    for node in 0..=3 {
        let config = Config::new(NodeId(node));
        search.node(format!("n-{node}"), Config { patience: None, repeat: None, doubt: None, ..config });
        search.offer(NodeId(node), (node > 0).then_some(Command::Vote(T, Vote::Yes)));
    }
    search.before(COORDINATOR, Command::Begin { number: 1, participants: (1..=3).map(NodeId).collect() });
    search.at_end("all have committed, and the coordinator has forgotten", |state| {
        let remembered = state.protocol(COORDINATOR).map(TwoPhase::remembered);
        let committed = participants(state).all(|node| ended(state, node) == Some(Outcome::Committed));
        if remembered == Some(0) && committed { Ok(()) } else { Err(format!("{remembered:?}, {committed}")) }
    });
    let found = search.run(100_000);
    assert_eq!(found.violation, None);
    assert!(found.complete && found.ends == 1, "{found:?}");
    // Every way has the same length: 4 x 3 arrivals, 3 commands, 2 syncs of each participant and 1 of the coordinator.
    assert_eq!(found.depth, 12 + 3 + 7);
}
