//! Holds runs against a lab's expectations.

use sim_core::{
    plan::Plan,
    record::{Ending, Recording},
};

use super::{
    LabEntry, LabError,
    expectations::Single,
    registry::ErasedVariant,
    variants::{Chance, VariantKind},
    verdict::{Expected, FigureRow, FigureValue, Judgement, Taken, VariantJudgement, Verdict, VerdictKind},
};
use crate::measure::{Check, Measures, Run, Shown};

/// How many seeds chance is counted over, for each seed of its denominator: "1 in 5" wants at least 40.
const SEEDS_PER_CHANCE: u32 = 8;

struct Judged<'r> {
    variant: ErasedVariant,
    recording: &'r Recording,
    run: Run<'r>,
    altered: Vec<String>,
}

impl LabEntry {
    /// Judges the runs of one seed: `(variant, recording)` for all variants, or for some.
    ///
    /// # Errors
    /// When a variant does not exist or is given twice.
    pub fn judge(&self, runs: &[(&str, &Recording)]) -> Result<Judgement, LabError> {
        let mut judged: Vec<Judged> = Vec::new();
        for (i, (name, recording)) in runs.iter().enumerate() {
            if runs[..i].iter().any(|(other, _)| other == name) {
                return Err(LabError::Misuse(format!("the variant `{name}` is to be judged twice")));
            }
            let others = runs.iter().enumerate().filter(|(j, _)| *j != i).map(|(_, (_, other))| *other);
            judged.push(Judged {
                variant: self.variant(name)?,
                recording,
                run: Run::among(recording, others.collect()),
                altered: self.altered(name, recording),
            });
        }
        Ok(Judgement {
            lab: self.name().to_owned(),
            seed: runs.first().map_or(0, |(_, recording)| recording.origin.seed),
            comparisons: self.comparisons(&judged),
            figures: self.figures(&judged),
            taken: self.taken(&judged),
            variants: judged.into_iter().map(|one| self.judge_variant(one)).collect(),
        })
    }

    /// How a run differs from the lab's own plan for that variant. The order of equal events may be another one: what is
    /// true under every seed is true in every order.
    fn altered(&self, variant: &str, recording: &Recording) -> Vec<String> {
        if recording.origin.plan.is_empty() {
            return Vec::new();
        }
        let plan = toml::from_str::<Plan>(&recording.origin.plan);
        let own = self.plan(variant, recording.origin.seed, &[]);
        let (Ok(plan), Ok(own)) = (plan, own) else { return vec!["plan".to_owned()] };
        let differences = [
            ("knobs", plan.knobs != own.knobs),
            ("faults", plan.faults != own.faults),
            ("overrides", plan.overrides != own.overrides),
            ("until", plan.until != own.until),
        ];
        differences.into_iter().filter(|one| one.1).map(|one| one.0.to_owned()).collect()
    }

    fn judge_variant(&self, one: Judged) -> VariantJudgement {
        let Judged { variant, recording, run, altered } = one;
        let strict = altered.is_empty();
        let mut verdicts: Vec<Verdict> = run_verdicts(variant.name, recording, strict).collect();
        let asked = |single: &Single| single.is_about(variant.name);
        for single in self.expectations.singles.iter().filter(|single| single.is_goal || asked(single)) {
            let missed = variant.misses.0.iter().find(|miss| single.is_goal && miss.0 == single.name);
            let (kind, expected, chance) = match (single.is_goal, missed) {
                (true, Some((_, None))) => (VerdictKind::Goal, Expected::Missed, None),
                (true, Some((_, Some(chance)))) => (VerdictKind::Goal, Expected::Either, Some(*chance)),
                (true, None) if variant.kind == VariantKind::Control => {
                    (VerdictKind::Goal, Expected::Either, None)
                }
                (true, None) => (VerdictKind::Goal, Expected::Met, None),
                (false, _) if single.chance.is_some() => {
                    (VerdictKind::Claim, Expected::Either, single.chance)
                }
                (false, _) => (VerdictKind::Claim, Expected::Met, None),
            };
            let (about, strict) = (vec![variant.name.to_owned()], strict && asked(single));
            let check = (single.look)(&run);
            let asked = asked(single);
            verdicts.push(Verdict {
                asked,
                ..verdict(single.name, kind, about, expected, chance, strict, check)
            });
        }
        let untouched = recording.faults.iter().filter(|fault| !fault.had_effect());
        VariantJudgement {
            variant: variant.name.to_owned(),
            kind: variant.kind,
            altered,
            verdicts,
            untouched: untouched.map(|fault| fault.name.clone()).collect(),
        }
    }

