//! What a search may ask of a plan besides faults: other orders at one instant, the network's medians, priorities, and fewer
//! operations.

use std::collections::{BTreeMap, BTreeSet};

use sim_core::{
    NodeId, Sim,
    fault::{Fault, LinkChange},
    net::Link,
    plan::{Draws, Plan, Ties},
    record::{Fate, Recording, RecordingLevel},
    rng::Delay,
    time::{Duration, ms, secs},
};

/// Five senders, each of which sends ten messages to one receiver, 10 ms apart, all at the same instants.
fn senders(plan: &Plan, link: Link) -> Recording {
    let mut sim = Sim::new(plan, RecordingLevel::Full);
    sim.default_link(link);
    let receiver = sim.node("receiver", async |node| {
        let mut mailbox = node.mailbox::<u32>();
        loop {
            let received = mailbox.recv().await;
            node.state("from", &node.name_of(received.from));
        }
    });
    for number in 0..5_u32 {
        sim.node(format!("sender-{number}"), async move |node| {
            for _ in 0..10 {
                node.sleep(ms(10)).await;
                if node.next_operation() {
                    node.send(receiver, &number);
                }
            }
        });
    }
    sim.run().unwrap()
}

fn order(recording: &Recording) -> Vec<String> {
    recording.states.iter().map(|change| recording.text(change.value).to_owned()).collect()
}

fn delays(recording: &Recording) -> Vec<Duration> {
    let delay = |message: &sim_core::record::Message| match message.fate {
        Fate::Arrived(at) => Some(at - message.sent),
        _ => None,
    };
    recording.messages.iter().filter_map(delay).collect()
}

fn plan(seed: u64) -> Plan {
    Plan::new("senders", seed, secs(1))
}

#[test]
fn events_of_one_instant_come_in_order_of_scheduling_unless_ties_are_seeded() {
    let run = |seed, ties| {
        let mut plan = plan(seed);
        plan.ties = ties;
        order(&senders(&plan, Link::constant(ms(1))))
    };
    assert_eq!(run(1, Ties::Fifo), run(2, Ties::Fifo), "nothing else is left to chance here");
    assert_eq!(run(1, Ties::Seeded), run(1, Ties::Seeded));
    let orders: BTreeSet<Vec<String>> = (0..20).map(|seed| run(seed, Ties::Seeded)).collect();
    assert!(orders.len() > 15, "{} orders of 20", orders.len());
}

#[test]
fn planned_faults_still_come_first_when_ties_are_seeded() {
    for seed in 0..10 {
        let mut plan = plan(seed);
        plan.ties = Ties::Seeded;
        // Everything that is sent from 10 ms on is lost: the very first messages too.
        plan.faults.push(Fault::at(ms(10), "cut", LinkChange::loss(1.0)));
        assert_eq!(order(&senders(&plan, Link::constant(ms(1)))), Vec::<String>::new());
    }
}

#[test]
fn a_network_of_medians_delays_every_message_alike_and_loses_none() {
    let mut plan = plan(7);
    plan.draws = Draws::Median;
    let link = || Link::new(Delay::uniform(ms(2), ms(12))).loss(0.5).duplication(0.5);
    let recording = senders(&plan, link());
    assert_eq!(delays(&recording), vec![ms(7); 50]);
    plan.draws = Draws::Chance;
    let by_chance = senders(&plan, link());
    assert!(delays(&by_chance).iter().any(|delay| *delay != ms(7)));
    assert!(by_chance.messages.iter().any(|m| matches!(m.fate, Fate::Dropped(..))));
}

#[test]
fn on_a_link_that_a_fault_has_changed_chance_goes_on() {
    let mut plan = plan(7);
    plan.draws = Draws::Median;
    plan.faults.push(Fault::at(ms(45), "loss", LinkChange::loss(0.5)));
    let recording = senders(&plan, Link::new(Delay::uniform(ms(2), ms(12))));
    let lost: Vec<bool> = recording.messages.iter().map(|m| matches!(m.fate, Fate::Dropped(..))).collect();
    assert!(lost[..20].iter().all(|lost| !lost));
    assert!(lost[20..].iter().any(|lost| *lost) && lost[20..].iter().any(|lost| !lost));
}

