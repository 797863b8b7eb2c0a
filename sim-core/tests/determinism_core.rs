//! The first rule: a run is a function of its plan. And chance: each stream belongs to one name.

mod support;

use std::collections::BTreeSet;

use sim_core::{
    Node, Sim,
    fault::{Fault, FaultKind, FaultPlan},
    net::Link,
    plan::Plan,
    record::{Ending, RecordingLevel, RunHash},
    rng::Delay,
    time::{ms, secs},
};
use support::{Log, busy::busy, panicked, plan, run, world};

// ---- the same plan, the same run ----

/// The run hash of the busy world with seed 1. It changes when a run changes: another order of events, another draw, another
/// time. Such a change breaks every plan that somebody has kept, so it must be meant. Where it is, write the new hash here
/// and say in the commit why runs differ.
const GOLDEN: &str = "b5ecea17a79156fc";

#[test]
fn the_busy_world_runs_as_it_always_has() {
    let recording = busy(1, RecordingLevel::Essential);
    assert_eq!(recording.ending, Ending::Until);
    assert_eq!(recording.run_hash.to_string(), GOLDEN, "{} events", recording.events);
}

#[test]
fn the_busy_world_is_busy() {
    let recording = busy(1, RecordingLevel::Full);
    assert!(recording.events > 5_000, "{} events", recording.events);
    for fault in &recording.faults {
        assert!(fault.had_effect(), "{fault:?}");
    }
    let dropped: BTreeSet<&str> = recording
        .messages
        .iter()
        .filter_map(|message| match message.fate {
            sim_core::record::Fate::Dropped(_, reason) => Some(recording.text(reason)),
            _ => None,
        })
        .collect();
    for reason in ["loss", "partition", "node down", "corrupted"] {
        assert!(dropped.contains(reason), "nothing was dropped for `{reason}`: {dropped:?}");
    }
    assert!(recording.operations.len() > 300);
    assert!(
        recording.properties.iter().all(sim_core::record::PropertyRecord::held),
        "{:?}",
        recording.properties
    );
}

#[test]
fn one_plan_gives_one_recording_and_another_seed_another() {
    let first = busy(7, RecordingLevel::Full);
    let second = busy(7, RecordingLevel::Full);
    assert_eq!(first.run_hash, second.run_hash);
    assert_eq!(first.hash(), second.hash());
    assert!(first == second);
    let other = busy(8, RecordingLevel::Full);
    assert_ne!(first.run_hash, other.run_hash);
    assert_ne!(first.hash(), other.hash());
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "whole runs on several threads, to see that they do not notice"
)]
fn runs_on_several_threads_do_not_disturb_each_other() {
    let alone: Vec<RunHash> = (0..4).map(|seed| busy(seed, RecordingLevel::Full).run_hash).collect();
    let together: Vec<RunHash> = std::thread::scope(|scope| {
        let runs: Vec<_> =
            (0..4).map(|seed| scope.spawn(move || busy(seed, RecordingLevel::Full).run_hash)).collect();
        runs.into_iter().map(|run| run.join().unwrap()).collect()
    });
    assert_eq!(alone, together);
    assert_eq!(alone.iter().collect::<BTreeSet<_>>().len(), 4);
}

#[test]
fn what_is_recorded_changes_no_run() {
    let levels = [RecordingLevel::Essential, RecordingLevel::Spans, RecordingLevel::Full];
    let [essential, spans, full] = levels.map(|level| busy(3, level));
    assert_eq!(essential.run_hash, spans.run_hash);
    assert_eq!(essential.run_hash, full.run_hash);
    assert_eq!((essential.events, essential.ended), (full.events, full.ended));
    // What is always recorded is the same, whatever numbers its names have.
    assert_eq!(support::states(&essential), support::states(&full));
    assert_eq!(essential.properties, full.properties);
    assert_eq!(essential.faults, full.faults);
    let points = |recording: &sim_core::record::Recording| -> Vec<_> {
        recording.metrics.iter().map(|series| series.points.clone()).collect()
    };
    assert_eq!(points(&essential), points(&spans));
    assert_eq!(points(&essential), points(&full));
    // And what is not is not there.
    assert_eq!((essential.spans.len(), essential.messages.len()), (0, 0));
    assert!(!spans.spans.is_empty() && spans.messages.is_empty());
    assert_eq!(spans.spans.len(), full.spans.len());
    assert!(!full.messages.is_empty() && full.full && !spans.full);
}

// ---- chance ----

fn draws(node: &Node, stream: &str) -> [u64; 4] {
    let mut rng = node.rng(stream);
    std::array::from_fn(|_| rng.next_u64())
}

