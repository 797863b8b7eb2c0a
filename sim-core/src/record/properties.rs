//! Named properties: `always`, `sometimes`, `eventually`.

use serde::{Deserialize, Serialize};

use super::NodeIndex;
use crate::time::SimTime;

/// What a property claims.
#[derive(Clone, Copy, PartialEq, Eq, Debug, PartialOrd, Ord, Serialize, Deserialize)]
pub enum PropertyKind {
    /// It holds at each check. Safety.
    Always,
    /// It holds at one check at least. A test of the test: the interesting case was reached.
    Sometimes,
    /// From some time on it holds: it held at the last check. Liveness.
    Eventually,
}

/// A check that failed.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct PropertyViolation {
    /// When.
    pub at: SimTime,
    /// Where; [`NodeIndex::NONE`] for the whole run.
    pub node: NodeIndex,
    /// What was seen.
    pub detail: String,
}

/// A property, over a whole run.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct PropertyRecord {
    /// Its statement in a few words: `at most one leader per term`.
    pub name: String,
    /// What it claims.
    pub kind: PropertyKind,
    /// How often it was checked.
    pub checks: u64,
    /// How often the check came out true.
    pub passes: u64,
    /// The first check that failed.
    pub first_failure: Option<PropertyViolation>,
    /// Whether the last check came out true.
    pub last_passed: bool,
}

impl PropertyRecord {
    /// The verdict at the end of the run. A property that was never checked did not hold: silence proves nothing.
    pub fn held(&self) -> bool {
        self.checks > 0
            && match self.kind {
                PropertyKind::Always => self.first_failure.is_none(),
                PropertyKind::Sometimes => self.passes > 0,
                PropertyKind::Eventually => self.last_passed,
            }
    }
}
