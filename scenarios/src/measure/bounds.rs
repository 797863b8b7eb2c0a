//! Bounds: what a measure is held against, and the check that comes of it.

use std::ops::{Bound as End, RangeBounds};

use super::{Each, Measure, MeasureError, quantity::compatible};

/// What came of holding something measured against its bound.
#[derive(Clone, PartialEq, Debug)]
pub struct Check {
    /// What was measured, in words and numbers: `db.load peaks: 105, 98`.
    pub measured: String,
    /// What was wanted: `at most 40`.
    pub bound: String,
    /// Whether it holds, or why nobody knows.
    pub met: Result<bool, MeasureError>,
    /// The number, where it is a single finite one. Times are in seconds.
    pub value: Option<f64>,
}

/// A check of something that is not a number, such as the contents of a list: what was seen, what was wanted, and whether
/// it is so.
pub fn check(measured: impl Into<String>, bound: impl Into<String>, met: bool) -> Check {
    Check { measured: measured.into(), bound: bound.into(), met: Ok(met), value: None }
}

/// A check that reads lists on its way: `attempt(|| { let reads = run.operations("read").list()?; Ok(check(..)) })`. What
/// was never recorded makes it an error.
pub fn attempt(look: impl FnOnce() -> Result<Check, MeasureError>) -> Check {
    look().unwrap_or_else(|error| Check {
        measured: "not measured".to_owned(),
        bound: String::new(),
        met: Err(error),
        value: None,
    })
}

impl Check {
    /// Whether it is known to hold.
    pub fn holds(&self) -> bool {
        self.met == Ok(true)
    }
    /// Both must hold. An error in either makes it an error.
    pub fn and(self, other: Self) -> Self {
        self.joined("and", other, |a, b| a && b)
    }
    /// One of the two must hold. An error in either makes it an error.
    pub fn or(self, other: Self) -> Self {
        self.joined("or", other, |a, b| a || b)
    }
    fn joined(self, word: &str, other: Self, both: impl FnOnce(bool, bool) -> bool) -> Self {
        Self {
            measured: format!("{}; {}", self.measured, other.measured),
            bound: format!("{} {word} {}", self.bound, other.bound),
            met: self.met.and_then(|a| other.met.map(|b| both(a, b))),
            value: None,
        }
    }
}

/// An interval that a number must lie in.
#[derive(Clone, Debug)]
pub struct Bound {
    low: End<Measure>,
    high: End<Measure>,
}

impl Bound {
    fn ends(&self) -> impl Iterator<Item = &Measure> {
        [&self.low, &self.high].into_iter().filter_map(|end| match end {
            End::Included(measure) | End::Excluded(measure) => Some(measure),
            End::Unbounded => None,
        })
    }
    fn text(&self) -> String {
        match (&self.low, &self.high) {
            (End::Unbounded, End::Unbounded) => "anything".to_owned(),
            (End::Unbounded, End::Included(high)) => format!("at most {high}"),
            (End::Unbounded, End::Excluded(high)) => format!("below {high}"),
            (End::Included(low), End::Unbounded) => format!("at least {low}"),
            (End::Excluded(low), End::Unbounded) => format!("above {low}"),
            (End::Included(low), End::Included(high)) if low.text() == high.text() => {
                format!("exactly {low}")
            }
            (End::Included(low), End::Included(high)) => format!("{low} to {high}"),
            (End::Included(low), End::Excluded(high)) => format!("{low} to below {high}"),
            (End::Excluded(low), End::Included(high)) => format!("above {low} to {high}"),
            (End::Excluded(low), End::Excluded(high)) => format!("above {low} to below {high}"),
        }
    }
    fn holds(&self, measure: &Measure) -> Result<bool, MeasureError> {
        let value = measure.value()?;
        for end in self.ends() {
            end.value()?;
            if !compatible(measure.unit(), end.unit()) {
                let what = if measure.label().is_empty() { "what was measured" } else { measure.label() };
                let (is, with) = (measure.unit(), end.unit());
                return Err(MeasureError::Units(format!(
                    "{what} is {is}, it cannot be compared with {with} ({end}); times are written ms(50), secs(2)"
                )));
            }
        }
        // The ends were measured: they have values.
        let above = match &self.low {
            End::Included(low) => value >= low.value()?,
            End::Excluded(low) => value > low.value()?,
            End::Unbounded => true,
        };
        let below = match &self.high {
            End::Included(high) => value <= high.value()?,
            End::Excluded(high) => value < high.value()?,
            End::Unbounded => true,
        };
        Ok(above && below)
    }
    /// The measure as text; with all its digits where it would look equal to an end that it is not equal to.
    fn show(&self, measure: &Measure) -> String {
        let shown = measure.text();
        let misleading = self.ends().any(|end| end.text() == shown && end.value() != measure.value());
        if misleading { measure.exact_text() } else { shown }
    }
}

