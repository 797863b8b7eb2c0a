//! Why something could not be measured.
//!
//! Silence proves nothing: a name that a run never recorded is an error and not a zero, and so is the quantile of an
//! empty set. Errors travel inside measures, so that an expectation can be written as one chain and still say at its end
//! what went wrong at its beginning.

use std::fmt;

use crate::lab::nearest::did_you_mean;

/// The kinds of things that a run records under a name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Recorded {
    /// A metric that only grows.
    Counter,
    /// A metric that is a level.
    Gauge,
    /// A metric of single observations.
    Histogram,
    /// A span's name.
    Span,
    /// A key of a span's attributes.
    Attribute,
    /// The name of an event in a span.
    SpanEvent,
    /// A state's key.
    State,
    /// A state's value, written `key=value`.
    StateValue,
    /// The function of an operation.
    Operation,
    /// The kind of a message.
    Message,
    /// A fault's name.
    Fault,
    /// A property's statement.
    Property,
    /// A node.
    Node,
    /// A service: a group of nodes.
    Service,
    /// A knob of the lab.
    Knob,
}

impl fmt::Display for Recorded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::Span => "span",
            Self::Attribute => "attribute",
            Self::SpanEvent => "span event",
            Self::State => "state",
            Self::StateValue => "state value",
            Self::Operation => "operation",
            Self::Message => "message kind",
            Self::Fault => "fault",
            Self::Property => "property",
            Self::Node => "node",
            Self::Service => "service",
            Self::Knob => "knob",
        })
    }
}

/// See the module.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
pub enum MeasureError {
    /// The run never recorded anything under that name.
    #[error("the run recorded no {what} `{name}`{}", hint(*elsewhere, nearest.as_deref(), note))]
    NeverRecorded {
        /// What was asked for.
        what: Recorded,
        /// By which name.
        name: String,
        /// The nearest name that was recorded.
        nearest: Option<String>,
        /// Whether another variant, run under the same seed, recorded it; `None` when no other was looked at.
        elsewhere: Option<bool>,
        /// What else there is to say, such as that the name belongs to a metric of another kind.
        note: String,
    },
    /// A statistic of nothing.
    #[error("{of}: there is nothing to take it of")]
    Empty {
        /// Which statistic, of what.
        of: String,
    },
    /// A comparison or a sum of things that have no common unit.
    #[error("{0}")]
    Units(String),
    /// A question that has no answer: a division by zero, a window outside the run, the 101st percentile.
    #[error("{0}")]
    Impossible(String),
}

fn hint(elsewhere: Option<bool>, nearest: Option<&str>, note: &str) -> String {
    let other = match elsewhere {
        Some(true) => " (another variant did)",
        Some(false) => " (no other variant did either)",
        None => "",
    };
    let note = if note.is_empty() { String::new() } else { format!("; {note}") };
    format!("{other}{note}{}", did_you_mean(nearest))
}
