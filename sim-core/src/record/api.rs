//! What a node's code tells the recording: states, metrics, spans, operations, properties.
//!
//! Nothing here answers: a node cannot learn anything from its own telemetry, so recording more or less changes no event.

use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet},
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use serde::Serialize;

use super::{
    Ending, MetricKind, Name, NodeIndex, Operation, OperationOutcome, PropertyKind, SpanIndex, SpanKind,
    SpanStatus, Value,
};
use crate::{
    net::rpc::CallError,
    node::{Node, NodeId},
    time::{Duration, SimTime},
    world::Core,
};

impl Node {
    fn index(&self) -> NodeIndex {
        NodeIndex(self.id().0)
    }

    // ---- states ----

    /// A named state of this node takes a value: `node.state("role", "leader")`. The empty value ends it, a crash ends all.
    pub fn state(&self, key: &str, value: &str) {
        let mut core = self.core();
        if self.is_current(&core) {
            core.set_state(self.id(), key, value);
        }
    }

    // ---- metrics ----

    /// A counter of this node. The full name has no node in it: `db.query`, not `db-1.query`.
    pub fn counter(&self, name: &str) -> Counter {
        Counter { series: self.series(name, MetricKind::Counter, ""), node: self.clone() }
    }
    /// A gauge of this node: a level, 0 at the start.
    pub fn gauge(&self, name: &str) -> Gauge {
        self.gauge_in(name, "")
    }
    /// A gauge with a unit as UCUM writes it (`s`, `By`, `{request}`, and `1` for a share of a whole).
    pub fn gauge_in(&self, name: &str, unit: &str) -> Gauge {
        Gauge {
            series: self.series(name, MetricKind::Gauge, unit),
            level: Cell::new(0.0),
            node: self.clone(),
        }
    }
    /// A histogram of durations, in seconds.
    pub fn histogram(&self, name: &str) -> Histogram {
        Histogram { series: self.series(name, MetricKind::Histogram, "s"), node: self.clone() }
    }
    /// A histogram of plain numbers, such as batch sizes, with a unit as UCUM writes it (`{request}`, `By`).
    pub fn distribution(&self, name: &str, unit: &str) -> Histogram {
        Histogram { series: self.series(name, MetricKind::Histogram, unit), node: self.clone() }
    }
    fn series(&self, name: &str, kind: MetricKind, unit: &str) -> u32 {
        self.core().recorder.series(name, self.index(), kind, unit)
    }

    // ---- spans ----

    /// A span around a future: `node.span("cache.get").run(async { ... }).await`. Its parent is the span that the caller is
    /// in; without one it is the root of a trace of its own.
    pub fn span(&self, name: &str) -> SpanBuilder {
        self.span_builder(name, None)
    }
    /// The root of a new trace, whatever span the caller is in: one client operation, one protocol round.
    pub fn trace(&self, name: &str) -> SpanBuilder {
        self.span_builder(name, Some(SpanIndex::NONE))
    }
    /// A span with a given parent, for work that was handed over in a queue.
    pub fn span_in(&self, parent: SpanIndex, name: &str) -> SpanBuilder {
        self.span_builder(name, Some(parent))
    }
    fn span_builder(&self, name: &str, parent: Option<SpanIndex>) -> SpanBuilder {
        let mut core = self.core();
        let name = if core.recorder.spans_on() { core.recorder.name(name) } else { Name::EMPTY };
        SpanBuilder { node: self.clone(), name, parent, kind: SpanKind::Internal, attributes: Vec::new() }
    }
    /// The span that the caller is in, to hand over with work that is queued, or to link to.
    pub fn current_span(&self) -> SpanIndex {
        self.core().current_span
    }
    /// Something that happened at one instant of the current span.
    pub fn event(&self, name: &str, detail: &str) {
        let mut core = self.core();
        let (now, span) = (core.now, core.current_span);
        core.recorder.span_event(now, span, name, detail);
    }
    /// An attribute of the current span.
    pub fn attribute(&self, key: &str, value: impl Into<AttributeValue>) {
        let mut core = self.core();
        let span = core.current_span;
        core.write_attribute(span, key, &value.into());
    }
    /// The current span has failed.
    pub fn fail(&self, message: &str) {
        let mut core = self.core();
        let span = core.current_span;
        if span.is_some() {
            let message = core.recorder.name(message);
            core.recorder.span_status(span, SpanStatus::Error(message));
        }
    }
    /// Links the current span to one of another trace.
    pub fn link(&self, to: SpanIndex) {
        let mut core = self.core();
        let span = core.current_span;
        core.recorder.link(span, to);
    }

