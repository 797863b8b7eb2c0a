//! Faults: when they take hold, and on whom.
//!
//! Goal: a fault takes hold at the very instant that the plan says, on those whom it means, is undone, and counts what it
//! touched. Method: small worlds whose every time is known in advance. (What faults do to machines is in
//! `machine_faults.rs`, what they do to the network in `partitions_and_rules.rs`.)

mod common;

use common::*;
use sim_core::{
    NodeSpec, Sim,
    combine::join,
    fault::{
        Fault, FaultKind, MessageTrigger, PacketAction, PacketRule, Partition, StateTrigger, Target, When,
    },
    net::Link,
    plan::{Plan, PlanError},
    record::{Recording, RecordingLevel},
    time::{Duration, ms, secs},
};

/// A run with nodes `n-0` to `n-4` that do nothing for a second: whom the fault meant, and the recording.
fn meant(target: Target, seed: u64) -> (Vec<String>, Recording) {
    let fault = Fault::at(ms(10), "f", FaultKind::Crash).on(target);
    let mut sim = Sim::new(&Plan { seed, ..with([fault]) }, RecordingLevel::Full);
    for n in 0..5 {
        sim.node(format!("n-{n}"), async |node| node.sleep(secs(1)).await);
    }
    let recording = sim.run().unwrap();
    let down: Vec<_> = (0..5)
        .map(|n| format!("n-{n}"))
        .filter(|name| states(&recording, name, "process").last().is_some_and(|(_, value)| value == "down"))
        .collect();
    assert_eq!(touched(&recording, "f"), down.len() as u64);
    (down, recording)
}

// ---- when ----

#[test]
fn a_fault_at_a_time_comes_before_everything_else_at_that_instant() {
    // The timer was set first, and is due when the crash is.
    let crash = Fault::at(ms(100), "crash", FaultKind::Crash).on("n");
    let (times, recording) = alone([crash], async |node, book| {
        for _ in 0..3 {
            node.sleep(ms(50)).await;
            book.write(now(&node));
        }
    });
    assert_eq!(times, [ms(50)]);
    assert_eq!(states(&recording, "n", "process"), [(ms(100), "down".to_owned())]);
}

#[test]
fn a_crash_at_the_very_start_keeps_a_node_from_starting() {
    let crash = Fault::at(ms(0), "crash", FaultKind::Crash).on("n").lasting(ms(30));
    let (times, recording) = alone([crash], async |node, book| book.write(now(&node)));
    assert_eq!(times, [ms(30)]);
    assert_eq!(touched(&recording, "crash"), 1);
}

#[test]
fn the_end_of_a_fault_and_a_fault_some_time_after_its_event_come_first_as_well() {
    // Both timers were set long before the faults that are due with them.
    let state = StateTrigger { key: "go".into(), value: "yes".into(), node: None, count: 1, then: ms(10) };
    let plan = [
        Fault::at(ms(10), "ends", FaultKind::Load(2.0)).on("n").lasting(ms(90)),
        Fault::when(When::State(state), "begins", FaultKind::Load(3.0)).on("n"),
    ];
    let (seen, _) = alone(plan, async |node, book| {
        let (first, second) = (node.sleep(ms(100)), node.sleep(ms(200)));
        join(
            async {
                first.await;
                book.write(secs(1).mul_f64(node.load_factor()));
                until(&node, ms(190)).await;
                node.state("go", "yes");
            },
            async {
                second.await;
                book.write(secs(1).mul_f64(node.load_factor()));
            },
        )
        .await;
    });
    assert_eq!(seen, [secs(1), secs(3)]);
}

#[test]
fn at_one_instant_faults_happen_in_the_order_of_the_plan() {
    let crash = || Fault::at(ms(10), "crash", FaultKind::Crash).on("n");
    let restart = || Fault::at(ms(10), "restart", FaultKind::Restart).on("n");
    // Down and up again, against up again and down.
    for (plan, expected) in [([crash(), restart()], vec![ms(30)]), ([restart(), crash()], vec![])] {
        let (seen, _) = alone(plan, async |node, book| {
            node.sleep(ms(20)).await;
            book.write(now(&node));
        });
        assert_eq!(seen, expected);
    }
}

#[test]
fn load_faults_that_overlap_multiply() {
    let load = |name: &str, factor| Fault::at(ms(10), name, FaultKind::Load(factor)).on("n");
    let (seen, _) = alone([load("first", 2.0), load("second", 3.0).lasting(ms(20))], async |node, book| {
        for _ in 0..2 {
            node.sleep(ms(20)).await;
            book.write(secs(1).mul_f64(node.load_factor()));
        }
    });
    assert_eq!(seen, [secs(6), secs(2)]);
}

