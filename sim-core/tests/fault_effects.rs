//! What a fault counts as touched: only what came out otherwise than without it.
//!
//! Goal: for each kind, a fault that bites counts what it did, and one that changes nothing counts nothing, be it that nobody
//! was there to feel it or that its value changes nothing. Method: the same small world under two faults of one kind.

mod common;

use common::*;
use sim_core::{
    Node, NodeId, NodeSpec, Sim,
    combine::join,
    fault::{DiskFault, Fault, FaultKind, LinkChange, Offset, PacketAction, PacketRule, Partition},
    machine::{Discipline, DiskSpec, disk::CrashPolicy, disk::DiskError},
    net::{Link, rpc::Request},
    protocol::{Out, Protocol},
    record::RecordingLevel,
    rng::Delay,
    time::{Duration, ms, secs, us},
};

fn fault_at(start: u64, what: impl Into<FaultKind>) -> Fault {
    Fault::at(ms(start), "f", what).on("n")
}

/// How much a fault touched in a world with one node, `n`.
fn touched_alone(fault: Fault, code: impl AsyncFn(Node) + Send + 'static) -> u64 {
    touched_on("n", fault, code)
}
fn touched_on(spec: impl Into<NodeSpec>, fault: Fault, code: impl AsyncFn(Node) + Send + 'static) -> u64 {
    let mut sim = Sim::new(&with([fault]), RecordingLevel::Full);
    sim.node(spec, code);
    let recording = sim.run().unwrap();
    assert!(!matches!(recording.ending, sim_core::record::Ending::Panicked { .. }), "{:?}", recording.ending);
    touched(&recording, "f")
}

/// Waits for ever without a timer, as a server without work does.
async fn idle(_: Node) {
    std::future::pending::<()>().await;
}

// ---- processes ----

#[test]
fn a_crash_counts_the_processes_that_died() {
    for kind in [FaultKind::Crash, FaultKind::PowerFailure] {
        assert_eq!(touched_alone(fault_at(5, kind.clone()), idle), 1);
        assert_eq!(touched_alone(fault_at(0, kind.clone()), idle), 1, "it was about to start");
        let gone = async |node: Node| node.crash("by itself");
        assert_eq!(touched_alone(fault_at(5, kind), gone), 0);
    }
}

#[test]
fn a_restart_counts_those_that_started_by_it() {
    assert_eq!(touched_alone(fault_at(5, FaultKind::Restart), idle), 1);
    let gone = async |node: Node| {
        if node.incarnation() == 0 {
            node.crash("by itself");
        }
    };
    assert_eq!(touched_alone(fault_at(5, FaultKind::Restart), gone), 1);
    assert_eq!(touched_alone(fault_at(0, FaultKind::Restart), idle), 0, "it starts at 0 anyway");
}

#[test]
fn a_node_that_is_named_twice_is_meant_once() {
    let twice = sim_core::fault::Target::Nodes(vec!["n".into(), "n".into()]);
    let jump = Fault::at(ms(5), "f", FaultKind::ClockJump(Offset::ahead(secs(1)))).on(twice);
    let read = async |node: Node| {
        node.sleep(ms(10)).await;
        assert_eq!(node.wall().since_run_start(), 1_010_000_000);
    };
    assert_eq!(touched_alone(jump, read), 1);
}

// ---- pauses ----

fn pause() -> Fault {
    fault_at(5, FaultKind::Pause).lasting(ms(50))
}

#[test]
fn a_pause_counts_what_it_held_up() {
    assert_eq!(touched_alone(pause(), async |node| node.work(ms(10)).await), 1, "work on a core");
    assert_eq!(touched_alone(pause(), async |node| node.sleep(ms(10)).await), 1, "a timer");
    let reads = async |node: Node| {
        let file = node.file("log");
        file.append(&[0; 4_000]).await.unwrap();
        until(&node, ms(4)).await;
        file.sync().await.unwrap();
    };
    let slow = DiskSpec { fsync: ms(10), ..DiskSpec::default() };
    assert_eq!(
        touched_on(NodeSpec::new("n").disk(slow), pause(), reads),
        1,
        "a task that its disk had woken"
    );
    let both = Discipline::Sharing;
    let shared = async |node: Node| {
        join(node.work(ms(10)), node.work(ms(10))).await;
    };
    assert_eq!(touched_on(NodeSpec::new("n").discipline(both), pause(), shared), 2, "shared work");
    let starts = async |node: Node| {
        if node.incarnation() == 0 {
            node.crash("by itself");
        }
    };
    let restart = Fault::at(ms(20), "restart", FaultKind::Restart).on("n");
    let mut sim = Sim::new(&with([pause(), restart]), RecordingLevel::Full);
    sim.node("n", starts);
    assert_eq!(touched(&sim.run().unwrap(), "f"), 1, "a start");
}

