//! Measures: many numbers of one kind, and the statistics of them.
//!
//! A histogram's observations, the durations of spans, the peaks of a gauge: each is a list of numbers with the time at
//! which it came about. Quantiles are exact, by the *nearest rank*: of n numbers in order, the p-quantile is number
//! `ceil(p n)`, counted from 1. So it is always one of the numbers, and the 0-quantile is the smallest. A statistic of
//! nothing is an error.

use std::{cmp::Ordering, collections::BTreeSet};

use sim_core::time::{Duration, SimTime};

use super::{Measure, MeasureError, Times, Unit, quantity::compatible};

/// A number, and when it came about.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Sample {
    /// When what it measures began. For an observation of a histogram of times: the time of observation minus its value.
    pub started: SimTime,
    /// When it was observed, or over.
    pub at: SimTime,
    /// The number, in the unit of the whole list.
    pub value: f64,
}

/// See the module.
#[derive(Clone, PartialEq, Debug)]
pub struct Measures {
    label: String,
    unit: Unit,
    samples: Result<Vec<Sample>, MeasureError>,
}

/// All, or any, of many numbers, waiting for the bound: see [`Measures::each`].
#[derive(Clone, PartialEq, Debug)]
pub struct Each {
    pub(super) measures: Measures,
    pub(super) any: bool,
}

impl Measures {
    /// A list that somebody made up: numbers without times.
    pub fn of(label: impl Into<String>, unit: Unit, values: impl IntoIterator<Item = f64>) -> Self {
        let sample = |value| Sample { started: SimTime::ZERO, at: SimTime::ZERO, value };
        Self::new(label, unit, Ok(values.into_iter().map(sample).collect()))
    }
    pub(super) fn new(
        label: impl Into<String>,
        unit: Unit,
        samples: Result<Vec<Sample>, MeasureError>,
    ) -> Self {
        Self { label: label.into(), unit, samples }
    }
    /// The numbers of several measures in one list. An error in one of them is an error of all.
    pub fn collect(label: impl Into<String>, measures: impl IntoIterator<Item = Measure>) -> Self {
        let label = label.into();
        let (mut unit, mut samples) = (None, Ok(Vec::new()));
        for measure in measures {
            let known = *unit.get_or_insert(measure.unit());
            if !compatible(known, measure.unit()) {
                let text = format!("{label}: {known} and {} in one list", measure.unit());
                return Self::new(label, known, Err(MeasureError::Units(text)));
            }
            samples = samples.and_then(|mut all| {
                all.push(Sample { started: SimTime::ZERO, at: SimTime::ZERO, value: measure.value()? });
                Ok(all)
            });
        }
        Self::new(label, unit.unwrap_or(Unit::Number), samples)
    }
    /// This list and another one, of the same unit.
    pub fn and(self, other: Self) -> Self {
        if !compatible(self.unit, other.unit) {
            let text = format!("{}: {} and {} in one list", self.label, self.unit, other.unit);
            return Self { samples: Err(MeasureError::Units(text)), ..self };
        }
        let samples = self.samples.and_then(|mut all| {
            all.extend(other.samples?);
            Ok(all)
        });
        Self { samples, ..self }
    }
    /// What the numbers are, in a few words.
    pub fn label(&self) -> &str {
        &self.label
    }
    /// The unit of all of them.
    pub fn unit(&self) -> Unit {
        self.unit
    }
    /// The same numbers under a better name.
    pub fn named(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }
    /// The numbers with their times, in order of time.
    ///
    /// # Errors
    /// Why they could not be measured.
    pub fn samples(&self) -> Result<&[Sample], MeasureError> {
        self.samples.as_deref().map_err(Clone::clone)
    }
    /// The numbers, one by one.
    ///
    /// # Errors
    /// Why they could not be measured, or that there are none.
    pub fn list(&self) -> Result<Vec<Measure>, MeasureError> {
        let samples = self.some("each of")?;
        Ok(samples.iter().map(|sample| Measure::new("", self.unit, sample.value)).collect())
    }
    fn some(&self, what: &str) -> Result<&[Sample], MeasureError> {
        match &self.samples {
            Ok(samples) if samples.is_empty() => {
                Err(MeasureError::Empty { of: format!("{what} {}", self.label) })
            }
            Ok(samples) => Ok(samples),
            Err(error) => Err(error.clone()),
        }
    }
    fn statistic(&self, what: &str, calculate: impl FnOnce(&[Sample]) -> f64) -> Measure {
        let value = self.some(what).map(calculate);
        Measure::from_result(format!("{what} {}", self.label).trim(), self.unit, value)
    }

