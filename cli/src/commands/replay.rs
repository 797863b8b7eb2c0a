//! `replay`: runs a plan exactly: its knobs, its faults, its overrides, its seed.
//!
//! `plan.toml` lies in the folder of every run that was written with `--out`; it may be edited.

use std::path::PathBuf;

use clap::Args;
use scenarios::lab::{LabEntry, find_in};

use super::results::{self, ResultArguments};
use crate::{
    asked::Asked,
    console::Console,
    failure::{Failure, Status},
    input,
    runs::Session,
};

/// Run a plan file exactly, as it was or as it was edited
#[derive(Debug, Args)]
pub(crate) struct ReplayArguments {
    /// The plan of a run that was written with --out: its folder, or the plan.toml in it
    #[arg(value_name = "PATH")]
    path: PathBuf,
    #[command(flatten)]
    results: ResultArguments,
}

pub(crate) fn carry_out(
    labs: &[LabEntry],
    arguments: &ReplayArguments,
    console: &mut Console<'_>,
) -> Result<Status, Failure> {
    let path = input::plan_path(&arguments.path)?;
    let plan = input::plan(&path)?;
    let in_file = |error: &dyn std::fmt::Display| {
        Failure::usage(format!("{} cannot be replayed: {error}", path.display()))
    };
    let lab = find_in(labs, &plan.scenario).map_err(|error| in_file(&error))?;
    // Only for its error: what the variant's own plan would be does not matter here.
    lab.plan(&plan.variant, plan.seed, &[]).map_err(|error| in_file(&error))?;
    let asked = Asked { plan_from: Some(path.clone()), ..Asked::default() };
    let delivery = arguments.results.read(console, lab, std::slice::from_ref(&plan), &asked)?;
    let session =
        Session::run(lab, vec![plan], asked, console.shows_progress()).map_err(|error| match error {
            Failure::Usage(told) => in_file(&told),
            other => other,
        })?;
    results::tell(&session, &delivery, &arguments.results, console)
}