fn sent_trigger(kind: &str, count: u64) -> MessageTrigger {
    MessageTrigger { kind: Some(kind.to_owned()), count, ..MessageTrigger::default() }
}

/// `a` sends four notes and four pings in one breath; a fault may stop it.
fn in_one_breath(fault: Fault) -> (Vec<Message>, Recording) {
    let mut sim = Sim::new(&with([fault]), RecordingLevel::Full);
    let arrivals = Notebook::new();
    let b = reader(&mut sim, "b", &arrivals);
    sim.node("a", async move |node| {
        for number in 0..4 {
            node.send(b, &note(number));
            node.send(b, &ping(number));
            node.state("sent", &number.to_string());
        }
        node.sleep(ms(100)).await;
        node.state("awake", "yes");
    });
    let recording = sim.run().unwrap();
    (arrivals.read().into_iter().map(|(_, message)| message).collect(), recording)
}

#[test]
fn a_crash_at_a_send_takes_hold_at_that_very_send_and_the_message_leaves() {
    let when = When::Sent(sent_trigger("Note", 3));
    let (heard, recording) = in_one_breath(Fault::when(when, "crash", FaultKind::Crash).on("a"));
    assert_eq!(heard, [note(0), ping(0), note(1), ping(1), note(2)]);
    let said: Vec<_> = states(&recording, "a", "sent").into_iter().map(|(_, value)| value).collect();
    assert_eq!(said, ["0", "1", ""], "nothing after that send has an effect");
    assert_eq!(fault(&recording, "crash").began, [at(ms(0))]);
    assert!(states(&recording, "a", "awake").is_empty());
}

#[test]
fn a_fault_can_come_some_time_after_its_event() {
    let when = When::Sent(MessageTrigger { then: ms(5), ..sent_trigger("Note", 3) });
    let (heard, recording) = in_one_breath(Fault::when(when, "crash", FaultKind::Crash).on("a"));
    assert_eq!(heard.len(), 8);
    assert_eq!(fault(&recording, "crash").began, [at(ms(5))]);
    assert!(states(&recording, "a", "awake").is_empty());
}

#[test]
fn an_event_that_never_comes_triggers_nothing() {
    let (heard, recording) =
        in_one_breath(Fault::when(When::Sent(sent_trigger("Note", 5)), "crash", FaultKind::Crash).on("a"));
    assert_eq!(heard.len(), 8);
    let fault = fault(&recording, "crash");
    assert!(fault.began.is_empty() && fault.nodes.is_empty() && !fault.had_effect());
}

#[test]
fn a_crash_at_a_delivery_takes_the_message_with_it() {
    let when = When::Delivered(sent_trigger("Note", 3));
    let crash = Fault::when(when, "crash", FaultKind::Crash).on("b").lasting(ms(15));
    let (arrivals, recording) = post(&with([crash]), Link::constant(ms(1)), 6, ms(10));
    // It comes at 21 ms and dies with the mailbox; the next one, at 31 ms, finds nobody up.
    assert_eq!(numbers(&arrivals), [0, 1, 4, 5]);
    assert_eq!(fault(&recording, "crash").began, [at(ms(21))]);
    assert_eq!(fault(&recording, "crash").ended, [at(ms(36))]);
}

#[test]
fn a_trigger_is_for_the_ways_that_it_names() {
    let run = |trigger: MessageTrigger| {
        let burst = Fault::when(When::Sent(trigger), "f", FaultKind::Load(2.0)).on("web-0");
        let mut sim = Sim::new(&with([burst]), RecordingLevel::Full);
        for (i, name) in ["web-0", "web-1", "db-0"].into_iter().enumerate() {
            sim.node(name, async move |node| {
                node.sleep(ms(10 * i as u64 + 10)).await;
                ["web-0", "web-1", "db-0"].iter().for_each(|to| {
                    node.send(node.find(to), &note(0));
                });
            });
        }
        let recording = sim.run().unwrap();
        fault(&recording, "f").began.first().map(|when| when.since_start())
    };
    let named = |from: Option<&str>, to: Option<&str>, count| MessageTrigger {
        from: from.map(str::to_owned),
        to: to.map(str::to_owned),
        count,
        ..MessageTrigger::default()
    };
    assert_eq!(run(named(None, None, 4)), Some(ms(20)));
    assert_eq!(run(named(Some("db"), None, 1)), Some(ms(30)));
    assert_eq!(run(named(None, Some("db-0"), 2)), Some(ms(20)));
    assert_eq!(run(named(Some("web"), Some("web"), 3)), Some(ms(20)));
    assert_eq!(run(named(Some("web"), Some("web"), 5)), None);
}

