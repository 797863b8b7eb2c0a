//! Calls: answers, deadlines, cancellation, the ways in which a call fails, and the spans that it leaves.
//!
//! Goal: a client can tell apart what TCP and gRPC let it tell apart, a server's work does not depend on its client's
//! patience, and a trace shows who asked whom. Method: a client and a server over a link of 10 ms, so that a first call
//! takes 40 ms (a handshake and a round trip) and each later one 20.

mod common;

use common::*;
use serde::{Deserialize, Serialize};
use sim_core::{
    Node, NodeId, Sim,
    combine::{join, race},
    fault::{Fault, FaultKind, Partition},
    net::{
        Link,
        rpc::{Call, CallError, Request},
    },
    plan::{OverrideFate, Plan},
    record::{Recording, RecordingLevel, Span, SpanKind, SpanStatus},
    time::{Duration, ms, secs},
};

/// Asks for the double of a number, after some work.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Double {
    number: u64,
    work: Duration,
}
impl Request for Double {
    type Response = u64;
}

const fn double(number: u64) -> Double {
    Double { number, work: Duration::ZERO }
}
const fn after(work: Duration) -> Double {
    Double { number: 1, work }
}

type Book = Notebook<(Duration, String)>;

fn tell(book: &Book, node: &Node, text: impl ToString) {
    book.write((now(node), text.to_string()));
}
fn entries(book: &Book) -> Vec<(u64, String)> {
    book.read().into_iter().map(|(when, text)| (when.as_nanos() / 1_000_000, text)).collect()
}
fn said(entries: &[(u64, &str)]) -> Vec<(u64, String)> {
    entries.iter().map(|&(when, text)| (when, text.to_owned())).collect()
}
fn outcome<T: ToString>(result: Result<T, CallError>) -> String {
    result.map_or_else(|error| error.label().to_owned(), |value| value.to_string())
}

/// A server that works for as long as it is asked to, and a client; both write into the book.
fn world(plan: &Plan, client: impl AsyncFn(Node, NodeId, Book) + Send + 'static) -> (Book, Recording) {
    let mut sim = Sim::new(plan, RecordingLevel::Full);
    sim.default_link(Link::constant(ms(10)));
    let book = Book::new();
    let (for_server, for_client) = (book.clone(), book.clone());
    let server = sim.node("server", async move |node| {
        let book = for_server.clone();
        node.serve(async move |call: Call, request: Double| {
            call.node().sleep(request.work).await;
            tell(&book, call.node(), "done");
            request.number * 2
        });
    });
    sim.node("client", async move |node| client(node, server, for_client.clone()).await);
    let recording = sim.run().unwrap();
    assert!(!matches!(recording.ending, sim_core::record::Ending::Panicked { .. }), "{:?}", recording.ending);
    (book, recording)
}

// ---- answers ----

#[test]
fn a_call_is_answered_and_the_next_needs_no_handshake() {
    let (book, recording) = world(&plan(1), async |node, server, book| {
        for number in 0..3 {
            tell(&book, &node, outcome(node.call(server, &double(number)).await));
        }
        assert!(node.is_connected_to(server, 0));
    });
    let answers: Vec<_> = entries(&book).into_iter().filter(|(_, text)| text != "done").collect();
    assert_eq!(answers, said(&[(40, "0"), (60, "2"), (80, "4")]));
    assert_eq!(packets(&recording, "open").len(), 1);
}

#[test]
fn a_call_that_is_not_awaited_sends_nothing() {
    let (_, recording) = world(&plan(1), async |node, server, _| drop(node.call(server, &double(1))));
    assert_eq!(recording.messages.len(), 0);
}

#[test]
fn requests_and_answers_carry_their_heads_on_the_wire() {
    let (_, recording) = world(&plan(1), async |node, server, _| {
        node.call(server, &double(1)).await.unwrap();
    });
    let body = sim_core::codec::encode(&double(1)).len() as u32;
    // TCP and IP 40; a tag and a number 9; the time left 8; a trace context 25.
    assert_eq!(packets(&recording, "Double")[0].bytes, 40 + 9 + 8 + 25 + body);
    assert_eq!(packets(&recording, "u64")[0].bytes, 40 + 9 + 1);
}

