//! Recordings made by hand, for the tests of measures and of judging.

use sim_core::{
    record::{
        Fate, FaultRecord, Message, MetricKind, Name, NodeIndex, NodeRecord, Operation, OperationOutcome,
        Point, PropertyKind, PropertyRecord, Recording, Series, Span, SpanAttribute, SpanIndex, SpanKind,
        SpanStatus, StateChange, Transport, Value,
    },
    time::{SimTime, ms},
};

/// Builds a recording; times are in milliseconds since the start.
#[derive(Default)]
pub(crate) struct RecordingBuilder {
    recording: Recording,
}

pub(crate) fn at(millis: u64) -> SimTime {
    SimTime::ZERO + ms(millis)
}

impl RecordingBuilder {
    pub(crate) fn lasting(millis: u64) -> Self {
        let recording =
            Recording { ended: at(millis), full: true, names: vec![String::new()], ..Recording::default() };
        Self { recording }
    }
    pub(crate) fn name(&mut self, text: &str) -> Name {
        let names = &mut self.recording.names;
        let index = names.iter().position(|name| name == text).unwrap_or_else(|| {
            names.push(text.to_owned());
            names.len() - 1
        });
        Name(index as u32)
    }
    /// The node of that name; its service is the name up to the last dash.
    pub(crate) fn node(&mut self, name: &str) -> NodeIndex {
        self.recording.find_node(name).unwrap_or_else(|| {
            let service = name.rsplit_once('-').map_or(name, |(service, _)| service).to_owned();
            self.recording.nodes.push(NodeRecord { name: name.to_owned(), service, region: String::new() });
            NodeIndex(self.recording.nodes.len() as u32 - 1)
        })
    }
    fn metric(mut self, node: &str, name: &str, kind: MetricKind, unit: &str, points: &[(u64, f64)]) -> Self {
        let (name, node, unit) = (self.name(name), self.node(node), self.name(unit));
        let points = points.iter().map(|&(time, value)| Point { at: at(time), value }).collect();
        self.recording.metrics.push(Series { name, node, kind, unit, points });
        self
    }
    pub(crate) fn counter(self, node: &str, name: &str, points: &[(u64, f64)]) -> Self {
        self.metric(node, name, MetricKind::Counter, "1", points)
    }
    pub(crate) fn gauge(self, node: &str, name: &str, points: &[(u64, f64)]) -> Self {
        self.metric(node, name, MetricKind::Gauge, "1", points)
    }
    pub(crate) fn latencies(self, node: &str, name: &str, unit: &str, points: &[(u64, f64)]) -> Self {
        self.metric(node, name, MetricKind::Histogram, unit, points)
    }
    /// A span from `start` to `end`; the parent is the number of an earlier span.
    pub(crate) fn span(mut self, node: &str, name: &str, start: u64, end: u64, parent: Option<u32>) -> Self {
        let (name, node) = (self.name(name), self.node(node));
        self.recording.spans.push(Span {
            trace: 0,
            parent: parent.map_or(SpanIndex::NONE, SpanIndex),
            node,
            name,
            kind: SpanKind::Internal,
            status: SpanStatus::Unset,
            start: at(start),
            end: at(end),
            clock_offset: 0,
            cut_short: false,
        });
        self
    }
    fn last_span(&mut self) -> &mut Span {
        self.recording.spans.last_mut().expect("a span was made before")
    }
    pub(crate) fn kind(mut self, kind: SpanKind) -> Self {
        self.last_span().kind = kind;
        self
    }
    pub(crate) fn failed(mut self) -> Self {
        self.last_span().status = SpanStatus::Error(Name::EMPTY);
        self
    }
    pub(crate) fn attribute(mut self, key: &str, value: &str) -> Self {
        let (key, value) = (self.name(key), Value::Text(self.name(value)));
        let span = SpanIndex(self.recording.spans.len() as u32 - 1);
        self.recording.attributes.push(SpanAttribute { span, key, value });
        self
    }
    pub(crate) fn state(mut self, time: u64, node: &str, key: &str, value: &str) -> Self {
        let (node, key, value) = (self.node(node), self.name(key), self.name(value));
        self.recording.states.push(StateChange { at: at(time), node, key, value });
        self
    }
    pub(crate) fn operation(
        mut self,
        node: &str,
        function: &str,
        from: u64,
        to: u64,
        result: Result<&str, &str>,
    ) -> Self {
        let (node, function) = (self.node(node), self.name(function));
        let outcome = match result {
            Ok(output) => OperationOutcome::Ok(self.name(output)),
            Err(reason) => OperationOutcome::Fail(self.name(reason)),
        };
        self.recording.operations.push(Operation {
            node,
            process: 0,
            function,
            key: Name::EMPTY,
            input: Name::EMPTY,
            invoked: at(from),
            completed: at(to),
            outcome,
            span: SpanIndex::NONE,
        });
        self
    }
    pub(crate) fn message(
        mut self,
        from: &str,
        to: &str,
        kind: &str,
        sent: u64,
        arrived: Option<u64>,
    ) -> Self {
        let (from, to, kind, lost) = (self.node(from), self.node(to), self.name(kind), self.name("loss"));
        self.recording.messages.push(Message {
            from,
            to,
            kind,
            transport: Transport::Datagram,
            bytes: 100,
            sent: at(sent),
            fate: arrived.map_or(Fate::Dropped(at(sent), lost), |time| Fate::Arrived(at(time))),
            span: SpanIndex::NONE,
            duplicate: false,
            attempt: 0,
        });
        self
    }
    pub(crate) fn fault(mut self, name: &str, began: u64, touched: u64) -> Self {
        self.recording.faults.push(FaultRecord {
            name: name.to_owned(),
            what: "crash".to_owned(),
            on: "db".to_owned(),
            nodes: vec![],
            began: vec![at(began)],
            ended: vec![],
            touched,
        });
        self
    }
    pub(crate) fn always(mut self, name: &str, checks: u64, passes: u64) -> Self {
        self.recording.properties.push(PropertyRecord {
            name: name.to_owned(),
            kind: PropertyKind::Always,
            checks,
            passes,
            first_failure: (passes < checks).then(|| sim_core::record::PropertyViolation {
                at: at(7),
                node: NodeIndex::NONE,
                detail: "two leaders".to_owned(),
            }),
            last_passed: true,
        });
        self
    }
    pub(crate) fn with(mut self, change: impl FnOnce(&mut Recording)) -> Self {
        change(&mut self.recording);
        self
    }
    pub(crate) fn done(self) -> Recording {
        self.recording
    }
}
