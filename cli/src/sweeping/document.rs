//! What `sweep` and `merge` print as JSON and as CSV. Nothing in it knows of time, threads or machines: the same runs give
//! the same bytes.

use std::collections::BTreeMap;

use scenarios::lab::experiment::Settings;
use serde::Serialize;
use sim_core::{
    record::RunHash,
    search::sweep::{Group, Summary},
};

use super::{
    Sweep, failing,
    statistics::{Interval, mean, share},
    verdict::verdict,
};

/// One variant.
#[derive(Serialize)]
pub(crate) struct SweepDocument<'a> {
    scenario: &'a str,
    variant: &'a str,
    seeds: &'a str,
    /// Which of the seeds, where not all.
    #[serde(skip_serializing_if = "Option::is_none")]
    shard: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    settings: Option<&'a Settings>,
    #[serde(skip_serializing_if = "Option::is_none")]
    knob: Option<&'a str>,
    #[serde(flatten)]
    known: Known,
}

/// Without a range: what is known of the variant. With one: a row for each value.
#[derive(Serialize)]
#[serde(untagged)]
enum Known {
    All(Box<PartDocument>),
    Rows { rows: Vec<PartDocument> },
}

/// All runs of a part.
#[derive(Serialize)]
pub(crate) struct PartDocument {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) value: Option<String>,
    pub(crate) runs: u64,
    pub(crate) failures: Vec<Group>,
    pub(crate) sometimes_never_held: Vec<String>,
    /// Runs in which something failed.
    pub(crate) failed: u64,
    pub(crate) failed_share: Interval,
    /// Different changes of states that were seen.
    pub(crate) transitions: usize,
    pub(crate) events: u64,
    pub(crate) figures: BTreeMap<String, Interval>,
    as_expected: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    not_as_expected: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    not_measured: Vec<String>,
    hash: RunHash,
}

impl PartDocument {
    fn of(sweep: &Sweep<'_>, part: usize) -> Self {
        let (part, summary) = (&sweep.parts[part], &sweep.summaries[part]);
        let verdict = verdict(sweep, part, summary);
        let failed = failing(summary).len() as u64;
        Self {
            value: part.value.clone(),
            runs: summary.runs(),
            failures: summary.failures(),
            sometimes_never_held: summary.sometimes_never_held(),
            failed,
            failed_share: share(failed, summary.runs()),
            transitions: summary.transitions(),
            events: summary.events(),
            figures: figures(summary),
            as_expected: verdict.is_as_expected(),
            not_as_expected: verdict.wrong,
            not_measured: verdict.unknown,
            hash: summary.hash(),
        }
    }
}

/// The mean of each figure over the runs that have it, added up in order of seeds.
pub(crate) fn figures(summary: &Summary) -> BTreeMap<String, Interval> {
    let of = |values: &BTreeMap<u64, f64>| mean(&values.values().copied().collect::<Vec<_>>());
    summary.figures().iter().filter_map(|(name, values)| Some((name.clone(), of(values)?))).collect()
}

/// A document for each variant.
pub(crate) fn documents<'a>(sweep: &'a Sweep<'_>) -> Vec<SweepDocument<'a>> {
    let header = &sweep.header;
    let settings = (header.settings != Settings::default()).then_some(&header.settings);
    let shard = (header.shard.of > 1).then(|| header.shard.to_string());
    let one = |variant: &'a String| {
        let all = (0..sweep.parts.len()).filter(|&part| sweep.parts[part].experiment.variant() == variant);
        let mut rows = all.map(|part| PartDocument::of(sweep, part)).collect::<Vec<_>>();
        SweepDocument {
            scenario: &header.scenario,
            variant,
            seeds: &header.seeds,
            shard: shard.clone(),
            settings,
            knob: header.range.as_ref().map(|range| range.knob.as_str()),
            known: match rows.pop() {
                Some(only) if header.range.is_none() => Known::All(Box::new(only)),
                last => Known::Rows { rows: rows.into_iter().chain(last).collect() },
            },
        }
    };
    header.variants.iter().map(one).collect()
}

