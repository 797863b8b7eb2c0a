//! The `shaketable` program: the command line over the catalogue of labs. All of it is in the library beside this file.

use std::process::ExitCode;

fn main() -> ExitCode {
    shaketable::main_with(scenarios::catalogue())
}
