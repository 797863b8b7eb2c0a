use serde::{Deserialize, Serialize};
use sim_core::{
    NodeId, Sim,
    net::{Link, rpc::Request},
    plan::Plan,
    protocol::*,
    record::RecordingLevel,
    rng::Delay,
    time::*,
};
use std::time::Instant;

#[derive(Serialize, Deserialize)]
struct Echo {
    a: u64,
    b: u64,
}
impl Request for Echo {
    type Response = Echo;
}

fn echo(n: u64, level: RecordingLevel) -> f64 {
    let mut sim = Sim::new(&Plan::new("echo", 1, secs(1_000_000)), level);
    sim.default_link(Link::constant(ms(1)));
    let server = sim.node("server", async |node| {
        node.serve(async |_call, e: Echo| e);
        std::future::pending::<()>().await
    });
    sim.node("client", async move |node| {
        for _ in 0..n {
            let _ = node.call(server, &Echo { a: u64::MAX, b: u64::MAX - 1 }).await.unwrap();
        }
        node.stop_run();
    });
    let t = Instant::now();
    let r = sim.run().unwrap();
    let s = t.elapsed().as_secs_f64();
    println!(
        "rpc echo {level:?}: {:.2} M/s, events {}, end {} {:?}",
        n as f64 / s / 1e6,
        r.events,
        r.ended,
        r.ending
    );
    s
}
fn timers(nodes: u64, each: u64) {
    let mut sim = Sim::new(&Plan::new("timers", 1, secs(1_000_000)), RecordingLevel::Essential);
    let t0 = Instant::now();
    for i in 0..nodes {
        sim.node(format!("p{i}"), async move |node| {
            let mut rng = node.rng("t");
            let d = Delay::exponential(ms(1));
            for _ in 0..each {
                node.sleep(rng.duration(&d)).await;
            }
        });
    }
    let built = t0.elapsed();
    let t = Instant::now();
    let r = sim.run().unwrap();
    let s = t.elapsed().as_secs_f64();
    println!("timers: {:.2} M/s events {} built {:?}", r.events as f64 / s / 1e6, r.events, built);
}
struct PEcho {
    peer: Option<NodeId>,
    left: u64,
}
#[derive(Serialize, Deserialize, Debug, Clone)]
enum M {
    Ping([u8; 16]),
    Pong([u8; 16]),
}
impl Protocol for PEcho {
    type Config = (Option<NodeId>, u64);
    type Message = M;
    type Command = ();
    type Event = ();
    type Record = ();
    type Timer = u8;
    fn restore(c: &Self::Config, _: Vec<()>, out: &mut Out<Self>) -> Self {
        if let Some(_p) = c.0 {
            out.arm(0, ms(1));
        }
        PEcho { peer: c.0, left: c.1 }
    }
    fn on_command(&mut self, _: (), _: &mut Out<Self>) {}
    fn on_message(&mut self, from: NodeId, m: M, out: &mut Out<Self>) {
        match m {
            M::Ping(b) => out.send(from, M::Pong(b)),
            M::Pong(b) => {
                if self.left > 0 {
                    self.left -= 1;
                    out.send(from, M::Ping(b));
                }
            }
        }
    }
    fn on_timer(&mut self, _: u8, out: &mut Out<Self>) {
        out.send(self.peer.unwrap(), M::Ping([1; 16]));
    }
}
fn pecho(n: u64) {
    let mut sim = Sim::new(&Plan::new("pecho", 1, secs(1_000_000)), RecordingLevel::Essential);
    sim.default_link(Link::constant(ms(1)));
    let s = sim.protocol::<PEcho>("server", move |_| (None, n));
    sim.protocol::<PEcho>("client", move |_| (Some(s), n));
    let t = Instant::now();
    let r = sim.run().unwrap();
    let s = t.elapsed().as_secs_f64();
    println!("protocol echo: {:.2} M/s events {}", n as f64 / s / 1e6, r.events);
}
fn start(n: u64) {
    let t = Instant::now();
    let mut sim = Sim::new(&Plan::new("start", 1, secs(1)), RecordingLevel::Essential);
    for i in 0..n {
        sim.node(format!("n-{i}"), async |node| {
            node.sleep(ms(500)).await;
        });
    }
    let r = sim.run().unwrap();
    println!("start {n}: {:?} events {}", t.elapsed(), r.events);
}
struct Flood {
    peers: Vec<NodeId>,
    seen: Vec<u32>,
    first: bool,
}
#[derive(Serialize, Deserialize, Debug, Clone)]
enum F {
    Rumour(u32),
}
impl Protocol for Flood {
    type Config = (u32, u32, bool);
    type Message = F;
    type Command = ();
    type Event = ();
    type Record = ();
    type Timer = u32;
    fn restore(c: &Self::Config, _: Vec<()>, out: &mut Out<Self>) -> Self {
        let n = c.1;
        let me = c.0;
        let mut peers = vec![];
        while peers.len() < 10 {
            let p = NodeId(out.rng().below(n as u64) as u32);
            if p.0 != me && !peers.contains(&p) {
                peers.push(p);
            }
        }
        if c.2 {
            for i in 0..100 {
                out.arm(i, ms(1 + i as u64));
            }
        }
        Flood { peers, seen: vec![], first: c.2 }
    }
    fn on_command(&mut self, _: (), _: &mut Out<Self>) {}
    fn on_message(&mut self, _: NodeId, m: F, out: &mut Out<Self>) {
        let F::Rumour(r) = m;
        if !self.seen.contains(&r) {
            self.seen.push(r);
            for &p in &self.peers {
                out.send(p, F::Rumour(r));
            }
        }
    }
    fn on_timer(&mut self, r: u32, out: &mut Out<Self>) {
        let _ = self.first;
        self.seen.push(r);
        for &p in &self.peers {
            out.send(p, F::Rumour(r));
        }
    }
}
fn flood() {
    let mut sim = Sim::new(&Plan::new("flood", 1, secs(10)), RecordingLevel::Essential);
    sim.default_link(Link::new(Delay::uniform(ms(1), ms(10))));
    for i in 0..1000u32 {
        sim.protocol::<Flood>(format!("n-{i}"), move |_| (i, 1000, i == 0));
    }
    let t = Instant::now();
    let r = sim.run().unwrap();
    let s = t.elapsed().as_secs_f64();
    println!("flood: {:.2} M/s events {}", r.events as f64 / s / 1e6, r.events);
}
fn main() {
    let what = std::env::args().nth(1).unwrap_or_default();
    let n: u64 = std::env::args().nth(2).and_then(|n| n.parse().ok()).unwrap_or(1_000_000);
    let all = what.is_empty();
    if all || what == "echo" {
        echo(n, RecordingLevel::Essential);
    }
    if all || what == "spans" {
        echo(n, RecordingLevel::Spans);
    }
    if all || what == "full" {
        echo(n, RecordingLevel::Full);
    }
    if all || what == "pecho" {
        pecho(n);
    }
    if all || what == "timers" {
        timers(10_000, (n / 10_000).max(1));
    }
    if all || what == "flood" {
        flood();
    }
    if all || what == "start" {
        start(10_000);
    }
}
