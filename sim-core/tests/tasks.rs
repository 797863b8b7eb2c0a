//! Tasks and their synchronisation on a node: order, cancellation, crashes, panics, and how a run ends.

mod support;

use std::{cell::RefCell, rc::Rc};

use futures_util::{
    StreamExt,
    future::{Either as Select, join_all as futures_join_all, select},
    stream::FuturesUnordered,
};
use sim_core::{
    Node, NodeId, Sim,
    combine::{Either, join_all, race, yield_now},
    fault::{Fault, FaultKind, FaultPlan},
    net::rpc::Request,
    plan::Plan,
    record::{Ending, RecordingLevel},
    sync::{Mutex, Notify, Semaphore, channel, oneshot},
    time::{Duration, ms, secs},
};
use support::{Log, alone, panicked, run, world, world_with};

fn crash(at: Duration) -> FaultPlan {
    FaultPlan::none().with(Fault::at(at, "crash", FaultKind::Crash).on("node"))
}

// ---- order ----

#[test]
fn tasks_run_in_the_order_in_which_they_became_ready() {
    let lines = alone("node", FaultPlan::none(), async |node, log| {
        for task in 0..3 {
            let log = log.clone();
            node.spawn_detached(async move {
                for step in 0..2 {
                    log.say(format!("{task}.{step}"));
                    yield_now().await;
                }
            });
        }
        log.say("parent");
    });
    let order = ["parent", "0.0", "1.0", "2.0", "0.1", "1.1", "2.1"];
    assert_eq!(lines, order.map(|entry| format!("0s {entry}")));
}

#[test]
fn sleeps_that_end_together_wake_in_the_order_in_which_they_began() {
    let lines = alone("node", FaultPlan::none(), async |node, log| {
        // Begun at 0, 1, 2, ...; all end at 10.
        for task in 0..5 {
            let (me, log) = (node.clone(), log.clone());
            node.spawn_detached(async move {
                me.sleep(ms(task)).await;
                me.sleep(ms(10 - task)).await;
                log.note(&me, format!("{task}"));
            });
        }
    });
    assert_eq!(lines, ["10ms 0", "10ms 1", "10ms 2", "10ms 3", "10ms 4"]);
}

#[test]
fn nodes_start_in_the_order_in_which_they_were_added() {
    let log = Log::new();
    let mut sim = world();
    for name in ["b", "a", "c"] {
        let noted = log.clone();
        sim.node(name, async move |node| noted.say(node.name()));
    }
    run(sim);
    assert_eq!(log.texts(), ["b", "a", "c"]);
}

// ---- time-outs and races ----

#[test]
fn the_first_named_wins_a_race_that_both_would_win() {
    let lines = alone("node", FaultPlan::none(), async |node, log| {
        let both = race(node.sleep(ms(5)), node.sleep(ms(5))).await;
        log.note(&node, format!("{both:?}"));
        let second = race(node.sleep(ms(6)), node.sleep(ms(5))).await;
        log.note(&node, format!("{second:?}"));
        let tie = node.timeout(ms(5), node.sleep(ms(5))).await;
        log.note(&node, format!("{tie:?}"));
        let late = node.timeout(ms(5), node.sleep(ms(6))).await;
        log.note(&node, format!("{late:?}"));
    });
    assert_eq!(lines, ["5ms First(())", "10ms Second(())", "15ms Some(())", "20ms None"]);
}

#[test]
fn a_dropped_sleep_neither_happens_nor_prolongs_the_run() {
    let mut sim = world();
    sim.node("node", async |node| {
        for _ in 0..100 {
            assert_eq!(node.timeout(secs(9), node.sleep(ms(1))).await, Some(()));
        }
    });
    let recording = run(sim);
    assert_eq!(recording.ending, Ending::Quiet);
    assert_eq!(recording.ended.since_start(), ms(100));
    assert_eq!(recording.events, 100, "a hundred short sleeps and no long one");
}

#[test]
fn joined_futures_give_their_results_in_the_order_of_asking() {
    let lines = alone("node", FaultPlan::none(), async |node, log| {
        let naps = [7_u64, 3, 5].map(|time| {
            let node = node.clone();
            async move {
                node.sleep(ms(time)).await;
                time
            }
        });
        log.note(&node, format!("{:?}", join_all(naps).await));
        log.note(&node, format!("{:?}", node.spawn(async { 42 }).await));
    });
    assert_eq!(lines, ["7ms [7, 3, 5]", "7ms Some(42)"]);
}

// ---- how a run ends ----

