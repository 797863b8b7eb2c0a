//! What the gaps between heartbeats look like, and how surprising a silence is.
//!
//! A [`GapWindow`] keeps the latest gaps, a [`Fit`] is the curve through them. Its phi says in powers of ten how rare a gap
//! as long as this silence would be: phi 3 is one gap in a thousand. Turned round, it gives the silence at which phi
//! reaches a threshold, so that a monitor can set one exact timer and need not look again and again.
//!
//! Source: N. Hayashibara, X. Défago, R. Yared, T. Katayama, "The φ Accrual Failure Detector", SRDS 2004, pages 66 to 78:
//! the definition of φ, and its computation from a normal fit of the latest gaps.

use std::{
    collections::VecDeque,
    f64::consts::{LN_10, TAU},
};

use serde::{Deserialize, Serialize};
use sim_core::{math, time::Duration};

/// The greatest phi that can be a threshold: one gap in 10^300 is at the end of what a double can say.
pub const THRESHOLD_MAX: f64 = 300.0;

/// The largest window, in gaps.
pub const WINDOW_MAX: usize = 100_000;

/// A longer gap counts as this one: 2^46 nanoseconds, 19.5 hours. Squared, and times a window's size squared, it stays
/// within 128 bits.
const GAP_MAX: u64 = 1 << 46;

/// From how many deviations on the tail of the normal curve is taken from its series: before, the error function is
/// exact, and a little later it is too small for a double.
const SERIES_FROM: f64 = 37.0;

/// Which curve is drawn through the gaps. All that matters is its tail: how quickly longer gaps become rare.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Tail {
    /// A bell curve with the mean and the deviation of the gaps, as in the paper.
    #[default]
    Normal,
    /// An exponential curve with the mean of the gaps: right where heartbeats come at random moments. Long gaps are far
    /// less surprising than under the bell.
    Exponential,
}

/// A curve through the gaps between heartbeats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fit {
    /// The mean gap.
    pub mean: Duration,
    /// The standard deviation of the gaps; zero counts as one nanosecond. The exponential tail has no use for it.
    pub deviation: Duration,
    /// The shape of the curve.
    pub tail: Tail,
}

impl Fit {
    /// How suspicious a silence is: minus the decimal logarithm of the chance that a gap is longer than it. At least 0,
    /// never less for a longer silence, always finite.
    pub fn phi(self, silence: Duration) -> f64 {
        match self.tail {
            Tail::Normal => normal_phi((nanos(silence) - nanos(self.mean)) / self.spread()),
            Tail::Exponential => nanos(silence) / nanos(self.mean).max(1.0) / LN_10,
        }
    }

    /// The silence at which phi reaches the threshold, to the nearest nanosecond: the inverse of [`Fit::phi`].
    ///
    /// A threshold above [`THRESHOLD_MAX`] counts as that; a negative one, or one that is not a number, counts as 0.
    pub fn limit(self, threshold: f64) -> Duration {
        let threshold = if threshold > 0.0 { threshold.min(THRESHOLD_MAX) } else { 0.0 };
        Duration::from_nanos_f64(match self.tail {
            // The quantile of the small probability itself: 1 minus it would be 1 from phi 16 on.
            Tail::Normal => {
                nanos(self.mean) - self.spread() * math::normal_quantile(math::pow(10.0, -threshold))
            }
            Tail::Exponential => nanos(self.mean).max(1.0) * threshold * LN_10,
        })
    }

    fn spread(self) -> f64 {
        nanos(self.deviation).max(1.0)
    }
}

fn nanos(time: Duration) -> f64 {
    time.as_nanos() as f64
}

/// Minus the decimal logarithm of the chance that a standard normal value is more than `z`.
fn normal_phi(z: f64) -> f64 {
    if z <= SERIES_FROM {
        // Subtracted from zero, not negated: a certain gap has phi 0, not -0.
        return 0.0 - math::log10(math::normal_cdf(-z));
    }
    // The asymptotic series of the tail, density(z) / z * (1 - 1/z^2 + 3/z^4 - 15/z^6 + 105/z^8): what is left out is
    // below 2e-13 of it here.
    let w = 1.0 / (z * z);
    let series = -w * (1.0 - w * (3.0 - w * (15.0 - w * 105.0)));
    (z * z / 2.0 + math::ln(z * math::sqrt(TAU)) - math::ln_1p(series)) / LN_10
}

/// The latest gaps, with their sums kept exactly, in whole nanoseconds: nothing drifts, however long it slides.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct GapWindow {
    gaps: VecDeque<u64>,
    size: usize,
    sum: u128,
    squares: u128,
}

impl GapWindow {
    /// A window of that many gaps, brought into 2 to [`WINDOW_MAX`]. It begins with two gaps that nobody has measured, a
    /// quarter below and a quarter above the first estimate: their mean is the estimate, their deviation a quarter of it.
    /// They slide out like any others.
    pub(crate) fn new(size: usize, first_estimate: Duration) -> Self {
        let mut window = Self { gaps: VecDeque::new(), size: size.clamp(2, WINDOW_MAX), sum: 0, squares: 0 };
        let quarter = first_estimate / 4;
        window.push(first_estimate - quarter);
        window.push(first_estimate + quarter);
        window
    }

