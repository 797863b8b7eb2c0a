//! The shelf `load`: rate limits, balancing, queues and back-pressure.

crate::shelf! { "load": }