#[test]
fn a_run_ends_when_nothing_is_left_to_happen_or_at_its_planned_end_or_when_it_is_told_to() {
    let ends = |code: fn(Node) -> std::pin::Pin<Box<dyn Future<Output = ()>>>| {
        let mut sim = world();
        sim.node("node", async move |node| code(node).await);
        let recording = run(sim);
        (recording.ending, recording.ended.since_start())
    };
    assert_eq!(ends(|node| Box::pin(async move { node.sleep(ms(3)).await })), (Ending::Quiet, ms(3)));
    assert_eq!(ends(|_| Box::pin(std::future::pending())), (Ending::Quiet, ms(0)));
    let forever = |node: Node| -> std::pin::Pin<Box<dyn Future<Output = ()>>> {
        Box::pin(async move {
            loop {
                node.sleep(secs(3)).await;
            }
        })
    };
    assert_eq!(ends(forever), (Ending::Until, secs(10)));
    // What happens at the end itself still happens.
    assert_eq!(ends(|node| Box::pin(async move { node.sleep(secs(10)).await })), (Ending::Quiet, secs(10)));
    let stops = |node: Node| -> std::pin::Pin<Box<dyn Future<Output = ()>>> {
        Box::pin(async move {
            node.sleep(secs(2)).await;
            node.stop_run();
            node.sleep(secs(2)).await;
        })
    };
    assert_eq!(ends(stops), (Ending::Stopped, secs(2)));
}

#[test]
fn a_panic_in_a_nodes_code_ends_the_run_and_names_the_node() {
    let mut sim = world();
    sim.node("calm", async |node| node.sleep(secs(1)).await);
    sim.node("nervous-3", async |node| {
        node.sleep(ms(7)).await;
        panic!("lost {} of {}", 3, 5);
    });
    let recording = sim.run().unwrap();
    assert_eq!(panicked(&recording), Some(("nervous-3", "lost 3 of 5")));
    assert_eq!(recording.ended.since_start(), ms(7));
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Ask;
impl Request for Ask {
    type Response = u32;
}

#[test]
fn a_panic_in_a_handler_ends_the_run_and_names_the_server() {
    let mut sim = world();
    let server = sim.node("server", async |node| {
        node.serve(async |_, Ask| panic!("no answer"));
        std::future::pending::<()>().await;
    });
    sim.node("client", async move |node| drop(node.call(server, &Ask).await));
    assert_eq!(panicked(&sim.run().unwrap()), Some(("server", "no answer")));
}

#[test]
fn a_panic_while_a_dead_task_is_dropped_ends_the_run_too() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("in a destructor");
        }
    }
    let mut sim = world_with(crash(ms(5)));
    sim.node("node", async |_| {
        let _bomb = Bomb;
        std::future::pending::<()>().await;
    });
    let recording = sim.run().unwrap();
    assert_eq!(panicked(&recording).map(|(_, message)| message), Some("in a destructor"));
}

// ---- crashes ----

/// Does everything that a handle can do, when it is dropped.
struct LastWill {
    node: Node,
    peer: NodeId,
    log: Log,
}

impl Drop for LastWill {
    fn drop(&mut self) {
        let node = &self.node;
        self.log.say(format!("dropped in {}", node.incarnation()));
        let log = self.log.clone();
        node.spawn_detached(async move { log.say("a task ran") });
        let log = self.log.clone();
        drop(node.spawn(async move { log.say("a task ran") }));
        node.send(self.peer, &"from the grave".to_owned());
        node.state("will", "done");
        node.counter("wills").increment();
        node.gauge("will").set(1.0);
        node.invoke(0, "will", "", &1).ok(&1);
        node.always("the dead are silent", false, || "they are not".to_owned());
        node.trace("will").instant();
        drop(node.span("will").run(async {}));
        drop(node.allocate(1 << 40));
        drop(node.sleep(ms(1)));
        drop(node.work(ms(1)));
        drop(node.mailbox::<String>());
        node.serve(async |_, Ask| 1);
        drop(node.file("will").append(b"all"));
        drop(node.disk().list(""));
        drop(node.call(self.peer, &Ask));
        node.crash("twice");
        node.stop_run();
    }
}