/// Four notes over a stream, at 100, 110, 120 and 400 ms; the first is lost once and comes at 301 ms.
fn over_a_stream(trigger: When) -> Duration {
    let lost = FaultKind::Packets(PacketRule::all(PacketAction::Drop).kind("Note").nth(1));
    let plan =
        with([Fault::at(ms(0), "lost", lost), Fault::when(trigger, "f", FaultKind::Load(2.0)).on("a")]);
    let mut sim = Sim::new(&plan, RecordingLevel::Full);
    sim.default_link(Link::constant(ms(1)));
    let b = sim.node("b", async |node| {
        let mut stream = node.listen(1).accept().await;
        while let Ok(Some(_)) = stream.recv::<Message>().await {}
    });
    sim.node("a", async move |node| {
        let stream = node.connect(b, 1).await.unwrap();
        for (number, time) in [100, 110, 120, 400].into_iter().enumerate() {
            until(&node, ms(time)).await;
            stream.send(&note(number as u64)).unwrap();
        }
        node.sleep(secs(5)).await;
    });
    let recording = sim.run().unwrap();
    assert_eq!(sent(&recording, "Note"), [100, 110, 120, 300, 400].map(ms));
    fault(&recording, "f").began[0].since_start()
}

#[test]
fn a_trigger_counts_messages_and_not_their_retransmissions() {
    assert_eq!(over_a_stream(When::Sent(sent_trigger("Note", 1))), ms(100), "sent is sent, lost or not");
    assert_eq!(over_a_stream(When::Sent(sent_trigger("Note", 3))), ms(120));
    assert_eq!(over_a_stream(When::Sent(sent_trigger("Note", 4))), ms(400), "300 ms is the first one again");
}

#[test]
fn a_stream_delivers_when_it_hands_over() {
    // The second and third were there before the first, and are handed over behind it.
    assert_eq!(over_a_stream(When::Delivered(sent_trigger("Note", 1))), ms(301));
    assert_eq!(over_a_stream(When::Delivered(sent_trigger("Note", 3))), ms(301));
    assert_eq!(over_a_stream(When::Delivered(sent_trigger("Note", 4))), ms(401));
}

/// Three nodes that lead for 20 ms each in turn, twice around.
fn leaders(fault: Fault) -> Recording {
    let mut sim = Sim::new(&with([fault]), RecordingLevel::Full);
    for n in 0..3_u64 {
        sim.node(format!("n-{n}"), async move |node| {
            for round in 0..2 {
                until(&node, ms(10 + 20 * n + 60 * round)).await;
                node.state("role", "leader");
                node.sleep(ms(20)).await;
                node.state("role", "");
            }
        });
    }
    sim.run().unwrap()
}

#[test]
fn a_fault_can_wait_for_a_state() {
    let trigger = |node: Option<&str>, count, then| {
        When::State(StateTrigger {
            key: "role".into(),
            value: "leader".into(),
            node: node.map(str::to_owned),
            count,
            then,
        })
    };
    let began = |when| {
        let recording = leaders(Fault::when(when, "f", FaultKind::Load(2.0)).on("n-0"));
        fault(&recording, "f").began.iter().map(|t| t.since_start()).collect::<Vec<_>>()
    };
    assert_eq!(began(trigger(None, 1, Duration::ZERO)), [ms(10)]);
    assert_eq!(began(trigger(None, 3, Duration::ZERO)), [ms(50)]);
    assert_eq!(began(trigger(Some("n-1"), 2, ms(3))), [ms(93)]);
    assert_eq!(began(trigger(Some("n"), 6, Duration::ZERO)), [ms(110)]);
    assert_eq!(began(trigger(None, 7, Duration::ZERO)), []);
}

// ---- on whom ----

#[test]
fn a_target_is_a_node_several_a_group_or_everybody() {
    let (down, recording) = meant("n-2".into(), 1);
    assert_eq!(down, ["n-2"]);
    assert_eq!(names(&recording, &fault(&recording, "f").nodes), ["n-2"]);
    assert_eq!(meant(Target::Nodes(vec!["n-1".into(), "n-4".into()]), 1).0, ["n-1", "n-4"]);
    assert_eq!(meant(Target::group("n"), 1).0.len(), 5);
    assert_eq!(meant(Target::Everybody, 1).0.len(), 5);
}

#[test]
fn a_minority_is_the_largest_number_below_half_and_the_seed_chooses_it() {
    let choices: std::collections::BTreeSet<Vec<String>> =
        (0..20).map(|seed| meant(Target::Minority("n".into()), seed).0).collect();
    assert!(choices.iter().all(|down| down.len() == 2));
    assert!(choices.len() > 4, "20 seeds chose {choices:?}");
    assert_eq!(meant(Target::Minority("n".into()), 7), meant(Target::Minority("n".into()), 7));
    for (size, minority) in [(1, 0), (2, 0), (3, 1), (4, 1), (6, 2), (7, 3)] {
        let crash = Fault::at(ms(10), "f", FaultKind::Crash).on(Target::Minority("m".into()));
        let mut sim = Sim::new(&with([crash]), RecordingLevel::Full);
        for n in 0..size {
            sim.node(format!("m-{n}"), async |node| node.sleep(secs(1)).await);
        }
        assert_eq!(touched(&sim.run().unwrap(), "f"), minority, "of {size}");
    }
}

