//! What people see of a sweep, at 80 columns: failures by fingerprint, or, for a knob, each measure as a table whose lines
//! end in a plot with its 95 % band.

use scenarios::{lab::variants::VariantKind, measure::Unit};
use viz::terminal::{duration, number};

use super::{
    Part, Sweep,
    carry::Ended,
    document::figures,
    failing,
    statistics::{Interval, share},
    verdict::{Verdict, verdict},
};
use crate::{
    console::{BAD, BOLD, DIM, GOOD, NOTE, painted},
    delivery::quoted,
    show::text::{columns, counted, hanging, spread},
};
use sim_core::{
    search::{explore::Explore, sweep::Summary},
    time::Duration,
};

/// How many seeds of a group are written out.
const SEEDS_SHOWN: usize = 8;
/// The width of a plot.
const PLOT: usize = 34;

/// All of it.
pub(crate) fn sweep(sweep: &Sweep<'_>, width: usize) -> String {
    let mut right = format!("{}, seeds {}", sweep.header.scenario, sweep.header.seeds);
    if sweep.header.shard.of > 1 {
        right.push_str(&format!(", shard {}", sweep.header.shard));
    }
    let (left, right) = spread(sweep.lab.title(), &right, width);
    let mut out = format!("{}{}\n", painted(BOLD, left), painted(DIM, right));
    for setting in settings(sweep) {
        out.push_str(&hanging(&setting, "", "  ", width));
    }
    match &sweep.header.range {
        None => {
            for (part, summary) in sweep.known() {
                out.push('\n');
                out.push_str(&self::part(sweep, part, summary, width));
            }
        }
        Some(range) => {
            for variant in &sweep.header.variants {
                out.push('\n');
                out.push_str(&knob(sweep, variant, &range.knob, width));
            }
        }
    }
    out.push_str(&next(sweep, width));
    out
}

fn settings(sweep: &Sweep<'_>) -> Vec<String> {
    let settings = &sweep.header.settings;
    let mut told = Vec::new();
    if !settings.sets.is_empty() {
        told.push(format!("Knobs: {}", settings.sets.join(", ")));
    }
    if let Some(faults) = &settings.faults {
        told.push(format!(
            "{} from a file instead of the lab's own",
            counted(faults.faults().len() as u64, "fault")
        ));
    }
    if settings.explore.draws_faults() {
        let on: Vec<&str> =
            sweep.parts.first().map(|part| part.experiment.servers().collect()).unwrap_or_default();
        told.push(format!(
            "Drawn faults ({}) for {}, besides the lab's own",
            settings.explore,
            on.join(", ")
        ));
    } else if settings.explore != Explore::Seeds {
        told.push(format!("Priorities of messages: {}", settings.explore));
    }
    if settings.ties == sim_core::plan::Ties::Seeded {
        told.push("Events at one instant come in another order under each seed".to_owned());
    }
    told
}

fn kind(kind: VariantKind) -> &'static str {
    match kind {
        VariantKind::Broken => "broken",
        VariantKind::Fixed => "fixed",
        VariantKind::Control => "control",
    }
}

fn part(sweep: &Sweep<'_>, part: &Part<'_>, summary: &Summary, width: usize) -> String {
    let verdict = verdict(sweep, part, summary);
    let failed = failing(summary).len() as u64;
    let failures =
        if failed == 0 { "none failed".to_owned() } else { format!("{} failed", number(failed as f64)) };
    let left = format!("{} ({})", part.experiment.variant(), kind(part.experiment.kind()));
    let right = format!("{}, {failures}", counted(summary.runs(), "run"));
    let (left, right) = spread(&left, &right, width);
    let mut out = format!("{}{right}\n", painted(BOLD, left));
    for group in summary.failures() {
        let shown: Vec<String> = group.seeds.iter().take(SEEDS_SHOWN).map(u64::to_string).collect();
        let more = if group.seeds.len() > SEEDS_SHOWN { ", ..." } else { "" };
        let seeds = if group.seeds.len() == 1 { "seed" } else { "seeds" };
        let (count, fingerprint) = (number(group.count as f64), &group.fingerprint);
        out.push_str(&hanging(
            &format!("{fingerprint}: {seeds} {}{more}", shown.join(", ")),
            &format!("  {count:>6}  "),
            "          ",
            width,
        ));
    }
    for never in summary.sometimes_never_held() {
        out.push_str(&hanging(&format!("never held: {never}"), "       0  ", "          ", width));
    }
    out.push_str(&format!(
        "  {}, {}, hash {}\n",
        counted(summary.transitions() as u64, "state transition"),
        counted(summary.events(), "event"),
        summary.hash()
    ));
    out.push_str(&judged(&verdict, width));
    out
}