#[test]
fn a_pause_of_who_does_nothing_counts_nothing() {
    assert_eq!(touched_alone(pause(), idle), 0);
    assert_eq!(touched_alone(pause(), async |node| node.sleep(ms(100)).await), 0, "a timer after its end");
    assert_eq!(touched_alone(pause(), async |node| node.work(ms(5)).await), 1, "it was due at that instant");
    assert_eq!(touched_alone(pause(), async |node| node.work(ms(4)).await), 0);
    assert_eq!(touched_alone(pause(), async |node| node.crash("by itself")), 0);
    let instant = fault_at(5, FaultKind::Pause).lasting(Duration::ZERO);
    assert_eq!(touched_alone(instant, async |node| node.work(ms(10)).await), 0);
}

/// A node sends a note to `n` at 20 ms, or connects to it, while `n` is paused; `n` may be down.
fn post_to_a_paused_node(down: bool, connect: bool) -> u64 {
    let mut sim = Sim::new(&with([pause()]), RecordingLevel::Full);
    let n = sim.node("n", async move |node| {
        if down {
            node.crash("by itself");
        }
        drop((node.mailbox::<Message>(), node.listen(7)));
        std::future::pending::<()>().await;
    });
    sim.node("other", async move |node| {
        node.sleep(ms(20)).await;
        if connect {
            drop(node.connect(n, 7).await);
        } else {
            node.send(n, &note(1));
        }
    });
    touched(&sim.run().unwrap(), "f")
}

#[test]
fn a_pause_counts_packets_that_somebody_would_have_got_at_once() {
    assert_eq!(post_to_a_paused_node(false, false), 1);
    assert_eq!(post_to_a_paused_node(false, true), 1);
    assert_eq!(post_to_a_paused_node(true, false), 0, "it is lost, now or later");
    assert_eq!(post_to_a_paused_node(true, true), 1, "it is refused, and hears of it later");
}

// ---- slowness ----

fn slow(factor: f64) -> Fault {
    fault_at(5, FaultKind::Slow(factor)).lasting(ms(50))
}

#[test]
fn a_slow_fault_counts_each_piece_of_work_that_took_another_time_once() {
    for discipline in [Discipline::Fifo, Discipline::Sharing] {
        let count = |fault: Fault, code: fn(Node) -> std::pin::Pin<Box<dyn Future<Output = ()>>>| {
            touched_on(NodeSpec::new("n").discipline(discipline), fault, code)
        };
        assert_eq!(count(slow(2.0), |n| Box::pin(async move { n.work(ms(10)).await })), 1);
        assert_eq!(count(slow(0.5), |n| Box::pin(async move { n.work(ms(10)).await })), 1, "faster is other");
        let three = |n: Node| -> std::pin::Pin<Box<dyn Future<Output = ()>>> {
            Box::pin(async move {
                for _ in 0..4 {
                    n.work(ms(3)).await;
                }
            })
        };
        assert_eq!(count(slow(2.0), three), 3, "the first was done before");
        assert_eq!(count(slow(1.0), three), 0, "a factor of 1 changes nothing");
        assert_eq!(count(slow(2.0), |n| Box::pin(idle(n))), 0, "nobody works");
        assert_eq!(count(slow(2.0), |n| Box::pin(async move { n.work(ms(5)).await })), 0, "it was done then");
        assert_eq!(
            count(slow(2.0), |n| Box::pin(async move { n.sleep(ms(10)).await })),
            0,
            "sleep is no work"
        );
        assert_eq!(count(slow(2.0), |n| Box::pin(async move { n.crash("by itself") })), 0);
        let instant = fault_at(5, FaultKind::Slow(2.0)).lasting(Duration::ZERO);
        assert_eq!(count(instant, |n| Box::pin(async move { n.work(ms(10)).await })), 0);
    }
}

