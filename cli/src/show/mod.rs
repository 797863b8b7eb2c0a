//! What people see of a session: at 80 columns, and readable without any colour.

pub(crate) mod fault_page;
mod faults;
mod readable;
mod story;
mod table;
pub(crate) mod text;
mod verdicts;

use scenarios::lab::{knobs::shown, verdict::VariantJudgement};
use sim_core::record::Ending;
pub(crate) use story::{page, told};
use viz::{
    Epoch,
    terminal::{Colour, duration, number, search_link, trace_link, waterfall},
};

use self::{
    readable::readable,
    text::{columns, counted, hanging, size, spread, wrapped},
};
use crate::{
    console::{BAD, BOLD, DIM, NOTE, painted},
    delivery::{Delivered, ENDPOINT_DEFAULT},
    failure::Status,
    runs::{Outcome, Session},
};

/// The most lines of a waterfall.
const WATERFALL_ROWS: usize = 16;

/// The result: everything but what became of files and spans.
pub(crate) fn session(session: &Session<'_>, width: usize) -> String {
    let right = format!("{}, seed {}", session.lab.name(), session.seed);
    let (left, right) = spread(session.lab.title(), &right, width);
    let mut out = format!("{}{}\n\n", painted(BOLD, left), painted(DIM, right));
    out.push_str(&asked(session, width));
    out.push_str(&table::table(session, width));
    out.push('\n');
    out.push_str(&verdicts::verdicts(session, width));
    out.push_str(&faults::faults(session, width));
    out.push_str(&properties(session, width));
    out.push_str(&worst_trace(session, width));
    out
}

/// What the command line changed, and what became equal by it: whoever compares variants must know.
fn asked(session: &Session<'_>, width: usize) -> String {
    let mut told = Vec::new();
    let plan = session.outcomes.first().map(|one| &one.plan);
    let knobs: Vec<String> =
        session.asked.knobs(plan).into_iter().map(|(name, value)| format!("{name} = {value}")).collect();
    if !knobs.is_empty() {
        let knob = if knobs.len() == 1 { "Knob" } else { "Knobs" };
        let whom = if session.outcomes.len() == 1 { "" } else { " for all variants" };
        told.push(format!("{knob} set{whom}: {}.", knobs.join(", ")));
    }
    for equal in session.equal_variants() {
        let (last, others) = equal.split_last().expect("two are equal at least");
        told.push(format!("The variants {} and {last} are now equal.", others.join(", ")));
    }
    if let Some(path) = &session.asked.faults_from {
        told.push(format!("The faults are those of {}, not the lab's own.", path.display()));
    }
    if let Some(path) = &session.asked.plan_from {
        told.push(format!("Replayed from {}.", path.display()));
        let own = plan.and_then(|plan| Some((plan, session.lab.plan(&plan.variant, plan.seed, &[]).ok()?)));
        let (knobs, overrides) = own.map_or((Vec::new(), 0), |(plan, own)| {
            let changed = plan.knobs.iter().filter(|(name, value)| own.knobs.get(*name) != Some(value));
            (
                changed.map(|(name, value)| format!("{name} = {}", shown(value))).collect(),
                plan.overrides.len(),
            )
        });
        if !knobs.is_empty() {
            told.push(format!("Not the lab's own knobs: {}.", knobs.join(", ")));
        }
        if overrides > 0 {
            told.push(format!("With {} of single packets.", counted(overrides as u64, "override")));
        }
    }
    if told.is_empty() {
        return String::new();
    }
    let lines: String = told.iter().map(|told| hanging(told, "", "  ", width)).collect();
    format!("{}\n\n", painted(NOTE, lines.trim_end()))
}

/// Properties that did not hold, or that nobody checked.
fn properties(session: &Session<'_>, width: usize) -> String {
    let mut out = String::new();
    for outcome in &session.outcomes {
        let recording = &outcome.recording;
        for property in recording.properties.iter().filter(|property| !property.held()) {
            let why = match &property.first_failure {
                _ if property.checks == 0 => "never checked".to_owned(),
                Some(first) => {
                    let (at, node) = (duration(first.at.since_start()), recording.node_name(first.node));
                    format!("not at {at} on {node}: {}", readable(&first.detail))
                }
                None => format!("in none of {}", counted(property.checks, "check")),
            };
            out.push_str(&hanging(
                &format!("{}: {}: {why}", outcome.variant(), property.name),
                "  ",
                "    ",
                width,
            ));
        }
    }
    if out.is_empty() { out } else { format!("\n{}\n{out}", painted(BOLD, "Properties that did not hold")) }
}

/// The run whose worst trace is shown: the first broken variant's, or the first one's.
fn run_to_look_at<'s>(session: &'s Session<'_>) -> Option<&'s Outcome> {
    let is_broken = |judged: &VariantJudgement| table::kind_name(judged.kind) == "broken";
    let broken = session.outcomes.iter().find(|outcome| session.judged(outcome).is_some_and(is_broken));
    broken.or_else(|| session.outcomes.first())
}

fn worst_trace(session: &Session<'_>, width: usize) -> String {
    let Some(outcome) = run_to_look_at(session) else { return String::new() };
    let Some(worst) = &outcome.worst else { return String::new() };
    let heading = painted(BOLD, format!("The worst trace of {}", outcome.variant()));
    let why = hanging(&readable(&worst.why), "  ", "  ", width);
    // Colours are taken out later where they are not wanted.
    let picture = waterfall(&outcome.recording, worst.trace, width, WATERFALL_ROWS, Colour::Always);
    format!("\n{heading}\n{why}{picture}")
}

