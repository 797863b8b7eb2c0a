//! The shelf `resilience`: retries, time-outs, breakers, and what keeps a failure small.

crate::shelf! { "resilience": }
