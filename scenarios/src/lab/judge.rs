//! Holds runs against a lab's expectations.

use sim_core::{
    plan::Plan,
    record::{Ending, Recording},
};

use super::{
    LabEntry, LabError,
    registry::ErasedVariant,
    variants::{Chance, Named, VariantKind},
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
        // A name that no run has is misspelt, if they are the lab's own: what was set may have made them all equal.
        let all_own = runs.iter().all(|(name, recording)| self.altered(name, recording).is_empty());
        for (i, (name, recording)) in runs.iter().enumerate() {
            if runs[..i].iter().any(|(other, _)| other == name) {
                return Err(LabError::Misuse(format!("the variant `{name}` is to be judged twice")));
            }
            let others =
                runs.iter().enumerate().filter(|(j, _)| all_own && *j != i).map(|(_, (_, other))| *other);
            judged.push(Judged {
                variant: self.variant(name)?,
                recording,
                run: Run::among(recording, others.collect()),
                altered: self.altered(name, recording),
            });
        }
        let figures = self.figures(&judged);
        Ok(Judgement {
            lab: self.name().to_owned(),
            seed: runs.first().map_or(0, |(_, recording)| recording.origin.seed),
            comparisons: self.comparisons(&judged),
            taken: self.taken(&judged),
            variants: judged.iter().map(|one| self.judge_variant(one, &judged, &figures)).collect(),
            figures,
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

    /// What is to be said of a run that is not the lab's own. One that ends elsewhere deserves a sentence of its own: its
    /// figures look like the others and are of another time.
    fn note(&self, one: &Judged<'_>) -> Option<String> {
        let others: Vec<&str> =
            one.altered.iter().map(String::as_str).filter(|what| *what != "until").collect();
        let mut note = String::new();
        if others.len() < one.altered.len() {
            let (own, end) = (self.about().until, one.run.end().since_start());
            let what =
                if end < own { "what comes later is in no figure" } else { "figures are of all of it" };
            note = format!("This run is planned to end at {end} and the lab's own at {own}: {what}. ");
        }
        match others.as_slice() {
            [] if note.is_empty() => return None,
            [] => {}
            ["plan"] => note.push_str("Its plan cannot be read. "),
            ["knobs"] => note.push_str("Its knobs are not the lab's own. "),
            all => note.push_str(&format!("Its {} are not the lab's own. ", all.join(" and "))),
        }
        Some(note + "So nothing is expected of it.")
    }

    fn judge_variant(&self, one: &Judged<'_>, all: &[Judged<'_>], figures: &[FigureRow]) -> VariantJudgement {
        let Judged { variant, recording, run, altered } = one;
        let strict = altered.is_empty();
        let mut verdicts: Vec<Verdict> = run_verdicts(variant.name, recording, strict).collect();
        verdicts.extend(unmeasured(variant.name, figures, strict));
        verdicts.extend(properties(one, all));
        for single in &self.expectations.singles {
            let asked = single.is_about(variant.name);
            if !asked && !single.is_goal {
                continue;
            }
            let (kind, (wanted, chance)) = if single.is_goal {
                (VerdictKind::Goal, expected(variant, &variant.misses.goals, single.name))
            } else if single.chance.is_some() {
                (VerdictKind::Claim, (Expected::Either, single.chance))
            } else {
                (VerdictKind::Claim, (Expected::Met, None))
            };
            let about = vec![variant.name.to_owned()];
            let check = (single.look)(run);
            verdicts.push(Verdict {
                asked,
                ..verdict(single.name, kind, about, wanted, chance, strict && asked, check)
            });
        }
        let untouched = recording.faults.iter().filter(|fault| !fault.had_effect());
        VariantJudgement {
            variant: variant.name.to_owned(),
            kind: variant.kind,
            altered: altered.clone(),
            note: self.note(one),
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
        let value = |one: &Judged, figure: &super::expectations::Figure| {
            let (measure, variant) = ((figure.take)(&one.run), one.variant.name.to_owned());
            if figure.variants.as_ref().is_some_and(|names| !names.contains(&one.variant.name)) {
                let (text, unit) = ("-".to_owned(), measure.unit());
                return FigureValue { variant, text, value: None, unit, error: None };
            }
            let result = measure.value();
            FigureValue {
                variant,
                text: if result.is_ok() { measure.to_string() } else { "?".to_owned() },
                value: result.as_ref().ok().copied().filter(|value| value.is_finite()),
                unit: measure.unit(),
                error: result.err().map(|error| error.to_string()),
            }
        };
        let row = |figure: &super::expectations::Figure| FigureRow {
            name: figure.name.clone().into_owned(),
            values: judged.iter().map(|one| value(one, figure)).collect(),
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
        self.variants().iter().map(|variant| self.seeds_needed_of(variant.name)).max().unwrap_or(0)
    }
    /// The same of one variant: what is said of the others needs no run of it.
    pub fn seeds_needed_of(&self, variant: &str) -> u32 {
        let all = &self.expectations;
        let averages = all.over_seeds.iter().filter(|over| over.variants.contains(&variant));
        let claims =
            all.singles.iter().filter(|single| single.is_about(variant)).filter_map(|one| one.chance);
        let compared =
            |one: &&super::expectations::Comparison| one.second == variant || one.first.contains(&variant);
        let comparisons = all.comparisons.iter().filter(compared).filter_map(|one| one.chance);
        let own = self.erased_variants().into_iter().filter(|one| one.name == variant);
        let named = own.flat_map(|one| one.misses.goals.into_iter().chain(one.misses.properties));
        let chances = claims.chain(comparisons).chain(named.filter_map(|one| one.1));
        let chances = chances.map(|chance| chance.of.saturating_mul(SEEDS_PER_CHANCE));
        averages.map(|over| over.seeds).chain(chances).max().unwrap_or(0)
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

/// What is expected of a variant's goal, or of its property, by what it names.
fn expected(variant: &ErasedVariant, named: &[Named], name: &str) -> (Expected, Option<Chance>) {
    match named.iter().find(|one| one.0 == name) {
        Some((_, None)) => (Expected::Missed, None),
        Some((_, Some(chance))) => (Expected::Either, Some(*chance)),
        None if variant.kind == VariantKind::Control => (Expected::Either, None),
        None => (Expected::Met, None),
    }
}

/// Figures that are asked of a variant and could not be measured: silence proves nothing.
fn unmeasured(variant: &str, figures: &[FigureRow], strict: bool) -> impl Iterator<Item = Verdict> {
    let values = figures.iter().flat_map(move |row| {
        row.values.iter().filter(move |value| value.variant == variant).map(move |value| (row, value))
    });
    values.filter_map(move |(row, value)| {
        let error = value.error.clone()?;
        let check = Check {
            measured: "not measured".to_owned(),
            bound: "a number".to_owned(),
            met: Err(crate::measure::MeasureError::Impossible(error)),
            value: None,
        };
        let (name, about) = (format!("the figure `{}`", row.name), vec![variant.to_owned()]);
        Some(verdict(&name, VerdictKind::Run, about, Expected::Met, None, strict, check))
    })
}

/// The properties of a run that did not hold, or that should not have. One that only another variant checked is an error, as
/// whatever was never recorded is. Those that hold, as they should, are not told one by one.
fn properties(one: &Judged<'_>, all: &[Judged<'_>]) -> Vec<Verdict> {
    let strict = one.altered.is_empty();
    let named = &one.variant.misses.properties;
    let own = one.recording.properties.iter();
    let others = all.iter().filter(|other| strict && other.altered.is_empty());
    let others = others.flat_map(|other| &other.recording.properties);
    let mut names: Vec<&str> = Vec::new();
    for name in own.chain(others).map(|property| &*property.name).chain(named.iter().map(|one| one.0)) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let judge = |name: &str| {
        let (expected, chance) = expected(&one.variant, named, name);
        let about = vec![one.variant.name.to_owned()];
        let mut check = one.run.property(name);
        // The verdict has the statement in its name.
        if let Some(rest) = check.measured.strip_prefix(&format!("{name}: ")) {
            check.measured = rest.to_owned();
        }
        verdict(name, VerdictKind::Property, about, expected, chance, strict, check)
    };
    let is_told = |verdict: &Verdict| !verdict.met || named.iter().any(|one| one.0 == verdict.name);
    names.into_iter().map(judge).filter(is_told).collect()
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
                VerdictKind::Goal | VerdictKind::Property => !verdict.met && verdict.error.is_none(),
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
        let word = match one.kind {
            VerdictKind::Goal => "missed",
            VerdictKind::Property => "violated",
            _ => "met",
        };
        let chance = one.chance?;
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