    // ---- operations ----

    /// Whether the plan lets this client make its next operation: asked before each, whatever the answer to the last was. A
    /// client that may not goes on as if it had; so one operation can be taken out of a run and the others stay.
    pub fn next_operation(&self) -> bool {
        let mut core = self.core();
        let core = &mut *core;
        let asked = core.asked_operations.entry(self.id()).or_default();
        *asked += 1;
        let may = |all: &BTreeMap<NodeId, BTreeSet<u64>>| {
            all.get(&self.id()).is_some_and(|numbers| numbers.contains(asked))
        };
        core.operations.as_ref().is_none_or(may)
    }

    /// An operation of a client begins, for the checkers. `process` is the logical client: its operations do not overlap.
    pub fn invoke(&self, process: u32, function: &str, key: &str, input: &impl Serialize) -> OperationHandle {
        let mut core = self.core();
        if !self.is_current(&core) {
            return OperationHandle { node: self.clone(), operation: u32::MAX }; // a dead client invokes nothing
        }
        let (function, key, input) =
            (core.recorder.name(function), core.recorder.name(key), json_name(&mut core, input));
        let operation = Operation {
            node: self.index(),
            process,
            function,
            key,
            input,
            invoked: core.now,
            completed: SimTime::MAX,
            outcome: OperationOutcome::Pending,
            span: core.current_span,
        };
        let operation = core.recorder.operation(operation);
        OperationHandle { node: self.clone(), operation }
    }

    // ---- properties ----

    /// A safety property: it holds at each check. `detail` is asked for when it does not.
    pub fn always(&self, statement: &str, holds: bool, detail: impl FnOnce() -> String) {
        self.property(PropertyKind::Always, statement, holds, detail);
    }
    /// A case that must come up at least once, or the run has tested nothing.
    pub fn sometimes(&self, statement: &str, holds: bool) {
        self.property(PropertyKind::Sometimes, statement, holds, String::new);
    }
    /// A liveness property: it holds at the last check.
    pub fn eventually(&self, statement: &str, holds: bool, detail: impl FnOnce() -> String) {
        self.property(PropertyKind::Eventually, statement, holds, detail);
    }
    fn property(&self, kind: PropertyKind, statement: &str, holds: bool, detail: impl FnOnce() -> String) {
        let mut core = self.core();
        if !self.is_current(&core) {
            return;
        }
        let mut told = String::new();
        if !holds && !core.recorder.has_failed(kind, statement) {
            // The detail may ask this very node for something.
            drop(core);
            told = detail();
            core = self.core();
        }
        let now = core.now;
        core.recorder.property(now, self.index(), kind, statement, holds, told);
        core.stop_if_violated(kind, statement, holds);
    }
}

impl Core {
    /// Ends the run at a violation, where the scenario wants that.
    pub(crate) fn stop_if_violated(&mut self, kind: PropertyKind, statement: &str, holds: bool) {
        if !holds && kind == PropertyKind::Always && self.stop_at_violation && self.stop.is_none() {
            self.stop = Some(Ending::Violated { property: statement.to_owned() });
        }
    }
    /// Records a state, and lets triggers and roles look at it.
    pub(crate) fn set_state(&mut self, node: crate::node::NodeId, key: &str, value: &str) {
        let now = self.now;
        self.recorder.state(now, NodeIndex(node.0), key, value);
        if !value.is_empty() {
            self.trigger_state(node, key, value);
        }
    }
    fn write_attribute(&mut self, span: SpanIndex, key: &str, value: &AttributeValue) {
        if span.is_some() {
            let key = self.recorder.name(key);
            let value = match value {
                AttributeValue::Int(n) => Value::Int(*n),
                AttributeValue::Float(x) => Value::Float(*x),
                AttributeValue::Bool(b) => Value::Bool(*b),
                AttributeValue::Text(text) => Value::Text(self.recorder.name(text)),
            };
            self.recorder.attribute(span, key, value);
        }
    }
}