#[test]
fn with_priorities_messages_of_the_first_overtake_those_of_the_last() {
    let mut places: BTreeMap<Vec<String>, u32> = BTreeMap::new();
    for seed in 0..30 {
        let mut plan = plan(seed);
        plan.draws = Draws::Pct { depth: 1, messages: 50 };
        let recording = senders(&plan, Link::new(Delay::uniform(ms(0), ms(9))));
        let order = order(&recording);
        assert_eq!(order.len(), 50);
        // Without a point of change each round comes in the same order: that of the priorities.
        let rounds: BTreeSet<&[String]> = order.chunks(5).collect();
        assert_eq!(rounds.len(), 1, "{rounds:?}");
        *places.entry(order[..5].to_vec()).or_default() += 1;
    }
    assert!(places.len() > 15, "another order for each seed: {}", places.len());
}

#[test]
fn at_a_point_of_change_the_sender_falls_to_the_end() {
    let changed = (0..30).filter(|&seed| {
        let mut plan = plan(seed);
        plan.draws = Draws::Pct { depth: 2, messages: 50 };
        let order = order(&senders(&plan, Link::new(Delay::uniform(ms(0), ms(9)))));
        let rounds: Vec<&[String]> = order.chunks(5).collect();
        let differ = rounds.windows(2).filter(|pair| pair[0] != pair[1]).count();
        assert!(differ <= 2, "one point of change, within one round: {rounds:?}");
        differ > 0
    });
    assert!(changed.count() > 20);
}

#[test]
fn only_the_operations_that_the_plan_names_are_made_and_the_others_stay_as_they_are() {
    let link = || Link::new(Delay::uniform(ms(2), ms(9)));
    let all = senders(&plan(3), link());
    let mut some = plan(3);
    some.operations = Some(BTreeMap::from([
        ("sender-1".to_owned(), BTreeSet::from([2, 5])),
        ("sender-4".to_owned(), BTreeSet::from([1])),
    ]));
    let few = senders(&some, link());
    let sent = |recording: &Recording, node: u32| -> Vec<_> {
        recording.messages.iter().filter(|m| m.from.0 == node).map(|m| m.sent).collect()
    };
    let (first, fourth) = (NodeId(2).0, NodeId(5).0);
    assert_eq!(few.messages.len(), 3);
    assert_eq!(sent(&few, first), [sent(&all, first)[1], sent(&all, first)[4]]);
    assert_eq!(sent(&few, fourth), [sent(&all, fourth)[0]]);
}

#[test]
fn operations_of_somebody_who_does_not_exist_are_an_error_with_the_nearest_name() {
    let mut plan = plan(1);
    plan.operations = Some(BTreeMap::from([("sendr-1".to_owned(), BTreeSet::new())]));
    let mut sim = Sim::new(&plan, RecordingLevel::Essential);
    sim.node("sender-1", async |_| {});
    let error = sim.run().unwrap_err().to_string();
    assert!(error.contains("`sendr-1`") && error.contains("did you mean `sender-1`"), "{error}");
}

#[test]
fn a_plan_with_all_of_it_reads_back_from_its_text() {
    let mut plan = plan(1);
    plan.ties = Ties::Seeded;
    plan.draws = Draws::Pct { depth: 3, messages: 1_000 };
    plan.operations = Some(BTreeMap::from([("client".to_owned(), BTreeSet::from([1, 4]))]));
    assert_eq!(Plan::from_toml(&plan.to_toml()), Ok(plan.clone()), "{}", plan.to_toml());
    plan.draws = Draws::Median;
    assert_eq!(Plan::from_toml(&plan.to_toml()), Ok(plan));
}

#[test]
fn a_run_may_end_at_the_first_violation() {
    let run = |stop: bool| {
        let mut sim = Sim::new(&plan(1), RecordingLevel::Essential);
        if stop {
            sim.stop_at_first_violation();
        }
        sim.node("node", async |node| {
            for n in 0..10 {
                node.sleep(ms(10)).await;
                node.always("n is small", n < 3, || format!("n = {n}"));
            }
        });
        sim.run().unwrap()
    };
    let (whole, stopped) = (run(false), run(true));
    assert_eq!(whole.properties[0].first_failure, stopped.properties[0].first_failure);
    assert_eq!(stopped.ended - sim_core::time::SimTime::ZERO, ms(40));
    assert!(whole.ended > stopped.ended);
}
