//! The subcommands, one file each.

pub(crate) mod bugs;
pub(crate) mod check;
pub(crate) mod completions;
pub(crate) mod explain;
pub(crate) mod export;
pub(crate) mod list;
pub(crate) mod man;
pub(crate) mod merge;
pub(crate) mod replay;
mod results;
pub(crate) mod scenario;
pub(crate) mod shrink;
pub(crate) mod sweep;

use scenarios::lab::LabEntry;

use crate::{
    arguments::{Arguments, Command},
    console::Console,
    failure::{Failure, Status},
};

/// Carries out a command line that was understood.
pub(crate) fn carry_out(
    labs: &[LabEntry],
    arguments: Arguments,
    console: &mut Console<'_>,
) -> Result<Status, Failure> {
    console.set_colour(arguments.color);
    match arguments.command {
        Command::Scenario(arguments) => scenario::carry_out(labs, &arguments, console),
        Command::List(arguments) => list::carry_out(labs, &arguments, console),
        Command::Explain(arguments) => explain::carry_out(labs, &arguments, console),
        Command::Sweep(arguments) => sweep::carry_out(labs, &arguments, console),
        Command::Merge(arguments) => merge::carry_out(labs, &arguments, console),
        Command::Shrink(arguments) => shrink::carry_out(labs, &arguments, console),
        Command::Replay(arguments) => replay::carry_out(labs, &arguments, console),
        Command::Bugs(arguments) => bugs::carry_out(&arguments, console),
        Command::Export(arguments) => export::carry_out(&arguments, console),
        Command::Check(arguments) => check::carry_out(&arguments, console),
        Command::Completions(arguments) => completions::carry_out(labs, &arguments, console),
        Command::Man(arguments) => man::carry_out(&arguments, console),
    }
}
