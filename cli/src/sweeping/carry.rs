//! Running what is missing of a sweep, on all cores.

use std::{
    ops::ControlFlow,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration as WallTime, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};
use sim_core::search::{sweep::on_all_cores, try_seed};

use super::{
    Sweep, failing,
    interrupt::Listening,
    quiet::Quiet,
    results::{Line, Writer},
    slim,
};
use crate::failure::Failure;

/// How far it goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) workers: usize,
    /// No new run begins after that.
    pub(crate) time: Option<WallTime>,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// All is done.
    Whole,
    /// The time was over.
    OutOfTime,
    /// Somebody pressed Ctrl-C.
    Interrupted,
}

/// As many threads as there are cores.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Takes in what a file holds, and checks that the program still gives the same runs.
pub(crate) fn resume(sweep: &mut Sweep<'_>, writer: &Writer, lines: &[Line]) -> Result<(), Failure> {
    let path = writer.path().display();
    for line in lines {
        sweep.take(line).map_err(|why| Failure::usage(format!("{path} does not fit its header: {why}")))?;
    }
    let Some(first) = lines.iter().find(|line| line.trial.error.is_none()) else { return Ok(()) };
    let again = try_seed(&Quiet(&sweep.parts[first.part].experiment), first.trial.seed);
    if again.hash != first.trial.hash {
        return Err(Failure::usage(format!(
            "{path} was written by another state of the program: seed {} gives another run now. Its results and new ones do \
             not belong together: give another file with --out, or remove this one",
            first.trial.seed
        )));
    }
    Ok(())
}

/// Runs all that is missing; each run is written as soon as it is done.
pub(crate) fn carry_on(
    sweep: &mut Sweep<'_>,
    mut writer: Option<&mut Writer>,
    limits: Limits,
    show_progress: bool,
) -> Result<Ended, Failure> {
    let jobs = sweep.missing();
    let bar = bar(sweep, show_progress);
    let listening = Listening::begin();
    let began = Instant::now();
    // Nothing that was begun is thrown away: who sees one of these begins no further run.
    let (late, broken) = (AtomicBool::new(false), AtomicBool::new(false));
    let mut failed: Option<Failure> = None;
    let Sweep { parts, summaries, .. } = sweep;
    let mut failures: u64 = summaries.iter().map(|summary| failing(summary).len() as u64).sum();
    let run = |&(part, seed): &(usize, u64)| {
        if limits.time.is_some_and(|time| began.elapsed() >= time) {
            late.store(true, Ordering::Relaxed);
        }
        if late.load(Ordering::Relaxed) || broken.load(Ordering::Relaxed) || listening.is_interrupted() {
            return None;
        }
        Some(Line { part, trial: try_seed(&Quiet(&parts[part].experiment), seed) })
    };
    on_all_cores(&jobs, limits.workers, run, |_, line| {
        let Some(Line { part, trial }) = line else { return ControlFlow::Continue(()) };
        failures += u64::from(!trial.failures.is_empty() || trial.error.is_some());
        let line = Line { part, trial: slim(trial, &summaries[part]) };
        summaries[part].add(&line.trial);
        if let Some(writer) = writer.as_deref_mut()
            && let Err(error) = writer.add(&line)
        {
            failed.get_or_insert(error);
            broken.store(true, Ordering::Relaxed);
        }
        bar.inc(1);
        if failures > 0 {
            bar.set_message(format!("{failures} failed"));
        }
        ControlFlow::Continue(())
    });
    bar.finish_and_clear();
    match failed {
        Some(failure) => Err(failure),
        None if listening.is_interrupted() => Ok(Ended::Interrupted),
        None if late.load(Ordering::Relaxed) => Ok(Ended::OutOfTime),
        None => Ok(Ended::Whole),
    }
}

fn bar(sweep: &Sweep<'_>, wanted: bool) -> ProgressBar {
    if !wanted {
        return ProgressBar::hidden();
    }
    let template = "{bar:24} {human_pos} of {human_len} runs  {per_sec:.1}  {eta} left  {msg}";
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = ProgressBar::new(sweep.planned()).with_style(style).with_position(sweep.runs());
    bar.reset_eta();
    bar
}
