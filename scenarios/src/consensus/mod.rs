//! The shelf `consensus`: one decision, although some fail.

crate::shelf! { "consensus": }
