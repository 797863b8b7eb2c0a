//! The recording: what nodes say is in it, spans follow the work, and it can be written and read back.

mod support;

use serde::{Deserialize, Serialize};
use sim_core::{
    Node, NodeId, Sim, codec,
    fault::{Fault, FaultKind, FaultPlan},
    net::{Link, rpc::Request},
    plan::Plan,
    record::{
        MetricKind, OperationOutcome, PropertyKind, Recording, RecordingLevel, Span, SpanIndex, SpanKind,
        SpanStatus, Value,
    },
    time::{SimTime, ms, secs},
};
use support::{busy::busy, panicked, run, states, world, world_with};

/// The recording of one node's code.
fn record(faults: FaultPlan, code: impl AsyncFn(Node) + Send + 'static) -> Recording {
    let mut sim = world_with(faults);
    sim.node("node", code);
    run(sim)
}
fn span<'a>(recording: &'a Recording, name: &str) -> (SpanIndex, &'a Span) {
    let found = recording.spans.iter().position(|span| recording.text(span.name) == name);
    let index = found.unwrap_or_else(|| panic!("there is no span `{name}`"));
    (SpanIndex(index as u32), &recording.spans[index])
}
fn interval(span: &Span) -> String {
    let cut = if span.cut_short { " cut" } else { "" };
    format!("{} to {}{cut}", span.start.since_start(), span.end.since_start())
}
fn crash(at: u64) -> FaultPlan {
    FaultPlan::none().with(Fault::at(ms(at), "crash", FaultKind::Crash).on("node"))
}

// ---- states, metrics, operations, properties ----

#[test]
fn states_are_recorded_when_they_change_and_end_with_the_process() {
    let recording = record(crash(30), async |node| {
        node.state("role", "follower");
        node.state("role", "follower");
        node.sleep(ms(10)).await;
        node.state("role", "leader");
        node.state("lock", "held");
        node.sleep(ms(10)).await;
        node.state("lock", "");
        node.state("lock", "");
        node.sleep(secs(1)).await;
    });
    let expected = [
        "0s node role=follower",
        "10ms node role=leader",
        "10ms node lock=held",
        "20ms node lock=",
        "30ms node role=",
        "30ms node process=down",
    ];
    assert_eq!(states(&recording), expected);
}

#[test]
fn metrics_keep_every_point_with_its_time() {
    let recording = record(FaultPlan::none(), async |node| {
        let (queries, queue, latency) =
            (node.counter("queries"), node.gauge("queue"), node.histogram("latency"));
        let batch = node.distribution("batch", "{request}");
        queries.increment();
        queue.set(3.0);
        node.sleep(ms(5)).await;
        queries.add(2.0);
        queue.add(-1.0);
        assert_eq!(queue.level(), 2.0);
        latency.record(ms(250));
        batch.observe(7.0);
        node.counter("queries").add(-1.0); // the same series; what is not positive adds nothing
    });
    let points = |name: &str| {
        let series = recording.metrics.iter().find(|series| recording.text(series.name) == name).unwrap();
        let points = series.points.iter().map(|point| format!("{} {}", point.at.since_start(), point.value));
        (series.kind, recording.text(series.unit), points.collect::<Vec<_>>().join(", "))
    };
    assert_eq!(points("queries"), (MetricKind::Counter, "", "0s 1, 5ms 2, 5ms 0".to_owned()));
    assert_eq!(points("queue"), (MetricKind::Gauge, "", "0s 3, 5ms 2".to_owned()));
    assert_eq!(points("latency"), (MetricKind::Histogram, "s", "5ms 0.25".to_owned()));
    assert_eq!(points("batch"), (MetricKind::Histogram, "{request}", "5ms 7".to_owned()));
    assert_eq!(recording.metrics.len(), 4);
}

#[test]
fn one_name_has_one_kind_of_metric() {
    let mut sim = world();
    sim.node("node", async |node| {
        node.counter("load").increment();
        node.gauge("load").set(1.0);
    });
    let recording = sim.run().unwrap();
    assert!(panicked(&recording).unwrap().1.contains("the metric `load` is a Counter already"));
}

