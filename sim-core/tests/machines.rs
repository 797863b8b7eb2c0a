//! Cores and memory: what a node's work costs, and when it is killed.
//!
//! Each expected time is worked out by hand; the reasoning stands beside it. Work is in virtual time, so the times are exact.

mod support;

use sim_core::{
    Node, NodeSpec,
    fault::{Fault, FaultKind, FaultPlan},
    machine::Discipline,
    time::{Duration, ms},
};
use support::{Log, alone, run, states, world, world_with};

/// Starts jobs (when, how much, in ms) and notes when each is done.
fn start_jobs(node: &Node, log: &Log, jobs: &[(u64, u64)]) {
    for (number, &(start, work)) in jobs.iter().enumerate() {
        let (me, log) = (node.clone(), log.clone());
        node.spawn_detached(async move {
            me.sleep(ms(start)).await;
            me.work(ms(work)).await;
            log.note(&me, format!("job {number}"));
        });
    }
}
/// When each job of a node is done.
fn done(spec: NodeSpec, faults: FaultPlan, jobs: &'static [(u64, u64)]) -> Vec<String> {
    alone(spec, faults, async |node, log| start_jobs(&node, &log, jobs))
}
fn fifo(cores: u32) -> NodeSpec {
    NodeSpec::new("machine").cores(cores)
}
fn sharing(cores: u32) -> NodeSpec {
    fifo(cores).discipline(Discipline::Sharing)
}
fn between(start: u64, end: u64, what: FaultKind) -> FaultPlan {
    FaultPlan::none().with(Fault::at(ms(start), "fault", what).until(ms(end)).on("machine"))
}

// ---- first come, first served ----

#[test]
fn one_core_does_one_job_after_another_in_order_of_asking() {
    let lines = done(fifo(1), FaultPlan::none(), &[(0, 10), (1, 10), (2, 1)]);
    assert_eq!(lines, ["10ms job 0", "20ms job 1", "21ms job 2"]);
}

#[test]
fn three_cores_do_three_jobs_at_once_and_the_fourth_waits_for_the_first_free_core() {
    let lines = done(fifo(3), FaultPlan::none(), &[(0, 10), (0, 7), (0, 12), (0, 10)]);
    assert_eq!(lines, ["7ms job 1", "10ms job 0", "12ms job 2", "17ms job 3"]);
}

#[test]
fn a_node_says_how_many_cores_are_busy_and_how_many_jobs_wait() {
    let lines = alone(fifo(2), FaultPlan::none(), async |node, log| {
        start_jobs(&node, &log, &[(0, 10), (0, 10), (0, 10), (0, 10), (0, 10)]);
        node.sleep(ms(5)).await;
        log.note(&node, format!("{} busy, {} wait", node.cores_busy(), node.run_queue()));
        node.sleep(ms(20)).await;
        log.note(&node, format!("{} busy, {} wait", node.cores_busy(), node.run_queue()));
    });
    assert_eq!(lines[0], "5ms 2 busy, 3 wait");
    assert_eq!(lines[5], "25ms 1 busy, 0 wait");
}

#[test]
fn no_work_takes_no_time_and_no_turn() {
    let lines = alone(fifo(1), FaultPlan::none(), async |node, log| {
        start_jobs(&node, &log, &[(0, 10)]);
        node.sleep(ms(1)).await;
        node.work(Duration::ZERO).await;
        log.note(&node, "nothing done");
    });
    assert_eq!(lines, ["1ms nothing done", "10ms job 0"]);
}

#[test]
fn a_job_that_is_given_up_in_the_queue_takes_no_core() {
    for discipline in [1, 2] {
        let lines = alone(fifo(discipline), FaultPlan::none(), async |node, log| {
            // Fills the cores, then asks for 10 ms more and gives up after 3.
            let cores = node.cores_busy() as u64;
            assert_eq!(cores, 0);
            start_jobs(&node, &log, &[(0, 10), (0, 10), (2, 10)]);
            node.sleep(ms(1)).await;
            assert!(node.timeout(ms(3), node.work(ms(10))).await.is_none());
            log.note(&node, format!("given up, {} wait", node.run_queue()));
        });
        let expected: &[&str] = if discipline == 1 {
            // One core: job 1 waits since 0, the one given up since 1, job 2 since 2.
            &["4ms given up, 2 wait", "10ms job 0", "20ms job 1", "30ms job 2"]
        } else {
            &["4ms given up, 1 wait", "10ms job 0", "10ms job 1", "20ms job 2"]
        };
        assert_eq!(lines, expected);
    }
}

