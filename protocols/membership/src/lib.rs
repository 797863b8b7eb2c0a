//! Who is in the group, and who of them is alive.
//!
//! Protocols that decide without waiting: they do no input or output and know no clock. Time and chance come in as
//! arguments, effects go out as a list, so the same code runs in the simulator, in a unit test and in production.
//!
//! - [`heartbeat`]: nodes say "I am alive" at a steady pace, and a monitor suspects whom it has not heard for too long.
//! - [`detector`]: how long is too long: a fixed time-out, or a limit learned from the gaps between heartbeats.

pub mod detector;
mod fit;
pub mod heartbeat;

pub use detector::{Detector, Judge, PhiAccrual};
pub use fit::{Fit, Tail};
pub use heartbeat::Heartbeat;
