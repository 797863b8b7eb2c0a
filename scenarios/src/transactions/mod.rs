//! The shelf `transactions`: all or nothing, over several nodes.

crate::shelf! { "transactions": }
