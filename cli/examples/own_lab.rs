//! The whole command line for labs of one's own, outside the catalogue: `cargo run --example own_lab -- scenario till-queue`.
//!
//! The tests start it as a process of its own; see `tests/process.rs`.

#[path = "../tests/common/labs.rs"]
mod labs;

use std::process::ExitCode;

fn main() -> ExitCode {
    shaketable::main_with(&labs::labs())
}
