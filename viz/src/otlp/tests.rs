//! What the OTLP requests promise: the same bytes each time, each span exactly once, nothing changed on the way into
//! bytes or JSON and back, and the same span as the official conversion makes of it.

mod official;

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::{
    common::v1::{KeyValue, any_value::Value as OtlpValue},
    metrics::v1::{Metric, metric::Data, number_data_point},
    trace::v1::{ResourceSpans, Span},
};
use proptest::prelude::*;
use prost::Message;
use sim_core::{
    record::{MetricKind, NodeIndex, Recording, SpanIndex, Value},
    time::{SimTime, ms},
};

use super::*;
use crate::testing::{Maker, at, one_of_everything};

fn requests(recording: &Recording) -> Vec<ExportTraceServiceRequest> {
    trace_requests(recording, &ExportOptions::default()).collect()
}

fn all_spans(requests: &[ExportTraceServiceRequest]) -> Vec<&Span> {
    let resources = requests.iter().flat_map(|r| &r.resource_spans);
    resources.flat_map(|r| &r.scope_spans).flat_map(|s| &s.spans).collect()
}

fn get<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a OtlpValue> {
    let mut found = attributes.iter().filter(|a| a.key == key);
    let value = found.next()?.value.as_ref()?.value.as_ref();
    assert!(found.next().is_none(), "`{key}` stands there once");
    value
}

fn service(resource: &ResourceSpans) -> &OtlpValue {
    get(&resource.resource.as_ref().unwrap().attributes, "service.name").unwrap()
}

fn texts(value: &str) -> OtlpValue {
    OtlpValue::StringValue(value.to_owned())
}

#[test]
fn two_exports_of_one_recording_have_the_same_bytes() {
    let recording = one_of_everything();
    let bytes = |recording: &Recording| -> Vec<Vec<u8>> {
        requests(recording).iter().map(Message::encode_to_vec).collect()
    };
    assert_eq!(bytes(&recording), bytes(&recording.clone()));
    let metrics = |r: &Recording| -> Vec<Vec<u8>> {
        metric_requests(r, &ExportOptions::default()).iter().map(Message::encode_to_vec).collect()
    };
    assert_eq!(metrics(&recording), metrics(&recording.clone()));
}

#[test]
fn bytes_and_json_read_back_are_the_same_request() {
    let recording = one_of_everything();
    for request in requests(&recording) {
        assert_eq!(ExportTraceServiceRequest::decode(&request.encode_to_vec()[..]), Ok(request.clone()));
        let json = serde_json::to_string(&request).unwrap();
        assert_eq!(serde_json::from_str::<ExportTraceServiceRequest>(&json).unwrap(), request);
        assert!(!json.contains("null"), "no receiver has to guess what a null means: {json}");
    }
    let metrics = metric_requests(&recording, &ExportOptions::default());
    assert!(!metrics.is_empty());
    for request in metrics {
        assert_eq!(ExportMetricsServiceRequest::decode(&request.encode_to_vec()[..]), Ok(request.clone()));
        let json = serde_json::to_string(&request).unwrap();
        assert_eq!(serde_json::from_str::<ExportMetricsServiceRequest>(&json).unwrap(), request);
    }
}

#[test]
fn a_node_is_a_resource_and_all_share_one_host() {
    let recording = one_of_everything();
    let requests = requests(&recording);
    assert_eq!(requests.len(), 1);
    let services: Vec<_> = requests[0].resource_spans.iter().map(service).collect();
    assert_eq!(services, [&texts("web"), &texts("db"), &texts(WHOLE_RUN)]);
    for resource in &requests[0].resource_spans {
        let attributes = &resource.resource.as_ref().unwrap().attributes;
        assert_eq!(get(attributes, "host.id"), Some(&texts(HOST_ID)));
        assert_eq!(get(attributes, "service.namespace"), Some(&texts("thundering-herd")));
        assert_eq!(get(attributes, "sim.scenario"), Some(&texts("thundering-herd")));
        assert_eq!(get(attributes, "sim.variant"), Some(&texts("naive")));
        assert_eq!(get(attributes, "sim.seed"), Some(&OtlpValue::IntValue(42)));
    }
    let db = &requests[0].resource_spans[1].resource.as_ref().unwrap().attributes;
    assert_eq!(get(db, "service.instance.id"), Some(&texts("db")));
    assert_eq!(get(db, "sim.region"), Some(&texts("eu-west-1")));
}

