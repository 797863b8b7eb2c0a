//! What a run has to say: a read-only view of its recording, and the measures taken from it.
//!
//! An expectation gets a [`Run`], narrows it (`run.between(secs(7), secs(12)).node("web-1")`), asks it for something
//! (`.spans("GET /hot").p99()`), and holds that against a bound (`.below(ms(400))`). What happened at one instant belongs to
//! a view that contains the instant; spans, operations and messages belong to the view in which they *began*. Views are
//! half-open, `[from, to)`, so that neighbours share nothing.

mod alarms;
mod bounds;
mod error;
mod messages;
mod operations;
mod quantity;
mod recorded;
mod run;
mod samples;
mod sequence;
mod series;
mod span_tree;
mod spans;
mod states;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

pub use alarms::Alarms;
pub use bounds::{Bound, Bounds, Check, attempt, check};
pub use error::{MeasureError, Recorded};
pub use messages::Messages;
pub use operations::{OperationView, Operations};
pub use quantity::{Measure, Unit, percent};
pub use run::{FaultView, Run};
pub use samples::{Each, Measures, Sample};
pub use sequence::Sequence;
pub use series::{Counter, Gauge, Times};
pub use spans::{AttributeValue, Shown, SpanView, Spans};
pub use states::{Moments, States};
