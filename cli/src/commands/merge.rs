//! `merge`: the result files of a sweep's shards become the document that one machine would have printed.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use clap::Args;
use scenarios::lab::LabEntry;
use sim_core::record::RunHash;

use super::sweep::{Form, tell};
use crate::{
    console::Console,
    failure::{Failure, Status},
    sweeping::{Header, Sweep, results::Results, seeds::Shard, verdict},
};

/// How many missing seeds are named.
const NAMED: usize = 5;

/// Put the result files of a sweep's shards together
///
/// It prints, byte for byte, what `sweep` without --shard prints on one machine.
#[derive(Debug, Args)]
pub(crate) struct MergeArguments {
    /// Files that `sweep --out` wrote
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Print JSON, as `sweep --json` does
    #[arg(long, conflicts_with = "csv")]
    json: bool,
    /// Print CSV, as `sweep --csv` does
    #[arg(long)]
    csv: bool,
}

pub(crate) fn carry_out(
    labs: &[LabEntry],
    arguments: &MergeArguments,
    console: &mut Console<'_>,
) -> Result<Status, Failure> {
    let mut read: Vec<(&Path, Results)> = Vec::new();
    for path in &arguments.files {
        let results = Results::read(path)?
            .ok_or_else(|| Failure::usage(format!("{} is empty: its sweep has not begun", path.display())))?;
        if let Some((first, other)) = read.first()
            && let Some((what, own, others)) = results.header.difference(&other.header, false)
        {
            return Err(Failure::usage(format!(
                "{} and {} are of different sweeps: the {what} is {own} in the one and {others} in the other",
                path.display(),
                first.display()
            )));
        }
        read.push((path, results));
    }
    let Some((_, Results { header, .. })) = read.first() else {
        return Err(Failure::usage("there is no file to merge"));
    };
    let whole = Header { shard: Shard::WHOLE, ..header.clone() };
    let mut sweep = Sweep::new(labs, whole)?;
    let mut hashes: BTreeMap<(usize, u64), RunHash> = BTreeMap::new();
    for (path, results) in &read {
        for line in &results.lines {
            let hash = *hashes.entry((line.part, line.trial.seed)).or_insert(line.trial.hash);
            if hash != line.trial.hash {
                return Err(Failure::usage(format!(
                    "{} has another run of seed {} than a file before it: they were not written by the same program",
                    path.display(),
                    line.trial.seed
                )));
            }
            sweep.take(line).map_err(|why| {
                Failure::usage(format!("{} does not fit its header: {why}", path.display()))
            })?;
        }
    }
    complete(&sweep, &read)?;
    tell(&sweep, Form::of(arguments.json, arguments.csv), console)?;
    Ok(verdict::status(&sweep, false))
}

/// Whether all is there; names the files and seeds that are not.
fn complete(sweep: &Sweep<'_>, read: &[(&Path, Results)]) -> Result<(), Failure> {
    let missing: BTreeSet<u64> = sweep.missing().into_iter().map(|(_, seed)| seed).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let cuts: BTreeSet<u64> = read.iter().map(|(_, results)| results.header.shard.of).collect();
    let mut told = Vec::new();
    for of in cuts.iter().copied().filter(|_| cuts.len() == 1) {
        for shard in (1..=of).map(|number| Shard { number, of }) {
            let places = sweep.seeds.list().iter().enumerate().filter(|(place, _)| shard.has(*place));
            let own: Vec<u64> = places.map(|(_, &seed)| seed).filter(|seed| missing.contains(seed)).collect();
            let file = read.iter().find(|(_, results)| results.header.shard == shard);
            match file {
                _ if own.is_empty() => {}
                None => told.push(format!("shard {shard} is missing")),
                Some((path, _)) => told.push(format!(
                    "{} (shard {shard}) lacks {}: run its command again, and it goes on",
                    path.display(),
                    named(&own)
                )),
            }
        }
    }
    if told.is_empty() {
        told.push(format!("there are no runs of {}", named(&missing.iter().copied().collect::<Vec<_>>())));
    }
    Err(Failure::usage(format!("the sweep is not complete: {}", told.join("; "))))
}

fn named(seeds: &[u64]) -> String {
    let shown: Vec<String> = seeds.iter().take(NAMED).map(u64::to_string).collect();
    let word = if seeds.len() == 1 { "seed" } else { "seeds" };
    match seeds.len().saturating_sub(NAMED) {
        0 => format!("{word} {}", shown.join(", ")),
        more => format!("{word} {} and {more} more", shown.join(", ")),
    }
}
