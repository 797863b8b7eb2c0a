//! A plan: everything that decides a run.
//!
//! A run is a function of its plan and of nothing else. The plan is data: it is written beside every recording as
//! `plan.toml`, can be edited, and is what `replay` takes.

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
    /// The scenario's knobs, as its own struct writes them.
    #[serde(default)]
    pub knobs: toml::Table,
    /// What goes wrong, and when.
    #[serde(default, rename = "fault")]
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
