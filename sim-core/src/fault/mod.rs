//! What goes wrong, as data: a list of (when, what, on whom).
//!
//! A [`FaultPlan`] is part of the run's plan: serialisable, printable, made to be edited and shrunk. Each entry has a name,
//! is a marker in every picture, and is held to account: how many things did it touch? A fault that touched nothing
//! proves nothing; what counts for each kind is said at [`FaultKind`].
//!
//! ```toml
//! [[fault]]
//! name = "power failure"
//! when = { at = "5.7s" }
//! lasts = "1s"                      # then it is undone: here the node starts again
//! what = "power-failure"
//! on = "store"
//!
//! [[fault]]
//! name = "the coordinator dies after its first Prepare"
//! when = { sent = { kind = "Prepare", from = "coordinator" } }
//! what = "crash"
//! on = "coordinator"
//!
//! [[fault]]
//! name = "the leader is cut off"
//! when = { at = "10s" }
//! lasts = "4s"
//! what = { partition = "isolate" }
//! on = { role = "leader" }
//! ```

pub(crate) mod engine;
mod offset;
mod packets;
mod target;
mod text;
mod words;

use serde::{Deserialize, Serialize};

pub use offset::Offset;
pub use target::Target;
pub use text::FaultFileError;

use crate::{machine::disk::CrashPolicy, rng::Delay, time::Duration};

/// A list of faults. At one instant they happen in the order of the list, before everything else.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FaultPlan {
    faults: Vec<Fault>,
}

impl FaultPlan {
    /// Nothing goes wrong.
    pub fn none() -> Self {
        Self::default()
    }
    /// Whether nothing goes wrong.
    pub fn is_empty(&self) -> bool {
        self.faults.is_empty()
    }
    /// The faults, in order.
    pub fn faults(&self) -> &[Fault] {
        &self.faults
    }
    /// The same plan with one more fault.
    pub fn with(mut self, fault: Fault) -> Self {
        self.faults.push(fault);
        self
    }
    /// Adds a fault.
    pub fn push(&mut self, fault: Fault) {
        self.faults.push(fault);
    }
}

impl FromIterator<Fault> for FaultPlan {
    fn from_iter<I: IntoIterator<Item = Fault>>(faults: I) -> Self {
        Self { faults: faults.into_iter().collect() }
    }
}

/// One thing that goes wrong.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// Shown on every picture.
    pub name: String,
    /// When it takes hold.
    pub when: When,
    /// How long; then it is undone (a crashed node starts again, a partition heals). Without it, it stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lasts: Option<Duration>,
    /// What happens.
    pub what: FaultKind,
    /// To whom.
    #[serde(default, skip_serializing_if = "Target::is_everybody")]
    pub on: Target,
}

impl Fault {
    /// A fault at a time, on whom [`Fault::on`] says.
    pub fn at(time: Duration, name: impl Into<String>, what: impl Into<FaultKind>) -> Self {
        Self::when(When::At(time), name, what)
    }
    /// A fault that an event triggers.
    pub fn when(when: When, name: impl Into<String>, what: impl Into<FaultKind>) -> Self {
        Self { name: name.into(), when, lasts: None, what: what.into(), on: Target::Everybody }
    }
    /// To whom it happens.
    pub fn on(mut self, target: impl Into<Target>) -> Self {
        self.on = target.into();
        self
    }
    /// How long it lasts.
    pub fn lasting(mut self, time: Duration) -> Self {
        self.lasts = Some(time);
        self
    }
    /// Whether it ends at the instant at which it begins: a pause, a slow factor and a drift of no length change nothing.
    fn is_over_at_once(&self) -> bool {
        self.lasts.is_some_and(Duration::is_zero)
    }
    /// From [`Fault::at`]'s time until this one. Panics where that is earlier, or where an event triggers the fault.
    pub fn until(mut self, end: Duration) -> Self {
        let When::At(start) = self.when else {
            panic!("a fault that an event triggers lasts, it has no fixed end")
        };
        self.lasts = Some(end - start);
        self
    }
}

/// When a fault takes hold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum When {
    /// At that virtual time.
    At(Duration),
    /// When a message of that description has been sent, whether or not it gets through. Retransmissions do not count.
    Sent(MessageTrigger),
    /// When a message of that description has been handed to its receiver; by a stream once, and in order.
    Delivered(MessageTrigger),
    /// When a node's state takes a value.
    State(StateTrigger),
}

const fn once() -> u64 {
    1
}
fn is_once(count: &u64) -> bool {
    *count == 1
}
fn at_once(delay: &Duration) -> bool {
    delay.is_zero()
}

