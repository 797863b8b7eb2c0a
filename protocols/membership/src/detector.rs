//! How long a silence has to be before a node is called dead: the policies, without time and without messages.
//!
//! No detector is both quick and never wrong (Chandra and Toueg, "Unreliable Failure Detectors for Reliable Distributed
//! Systems", JACM 1996: in an asynchronous network a crashed node and a slow one look the same). Each trades false alarms
//! against the time to find a crash:
//!
//! | detector | limit of silence | promises | pays |
//! |---|---|---|---|
//! | [`Detector::Timeout`] | fixed | a crash is found within the time-out and one delay, whatever the network did before | false alarms as soon as gaps grow longer than it |
//! | [`Detector::PhiAccrual`] | learned from the latest gaps | one false alarm in 10^threshold gaps, as long as the coming gaps are like the latest and the curve fits them | is late to learn that the network has changed, and finds crashes more slowly after a noisy time |
//!
//! A [`Detector`] is the policy, plain data and a knob of a lab. A [`Judge`] is what it has learned about one node.

use serde::{Deserialize, Serialize};
use sim_core::time::{Duration, ms};

use crate::fit::{Fit, GapWindow, Tail};
pub use crate::fit::{THRESHOLD_MAX, WINDOW_MAX};

/// When a silent node is suspected.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Detector {
    /// After that much silence.
    Timeout(Duration),
    /// When the silence has become too unlikely, judged by the latest gaps.
    PhiAccrual(PhiAccrual),
}

/// The parameters of the phi accrual failure detector (Hayashibara and others, SRDS 2004).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PhiAccrual {
    /// The phi at which a node is suspected: 8 is one false alarm in 10^8 gaps, if the coming gaps are like the latest.
    #[schemars(range(min = 0.1, max = 300.0))]
    pub threshold: f64,
    /// How many of the latest gaps count.
    #[schemars(range(min = 2, max = 100_000))]
    pub window: usize,
    /// The least deviation of the curve: gaps that were all alike would make the smallest delay suspicious.
    pub deviation_min: Duration,
    /// What the gaps are taken to be before any was measured: this long on average, with a quarter of it as deviation.
    /// The period of the heartbeats is a good estimate.
    pub first_estimate: Duration,
    /// The curve that is drawn through the gaps.
    pub tail: Tail,
}

impl Default for PhiAccrual {
    /// Phi 8, 50 gaps, a deviation of at least 10 ms, heartbeats expected every 100 ms, a bell curve.
    fn default() -> Self {
        Self {
            threshold: 8.0,
            window: 50,
            deviation_min: ms(10),
            first_estimate: ms(100),
            tail: Tail::Normal,
        }
    }
}

impl Detector {
    /// Whether the parameters make sense. What does not still never panics: it is brought into range.
    ///
    /// # Errors
    /// Says which parameter is wrong and what is allowed.
    pub fn validate(&self) -> Result<(), String> {
        match self {
            Self::Timeout(timeout) if timeout.is_zero() => {
                Err("`timeout` must be more than 0s: with 0s every node is dead all the time".to_owned())
            }
            Self::Timeout(_) => Ok(()),
            Self::PhiAccrual(phi) => phi.validate(),
        }
    }

    /// A judge of one node, who has heard nothing of it yet.
    pub fn judge(self) -> Judge {
        match self {
            Self::Timeout(timeout) => Judge(Policy::Timeout(timeout)),
            Self::PhiAccrual(parameters) => {
                let gaps = GapWindow::new(parameters.window, parameters.first_estimate);
                Judge(Policy::Phi(parameters, gaps))
            }
        }
    }
}

impl PhiAccrual {
    fn validate(&self) -> Result<(), String> {
        if !(self.threshold > 0.0 && self.threshold <= THRESHOLD_MAX) {
            return Err(format!("`threshold` must be more than 0 and at most 300, not {}", self.threshold));
        }
        if !(2..=WINDOW_MAX).contains(&self.window) {
            return Err(format!("`window` must be from 2 to {WINDOW_MAX} gaps, not {}", self.window));
        }
        if self.first_estimate.is_zero() {
            return Err("`first_estimate` must be more than 0s: the period of the heartbeats".to_owned());
        }
        Ok(())
    }
}

/// What a detector has learned about one node.
#[derive(Clone, Debug, PartialEq)]
pub struct Judge(Policy);

#[derive(Clone, Debug, PartialEq)]
enum Policy {
    Timeout(Duration),
    Phi(PhiAccrual, GapWindow),
}

impl Judge {
    /// Two heartbeats have come that far apart.
    pub fn learn(&mut self, gap: Duration) {
        if let Policy::Phi(_, gaps) = &mut self.0 {
            gaps.push(gap);
        }
    }

    /// How long a silence may last. It holds until the judge learns something new.
    pub fn limit(&self) -> Duration {
        match &self.0 {
            Policy::Timeout(timeout) => *timeout,
            Policy::Phi(parameters, gaps) => {
                gaps.fit(parameters.tail, parameters.deviation_min).limit(parameters.threshold)
            }
        }
    }

    /// How suspicious a silence is, see [`Fit::phi`]; none for a time-out, which knows only too long and not too long.
    pub fn phi(&self, silence: Duration) -> Option<f64> {
        self.fit().map(|fit| fit.phi(silence))
    }