fn judged(verdict: &Verdict, width: usize) -> String {
    if verdict.is_as_expected() {
        return format!("  {}\n", painted(GOOD, "as expected"));
    }
    let mut out = String::new();
    let all = verdict.wrong.iter().map(|told| (BAD, "NOT as expected: ", told));
    for (style, what, told) in all.chain(verdict.unknown.iter().map(|told| (NOTE, "not measured: ", told))) {
        let told = hanging(&format!("{what}{told}"), "  ", "    ", width);
        out.push_str(&format!("{}\n", painted(style, told.trim_end())));
    }
    out
}

/// How a figure is written.
fn shown(value: f64, unit: Unit) -> String {
    match unit {
        Unit::Seconds if value >= 0.0 => duration(Duration::from_secs_f64(value)),
        Unit::Seconds => format!("-{}", duration(Duration::from_secs_f64(-value))),
        Unit::Share => format!("{} %", number((value * 1_000.0).round() / 10.0)),
        _ => number(value),
    }
}

/// A variant, value by value of a knob.
fn knob(sweep: &Sweep<'_>, variant: &str, knob: &str, width: usize) -> String {
    let own: Vec<(&Part<'_>, &Summary)> =
        sweep.known().filter(|(part, _)| part.experiment.variant() == variant).collect();
    let Some((first, _)) = own.first() else { return String::new() };
    let kind = kind(first.experiment.kind());
    let runs: u64 = own.iter().map(|(_, summary)| summary.runs()).sum();
    let (left, right) = spread(&format!("{variant} ({kind})"), &counted(runs, "run"), width);
    let mut out = format!("{}{right}\n", painted(BOLD, left));
    let value = |part: &Part<'_>| part.value.clone().unwrap_or_default();
    let failed: Vec<Row> = own
        .iter()
        .map(|(part, summary)| {
            let failed = failing(summary).len() as u64;
            Row { value: value(part), runs: summary.runs(), interval: Some(share(failed, summary.runs())) }
        })
        .collect();
    out.push_str(&block("runs that failed", knob, Unit::Share, &failed, Some((0.0, 1.0)), width));
    for (name, unit) in first.experiment.figure_units() {
        let rows: Vec<Row> = own
            .iter()
            .map(|(part, summary)| {
                let runs = summary.figures().get(&name).map_or(0, |values| values.len() as u64);
                Row { value: value(part), runs, interval: figures(summary).get(&name).copied() }
            })
            .collect();
        if rows.iter().any(|row| row.interval.is_some()) {
            out.push_str(&block(&name, knob, unit, &rows, None, width));
        }
    }
    let mut wrong = Vec::new();
    for (part, summary) in &own {
        let all = verdict(sweep, part, summary);
        wrong.extend(all.wrong.iter().map(|told| format!("{knob}={}: {told}", value(part))));
    }
    let never: std::collections::BTreeSet<String> = own
        .iter()
        .map(|(_, summary)| {
            summary.sometimes_never_held().into_iter().collect::<std::collections::BTreeSet<_>>()
        })
        .reduce(|all, next| &all & &next)
        .unwrap_or_default();
    if !never.is_empty() || !wrong.is_empty() {
        out.push('\n');
    }
    for name in never {
        out.push_str(&hanging(&format!("never held, with any value: {name}"), "  ", "    ", width));
    }
    for told in wrong {
        let told = hanging(&format!("NOT as expected: {told}"), "  ", "    ", width);
        out.push_str(&format!("{}\n", painted(BAD, told.trim_end())));
    }
    out
}

struct Row {
    value: String,
    runs: u64,
    interval: Option<Interval>,
}

/// A measure over the values of a knob: number, band, and both drawn on one scale.
fn block(
    name: &str,
    knob: &str,
    unit: Unit,
    rows: &[Row],
    scale: Option<(f64, f64)>,
    width: usize,
) -> String {
    let bands: Vec<Interval> = rows.iter().filter_map(|row| row.interval).collect();
    let (low, high) = scale.unwrap_or_else(|| {
        let low = bands.iter().map(|band| band.low).fold(f64::INFINITY, f64::min);
        let high = bands.iter().map(|band| band.high).fold(f64::NEG_INFINITY, f64::max);
        // A scale that begins at 0 where that costs little: shares of a whole are seen as such.
        (if low > 0.0 && low < high / 2.0 { 0.0 } else { low }, high)
    });
    let texts: Vec<[String; 4]> = rows
        .iter()
        .map(|row| {
            let (mean, band) = row.interval.map_or(("-".to_owned(), String::new()), |band| {
                (shown(band.value, unit), format!("{} to {}", shown(band.low, unit), shown(band.high, unit)))
            });
            [row.value.clone(), number(row.runs as f64), mean, band]
        })
        .collect();
    let heads = [knob, "runs", "mean", "95 %"];
    let mut widths = heads.map(columns);
    for text in &texts {
        for (width, cell) in widths.iter_mut().zip(text) {
            *width = (*width).max(columns(cell));
        }
    }
    let table: usize = 2 + widths.iter().sum::<usize>() + 2 * 4;
    let plot = PLOT.min(width.saturating_sub(table)).max(12);
    let line = |cells: [&str; 4]| {
        let [a, b, c, d] = cells;
        let [wa, wb, wc, wd] = widths;
        format!("  {a:>wa$}  {b:>wb$}  {c:>wc$}  {d:<wd$}")
    };
    let (left, right) = spread(&shown(low, unit), &shown(high, unit), plot);
    let right = right.trim_start_matches('\n');
    let mut out = format!("\n  {}\n", painted(BOLD, name));
    out.push_str(&painted(DIM, format!("{}  {left}{right}", line(heads))));
    out.push('\n');
    for (row, text) in rows.iter().zip(&texts) {
        let drawn = row.interval.map_or_else(String::new, |band| drawn(band, low, high, plot));
        let cells = [&*text[0], &*text[1], &*text[2], &*text[3]];
        out.push_str(format!("{}  {drawn}", line(cells)).trim_end());
        out.push('\n');
    }
    out
}

/// The band, with the value on it.
fn drawn(band: Interval, low: f64, high: f64, width: usize) -> String {
    let last = width - 1;
    let place = |value: f64| {
        if high <= low {
            0
        } else {
            (((value - low) / (high - low)).clamp(0.0, 1.0) * last as f64).round() as usize
        }
    };
    let (from, at, to) = (place(band.low), place(band.value), place(band.high));
    let cell = |column: usize| {
        if column == at {
            '●'
        } else if (from..=to).contains(&column) {
            '░'
        } else {
            ' '
        }
    };
    (0..width).map(cell).collect::<String>().trim_end().to_owned()
}

/// What to do with it.
fn next(sweep: &Sweep<'_>, width: usize) -> String {
    if sweep.header.range.is_some() {
        return String::new();
    }
    // First what was not as expected, then any failure.
    let failed = |(part, summary): &(&Part<'_>, &Summary)| {
        let seed = summary.failures().first().and_then(|group| group.seeds.first().copied());
        seed.map(|seed| {
            (verdict(sweep, part, summary).is_as_expected(), part.experiment.variant().to_owned(), seed)
        })
    };
    let all: Vec<(bool, String, u64)> = sweep.known().filter_map(|known| failed(&known)).collect();
    let Some((_, variant, seed)) = all.iter().find(|one| !one.0).or_else(|| all.first()) else {
        return String::new();
    };
    let mut command =
        format!("shaketable shrink {} --variant {variant} --seed {seed}", sweep.header.scenario);
    let settings = &sweep.header.settings;
    for set in &settings.sets {
        command.push_str(&format!(" --set {}", quoted(set)));
    }
    if settings.explore != Explore::Seeds {
        command.push_str(&format!(" --explore {}", settings.explore));
    }
    if settings.ties == sim_core::plan::Ties::Seeded {
        command.push_str(" --ties seeded");
    }
    if !settings.servers.is_empty() {
        command.push_str(&format!(" --servers {}", quoted(&settings.servers)));
    }
    if settings.faults.is_some() {
        command.push_str(" --faults FILE");
    }
    let _ = width;
    format!("\nMake a failing run small:\n  {command}\n")
}

/// How far it came and how to go on, where it is not whole. For standard error: it differs from machine to machine.
pub(crate) fn unfinished(sweep: &Sweep<'_>, ended: Ended, file: Option<&std::path::Path>) -> Option<String> {
    let why = match ended {
        Ended::Whole => return None,
        Ended::OutOfTime => "The time was over",
        Ended::Interrupted => "Interrupted",
    };
    let (done, planned) = (number(sweep.runs() as f64), number(sweep.planned() as f64));
    let how = match file {
        Some(path) => {
            format!("all of them are in {}, and the same command goes on from there", path.display())
        }
        None => "with --out FILE the same command could go on from there".to_owned(),
    };
    Some(format!("{why}: {done} of {planned} runs are done; {how}.\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_band_is_drawn_on_its_scale() {
        let band = |low, value, high| Interval { value, low, high };
        assert_eq!(drawn(band(0.2, 0.5, 0.8), 0.0, 1.0, 11), "  ░░░●░░░");
        assert_eq!(drawn(band(0.0, 0.0, 0.1), 0.0, 1.0, 11), "●░");
        assert_eq!(drawn(band(3.0, 3.0, 3.0), 3.0, 3.0, 11), "●");
    }
}
