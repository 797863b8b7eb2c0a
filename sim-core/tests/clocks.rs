//! Clocks of a node: the monotonic one that timers follow, the wall clock that may be wrong, and true time beside them.
//!
//! Drifts in these tests are enormous (a clock that runs at double speed), so that each time can be worked out in the head.

mod support;

use sim_core::{
    NodeSpec,
    fault::{Fault, FaultKind, FaultPlan, Offset},
    record::Ending,
    time::{Duration, Monotonic, Wall, ms, secs},
};
use support::{Log, alone, run, world, world_with};

/// Twice as fast as true time.
const DOUBLE: f64 = 1_000_000.0;
/// Half as fast.
const HALF: f64 = -500_000.0;

fn drifting(ppm: f64) -> NodeSpec {
    NodeSpec::new("node").clock_drift(ppm)
}
fn drift_fault(start: Duration, end: Duration, ppm: f64) -> FaultPlan {
    FaultPlan::none().with(Fault::at(start, "drift", FaultKind::ClockDrift(ppm)).until(end).on("node"))
}

#[test]
fn an_exact_clock_shows_true_time_on_both_faces() {
    let lines = alone("node", FaultPlan::none(), async |node, log| {
        node.sleep(ms(1_500)).await;
        log.note(&node, format!("{}", node.monotonic().since_start()));
        log.note(&node, format!("{}", node.wall().since(Wall::START)));
    });
    assert_eq!(lines, ["1.5s 1.5s", "1.5s 1.5s"]);
}

#[test]
fn an_offset_moves_the_wall_clock_alone() {
    for (offset, shown) in
        [(Offset::ahead(ms(250)), 1_250_000_000), (Offset::behind(secs(3)), -2_000_000_000)]
    {
        let lines =
            alone(NodeSpec::new("node").clock_offset(offset), FaultPlan::none(), async |node, log| {
                node.sleep(secs(1)).await;
                log.note(
                    &node,
                    format!("{} {}", node.monotonic().since_start(), node.wall().since_run_start()),
                );
            });
        assert_eq!(lines, [format!("1s 1s {shown}")]);
    }
}

#[test]
fn a_drift_moves_both_clocks_and_every_sleep() {
    let lines = alone(drifting(DOUBLE), FaultPlan::none(), async |node, log| {
        node.sleep(secs(3)).await;
        log.note(
            &node,
            format!("fast: {} {}", node.monotonic().since_start(), node.wall().since(Wall::START)),
        );
    });
    assert_eq!(lines, ["1.5s fast: 3s 3s"]);
    let lines = alone(drifting(HALF), FaultPlan::none(), async |node, log| {
        node.sleep(secs(1)).await;
        log.note(&node, format!("slow: {}", node.monotonic().since_start()));
        assert!(node.timeout(secs(1), std::future::pending::<()>()).await.is_none());
        log.note(&node, format!("slow: {}", node.monotonic().since_start()));
    });
    assert_eq!(lines, ["2s slow: 1s", "4s slow: 2s"]);
}

#[test]
fn a_sleep_under_way_follows_a_change_of_the_drift() {
    // 4 s at the usual speed, then twice as fast: the 6 s that are left take 3.
    let sleep_10 = async |node: sim_core::Node, log: Log| {
        node.sleep(secs(10)).await;
        log.note(&node, format!("{}", node.monotonic().since_start()));
    };
    assert_eq!(alone("node", drift_fault(secs(4), secs(9), DOUBLE), sleep_10), ["7s 10s"]);
    // Twice as fast for one second only: 4 + 2, and 4 more.
    assert_eq!(alone("node", drift_fault(secs(4), secs(5), DOUBLE), sleep_10), ["9s 10s"]);
    // Half as fast for two seconds on a clock that runs twice as fast already: 2 + 3 (at 1.5), then 5 at 2.
    assert_eq!(alone(drifting(DOUBLE), drift_fault(secs(1), secs(3), HALF), sleep_10), ["5.5s 10s"]);
}