/// The JSON text: an object where one variant was asked for, an array otherwise.
pub(crate) fn json(sweep: &Sweep<'_>) -> String {
    let documents = documents(sweep);
    match documents.first() {
        Some(only) if sweep.header.one => crate::document::text(only),
        _ => crate::document::text(&documents),
    }
}

/// The CSV text: a row for each way to fail (without a range), or for each value of the knob.
pub(crate) fn csv(sweep: &Sweep<'_>) -> String {
    let parts: Vec<PartDocument> = (0..sweep.parts.len()).map(|part| PartDocument::of(sweep, part)).collect();
    let header = &sweep.header;
    let variant = |index: usize| sweep.parts[index].experiment.variant().to_owned();
    let mut out = String::new();
    let Some(range) = &header.range else {
        let columns = [
            "scenario",
            "variant",
            "seeds",
            "runs",
            "fingerprint",
            "property",
            "kind",
            "count",
            "failing_seeds",
            "sometimes_never_held",
            "hash",
        ];
        row(&mut out, columns.map(str::to_owned));
        for (index, part) in parts.iter().enumerate() {
            let none = Group {
                fingerprint: String::new(),
                property: String::new(),
                kind: String::new(),
                roles: Vec::new(),
                count: 0,
                seeds: Vec::new(),
            };
            let groups = if part.failures.is_empty() { std::slice::from_ref(&none) } else { &part.failures };
            for group in groups {
                let seeds: Vec<String> = group.seeds.iter().map(u64::to_string).collect();
                row(
                    &mut out,
                    [
                        header.scenario.clone(),
                        variant(index),
                        header.seeds.clone(),
                        part.runs.to_string(),
                        group.fingerprint.clone(),
                        group.property.clone(),
                        group.kind.clone(),
                        group.count.to_string(),
                        seeds.join(" "),
                        part.sometimes_never_held.join("; "),
                        part.hash.to_string(),
                    ],
                );
            }
        }
        return out;
    };
    let names: std::collections::BTreeSet<&String> =
        parts.iter().flat_map(|part| part.figures.keys()).collect();
    let mut columns: Vec<String> = [
        "scenario",
        "variant",
        "seeds",
        &range.knob,
        "runs",
        "failed",
        "failed share",
        "failed low",
        "failed high",
    ]
    .map(str::to_owned)
    .to_vec();
    for name in &names {
        columns.extend([(*name).clone(), format!("{name} low"), format!("{name} high")]);
    }
    columns.push("hash".to_owned());
    row(&mut out, columns);
    for (index, part) in parts.iter().enumerate() {
        let Interval { value, low, high } = part.failed_share;
        let mut cells = vec![
            header.scenario.clone(),
            variant(index),
            header.seeds.clone(),
            part.value.clone().unwrap_or_default(),
            part.runs.to_string(),
            part.failed.to_string(),
            value.to_string(),
            low.to_string(),
            high.to_string(),
        ];
        for name in &names {
            cells.extend(match part.figures.get(*name) {
                Some(Interval { value, low, high }) => [value, low, high].map(f64::to_string),
                None => [const { String::new() }; 3],
            });
        }
        cells.push(part.hash.to_string());
        row(&mut out, cells);
    }
    out
}

/// One line, as RFC 4180 writes it, but for the plain line feed.
fn row(out: &mut String, cells: impl IntoIterator<Item = String>) {
    for (index, cell) in cells.into_iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        if cell.contains([',', '"', '\n', '\r']) {
            out.push_str(&format!("\"{}\"", cell.replace('"', "\"\"")));
        } else {
            out.push_str(&cell);
        }
    }
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_with_a_comma_or_a_quote_is_quoted() {
        let mut out = String::new();
        row(&mut out, ["a", "b, c", "say \"no\""].map(str::to_owned));
        assert_eq!(out, "a,\"b, c\",\"say \"\"no\"\"\"\n");
    }
}
