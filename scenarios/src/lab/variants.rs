//! Variants: values of a lab's struct, and what is expected of each.
//!
//! A *broken* variant shows the trouble: it misses exactly the goals that it names, and violates exactly the properties
//! (`always`, `sometimes`, `eventually`, as its nodes check them) that it names. A *fixed* one meets every goal, and all its
//! properties hold. A *control* is a wrong or half fix, or something to compare with: only claims are made about it. The
//! first variant is the reference: the others are told by the knobs in which they differ from it.

use std::fmt;

use serde::Serialize;

/// What a variant is in its lab's lesson.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum VariantKind {
    /// Misses the goals and violates the properties that it names, and no others.
    Broken,
    /// Meets every goal, and every property holds.
    Fixed,
    /// Only claims are made about it.
    Control,
}

/// How often, over many seeds: in at least so many of so many.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Chance {
    /// In at least this many seeds ...
    pub at_least: u32,
    /// ... of this many.
    pub of: u32,
}

impl Chance {
    /// Whether a count over `seeds` seeds is often enough.
    pub fn is_met_by(self, count: u32, seeds: u32) -> bool {
        u64::from(count) * u64::from(self.of) >= u64::from(self.at_least) * u64::from(seeds)
    }
}

impl fmt::Display for Chance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at least {} in {} seeds", self.at_least, self.of)
    }
}

/// What is named, and in how many seeds it comes; in all of them without a chance.
pub(super) type Named = (&'static str, Option<Chance>);

/// The goals that a broken variant misses, and the properties that it violates.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Misses {
    pub(super) goals: Vec<Named>,
    pub(super) properties: Vec<Named>,
}

/// The broken variant misses this goal under every seed.
pub fn misses(goal: &'static str) -> Misses {
    Misses::default().and(goal)
}

/// The broken variant misses this goal in at least so many seeds of so many: `misses_in(1, 5, "no lost write")`. Within one
/// run either is as expected; the tests over seeds count. With `misses_in(0, 1, ..)` they let pass any number.
pub fn misses_in(at_least: u32, of: u32, goal: &'static str) -> Misses {
    Misses::default().and_in(at_least, of, goal)
}

impl Misses {
    /// And this goal too, under every seed.
    pub fn and(mut self, goal: &'static str) -> Self {
        self.goals.push((goal, None));
        self
    }
    /// And this goal too, in at least so many seeds of so many.
    pub fn and_in(mut self, at_least: u32, of: u32, goal: &'static str) -> Self {
        self.goals.push((goal, Some(Chance { at_least, of })));
        self
    }
    /// And it violates this property (by its statement, as the nodes check it) under every seed.
    pub fn violates(mut self, property: &'static str) -> Self {
        self.properties.push((property, None));
        self
    }
    /// And it violates this property in at least so many seeds of so many.
    pub fn violates_in(mut self, at_least: u32, of: u32, property: &'static str) -> Self {
        self.properties.push((property, Some(Chance { at_least, of })));
        self
    }
}

/// One variant of a lab.
#[derive(Clone, PartialEq, Debug)]
pub struct Variant<L> {
    /// Its name on the command line: lower case, words joined by dashes.
    pub name: &'static str,
    /// What it is in the lesson.
    pub kind: VariantKind,
    /// Which goals it misses, and which properties it violates; none unless it is broken.
    pub misses: Misses,
    /// The knobs.
    pub value: L,
}

/// See the module.
#[derive(Clone, PartialEq, Debug)]
pub struct Variants<L>(pub(super) Vec<Variant<L>>);

impl<L> Variants<L> {
    /// Begins with a broken variant: the reference.
    pub fn broken(name: &'static str, value: L, misses: Misses) -> Self {
        Self(Vec::new()).add(name, VariantKind::Broken, misses, value)
    }
    /// A further broken one.
    pub fn also_broken(self, name: &'static str, value: L, misses: Misses) -> Self {
        self.add(name, VariantKind::Broken, misses, value)
    }
    /// One that meets every goal, and all of whose properties hold.
    pub fn fixed(self, name: &'static str, value: L) -> Self {
        self.add(name, VariantKind::Fixed, Misses::default(), value)
    }
    /// One about which only claims are made.
    pub fn control(self, name: &'static str, value: L) -> Self {
        self.add(name, VariantKind::Control, Misses::default(), value)
    }
    fn add(mut self, name: &'static str, kind: VariantKind, misses: Misses, value: L) -> Self {
        self.0.push(Variant { name, kind, misses, value });
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chance_is_counted_in_whole_seeds() {
        let one_in_five = Chance { at_least: 1, of: 5 };
        assert!(one_in_five.is_met_by(4, 20) && !one_in_five.is_met_by(3, 20));
        assert!(one_in_five.is_met_by(1, 1) && !one_in_five.is_met_by(0, 1));
        assert!(Chance { at_least: 0, of: 1 }.is_met_by(0, 20));
    }

    #[test]
    fn variants_keep_their_order() {
        let all = Variants::broken("naive", 1, misses("a").and("b").and_in(1, 5, "c").violates("safe"))
            .also_broken("worse", 2, misses_in(9, 10, "a"))
            .fixed("good", 3)
            .control("half", 4);
        let told: Vec<_> = all.0.iter().map(|one| (one.name, one.value, one.misses.goals.len())).collect();
        assert_eq!(told, [("naive", 1, 3), ("worse", 2, 1), ("good", 3, 0), ("half", 4, 0)]);
        assert_eq!(all.0[0].misses.properties, [("safe", None)]);
    }
}
