//! Text for the terminal: a small waterfall of one trace, numbers that fit into a table, and links into Jaeger.
//!
//! Pure functions from a recording to a text. There is no colour unless it is asked for: whoever calls knows whether a
//! terminal is at the other end.

mod links;
mod number;
#[cfg(test)]
mod tests;
mod waterfall;

pub use links::{compare_link, search_link, trace_link};
pub use number::{duration, number, rounded, rounded_duration};
pub use waterfall::{Colour, waterfall, worst_trace, worst_trace_where};
