//! What people see of a session: at 80 columns, and readable without any colour.

mod faults;
mod story;
mod table;
pub(crate) mod text;
mod verdicts;

use scenarios::lab::verdict::VariantJudgement;
use sim_core::record::Ending;
pub(crate) use story::{page, predictions, told};
use viz::{
    Epoch,
    terminal::{Colour, duration, number, search_link, trace_link, waterfall},
};

use self::text::{columns, counted, hanging, spread, wrapped};
use crate::{
    console::{BAD, BOLD, DIM, NOTE, painted},
    delivery::{Delivered, ENDPOINT_DEFAULT},
    failure::Status,
    runs::{Outcome, Session},
};

/// The most lines of a waterfall.
const WATERFALL_ROWS: usize = 12;

/// The result: everything but what became of files and spans.
pub(crate) fn session(session: &Session<'_>, width: usize) -> String {
    let right = format!("{}, seed {}", session.lab.name(), session.seed);
    let (left, right) = spread(session.lab.title(), &right, width);
    let mut out = format!("{}{}\n\n", painted(BOLD, left), painted(DIM, right));
    out.push_str(&table::table(session, width));
    out.push('\n');
    out.push_str(&verdicts::verdicts(session, width));
    out.push_str(&faults::faults(session, width));
    out.push_str(&properties(session, width));
    out.push_str(&worst_trace(session, width));
    out
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
                    format!("not at {at} on {node}: {}", first.detail)
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
    let heading = painted(BOLD, format!("The worst trace of {}", outcome.variant()));
    match outcome.worst_trace() {
        // Colours are taken out later where they are not wanted.
        Some(trace) => {
            let picture = waterfall(&outcome.recording, trace, width, WATERFALL_ROWS, Colour::Always);
            format!("\n{heading}\n{picture}")
        }
        None => String::new(),
    }
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
            "{}: {} in {}, metrics, plans and summaries of {}",
            delivered.folder.display(),
            counted(delivered.spans, "span"),
            counted(traces as u64, "trace file"),
            counted(delivered.written.len() as u64, "run")
        );
        out.push_str(&format!("\n{}\n", painted(BOLD, "Files")));
        out.push_str(&hanging(&told, "  ", "    ", width));
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
            let trace = outcome.worst_trace();
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
    for (command, what) in [
        (format!("shaketable explain {lab}"), "the story, the knobs, what to try"),
        (
            format!("shaketable scenario {lab} --seed {}", if seed < 1_000_000 { seed + 1 } else { 1 }),
            "another seed",
        ),
    ] {
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
