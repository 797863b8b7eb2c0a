//! Sequences: a list of numbers in which each should stand once, and behind no larger one.

use std::ops::Range;

use super::{Measure, Measures, Run};

/// The numbers of what came, in order of arrival: 0 is the first that was sent, and so on. Ask it of a range of numbers.
#[derive(Clone, PartialEq, Debug)]
pub struct Sequence(Measures);

impl Run<'_> {
    /// The observations of a distribution as numbers of what was sent.
    pub fn sequence(&self, name: &str) -> Sequence {
        Sequence(self.histogram(name))
    }
}

fn among(list: Measures, numbers: &Range<u32>) -> Measure {
    let numbers = f64::from(numbers.start)..f64::from(numbers.end);
    list.only(|one| numbers.contains(&one.value)).count()
}

impl Sequence {
    /// How many of these numbers are not in the list.
    pub fn missing(&self, numbers: Range<u32>) -> Measure {
        (Measure::from(numbers.end - numbers.start) - among(self.0.clone().distinct(), &numbers))
            .named("missing")
    }
    /// How often one of these numbers is there again.
    pub fn twice(&self, numbers: Range<u32>) -> Measure {
        among(self.0.clone().repeated(), &numbers).named("twice")
    }
    /// How many of these numbers stand behind a larger one.
    pub fn behind(&self, numbers: Range<u32>) -> Measure {
        among(self.0.clone().overtaken(), &numbers).named("behind")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::Unit;

    #[test]
    fn a_list_tells_what_is_missing_twice_and_behind() {
        let list = Sequence(Measures::of("list", Unit::Number, [0.0, 2.0, 1.0, 2.0, 6.0, 5.0, 9.0]));
        let of = |numbers: Range<u32>| {
            [list.missing(numbers.clone()), list.twice(numbers.clone()), list.behind(numbers)]
                .map(|one| one.value().unwrap())
        };
        assert_eq!(of(0..10), [4.0, 1.0, 2.0]); // 3, 4, 7, 8; 2 again; 1 behind 2, 5 behind 6
        assert_eq!(of(0..3), [0.0, 1.0, 1.0]);
        assert_eq!(of(3..6), [2.0, 0.0, 1.0]);
        assert_eq!(of(6..8), [1.0, 0.0, 0.0]);
    }
}
