//! The JSON documents. Scripts rely on these keys: a test holds their shape.
//!
//! No document has a wall-clock time in it, so the same command gives the same bytes. Virtual times are whole nanoseconds;
//! figures that are times are in seconds.

use std::path::PathBuf;

use scenarios::lab::{
    LabEntry, Verdict,
    knobs::{Knob, KnobKind, KnobRange, shown},
    variants::VariantKind,
    verdict::{Expected, VerdictKind},
};
use serde::Serialize;
use serde_json::{Map, Value};
use sim_core::record::{Ending, FaultRecord, PropertyKind, PropertyRecord, Recording};

use crate::{
    asked::AskedDocument,
    delivery::Delivered,
    failure::Failure,
    runs::{Outcome, Session},
};

/// What `scenario` and `replay` print.
#[derive(Serialize)]
pub(crate) struct RunDocument<'a> {
    scenario: &'a str,
    title: &'a str,
    seed: u64,
    as_expected: bool,
    #[serde(flatten)]
    asked: AskedDocument,
    /// Variants that what was set has made equal.
    equal_variants: Vec<Vec<&'a str>>,
    variants: Vec<VariantDocument<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    export: Option<ExportDocument<'a>>,
}

/// One variant's run; the `summary.json` of its folder.
#[derive(Serialize)]
pub(crate) struct VariantDocument<'a> {
    name: &'a str,
    kind: Option<VariantKind>,
    /// How the plan differs from the lab's own.
    altered: &'a [String],
    /// The canonical hash of the recording.
    hash: String,
    run_hash: String,
    events: u64,
    spans: usize,
    messages: usize,
    virtual_ns: u64,
    ending: &'static str,
    expectations: Vec<ExpectationDocument<'a>>,
    figures: Map<String, Value>,
    properties: Vec<PropertyDocument<'a>>,
    faults: Vec<FaultDocument<'a>>,
    /// The id of the trace that is worth opening.
    worst_trace: Option<String>,
    /// Why it is.
    worst_trace_why: Option<&'a str>,
}

#[derive(Serialize)]
struct ExpectationDocument<'a> {
    name: &'a str,
    kind: VerdictKind,
    /// The other variant of a comparison.
    #[serde(skip_serializing_if = "Option::is_none")]
    against: Option<&'a str>,
    /// Only for a goal that the lab asks of other variants.
    #[serde(skip_serializing_if = "Option::is_none")]
    asked: Option<bool>,
    expected: Expected,
    met: bool,
    as_expected: bool,
    measured: &'a str,
    bound: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    chance: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

#[derive(Serialize)]
struct PropertyDocument<'a> {
    name: &'a str,
    kind: &'static str,
    held: bool,
    checks: u64,
    passes: u64,
}

#[derive(Serialize)]
struct FaultDocument<'a> {
    name: &'a str,
    what: &'a str,
    on: &'a str,
    /// The nodes that this meant.
    nodes: Vec<&'a str>,
    /// When it first took hold; null where it never did.
    at_ns: Option<u64>,
    ended_ns: Option<u64>,
    touched: u64,
}

/// What became of the files and the spans.
#[derive(Serialize)]
pub(crate) struct ExportDocument<'a> {
    complete: bool,
    folder: &'a PathBuf,
    #[serde(skip_serializing_if = "Option::is_none")]
    endpoint: Option<&'a str>,
    /// The size of all files together.
    bytes: u64,
    spans: u64,
    acknowledged: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

impl<'a> RunDocument<'a> {
    pub(crate) fn of(session: &'a Session<'_>, delivered: Option<&'a Delivered>) -> Self {
        Self {
            scenario: session.lab.name(),
            title: session.lab.title(),
            seed: session.seed,
            as_expected: session.judgement.as_expected(),
            asked: session.asked.document(session.outcomes.first().map(|one| &one.plan)),
            equal_variants: session.equal_variants(),
            variants: session.outcomes.iter().map(|one| VariantDocument::of(session, one)).collect(),
            export: delivered.map(ExportDocument::of),
        }
    }
}

