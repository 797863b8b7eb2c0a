//! Sweeps: one lab under many seeds, in parts that run anywhere and come together again.
//!
//! A sweep is a [`Header`] (what was asked) and one [`Trial`] for each seed of each part; a part is a variant, with one value
//! of the knob that is swept where there is one. Everything that is printed follows from these two, so it does not matter
//! how many threads or machines have run them, in which order, or how often they were interrupted.

pub(crate) mod carry;
pub(crate) mod document;
pub(crate) mod interrupt;
pub(crate) mod quiet;
pub(crate) mod range;
pub(crate) mod results;
pub(crate) mod seeds;
pub(crate) mod show;
pub(crate) mod statistics;
pub(crate) mod verdict;

use std::{collections::BTreeSet, path::PathBuf};

use scenarios::lab::{
    LabEntry,
    experiment::{LabExperiment, Settings},
    find_in,
};
use serde::{Deserialize, Serialize};
use sim_core::{
    plan::Ties,
    search::{Trial, explore::Explore, sweep::Summary},
};

use self::{
    range::KnobRange,
    results::Line,
    seeds::{Seeds, Shard},
};
use crate::{failure::Failure, input, panics::caught};

/// The version of the result file.
const FORMAT: &str = "shaketable sweep 1";

/// What was asked for: the first line of a result file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Header {
    pub(crate) format: String,
    /// The version of the program: another one may run other runs.
    pub(crate) version: String,
    pub(crate) scenario: String,
    pub(crate) variants: Vec<String>,
    /// Whether one variant was asked for by name: then the document is an object and no array.
    pub(crate) one: bool,
    pub(crate) seeds: String,
    pub(crate) settings: Settings,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) range: Option<KnobRange>,
    pub(crate) shard: Shard,
}

/// How runs are chosen and set up: the arguments that `sweep` and `shrink` share.
#[derive(Debug, clap::Args)]
pub(crate) struct SearchArguments {
    /// Set a knob otherwise, with its unit: ttl=500ms; may be repeated
    #[arg(long, value_name = "KNOB=VALUE")]
    pub(crate) set: Vec<String>,
    /// `swarm`: each seed draws faults, in addition to the lab's own. FILE (TOML): these instead of the lab's own
    #[arg(long, value_name = "swarm|FILE")]
    faults: Option<PathBuf>,
    /// Which runs: seeds, random, swarm, pct:DEPTH or k-faults:MOST
    ///
    /// seeds: the lab's own plan under each seed. random: each seed draws faults of all kinds. swarm: each seed draws faults
    /// of a random subset of the kinds. pct:3: each seed gives messages priorities by sender, which change twice; where
    /// delays are constant this changes nothing. k-faults:2: all plans with at most two faults of a grid of kinds, nodes,
    /// times and lengths, in a fixed order; the "seed" is the place in that order.
    #[arg(long, value_name = "WAY", default_value = "seeds", hide_default_value = true)]
    explore: Explore,
    /// The order of events at one instant: fifo, or seeded: another one for each seed
    #[arg(long, value_name = "ORDER", default_value = "fifo", value_parser = ties)]
    ties: Ties,
    /// The service to whose nodes drawn faults happen; without it, all that serve
    #[arg(long, value_name = "SERVICE", default_value = "", hide_default_value = true)]
    servers: String,
}

fn ties(text: &str) -> Result<Ties, String> {
    match text {
        "fifo" => Ok(Ties::Fifo),
        "seeded" => Ok(Ties::Seeded),
        _ => Err("it is fifo (in order of scheduling) or seeded (another order for each seed)".to_owned()),
    }
}

impl SearchArguments {
    /// The settings, with these knobs set.
    pub(crate) fn settings(&self, sets: Vec<String>) -> Result<Settings, Failure> {
        let (mut faults, mut explore) = (None, self.explore);
        match &self.faults {
            Some(word) if word.as_os_str() == "swarm" => {
                if !matches!(explore, Explore::Seeds | Explore::Swarm) {
                    return Err(Failure::usage(format!(
                        "--faults swarm and --explore {explore} are two ways to choose runs: take one of them"
                    )));
                }
                explore = Explore::Swarm;
            }
            Some(path) => faults = Some(input::faults(path)?),
            None => {}
        }
        Ok(Settings { sets, faults, ties: self.ties, explore, servers: self.servers.clone() })
    }
}

/// A variant, with a value of the knob that is swept.
#[derive(Debug)]
pub(crate) struct Part<'l> {
    pub(crate) value: Option<String>,
    pub(crate) experiment: LabExperiment<'l>,
}

/// A sweep, and what is known of it so far.
#[derive(Debug)]
pub(crate) struct Sweep<'l> {
    pub(crate) lab: &'l LabEntry,
    pub(crate) header: Header,
    pub(crate) seeds: Seeds,
    pub(crate) parts: Vec<Part<'l>>,
    /// For each part.
    pub(crate) summaries: Vec<Summary>,
}

