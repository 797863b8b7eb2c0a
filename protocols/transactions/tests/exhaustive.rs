//! Two-phase commit in every order of events.
//!
//! Goal: the protocol is the one that Gray and Lamport specified ("Consensus on Transaction Commit", 2006, section 3), and no
//! order of events, crash, loss or copy makes two participants end a transaction differently. Method: the exhaustive search
//! over the real state machine, without time and answers for the specification, with disks and crashes for the rest.

use sim_core::{
    NodeId,
    search::exhaustive::{Budgets, Exhaustive, Found, Network, State, Storage},
};
use transactions::two_phase::{
    Command, Config, Deciding, Event, Message, Outcome, PartState, Termination, Transaction, TwoPhase, Vote,
    Voting,
};

const COORDINATOR: NodeId = NodeId(0);
const T: Transaction = Transaction { coordinator: COORDINATOR, number: 1 };

/// Nobody commits what another has aborted.
fn atomic(state: &State<TwoPhase>) -> Result<(), String> {
    let parts = |wanted| {
        let parts = state.nodes().skip(1).filter(move |&node| {
            state.protocol(node).is_some_and(|protocol| protocol.part(T) == wanted)
        });
        parts.collect::<Vec<_>>()
    };
    let (committed, aborted) = (parts(PartState::Committed), parts(PartState::Aborted));
    if committed.is_empty() || aborted.is_empty() {
        return Ok(());
    }
    Err(format!("{committed:?} committed, {aborted:?} aborted"))
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