/// A run in which a node with a will dies; gives the log and the recording.
fn die(faults: FaultPlan, suicide: bool) -> (Vec<String>, sim_core::record::Recording) {
    let log = Log::new();
    let mut sim = world_with(faults);
    let noted = log.clone();
    let peer = sim.node("peer", async move |node| {
        let mut mailbox = node.mailbox::<String>();
        node.timeout(secs(1), async {
            loop {
                noted.say(mailbox.recv().await.message);
            }
        })
        .await;
    });
    let noted = log.clone();
    sim.node("node", async move |node| {
        if node.incarnation() > 0 {
            noted.say("again");
            return;
        }
        let will = || LastWill { node: node.clone(), peer, log: noted.clone() };
        let (first, second) = (will(), will());
        let me = node.clone();
        node.spawn_detached(async move {
            let _will = first;
            me.sleep(secs(1)).await;
        });
        let _will = second;
        node.sleep(ms(5)).await;
        if suicide {
            node.crash("enough");
            node.send(peer, &"after the crash".to_owned());
            node.state("after", "crash");
        }
        node.sleep(secs(1)).await;
        noted.say("never");
    });
    let recording = run(sim);
    (log.texts(), recording)
}

#[test]
fn futures_of_a_crashed_node_are_dropped_and_what_they_do_on_the_way_has_no_effect() {
    let by_fault = crash(ms(5));
    let and_restart = FaultPlan::none().with(Fault::at(ms(5), "restart", FaultKind::Restart).on("node"));
    for (faults, suicide, again) in
        [(by_fault, false, false), (FaultPlan::none(), true, false), (and_restart, false, true)]
    {
        let (texts, recording) = die(faults, suicide);
        let mut expected = vec!["dropped in 0", "dropped in 0"];
        if again {
            expected.push("again");
        }
        assert_eq!(texts, expected);
        assert_eq!(recording.ending, Ending::Quiet);
        assert_eq!(recording.ended.since_start(), secs(1), "only the peer waits for its second");
        assert!(
            recording.messages.is_empty() && recording.operations.is_empty() && recording.spans.is_empty()
        );
        assert!(recording.properties.is_empty());
        assert!(recording.metrics.iter().all(|series| series.points.is_empty()));
        let keys: Vec<&str> = recording.states.iter().map(|state| recording.text(state.key)).collect();
        assert!(keys.iter().all(|key| *key == "process"), "{keys:?}");
    }
}

#[test]
fn at_the_end_of_a_run_everything_is_dropped_and_nothing_acts() {
    let (log, other) = (Log::new(), Log::new());
    let mut sim = world();
    let noted = log.clone();
    let peer = sim.node("peer", async |_| std::future::pending().await);
    sim.node("node", async move |node| {
        let _will = LastWill { node: node.clone(), peer, log: noted.clone() };
        node.sleep(secs(100)).await;
    });
    let recording = run(sim);
    assert_eq!(log.texts(), ["dropped in 0"]);
    assert!(recording.messages.is_empty() && recording.states.is_empty() && recording.operations.is_empty());
    // And a world that never runs is dropped in silence.
    let noted = other.clone();
    let mut sim = world();
    sim.node("node", async move |_| noted.say("ran"));
    drop(sim);
    assert!(other.texts().is_empty());
}

#[test]
fn tasks_of_other_nodes_and_of_the_next_incarnation_live_on() {
    let log = Log::new();
    let faults = FaultPlan::none().with(Fault::at(ms(5), "restart", FaultKind::Restart).on("node"));
    let mut sim = world_with(faults);
    for name in ["node", "other"] {
        let noted = log.clone();
        sim.node(name, async move |node| {
            let (me, log) = (node.clone(), noted.clone());
            node.spawn_detached(async move {
                me.sleep(ms(10)).await;
                log.note(&me, format!("{} {}", me.name(), me.incarnation()));
            });
        });
    }
    run(sim);
    assert_eq!(log.lines(), ["10ms other 0", "15ms node 1"]);
}

#[test]
fn a_handler_can_spawn_tasks_that_outlive_it() {
    let log = Log::new();
    let mut sim = world();
    let noted = log.clone();
    let server = sim.node("server", async move |node| {
        let noted = noted.clone();
        node.serve(async move |call, Ask| {
            let (me, log) = (call.node().clone(), noted.clone());
            call.node().spawn_detached(async move {
                me.sleep(ms(100)).await;
                log.note(&me, "later");
            });
            7
        });
        std::future::pending::<()>().await;
    });
    let noted = log.clone();
    sim.node("client", async move |node| {
        let answer = node.call(server, &Ask).await.unwrap();
        noted.note(&node, format!("answer {answer}"));
    });
    run(sim);
    // A round trip of 1 ms for the handshake, one for the call; the handler ran in the middle of the second.
    assert_eq!(log.lines(), ["2ms answer 7", "101.5ms later"]);
}

// ---- synchronisation ----

