//! A node's disk through the node's own calls: how long operations take, and what a crash leaves.
//!
//! Most tests use a disk whose write and read cost nothing and whose sync takes 5 ms, so that each time is a sum that can be
//! done in the head.

mod support;

use sim_core::{
    Node, NodeSpec,
    fault::{DiskFault, Fault, FaultKind, FaultPlan},
    machine::{
        DiskSpec,
        disk::{CrashPolicy, DiskError},
    },
    plan::Plan,
    record::{Ending, RecordingLevel},
    time::{Duration, ms, secs, us},
};
use support::{Log, alone, run, states, world, world_with};

/// Only syncs cost time: 5 ms.
fn sync_only() -> DiskSpec {
    DiskSpec {
        write: Duration::ZERO,
        read: Duration::ZERO,
        fsync: ms(5),
        bandwidth: u64::MAX,
        ..DiskSpec::default()
    }
}
fn store(disk: DiskSpec) -> NodeSpec {
    NodeSpec::new("store").disk(disk)
}
fn restart_at(time: Duration) -> FaultPlan {
    FaultPlan::none().with(Fault::at(time, "restart", FaultKind::Restart).on("store"))
}
fn disk_fault(start: Duration, end: Duration, what: DiskFault) -> FaultPlan {
    FaultPlan::none().with(Fault::at(start, "disk", FaultKind::Disk(what)).until(end).on("store"))
}
async fn text(node: &Node, file: &str) -> String {
    String::from_utf8_lossy(&node.file(file).read_all().await.unwrap()).into_owned()
}

/// Runs `before` in the first process and notes what the second finds in the file `log`.
fn after_restart(disk: DiskSpec, at: Duration, before: impl AsyncFn(&Node) + Send + 'static) -> String {
    let lines = alone(store(disk), restart_at(at), async move |node, log| {
        if node.incarnation() == 0 {
            before(&node).await;
        } else {
            log.say(text(&node, "log").await);
        }
    });
    assert_eq!(lines.len(), 1);
    lines[0].trim_start_matches("0s ").to_owned()
}

// ---- how long ----

#[test]
fn a_write_costs_a_system_call_a_sync_the_device_and_a_read_its_own_time() {
    let lines = alone("store", FaultPlan::none(), async |node, log| {
        let file = node.file("log");
        assert_eq!(file.append(&[7; 500]).await, Ok(0));
        log.note(&node, "written");
        assert_eq!(file.append(&[8; 500]).await, Ok(500));
        log.note(&node, "written");
        file.sync().await.unwrap();
        log.note(&node, "synced");
        assert_eq!(file.read(499, 2).await.unwrap(), [7, 8]);
        log.note(&node, "read");
    });
    // 20 us a write; 1 ms and 1000 bytes at 500 MB/s (2 us) a sync; 100 us and 2 bytes (4 ns) a read.
    assert_eq!(lines, ["20us written", "40us written", "1.042ms synced", "1142.004us read"]);
}

#[test]
fn the_transfer_of_a_sync_takes_as_long_as_its_bytes_need() {
    let slow = DiskSpec { bandwidth: 1_000_000, ..sync_only() };
    let lines = alone(store(slow), FaultPlan::none(), async |node, log| {
        let file = node.file("log");
        file.append(&[1; 10_000]).await.unwrap();
        file.sync().await.unwrap();
        log.note(&node, "10 KB: 5 ms and 10 ms");
        file.sync().await.unwrap();
        log.note(&node, "nothing: 5 ms");
        file.read_all().await.unwrap();
        log.note(&node, "10 KB: 10 ms");
    });
    assert_eq!(lines, ["15ms 10 KB: 5 ms and 10 ms", "20ms nothing: 5 ms", "30ms 10 KB: 10 ms"]);
}

#[test]
fn a_disk_with_a_sync_of_5_ms_syncs_200_times_a_second_whoever_asks() {
    let log = Log::new();
    let noted = log.clone();
    let mut sim = world();
    sim.node(store(sync_only()), async move |node| {
        for client in 0..10 {
            let (me, log) = (node.clone(), noted.clone());
            node.spawn_detached(async move {
                let file = me.file(format!("file-{client}"));
                while me.monotonic().since_start() < secs(1) {
                    file.append(b"x").await.unwrap();
                    file.sync().await.unwrap();
                    if me.monotonic().since_start() <= secs(1) {
                        log.say("synced");
                    }
                }
            });
        }
    });
    run(sim);
    assert_eq!(log.count("synced"), 200);
}

