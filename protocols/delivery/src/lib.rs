//! What to do about messages that come late, twice, out of order, or never.
//!
//! State machines that decide without waiting: they do no input or output and know no clock. Whoever uses them sends, receives
//! and sleeps, so the same code runs in the simulator, in a unit test and in production.
//!
//! - [`Sequencer`]: the receiver's side of numbered messages, which drops what it has and holds what came too early.

mod sequencer;

pub use sequencer::{Arrival, Order, Sequencer};
