//! A cache whose entries expire: how often it hits, how many come for the same value when it is gone, and what keeps them
//! from it.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    rc::Rc,
};

use fidelity::{
    gate::{Tolerance::Relative, exactly, four_standard_errors, with_pooled_estimate},
    law::Law,
    run::{Notebook, over_seeds, world},
};
use serde::{Deserialize, Serialize};
use sim_core::{
    Node, NodeId, Sim, math,
    net::{Link, rpc::Request},
    rng::Delay,
    sync::Notify,
    time::{Duration, Monotonic, ms, secs},
};

#[derive(Serialize, Deserialize)]
struct Get {
    /// Whether the caller asks for the right to make the value anew.
    lease: bool,
}
#[derive(Serialize, Deserialize)]
enum Got {
    Hit,
    /// The value of that generation has expired. `yours`: the caller shall make the next one.
    Miss {
        generation: u64,
        yours: bool,
    },
}
impl Request for Get {
    type Response = Got;
}
#[derive(Serialize, Deserialize)]
struct Fill {
    generation: u64,
}
impl Request for Fill {
    type Response = ();
}

// ---- C1 ----

/// The share of hits of one key under Poisson requests, when a miss fills the entry at once.
fn hit_share(seed: u64, rate: f64, ttl: Duration, requests: u64) -> f64 {
    let mut sim = world("ttl", seed);
    sim.default_link(Link::constant(ms(1)));
    let notebook = Notebook::new();
    let result = notebook.clone();
    let cache = sim.node("cache", async move |node| {
        let (expires, result) = (Cell::new(Monotonic::ZERO), result.clone());
        node.serve(async move |call, _: Get| {
            let now = call.node().monotonic();
            let hit = now < expires.get();
            if !hit {
                expires.set(now + ttl);
            }
            result.update(|(hits, all): &mut (u64, u64)| {
                *hits += u64::from(hit);
                *all += 1;
            });
            if hit { Got::Hit } else { Got::Miss { generation: 0, yours: true } }
        });
        std::future::pending::<()>().await;
    });
    sim.node("client", async move |node| {
        let (mut rng, gap) = (node.rng("arrivals"), Law::exponential(1.0 / rate));
        for _ in 0..requests {
            node.sleep(gap.draw(&mut rng)).await;
            let node = node.clone();
            node.clone().spawn_detached(async move { drop(node.call(cache, &Get { lease: false }).await) });
        }
        node.sleep(secs(1)).await;
        node.stop_run();
    });
    let (hits, all) = notebook.after(sim);
    assert_eq!(all, requests);
    hits as f64 / all as f64
}

// Renewal: a miss, then lambda T hits on average, so lambda T / (1 + lambda T) of all requests hit. The entry is empty at
// the start: at most one hit less in all, which is the declared bias.
#[test]
fn c1_a_time_to_live_hits_as_the_renewal_says() {
    let requests = 100_000;
    for expected in [1.0, 10.0, 100.0] {
        let own = over_seeds(20, |seed| hit_share(seed, expected, secs(1), requests));
        let mean = own.iter().sum::<f64>() / own.len() as f64;
        let what = format!("C1 hits at lambda T = {expected}");
        let (theory, bias) = (expected / (1.0 + expected), 1.0 / requests as f64);
        with_pooled_estimate(&what, theory, Relative(0.003), bias, mean, &own).holds();
    }
}

// ---- C9 and C11 ----

#[derive(Serialize, Deserialize)]
struct Recompute {
    generation: u64,
}
impl Request for Recompute {
    type Response = ();
}

/// What keeps requests from all making the same value.
#[derive(Clone, Copy, PartialEq)]
enum Protection {
    Nothing,
    /// Requests of one application node share one flight.
    SingleFlight,
    /// The cache gives the right to make the value to one caller.
    Lease,
}

const RECOMPUTE: Duration = secs(3);
const TIME_TO_LIVE: Duration = secs(10);
const RATE: f64 = 10.0;

/// A value takes three seconds to make, whoever else makes it. Counts what is made, for each generation before `cycles`.
fn origin(sim: &mut Sim, cycles: u64, made: Notebook<BTreeMap<u64, u32>>) -> NodeId {
    sim.node("origin", async move |node| {
        let made = made.clone();
        node.serve(async move |call, recompute: Recompute| {
            if recompute.generation >= cycles {
                call.node().stop_run();
            } else {
                made.update(|made| *made.entry(recompute.generation).or_default() += 1);
            }
            call.node().sleep(RECOMPUTE).await;
        });
        std::future::pending::<()>().await;
    })
}

/// One entry, its generation, and the lease on the next one.
fn cache(sim: &mut Sim) -> NodeId {
    sim.node("cache", async |node| {
        // Generation, when it expires, and whether the next one is leased out.
        let entry = Rc::new(Cell::new((0_u64, Monotonic::ZERO, false)));
        let shared = Rc::clone(&entry);
        node.serve(async move |call, get: Get| {
            let (generation, expires, leased) = shared.get();
            if call.node().monotonic() < expires {
                return Got::Hit;
            }
            shared.set((generation, expires, leased || get.lease));
            Got::Miss { generation, yours: !leased }
        });
        node.serve_on(1, async move |call, fill: Fill| {
            let (generation, ..) = entry.get();
            if fill.generation == generation {
                entry.set((generation + 1, call.node().monotonic() + TIME_TO_LIVE, false));
            }
        });
        std::future::pending::<()>().await;
    })
}

