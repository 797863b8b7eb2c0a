//! `scenario`: runs a lab's variants under one seed, and shows them side by side.

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

/// Run a lab: all variants under one seed, side by side
#[derive(Debug, Args)]
pub(crate) struct ScenarioArguments {
    /// The lab, such as thundering-herd; `shaketable list` shows them all
    pub(crate) name: String,
    /// The seed of all chance: the same seed gives the same run
    #[arg(long, value_name = "N", default_value = "1", value_parser = input::seed)]
    seed: u64,
    /// Only this variant; may be repeated
    #[arg(long, value_name = "VARIANT")]
    variant: Vec<String>,
    /// Set a knob otherwise, with its unit: ttl=500ms; may be repeated
    #[arg(long, value_name = "KNOB=VALUE")]
    set: Vec<String>,
    /// Faults from a file (TOML) instead of the lab's own; `shaketable explain faults` has the kinds
    #[arg(long, value_name = "FILE")]
    faults: Option<PathBuf>,
    #[command(flatten)]
    results: ResultArguments,
}

pub(crate) fn carry_out(
    labs: &[LabEntry],
    arguments: &ScenarioArguments,
    console: &mut Console<'_>,
) -> Result<Status, Failure> {
    let lab = find_in(labs, &arguments.name)?;
    let faults = arguments.faults.as_deref().map(input::faults).transpose()?;
    let all = || lab.variants().into_iter().map(|variant| variant.name.to_owned()).collect();
    let variants: Vec<String> = if arguments.variant.is_empty() { all() } else { arguments.variant.clone() };
    let mut plans = Vec::new();
    for (index, variant) in variants.iter().enumerate() {
        let plan = lab.plan(variant, arguments.seed, &arguments.set)?;
        // A variant that is named twice is run once.
        if !variants[..index].contains(variant) {
            plans.push(match &faults {
                Some(faults) => plan.with_faults(faults.clone()),
                None => plan,
            });
        }
    }
    let asked = Asked {
        variants: arguments.variant.clone(),
        set: arguments.set.clone(),
        faults_from: arguments.faults.clone(),
        plan_from: None,
    };
    let delivery = arguments.results.read(console, lab, &plans, &asked)?;
    let session = Session::run(lab, plans, asked, console.shows_progress())?;
    results::tell(&session, &delivery, &arguments.results, console)
}
