//! Protocols: state machines that decide without waiting, and the one host that carries out what they decide.
//!
//! A protocol does no IO, knows no clock and draws no chance of its own: time and chance are in [`Out`], and what it wants
//! done it says as effects. A unit test reads the effects and needs no simulator; the same code can run in production.

pub(crate) mod host;
mod out;

use std::fmt::Debug;

use serde::{Serialize, de::DeserializeOwned};

pub use host::Hosted;
pub use out::{Effect, Out};

use crate::node::NodeId;

/// A sans-IO state machine. See `ARCHITECTURE.md` for how to write one.
pub trait Protocol: Sized + 'static {
    /// Who am I, who are the others, and the switches.
    type Config: 'static;
    /// What nodes say to each other.
    type Message: Serialize + DeserializeOwned + Debug + 'static;
    /// What the application asks of its own node: propose, acquire, increment.
    type Command: 'static;
    /// What the protocol announces to its application: applied, became leader, suspected.
    type Event: 'static;
    /// What it persists.
    type Record: Serialize + DeserializeOwned + 'static;
    /// Names a timer; arming one that is armed moves it.
    type Timer: Copy + Ord + Debug + 'static;

    /// Every incarnation starts here; the first one has no records.
    fn restore(config: &Self::Config, records: Vec<Self::Record>, out: &mut Out<Self>) -> Self;
    /// The application asks for something.
    fn on_command(&mut self, command: Self::Command, out: &mut Out<Self>);
    /// Another node has said something. It may be late, doubled, or out of order.
    fn on_message(&mut self, from: NodeId, message: Self::Message, out: &mut Out<Self>);
    /// A timer has fired; it is no longer armed.
    fn on_timer(&mut self, timer: Self::Timer, out: &mut Out<Self>);
}