#[test]
fn a_job_that_is_given_up_on_its_core_frees_it_at_once() {
    let lines = alone(fifo(1), FaultPlan::none(), async |node, log| {
        start_jobs(&node, &log, &[(1, 10)]);
        assert!(node.timeout(ms(4), node.work(ms(100))).await.is_none());
        log.note(&node, "given up");
    });
    assert_eq!(lines, ["4ms given up", "14ms job 0"]);
}

#[test]
fn many_jobs_given_up_leave_the_processor_as_it_was() {
    let lines = alone(fifo(1), FaultPlan::none(), async |node, log| {
        for round in 0..50 {
            let busy = node.work(ms(2));
            let waiting = node.timeout(ms(1), node.work(ms(2)));
            let (_, given_up) = sim_core::combine::join(busy, waiting).await;
            assert!(given_up.is_none(), "round {round}");
            assert_eq!((node.cores_busy(), node.run_queue()), (0, 0), "round {round}");
        }
        log.note(&node, "done");
    });
    assert_eq!(lines, ["100ms done"]); // 50 rounds of the 2 ms that were done
}

// ---- slow and paused ----

#[test]
fn a_slow_factor_stretches_exactly_the_rest_of_a_job() {
    // 4 ms done, 6 left at a third of the speed: 18 ms.
    assert_eq!(done(fifo(1), between(4, 100, FaultKind::Slow(3.0)), &[(0, 10)]), ["22ms job 0"]);
    // 4 ms done; 4 ms at half the speed do 2; the last 4 at full speed.
    assert_eq!(done(fifo(1), between(4, 8, FaultKind::Slow(2.0)), &[(0, 10)]), ["12ms job 0"]);
    // Twice as fast: 6 left in 3.
    assert_eq!(done(fifo(1), between(4, 100, FaultKind::Slow(0.5)), &[(0, 10)]), ["7ms job 0"]);
}

#[test]
fn a_slow_node_does_the_jobs_that_wait_slowly_too() {
    // Job 0: 4 + 12 = 16. Job 1 begins at 16: 5 ms of work by 26, when the fault ends, and 5 more.
    let lines = done(fifo(1), between(4, 26, FaultKind::Slow(2.0)), &[(0, 10), (0, 10)]);
    assert_eq!(lines, ["16ms job 0", "31ms job 1"]);
}

#[test]
fn a_pause_stops_work_where_it_is_and_the_rest_follows_after_it() {
    // Paused from 4 to 9: the job is not done at 10, nor at 9, but 6 ms after the pause.
    assert_eq!(done(fifo(1), between(4, 9, FaultKind::Pause), &[(0, 10)]), ["15ms job 0"]);
    assert_eq!(
        done(fifo(1), between(4, 50, FaultKind::Pause), &[(0, 10), (0, 3)]),
        ["56ms job 0", "59ms job 1"]
    );
}

#[test]
fn a_node_that_becomes_slow_while_it_stands_still_does_the_rest_slowly() {
    let faults =
        between(4, 10, FaultKind::Pause).with(Fault::at(ms(6), "slow", FaultKind::Slow(2.0)).on("machine"));
    // 4 done, 6 left from 10 on at half the speed.
    assert_eq!(done(fifo(1), faults, &[(0, 10)]), ["22ms job 0"]);
}

#[test]
fn two_pauses_that_overlap_end_with_the_later_one() {
    let faults = between(2, 8, FaultKind::Pause)
        .with(Fault::at(ms(4), "second", FaultKind::Pause).until(ms(12)).on("machine"));
    assert_eq!(done(fifo(1), faults, &[(0, 10)]), ["20ms job 0"]); // 2 + 8 after 12
}

