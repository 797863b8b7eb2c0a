//! What shows a run: OTLP spans and metrics for Jaeger, OpenMetrics for Prometheus, and text for the terminal.
//!
//! Everything here reads a [`Recording`](sim_core::record::Recording) and never a running simulation, so nothing that
//! is shown can change what happened. The same recording gives the same bytes, always and everywhere; only
//! [`send`] talks to anybody, and what it hears back is told in its report and written nowhere.
//!
//! | to get | see |
//! |---|---|
//! | OTLP requests as structs | [`otlp`] |
//! | a run's folder on disk | [`files`] |
//! | spans into Jaeger, or any OTLP receiver | [`send`] |
//! | a picture of one trace in the terminal | [`terminal`] |

mod epoch;
pub mod files;
pub mod openmetrics;
pub mod otlp;
mod sample;
pub mod send;
pub mod terminal;
#[cfg(test)]
mod testing;

pub use epoch::{EPOCH_DEFAULT, Epoch, NotAnEpoch};
