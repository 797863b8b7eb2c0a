//! Metrics as OpenMetrics text, which `promtool tsdb create-blocks-from openmetrics` turns into blocks for Prometheus.
//!
//! Time stamps are seconds since 1970: the epoch plus virtual time. Points are thinned out to one for each step in which
//! something changed, as in the OTLP metrics. The rules of the format that shape this code: the samples of one metric family
//! stand together, the points of one metric in order of time, a counter's sample ends in `_total`, a unit is a suffix of the
//! family's name, and the text ends with `# EOF`.
//! (OpenMetrics 1.0, <https://prometheus.io/docs/specs/om/open_metrics_spec/>.)

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    io::{self, Write},
};

use sim_core::{
    record::{MetricKind, Name, Recording, Series},
    time::SimTime,
};

use crate::{
    otlp::ExportOptions,
    sample::{Distribution, Sampled, bounds, samples},
};

/// Writes all metrics of a recording. Its labels are `scenario`, `variant`, `seed`, and, for what belongs to a node, `node` and
/// `service`: two variants of one run can go into one Prometheus. A counter or histogram starts with a point at zero, since
/// Prometheus does not count the first value that it sees as an increase.
///
/// # Errors
/// Those of `out`.
pub fn write_openmetrics(
    recording: &Recording,
    options: &ExportOptions,
    out: &mut impl Write,
) -> io::Result<()> {
    // One family for each name, kind and unit, in order of first use.
    let mut families: Vec<(FamilyKey, Vec<&Series>)> = Vec::new();
    let mut known: BTreeMap<FamilyKey, usize> = BTreeMap::new();
    for series in &recording.metrics {
        let key = (series.name, series.kind, series.unit);
        let index = *known.entry(key).or_insert_with(|| {
            families.push((key, Vec::new()));
            families.len() - 1
        });
        families[index].1.push(series);
    }
    let mut taken = BTreeSet::new();
    for ((name, kind, unit), all_series) in families {
        let unit = unit_name(recording.text(unit));
        let family = family_name(recording.text(name), kind, &unit, &mut taken);
        let (kind_text, what) = match kind {
            MetricKind::Counter => ("counter", "Total"),
            MetricKind::Gauge => ("gauge", "Level"),
            MetricKind::Histogram => ("histogram", "Distribution"),
        };
        writeln!(out, "# TYPE {family} {kind_text}")?;
        if !unit.is_empty() {
            writeln!(out, "# UNIT {family} {unit}")?;
        }
        let help = escaped(recording.text(name));
        writeln!(out, "# HELP {family} {what} of {help}, in virtual time.")?;
        for series in all_series {
            write_series(recording, options, &family, series, out)?;
        }
    }
    out.write_all(b"# EOF\n")
}

type FamilyKey = (Name, MetricKind, Name);

/// The sample names that a family of that name makes use of.
fn sample_names(family: &str, kind: MetricKind) -> Vec<String> {
    let suffixes: &[&str] = match kind {
        MetricKind::Counter => &["", "_total", "_created"],
        MetricKind::Gauge => &[""],
        MetricKind::Histogram => &["", "_bucket", "_count", "_sum", "_created"],
    };
    suffixes.iter().map(|suffix| format!("{family}{suffix}")).collect()
}

/// A name that the format allows and that no other family of the text has: a number is added where two would be the same.
fn family_name(name: &str, kind: MetricKind, unit: &str, taken: &mut BTreeSet<String>) -> String {
    let mut base = sanitized(name);
    if kind == MetricKind::Counter {
        base = base.strip_suffix("_total").filter(|rest| !rest.is_empty()).unwrap_or(&base).to_owned();
    }
    if !unit.is_empty() {
        base = base.strip_suffix(&format!("_{unit}")).unwrap_or(&base).to_owned();
    }
    for attempt in 1_u32.. {
        let mut family = base.clone();
        if attempt > 1 {
            let _ = write!(family, "_{attempt}");
        }
        if !unit.is_empty() {
            let _ = write!(family, "_{unit}");
        }
        let names = sample_names(&family, kind);
        if names.iter().all(|name| !taken.contains(name)) {
            taken.extend(names);
            return family;
        }
    }
    base
}

/// Letters, digits and underscores, not beginning with a digit. (Colons are for rules of Prometheus.)
fn sanitized(name: &str) -> String {
    let mut clean: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    if clean.starts_with(|c: char| c.is_ascii_digit()) || clean.is_empty() {
        clean.insert(0, '_');
    }
    clean
}

