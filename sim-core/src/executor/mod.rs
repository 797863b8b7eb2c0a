//! The executor: one thread, a FIFO ready queue, and an event queue ordered by (time, sequence).
//!
//! It runs the `async` code of the nodes. Nothing here depends on the machine: tasks are polled in the order in which they
//! were woken, events happen in the order of their virtual time and, at one instant, of their scheduling.

pub mod combine;
pub(crate) mod queue;
pub mod sync;
pub(crate) mod task;
