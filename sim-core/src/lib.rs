//! The world of a deterministic discrete-event simulation of distributed systems.
//!
//! Nodes with clocks, cores, memory and disks; links that delay, lose, double and damage; faults as data; a recording of
//! what happened. It knows no protocol and no lab. A run is a function of its [`plan::Plan`]: the same plan gives the same
//! bytes, in another process, on another machine, in debug and in release.
//!
//! Start with [`Sim`]; what a node's code can do is on [`Node`].

pub mod check;
pub mod codec;
mod executor;
pub mod fault;
pub mod machine;
pub mod math;
pub mod nearest;
pub mod net;
mod node;
pub mod plan;
pub mod protocol;
pub mod record;
pub mod rng;
pub mod search;
mod sim;
pub mod time;
mod world;

pub use executor::{combine, sync};
pub use node::{Node, NodeId, NodeSpec, Observer, Sleep, Task, Ticks};
pub use sim::Sim;
