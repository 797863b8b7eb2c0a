//! Web services: workers, queues, and what a request costs.

use std::{cell::RefCell, rc::Rc};

use scenarios::cast::{OpenLoop, Reply, WebRequest, WebService};
use sim_core::{
    rng::Delay,
    time::{ms, secs},
};

use crate::figures::*;

#[test]
fn no_more_are_at_work_than_there_are_workers_and_no_more_wait_than_fit() {
    let mut sim = world(1, secs(10));
    WebService::new(async |node, _| {
        node.sleep(ms(100)).await;
        Reply::ok("")
    })
    .workers(3)
    .queue(5)
    .add_to(&mut sim, "web");
    // 20 at once: 3 at work, 5 in line, 12 refused.
    OpenLoop::at([secs(1); 20]).get("/").add_to(&mut sim, "clients");
    let recording = run(sim);
    assert_eq!(peak(&recording, "web.active"), 3.0);
    assert_eq!(peak(&recording, "web.queue"), 5.0);
    assert_eq!(count(&recording, "web.refused"), 12.0);
    assert_eq!(count(&recording, "requests.failed.status_503"), 12.0);
    assert_eq!(count(&recording, "requests.ok"), 8.0);
    // Refused at once: one handshake and one round trip of 1 ms each. Served in three rounds of 100 ms.
    let times = sorted(&recording, "request");
    assert!((times[11] - 0.002).abs() < 1e-6, "{}", times[11]);
    assert!((times[19] - 0.302).abs() < 1e-6, "{}", times[19]);
    assert_eq!((last(&recording, "web.active"), last(&recording, "web.queue")), (0.0, 0.0));
    assert_eq!(sorted(&recording, "web.wait").iter().filter(|w| **w > 0.0).count(), 5);
}

#[test]
fn a_queue_of_none_refuses_whoever_finds_all_workers_busy() {
    let mut sim = world(1, secs(10));
    let service = WebService::new(async |node, _| {
        node.sleep(ms(100)).await;
        Reply::ok("")
    });
    service.workers(2).queue(0).add_to(&mut sim, "web");
    OpenLoop::at([secs(1); 5]).add_to(&mut sim, "clients");
    assert_eq!(count(&run(sim), "requests.ok"), 2.0);
}

#[test]
fn work_shares_cores_and_waiting_does_not() {
    let finished = |cores: u32, work: bool| {
        let mut sim = world(1, secs(10));
        WebService::new(async move |node, _| {
            if work {
                node.work(ms(100)).await;
            } else {
                node.sleep(ms(100)).await;
            }
            Reply::ok("")
        })
        .cores(cores)
        .add_to(&mut sim, "web");
        OpenLoop::at([secs(1); 4]).add_to(&mut sim, "clients");
        *sorted(&run(sim), "request").last().unwrap()
    };
    assert!((finished(1, true) - 0.402).abs() < 1e-6);
    assert!((finished(2, true) - 0.202).abs() < 1e-6);
    assert!((finished(1, false) - 0.102).abs() < 1e-6);
}

#[test]
fn a_server_works_on_for_a_client_that_has_gone_unless_it_looks() {
    let completed = |skip: bool| {
        let mut sim = world(1, secs(10));
        let service = WebService::new(async |node, _| {
            node.sleep(ms(100)).await;
            node.counter("done").increment();
            Reply::ok("")
        });
        let service = service.workers(1);
        if skip { service.skip_abandoned() } else { service }.add_to(&mut sim, "web");
        OpenLoop::at([secs(1); 10]).deadline(ms(250)).add_to(&mut sim, "clients");
        let recording = run(sim);
        assert_eq!(count(&recording, "requests.ok"), 2.0);
        (count(&recording, "done"), count(&recording, "web.abandoned"))
    };
    assert_eq!(completed(false), (10.0, 0.0));
    assert_eq!(completed(true), (3.0, 7.0)); // the third has begun when its client gives up
}

