//! What the tests of the world share: messages, a notebook that outlives the run, and two nodes of which one writes to
//! the other.

#![allow(dead_code, reason = "each test uses its part of it")]

use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use sim_core::{
    Node, Sim,
    fault::{Fault, FaultPlan},
    net::Link,
    plan::{Override, OverrideFate, Plan},
    record::{Fate, FaultRecord, Message as Wire, NodeIndex, Recording, RecordingLevel},
    time::{Duration, SimTime, secs},
};

/// A message of fixed size: 1 byte for the kind, 8 for the payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Message {
    Note([u8; 8]),
    Ping([u8; 8]),
    Pong([u8; 8]),
}

/// Bytes of an encoded [`Message`].
pub const BODY: u32 = 9;

pub fn note(number: u64) -> Message {
    Message::Note(number.to_le_bytes())
}
pub fn ping(number: u64) -> Message {
    Message::Ping(number.to_le_bytes())
}
pub fn pong(number: u64) -> Message {
    Message::Pong(number.to_le_bytes())
}

impl Message {
    pub fn number(self) -> u64 {
        match self {
            Self::Note(bytes) | Self::Ping(bytes) | Self::Pong(bytes) => u64::from_le_bytes(bytes),
        }
    }
}

/// What nodes write down for the test to read: the observer's notebook, not a way for nodes to talk.
pub struct Notebook<T>(Arc<Mutex<Vec<T>>>);

impl<T> Clone for Notebook<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: Clone> Notebook<T> {
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(Vec::new())))
    }
    pub fn write(&self, entry: T) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(entry);
    }
    pub fn read(&self) -> Vec<T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// True time since the start of the run.
pub fn now(node: &Node) -> Duration {
    node.observer().now().since_start()
}
pub fn at(time: Duration) -> SimTime {
    SimTime::ZERO + time
}
/// Waits until that true time, on a node whose clock is exact.
pub async fn until(node: &Node, time: Duration) {
    node.sleep(time.saturating_sub(now(node))).await;
}

pub fn plan(seed: u64) -> Plan {
    Plan::new("test", seed, secs(1_000))
}
pub fn with(faults: impl IntoIterator<Item = Fault>) -> Plan {
    plan(1).with_faults(faults.into_iter().collect::<FaultPlan>())
}
pub fn overridden(from: &str, to: &str, kind: Option<&str>, ordinal: u64, fate: OverrideFate) -> Override {
    Override { from: from.to_owned(), to: to.to_owned(), kind: kind.map(str::to_owned), ordinal, fate }
}

/// Node `a` sends `count` notes to node `b`, one every `gap`; gives (when, what) of all that came.
pub fn post(plan: &Plan, link: Link, count: u64, gap: Duration) -> (Vec<(Duration, Message)>, Recording) {
    let (sim, arrivals) = post_office(plan, link, count, gap);
    let recording = sim.run().unwrap();
    (arrivals.read(), recording)
}

/// The world of [`post`], before it runs.
pub fn post_office(
    plan: &Plan,
    link: Link,
    count: u64,
    gap: Duration,
) -> (Sim, Notebook<(Duration, Message)>) {
    let mut sim = Sim::new(plan, RecordingLevel::Full);
    sim.default_link(link);
    let arrivals = Notebook::new();
    let b = reader(&mut sim, "b", &arrivals);
    sim.node("a", async move |node| {
        for number in 0..count {
            until(&node, gap * number).await;
            node.send(b, &note(number));
        }
    });
    (sim, arrivals)
}

/// A node that writes down what it receives, and when.
pub fn reader(sim: &mut Sim, name: &str, arrivals: &Notebook<(Duration, Message)>) -> sim_core::NodeId {
    let arrivals = arrivals.clone();
    sim.node(name, async move |node| {
        let mut mailbox = node.mailbox::<Message>();
        loop {
            let message = mailbox.recv().await.message;
            arrivals.write((now(&node), message));
        }
    })
}

pub fn numbers(arrivals: &[(Duration, Message)]) -> Vec<u64> {
    arrivals.iter().map(|(_, message)| message.number()).collect()
}

/// A run with one node, which writes times into the notebook.
pub fn alone(
    faults: impl IntoIterator<Item = Fault>,
    code: impl AsyncFn(Node, Notebook<Duration>) + Send + 'static,
) -> (Vec<Duration>, Recording) {
    let mut sim = Sim::new(&with(faults), RecordingLevel::Full);
    let book = Notebook::new();
    let own = book.clone();
    sim.node("n", async move |node| code(node, own.clone()).await);
    let recording = sim.run().unwrap();
    assert!(!matches!(recording.ending, sim_core::record::Ending::Panicked { .. }), "{:?}", recording.ending);
    (book.read(), recording)
}

// ---- the recording ----

pub fn fault<'a>(recording: &'a Recording, name: &str) -> &'a FaultRecord {
    recording.faults.iter().find(|f| f.name == name).unwrap_or_else(|| panic!("no fault `{name}`"))
}
pub fn touched(recording: &Recording, name: &str) -> u64 {
    fault(recording, name).touched
}
/// The packets of a kind, in order of sending.
pub fn packets(recording: &Recording, kind: &str) -> Vec<Wire> {
    recording.messages.iter().filter(|m| recording.text(m.kind) == kind).copied().collect()
}
/// When packets of a kind were sent.
pub fn sent(recording: &Recording, kind: &str) -> Vec<Duration> {
    packets(recording, kind).iter().map(|m| m.sent.since_start()).collect()
}
/// How many packets were dropped for that reason.
pub fn dropped(recording: &Recording, reason: &str) -> usize {
    let is = |fate| matches!(fate, Fate::Dropped(_, why) if recording.text(why) == reason);
    recording.messages.iter().filter(|m| is(m.fate)).count()
}
/// The sum of a metric over all nodes.
pub fn total(recording: &Recording, metric: &str) -> f64 {
    let of = recording.metrics.iter().filter(|series| recording.text(series.name) == metric);
    of.flat_map(|series| &series.points).map(|point| point.value).sum()
}
/// The changes of a state of a node: (when, value).
pub fn states(recording: &Recording, node: &str, key: &str) -> Vec<(Duration, String)> {
    let index = recording.find_node(node).unwrap();
    let of = |s: &&sim_core::record::StateChange| s.node == index && recording.text(s.key) == key;
    let changes = recording.states.iter().filter(of);
    changes.map(|s| (s.at.since_start(), recording.text(s.value).to_owned())).collect()
}
/// The names of nodes.
pub fn names(recording: &Recording, nodes: &[NodeIndex]) -> Vec<String> {
    nodes.iter().map(|&n| recording.node_name(n).to_owned()).collect()
}

// ---- statistics ----

/// Whether `hits` of `n` is a share that chance `p` explains: within four standard errors. The seeds are fixed, so that a
/// pass is a pass for good.
pub fn is_share(hits: usize, n: usize, p: f64) -> bool {
    let standard_error = (p * (1.0 - p) / n as f64).sqrt();
    (hits as f64 / n as f64 - p).abs() <= 4.0 * standard_error
}