#[test]
fn no_nan_reaches_a_recording() {
    // In a metric it is the program's error, and ends the run in every build; in an attribute it is a text.
    let mut sim = world();
    sim.node("node", async |node| node.gauge("ratio").set(f64::NAN));
    let recording = sim.run().unwrap();
    assert!(panicked(&recording).unwrap().1.contains("the metric `ratio`"), "{:?}", recording.ending);
    assert!(recording.metrics.iter().all(|series| series.points.is_empty()));
    let recording = record(FaultPlan::none(), async |node| {
        node.trace("span").attribute("ratio", f64::NAN).instant();
        node.counter("count").add(f64::NAN);
    });
    assert!(
        matches!(recording.attributes[0].value, Value::Text(name) if recording.text(name) == "not a number")
    );
    assert_eq!(recording.metrics[0].points[0].value, 0.0);
}

#[test]
fn operations_end_as_the_client_says_and_stay_pending_where_it_says_nothing() {
    let recording = record(crash(40), async |node| {
        let begin = |process: u32| node.invoke(process, "write", "x", &(process, "value"));
        let (ok, failed, unknown, dropped, pending) = (begin(0), begin(1), begin(2), begin(3), begin(4));
        node.sleep(ms(10)).await;
        ok.ok(&[1, 2]);
        node.sleep(ms(10)).await;
        failed.failed("refused");
        unknown.unknown("timed out");
        drop(dropped);
        node.sleep(secs(1)).await;
        pending.ok(&());
    });
    let text = |outcome: OperationOutcome| match outcome {
        OperationOutcome::Pending => "pending".to_owned(),
        OperationOutcome::Ok(name) => format!("ok {}", recording.text(name)),
        OperationOutcome::Fail(name) => format!("fail {}", recording.text(name)),
        OperationOutcome::Unknown(name) => format!("unknown {}", recording.text(name)),
    };
    let outcomes: Vec<String> =
        recording.operations.iter().map(|operation| text(operation.outcome)).collect();
    assert_eq!(outcomes, ["ok [1,2]", "fail refused", "unknown timed out", "pending", "pending"]);
    let first = &recording.operations[0];
    assert_eq!((recording.text(first.function), recording.text(first.key)), ("write", "x"));
    assert_eq!(recording.text(first.input), r#"[0,"value"]"#);
    assert_eq!((first.invoked.since_start(), first.completed.since_start()), (ms(0), ms(10)));
    assert_eq!(recording.operations[4].completed, SimTime::MAX);
}

#[test]
fn a_property_that_was_never_checked_did_not_hold() {
    let mut sim = world();
    for kind in [PropertyKind::Always, PropertyKind::Sometimes, PropertyKind::Eventually] {
        sim.expect_property(kind, "never checked");
    }
    sim.expect_property(PropertyKind::Always, "a always holds");
    sim.node("node", async |node| {
        for round in 0..3 {
            node.always("a always holds", true, || unreachable!("it is asked for on failure only"));
            node.always("b fails once", round != 1, || format!("round {round}"));
            node.sometimes("c comes up", round == 1);
            node.sometimes("d never comes up", false);
            node.eventually("e in the end", round == 2, String::new);
            node.eventually("f not in the end", round != 2, || "still not".to_owned());
            node.sleep(ms(1)).await;
        }
    });
    let recording = run(sim);
    let held: Vec<&str> = recording
        .properties
        .iter()
        .filter(|property| property.held())
        .map(|property| property.name.as_str())
        .collect();
    assert_eq!(held, ["a always holds", "c comes up", "e in the end"]);
    assert_eq!(recording.properties.len(), 9);
    let b = recording.properties.iter().find(|property| property.name == "b fails once").unwrap();
    let failure = b.first_failure.as_ref().unwrap();
    assert_eq!((failure.at.since_start(), failure.detail.as_str()), (ms(1), "round 1"));
    assert_eq!((b.checks, b.passes), (3, 2));
}

// ---- spans ----

#[test]
fn spans_nest_and_survive_awaits() {
    let recording = record(FaultPlan::none(), async |node| {
        let inner = node.span("inner").kind(SpanKind::Client).attribute("n", 5_u32);
        let outer = node.trace("outer").run(async {
            node.sleep(ms(10)).await;
            // Two at once, each with children of its own: the current span follows who is polled.
            let work = async |name: &str, time| {
                node.span(name)
                    .run(async {
                        node.sleep(ms(time)).await;
                        node.span("leaf").attribute("of", name).instant();
                    })
                    .await;
            };
            sim_core::combine::join(work("a", 5), work("b", 3)).await;
            node.attribute("after", true);
        });
        outer.await;
        inner.run(async { node.fail("no luck") }).await;
        assert!(!node.current_span().is_some());
    });
    let (outer, span_outer) = span(&recording, "outer");
    let ((a, span_a), (b, span_b)) = (span(&recording, "a"), span(&recording, "b"));
    assert_eq!((span_outer.parent, span_a.parent, span_b.parent), (SpanIndex::NONE, outer, outer));
    assert_eq!(
        [interval(span_outer), interval(span_a), interval(span_b)],
        ["0s to 15ms", "10ms to 15ms", "10ms to 13ms"]
    );
    let leaves: Vec<&Span> =
        recording.spans.iter().filter(|span| recording.text(span.name) == "leaf").collect();
    assert_eq!([leaves[0].parent, leaves[1].parent], [b, a]);
    assert_eq!(leaves[0].end, leaves[0].start, "what takes no time is recorded so");
    assert!(recording.spans[..recording.spans.len() - 1].iter().all(|span| span.trace == span_outer.trace));
    let (inner, span_inner) = span(&recording, "inner");
    assert_ne!(span_inner.trace, span_outer.trace);
    assert_eq!(span_inner.kind, SpanKind::Client);
    assert!(matches!(span_inner.status, SpanStatus::Error(name) if recording.text(name) == "no luck"));
    let of = |index| -> Vec<(&str, Value)> {
        let own = recording.attributes.iter().filter(|attribute| attribute.span == index);
        own.map(|attribute| (recording.text(attribute.key), attribute.value)).collect()
    };
    assert_eq!(of(inner), [("n", Value::Int(5))]);
    assert_eq!(of(outer), [("after", Value::Bool(true))]);
}

#[test]
fn a_task_that_a_span_starts_belongs_to_it_and_may_outlive_it() {
    let recording = record(FaultPlan::none(), async |node| {
        let me = node.clone();
        node.trace("request")
            .run(async {
                node.spawn_detached(async move {
                    me.sleep(ms(5)).await;
                    me.span("later").run(me.sleep(ms(5))).await;
                });
                let queued = node.current_span();
                let me = node.clone();
                let handed_over = async move { me.span_in(queued, "handed over").instant() };
                node.spawn(node.within(SpanIndex::NONE, handed_over)).await;
            })
            .await;
    });
    let (request, _) = span(&recording, "request");
    assert_eq!(span(&recording, "later").1.parent, request);
    assert_eq!(interval(span(&recording, "later").1), "5ms to 10ms");
    assert_eq!(span(&recording, "handed over").1.parent, request);
    assert_eq!(interval(span(&recording, "request").1), "0s to 1ns");
}

#[test]
fn a_crash_or_a_time_out_or_the_end_of_the_run_cuts_a_span_short() {
    let recording = record(crash(20), async |node| {
        assert!(node.timeout(ms(5), node.trace("given up").run(node.sleep(secs(1)))).await.is_none());
        let me = node.clone();
        node.spawn_detached(async move { me.trace("whole").run(me.sleep(ms(5))).await });
        node.trace("crashed").run(node.sleep(secs(1))).await;
    });
    let get = |name| interval(span(&recording, name).1);
    assert_eq!(
        [get("given up"), get("whole"), get("crashed")],
        ["0s to 5ms cut", "5ms to 10ms", "5ms to 20ms cut"]
    );
    let recording = record(FaultPlan::none(), async |node| {
        node.trace("open").start();
        node.trace("endless").run(node.sleep(secs(100))).await;
    });
    let get = |name| interval(span(&recording, name).1);
    assert_eq!([get("open"), get("endless")], ["0s to 10s cut", "0s to 10s cut"]);
}

#[test]
fn links_lead_to_other_traces_only() {
    let recording = record(FaultPlan::none(), async |node| {
        let first = node.trace("first").instant();
        node.trace("second")
            .run(async {
                let sibling = node.span("sibling").instant();
                node.link(first);
                node.link(sibling);
                node.link(node.current_span());
                node.link(SpanIndex::NONE);
            })
            .await;
    });
    assert_eq!(recording.links.len(), 1);
    assert_eq!(
        (recording.links[0].span, recording.links[0].to),
        (span(&recording, "second").0, span(&recording, "first").0)
    );
}

#[test]
fn events_belong_to_the_span_in_which_they_happen() {
    let recording = record(FaultPlan::none(), async |node| {
        node.event("nowhere", "");
        node.trace("span")
            .run(async {
                node.sleep(ms(3)).await;
                node.event("cache.miss", "key 7");
            })
            .await;
    });
    assert_eq!(recording.span_events.len(), 1);
    let event = recording.span_events[0];
    assert_eq!((recording.text(event.name), recording.text(event.detail)), ("cache.miss", "key 7"));
    assert_eq!((event.at.since_start(), event.span), (ms(3), span(&recording, "span").0));
}

#[derive(Serialize, Deserialize)]
struct Ask;
impl Request for Ask {
    type Response = ();
}

#[test]
fn a_call_joins_the_two_sides_in_one_trace() {
    let mut sim = world();
    sim.default_link(Link::constant(ms(1)));
    let server = sim.node("server", async |node| {
        node.serve(async |call, Ask| call.node().span("work").run(call.node().sleep(ms(5))).await);
    });
    sim.node("client", async move |node| {
        node.trace("operation").run(async { node.call(server, &Ask).await.unwrap() }).await;
    });
    let recording = run(sim);
    let path: Vec<(SpanKind, &str)> =
        recording.spans.iter().map(|span| (span.kind, recording.node_name(span.node))).collect();
    use SpanKind::{Client, Internal, Server};
    assert_eq!(path, [(Internal, "client"), (Client, "client"), (Server, "server"), (Internal, "server")]);
    for (index, span) in recording.spans.iter().enumerate() {
        assert_eq!(span.trace, 0);
        assert_eq!(span.parent, if index == 0 { SpanIndex::NONE } else { SpanIndex(index as u32 - 1) });
    }
}

// ---- as a whole ----

#[test]
fn a_recording_is_the_same_after_it_was_written_and_read() {
    let recording = busy(5, RecordingLevel::Full);
    let bytes = codec::encode(&recording);
    let again: Recording = codec::decode(&bytes).unwrap();
    assert!(again == recording);
    assert_eq!(again.hash(), recording.hash());
    let mut other = again;
    other.spans[0].clock_offset += 1;
    assert_ne!(other.hash(), recording.hash(), "the hash covers every field");
}

#[test]
fn everything_in_a_busy_recording_points_to_something() {
    let recording = busy(6, RecordingLevel::Full);
    let (names, nodes, spans) =
        (recording.names.len() as u32, recording.nodes.len() as u32, recording.spans.len() as u32);
    for (index, span) in recording.spans.iter().enumerate() {
        assert!(span.name.0 < names && span.node.0 < nodes && span.end >= span.start);
        assert!(!span.parent.is_some() || span.parent.0 < index as u32, "parents come first");
        assert!(span.end <= recording.ended);
    }
    assert!(recording.attributes.iter().all(|attribute| attribute.span.0 < spans && attribute.key.0 < names));
    assert!(recording.span_events.iter().all(|event| event.span.0 < spans && event.name.0 < names));
    assert!(recording.links.iter().all(|link| link.span.0 < spans && link.to.0 < spans));
    assert!(recording.states.is_sorted_by_key(|state| state.at));
    assert!(recording.messages.is_sorted_by_key(|message| message.sent));
    for series in &recording.metrics {
        assert!(
            series.points.is_sorted_by_key(|point| point.at)
                && series.points.iter().all(|point| !point.value.is_nan())
        );
    }
    let ids: std::collections::BTreeSet<_> =
        (0..spans).map(|span| recording.ids().span(SpanIndex(span))).collect();
    assert_eq!(ids.len() as u32, spans);
}

#[test]
fn ids_differ_between_seeds_and_agree_between_runs_of_one_plan() {
    let trace =
        |seed| Sim::new(&Plan::new("ids", seed, secs(1)), RecordingLevel::Full).run().unwrap().trace_id(0);
    assert_eq!(trace(1), trace(1));
    assert_ne!(trace(1), trace(2));
}

#[test]
fn a_node_finds_others_by_name_and_service() {
    let mut sim = world();
    for name in ["web-0", "db", "web-1", "web-x"] {
        sim.node(name, async |_| {});
    }
    assert_eq!((sim.find("db"), sim.find("nobody")), (Some(NodeId(1)), None));
    assert_eq!(sim.service("web"), [NodeId(0), NodeId(2)]);
    let recording = run(sim);
    let services: Vec<&str> = recording.nodes.iter().map(|node| node.service.as_str()).collect();
    assert_eq!(services, ["web", "db", "web", "web-x"]);
}
