//! Runs of one lab under one seed, judged together.

use std::{
    cmp::Reverse,
    collections::BTreeMap,
    time::{Duration as WallTime, Instant},
};

use scenarios::lab::{
    Judgement, LabEntry, LabError, Verdict,
    verdict::{VariantJudgement, VerdictKind},
};
use scenarios::measure::Shown;
use sim_core::{
    plan::Plan,
    record::{Hash256, Recording, RecordingLevel, SpanStatus, TraceId},
    time::{Duration, SimTime},
};
use viz::terminal::number;

use crate::{
    asked::Asked,
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
    /// The trace that is worth opening, and why; none where nothing was traced.
    pub(crate) worst: Option<Shown>,
}

/// All runs of a command.
#[derive(Debug)]
pub(crate) struct Session<'l> {
    pub(crate) lab: &'l LabEntry,
    pub(crate) seed: u64,
    pub(crate) asked: Asked,
    pub(crate) outcomes: Vec<Outcome>,
    pub(crate) judgement: Judgement,
    /// How long the runs themselves took, without judging and showing.
    pub(crate) wall: WallTime,
}

impl<'l> Session<'l> {
    /// Runs plans of different variants of a lab, all under the same seed, and judges them.
    pub(crate) fn run(
        lab: &'l LabEntry,
        plans: Vec<Plan>,
        asked: Asked,
        show_progress: bool,
    ) -> Result<Self, Failure> {
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
            outcomes.push(Outcome { hash: recording.hash(), plan, recording, worst: None });
        }
        let judgement = judge(lab, &outcomes)?;
        for outcome in &mut outcomes {
            let judged = judgement.variants.iter().find(|one| one.variant == outcome.plan.variant);
            let shown = judged.and_then(|judged| lab.shown(judged, &outcome.recording));
            outcome.worst = shown.or_else(|| outcome.longest_trace());
        }
        Ok(Self { lab, seed, asked, outcomes, judgement, wall })
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
    /// Groups of variants whose plans are the same in all but the name: what was set made them equal.
    pub(crate) fn equal_variants(&self) -> Vec<Vec<&str>> {
        let mut groups: Vec<Vec<&Outcome>> = Vec::new();
        for outcome in &self.outcomes {
            let plan = |one: &Outcome| Plan { variant: String::new(), ..one.plan.clone() };
            match groups.iter_mut().find(|group| plan(group[0]) == plan(outcome)) {
                Some(group) => group.push(outcome),
                None => groups.push(vec![outcome]),
            }
        }
        let equal = groups.into_iter().filter(|group| group.len() > 1);
        equal.map(|group| group.into_iter().map(Outcome::variant).collect()).collect()
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

/// From when to when a trace lasts, over all of its spans.
struct Extent {
    start: SimTime,
    end: SimTime,
    failed: bool,
}

impl Outcome {
    pub(crate) fn variant(&self) -> &str {
        &self.plan.variant
    }
    /// The trace that is worth opening where the lab names none: the one that lasts longest, from its first span to the end of its last (work that
    /// goes on when the caller has given up counts), of equal ones one that failed, then the earliest. Tasks that serve for
    /// as long as the run lasts are slow by nature: they are taken only where there is nothing else.
    fn longest_trace(&self) -> Option<Shown> {
        let run = self.recording.ended.since_start();
        let mut traces: BTreeMap<u32, Extent> = BTreeMap::new();
        for span in &self.recording.spans {
            let end = span.end.min(self.recording.ended).max(span.start);
            let failed = matches!(span.status, SpanStatus::Error(_));
            let extent = traces.entry(span.trace).or_insert(Extent { start: span.start, end, failed });
            extent.start = extent.start.min(span.start);
            extent.end = extent.end.max(end);
            extent.failed |= failed;
        }
        let count = traces.len();
        let worst = traces.into_iter().max_by_key(|(trace, extent)| {
            let lasted = extent.end.since(extent.start);
            let ordinary = lasted < run / 10 * 9;
            (ordinary, lasted, extent.failed, Reverse(*trace))
        });
        let why = match count {
            1 => "the only one".to_owned(),
            n => format!("the longest of {} traces", number(n as f64)),
        };
        worst.map(|(trace, _)| Shown { trace, why })
    }
    pub(crate) fn worst_trace_id(&self) -> Option<TraceId> {
        self.worst.as_ref().map(|shown| self.recording.trace_id(shown.trace))
    }
}

/// Whether a verdict is about what a good system does.
pub(crate) fn is_goal(verdict: &Verdict) -> bool {
    verdict.kind == VerdictKind::Goal
}

#[cfg(test)]
mod tests {
    use scenarios::{lab::verdict::Expected, prelude::*};

    use sim_core::record::{Name, NodeIndex, Recording, Span, SpanIndex, SpanKind};

    use super::*;

    fn verdict(as_expected: bool, error: Option<&str>) -> Verdict {
        Verdict {
            name: "a claim".to_owned(),
            kind: VerdictKind::Claim,
            variants: vec!["naive".to_owned()],
            asked: true,
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

    /// A run of 10 s with these spans: (trace, from, to) in milliseconds.
    fn outcome(spans: &[(u32, u64, u64)]) -> Outcome {
        let at = |millis: u64| SimTime::ZERO + ms(millis);
        let span = |&(trace, from, to): &(u32, u64, u64)| Span {
            trace,
            parent: SpanIndex::NONE,
            node: NodeIndex(0),
            name: Name::EMPTY,
            kind: SpanKind::Internal,
            status: SpanStatus::Unset,
            start: at(from),
            end: at(to),
            clock_offset: 0,
            cut_short: false,
        };
        let spans = spans.iter().map(span).collect();
        let recording = Recording { spans, ended: at(10_000), ..Recording::default() };
        Outcome { plan: Plan::new("x", 1, secs(10)), hash: recording.hash(), recording, worst: None }
    }
    fn longest(spans: &[(u32, u64, u64)]) -> Option<u32> {
        outcome(spans).longest_trace().map(|shown| shown.trace)
    }

    #[test]
    fn without_a_word_of_the_lab_the_worst_trace_lasts_longest_over_all_of_its_spans() {
        // Trace 1: sent at 5 ms, handled at 105 ms. Trace 3 serves for the whole run. Trace 4 is as long as trace 1.
        let spans = [(0, 0, 50), (1, 5, 5), (1, 105, 105), (2, 7, 60), (3, 0, 10_000), (4, 200, 300)];
        assert_eq!(longest(&spans), Some(1));
        assert_eq!(longest(&spans[4..5]), Some(3));
        assert_eq!(longest(&[]), None);
        assert_eq!(outcome(&spans).longest_trace().unwrap().why, "the longest of 5 traces");
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