#[test]
fn overlapping_slow_faults_count_a_piece_of_work_each_and_none_counts_it_twice() {
    let faults = [slow(2.0), Fault::at(ms(10), "g", FaultKind::Slow(3.0)).on("n").lasting(ms(10))];
    let (_, recording) = alone(faults, async |node, _| node.work(ms(40)).await);
    assert_eq!((touched(&recording, "f"), touched(&recording, "g")), (1, 1));
    // While the node stands still it is not slow: this one comes and goes meanwhile.
    let faults = [
        Fault::at(ms(2), "pause", FaultKind::Pause).on("n").lasting(ms(100)),
        slow(2.0),
        Fault::at(ms(50), "g", FaultKind::Slow(3.0)).on("n").lasting(ms(100)),
    ];
    let (_, recording) = alone(faults, async |node, _| node.work(ms(40)).await);
    assert_eq!((touched(&recording, "f"), touched(&recording, "g")), (0, 1));
}

// ---- memory ----

#[test]
fn a_memory_limit_counts_what_the_nodes_own_would_not_have_done() {
    let run = |own: Option<u64>, limit: u64, used: u64| {
        let spec = NodeSpec::new("n");
        let spec = if let Some(own) = own { spec.memory_limit(own) } else { spec };
        touched_on(spec, fault_at(5, FaultKind::MemoryLimit(limit)), async move |node| {
            until(&node, ms(10)).await;
            if node.incarnation() == 0 {
                let _held = node.allocate(used);
                node.sleep(ms(10)).await;
            }
        })
    };
    assert_eq!(run(None, 500, 600), 1, "killed by it");
    assert_eq!(run(None, 500, 500), 0, "nobody comes near");
    assert_eq!(run(Some(400), 500, 450), 1, "spared by it");
    assert_eq!(run(Some(400), 500, 600), 0, "killed, and would have been");
    assert_eq!(run(Some(400), 500, 300), 0);
}

#[test]
fn of_two_memory_limits_the_one_counts_that_is_exceeded() {
    let limit = |name: &str, bytes| Fault::at(ms(5), name, FaultKind::MemoryLimit(bytes)).on("n");
    let (_, recording) = alone([limit("low", 500), limit("high", 1_000)], async |node, _| {
        until(&node, ms(10)).await;
        let _held = node.allocate(600);
        node.sleep(ms(10)).await;
    });
    assert_eq!((touched(&recording, "low"), touched(&recording, "high")), (1, 0));
}

// ---- clocks ----

#[test]
fn a_clock_jump_counts_the_readings_of_the_wall_clock_that_it_changed() {
    let jump = |by| fault_at(5, FaultKind::ClockJump(by)).lasting(ms(10));
    let read = async |node: Node| {
        for step in [1, 6, 7, 20] {
            until(&node, ms(step)).await;
            node.wall();
        }
    };
    assert_eq!(touched_alone(jump(Offset::behind(secs(1))), read), 2);
    assert_eq!(touched_alone(jump(Offset::ahead(Duration::ZERO)), read), 0, "no jump at all");
    let other = async |node: Node| {
        for _ in 0..5 {
            node.sleep(ms(3)).await;
            node.monotonic();
        }
    };
    assert_eq!(touched_alone(jump(Offset::ahead(secs(1))), other), 0, "no timer and no time-out looks at it");
    assert_eq!(touched_alone(jump(Offset::ahead(secs(1))), async |node| node.crash("by itself")), 0);
}