    // ---- which of them ----

    /// Those for which this is true.
    pub fn only(mut self, keep: impl Fn(&Sample) -> bool) -> Self {
        self.samples = self.samples.map(|samples| samples.into_iter().filter(keep).collect());
        self
    }
    /// Those whose beginning lies in `[from, to)`, in time since the start of the run. A histogram observes a latency when
    /// the operation is over; this asks for its start.
    pub fn started_between(self, from: Duration, to: Duration) -> Self {
        self.only(|sample| (from..to).contains(&sample.started.since_start()))
    }
    /// Those that were observed, or over, in `[from, to)`.
    pub fn between(self, from: Duration, to: Duration) -> Self {
        self.only(|sample| (from..to).contains(&sample.at.since_start()))
    }
    /// Those that began at one of these times or less than `width` after it.
    pub fn started_after_each(mut self, times: &Times, width: Duration) -> Self {
        match times.list() {
            Ok(times) => self.only(|sample| {
                let before = times.partition_point(|&time| time <= sample.started);
                before > 0 && sample.started < times[before - 1] + width
            }),
            Err(error) => {
                self.samples = Err(error);
                self
            }
        }
    }
    /// Without those that are equal to one before.
    pub fn distinct(self) -> Self {
        self.by_earlier(|earlier, value| !earlier.contains(&value))
    }
    /// Those that are equal to one before: what has come again.
    pub fn repeated(self) -> Self {
        self.by_earlier(|earlier, value| earlier.contains(&value))
    }
    /// Those that stand behind a larger one: what others have overtaken.
    pub fn overtaken(self) -> Self {
        self.by_earlier(|earlier, value| earlier.last().is_some_and(|&largest| largest > value))
    }
    /// Those for which this is true of all the numbers before, and the number itself.
    fn by_earlier(self, keep: impl Fn(&BTreeSet<Ordered>, Ordered) -> bool) -> Self {
        let mut earlier = BTreeSet::new();
        let samples = self.samples.map(|samples| {
            let kept = samples.into_iter().filter(|sample| {
                let kept = keep(&earlier, Ordered(sample.value));
                earlier.insert(Ordered(sample.value));
                kept
            });
            kept.collect()
        });
        Self { samples, ..self }
    }
    /// The first `n` of them.
    pub fn take(mut self, n: usize) -> Self {
        if let Ok(samples) = &mut self.samples {
            samples.truncate(n);
        }
        self
    }

    // ---- statistics ----

