//! Runs of one lab under one seed, judged together.

use std::time::{Duration as WallTime, Instant};

use scenarios::lab::{
    Judgement, LabEntry, LabError, Verdict,
    verdict::{VariantJudgement, VerdictKind},
};
use sim_core::{
    plan::Plan,
    record::{Hash256, Recording, RecordingLevel, TraceId},
    time::Duration,
};
use viz::terminal::{worst_trace, worst_trace_where};

use crate::{
    failure::{Failure, Status},
    panics::caught,
    progress::Progress,
};

/// One variant's run.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) plan: Plan,
    pub(crate) recording: Recording,
    pub(crate) hash: Hash256,
}

/// All runs of a command.
#[derive(Debug)]
pub(crate) struct Session<'l> {
    pub(crate) lab: &'l LabEntry,
    pub(crate) seed: u64,
    pub(crate) outcomes: Vec<Outcome>,
    pub(crate) judgement: Judgement,
    /// How long the runs themselves took, without judging and showing.
    pub(crate) wall: WallTime,
}

impl<'l> Session<'l> {
    /// Runs plans of different variants of a lab, all under the same seed, and judges them.
    pub(crate) fn run(lab: &'l LabEntry, plans: Vec<Plan>, show_progress: bool) -> Result<Self, Failure> {
        let progress = Progress::of(plans.len(), show_progress);
        let seed = plans.first().map_or(0, |plan| plan.seed);
        let mut wall = WallTime::ZERO;
        let mut outcomes = Vec::with_capacity(plans.len());
        for plan in plans {
            progress.next(&plan.variant);
            let began = Instant::now();
            let recording = caught(|| lab.run(&plan, RecordingLevel::Full)).map_err(|message| {
                let (lab, variant) = (lab.name(), &plan.variant);
                Failure::Lab(format!("the lab `{lab}` panicked while it set up `{variant}`: {message}"))
            })??;
            wall += began.elapsed();
            outcomes.push(Outcome { hash: recording.hash(), plan, recording });
        }
        let judgement = judge(lab, &outcomes)?;
        Ok(Self { lab, seed, outcomes, judgement, wall })
    }
    /// The judgement of a run.
    pub(crate) fn judged(&self, outcome: &Outcome) -> Option<&VariantJudgement> {
        self.judgement.variants.iter().find(|one| one.variant == outcome.plan.variant)
    }
    /// What was expected of a run: its own verdicts, and the comparisons that begin with it.
    pub(crate) fn verdicts<'s>(&'s self, outcome: &'s Outcome) -> impl Iterator<Item = &'s Verdict> {
        let own = self.judged(outcome).into_iter().flat_map(|one| &one.verdicts);
        let begins = |one: &&Verdict| one.variants.first() == Some(&outcome.plan.variant);
        own.chain(self.judgement.comparisons.iter().filter(begins))
    }
    pub(crate) fn status(&self) -> Status {
        status(&self.judgement)
    }
    /// Spans of all runs.
    pub(crate) fn spans(&self) -> u64 {
        self.outcomes.iter().map(|outcome| outcome.recording.spans.len() as u64).sum()
    }
    pub(crate) fn events(&self) -> u64 {
        self.outcomes.iter().map(|outcome| outcome.recording.events).sum()
    }
    pub(crate) fn virtual_time(&self) -> Duration {
        self.outcomes.iter().map(|outcome| outcome.recording.ended.since_start()).sum()
    }
}

fn judge(lab: &LabEntry, outcomes: &[Outcome]) -> Result<Judgement, LabError> {
    let runs: Vec<(&str, &Recording)> =
        outcomes.iter().map(|one| (one.plan.variant.as_str(), &one.recording)).collect();
    lab.judge(&runs)
}

/// What the verdicts come to: one that is plainly wrong decides; then one that could not be judged.
fn status(judgement: &Judgement) -> Status {
    let mut status = Status::AsExpected;
    for verdict in judgement.verdicts().filter(|verdict| !verdict.as_expected) {
        if verdict.error.is_none() {
            return Status::NotAsExpected;
        }
        status = Status::Unknown;
    }
    status
}

impl Outcome {
    pub(crate) fn variant(&self) -> &str {
        &self.plan.variant
    }
    /// The trace that is worth opening: the longest one that is not about the whole run.
    pub(crate) fn worst_trace(&self) -> Option<u32> {
        let recording = &self.recording;
        // A task that serves for as long as the run lasts is slow by nature.
        let most = recording.ended.since_start() / 10 * 9;
        let ordinary = worst_trace_where(recording, |span| {
            let end = if span.cut_short { recording.ended } else { span.end };
            end.since(span.start) < most
        });
        ordinary.or_else(|| worst_trace(recording))
    }
    pub(crate) fn worst_trace_id(&self) -> Option<TraceId> {
        self.worst_trace().map(|trace| self.recording.trace_id(trace))
    }
}

/// Whether a verdict is about what a good system does.
pub(crate) fn is_goal(verdict: &Verdict) -> bool {
    verdict.kind == VerdictKind::Goal
}

#[cfg(test)]
mod tests {
    use scenarios::{lab::verdict::Expected, prelude::*};

    use super::{LabEntry, Status, Verdict, VerdictKind, status};

    fn verdict(as_expected: bool, error: Option<&str>) -> Verdict {
        Verdict {
            name: "a claim".to_owned(),
            kind: VerdictKind::Claim,
            variants: vec!["naive".to_owned()],
            expected: Expected::Met,
            met: as_expected,
            as_expected,
            measured: String::new(),
            bound: String::new(),
            value: None,
            chance: None,
            error: error.map(str::to_owned),
        }
    }

    fn status_of(comparisons: Vec<Verdict>) -> Status {
        // Without runs: comparisons alone are enough to decide.
        let lab = LabEntry::of::<Nothing>("foundations", "nothing", "");
        let mut judgement = lab.judge(&[]).unwrap();
        judgement.comparisons = comparisons;
        status(&judgement)
    }

    #[derive(Clone, Copy, Serialize, Deserialize, JsonSchema)]
    struct Nothing {}
    impl Lab for Nothing {
        const ABOUT: About = About::NONE;
        fn variants() -> Variants<Self> {
            Variants::broken("naive", Self {}, misses("nothing"))
        }
        fn build(self, _: &mut Sim) {}
        fn expect() -> Expectations {
            Expectations::new()
        }
    }

    #[test]
    fn what_is_plainly_wrong_outweighs_what_could_not_be_judged() {
        assert_eq!(status_of(vec![verdict(true, None)]), Status::AsExpected);
        assert_eq!(status_of(vec![verdict(false, Some("out of budget"))]), Status::Unknown);
        assert_eq!(
            status_of(vec![verdict(false, Some("out of budget")), verdict(false, None)]),
            Status::NotAsExpected
        );
        // Of a run with other faults nothing is expected, not even that it can be judged.
        assert_eq!(status_of(vec![verdict(true, Some("out of budget"))]), Status::AsExpected);
    }
}
