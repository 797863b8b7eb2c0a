//! The shelf `coordination`: leaders, locks and exclusive rights.

crate::shelf! { "coordination": }