    /// The curve through the latest gaps; none for a time-out, which learns nothing.
    pub fn fit(&self) -> Option<Fit> {
        match &self.0 {
            Policy::Timeout(_) => None,
            Policy::Phi(parameters, gaps) => Some(gaps.fit(parameters.tail, parameters.deviation_min)),
        }
    }
}

#[cfg(test)]
mod tests {
    use sim_core::{
        rng::{Delay, Rng},
        time::{ns, secs},
    };

    use super::*;

    fn phi(parameters: PhiAccrual) -> Judge {
        Detector::PhiAccrual(parameters).judge()
    }

    #[test]
    fn a_timeout_learns_nothing() {
        let mut judge = Detector::Timeout(ms(200)).judge();
        judge.learn(secs(9));
        assert_eq!(judge.limit(), ms(200));
        assert_eq!(judge.phi(secs(9)), None);
    }

    #[test]
    fn the_first_limit_comes_from_the_first_estimate() {
        // 100 ms and 5.612 deviations of 25 ms.
        assert_eq!(phi(PhiAccrual::default()).limit(), ns(240_300_031));
    }

    #[test]
    fn calm_gaps_shorten_the_limit_and_noisy_ones_lengthen_it() {
        let mut judge = phi(PhiAccrual::default());
        for _ in 0..50 {
            judge.learn(ms(100));
        }
        // All gaps alike: 100 ms and 5.612 deviations of 10 ms, the least.
        assert_eq!(judge.limit(), ns(156_120_012));
        for gap in [40, 160].repeat(25) {
            judge.learn(ms(gap));
        }
        // 60 ms from the mean each: 100 ms and 5.612 deviations of 60 ms.
        assert_eq!(judge.limit(), ns(436_720_075));
        assert!((judge.phi(judge.limit()).unwrap() - 8.0).abs() < 1e-6);
    }

    #[test]
    fn a_long_window_keeps_the_promise_of_phi_when_the_curve_is_right() {
        // Gaps that are exponential with a mean of 1 s, judged by an exponential fit of the last 10,000. A limit from a
        // fit of n gaps is exceeded by (1 + phi ln 10 / n)^-n: for phi 2 a share of 0.01 times 1 + (2 ln 10)^2 / 2n,
        // 0.1 % too often.
        let mut judge = phi(PhiAccrual {
            threshold: 2.0,
            window: 10_000,
            first_estimate: secs(1),
            tail: Tail::Exponential,
            ..PhiAccrual::default()
        });
        let (mut rng, delay, n) = (Rng::seeded(3), Delay::exponential(secs(1)), 100_000);
        let mut exceeded = 0.0;
        for round in 0..n + 10_000 {
            let gap = rng.duration(&delay);
            if round >= 10_000 && gap > judge.limit() {
                exceeded += 1.0;
            }
            judge.learn(gap);
        }
        let share = exceeded / f64::from(n);
        let standard_error = (0.01 * 0.99 / f64::from(n)).sqrt();
        assert!((share - 0.01).abs() <= 4.0 * standard_error + 0.000_01, "{share}");
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_what_is_allowed() {
        let fine = PhiAccrual::default();
        for (detector, name) in [
            (Detector::Timeout(Duration::ZERO), "`timeout` must be more than 0s"),
            (Detector::PhiAccrual(PhiAccrual { threshold: f64::NAN, ..fine }), "at most 300, not NaN"),
            (Detector::PhiAccrual(PhiAccrual { threshold: 0.0, ..fine }), "more than 0 and at most 300"),
            (Detector::PhiAccrual(PhiAccrual { threshold: 301.0, ..fine }), "more than 0 and at most 300"),
            (Detector::PhiAccrual(PhiAccrual { window: 1, ..fine }), "from 2 to 100000 gaps, not 1"),
            (Detector::PhiAccrual(PhiAccrual { window: 100_001, ..fine }), "from 2 to 100000 gaps"),
            (Detector::PhiAccrual(PhiAccrual { first_estimate: Duration::ZERO, ..fine }), "`first_estimate`"),
        ] {
            let error = detector.validate().unwrap_err();
            assert!(error.contains(name), "{error}");
            // And it still judges.
            let mut judge = detector.judge();
            judge.learn(Duration::MAX);
            assert!(judge.phi(judge.limit()).is_none_or(f64::is_finite));
        }
        assert_eq!(Detector::PhiAccrual(fine).validate(), Ok(()));
        assert_eq!(Detector::Timeout(ns(1)).validate(), Ok(()));
    }

    #[test]
    fn a_detector_is_written_and_read_as_a_knob() {
        #[derive(Serialize, Deserialize, PartialEq, Debug)]
        struct Knobs {
            detector: Detector,
        }
        let read = |text: &str| toml::from_str::<Knobs>(text).map(|knobs| knobs.detector);
        assert_eq!(read("detector = { timeout = '200ms' }"), Ok(Detector::Timeout(ms(200))));
        let patient = Detector::PhiAccrual(PhiAccrual { threshold: 12.0, ..PhiAccrual::default() });
        assert_eq!(read("detector = { phi-accrual = { threshold = 12 } }"), Ok(patient));
        let text = toml::to_string(&Knobs { detector: patient }).unwrap();
        assert_eq!(read(&text), Ok(patient), "{text}");
        let error = read("detector = { phi-accrual = { treshold = 12 } }").unwrap_err().to_string();
        assert!(error.contains("`threshold`"), "{error}");
    }
}
