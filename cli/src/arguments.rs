//! The command line as clap knows it: one definition for parsing, help, shell completions and the manual page.

use std::ffi::OsString;

use clap::{ColorChoice, CommandFactory, FromArgMatches, Parser, Subcommand, error::ErrorKind};
use scenarios::lab::LabEntry;

use crate::{
    commands::{
        bugs::BugsArguments,
        check::CheckArguments,
        completions::CompletionsArguments,
        explain::{ExplainArguments, FAULTS},
        export::ExportArguments,
        list::ListArguments,
        man::ManArguments,
        merge::MergeArguments,
        replay::ReplayArguments,
        scenario::ScenarioArguments,
        shrink::ShrinkArguments,
        sweep::SweepArguments,
    },
    console::Console,
    failure::{Failure, Status},
};

/// A deterministic shake table for distributed systems
///
/// A lab lets a distributed system break under a seed, and stand under the same seed with one thing changed. The same
/// command gives the same run, on every machine.
#[derive(Debug, Parser)]
#[command(name = "shaketable", version, after_help = EXIT_STATUS, arg_required_else_help = true)]
pub(crate) struct Arguments {
    /// When to use colours; auto: on a terminal, unless NO_COLOR is set
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub(crate) color: ColorChoice,
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXIT_STATUS: &str = "\
Exit status:
  0  everything came as expected (a broken variant missed the goals that it names)
  1  something did not
  2  the command line, a plan or a file is wrong; nothing was run
  3  something could not be judged, and nothing else was wrong
  4  export incomplete: a file was not written, or a span not acknowledged";

/// The subcommands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Scenario(ScenarioArguments),
    List(ListArguments),
    Explain(ExplainArguments),
    Sweep(SweepArguments),
    Merge(MergeArguments),
    Shrink(ShrinkArguments),
    Replay(ReplayArguments),
    Export(ExportArguments),
    Check(CheckArguments),
    Bugs(BugsArguments),
    Completions(CompletionsArguments),
    Man(ManArguments),
}

/// The definition itself. With labs, arguments that name one list them all: shells complete them.
pub(crate) fn definition(labs: Option<&[LabEntry]>) -> clap::Command {
    let definition = Arguments::command();
    let Some(labs) = labs.filter(|labs| !labs.is_empty()) else { return definition };
    let names: Vec<String> = labs.iter().map(|lab| lab.name().to_owned()).collect();
    ["scenario", "explain", "sweep"].into_iter().fold(definition, |definition, command| {
        let mut names = names.clone();
        if command == "explain" {
            names.push(FAULTS.to_owned());
        }
        definition.mut_subcommand(command, |command| {
            command.mut_arg("name", |name| {
                name.value_parser(clap::builder::PossibleValuesParser::new(names)).hide_possible_values(true)
            })
        })
    })
}

/// Reads a command line.
pub(crate) fn parse(
    arguments: impl IntoIterator<Item = OsString>,
    console: &Console<'_>,
) -> Result<Arguments, clap::Error> {
    let matches = definition(None).term_width(console.width()).try_get_matches_from(arguments)?;
    Arguments::from_arg_matches(&matches)
}

/// Shows what clap has to say: help and version are what was asked for, all else is a mistake.
pub(crate) fn refuse(error: &clap::Error, console: &mut Console<'_>) -> Result<Status, Failure> {
    let text = error.render().ansi().to_string();
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            console.print(&text)?;
            Ok(Status::AsExpected)
        }
        _ => {
            console.tell(&text);
            Ok(Status::Usage)
        }
    }
}
