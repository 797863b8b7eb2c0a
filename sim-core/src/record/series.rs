//! Metrics as virtual-time series: every change is kept, so that quantiles and peaks are exact.

use serde::{Deserialize, Serialize};

use super::{Name, NodeIndex};
use crate::time::SimTime;

/// What the points of a series mean.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum MetricKind {
    /// Increments; each point holds the amount that was added at that time.
    Counter,
    /// A level; each point holds the value from that time on.
    Gauge,
    /// Observations; each point is one.
    Histogram,
}

/// A point of a series.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Point {
    /// When.
    pub at: SimTime,
    /// Never NaN. See [`MetricKind`] for its meaning.
    pub value: f64,
}

/// One metric of one node.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Series {
    /// The metric's name, such as `db.queue`.
    pub name: Name,
    /// Whose; [`NodeIndex::NONE`] for the whole run.
    pub node: NodeIndex,
    /// Counter, gauge or histogram.
    pub kind: MetricKind,
    /// The unit as UCUM writes it: `s`, `By`, `{request}`; empty for a plain number.
    pub unit: Name,
    /// In order of time.
    pub points: Vec<Point>,
}
