//! The world of a deterministic discrete-event simulation of distributed systems.

pub mod codec;
pub mod fault;
pub mod plan;
pub mod record;
pub mod sim;
pub mod time;