    /// How many there are. Zero is an answer here.
    pub fn count(&self) -> Measure {
        let count = self.samples.as_ref().map(|samples| samples.len() as f64).map_err(Clone::clone);
        Measure::from_result(format!("count of {}", self.label), Unit::Number, count)
    }
    /// The sum. Zero for none.
    pub fn sum(&self) -> Measure {
        let sum = self.samples.as_ref().map(|samples| sum(samples)).map_err(Clone::clone);
        Measure::from_result(format!("sum of {}", self.label), self.unit, sum)
    }
    /// The arithmetic mean.
    pub fn mean(&self) -> Measure {
        self.statistic("mean of", |samples| sum(samples) / samples.len() as f64)
    }
    /// The root mean square: of errors, their typical size.
    pub fn root_mean_square(&self) -> Measure {
        self.statistic("root mean square of", |samples| {
            (samples.iter().map(|sample| sample.value * sample.value).sum::<f64>() / samples.len() as f64)
                .sqrt()
        })
    }
    /// The smallest.
    pub fn min(&self) -> Measure {
        self.statistic("smallest", |samples| {
            samples.iter().map(|sample| sample.value).fold(f64::INFINITY, f64::min)
        })
    }
    /// The largest.
    pub fn max(&self) -> Measure {
        self.statistic("largest", |samples| {
            samples.iter().map(|sample| sample.value).fold(f64::NEG_INFINITY, f64::max)
        })
    }
    /// The p-quantile by the nearest rank, `p` from 0 to 1: see the module.
    pub fn quantile(&self, p: f64) -> Measure {
        let name =
            if p == 0.5 { "median of".to_owned() } else { format!("p{} of", Measure::from(p * 100.0)) };
        if !(0.0..=1.0).contains(&p) {
            let text = format!("a quantile lies between 0 and 1, {p} does not; the p99 is quantile(0.99)");
            return Measure::failed(
                format!("quantile of {}", self.label),
                self.unit,
                MeasureError::Impossible(text),
            );
        }
        self.statistic(&name, |samples| {
            let mut values: Vec<f64> = samples.iter().map(|sample| sample.value).collect();
            let index = rank(p, values.len()) - 1;
            *values.select_nth_unstable_by(index, f64::total_cmp).1
        })
    }
    /// The 0.5-quantile.
    pub fn median(&self) -> Measure {
        self.quantile(0.5)
    }
    /// The 0.99-quantile.
    pub fn p99(&self) -> Measure {
        self.quantile(0.99)
    }
    /// Which part of them is at most that large, shown in percent.
    pub fn share_at_most(&self, most: impl Into<Measure>) -> Measure {
        let most = most.into();
        let label = format!("share of {} at most {most}", self.label);
        let result = most.value().and_then(|limit| {
            if !compatible(self.unit, most.unit()) {
                return Err(MeasureError::Units(format!("{label}: {} against {}", self.unit, most.unit())));
            }
            let samples = self.some("share of")?;
            Ok(samples.iter().filter(|sample| sample.value <= limit).count() as f64 / samples.len() as f64)
        });
        Measure::from_result(label, Unit::Share, result)
    }
    /// The earliest of them.
    pub fn first(&self) -> Measure {
        self.statistic("first of", |samples| samples[0].value)
    }
    /// The latest of them.
    pub fn last(&self) -> Measure {
        self.statistic("last of", |samples| samples[samples.len() - 1].value)
    }
    /// When each of them began.
    pub fn start_times(&self) -> Times {
        let times =
            self.samples.as_ref().map(|samples| samples.iter().map(|sample| sample.started).collect());
        Times::new(self.label.clone(), times.map_err(Clone::clone))
    }
    /// When each of them was observed, or over.
    pub fn times(&self) -> Times {
        let times = self.samples.as_ref().map(|samples| samples.iter().map(|sample| sample.at).collect());
        Times::new(self.label.clone(), times.map_err(Clone::clone))
    }
    /// A number calculated from each of them.
    pub fn map(self, calculate: impl Fn(Measure) -> Measure) -> Self {
        let mut unit = self.unit;
        let samples = self.samples.and_then(|samples| {
            samples
                .into_iter()
                .map(|sample| {
                    let result = calculate(Measure::new("", self.unit, sample.value));
                    unit = result.unit();
                    Ok(Sample { value: result.value()?, ..sample })
                })
                .collect()
        });
        Self { label: self.label, unit, samples }
    }

    // ---- all of them ----

    /// Every one of them must keep to the bound that follows: `peaks().each().at_most(40)`.
    pub fn each(self) -> Each {
        Each { measures: self, any: false }
    }
    /// At least one of them must keep to the bound that follows.
    pub fn any(self) -> Each {
        Each { measures: self, any: true }
    }
}

impl From<Measure> for Measures {
    fn from(measure: Measure) -> Self {
        let label = measure.label().to_owned();
        Self::collect(label, [measure])
    }
}

/// A number in its total order: measures are never NaN.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Ordered(f64);

