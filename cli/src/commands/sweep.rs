//! `sweep`: one lab under many seeds, on all cores, on many machines, at any time again.

use std::{path::PathBuf, time::Duration as WallTime};

use clap::Args;
use scenarios::lab::{LabEntry, find_in};
use sim_core::{search::explore::Explore, time::Duration};

use crate::{
    console::Console,
    failure::{Failure, Status},
    sweeping::{
        Header, SearchArguments, Sweep,
        carry::{Ended, Limits, carry_on, cores, resume},
        document, range,
        results::Writer,
        seeds::{Seeds, Shard},
        show, verdict,
    },
};

const ABOUT_RESULTS: &str = "\
What fails in a run: a property that is violated, a node that panics, a goal that is missed, and under the lab's own knobs
and faults a claim of the story that is not true. Failures with the same property, kind and roles of nodes are one line.
Comparisons of two variants need both under one seed: `scenario` judges them, a sweep does not.

Exit status 0 means as the lab expects: a broken variant that misses the goals that it names, in every run, is as expected.
Under drawn faults any failure gives 1. While a knob is swept (--set rate=20..90) only violated properties do.";

/// Run a lab under many seeds, on all cores
///
/// The results are the same for any number of workers and machines. With --out they can be continued, and put together with
/// `merge`.
#[derive(Debug, Args)]
#[command(after_long_help = ABOUT_RESULTS)]
pub(crate) struct SweepArguments {
    /// The lab
    pub(crate) name: String,
    /// The seeds: 0..10000, 0..=99, 7 or 1,5,9 [default: 0..100; all plans with k-faults]
    #[arg(long, value_name = "SEEDS")]
    seeds: Option<Seeds>,
    /// Only this variant; may be repeated. Without it, all
    #[arg(long, value_name = "VARIANT")]
    variant: Vec<String>,
    /// Begin no new run after that much time: 10m, 90s
    #[arg(long, value_name = "TIME")]
    time: Option<Duration>,
    /// How many threads [default: as many as there are cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    workers: Option<u16>,
    /// Only a part of the seeds, for one machine of several: 3/16
    #[arg(long, value_name = "I/N", requires = "out")]
    shard: Option<Shard>,
    /// Keep each run in FILE as soon as it is done; the same command goes on where it ended
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Print JSON: an object for one --variant, an array otherwise
    #[arg(long, conflicts_with = "csv")]
    json: bool,
    /// Print CSV
    #[arg(long)]
    csv: bool,
    #[command(flatten)]
    search: SearchArguments,
}

pub(crate) fn carry_out(
    labs: &[LabEntry],
    arguments: &SweepArguments,
    console: &mut Console<'_>,
) -> Result<Status, Failure> {
    let header = header(labs, arguments)?;
    let mut sweep = Sweep::new(labs, header)?;
    enumerate(labs, arguments, &mut sweep)?;
    let mut writer = None;
    if let Some(path) = &arguments.out {
        let (file, lines) = Writer::open(path, &sweep.header)?;
        resume(&mut sweep, &file, &lines)?;
        writer = Some(file);
    }
    let limits = Limits {
        workers: arguments.workers.map_or_else(cores, usize::from),
        time: arguments.time.map(WallTime::from),
    };
    let ended = carry_on(&mut sweep, writer.as_mut(), limits, console.shows_progress())?;
    tell(&sweep, Form::of(arguments.json, arguments.csv), console)?;
    if let Some(told) = show::unfinished(&sweep, ended, arguments.out.as_deref()) {
        console.flush()?;
        console.tell(&told);
    }
    Ok(verdict::status(&sweep, ended == Ended::Interrupted))
}

fn header(labs: &[LabEntry], arguments: &SweepArguments) -> Result<Header, Failure> {
    let lab = find_in(labs, &arguments.name)?;
    let seeds = arguments.seeds.clone().unwrap_or_else(|| Seeds::first(100));
    let (sets, range) = range::split(lab, &arguments.search.set)?;
    let mut variants: Vec<String> = Vec::new();
    for name in &arguments.variant {
        if !variants.contains(name) {
            variants.push(name.clone());
        }
    }
    let one = variants.len() == 1;
    if variants.is_empty() {
        variants = lab.variants().into_iter().map(|variant| variant.name.to_owned()).collect();
    }
    let settings = arguments.search.settings(sets)?;
    let shard = arguments.shard.unwrap_or(Shard::WHOLE);
    Ok(Header { variants, one, settings, range, ..Header::new(lab.name(), &seeds, shard) })
}

/// Where plans are enumerated: all of them, unless somebody says which; and none that does not exist.
fn enumerate<'l>(
    labs: &'l [LabEntry],
    arguments: &SweepArguments,
    sweep: &mut Sweep<'l>,
) -> Result<(), Failure> {
    let Some(plans) = sweep.parts.iter().filter_map(|part| part.experiment.plans()).min() else {
        return Ok(());
    };
    let explore: Explore = sweep.header.settings.explore;
    match (&arguments.seeds, sweep.seeds.list().last()) {
        (Some(_), Some(&last)) if last >= plans => Err(Failure::usage(format!(
            "{explore} has {plans} plans, and --seeds {} asks for more: they are 0..{plans}",
            sweep.seeds
        ))),
        (None, _) => {
            let seeds: Seeds = format!("0..{plans}").parse().map_err(Failure::Usage)?;
            let header = Header { seeds: seeds.to_string(), ..sweep.header.clone() };
            *sweep = Sweep::new(labs, header)?;
            Ok(())
        }
        _ => Ok(()),
    }
}

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Text,
    Json,
    Csv,
}

impl Form {
    pub(super) fn of(json: bool, csv: bool) -> Self {
        match (json, csv) {
            (true, _) => Self::Json,
            (_, true) => Self::Csv,
            _ => Self::Text,
        }
    }
}

/// Prints results: the end of `sweep` and of `merge`.
pub(super) fn tell(sweep: &Sweep<'_>, form: Form, console: &mut Console<'_>) -> Result<(), Failure> {
    match form {
        Form::Text => console.print(&show::sweep(sweep, console.width())),
        Form::Json => console.print_raw(document::json(sweep).as_bytes()),
        Form::Csv => console.print_raw(document::csv(sweep).as_bytes()),
    }
}
