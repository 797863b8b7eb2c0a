//! Expectations: what a lab's story says, in a form that each run can be held against.
//!
//! - A **goal** is what a good system does. Each fixed variant meets all goals; a broken one misses exactly those that it
//!   names and meets the others, since a variant that breaks for another reason than the one it names teaches nothing.
//! - A **claim** is what the story says of some variants. It is true under every seed, or in so many seeds of so many.
//! - A **comparison** holds two variants' runs under one seed against each other.
//! - Claims **over seeds** are about averages; the tests make those runs.
//! - A claim **under** other circumstances changes knobs or takes the faults away: "the loop and not the script".
//! - A **figure** is a number that is shown for all variants side by side. Nobody judges it, but a figure that cannot be
//!   measured is an error: one that makes no sense for a variant is asked of the others only.
//! - A trace to **show** is the one that a reader should open when a goal is missed: the request, write or message in which the
//!   break can be seen. Without one it is the trace that lasts longest.

use std::{borrow::Cow, ops::RangeBounds};

use sim_core::record::{Recording, RecordingLevel};

use super::variants::Chance;
use crate::measure::{Bounds, Check, Measure, Measures, Run, Shown};

/// Which variants, or goals, are meant: one name, or several in brackets.
pub trait VariantNames {
    /// The names.
    fn names(self) -> Vec<&'static str>;
}
impl VariantNames for &'static str {
    fn names(self) -> Vec<&'static str> {
        vec![self]
    }
}
impl<const N: usize> VariantNames for [&'static str; N] {
    fn names(self) -> Vec<&'static str> {
        self.to_vec()
    }
}
impl VariantNames for &[&'static str] {
    fn names(self) -> Vec<&'static str> {
        self.to_vec()
    }
}

/// Circumstances that differ from the lab's own: other knobs, no faults.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Circumstances {
    pub(super) sets: Vec<&'static str>,
    pub(super) without_faults: bool,
}

/// With one knob set otherwise: `with_knob("hold=0s")`.
pub fn with_knob(assignment: &'static str) -> Circumstances {
    Circumstances { sets: vec![assignment], without_faults: false }
}

/// With an empty fault plan.
pub fn without_faults() -> Circumstances {
    Circumstances { sets: Vec::new(), without_faults: true }
}

impl Circumstances {
    /// And one more knob set otherwise.
    pub fn with_knob(mut self, assignment: &'static str) -> Self {
        self.sets.push(assignment);
        self
    }
    /// And with an empty fault plan.
    pub fn without_faults(mut self) -> Self {
        self.without_faults = true;
        self
    }
}