#[test]
fn reads_wait_for_the_device_behind_syncs_and_writes_do_not() {
    let lines =
        alone(store(DiskSpec { read: ms(1), ..sync_only() }), FaultPlan::none(), async |node, log| {
            let file = node.file("log");
            file.append(b"abc").await.unwrap();
            let (me, noted) = (node.clone(), log.clone());
            node.spawn_detached(async move {
                me.file("log").sync().await.unwrap();
                noted.note(&me, "synced");
            });
            node.sleep(ms(1)).await;
            file.append(b"def").await.unwrap();
            log.note(&node, "written");
            assert_eq!(file.read_all().await.unwrap(), b"abcdef");
            log.note(&node, "read");
        });
    assert_eq!(lines, ["1ms written", "5ms synced", "6ms read"]);
}

#[test]
fn a_slow_disk_takes_a_multiple_of_each_time() {
    let faults = disk_fault(ms(0), ms(30), DiskFault::Slow(4.0));
    let log = Log::new();
    let noted = log.clone();
    let mut sim = world_with(faults);
    sim.node(store(sync_only()), async move |node| {
        for _ in 0..3 {
            node.file("log").sync().await.ok();
            noted.note(&node, "synced");
        }
    });
    let recording = run(sim);
    // Begun at 0 and 20 with a factor of 4, at 40 without.
    assert_eq!(log.lines(), ["20ms synced", "40ms synced", "45ms synced"]);
    assert_eq!(recording.faults[0].touched, 2);
}

// ---- what is durable ----

#[test]
fn what_is_dirty_when_the_device_reaches_a_sync_is_durable_and_what_comes_later_is_not() {
    // The second sync is asked for at 1, reaches the device at 5 and is done at 10. "b", written at 3 by somebody who never
    // syncs, goes with it; "c", written at 6, does not.
    let left = after_restart(sync_only(), ms(11), async |node| {
        let file = node.file("log");
        file.append(b"a").await.unwrap();
        for start in [0, 1] {
            let (me, file) = (node.clone(), file.clone());
            node.spawn_detached(async move {
                me.sleep(ms(start)).await;
                file.sync().await.unwrap();
            });
        }
        node.sleep(ms(3)).await;
        file.append(b"b").await.unwrap();
        node.sleep(ms(3)).await;
        file.append(b"c").await.unwrap();
    });
    assert_eq!(left, "ab");
}

#[test]
fn a_crash_loses_what_was_not_synced_and_keeps_what_was() {
    let left = after_restart(sync_only(), ms(7), async |node| {
        let file = node.file("log");
        file.append(b"synced").await.unwrap();
        file.sync().await.unwrap();
        file.append(b", not synced").await.unwrap();
        assert_eq!(text(node, "log").await, "synced, not synced");
        assert_eq!(node.disk().dirty_bytes(), 12);
    });
    assert_eq!(left, "synced");
}

#[test]
fn a_sync_that_a_crash_interrupts_has_made_nothing_durable() {
    let write_and_sync = async |node: &Node| {
        let file = node.file("log");
        file.append(b"half way").await.unwrap();
        file.sync().await.unwrap();
    };
    assert_eq!(after_restart(sync_only(), us(4_999), write_and_sync), "");
    assert_eq!(after_restart(sync_only(), us(5_001), write_and_sync), "half way");
}

#[test]
fn a_disk_survives_several_crashes_and_a_power_failure() {
    let mut faults = restart_at(ms(20))
        .with(Fault::at(ms(40), "power", FaultKind::PowerFailure).until(ms(50)).on("store"));
    faults.push(Fault::at(ms(70), "restart", FaultKind::Restart).on("store"));
    let lines = alone(store(sync_only()), faults, async |node, log| {
        let found = text(&node, "log").await;
        log.note(&node, format!("found `{found}`"));
        let file = node.file("log");
        file.append(format!("{}", node.incarnation()).as_bytes()).await.unwrap();
        file.sync().await.unwrap();
        file.append(b"?").await.unwrap();
    });
    assert_eq!(lines, ["0s found ``", "20ms found `0`", "50ms found `01`", "70ms found `012`"]);
}

