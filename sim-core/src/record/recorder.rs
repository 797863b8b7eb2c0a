//! Writes the recording while the run goes on.
//!
//! The recorder decides nothing: no method of it returns anything that a node could act on, apart from roles (the latest
//! node that claims a state), which faults read.

use std::collections::BTreeMap;

use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

use super::{
    Ending, Fate, FaultRecord, Message, MetricKind, Name, NodeIndex, NodeRecord, Operation, OperationOutcome,
    Origin, Point, PropertyKind, PropertyRecord, PropertyViolation, Recording, Series, Span, SpanAttribute,
    SpanEvent, SpanIndex, SpanKind, SpanLink, SpanStatus, StateChange, Value,
};
use crate::time::SimTime;

/// How much is recorded. The run itself is the same at each level.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Serialize, Deserialize)]
pub enum RecordingLevel {
    /// States, metrics, operations, faults, properties, the run hash.
    Essential,
    /// And spans, with their events, attributes and links.
    Spans,
    /// And every message.
    #[default]
    Full,
}

/// The index of a message in the recording; `NONE` where messages are not recorded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct MessageIndex(pub u32);

impl MessageIndex {
    pub(crate) const NONE: Self = Self(u32::MAX);
}

/// See the module.
#[derive(Debug)]
pub struct Recorder {
    level: RecordingLevel,
    recording: Recording,
    lookup: FxHashMap<Box<str>, Name>,
    series: FxHashMap<(Name, NodeIndex), u32>,
    properties: FxHashMap<(PropertyKindKey, Name), u32>,
    /// The current value of each state, and when it was claimed (a counter), for roles.
    claims: BTreeMap<(Name, NodeIndex), (Name, u64)>,
    claim_counter: u64,
    /// The states that are marks of faults.
    marks: Vec<Name>,
    traces: u32,
}

type PropertyKindKey = u8;

impl Recorder {
    pub(crate) fn new(origin: Origin, level: RecordingLevel) -> Self {
        let mut recorder = Self {
            level,
            recording: Recording { origin, full: level == RecordingLevel::Full, ..Recording::default() },
            lookup: FxHashMap::default(),
            series: FxHashMap::default(),
            properties: FxHashMap::default(),
            claims: BTreeMap::new(),
            claim_counter: 0,
            marks: Vec::new(),
            traces: 0,
        };
        recorder.name("");
        recorder
    }

    #[inline]
    pub(crate) fn spans_on(&self) -> bool {
        self.level >= RecordingLevel::Spans
    }
    #[inline]
    pub(crate) fn records_messages(&self) -> bool {
        self.level == RecordingLevel::Full
    }
    pub(crate) fn recording(&self) -> &Recording {
        &self.recording
    }

    /// Interns a text.
    pub(crate) fn name(&mut self, text: &str) -> Name {
        if let Some(&name) = self.lookup.get(text) {
            return name;
        }
        let name = Name(self.recording.names.len() as u32);
        self.recording.names.push(text.to_owned());
        self.lookup.insert(text.into(), name);
        name
    }

    pub(crate) fn node(&mut self, name: &str, service: &str, region: &str) -> NodeIndex {
        let index = NodeIndex(self.recording.nodes.len() as u32);
        self.recording.nodes.push(NodeRecord {
            name: name.to_owned(),
            service: service.to_owned(),
            region: region.to_owned(),
        });
        index
    }

    // ---- spans ----