/// The end: hashes, speed, files, spans, and what to do next.
pub(crate) fn ending(
    session: &Session<'_>,
    delivered: Option<&Delivered>,
    epoch: Epoch,
    jaeger: &str,
    width: usize,
) -> String {
    let mut out =
        format!("\n{}\n", painted(BOLD, "Recordings: the same command gives these hashes, everywhere"));
    let names = session.outcomes.iter().map(|outcome| columns(outcome.variant())).max().unwrap_or(0);
    // 64 hexadecimal digits: beside the name where they fit.
    let beside = 2 + names + 2 + 64 <= width;
    for outcome in &session.outcomes {
        let (name, hash) = (outcome.variant(), &outcome.hash);
        out.push_str(&if beside {
            format!("  {name:names$}  {hash}\n")
        } else {
            format!("  {name}\n    {hash}\n")
        });
        if let Ending::Panicked { node, message } = &outcome.recording.ending {
            let told = format!("{name} ended early: {node} panicked: {message}");
            out.push_str(&painted(BAD, hanging(&told, "    ", "      ", width).trim_end()));
            out.push('\n');
        }
    }
    out.push_str(&speed(session));
    if let Some(delivered) = delivered {
        out.push_str(&files(session, delivered, width));
    }
    out.push_str(&next(session, delivered, epoch, jaeger, width));
    out
}

/// The only line that differs from one time to the next.
fn speed(session: &Session<'_>) -> String {
    let wall = session.wall.as_secs_f64();
    let virtual_time = session.virtual_time();
    let rate = |amount: f64| if wall > 0.0 { number((amount / wall).round()) } else { "-".to_owned() };
    let wall_text = duration(sim_core::time::Duration::from_secs_f64(wall));
    painted(
        DIM,
        format!(
            "{} virtual in {wall_text} of wall time: {} times as fast, {} events/s",
            duration(virtual_time),
            rate(virtual_time.as_secs_f64()),
            rate(session.events() as f64)
        ),
    ) + "\n"
}

fn files(session: &Session<'_>, delivered: &Delivered, width: usize) -> String {
    let mut out = String::new();
    if delivered.written.len() == session.outcomes.len() {
        let traces: usize = delivered.written.iter().map(|written| written.traces.len()).sum();
        let told = format!(
            "{}: {}; {} in {}, metrics, plans and summaries of {}",
            delivered.folder.display(),
            size(delivered.written.iter().map(|written| written.bytes).sum()),
            counted(delivered.spans, "span"),
            counted(traces as u64, "trace file"),
            counted(delivered.written.len() as u64, "run")
        );
        out.push_str(&format!("\n{}\n", painted(BOLD, "Files")));
        out.push_str(&hanging(&told, "  ", "    ", width));
        let look_at = run_to_look_at(session).map(Outcome::variant);
        let written = session.outcomes.iter().zip(&delivered.written);
        for (outcome, written) in written.filter(|(outcome, _)| Some(outcome.variant()) == look_at) {
            for path in &written.holding {
                let told = format!("the worst trace of {} is in {}", outcome.variant(), path.display());
                out.push_str(&hanging(&told, "  ", "    ", width));
            }
        }
    }
    for report in delivered.report.iter().chain(&delivered.metrics).filter(|report| report.is_complete()) {
        out.push_str(&hanging(&report.to_string(), "  ", "    ", width));
    }
    out
}

fn next(
    session: &Session<'_>,
    delivered: Option<&Delivered>,
    epoch: Epoch,
    jaeger: &str,
    width: usize,
) -> String {
    let (lab, seed) = (session.lab.name(), session.seed);
    let mut out = format!("\n{}\n", painted(BOLD, "Next"));
    let sent = delivered.is_some_and(|delivered| delivered.report.is_some() && delivered.complaint.is_none());
    if let Some(outcome) = run_to_look_at(session)
        && let Some(id) = outcome.worst_trace_id()
    {
        let variant = outcome.variant();
        let link = trace_link(jaeger, id);
        if sent {
            out.push_str(&format!("  the worst trace of {variant} in Jaeger:\n    {link}\n"));
            let trace = outcome.worst.as_ref().map(|worst| worst.trace);
            let root = outcome.recording.spans.iter().find(|span| Some(span.trace) == trace);
            let node = root.and_then(|span| outcome.recording.nodes.get(span.node.0 as usize));
            if let Some(node) = node {
                let link = search_link(jaeger, &outcome.recording, epoch, &node.service);
                out.push_str(&format!("  all traces of {}:\n    {link}\n", node.service));
            }
        } else {
            out.push_str(&format!("  {link}\n"));
            let how = match delivered.and_then(|delivered| delivered.report.as_ref()) {
                Some(_) => "see the command below".to_owned(),
                None => format!("add --otlp {ENDPOINT_DEFAULT}"),
            };
            let told = format!("the trace above in Jaeger, once it is sent: {how}");
            out.push_str(&painted(DIM, wrapped(&told, "    ", width).trim_end()));
            out.push('\n');
        }
    }
    let another = session.asked.command(session.lab, if seed < 1_000_000 { seed + 1 } else { 1 });
    let what = match session.asked.plan_from {
        Some(_) => "the same plan: edit it first",
        None => "another seed",
    };
    for (command, what) in
        [(format!("shaketable explain {lab}"), "the story, the knobs, what to try"), (another, what)]
    {
        let (left, right) = spread(&format!("  {command}"), what, width.min(80));
        out.push_str(&format!("{left}{}\n", painted(DIM, right)));
    }
    let last = match session.status() {
        Status::AsExpected => return out,
        Status::Unknown => painted(NOTE, "Something could not be judged."),
        _ => painted(BAD, "Something was NOT as expected."),
    };
    format!("{out}\n{last}\n")
}