fn json_name(core: &mut Core, value: &impl Serialize) -> Name {
    let text = crate::codec::json::to_text(value);
    core.recorder.name(&text)
}

/// The value of an attribute, before it is interned.
#[derive(Clone, Debug, PartialEq)]
pub enum AttributeValue {
    /// A whole number.
    Int(i64),
    /// A number.
    Float(f64),
    /// Yes or no.
    Bool(bool),
    /// A text.
    Text(String),
}

macro_rules! attribute_from {
    ($($type:ty => $variant:ident($convert:expr),)*) => {
        $(impl From<$type> for AttributeValue {
            fn from(value: $type) -> Self {
                let convert: fn($type) -> _ = $convert;
                Self::$variant(convert(value))
            }
        })*
    };
}
attribute_from! {
    i64 => Int(|n| n),
    i32 => Int(i64::from),
    u32 => Int(i64::from),
    u64 => Int(|n| i64::try_from(n).unwrap_or(i64::MAX)),
    usize => Int(|n| i64::try_from(n).unwrap_or(i64::MAX)),
    f64 => Float(|x| x),
    bool => Bool(|b| b),
    &str => Text(str::to_owned),
    String => Text(|s| s),
    Duration => Text(|d| d.to_string()),
}

// ---- metrics ----

/// See [`Node::counter`].
#[derive(Clone)]
pub struct Counter {
    node: Node,
    series: u32,
}

impl Counter {
    /// Adds one.
    #[inline]
    pub fn increment(&self) {
        self.add(1.0);
    }
    /// Adds an amount that is not negative.
    #[inline]
    pub fn add(&self, amount: f64) {
        let mut core = self.node.core();
        if self.node.is_current(&core) {
            let now = core.now;
            core.recorder.point(now, self.series, amount.max(0.0));
        }
    }
}

/// See [`Node::gauge`].
pub struct Gauge {
    node: Node,
    series: u32,
    level: Cell<f64>,
}

impl Gauge {
    /// Sets the level.
    pub fn set(&self, level: f64) {
        self.level.set(level);
        let mut core = self.node.core();
        if self.node.is_current(&core) {
            let now = core.now;
            core.recorder.point(now, self.series, level);
        }
    }
    /// Raises (or lowers) the level.
    pub fn add(&self, by: f64) {
        self.set(self.level.get() + by);
    }
    /// What was set last by this handle.
    pub fn level(&self) -> f64 {
        self.level.get()
    }
}

/// See [`Node::histogram`].
#[derive(Clone)]
pub struct Histogram {
    node: Node,
    series: u32,
}

impl Histogram {
    /// Takes a duration, in seconds.
    pub fn record(&self, time: Duration) {
        self.observe(time.as_secs_f64());
    }
    /// Takes a number.
    pub fn observe(&self, value: f64) {
        let mut core = self.node.core();
        if self.node.is_current(&core) {
            let now = core.now;
            core.recorder.point(now, self.series, value);
        }
    }
}

// ---- spans ----

/// A span to be; see [`Node::span`].
pub struct SpanBuilder {
    node: Node,
    name: Name,
    parent: Option<SpanIndex>,
    kind: SpanKind,
    attributes: Vec<(String, AttributeValue)>,
}

impl SpanBuilder {
    /// An attribute.
    pub fn attribute(mut self, key: &str, value: impl Into<AttributeValue>) -> Self {
        self.attributes.push((key.to_owned(), value.into()));
        self
    }
    /// The OTLP kind; internal unless said.
    pub fn kind(mut self, kind: SpanKind) -> Self {
        self.kind = kind;
        self
    }
    /// Runs a future inside the span: it starts at the first poll and ends with the future. Spans, calls and tasks that the
    /// future starts are its children.
    pub fn run<F: Future>(self, future: F) -> Traced<F> {
        Traced {
            builder: Some(self),
            span: SpanIndex::NONE,
            node: None,
            ended: false,
            future: Box::pin(future),
        }
    }
    /// A span without length, for something that happens at one instant.
    pub fn instant(self) -> SpanIndex {
        let node = self.node.clone();
        let span = self.start();
        let mut core = node.core();
        let now = core.now;
        core.recorder.span_end(now, span);
        span
    }
    /// Starts the span now; whoever holds the index must end it with [`Node::end_span`].
    pub fn start(self) -> SpanIndex {
        let mut core = self.node.core();
        if !self.node.is_current(&core) {
            return SpanIndex::NONE;
        }
        let parent = self.parent.unwrap_or(core.current_span);
        let (now, offset) = (core.now, core.clock_error(self.node.id()));
        let span =
            core.recorder.span_start(now, offset, NodeIndex(self.node.id().0), self.name, self.kind, parent);
        for (key, value) in &self.attributes {
            core.write_attribute(span, key, value);
        }
        span
    }
}