#[test]
fn the_system_writes_back_at_whole_multiples_of_its_period() {
    let disk = DiskSpec { write_back: Some(ms(100)), ..sync_only() };
    let write_at_130 = async |node: &Node| {
        node.sleep(ms(130)).await;
        node.file("log").append(b"unsynced").await.unwrap();
    };
    assert_eq!(after_restart(disk, ms(199), write_at_130), "");
    assert_eq!(after_restart(disk, ms(201), write_at_130), "unsynced");
    let without = DiskSpec { write_back: None, ..disk };
    assert_eq!(after_restart(without, ms(201), write_at_130), "");
}

#[test]
fn a_run_ends_when_nothing_is_left_to_write_back() {
    let disk = DiskSpec { write_back: Some(ms(100)), ..sync_only() };
    let ending = |spec: NodeSpec, code: fn(Node) -> std::pin::Pin<Box<dyn Future<Output = ()>>>| {
        let mut sim = world();
        sim.node(spec, code);
        let recording = run(sim);
        (recording.ending, recording.ended.since_start())
    };
    // It is written at 130 ms, and written back at 200.
    let write = |node: Node| -> std::pin::Pin<Box<dyn Future<Output = ()>>> {
        Box::pin(async move {
            node.sleep(ms(130)).await;
            node.file("log").append(b"unsynced").await.unwrap();
        })
    };
    assert_eq!(ending(store(disk), write), (Ending::Quiet, ms(200)));
    // A truncation is written back too, in a turn of its own.
    assert_eq!(
        ending(store(disk), |node| Box::pin(async move {
            let file = node.file("log");
            file.append(b"unsynced").await.unwrap();
            node.sleep(ms(350)).await;
            file.truncate(3).unwrap();
        })),
        (Ending::Quiet, ms(400))
    );
    // Who only looks leaves nothing to write, and no period is no write-back.
    assert_eq!(
        ending(store(disk), |node| Box::pin(async move { drop(node.file("log").read_all().await) })),
        (Ending::Quiet, ms(0))
    );
    let never = DiskSpec { write_back: Some(Duration::ZERO), ..disk };
    assert_eq!(ending(store(never), write), (Ending::Quiet, ms(130)));
}

#[test]
fn a_rename_is_durable_after_a_sync_of_the_directory() {
    let lines = alone(store(sync_only()), restart_at(ms(20)), async |node, log| {
        let disk = node.disk();
        if node.incarnation() == 0 {
            for (name, content) in [("old", "1"), ("new", "2")] {
                node.file(name).append(content.as_bytes()).await.unwrap();
                node.file(name).sync().await.unwrap();
            }
            disk.rename("new", "old").unwrap();
            disk.sync_directory().await.unwrap();
            log.note(&node, disk.list("").join(" "));
            disk.delete("old").unwrap(); // without a sync: after the crash it is there or not
            assert_eq!(disk.rename("nothing", "x"), Err(DiskError::NotFound));
        } else if node.file("old").exists() {
            log.note(&node, text(&node, "old").await);
        } else {
            log.note(&node, "deleted");
        }
    });
    assert_eq!(lines[0], "15ms old");
    assert!(["20ms 2", "20ms deleted"].contains(&lines[1].as_str()), "{lines:?}");
}

#[test]
fn preallocated_space_is_there_at_once_and_after_a_crash() {
    let left = after_restart(sync_only(), ms(1), async |node| {
        node.file("log").preallocate(4).unwrap();
        assert_eq!(node.monotonic().since_start(), Duration::ZERO);
    });
    assert_eq!(left, "\0\0\0\0");
}

// ---- torn writes ----

