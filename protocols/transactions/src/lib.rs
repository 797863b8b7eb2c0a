//! All or nothing: what several machines do together, all of them do or none.
//!
//! Protocols that decide without waiting: they do no input or output and know no clock. Time and chance come in as
//! arguments, effects go out as a list, so the same code runs in the simulator, in an exhaustive search of all its states,
//! in a unit test and in production.
//!
//! - [`two_phase`]: a coordinator asks all participants for their vote, and commits when all say yes.

pub mod two_phase;

pub use two_phase::TwoPhase;
