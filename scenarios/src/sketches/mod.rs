//! The shelf `sketches`: small answers to large questions.

crate::shelf! { "sketches": }
