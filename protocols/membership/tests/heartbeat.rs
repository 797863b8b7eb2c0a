//! Heartbeats in a simulated network: who is suspected, and how long after the crash.

use std::sync::{Arc, Mutex};

use membership::{
    Detector, Heartbeat, PhiAccrual,
    heartbeat::{Config, Event, SUSPECTS},
};
use sim_core::{
    NodeId, Sim,
    fault::{Fault, FaultKind, Target},
    net::Link,
    plan::Plan,
    record::{Recording, RecordingLevel},
    rng::Delay,
    time::{Duration, SimTime, ms, ns, secs, us},
};

const PERIOD: Duration = ms(100);
const TIMEOUT: Detector = Detector::Timeout(ms(200));

/// What a monitor (node 0) announced of `senders` nodes (`n-1` and so on, numbered like their names), and when.
fn watch(plan: &Plan, link: Link, senders: u32, detector: Detector) -> (Vec<(SimTime, Event)>, Recording) {
    let announced = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&announced);
    let mut sim = Sim::new(plan, RecordingLevel::Essential);
    sim.default_link(link);
    let monitor = sim.node("monitor", async move |node| {
        let hosted = node.host::<Heartbeat>(Config::monitor(node.service("n"), detector)).await;
        loop {
            let event = hosted.next().await;
            log.lock().unwrap().push((node.observer().now(), event));
        }
    });
    for number in 1..=senders {
        let id = sim.protocol::<Heartbeat>(format!("n-{number}"), move |_| Config::sender([monitor], PERIOD));
        assert_eq!(id, NodeId(number));
    }
    let recording = sim.run().unwrap();
    let announced = std::mem::take(&mut *announced.lock().unwrap());
    (announced, recording)
}

fn plan(seed: u64, until: Duration) -> Plan {
    Plan::new("heartbeats", seed, until)
}

fn phi() -> Detector {
    Detector::PhiAccrual(PhiAccrual::default())
}

#[test]
fn nobody_is_suspected_while_all_are_up() {
    // The jitter is 20 ms at most, so that no gap is longer than 120 ms. The shortest limit that phi can learn here is
    // 100 ms and 5.6 deviations of at least 10 ms.
    let link = Link::new(Delay::uniform(ms(5), ms(25)));
    for detector in [TIMEOUT, phi()] {
        for seed in 0..5 {
            let (announced, recording) = watch(&plan(seed, secs(20)), link.clone(), 10, detector);
            assert_eq!(announced, []);
            assert!(recording.states.is_empty());
        }
    }
}

#[test]
fn every_crash_is_found() {
    let (crashed, delay) = (secs(8), ms(15));
    // Gaps are all alike, so that phi learns 100 ms and the least deviation: 156.12 ms.
    for (detector, limit) in [(TIMEOUT, ms(200)), (phi(), ns(156_120_012))] {
        for seed in 0..5 {
            let mut plan = plan(seed, secs(10));
            let target = Target::Nodes(vec!["n-2".to_owned(), "n-5".to_owned()]);
            plan.faults.push(Fault::at(crashed, "two nodes die", FaultKind::Crash).on(target));
            let (mut announced, _) = watch(&plan, Link::constant(delay), 5, detector);
            for (at, _) in &announced {
                let detection = at.since_start() - crashed;
                assert!(detection >= limit + delay - PERIOD, "{detection}");
                assert!(detection <= limit + delay, "{detection}");
            }
            announced.sort_by_key(|(_, event)| format!("{event:?}"));
            let events: Vec<Event> = announced.into_iter().map(|(_, event)| event).collect();
            assert_eq!(events, [Event::Suspected(NodeId(2)), Event::Suspected(NodeId(5))]);
        }
    }
}

#[test]
fn the_timeline_shows_who_is_suspected() {
    let mut plan = plan(1, secs(4));
    for (at, name) in [(1, "n-3"), (2, "n-1")] {
        plan.faults.push(Fault::at(secs(at), "a node dies", FaultKind::Crash).on(name).lasting(ms(1_500)));
    }
    let (_, recording) = watch(&plan, Link::default(), 3, TIMEOUT);
    let states = recording.states.iter().filter(|state| recording.text(state.key) == SUSPECTS);
    let shown: Vec<&str> = states.map(|state| recording.text(state.value)).collect();
    assert_eq!(shown, ["n3", "n1,n3", "n1", ""]);
}

#[test]
fn a_restarted_node_is_heard_at_once() {
    // The first heartbeat comes within a period, a delay, and the 0.1 ms in which the node reads its record; although its
    // count begins anew, it is not taken for old.
    for seed in 0..20 {
        let mut plan = plan(seed, secs(7));
        plan.faults.push(Fault::at(secs(5), "it restarts", FaultKind::Crash).on("n-1").lasting(secs(1)));
        let (announced, _) = watch(&plan, Link::constant(ms(15)), 1, TIMEOUT);
        let [(_, Event::Suspected(_)), (at, Event::Alive(NodeId(1)))] = announced[..] else {
            panic!("{announced:?}")
        };
        let heard = at.since_start() - secs(6);
        assert!(heard >= ms(15) && heard <= PERIOD + ms(15) + us(100), "{heard}");
    }
}

#[test]
fn detection_takes_the_timeout_less_half_a_period_and_a_delay_on_average() {
    // All nodes crash at once, each at another phase of its period: 20 seeds of 100 phases. With T the time-out, P the
    // period and d the mean delay the mean is T - P / 2 + d. It holds for any delays, because what was overtaken does not
    // count: in the last model the next heartbeat overtakes (200 / 300)^2 / 2, more than one in five.
    let (nodes, crashed, timeout) = (100, secs(1), ms(400));
    let models = [
        (Link::constant(ms(15)), ms(15)),
        (Link::new(Delay::exponential(ms(10)).plus(ms(5))), ms(15)),
        (Link::new(Delay::uniform(Duration::ZERO, ms(300))), ms(150)),
    ];
    for (link, delay) in models {
        let (least, most) = (link.delay.minimum(), link.delay.quantile(1.0));
        let mut detections = Vec::new();
        for seed in 1..=20 {
            let mut plan = plan(seed, secs(3));
            plan.faults.push(Fault::at(crashed, "all die", FaultKind::Crash).on(Target::group("n")));
            let (announced, _) = watch(&plan, link.clone(), nodes, Detector::Timeout(timeout));
            // A network with a long tail may cry wolf before; what counts is the suspicion that stays.
            for node in (1..=nodes).map(NodeId) {
                let last = announced.iter().rfind(|(_, event)| *event == Event::Suspected(node));
                detections.push(last.expect("it is dead").0.since_start() - crashed);
            }
        }
        for &detection in &detections {
            assert!(detection >= timeout + least - PERIOD, "{detection}");
            assert!(detection <= timeout + most, "{detection}");
        }
        let n = detections.len() as f64;
        let mean = detections.iter().map(|d| d.as_millis_f64()).sum::<f64>() / n;
        let squares =
            detections.iter().map(|d| (d.as_millis_f64() - mean) * (d.as_millis_f64() - mean)).sum::<f64>();
        let four_errors = 4.0 * (squares / (n - 1.0)).sqrt() / n.sqrt();
        // The phase deviates by 28.9 ms, the last model's delay by 86.6 ms: with 2,000 of them four standard errors are
        // 2.6 and 8.2 ms.
        assert!(four_errors < 9.0, "too few phases: {four_errors} ms");
        let expected = (timeout + delay - PERIOD / 2).as_millis_f64();
        assert!((mean - expected).abs() <= four_errors, "{mean} ms instead of {expected} ms, {four_errors}");
    }
}