#[test]
fn any_number_of_a_group_can_be_chosen() {
    let some = |count| Target::Any { group: "n".into(), count };
    assert_eq!(meant(some(3), 1).0.len(), 3);
    assert_eq!(meant(some(0), 1).0.len(), 0);
    assert_eq!(meant(some(9), 1).0.len(), 5);
    assert!((0..20).any(|seed| meant(some(1), seed).0 != meant(some(1), 100).0));
}

#[test]
fn a_role_is_resolved_when_the_fault_takes_hold() {
    let run = |start| {
        let recording =
            leaders(Fault::at(start, "f", FaultKind::Crash).on(Target::role("leader")).lasting(ms(5)));
        let fault = fault(&recording, "f");
        let times: Vec<_> = fault.began.iter().chain(&fault.ended).map(|t| t.since_start()).collect();
        (names(&recording, &fault.nodes), times)
    };
    assert_eq!(run(ms(35)), (vec!["n-1".to_owned()], vec![ms(35), ms(40)]));
    assert_eq!(run(ms(55)).0, ["n-2"]);
    // Nobody leads yet at 5 ms: the fault waits until somebody does, and falls on it at that instant.
    assert_eq!(run(ms(5)), (vec!["n-0".to_owned()], vec![ms(10), ms(15)]));
    // And nobody leads any more at 500 ms.
    assert_eq!(run(ms(500)), (vec![], vec![]));
}

#[test]
fn a_role_is_held_by_the_latest_who_still_claims_it() {
    // n-0, n-1 and n-2 claim at 10, 20 and 30 ms; n-2 gives up at 40, n-1 is dead from 50 on.
    let killed = |start| {
        let plan = with([
            Fault::at(ms(50), "before", FaultKind::Crash).on("n-1"),
            Fault::at(start, "f", FaultKind::Crash)
                .on(Target::State { key: "lock".into(), value: "held".into() }),
        ]);
        let mut sim = Sim::new(&plan, RecordingLevel::Full);
        for n in 0..3 {
            sim.node(format!("n-{n}"), async move |node| {
                node.sleep(ms(10 + 10 * n)).await;
                node.state("lock", "held");
                node.sleep(ms(10)).await;
                if n == 2 {
                    node.state("lock", "waited for");
                }
                node.sleep(secs(1)).await;
            });
        }
        let recording = sim.run().unwrap();
        names(&recording, &fault(&recording, "f").nodes)
    };
    assert_eq!(killed(ms(25)), ["n-1"]);
    assert_eq!(killed(ms(35)), ["n-2"]);
    assert_eq!(killed(ms(45)), ["n-1"]);
    assert_eq!(killed(ms(55)), ["n-0"]);
}

#[test]
fn a_plan_that_names_nobody_is_an_error_with_the_nearest_name() {
    let run = |fault: Fault| {
        let mut sim = Sim::new(&with([fault]), RecordingLevel::Essential);
        sim.node(NodeSpec::new("web-0").region("europe"), async |_| {});
        sim.node("store", async |_| {});
        sim.run().map(drop)
    };
    let crash = || Fault::at(ms(1), "f", FaultKind::Crash);
    let listed = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
    assert_eq!(run(crash().on("store")), Ok(()));
    let rule = PacketRule::all(PacketAction::Drop).between("stroe", "web");
    let wrong = [
        (crash().on("stroe"), "store"),
        (crash().on(Target::group("wep")), "web"),
        (crash().on(Target::Nodes(listed(&["store", "web-O"]))), "web-0"),
        (
            Fault::when(
                When::Sent(MessageTrigger { to: Some("stor".into()), ..sent_trigger("X", 1) }),
                "f",
                FaultKind::Crash,
            )
            .on("store"),
            "store",
        ),
        (Fault::at(ms(1), "f", FaultKind::Packets(rule)), "store"),
        (Fault::at(ms(1), "f", FaultKind::Partition(Partition::Split(vec![listed(&["stores"])]))), "store"),
        (Fault::at(ms(1), "f", FaultKind::Partition(Partition::Regions(vec![listed(&["eurpe"])]))), "europe"),
    ];
    for (fault, expected) in wrong {
        let text = fault.to_string();
        match run(fault) {
            Err(PlanError::Unknown { nearest: Some(name), .. }) => assert_eq!(name, expected, "{text}"),
            other => panic!("{text}: {other:?}"),
        }
    }
}
