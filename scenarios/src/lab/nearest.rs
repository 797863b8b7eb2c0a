//! The nearest valid name, for errors: the world's own module, where labs and the command line look for it.

pub use sim_core::nearest::{did_you_mean, nearest};
