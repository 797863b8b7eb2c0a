//! The catalogue's view of a lab: the same type for all of them.
//!
//! A lab's own type is known here alone. Everybody else (command line, tests, reports) sees a [`LabEntry`]: its story, its
//! knobs, its variants, the plan of a run, the run itself, and the judgement.

use std::{fmt, marker::PhantomData};

use serde::Serialize;
use sim_core::{
    Sim,
    fault::FaultPlan,
    plan::Plan,
    record::{Recording, RecordingLevel},
};

use super::{
    About, Expectations, Lab,
    expectations::Under,
    knobs::{self, KnobError, Knobs, shown},
    nearest::{did_you_mean, nearest},
    story::Story,
    variants::{Misses, Variant, VariantKind},
};

/// Why a lab cannot be planned, run or judged as asked.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
pub enum LabError {
    /// There is no such variant.
    #[error("the lab `{lab}` has no variant `{name}`; its variants are {}{}", known.join(", "), did_you_mean(nearest.as_deref()))]
    UnknownVariant {
        /// The lab.
        lab: String,
        /// What was asked for.
        name: String,
        /// The nearest variant.
        nearest: Option<String>,
        /// All variants.
        known: Vec<String>,
    },
    /// A knob cannot be set like that.
    #[error(transparent)]
    Knob(#[from] KnobError),
    /// The plan is one of another lab.
    #[error("the plan is of the scenario `{plan}`, not of `{lab}`")]
    OtherScenario {
        /// The lab that was asked.
        lab: String,
        /// What the plan says.
        plan: String,
    },
    /// The world refused the plan.
    #[error("the plan cannot be run: {0}")]
    Plan(String),
    /// One variant was given twice, or a case does not exist.
    #[error("{0}")]
    Misuse(String),
}

/// There is no such lab.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("there is no lab `{name}`; `list` shows all {count}{}", did_you_mean(nearest.as_deref()))]
pub struct UnknownLab {
    /// What was asked for.
    pub name: String,
    /// The nearest lab.
    pub nearest: Option<String>,
    /// How many labs there are.
    pub count: usize,
}

/// A variant, as the catalogue shows it.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct VariantEntry {
    /// Its name.
    pub name: &'static str,
    /// What it is in the lesson.
    pub kind: VariantKind,
    /// The knobs in which it differs from the first variant: `fill=single-flight`.
    pub changes: Vec<String>,
    /// The goals that it misses, at least under some seeds.
    pub misses: Vec<&'static str>,
}

/// A claim under other circumstances, as the tests see it: plan it, run it, judge it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct CaseEntry {
    /// Which one: the argument of [`LabEntry::case_plan`] and [`LabEntry::judge_case`].
    pub index: usize,
    /// The claim.
    pub name: &'static str,
    /// The variant.
    pub variant: &'static str,
    /// What is different: `hold=0s`, `no faults`.
    pub circumstances: Vec<String>,
}

/// A variant without its lab's type.
pub(super) struct ErasedVariant {
    pub(super) name: &'static str,
    pub(super) kind: VariantKind,
    pub(super) misses: Misses,
    pub(super) knobs: Result<toml::Table, KnobError>,
    faults: FaultPlan,
}

/// What needs the lab's own type. All else works on tables, so that a hundred labs are compiled once.
trait Erased: Send + Sync {
    fn about(&self) -> About;
    fn knobs(&self) -> Result<Knobs, KnobError>;
    fn variants(&self) -> Vec<ErasedVariant>;
    /// The table as the struct writes it: `2000` becomes `2000.0`.
    fn canonical(&self, knobs: &toml::Table) -> Result<toml::Table, KnobError>;
    fn faults(&self, knobs: &toml::Table) -> Result<FaultPlan, KnobError>;
    fn build(&self, knobs: &toml::Table, sim: &mut Sim) -> Result<(), KnobError>;
    fn expect(&self) -> Expectations;
}

struct Typed<L>(PhantomData<fn() -> L>);

