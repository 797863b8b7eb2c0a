//! `man`: the manual pages, from the same definition as the command line.

use std::{fs, path::PathBuf};

use clap::Args;
use clap_mangen::Man;
use scenarios::lab::nearest::nearest;

use crate::{
    arguments,
    console::Console,
    failure::{Failure, Status},
};

/// Print a manual page: shaketable man | man -l -
#[derive(Debug, Args)]
pub(crate) struct ManArguments {
    /// The page of a subcommand; without it that of the program
    command: Option<String>,
    /// Write all pages into a folder instead
    #[arg(long, value_name = "DIR", conflicts_with = "command")]
    out: Option<PathBuf>,
}

pub(crate) fn carry_out(arguments: &ManArguments, console: &mut Console<'_>) -> Result<Status, Failure> {
    let mut program = arguments::definition(None);
    program.build();
    if let Some(folder) = &arguments.out {
        let failed = |reason: std::io::Error| {
            Failure::Export(format!("cannot write the manual pages to {}: {reason}", folder.display()))
        };
        fs::create_dir_all(folder).map_err(failed)?;
        clap_mangen::generate_to(program, folder).map_err(failed)?;
        return Ok(Status::AsExpected);
    }
    let page = match &arguments.command {
        None => program,
        Some(name) => subcommand(&program, name)?,
    };
    let mut text = Vec::new();
    Man::new(page).render(&mut text)?;
    console.print_raw(&text)?;
    Ok(Status::AsExpected)
}

fn subcommand(program: &clap::Command, name: &str) -> Result<clap::Command, Failure> {
    if let Some(command) = program.find_subcommand(name) {
        let title = command.get_display_name().unwrap_or(name).to_owned();
        return Ok(command.clone().name(title));
    }
    let known: Vec<&str> = program.get_subcommands().map(clap::Command::get_name).collect();
    let near = nearest(name, known.iter().copied());
    let near = near.map(|name| format!("; did you mean `{name}`?")).unwrap_or_default();
    Err(Failure::usage(format!("there is no command `{name}`; the commands are {}{near}", known.join(", "))))
}