#[test]
fn a_seed_that_no_signed_number_holds_stays_the_same_number_as_text() {
    let mut recording = one_of_everything();
    recording.origin.seed = u64::MAX;
    let requests = requests(&recording);
    let attributes = &requests[0].resource_spans[0].resource.as_ref().unwrap().attributes;
    assert_eq!(get(attributes, "sim.seed"), Some(&texts("18446744073709551615")));
}

#[test]
fn a_span_has_its_exact_times_its_nodes_clock_and_its_relations() {
    let recording = one_of_everything();
    let (requests, ids) = (requests(&recording), recording.ids());
    let spans = all_spans(&requests);
    let named = |name: &str| *spans.iter().find(|span| span.name == name).unwrap();
    let (get_hot, query, refresh) = (named("GET /hot"), named("query"), named("refresh"));

    assert_eq!(get_hot.trace_id, ids.trace(0).0);
    assert_eq!(get_hot.span_id, ids.span(SpanIndex(0)).0);
    assert!(get_hot.parent_span_id.is_empty());
    assert_eq!(get_hot.start_time_unix_nano, 946_684_801_900_000_000);
    assert_eq!(get_hot.end_time_unix_nano, 946_684_801_962_000_000);
    assert_eq!(get(&get_hot.attributes, "sim.start_ns"), Some(&OtlpValue::IntValue(1_900_000_000)));
    assert_eq!(get(&get_hot.attributes, "sim.end_ns"), Some(&OtlpValue::IntValue(1_962_000_000)));
    assert_eq!(get(&get_hot.attributes, "sim.node_clock_ns"), Some(&OtlpValue::IntValue(1_899_999_995)));
    assert_eq!(get(&get_hot.attributes, "sim.cut_short"), None);
    assert_eq!((get_hot.kind, get_hot.status.as_ref().unwrap().code), (2, 1));
    let event = &get_hot.events[0];
    assert_eq!((event.name.as_str(), event.time_unix_nano), ("packet.dropped", 946_684_801_950_000_000));
    assert_eq!(get(&event.attributes, "detail"), Some(&texts("partition")));
    assert_eq!(get(&event.attributes, "sim.at_ns"), Some(&OtlpValue::IntValue(1_950_000_000)));
    assert_eq!(get(&get_hot.events[1].attributes, "detail"), None);

    assert_eq!(query.trace_id, get_hot.trace_id);
    assert_eq!(query.parent_span_id, get_hot.span_id);
    assert_eq!((query.kind, query.status.as_ref().unwrap().code), (3, 2));
    assert_eq!(query.status.as_ref().unwrap().message, "too many connections");

    assert_eq!(get(&refresh.attributes, "sim.cut_short"), Some(&OtlpValue::BoolValue(true)));
    assert_eq!(refresh.links.len(), 1);
    assert_eq!(refresh.links[0].span_id, query.span_id);
    assert_eq!(refresh.links[0].trace_id, query.trace_id);
    assert_ne!(refresh.trace_id, query.trace_id);
}

#[test]
fn the_last_value_of_a_key_stands_in_the_place_of_the_first() {
    let mut m = Maker::new();
    let node = m.node("n", "n");
    let (a, b) = (m.span(None, node, "a", 1, 2), m.span(None, node, "b", 1, 2));
    for (span, key, value) in
        [(a, "x", 1), (b, "x", 2), (a, "y", 3), (a, "x", 4), (b, "x", 5), (a, "z", 6), (a, "y", 7)]
    {
        m.attribute(span, key, Value::Int(value));
    }
    m.attribute(a, "sim.start_ns", Value::Int(999)); // the export's own
    m.attribute(a, "far", Value::Float(f64::INFINITY));
    let requests = requests(&m.recording);
    let spans = all_spans(&requests);
    let own = |span: &Span| -> Vec<(String, OtlpValue)> {
        let all = span.attributes.iter().filter(|a| !a.key.starts_with("sim."));
        all.map(|a| (a.key.clone(), a.value.clone().unwrap().value.unwrap())).collect()
    };
    let int = |key: &str, value| (key.to_owned(), OtlpValue::IntValue(value));
    assert_eq!(own(spans[0]), [int("x", 4), int("y", 7), int("z", 6), ("far".to_owned(), texts("inf"))]);
    assert_eq!(own(spans[1]), [int("x", 5)]);
    assert_eq!(get(&spans[0].attributes, "sim.start_ns"), Some(&OtlpValue::IntValue(1_000_000)));
}

