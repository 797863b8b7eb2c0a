//! How fast the world turns: the workloads by which simulators of this kind are compared. `cargo bench -p sim-core`.
//!
//! Every message is encoded and decoded, every link draws from its own words of chance, and the run hash covers every event;
//! only the level of recording differs. Rates are per second of wall time of the run itself; building the world is measured
//! by the start-up benchmark.

#![allow(
    clippy::disallowed_methods,
    reason = "a benchmark reads the wall clock; the world that it measures does not"
)]

use std::time::{Duration as Wall, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use serde::{Deserialize, Serialize};
use sim_core::{
    NodeId, Sim,
    net::{Link, rpc::Request},
    plan::Plan,
    protocol::{Out, Protocol},
    record::{Ending, Recording, RecordingLevel},
    rng::Delay,
    time::{ms, secs},
};

/// Sixteen bytes there and back.
#[derive(Serialize, Deserialize, Debug, Clone, Copy)]
struct Payload {
    first: u64,
    second: u64,
}

impl Request for Payload {
    type Response = Self;
}

const PAYLOAD: Payload = Payload { first: u64::MAX - 1, second: u64::MAX / 3 };

fn world(name: &str, level: RecordingLevel) -> Sim {
    Sim::new(&Plan::new(name, 1, secs(1_000_000)), level)
}

/// Runs a world and gives how long the run took.
fn timed(sim: Sim, check: impl Fn(&Recording)) -> Wall {
    let start = Instant::now();
    let recording = sim.run().expect("the plan is sound");
    let elapsed = start.elapsed();
    check(&recording);
    elapsed
}

/// Calls between two nodes, one after the other, 1 ms each way.
fn call_echo(calls: u64, level: RecordingLevel) -> Wall {
    let mut sim = world("echo", level);
    sim.default_link(Link::constant(ms(1)));
    let server = sim.node("server", async |node| {
        node.serve(async |_call, payload: Payload| payload);
        std::future::pending::<()>().await;
    });
    sim.node("client", async move |node| {
        for _ in 0..calls {
            node.call(server, &PAYLOAD).await.expect("nothing is lost here");
        }
        node.stop_run();
    });
    timed(sim, |recording| assert_eq!(recording.ending, Ending::Stopped))
}

struct Echo {
    peer: Option<NodeId>,
    left: u64,
}

#[derive(Serialize, Deserialize, Debug, Clone)]
enum EchoMessage {
    Ping(Payload),
    Pong(Payload),
}

impl Protocol for Echo {
    type Config = (Option<NodeId>, u64);
    type Message = EchoMessage;
    type Command = ();
    type Event = ();
    type Record = ();
    type Timer = ();
    fn restore(&(peer, left): &Self::Config, _: Vec<()>, out: &mut Out<Self>) -> Self {
        if peer.is_some() {
            out.arm((), ms(1));
        }
        Self { peer, left }
    }
    fn on_command(&mut self, (): (), _: &mut Out<Self>) {}
    fn on_message(&mut self, from: NodeId, message: EchoMessage, out: &mut Out<Self>) {
        match message {
            EchoMessage::Ping(payload) => out.send(from, EchoMessage::Pong(payload)),
            EchoMessage::Pong(payload) if self.left > 0 => {
                self.left -= 1;
                out.send(from, EchoMessage::Ping(payload));
            }
            EchoMessage::Pong(_) => {}
        }
    }
    fn on_timer(&mut self, (): (), out: &mut Out<Self>) {
        if let Some(peer) = self.peer {
            self.left -= 1;
            out.send(peer, EchoMessage::Ping(PAYLOAD));
        }
    }
}

fn protocol_echo(rounds: u64) -> Wall {
    let mut sim = world("protocol echo", RecordingLevel::Essential);
    sim.default_link(Link::constant(ms(1)));
    let server = sim.protocol::<Echo>("server", |_| (None, 0));
    sim.protocol::<Echo>("client", move |_| (Some(server), rounds));
    timed(sim, |recording| assert_eq!(recording.events, 2 * rounds + 1))
}

/// Ten thousand processes, each waiting again and again for an exponential time of mean 1 ms.
fn timers(events: u64) -> Wall {
    const PROCESSES: u64 = 10_000;
    let each = events.div_ceil(PROCESSES);
    let mut sim = world("timers", RecordingLevel::Essential);
    for number in 0..PROCESSES {
        sim.node(format!("process-{number}"), async move |node| {
            let mut chance = node.rng("timer");
            let wait = Delay::exponential(ms(1));
            for _ in 0..each {
                node.sleep(chance.duration(&wait)).await;
            }
        });
    }
    timed(sim, |recording| assert!(recording.events > events * 999 / 1000)) // a wait of no time is no event
}

const RUMOURS: u32 = 100;

/// Each node passes a rumour that it has not heard on to ten peers.
struct Flood {
    peers: Vec<NodeId>,
    heard: u128,
}

#[derive(Serialize, Deserialize, Debug, Clone)]
enum FloodMessage {
    Rumour(u32),
}

impl Flood {
    fn hear(&mut self, rumour: u32, out: &mut Out<Self>) {
        if self.heard & (1 << rumour) == 0 {
            self.heard |= 1 << rumour;
            for &peer in &self.peers {
                out.send(peer, FloodMessage::Rumour(rumour));
            }
        }
    }
}

impl Protocol for Flood {
    type Config = (NodeId, u32);
    type Message = FloodMessage;
    type Command = ();
    type Event = ();
    type Record = ();
    type Timer = u32;
    fn restore(&(me, nodes): &Self::Config, _: Vec<()>, out: &mut Out<Self>) -> Self {
        let mut peers = Vec::new();
        while peers.len() < 10 {
            let peer = NodeId(out.rng().below(u64::from(nodes)) as u32);
            if peer != me && !peers.contains(&peer) {
                peers.push(peer);
            }
        }
        if me == NodeId(0) {
            (0..RUMOURS).for_each(|rumour| out.arm(rumour, ms(1 + u64::from(rumour))));
        }
        Self { peers, heard: 0 }
    }
    fn on_command(&mut self, (): (), _: &mut Out<Self>) {}
    fn on_message(&mut self, _: NodeId, FloodMessage::Rumour(rumour): FloodMessage, out: &mut Out<Self>) {
        self.hear(rumour, out);
    }
    fn on_timer(&mut self, rumour: u32, out: &mut Out<Self>) {
        self.hear(rumour, out);
    }
}

/// A thousand nodes, ten peers each, links of 1 to 10 ms, a hundred rumours: a million messages.
fn flood() -> Wall {
    const NODES: u32 = 1_000;
    let mut sim = world("flood", RecordingLevel::Essential);
    sim.default_link(Link::new(Delay::uniform(ms(1), ms(10))));
    for number in 0..NODES {
        sim.protocol::<Flood>(format!("node-{number}"), |me| (me, NODES));
    }
    timed(sim, |recording| assert_eq!(recording.events, u64::from(RUMOURS) * (1 + 10 * u64::from(NODES))))
}

/// From nothing to ten thousand nodes that have run their first line.
fn start_up() -> Wall {
    let start = Instant::now();
    let mut sim = world("start", RecordingLevel::Essential);
    for number in 0..10_000 {
        sim.node(format!("node-{number}"), async |node| node.stop_run());
    }
    let recording = sim.run().expect("the plan is sound");
    let elapsed = start.elapsed();
    assert_eq!(recording.nodes.len(), 10_000);
    elapsed
}

fn repeat(times: u64, one: impl Fn() -> Wall) -> Wall {
    (0..times).map(|_| one()).sum()
}

fn benchmarks(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("world");
    group.sample_size(10).warm_up_time(Wall::from_secs(1)).measurement_time(Wall::from_secs(4));

    const CALLS: u64 = 200_000;
    group.throughput(Throughput::Elements(CALLS));
    for level in [RecordingLevel::Essential, RecordingLevel::Spans, RecordingLevel::Full] {
        group.bench_with_input(
            BenchmarkId::new("call echo", format!("{level:?}")),
            &level,
            |bencher, &level| {
                bencher.iter_custom(|times| repeat(times, || call_echo(CALLS, level)));
            },
        );
    }
    group.bench_function("protocol echo", |bencher| {
        bencher.iter_custom(|times| repeat(times, || protocol_echo(CALLS)));
    });
    const TIMERS: u64 = 1_000_000;
    group.throughput(Throughput::Elements(TIMERS));
    group.bench_function("timers of 10,000 processes", |bencher| {
        bencher.iter_custom(|times| repeat(times, || timers(TIMERS)));
    });
    group.throughput(Throughput::Elements(1_000_000));
    group.bench_function("flood over 1,000 nodes", |bencher| {
        bencher.iter_custom(|times| repeat(times, flood));
    });
    group.throughput(Throughput::Elements(10_000));
    group.bench_function("start of 10,000 nodes", |bencher| {
        bencher.iter_custom(|times| repeat(times, start_up));
    });
    group.finish();
}

criterion_group!(all, benchmarks);
criterion_main!(all);