impl<'a> VariantDocument<'a> {
    pub(crate) fn of(session: &'a Session<'_>, outcome: &'a Outcome) -> Self {
        let recording = &outcome.recording;
        let judged = session.judged(outcome);
        let rows = session.judgement.figures.iter();
        let figures = rows.filter_map(|row| {
            let value = row.values.iter().find(|value| value.variant == outcome.variant())?;
            Some((row.name.clone(), value.value.map_or(Value::Null, Value::from)))
        });
        Self {
            name: outcome.variant(),
            kind: judged.map(|one| one.kind),
            altered: judged.map_or(&[], |one| one.altered.as_slice()),
            hash: outcome.hash.to_string(),
            run_hash: recording.run_hash.to_string(),
            events: recording.events,
            spans: recording.spans.len(),
            messages: recording.messages.len(),
            virtual_ns: recording.ended.as_nanos(),
            ending: ending(&recording.ending),
            expectations: session.verdicts(outcome).map(ExpectationDocument::of).collect(),
            figures: figures.collect(),
            properties: recording.properties.iter().map(PropertyDocument::of).collect(),
            faults: recording.faults.iter().map(|fault| FaultDocument::of(recording, fault)).collect(),
            worst_trace: outcome.worst_trace_id().map(|id| id.to_string()),
            worst_trace_why: outcome.worst.as_ref().map(|shown| shown.why.as_str()),
        }
    }
    /// The `summary.json` of a run's folder: the same keys, and those of the whole that say which run it was.
    pub(crate) fn summary(&self, session: &Session<'_>) -> Value {
        let mut summary = value(self);
        if let Some(keys) = summary.as_object_mut() {
            keys.insert("scenario".to_owned(), session.lab.name().into());
            keys.insert("seed".to_owned(), session.seed.into());
            let asked = value(&session.asked.document(Some(&session.outcomes[0].plan)));
            keys.extend(asked.as_object().cloned().unwrap_or_default());
        }
        summary
    }
}

pub(crate) fn ending(ending: &Ending) -> &'static str {
    match ending {
        Ending::Until => "until",
        Ending::Quiet => "quiet",
        Ending::Stopped => "stopped",
        Ending::Violated { .. } => "violated",
        Ending::Panicked { .. } => "panicked",
    }
}

impl<'a> ExpectationDocument<'a> {
    fn of(verdict: &'a Verdict) -> Self {
        Self {
            name: &verdict.name,
            kind: verdict.kind,
            against: verdict.variants.get(1).map(String::as_str),
            asked: (!verdict.asked).then_some(false),
            expected: verdict.expected,
            met: verdict.met,
            as_expected: verdict.as_expected,
            measured: &verdict.measured,
            bound: &verdict.bound,
            value: verdict.value,
            chance: verdict.chance.map(|chance| chance.to_string()),
            error: verdict.error.as_deref(),
        }
    }
}

impl<'a> PropertyDocument<'a> {
    fn of(property: &'a PropertyRecord) -> Self {
        let kind = match property.kind {
            PropertyKind::Always => "always",
            PropertyKind::Sometimes => "sometimes",
            PropertyKind::Eventually => "eventually",
        };
        let PropertyRecord { name, checks, passes, .. } = property;
        Self { name, kind, held: property.held(), checks: *checks, passes: *passes }
    }
}

impl<'a> FaultDocument<'a> {
    fn of(recording: &'a Recording, fault: &'a FaultRecord) -> Self {
        Self {
            name: &fault.name,
            what: &fault.what,
            on: &fault.on,
            nodes: fault.nodes.iter().map(|node| recording.node_name(*node)).collect(),
            at_ns: fault.began.first().map(|time| time.as_nanos()),
            ended_ns: fault.ended.first().map(|time| time.as_nanos()),
            touched: fault.touched,
        }
    }
}