impl<L: Lab> Erased for Typed<L> {
    fn about(&self) -> About {
        L::ABOUT
    }
    fn knobs(&self) -> Result<Knobs, KnobError> {
        let variants = L::variants().0;
        let first = variants.first().ok_or_else(|| KnobError::Malformed {
            path: "variants".to_owned(),
            reason: "a lab has at least one variant".to_owned(),
        })?;
        Knobs::of(&first.value)
    }
    fn variants(&self) -> Vec<ErasedVariant> {
        let erased = |one: Variant<L>| ErasedVariant {
            name: one.name,
            kind: one.kind,
            misses: one.misses,
            knobs: knobs::table(&one.value),
            faults: one.value.faults(),
        };
        L::variants().0.into_iter().map(erased).collect()
    }
    fn canonical(&self, table: &toml::Table) -> Result<toml::Table, KnobError> {
        knobs::table(&knobs::read::<L>(table)?)
    }
    fn faults(&self, table: &toml::Table) -> Result<FaultPlan, KnobError> {
        Ok(knobs::read::<L>(table)?.faults())
    }
    fn build(&self, table: &toml::Table, sim: &mut Sim) -> Result<(), KnobError> {
        knobs::read::<L>(table)?.build(sim);
        Ok(())
    }
    fn expect(&self) -> Expectations {
        L::expect()
    }
}

/// See the module.
pub struct LabEntry {
    name: String,
    shelf: &'static str,
    about: About,
    story: Story,
    lab: Box<dyn Erased>,
    pub(super) expectations: Expectations,
}

impl fmt::Debug for LabEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LabEntry")
            .field("name", &self.name)
            .field("shelf", &self.shelf)
            .finish_non_exhaustive()
    }
}