// ---- giving up ----

#[test]
fn a_deadline_ends_the_call_and_not_the_servers_work() {
    let (book, _) = world(&plan(1), async |node, server, book| {
        tell(&book, &node, outcome(node.call(server, &after(ms(200))).deadline(ms(100)).await));
    });
    assert_eq!(entries(&book), said(&[(100, "timed out"), (230, "done")]));
}

#[test]
fn an_answer_in_time_withdraws_the_deadline() {
    let (book, recording) = world(&plan(1), async |node, server, book| {
        tell(&book, &node, outcome(node.call(server, &after(ms(50))).deadline(secs(30)).await));
    });
    assert_eq!(entries(&book), said(&[(80, "done"), (90, "2")]));
    assert_eq!(recording.ended, at(ms(90)), "a deadline that is not needed does not prolong the run");
}

#[test]
fn a_deadline_counts_also_while_there_is_no_connection() {
    let dark = with([Fault::at(ms(0), "dark", FaultKind::PowerFailure).on("server")]);
    let (book, _) = world(&dark, async |node, server, book| {
        tell(&book, &node, outcome(node.call(server, &double(1)).deadline(ms(300)).await));
        tell(&book, &node, outcome(node.call(server, &double(1)).await));
    });
    // Without a deadline the handshake's patience decides: a minute since it began.
    assert_eq!(entries(&book), said(&[(300, "timed out"), (60_000, "timed out")]));
}

/// A server that writes down when it hears that nobody waits any more, and then works on to the end.
fn listener(sim: &mut Sim, book: &Book) -> NodeId {
    let book = book.clone();
    sim.node("server", async move |node| {
        let book = book.clone();
        node.serve(async move |call: Call, request: Double| {
            let node = call.node().clone();
            assert!(!call.is_cancelled());
            if node.timeout(request.work, call.cancelled()).await.is_some() {
                tell(&book, &node, "cancelled");
                assert!(call.is_cancelled());
            }
            request.number
        });
    })
}

#[test]
fn a_handler_hears_that_its_caller_has_given_up() {
    let mut sim = Sim::new(&plan(1), RecordingLevel::Full);
    sim.default_link(Link::constant(ms(10)));
    let book = Book::new();
    let server = listener(&mut sim, &book);
    let log = book.clone();
    sim.node("client", async move |node| {
        // By its deadline, by losing a race, and not at all.
        tell(&log, &node, outcome(node.call(server, &after(secs(1))).deadline(ms(100)).await));
        race(node.call(server, &after(secs(1))), node.sleep(ms(50))).await;
        tell(&log, &node, "lost the race");
        tell(&log, &node, outcome(node.call(server, &after(ms(30))).await));
    });
    let recording = sim.run().unwrap();
    let expected =
        [(100, "timed out"), (110, "cancelled"), (150, "lost the race"), (160, "cancelled"), (200, "1")];
    assert_eq!(entries(&book), said(&expected));
    assert_eq!(sent(&recording, "cancel"), [ms(100), ms(150)]);
}

#[test]
fn a_server_knows_how_long_its_caller_will_wait_and_can_pass_it_on() {
    let mut sim = Sim::new(&plan(1), RecordingLevel::Full);
    sim.default_link(Link::constant(ms(10)));
    let book = Book::new();
    let (for_back, for_front) = (book.clone(), book.clone());
    let back = sim.node("back", async move |node| {
        let book = for_back.clone();
        node.serve(async move |call: Call, _: Double| {
            tell(&book, call.node(), format!("back has {:?}", call.time_left()));
            7
        });
    });
    let front = sim.node("front", async move |node| {
        let book = for_front.clone();
        node.serve(async move |call: Call, request: Double| {
            call.node().sleep(request.work).await;
            tell(&book, call.node(), format!("front has {:?}", call.time_left()));
            match call.time_left() {
                Some(left) => call.node().call(back, &double(1)).deadline(left).await.unwrap(),
                None => 0,
            }
        });
    });
    sim.node("client", async move |node| {
        node.call(front, &after(ms(30))).deadline(ms(300)).await.unwrap();
        node.call(front, &after(ms(30))).await.unwrap();
    });
    sim.run().unwrap();
    let told: Vec<_> = book.read().into_iter().map(|(_, text)| text).collect();
    assert_eq!(told, ["front has Some(270ms)", "back has Some(270ms)", "front has None"]);
}