/// The ways to hold something against a bound. Bounds are numbers, durations, [`percent`](super::percent) or other
/// measures.
pub trait Bounds: Sized {
    /// Holds it against an interval.
    fn judge(self, bound: Bound) -> Check;

    /// It is `most` or less.
    fn at_most(self, most: impl Into<Measure>) -> Check {
        self.judge(Bound { low: End::Unbounded, high: End::Included(most.into()) })
    }
    /// It is less than `limit`.
    fn below(self, limit: impl Into<Measure>) -> Check {
        self.judge(Bound { low: End::Unbounded, high: End::Excluded(limit.into()) })
    }
    /// It is `least` or more.
    fn at_least(self, least: impl Into<Measure>) -> Check {
        self.judge(Bound { low: End::Included(least.into()), high: End::Unbounded })
    }
    /// It is more than `limit`.
    fn above(self, limit: impl Into<Measure>) -> Check {
        self.judge(Bound { low: End::Excluded(limit.into()), high: End::Unbounded })
    }
    /// It lies in a range: `60..=150`, `ms(100)..ms(350)`.
    fn within<T: Into<Measure> + Clone>(self, range: impl RangeBounds<T>) -> Check {
        let end = |bound: End<&T>| bound.map(|value| value.clone().into());
        self.judge(Bound { low: end(range.start_bound()), high: end(range.end_bound()) })
    }
    /// It is exactly that.
    fn equals(self, value: impl Into<Measure>) -> Check {
        let value = value.into();
        self.judge(Bound { low: End::Included(value.clone()), high: End::Included(value) })
    }
}

fn labelled(label: &str, separator: &str, text: &str) -> String {
    if label.is_empty() { text.to_owned() } else { format!("{label}{separator} {text}") }
}

impl Bounds for Measure {
    fn judge(self, bound: Bound) -> Check {
        Check {
            measured: labelled(self.label(), "", &bound.show(&self)),
            bound: bound.text(),
            met: bound.holds(&self),
            value: self.value().ok().filter(|value| value.is_finite()),
        }
    }
}

/// How many numbers a check shows before it says how many more there are.
const SHOWN: usize = 6;

impl Bounds for Each {
    fn judge(self, bound: Bound) -> Check {
        let Self { measures, any } = self;
        let (word, label) = (if any { "one of them " } else { "each " }, measures.label().to_owned());
        let all = match measures.list() {
            Ok(all) => all,
            Err(error) => {
                let measured = labelled(&label, ":", "not measured");
                return Check {
                    measured,
                    bound: format!("{word}{}", bound.text()),
                    met: Err(error),
                    value: None,
                };
            }
        };
        let mut met = Ok(!any);
        let mut outside = Vec::new();
        for measure in &all {
            match bound.holds(measure) {
                Ok(holds) => {
                    if !holds {
                        outside.push(measure);
                    }
                    met = met.map(|so_far| if any { so_far || holds } else { so_far && holds });
                }
                Err(error) => {
                    met = Err(error);
                    break;
                }
            }
        }
        // What misses the bound is what somebody wants to see first.
        let chosen: Vec<&Measure> = if any || outside.is_empty() { all.iter().collect() } else { outside };
        let mut text = chosen.iter().take(SHOWN).map(|one| bound.show(one)).collect::<Vec<_>>().join(", ");
        if chosen.len() > SHOWN {
            text.push_str(&format!(" and {} more", chosen.len() - SHOWN));
        }
        if chosen.len() < all.len() {
            text.push_str(&format!(" ({} of {} outside)", chosen.len(), all.len()));
        }
        let value = if all.len() == 1 { all[0].value().ok().filter(|value| value.is_finite()) } else { None };
        Check { measured: labelled(&label, ":", &text), bound: format!("{word}{}", bound.text()), met, value }
    }
}

