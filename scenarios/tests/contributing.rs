//! The lab that CONTRIBUTING.md shows is a lab: it compiles, it is well formed, it does what it says, and its goals bite.

use scenarios::lab::LabEntry;
use sim_core::record::RecordingLevel;

/// What `crate` is on a shelf.
mod prelude {
    pub use scenarios::prelude::*;
}

#[path = "contributing/ask_two.rs"]
mod ask_two;

const SOURCE: &str = include_str!("contributing/ask_two.rs");

fn lab() -> LabEntry {
    LabEntry::of::<ask_two::AskTwo>("foundations", "ask_two", SOURCE)
}

#[test]
fn what_is_shown_is_what_is_tested() {
    let text = include_str!("../../CONTRIBUTING.md");
    let (_, rest) = text.split_once("```rust\n").expect("it shows Rust code");
    let (shown, _) = rest.split_once("```").expect("the code has an end");
    assert!(
        shown == SOURCE,
        "CONTRIBUTING.md shows another text than scenarios/tests/contributing/ask_two.rs"
    );
}

#[test]
fn the_lab_that_is_shown_does_what_it_says() {
    let lab = lab();
    assert_eq!(lab.problems(), Vec::<String>::new());
    for seed in 1..=8 {
        let runs = ["patient", "impatient"].map(|variant| {
            let plan = lab.plan(variant, seed, &[]).unwrap();
            (variant, lab.run(&plan, RecordingLevel::Full).unwrap())
        });
        let judgement = lab.judge(&runs.each_ref().map(|(name, recording)| (*name, recording))).unwrap();
        assert!(judgement.as_expected(), "{judgement:#?}");
        assert!(judgement.variants.iter().all(|one| one.untouched.is_empty()));
    }
}

#[test]
fn who_has_no_patience_is_not_answered_and_a_goal_says_so() {
    let lab = lab();
    let plan = lab.plan("impatient", 1, &["patience=2ms".to_owned()]).unwrap();
    let recording = lab.run(&plan, RecordingLevel::Full).unwrap();
    let judgement = lab.judge(&[("impatient", &recording)]).unwrap();
    let met = |name: &str| judgement.verdicts().find(|verdict| verdict.name == name).unwrap().met;
    // All give up quickly, and nobody has an answer.
    assert!(met("each answer within 100 ms") && !met("every question is answered"));
    assert_eq!(judgement.variants[0].altered, ["knobs"]);
}