impl Header {
    pub(crate) fn new(scenario: &str, seeds: &Seeds, shard: Shard) -> Self {
        Self {
            format: FORMAT.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            scenario: scenario.to_owned(),
            variants: Vec::new(),
            one: false,
            seeds: seeds.to_string(),
            settings: Settings::default(),
            range: None,
            shard,
        }
    }
    /// The first thing in which two headers differ, in words: what this one says, and what the other says.
    pub(crate) fn difference(
        &self,
        other: &Self,
        with_shard: bool,
    ) -> Option<(&'static str, String, String)> {
        let text = |value: &dyn erased::Json| value.json();
        let mut pairs = vec![
            ("format", self.format.clone(), other.format.clone()),
            ("version of the program", self.version.clone(), other.version.clone()),
            ("scenario", self.scenario.clone(), other.scenario.clone()),
            ("variants", self.variants.join(", "), other.variants.join(", ")),
            ("seeds", self.seeds.clone(), other.seeds.clone()),
            ("knobs and faults", text(&self.settings), text(&other.settings)),
            ("range of a knob", text(&self.range), text(&other.range)),
            ("way to ask for variants", self.one.to_string(), other.one.to_string()),
        ];
        if with_shard {
            pairs.push(("shard", self.shard.to_string(), other.shard.to_string()));
        }
        pairs.into_iter().find(|(_, own, others)| own != others)
    }
}

/// Anything that has a JSON text.
mod erased {
    pub(super) trait Json {
        fn json(&self) -> String;
    }
    impl<T: serde::Serialize> Json for T {
        fn json(&self) -> String {
            serde_json::to_string(self).unwrap_or_default()
        }
    }
}

impl<'l> Sweep<'l> {
    /// Sets all parts up.
    pub(crate) fn new(labs: &'l [LabEntry], header: Header) -> Result<Self, Failure> {
        let lab = find_in(labs, &header.scenario)?;
        let seeds: Seeds = header.seeds.parse().map_err(Failure::Usage)?;
        let values: Vec<Option<String>> = match &header.range {
            None => vec![None],
            Some(range) => range.values.iter().cloned().map(Some).collect(),
        };
        let mut parts = Vec::new();
        for variant in &header.variants {
            for value in &values {
                let mut settings = header.settings.clone();
                if let (Some(range), Some(value)) = (&header.range, value) {
                    settings.sets.push(format!("{}={value}", range.knob));
                }
                let experiment =
                    caught(|| LabExperiment::new(lab, variant, &settings)).map_err(|message| {
                        Failure::Lab(format!(
                            "the lab `{}` panicked while it set up `{variant}`: {message}",
                            lab.name()
                        ))
                    })??;
                parts.push(Part { value: value.clone(), experiment });
            }
        }
        let summaries = parts.iter().map(|_| Summary::default()).collect();
        Ok(Self { lab, header, seeds, parts, summaries })
    }
    /// Takes a run in. Gives the reason where it cannot be one of this sweep.
    pub(crate) fn take(&mut self, line: &Line) -> Result<(), String> {
        let parts = self.parts.len();
        let summary = self
            .summaries
            .get_mut(line.part)
            .ok_or_else(|| format!("there is a run of part {}, and the sweep has {parts}", line.part + 1))?;
        if self.seeds.list().binary_search(&line.trial.seed).is_err() {
            return Err(format!(
                "there is a run of seed {}, which is none of {}",
                line.trial.seed, self.seeds
            ));
        }
        summary.add(&line.trial);
        Ok(())
    }
    /// What is still to run: (part, seed), each seed in all parts before the next one.
    pub(crate) fn missing(&self) -> Vec<(usize, u64)> {
        let shard = self.header.shard;
        let own = self.seeds.list().iter().enumerate().filter(|(place, _)| shard.has(*place));
        let all = own.flat_map(|(_, &seed)| (0..self.parts.len()).map(move |part| (part, seed)));
        all.filter(|(part, seed)| !self.summaries[*part].has(*seed)).collect()
    }
    /// How many runs there are to be, in this shard.
    pub(crate) fn planned(&self) -> u64 {
        let shard = self.header.shard;
        let own = (0..self.seeds.list().len()).filter(|place| shard.has(*place)).count();
        (own * self.parts.len()) as u64
    }
    /// How many there were.
    pub(crate) fn runs(&self) -> u64 {
        self.summaries.iter().map(Summary::runs).sum()
    }
    /// Each part with what is known of it.
    pub(crate) fn known(&self) -> impl Iterator<Item = (&Part<'l>, &Summary)> {
        self.parts.iter().zip(&self.summaries)
    }
}

/// The seeds under which a part did not do what it should: something failed, or nothing could be run.
pub(crate) fn failing(summary: &Summary) -> BTreeSet<u64> {
    let failed = summary.failures().into_iter().flat_map(|group| group.seeds);
    failed.chain(summary.errors().keys().copied()).collect()
}

/// A trial without what the file has already: transitions are only ever united.
pub(crate) fn slim(mut trial: Trial, seen: &Summary) -> Trial {
    trial.transitions.retain(|transition| !seen.seen().contains(transition));
    trial
}
