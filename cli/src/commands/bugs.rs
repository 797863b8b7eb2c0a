//! `bugs`: finds the known bugs of the gallery from fresh seeds, shrinks them, and shows that their fixed twins stand.

use std::{num::NonZeroUsize, thread, time::Instant};

use clap::Args;
use scenarios::gallery::{Bug, Hunted, Patience, bugs};
use serde::Serialize;
use sim_core::search::shrink::{Size, story};

use crate::{
    console::{BAD, BOLD, Console, DIM, GOOD, painted},
    document,
    failure::{Failure, Status},
};

/// Find the known bugs from fresh seeds, shrink them, and let their fixed twins run the same
#[derive(Debug, Args)]
pub(crate) struct BugsArguments {
    /// Only these, by number: `1,6`
    #[arg(long, value_name = "NUMBERS", value_delimiter = ',')]
    only: Vec<u32>,
    /// The first seed; moves all seeds, so that nobody has to believe in a lucky one
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u64).range(..1 << 52))]
    from_seed: u64,
    /// Threads; as many as there are cores unless said. The result does not depend on it
    #[arg(long, value_name = "N")]
    workers: Option<NonZeroUsize>,
    /// Tell the story of each shrunk plan, and why each part of it is needed
    #[arg(long, conflicts_with = "json")]
    stories: bool,
    /// Print a JSON array instead
    #[arg(long)]
    json: bool,
}

/// One bug, as `--json` prints it.
#[derive(Serialize)]
struct BugDocument {
    bug: u32,
    protocol: &'static str,
    title: &'static str,
    source: &'static str,
    /// Runs in order of seeds up to and including the first failure; null where it was not found.
    runs: Option<u64>,
    property: &'static str,
    before: Option<Size>,
    after: Option<Size>,
    target: TargetDocument,
    seed: Option<u64>,
    executions: Option<u64>,
    seconds: f64,
    twin_runs: u64,
    twin_failures: u64,
    /// How many things the shrunk plan's faults touched in the twin.
    twin_touched: u64,
    ok: bool,
}

#[derive(Serialize)]
struct TargetDocument {
    nodes: u64,
    faults: u64,
    operations: u64,
}

pub(crate) fn carry_out(arguments: &BugsArguments, console: &mut Console<'_>) -> Result<Status, Failure> {
    let chosen = chosen(&arguments.only)?;
    let workers = arguments
        .workers
        .map_or_else(|| thread::available_parallelism().map_or(1, NonZeroUsize::get), NonZeroUsize::get);
    let patience = Patience { from_seed: arguments.from_seed, workers, ..Patience::default() };
    let mut documents = Vec::new();
    let mut all_fine = true;
    if !arguments.json {
        console.print(&heading())?;
    }
    for bug in chosen {
        let start = Instant::now();
        let hunted = bug.hunt(patience);
        let seconds = start.elapsed().as_secs_f64();
        let fine = hunted.as_ref().is_ok_and(|hunted| is_fine(&bug, hunted));
        all_fine &= fine;
        if arguments.json {
            documents.push(bug_document(&bug, hunted.as_ref().ok(), seconds, fine));
            continue;
        }
        console.print(&row(&bug, &hunted, seconds, fine))?;
        if arguments.stories
            && let Ok(hunted) = &hunted
        {
            console.print(&told(hunted))?;
        }
    }
    if arguments.json {
        console.print_raw(document::text(&documents).as_bytes())?;
    }
    Ok(if all_fine { Status::AsExpected } else { Status::NotAsExpected })
}

fn chosen(only: &[u32]) -> Result<Vec<Bug>, Failure> {
    let all = bugs();
    let known: Vec<String> = all.iter().map(|bug| bug.number.to_string()).collect();
    if let Some(unknown) = only.iter().find(|number| !all.iter().any(|bug| bug.number == **number)) {
        return Err(Failure::usage(format!("the gallery has no bug {unknown}; it has {}", known.join(", "))));
    }
    Ok(all.into_iter().filter(|bug| only.is_empty() || only.contains(&bug.number)).collect())
}

/// Found, as small as it should be, and the twin stands although the plan touched something.
fn is_fine(bug: &Bug, hunted: &Hunted) -> bool {
    bug.is_small(&hunted.shrunk.after) && hunted.twin_failures == 0 && hunted.twin_touched > 0
}

fn bug_document(bug: &Bug, hunted: Option<&Hunted>, seconds: f64, ok: bool) -> BugDocument {
    let Size { nodes, faults, operations, .. } = bug.target;
    BugDocument {
        bug: bug.number,
        protocol: bug.protocol,
        title: bug.title,
        source: bug.source,
        runs: hunted.map(|hunted| hunted.runs),
        property: bug.property,
        before: hunted.map(|hunted| hunted.shrunk.before),
        after: hunted.map(|hunted| hunted.shrunk.after),
        target: TargetDocument { nodes, faults, operations },
        seed: hunted.map(|hunted| hunted.seed),
        executions: hunted.map(|hunted| hunted.shrunk.executions),
        seconds: (seconds * 10.0).round() / 10.0,
        twin_runs: hunted.map_or(0, |hunted| hunted.twin_runs),
        twin_failures: hunted.map_or(0, |hunted| hunted.twin_failures),
        twin_touched: hunted.map_or(0, |hunted| hunted.twin_touched),
        ok,
    }
}

fn heading() -> String {
    let line = format!(
        "{:>3}  {:<9} {:>6}  {:<15} {:<15} {:<8} {:>7} {:>6}  {}\n",
        "bug", "protocol", "found", "before", "after", "target", "seconds", "twin", ""
    );
    format!(
        "{}{}\n",
        painted(BOLD, line.trim_end()),
        painted(
            DIM,
            "\n     found: runs until the first failure; sizes: nodes/faults/operations/deliveries; twin: failures"
        )
    )
}

fn sized(size: &Size) -> String {
    format!("{}/{}/{}/{}", size.nodes, size.faults, size.operations, size.deliveries)
}

fn row(bug: &Bug, hunted: &Result<Hunted, String>, seconds: f64, fine: bool) -> String {
    let target = format!("{}/{}/{}", bug.target.nodes, bug.target.faults, bug.target.operations);
    let verdict = if fine { painted(GOOD, "ok").to_string() } else { painted(BAD, "NOT OK").to_string() };
    let title = format!("     {}\n     violates: {}\n", bug.title, bug.property);
    match hunted {
        Ok(hunted) => format!(
            "{:>3}  {:<9} {:>6}  {:<15} {:<15} {:<8} {:>7.1} {:>6}  {verdict}\n{title}",
            bug.number,
            bug.protocol,
            hunted.runs,
            sized(&hunted.shrunk.before),
            sized(&hunted.shrunk.after),
            target,
            seconds,
            format!("{}/{}", hunted.twin_failures, hunted.twin_runs),
        ),
        Err(error) => format!("{:>3}  {:<9} {verdict}: {error}\n{title}", bug.number, bug.protocol),
    }
}

fn told(hunted: &Hunted) -> String {
    let mut out = format!("\n     {}\n", hunted.shrunk.after);
    for line in story(&hunted.shrunk.recording, &hunted.shrunk.failure) {
        out.push_str(&format!("     {line}\n"));
    }
    for needed in &hunted.shrunk.certificate {
        out.push_str(&format!("     without {}: {}\n", needed.without, needed.then));
    }
    out.push('\n');
    out
}
