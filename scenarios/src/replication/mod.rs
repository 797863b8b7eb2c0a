//! The shelf `replication`: copies, and how they are kept alike.

crate::shelf! { "replication": }