// ---- processor sharing ----

#[test]
fn two_jobs_that_share_a_core_take_twice_as_long_each() {
    assert_eq!(done(sharing(1), FaultPlan::none(), &[(0, 10), (0, 10)]), ["20ms job 0", "20ms job 1"]);
}

#[test]
fn a_job_that_arrives_in_the_middle_halves_the_speed_from_then_on() {
    // Job 0 has 5 left when job 1 comes: 10 ms more. Job 1 has 5 left at 15, and the core to itself.
    assert_eq!(done(sharing(1), FaultPlan::none(), &[(0, 10), (5, 10)]), ["15ms job 0", "20ms job 1"]);
}

#[test]
fn a_short_job_overtakes_a_long_one_where_they_share() {
    // Both at half the speed from 10 on: the short one needs 4 ms. The long one lost 2 of them.
    assert_eq!(done(sharing(1), FaultPlan::none(), &[(0, 100), (10, 2)]), ["14ms job 1", "102ms job 0"]);
}

#[test]
fn three_jobs_share_two_cores_and_none_is_faster_than_one_core() {
    // Two thirds of a core each: 15 ms.
    let three = done(sharing(2), FaultPlan::none(), &[(0, 10), (0, 10), (0, 10)]);
    assert_eq!(three, ["15ms job 0", "15ms job 1", "15ms job 2"]);
    assert_eq!(done(sharing(2), FaultPlan::none(), &[(0, 10)]), ["10ms job 0"]);
}

#[test]
fn a_pause_stops_jobs_that_share_and_a_slow_factor_stretches_their_rest() {
    let paused = done(sharing(1), between(5, 10, FaultKind::Pause), &[(0, 10), (0, 10)]);
    assert_eq!(paused, ["25ms job 0", "25ms job 1"]);
    // At 10 each has 5 left, at a quarter of a core: 20 ms.
    let slow = done(sharing(1), between(10, 100, FaultKind::Slow(2.0)), &[(0, 10), (0, 10)]);
    assert_eq!(slow, ["30ms job 0", "30ms job 1"]);
}

#[test]
fn a_job_that_is_given_up_leaves_its_share_to_the_others() {
    let lines = alone(sharing(1), FaultPlan::none(), async |node, log| {
        start_jobs(&node, &log, &[(0, 10)]);
        assert!(node.timeout(ms(10), node.work(ms(50))).await.is_none());
        log.note(&node, format!("given up, {} left", node.cores_busy()));
    });
    assert_eq!(lines, ["10ms given up, 1 left", "15ms job 0"]); // 5 left at 10
}

// ---- crashes ----

#[test]
fn work_of_a_crashed_process_is_gone_and_the_new_one_has_all_cores() {
    for discipline in [Discipline::Fifo, Discipline::Sharing] {
        let faults = FaultPlan::none().with(Fault::at(ms(3), "restart", FaultKind::Restart).on("machine"));
        let spec = fifo(1).discipline(discipline);
        let lines = alone(spec, faults, async |node, log| {
            // The old process's jobs would end at 10 and 20, the new one's at 13 and 23.
            node.work(ms(10)).await;
            log.note(&node, format!("first of {}", node.incarnation()));
            node.work(ms(10)).await;
            log.note(&node, format!("second of {}", node.incarnation()));
        });
        assert_eq!(lines, ["13ms first of 1", "23ms second of 1"], "{discipline:?}");
    }
}

#[test]
fn a_process_that_crashes_in_the_middle_of_work_and_stays_down_disturbs_nothing() {
    for discipline in [Discipline::Fifo, Discipline::Sharing] {
        let mut sim =
            world_with(FaultPlan::none().with(Fault::at(ms(3), "crash", FaultKind::Crash).on("machine")));
        sim.node(fifo(1).discipline(discipline), async |node| {
            start_jobs(&node, &Log::new(), &[(0, 10), (0, 10)]);
        });
        let recording = run(sim);
        assert_eq!(recording.ended.since_start(), ms(3), "nothing was left to happen after the crash");
    }
}