impl<'a> ExportDocument<'a> {
    pub(crate) fn of(delivered: &'a Delivered) -> Self {
        let report = delivered.report.as_ref();
        Self {
            complete: delivered.complaint.is_none(),
            folder: &delivered.folder,
            endpoint: report.map(|report| report.endpoint.as_str()),
            bytes: delivered.written.iter().map(|written| written.bytes).sum(),
            spans: delivered.spans,
            acknowledged: report.map_or(0, |report| report.acknowledged),
            error: delivered.complaint.as_deref(),
        }
    }
}

/// A lab in the list.
#[derive(Serialize)]
pub(crate) struct LabDocument<'a> {
    name: &'a str,
    shelf: &'a str,
    title: &'a str,
    weeks: &'a [u8],
    modules: &'a [u8],
    path: &'a str,
    variants: Vec<&'a str>,
    knobs: Vec<KnobDocument>,
}

/// A knob, as it is set on the command line.
#[derive(Serialize)]
pub(crate) struct KnobDocument {
    pub(crate) name: String,
    /// What it takes: `number`, `whole number`, `duration`, `switch`, `text`, `choice`, `group`, `list`.
    pub(crate) kind: &'static str,
    /// The unit as UCUM writes it (`1/s`, `By`); of a duration that of the default (`ms`); empty for what has none.
    pub(crate) unit: String,
    /// In the first variant, as one would write it after `=`.
    pub(crate) default: String,
    pub(crate) help: String,
    /// Where not every value is allowed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) range: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) choices: Vec<String>,
}

impl<'a> LabDocument<'a> {
    pub(crate) fn of(lab: &'a LabEntry) -> Result<Self, Failure> {
        let about = lab.about();
        Ok(Self {
            name: lab.name(),
            shelf: lab.shelf(),
            title: lab.title(),
            weeks: about.weeks,
            modules: about.modules,
            path: about.path,
            variants: lab.variants().into_iter().map(|variant| variant.name).collect(),
            knobs: knobs(lab)?,
        })
    }
}

/// The knobs of a lab.
pub(crate) fn knobs(lab: &LabEntry) -> Result<Vec<KnobDocument>, Failure> {
    Ok(lab.knobs()?.iter().map(KnobDocument::of).collect())
}

impl KnobDocument {
    fn of(knob: &Knob) -> Self {
        let choices = match &knob.kind {
            KnobKind::Choice(choices) => choices.iter().map(|choice| choice.name.clone()).collect(),
            _ => Vec::new(),
        };
        let default = knob.default.as_ref().map_or_else(|| "none".to_owned(), shown);
        let unit = match knob.kind {
            KnobKind::Duration => default.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.'),
            _ => knob.unit.as_str(),
        };
        Self {
            name: knob.name.clone(),
            unit: if default == "none" { String::new() } else { unit.to_owned() },
            kind: match knob.kind {
                KnobKind::Number => "number",
                KnobKind::Whole => "whole number",
                KnobKind::Duration => "duration",
                KnobKind::Switch => "switch",
                KnobKind::Text => "text",
                KnobKind::Choice(_) => "choice",
                KnobKind::Group(_) => "group",
                KnobKind::List(_) => "list",
            },
            default,
            help: knob.help.clone(),
            range: knob.range.as_ref().map(range),
            choices,
        }
    }
}

fn range(range: &KnobRange) -> String {
    match range {
        KnobRange::Numbers { min: Some(min), max: Some(max) } => format!("{min} to {max}"),
        KnobRange::Numbers { min: Some(min), max: None } => format!("at least {min}"),
        KnobRange::Numbers { min: None, max: Some(max) } => format!("at most {max}"),
        KnobRange::Numbers { min: None, max: None } => "any".to_owned(),
        KnobRange::Durations { min, max } => format!("{min} to {max}"),
    }
}

/// A document as a value.
pub(crate) fn value(document: &impl Serialize) -> Value {
    serde_json::to_value(document).expect("a document has texts, finite numbers and lists of them")
}

/// A document as it is printed: keys in the order of the structs above.
pub(crate) fn text(document: &impl Serialize) -> String {
    let text = serde_json::to_string_pretty(document);
    text.expect("a document has texts, finite numbers and lists of them") + "\n"
}