// ---- failing ----

#[test]
fn nobody_serving_is_refused_after_a_round_trip() {
    let down = with([Fault::at(ms(0), "down", FaultKind::Crash).on("server")]);
    let (book, _) = world(&down, async |node, server, book| {
        let result = node.call(server, &double(1)).await;
        assert!(result.as_ref().is_err_and(CallError::is_definite));
        tell(&book, &node, outcome(result));
    });
    assert_eq!(entries(&book), said(&[(20, "refused")]));
    let (book, _) = world(&plan(1), async |node, server, book| {
        tell(&book, &node, outcome(node.call(server, &double(1)).port(9).await));
    });
    assert_eq!(entries(&book), said(&[(20, "refused")]));
}

#[test]
fn a_crash_of_the_server_resets_its_calls_and_the_next_call_connects_again() {
    let restart = with([Fault::at(ms(100), "crash", FaultKind::Crash).on("server").lasting(ms(100))]);
    let (book, recording) = world(&restart, async |node, server, book| {
        let result = node.call(server, &after(secs(1))).await;
        assert!(result.as_ref().is_err_and(|error| !error.is_definite()), "it may have been executed");
        tell(&book, &node, outcome(result));
        assert!(!node.is_connected_to(server, 0));
        tell(&book, &node, outcome(node.call(server, &double(2)).await));
        node.sleep(ms(100)).await;
        tell(&book, &node, outcome(node.call(server, &double(2)).await));
    });
    // Reset at 110 ms; refused at 130, since the server is down until 200; then a handshake and a round trip from 230 on.
    let expected = [(110, "reset"), (130, "refused"), (260, "done"), (270, "4")];
    assert_eq!(entries(&book), said(&expected), "the handler of the first call died with its process");
    assert_eq!(packets(&recording, "open").len(), 3);
}

#[test]
fn a_call_into_a_partition_is_answered_after_it_or_times_out() {
    let partition = FaultKind::Partition(Partition::Isolate);
    let plan = with([Fault::at(ms(50), "cut", partition).on("server").lasting(secs(1))]);
    let (book, _) = world(&plan, async |node, server, book| {
        tell(&book, &node, outcome(node.call(server, &double(1)).await));
        node.sleep(ms(60)).await;
        let (patient, hasty) =
            join(node.call(server, &double(2)), node.call(server, &double(3)).deadline(ms(500))).await;
        tell(&book, &node, outcome(patient));
        tell(&book, &node, outcome(hasty));
    });
    // Sent at 100 ms, again 200, 400 and 800 ms later: at 1,500 ms the partition is over. Both requests are executed.
    let expected =
        [(30, "done"), (40, "2"), (1_510, "done"), (1_510, "done"), (1_520, "4"), (1_520, "timed out")];
    assert_eq!(entries(&book), said(&expected));
}

/// Looks like [`Double`] on the same port, and is none.
#[derive(Serialize, Deserialize)]
struct Greeting(String, Vec<String>);
impl Request for Greeting {
    type Response = u64;
}
/// As [`Double`], but takes the answer for a text.
#[derive(Serialize, Deserialize)]
struct Misread(u64, Duration);
impl Request for Misread {
    type Response = (String, String);
}

#[test]
fn sides_that_disagree_on_a_type_get_an_error_that_says_so() {
    let (book, _) = world(&plan(1), async |node, server, book| {
        let greeting = Greeting("hello".to_owned(), vec!["x".to_owned(); 3]);
        tell(&book, &node, outcome(node.call(server, &greeting).await));
        tell(&book, &node, outcome(node.call(server, &Misread(4, Duration::ZERO)).await.map(|_| "read")));
        tell(&book, &node, outcome(node.call(server, &double(1)).await));
    });
    let told: Vec<_> = entries(&book).into_iter().map(|(_, text)| text).collect();
    assert_eq!(told, ["undecodable", "done", "undecodable", "done", "2"]);
}

