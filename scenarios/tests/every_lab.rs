//! Every lab of the catalogue does what its file says, under many seeds.
//!
//! Goal: a fixed variant meets all goals and its properties hold, a broken one misses and violates exactly what it names, each
//! claim and comparison holds, each figure can be measured, every fault changes something, and what is said of many seeds
//! together (averages, "in one seed of five") comes out.
//! Method: all variants run under each seed, each run is recorded as much as the lab's expectations read, and the lab judges.

use rayon::prelude::*;
use scenarios::{
    catalogue,
    lab::{Judgement, LabEntry},
};

/// How many seeds each lab runs under. A variant of which more is said runs under more, alone.
const SEEDS: u32 = 16;

fn judged(lab: &LabEntry, seed: u64) -> Judgement {
    let level = lab.level();
    let run = |variant: &'static str| {
        let plan = lab.plan(variant, seed, &[]).expect("the lab's own plan");
        (variant, lab.run(&plan, level).expect("a plan of the lab can be run"))
    };
    let needs = |variant: &str| u64::from(SEEDS.max(lab.seeds_needed_of(variant)));
    let variants = lab.variants().into_iter().filter(|variant| seed <= needs(variant.name));
    let runs: Vec<_> = variants.map(|variant| run(variant.name)).collect();
    let runs: Vec<_> = runs.iter().map(|(variant, recording)| (*variant, recording)).collect();
    lab.judge(&runs).expect("runs of the lab's own variants")
}

/// What did not come as expected, in words.
fn surprises(lab: &LabEntry, seeds: u32) -> Vec<String> {
    let judgements: Vec<Judgement> =
        (1..=u64::from(seeds)).into_par_iter().map(|seed| judged(lab, seed)).collect();
    let mut surprises = Vec::new();
    let told = |seed: &str, verdict: &scenarios::lab::Verdict| {
        let (name, variants) = (&verdict.name, verdict.variants.join(", "));
        let error = verdict.error.as_deref().unwrap_or("");
        format!(
            "{} {seed} {variants}: {name}: {} against {} {error}",
            lab.name(),
            verdict.measured,
            verdict.bound
        )
    };
    for judgement in &judgements {
        let seed = format!("--seed {}", judgement.seed);
        let unexpected =
            judgement.verdicts().filter(|one| !one.as_expected || one.asked && one.error.is_some());
        surprises.extend(unexpected.map(|one| told(&seed, one)));
        for variant in &judgement.variants {
            let idle = |fault| {
                format!("{} {seed} {}: the fault `{fault}` changed nothing", lab.name(), variant.variant)
            };
            surprises.extend(variant.untouched.iter().map(idle));
        }
    }
    let together = lab.judge_over_seeds(&judgements);
    surprises.extend(together.iter().filter(|one| !one.as_expected).map(|one| told("over seeds", one)));
    surprises
}

fn nothing_surprises(seeds: u32) {
    let all: Vec<String> =
        catalogue().iter().flat_map(|lab| surprises(lab, seeds.max(lab.seeds_needed()))).collect();
    assert!(all.is_empty(), "{}", all.join("\n"));
}

#[test]
fn every_lab_does_what_its_story_says() {
    nothing_surprises(SEEDS);
}

#[test]
fn every_lab_has_a_variant_that_breaks_and_one_that_does_not() {
    use scenarios::lab::variants::VariantKind;
    for lab in catalogue() {
        let kinds: Vec<VariantKind> = lab.variants().iter().map(|variant| variant.kind).collect();
        assert!(
            kinds.contains(&VariantKind::Broken) && kinds.contains(&VariantKind::Fixed),
            "{}",
            lab.name()
        );
        assert_eq!(lab.same_faults(), Ok(()));
    }
}
