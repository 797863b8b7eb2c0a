//! The command line.
//!
//! Everything here is a function over a list of labs, a list of arguments and a [`Console`]: the program passes in the
//! catalogue and the real terminal, a test passes in a lab of its own and two buffers, and whoever keeps labs outside the
//! catalogue writes a `main` of one line, [`main_with`].
//!
//! | to find | see |
//! |---|---|
//! | one subcommand: its arguments and what it does | `commands/` |
//! | what was asked beyond the lab's own | `asked` |
//! | running the variants of a lab and judging them | `runs` |
//! | many seeds: result files, verdicts, tables | `sweeping/` |
//! | the JSON documents | `document` |
//! | what is shown on the terminal | `show/` |
//! | files and spans that leave the program | `delivery` |
//!
//! The labs' logic is in `scenarios::lab`, the simulation in `sim_core`, files and OTLP in `viz`.

mod arguments;
mod asked;
mod commands;
mod console;
mod delivery;
mod document;
mod failure;
mod folder;
mod input;
mod panics;
mod progress;
mod runs;
mod show;
mod sweeping;

use std::{ffi::OsString, process::ExitCode};

pub use console::{Console, Environment};
pub use failure::Status;
use scenarios::lab::LabEntry;

/// The whole program, for these labs: reads the process's arguments, writes to its terminal, gives its exit status.
pub fn main_with(labs: &[LabEntry]) -> ExitCode {
    panics::keep_quiet_inside_runs();
    sweeping::interrupt::allow();
    let mut console = Console::of_the_process();
    ExitCode::from(run(labs, std::env::args_os(), &mut console) as u8)
}

/// Runs one command line; the first argument is the program's name.
pub fn run(
    labs: &[LabEntry],
    arguments: impl IntoIterator<Item = OsString>,
    console: &mut Console<'_>,
) -> Status {
    let done = match arguments::parse(arguments, console) {
        Ok(arguments) => commands::carry_out(labs, arguments, console),
        Err(error) => arguments::refuse(&error, console),
    };
    console.end(done)
}
