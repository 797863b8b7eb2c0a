//! The recording: what a run leaves behind, and the only thing that anybody looks at afterwards.
//!
//! States, metrics, operations, faults and properties are always recorded, since expectations, roles and triggers read
//! them. Spans (with events, links, attributes) and messages can be switched off, which changes no event and no run hash.
//!
//! A [`Recording`] is plain data: vectors of small records that point to each other by index, and one table of names. Its
//! canonical 256-bit hash covers every field.

mod api;
pub(crate) mod hash;
mod ids;
mod properties;
mod recorder;
mod series;

use serde::{Deserialize, Serialize};

pub use api::{AttributeValue, Counter, Gauge, Histogram, OperationHandle, SpanBuilder, Traced};
pub use hash::{Hash256, RunHash};
pub use ids::{Ids, SpanId, TraceId};
pub use properties::{PropertyKind, PropertyRecord, PropertyViolation};
pub(crate) use recorder::MessageIndex;
pub use recorder::{Recorder, RecordingLevel};

pub use series::{MetricKind, Point, Series};

use crate::time::SimTime;

/// An interned text: an index into [`Recording::names`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Name(pub u32);

impl Name {
    /// The empty text, which every recording has at index 0.
    pub const EMPTY: Self = Self(0);
}

/// The index of a span in [`Recording::spans`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SpanIndex(pub u32);

impl SpanIndex {
    /// No span: the parent of a root.
    pub const NONE: Self = Self(u32::MAX);
    /// Whether this is a span at all.
    pub const fn is_some(self) -> bool {
        self.0 != u32::MAX
    }
}

/// The index of a node in [`Recording::nodes`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NodeIndex(pub u32);

impl NodeIndex {
    /// No node: something that belongs to the whole run.
    pub const NONE: Self = Self(u32::MAX);
}

/// What was run: enough to derive ids from, and to say which run a recording is of.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Origin {
    /// The scenario's name.
    pub scenario: String,
    /// The variant's name.
    pub variant: String,
    /// The knobs, as canonical TOML text.
    pub knobs: String,
    /// The seed.
    pub seed: u64,
    /// The whole plan, as canonical TOML text.
    pub plan: String,
}

/// A node of the run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeRecord {
    /// Unique in the run, such as `web-2`.
    pub name: String,
    /// The service, such as `web`: the OTLP `service.name`, and the group that faults may aim at.
    pub service: String,
    /// The region, empty where the topology has none.
    pub region: String,
}

/// What kind of work a span stands for (the OTLP span kinds).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum SpanKind {
    /// Work inside a node.
    Internal,
    /// The side that was asked.
    Server,
    /// The side that asked.
    Client,
    /// A message was sent and nobody waits for an answer.
    Producer,
    /// Such a message was handled.
    Consumer,
}

/// How a span ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum SpanStatus {
    /// Nothing was said.
    Unset,
    /// Explicitly fine.
    Ok,
    /// Failed, with a message ([`Name::EMPTY`] where there is none).
    Error(Name),
}

/// A span: an interval of true time on one node, with a parent.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Span {
    /// Which trace: a counter within the run. [`TraceId`] derives from it.
    pub trace: u32,
    /// [`SpanIndex::NONE`] for a root.
    pub parent: SpanIndex,
    /// Where it happened.
    pub node: NodeIndex,
    /// One of few values; no ids in it.
    pub name: Name,
    /// The OTLP kind.
    pub kind: SpanKind,
    /// How it ended.
    pub status: SpanStatus,
    /// True time of its start.
    pub start: SimTime,
    /// True time of its end, which may be that of its start; [`SimTime::MAX`] while it is open, the end of the run where it
    /// never ended.
    pub end: SimTime,
    /// The node's wall clock minus true time at the start, in nanoseconds.
    pub clock_offset: i64,
    /// Whether the run ended, or the node crashed, before it did.
    pub cut_short: bool,
}

/// The value of an attribute.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub enum Value {
    /// A whole number.
    Int(i64),
    /// A number, never NaN.
    Float(f64),
    /// Yes or no.
    Bool(bool),
    /// A text.
    Text(Name),
}

/// An attribute of a span. A later one with the same key replaces an earlier one.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct SpanAttribute {
    /// Whose.
    pub span: SpanIndex,
    /// The key, such as `retry.attempt`.
    pub key: Name,
    /// The value.
    pub value: Value,
}

/// Something that happened at one instant of a span.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct SpanEvent {
    /// Whose.
    pub span: SpanIndex,
    /// When.
    pub at: SimTime,
    /// What, such as `packet.dropped`.
    pub name: Name,
    /// Why or which: the attribute `detail` of the event, [`Name::EMPTY`] for none.
    pub detail: Name,
}

/// Causality beyond the parent: a link to a span of *another* trace. (Inside a trace there are parents; a link to the
/// own trace is refused by the recorder, since Jaeger's page stays blank on it.)
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct SpanLink {
    /// Whose.
    pub span: SpanIndex,
    /// To which.
    pub to: SpanIndex,
}

/// How a message travelled.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash, Serialize, Deserialize)]
pub enum Transport {
    /// As it is: may be lost, late, twice.
    Datagram,
    /// A segment of an ordered, reliable stream.
    Stream,
}

/// What became of a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Fate {
    /// Still on the wire when the run ended.
    InFlight,
    /// Handed to the receiving node.
    Arrived(SimTime),
    /// Lost, at that time, for that reason (`loss`, `partition`, `queue full`, `node down`, `rule`, ...).
    Dropped(SimTime, Name),
}

