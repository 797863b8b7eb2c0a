//! The cast's cache, whose entries expire: how often it hits, how many come for the same value when it is gone, and what keeps
//! them from it. All of it is what labs use: `CacheServer` and its client, `ReadThrough` with `SingleFlight`, leases and the
//! policy `EarlyRefresh`, and `Database`, where values are made. What happened is read from their own metrics.

use std::rc::Rc;

use fidelity::{
    gate::{Tolerance::Relative, exactly, four_standard_errors, with_pooled_estimate},
    law::Law,
    run::{over_seeds, recorded, world_until},
};
use scenarios::{
    cast::{CacheClient, CacheServer, Database, DatabaseClient, Fill, Item, ReadThrough},
    measure::{Run, Sample},
};
use sim_core::{
    net::Link,
    record::Recording,
    rng::Delay,
    time::{Duration, ms, secs},
};

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

// ---- C1 ----

/// The share of hits of one key under Poisson requests, when a miss fills the entry at once: no operation takes any time.
fn hit_share(seed: u64, rate: f64, ttl: Duration, requests: u64) -> f64 {
    let mut sim = world_until("ttl", seed, Duration::from_secs_f64(2.0 * requests as f64 / rate));
    sim.default_link(Link::constant(Duration::ZERO));
    let cache = CacheServer::new().operation(Duration::ZERO).add_to(&mut sim, "cache");
    sim.node("client", async move |node| {
        let (mut rng, gap) = (node.rng("arrivals"), Law::exponential(1.0 / rate));
        let cache = CacheClient::new(&node, cache);
        for _ in 0..requests {
            node.sleep(gap.draw(&mut rng)).await;
            if cache.get("key").await.expect("the cache answers").is_none() {
                cache.set("key", Item::new("value").ttl(ttl)).await.expect("the cache answers");
            }
        }
    });
    let recording = sim.run().expect("the plan names nobody");
    let run = Run::new(&recording);
    assert_eq!(run.count("cache.gets").value(), Ok(requests as f64));
    run.count("cache.hits").value().expect("it was counted") / requests as f64
}

// Renewal: a miss, then lambda T hits on average, so lambda T / (1 + lambda T) of all requests hit. The entry is empty at
// the start: at most one hit less in all, which is the declared bias.
#[test]
fn c1_a_time_to_live_hits_as_the_renewal_says() {
    let requests = 100_000;
    for expected in [1.0, 10.0, 100.0] {
        let own = over_seeds(20, |seed| hit_share(seed, expected, secs(1), requests));
        let what = format!("C1 hits at lambda T = {expected}");
        let (theory, bias) = (expected / (1.0 + expected), 1.0 / requests as f64);
        with_pooled_estimate(&what, theory, Relative(0.003), bias, mean(&own), &own).holds();
    }
}

// ---- what makes a value ----

/// A value, and those who want it.
#[derive(Clone)]
struct Stampede {
    /// On how many nodes, each with as many requests a second.
    nodes: usize,
    rate: f64,
    fill: Fill,
    /// How long the database takes to make the value, whoever else makes it.
    cost: Duration,
    ttl: Duration,
    link: Delay,
    until: Duration,
}

