//! How many commands a cluster commits in a second of wall time. `cargo bench -p consensus`.
//!
//! Five servers, each with a log on a simulated disk that is synced before every answer (2 ms), links of 0.5 ms, everything
//! encoded, decoded and checked as in any run. The leader's application keeps a number of commands of 16 bytes under way, as
//! that many clients would that wait for their answers: when some are committed, it proposes as many new ones, each by itself.
//! Batching is Raft's own: what is proposed while four messages are on their way to a follower shares the next one, of 64 KiB
//! at most.

#![allow(
    clippy::disallowed_methods,
    reason = "a benchmark reads the wall clock; the world that it measures does not"
)]

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration as Wall, Instant},
};

use consensus::{
    Raft,
    raft::{Command, Config, Event, Payload, Role},
};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use sim_core::{
    NodeId, NodeSpec, Sim,
    machine::DiskSpec,
    net::Link,
    plan::Plan,
    record::{Ending, RecordingLevel},
    time::{ms, secs, us},
};

const SERVERS: u32 = 5;

/// Runs until so many commands are committed and applied by their leader; gives the wall time of the run.
fn commit(commands: u64, under_way: u64) -> Wall {
    let mut sim = Sim::new(&Plan::new("commits", 1, secs(1_000_000)), RecordingLevel::Essential);
    sim.default_link(Link::constant(us(500)));
    let applied = Arc::new(AtomicU64::new(0));
    for number in 0..SERVERS {
        let counted = Arc::clone(&applied);
        let disk = DiskSpec { fsync: ms(2), ..DiskSpec::default() };
        sim.node(NodeSpec::new(format!("server-{number}")).disk(disk), async move |node| {
            let config = Config::new(node.id(), (0..SERVERS).map(NodeId));
            let hosted = node.host::<Raft>(config).await;
            let mut leads = false;
            let mut own = 0;
            let propose = |count: u64| {
                for id in 0..count {
                    hosted.command(Command::Propose { id, data: (&[7_u8; 16][..]).into() });
                }
            };
            loop {
                match hosted.next().await {
                    Event::RoleChanged { role, .. } => {
                        leads = role == Role::Leader;
                        if leads {
                            propose(under_way);
                        }
                    }
                    Event::Committed { entries, .. } if leads => {
                        let is_command =
                            |entry: &&consensus::raft::Entry| matches!(entry.payload, Payload::Command(_));
                        let done = entries.iter().filter(is_command).count() as u64;
                        own += done;
                        counted.store(own, Ordering::Relaxed);
                        if own >= commands {
                            node.stop_run();
                        }
                        propose(done);
                    }
                    _ => {}
                }
            }
        });
    }
    let start = Instant::now();
    let recording = sim.run().expect("the plan is sound");
    let elapsed = start.elapsed();
    assert_eq!(recording.ending, Ending::Stopped);
    assert!(applied.load(Ordering::Relaxed) >= commands);
    elapsed
}

fn benches(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("5 servers, durable logs");
    group.sample_size(10);
    for under_way in [1_u64, 64, 1_000, 10_000] {
        let commands = if under_way == 1 { 20_000 } else { 200_000 };
        group.throughput(Throughput::Elements(commands));
        let id = BenchmarkId::new("commands under way", under_way);
        group.bench_with_input(id, &under_way, |bencher, &under_way| {
            bencher.iter_custom(|rounds| (0..rounds).map(|_| commit(commands, under_way)).sum());
        });
    }
    group.finish();
}

criterion_group!(commits, benches);
criterion_main!(commits);
