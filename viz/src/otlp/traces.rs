//! Spans as OTLP requests.
//!
//! Spans are taken trace by trace, and a trace is kept whole in one request as long as it fits into one: a reader who has
//! a line of a file has whole traces. Everything is one pass over spans that were sorted once, so a million of them take
//! seconds.
//!
//! A span that ended at the instant of its start (a message was sent, a handler ran: that takes no virtual time) is written
//! as one nanosecond long, since Jaeger takes a span without length for a broken one: it lengthens it itself, and warns. The
//! true end stands beside it, as `sim.end_ns`.

use std::collections::{BTreeMap, VecDeque};

use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{KeyValue, any_value::Value as OtlpValue},
    resource::v1::Resource,
    trace::v1::{
        ResourceSpans, ScopeSpans, Span, Status,
        span::{Event, Link, SpanKind as OtlpKind},
        status::StatusCode,
    },
};
use prost::Message;
use sim_core::{
    record::{self, Name, NodeIndex, Recording, SpanId, SpanIndex, SpanKind, SpanStatus, TraceId, Value},
    time::{SimTime, ns},
};

use super::{
    ExportOptions, attribute, int, resource, scope,
    size::{BATCH_BYTES, BATCH_SPANS, REQUEST_BYTES_MAX, REQUEST_SPANS_MAX, framed},
    text, unsigned,
};
use crate::epoch::Epoch;

/// The attributes that the export itself sets. A recorded attribute of the same name gives way.
const OWN_KEYS: [&str; 4] = ["sim.start_ns", "sim.end_ns", "sim.node_clock_ns", "sim.cut_short"];

/// All spans of a recording, each in exactly one request.
///
/// Traces come in the order of their numbers, spans in the order of their start; in a request they are grouped by node.
/// A trace is cut only where it is larger than a request may be ([`REQUEST_BYTES_MAX`] encoded bytes,
/// [`REQUEST_SPANS_MAX`] spans). Requests are made one at a time, so a large recording does not stand in memory twice.
///
/// Attributes of a span: the recorded ones (the last value of a key stands, in the place of its first), then
/// `sim.start_ns` and `sim.end_ns` (exact virtual nanoseconds since the start of the run), `sim.node_clock_ns` (what the
/// node's own clock showed at the start, on the same scale), and `sim.cut_short` = true where the run or its node ended first.
/// Numbers that JSON cannot write (infinities) become text.
pub fn trace_requests<'a>(
    recording: &'a Recording,
    options: &ExportOptions,
) -> impl Iterator<Item = ExportTraceServiceRequest> + 'a {
    let ids = recording.ids();
    let mut batcher = Batcher::new(recording);
    let mut builder = Builder::new(recording, options.epoch, move |t| ids.trace(t), move |s| ids.span(s));
    std::iter::from_fn(move || batcher.next(&mut builder))
}

/// Records sorted by the span they belong to, in their own order within it.
struct BySpan {
    /// Where each span's records begin in `items`, and one more for the end.
    begins: Vec<u32>,
    items: Vec<u32>,
}

impl BySpan {
    fn new(spans: usize, owners: impl Iterator<Item = SpanIndex> + Clone) -> Self {
        let mut begins = vec![0_u32; spans + 1];
        let valid = |owner: &SpanIndex| (owner.0 as usize) < spans;
        for owner in owners.clone().filter(valid) {
            begins[owner.0 as usize + 1] += 1;
        }
        for span in 0..spans {
            begins[span + 1] += begins[span];
        }
        let mut next = begins.clone();
        let mut items = vec![0_u32; begins[spans] as usize];
        for (item, owner) in owners.enumerate().filter(|(_, owner)| valid(owner)) {
            let place = &mut next[owner.0 as usize];
            items[*place as usize] = item as u32;
            *place += 1;
        }
        Self { begins, items }
    }
    fn of(&self, span: usize) -> &[u32] {
        &self.items[self.begins[span] as usize..self.begins[span + 1] as usize]
    }
}

/// Builds one span after the other.
struct Builder<'a, T, S> {
    recording: &'a Recording,
    epoch: Epoch,
    trace_id: T,
    span_id: S,
    attributes: BySpan,
    events: BySpan,
    links: BySpan,
    /// For each name: the span whose attributes were last seen to have it as a key, and the place of that attribute.
    seen: Vec<(u32, u32)>,
    own_keys: Vec<Name>,
}

impl<'a, T: Fn(u32) -> TraceId, S: Fn(SpanIndex) -> SpanId> Builder<'a, T, S> {
    fn new(recording: &'a Recording, epoch: Epoch, trace_id: T, span_id: S) -> Self {
        let spans = recording.spans.len();
        let own_keys = (0..recording.names.len() as u32)
            .map(Name)
            .filter(|&name| OWN_KEYS.contains(&recording.text(name)))
            .collect();
        Self {
            recording,
            epoch,
            trace_id,
            span_id,
            attributes: BySpan::new(spans, recording.attributes.iter().map(|a| a.span)),
            events: BySpan::new(spans, recording.span_events.iter().map(|e| e.span)),
            links: BySpan::new(spans, recording.links.iter().map(|l| l.span)),
            seen: vec![(u32::MAX, 0); recording.names.len()],
            own_keys,
        }
    }