    /// Takes a gap in; the oldest goes where the window is full.
    pub(crate) fn push(&mut self, gap: Duration) {
        if self.gaps.len() == self.size
            && let Some(oldest) = self.gaps.pop_front()
        {
            self.sum -= u128::from(oldest);
            self.squares -= square(oldest);
        }
        let gap = gap.as_nanos().min(GAP_MAX);
        self.gaps.push_back(gap);
        self.sum += u128::from(gap);
        self.squares += square(gap);
    }

    /// The curve through the gaps, with a deviation of at least `deviation_min`.
    pub(crate) fn fit(&self, tail: Tail, deviation_min: Duration) -> Fit {
        let n = self.gaps.len() as u128;
        // n^2 times the variance, exactly; never negative.
        let scaled = n * self.squares - self.sum * self.sum;
        let deviation = Duration::from_nanos_f64(math::sqrt(scaled as f64) / n as f64);
        Fit {
            mean: Duration::from_nanos_f64(self.sum as f64 / n as f64),
            deviation: deviation.max(deviation_min),
            tail,
        }
    }
}

fn square(n: u64) -> u128 {
    u128::from(n) * u128::from(n)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sim_core::{
        rng::{Delay, Rng},
        time::{ms, ns, secs, us},
    };

    use super::*;

    const BELL: Fit = Fit { mean: ms(100), deviation: ms(10), tail: Tail::Normal };
    const MEMORYLESS: Fit = Fit { mean: secs(1), deviation: secs(1), tail: Tail::Exponential };

    #[test]
    fn the_limits_agree_with_tables() {
        // Quantiles of the normal distribution at 10^-phi, computed independently with 40 digits.
        for (phi, z) in [
            (1.0, 1.281_551_565_544_600_4),
            (3.0, 3.090_232_306_167_813_5),
            (8.0, 5.612_001_244_174_789),
            (16.0, 8.222_082_216_130_435),
            (300.0, 37.047_096_299_361_2),
        ] {
            let limit = BELL.limit(phi).as_nanos() as f64;
            assert!((limit - (1e8 + 1e7 * z)).abs() <= 0.51, "phi {phi}: {limit} ns");
        }
        // 8 ln 10 = 18.42.
        assert_eq!(MEMORYLESS.limit(8.0), ns(18_420_680_744));
    }

    #[test]
    fn each_phi_is_one_power_of_ten_of_exponential_gaps() {
        // Mean 1 s. With n gaps a share p has the standard error sqrt(p (1 - p) / n).
        let (mut rng, n) = (Rng::seeded(11), 1_000_000);
        let delay = Delay::exponential(secs(1));
        let limits = [1.0, 2.0, 3.0].map(|phi| MEMORYLESS.limit(phi));
        let mut exceeded = [0.0; 3];
        for _ in 0..n {
            let gap = rng.duration(&delay);
            for (count, &limit) in exceeded.iter_mut().zip(&limits) {
                *count += f64::from(u8::from(gap > limit));
            }
        }
        for (count, p) in exceeded.into_iter().zip([0.1, 0.01, 0.001]) {
            let (share, n) = (count / f64::from(n), f64::from(n));
            assert!((share - p).abs() <= 4.0 * math::sqrt(p * (1.0 - p) / n), "{share} instead of {p}");
        }
    }

    #[test]
    fn a_bell_curve_promises_too_much_where_gaps_are_exponential() {
        let bell = Fit { tail: Tail::Normal, ..MEMORYLESS };
        // 3.09 deviations above the mean: exceeded by e^-4.09 = 1.7 % of such gaps, not by 0.1 %.
        let exceeding = math::exp(-bell.limit(3.0).as_secs_f64());
        assert!((0.016..0.018).contains(&exceeding), "{exceeding}");
    }

    #[test]
    fn the_far_tail_goes_on_where_the_error_function_ends() {
        // 40-digit arithmetic: minus the logarithm of the normal tail at 37, 38.5 and 50.
        for (z, phi) in [(37.0, 299.242_181_179), (38.5, 323.851_341_068), (50.0, 544.966_335_862)] {
            assert!((normal_phi(z) - phi).abs() < 1e-9, "{z}: {:.9}", normal_phi(z));
        }
        let (before, after) = (normal_phi(SERIES_FROM), normal_phi(SERIES_FROM + 1e-9));
        // The slope of phi here is about 37 / ln 10 = 16.
        assert!((after - before - 1.607e-8).abs() < 1e-10, "{before} {after}");
        assert!(BELL.phi(Duration::MAX).is_finite());
    }

    #[test]
    fn phi_begins_at_zero_and_has_no_sign() {
        assert_eq!(BELL.phi(Duration::ZERO).to_bits(), 0.0_f64.to_bits());
        assert_eq!(MEMORYLESS.phi(Duration::ZERO).to_bits(), 0.0_f64.to_bits());
    }

    #[test]
    fn nonsense_is_brought_into_range() {
        for tail in [Tail::Normal, Tail::Exponential] {
            for fit in [Fit { tail, ..BELL }, Fit { mean: Duration::ZERO, deviation: Duration::ZERO, tail }] {
                assert_eq!(fit.limit(1e9), fit.limit(THRESHOLD_MAX));
                for threshold in [0.0, -1.0, f64::NAN, f64::NEG_INFINITY] {
                    assert_eq!(fit.limit(threshold), Duration::ZERO);
                }
                for silence in [Duration::ZERO, ns(1), Duration::MAX] {
                    assert!(fit.phi(silence).is_finite());
                }
            }
        }
        let mut window = GapWindow::new(0, Duration::MAX);
        for _ in 0..3 {
            window.push(Duration::MAX);
        }
        assert_eq!(window.fit(Tail::Normal, Duration::ZERO).mean, Duration::from_nanos(GAP_MAX));
    }

    #[test]
    fn the_window_begins_with_the_first_estimate() {
        let window = GapWindow::new(50, ms(100));
        assert_eq!(window.fit(Tail::Normal, Duration::ZERO), Fit { deviation: ms(25), ..BELL });
    }

    #[test]
    fn the_window_slides() {
        let mut window = GapWindow::new(4, ms(100));
        for gap in [90, 110] {
            window.push(ms(gap));
        }
        // 75, 125, 90, 110: the variance is (625 + 625 + 100 + 100) / 4.
        let fit = window.fit(Tail::Normal, Duration::ZERO);
        assert_eq!((fit.mean, fit.deviation), (ms(100), Duration::from_secs_f64(math::sqrt(362.5) / 1e3)));
        // The two of the first estimate are the first to go.
        for gap in [90, 110] {
            window.push(ms(gap));
        }
        assert_eq!(window.fit(Tail::Normal, Duration::ZERO), BELL);
    }

    #[test]
    fn the_deviation_has_a_floor() {
        let mut window = GapWindow::new(3, ms(100));
        for _ in 0..3 {
            window.push(ms(100));
        }
        assert_eq!(window.fit(Tail::Normal, Duration::ZERO).deviation, Duration::ZERO);
        assert_eq!(window.fit(Tail::Normal, ms(10)), BELL);
    }

    fn fits() -> impl Strategy<Value = Fit> {
        (1..10_000_000_u64, 1..10_000_000_u64, prop_oneof![Just(Tail::Normal), Just(Tail::Exponential)])
            .prop_map(|(mean, deviation, tail)| Fit { mean: us(mean), deviation: us(deviation), tail })
    }

    proptest! {
        #[test]
        fn the_limit_is_where_phi_reaches_the_threshold(fit in fits(), threshold in 0.5..16.0_f64) {
            let limit = fit.limit(threshold);
            // A nanosecond of rounding moves phi by at most its slope: 8.3 / ln 10 deviations, of 1 us or more.
            prop_assert!((fit.phi(limit) - threshold).abs() < 2e-3, "{}", fit.phi(limit));
            if fit.deviation >= ms(1) && fit.mean >= ms(1) {
                prop_assert!((fit.phi(limit) - threshold).abs() < 3e-6, "{}", fit.phi(limit));
            }
        }

        #[test]
        fn phi_and_back_is_the_same_silence(fit in fits(), share in 0.0..8.0_f64) {
            // From the mean to eight deviations above it; at eight a threshold's rounding is a nanosecond of ten seconds.
            let silence = fit.mean + fit.deviation.mul_f64(share);
            prop_assume!(fit.phi(silence) < THRESHOLD_MAX);
            let back = fit.limit(fit.phi(silence));
            prop_assert!(back.as_nanos().abs_diff(silence.as_nanos()) <= 1, "{silence} -> {back}");
        }

        #[test]
        fn phi_never_falls_while_the_silence_lasts(fit in fits(), a in 0..u64::MAX, b in 0..100_000_000_u64) {
            // Times of all sizes, and neighbours.
            for scale in 0..64 {
                let earlier = ns(a >> scale);
                prop_assert!(fit.phi(earlier) <= fit.phi(earlier + ns(b)));
                prop_assert!(fit.phi(earlier) <= fit.phi(earlier + ns(1)));
            }
        }

        #[test]
        fn the_sums_are_those_of_the_latest_gaps(gaps in prop::collection::vec(0..=u64::MAX, 2..60), size in 0..10_usize) {
            let mut window = GapWindow::new(size, ms(100));
            gaps.iter().for_each(|&gap| window.push(ns(gap)));
            let mut fresh = GapWindow::new(size, ms(100));
            fresh.gaps.clear();
            (fresh.sum, fresh.squares) = (0, 0);
            let kept = [ms(75), ms(125)].into_iter().chain(gaps.iter().map(|&gap| ns(gap))).collect::<Vec<_>>();
            kept[kept.len() - size.clamp(2, WINDOW_MAX).min(kept.len())..].iter().for_each(|&gap| fresh.push(gap));
            prop_assert_eq!(window, fresh);
        }
    }
}
