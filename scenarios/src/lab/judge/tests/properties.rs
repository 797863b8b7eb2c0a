//! Judging named properties: what a broken variant violates, and what must hold.

use sim_core::{record::Recording, time::secs};

use super::{super::Judgement, STORY, told};
use crate::{
    lab::{
        LabEntry,
        verdict::{Expected, VerdictKind},
    },
    measure::testing::RecordingBuilder,
    prelude::*,
};

const LOST: &str = "nothing is lost";
const ORDER: &str = "all comes in order";
const HEALED: &str = "it heals";

/// A lab whose broken variant loses something under every seed, and mixes up the order under some.
#[derive(Clone, Copy, Serialize, Deserialize, JsonSchema)]
struct Careful {
    /// Whether it is careful.
    careful: bool,
}

impl Lab for Careful {
    const ABOUT: About = About { until: secs(10), ..About::NONE };
    fn variants() -> Variants<Self> {
        let hasty = Self { careful: false };
        let breaks = misses("few are late").violates(LOST).violates_in(1, 2, ORDER);
        Variants::broken("hasty", hasty, breaks)
            .fixed("careful", Self { careful: true })
            .control("half", hasty)
    }
    fn build(self, _: &mut Sim) {}
    fn expect() -> Expectations {
        Expectations::new().goal("few are late", |run| run.count("late").at_most(10))
    }
}

/// A run in which so many of ten checks passed: of nothing lost, of the order, of the healing.
fn checked(late: f64, [lost, order, healed]: [u64; 3]) -> Recording {
    let run = RecordingBuilder::lasting(10_000).counter("shop", "late", &[(5, late)]);
    run.always(LOST, 10, lost).always(ORDER, 10, order).always(HEALED, 10, healed).done()
}

fn judge_careful(runs: &[(&'static str, Recording)]) -> Judgement {
    let runs: Vec<(&str, &Recording)> = runs.iter().map(|(name, recording)| (*name, recording)).collect();
    LabEntry::of::<Careful>("storage", "careful", STORY).judge(&runs).unwrap()
}

#[test]
fn a_broken_variant_violates_the_properties_that_it_names_and_a_fixed_one_none() {
    let half = checked(50.0, [10, 9, 10]);
    let fine = [
        ("hasty", checked(50.0, [9, 10, 10])),
        ("careful", checked(0.0, [10, 10, 10])),
        ("half", half.clone()),
    ];
    let judgement = judge_careful(&fine);
    assert!(judgement.as_expected(), "{judgement:#?}");
    assert_eq!(told(&judgement, "hasty", LOST), (Expected::Missed, false, true));
    assert_eq!(told(&judgement, "hasty", ORDER), (Expected::Either, true, true));
    // A control may violate what it likes; that it does is told.
    assert_eq!(told(&judgement, "half", ORDER), (Expected::Either, false, true));
    let properties = |variant: usize| {
        let all = judgement.variants[variant].verdicts.iter();
        all.filter(|one| one.kind == VerdictKind::Property).count()
    };
    assert_eq!((properties(0), properties(1), properties(2)), (2, 0, 1), "what simply holds is not told");

    // One that is named must be violated; one that is not named must hold.
    let mut whole = fine.clone();
    whole[0].1 = checked(50.0, [10, 10, 10]);
    assert_eq!(told(&judge_careful(&whole), "hasty", LOST), (Expected::Missed, true, false));
    whole[0].1 = checked(50.0, [9, 10, 9]);
    let judgement = judge_careful(&whole);
    assert_eq!(told(&judgement, "hasty", HEALED), (Expected::Met, false, false));
    assert!(!judgement.as_expected());
    let verdict = judgement.verdicts().find(|one| one.name == HEALED).unwrap();
    assert_eq!(verdict.bound, "holds");
    assert!(verdict.measured.contains("9 of 10 checks, first not at"), "{}", verdict.measured);

    let mut leaking = fine;
    leaking[1].1 = checked(0.0, [9, 10, 10]);
    assert_eq!(told(&judge_careful(&leaking), "careful", LOST), (Expected::Met, false, false));
}

#[test]
fn a_property_that_nobody_checked_did_not_hold_and_one_that_only_others_checked_is_an_error() {
    let silent = RecordingBuilder::lasting(10_000).counter("shop", "late", &[(5, 0.0)]);
    let lossy = || ("hasty", checked(50.0, [9, 9, 10]));
    let judgement = judge_careful(&[lossy(), ("careful", silent.done())]);
    for name in [LOST, ORDER, HEALED] {
        assert_eq!(told(&judgement, "careful", name), (Expected::Met, false, false));
    }
    let error = judgement.variants[1].verdicts[0].error.as_deref().unwrap();
    assert!(
        error.contains("no property `nothing is lost`") && error.contains("another variant did"),
        "{error}"
    );

    let never = RecordingBuilder::lasting(10_000).counter("shop", "late", &[(5, 0.0)]);
    let never = never.always(LOST, 0, 0).always(ORDER, 10, 10).always(HEALED, 10, 10).done();
    let judgement = judge_careful(&[lossy(), ("careful", never)]);
    assert_eq!(told(&judgement, "careful", LOST), (Expected::Met, false, false));

    // The broken one must have checked what it violates.
    let silent = RecordingBuilder::lasting(10_000).counter("shop", "late", &[(5, 50.0)]).done();
    let judgement = judge_careful(&[("hasty", silent)]);
    assert_eq!(told(&judgement, "hasty", LOST), (Expected::Missed, false, false));
}

#[test]
fn violations_by_chance_are_counted_over_seeds() {
    let lab = LabEntry::of::<Careful>("storage", "careful", STORY);
    assert_eq!(lab.seeds_needed(), 16);
    let over = |orders: [u64; 4]| {
        let judgements = orders.map(|order| judge_careful(&[("hasty", checked(50.0, [9, order, 10]))]));
        let verdicts = lab.judge_over_seeds(&judgements);
        assert_eq!(verdicts.len(), 1);
        (verdicts[0].measured.clone(), verdicts[0].as_expected)
    };
    assert_eq!(over([9, 10, 9, 10]), ("violated in 2 of 4 seeds".to_owned(), true));
    assert_eq!(over([10, 10, 9, 10]), ("violated in 1 of 4 seeds".to_owned(), false));
}
