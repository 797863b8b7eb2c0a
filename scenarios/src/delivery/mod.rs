//! The shelf `delivery`: releases, roll-outs and schema changes.

crate::shelf! { "delivery": }
