//! Verdicts: what was expected, what happened, and whether the two agree.

use serde::Serialize;

use super::variants::{Chance, VariantKind};
use crate::measure::{Measures, Unit};

/// What kind of expectation was judged.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum VerdictKind {
    /// What a good system does.
    Goal,
    /// What the story says of a variant.
    Claim,
    /// What the story says of two variants under one seed.
    Comparison,
    /// What is said of many seeds together.
    OverSeeds,
    /// A named property that the nodes checked: `always`, `sometimes`, `eventually`.
    Property,
    /// What every run promises: no node panics, the faults take hold, and each figure can be measured.
    Run,
}

/// What was expected of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Expected {
    /// That it is met.
    Met,
    /// That it is missed.
    Missed,
    /// Nothing: a control's goal, a goal that is asked of other variants, a matter of chance, or a run with other knobs or faults than the lab's.
    Either,
}

/// One expectation, judged.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Verdict {
    /// The expectation's name.
    pub name: String,
    /// What kind it is.
    pub kind: VerdictKind,
    /// The variants that it is about: two for a comparison.
    pub variants: Vec<String>,
    /// Whether it is asked of them: other variants' goals are judged too, and nothing is expected.
    pub asked: bool,
    /// What was expected.
    pub expected: Expected,
    /// What happened.
    pub met: bool,
    /// Whether the two agree. An expectation that could not be measured never is as expected, unless it is not asked.
    pub as_expected: bool,
    /// What was measured, in words and numbers.
    pub measured: String,
    /// What it was held against.
    pub bound: String,
    /// The number, where it is a single one. Times are in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    /// How often it should happen over many seeds, where chance decides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chance: Option<Chance>,
    /// Why it could not be measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// One variant's run, judged.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct VariantJudgement {
    /// The variant.
    pub variant: String,
    /// What it is in the lesson.
    pub kind: VariantKind,
    /// How the run differs from the lab's own: `knobs`, `faults`, `overrides`, `until`. Then nothing is expected of it.
    pub altered: Vec<String>,
    /// The same in one or two sentences, for people: what is not the lab's own, and what that means for the figures.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// The verdicts: on the run as such, on properties that did not hold or should not have, and then in the order of the
    /// lab's expectations.
    pub verdicts: Vec<Verdict>,
    /// Faults of the plan that changed nothing: they prove nothing.
    pub untouched: Vec<String>,
}

/// A figure of one variant.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct FigureValue {
    /// The variant.
    pub variant: String,
    /// As it is shown; `-` where it is not asked of the variant, `?` where it could not be measured.
    pub text: String,
    /// The number, where it is finite. Times are in seconds.
    pub value: Option<f64>,
    /// The unit of the number.
    pub unit: Unit,
    /// Why it could not be measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// A figure, side by side for all variants.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct FigureRow {
    /// What is shown.
    pub name: String,
    /// For each variant, in their order.
    pub values: Vec<FigureValue>,
}

/// What a claim over seeds takes from one run: kept until all seeds have run.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Taken {
    pub(super) name: &'static str,
    pub(super) variant: &'static str,
    pub(super) measures: Measures,
}

/// The runs of one seed, judged.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Judgement {
    /// The lab.
    pub lab: String,
    /// The seed.
    pub seed: u64,
    /// Each variant that was run.
    pub variants: Vec<VariantJudgement>,
    /// Comparisons of those that were run.
    pub comparisons: Vec<Verdict>,
    /// The figures.
    pub figures: Vec<FigureRow>,
    #[serde(skip)]
    pub(super) taken: Vec<Taken>,
}

impl Judgement {
    /// All verdicts: of the variants, and the comparisons.
    pub fn verdicts(&self) -> impl Iterator<Item = &Verdict> {
        self.variants.iter().flat_map(|variant| &variant.verdicts).chain(&self.comparisons)
    }
    /// Whether everything came as expected.
    pub fn as_expected(&self) -> bool {
        self.verdicts().all(|verdict| verdict.as_expected)
    }
}
