//! Trying again: how often a retried call is made, and how often a message is delivered when both it and its
//! acknowledgement can be lost.

use std::collections::{BTreeSet, VecDeque};

use fidelity::{
    gate::{Tolerance::Relative, exactly, four_standard_errors},
    run::{Notebook, over_seeds, world},
};
use serde::{Deserialize, Serialize};
use sim_core::{
    net::{Link, rpc::Request},
    rng::Delay,
    time::{ms, us},
};
use std::cell::RefCell;

#[derive(Serialize, Deserialize)]
struct Try;
#[derive(Serialize, Deserialize)]
struct Tried {
    ok: bool,
}
impl Request for Try {
    type Response = Tried;
}

/// Attempts per call when the server fails each with probability `p` and the client retries `retries` times.
fn attempts(seed: u64, p: f64, retries: u32, calls: u64) -> f64 {
    let mut sim = world("retries", seed);
    sim.default_link(Link::constant(us(500)));
    let server = sim.node("server", async move |node| {
        let rng = RefCell::new(node.rng("failures"));
        node.serve(async move |_, _: Try| Tried { ok: !rng.borrow_mut().chance(p) });
        std::future::pending::<()>().await;
    });
    let notebook = Notebook::new();
    let result = notebook.clone();
    sim.node("client", async move |node| {
        let mut attempts = 0_u64;
        for _ in 0..calls {
            for _ in 0..=retries {
                attempts += 1;
                if node.call(server, &Try).await.expect("the network is fine").ok {
                    break;
                }
            }
        }
        result.write(attempts as f64 / calls as f64);
        node.stop_run();
    });
    notebook.after(sim)
}

// (1 - p^(r + 1)) / (1 - p) attempts: with three retries an outage of half the answers costs 1.875 times the load, a full
// outage four times.
#[test]
fn r6_retries_multiply_the_load_as_the_geometric_series_says() {
    for p in [0.1_f64, 0.5] {
        let own = over_seeds(20, |seed| attempts(seed, p, 3, 50_000));
        let theory = (1.0 - p.powi(4)) / (1.0 - p);
        four_standard_errors(&format!("R6 attempts at p = {p}"), theory, Relative(0.005), &own).holds();
    }
    exactly("R6 attempts at p = 1", &4.0, &over_seeds(20, |seed| attempts(seed, 1.0, 3, 100)));
}

#[derive(Serialize, Deserialize)]
struct Message {
    id: u64,
}
#[derive(Serialize, Deserialize)]
struct Acknowledgement {
    id: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Delivery {
    sends: u64,
    deliveries: u64,
    /// Messages that were delivered more than once.
    doubled: u64,
    /// Deliveries that the receiver had not seen before.
    processed: u64,
}

/// How many messages back a receiver remembers.
const REMEMBERED: usize = 64;

fn deliver(seed: u64, messages: u64, loss_out: f64, loss_back: f64, retry: bool) -> Delivery {
    let mut sim = world("delivery", seed);
    let link = Link::new(Delay::uniform(ms(1), ms(2)));
    let notebook = Notebook::new();
    let result = notebook.clone();
    let receiver = sim.node("receiver", async move |node| {
        let mut mailbox = node.mailbox::<Message>();
        let (mut seen, mut order) = (BTreeSet::new(), VecDeque::new());
        let (mut current, mut times) = (None, 0);
        loop {
            let received = mailbox.recv().await;
            let id = received.message.id;
            times = if current == Some(id) { times + 1 } else { 1 };
            current = Some(id);
            let new = seen.insert(id);
            if new {
                order.push_back(id);
                if order.len() > REMEMBERED {
                    order.pop_front().map(|old| seen.remove(&old));
                }
            }
            result.update(|figures: &mut Delivery| {
                figures.deliveries += 1;
                figures.doubled += u64::from(times == 2);
                figures.processed += u64::from(new);
            });
            node.send(received.from, &Acknowledgement { id });
        }
    });
    let result = notebook.clone();
    let sender = sim.node("sender", async move |node| {
        let mut mailbox = node.mailbox::<Acknowledgement>();
        let mut sends = 0;
        for id in 0..messages {
            loop {
                sends += 1;
                node.send(receiver, &Message { id });
                // An acknowledgement takes 4 ms at most: after 5 it, or the message, is lost.
                let answer = node.timeout(ms(5), mailbox.recv()).await;
                if let Some(acknowledged) = &answer {
                    assert_eq!(acknowledged.message.id, id);
                }
                if answer.is_some() || !retry {
                    break;
                }
            }
        }
        result.update(|figures| figures.sends = sends);
        node.stop_run();
    });
    sim.link_one_way(sender, receiver, link.clone().loss(loss_out));
    sim.link_one_way(receiver, sender, link.loss(loss_back));
    notebook.after(sim)
}

const MESSAGES: u64 = 50_000;

fn per_message(runs: &[Delivery], figure: fn(&Delivery) -> u64) -> Vec<f64> {
    runs.iter().map(|run| figure(run) as f64 / MESSAGES as f64).collect()
}

// p = 0.1 each way. A message is sent 1 / (1 - p)^2 times and delivered 1 / (1 - p) times; it comes again with probability
// p, when its first acknowledgement is lost.
#[test]
fn j8_at_least_once_delivers_duplicates_and_at_most_once_loses() {
    let runs = over_seeds(20, |seed| deliver(seed, MESSAGES, 0.1, 0.1, true));
    let gate = |what, theory, own: Vec<f64>, tolerance| {
        four_standard_errors(what, theory, Relative(tolerance), &own).holds();
    };
    gate("J8 deliveries a message", 1.0 / 0.9, per_message(&runs, |r| r.deliveries), 0.003);
    gate("J8 messages delivered twice or more", 0.1, per_message(&runs, |r| r.doubled), 0.02);
    gate("J8 sends a message", 1.0 / 0.81, per_message(&runs, |r| r.sends), 0.003);
    let processed: Vec<u64> = runs.iter().map(|r| r.processed).collect();
    exactly("J8 processed with a memory of 64 messages", &MESSAGES, &processed);

    let runs = over_seeds(20, |seed| deliver(seed, MESSAGES, 0.1, 0.1, false));
    gate("J8 delivered when sent once", 0.9, per_message(&runs, |r| r.deliveries), 0.003);
    assert!(runs.iter().all(|r| r.doubled == 0 && r.sends == MESSAGES));
}

#[test]
fn j8_rejects_acknowledgements_that_are_never_lost() {
    let runs = over_seeds(20, |seed| deliver(seed, 5_000, 0.1, 0.0, true));
    let own: Vec<f64> = runs.iter().map(|r| r.deliveries as f64 / 5_000.0).collect();
    // All runs deliver exactly once: without any spread the gate stands at the value itself.
    four_standard_errors("J8 deliveries, sure way back", 1.0 / 0.9, Relative(0.003), &own).is_rejected();
}
