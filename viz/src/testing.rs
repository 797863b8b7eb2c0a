//! Recordings made by hand, for tests.

use std::collections::BTreeMap;

use sim_core::{
    record::{
        MetricKind, Name, NodeIndex, NodeRecord, Origin, Point, Recording, Series, Span, SpanAttribute,
        SpanEvent, SpanIndex, SpanKind, SpanLink, SpanStatus, Value,
    },
    time::SimTime,
};

/// Writes a recording. Times are in milliseconds.
pub(crate) struct Maker {
    pub(crate) recording: Recording,
    names: BTreeMap<String, Name>,
}

pub(crate) fn at(ms: u64) -> SimTime {
    SimTime::from_nanos(ms * 1_000_000)
}

impl Maker {
    pub(crate) fn new() -> Self {
        let origin = Origin {
            scenario: "thundering-herd".to_owned(),
            variant: "naive".to_owned(),
            knobs: "ttl = \"4s\"\n".to_owned(),
            seed: 42,
            plan: "scenario = \"thundering-herd\"\nseed = 42\n".to_owned(),
        };
        let recording = Recording { origin, full: true, ended: at(10_000), ..Recording::default() };
        let mut maker = Self { recording, names: BTreeMap::new() };
        maker.name("");
        maker
    }
    pub(crate) fn name(&mut self, text: &str) -> Name {
        if let Some(&name) = self.names.get(text) {
            return name;
        }
        let name = Name(self.recording.names.len() as u32);
        self.recording.names.push(text.to_owned());
        self.names.insert(text.to_owned(), name);
        name
    }
    pub(crate) fn node(&mut self, name: &str, service: &str) -> NodeIndex {
        self.recording.nodes.push(NodeRecord {
            name: name.to_owned(),
            service: service.to_owned(),
            region: String::new(),
        });
        NodeIndex(self.recording.nodes.len() as u32 - 1)
    }
    /// A span; a root begins a trace of its own.
    pub(crate) fn span(
        &mut self,
        parent: Option<SpanIndex>,
        node: NodeIndex,
        name: &str,
        from: u64,
        to: u64,
    ) -> SpanIndex {
        let name = self.name(name);
        let spans = &mut self.recording.spans;
        let trace = match parent {
            Some(parent) => spans[parent.0 as usize].trace,
            None => spans.iter().filter(|span| !span.parent.is_some()).count() as u32,
        };
        spans.push(Span {
            trace,
            parent: parent.unwrap_or(SpanIndex::NONE),
            node,
            name,
            kind: SpanKind::Internal,
            status: SpanStatus::Unset,
            start: at(from),
            end: at(to),
            clock_offset: 0,
            cut_short: false,
        });
        SpanIndex(spans.len() as u32 - 1)
    }
    pub(crate) fn change(&mut self, span: SpanIndex) -> &mut Span {
        &mut self.recording.spans[span.0 as usize]
    }
    pub(crate) fn fail(&mut self, span: SpanIndex, message: &str) {
        let message = self.name(message);
        self.change(span).status = SpanStatus::Error(message);
    }
    pub(crate) fn attribute(&mut self, span: SpanIndex, key: &str, value: Value) {
        let key = self.name(key);
        self.recording.attributes.push(SpanAttribute { span, key, value });
    }
    pub(crate) fn event(&mut self, span: SpanIndex, ms: u64, name: &str, detail: &str) {
        let (name, detail) = (self.name(name), self.name(detail));
        self.recording.span_events.push(SpanEvent { span, at: at(ms), name, detail });
    }
    pub(crate) fn link(&mut self, span: SpanIndex, to: SpanIndex) {
        self.recording.links.push(SpanLink { span, to });
    }
    pub(crate) fn series(
        &mut self,
        name: &str,
        node: NodeIndex,
        kind: MetricKind,
        unit: &str,
        points: &[(u64, f64)],
    ) {
        let (name, unit) = (self.name(name), self.name(unit));
        let points = points.iter().map(|&(ms, value)| Point { at: at(ms), value }).collect();
        self.recording.metrics.push(Series { name, node, kind, unit, points });
    }
}

/// A small recording with one of everything: two nodes, two traces, a link, events, metrics of each kind.
pub(crate) fn one_of_everything() -> Recording {
    let mut m = Maker::new();
    let (web, db) = (m.node("web-0", "web"), m.node("db", "db"));
    m.recording.nodes[1].region = "eu-west-1".to_owned();
    let get = m.span(None, web, "GET /hot", 1_900, 1_962);
    let query = m.span(Some(get), db, "query", 1_901, 1_960);
    let refresh = m.span(None, NodeIndex::NONE, "refresh", 2_000, 2_500);
    m.change(get).kind = SpanKind::Server;
    m.change(get).status = SpanStatus::Ok;
    m.change(get).clock_offset = -5;
    m.change(query).kind = SpanKind::Client;
    m.change(refresh).cut_short = true;
    m.fail(query, "too many connections");
    m.attribute(query, "rows", Value::Int(-3));
    m.attribute(get, "cache.hit", Value::Bool(false));
    let (miss, plan) = (m.name("miss"), m.name("an \"index\" scan\n\u{1}é"));
    m.attribute(query, "plan", Value::Text(plan));
    m.attribute(query, "rows", Value::Int(7));
    m.attribute(query, "cost", Value::Float(0.1 + 0.2));
    m.attribute(get, "cache.result", Value::Text(miss));
    m.event(get, 1_950, "packet.dropped", "partition");
    m.event(get, 1_955, "retry", "");
    m.link(refresh, query);
    m.series("db.queries", db, MetricKind::Counter, "{query}", &[(1_901, 1.0), (1_902, 1.0), (2_050, 3.0)]);
    m.series("db.load", db, MetricKind::Gauge, "", &[(0, 0.0), (1_901, 40.0), (1_960, 0.5)]);
    m.series("latency", web, MetricKind::Histogram, "s", &[(1_962, 0.062), (2_100, 0.001)]);
    m.series("latency", db, MetricKind::Histogram, "s", &[(1_960, 0.059)]);
    m.series("runs", NodeIndex::NONE, MetricKind::Counter, "", &[(5, 1.0)]);
    m.recording
}
