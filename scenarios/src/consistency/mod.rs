//! The shelf `consistency`: what a reader may see.

crate::shelf! { "consistency": }
