//! The labs, and the cast that they share: what happens to a distributed system, told as simulations.

pub mod cast;
