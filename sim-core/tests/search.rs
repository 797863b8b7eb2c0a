//! Sweeping and shrinking, on a world with a planted bug: a primary that answers before its backup has the write.

use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};
use sim_core::{
    NodeSpec,
    net::{Link, rpc::Request},
    plan::Draws,
    rng::Delay,
    search::{
        Experiment, Failure,
        generate::{Arm, Swarm},
        scenario::Scenario,
        shrink::{Effort, Hints, shrink},
        sweep::{Summary, first_failure, sweep},
    },
    time::{ms, secs},
};

#[derive(Serialize, Deserialize, Debug)]
enum Ask {
    Write(u64),
    Read,
    Copy(u64),
}
impl Request for Ask {
    type Response = u64;
}

const LOST: &str = "an acknowledged write is read";

/// A primary and its backup; clients write to the primary and read from the backup where the primary does not answer.
fn primary_and_backup() -> Scenario {
    Scenario::new("primary and backup", secs(6), |_, sim| {
        sim.default_link(Link::new(Delay::uniform(ms(1), ms(20))));
        let backup = sim.node(NodeSpec::new("server-2").service("server"), async |node| {
            let value = std::rc::Rc::new(std::cell::Cell::new(0));
            node.serve(async move |_call, ask: Ask| {
                if let Ask::Copy(n) | Ask::Write(n) = ask {
                    value.set(value.get().max(n));
                }
                value.get()
            });
            std::future::pending::<()>().await;
        });
        let primary = sim.node(NodeSpec::new("server-1").service("server"), async move |node| {
            let value = std::rc::Rc::new(std::cell::Cell::new(0));
            let inner = node.clone();
            node.serve(async move |_call, ask: Ask| {
                if let Ask::Write(n) = ask {
                    value.set(n);
                    let copier = inner.clone();
                    // The bug: the answer does not wait for the copy.
                    inner.spawn_detached(async move {
                        copier.sleep(ms(50)).await;
                        let _ = copier.call(backup, &Ask::Copy(n)).await;
                    });
                }
                value.get()
            });
            std::future::pending::<()>().await;
        });
        sim.node("client", async move |node| {
            let mut acknowledged = 0;
            for number in 1..=40 {
                node.sleep(ms(100)).await;
                if !node.next_operation() {
                    continue;
                }
                let write = node.invoke(0, "write", "", &number);
                let answer = node.call(primary, &Ask::Write(number)).deadline(ms(60)).await;
                write.end_with(&answer);
                if answer.is_ok() {
                    acknowledged = number;
                    continue;
                }
                let read = node.invoke(0, "read", "", &());
                let answer = node.call(backup, &Ask::Read).deadline(ms(60)).await;
                read.end_with(&answer);
                if let Ok(value) = answer {
                    node.always(LOST, value >= acknowledged, || {
                        format!("read {value}, acknowledged {acknowledged}")
                    });
                }
            }
        });
    })
    .faults(Swarm::new("server", secs(6)).armed(&[
        Arm::Crash,
        Arm::Pause,
        Arm::Isolate,
        Arm::Loss(0.2),
        Arm::Duplication(0.5),
        Arm::Delay(ms(20)),
    ]))
    .shrinking(Hints { servers: "server".to_owned(), within: ms(0)..=secs(5), ..Hints::default() })
}

fn is_lost(failure: &Failure) -> bool {
    failure.property == LOST
}

#[test]
fn a_sweep_is_the_same_with_one_worker_and_with_three() {
    let scenario = primary_and_backup();
    let seeds: Vec<u64> = (0..100).collect();
    let run = |workers| {
        let mut summary = Summary::default();
        sweep(&scenario, &seeds, workers, |trial| {
            summary.add(&trial);
            ControlFlow::Continue(())
        });
        summary
    };
    let (one, three) = (run(1), run(3));
    assert_eq!(one.runs(), 100);
    assert_eq!(one.hash(), three.hash());
    assert_eq!(one.failures(), three.failures());
    assert_eq!(one.transitions(), three.transitions());
    assert!(one.failures().iter().any(|group| group.property == LOST), "{:?}", one.failures());
    assert_eq!(
        first_failure(&scenario, &seeds, 1, is_lost).0,
        first_failure(&scenario, &seeds, 3, is_lost).0
    );
}

#[test]
fn a_failing_plan_shrinks_to_one_fault_and_a_write_and_a_read() {
    let scenario = primary_and_backup();
    let seeds: Vec<u64> = (0..500).collect();
    let (runs, trial) = first_failure(&scenario, &seeds, 2, is_lost);
    let trial = trial.expect("the bug is found");
    let plan = scenario.plan(trial.seed).unwrap();
    let fingerprint = trial.failures.iter().find(|one| is_lost(one)).unwrap().fingerprint();
    let shrunk = |workers| {
        shrink(&scenario, &plan, Some(&fingerprint), Effort { workers, ..Effort::default() }).unwrap()
    };
    let (small, same) = (shrunk(2), shrunk(1));
    assert_eq!(small.plan, same.plan, "the result does not depend on the number of workers");
    assert_eq!(small.executions, same.executions);
    assert_eq!(small.certificate, same.certificate);
    println!("found after {runs} runs; {} -> {} in {} runs", small.before, small.after, small.executions);
    println!("{}", small.plan.to_toml());
    for needed in &small.certificate {
        println!("without {}: {}", needed.without, needed.then);
    }
    for line in sim_core::search::shrink::story(&small.recording, &small.failure) {
        println!("{line}");
    }
    assert_eq!(small.failure.fingerprint(), fingerprint);
    assert!(small.after.faults <= 1, "{}", small.after);
    assert!(small.after.operations <= 3, "{}", small.after);
    assert_eq!(small.plan.draws, Draws::Median);
    assert!(small.after.deliveries <= 2, "{}", small.after);
    assert!(small.certificate.iter().all(|one| one.then != "fails all the same"), "{:?}", small.certificate);
}

#[test]
fn operations_that_nobody_asks_for_are_not_taken_away() {
    // A client that makes its writes whatever the plan says, and another number of them under each seed.
    let scenario = Scenario::new("stubborn", secs(1), |_, sim| {
        sim.node("client", async |node| {
            for number in 1..=node.rng("writes").range(2..=50) {
                node.sleep(ms(10)).await;
                node.invoke(0, "write", "", &number).ok(&());
            }
            node.always("nobody writes", false, String::new);
        });
    });
    let plan = scenario.plan(1).unwrap();
    let small = shrink(&scenario, &plan, None, Effort::default()).unwrap();
    assert_eq!(small.plan.operations, None, "a list that means nothing is not written into the plan");
    assert!(small.before.operations > small.after.operations, "another seed has fewer");
    assert!(small.certificate.is_empty(), "{:?}", small.certificate);
}