/// Describes messages; the fields that are absent match every message.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MessageTrigger {
    /// The name of the message's enum variant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// The sender: a node's or a service's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The receiver: a node's or a service's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// Which of them, counted from 1.
    #[serde(default = "once", skip_serializing_if = "is_once")]
    pub count: u64,
    /// How long after it; zero takes hold at that very send or delivery.
    #[serde(default, skip_serializing_if = "at_once")]
    pub then: Duration,
}

/// Describes a change of a node's state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StateTrigger {
    /// The state, such as `role`.
    pub key: String,
    /// The value it takes, such as `leader`.
    pub value: String,
    /// Whose: a node's or a service's name; anybody's where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// Which change, counted from 1.
    #[serde(default = "once", skip_serializing_if = "is_once")]
    pub count: u64,
    /// How long after it.
    #[serde(default, skip_serializing_if = "at_once")]
    pub then: Duration,
}

/// What goes wrong, and what counts as touched by it: only what came out otherwise than without the fault. Where several
/// faults do the same to one thing, each of them has touched it, unless it says otherwise here.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FaultKind {
    /// The process dies: tasks, timers and memory are gone, peers' connections are reset, connecting is refused. What was
    /// not synced to disk is lost as the disk's crash policy says. Undone: it starts again.
    ///
    /// Touched: the processes that died. One that was about to start counts, a node that is down already does not.
    Crash,
    /// The machine goes dark: as a crash, but nobody is told; peers hear nothing. Undone: it starts again.
    ///
    /// Touched: as with a crash.
    PowerFailure,
    /// Starts what is down; what is up crashes and starts at once. It happens at one instant: it cannot last.
    ///
    /// Touched: the nodes that started by it. One that was about to start anyway does not count.
    Restart,
    /// The node stands still (a long garbage collection, SIGSTOP): messages and timers pile up until it is undone.
    ///
    /// Touched: what was held up: the work that was on a core, and each packet, timer and woken task that had to wait. A
    /// packet to a node that is down counts only where it would have been refused at once.
    Pause,
    /// Work takes this many times as long (a grey failure). At least 0.01. Disks are as fast as before.
    ///
    /// Touched: the pieces of work ([`Node::work`](crate::Node::work)) that were on a core meanwhile, each once; none where the
    /// factor is 1.
    Slow(f64),
    /// Sets the memory limit, in bytes: whoever is over it is killed.
    ///
    /// Touched: the kills that the node's own limit would not have done, and the allocations that went well although the
    /// node's own limit would have killed.
    MemoryLimit(u64),
    /// Some nodes cannot reach others. Packets sent from now on are lost; those on the wire arrive.
    ///
    /// Touched: the packets and acknowledgements that it kept from their receiver. Of several partitions in the way of
    /// one packet, the one that began first counts it.
    Partition(Partition),
    /// Links get other properties.
    ///
    /// Touched: the packets that fared otherwise: lost or not, in another time, once or twice, damaged or whole; and the
    /// acknowledgements that were lost or not. How a packet that is lost anyway would have travelled does not count. Where two
    /// faults set the same property, the one that began later counts.
    Link(LinkChange),
    /// Single packets are treated apart.
    ///
    /// Touched: the packets for which that made a difference: none that is lost anyway is dropped or delayed, none of a
    /// stream is duplicated.
    Packets(PacketRule),
    /// Wall clocks jump by that much, forward or back. Undone: they jump back.
    ///
    /// Touched: the readings of the wall clock, by the node's code or a protocol's handler, that came out differently.
    ClockJump(Offset),
    /// Both clocks run fast (or slow, where negative) by that many parts in a million. Undone: they run as before, and keep
    /// what they have gained.
    ///
    /// Touched: the readings of both clocks that came out differently, also after the end; the timers and deadlines of
    /// calls that were running when it began, or were set while it lasted, and whose time it moved.
    ClockDrift(f64),
    /// A disk misbehaves.
    Disk(DiskFault),
    /// Load generators on the target send this many times their rate.
    ///
    /// Touched: the requests that were planned or sent under it ([`Node::load_factor`](crate::Node::load_factor)); none where
    /// the factor is 1, or where nobody generates load.
    Load(f64),
}

impl From<Partition> for FaultKind {
    fn from(partition: Partition) -> Self {
        Self::Partition(partition)
    }
}
impl From<LinkChange> for FaultKind {
    fn from(change: LinkChange) -> Self {
        Self::Link(change)
    }
}
impl From<PacketRule> for FaultKind {
    fn from(rule: PacketRule) -> Self {
        Self::Packets(rule)
    }
}
impl From<DiskFault> for FaultKind {
    fn from(fault: DiskFault) -> Self {
        Self::Disk(fault)
    }
}