#[test]
fn a_span_that_is_still_open_ends_with_the_run_and_is_cut_short() {
    let mut m = Maker::new();
    let node = m.node("n", "n");
    let span = m.span(None, node, "loop", 5, 6);
    m.change(span).end = SimTime::MAX;
    let requests = requests(&m.recording);
    let span = all_spans(&requests)[0];
    assert_eq!(get(&span.attributes, "sim.end_ns"), Some(&OtlpValue::IntValue(10_000_000_000)));
    assert_eq!(get(&span.attributes, "sim.cut_short"), Some(&OtlpValue::BoolValue(true)));
}

#[test]
fn a_span_without_length_is_written_a_nanosecond_long_with_its_true_end_beside_it() {
    let mut m = Maker::new();
    let node = m.node("n", "n");
    m.span(None, node, "sent", 5, 5);
    let whole = m.span(None, node, "whole", 5, 6);
    m.change(whole).end = m.recording.spans[whole.0 as usize].start + sim_core::time::ns(1);
    let open = m.span(None, node, "open", 10_000, 10_001);
    m.change(open).end = SimTime::MAX; // it began at the very end of the run
    let requests = requests(&m.recording);
    let ends: Vec<(u64, Option<&OtlpValue>)> = all_spans(&requests)
        .iter()
        .map(|span| {
            (span.end_time_unix_nano - span.start_time_unix_nano, get(&span.attributes, "sim.end_ns"))
        })
        .collect();
    let end = OtlpValue::IntValue;
    let (sent, whole, open) = (end(5_000_000), end(5_000_001), end(10_000_000_000));
    assert_eq!(ends, [(1, Some(&sent)), (1, Some(&whole)), (1, Some(&open))]);
}

#[test]
fn a_recording_without_spans_or_metrics_has_no_requests() {
    assert!(requests(&Maker::new().recording).is_empty());
    assert!(metric_requests(&Maker::new().recording, &ExportOptions::default()).is_empty());
}

/// Traces whose spans interleave, as they do in a run.
fn interleaved(traces: usize, spans_per_trace: usize) -> Recording {
    let mut m = Maker::new();
    let nodes = [m.node("a", "a"), m.node("b", "b"), m.node("c", "c")];
    let roots: Vec<_> = (0..traces).map(|t| m.span(None, nodes[t % 3], "root", 0, 100)).collect();
    for step in 1..spans_per_trace {
        for &root in &roots {
            let span = m.span(Some(root), nodes[step % 3], "step", step as u64, step as u64 + 1);
            m.attribute(span, "step", Value::Int(step as i64));
        }
    }
    m.recording
}

#[test]
fn traces_are_kept_whole_and_requests_stay_small() {
    let recording = interleaved(2_000, 12);
    let requests = requests(&recording);
    assert!(requests.len() > 2, "24,000 spans are more than two requests take");
    let mut request_of_trace = BTreeMap::new();
    for (number, request) in requests.iter().enumerate() {
        assert!(request.encoded_len() <= BATCH_BYTES && count_spans(request) <= BATCH_SPANS);
        for span in all_spans(std::slice::from_ref(request)) {
            let first = *request_of_trace.entry(span.trace_id.clone()).or_insert(number);
            assert_eq!(first, number, "a trace lies in one request");
        }
    }
    let mut order: Vec<_> = request_of_trace.values().copied().collect();
    order.sort_unstable();
    order.dedup();
    assert_eq!(order, (0..requests.len()).collect::<Vec<_>>());
    assert_eq!(all_spans(&requests).len(), recording.spans.len());
}

#[test]
fn a_trace_larger_than_a_request_may_be_is_cut_and_nothing_is_lost() {
    let recording = interleaved(1, 31_000);
    let mut with_neighbours = recording.clone();
    let mut small = with_neighbours.spans[0];
    for trace in 1..4 {
        small.trace = trace;
        with_neighbours.spans.push(small);
    }
    let requests = requests(&with_neighbours);
    for request in &requests {
        assert!(request.encoded_len() < REQUEST_BYTES_MAX && count_spans(request) <= REQUEST_SPANS_MAX);
    }
    let large = requests.iter().map(Message::encoded_len).max().unwrap();
    assert!(large > REQUEST_BYTES_MAX * 9 / 10, "pieces are filled: {large}");
    let ids: std::collections::BTreeSet<_> = all_spans(&requests).iter().map(|s| s.span_id.clone()).collect();
    assert_eq!((ids.len(), all_spans(&requests).len()), (31_003, 31_003));
}

