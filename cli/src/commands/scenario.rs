//! `scenario`: runs a lab's variants under one seed, and shows them side by side.

use std::path::PathBuf;

use clap::Args;
use scenarios::lab::{LabEntry, find_in};

use crate::{
    console::Console,
    delivery::{Delivery, DeliveryArguments},
    document::{self, RunDocument},
    failure::{Failure, Status},
    input,
    runs::Session,
    show,
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
    /// Faults from a file (TOML) instead of the lab's own
    #[arg(long, value_name = "FILE")]
    faults: Option<PathBuf>,
    /// Print one JSON document instead
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    delivery: DeliveryArguments,
}

pub(crate) fn carry_out(
    labs: &[LabEntry],
    arguments: &ScenarioArguments,
    console: &mut Console<'_>,
) -> Result<Status, Failure> {
    let lab = find_in(labs, &arguments.name)?;
    let delivery = arguments.delivery.read(console)?;
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
    let session = Session::run(lab, plans, console.shows_progress())?;
    tell(&session, &delivery, arguments.json, &arguments.delivery.jaeger, console)
}

/// Shows runs and lets them out: the end of `scenario` and of `replay`.
pub(super) fn tell(
    session: &Session<'_>,
    delivery: &Delivery,
    json: bool,
    jaeger: &str,
    console: &mut Console<'_>,
) -> Result<Status, Failure> {
    if !json {
        // Before anything is sent: that may take long, and may fail.
        console.print(&show::session(session, console.width()))?;
        console.flush()?;
    }
    let delivered = delivery.carry_out(session);
    if json {
        console.print_raw(document::text(&RunDocument::of(session, delivered.as_ref())).as_bytes())?;
    } else {
        let width = console.width();
        console.print(&show::ending(session, delivered.as_ref(), delivery.epoch(), jaeger, width))?;
    }
    match delivered.and_then(|delivered| delivered.complaint) {
        Some(complaint) => Err(Failure::Export(complaint)),
        None => Ok(session.status()),
    }
}