/// Who cannot reach whom. Names are nodes' or services' names.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Partition {
    /// The fault's target on one side, everybody else on the other.
    Isolate,
    /// Groups that cannot reach each other; who is in none of them reaches all.
    Split(Vec<Vec<String>>),
    /// Packets from the first to the second are lost, the others pass.
    OneWay {
        /// Senders.
        from: Vec<String>,
        /// Receivers.
        to: Vec<String>,
    },
    /// Left and right cannot reach each other, everybody else reaches both: not transitive.
    Bridge {
        /// One side.
        left: Vec<String>,
        /// The other.
        right: Vec<String>,
    },
    /// Regions that cannot reach each other.
    Regions(Vec<Vec<String>>),
}

/// Which properties of links change. What is absent stays.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct LinkChange {
    /// Only packets from these (nodes or services); without it from all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub from: Vec<String>,
    /// Only packets to these; without it to all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub to: Vec<String>,
    /// The delay, instead of the link's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay: Option<Delay>,
    /// Added to the delay.
    #[serde(default, skip_serializing_if = "Duration::is_zero_ref")]
    pub extra_delay: Duration,
    /// The share of packets that are lost, 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss: Option<f64>,
    /// The share of datagrams that arrive twice, 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duplication: Option<f64>,
    /// The share of packets in which a bit flips, 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub corruption: Option<f64>,
    /// Bytes a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bandwidth: Option<u64>,
}

impl LinkChange {
    /// Adds to the delay.
    pub fn slower_by(extra: Duration) -> Self {
        Self { extra_delay: extra, ..Self::default() }
    }
    /// Sets the delay.
    pub fn delay(delay: Delay) -> Self {
        Self { delay: Some(delay), ..Self::default() }
    }
    /// Sets the share that is lost.
    pub fn loss(share: f64) -> Self {
        Self { loss: Some(share), ..Self::default() }
    }
    /// Sets the share that arrives twice.
    pub fn duplication(share: f64) -> Self {
        Self { duplication: Some(share), ..Self::default() }
    }
    /// Sets the share that is damaged.
    pub fn corruption(share: f64) -> Self {
        Self { corruption: Some(share), ..Self::default() }
    }
    /// Only on the way from one to the other.
    pub fn only(mut self, from: &str, to: &str) -> Self {
        self.from = vec![from.to_owned()];
        self.to = vec![to.to_owned()];
        self
    }
}

/// A rule for single packets: "drop the second AppendEntries from n1 to n3".
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PacketRule {
    /// Only this kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Only from this node or service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Only to this node or service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// The first of the matching packets (while the rule is in force) that it is for, counted from 1.
    #[serde(default = "once", skip_serializing_if = "is_once")]
    pub first: u64,
    /// How many from then on; without it all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// What is done.
    pub action: PacketAction,
}

impl PacketRule {
    /// A rule for every packet.
    pub fn all(action: PacketAction) -> Self {
        Self { kind: None, from: None, to: None, first: 1, count: None, action }
    }
    /// Only packets of that kind.
    pub fn kind(mut self, kind: &str) -> Self {
        self.kind = Some(kind.to_owned());
        self
    }
    /// Only on the way from one to the other (nodes or services).
    pub fn between(mut self, from: &str, to: &str) -> Self {
        self.from = Some(from.to_owned());
        self.to = Some(to.to_owned());
        self
    }
    /// Only the `n`-th of them.
    pub fn nth(mut self, n: u64) -> Self {
        self.first = n;
        self.count = Some(1);
        self
    }
}

/// What a rule does to a packet.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PacketAction {
    /// Lets it pass, whatever later rules say.
    Pass,
    /// Loses it.
    Drop,
    /// Holds it up by that much more.
    Delay(Duration),
    /// Delivers it twice.
    Duplicate,
    /// Flips a bit.
    Corrupt,
}

/// How a disk misbehaves, and what counts as touched.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DiskFault {
    /// Flips a seeded bit of what is stored, in that file, or in any where it is empty. It happens at one instant, and is
    /// never undone.
    ///
    /// Touched: the bits; none where nothing is stored.
    Rot(String),
    /// Reads, writes and syncs fail.
    ///
    /// Touched: the operations that failed, write-back by the operating system among them.
    IoError,
    /// Syncs fail; what they should have written is marked clean all the same (PostgreSQL's fsync surprise of 2018).
    ///
    /// Touched: the syncs that failed.
    FailSync,
    /// No space is left.
    ///
    /// Touched: the operations that failed for which the disk itself would have had room.
    Full,
    /// Operations take this many times as long.
    ///
    /// Touched: the operations that took another time; none where the factor is 1. Of several such faults the last in the plan
    /// is in force.
    Slow(f64),
    /// What the next crash leaves of unsynced data.
    ///
    /// Touched: the crashes after which other data were there than by the disk's own policy.
    CrashPolicy(CrashPolicy),
}