    fn recorded_attributes(&mut self, index: usize, into: &mut Vec<KeyValue>) {
        for &item in self.attributes.of(index) {
            let record::SpanAttribute { key, value, .. } = self.recording.attributes[item as usize];
            if self.own_keys.contains(&key) {
                continue;
            }
            let built = attribute(self.recording.text(key), otlp_value(self.recording, value));
            let seen = &mut self.seen[key.0 as usize];
            if seen.0 == index as u32 {
                into[seen.1 as usize] = built;
            } else {
                *seen = (index as u32, into.len() as u32);
                into.push(built);
            }
        }
    }

    fn event(&self, item: u32) -> Event {
        let event = self.recording.span_events[item as usize];
        let mut attributes = Vec::with_capacity(2);
        let detail = self.recording.text(event.detail);
        if !detail.is_empty() {
            attributes.push(text("detail", detail));
        }
        attributes.push(unsigned("sim.at_ns", event.at.as_nanos()));
        Event {
            time_unix_nano: self.epoch.at(event.at),
            name: self.recording.text(event.name).to_owned(),
            attributes,
            dropped_attributes_count: 0,
        }
    }

    fn link(&self, item: u32) -> Option<Link> {
        let to = self.recording.links[item as usize].to;
        let target = self.recording.spans.get(to.0 as usize)?;
        Some(Link {
            trace_id: (self.trace_id)(target.trace).0.to_vec(),
            span_id: (self.span_id)(to).0.to_vec(),
            ..Link::default()
        })
    }

    fn span(&mut self, index: usize, trace_id: TraceId) -> Span {
        let span = self.recording.spans[index];
        // A span that is still open ends with the run.
        let end = if span.end == SimTime::MAX { self.recording.ended.max(span.start) } else { span.end };
        let mut attributes = Vec::with_capacity(self.attributes.of(index).len() + 4);
        self.recorded_attributes(index, &mut attributes);
        attributes.push(unsigned("sim.start_ns", span.start.as_nanos()));
        attributes.push(unsigned("sim.end_ns", end.as_nanos()));
        let start = i64::try_from(span.start.as_nanos()).unwrap_or(i64::MAX);
        attributes.push(int("sim.node_clock_ns", start.saturating_add(span.clock_offset)));
        if span.cut_short || span.end == SimTime::MAX {
            attributes.push(attribute("sim.cut_short", OtlpValue::BoolValue(true)));
        }
        let parent = if span.parent.is_some() { (self.span_id)(span.parent).0.to_vec() } else { Vec::new() };
        Span {
            trace_id: trace_id.0.to_vec(),
            span_id: (self.span_id)(SpanIndex(index as u32)).0.to_vec(),
            parent_span_id: parent,
            name: self.recording.text(span.name).to_owned(),
            kind: otlp_kind(span.kind).into(),
            start_time_unix_nano: self.epoch.at(span.start),
            end_time_unix_nano: self.epoch.at(end.max(span.start + ns(1))),
            attributes,
            events: self.events.of(index).iter().map(|&item| self.event(item)).collect(),
            links: self.links.of(index).iter().filter_map(|&item| self.link(item)).collect(),
            status: Some(otlp_status(self.recording, span.status)),
            ..Span::default()
        }
    }
}

fn otlp_kind(kind: SpanKind) -> OtlpKind {
    match kind {
        SpanKind::Internal => OtlpKind::Internal,
        SpanKind::Server => OtlpKind::Server,
        SpanKind::Client => OtlpKind::Client,
        SpanKind::Producer => OtlpKind::Producer,
        SpanKind::Consumer => OtlpKind::Consumer,
    }
}

fn otlp_status(recording: &Recording, status: SpanStatus) -> Status {
    match status {
        SpanStatus::Unset => Status::default(),
        SpanStatus::Ok => Status { code: StatusCode::Ok.into(), message: String::new() },
        SpanStatus::Error(message) => {
            Status { code: StatusCode::Error.into(), message: recording.text(message).to_owned() }
        }
    }
}

fn otlp_value(recording: &Recording, value: Value) -> OtlpValue {
    match value {
        Value::Int(n) => OtlpValue::IntValue(n),
        Value::Float(x) if x.is_finite() => OtlpValue::DoubleValue(x),
        Value::Float(x) => OtlpValue::StringValue(x.to_string()),
        Value::Bool(yes) => OtlpValue::BoolValue(yes),
        Value::Text(name) => OtlpValue::StringValue(recording.text(name).to_owned()),
    }
}

/// Spans on their way into a request, and an upper bound of its encoded size.
#[derive(Default)]
struct Batch {
    nodes: BTreeMap<u32, Vec<Span>>,
    bytes: usize,
    spans: usize,
}

