//! Two-phase commit in a simulated network: atomic under crashes and loss, and blocked for as long as it must be.

use std::sync::{Arc, Mutex};

use proptest::prelude::*;
use sim_core::{
    Node, NodeId, Sim,
    fault::{Fault, FaultKind, MessageTrigger, When},
    net::Link,
    plan::Plan,
    record::{Recording, RecordingLevel},
    rng::Delay,
    time::{Duration, SimTime, ms, secs},
};
use transactions::two_phase::{
    Command, Config, Event, IN_DOUBT, Outcome, Termination, Transaction, TwoPhase, Vote,
};

/// What each node announced, and when.
type Log = Arc<Mutex<Vec<(SimTime, NodeId, Event)>>>;

const PARTICIPANTS: u32 = 3;

/// A coordinator (node 0) begins a transaction every 50 ms until `begins_until`; three participants vote no with a chance in
/// percent.
fn run(
    plan: &Plan,
    link: Link,
    termination: Termination,
    begins_until: Duration,
    noes: u64,
) -> (Log, Recording) {
    let log = Log::default();
    let mut sim = Sim::new(plan, RecordingLevel::Essential);
    sim.default_link(link);
    let config = move |node: &Node| Config { termination, ..Config::new(node.id()) };
    let events = Arc::clone(&log);
    sim.node("coordinator", async move |node: Node| {
        let hosted = node.host::<TwoPhase>(config(&node)).await;
        loop {
            node.sleep(ms(50)).await;
            while let Some(event) = hosted.try_next() {
                events.lock().unwrap().push((node.observer().now(), node.id(), event));
            }
            // The clock never goes back, so no number is used twice.
            let now = node.monotonic();
            if now.since_start() < begins_until {
                let participants = (1..=PARTICIPANTS).map(NodeId).collect();
                hosted.command(Command::Begin { number: now.as_nanos(), participants });
            }
        }
    });
    for number in 1..=PARTICIPANTS {
        let events = Arc::clone(&log);
        sim.node(format!("rm-{number}"), async move |node: Node| {
            let hosted = node.host::<TwoPhase>(config(&node)).await;
            let mut chance = node.rng("votes");
            loop {
                let event = hosted.next().await;
                events.lock().unwrap().push((node.observer().now(), node.id(), event));
                if let Event::Asked(transaction) = event {
                    let vote = if chance.below(100) < noes { Vote::No } else { Vote::Yes };
                    hosted.command(Command::Vote(transaction, vote));
                }
            }
        });
    }
    let recording = sim.run().unwrap();
    (log, recording)
}

/// Each transaction that somebody has ended, with its outcome; refuses two outcomes of one transaction.
fn outcomes(log: &Log) -> Result<Vec<(Transaction, Outcome)>, String> {
    let log = log.lock().unwrap();
    let mut all = Vec::new();
    for (_, node, event) in log.iter() {
        match *event {
            Event::Outcome(transaction, outcome) | Event::Decided(transaction, outcome) => {
                all.push((transaction, outcome));
            }
            Event::Contradiction(transaction) => return Err(format!("{node:?} contradicts {transaction:?}")),
            _ => {}
        }
    }
    all.sort_unstable();
    all.dedup();
    match all.windows(2).find(|two| two[0].0 == two[1].0) {
        Some(two) => Err(format!("{:?} ends in two ways", two[0].0)),
        None => Ok(all),
    }
}

/// The number of doubts that each node showed last; nothing where it has crashed since, and had none.
fn doubts_at_the_end(recording: &Recording) -> Vec<(NodeId, String)> {
    let mut last = std::collections::BTreeMap::new();
    for state in recording.states.iter().filter(|state| recording.text(state.key) == IN_DOUBT) {
        last.insert(state.node.0, recording.text(state.value).to_owned());
    }
    last.into_iter().map(|(node, doubts)| (NodeId(node), doubts)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn all_or_nothing_under_crashes_loss_and_copies(
        seed in any::<u64>(),
        asks_peers in any::<bool>(),
        crashes in prop::collection::vec((0_u32..=PARTICIPANTS, 100_u64..8_000, 1_u64..2_000), 0..12),
    ) {
        let mut plan = Plan::new("two-phase", seed, secs(20));
        for (node, at, down) in crashes {
            let name = if node == 0 { "coordinator".to_owned() } else { format!("rm-{node}") };
            plan.faults.push(Fault::at(ms(at), "a crash", FaultKind::Crash).on(name.as_str()).lasting(ms(down)));
        }
        let link = Link::new(Delay::exponential(ms(5)).plus(ms(1))).loss(0.05).duplication(0.05);
        let termination = if asks_peers { Termination::AskPeers } else { Termination::Wait };
        let (log, recording) = run(&plan, link, termination, secs(9), 10);
        let outcomes = outcomes(&log).map_err(TestCaseError::fail)?;
        prop_assert!(outcomes.iter().any(|(_, outcome)| *outcome == Outcome::Committed));
        prop_assert!(outcomes.iter().any(|(_, outcome)| *outcome == Outcome::Aborted));
        // Ten seconds after the last crash has ended nobody is in doubt: a question a second, and one in ten is lost.
        for (node, doubts) in doubts_at_the_end(&recording) {
            prop_assert!(doubts.is_empty() || doubts == "0", "{:?} is still in doubt about {}", node, doubts);
        }
    }
}

/// The coordinator dies when it has asked, with the votes on their way, and comes back 5 s later.
fn blocked(termination: Termination) -> (Log, Recording) {
    let mut plan = Plan::new("two-phase", 3, secs(10));
    let trigger = MessageTrigger { kind: Some("Prepare".to_owned()), count: 3, ..MessageTrigger::default() };
    let crash = Fault::when(When::Sent(trigger), "the coordinator dies", FaultKind::Crash).on("coordinator");
    plan.faults.push(crash.lasting(secs(5)));
    run(&plan, Link::constant(ms(1)), termination, ms(60), 0)
}

#[test]
fn whoever_voted_yes_waits_for_the_coordinator_and_asking_each_other_does_not_help() {
    for termination in [Termination::Wait, Termination::AskPeers] {
        let (log, _) = blocked(termination);
        let log = log.lock().unwrap();
        let ends: Vec<_> = log.iter().filter(|(_, _, event)| matches!(event, Event::Outcome(..))).collect();
        assert_eq!(ends.len(), 3, "{log:?}");
        for (at, _, event) in ends {
            assert!(matches!(event, Event::Outcome(_, Outcome::Aborted)), "it decided nothing: {event:?}");
            // Begun at 50 ms; the first question after the restart comes within a second.
            assert!(at.since_start() > secs(5) && at.since_start() < ms(6_200), "{at}");
        }
    }
}

#[test]
fn a_run_is_a_function_of_its_plan() {
    let events = |termination| format!("{:?}", blocked(termination).0.lock().unwrap());
    assert_eq!(events(Termination::Wait), events(Termination::Wait));
    assert_ne!(events(Termination::Wait), events(Termination::AbortAlone));
}