/// What is left of 64 bytes (sectors of 16, each with its own letter) after a crash, for many seeds.
fn torn(policy: CrashPolicy) -> Vec<String> {
    let mut left: Vec<String> = (0..64)
        .map(|seed| {
            let faults = restart_at(ms(1));
            let log = Log::new();
            let noted = log.clone();
            let plan = Plan::new("torn", seed, secs(1)).with_faults(faults);
            let mut sim = sim_core::Sim::new(&plan, RecordingLevel::Essential);
            let disk = DiskSpec { sector: 16, crash: policy, ..sync_only() };
            sim.node(store(disk), async move |node| {
                if node.incarnation() == 0 {
                    let bytes: Vec<u8> = (0..64).map(|i| b'a' + i / 16).collect();
                    node.file("log").append(&bytes).await.unwrap();
                } else {
                    let content = node.file("log").read_all().await.unwrap();
                    let sectors = content.chunks(16).map(|sector| {
                        assert!(sector.iter().all(|b| *b == sector[0]), "a sector is whole or not there");
                        if sector[0] == 0 { '.' } else { sector[0] as char }
                    });
                    noted.say(sectors.collect::<String>());
                }
            });
            let recording = run(sim);
            let said = states(&recording).iter().any(|line| line.contains("disk after crash="));
            assert!(said, "the recording says what the crash did");
            log.texts().remove(0)
        })
        .collect();
    left.sort();
    left.dedup();
    left
}

#[test]
fn each_policy_leaves_its_own_share_of_an_unsynced_write() {
    assert_eq!(torn(CrashPolicy::LoseUnsynced), [""]);
    assert_eq!(torn(CrashPolicy::TearFirst), ["", "a", "ab", "abc", "abcd"]);
    assert_eq!(torn(CrashPolicy::KeepPrefix), ["", "a", "ab", "abc", "abcd"]);
    let random = torn(CrashPolicy::KeepRandomSectors);
    assert!(random.contains(&"a..d".to_owned()) && random.contains(&".b".to_owned()), "{random:?}");
    assert!(random.len() > 10, "of 16 choices, 64 seeds find most: {random:?}");
}

#[test]
fn a_fault_can_set_the_policy_for_a_while() {
    let mut faults = disk_fault(ms(0), ms(50), DiskFault::CrashPolicy(CrashPolicy::KeepRandomSectors));
    faults.push(Fault::at(ms(10), "first", FaultKind::Restart).on("store"));
    faults.push(Fault::at(ms(60), "second", FaultKind::Restart).on("store"));
    let log = Log::new();
    let noted = log.clone();
    let mut sim = world_with(faults);
    sim.node(store(sync_only()), async move |node| {
        for file in 0..8 {
            noted.say(format!("{} {}", node.incarnation(), node.file(format!("{file}")).len()));
            node.file(format!("{file}")).append(&[1; 512]).await.unwrap();
        }
    });
    let recording = run(sim);
    let kept =
        |incarnation: u32| (1..20).map(|n| log.count(&format!("{incarnation} {}", n * 512))).sum::<usize>();
    assert!(kept(1) > 0, "some sectors were kept while the fault was in force");
    assert_eq!(recording.faults[0].touched, 1, "the second crash came after its end");
}

// ---- failures ----

#[test]
fn a_full_disk_refuses_and_changes_nothing() {
    let small = DiskSpec { capacity: Some(10), ..sync_only() };
    let lines = alone(store(small), FaultPlan::none(), async |node, log| {
        let file = node.file("log");
        file.append(&[1; 8]).await.unwrap();
        assert_eq!(file.append(&[2; 3]).await, Err(DiskError::NoSpace));
        file.append(&[3; 2]).await.unwrap();
        log.note(&node, format!("{:?}", file.read_all().await.unwrap()));
    });
    assert_eq!(lines, ["0s [1, 1, 1, 1, 1, 1, 1, 1, 3, 3]"]);
}

#[test]
fn disk_faults_fail_operations_while_they_last_and_are_counted() {
    for (fault, failed, touched) in [
        (DiskFault::Full, "append", 1),
        (DiskFault::FailSync, "sync", 1),
        (DiskFault::IoError, "append sync read", 3),
    ] {
        let log = Log::new();
        let noted = log.clone();
        let mut sim = world_with(disk_fault(ms(10), ms(20), fault.clone()));
        sim.node(store(DiskSpec { fsync: ms(1), ..sync_only() }), async move |node| {
            let file = node.file("log");
            file.append(b"before").await.unwrap();
            file.sync().await.unwrap();
            for at in [12, 22] {
                node.sleep_until(sim_core::time::Monotonic::ZERO + ms(at)).await;
                let appended = file.append(b"!").await.is_err();
                let synced = file.sync().await.is_err();
                let read = file.read(0, 1).await.is_err();
                let failed = [(appended, "append"), (synced, "sync"), (read, "read")];
                let failed: Vec<&str> = failed.iter().filter(|(f, _)| *f).map(|(_, name)| *name).collect();
                noted.say(failed.join(" "));
            }
        });
        let recording = run(sim);
        assert_eq!(log.texts(), [failed, ""], "{fault:?}");
        assert_eq!(recording.faults[0].touched, touched, "{fault:?}");
    }
}

