//! What many nodes and many spans cost in memory.
//!
//! Measured as the growth of the process's resident memory, which the system tells in `/proc/self/statm`; so on Linux only.
//! The two tests take turns, or each would count the other's memory.
#![cfg(target_os = "linux")]

mod support;

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU64, Ordering},
};

use sim_core::{
    NodeId, Sim,
    net::Link,
    plan::Plan,
    record::RecordingLevel,
    time::{ms, ns, secs},
};

static TURN: Mutex<()> = Mutex::new(());

/// Bytes of memory that the process has in use.
fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").expect("Linux has it");
    let pages: u64 = text.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4_096
}

const NODES: u64 = 10_000;
/// The design's limit for a node that waits for something.
const BYTES_PER_IDLE_NODE: u64 = 2_048;

#[test]
fn ten_thousand_idle_nodes_need_two_kibibytes_each_and_pairs_need_nothing() {
    let _turn = TURN.lock();
    let started = Arc::new(AtomicU64::new(0));
    let peak = Arc::new(AtomicU64::new(0));
    let mut sim = Sim::new(&Plan::new("idle", 1, secs(10)), RecordingLevel::Full);
    // All hundred million pairs can talk.
    sim.default_link(Link::constant(ms(1)));
    let before = resident();
    for n in 0..NODES {
        let (started, peak) = (Arc::clone(&started), Arc::clone(&peak));
        sim.node(format!("node-{n}"), async move |node| {
            started.fetch_add(1, Ordering::Relaxed);
            let mut mailbox = node.mailbox::<u32>();
            let waited = node.timeout(secs(1), mailbox.recv()).await;
            peak.fetch_max(resident_once(waited.is_some()), Ordering::Relaxed);
            // One says hello to one, so that it is seen that pairs could talk.
            if node.id() == NodeId(0) {
                node.send(node.find("node-9999"), &1_u32);
            }
            if node.id() == NodeId(9_999) {
                assert_eq!(mailbox.recv().await.message, 1);
                node.stop_run();
            }
        });
    }
    let recording = support::run(sim);
    assert_eq!(started.load(Ordering::Relaxed), NODES);
    assert_eq!(recording.ending, sim_core::record::Ending::Stopped);
    let each = peak.load(Ordering::Relaxed).saturating_sub(before) / NODES;
    println!("{each} bytes for each of {NODES} idle nodes");
    assert!(each > 100, "{each} bytes cannot be all: the measurement is wrong");
    assert!(each <= BYTES_PER_IDLE_NODE, "{each} bytes for each idle node");
}

/// Reading the figure ten thousand times would take a while: every hundredth time will do.
fn resident_once(skip: bool) -> u64 {
    static CALLS: AtomicU64 = AtomicU64::new(0);
    if skip || !CALLS.fetch_add(1, Ordering::Relaxed).is_multiple_of(100) { 0 } else { resident() }
}

#[test]
fn a_million_spans_with_two_attributes_fit_in_200_megabytes() {
    let _turn = TURN.lock();
    let before = resident();
    let mut sim = Sim::new(&Plan::new("spans", 1, secs(100)), RecordingLevel::Full);
    sim.node("node", async |node| {
        for n in 0..500_000_u64 {
            let outer = node.trace("operation").attribute("number", n).attribute("even", n % 2 == 0);
            outer
                .run(async { node.span("step").attribute("size", 7_u64).run(node.sleep(ns(10))).await })
                .await;
        }
    });
    let recording = support::run(sim);
    let used = resident().saturating_sub(before);
    println!("{} bytes for each of {} spans", used / recording.spans.len() as u64, recording.spans.len());
    assert_eq!(recording.spans.len(), 1_000_000);
    assert_eq!(recording.attributes.len(), 1_500_000);
    assert!(used > 50_000_000, "{used} bytes cannot be all: the measurement is wrong");
    assert!(used < 200_000_000, "{used} bytes");
}
