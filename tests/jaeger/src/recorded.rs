//! What a recording means by its spans, worked out here once more from the recording alone.
//!
//! The export has code of its own for this (`viz/src/otlp`), and none of it is used: a test that compared what Jaeger tells
//! with what the export wrote would not notice that both forgot something. So this is the export's promise in a second
//! handwriting, straight from [`Recording`] to the form in which spans are compared.

use std::collections::BTreeMap;

use sim_core::record::{Name, NodeIndex, Recording, SpanIndex, SpanKind, SpanStatus, Value};

use crate::spans::{AttributeValue, Attributes, Event, Link, Span, Spans, Status};

/// The date of virtual time zero unless another is asked for: 2000-01-01T00:00:00Z, in nanoseconds since 1970.
const EPOCH: u64 = 946_684_800_000_000_000;

/// The attributes that the export itself sets; recorded ones of these names give way.
const OWN: [&str; 4] = ["sim.start_ns", "sim.end_ns", "sim.node_clock_ns", "sim.cut_short"];

impl Spans {
    /// All spans of a recording, as they are to be told by whoever got them, with the default date of virtual time zero.
    pub fn recorded(recording: &Recording) -> Self {
        let mut attributes: BTreeMap<SpanIndex, BTreeMap<Name, Value>> = BTreeMap::new();
        for one in &recording.attributes {
            attributes.entry(one.span).or_default().insert(one.key, one.value);
        }
        let mut events: BTreeMap<SpanIndex, Vec<Event>> = BTreeMap::new();
        for one in &recording.span_events {
            let mut said = vec![("sim.at_ns".to_owned(), whole(one.at.as_nanos()))];
            if one.detail != Name::EMPTY {
                said.push(("detail".to_owned(), text(recording.text(one.detail))));
            }
            events.entry(one.span).or_default().push(Event {
                time: EPOCH + one.at.as_nanos(),
                name: recording.text(one.name).to_owned(),
                attributes: sorted(said),
            });
        }
        let ids = recording.ids();
        let mut links: BTreeMap<SpanIndex, Vec<Link>> = BTreeMap::new();
        for one in &recording.links {
            links.entry(one.span).or_default().push(Link {
                trace_id: ids.trace(recording.spans[one.to.0 as usize].trace).to_string(),
                span_id: ids.span(one.to).to_string(),
                trace_state: String::new(),
                flags: 0,
                attributes: Attributes::default(),
            });
        }

        let told = recording.spans.iter().zip(0..).map(|(span, index)| {
            let index = SpanIndex(index);
            let recorded = attributes.remove(&index).unwrap_or_default();
            let mut said: Vec<(String, AttributeValue)> = recorded
                .into_iter()
                .map(|(key, value)| (recording.text(key).to_owned(), value_of(recording, value)))
                .filter(|(key, _)| !OWN.contains(&key.as_str()))
                .collect();
            let start = span.start.as_nanos();
            said.push(("sim.start_ns".to_owned(), whole(start)));
            said.push(("sim.end_ns".to_owned(), whole(span.end.as_nanos())));
            said.push((
                "sim.node_clock_ns".to_owned(),
                AttributeValue::Int(start as i64 + span.clock_offset),
            ));
            if span.cut_short {
                said.push(("sim.cut_short".to_owned(), AttributeValue::Bool(true)));
            }
            let mut events = events.remove(&index).unwrap_or_default();
            events.sort();
            Span {
                trace_id: ids.trace(span.trace).to_string(),
                span_id: ids.span(index).to_string(),
                parent_span_id: if span.parent.is_some() {
                    ids.span(span.parent).to_string()
                } else {
                    String::new()
                },
                name: recording.text(span.name).to_owned(),
                kind: match span.kind {
                    SpanKind::Internal => 1,
                    SpanKind::Server => 2,
                    SpanKind::Client => 3,
                    SpanKind::Producer => 4,
                    SpanKind::Consumer => 5,
                },
                start: EPOCH + start,
                // A span without length is told as one of a nanosecond: Jaeger would change it, and complain of it.
                end: EPOCH + span.end.as_nanos().max(start + 1),
                attributes: sorted(said),
                events,
                links: links.remove(&index).unwrap_or_default(),
                status: match span.status {
                    SpanStatus::Unset => Status::default(),
                    SpanStatus::Ok => Status { code: 1, message: String::new() },
                    SpanStatus::Error(why) => Status { code: 2, message: recording.text(why).to_owned() },
                },
                trace_state: String::new(),
                flags: 0,
                resource: resource(recording, span.node),
                scope_name: "shaketable".to_owned(),
                scope_version: env!("CARGO_PKG_VERSION").to_owned(),
                scope_attributes: Attributes::default(),
            }
        });
        told.collect()
    }
}

/// What is said of the node that a span is of.
fn resource(recording: &Recording, node: NodeIndex) -> Attributes {
    let (node, origin) = (&recording.nodes[node.0 as usize], &recording.origin);
    let mut said: Vec<(String, AttributeValue)> = [
        ("service.name", node.service.as_str()),
        ("service.instance.id", &node.name),
        ("service.namespace", &origin.scenario),
        ("host.id", "shaketable"), // one and the same for all, or Jaeger would speak of clocks that differ
        ("sim.scenario", &origin.scenario),
        ("sim.variant", &origin.variant),
    ]
    .map(|(key, value)| (key.to_owned(), text(value)))
    .into();
    said.push(("sim.seed".to_owned(), whole(origin.seed)));
    if !node.region.is_empty() {
        said.push(("sim.region".to_owned(), text(&node.region)));
    }
    sorted(said)
}

fn sorted(mut said: Vec<(String, AttributeValue)>) -> Attributes {
    said.sort();
    Attributes(said)
}

fn text(value: &str) -> AttributeValue {
    AttributeValue::String(value.to_owned())
}

/// Times of a run and seeds of a plan are below 2^63, where OTLP's whole numbers end.
fn whole(value: u64) -> AttributeValue {
    AttributeValue::Int(i64::try_from(value).expect("a time of a run, or a seed"))
}

fn value_of(recording: &Recording, value: Value) -> AttributeValue {
    match value {
        Value::Int(n) => AttributeValue::Int(n),
        Value::Float(x) if x.is_finite() => AttributeValue::Double(x.to_bits()),
        // JSON has no infinity.
        Value::Float(x) => text(if x > 0.0 { "inf" } else { "-inf" }),
        Value::Bool(yes) => AttributeValue::Bool(yes),
        Value::Text(name) => text(recording.text(name)),
    }
}
