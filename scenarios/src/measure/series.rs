//! Counters, gauges and lists of times: how often, how much at once, and when.

use sim_core::time::{Duration, SimTime};

use super::{Measure, MeasureError, Measures, Sample, Unit};

/// Times at which something happened, in order.
#[derive(Clone, PartialEq, Debug)]
pub struct Times {
    label: String,
    at: Result<Vec<SimTime>, MeasureError>,
}

impl Times {
    pub(super) fn new(label: impl Into<String>, at: Result<Vec<SimTime>, MeasureError>) -> Self {
        let mut times = Self { label: label.into(), at };
        if let Ok(at) = &mut times.at {
            at.sort_unstable();
        }
        times
    }
    /// The times.
    ///
    /// # Errors
    /// Why they could not be measured.
    pub fn list(&self) -> Result<Vec<SimTime>, MeasureError> {
        self.at.clone()
    }
    /// How many there are. Zero is an answer.
    pub fn count(&self) -> Measure {
        let count = self.at.as_ref().map(|at| at.len() as f64).map_err(Clone::clone);
        Measure::from_result(format!("count of {}", self.label), Unit::Number, count)
    }
    /// The first time, since the start of the run; `never` where there is none.
    pub fn first(&self) -> Measure {
        let first = |at: &Vec<SimTime>| at.first().map_or(f64::INFINITY, |first| first.as_secs_f64());
        Measure::from_result(
            format!("first {}", self.label),
            Unit::Seconds,
            self.at.as_ref().map(first).map_err(Clone::clone),
        )
    }
    /// The last time, since the start of the run; an error where there is none.
    pub fn last(&self) -> Measure {
        let label = format!("last {}", self.label);
        let last = self.at.clone().and_then(|at| {
            at.last().map(|last| last.as_secs_f64()).ok_or_else(|| MeasureError::Empty { of: label.clone() })
        });
        Measure::from_result(label, Unit::Seconds, last)
    }
    /// Those in `[from, to)`, in time since the start of the run.
    pub fn between(mut self, from: Duration, to: Duration) -> Self {
        self.at =
            self.at.map(|at| at.into_iter().filter(|at| (from..to).contains(&at.since_start())).collect());
        self
    }
    /// Those before which nothing happened for `quiet`: the first of each burst.
    pub fn after_quiet(mut self, quiet: Duration) -> Self {
        self.at = self.at.map(|at| {
            let first = |i: usize| i == 0 || at[i].since(at[i - 1]) >= quiet;
            (0..at.len()).filter(|&i| first(i)).map(|i| at[i]).collect()
        });
        self
    }
    /// The times between one and the next.
    pub fn gaps(&self) -> Measures {
        let gaps = self.at.as_ref().map_err(Clone::clone).map(|at| {
            at.windows(2)
                .map(|pair| Sample {
                    started: pair[0],
                    at: pair[1],
                    value: pair[1].since(pair[0]).as_secs_f64(),
                })
                .collect()
        });
        Measures::new(format!("gaps between {}", self.label), Unit::Seconds, gaps)
    }
    /// For each of these times, how long it takes until the next of `others` (at the same instant counts); `never` where
    /// none follows. From crash to alarm: `run.fault("crash").times().until_next(&alarms)`.
    pub fn until_next(&self, others: &Self) -> Measures {
        let label = format!("time from {} to {}", self.label, others.label);
        let delays = self.at.clone().and_then(|from| {
            let to = others.list()?;
            let delay = |&start: &SimTime| {
                let next = to.get(to.partition_point(|&time| time < start));
                let value = next.map_or(f64::INFINITY, |next| next.since(start).as_secs_f64());
                Sample { started: start, at: next.copied().unwrap_or(start), value }
            };
            Ok(from.iter().map(delay).collect())
        });
        Measures::new(label, Unit::Seconds, delays)
    }
    /// The largest number of them in any interval `[t, t + width)`.
    pub fn most_in(&self, width: Duration) -> Measure {
        let most =
            self.at.as_ref().map(|at| most_in(at.iter().map(|&at| (at, 1.0)), width)).map_err(Clone::clone);
        Measure::from_result(format!("most {} in {width}", self.label), Unit::Number, most)
    }
}

