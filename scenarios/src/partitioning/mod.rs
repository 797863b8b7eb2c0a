//! The shelf `partitioning`: which node has which key.

crate::shelf! { "partitioning": }
