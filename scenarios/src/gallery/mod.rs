//! The gallery of known bugs: documented bugs of real protocols, each a switch, with the campaign that finds it.
//!
//! A campaign is a scenario with wide ranges, drawn for each seed: no planted seed, time, target or order. It fixes the kinds
//! of faults that are armed and the ranges of the knobs. Each bug has a twin: the same campaign with the switch off.
//! The command `bugs` finds each, shrinks it, and shows that the twin survives.

mod cluster;
mod properties;
mod raft;

use sim_core::search::{scenario::Scenario, shrink::Size};

pub use cluster::{FRESH_READS, Knobs, ONCE, World};

/// A known bug.
#[derive(Clone, Copy)]
pub struct Bug {
    /// Its number in the gallery.
    pub number: u32,
    /// The protocol.
    pub protocol: &'static str,
    /// What is wrong.
    pub title: &'static str,
    /// Where it was described.
    pub source: &'static str,
    /// The property that it violates.
    pub property: &'static str,
    /// The smallest plan that is known: nodes, faults, operations.
    pub target: Size,
    campaign: fn(bool) -> Scenario,
}

impl Bug {
    /// The campaign, on the broken protocol.
    pub fn campaign(&self) -> Scenario {
        (self.campaign)(true)
    }
    /// The same campaign, on the fixed one.
    pub fn twin(&self) -> Scenario {
        (self.campaign)(false)
    }
    /// Whether a plan is as small as it should be: nodes, faults and operations at most one and a half times the target.
    pub fn is_small(&self, size: &Size) -> bool {
        let bar = |target: u64| (3 * target).div_ceil(2);
        size.nodes <= bar(self.target.nodes)
            && size.faults <= bar(self.target.faults)
            && size.operations <= bar(self.target.operations)
    }
}

/// All of them, by number.
pub fn bugs() -> Vec<Bug> {
    raft::bugs()
}