/// One packet on the wire.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Message {
    /// Sender.
    pub from: NodeIndex,
    /// Receiver.
    pub to: NodeIndex,
    /// The name of the message's enum variant.
    pub kind: Name,
    /// Datagram or stream.
    pub transport: Transport,
    /// Size on the wire.
    pub bytes: u32,
    /// When it was sent.
    pub sent: SimTime,
    /// What became of it.
    pub fate: Fate,
    /// The span it was sent in.
    pub span: SpanIndex,
    /// Whether this is a copy that the network made.
    pub duplicate: bool,
    /// Which transmission of the same segment this is: 0 the first, then retransmissions.
    pub attempt: u16,
}

/// A named state of a node took a new value: `role` = `leader`.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct StateChange {
    /// When.
    pub at: SimTime,
    /// Where.
    pub node: NodeIndex,
    /// Which state.
    pub key: Name,
    /// Its new value; [`Name::EMPTY`] when it is no more (a crash ends all of a node's states).
    pub value: Name,
}

/// What became of an operation.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum OperationOutcome {
    /// It has not ended.
    Pending,
    /// It happened; the output as JSON text.
    Ok(Name),
    /// It certainly did not happen; the reason.
    Fail(Name),
    /// It may have happened, or may happen yet; the reason.
    Unknown(Name),
}

/// An operation of a client, for checkers: invoked, then ok, fail or unknown.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Operation {
    /// The node that invoked it.
    pub node: NodeIndex,
    /// The logical process: operations of one process do not overlap.
    pub process: u32,
    /// `read`, `write`, `cas`, ...
    pub function: Name,
    /// The object, [`Name::EMPTY`] where there is only one.
    pub key: Name,
    /// The input, as JSON text.
    pub input: Name,
    /// When it was invoked.
    pub invoked: SimTime,
    /// When it ended; [`SimTime::MAX`] where it has not.
    pub completed: SimTime,
    /// How it ended.
    pub outcome: OperationOutcome,
    /// The span it ran in.
    pub span: SpanIndex,
}

/// A planned fault, and what it did.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct FaultRecord {
    /// Its name in the plan.
    pub name: String,
    /// What it is, in words: `crash`, `link all -> db: loss 20%`.
    pub what: String,
    /// On whom, as the plan says it: `store`, `the leader`. Empty where `what` says it: of faults of the network.
    pub on: String,
    /// The nodes that this meant when it began.
    pub nodes: Vec<NodeIndex>,
    /// Each time that it took hold; empty where it never did (its event never came, its role was never held).
    pub began: Vec<SimTime>,
    /// When it was over; empty for faults that stay.
    pub ended: Vec<SimTime>,
    /// How many things it changed: packets dropped or delayed, nodes crashed, disk operations failed. A fault that
    /// touched nothing proves nothing.
    pub touched: u64,
}

impl FaultRecord {
    /// Whether it changed anything at all.
    pub fn had_effect(&self) -> bool {
        self.touched > 0
    }
}

/// Why a run ended.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum Ending {
    /// It reached its planned end.
    #[default]
    Until,
    /// Nothing was left to happen.
    Quiet,
    /// The scenario said that it was done.
    Stopped,
    /// A property that must always hold did not, and the scenario stops at the first.
    Violated {
        /// Which.
        property: String,
    },
    /// Code of a node panicked: a violation.
    Panicked {
        /// On which node.
        node: String,
        /// The panic's message.
        message: String,
    },
}

/// All that a run leaves behind.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Recording {
    /// What was run.
    pub origin: Origin,
    /// Whether spans and messages were recorded.
    pub full: bool,
    /// The texts that [`Name`]s stand for.
    pub names: Vec<String>,
    /// The nodes, in order of creation.
    pub nodes: Vec<NodeRecord>,
    /// The spans, in order of their start.
    pub spans: Vec<Span>,
    /// Attributes of spans, in order of writing.
    pub attributes: Vec<SpanAttribute>,
    /// Events of spans, in order of time.
    pub span_events: Vec<SpanEvent>,
    /// Links between traces.
    pub links: Vec<SpanLink>,
    /// Packets, in order of sending.
    pub messages: Vec<Message>,
    /// State changes, in order of time.
    pub states: Vec<StateChange>,
    /// Metrics, in order of their first use.
    pub metrics: Vec<Series>,
    /// Operations, in order of invocation.
    pub operations: Vec<Operation>,
    /// The plan's faults, in the plan's order.
    pub faults: Vec<FaultRecord>,
    /// Named properties, in order of their first check.
    pub properties: Vec<PropertyRecord>,
    /// When the run ended.
    pub ended: SimTime,
    /// Why it ended.
    pub ending: Ending,
    /// How many events were dispatched.
    pub events: u64,
    /// The cheap hash over all dispatched events: the same with recording on and off.
    pub run_hash: RunHash,
}

impl Recording {
    /// The text behind a name.
    pub fn text(&self, name: Name) -> &str {
        &self.names[name.0 as usize]
    }
    /// The name of a node, or `-` for none.
    pub fn node_name(&self, node: NodeIndex) -> &str {
        self.nodes.get(node.0 as usize).map_or("-", |n| n.name.as_str())
    }
    /// The node of that name.
    pub fn find_node(&self, name: &str) -> Option<NodeIndex> {
        self.nodes.iter().position(|n| n.name == name).map(|i| NodeIndex(i as u32))
    }
    /// The id that an exported trace has: derived from the origin and the trace's counter, so that two runs never share one.
    pub fn trace_id(&self, trace: u32) -> TraceId {
        ids::trace_id(&self.origin, trace)
    }
    /// A function that gives the ids of spans; cheaper than asking for each by itself.
    pub fn ids(&self) -> ids::Ids {
        ids::Ids::new(&self.origin)
    }
    /// The canonical hash: BLAKE3 over the canonical encoding of every field.
    pub fn hash(&self) -> Hash256 {
        hash::of_recording(self)
    }
}
