//! Thinning a metric out: a point for each step of virtual time in which something changed.
//!
//! A recording keeps every change of a metric, which may be millions. What goes to other tools is sampled: each change is
//! seen at the first multiple of the step at or after it, and a step without a change has no point. So counts and sums are
//! exact at each point, while a level that rose and fell within one step is not seen there (the recording still has it).

use sim_core::{
    record::{MetricKind, Recording, Series},
    time::{Duration, SimTime, ms},
};

/// The finest step: Prometheus stores milliseconds.
const STEP_MIN: Duration = ms(1);

/// What a metric was at one sampled time.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Sampled {
    /// A counter's total since the start, or a gauge's level.
    Number(f64),
    /// All observations since the start.
    Distribution(Distribution),
}

/// All observations up to some time, counted in buckets.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Distribution {
    /// How many lie in each bucket (not cumulative): up to and including each bound, and a last one for the rest.
    pub(crate) buckets: Vec<u64>,
    pub(crate) count: u64,
    pub(crate) sum: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Distribution {
    pub(crate) fn empty(bounds: &[f64]) -> Self {
        Self {
            buckets: vec![0; bounds.len() + 1],
            count: 0,
            sum: 0.0,
            min: f64::INFINITY,
            max: f64::NEG_INFINITY,
        }
    }
    fn add(&mut self, bounds: &[f64], value: f64) {
        self.buckets[bounds.partition_point(|&bound| bound < value)] += 1;
        self.count += 1;
        self.sum += value;
        self.min = self.min.min(value);
        self.max = self.max.max(value);
    }
}

/// Bounds for seconds: from ten microseconds (a fast network) to a hundred seconds, three for each power of ten.
const SECONDS: [f64; 22] = [
    1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0,
    10.0, 20.0, 50.0, 100.0,
];

/// Bounds for bytes: powers of four from 64 bytes to one gibibyte.
const BYTES: [f64; 13] = [
    64.0,
    256.0,
    1_024.0,
    4_096.0,
    16_384.0,
    65_536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
    67_108_864.0,
    268_435_456.0,
    1_073_741_824.0,
];

/// Bounds for everything else: from a hundredth to a million, three for each power of ten.
const OTHERS: [f64; 25] = [
    0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1e3, 2e3, 5e3,
    1e4, 2e4, 5e4, 1e5, 2e5, 5e5, 1e6,
];

/// The upper bounds of a histogram's buckets. They depend on the unit alone, so that two runs can be compared.
pub(crate) fn bounds(recording: &Recording, series: &Series) -> &'static [f64] {
    match recording.text(series.unit) {
        "s" => &SECONDS,
        "By" => &BYTES,
        _ => &OTHERS,
    }
}

/// The sampled points of a series, in order of time.
pub(crate) fn samples<'a>(
    recording: &Recording,
    series: &'a Series,
    step: Duration,
) -> impl Iterator<Item = (SimTime, Sampled)> + 'a {
    let bounds = bounds(recording, series);
    let step = step.max(STEP_MIN).as_nanos();
    let seen_at = move |at: SimTime| SimTime::from_nanos(at.as_nanos().div_ceil(step).saturating_mul(step));
    let mut points = series.points.iter().peekable();
    let mut number = 0.0;
    let mut distribution = Distribution::empty(bounds);
    std::iter::from_fn(move || {
        let time = seen_at(points.peek()?.at);
        while let Some(point) = points.next_if(|point| seen_at(point.at) <= time) {
            match series.kind {
                MetricKind::Counter => number += point.value,
                MetricKind::Gauge => number = point.value,
                MetricKind::Histogram => distribution.add(bounds, point.value),
            }
        }
        let sampled = match series.kind {
            MetricKind::Counter | MetricKind::Gauge => Sampled::Number(number),
            MetricKind::Histogram => Sampled::Distribution(distribution.clone()),
        };
        Some((time, sampled))
    })
}

#[cfg(test)]
mod tests {
    use sim_core::record::{Name, NodeIndex, Point};

    use super::*;

    fn sampled(kind: MetricKind, points: &[(u64, f64)], step_ms: u64) -> Vec<(u64, Sampled)> {
        let recording = Recording { names: vec![String::new()], ..Recording::default() };
        let points = points
            .iter()
            .map(|&(at, value)| Point { at: SimTime::from_nanos(at * 1_000_000), value })
            .collect();
        let series = Series { name: Name::EMPTY, node: NodeIndex::NONE, kind, unit: Name::EMPTY, points };
        samples(&recording, &series, ms(step_ms))
            .map(|(at, value)| (at.as_nanos() / 1_000_000, value))
            .collect()
    }

    #[test]
    fn a_change_is_seen_at_the_next_step_and_a_quiet_step_has_no_point() {
        use Sampled::Number;
        let points = [(0, 1.0), (1, 2.0), (100, 3.0), (101, 4.0), (450, 5.0)];
        assert_eq!(
            sampled(MetricKind::Gauge, &points, 100),
            [(0, Number(1.0)), (100, Number(3.0)), (200, Number(4.0)), (500, Number(5.0))]
        );
        assert_eq!(
            sampled(MetricKind::Counter, &points, 100),
            [(0, Number(1.0)), (100, Number(6.0)), (200, Number(10.0)), (500, Number(15.0))]
        );
    }

    #[test]
    fn a_step_of_zero_is_a_millisecond() {
        assert_eq!(sampled(MetricKind::Counter, &[(3, 1.0)], 0), [(3, Sampled::Number(1.0))]);
    }

    #[test]
    fn an_observation_on_a_bound_is_below_it_and_nothing_is_lost_beyond_the_last() {
        let points = [(1, 1.0), (2, 1.1), (3, 2e6), (4, -5.0)];
        let all = sampled(MetricKind::Histogram, &points, 10);
        let [(10, Sampled::Distribution(d))] = &all[..] else { panic!("{all:?}") };
        let one = OTHERS.iter().position(|&b| b == 1.0).unwrap();
        assert_eq!((d.buckets[0], d.buckets[one], d.buckets[one + 1], d.buckets[OTHERS.len()]), (1, 1, 1, 1));
        assert_eq!((d.count, d.min, d.max, d.sum), (4, -5.0, 2e6, 1_999_997.1));
    }

    #[test]
    fn bounds_rise() {
        for bounds in [&SECONDS[..], &BYTES, &OTHERS] {
            assert!(bounds.windows(2).all(|pair| pair[0] < pair[1]));
        }
    }
}
