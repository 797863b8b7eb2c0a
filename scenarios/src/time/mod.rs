//! The shelf `time`: clocks, order, and what happened before what.

crate::shelf! { "time": }