    /// The trace in which the first missed goal can be seen that the lab has one for. Of a run with all its spans.
    pub fn shown(&self, judged: &VariantJudgement, recording: &Recording) -> Option<Shown> {
        let missed = |verdict: &&Verdict| {
            verdict.kind == VerdictKind::Goal && verdict.asked && !verdict.met && verdict.error.is_none()
        };
        let run = Run::new(recording);
        let picks = |goal: &Verdict| {
            let mut shows = self.expectations.shows.iter();
            shows.find(|one| one.goals.contains(&goal.name.as_str())).and_then(|one| (one.pick)(&run))
        };
        judged.verdicts.iter().filter(missed).find_map(picks)
    }

    fn comparisons(&self, judged: &[Judged]) -> Vec<Verdict> {
        let find = |name: &str| judged.iter().find(|one| one.variant.name == name);
        let mut verdicts = Vec::new();
        for comparison in &self.expectations.comparisons {
            for first in &comparison.first {
                let (Some(a), Some(b)) = (find(first), find(comparison.second)) else { continue };
                let strict = a.altered.is_empty() && b.altered.is_empty();
                let expected = if comparison.chance.is_some() { Expected::Either } else { Expected::Met };
                let about = vec![a.variant.name.to_owned(), b.variant.name.to_owned()];
                let check = (comparison.look)(&a.run, &b.run);
                let kind = VerdictKind::Comparison;
                verdicts.push(verdict(
                    comparison.name,
                    kind,
                    about,
                    expected,
                    comparison.chance,
                    strict,
                    check,
                ));
            }
        }
        verdicts
    }

    fn figures(&self, judged: &[Judged]) -> Vec<FigureRow> {
        let value = |one: &Judged, take: &dyn Fn(&Run<'_>) -> crate::measure::Measure| {
            let measure = take(&one.run);
            let result = measure.value();
            FigureValue {
                variant: one.variant.name.to_owned(),
                text: if result.is_ok() { measure.to_string() } else { "-".to_owned() },
                value: result.as_ref().ok().copied().filter(|value| value.is_finite()),
                unit: measure.unit(),
                error: result.err().map(|error| error.to_string()),
            }
        };
        let row = |figure: &super::expectations::Figure| FigureRow {
            name: figure.name.clone().into_owned(),
            values: judged.iter().map(|one| value(one, &*figure.take)).collect(),
        };
        self.expectations.figures.iter().map(row).collect()
    }

    fn taken(&self, judged: &[Judged]) -> Vec<Taken> {
        let mut taken = Vec::new();
        for over in &self.expectations.over_seeds {
            for one in judged
                .iter()
                .filter(|one| over.variants.contains(&one.variant.name) && one.altered.is_empty())
            {
                taken.push(Taken {
                    name: over.name,
                    variant: one.variant.name,
                    measures: (over.take)(&one.run),
                });
            }
        }
        taken
    }

    // ---- over seeds ----

    /// How many seeds the tests must run so that every claim about averages and chances can be judged; 0 where there is none.
    pub fn seeds_needed(&self) -> u32 {
        let averages = self.expectations.over_seeds.iter().map(|over| over.seeds);
        let claims = self.expectations.singles.iter().filter_map(|single| single.chance);
        let comparisons = self.expectations.comparisons.iter().filter_map(|comparison| comparison.chance);
        let missed: Vec<Chance> = self
            .erased_variants()
            .into_iter()
            .flat_map(|variant| variant.misses.0.into_iter().filter_map(|miss| miss.1))
            .collect();
        let chances =
            claims.chain(comparisons).chain(missed).map(|chance| chance.of.saturating_mul(SEEDS_PER_CHANCE));
        averages.chain(chances).max().unwrap_or(0)
    }

    /// Judges what is said of many seeds together, from the judgements of as many seeds as [`LabEntry::seeds_needed`] says:
    /// averages, and how often chance came out.
    pub fn judge_over_seeds(&self, judgements: &[Judgement]) -> Vec<Verdict> {
        let mut verdicts = self.averages(judgements);
        verdicts.extend(chances(judgements));
        verdicts
    }

    fn averages(&self, judgements: &[Judgement]) -> Vec<Verdict> {
        let mut verdicts = Vec::new();
        for over in &self.expectations.over_seeds {
            for variant in &over.variants {
                let taken = judgements.iter().flat_map(|judgement| &judgement.taken);
                let mut runs = 0_u32;
                let mut all: Option<Measures> = None;
                for one in taken.filter(|one| one.name == over.name && one.variant == *variant) {
                    runs += 1;
                    let measures = one.measures.clone();
                    all = Some(match all {
                        Some(so_far) => so_far.and(measures),
                        None => measures,
                    });
                }
                let about = vec![(*variant).to_owned()];
                let check = match all {
                    Some(all) if runs >= over.seeds => (over.look)(&all),
                    _ => Check {
                        measured: format!("{runs} seeds"),
                        bound: format!("{} seeds", over.seeds),
                        met: Err(crate::measure::MeasureError::Impossible(format!(
                            "this needs {} seeds, {runs} were run",
                            over.seeds
                        ))),
                        value: None,
                    },
                };
                verdicts.push(verdict(
                    over.name,
                    VerdictKind::OverSeeds,
                    about,
                    Expected::Met,
                    None,
                    true,
                    check,
                ));
            }
        }
        verdicts
    }

