//! What the protocol says, read from its effects: no simulator, no network, no waiting.

use sim_core::{
    protocol::Effect,
    time::{Wall, ms, ns, secs},
};

use super::*;
use crate::PhiAccrual;

const A: NodeId = NodeId(3);
const B: NodeId = NodeId(7);
const STRANGER: NodeId = NodeId(99);

type Effects = Vec<Effect<Heartbeat>>;

/// A node under test and its surroundings.
struct Bench {
    out: Out<Heartbeat>,
    node: Heartbeat,
}

impl Bench {
    fn start(config: &Config, records: Vec<Record>) -> (Self, Effects) {
        let mut out = Out::new(Monotonic::ZERO, Wall::START, 5);
        let node = Heartbeat::restore(config, records, &mut out);
        let effects = out.take();
        (Self { out, node }, effects)
    }
    fn monitor(detector: Detector) -> Self {
        Self::start(&Config::monitor([A, B], detector), Vec::new()).0
    }
    fn pass(&mut self, time: Duration) {
        self.out.advance(time);
    }
    fn hear(&mut self, from: NodeId, sequence: u64) -> Effects {
        self.node.on_message(from, Message::Heartbeat { sequence }, &mut self.out);
        self.out.take()
    }
    fn fire(&mut self, timer: Timer) -> Effects {
        self.node.on_timer(timer, &mut self.out);
        self.out.take()
    }
}

fn timeout() -> Detector {
    Detector::Timeout(ms(200))
}
fn arm(node: NodeId, after: Duration) -> Effect<Heartbeat> {
    Effect::Arm(Timer::Silence(node), after)
}
fn suspects(list: &str) -> Effect<Heartbeat> {
    Effect::State(SUSPECTS, list.to_owned())
}
fn heartbeat(to: NodeId, sequence: u64) -> Effect<Heartbeat> {
    Effect::Send(to, Message::Heartbeat { sequence })
}

#[test]
fn a_sender_begins_at_a_random_phase_and_keeps_its_period() {
    let config = Config::sender([A, B], ms(100));
    let (mut sender, start) = Bench::start(&config, Vec::new());
    let [Effect::Append(Record::Started(0)), Effect::Arm(Timer::Send, phase)] = start[..] else {
        panic!("{start:?}")
    };
    assert!(phase < ms(100), "{phase}");
    for sequence in 0..3 {
        let beat = vec![heartbeat(A, sequence), heartbeat(B, sequence), Effect::Arm(Timer::Send, ms(100))];
        assert_eq!(sender.fire(Timer::Send), beat);
    }
    // Another node draws another phase.
    let mut out = Out::new(Monotonic::ZERO, Wall::START, 6);
    Heartbeat::restore(&config, Vec::new(), &mut out);
    assert_ne!(out.take(), start);
}

#[test]
fn sequence_numbers_never_go_back_over_a_restart() {
    let config = Config::sender([A], ms(100));
    let (mut sender, start) = Bench::start(&config, vec![Record::Started(0), Record::Started(1)]);
    assert_eq!(start[0], Effect::Append(Record::Started(2)));
    assert_eq!(sender.fire(Timer::Send)[0], heartbeat(A, 2 << 32));
    // Nor at the end of numbers.
    let (mut sender, _) = Bench::start(&config, vec![Record::Started(u32::MAX)]);
    assert_eq!(sender.fire(Timer::Send)[0], heartbeat(A, u64::from(u32::MAX) << 32));
}

#[test]
fn a_sender_without_monitors_or_without_a_period_is_silent() {
    for config in [Config::default(), Config::sender([], ms(100)), Config::sender([A], Duration::ZERO)] {
        let (mut node, start) = Bench::start(&config, Vec::new());
        assert_eq!(start, []);
        assert_eq!(node.fire(Timer::Send), []);
    }
}

#[test]
fn who_is_named_twice_counts_once() {
    let config = Config::sender([A, A], ms(100)).and_monitor([B, A, B], timeout());
    let (mut node, start) = Bench::start(&config, Vec::new());
    assert_eq!(start[2..], [arm(A, ms(200)), arm(B, ms(200))]);
    assert_eq!(node.fire(Timer::Send), [heartbeat(A, 0), Effect::Arm(Timer::Send, ms(100))]);
}

#[test]
fn a_node_that_is_never_heard_is_suspected() {
    let (mut monitor, start) = Bench::start(&Config::monitor([A, B], timeout()), Vec::new());
    assert_eq!(start, [arm(A, ms(200)), arm(B, ms(200))]);
    monitor.pass(ms(200));
    let suspicion = [suspects("n3"), Effect::Announce(Event::Suspected(A))];
    assert_eq!(monitor.fire(Timer::Silence(A)), suspicion);
}

#[test]
fn each_arrival_arms_the_exact_timer_and_nothing_else() {
    let mut monitor = Bench::monitor(timeout());
    for sequence in 0..5 {
        monitor.pass(ms(90));
        assert_eq!(monitor.hear(A, sequence), [arm(A, ms(200))]);
    }
}