#[test]
fn a_jump_of_the_wall_clock_moves_no_timer_and_ends_with_its_fault() {
    let faults = FaultPlan::none().with(
        Fault::at(secs(1), "jump", FaultKind::ClockJump(Offset::ahead(secs(100)))).until(secs(3)).on("node"),
    );
    let lines = alone("node", faults, async |node, log| {
        for _ in 0..2 {
            node.sleep(secs(2)).await;
            log.note(&node, format!("{} {}", node.monotonic().since_start(), node.wall().since(Wall::START)));
        }
    });
    assert_eq!(lines, ["2s 2s 102s", "4s 4s 4s"]);
}

#[test]
fn clocks_go_on_through_a_crash() {
    let faults =
        FaultPlan::none().with(Fault::at(secs(2), "crash", FaultKind::Crash).until(secs(5)).on("node"));
    let lines =
        alone(NodeSpec::new("node").clock_offset(Offset::ahead(secs(7))), faults, async |node, log| {
            log.note(&node, format!("{} {}", node.monotonic().since_start(), node.wall().since(Wall::START)));
        });
    assert_eq!(lines, ["0s 0s 7s", "5s 5s 12s"]);
}

#[test]
fn a_sleep_until_a_reading_that_has_passed_is_over_at_once() {
    let lines = alone("node", FaultPlan::none(), async |node, log| {
        node.sleep(ms(5)).await;
        node.sleep_until(Monotonic::ZERO + ms(3)).await;
        node.sleep(Duration::ZERO).await;
        log.note(&node, "awake");
        node.sleep_until(Monotonic::ZERO + ms(8)).await;
        log.note(&node, "awake");
    });
    assert_eq!(lines, ["5ms awake", "8ms awake"]);
}

#[test]
fn a_sleep_of_all_time_waits_for_the_planned_end() {
    for ppm in [0.0, DOUBLE, HALF] {
        let mut sim = world();
        sim.node(drifting(ppm), async |node| {
            node.sleep(ms(1)).await;
            node.sleep(Duration::MAX).await;
        });
        let recording = run(sim);
        assert_eq!(recording.ending, Ending::Until, "{ppm}");
        assert_eq!(recording.ended.since_start(), secs(10), "{ppm}");
    }
}

#[test]
fn ticks_come_one_period_apart_and_missed_ones_come_at_once() {
    let faults =
        FaultPlan::none().with(Fault::at(ms(25), "pause", FaultKind::Pause).until(ms(47)).on("node"));
    let lines = alone("node", faults, async |node, log| {
        let mut ticks = node.ticks(ms(10));
        for tick in 1..=6 {
            ticks.tick().await;
            log.note(&node, format!("{tick}"));
        }
    });
    // The ticks of 30 and 40 were missed; the one of 50 is in time again.
    assert_eq!(lines, ["10ms 1", "20ms 2", "47ms 3", "47ms 4", "50ms 5", "60ms 6"]);
}

#[test]
fn a_paused_node_sees_that_time_has_passed() {
    let faults =
        FaultPlan::none().with(Fault::at(ms(5), "pause", FaultKind::Pause).until(ms(100)).on("node"));
    let lines = alone("node", faults, async |node, log| {
        node.sleep(ms(10)).await;
        log.note(&node, format!("{}", node.monotonic().since_start()));
    });
    assert_eq!(lines, ["100ms 100ms"]);
}

#[test]
fn the_observer_knows_the_true_time_whatever_the_clocks_say() {
    let log = Log::new();
    let mut sim = world_with(FaultPlan::none());
    for (name, ppm) in [("exact", 0.0), ("fast", DOUBLE), ("slow", HALF)] {
        let noted = log.clone();
        sim.node(NodeSpec::new(name).clock_drift(ppm), async move |node| {
            node.sleep(secs(2)).await;
            noted.say(format!("{} {}", node.name(), node.observer().now().since_start()));
        });
    }
    run(sim);
    assert_eq!(log.texts(), ["fast 1s", "exact 2s", "slow 4s"]);
}
