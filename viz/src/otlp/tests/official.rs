//! The spans that the official conversion makes of the SDK's spans: ours are the same.

use std::{
    borrow::Cow,
    time::{Duration, UNIX_EPOCH},
};

use opentelemetry::{
    InstrumentationScope, KeyValue,
    trace::{Event, Link, SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState},
};
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};
use sim_core::{
    record::{Recording, SpanIndex, SpanStatus, Value},
    time::SimTime,
};

use super::{all_spans, requests};
use crate::{EPOCH_DEFAULT, testing::one_of_everything};

fn context(recording: &Recording, span: SpanIndex) -> SpanContext {
    let trace = recording.ids().trace(recording.spans[span.0 as usize].trace);
    let (trace, span) = (TraceId::from_bytes(trace.0), SpanId::from_bytes(recording.ids().span(span).0));
    SpanContext::new(trace, span, TraceFlags::NOT_SAMPLED, false, TraceState::NONE)
}

fn key_value(recording: &Recording, key: &str, value: Value) -> KeyValue {
    let key = key.to_owned();
    match value {
        Value::Int(n) => KeyValue::new(key, n),
        Value::Float(x) => KeyValue::new(key, x),
        Value::Bool(b) => KeyValue::new(key, b),
        Value::Text(name) => KeyValue::new(key, recording.text(name).to_owned()),
    }
}

/// The span as a program would have reported it to the SDK.
fn reported(recording: &Recording, index: u32) -> SpanData {
    let own = SpanIndex(index);
    let span = recording.spans[index as usize];
    let date = |at: SimTime| UNIX_EPOCH + Duration::from_nanos(EPOCH_DEFAULT.at(at));
    let mut attributes: Vec<KeyValue> = Vec::new();
    for attribute in recording.attributes.iter().filter(|a| a.span == own) {
        let new = key_value(recording, recording.text(attribute.key), attribute.value);
        match attributes.iter_mut().find(|known| known.key == new.key) {
            Some(known) => *known = new,
            None => attributes.push(new),
        }
    }
    let start = span.start.as_nanos() as i64;
    attributes.push(KeyValue::new("sim.start_ns", start));
    attributes.push(KeyValue::new("sim.end_ns", span.end.as_nanos() as i64));
    attributes.push(KeyValue::new("sim.node_clock_ns", start + span.clock_offset));
    if span.cut_short {
        attributes.push(KeyValue::new("sim.cut_short", true));
    }
    let mut events = SpanEvents::default();
    for event in recording.span_events.iter().filter(|e| e.span == own) {
        let mut attributes = Vec::new();
        if !recording.text(event.detail).is_empty() {
            attributes.push(KeyValue::new("detail", recording.text(event.detail).to_owned()));
        }
        attributes.push(KeyValue::new("sim.at_ns", event.at.as_nanos() as i64));
        events.events.push(Event::new(recording.text(event.name).to_owned(), date(event.at), attributes, 0));
    }
    let mut links = SpanLinks::default();
    for link in recording.links.iter().filter(|l| l.span == own) {
        links.links.push(Link::new(context(recording, link.to), Vec::new(), 0));
    }
    let parent = match span.parent {
        SpanIndex::NONE => SpanId::INVALID,
        parent => context(recording, parent).span_id(),
    };
    SpanData {
        span_context: context(recording, own),
        parent_span_id: parent,
        parent_span_is_remote: false,
        span_kind: match span.kind {
            sim_core::record::SpanKind::Internal => SpanKind::Internal,
            sim_core::record::SpanKind::Server => SpanKind::Server,
            sim_core::record::SpanKind::Client => SpanKind::Client,
            sim_core::record::SpanKind::Producer => SpanKind::Producer,
            sim_core::record::SpanKind::Consumer => SpanKind::Consumer,
        },
        name: Cow::Owned(recording.text(span.name).to_owned()),
        start_time: date(span.start),
        end_time: date(span.end),
        attributes,
        dropped_attributes_count: 0,
        events,
        links,
        status: match span.status {
            SpanStatus::Unset => Status::Unset,
            SpanStatus::Ok => Status::Ok,
            SpanStatus::Error(message) => Status::error(recording.text(message).to_owned()),
        },
        instrumentation_scope: InstrumentationScope::default(),
    }
}

#[test]
fn the_official_conversion_makes_the_same_spans() {
    let recording = one_of_everything();
    let requests = requests(&recording);
    for ours in all_spans(&requests) {
        let index = (0..recording.spans.len() as u32)
            .find(|&i| recording.ids().span(SpanIndex(i)).0.as_slice() == ours.span_id)
            .unwrap();
        let mut theirs: Span = reported(&recording, index).into();
        // The SDK says in the flags that it knows the parent to be local. We do not: flags stay unset.
        theirs.flags = 0;
        theirs.links.iter_mut().for_each(|link| link.flags = 0);
        assert_eq!(*ours, theirs);
    }
    assert_eq!(all_spans(&requests).len(), recording.spans.len());
}
