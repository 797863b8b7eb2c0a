//! Which names a recording knows, for errors that name the nearest one.

use std::collections::BTreeSet;

use sim_core::record::{MetricKind, Name, Recording};

use super::{MeasureError, Recorded};
use crate::lab::nearest::nearest;

/// All names of one kind that a recording has.
pub(super) fn names(recording: &Recording, what: Recorded) -> BTreeSet<String> {
    let text = |name: Name| recording.text(name).to_owned();
    let metrics = |kind: MetricKind| {
        recording
            .metrics
            .iter()
            .filter(|series| series.kind == kind)
            .map(|series| text(series.name))
            .collect()
    };
    // Thousands of records share a few names: gather the names first, and their texts afterwards.
    let texts = |names: BTreeSet<Name>| names.into_iter().map(text).collect();
    match what {
        Recorded::Counter => metrics(MetricKind::Counter),
        Recorded::Gauge => metrics(MetricKind::Gauge),
        Recorded::Histogram => metrics(MetricKind::Histogram),
        Recorded::Span => texts(recording.spans.iter().map(|span| span.name).collect()),
        Recorded::Attribute => texts(recording.attributes.iter().map(|one| one.key).collect()),
        Recorded::SpanEvent => texts(recording.span_events.iter().map(|event| event.name).collect()),
        Recorded::State => texts(recording.states.iter().map(|change| change.key).collect()),
        Recorded::StateValue => {
            let pairs: BTreeSet<(Name, Name)> =
                recording.states.iter().map(|change| (change.key, change.value)).collect();
            pairs
                .into_iter()
                .map(|(key, value)| state_value(recording.text(key), recording.text(value)))
                .collect()
        }
        Recorded::Operation => texts(recording.operations.iter().map(|one| one.function).collect()),
        Recorded::Message => texts(recording.messages.iter().map(|message| message.kind).collect()),
        Recorded::Fault => recording.faults.iter().map(|fault| fault.name.clone()).collect(),
        Recorded::Property => recording.properties.iter().map(|property| property.name.clone()).collect(),
        Recorded::Node => recording.nodes.iter().map(|node| node.name.clone()).collect(),
        Recorded::Service => recording.nodes.iter().map(|node| node.service.clone()).collect(),
        Recorded::Knob => knobs(recording).keys().cloned().collect(),
    }
}

/// How a state's value is named in errors.
pub(super) fn state_value(key: &str, value: &str) -> String {
    format!("{key}={value}")
}

/// The knobs of the run.
pub(super) fn knobs(recording: &Recording) -> toml::Table {
    recording.origin.knobs.parse().unwrap_or_default()
}

/// The error of a name that was never recorded.
pub(super) fn missing(
    recording: &Recording,
    siblings: &[&Recording],
    what: Recorded,
    name: &str,
) -> MeasureError {
    let known = names(recording, what);
    let near = nearest(name, known.iter().map(String::as_str)).map(str::to_owned);
    let elsewhere = if siblings.is_empty() {
        None
    } else {
        Some(siblings.iter().any(|other| names(other, what).contains(name)))
    };
    MeasureError::NeverRecorded {
        what,
        name: name.to_owned(),
        nearest: near,
        elsewhere,
        note: note(recording, what, name),
    }
}

fn note(recording: &Recording, what: Recorded, name: &str) -> String {
    let spans_are_off = recording.spans.is_empty()
        && matches!(what, Recorded::Span | Recorded::Attribute | Recorded::SpanEvent);
    if spans_are_off {
        return "it recorded no spans at all".to_owned();
    }
    if what == Recorded::Message && !recording.full {
        return "it recorded no messages at all".to_owned();
    }
    let others = [
        Recorded::Counter,
        Recorded::Gauge,
        Recorded::Histogram,
        Recorded::Span,
        Recorded::State,
        Recorded::Operation,
        Recorded::Node,
        Recorded::Service,
    ];
    let other = others.into_iter().find(|&other| other != what && names(recording, other).contains(name));
    other.map(|other| format!("there is a {other} of that name")).unwrap_or_default()
}