#[test]
fn a_stream_cannot_be_taken_twice_in_one_incarnation() {
    let mut sim = world();
    sim.node("node", async |node| {
        let _first = node.rng("dice");
        let _other = node.rng("cards");
        let _twin = node.rng("dice");
    });
    let recording = sim.run().unwrap();
    let (node, message) = panicked(&recording).unwrap();
    assert_eq!(node, "node");
    assert!(message.contains("`dice`"), "{message}");
}

#[test]
#[should_panic(expected = "the name `twin` is used twice")]
fn two_nodes_cannot_have_one_name() {
    let mut sim = world();
    sim.node("twin", async |_| {});
    sim.node("twin", async |_| {});
}

/// What the node `a` draws from `dice` in each of its incarnations, in a world with other things in it.
fn dice(seed: u64, others: &'static [&'static str], draws_more: bool) -> Vec<[u64; 4]> {
    let found = Log::new();
    let faults = FaultPlan::none().with(Fault::at(ms(5), "restart", FaultKind::Restart).on("a"));
    let plan = Plan::new("dice", seed, secs(1)).with_faults(faults);
    let mut sim = Sim::new(&plan, RecordingLevel::Essential);
    for name in others {
        sim.node(*name, async |node| {
            draws(&node, "dice");
        });
    }
    let noted = found.clone();
    sim.node("a", async move |node| {
        if draws_more {
            draws(&node, "cards");
        }
        noted.say(draws(&node, "dice").map(|word| word.to_string()).join(" "));
    });
    run(sim);
    let parse = |line: &String| -> [u64; 4] {
        let words: Vec<u64> = line.split(' ').map(|word| word.parse().unwrap()).collect();
        words.try_into().unwrap()
    };
    found.texts().iter().map(parse).collect()
}

#[test]
fn a_nodes_draws_depend_on_the_seed_its_name_and_its_incarnation_alone() {
    let alone = dice(1, &[], false);
    assert_eq!(alone.len(), 2);
    assert_ne!(alone[0], alone[1], "a restart has a stream of its own");
    assert_eq!(dice(1, &["b"], false), alone, "another node changes nothing");
    assert_eq!(dice(1, &["b", "c"], true), alone, "nor does another stream of the same node");
    assert_ne!(dice(2, &[], false), alone);
}

#[test]
fn twins_by_code_draw_differently() {
    let log = Log::new();
    let mut sim = world();
    for client in 0..50 {
        let noted = log.clone();
        sim.node(format!("client-{client}"), async move |node| {
            noted.say(format!("{:?}", draws(&node, "load")));
        });
    }
    run(sim);
    let different: BTreeSet<String> = log.texts().into_iter().collect();
    assert_eq!(different.len(), 50);
}

#[test]
fn a_restart_of_one_node_leaves_the_draws_of_the_others_alone() {
    let with = |faults: FaultPlan| {
        let log = Log::new();
        let mut sim = Sim::new(&plan(faults), RecordingLevel::Essential);
        for name in ["a", "b"] {
            let noted = log.clone();
            sim.node(name, async move |node| {
                let mut rng = node.rng("walk");
                for _ in 0..20 {
                    node.sleep(rng.duration(&Delay::uniform(ms(1), ms(9)))).await;
                    if node.name() == "b" {
                        noted.note(&node, format!("{}", rng.next_u64()));
                    }
                }
            });
        }
        run(sim);
        log.lines()
    };
    let restart = FaultPlan::none().with(Fault::at(ms(30), "restart", FaultKind::Restart).on("a"));
    assert_eq!(with(restart), with(FaultPlan::none()));
}

#[test]
fn chance_while_building_has_streams_of_its_own() {
    let sim = world();
    assert_eq!(sim.rng("graph").next_u64(), world().rng("graph").next_u64());
    assert_ne!(sim.rng("graph").next_u64(), sim.rng("keys").next_u64());
}

#[test]
fn a_pairs_delays_stay_as_they_are_when_another_pair_talks_too() {
    let arrivals = |more: bool| {
        let log = Log::new();
        let mut sim = world();
        sim.default_link(Link::new(Delay::exponential(ms(1))).loss(0.2));
        let noted = log.clone();
        let receiver = sim.node("receiver", async move |node| {
            let mut mailbox = node.mailbox::<u32>();
            loop {
                let received = mailbox.recv().await;
                if received.message < 1_000 {
                    noted.note(&node, format!("{}", received.message));
                }
            }
        });
        sim.node("sender", async move |node| {
            for n in 0..100 {
                node.send(receiver, &n);
                node.sleep(ms(1)).await;
            }
        });
        if more {
            sim.node("chatter", async move |node| {
                for n in 0..300_u32 {
                    node.send(receiver, &(1_000 + n));
                    node.sleep(ms(1) / 3).await;
                }
            });
        }
        run(sim);
        log.lines()
    };
    assert_eq!(arrivals(false), arrivals(true));
}