    // ---- under other circumstances ----

    /// Judges the run of a claim under other circumstances; see [`LabEntry::cases`].
    ///
    /// # Errors
    /// When there is no such case.
    pub fn judge_case(&self, index: usize, recording: &Recording) -> Result<Verdict, LabError> {
        let (under, variant) = self.case(index)?;
        let (about, check) = (vec![variant.to_owned()], (under.look)(&Run::new(recording)));
        Ok(verdict(under.name, VerdictKind::Claim, about, Expected::Met, None, true, check))
    }
}

/// What every run promises, where it does not keep it.
fn run_verdicts(variant: &str, recording: &Recording, strict: bool) -> impl Iterator<Item = Verdict> + use<> {
    let panicked = match &recording.ending {
        Ending::Panicked { node, message } => Some((
            "no node panics",
            Check {
                measured: format!("{node} panicked at {}: {message}", recording.ended),
                bound: "no panic".to_owned(),
                met: Ok(false),
                value: None,
            },
            true, // a panic is a violation in whatever plan
        )),
        _ => None,
    };
    let planned = recording.faults.len();
    let idle = planned > 0 && recording.faults.iter().all(|fault| !fault.had_effect());
    let idle = idle.then(|| {
        let check = Check {
            measured: format!("none of {planned} faults changed anything"),
            bound: "at least one does".to_owned(),
            met: Ok(false),
            value: None,
        };
        ("the faults take hold", check, strict)
    });
    let variant = variant.to_owned();
    panicked.into_iter().chain(idle).map(move |(name, check, strict)| {
        verdict(name, VerdictKind::Run, vec![variant.clone()], Expected::Met, None, strict, check)
    })
}

/// `strict` where the run is the lab's own; otherwise nothing is expected of it, not even that it can be measured.
fn verdict(
    name: &str,
    kind: VerdictKind,
    variants: Vec<String>,
    expected: Expected,
    chance: Option<Chance>,
    strict: bool,
    check: Check,
) -> Verdict {
    let Check { measured, bound, met, value } = check;
    let expected = if strict { expected } else { Expected::Either };
    let as_expected = match (expected, &met) {
        (_, Err(_)) => !strict,
        (Expected::Met, Ok(met)) => *met,
        (Expected::Missed, Ok(met)) => !met,
        (Expected::Either, Ok(_)) => true,
    };
    Verdict {
        name: name.to_owned(),
        kind,
        variants,
        asked: true,
        expected,
        met: met == Ok(true),
        as_expected,
        measured,
        bound,
        value,
        chance,
        error: met.err().map(|error| error.to_string()),
    }
}

/// Counts, for everything that chance decides, in how many seeds it came out.
fn chances(judgements: &[Judgement]) -> Vec<Verdict> {
    // What is counted, in the order of its first appearance: (verdict, seeds, how often).
    let mut counts: Vec<(&Verdict, u32, u32)> = Vec::new();
    let strict = |judgement: &Judgement, verdict: &Verdict| {
        let altered = |name: &String| {
            judgement.variants.iter().any(|one| one.variant == *name && !one.altered.is_empty())
        };
        !verdict.variants.iter().any(altered)
    };
    for judgement in judgements {
        for verdict in
            judgement.verdicts().filter(|verdict| verdict.chance.is_some() && strict(judgement, verdict))
        {
            let happened = match verdict.kind {
                VerdictKind::Goal => !verdict.met && verdict.error.is_none(),
                _ => verdict.met,
            };
            let same = |one: &&mut (&Verdict, u32, u32)| {
                one.0.name == verdict.name && one.0.kind == verdict.kind && one.0.variants == verdict.variants
            };
            match counts.iter_mut().find(same) {
                Some(one) => (one.1, one.2) = (one.1 + 1, one.2 + u32::from(happened)),
                None => counts.push((verdict, 1, u32::from(happened))),
            }
        }
    }
    let counted = counts.into_iter().filter_map(|(one, seeds, count)| {
        let (chance, word) = (one.chance?, if one.kind == VerdictKind::Goal { "missed" } else { "met" });
        let met = chance.is_met_by(count, seeds);
        Some(Verdict {
            name: one.name.clone(),
            kind: VerdictKind::OverSeeds,
            variants: one.variants.clone(),
            asked: true,
            expected: Expected::Met,
            met,
            as_expected: met,
            measured: format!("{word} in {count} of {seeds} seeds"),
            bound: format!("{word} in {chance}"),
            value: Some(f64::from(count)),
            chance: Some(chance),
            error: None,
        })
    });
    counted.collect()
}

#[cfg(test)]
mod tests;
