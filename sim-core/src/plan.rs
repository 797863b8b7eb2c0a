//! A plan: everything that decides a run.
//!
//! A run is a function of its plan and of nothing else. The plan is data: it is written beside every recording as
//! `plan.toml`, can be edited, and is what `replay` takes.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{
    fault::FaultPlan,
    time::{Duration, SimTime},
};

/// The version of the plan's format.
pub const FORMAT: u32 = 1;

/// See the module.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// The version of the format: [`FORMAT`].
    pub format: u32,
    /// The scenario's name; free text outside labs.
    pub scenario: String,
    /// The variant's name.
    #[serde(default)]
    pub variant: String,
    /// The seed of all chance.
    pub seed: u64,
    /// The virtual end; the run stops earlier when nothing is left to happen.
    pub until: Duration,
    /// How events at one instant are ordered.
    #[serde(default)]
    pub ties: Ties,
    /// How the network's draws are made.
    #[serde(default, skip_serializing_if = "Draws::is_chance")]
    pub draws: Draws,
    /// Which operations of which clients are made: their numbers, counted from 1; a client that is not named makes none.
    /// Without it all are made. Only clients that ask ([`Node::next_operation`](crate::Node::next_operation)) are bound by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operations: Option<BTreeMap<String, BTreeSet<u64>>>,
    /// The scenario's knobs, as its own struct writes them.
    #[serde(default)]
    pub knobs: toml::Table,
    /// What goes wrong, and when.
    #[serde(default, rename = "fault", skip_serializing_if = "FaultPlan::is_empty")]
    pub faults: FaultPlan,
    /// Draws of the network whose outcome is set by hand.
    #[serde(default, rename = "override", skip_serializing_if = "Vec::is_empty")]
    pub overrides: Vec<Override>,
}

/// The order of events that happen at the same instant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ties {
    /// In order of scheduling.
    #[default]
    Fifo,
    /// In an order drawn from the seed: another interleaving for each seed. Planned faults still come first.
    Seeded,
}

/// How the network draws what happens to a packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Draws {
    /// By chance, as the links say.
    #[default]
    Chance,
    /// Without chance: each delay is its distribution's median, nothing is lost, doubled, damaged or overtaken. What
    /// overrides, rules and faults do, they do: on a link that a fault has changed chance goes on. The quiet background of
    /// a shrunk plan.
    Median,
    /// Probabilistic concurrency testing (Burckhardt et al., ASPLOS 2010), for messages: nodes have random priorities, and
    /// the higher a sender's, the lower the quantile of its messages' delays.
    Pct {
        /// How often the sender of the moment falls to the lowest priority, plus one.
        depth: u32,
        /// The points of change are drawn among that many messages.
        messages: u64,
    },
}

impl Draws {
    fn is_chance(&self) -> bool {
        *self == Self::Chance
    }
}

/// One draw of the network, by its name, and what it shall be.
///
/// "The third message from n1 to n2 takes 40 ms": `from = "n1", to = "n2", ordinal = 3, delay = "40ms"`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Override {
    /// The sender's name.
    pub from: String,
    /// The receiver's name.
    pub to: String,
    /// The message's kind; without it messages of all kinds are counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Which of them, counted from 1. Retransmissions and copies that the network makes are not counted.
    pub ordinal: u64,
    /// What happens to it.
    #[serde(flatten)]
    pub fate: OverrideFate,
}

/// What an override sets. Fields that are absent stay as they were drawn.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct OverrideFate {
    /// The one-way delay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay: Option<Duration>,
    /// Whether it is lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost: Option<bool>,
    /// Whether it arrives twice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duplicated: Option<bool>,
    /// Whether bits of it flip.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub corrupted: Option<bool>,
}

impl std::fmt::Display for OverrideFate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut parts = Vec::new();
        if let Some(delay) = self.delay {
            parts.push(format!("takes {delay}"));
        }
        for (set, yes, no) in [
            (self.lost, "is lost", "is not lost"),
            (self.duplicated, "arrives twice", "arrives once"),
            (self.corrupted, "is damaged", "is whole"),
        ] {
            parts.extend(set.map(|set| if set { yes } else { no }.to_owned()));
        }
        f.write_str(&parts.join(", "))
    }
}

impl Plan {
    /// A plan without faults.
    pub fn new(scenario: impl Into<String>, seed: u64, until: Duration) -> Self {
        Self {
            format: FORMAT,
            scenario: scenario.into(),
            variant: String::new(),
            seed,
            until,
            ties: Ties::default(),
            draws: Draws::default(),
            operations: None,
            knobs: toml::Table::new(),
            faults: FaultPlan::none(),
            overrides: Vec::new(),
        }
    }
    /// The same plan with these faults.
    pub fn with_faults(mut self, faults: FaultPlan) -> Self {
        self.faults = faults;
        self
    }
    /// The same plan with one more override.
    pub fn with_override(mut self, one: Override) -> Self {
        self.overrides.push(one);
        self
    }
    /// When the run ends at the latest.
    pub fn end(&self) -> SimTime {
        SimTime::ZERO + self.until
    }
}

/// Why a plan cannot be run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// Something is named that does not exist.
    #[error("{place}: there is no {what} `{name}`{}; there are: {}", hint(.nearest), listed(.known))]
    Unknown {
        /// Node, service or region.
        what: &'static str,
        /// The name that was given.
        name: String,
        /// Where it was given.
        place: String,
        /// The nearest name that exists.
        nearest: Option<String>,
        /// All that exist.
        known: Vec<String>,
    },
    /// A value is out of its range, or two do not fit together.
    #[error("{0}")]
    Invalid(String),
}

fn hint(nearest: &Option<String>) -> String {
    crate::nearest::did_you_mean(nearest.as_deref())
}

fn listed(known: &[String]) -> String {
    const SHOWN: usize = 20;
    let mut text = known.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    if known.len() > SHOWN {
        text.push_str(&format!(", and {} more", known.len() - SHOWN));
    }
    text
}

impl PlanError {
    pub(crate) fn unknown(what: &'static str, name: &str, place: String, known: Vec<String>) -> Self {
        let nearest = crate::nearest::nearest(name, known.iter().map(String::as_str)).map(str::to_owned);
        Self::Unknown { what, name: name.to_owned(), place, nearest, known }
    }
}

impl Plan {
    /// Reads a plan from TOML.
    ///
    /// # Errors
    /// When the text is no plan, with the line; when it was written by a newer version; when a value is out of its range.
    pub fn from_toml(text: &str) -> Result<Self, String> {
        let plan: Self = toml::from_str(text).map_err(|error| error.to_string().trim_end().to_owned())?;
        if plan.format != FORMAT {
            return Err(format!("the plan has format {}, this version reads format {FORMAT}", plan.format));
        }
        plan.faults.check_in(text).map_err(|error| error.message)?;
        Ok(plan)
    }
    /// The text that [`Plan::from_toml`] reads; canonical: equal plans have equal texts.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("a plan can be written as TOML")
    }
}