impl Stampede {
    /// One run. The value is in the cache at the start.
    fn run(&self, seed: u64) -> Recording {
        let mut sim = world_until("stampede", seed, self.until);
        sim.default_link(Link::new(self.link.clone()));
        let value = Item::new("value").ttl(self.ttl).cost(self.cost);
        // A lease outlives the making.
        let cache =
            CacheServer::new().operation(Duration::ZERO).lease_time(self.cost * 4).prefill("key", value);
        let cache = cache.add_to(&mut sim, "cache");
        // As many connections and cores as anybody could want.
        let origin = Database::new(10_000).query_time(self.cost).add_to(&mut sim, "origin");
        for index in 0..self.nodes {
            let (rate, fill, ttl) = (self.rate, self.fill, self.ttl);
            sim.node(format!("application-{index}"), async move |node| {
                let (mut rng, gap) = (node.rng("arrivals"), Law::exponential(1.0 / rate));
                let values = Rc::new(ReadThrough::new(&node, cache, fill, ttl));
                let (origin, chance) = (DatabaseClient::new(&node, origin), node.rng("chance"));
                for number in 0.. {
                    node.sleep(gap.draw(&mut rng)).await;
                    let (values, origin) = (Rc::clone(&values), origin.clone());
                    let chance = chance.fork_u64(number);
                    node.spawn_detached(async move {
                        let make = async || origin.query("make").await.map(|()| "value");
                        let got = values.get("key", |name| chance.fork(name), make).await;
                        got.expect("everybody answers");
                    });
                }
            });
        }
        recorded(sim)
    }
}

/// How often the value was made in each of the first `cycles` expiries; `quiet` lies between those of one and of the next.
fn made(recording: &Recording, quiet: Duration, cycles: usize) -> Vec<Sample> {
    let bursts = Run::new(recording).counter("db.query").bursts(quiet);
    let bursts = bursts.samples().expect("values were made");
    // The last one may be cut off by the end. As many as every run has: taking all would favour short cycles.
    assert!(bursts.len() > cycles, "{} cycles", bursts.len());
    bursts[..cycles].to_vec()
}

// ---- C9 and C11 ----