/// The largest sum of amounts in any interval `[t, t + width)`.
fn most_in(amounts: impl Iterator<Item = (SimTime, f64)> + Clone, width: Duration) -> f64 {
    let (mut most, mut sum) = (0.0_f64, 0.0);
    let mut oldest = amounts.clone().peekable();
    for (at, amount) in amounts {
        sum += amount;
        while let Some((_, gone)) = oldest.next_if(|(then, _)| at.since(*then) >= width) {
            sum -= gone;
        }
        most = most.max(sum);
    }
    most
}

/// A counter within a run's view: increments with their times, of all nodes in the view.
#[derive(Clone, PartialEq, Debug)]
pub struct Counter {
    pub(super) label: String,
    /// How long the view is, for rates.
    pub(super) length: Duration,
    /// In order of time.
    pub(super) increments: Result<Vec<(SimTime, f64)>, MeasureError>,
}

impl Counter {
    /// The sum of all increments.
    pub fn total(&self) -> Measure {
        // The sum of nothing is 0, not the -0 of `Iterator::sum`.
        let sum = |all: &Vec<(SimTime, f64)>| all.iter().fold(0.0, |sum, one| sum + one.1);
        Measure::from_result(
            self.label.clone(),
            Unit::Number,
            self.increments.as_ref().map(sum).map_err(Clone::clone),
        )
    }
    /// The sum by second of the view.
    pub fn rate(&self) -> Measure {
        (self.total() / self.length).named(format!("rate of {}", self.label))
    }
    /// When it was incremented; increments of zero are left out.
    pub fn times(&self) -> Times {
        let times =
            |all: &Vec<(SimTime, f64)>| all.iter().filter(|one| one.1 != 0.0).map(|one| one.0).collect();
        Times::new(self.label.clone(), self.increments.as_ref().map(times).map_err(Clone::clone))
    }
    /// The sums of its bursts: increments that are less than `quiet` apart belong to one. Increments of zero are left out.
    pub fn bursts(&self, quiet: Duration) -> Measures {
        let bursts = self.increments.as_ref().map_err(Clone::clone).map(|all| {
            let mut bursts: Vec<Sample> = Vec::new();
            for &(at, amount) in all.iter().filter(|one| one.1 != 0.0) {
                match bursts.last_mut() {
                    Some(last) if at.since(last.at) < quiet => {
                        (last.at, last.value) = (at, last.value + amount);
                    }
                    _ => bursts.push(Sample { started: at, at, value: amount }),
                }
            }
            bursts
        });
        Measures::new(format!("{} in each burst", self.label), Unit::Number, bursts)
    }
    /// The largest sum of increments in any interval `[t, t + width)`: what a rate limit must bound.
    pub fn most_in(&self, width: Duration) -> Measure {
        let most =
            self.increments.as_ref().map(|all| most_in(all.iter().copied(), width)).map_err(Clone::clone);
        Measure::from_result(format!("most {} in {width}", self.label), Unit::Number, most)
    }
}

/// A level over time within a run's view: the sum over the nodes in the view, as a step function.
///
/// The last value that was set at an instant is the level from then on; values that were replaced at the same instant were
/// never the level. Before its first value a gauge is at rest, at 0.
#[derive(Clone, PartialEq, Debug)]
pub struct Gauge {
    pub(super) label: String,
    pub(super) unit: Unit,
    /// The end of the view.
    pub(super) to: SimTime,
    /// From when on it has which level. The first step stands at the beginning of the view.
    pub(super) steps: Result<Vec<(SimTime, f64)>, MeasureError>,
}