#[test]
fn halves_have_everything_once_and_in_order() {
    let recording = interleaved(7, 5);
    let whole = requests(&recording).remove(0);
    let (first, second) = halve_spans(whole.clone()).unwrap();
    assert_eq!((count_spans(&first), count_spans(&second)), (17, 18));
    let both = [first, second];
    assert_eq!(all_spans(&both), all_spans(std::slice::from_ref(&whole)));
    for request in &both {
        for resource in &request.resource_spans {
            let same = whole.resource_spans.iter().find(|r| r.resource == resource.resource).unwrap();
            for span in &resource.scope_spans[0].spans {
                assert!(same.scope_spans[0].spans.contains(span), "a span stays with its node");
            }
        }
    }
    let mut single = interleaved(1, 1);
    single.nodes.truncate(1);
    let single = requests(&single).remove(0);
    assert_eq!(halve_spans(single.clone()), Err(single));
}

#[test]
fn halves_of_metrics_have_every_point_once() {
    let mut request = metric_requests(&one_of_everything(), &ExportOptions::default()).remove(0);
    let total = count_points(&request);
    assert!(total > 4);
    let mut waiting = vec![std::mem::take(&mut request)];
    let mut single = Vec::new();
    while let Some(request) = waiting.pop() {
        match halve_points(request) {
            Ok((first, second)) => waiting.extend([second, first]),
            Err(one) => single.push(one),
        }
    }
    assert_eq!(single.len(), total);
    assert!(single.iter().all(|request| count_points(request) == 1));
}

fn metric<'a>(requests: &'a [ExportMetricsServiceRequest], service: &str, name: &str) -> &'a Metric {
    let resources = requests.iter().flat_map(|r| &r.resource_metrics);
    let here = |r: &&opentelemetry_proto::tonic::metrics::v1::ResourceMetrics| {
        get(&r.resource.as_ref().unwrap().attributes, "service.name") == Some(&texts(service))
    };
    let metrics = resources.filter(here).flat_map(|r| &r.scope_metrics).flat_map(|s| &s.metrics);
    metrics.into_iter().find(|m| m.name == name).unwrap()
}

#[test]
fn metrics_have_their_kind_their_unit_and_a_point_for_each_step_with_a_change() {
    let recording = one_of_everything();
    let requests = metric_requests(&recording, &ExportOptions::default());
    let start = 946_684_800_000_000_000;
    let numbers = |points: &[opentelemetry_proto::tonic::metrics::v1::NumberDataPoint]| -> Vec<(u64, f64)> {
        let number = |p: &opentelemetry_proto::tonic::metrics::v1::NumberDataPoint| match p.value {
            Some(number_data_point::Value::AsDouble(x)) => x,
            ref other => panic!("{other:?}"),
        };
        points.iter().map(|p| ((p.time_unix_nano - start) / 1_000_000, number(p))).collect()
    };
    let queries = metric(&requests, "db", "db.queries");
    let Some(Data::Sum(sum)) = &queries.data else { panic!("a counter is a sum") };
    assert!(sum.is_monotonic && sum.aggregation_temporality == 2 && queries.unit == "{query}");
    assert!(sum.data_points.iter().all(|p| p.start_time_unix_nano == start));
    assert_eq!(numbers(&sum.data_points), [(2_000, 2.0), (2_100, 5.0)]);

    let Some(Data::Gauge(load)) = &metric(&requests, "db", "db.load").data else {
        panic!("a gauge is a gauge")
    };
    assert_eq!(numbers(&load.data_points), [(0, 0.0), (2_000, 0.5)]);

    let latency = metric(&requests, "web", "latency");
    let Some(Data::Histogram(histogram)) = &latency.data else { panic!("a histogram is one") };
    assert_eq!(latency.unit, "s");
    let last = &histogram.data_points[1];
    assert_eq!((last.count, last.sum, last.min, last.max), (2, Some(0.063), Some(0.001), Some(0.062)));
    assert_eq!(last.bucket_counts.len(), last.explicit_bounds.len() + 1);
    assert_eq!(last.bucket_counts.iter().sum::<u64>(), last.count);
    metric(&requests, WHOLE_RUN, "runs");
}

#[test]
fn many_points_become_several_requests_with_each_point_once() {
    let mut m = Maker::new();
    let node = m.node("n", "n");
    let points: Vec<(u64, f64)> = (0..20_000).map(|i| (i, i as f64)).collect();
    m.series("h", node, MetricKind::Histogram, "s", &points);
    m.series("g", node, MetricKind::Gauge, "", &points);
    let requests =
        metric_requests(&m.recording, &ExportOptions { metric_step: ms(1), ..ExportOptions::default() });
    assert_eq!(requests.iter().map(count_points).sum::<usize>(), 40_000);
    assert!(requests.len() > 5);
    assert!(requests.iter().all(|r| r.encoded_len() < REQUEST_BYTES_MAX));
}

