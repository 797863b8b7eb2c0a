//! Whether a sweep came out as the lab expects.
//!
//! Under the lab's own knobs and faults: a variant fails by nothing but the goals and properties that it names, and those it
//! misses in every run. Where chance decides ("in at least 1 of 5 seeds") it is counted once there are eight times as many
//! runs. Under other knobs, faults from a file or priorities of messages, what the variant names may fail and need not.
//! Under drawn faults any failure counts. While a knob is swept, goals and claims are what is measured, and only violated
//! properties count.

use std::collections::BTreeMap;

use scenarios::lab::{
    experiment::Expectation,
    variants::{Chance, VariantKind},
    verdict::Expected,
};
use sim_core::search::sweep::{Group, Summary};

use super::{Part, Sweep};
use crate::failure::Status;

/// How many runs chance is counted over, for each seed of its denominator.
const RUNS_PER_CHANCE: u64 = 8;

/// What was not as expected in one part.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// Sentences.
    pub(crate) wrong: Vec<String>,
    /// What could not be measured.
    pub(crate) unknown: Vec<String>,
}

impl Verdict {
    pub(crate) fn is_as_expected(&self) -> bool {
        self.wrong.is_empty() && self.unknown.is_empty()
    }
}

/// The verdict on a part.
pub(crate) fn verdict(sweep: &Sweep<'_>, part: &Part<'_>, summary: &Summary) -> Verdict {
    let expected = part.experiment.expected();
    let rules = Rules {
        own: sweep.header.settings.are_the_labs_own() && sweep.header.range.is_none(),
        any: sweep.header.settings.explore.draws_faults(),
        measured_only: sweep.header.range.is_some(),
        control: part.experiment.kind() == VariantKind::Control,
    };
    let mut verdict = judge(&rules, &expected, &summary.failures(), summary.runs());
    let mut errors: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for (seed, error) in summary.errors() {
        errors.entry(error).or_insert((*seed, 0)).1 += 1;
    }
    for (error, (seed, count)) in errors {
        verdict.wrong.push(match count {
            1 => format!("seed {seed} could not be run: {error}"),
            _ => format!("seed {seed} and {} more could not be run: {error}", count - 1),
        });
    }
    verdict
}

/// What a whole sweep comes to: what is plainly wrong decides, then what could not be measured or is not whole.
pub(crate) fn status(sweep: &Sweep<'_>, interrupted: bool) -> Status {
    let verdicts: Vec<Verdict> = sweep.known().map(|(part, summary)| verdict(sweep, part, summary)).collect();
    if verdicts.iter().any(|verdict| !verdict.wrong.is_empty()) {
        Status::NotAsExpected
    } else if interrupted || verdicts.iter().any(|verdict| !verdict.unknown.is_empty()) {
        Status::Unknown
    } else {
        Status::AsExpected
    }
}

/// What counts.
struct Rules {
    own: bool,
    any: bool,
    measured_only: bool,
    control: bool,
}