impl Batch {
    fn is_empty(&self) -> bool {
        self.spans == 0
    }
    fn take_in(&mut self, other: Self) {
        for (node, spans) in other.nodes {
            self.nodes.entry(node).or_default().extend(spans);
        }
        self.bytes += other.bytes; // a node that both have is counted twice: still an upper bound
        self.spans += other.spans;
    }
}

/// Shares spans out between requests.
struct Batcher {
    /// All spans, by trace and then by index.
    order: Vec<u32>,
    cursor: usize,
    resources: BTreeMap<u32, (Resource, usize)>,
    /// The request that is being filled with whole traces.
    batch: Batch,
    /// The trace that is being read.
    trace: Batch,
    trace_now: Option<(u32, TraceId)>,
    ready: VecDeque<ExportTraceServiceRequest>,
}

impl Batcher {
    fn new(recording: &Recording) -> Self {
        let mut order: Vec<u32> = (0..recording.spans.len() as u32).collect();
        order.sort_by_key(|&index| recording.spans[index as usize].trace); // stable: by index within a trace
        Self {
            order,
            cursor: 0,
            resources: BTreeMap::new(),
            batch: Batch::default(),
            trace: Batch::default(),
            trace_now: None,
            ready: VecDeque::new(),
        }
    }

    fn next<T: Fn(u32) -> TraceId, S: Fn(SpanIndex) -> SpanId>(
        &mut self,
        builder: &mut Builder<'_, T, S>,
    ) -> Option<ExportTraceServiceRequest> {
        loop {
            if let Some(request) = self.ready.pop_front() {
                return Some(request);
            }
            let Some(&index) = self.order.get(self.cursor) else {
                self.close_trace();
                let last = std::mem::take(&mut self.batch);
                if !last.is_empty() {
                    let request = self.request(last);
                    self.ready.push_back(request);
                }
                return self.ready.pop_front();
            };
            self.cursor += 1;
            self.take(index as usize, builder);
        }
    }

    fn take<T: Fn(u32) -> TraceId, S: Fn(SpanIndex) -> SpanId>(
        &mut self,
        index: usize,
        builder: &mut Builder<'_, T, S>,
    ) {
        let recorded = builder.recording.spans[index];
        let trace_id = match self.trace_now {
            Some((trace, id)) if trace == recorded.trace => id,
            _ => {
                self.close_trace();
                let id = (builder.trace_id)(recorded.trace);
                self.trace_now = Some((recorded.trace, id));
                id
            }
        };
        let span = builder.span(index, trace_id);
        // Spans of nodes that do not exist belong to the whole run.
        let node = if (recorded.node.0 as usize) < builder.recording.nodes.len() {
            recorded.node
        } else {
            NodeIndex::NONE
        };
        let (_, node_bytes) = self.resources.entry(node.0).or_insert_with(|| {
            let resource = resource(builder.recording, node);
            // The resource, the scope, and the frames of the two messages around the spans.
            let bytes = framed(&resource) + framed(&scope()) + 12;
            (resource, bytes)
        });
        let node_bytes = *node_bytes;
        let bytes = framed(&span);
        if !self.trace.is_empty()
            && (self.trace.bytes + bytes + node_bytes >= REQUEST_BYTES_MAX
                || self.trace.spans >= REQUEST_SPANS_MAX)
        {
            // This trace is larger than a request may be: it goes out in pieces, alone.
            for full in [std::mem::take(&mut self.batch), std::mem::take(&mut self.trace)] {
                if !full.is_empty() {
                    let request = self.request(full);
                    self.ready.push_back(request);
                }
            }
        }
        let spans = self.trace.nodes.entry(node.0).or_default();
        if spans.is_empty() {
            self.trace.bytes += node_bytes;
        }
        spans.push(span);
        self.trace.bytes += bytes;
        self.trace.spans += 1;
    }

    /// The trace is whole: it joins the request, or the next one where it does not fit.
    fn close_trace(&mut self) {
        if self.trace.is_empty() {
            return;
        }
        let trace = std::mem::take(&mut self.trace);
        let fits =
            self.batch.bytes + trace.bytes <= BATCH_BYTES && self.batch.spans + trace.spans <= BATCH_SPANS;
        if !self.batch.is_empty() && !fits {
            let full = std::mem::take(&mut self.batch);
            let request = self.request(full);
            self.ready.push_back(request);
        }
        self.batch.take_in(trace);
    }

    fn request(&self, batch: Batch) -> ExportTraceServiceRequest {
        let resource_spans = batch
            .nodes
            .into_iter()
            .map(|(node, spans)| ResourceSpans {
                resource: self.resources.get(&node).map(|(resource, _)| resource.clone()),
                scope_spans: vec![ScopeSpans { scope: Some(scope()), spans, schema_url: String::new() }],
                schema_url: String::new(),
            })
            .collect();
        let request = ExportTraceServiceRequest { resource_spans };
        debug_assert!(request.encoded_len() <= batch.bytes, "the bound on the size is one");
        request
    }
}
