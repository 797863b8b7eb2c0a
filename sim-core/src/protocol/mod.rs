//! Protocols: state machines that decide without waiting, and the one host that carries out what they decide.
//!
//! A protocol does no IO, knows no clock and draws no chance of its own: time and chance are in [`Out`], and what it wants
//! done it says as effects. A unit test reads the effects and needs no simulator; the same code can run in production.

pub(crate) mod host;
mod out;
mod records;

use std::fmt::Debug;

use serde::{Serialize, de::DeserializeOwned};

pub use host::{Hosted, Watching};
pub use out::{Effect, Out};

use crate::{node::NodeId, time::Duration};

/// When the host makes durable what a protocol persists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Durability {
    /// Before anything that was said after it leaves the node.
    #[default]
    BeforeAnswers,
    /// It is written before anything that was said after it leaves the node, and synced every so often. What has not been
    /// synced is lost in a power failure, whatever the node has promised: only for protocols that can afford it, and to show
    /// what happens to those that cannot.
    Every(Duration),
}

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

    /// When records become durable; before all answers, unless the protocol says otherwise.
    fn durability(_config: &Self::Config) -> Durability {
        Durability::BeforeAnswers
    }
    /// Every incarnation starts here; the first one has no records.
    fn restore(config: &Self::Config, records: Vec<Self::Record>, out: &mut Out<Self>) -> Self;
    /// The application asks for something.
    fn on_command(&mut self, command: Self::Command, out: &mut Out<Self>);
    /// Another node has said something. It may be late, doubled, or out of order.
    fn on_message(&mut self, from: NodeId, message: Self::Message, out: &mut Out<Self>);
    /// A timer has fired; it is no longer armed.
    fn on_timer(&mut self, timer: Self::Timer, out: &mut Out<Self>);
}
