//! Slow answers: what becomes of one slow leaf in a hundred when a hundred are asked, and what asking twice does to it.

use std::{cell::RefCell, pin::pin, rc::Rc};

use fidelity::{
    gate::{
        Tolerance::{Absolute, Relative},
        four_standard_errors,
    },
    law::Law,
    run::{Notebook, over_seeds, world},
};
use serde::{Deserialize, Serialize};
use sim_core::{
    Node, NodeId,
    combine::{Either, race},
    net::{Link, rpc::Request},
    rng::Delay,
    sync::channel,
    time::{Duration, ms, secs, us},
};

#[derive(Serialize, Deserialize)]
struct Ask {
    id: u64,
}
#[derive(Serialize, Deserialize)]
struct Answer;
impl Request for Ask {
    type Response = Answer;
}

/// Where the second copy of a slow question goes.
#[derive(Clone, Copy, PartialEq)]
enum Hedge {
    Nowhere,
    OtherReplica,
    /// The mistake: what made the first copy slow makes the second one slow.
    SameReplica,
}

#[derive(Clone, Copy, Default)]
struct FanOut {
    asked: u64,
    hedged: u64,
    slow_answers: u64,
    slow_requests: u64,
}

const LEAVES: u64 = 100;

/// A front end asks 100 leaves for each request. A leaf needs 1 to 9 ms, or, once in a hundred, a second; why it does is
/// its own matter: its draws are its own. The way there and back takes half a millisecond.
fn fan_out(seed: u64, requests: u64, hedge: Hedge) -> FanOut {
    let mut sim = world("fan-out", seed);
    sim.default_link(Link::constant(us(250)));
    let replicas = ["replica-0", "replica-1"].map(|name| {
        sim.node(name, async |node| {
            let fate = node.rng("fate");
            let usual = Delay::uniform(ms(1), ms(9));
            node.serve(async move |call, ask: Ask| {
                let mut rng = fate.fork_u64(ask.id);
                let time = if rng.chance(0.01) { secs(1) } else { rng.duration(&usual) };
                call.node().sleep(time).await;
                Answer
            });
            std::future::pending::<()>().await;
        })
    });
    let notebook = Notebook::new();
    let result = notebook.clone();
    sim.node("front", async move |node| {
        let figures = Rc::new(RefCell::new(FanOut::default()));
        for request in 0..requests {
            let leaves: Vec<_> = (0..LEAVES)
                .map(|leaf| {
                    let id = request * LEAVES + leaf;
                    node.spawn(ask(node.clone(), replicas, id, hedge, Rc::clone(&figures)))
                })
                .collect();
            let mut slowest = Duration::ZERO;
            for leaf in leaves {
                slowest = slowest.max(leaf.await.expect("it answers"));
            }
            figures.borrow_mut().slow_requests += u64::from(slowest >= secs(1));
        }
        result.write(*figures.borrow());
        node.stop_run();
    });
    notebook.after(sim)
}

async fn ask(
    node: Node,
    replicas: [NodeId; 2],
    id: u64,
    hedge: Hedge,
    figures: Rc<RefCell<FanOut>>,
) -> Duration {
    let start = node.monotonic();
    let question = Ask { id };
    let mut first = pin!(node.call(replicas[0], &question));
    match race(first.as_mut(), node.sleep(ms(10))).await {
        Either::First(answer) => drop(answer.expect("leaves answer")),
        Either::Second(()) if hedge == Hedge::Nowhere => drop(first.await.expect("leaves answer")),
        Either::Second(()) => {
            figures.borrow_mut().hedged += 1;
            let other = replicas[usize::from(hedge == Hedge::OtherReplica)];
            let (Either::First(answer) | Either::Second(answer)) =
                race(first, node.call(other, &question)).await;
            answer.expect("leaves answer");
        }
    }
    let time = node.monotonic().since(start);
    let mut figures = figures.borrow_mut();
    figures.asked += 1;
    figures.slow_answers += u64::from(time >= secs(1));
    time
}

// Both replicas are slow once in 10^4: 1 - (1 - 10^-4)^100 = 0.995 % of requests are slow, for 1 % more questions. Without
// the second copy it is 1 - 0.99^100 = 63.4 % (Dean and Barroso 2013).
#[test]
fn t5_hedging_to_an_independent_replica_leaves_one_request_in_a_hundred_slow() {
    let requests = 3_000;
    let runs = over_seeds(20, |seed| fan_out(seed, requests, Hedge::OtherReplica));
    let share = |count: fn(&FanOut) -> u64, of: fn(&FanOut) -> u64| -> Vec<f64> {
        runs.iter().map(|r| count(r) as f64 / of(r) as f64).collect()
    };
    let own = share(|r| r.slow_requests, |r| r.asked / LEAVES);
    let theory = 1.0 - 0.9999_f64.powi(100);
    four_standard_errors("T5 slow requests", theory, Absolute(0.0025), &own).holds();
    let own = share(|r| r.slow_answers, |r| r.asked);
    four_standard_errors("T5 slow answers", 1e-4, Absolute(0.25e-4), &own).holds();
    let own = share(|r| r.hedged, |r| r.asked);
    four_standard_errors("T5 extra questions", 0.01, Relative(0.03), &own).holds();

    let runs = over_seeds(20, |seed| fan_out(seed, 200, Hedge::Nowhere));
    let own: Vec<f64> = runs.iter().map(|r| r.slow_requests as f64 / 200.0).collect();
    let theory = 1.0 - 0.99_f64.powi(100);
    four_standard_errors("T5 slow requests without hedging", theory, Absolute(0.04), &own).holds();
}