/// A UCUM unit as Prometheus writes it: whole words. What stands in braces is a remark, not a unit.
fn unit_name(ucum: &str) -> String {
    let word = |part: &str| -> String {
        let known = match part {
            "s" => "seconds",
            "ms" => "milliseconds",
            "us" => "microseconds",
            "ns" => "nanoseconds",
            "min" => "minutes",
            "h" => "hours",
            "By" => "bytes",
            "KiBy" => "kibibytes",
            "MiBy" => "mebibytes",
            "bit" => "bits",
            "%" => "percent",
            "1" => "ratio",
            "Hz" => "hertz",
            other => return sanitized(other).trim_matches('_').to_owned(),
        };
        known.to_owned()
    };
    let mut plain = String::new();
    let mut depth = 0_u32;
    for c in ucum.chars() {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            c if depth == 0 => plain.push(c),
            _ => {}
        }
    }
    match plain.split_once('/') {
        None if plain.is_empty() => String::new(),
        None => word(&plain),
        Some((above, below)) => {
            let below = match below {
                "s" => "second".to_owned(),
                other => word(other),
            };
            let above = if above.is_empty() || above == "1" { String::new() } else { word(above) };
            match (above.is_empty(), below.is_empty()) {
                (true, true) => String::new(),
                (true, false) => format!("per_{below}"),
                (false, true) => above,
                (false, false) => format!("{above}_per_{below}"),
            }
        }
    }
}

/// A text inside a label's quotation marks, or after `# HELP`.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            c => out.push(c),
        }
    }
    out
}

/// The labels of a series without the braces.
fn labels(recording: &Recording, series: &Series) -> String {
    let origin = &recording.origin;
    let mut labels = format!(
        "scenario=\"{}\",variant=\"{}\",seed=\"{}\"",
        escaped(&origin.scenario),
        escaped(&origin.variant),
        origin.seed
    );
    if let Some(node) = recording.nodes.get(series.node.0 as usize) {
        let _ = write!(labels, ",node=\"{}\",service=\"{}\"", escaped(&node.name), escaped(&node.service));
    }
    labels
}

/// A number as the format has it.
fn number(value: f64) -> String {
    if value == f64::INFINITY {
        "+Inf".to_owned()
    } else if value == f64::NEG_INFINITY {
        "-Inf".to_owned()
    } else {
        format!("{value:?}") // with a point or an exponent, so that a bound is written 1.0
    }
}

/// Seconds since 1970, exact.
fn time_stamp(unix_nanos: u64) -> String {
    let (seconds, nanos) = (unix_nanos / 1_000_000_000, unix_nanos % 1_000_000_000);
    if nanos == 0 {
        return seconds.to_string();
    }
    let decimals = format!("{nanos:09}");
    format!("{seconds}.{}", decimals.trim_end_matches('0'))
}

fn write_series(
    recording: &Recording,
    options: &ExportOptions,
    family: &str,
    series: &Series,
    out: &mut impl Write,
) -> io::Result<()> {
    let labels = labels(recording, series);
    let bounds = bounds(recording, series);
    let zero = match series.kind {
        MetricKind::Gauge => None,
        MetricKind::Counter => Some(Sampled::Number(0.0)),
        MetricKind::Histogram => Some(Sampled::Distribution(Distribution::empty(bounds))),
    };
    let starts_later = series.points.first().is_none_or(|first| first.at > SimTime::ZERO);
    let start = zero.filter(|_| starts_later).map(|zero| (SimTime::ZERO, zero));
    let suffix = if series.kind == MetricKind::Counter { "_total" } else { "" };
    for (at, sampled) in start.into_iter().chain(samples(recording, series, options.metric_step)) {
        let at = time_stamp(options.epoch.at(at));
        match sampled {
            Sampled::Number(value) => {
                writeln!(out, "{family}{suffix}{{{labels}}} {} {at}", number(value))?;
            }
            Sampled::Distribution(d) => {
                let mut below = 0;
                for (bucket, bound) in d.buckets.iter().zip(bounds.iter().chain([&f64::INFINITY])) {
                    below += bucket;
                    writeln!(out, "{family}_bucket{{{labels},le=\"{}\"}} {below} {at}", number(*bound))?;
                }
                writeln!(out, "{family}_count{{{labels}}} {} {at}", d.count)?;
                writeln!(out, "{family}_sum{{{labels}}} {} {at}", number(d.sum))?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
