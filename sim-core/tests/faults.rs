//! Faults: when they take hold, on whom, and what they do to machines.
//!
//! Goal: a fault takes hold at the very instant that the plan says, on those whom it means, does what it is named after,
//! is undone, and counts what it touched. Method: small worlds whose every time is known in advance. (Faults of the network
//! are in `partitions_and_rules.rs`.)

mod common;

use common::*;
use sim_core::{
    Node, NodeSpec, Sim,
    combine::join,
    fault::{
        DiskFault, Fault, FaultKind, MessageTrigger, Offset, PacketAction, PacketRule, Partition,
        StateTrigger, Target, When,
    },
    machine::disk::{CrashPolicy, DiskError},
    net::{Link, rpc::Request},
    plan::{Plan, PlanError},
    record::{Recording, RecordingLevel},
    time::{Duration, ms, secs, us},
};

/// A run with one node, which writes times into the notebook.
fn alone(
    faults: impl IntoIterator<Item = Fault>,
    code: impl AsyncFn(Node, Notebook<Duration>) + Send + 'static,
) -> (Vec<Duration>, Recording) {
    let mut sim = Sim::new(&with(faults), RecordingLevel::Full);
    let book = Notebook::new();
    let own = book.clone();
    sim.node("n", async move |node| code(node, own.clone()).await);
    let recording = sim.run().unwrap();
    assert!(!matches!(recording.ending, sim_core::record::Ending::Panicked { .. }), "{:?}", recording.ending);
    (book.read(), recording)
}

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
fn at_one_instant_faults_happen_in_the_order_of_the_plan() {
    let load = |name: &str, factor| Fault::at(ms(10), name, FaultKind::Load(factor)).on("n");
    for (first, second) in [(2.0, 3.0), (3.0, 2.0)] {
        let (seen, _) = alone([load("first", first), load("second", second)], async |node, book| {
            node.sleep(ms(20)).await;
            book.write(secs(1).mul_f64(node.load_factor()));
        });
        assert_eq!(seen, [secs(1).mul_f64(second)]);
    }
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

// ---- processes ----

#[test]
fn a_crash_ends_what_a_node_did_and_its_end_starts_it_again() {
    let crash = Fault::at(ms(25), "crash", FaultKind::Crash).on("n").lasting(ms(30));
    let (times, recording) = alone([crash], async |node, book| {
        node.state("incarnation", &node.incarnation().to_string());
        for _ in 0..4 {
            node.sleep(ms(10)).await;
            book.write(now(&node));
        }
    });
    assert_eq!(times, [10, 20, 65, 75, 85, 95].map(ms));
    let incarnations: Vec<_> = states(&recording, "n", "incarnation").into_iter().map(|(_, v)| v).collect();
    assert_eq!(incarnations, ["0", "", "1"]);
    let process = [(ms(25), "down".to_owned()), (ms(55), String::new())];
    assert_eq!(states(&recording, "n", "process"), process);
    assert_eq!(touched(&recording, "crash"), 1);
}

#[test]
fn a_crash_of_a_node_that_is_down_touches_nothing() {
    let crash = |start, name| Fault::at(start, name, FaultKind::Crash).on("n");
    let (_, recording) =
        alone([crash(ms(5), "first"), crash(ms(6), "second")], async |node, _| node.sleep(secs(1)).await);
    assert_eq!((touched(&recording, "first"), touched(&recording, "second")), (1, 0));
}

#[test]
fn a_restart_starts_the_node_again_at_that_instant_up_or_down() {
    let plan = [
        Fault::at(ms(15), "restart", FaultKind::Restart).on("n"),
        Fault::at(ms(30), "dark", FaultKind::PowerFailure).on("n"),
        Fault::at(ms(70), "again", FaultKind::Restart).on("n"),
    ];
    let (times, recording) = alone(plan, async |node, book| {
        book.write(now(&node));
        node.sleep(ms(10)).await;
        book.write(now(&node));
        node.sleep(secs(1)).await;
    });
    assert_eq!(times, [0, 10, 15, 25, 70, 80].map(ms));
    assert_eq!(touched(&recording, "restart") + touched(&recording, "again"), 2);
}

// ---- pauses and slowness ----

#[test]
fn while_a_node_is_paused_messages_and_timers_pile_up_and_come_in_order() {
    let pause = Fault::at(ms(15), "pause", FaultKind::Pause).on("b").lasting(ms(40));
    let mut sim = Sim::new(&with([pause]), RecordingLevel::Full);
    sim.default_link(Link::constant(ms(1)));
    let (notes, ticks) = (Notebook::new(), Notebook::new());
    let (own_notes, own_ticks) = (notes.clone(), ticks.clone());
    let b = sim.node("b", async move |node| {
        let (ticking, book) = (node.clone(), own_ticks.clone());
        node.spawn_detached(async move {
            let mut ticks = ticking.ticks(ms(10));
            for _ in 0..7 {
                ticks.tick().await;
                book.write(now(&ticking));
            }
        });
        let mut mailbox = node.mailbox::<Message>();
        loop {
            let message = mailbox.recv().await.message;
            own_notes.write((now(&node), message.number()));
        }
    });
    sim.node("a", async move |node| {
        for number in 0..7 {
            until(&node, ms(10) * number).await;
            node.send(b, &note(number));
        }
    });
    let recording = sim.run().unwrap();
    let expected = [(1, 0), (11, 1), (55, 2), (55, 3), (55, 4), (55, 5), (61, 6)].map(|(t, n)| (ms(t), n));
    assert_eq!(notes.read(), expected);
    assert_eq!(ticks.read(), [10, 55, 55, 55, 55, 60, 70].map(ms));
    assert_eq!(states(&recording, "b", "paused"), [(ms(15), "yes".to_owned()), (ms(55), String::new())]);
    assert_eq!(touched(&recording, "pause"), 1);
}

#[test]
fn a_pause_stops_work_where_it_is_and_overlapping_pauses_end_with_the_last() {
    let pause =
        |start, lasts, name: &str| Fault::at(ms(start), name, FaultKind::Pause).on("n").lasting(ms(lasts));
    let (times, _) = alone([pause(10, 20, "first"), pause(20, 30, "second")], async |node, book| {
        node.work(ms(25)).await;
        book.write(now(&node));
    });
    // 10 ms of work before 10, 15 after 50.
    assert_eq!(times, [ms(65)]);
}

#[test]
fn a_slow_node_takes_longer_for_what_is_left_of_its_work() {
    let slow = Fault::at(ms(50), "slow", FaultKind::Slow(2.0)).on("n").lasting(ms(60));
    let (times, recording) = alone([slow], async |node, book| {
        node.work(ms(100)).await;
        book.write(now(&node));
        node.sleep(ms(10)).await;
        book.write(now(&node));
    });
    // 50 ms at full speed, 30 in the 60 that are slow, 20 after them.
    assert_eq!(times, [ms(130), ms(140)]);
    assert_eq!(touched(&recording, "slow"), 1);
}

#[test]
fn load_generators_hear_of_a_load_burst() {
    let burst = Fault::at(ms(15), "burst", FaultKind::Load(10.0)).on("n").lasting(ms(20));
    let (times, recording) = alone([burst], async |node, book| {
        for _ in 0..4 {
            book.write(secs(1).mul_f64(node.load_factor()));
            node.sleep(ms(10)).await;
        }
    });
    assert_eq!(times, [1, 1, 10, 10].map(secs));
    assert_eq!(touched(&recording, "burst"), 1);
}

// ---- clocks ----

#[test]
fn a_clock_jump_moves_the_wall_clock_and_no_timer() {
    for offset in [Offset::ahead(secs(3)), Offset::behind(secs(3))] {
        let jump = Fault::at(ms(15), "jump", FaultKind::ClockJump(offset)).on("n").lasting(ms(20));
        let (times, recording) = alone([jump], async move |node, book| {
            for step in 0..4_i64 {
                let error = node.wall().since_run_start() - step * 10_000_000;
                assert_eq!(error, if step == 2 || step == 3 { offset.as_nanos() } else { 0 }, "step {step}");
                assert_eq!(node.monotonic().as_nanos(), now(&node).as_nanos());
                node.sleep(ms(10)).await;
                book.write(now(&node));
            }
            assert_eq!(node.wall().since_run_start(), 40_000_000);
        });
        assert_eq!(times, [10, 20, 30, 40].map(ms));
        assert_eq!(touched(&recording, "jump"), 1);
    }
}

#[test]
fn a_change_of_drift_moves_the_timers_that_wait() {
    // At 500 ms, half of the second is left: at double speed it takes 250 ms, at half speed a second.
    for (ppm, end) in [(1_000_000.0, ms(750)), (-500_000.0, ms(1_500))] {
        let drift = Fault::at(ms(500), "drift", FaultKind::ClockDrift(ppm)).on("n");
        let (times, recording) = alone([drift], async |node, book| {
            node.sleep(secs(1)).await;
            book.write(now(&node));
            assert!(node.monotonic().as_nanos().abs_diff(secs(1).as_nanos()) <= 2);
        });
        assert_eq!(times, [end]);
        assert_eq!(touched(&recording, "drift"), 1);
    }
}

#[test]
fn a_drift_that_ends_leaves_the_clock_with_what_it_has_gained() {
    let drift = Fault::at(ms(500), "drift", FaultKind::ClockDrift(1_000_000.0)).on("n").lasting(ms(100));
    let (times, _) = alone([drift], async |node, book| {
        node.sleep(secs(1)).await;
        book.write(now(&node));
        assert_eq!(node.wall().since_run_start(), 1_000_000_000);
    });
    assert_eq!(times, [ms(900)]);
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Ask;
impl Request for Ask {
    type Response = ();
}

#[test]
fn a_change_of_drift_moves_the_deadlines_of_calls() {
    let drift = Fault::at(ms(500), "drift", FaultKind::ClockDrift(1_000_000.0)).on("client");
    let mut sim = Sim::new(&with([drift]), RecordingLevel::Essential);
    let book = Notebook::new();
    let heard = book.clone();
    let server = sim.node("server", async |node| node.serve(async |_, _: Ask| std::future::pending().await));
    sim.node("client", async move |node| {
        let (call, ()) = join(node.call(server, &Ask).deadline(secs(1)), node.sleep(ms(10))).await;
        assert!(call.is_err());
        heard.write(now(&node));
    });
    sim.run().unwrap();
    assert_eq!(book.read(), [ms(750)]);
}

// ---- memory ----

#[test]
fn a_memory_limit_kills_who_is_over_it_then_or_later() {
    let limit = Fault::at(ms(10), "limit", FaultKind::MemoryLimit(500)).on("n").lasting(ms(30));
    for (first, second, killed) in [(600, 0, Some(ms(10))), (400, 200, Some(ms(20))), (400, 100, None)] {
        let (times, recording) = alone([limit.clone()], async move |node, book| {
            if node.incarnation() > 0 {
                return;
            }
            let _held = node.allocate(first);
            node.sleep(ms(20)).await;
            let _more = node.allocate(second);
            book.write(now(&node));
            node.sleep(secs(1)).await;
        });
        let killed: Vec<_> = killed.into_iter().collect();
        let down: Vec<_> = states(&recording, "n", "process").into_iter().map(|(when, _)| when).collect();
        assert_eq!(down, killed);
        assert_eq!(touched(&recording, "limit"), killed.len() as u64);
        // Killed by its allocation, it wrote nothing that has an effect on the world; the notebook is the observer's.
        assert_eq!(times.len(), usize::from(killed != [ms(10)]));
        let why: Vec<_> = states(&recording, "n", "killed").into_iter().map(|(_, why)| why).collect();
        assert_eq!(why, vec!["out of memory"; killed.len()]);
    }
}

#[test]
fn a_limit_that_is_undone_leaves_the_nodes_own() {
    let limit = Fault::at(ms(10), "limit", FaultKind::MemoryLimit(500)).on("n").lasting(ms(10));
    let mut sim = Sim::new(&with([limit]), RecordingLevel::Full);
    sim.node(NodeSpec::new("n").memory_limit(1_000), async |node| {
        node.sleep(ms(30)).await;
        let mut held = node.allocate(900);
        node.sleep(ms(10)).await;
        held.resize(1_100);
        node.sleep(secs(1)).await;
    });
    let recording = sim.run().unwrap();
    assert_eq!(states(&recording, "n", "process"), [(ms(40), "down".to_owned())]);
    assert_eq!(touched(&recording, "limit"), 0, "it was the node's own limit that killed it");
}

// ---- disks ----

fn disk(start: u64, what: DiskFault) -> Fault {
    Fault::at(ms(start), "disk", FaultKind::Disk(what)).on("n")
}

#[test]
fn rot_flips_one_bit_of_what_is_stored() {
    for name in ["", "log"] {
        let (_, recording) = alone([disk(50, DiskFault::Rot(name.into()))], async |node, _| {
            let file = node.file("log");
            file.append(&[0; 1_000]).await.unwrap();
            file.sync().await.unwrap();
            until(&node, ms(60)).await;
            let flips: u32 = file.read_all().await.unwrap().iter().map(|byte| byte.count_ones()).sum();
            assert_eq!(flips, 1);
        });
        assert_eq!(touched(&recording, "disk"), 1);
    }
    let (_, recording) =
        alone([disk(50, DiskFault::Rot("log".into()))], async |node, _| node.sleep(secs(1)).await);
    assert_eq!(touched(&recording, "disk"), 0, "there was nothing to rot");
}

#[test]
fn a_disk_that_fails_fails_everything_until_it_is_over() {
    let fault = disk(50, DiskFault::IoError).lasting(ms(50));
    let (_, recording) = alone([fault], async |node, _| {
        let file = node.file("log");
        file.append(b"before").await.unwrap();
        until(&node, ms(60)).await;
        assert_eq!(file.append(b"during").await, Err(DiskError::Io));
        assert_eq!(file.read(0, 6).await, Err(DiskError::Io));
        assert_eq!(file.sync().await, Err(DiskError::Io));
        until(&node, ms(110)).await;
        file.append(b" after").await.unwrap();
        file.sync().await.unwrap();
        assert_eq!(file.read_all().await.unwrap(), b"before after");
    });
    assert_eq!(touched(&recording, "disk"), 3);
}

#[test]
fn what_a_failed_sync_did_not_write_is_lost_though_the_next_sync_succeeds() {
    let plan = [
        disk(50, DiskFault::FailSync).lasting(ms(50)),
        Fault::at(ms(200), "power", FaultKind::PowerFailure).on("n").lasting(ms(10)),
    ];
    let (_, recording) = alone(plan, async |node, _| {
        let file = node.file("log");
        if node.incarnation() > 0 {
            // What the first sync wrote is there; of the rest only what came after the fault.
            let left = file.read_all().await.unwrap();
            assert_eq!(&left[..3], b"one");
            assert!(!left.windows(3).any(|three| three == b"two"), "{left:?}");
            node.state("checked", "yes");
            return;
        }
        file.append(b"one").await.unwrap();
        file.sync().await.unwrap();
        until(&node, ms(60)).await;
        file.append(b"two").await.unwrap();
        assert_eq!(file.sync().await, Err(DiskError::Io));
        until(&node, ms(110)).await;
        file.sync().await.unwrap();
        node.sleep(secs(1)).await;
    });
    assert_eq!(touched(&recording, "disk"), 1);
    assert_eq!(states(&recording, "n", "checked").len(), 1);
}

#[test]
fn a_full_disk_takes_no_more_bytes_until_it_is_over() {
    let (_, recording) = alone([disk(50, DiskFault::Full).lasting(ms(50))], async |node, _| {
        let file = node.file("log");
        file.append(b"before").await.unwrap();
        until(&node, ms(60)).await;
        assert_eq!(file.append(b"more").await, Err(DiskError::NoSpace));
        file.write_at(0, b"BEFORE").await.unwrap(); // in place there is room
        file.sync().await.unwrap();
        until(&node, ms(110)).await;
        file.append(b"more").await.unwrap();
        assert_eq!(file.read_all().await.unwrap(), b"BEFOREmore");
    });
    assert_eq!(touched(&recording, "disk"), 1);
}

#[test]
fn a_slow_disk_takes_as_many_times_as_long() {
    let (times, recording) = alone([disk(50, DiskFault::Slow(10.0)).lasting(ms(50))], async |node, book| {
        let file = node.file("log");
        file.append(&[1; 500]).await.unwrap();
        for start in [10, 60, 110] {
            until(&node, ms(start)).await;
            file.read(0, 500).await.unwrap();
            book.write(now(&node) - ms(start));
            file.append(&[1; 500]).await.unwrap();
            book.write(now(&node) - ms(start));
        }
    });
    // A read takes 100 us and 1 us for 500 bytes at 500 MB/s, a write 20 us.
    assert_eq!(times, [101, 121, 1_010, 1_210, 101, 121].map(us));
    assert_eq!(touched(&recording, "disk"), 2);
}

#[test]
fn a_crash_policy_decides_what_a_crash_leaves_of_unsynced_data() {
    // Of 40 sectors each survives with chance 1/2: none or all of them would be one run in 500 billion.
    let kept = |policy: Option<CrashPolicy>| {
        let mut plan = vec![Fault::at(ms(100), "power", FaultKind::PowerFailure).on("n").lasting(ms(10))];
        plan.extend(policy.map(|policy| disk(50, DiskFault::CrashPolicy(policy))));
        let has_policy = policy.is_some();
        let (kept, recording) = alone(plan, async |node, book| {
            let file = node.file("log");
            if node.incarnation() > 0 {
                let whole = file.read_all().await.unwrap();
                let sectors = whole.chunks(512).filter(|sector| sector.iter().all(|&byte| byte == 1)).count();
                return book.write(secs(sectors as u64));
            }
            file.preallocate(40 * 512).unwrap();
            file.write_at(0, &[1; 40 * 512]).await.unwrap();
            node.sleep(secs(1)).await;
        });
        if has_policy {
            assert_eq!(touched(&recording, "disk"), 1);
        }
        kept[0]
    };
    assert_eq!(kept(None), secs(0), "the default loses what was not synced");
    let some = kept(Some(CrashPolicy::KeepRandomSectors));
    assert!(some > secs(0) && some < secs(40), "{some}");
}