#[test]
fn silence_suspects_once_and_the_next_heartbeat_revives() {
    let mut monitor = Bench::monitor(timeout());
    monitor.hear(A, 0);
    monitor.pass(ms(200));
    let suspicion = [suspects("n3"), Effect::Announce(Event::Suspected(A))];
    // No timer is armed: nothing more comes of this silence.
    assert_eq!(monitor.fire(Timer::Silence(A)), suspicion);
    let both = [suspects("n3,n7"), Effect::Announce(Event::Suspected(B))];
    assert_eq!(monitor.fire(Timer::Silence(B)), both);
    assert_eq!(monitor.node.suspects().collect::<Vec<_>>(), [A, B]);

    let revival = [arm(A, ms(200)), suspects("n7"), Effect::Announce(Event::Alive(A))];
    assert_eq!(monitor.hear(A, 1), revival);
    assert_eq!(monitor.hear(A, 2), [arm(A, ms(200))]);
    let empty = [arm(B, ms(200)), suspects(""), Effect::Announce(Event::Alive(B))];
    assert_eq!(monitor.hear(B, 0), empty);
    assert!(!monitor.node.is_suspected(A) && !monitor.node.is_suspected(B));
}

#[test]
fn old_news_and_copies_change_nothing() {
    let mut monitor = Bench::monitor(Detector::PhiAccrual(PhiAccrual::default()));
    monitor.hear(A, 4);
    monitor.pass(ms(50));
    let before = monitor.node.clone();
    assert_eq!(monitor.hear(A, 3), []);
    assert_eq!(monitor.hear(A, 4), []);
    assert_eq!(monitor.node, before);
    // Nor do they raise the dead.
    monitor.fire(Timer::Silence(A));
    assert_eq!(monitor.hear(A, 3), []);
    assert!(monitor.node.is_suspected(A));
}

#[test]
fn strangers_are_ignored() {
    let mut monitor = Bench::monitor(timeout());
    let before = monitor.node.clone();
    assert_eq!(monitor.hear(STRANGER, 0), []);
    assert_eq!(monitor.fire(Timer::Silence(STRANGER)), []);
    assert_eq!(monitor.node, before);
    assert!(!monitor.node.is_suspected(STRANGER));
    assert_eq!((monitor.node.limit(STRANGER), monitor.node.phi(STRANGER, Monotonic::ZERO)), (None, None));
}

#[test]
fn the_first_heartbeat_is_no_gap_and_the_next_ones_are() {
    let mut monitor = Bench::monitor(Detector::PhiAccrual(PhiAccrual { window: 2, ..PhiAccrual::default() }));
    let first = monitor.node.limit(A);
    monitor.pass(ms(3));
    monitor.hear(A, 0);
    assert_eq!(monitor.node.limit(A), first);
    // Two gaps of 80 and 120 ms fill the window: 100 ms and 5.612 deviations of 20 ms.
    for (sequence, gap) in [(1, 80), (2, 120)] {
        monitor.pass(ms(gap));
        let effects = monitor.hear(A, sequence);
        assert_eq!(effects, [arm(A, monitor.node.limit(A).unwrap())]);
    }
    assert_eq!(monitor.node.limit(A), Some(ns(212_240_025)));
    assert_eq!(monitor.node.limit(B), first);
}

#[test]
fn a_lost_heartbeat_makes_a_long_gap_and_an_overtaken_one_makes_none() {
    let detector =
        Detector::PhiAccrual(PhiAccrual { window: 2, deviation_min: ms(1), ..PhiAccrual::default() });
    let mut monitor = Bench::monitor(detector);
    monitor.hear(A, 0);
    monitor.pass(ms(200)); // 1 is lost, or late
    monitor.hear(A, 2);
    monitor.pass(ms(10));
    monitor.hear(A, 1);
    monitor.pass(ms(190));
    monitor.hear(A, 3);
    // Two gaps of 200 ms: no deviation but the least, 1 ms.
    assert_eq!(monitor.node.limit(A), Some(ns(205_612_001)));
}

#[test]
fn the_time_between_two_starts_is_no_gap() {
    let mut monitor = Bench::monitor(Detector::PhiAccrual(PhiAccrual::default()));
    monitor.hear(A, 8);
    let calm = monitor.node.limit(A).unwrap();
    monitor.pass(secs(30));
    monitor.fire(Timer::Silence(A));
    let revival = [arm(A, calm), suspects(""), Effect::Announce(Event::Alive(A))];
    assert_eq!(monitor.hear(A, 1 << 32), revival);
    // What the node had sent before it crashed comes too late.
    assert_eq!(monitor.hear(A, 9), []);
    monitor.pass(ms(100));
    monitor.hear(A, (1 << 32) + 1);
    assert_ne!(monitor.node.limit(A), Some(calm));
}

#[test]
fn phi_grows_with_the_silence_and_reaches_the_threshold_at_the_limit() {
    let mut monitor = Bench::monitor(Detector::PhiAccrual(PhiAccrual::default()));
    monitor.pass(ms(40));
    monitor.hear(A, 0);
    let heard = monitor.out.now();
    let phi = |after| monitor.node.phi(A, heard + after).unwrap();
    // The mean is 100 ms: half of the gaps are longer.
    assert!((phi(ms(100)) - std::f64::consts::LOG10_2).abs() < 1e-12);
    let limit = monitor.node.limit(A).unwrap();
    assert!((phi(limit) - 8.0).abs() < 1e-6);
    assert!(phi(limit + ms(1)) > 8.0);
    assert_eq!(Bench::monitor(timeout()).node.phi(A, heard), None);
}

#[test]
fn a_config_that_makes_no_sense_is_refused_with_what_is_allowed() {
    let zero = Config::sender([A], Duration::ZERO).validate().unwrap_err();
    assert!(zero.contains("`period` must be more than 0s"), "{zero}");
    let never = Config::sender([A], ms(1)).and_monitor([B], Detector::Timeout(Duration::ZERO));
    assert!(never.validate().unwrap_err().contains("`timeout`"));
    assert_eq!(Config::default().validate(), Ok(()));
    assert_eq!(Config::sender([A], ms(1)).and_monitor([B], timeout()).validate(), Ok(()));
}
