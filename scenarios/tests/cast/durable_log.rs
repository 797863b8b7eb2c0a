//! The write-ahead log: what a power failure takes, what a failed sync does, and what a sync costs.

use scenarios::cast::{LogFile, LogSync};
use sim_core::{
    Node, NodeSpec,
    fault::{DiskFault, FaultKind},
    machine::DiskSpec,
    record::Recording,
    time::{ms, secs},
};

use crate::figures::*;

/// A store whose disk syncs in 5 ms and loses what was not synced. Six tasks append without a pause until the power fails at
/// 1 s; after the restart at 2 s it notes what it finds. Gives the notes: `acked 7`, `found 7`.
fn crash(log: LogFile) -> (Vec<u64>, Vec<u64>, Recording) {
    let mut sim = world_with(1, secs(3), fault(secs(1), secs(1), FaultKind::PowerFailure, "store"));
    let disk = DiskSpec { fsync: ms(5), ..DiskSpec::default() };
    let notes = Notes::default();
    let told = notes.clone();
    sim.node(NodeSpec::new("store").disk(disk), async move |node: Node| {
        let (opened, found) = log.clone().open::<(u64, String)>(&node).await;
        for (number, text) in found {
            assert_eq!(text, "x".repeat(900));
            told.write(&node, format!("found {number}"));
        }
        if node.incarnation() > 0 {
            return;
        }
        let log = std::rc::Rc::new(opened);
        for writer in 0..6_u64 {
            let (node_, log, told) = (node.clone(), std::rc::Rc::clone(&log), told.clone());
            node.spawn_detached(async move {
                for round in 0.. {
                    let number = round * 6 + writer;
                    log.append(&(number, "x".repeat(900))).await;
                    told.write(&node_, format!("acked {number}"));
                    node_.sleep(ms(1)).await;
                }
            });
        }
        node.sleep(secs(9)).await;
    });
    let recording = run(sim);
    let of = |what: &str| {
        let texts = notes.texts().into_iter();
        texts.filter_map(|text| text.strip_prefix(what).map(|number| number.parse().unwrap())).collect()
    };
    (of("acked "), of("found "), recording)
}

#[test]
fn what_was_acknowledged_after_a_sync_is_found_again() {
    for log in [
        LogFile::new("log"),
        LogFile::new("log").sync(LogSync::Each),
        LogFile::new("log").preallocated(8 << 20),
    ] {
        let told = format!("{log:?}");
        let (acked, found, recording) = crash(log);
        assert!(acked.len() > 100, "{told}: {}", acked.len());
        assert!(acked.iter().all(|number| found.contains(number)), "{told}");
        assert_eq!(count(&recording, "log.replayed"), found.len() as f64, "{told}");
    }
}

#[test]
fn without_a_sync_everything_is_gone() {
    let (acked, found, _) = crash(LogFile::new("log").sync(LogSync::Never));
    assert!(acked.len() > 1_000 && found.is_empty(), "{} {}", acked.len(), found.len());
}

#[test]
fn a_shared_sync_serves_all_and_one_of_its_own_only_itself() {
    let (together, _, recording) = crash(LogFile::new("log"));
    assert!(mean(&sorted(&recording, "log.batch")) > 2.5);
    let (alone, _, recording) = crash(LogFile::new("log").sync(LogSync::Each));
    assert!(sorted(&recording, "log.batch").iter().all(|&batch| batch == 1.0));
    assert!((190..=200).contains(&alone.len()), "5 ms each: {}", alone.len());
    assert!(together.len() > 2 * alone.len(), "{}", together.len());
}

#[test]
fn a_failed_sync_crashes_the_node_or_is_tried_again() {
    let incarnations = |log: LogFile| {
        let fault = fault(ms(100), ms(100), FaultKind::Disk(DiskFault::FailSync), "store");
        let (mut sim, notes) = (world_with(1, secs(2), fault), Notes::default());
        let told = notes.clone();
        sim.node("store", async move |node: Node| {
            let (log, _) = log.clone().open::<u64>(&node).await;
            node.sleep(ms(150)).await;
            log.append(&1).await;
            told.write(&node, "acknowledged");
        });
        run(sim);
        notes.all()
    };
    assert_eq!(incarnations(LogFile::new("log")), []);
    let retried = incarnations(LogFile::new("log").retry_failed_syncs());
    assert!(retried.len() == 1 && retried[0].0 > 200_000, "{retried:?}");
}