#[cfg(test)]
mod tests {
    use sim_core::time::{Duration, ms, secs};

    use super::*;
    use crate::measure::{Measures, Unit, percent};

    #[test]
    fn bounds_include_or_exclude_their_ends_as_they_say() {
        let five = || Measure::from(5);
        for (check, holds, text) in [
            (five().at_most(5), true, "at most 5"),
            (five().below(5), false, "below 5"),
            (five().at_least(5.0), true, "at least 5"),
            (five().above(5_u64), false, "above 5"),
            (five().within(1..=5), true, "1 to 5"),
            (five().within(1..5), false, "1 to below 5"),
            (five().equals(5), true, "exactly 5"),
            (Measure::from(ms(5)).within(ms(1)..=secs(1)), true, "1ms to 1s"),
            (percent(36).within(percent(35)..=percent(42)), true, "35 % to 42 %"),
            (percent(36).at_least(0.4), false, "at least 0.4"),
        ] {
            assert_eq!((check.met, check.bound.as_str()), (Ok(holds), text));
        }
    }

    #[test]
    fn a_duration_is_not_compared_with_a_bare_number() {
        let check = Measure::from(ms(5)).named("p99 of page").at_most(400);
        let error = check.met.unwrap_err().to_string();
        assert!(error.contains("p99 of page is a time") && error.contains("ms(50)"), "{error}");
    }

    #[test]
    fn numbers_that_differ_are_never_shown_as_equal() {
        let check = Measure::new("share", Unit::Share, 0.999_999_99).at_least(percent(100));
        assert!(!check.holds() && check.measured.starts_with("share 99.99999"), "{check:?}");
    }

    #[test]
    fn each_shows_those_outside_and_any_needs_only_one() {
        let peaks = || Measures::of("peaks", Unit::Number, [105.0, 30.0, 98.0]);
        let check = peaks().each().at_most(40);
        assert_eq!(check.met, Ok(false));
        assert_eq!(check.measured, "peaks: 105, 98 (2 of 3 outside)");
        assert_eq!(check.bound, "each at most 40");
        assert!(peaks().any().at_most(40).holds());
        assert!(!peaks().any().at_most(4).holds());
    }

    #[test]
    fn each_of_nothing_is_an_error_and_not_a_success() {
        let none = Measures::of("peaks", Unit::Number, []);
        assert!(matches!(none.clone().each().at_most(40).met, Err(MeasureError::Empty { .. })));
        assert!(none.any().at_most(40).met.is_err());
    }

    #[test]
    fn and_joins_texts_and_keeps_errors() {
        let good = || Measure::from(1).named("a").at_most(2);
        let bad = Measure::failed("b", Unit::Number, MeasureError::Empty { of: "b".into() }).at_most(1);
        let both = good().and(good());
        assert_eq!((both.measured.as_str(), both.bound.as_str()), ("a 1; a 1", "at most 2 and at most 2"));
        assert!(good().or(check("x", "y", false)).holds());
        assert!(good().and(bad.clone()).met.is_err());
        assert!(good().or(bad).met.is_err());
    }

    #[test]
    fn what_never_happened_is_later_than_any_limit() {
        let never = Measure::new("first", Unit::Seconds, f64::INFINITY);
        let check = never.at_most(Duration::MAX);
        assert_eq!((check.met, check.value), (Ok(false), None));
    }
}