fn judge(rules: &Rules, expected: &[Expectation], groups: &[Group], runs: u64) -> Verdict {
    let mut verdict = Verdict::default();
    let class = |group: &Group| match group.kind.as_str() {
        "goal" => "goal",
        "claim" => "claim",
        _ => "property",
    };
    for group in groups {
        let told = format!("{}: in {} of {runs} runs", group.fingerprint, group.count);
        if group.kind == "not measured" {
            if rules.own || rules.any {
                verdict.unknown.push(told);
            }
            continue;
        }
        let class = class(group);
        let of = expected.iter().find(|one| one.name == group.property && one.kind == class);
        let named = match of {
            Some(one) => one.expected != Expected::Met,
            // Properties that nobody names: a control may violate them, all others keep them.
            None => rules.control && group.kind != "panic",
        };
        let measured = rules.measured_only && class != "property";
        if rules.any || !(named || measured) {
            verdict.wrong.push(told);
        }
    }
    if !rules.own || runs == 0 {
        return verdict;
    }
    let count = |one: &Expectation| -> u64 {
        let same = |group: &&Group| {
            group.property == one.name && class(group) == one.kind && group.kind != "not measured"
        };
        groups.iter().filter(same).map(|group| group.count).sum()
    };
    for one in expected {
        let missed = count(one);
        let (name, kind) = (&one.name, one.kind);
        if one.expected == Expected::Missed && missed < runs {
            verdict.wrong.push(format!(
                "{name} ({kind}): this variant should miss it, and met it in {} of {runs} runs",
                runs - missed
            ));
        }
        if let Some(chance @ Chance { of, .. }) = one.chance
            && runs >= u64::from(of) * RUNS_PER_CHANCE
        {
            let (word, happened) = if kind == "claim" { ("true", runs - missed) } else { ("missed", missed) };
            if !chance
                .is_met_by(happened.min(u64::from(u32::MAX)) as u32, runs.min(u64::from(u32::MAX)) as u32)
            {
                verdict
                    .wrong
                    .push(format!("{name} ({kind}): {word} in {happened} of {runs} runs; wanted: {chance}"));
            }
        }
    }
    verdict
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: Rules = Rules { own: true, any: false, measured_only: false, control: false };

    fn group(property: &str, kind: &str, count: u64) -> Group {
        Group {
            fingerprint: format!("{property} ({kind})"),
            property: property.to_owned(),
            kind: kind.to_owned(),
            roles: Vec::new(),
            count,
            seeds: (0..count).collect(),
        }
    }
    fn expectation(name: &str, kind: &'static str, expected: Expected) -> Expectation {
        Expectation { name: name.to_owned(), kind, expected, chance: None }
    }

    #[test]
    fn a_named_goal_is_missed_in_every_run() {
        let expected =
            [expectation("quick", "goal", Expected::Missed), expectation("kept", "goal", Expected::Met)];
        assert!(judge(&OWN, &expected, &[group("quick", "goal", 10)], 10).is_as_expected());
        let wrong = |groups: &[Group]| judge(&OWN, &expected, groups, 10).wrong;
        assert_eq!(
            wrong(&[group("quick", "goal", 7)]),
            ["quick (goal): this variant should miss it, and met it in 3 of 10 runs"]
        );
        assert_eq!(
            wrong(&[group("quick", "goal", 10), group("kept", "goal", 1)]),
            ["kept (goal): in 1 of 10 runs"]
        );
        // A property of the same name is another thing.
        assert_eq!(wrong(&[group("quick", "goal", 10), group("quick", "always", 2)]).len(), 1);
        // Under other knobs it may be met, but nothing else may be missed.
        let other = Rules { own: false, ..OWN };
        assert!(judge(&other, &expected, &[group("quick", "goal", 7)], 10).is_as_expected());
        assert_eq!(judge(&other, &expected, &[group("kept", "goal", 7)], 10).wrong.len(), 1);
    }

    #[test]
    fn chance_is_counted_over_enough_runs() {
        let chance = Some(Chance { at_least: 1, of: 5 });
        let expected = [Expectation { chance, ..expectation("whole", "goal", Expected::Either) }];
        let wrong = |count, runs| judge(&OWN, &expected, &[group("whole", "goal", count)], runs).wrong;
        assert!(wrong(1, 39).is_empty(), "too few runs to say");
        assert!(wrong(8, 40).is_empty());
        assert_eq!(wrong(7, 40), ["whole (goal): missed in 7 of 40 runs; wanted: at least 1 in 5 seeds"]);
    }

    #[test]
    fn under_drawn_faults_any_failure_counts_and_on_a_sweep_of_a_knob_only_properties() {
        let expected = [expectation("quick", "goal", Expected::Missed)];
        let drawn = Rules { own: false, any: true, ..OWN };
        assert_eq!(judge(&drawn, &expected, &[group("quick", "goal", 1)], 10).wrong.len(), 1);
        assert!(judge(&drawn, &expected, &[], 10).is_as_expected());
        let knob = Rules { own: false, measured_only: true, ..OWN };
        let groups = [group("slow", "claim", 1), group("one leader", "always", 1)];
        assert_eq!(judge(&knob, &expected, &groups, 10).wrong, ["one leader (always): in 1 of 10 runs"]);
    }

    #[test]
    fn what_could_not_be_measured_is_unknown() {
        let verdict = judge(&OWN, &[], &[group("quick", "not measured", 2)], 10);
        assert_eq!((verdict.wrong.len(), verdict.unknown.len()), (0, 1));
    }

    #[test]
    fn a_control_may_violate_properties_but_not_panic() {
        let control = Rules { control: true, ..OWN };
        assert!(judge(&control, &[], &[group("one leader", "always", 1)], 10).is_as_expected());
        assert_eq!(judge(&control, &[], &[group("no code panics", "panic", 1)], 10).wrong.len(), 1);
    }
}