struct Application {
    node: Node,
    cache: NodeId,
    origin: NodeId,
    flight: RefCell<Option<Notify>>,
}

impl Application {
    async fn make(&self, generation: u64) {
        self.node.call(self.origin, &Recompute { generation }).await.expect("the origin answers");
        self.node.call(self.cache, &Fill { generation }).port(1).await.expect("the cache answers");
    }
    async fn get(&self, lease: bool) -> Got {
        self.node.call(self.cache, &Get { lease }).await.expect("the cache answers")
    }
    async fn plain(&self) {
        if let Got::Miss { generation, .. } = self.get(false).await {
            self.make(generation).await;
        }
    }
    async fn request(&self, protection: Protection) {
        match protection {
            Protection::Nothing => self.plain().await,
            Protection::SingleFlight => {
                let flying = self.flight.borrow().as_ref().map(Notify::notified);
                if let Some(landed) = flying {
                    return landed.await;
                }
                let flight = Notify::new();
                *self.flight.borrow_mut() = Some(flight.clone());
                self.plain().await;
                *self.flight.borrow_mut() = None;
                flight.notify_all();
            }
            Protection::Lease => loop {
                match self.get(true).await {
                    Got::Hit => return,
                    Got::Miss { generation, yours: true } => return self.make(generation).await,
                    Got::Miss { yours: false, .. } => self.node.sleep(ms(500)).await,
                }
            },
        }
    }
}

/// How often each of the first `cycles` generations was made, by so many application nodes.
fn stampede(seed: u64, nodes: usize, protection: Protection, link: &Delay, cycles: u64) -> Vec<u32> {
    let mut sim = world("stampede", seed);
    sim.default_link(Link::new(link.clone()));
    let made = Notebook::new();
    let origin = origin(&mut sim, cycles, made.clone());
    let cache = cache(&mut sim);
    for index in 0..nodes {
        sim.node(format!("application-{index}"), async move |node| {
            let (mut rng, gap) = (node.rng("arrivals"), Law::exponential(1.0 / RATE));
            let application =
                Rc::new(Application { node: node.clone(), cache, origin, flight: RefCell::new(None) });
            loop {
                node.sleep(gap.draw(&mut rng)).await;
                let application = Rc::clone(&application);
                node.spawn_detached(async move { application.request(protection).await });
            }
        });
    }
    let made = made.after(sim);
    assert_eq!(made.len() as u64, cycles, "every generation is made");
    made.into_values().collect()
}

// The one who finds it gone, and all who come in the three seconds until it is there again: 1 + lambda Delta = 31
// (Vattani, Chierichetti and Lowenstein 2015, section 1). The network takes no time here, so that Delta is 3 s.
#[test]
fn c9_a_stampede_recomputes_one_plus_lambda_delta_times() {
    let runs = over_seeds(20, |seed| {
        let made = stampede(seed, 1, Protection::Nothing, &Delay::constant(Duration::ZERO), 250);
        let mean = f64::from(made.iter().sum::<u32>()) / made.len() as f64;
        let square = made.iter().map(|&n| (f64::from(n) - mean) * (f64::from(n) - mean)).sum::<f64>();
        (mean, square / (made.len() - 1) as f64)
    });
    let own: Vec<f64> = runs.iter().map(|r| r.0).collect();
    four_standard_errors("C9 recomputations at an expiry", 31.0, Relative(0.02), &own).holds();
    // And they are Poisson: the variance is 30.
    let own: Vec<f64> = runs.iter().map(|r| r.1).collect();
    four_standard_errors("C9 their variance", 30.0, Relative(0.12), &own).holds();
}