#[test]
fn a_drift_counts_readings_and_timers_that_it_changed() {
    let drift = |ppm| fault_at(5, FaultKind::ClockDrift(ppm)).lasting(ms(10));
    let wait = async |node: Node| node.sleep(ms(8)).await;
    assert_eq!(touched_alone(drift(100_000.0), wait), 1, "a timer that was running");
    let later = async |node: Node| {
        until(&node, ms(3)).await;
        node.sleep(ms(3)).await; // over at 6 ms: moved, and the next one set under the drift
        node.sleep(ms(3)).await;
    };
    assert_eq!(touched_alone(drift(100_000.0), later), 2);
    let read = async |node: Node| {
        until(&node, ms(4)).await;
        node.work(ms(3)).await;
        node.monotonic();
        node.wall();
        node.work(ms(20)).await;
        node.monotonic();
    };
    assert_eq!(touched_alone(drift(100_000.0), read), 3, "what is gained stays");

    assert_eq!(touched_alone(drift(0.0), later), 0, "no drift at all");
    assert_eq!(touched_alone(drift(100_000.0), async |node| node.work(ms(50)).await), 0, "nobody looks");
    assert_eq!(touched_alone(drift(100_000.0), idle), 0);
    let after = async |node: Node| {
        node.work(ms(20)).await;
        node.sleep(ms(10)).await;
    };
    assert_eq!(touched_alone(drift(100_000.0), after), 0, "a timer after its end takes as long as ever");
    // 1 ppm of a microsecond is less than a nanosecond.
    let short = async |node: Node| {
        node.work(ms(6)).await;
        node.sleep(us(1)).await;
    };
    assert_eq!(touched_alone(drift(1.0), short), 0);
    let instant = fault_at(5, FaultKind::ClockDrift(100_000.0)).lasting(Duration::ZERO);
    assert_eq!(touched_alone(instant, wait), 0);
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Ask;
impl Request for Ask {
    type Response = ();
}

#[test]
fn a_drift_counts_deadlines_of_calls() {
    let run = |deadline: bool| {
        let drift = Fault::at(ms(5), "f", FaultKind::ClockDrift(1_000.0)).on("n");
        let mut sim = Sim::new(&with([drift]), RecordingLevel::Full);
        let server = sim.node("server", async |node| node.serve(async |_, _: Ask| ()));
        sim.node("n", async move |node| {
            node.work(ms(10)).await;
            let call = node.call(server, &Ask);
            if deadline { call.deadline(secs(1)).await.unwrap() } else { call.await.unwrap() }
        });
        touched(&sim.run().unwrap(), "f")
    };
    assert_eq!(run(true), 1);
    assert_eq!(run(false), 0);
}

/// Looks at one clock, or at none, when its one timer fires.
struct Looker {
    at: u8,
}
impl Protocol for Looker {
    type Config = u8;
    type Message = ();
    type Command = ();
    type Event = ();
    type Record = ();
    type Timer = ();
    fn restore(at: &u8, _: Vec<()>, out: &mut Out<Self>) -> Self {
        out.arm((), ms(10));
        Self { at: *at }
    }
    fn on_command(&mut self, (): (), _: &mut Out<Self>) {}
    fn on_message(&mut self, _: NodeId, (): (), _: &mut Out<Self>) {}
    fn on_timer(&mut self, (): (), out: &mut Out<Self>) {
        match self.at {
            0 => {}
            1 => drop(out.now()),
            _ => drop(out.wall()),
        }
    }
}

#[test]
fn a_protocol_that_looks_at_a_clock_is_touched_and_one_that_does_not_is_not() {
    let run = |what: FaultKind, at: u8| {
        touched_alone(fault_at(5, what), async move |node| {
            node.host::<Looker>(at).await.next().await;
        })
    };
    let jump = || FaultKind::ClockJump(Offset::ahead(secs(1)));
    assert_eq!([0, 1, 2].map(|at| run(jump(), at)), [0, 0, 1]);
    // A drift also moves the timer.
    assert_eq!([0, 1, 2].map(|at| run(FaultKind::ClockDrift(1_000.0), at)), [1, 2, 2]);
}

// ---- load ----

#[test]
fn a_load_fault_counts_the_requests_that_asked_under_it() {
    let load = |factor| fault_at(15, FaultKind::Load(factor)).lasting(ms(20));
    let generator = async |node: Node| {
        for _ in 0..6 {
            node.load_factor();
            node.sleep(ms(10)).await;
        }
    };
    assert_eq!(touched_alone(load(3.0), generator), 2);
    assert_eq!(touched_alone(load(0.0), generator), 2);
    assert_eq!(touched_alone(load(1.0), generator), 0);
    assert_eq!(touched_alone(load(3.0), idle), 0, "nobody generates load");
    let looks = async |node: Node| {
        for _ in 0..6 {
            node.load_factor_ahead();
            node.sleep(ms(10)).await;
        }
    };
    assert_eq!(touched_alone(load(3.0), looks), 0, "to look is not to send");
}

// ---- packets ----

/// Ten notes, one each 10 ms from 0 on, over a link, under a fault from 5 ms to 55 ms.
fn posted(what: impl Into<FaultKind>, link: Link) -> u64 {
    let fault = Fault::at(ms(5), "f", what).lasting(ms(50)).on("a");
    touched(&post(&with([fault]), link, 10, ms(10)).1, "f")
}
fn plain() -> Link {
    Link::constant(ms(1))
}

#[test]
fn a_partition_counts_the_packets_that_it_stopped() {
    assert_eq!(posted(Partition::Isolate, plain()), 5);
    let back = Partition::OneWay { from: vec!["b".into()], to: vec!["a".into()] };
    assert_eq!(posted(back, plain()), 0);
}

#[test]
fn a_link_fault_counts_the_packets_that_fared_otherwise() {
    let with_delay = |delay| LinkChange::delay(Delay::constant(delay));
    assert_eq!(posted(with_delay(ms(2)), plain()), 5);
    assert_eq!(posted(with_delay(ms(1)), plain()), 0, "the delay that it has");
    assert_eq!(posted(LinkChange::default(), plain()), 0, "no change at all");
    assert_eq!(posted(LinkChange::slower_by(ms(1)), plain().loss(1.0)), 0, "they are lost anyway");
    assert_eq!(posted(LinkChange::loss(1.0), plain().loss(1.0)), 0);
    assert_eq!(posted(LinkChange::loss(0.0), plain().loss(1.0)), 5, "they are not lost any more");
    assert_eq!(posted(LinkChange::duplication(1.0), plain()), 5);
    assert_eq!(posted(LinkChange::duplication(1.0), plain().duplication(1.0)), 0);
    assert_eq!(posted(LinkChange::duplication(0.0), plain().duplication(1.0)), 5);
    assert_eq!(posted(LinkChange::corruption(1.0), plain()), 5);
    assert_eq!(posted(LinkChange::corruption(0.0), plain()), 0);
    let narrow = |bandwidth| LinkChange { bandwidth: Some(bandwidth), ..LinkChange::default() };
    assert_eq!(posted(narrow(1_000_000), plain()), 5);
    assert_eq!(posted(narrow(1_000_000), plain().bandwidth(1_000_000, 10_000)), 0);
    // 40 bytes of queue: 37 bytes take 370 ms, and the next ones find no room.
    let tiny = Link { queue: 40, ..plain() };
    assert_eq!(posted(narrow(100), tiny), 5, "one is held up, four find the queue full");
}

#[test]
fn a_fault_that_ends_a_burst_of_losses_counts_what_got_through() {
    // All packets but the first are lost without it: the chain worsens at the first and never recovers.
    let burst = sim_core::net::Loss::Bursty { worsens: 1.0, recovers: 0.0, good: 0.0, bad: 1.0 };
    assert_eq!(posted(LinkChange::loss(0.0), Link { loss: burst, ..plain() }), 5);
    assert_eq!(posted(LinkChange::loss(1.0), Link { loss: burst, ..plain() }), 0);
}

#[test]
fn of_two_faults_that_set_one_property_the_later_counts() {
    let set = |name: &str, delay| {
        Fault::at(ms(5), name, LinkChange::delay(Delay::constant(ms(delay)))).lasting(ms(50))
    };
    let (_, recording) = post(&with([set("f", 2), set("g", 3)]), plain(), 10, ms(10));
    assert_eq!((touched(&recording, "f"), touched(&recording, "g")), (0, 5));
}

#[test]
fn a_rule_counts_the_packets_to_which_it_made_a_difference() {
    let rule = |action| FaultKind::Packets(PacketRule::all(action));
    let (lossy, doubling) = (plain().loss(1.0), plain().duplication(1.0));
    assert_eq!(posted(rule(PacketAction::Drop), plain()), 5);
    assert_eq!(posted(rule(PacketAction::Drop), lossy.clone()), 0, "they are lost anyway");
    assert_eq!(posted(rule(PacketAction::Delay(ms(1))), plain()), 5);
    assert_eq!(posted(rule(PacketAction::Delay(Duration::ZERO)), plain()), 0);
    assert_eq!(posted(rule(PacketAction::Delay(ms(1))), lossy.clone()), 0);
    assert_eq!(posted(rule(PacketAction::Duplicate), plain()), 5);
    assert_eq!(posted(rule(PacketAction::Duplicate), doubling), 0, "they come twice anyway");
    assert_eq!(posted(rule(PacketAction::Corrupt), plain()), 5);
    assert_eq!(posted(rule(PacketAction::Corrupt), lossy.clone()), 0);
    assert_eq!(posted(rule(PacketAction::Pass), lossy), 5, "they are spared");
    assert_eq!(posted(rule(PacketAction::Pass), plain()), 0, "they would have passed");
    let other = PacketRule::all(PacketAction::Drop).kind("Ping");
    assert_eq!(posted(FaultKind::Packets(other), plain()), 0);
}

#[test]
fn what_a_stream_cannot_do_to_its_segments_counts_nothing() {
    let run = |action| {
        let rule = PacketRule::all(action).kind("Note").nth(1);
        let mut sim = Sim::new(&with([Fault::at(ms(0), "f", rule)]), RecordingLevel::Full);
        let b = sim.node("b", async |node| {
            let mut stream = node.listen(1).accept().await;
            while let Ok(Some(_)) = stream.recv::<Message>().await {}
        });
        sim.node("a", async move |node| {
            let stream = node.connect(b, 1).await.unwrap();
            stream.send(&note(1)).unwrap();
            node.sleep(secs(2)).await;
        });
        touched(&sim.run().unwrap(), "f")
    };
    assert_eq!(run(PacketAction::Duplicate), 0, "segments come once");
    assert_eq!(run(PacketAction::Corrupt), 1, "a damaged segment is lost");
}

// ---- disks ----

fn disk(what: DiskFault) -> Fault {
    fault_at(50, FaultKind::Disk(what)).lasting(ms(50))
}

#[test]
fn a_disk_fault_counts_the_operations_that_failed_by_it() {
    let changes = async |node: Node| {
        let file = node.file("log");
        file.append(b"before").await.unwrap();
        file.sync().await.unwrap();
        until(&node, ms(60)).await;
        let disk = node.disk();
        let _ = (file.append(b"more").await, file.truncate(3), file.sync().await);
        let _ = (disk.rename("log", "old"), disk.delete("old"));
    };
    assert_eq!(touched_alone(disk(DiskFault::IoError), changes), 5);
    assert_eq!(touched_alone(disk(DiskFault::FailSync), changes), 1);
    assert_eq!(touched_alone(disk(DiskFault::Full), changes), 1);
    for what in [DiskFault::IoError, DiskFault::FailSync, DiskFault::Full] {
        assert_eq!(touched_alone(disk(what.clone()), idle), 0, "{what:?}");
        let reads = async |node: Node| {
            let file = node.file("log");
            file.append(b"before").await.unwrap();
            file.sync().await.unwrap();
            until(&node, ms(200)).await;
            file.read_all().await.unwrap();
        };
        assert_eq!(touched_alone(disk(what.clone()), reads), 0, "{what:?}");
    }
}

#[test]
fn a_full_disk_counts_what_the_disk_itself_would_have_taken() {
    let run = |capacity: u64| {
        let spec = DiskSpec { capacity: Some(capacity), ..DiskSpec::default() };
        touched_on(NodeSpec::new("n").disk(spec), disk(DiskFault::Full), async |node| {
            let file = node.file("log");
            file.append(&[1; 100]).await.unwrap();
            until(&node, ms(60)).await;
            assert_eq!(file.append(&[1; 100]).await, Err(DiskError::NoSpace));
            assert_eq!(file.truncate(200), Err(DiskError::NoSpace));
            assert_eq!(file.preallocate(200), Err(DiskError::NoSpace));
        })
    };
    assert_eq!(run(200), 3);
    assert_eq!(run(199), 0, "there is no room for it anyway");
}

#[test]
fn write_back_that_fails_counts_for_the_fault_that_made_it_fail() {
    let spec = DiskSpec { write_back: Some(ms(30)), ..DiskSpec::default() };
    let run = |what: DiskFault, start: u64| {
        touched_on(NodeSpec::new("n").disk(spec), disk(what), async move |node| {
            let file = node.file("log");
            file.append(b"clean").await.unwrap();
            file.sync().await.unwrap();
            until(&node, ms(start)).await;
            file.append(b"dirty").await.unwrap();
            until(&node, ms(200)).await;
        })
    };
    assert_eq!(run(DiskFault::IoError, 40), 1);
    assert_eq!(run(DiskFault::FailSync, 40), 1);
    assert_eq!(run(DiskFault::FailSync, 110), 0);
    assert_eq!(run(DiskFault::FailSync, 10), 0, "it is clean by then");
}

#[test]
fn a_slow_disk_counts_the_operations_that_took_another_time() {
    let reads = async |node: Node| {
        let file = node.file("log");
        file.append(&[1; 500]).await.unwrap();
        for start in [10, 60, 110] {
            until(&node, ms(start)).await;
            file.read(0, 500).await.unwrap();
            file.append(&[1; 500]).await.unwrap();
        }
    };
    assert_eq!(touched_alone(disk(DiskFault::Slow(3.0)), reads), 2);
    assert_eq!(touched_alone(disk(DiskFault::Slow(1.0)), reads), 0);
    assert_eq!(touched_alone(disk(DiskFault::Slow(3.0)), idle), 0);
    let at_once = DiskSpec { write: Duration::ZERO, ..DiskSpec::default() };
    let writes = async |node: Node| {
        until(&node, ms(60)).await;
        node.file("log").append(&[1; 500]).await.unwrap();
    };
    assert_eq!(touched_on(NodeSpec::new("n").disk(at_once), disk(DiskFault::Slow(3.0)), writes), 0);
    // What is on the device takes its time, what waits for it takes longer.
    let slow_device = DiskSpec { read: ms(20), ..DiskSpec::default() };
    let queued = async |node: Node| {
        node.file("log").append(&[1; 500]).await.unwrap();
        until(&node, ms(40)).await;
        let (first, second) = (node.file("log"), node.file("log"));
        let (first, second) = join(first.read(0, 1), second.read(0, 1)).await;
        drop((first.unwrap(), second.unwrap()));
    };
    assert_eq!(touched_on(NodeSpec::new("n").disk(slow_device), disk(DiskFault::Slow(3.0)), queued), 1);
}

#[test]
fn a_crash_policy_counts_the_crashes_that_it_made_end_otherwise() {
    let run = |policy: CrashPolicy, sync: bool| {
        let plan = [
            fault_at(5, FaultKind::Disk(DiskFault::CrashPolicy(policy))),
            Fault::at(ms(50), "power", FaultKind::PowerFailure).on("n").lasting(ms(10)),
        ];
        let (_, recording) = alone(plan, async move |node, _| {
            if node.incarnation() == 0 {
                let file = node.file("log");
                file.preallocate(40 * 512).unwrap();
                file.write_at(0, &[1; 40 * 512]).await.unwrap();
                if sync {
                    file.sync().await.unwrap();
                }
                node.sleep(secs(1)).await;
            }
        });
        touched(&recording, "f")
    };
    // Of 40 sectors none survives in one run of 2^40.
    assert_eq!(run(CrashPolicy::KeepRandomSectors, false), 1);
    assert_eq!(run(CrashPolicy::KeepRandomSectors, true), 0, "all was synced");
    assert_eq!(run(CrashPolicy::LoseUnsynced, false), 0, "the disk's own policy");
}

#[test]
fn rot_counts_bits() {
    let stores = async |node: Node| {
        let file = node.file("log");
        file.append(b"stored").await.unwrap();
        file.sync().await.unwrap();
        node.sleep(secs(1)).await;
    };
    assert_eq!(touched_alone(fault_at(50, FaultKind::Disk(DiskFault::Rot("log".into()))), stores), 1);
    assert_eq!(touched_alone(fault_at(50, FaultKind::Disk(DiskFault::Rot("other".into()))), stores), 0);
    assert_eq!(touched_alone(fault_at(50, FaultKind::Disk(DiskFault::Rot(String::new()))), idle), 0);
}