#[test]
fn who_stops_serving_refuses_new_connections_and_fails_requests_on_old_ones() {
    let mut sim = Sim::new(&plan(1), RecordingLevel::Full);
    sim.default_link(Link::constant(ms(10)));
    let book = Book::new();
    let server = sim.node("server", async |node| {
        node.serve(async |call: Call, request: Double| {
            call.node().sleep(request.work).await;
            request.number
        });
        node.sleep(ms(100)).await;
        node.stop_serving(0);
    });
    let (old, new) = (book.clone(), book.clone());
    sim.node("old", async move |node| {
        tell(&old, &node, outcome(node.call(server, &after(ms(150))).await));
        tell(&old, &node, outcome(node.call(server, &double(1)).await));
    });
    sim.node("new", async move |node| {
        node.sleep(ms(300)).await;
        tell(&new, &node, outcome(node.call(server, &double(1)).await));
    });
    sim.run().unwrap();
    assert_eq!(entries(&book), said(&[(190, "1"), (210, "undecodable"), (320, "refused")]));
}

// ---- the connection ----

#[test]
fn calls_to_one_port_share_a_connection_that_the_first_of_them_opens() {
    let (book, recording) = world(&plan(1), async |node, server, book| {
        let (first, second) = join(node.call(server, &after(ms(30))), node.call(server, &double(4))).await;
        tell(&book, &node, outcome(first) + &outcome(second));
    });
    // Both wait for the one handshake, and neither for the other's answer: 30 ms to get there, 30 of work, 10 back.
    assert_eq!(entries(&book), said(&[(30, "done"), (60, "done"), (70, "28")]));
    assert_eq!(packets(&recording, "open").len(), 1);
}

#[test]
fn a_lost_request_holds_up_the_calls_behind_it_and_not_those_of_another_port() {
    let lost = OverrideFate { lost: Some(true), ..OverrideFate::default() };
    let plan = plan(1).with_override(overridden("client", "server", Some("Double"), 3, lost));
    let mut sim = Sim::new(&plan, RecordingLevel::Full);
    sim.default_link(Link::constant(ms(10)));
    let book = Book::new();
    let server = sim.node("server", async |node| {
        for port in 0..2 {
            node.serve_on(port, async |_: Call, request: Double| request.number);
        }
    });
    let log = book.clone();
    sim.node("client", async move |node| {
        for port in 0..2 {
            node.call(server, &double(0)).port(port).await.unwrap();
        }
        for (number, port) in [(1, 0), (2, 0), (3, 1)] {
            let (log, inner) = (log.clone(), node.clone());
            node.spawn_detached(async move {
                tell(&log, &inner, outcome(inner.call(server, &double(number)).port(port).await));
            });
        }
    });
    sim.run().unwrap();
    // All three go out at 80 ms. Call 1 is sent again at 280; call 2 is behind it; call 3 has a connection of its own.
    assert_eq!(entries(&book), said(&[(100, "3"), (300, "1"), (300, "2")]));
}

// ---- traces ----

fn named<'a>(recording: &'a Recording, name: &str, kind: SpanKind) -> Vec<(u32, &'a Span)> {
    let spans = recording.spans.iter().enumerate().map(|(index, span)| (index as u32, span));
    spans.filter(|(_, span)| recording.text(span.name) == name && span.kind == kind).collect()
}