type Look = Box<dyn Fn(&Run<'_>) -> Check + Send + Sync>;
type LookAtTwo = Box<dyn Fn(&Run<'_>, &Run<'_>) -> Check + Send + Sync>;
type TakeOne = Box<dyn Fn(&Run<'_>) -> Measure + Send + Sync>;
type TakeMany = Box<dyn Fn(&Run<'_>) -> Measures + Send + Sync>;
type Pick = Box<dyn Fn(&Run<'_>) -> Option<Shown> + Send + Sync>;
type LookAtMany = Box<dyn Fn(&Measures) -> Check + Send + Sync>;

/// A goal or a claim: something about one run.
pub(super) struct Single {
    pub(super) name: &'static str,
    pub(super) is_goal: bool,
    /// `None` for all.
    pub(super) variants: Option<Vec<&'static str>>,
    pub(super) chance: Option<Chance>,
    pub(super) look: Look,
}

impl Single {
    pub(super) fn is_about(&self, variant: &str) -> bool {
        self.variants.as_ref().is_none_or(|names| names.contains(&variant))
    }
}

pub(super) struct Comparison {
    pub(super) name: &'static str,
    pub(super) first: Vec<&'static str>,
    pub(super) second: &'static str,
    pub(super) chance: Option<Chance>,
    pub(super) look: LookAtTwo,
}

pub(super) struct OverSeeds {
    pub(super) name: &'static str,
    pub(super) variants: Vec<&'static str>,
    pub(super) seeds: u32,
    pub(super) take: TakeMany,
    pub(super) look: LookAtMany,
}

pub(super) struct Under {
    pub(super) name: &'static str,
    pub(super) circumstances: Circumstances,
    pub(super) variants: Vec<&'static str>,
    pub(super) look: Look,
}

pub(super) struct Figure {
    pub(super) name: Cow<'static, str>,
    /// `None` for all.
    pub(super) variants: Option<Vec<&'static str>>,
    pub(super) take: TakeOne,
}

pub(super) struct Show {
    pub(super) goals: Vec<&'static str>,
    pub(super) pick: Pick,
}

/// See the module.
pub struct Expectations {
    pub(super) singles: Vec<Single>,
    pub(super) comparisons: Vec<Comparison>,
    pub(super) over_seeds: Vec<OverSeeds>,
    pub(super) under: Vec<Under>,
    pub(super) figures: Vec<Figure>,
    pub(super) shows: Vec<Show>,
    /// The least level, where a lab says so itself.
    level: RecordingLevel,
}

impl Default for Expectations {
    fn default() -> Self {
        Self::new()
    }
}

impl Expectations {
    /// Nothing is expected yet.
    pub fn new() -> Self {
        Self {
            singles: Vec::new(),
            comparisons: Vec::new(),
            over_seeds: Vec::new(),
            under: Vec::new(),
            figures: Vec::new(),
            shows: Vec::new(),
            level: RecordingLevel::Essential,
        }
    }
    fn single(
        mut self,
        name: &'static str,
        is_goal: bool,
        variants: Option<Vec<&'static str>>,
        chance: Option<Chance>,
        look: impl Fn(&Run<'_>) -> Check + Send + Sync + 'static,
    ) -> Self {
        self.singles.push(Single { name, is_goal, variants, chance, look: Box::new(look) });
        self
    }
    /// What each fixed variant does.
    pub fn goal(self, name: &'static str, look: impl Fn(&Run<'_>) -> Check + Send + Sync + 'static) -> Self {
        self.single(name, true, None, None, look)
    }
    /// A goal of these variants only.
    pub fn goal_for(
        self,
        variants: impl VariantNames,
        name: &'static str,
        look: impl Fn(&Run<'_>) -> Check + Send + Sync + 'static,
    ) -> Self {
        self.single(name, true, Some(variants.names()), None, look)
    }
    /// What is true of a variant, or of each of several, under every seed.
    pub fn claim(
        self,
        variants: impl VariantNames,
        name: &'static str,
        look: impl Fn(&Run<'_>) -> Check + Send + Sync + 'static,
    ) -> Self {
        self.single(name, false, Some(variants.names()), None, look)
    }
    /// What is true of every variant under every seed.
    pub fn claim_all(
        self,
        name: &'static str,
        look: impl Fn(&Run<'_>) -> Check + Send + Sync + 'static,
    ) -> Self {
        self.single(name, false, None, None, look)
    }
    /// What is true in at least so many seeds of so many: `claim_in(9, 10, "canary", ..)`. Within one run either is as
    /// expected; the tests over seeds count.
    pub fn claim_in(
        self,
        at_least: u32,
        of: u32,
        variants: impl VariantNames,
        name: &'static str,
        look: impl Fn(&Run<'_>) -> Check + Send + Sync + 'static,
    ) -> Self {
        self.single(name, false, Some(variants.names()), Some(Chance { at_least, of }), look)
    }
    /// What is true of two variants under one seed. With several first ones, of each of them and the second.
    pub fn compare(
        mut self,
        first: impl VariantNames,
        second: &'static str,
        name: &'static str,
        look: impl Fn(&Run<'_>, &Run<'_>) -> Check + Send + Sync + 'static,
    ) -> Self {
        let first = first.names();
        self.comparisons.push(Comparison { name, first, second, chance: None, look: Box::new(look) });
        self
    }
    /// What is true of two variants in at least so many seeds of so many.
    pub fn compare_in(
        mut self,
        at_least: u32,
        of: u32,
        first: impl VariantNames,
        second: &'static str,
        name: &'static str,
        look: impl Fn(&Run<'_>, &Run<'_>) -> Check + Send + Sync + 'static,
    ) -> Self {
        let (first, chance) = (first.names(), Some(Chance { at_least, of }));
        self.comparisons.push(Comparison { name, first, second, chance, look: Box::new(look) });
        self
    }
    /// What is true of many runs of a variant together: `take` measures one thing, or several, in each run, and `look` gets
    /// what `seeds` runs gave, in one list. For the tests; a single run is not judged by it.
    pub fn over_seeds<M: Into<Measures>>(
        mut self,
        seeds: u32,
        variants: impl VariantNames,
        name: &'static str,
        take: impl Fn(&Run<'_>) -> M + Send + Sync + 'static,
        look: impl Fn(&Measures) -> Check + Send + Sync + 'static,
    ) -> Self {
        self.over_seeds.push(OverSeeds {
            name,
            variants: variants.names(),
            seeds,
            take: Box::new(move |run| take(run).into()),
            look: Box::new(look),
        });
        self
    }
    /// That the mean of something lies in a range over many runs of a variant: `.average(16, "phi", "..", |run| .., 6..=11)`.
    /// How wide the range must be follows from the standard error, the deviation of one run by the root of the seeds.
    pub fn average<M: Into<Measures>, B: Into<Measure> + Clone + Send + Sync + 'static>(
        self,
        seeds: u32,
        variants: impl VariantNames,
        name: &'static str,
        take: impl Fn(&Run<'_>) -> M + Send + Sync + 'static,
        range: impl RangeBounds<B> + Clone + Send + Sync + 'static,
    ) -> Self {
        self.over_seeds(seeds, variants, name, take, move |all| all.mean().within(range.clone()))
    }
    /// What is true of a variant under other circumstances: `.under(without_faults(), "naive", "..", |run| ..)`. For the
    /// tests.
    pub fn under(
        mut self,
        circumstances: Circumstances,
        variants: impl VariantNames,
        name: &'static str,
        look: impl Fn(&Run<'_>) -> Check + Send + Sync + 'static,
    ) -> Self {
        self.under.push(Under { name, circumstances, variants: variants.names(), look: Box::new(look) });
        self
    }
    /// A number that is shown for all variants side by side.
    pub fn figure(
        mut self,
        name: impl Into<Cow<'static, str>>,
        take: impl Fn(&Run<'_>) -> Measure + Send + Sync + 'static,
    ) -> Self {
        self.figures.push(Figure { name: name.into(), variants: None, take: Box::new(take) });
        self
    }
    /// The same of these variants only: of the others it makes no sense.
    pub fn figure_for(
        mut self,
        variants: impl VariantNames,
        name: impl Into<Cow<'static, str>>,
        take: impl Fn(&Run<'_>) -> Measure + Send + Sync + 'static,
    ) -> Self {
        let variants = Some(variants.names());
        self.figures.push(Figure { name: name.into(), variants, take: Box::new(take) });
        self
    }
    /// Which trace to open where this goal is missed, or one of these:
    /// `.show("no page waits", |run| run.spans("page").roots().shown("the slowest page"))`. It is asked of whole recordings
    /// only, so it may read spans without making every run record them. `None`: the trace that lasts longest.
    pub fn show(
        mut self,
        goals: impl VariantNames,
        pick: impl Fn(&Run<'_>) -> Option<Shown> + Send + Sync + 'static,
    ) -> Self {
        self.shows.push(Show { goals: goals.names(), pick: Box::new(pick) });
        self
    }
    /// Says that at least this much must be recorded. Needed only where an expectation reads spans or messages after an
    /// early return, or through [`Run::recording`]: otherwise [`Expectations::level`] sees it by itself.
    pub fn needs(mut self, level: RecordingLevel) -> Self {
        self.level = level;
        self
    }
    /// How much must be recorded for all of this. Every closure is shown a run in which nothing happened, and the run notes
    /// what it is asked for.
    pub fn level(&self) -> RecordingLevel {
        let nothing = Recording::default();
        let run = Run::new(&nothing);
        for single in &self.singles {
            (single.look)(&run);
        }
        for comparison in &self.comparisons {
            (comparison.look)(&run, &run);
        }
        for one in &self.over_seeds {
            (one.take)(&run);
        }
        for one in &self.under {
            (one.look)(&run);
        }
        for figure in &self.figures {
            (figure.take)(&run);
        }
        run.level_read().max(self.level)
    }
    /// The names of all expectations.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        let singles = self.singles.iter().map(|one| one.name);
        let comparisons = self.comparisons.iter().map(|one| one.name);
        let over_seeds = self.over_seeds.iter().map(|one| one.name);
        let under = self.under.iter().map(|one| one.name);
        let figures = self.figures.iter().map(|one| &*one.name);
        singles.chain(comparisons).chain(over_seeds).chain(under).chain(figures)
    }
    /// Every variant that an expectation names.
    pub(super) fn variants_named(&self) -> impl Iterator<Item = &'static str> {
        let singles = self.singles.iter().filter_map(|one| one.variants.as_ref()).flatten();
        let comparisons = self.comparisons.iter().flat_map(|one| one.first.iter().chain([&one.second]));
        let over_seeds = self.over_seeds.iter().flat_map(|one| &one.variants);
        let under = self.under.iter().flat_map(|one| &one.variants);
        let figures = self.figures.iter().filter_map(|one| one.variants.as_ref()).flatten();
        singles.chain(comparisons).chain(over_seeds).chain(under).chain(figures).copied()
    }
}