impl LabEntry {
    /// The entry of a lab: the shelf it stands on, the name of its module, and the text of its file. Called by
    /// [`shelf!`](crate::shelf).
    pub fn of<L: Lab>(shelf: &'static str, module: &str, source: &str) -> Self {
        let lab = Box::new(Typed::<L>(PhantomData));
        Self {
            name: module.replace('_', "-"),
            shelf,
            about: lab.about(),
            story: Story::of_source(source),
            expectations: lab.expect(),
            lab,
        }
    }
    /// The name on the command line: `thundering-herd`.
    pub fn name(&self) -> &str {
        &self.name
    }
    /// The shelf: `caching`.
    pub fn shelf(&self) -> &'static str {
        self.shelf
    }
    /// The title: `Thundering herd`.
    pub fn title(&self) -> &str {
        &self.story.title
    }
    /// Weeks, modules, path, length.
    pub fn about(&self) -> About {
        self.about
    }
    /// The story, with its questions.
    pub fn story(&self) -> &Story {
        &self.story
    }
    /// The knobs, with the first variant's values.
    ///
    /// # Errors
    /// When the struct has a field that is no knob: an error of the lab.
    pub fn knobs(&self) -> Result<Knobs, LabError> {
        Ok(self.lab.knobs()?)
    }
    pub(super) fn erased_variants(&self) -> Vec<ErasedVariant> {
        self.lab.variants()
    }
    /// The variants; the first is the reference.
    pub fn variants(&self) -> Vec<VariantEntry> {
        let all = self.erased_variants();
        let knobs = |one: &ErasedVariant| one.knobs.clone().unwrap_or_default();
        let first = all.first().map(&knobs).unwrap_or_default();
        let entry = |one: &ErasedVariant| {
            let own = knobs(one);
            let changed = own.iter().filter(|(name, value)| first.get(*name) != Some(value));
            let gone =
                first.keys().filter(|name| !own.contains_key(*name)).map(|name| format!("{name}=none"));
            VariantEntry {
                name: one.name,
                kind: one.kind,
                changes: changed
                    .map(|(name, value)| format!("{name}={}", shown(value)))
                    .chain(gone)
                    .collect(),
                misses: one.misses.goals.iter().map(|miss| miss.0).collect(),
            }
        };
        all.iter().map(entry).collect()
    }
    pub(super) fn variant(&self, name: &str) -> Result<ErasedVariant, LabError> {
        let all = self.erased_variants();
        let known: Vec<String> = all.iter().map(|one| one.name.to_owned()).collect();
        all.into_iter().find(|one| one.name == name).ok_or_else(|| LabError::UnknownVariant {
            lab: self.name.clone(),
            name: name.to_owned(),
            nearest: nearest(name, known.iter().map(String::as_str)).map(str::to_owned),
            known,
        })
    }
    /// How much must be recorded for the lab's expectations.
    pub fn level(&self) -> RecordingLevel {
        self.expectations.level()
    }

    // ---- planning and running ----

    /// The plan of a run: a variant, a seed, and knobs set otherwise (`ttl=500ms`).
    ///
    /// # Errors
    /// When there is no such variant or knob, or a knob cannot have that value.
    pub fn plan(&self, variant: &str, seed: u64, sets: &[String]) -> Result<Plan, LabError> {
        let mut table = self.variant(variant)?.knobs?;
        let knobs = self.knobs()?;
        for assignment in sets {
            knobs.set(&mut table, assignment)?;
        }
        knobs.check(&table)?;
        let table = self.lab.canonical(&table)?;
        let mut plan = Plan::new(&*self.name, seed, self.about.until).with_faults(self.lab.faults(&table)?);
        plan.variant = variant.to_owned();
        plan.knobs = table;
        Ok(plan)
    }
    /// Runs a plan. The plan alone decides: its knobs, its faults, its seed, its end.
    ///
    /// # Errors
    /// When the plan is of another lab, its knobs are not this lab's, or the world refuses it.
    pub fn run(&self, plan: &Plan, level: RecordingLevel) -> Result<Recording, LabError> {
        if plan.scenario != self.name {
            return Err(LabError::OtherScenario { lab: self.name.clone(), plan: plan.scenario.clone() });
        }
        self.knobs()?.check(&plan.knobs)?;
        let mut sim = Sim::new(plan, level);
        self.lab.build(&plan.knobs, &mut sim)?;
        sim.run().map_err(|error| LabError::Plan(error.to_string()))
    }
    /// The names of all nodes of a plan's world and of their services, in order of creation.
    ///
    /// # Errors
    /// When the plan's knobs are not this lab's.
    pub fn roster(&self, plan: &Plan) -> Result<Vec<(String, String)>, LabError> {
        self.knobs()?.check(&plan.knobs)?;
        let mut sim = Sim::new(plan, RecordingLevel::Essential);
        self.lab.build(&plan.knobs, &mut sim)?;
        Ok(sim.roster())
    }
    /// The names of variants whose faults differ from the first one's, with its name: all variants run under the same
    /// faults, or their diff is not the lesson.
    ///
    /// # Errors
    /// A sentence that names them.
    pub fn same_faults(&self) -> Result<(), String> {
        let all = self.erased_variants();
        let Some(first) = all.first() else { return Ok(()) };
        let others: Vec<&str> =
            all.iter().filter(|one| one.faults != first.faults).map(|one| one.name).collect();
        if others.is_empty() {
            return Ok(());
        }
        Err(format!("{}: the faults of {} differ from those of {}", self.name, others.join(", "), first.name))
    }

    // ---- claims under other circumstances ----

    fn under(&self) -> impl Iterator<Item = (&Under, &'static str)> {
        self.expectations.under.iter().flat_map(|one| one.variants.iter().map(move |&variant| (one, variant)))
    }
    pub(super) fn case(&self, index: usize) -> Result<(&Under, &'static str), LabError> {
        let count = self.under().count();
        self.under().nth(index).ok_or_else(|| {
            LabError::Misuse(format!(
                "`{}` has {count} claims under other circumstances, none with index {index}",
                self.name
            ))
        })
    }
    /// The claims under other circumstances, one entry for each variant.
    pub fn cases(&self) -> Vec<CaseEntry> {
        let entry = |(index, (one, variant)): (usize, (&Under, &'static str))| {
            let sets = one.circumstances.sets.iter().map(|set| (*set).to_owned());
            let faults = one.circumstances.without_faults.then(|| "no faults".to_owned());
            CaseEntry { index, name: one.name, variant, circumstances: sets.chain(faults).collect() }
        };
        self.under().enumerate().map(entry).collect()
    }
    /// The plan of such a claim.
    ///
    /// # Errors
    /// When there is no such case, or its knobs cannot be set: an error of the lab.
    pub fn case_plan(&self, index: usize, seed: u64) -> Result<Plan, LabError> {
        let (under, variant) = self.case(index)?;
        let sets: Vec<String> = under.circumstances.sets.iter().map(|set| (*set).to_owned()).collect();
        let plan = self.plan(variant, seed, &sets)?;
        Ok(if under.circumstances.without_faults { plan.with_faults(FaultPlan::none()) } else { plan })
    }

    // ---- the lab's own mistakes ----

    /// What is wrong with the lab itself: names that mean nothing, variants that miss no goal, a story without questions.
    /// Empty for a good one; a test asks all of them.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = self.story.problems();
        let all = self.erased_variants();
        let names: Vec<&str> = all.iter().map(|one| one.name).collect();
        let expectations = &self.expectations;
        let goals: Vec<&super::expectations::Single> =
            expectations.singles.iter().filter(|one| one.is_goal).collect();
        for (i, variant) in all.iter().enumerate() {
            let name = variant.name;
            if !is_kebab(name) {
                problems.push(format!("the variant `{name}` is not written like-this"));
            }
            if names[..i].contains(&name) {
                problems.push(format!("there are two variants `{name}`"));
            }
            if variant.kind == VariantKind::Broken && variant.misses.goals.is_empty() {
                problems.push(format!("the broken variant `{name}` misses no goal"));
            }
            for (goal, _) in &variant.misses.goals {
                if !goals.iter().any(|one| one.name == *goal && one.is_about(name)) {
                    let near = did_you_mean(nearest(goal, goals.iter().map(|one| one.name)));
                    problems
                        .push(format!("the variant `{name}` misses `{goal}`, which is no goal of it{near}"));
                }
            }
            if let Err(error) = self.plan(name, 0, &[]) {
                problems.push(format!("the variant `{name}` has no plan: {error}"));
            }
        }
        match self.knobs() {
            Ok(knobs) => problems.extend(knobs.problems()),
            Err(error) => problems.push(error.to_string()),
        }
        if goals.is_empty() {
            problems.push("the lab has no goal".to_owned());
        }
        for goal in expectations.shows.iter().flat_map(|show| &show.goals) {
            if !goals.iter().any(|one| one.name == *goal) {
                let near = did_you_mean(nearest(goal, goals.iter().map(|one| one.name)));
                problems.push(format!("a trace is shown for `{goal}`, which is no goal{near}"));
            }
        }
        let mut said: Vec<&str> = expectations.names().collect();
        said.sort_unstable();
        for pair in said.windows(2).filter(|pair| pair[0] == pair[1]) {
            problems.push(format!("two expectations have the name `{}`", pair[0]));
        }
        for name in expectations.variants_named().filter(|name| !names.contains(name)) {
            let near = did_you_mean(nearest(name, names.iter().copied()));
            problems
                .push(format!("an expectation is about the variant `{name}`, which does not exist{near}"));
        }
        for case in self.cases().iter().filter(|case| names.contains(&case.variant)) {
            if let Err(error) = self.case_plan(case.index, 0) {
                problems.push(format!("the claim `{}` has no plan: {error}", case.name));
            }
        }
        problems.extend(self.same_faults().err());
        problems
    }
}

