//! The shelf `messaging`: queues, logs, streams, and each message once.

crate::shelf! { "messaging": }