#[test]
fn services_call_each_other_in_sequence() {
    // gateway -> web -> a (5 ms), b (3 ms): 8 ms of work and four round trips of 1 ms (and handshakes, the first time).
    let mut sim = world(1, secs(10));
    let service = |time| WebService::calling(Delay::constant(ms(time)), []);
    let (a, b) = (service(5).add_to(&mut sim, "a"), service(3).add_to(&mut sim, "b"));
    let web = WebService::calling(Delay::constant(ms(0)), [a, b]).add_to(&mut sim, "web");
    WebService::calling(Delay::constant(ms(0)), [web]).add_to(&mut sim, "gateway");
    OpenLoop::constant(10.0).get("/product").to("gateway").until(secs(5)).add_to(&mut sim, "clients");
    let recording = run(sim);
    let times = sorted(&recording, "request");
    assert!((quantile(&times, 0.5) - 0.012).abs() < 1e-6, "{}", quantile(&times, 0.5));
    assert_eq!(count(&recording, "requests.ok"), 50.0);
    // Each service measures itself: mean times differ by the work.
    let mean_of = |name: &str| {
        let node = recording.find_node(name).unwrap();
        let series =
            recording.metrics.iter().find(|s| s.node == node && recording.text(s.name) == "web.time");
        mean(&series.unwrap().points.iter().map(|p| p.value).collect::<Vec<_>>())
    };
    assert!((mean_of("a") - 0.005).abs() < 1e-9 && (mean_of("b") - 0.003).abs() < 1e-9);
    // One trace for a page, down to the last service.
    let trace = recording.spans.iter().find(|s| recording.text(s.name) == "GET /product").unwrap().trace;
    let nodes = recording.spans.iter().filter(|s| s.trace == trace).map(|s| recording.node_name(s.node));
    let nodes: std::collections::BTreeSet<&str> = nodes.collect();
    assert_eq!(nodes.into_iter().collect::<Vec<_>>(), ["a", "b", "clients", "gateway", "web"]);
}

#[test]
fn a_deadline_travels_with_the_request() {
    let mut sim = world(1, secs(5));
    let silent = WebService::calling(Delay::constant(secs(60)), []).add_to(&mut sim, "silent");
    WebService::calling(Delay::constant(ms(100)), [silent]).add_to(&mut sim, "web");
    OpenLoop::at([secs(1)]).deadline(ms(300)).add_to(&mut sim, "clients");
    let recording = run(sim);
    assert_eq!(sorted(&recording, "request"), [0.3]);
    // The middle gives up with what was left: its call ends near the client's deadline, not after 60 s.
    let call = recording
        .spans
        .iter()
        .find(|s| recording.node_name(s.node) == "web" && s.kind == sim_core::record::SpanKind::Client);
    assert!(call.unwrap().end.as_secs_f64() < 1.31);
}

#[test]
fn what_a_server_keeps_is_its_own_and_dies_with_it() {
    use sim_core::fault::FaultKind;
    let mut sim = world_with(1, secs(10), fault(secs(5), secs(1), FaultKind::Crash, "web-0"));
    WebService::with_state(
        |_| Rc::new(RefCell::new(0_u32)),
        async |_, seen, _| {
            *seen.borrow_mut() += 1;
            Reply::ok(seen.borrow().to_string())
        },
    )
    .add_many(&mut sim, "web", 2);
    let notes = Notes::default();
    let noted = notes.clone();
    program(&mut sim, "reader", async move |node| {
        for second in 1..10 {
            node.sleep_until(sim_core::time::Monotonic::ZERO + secs(second)).await;
            for web in node.service("web") {
                let reply = WebRequest::get("/").send(&node, web).await;
                let body =
                    reply.map_or_else(|e| e.label().to_owned(), |r| String::from_utf8(r.body).unwrap());
                noted.write(&node, body);
            }
        }
    });
    run(sim);
    let texts = notes.texts();
    let column = |web: usize| texts.iter().skip(web).step_by(2).cloned().collect::<Vec<_>>();
    assert_eq!(column(0), ["1", "2", "3", "4", "reset", "1", "2", "3", "4"]);
    assert_eq!(column(1), ["1", "2", "3", "4", "5", "6", "7", "8", "9"]);
}
