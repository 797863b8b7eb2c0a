//! Does the simulator tell the truth? Here its runs are compared with figures that nobody on this project made.
//!
//! Queueing theory, probability and published papers say what a server at 80 % load, a cache with a time to live or a
//! clock that is set over a slow line must show. Each test builds such a thing from the simulator's real parts (nodes,
//! cores, links, datagrams, calls, semaphores, and the cast's cache, pool and database, on which the labs run), runs it over
//! a list of seeds that is fixed in advance, and lets one rule decide ([`gate`]). The models know nothing of the theory;
//! [`theory`] is asked by the tests alone.
//!
//! ```text
//! cargo test --release -p fidelity -- --nocapture
//! ```
//!
//! A test's name starts with the name of its check: `q1_..` is M/M/1, `j2_..` is NTP. Each prints what was measured, what
//! was expected, and how sure it is. For some checks there is a test of the test: a model with a well-known mistake, which
//! the gate must reject.

pub mod closed_loop;
pub mod gate;
pub mod law;
pub mod pool;
pub mod run;
pub mod station;
pub mod tally;
pub mod theory;