#[test]
fn a_process_that_starts_while_its_machine_is_paused_runs_when_the_pause_ends() {
    let faults =
        between(2, 20, FaultKind::Pause).with(Fault::at(ms(5), "restart", FaultKind::Restart).on("machine"));
    assert_eq!(done(fifo(1), faults, &[(0, 10)]), ["30ms job 0"]);
}

// ---- memory ----

#[test]
fn memory_is_taken_resized_and_given_back() {
    let lines = alone("machine", FaultPlan::none(), async |node, log| {
        let mut a = node.allocate(100);
        let b = node.allocate(50);
        log.say(format!("{}", node.memory_used()));
        a.resize(30);
        log.say(format!("{} of them {}", node.memory_used(), a.bytes()));
        drop(b);
        log.say(format!("{}", node.memory_used()));
        drop(a);
        log.say(format!("{}", node.memory_used()));
    });
    assert_eq!(lines, ["0s 150", "0s 80 of them 30", "0s 30", "0s 0"]);
}

#[test]
fn a_node_is_killed_past_its_limit_and_not_at_it() {
    let log = Log::new();
    let noted = log.clone();
    let mut sim =
        world_with(FaultPlan::none().with(Fault::at(ms(50), "restart", FaultKind::Restart).on("machine")));
    sim.node(NodeSpec::new("machine").memory_limit(1_000), async move |node| {
        noted.note(&node, format!("starts with {}", node.memory_used()));
        let _most = node.allocate(1_000);
        noted.note(&node, "at the limit");
        node.sleep(ms(1)).await;
        let _one_more = node.allocate(1);
        node.sleep(ms(1)).await;
        noted.note(&node, "past the limit");
    });
    let recording = run(sim);
    let twice = ["0s starts with 0", "0s at the limit", "50ms starts with 0", "50ms at the limit"];
    assert_eq!(log.lines(), twice);
    assert_eq!(
        states(&recording),
        [
            "1ms machine process=down",
            "1ms machine killed=out of memory",
            "50ms machine process=",
            "50ms machine killed=",
            "51ms machine process=down",
            "51ms machine killed=out of memory",
        ]
    );
}

#[test]
fn growing_an_allocation_past_the_limit_kills_too() {
    let log = Log::new();
    let noted = log.clone();
    let mut sim = world();
    sim.node(NodeSpec::new("machine").memory_limit(1_000), async move |node| {
        let mut growing = node.allocate(10);
        for size in 1..100_u64 {
            growing.resize(size * 100);
            node.sleep(ms(1)).await;
            noted.say(format!("{size}"));
        }
    });
    run(sim);
    assert_eq!(log.texts().len(), 10, "ten times 100 bytes fit");
}

#[test]
fn memory_given_back_by_a_dead_process_is_not_the_new_ones() {
    let faults = FaultPlan::none().with(Fault::at(ms(5), "restart", FaultKind::Restart).on("machine"));
    let lines = alone("machine", faults, async |node, log| {
        let _held = node.allocate(if node.incarnation() == 0 { 100 } else { 7 });
        node.sleep(ms(20)).await;
        log.note(&node, format!("{} used", node.memory_used()));
    });
    assert_eq!(lines, ["25ms 7 used"]);
}

#[test]
fn a_memory_limit_that_a_fault_sets_kills_whoever_is_over_it_and_the_own_limit_comes_back() {
    let faults = FaultPlan::none()
        .with(Fault::at(ms(5), "squeeze", FaultKind::MemoryLimit(500)).until(ms(10)).on("machine"))
        .with(Fault::at(ms(20), "restart", FaultKind::Restart).on("machine"));
    let log = Log::new();
    let noted = log.clone();
    let mut sim = world_with(faults);
    sim.node(NodeSpec::new("machine").memory_limit(1_000), async move |node| {
        let _some = node.allocate(800);
        node.sleep(ms(10)).await;
        noted.note(&node, "alive with 800");
        let _too_much = node.allocate(800);
        node.sleep(ms(10)).await;
        noted.note(&node, "alive with 1600");
    });
    let recording = run(sim);
    assert_eq!(log.lines(), ["30ms alive with 800"]);
    assert_eq!(recording.faults[0].touched, 1);
}
