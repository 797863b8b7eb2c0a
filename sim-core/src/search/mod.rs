//! Searching: not one run of a protocol, but many, or all of them.
//!
//! - [`exhaustive`]: every state that a small configuration of a protocol can reach.

pub mod exhaustive;
