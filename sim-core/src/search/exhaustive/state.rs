//! A state of the whole system: what every node is, what is on the way, and what may still happen.

use std::{collections::BTreeSet, hash::Hash, rc::Rc};

use super::{
    Searchable,
    print::{Print, print_of},
};
use crate::node::NodeId;

/// A state of the system, as a check sees it.
pub struct State<P: Searchable> {
    pub(super) machines: Vec<Rc<Machine<P>>>,
    pub(super) network: Rc<Vec<Packet<P>>>,
    pub(super) left: Left,
}

/// One node. What two states have in common they share, so that a step copies one node.
pub(super) struct Machine<P: Searchable> {
    /// None while it is down.
    pub(super) protocol: Option<P>,
    /// What is on the disk, and safe.
    pub(super) records: Vec<P::Record>,
    /// Persists without a sync.
    pub(super) writes: Vec<Write<P::Record>>,
    /// What waits for the sync. All of it goes out at once, so the order of the messages has no say.
    pub(super) held: Vec<Packet<P>>,
    pub(super) held_events: Vec<P::Event>,
    pub(super) timers: BTreeSet<P::Timer>,
    /// The announced events that are kept.
    pub(super) events: Vec<P::Event>,
    print: u128,
}

#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) enum Write<R> {
    Append(R),
    Truncate(usize),
    Replace(Vec<R>),
}

impl<R> Write<R> {
    pub(super) fn apply(self, records: &mut Vec<R>) {
        match self {
            Self::Append(record) => records.push(record),
            Self::Truncate(keep) => records.truncate(keep),
            Self::Replace(all) => *records = all,
        }
    }
}

/// A message on its way, so many times.
pub(super) struct Packet<P: Searchable> {
    pub(super) envelope: Rc<Envelope<P>>,
    pub(super) count: u32,
}

pub(super) struct Envelope<P: Searchable> {
    pub(super) from: NodeId,
    pub(super) to: NodeId,
    pub(super) message: P::Message,
    print: u128,
}

impl<P: Searchable> Clone for Packet<P> {
    fn clone(&self) -> Self {
        Self { envelope: Rc::clone(&self.envelope), count: self.count }
    }
}

impl<P: Searchable> Envelope<P> {
    pub(super) fn new(from: NodeId, to: NodeId, message: P::Message) -> Self {
        let print = print_of(&(from, to, &message));
        Self { from, to, message, print }
    }
    fn is(&self, other: &Self) -> bool {
        self.print == other.print
            && (self.from, self.to) == (other.from, other.to)
            && self.message == other.message
    }
}

/// Puts a message to the others. In a set one is enough.
pub(super) fn put<P: Searchable>(packets: &mut Vec<Packet<P>>, packet: Packet<P>, is_set: bool) {
    match packets.iter_mut().find(|known| known.envelope.is(&packet.envelope)) {
        Some(_) if is_set => {}
        Some(known) => known.count += packet.count,
        None => packets.push(packet),
    }
}

/// The fingerprint of messages: a sum does not depend on the order in which they were sent.
fn sum<P: Searchable>(packets: &[Packet<P>]) -> u128 {
    packets
        .iter()
        .fold(0, |sum, packet| sum.wrapping_add(packet.envelope.print.wrapping_mul(u128::from(packet.count))))
}

/// What is left of the budgets, and how far each script is.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Left {
    pub(super) crashes: u32,
    pub(super) losses: Option<u32>,
    pub(super) copies: u32,
    pub(super) timers: Option<u32>,
    pub(super) scripts: Vec<u32>,
}

impl<P: Searchable> Clone for State<P> {
    fn clone(&self) -> Self {
        Self { machines: self.machines.clone(), network: Rc::clone(&self.network), left: self.left.clone() }
    }
}

impl<P: Searchable> Clone for Machine<P> {
    fn clone(&self) -> Self {
        Self {
            protocol: self.protocol.clone(),
            records: self.records.clone(),
            writes: self.writes.clone(),
            held: self.held.clone(),
            held_events: self.held_events.clone(),
            timers: self.timers.clone(),
            events: self.events.clone(),
            print: self.print,
        }
    }
}

impl<P: Searchable> Machine<P> {
    /// One that is down and has an empty disk.
    pub(super) fn new() -> Self {
        Self {
            protocol: None,
            records: Vec::new(),
            writes: Vec::new(),
            held: Vec::new(),
            held_events: Vec::new(),
            timers: BTreeSet::new(),
            events: Vec::new(),
            print: 0,
        }
    }

    /// To be called after each change.
    pub(super) fn seal(&mut self) {
        let mut print = Print::new();
        self.protocol.hash(&mut print);
        self.records.hash(&mut print);
        self.writes.hash(&mut print);
        sum(&self.held).hash(&mut print);
        self.held_events.hash(&mut print);
        self.timers.hash(&mut print);
        self.events.hash(&mut print);
        self.print = print.done();
    }
}

impl<P: Searchable> State<P> {
    /// How many nodes there are.
    pub fn len(&self) -> usize {
        self.machines.len()
    }
    /// Whether there are no nodes.
    pub fn is_empty(&self) -> bool {
        self.machines.is_empty()
    }
    /// The nodes, in order.
    pub fn nodes(&self) -> impl Iterator<Item = NodeId> + use<P> {
        (0..self.machines.len() as u32).map(NodeId)
    }
    /// The protocol of a node; none while it is down.
    pub fn protocol(&self, node: NodeId) -> Option<&P> {
        self.machines[node.index()].protocol.as_ref()
    }
    /// The records that are safe on a node's disk.
    pub fn records(&self, node: NodeId) -> &[P::Record] {
        &self.machines[node.index()].records
    }
    /// Whether a node has persisted something that no sync has made safe.
    pub fn is_behind(&self, node: NodeId) -> bool {
        !self.machines[node.index()].writes.is_empty()
    }
    /// The timers that are armed on a node.
    pub fn timers(&self, node: NodeId) -> &BTreeSet<P::Timer> {
        &self.machines[node.index()].timers
    }
    /// The events that a node has announced since the first state, of those that are kept.
    pub fn events(&self, node: NodeId) -> &[P::Event] {
        &self.machines[node.index()].events
    }
    /// The messages on their way, each with its sender, its receiver, and how many copies there are.
    pub fn messages(&self) -> impl Iterator<Item = (NodeId, NodeId, &P::Message, u32)> {
        self.network.iter().map(|packet| {
            let envelope = &*packet.envelope;
            (envelope.from, envelope.to, &envelope.message, packet.count)
        })
    }
    /// Whether this message is on its way.
    pub fn is_sent(&self, from: NodeId, to: NodeId, message: &P::Message) -> bool {
        self.messages().any(|(f, t, m, _)| (f, t) == (from, to) && m == message)
    }

    pub(super) fn print(&self) -> u128 {
        let mut print = Print::new();
        for machine in &self.machines {
            machine.print.hash(&mut print);
        }
        sum(&self.network).hash(&mut print);
        self.left.hash(&mut print);
        print.done()
    }

    /// Takes one copy out.
    pub(super) fn take(&mut self, index: usize) {
        let network = Rc::make_mut(&mut self.network);
        network[index].count -= 1;
        if network[index].count == 0 {
            network.remove(index);
        }
    }
}