fn latencies() -> [(&'static str, Delay); 3] {
    [
        ("constant", Delay::constant(ms(1))),
        ("uniform", Delay::uniform(Duration::ZERO, ms(20))),
        ("exponential", Delay::exponential(ms(10))),
    ]
}

#[test]
fn c11_single_flight_recomputes_once_for_each_node() {
    for (name, link) in latencies() {
        for nodes in [1, 3, 5] {
            let runs = over_seeds(20, |seed| stampede(seed, nodes, Protection::SingleFlight, &link, 15));
            let what = format!("C11 recomputations by {nodes} nodes, {name} latency");
            exactly(&what, &vec![nodes as u32; 15], &runs);
        }
    }
}

#[test]
fn c11_a_lease_recomputes_once_for_all_nodes() {
    for (name, link) in latencies() {
        for nodes in [1, 5] {
            let runs = over_seeds(20, |seed| stampede(seed, nodes, Protection::Lease, &link, 15));
            let what = format!("C11 recomputations by {nodes} nodes with a lease, {name} latency");
            exactly(&what, &vec![1; 15], &runs);
        }
    }
}

// ---- C10 ----

/// What one application node sees of an entry that may be renewed early.
#[derive(Clone, Copy)]
struct Entry {
    generation: u64,
    expires: Monotonic,
    /// How long it took to make the value, in seconds.
    cost: f64,
    /// Recomputations of this generation that have started.
    started: u32,
}

#[derive(Clone, Default)]
struct Early {
    cycles: u64,
    recomputations: u64,
    /// Seconds from the first start to the expiry, summed.
    earliness: f64,
    reached_expiry: u64,
}

/// Probabilistic early expiration, "XFetch" (Vattani, Chierichetti and Lowenstein 2015): each request acts as if the entry
/// expired `cost * beta * -ln(chance)` earlier.
fn early(seed: u64, beta: f64, rate: f64, cost: Duration, ttl: Duration, cycles: u64) -> Early {
    let mut sim = world("early", seed);
    sim.default_link(Link::constant(Duration::ZERO));
    let origin = sim.node("origin", async move |node| {
        node.serve(async move |call, _: Recompute| call.node().sleep(cost).await);
        std::future::pending::<()>().await;
    });
    let notebook = Notebook::new();
    let result = notebook.clone();
    sim.node("application", async move |node| {
        let (mut arrivals, mut chance) = (node.rng("arrivals"), node.rng("early"));
        let gap = Law::exponential(1.0 / rate);
        let first =
            Entry { generation: 0, expires: node.monotonic() + ttl, cost: cost.as_secs_f64(), started: 0 };
        let entry = Rc::new(Cell::new(first));
        let mut figures = Early::default();
        while entry.get().generation < cycles {
            node.sleep(gap.draw(&mut arrivals)).await;
            let (now, mut seen) = (node.monotonic(), entry.get());
            // 1 - u is never 0, whose logarithm would be infinite.
            let ahead = seen.cost * beta * -math::ln(1.0 - chance.unit());
            if now + Duration::from_secs_f64(ahead) < seen.expires {
                continue;
            }
            if seen.started == 0 {
                figures.cycles += 1;
                figures.earliness += seen.expires.since(now).as_secs_f64();
                figures.reached_expiry += u64::from(now >= seen.expires);
            }
            figures.recomputations += 1;
            seen.started += 1;
            entry.set(seen);
            let (node, entry, generation) = (node.clone(), Rc::clone(&entry), seen.generation);
            node.clone().spawn_detached(async move {
                node.call(origin, &Recompute { generation }).await.expect("the origin answers");
                let (done, old) = (node.monotonic(), entry.get());
                if old.generation == generation {
                    let cost = done.since(now).as_secs_f64();
                    entry.set(Entry { generation: generation + 1, expires: done + ttl, cost, started: 0 });
                }
            });
        }
        result.write(figures);
        node.stop_run();
    });
    notebook.after(sim)
}

// With N = lambda beta Delta large: e^(1 / beta) recomputations each time, not one; the first starts
// beta Delta (ln N + 0.5772) before the expiry, which is reached with probability e^-N: never.
#[test]
fn c10_early_expiration_recomputes_e_to_the_inverse_of_beta_times() {
    const EULER: f64 = 0.577_215_664_901_532_9;
    for (beta, ttl, cycles) in [(1.0, secs(40), 800), (2.0, secs(80), 500)] {
        let runs = over_seeds(20, |seed| early(seed, beta, RATE, RECOMPUTE, ttl, cycles));
        let own: Vec<f64> = runs.iter().map(|r| r.recomputations as f64 / r.cycles as f64).collect();
        let theory = (1.0 / beta).exp();
        four_standard_errors(&format!("C10 recomputations, beta {beta}"), theory, Relative(0.03), &own)
            .holds();
        let own: Vec<f64> = runs.iter().map(|r| r.earliness / r.cycles as f64).collect();
        let theory = beta * 3.0 * ((RATE * beta * 3.0).ln() + EULER);
        four_standard_errors(&format!("C10 seconds ahead, beta {beta}"), theory, Relative(0.03), &own)
            .holds();
        let reached: Vec<u64> = runs.iter().map(|r| r.reached_expiry).collect();
        exactly(&format!("C10 expiries reached, beta {beta}"), &0, &reached);
    }
}

// At lambda beta Delta = 1 there are too few requests to be early: 1.76 recomputations, not e.
#[test]
fn c10_rejects_the_law_where_requests_are_rare() {
    let own = over_seeds(20, |seed| {
        let run = early(seed, 1.0, RATE, ms(100), secs(2), 500);
        run.recomputations as f64 / run.cycles as f64
    });
    let what = "C10 recomputations at lambda beta Delta = 1";
    four_standard_errors(what, 1_f64.exp(), Relative(0.03), &own).is_rejected();
    let mean = own.iter().sum::<f64>() / own.len() as f64;
    with_pooled_estimate(what, 1.76, Relative(0.03), 0.01, mean, &own).holds();
}