#[test]
fn a_semaphore_a_mutex_and_a_channel_serve_in_order_of_asking() {
    let lines = alone("node", FaultPlan::none(), async |node, log| {
        let semaphore = Semaphore::new(2);
        let total = Mutex::new(0_u64);
        let (sender, receiver) = channel();
        for task in 0..6_u64 {
            let (me, semaphore, total, sender) =
                (node.clone(), semaphore.clone(), total.clone(), sender.clone());
            node.spawn_detached(async move {
                let _permit = semaphore.acquire().await;
                me.sleep(ms(10)).await;
                let mut total = total.lock().await;
                me.sleep(ms(1)).await;
                *total += task;
                sender.send((task, *total)).unwrap();
            });
        }
        drop(sender);
        while let Some((task, total)) = receiver.recv().await {
            log.note(&node, format!("{task} {total}"));
        }
    });
    // Two at a time for 10 ms, then one by one through the lock; the permit is held until after it.
    assert_eq!(lines, ["11ms 0 0", "12ms 1 1", "22ms 2 3", "23ms 3 6", "33ms 4 10", "34ms 5 15"]);
}

#[test]
fn a_oneshot_and_a_bell_carry_news_between_tasks() {
    let lines = alone("node", FaultPlan::none(), async |node, log| {
        let (sender, receiver) = oneshot();
        let bell = Notify::new();
        for listener in 0..2 {
            let (me, bell, log) = (node.clone(), bell.clone(), log.clone());
            node.spawn_detached(async move {
                bell.notified().await;
                log.note(&me, format!("rang for {listener}"));
            });
        }
        let (me, rope) = (node.clone(), bell.clone());
        node.spawn_detached(async move {
            me.sleep(ms(3)).await;
            sender.send("news");
            me.sleep(ms(3)).await;
            rope.notify_all();
        });
        log.note(&node, receiver.await.unwrap());
        let (sender, receiver) = oneshot::<u8>();
        drop(sender);
        log.note(&node, format!("{:?}", receiver.await));
    });
    assert_eq!(lines, ["3ms news", "3ms None", "6ms rang for 0", "6ms rang for 1"]);
}

// ---- the combinators of futures-util ----

/// A bit of everything: gives the order in which things ended.
fn combined(seed: u64) -> (Vec<String>, sim_core::record::RunHash) {
    let log = Log::new();
    let mut sim = Sim::new(&Plan::new("combined", seed, secs(10)), RecordingLevel::Full);
    let noted = log.clone();
    sim.node("node", async move |node| {
        let mut rng = node.rng("naps");
        let naps: Vec<u64> = (0..30).map(|_| rng.below(10)).collect();
        let nap = |task: usize| {
            let (node, time) = (node.clone(), naps[task]);
            async move {
                node.sleep(ms(time)).await;
                task
            }
        };
        let mut set: FuturesUnordered<_> = (0..30).map(nap).collect();
        let order = Rc::new(RefCell::new(Vec::new()));
        while let Some(task) = set.next().await {
            order.borrow_mut().push(task);
        }
        let times: Vec<u64> = order.borrow().iter().map(|task| naps[*task]).collect();
        assert!(times.is_sorted(), "{times:?}");
        noted.note(&node, format!("{:?}", order.borrow()));
        let all = futures_join_all((0..30).map(nap)).await;
        assert_eq!(all, (0..30).collect::<Vec<_>>());
        noted.note(&node, "joined");
        match select(Box::pin(nap(3)), Box::pin(nap(3))).await {
            Select::Left(_) => noted.note(&node, "left"),
            Select::Right(_) => noted.note(&node, "right"),
        }
        match race(nap(3), nap(3)).await {
            Either::First(_) => noted.note(&node, "first"),
            Either::Second(_) => noted.note(&node, "second"),
        }
    });
    let recording = run(sim);
    (log.lines(), recording.run_hash)
}

#[test]
fn the_usual_combinators_work_and_give_the_same_run_each_time() {
    let (lines, hash) = combined(5);
    assert_eq!((lines.clone(), hash), combined(5));
    assert_ne!(lines[0], combined(6).0[0]);
    assert!(lines[2].ends_with("left") && lines[3].ends_with("first"), "{lines:?}");
}

#[test]
fn a_set_of_ten_thousand_sleeps_ends_in_order_of_time() {
    let lines = alone("node", FaultPlan::none(), async |node, log| {
        let mut set = FuturesUnordered::new();
        for n in 0..10_000_u64 {
            let (me, time) = (node.clone(), n * 7_919 % 10_000);
            set.push(async move {
                me.sleep(Duration::from_nanos(time + 1)).await;
                time
            });
        }
        let mut expected = 0;
        while let Some(time) = set.next().await {
            assert_eq!(time, expected);
            expected += 1;
        }
        log.note(&node, format!("{expected}"));
    });
    assert_eq!(lines, ["10us 10000"]);
}
