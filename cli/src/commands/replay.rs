//! `replay`: runs a plan exactly: its knobs, its faults, its overrides, its seed.
//!
//! `plan.toml` lies in the folder of every run that was written with `--out`; it may be edited.

use std::path::PathBuf;

use clap::Args;
use scenarios::lab::{LabEntry, find_in};

use super::scenario;
use crate::{
    console::Console,
    delivery::DeliveryArguments,
    failure::{Failure, Status},
    input,
    runs::Session,
};

/// Run a plan file exactly, as it was or as it was edited
#[derive(Debug, Args)]
pub(crate) struct ReplayArguments {
    /// The plan: DIR/<variant>/plan.toml of a run that was written with --out
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Print one JSON document instead
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    delivery: DeliveryArguments,
}

pub(crate) fn carry_out(
    labs: &[LabEntry],
    arguments: &ReplayArguments,
    console: &mut Console<'_>,
) -> Result<Status, Failure> {
    let delivery = arguments.delivery.read(console)?;
    let plan = input::plan(&arguments.file)?;
    let in_file = |error: &dyn std::fmt::Display| {
        Failure::usage(format!("{} cannot be replayed: {error}", arguments.file.display()))
    };
    let lab = find_in(labs, &plan.scenario).map_err(|error| in_file(&error))?;
    // Only for its error: what the variant's own plan would be does not matter here.
    lab.plan(&plan.variant, plan.seed, &[]).map_err(|error| in_file(&error))?;
    let session = Session::run(lab, vec![plan], console.shows_progress()).map_err(|error| match error {
        Failure::Usage(told) => in_file(&told),
        other => other,
    })?;
    scenario::tell(&session, &delivery, arguments.json, &arguments.delivery.jaeger, console)
}