#[test]
fn nested_calls_form_one_trace_in_which_each_server_span_is_the_child_of_its_client_span() {
    let mut sim = Sim::new(&plan(1), RecordingLevel::Full);
    sim.default_link(Link::constant(ms(10)));
    let back = sim.node("back", async |node| node.serve(async |_: Call, request: Double| request.number));
    let front = sim.node("front", async move |node| {
        node.serve(async move |call: Call, request: Double| {
            let node = call.node().clone();
            let task = node.spawn({
                let node = node.clone();
                async move { node.call(back, &request).await.unwrap() }
            });
            task.await.unwrap()
        });
    });
    sim.node("client", async move |node| {
        for _ in 0..2 {
            node.trace("visit").run(async { node.call(front, &double(1)).await.unwrap() }).await;
        }
    });
    let recording = sim.run().unwrap();

    let visits = named(&recording, "visit", SpanKind::Internal);
    let asked_front = named(&recording, "front.Double", SpanKind::Client);
    let served_front = named(&recording, "front.Double", SpanKind::Server);
    let asked_back = named(&recording, "back.Double", SpanKind::Client);
    let served_back = named(&recording, "back.Double", SpanKind::Server);
    for i in 0..2 {
        let chain = [visits[i], asked_front[i], served_front[i], asked_back[i], served_back[i]];
        assert!(!chain[0].1.parent.is_some());
        for pair in chain.windows(2) {
            let ((parent, above), (_, below)) = (pair[0], pair[1]);
            assert_eq!(below.parent.0, parent);
            assert_eq!(below.trace, above.trace);
            assert!(below.start >= above.start && below.end <= above.end && !below.cut_short);
        }
        let nodes: Vec<_> = chain.iter().map(|(_, span)| recording.node_name(span.node)).collect();
        assert_eq!(nodes, ["client", "client", "front", "front", "back"]);
    }
    assert_ne!(visits[0].1.trace, visits[1].1.trace);
    assert_eq!(recording.spans.len(), 10);
    // The first visit: handshakes with both, 40 ms each; the client's side waits 80 ms, the server's 40.
    let length = |span: &Span| span.end.since(span.start);
    assert_eq!(length(asked_front[0].1), ms(80));
    assert_eq!(length(served_front[0].1), ms(40));
}

#[test]
fn a_span_says_why_its_call_failed_and_what_was_sent_again() {
    let lost = OverrideFate { lost: Some(true), ..OverrideFate::default() };
    let plan = plan(1).with_override(overridden("client", "server", Some("Double"), 1, lost));
    let (_, recording) = world(&plan, async |node, server, _| {
        let _ = node.call(server, &double(1)).deadline(ms(100)).await;
        let _ = node.call(server, &double(1)).port(9).await;
        race(node.call(server, &after(secs(1))), node.sleep(ms(50))).await;
    });
    let asked = named(&recording, "server.Double", SpanKind::Client);
    let status: Vec<_> = asked.iter().map(|(_, span)| span.status).collect();
    let error = |label: &str| {
        let name = recording.names.iter().position(|name| name == label).unwrap();
        SpanStatus::Error(sim_core::record::Name(name as u32))
    };
    assert_eq!(status, [error("timed out"), error("refused"), SpanStatus::Unset]);
    assert!(asked[2].1.cut_short && !asked[0].1.cut_short);
    let events: Vec<_> = recording
        .span_events
        .iter()
        .map(|e| (e.span.0, recording.text(e.name), recording.text(e.detail)))
        .filter(|(span, ..)| *span == asked[0].0)
        .collect();
    let lost = (asked[0].0, "packet.dropped", "Double to server: loss");
    let again = (asked[0].0, "packet.retransmitted", "Double, transmission 2");
    assert_eq!(events, [lost, again]);
}

#[test]
fn recording_spans_changes_no_event() {
    let run = |level| {
        let mut sim = Sim::new(&plan(3), level);
        sim.default_link(Link::constant(ms(10)).loss(0.2));
        let server =
            sim.node("server", async |node| node.serve(async |_: Call, request: Double| request.number));
        sim.node("client", async move |node| {
            for number in 0..50 {
                let _ = node.call(server, &double(number)).deadline(ms(300)).await;
            }
        });
        sim.run().unwrap().run_hash
    };
    assert_eq!(run(RecordingLevel::Essential), run(RecordingLevel::Full));
    assert_eq!(run(RecordingLevel::Spans), run(RecordingLevel::Full));
}