    /// Starts a span; [`SpanIndex::NONE`] where spans are off.
    #[inline]
    pub(crate) fn span_start(
        &mut self,
        at: SimTime,
        clock_offset: i64,
        node: NodeIndex,
        name: Name,
        kind: SpanKind,
        parent: SpanIndex,
    ) -> SpanIndex {
        if !self.spans_on() {
            return SpanIndex::NONE;
        }
        let trace = if parent.is_some() {
            self.recording.spans[parent.0 as usize].trace
        } else {
            let trace = self.traces;
            self.traces += 1;
            trace
        };
        let index = SpanIndex(self.recording.spans.len() as u32);
        self.recording.spans.push(Span {
            trace,
            parent,
            node,
            name,
            kind,
            status: SpanStatus::Unset,
            start: at,
            end: SimTime::MAX,
            clock_offset,
            cut_short: false,
        });
        index
    }
    #[inline]
    pub(crate) fn span_end(&mut self, at: SimTime, span: SpanIndex) {
        if span.is_some() {
            let span = &mut self.recording.spans[span.0 as usize];
            if span.end == SimTime::MAX {
                span.end = at;
            }
        }
    }
    /// Ends a span that did not come to its own end: its node crashed or its task was cancelled.
    pub(crate) fn span_cut(&mut self, at: SimTime, span: SpanIndex) {
        if span.is_some() {
            let span = &mut self.recording.spans[span.0 as usize];
            if span.end == SimTime::MAX {
                span.end = at;
                span.cut_short = true;
            }
        }
    }
    pub(crate) fn span_status(&mut self, span: SpanIndex, status: SpanStatus) {
        if span.is_some() {
            self.recording.spans[span.0 as usize].status = status;
        }
    }
    pub(crate) fn attribute(&mut self, span: SpanIndex, key: Name, value: Value) {
        if span.is_some() {
            let value = match value {
                Value::Float(x) if x.is_nan() => Value::Text(self.name("not a number")),
                other => other,
            };
            self.recording.attributes.push(SpanAttribute { span, key, value });
        }
    }
    pub(crate) fn span_event(&mut self, at: SimTime, span: SpanIndex, name: &str, detail: &str) {
        if span.is_some() {
            let (name, detail) = (self.name(name), self.name(detail));
            self.recording.span_events.push(SpanEvent { span, at, name, detail });
        }
    }
    /// Links a span to one of another trace. A link inside one trace is dropped: there, parents tell causality.
    pub(crate) fn link(&mut self, span: SpanIndex, to: SpanIndex) {
        if span.is_some() && to.is_some() {
            let trace = |s: SpanIndex| self.recording.spans[s.0 as usize].trace;
            if trace(span) != trace(to) {
                self.recording.links.push(SpanLink { span, to });
            }
        }
    }

    // ---- messages ----

    #[inline]
    pub(crate) fn message(&mut self, message: Message) -> MessageIndex {
        if self.level < RecordingLevel::Full {
            return MessageIndex::NONE;
        }
        let index = MessageIndex(self.recording.messages.len() as u32);
        self.recording.messages.push(message);
        index
    }
    #[inline]
    pub(crate) fn message_fate(&mut self, message: MessageIndex, fate: Fate) {
        if message != MessageIndex::NONE {
            self.recording.messages[message.0 as usize].fate = fate;
        }
    }

    // ---- states ----

    pub(crate) fn state(&mut self, at: SimTime, node: NodeIndex, key: &str, value: &str) {
        let (key, value) = (self.name(key), self.name(value));
        if self.claims.get(&(key, node)).is_some_and(|&(current, _)| current == value) {
            return;
        }
        self.claim_counter += 1;
        if value == Name::EMPTY {
            if self.claims.remove(&(key, node)).is_none() {
                return;
            }
        } else {
            self.claims.insert((key, node), (value, self.claim_counter));
        }
        self.recording.states.push(StateChange { at, node, key, value });
    }
    /// Shows that a fault has hold of a node, or has no more. Unlike a state it outlives the node's process: a pause goes on
    /// through a crash.
    pub(crate) fn mark(&mut self, at: SimTime, node: NodeIndex, what: &str, on: bool) {
        let name = self.name(what);
        if !self.marks.contains(&name) {
            self.marks.push(name);
        }
        self.state(at, node, what, if on { "yes" } else { "" });
    }
    /// Ends all states of a node that crashed.
    pub(crate) fn states_end(&mut self, at: SimTime, node: NodeIndex) {
        let of_process = |&&(key, of): &&(Name, NodeIndex)| of == node && !self.marks.contains(&key);
        let keys: Vec<Name> = self.claims.keys().filter(of_process).map(|&(key, _)| key).collect();
        for key in keys {
            self.claims.remove(&(key, node));
            self.recording.states.push(StateChange { at, node, key, value: Name::EMPTY });
        }
    }
    /// The node that claimed this value of this state last and still claims it.
    pub(crate) fn role_holder(&self, key: &str, value: &str) -> Option<NodeIndex> {
        let (key, value) = (*self.lookup.get(key)?, *self.lookup.get(value)?);
        self.claims
            .range((key, NodeIndex(0))..=(key, NodeIndex(u32::MAX)))
            .filter(|&(_, &(v, _))| v == value)
            .max_by_key(|&(_, &(_, when))| when)
            .map(|(&(_, node), _)| node)
    }