impl Node {
    /// Ends a span that [`SpanBuilder::start`] began.
    pub fn end_span(&self, span: SpanIndex) {
        let mut core = self.core();
        let now = core.now;
        core.recorder.span_end(now, span);
    }
    /// Does something at this instant inside a span that exists already: what it sends, records or spawns belongs to it.
    pub fn inside<T>(&self, span: SpanIndex, act: impl FnOnce() -> T) -> T {
        let outer = std::mem::replace(&mut self.core().current_span, span);
        let result = act();
        self.core().current_span = outer;
        result
    }
    /// Runs a future inside a span that exists already; the span goes on afterwards.
    pub fn within<F: Future>(&self, span: SpanIndex, future: F) -> Traced<F> {
        Traced { builder: None, span, node: Some(self.clone()), ended: true, future: Box::pin(future) }
    }
}

/// A future inside a span. The span travels with the future, never in a guard held across an await.
pub struct Traced<F> {
    builder: Option<SpanBuilder>,
    span: SpanIndex,
    node: Option<Node>,
    ended: bool,
    future: Pin<Box<F>>,
}

impl<F: Future> Future for Traced<F> {
    type Output = F::Output;
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = &mut *self;
        if let Some(builder) = this.builder.take() {
            this.node = Some(builder.node.clone());
            this.span = builder.start();
        }
        if !this.span.is_some() {
            return this.future.as_mut().poll(cx);
        }
        let node = this.node.as_ref().expect("set with the span");
        let outer = std::mem::replace(&mut node.core().current_span, this.span);
        let result = this.future.as_mut().poll(cx);
        let mut core = node.core();
        core.current_span = outer;
        if result.is_ready() && !this.ended {
            let now = core.now;
            core.recorder.span_end(now, this.span);
            this.ended = true;
        }
        result
    }
}

impl<F> Drop for Traced<F> {
    fn drop(&mut self) {
        if !self.ended
            && let Some(node) = &self.node
        {
            let mut core = node.core();
            let now = core.now;
            core.recorder.span_cut(now, self.span);
        }
    }
}

// ---- operations ----

/// An operation under way. Dropped without an outcome it stays pending, which a checker reads as unknown.
pub struct OperationHandle {
    node: Node,
    operation: u32,
}

impl OperationHandle {
    fn end(&self, outcome: impl FnOnce(&mut Core) -> OperationOutcome) {
        let mut core = self.node.core();
        if self.node.is_current(&core) {
            let outcome = outcome(&mut core);
            let now = core.now;
            core.recorder.operation_end(now, self.operation, outcome);
        }
    }
    /// It happened, with that output.
    pub fn ok(self, output: &impl Serialize) {
        self.end(|core| OperationOutcome::Ok(json_name(core, output)));
    }
    /// It certainly did not happen.
    pub fn failed(self, reason: &str) {
        self.end(|core| OperationOutcome::Fail(core.recorder.name(reason)));
    }
    /// A call was all there was to it: it happened, or certainly did not, or nobody knows, as the call's error says.
    pub fn end_with(self, answer: &Result<impl Serialize, CallError>) {
        match answer {
            Ok(output) => self.ok(output),
            Err(error) if error.is_definite() => self.failed(error.label()),
            Err(error) => self.unknown(error.label()),
        }
    }
    /// It may have happened, or may happen yet.
    pub fn unknown(self, reason: &str) {
        self.end(|core| OperationOutcome::Unknown(core.recorder.name(reason)));
    }
}
