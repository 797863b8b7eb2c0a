//! What faults do to machines: processes, cores, clocks, memory and disks.
//!
//! Goal: each fault does what it is named after, for as long as it lasts, leaves things as they were, and counts what it
//! touched. Method: one node does something whose times are known in advance while a fault comes and goes.

mod common;

use common::*;
use sim_core::{
    NodeSpec, Sim,
    combine::join,
    fault::{DiskFault, Fault, FaultKind, Offset},
    machine::disk::{CrashPolicy, DiskError},
    net::{Link, rpc::Request},
    record::RecordingLevel,
    time::{ms, secs, us},
};

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
    // The first tick of four that were due (the others are armed after it), and four messages.
    assert_eq!(touched(&recording, "pause"), 5);
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
fn a_mark_stays_until_the_last_of_several_faults_is_over() {
    for (kind, mark) in [(FaultKind::Pause, "paused"), (FaultKind::Slow(2.0), "slow")] {
        let fault =
            |start, lasts, name: &str| Fault::at(ms(start), name, kind.clone()).on("n").lasting(ms(lasts));
        let faults = [fault(10, 20, "first"), fault(20, 30, "second"), fault(70, 10, "later")];
        let (_, recording) = alone(faults, async |node, _| node.sleep(ms(100)).await);
        let expected = [(10, "yes"), (50, ""), (70, "yes"), (80, "")];
        assert_eq!(states(&recording, "n", mark), expected.map(|(at, value)| (ms(at), value.to_owned())));
    }
}

#[test]
fn a_mark_outlives_the_process_as_its_fault_does() {
    let faults = [
        Fault::at(ms(10), "pause", FaultKind::Pause).on("n").lasting(ms(40)),
        Fault::at(ms(20), "crash", FaultKind::Crash).on("n").lasting(ms(10)),
    ];
    let (times, recording) = alone(faults, async |node, book| {
        node.state("said", "something");
        book.write(now(&node));
        node.sleep(secs(1)).await;
    });
    assert_eq!(times, [ms(0), ms(50)], "it starts at 30 ms, and stands still until 50");
    assert_eq!(states(&recording, "n", "paused"), [(ms(10), "yes".to_owned()), (ms(50), String::new())]);
    let process = [(ms(20), "down".to_owned()), (ms(30), String::new())];
    assert_eq!(states(&recording, "n", "process"), process);
    assert_eq!(states(&recording, "n", "said")[1], (ms(20), String::new()), "what the process said is over");
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
    assert_eq!(touched(&recording, "burst"), 2);
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
        assert_eq!(touched(&recording, "jump"), 2, "the readings of steps 2 and 3");
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
        assert_eq!(touched(&recording, "drift"), 2, "the timer, and the reading after it");
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
fn overlapping_slow_faults_multiply_and_the_end_of_one_leaves_the_other() {
    let faults = [
        Fault::at(ms(0), "long", FaultKind::Slow(2.0)).on("n").lasting(ms(100)),
        Fault::at(ms(20), "short", FaultKind::Slow(3.0)).on("n").lasting(ms(60)),
    ];
    let (times, _) = alone(faults, async |node, book| {
        for work in [10, 10, 10, 5] {
            node.work(ms(work)).await;
            book.write(now(&node));
        }
    });
    // Twice as long until 20 ms, six times until 80 ms, twice again until 100 ms, then as usual.
    assert_eq!(times, [20, 80, 100, 105].map(ms));
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
