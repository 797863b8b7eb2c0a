//! `completions`: the shell's own knowledge of the command line, names of labs with it.

use clap::Args;
use clap_complete::Shell;
use scenarios::lab::LabEntry;

use crate::{
    arguments,
    console::Console,
    failure::{Failure, Status},
};

/// Print completions for a shell
///
/// For bash: shaketable completions bash > ~/.local/share/bash-completion/completions/shaketable
#[derive(Debug, Args)]
pub(crate) struct CompletionsArguments {
    /// The shell
    shell: Shell,
}

pub(crate) fn carry_out(
    labs: &[LabEntry],
    arguments: &CompletionsArguments,
    console: &mut Console<'_>,
) -> Result<Status, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(
        arguments.shell,
        &mut arguments::definition(Some(labs)),
        "shaketable",
        &mut script,
    );
    console.print_raw(&script)?;
    Ok(Status::AsExpected)
}
