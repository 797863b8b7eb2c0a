//! A test as `shaketable shrink` writes it, and its plan: what is written compiles, and fails and holds as it says.

#[path = "shrunk/test.rs"]
mod shrunk;