    // ---- metrics ----

    /// The series of that name and node, made at its first use.
    ///
    /// # Panics
    /// When it exists with another kind: a program error.
    pub(crate) fn series(&mut self, name: &str, node: NodeIndex, kind: MetricKind, unit: &str) -> u32 {
        let name = self.name(name);
        if let Some(&index) = self.series.get(&(name, node)) {
            let known = self.recording.metrics[index as usize].kind;
            let text = &self.recording.names[name.0 as usize];
            assert!(known == kind, "the metric `{text}` is a {known:?} already, it cannot be a {kind:?} too");
            return index;
        }
        let index = self.recording.metrics.len() as u32;
        let unit = self.name(unit);
        self.recording.metrics.push(Series { name, node, kind, unit, points: Vec::new() });
        self.series.insert((name, node), index);
        index
    }
    #[inline]
    pub(crate) fn point(&mut self, at: SimTime, series: u32, value: f64) {
        let series = &mut self.recording.metrics[series as usize];
        // In every build: a run that ends in one and goes on in another would be two runs.
        assert!(
            !value.is_nan(),
            "the metric `{}` is not a number",
            self.recording.names[series.name.0 as usize]
        );
        series.points.push(Point { at, value });
    }

    // ---- operations ----

    pub(crate) fn operation(&mut self, operation: Operation) -> u32 {
        self.recording.operations.push(operation);
        self.recording.operations.len() as u32 - 1
    }
    pub(crate) fn operation_end(&mut self, at: SimTime, index: u32, outcome: OperationOutcome) {
        let operation = &mut self.recording.operations[index as usize];
        if operation.outcome == OperationOutcome::Pending {
            operation.outcome = outcome;
            operation.completed = at;
        }
    }

    // ---- properties ----

    pub(crate) fn property(
        &mut self,
        at: SimTime,
        node: NodeIndex,
        kind: PropertyKind,
        statement: &str,
        holds: bool,
        detail: impl FnOnce() -> String,
    ) {
        let index = self.declare_property(kind, statement);
        let property = &mut self.recording.properties[index as usize];
        property.checks += 1;
        property.last_passed = holds;
        if holds {
            property.passes += 1;
        } else if property.first_failure.is_none() {
            property.first_failure = Some(PropertyViolation { at, node, detail: detail() });
        }
    }
    /// Makes the property known before its first check, so that one that is never checked is seen not to hold.
    pub(crate) fn declare_property(&mut self, kind: PropertyKind, statement: &str) -> u32 {
        let key = (kind as PropertyKindKey, self.name(statement));
        if let Some(&index) = self.properties.get(&key) {
            return index;
        }
        let index = self.recording.properties.len() as u32;
        self.recording.properties.push(PropertyRecord {
            name: statement.to_owned(),
            kind,
            checks: 0,
            passes: 0,
            first_failure: None,
            last_passed: false,
        });
        self.properties.insert(key, index);
        index
    }

    // ---- faults ----

    pub(crate) fn fault(&mut self, record: FaultRecord) -> u32 {
        self.recording.faults.push(record);
        self.recording.faults.len() as u32 - 1
    }
    pub(crate) fn fault_mut(&mut self, index: u32) -> &mut FaultRecord {
        &mut self.recording.faults[index as usize]
    }

    // ---- the end ----

    pub(crate) fn finish(
        mut self,
        ended: SimTime,
        ending: Ending,
        events: u64,
        run_hash: super::RunHash,
    ) -> Recording {
        for span in &mut self.recording.spans {
            if span.end == SimTime::MAX {
                span.end = ended;
                span.cut_short = true;
            }
        }
        self.recording.ended = ended;
        self.recording.ending = ending;
        self.recording.events = events;
        self.recording.run_hash = run_hash;
        self.recording
    }
}