// The one who finds it gone, and all who come in the three seconds until it is there again: 1 + lambda Delta = 31
// (Vattani, Chierichetti and Lowenstein 2015, section 1). The network takes no time here, so that Delta is 3 s. Each of them
// stores the value, the last one some three seconds after the first: a cycle is about 16 s long.
#[test]
fn c9_a_stampede_recomputes_one_plus_lambda_delta_times() {
    let stampede = Stampede {
        nodes: 1,
        rate: 10.0,
        fill: Fill::EveryMiss,
        cost: secs(3),
        ttl: secs(10),
        link: Delay::constant(Duration::ZERO),
        until: secs(4_400),
    };
    let runs = over_seeds(20, |seed| {
        let made = made(&stampede.run(seed), secs(4), 250);
        let made: Vec<f64> = made.iter().map(|burst| burst.value).collect();
        let mean = mean(&made);
        let square = made.iter().map(|n| (n - mean) * (n - mean)).sum::<f64>();
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

/// How often each of the first 15 values was made, by nodes with 100 requests a second each. It takes 300 ms, so that on each
/// node thirty come while it is gone.
fn made_by(nodes: usize, fill: Fill, link: &Delay) -> Vec<Vec<f64>> {
    let (cost, ttl, until) = (ms(300), secs(2), secs(50));
    let stampede = Stampede { nodes, rate: 100.0, fill, cost, ttl, link: link.clone(), until };
    over_seeds(20, |seed| made(&stampede.run(seed), secs(1), 15).iter().map(|burst| burst.value).collect())
}

#[test]
fn c11_single_flight_recomputes_once_for_each_node() {
    for (name, link) in latencies() {
        for nodes in [1, 3, 5] {
            let what = format!("C11 recomputations by {nodes} nodes, {name} latency");
            exactly(&what, &vec![nodes as f64; 15], &made_by(nodes, Fill::SingleFlight, &link));
        }
    }
}

#[test]
fn c11_a_lease_recomputes_once_for_all_nodes() {
    for (name, link) in latencies() {
        for nodes in [1, 5] {
            let what = format!("C11 recomputations by {nodes} nodes with a lease, {name} latency");
            exactly(&what, &vec![1.0; 15], &made_by(nodes, Fill::Lease, &link));
        }
    }
}

// A flight that ends at the database's answer is over before the cache has the value: an answer of the cache that is under way
// by then starts another.
#[test]
fn c11_rejects_a_flight_that_does_not_wait_for_the_cache() {
    let runs = made_by(5, Fill::ShortFlight, &Delay::constant(ms(20)));
    let own: Vec<f64> = runs.iter().map(|run| mean(run)).collect();
    four_standard_errors("C11 recomputations by short flights", 5.0, Relative(0.05), &own).is_rejected();
}

// ---- C10 ----

#[derive(Clone, Copy, Default)]
struct Early {
    recomputations: f64,
    /// Seconds from the first start to the expiry.
    earliness: f64,
    reached_expiry: u64,
}

/// Probabilistic early expiration, "XFetch" (Vattani, Chierichetti and Lowenstein 2015): each reader acts as if the entry
/// expired `cost * beta * -ln(chance)` earlier. Means over the first `cycles`.
fn early(seed: u64, beta: f64, cost: Duration, ttl: Duration, until: Duration, cycles: usize) -> Early {
    let (fill, link) = (Fill::EarlyRefresh { beta }, Delay::constant(Duration::ZERO));
    let recording = Stampede { nodes: 1, rate: 10.0, fill, cost, ttl, link, until }.run(seed);
    let sets = Run::new(&recording).counter("cache.sets").times().list().expect("values were stored");
    let made = made(&recording, cost * 2, cycles);
    let mut early = Early::default();
    for burst in &made {
        // What is in the cache by then was stored last, or was there at the start; nothing takes time on the way.
        let before = sets.partition_point(|&at| at < burst.started);
        let stored = before.checked_sub(1).map_or(Duration::ZERO, |last| sets[last].since_start());
        let left = (stored + ttl).saturating_sub(burst.started.since_start());
        early.recomputations += burst.value / made.len() as f64;
        early.earliness += left.as_secs_f64() / made.len() as f64;
        early.reached_expiry += u64::from(left.is_zero());
    }
    early
}

// With N = lambda beta Delta large: e^(1 / beta) recomputations each time, not one; the first starts
// beta Delta (ln N + 0.5772) before the expiry, which is reached with probability e^-N: never.
#[test]
fn c10_early_expiration_recomputes_e_to_the_inverse_of_beta_times() {
    const EULER: f64 = 0.577_215_664_901_532_9;
    // A cycle is the time to live, less the earliness, and some 4 s until the last one who refreshes has stored the value.
    for (beta, ttl, until, cycles) in [(1.0, secs(40), secs(31_000), 900), (2.0, secs(80), secs(24_500), 400)]
    {
        let runs = over_seeds(20, |seed| early(seed, beta, secs(3), ttl, until, cycles));
        let own: Vec<f64> = runs.iter().map(|r| r.recomputations).collect();
        let theory = (1.0 / beta).exp();
        four_standard_errors(&format!("C10 recomputations, beta {beta}"), theory, Relative(0.03), &own)
            .holds();
        let own: Vec<f64> = runs.iter().map(|r| r.earliness).collect();
        let theory = beta * 3.0 * ((10.0 * beta * 3.0).ln() + EULER);
        four_standard_errors(&format!("C10 seconds ahead, beta {beta}"), theory, Relative(0.03), &own)
            .holds();
        let reached: Vec<u64> = runs.iter().map(|r| r.reached_expiry).collect();
        exactly(&format!("C10 expiries reached, beta {beta}"), &0, &reached);
    }
}

// At lambda beta Delta = 1 there are too few requests to be early: 1.76 recomputations, not e.
#[test]
fn c10_rejects_the_law_where_requests_are_rare() {
    let own = over_seeds(20, |seed| early(seed, 1.0, ms(100), secs(2), secs(1_200), 500).recomputations);
    let what = "C10 recomputations at lambda beta Delta = 1";
    four_standard_errors(what, 1_f64.exp(), Relative(0.03), &own).is_rejected();
    with_pooled_estimate(what, 1.76, Relative(0.03), 0.01, mean(&own), &own).holds();
}
