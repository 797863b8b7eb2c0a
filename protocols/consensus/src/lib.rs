//! Consensus: several servers agree on one sequence of commands, although some of them crash and messages get lost.
//!
//! Protocols that decide without waiting: they do no input or output and know no clock. Time and chance come in as
//! arguments, effects go out as a list, so the same code runs in the simulator, in a unit test and in production.
//!
//! - [`raft`]: a leader keeps a log and copies it to the others; what a majority holds is committed.
//! - [`sessions`]: for the state machine behind the log: a command that comes twice is applied once.
//! - [`bytes`]: what a command is to a protocol.

pub mod bytes;
pub mod raft;
pub mod sessions;

pub use bytes::Bytes;
pub use raft::Raft;
pub use sessions::Sessions;
