//! The world (placeholder).

use crate::{plan::Plan, record::{Recording, RecordingLevel}};

/// The world under construction.
pub struct Sim;
impl Sim {
    /// A new world.
    pub fn new(_plan: &Plan, _level: RecordingLevel) -> Self { Sim }
    /// Runs to the end.
    pub fn run(self) -> Recording { Recording::default() }
}