impl Gauge {
    /// From many series of changes, each in order of time, the sum as steps within `[from, to]`.
    pub(super) fn sum(series: Vec<Vec<(SimTime, f64)>>, from: SimTime, to: SimTime) -> Vec<(SimTime, f64)> {
        let mut changes: Vec<(SimTime, usize, f64)> = Vec::new();
        for (which, points) in series.iter().enumerate() {
            changes
                .extend(points.iter().filter(|point| point.0 <= to).map(|&(at, value)| (at, which, value)));
        }
        changes.sort_by_key(|change| change.0); // stable: changes of one series at one instant stay in order
        let mut current = vec![0.0_f64; series.len()];
        let (mut sum, mut busy) = (0.0_f64, 0_usize);
        let mut steps: Vec<(SimTime, f64)> = vec![(from, 0.0)];
        for (at, which, value) in changes {
            let before = std::mem::replace(&mut current[which], value);
            busy = busy + usize::from(value != 0.0) - usize::from(before != 0.0);
            // When all are at rest the sum is exactly 0, whatever rounding has done before.
            sum = if busy == 0 { 0.0 } else { sum + (value - before) };
            let at = at.max(from);
            match steps.last_mut() {
                Some(last) if last.0 == at => last.1 = sum,
                _ => steps.push((at, sum)),
            }
        }
        steps.dedup_by(|next, before| next.1 == before.1);
        steps
    }
    /// Intervals of constant level: from, to, level. The last one ends with the view.
    fn intervals(&self) -> Result<Vec<(SimTime, SimTime, f64)>, MeasureError> {
        let steps = self.steps.as_ref().map_err(Clone::clone)?;
        let ends = steps.iter().skip(1).map(|step| step.0).chain([self.to]);
        Ok(steps.iter().zip(ends).map(|(&(from, level), to)| (from, to, level)).collect())
    }
    fn measure(
        &self,
        what: &str,
        unit: Unit,
        take: impl FnOnce(&[(SimTime, SimTime, f64)]) -> f64,
    ) -> Measure {
        let value = self.intervals().map(|intervals| take(&intervals));
        Measure::from_result(format!("{what} {}", self.label), unit, value)
    }
    /// The highest level in the view.
    pub fn max(&self) -> Measure {
        self.measure("highest", self.unit, |all| {
            all.iter().map(|one| one.2).fold(f64::NEG_INFINITY, f64::max)
        })
    }
    /// The lowest level in the view.
    pub fn min(&self) -> Measure {
        self.measure("lowest", self.unit, |all| all.iter().map(|one| one.2).fold(f64::INFINITY, f64::min))
    }
    /// The mean level, each weighted with the time that it lasted.
    pub fn mean(&self) -> Measure {
        let label = format!("mean {}", self.label);
        let mean = self.intervals().and_then(|all| {
            let length = self.to.since(all[0].0).as_secs_f64();
            if length == 0.0 {
                return Err(MeasureError::Empty { of: format!("{label} over no time") });
            }
            Ok(all.iter().map(|(from, to, level)| level * to.since(*from).as_secs_f64()).sum::<f64>()
                / length)
        });
        Measure::from_result(label, self.unit, mean)
    }
    /// The level at a time, since the start of the run.
    pub fn at(&self, time: Duration) -> Measure {
        let label = format!("{} at {time}", self.label);
        let when = SimTime::ZERO + time;
        let level = self.steps.clone().and_then(|steps| {
            if when > self.to || when < steps[0].0 {
                let (from, to) = (steps[0].0, self.to);
                return Err(MeasureError::Impossible(format!("{label}: the view is from {from} to {to}")));
            }
            Ok(steps[steps.partition_point(|step| step.0 <= when) - 1].1)
        });
        Measure::from_result(label, self.unit, level)
    }
    /// The level at the end of the view.
    pub fn last(&self) -> Measure {
        self.measure("last", self.unit, |all| all[all.len() - 1].2)
    }
    /// How long it was above a level, in all.
    pub fn time_above(&self, level: f64) -> Measure {
        self.measure(&format!("time above {level} of"), Unit::Seconds, |all| {
            let above = all.iter().filter(|one| one.2 > level).map(|(from, to, _)| to.since(*from));
            above.sum::<Duration>().as_secs_f64()
        })
    }
    /// The longest time without a pause that it was above a level; zero where it never was.
    pub fn longest_above(&self, level: f64) -> Measure {
        let above = self.excursions(level, Duration::ZERO);
        let longest = above
            .map(|all| all.iter().map(|one| one.at.since(one.started).as_secs_f64()).fold(0.0, f64::max));
        Measure::from_result(format!("longest time above {level} of {}", self.label), Unit::Seconds, longest)
    }
    /// When it rose above a level: the beginnings of its excursions.
    pub fn rises_above(&self, level: f64) -> Times {
        let rises =
            self.excursions(level, Duration::ZERO).map(|all| all.iter().map(|one| one.started).collect());
        Times::new(format!("rise of {} above {level}", self.label), rises)
    }
    /// The separate peaks: the highest level of each excursion above rest. An excursion is a longest interval in which the
    /// gauge is above 0. One that reaches over an edge of the view is counted with the part inside.
    pub fn peaks(&self) -> Measures {
        self.peaks_joined(Duration::ZERO)
    }
    /// As [`Gauge::peaks`], but excursions that are less than `gap` apart are one.
    pub fn peaks_joined(&self, gap: Duration) -> Measures {
        Measures::new(format!("peaks of {}", self.label), self.unit, self.excursions(0.0, gap))
    }
    fn excursions(&self, level: f64, gap: Duration) -> Result<Vec<Sample>, MeasureError> {
        let mut found: Vec<Sample> = Vec::new();
        for (from, to, value) in self.intervals()?.into_iter().filter(|one| one.2 > level) {
            match found.last_mut() {
                // Neighbouring intervals touch: they belong to one excursion.
                Some(last) if from == last.at || from.since(last.at) < gap => {
                    last.at = to;
                    last.value = last.value.max(value);
                }
                _ => found.push(Sample { started: from, at: to, value }),
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sim_core::time::{ms, secs};

    use super::*;
    use crate::measure::Bounds;

    fn at(millis: u64) -> SimTime {
        SimTime::ZERO + ms(millis)
    }
    fn gauge(series: &[&[(u64, f64)]], from: u64, to: u64) -> Gauge {
        let series = series.iter().map(|points| points.iter().map(|&(t, v)| (at(t), v)).collect()).collect();
        Gauge {
            label: "load".into(),
            unit: Unit::Number,
            to: at(to),
            steps: Ok(Gauge::sum(series, at(from), at(to))),
        }
    }

    #[test]
    fn levels_of_nodes_add_up_and_the_mean_is_weighted_with_time() {
        let load = gauge(&[&[(100, 2.0), (300, 0.0)], &[(200, 4.0), (600, 0.0)]], 0, 1_000);
        assert_eq!(load.max().value(), Ok(6.0));
        assert_eq!(load.min().value(), Ok(0.0));
        assert_eq!(load.mean().value(), Ok(2.0)); // (2 x 200 + 4 x 400) / 1000
        assert_eq!(load.at(ms(250)).value(), Ok(6.0));
        assert_eq!(load.at(ms(300)).value(), Ok(4.0));
        assert_eq!(load.last().value(), Ok(0.0));
        assert_eq!(load.time_above(3.0).to_string(), "400ms");
        assert!(load.at(secs(2)).value().is_err());
    }

    #[test]
    fn each_excursion_above_rest_is_one_peak() {
        let load =
            gauge(&[&[(100, 3.0), (150, 7.0), (200, 0.0), (205, 2.0), (210, 0.0), (500, 5.0)]], 0, 1_000);
        let values =
            |peaks: Measures| peaks.samples().unwrap().iter().map(|one| one.value).collect::<Vec<_>>();
        assert_eq!(values(load.peaks()), [7.0, 2.0, 5.0]);
        assert_eq!(values(load.peaks_joined(ms(10))), [7.0, 5.0]);
        assert_eq!(load.longest_above(0.0).to_string(), "500ms");
        assert_eq!(load.rises_above(4.0).list().unwrap(), [at(150), at(500)]);
    }

    #[test]
    fn a_view_begins_with_the_level_that_was_there() {
        let load = gauge(&[&[(100, 3.0), (600, 9.0), (700, 1.0)]], 200, 500);
        assert_eq!(load.max().value(), Ok(3.0));
        assert_eq!(load.mean().value(), Ok(3.0));
        assert_eq!(load.peaks().count().value(), Ok(1.0));
    }

    #[test]
    fn a_value_that_is_replaced_at_the_same_instant_was_never_the_level() {
        let load = gauge(&[&[(100, 8.0), (100, 9.0), (100, 8.0), (200, 0.0)]], 0, 300);
        assert_eq!(load.max().value(), Ok(8.0));
    }

    #[test]
    fn rounding_leaves_no_level_behind() {
        let load = gauge(&[&[(1, 0.1), (4, 0.0)], &[(2, 0.2), (5, 0.0)], &[(3, 0.7), (6, 0.0)]], 0, 10);
        assert_eq!(load.last().value(), Ok(0.0));
        assert_eq!(load.peaks().count().value(), Ok(1.0));
    }

    #[test]
    fn most_in_a_window_slides() {
        let admitted = Counter {
            label: "admitted".into(),
            length: secs(2),
            increments: Ok([(900, 100.0), (1_000, 60.0), (1_899, 40.0), (1_900, 7.0)]
                .map(|(t, n)| (at(t), n))
                .to_vec()),
        };
        assert_eq!(admitted.most_in(secs(1)).value(), Ok(200.0));
        assert_eq!(admitted.rate().to_string(), "103.5/s");
        assert_eq!(admitted.times().most_in(ms(2)).value(), Ok(2.0));
        let none = Counter { increments: Ok(Vec::new()), ..admitted };
        assert!(none.total().value().unwrap().is_sign_positive());
    }

    #[test]
    fn a_burst_ends_with_quiet() {
        let queries = Counter {
            label: "query".into(),
            length: secs(2),
            increments: Ok([(100, 1.0), (150, 2.0), (150, 0.0), (199, 1.0), (299, 5.0)]
                .map(|(t, n)| (at(t), n))
                .to_vec()),
        };
        let sums =
            |quiet| queries.bursts(quiet).samples().unwrap().iter().map(|one| one.value).collect::<Vec<_>>();
        assert_eq!(sums(ms(100)), [4.0, 5.0]);
        assert_eq!(sums(ms(101)), [9.0]);
        assert_eq!(queries.times().after_quiet(ms(100)).list().unwrap(), [at(100), at(299)]);
        assert_eq!(queries.times().after_quiet(ms(50)).list().unwrap(), [at(100), at(150), at(299)]);
    }

    #[test]
    fn delays_run_to_the_next_and_may_be_never() {
        let crashes = Times::new("crash", Ok(vec![at(100), at(200), at(900)]));
        let alarms = Times::new("alarm", Ok(vec![at(50), at(200), at(250)]));
        let delays = crashes.until_next(&alarms);
        let values: Vec<String> = delays.list().unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(values, ["100ms", "0s", "never"]);
        assert!(!delays.each().at_most(secs(1)).holds());
        assert_eq!(alarms.first().to_string(), "50ms");
        assert_eq!(alarms.clone().between(secs(5), secs(6)).first().to_string(), "never");
        assert!(alarms.between(secs(5), secs(6)).last().value().is_err());
    }

    proptest! {
        #[test]
        fn the_sum_of_gauges_agrees_with_adding_up_at_each_instant(
            series in prop::collection::vec(prop::collection::vec((0_u64..50, -3_i32..6), 0..12), 1..4),
            probe in 0_u64..50,
        ) {
            let series: Vec<Vec<(u64, f64)>> = series
                .into_iter()
                .map(|mut points| {
                    points.sort_by_key(|point| point.0);
                    points.into_iter().map(|(t, v)| (t, f64::from(v))).collect()
                })
                .collect();
            let level = |t: u64| -> f64 {
                series.iter().map(|points| points.iter().rfind(|point| point.0 <= t).map_or(0.0, |point| point.1)).sum()
            };
            let borrowed: Vec<&[(u64, f64)]> = series.iter().map(Vec::as_slice).collect();
            let load = gauge(&borrowed, 0, 50);
            prop_assert_eq!(load.at(ms(probe)).value(), Ok(level(probe)));
            let peaks = (0..50).filter(|&t| level(t) > 0.0 && (t == 0 || level(t - 1) <= 0.0)).count();
            // The model looks once a millisecond, where all changes are.
            prop_assert_eq!(load.peaks().count().value(), Ok(peaks as f64));
        }
    }
}
