//! The program `shaketable` over a catalogue of one lab, the one in `one_of_everything.rs`: another process for the tests to
//! run it in.

use std::process::ExitCode;

fn main() -> ExitCode {
    shaketable::main_with(&[jaeger_test::one_of_everything()])
}