/// Lower-case words and numbers, joined by single dashes.
pub(super) fn is_kebab(name: &str) -> bool {
    let word =
        |word: &str| !word.is_empty() && word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    name.split('-').all(word)
}

/// The lab of that name among these.
///
/// # Errors
/// When there is none; names the nearest.
pub fn find_in<'l>(labs: &'l [LabEntry], name: &str) -> Result<&'l LabEntry, UnknownLab> {
    labs.iter().find(|lab| lab.name == name).ok_or_else(|| UnknownLab {
        name: name.to_owned(),
        nearest: nearest(name, labs.iter().map(LabEntry::name)).map(str::to_owned),
        count: labs.len(),
    })
}

/// Declares a shelf: the modules of its labs, in teaching order, each with the lab's type.
///
/// ```text
/// shelf! { "caching":
///     cache_dies::CacheDies,
///     thundering_herd::ThunderingHerd,
/// }
/// ```
///
/// It makes `pub mod cache_dies;` and so on, and `pub fn labs()` for the catalogue.
#[macro_export]
macro_rules! shelf {
    ($shelf:literal: $($module:ident :: $lab:ident),* $(,)?) => {
        $(pub mod $module;)*

        /// The labs of this shelf, in teaching order.
        pub fn labs() -> Vec<$crate::lab::LabEntry> {
            vec![$($crate::lab::LabEntry::of::<$module::$lab>(
                $shelf,
                stringify!($module),
                include_str!(concat!(stringify!($module), ".rs")),
            )),*]
        }
    };
}
