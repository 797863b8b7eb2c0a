//! What to do with what is cached, and when.
//!
//! Policies that decide without waiting: they do no input or output and know no clock. Time and chance come in as
//! arguments, so the same code runs in the simulator, in a unit test and in production.
//!
//! - [`EarlyRefresh`]: readers renew a value before it expires, by chance, so that no crowd finds it gone.

mod early_refresh;

pub use early_refresh::EarlyRefresh;
