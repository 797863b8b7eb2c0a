//! What a protocol's handler is given and what it says: time, chance, and an ordered list of effects.

use std::cell::Cell;

use super::Protocol;
use crate::{
    node::NodeId,
    rng::{Key, Rng},
    time::{Duration, Monotonic, Wall},
};

/// Something that a protocol wants done. Effects are carried out in the order in which they were said; what is sent or
/// announced after a persist waits until it is durable.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect<P: Protocol> {
    /// A message to another node.
    Send(NodeId, P::Message),
    /// A timer, that long from now on the monotonic clock.
    Arm(P::Timer, Duration),
    /// Takes a timer back.
    Disarm(P::Timer),
    /// One more record.
    Append(P::Record),
    /// Keep only the first so many records.
    Truncate(usize),
    /// These records instead of all before: a snapshot.
    Replace(Vec<P::Record>),
    /// A state, for the timeline and for faults that aim at roles.
    State(&'static str, String),
    /// Tells the application.
    Announce(P::Event),
}

/// See the module.
pub struct Out<P: Protocol> {
    now: Monotonic,
    wall: Wall,
    rng: Rng,
    effects: Vec<Effect<P>>,
    /// Which clocks the handler has looked at: a fault of a clock at which nobody looks has changed nothing.
    read_now: Cell<bool>,
    read_wall: Cell<bool>,
}

impl<P: Protocol> Out<P> {
    /// For unit tests: a handler's surroundings at a time, with a stream of chance for a seed.
    pub fn new(now: Monotonic, wall: Wall, seed: u64) -> Self {
        Self::with_rng(now, wall, Rng::new(&Key::root(seed)))
    }
    pub(crate) fn with_rng(now: Monotonic, wall: Wall, rng: Rng) -> Self {
        let effects = Vec::new();
        Self { now, wall, rng, effects, read_now: Cell::new(false), read_wall: Cell::new(false) }
    }
    pub(crate) fn set_time(&mut self, now: Monotonic, wall: Wall) {
        self.now = now;
        self.wall = wall;
    }
    /// Whether the monotonic and the wall clock have been looked at since this was asked last.
    #[inline]
    pub(crate) fn take_readings(&self) -> (bool, bool) {
        (self.read_now.take(), self.read_wall.take())
    }
    /// For unit tests: goes on to a later time.
    pub fn advance(&mut self, by: Duration) {
        self.now += by;
        self.wall += by;
    }

    /// The node's monotonic clock.
    pub fn now(&self) -> Monotonic {
        self.read_now.set(true);
        self.now
    }
    /// The node's wall clock.
    pub fn wall(&self) -> Wall {
        self.read_wall.set(true);
        self.wall
    }
    /// The protocol's own stream of chance.
    pub fn rng(&mut self) -> &mut Rng {
        &mut self.rng
    }

    /// Sends a message.
    pub fn send(&mut self, to: NodeId, message: P::Message) {
        self.effects.push(Effect::Send(to, message));
    }
    /// Sends a message to each of several nodes.
    pub fn broadcast<'a>(&mut self, to: impl IntoIterator<Item = &'a NodeId>, message: P::Message)
    where
        P::Message: Clone,
    {
        for &node in to {
            self.send(node, message.clone());
        }
    }
    /// Arms a timer, or moves it.
    pub fn arm(&mut self, timer: P::Timer, after: Duration) {
        self.effects.push(Effect::Arm(timer, after));
    }
    /// Takes a timer back.
    pub fn disarm(&mut self, timer: P::Timer) {
        self.effects.push(Effect::Disarm(timer));
    }
    /// Persists one more record.
    pub fn append(&mut self, record: P::Record) {
        self.effects.push(Effect::Append(record));
    }
    /// Persists that only the first so many records count.
    pub fn truncate(&mut self, keep: usize) {
        self.effects.push(Effect::Truncate(keep));
    }
    /// Persists these records instead of all before.
    pub fn replace(&mut self, records: Vec<P::Record>) {
        self.effects.push(Effect::Replace(records));
    }
    /// Shows a state.
    pub fn state(&mut self, key: &'static str, value: impl Into<String>) {
        self.effects.push(Effect::State(key, value.into()));
    }
    /// Tells the application.
    pub fn announce(&mut self, event: P::Event) {
        self.effects.push(Effect::Announce(event));
    }

    /// The effects so far.
    pub fn effects(&self) -> &[Effect<P>] {
        &self.effects
    }
    /// Takes the effects out.
    pub fn take(&mut self) -> Vec<Effect<P>> {
        std::mem::take(&mut self.effects)
    }
    pub(crate) fn swap(&mut self, other: &mut Vec<Effect<P>>) {
        std::mem::swap(&mut self.effects, other);
    }
}