#[test]
fn t5_rejects_a_hedge_to_the_same_replica() {
    let runs = over_seeds(20, |seed| fan_out(seed, 50, Hedge::SameReplica));
    let own: Vec<f64> = runs.iter().map(|r| r.slow_requests as f64 / 50.0).collect();
    let theory = 1.0 - 0.9999_f64.powi(100);
    four_standard_errors("T5 slow requests, same replica", theory, Absolute(0.0025), &own).is_rejected();
}

/// The mean time until the first of `copies` servers answers; each needs an exponential second and has no queue.
fn first_of(copies: usize, seed: u64, requests: u64) -> f64 {
    let mut sim = world("redundancy", seed);
    sim.default_link(Link::constant(Duration::ZERO));
    let servers: Vec<NodeId> = (0..copies)
        .map(|server| {
            sim.node(format!("server-{server}"), async |node| {
                let rng = RefCell::new(node.rng("service"));
                let law = Delay::exponential(secs(1));
                node.serve(async move |call, _: Ask| {
                    let time = rng.borrow_mut().duration(&law);
                    call.node().sleep(time).await;
                    Answer
                });
                std::future::pending::<()>().await;
            })
        })
        .collect();
    let notebook = Notebook::new();
    let result = notebook.clone();
    sim.node("client", async move |node| {
        let start = node.monotonic();
        for id in 0..requests {
            let (sender, receiver) = channel();
            for &server in &servers {
                let (node, sender) = (node.clone(), sender.clone());
                node.clone().spawn_detached(async move {
                    if node.call(server, &Ask { id }).await.is_ok() {
                        // Too late is no harm: the receiver has gone.
                        let _ = sender.send(());
                    }
                });
            }
            receiver.recv().await.expect("one of them answers");
        }
        result.write(node.monotonic().since(start).as_secs_f64() / requests as f64);
        node.stop_run();
    });
    notebook.after(sim)
}

#[test]
fn t9_the_first_of_d_exponential_servers_answers_after_a_dth_of_the_mean() {
    for copies in [1, 2, 3, 5] {
        let own = over_seeds(20, |seed| first_of(copies, seed, 48_000));
        let what = format!("T9 first of {copies}");
        four_standard_errors(&what, 1.0 / copies as f64, Relative(0.01), &own).holds();
    }
}

// With queues every copy is served: two servers that would be busy 60 % of the time have a load of 1.2, and what waits
// grows by 0.2 a second each. Redundancy without cancelling is no free lunch.
#[test]
fn t9_copies_that_queue_and_are_not_cancelled_overload_the_servers() {
    let length = 5_000_u64;
    let own = over_seeds(20, |seed| {
        let mut sim = world("redundancy-queues", seed);
        sim.default_link(Link::constant(Duration::ZERO));
        let notebook = Notebook::new();
        let servers = ["server-0", "server-1"].map(|name| {
            let result = notebook.clone();
            sim.node(name, async move |node| {
                let rng = RefCell::new(node.rng("service"));
                let law = Law::exponential(1.0);
                node.serve(async move |call, _: Ask| {
                    let time = law.draw(&mut rng.borrow_mut());
                    call.node().work(time).await;
                    Answer
                });
                node.sleep(secs(length)).await;
                result.update(|backlog: &mut usize| *backlog += node.run_queue() + node.cores_busy());
                std::future::pending::<()>().await;
            })
        });
        sim.node("client", async move |node| {
            let (mut rng, gap) = (node.rng("arrivals"), Law::exponential(1.0 / 1.2));
            for id in 0.. {
                node.sleep(gap.draw(&mut rng)).await;
                if node.monotonic().since_start() > secs(length) {
                    break;
                }
                for server in servers {
                    let node = node.clone();
                    node.clone().spawn_detached(async move { drop(node.call(server, &Ask { id }).await) });
                }
            }
            node.stop_run();
        });
        notebook.after(sim) as f64 / 2.0 / length as f64
    });
    four_standard_errors("T9 growth of the queue", 0.2, Absolute(0.03), &own).holds();
}