#[test]
fn an_infinite_level_survives_json() {
    let mut m = Maker::new();
    m.series("g", NodeIndex::NONE, MetricKind::Gauge, "", &[(0, f64::INFINITY), (200, f64::NEG_INFINITY)]);
    let request = metric_requests(&m.recording, &ExportOptions::default()).remove(0);
    let json = serde_json::to_string(&request).unwrap();
    assert_eq!(serde_json::from_str::<ExportMetricsServiceRequest>(&json).unwrap(), request);
}

/// Anything that a run could record: spans under random parents, records of random spans.
fn any_recording() -> impl Strategy<Value = Recording> {
    let span = (any::<u16>(), 0_u32..4, 0_u64..1_000, 0_u64..1_000, any::<i32>(), any::<bool>());
    let record = (any::<u16>(), 0_usize..4, any::<i64>());
    (proptest::collection::vec(span, 0..60), proptest::collection::vec(record, 0..80)).prop_map(
        |(spans, records)| {
            let mut m = Maker::new();
            for name in ["a", "b", "c"] {
                m.node(name, "service");
            }
            for (parent, node, start, length, offset, cut) in spans {
                let count = m.recording.spans.len();
                let choice = usize::from(parent) % (count + 1);
                let parent = (choice < count).then_some(SpanIndex(choice as u32));
                let node = if node < 3 { NodeIndex(node) } else { NodeIndex::NONE };
                let span = m.span(parent, node, "work", start, start + length);
                m.change(span).clock_offset = i64::from(offset);
                m.change(span).cut_short = cut;
            }
            let count = m.recording.spans.len();
            for (owner, what, value) in records.into_iter().filter(|_| count > 0) {
                let span = SpanIndex((usize::from(owner) % count) as u32);
                match what {
                    0 => m.attribute(span, ["x", "y"][value as usize % 2], Value::Int(value)),
                    1 => m.attribute(span, "f", Value::Float(value as f64 / 3.0)),
                    2 => m.event(span, value as u64 % 1_000, "e", ["", "detail"][value as usize % 2]),
                    _ => m.link(span, SpanIndex((value as usize % count) as u32)),
                }
            }
            m.recording
        },
    )
}

proptest! {
    #[test]
    fn every_recorded_span_is_in_exactly_one_request_with_all_of_its_records(recording in any_recording()) {
        let requests = requests(&recording);
        let spans = all_spans(&requests);
        let by_id: BTreeMap<&[u8], &Span> = spans.iter().map(|&s| (s.span_id.as_slice(), s)).collect();
        prop_assert_eq!(spans.len(), recording.spans.len());
        prop_assert_eq!(by_id.len(), recording.spans.len());
        let ids = recording.ids();
        for (index, recorded) in recording.spans.iter().enumerate() {
            let own = SpanIndex(index as u32);
            let span = by_id[ids.span(own).0.as_slice()];
            prop_assert_eq!(&span.trace_id[..], &ids.trace(recorded.trace).0[..]);
            if recorded.parent.is_some() {
                prop_assert_eq!(&span.parent_span_id[..], &ids.span(recorded.parent).0[..]);
            }
            prop_assert_eq!(span.events.len(), recording.span_events.iter().filter(|e| e.span == own).count());
            prop_assert_eq!(span.links.len(), recording.links.iter().filter(|l| l.span == own).count());
            for key in ["x", "y", "f"] {
                let written = recording.attributes.iter().rev().find(|a| a.span == own && recording.text(a.key) == key);
                let expected = written.map(|a| match a.value {
                    Value::Int(n) => OtlpValue::IntValue(n),
                    Value::Float(x) => OtlpValue::DoubleValue(x),
                    other => panic!("{other:?} was not written"),
                });
                prop_assert_eq!(get(&span.attributes, key), expected.as_ref());
            }
        }
        for request in &requests {
            let json = serde_json::to_vec(request).unwrap();
            prop_assert_eq!(&serde_json::from_slice::<ExportTraceServiceRequest>(&json).unwrap(), request);
            prop_assert_eq!(&ExportTraceServiceRequest::decode(&request.encode_to_vec()[..]).unwrap(), request);
        }
    }
}

#[test]
fn time_zero_can_be_moved() {
    let recording = one_of_everything();
    let options = ExportOptions { epoch: "2024-02-29".parse().unwrap(), ..ExportOptions::default() };
    let moved: Vec<_> = trace_requests(&recording, &options).collect();
    assert_eq!(all_spans(&moved)[0].start_time_unix_nano, 1_709_164_800_000_000_000 + at(1_900).as_nanos());
}