#[test]
fn what_a_failed_sync_should_have_written_is_lost_though_the_next_sync_succeeds() {
    let mut faults = disk_fault(ms(0), ms(7), DiskFault::FailSync);
    faults.push(Fault::at(ms(50), "restart", FaultKind::Restart).on("store"));
    let lines = alone(store(sync_only()), faults, async |node, log| {
        let file = node.file("log");
        if node.incarnation() == 0 {
            file.append(b"lost").await.unwrap();
            log.note(&node, format!("{:?}", file.sync().await));
            node.sleep(ms(10)).await;
            log.note(&node, format!("{:?}", file.sync().await));
        } else {
            log.note(&node, format!("`{}`", text(&node, "log").await));
        }
    });
    assert_eq!(lines, ["5ms Err(Io)", "20ms Ok(())", "50ms ``"]);
}

#[test]
fn a_rotten_bit_is_read_back_as_it_is() {
    let rot = FaultKind::Disk(DiskFault::Rot("log".to_owned()));
    let faults = FaultPlan::none().with(Fault::at(ms(10), "disk", rot).on("store"));
    let lines = alone(store(sync_only()), faults, async |node, log| {
        let file = node.file("log");
        file.append(&[0; 100]).await.unwrap();
        file.sync().await.unwrap();
        node.sleep(ms(10)).await;
        let ones: u32 = file.read_all().await.unwrap().iter().map(|b| b.count_ones()).sum();
        log.note(&node, format!("{ones} bits"));
    });
    assert_eq!(lines, ["15ms 1 bits"]);
}

// ---- operations that nobody waits for ----

#[test]
fn an_operation_that_is_given_up_happens_all_the_same_and_its_place_is_used_again() {
    let disk = DiskSpec { write: ms(2), ..sync_only() };
    let lines = alone(store(disk), FaultPlan::none(), async |node, log| {
        for round in 0..20_u8 {
            let file = node.file(format!("{round}"));
            assert!(node.timeout(ms(1), file.append(&[round])).await.is_none());
            assert!(file.is_empty());
            node.sleep(ms(2)).await;
            assert_eq!(file.read_all().await.unwrap(), [round]);
        }
        log.note(&node, "done");
    });
    assert_eq!(lines, ["60ms done"]);
}

#[test]
fn operations_of_a_dead_process_never_reach_the_next_one() {
    let disk = DiskSpec { write: ms(10), ..sync_only() };
    let lines = alone(store(disk), restart_at(ms(3)), async |node, log| {
        let name = format!("of {}", node.incarnation());
        // The old process's write would be done at 10 and its sync at 15; they have the same places in the drive's table as
        // the new one's, which are done at 13 and 18.
        node.file(&name).append(name.as_bytes()).await.unwrap();
        log.note(&node, "written");
        node.file(&name).sync().await.unwrap();
        log.note(&node, "synced");
        log.note(&node, node.disk().list("").join(", "));
    });
    assert_eq!(lines, ["13ms written", "18ms synced", "18ms of 1"]);
}

#[test]
fn a_disk_goes_on_while_its_node_stands_still() {
    let faults =
        FaultPlan::none().with(Fault::at(ms(2), "pause", FaultKind::Pause).until(ms(30)).on("store"));
    let lines = alone(store(sync_only()), faults, async |node, log| {
        node.file("log").append(b"x").await.unwrap();
        node.file("log").sync().await.unwrap();
        log.note(&node, "heard of it");
        node.file("log").sync().await.unwrap();
        log.note(&node, "heard of it");
    });
    // The first was done at 5, and the node hears of it at 30.
    assert_eq!(lines, ["30ms heard of it", "35ms heard of it"]);
}