impl Eq for Ordered {}
impl PartialOrd for Ordered {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Ordered {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

fn sum(samples: &[Sample]) -> f64 {
    samples.iter().fold(0.0, |sum, sample| sum + sample.value)
}

/// `ceil(p n)`, at least 1. A product that is a whole number but for rounding counts as that number: 0.07 x 100 is 7.
fn rank(p: f64, n: usize) -> usize {
    let product = p * n as f64;
    let whole = (product + 0.5).floor();
    let up = if (product - whole).abs() < 1e-9 * n as f64 { whole } else { product.ceil() };
    (up as usize).clamp(1, n)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sim_core::time::{ms, secs};

    use super::*;
    use crate::measure::Bounds;

    fn numbers(values: &[f64]) -> Measures {
        Measures::of("numbers", Unit::Number, values.iter().copied())
    }

    #[test]
    fn quantiles_are_nearest_ranks() {
        let hundred: Vec<f64> = (1..=100).map(f64::from).collect();
        for (p, value) in
            [(0.0, 1.0), (0.01, 1.0), (0.07, 7.0), (0.5, 50.0), (0.99, 99.0), (0.991, 100.0), (1.0, 100.0)]
        {
            assert_eq!(numbers(&hundred).quantile(p).value(), Ok(value), "p = {p}");
        }
        assert_eq!(numbers(&[3.0, 1.0, 2.0]).median().value(), Ok(2.0));
        assert_eq!(numbers(&[2.0, 1.0]).median().value(), Ok(1.0));
    }

    #[test]
    fn statistics_of_nothing_are_errors_and_the_count_is_zero() {
        let none = numbers(&[]);
        for measure in [none.mean(), none.min(), none.max(), none.p99(), none.first(), none.share_at_most(1)]
        {
            assert!(matches!(measure.value(), Err(MeasureError::Empty { .. })), "{measure:?}");
        }
        assert_eq!(none.count().value(), Ok(0.0));
        assert_eq!(none.sum().value(), Ok(0.0));
    }

    #[test]
    fn a_list_tells_what_came_again_and_what_was_overtaken() {
        let list = || numbers(&[1.0, 3.0, 2.0, 3.0, 5.0, 4.0, 2.0]);
        let values = |list: Measures| list.samples().unwrap().iter().map(|s| s.value).collect::<Vec<_>>();
        assert_eq!(values(list().distinct()), [1.0, 3.0, 2.0, 5.0, 4.0]);
        assert_eq!(values(list().repeated()), [3.0, 2.0]);
        assert_eq!(values(list().overtaken()), [2.0, 4.0, 2.0]);
        assert_eq!(values(list().distinct().overtaken()), [2.0, 4.0]);
    }

    #[test]
    fn a_quantile_beyond_one_is_refused() {
        let error = numbers(&[1.0]).quantile(99.0).value().unwrap_err().to_string();
        assert!(error.contains("quantile(0.99)"), "{error}");
    }

    #[test]
    fn the_start_of_a_latency_lies_before_its_observation() {
        let sample = |at: u64, took: u64| Sample {
            started: SimTime::ZERO + ms(at - took),
            at: SimTime::ZERO + ms(at),
            value: ms(took).as_secs_f64(),
        };
        let latencies = Measures::new(
            "page",
            Unit::Seconds,
            Ok(vec![sample(900, 100), sample(1_400, 500), sample(2_500, 50)]),
        );
        assert_eq!(latencies.clone().started_between(ms(0), secs(1)).count().value(), Ok(2.0));
        assert_eq!(latencies.clone().between(ms(0), secs(1)).count().value(), Ok(1.0));
        let times = Times::new("expiry", Ok(vec![SimTime::ZERO + ms(850), SimTime::ZERO + ms(2_450)]));
        let after = latencies.started_after_each(&times, ms(100));
        assert_eq!(after.samples().unwrap().iter().map(|s| s.value).collect::<Vec<_>>(), [0.5, 0.05]);
    }

    #[test]
    fn shares_and_maps_keep_their_units() {
        let times = Measures::of("page", Unit::Seconds, [0.01, 0.02, 0.5, 0.6]);
        assert_eq!(times.share_at_most(ms(20)).to_string(), "50 %");
        assert!(matches!(times.share_at_most(20).value(), Err(MeasureError::Units(_))));
        assert!(times.map(|time| time / ms(10)).each().within(1..=60).holds());
    }

    proptest! {
        #[test]
        fn a_quantile_is_the_smallest_number_that_enough_are_not_above(
            values in prop::collection::vec(-1_000_i32..1_000, 1..60),
            percent in 0_usize..=100,
        ) {
            let values: Vec<f64> = values.into_iter().map(f64::from).collect();
            // The naive model, in whole numbers: the least v with 100 #(x <= v) >= percent n.
            let enough = |v: f64| 100 * values.iter().filter(|&&x| x <= v).count() >= percent * values.len();
            let model = values.iter().copied().filter(|&v| enough(v)).fold(f64::INFINITY, f64::min);
            prop_assert_eq!(numbers(&values).quantile(percent as f64 / 100.0).value(), Ok(model));
        }

        #[test]
        fn mean_lies_between_least_and_most(values in prop::collection::vec(-1e6_f64..1e6, 1..60)) {
            let all = numbers(&values);
            let (mean, least, most) = (all.mean().value().unwrap(), all.min().value().unwrap(), all.max().value().unwrap());
            prop_assert!(mean >= least - 1e-6 && mean <= most + 1e-6);
            prop_assert!(all.root_mean_square().value().unwrap() >= mean.abs() - 1e-6);
        }
    }
}
