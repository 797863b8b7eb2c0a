//! When requests are due: a rate that may change over time, and the arrivals that follow it.
//!
//! The rate is turned into *exposure*, its integral: at 100 requests a second the exposure is 100 after one second. Evenly
//! spaced arrivals come at exposure 0, 1, 2, ...; a Poisson process comes at the sums of exponential numbers of mean 1
//! (time rescaling; Çinlar 1975, ch. 4). So a ramp, a burst or a fault that doubles the load moves the same arrivals closer
//! together and draws nothing anew.

use sim_core::time::Duration;

/// A rate over time, in requests a second, from the start of the load.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Rate {
    /// In order of time, without gaps; the last one never ends.
    pieces: Vec<Piece>,
}

/// A stretch of time in which the rate is a straight line.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Piece {
    /// Seconds from the start of the load.
    from: f64,
    /// The exposure by then.
    exposure: f64,
    /// Requests a second at its beginning.
    rate: f64,
    /// By how much the rate grows each second.
    slope: f64,
}

/// A rate that makes sense: not negative, not infinite, a number.
fn sound(rate: f64) -> f64 {
    if rate.is_finite() { rate.max(0.0) } else { 0.0 }
}

impl Rate {
    /// Always the same.
    pub(super) fn flat(rate: f64) -> Self {
        Self { pieces: vec![Piece { from: 0.0, exposure: 0.0, rate: sound(rate), slope: 0.0 }] }
    }
    /// From one rate to another in a straight line, and then that one.
    pub(super) fn ramp(from: f64, to: f64, over: Duration) -> Self {
        let (from, to, over) = (sound(from), sound(to), over.as_secs_f64());
        if over <= 0.0 {
            return Self::flat(to);
        }
        let first = Piece { from: 0.0, exposure: 0.0, rate: from, slope: (to - from) / over };
        let then = Piece { from: over, exposure: 0.5 * (from + to) * over, rate: to, slope: 0.0 };
        Self { pieces: vec![first, then] }
    }
    /// From each time on the rate beside it; before the first one nothing. Times that go back are left out.
    pub(super) fn steps(steps: impl IntoIterator<Item = (Duration, f64)>) -> Self {
        let mut rate = Self::flat(0.0);
        for (from, step) in steps {
            let from = from.as_secs_f64();
            let last = *rate.pieces.last().expect("there is always one");
            if from < last.from {
                continue;
            }
            let exposure = last.exposure + last.rate * (from - last.from);
            if from == last.from {
                rate.pieces.pop();
            }
            rate.pieces.push(Piece { from, exposure, rate: sound(step), slope: 0.0 });
        }
        rate
    }
    /// A share of it.
    pub(super) fn divided_by(&self, n: u64) -> Self {
        let n = n.max(1) as f64;
        let share = |p: &Piece| Piece {
            from: p.from,
            exposure: p.exposure / n,
            rate: p.rate / n,
            slope: p.slope / n,
        };
        Self { pieces: self.pieces.iter().map(share).collect() }
    }

    /// The integral of the rate from 0 to `t` seconds.
    pub(super) fn exposure(&self, t: f64) -> f64 {
        let index = self.pieces.partition_point(|p| p.from <= t).saturating_sub(1);
        let piece = &self.pieces[index];
        let since = (t - piece.from).max(0.0);
        piece.exposure + piece.rate * since + 0.5 * piece.slope * since * since
    }
    /// The first time, in seconds, at which the exposure is that large; infinite where it never is.
    pub(super) fn when(&self, exposure: f64) -> f64 {
        for (index, piece) in self.pieces.iter().enumerate() {
            let next = self.pieces.get(index + 1);
            if next.is_some_and(|n| n.exposure < exposure) {
                continue;
            }
            let wanted = (exposure - piece.exposure).max(0.0);
            let since = if wanted == 0.0 && piece.rate > 0.0 {
                0.0
            } else if piece.slope == 0.0 {
                if piece.rate > 0.0 { wanted / piece.rate } else { f64::INFINITY }
            } else {
                // The root of slope/2 s^2 + rate s = wanted, in the form that does not cancel.
                let root = (piece.rate * piece.rate + 2.0 * piece.slope * wanted).max(0.0).sqrt();
                if piece.rate + root > 0.0 { 2.0 * wanted / (piece.rate + root) } else { 0.0 }
            };
            let at = piece.from + since;
            match next {
                // Nothing comes in this piece (its rate is zero), or the last bit of rounding puts it past the end.
                Some(next) if at > next.from => {
                    if next.rate > 0.0 || next.slope > 0.0 {
                        return next.from;
                    }
                }
                _ => return at,
            }
        }
        f64::INFINITY
    }
}

/// A rate and the factor that a fault multiplies it with, from the moment at which it was noticed.
#[derive(Clone)]
pub(super) struct Pace {
    rate: Rate,
    factor: f64,
    since: f64,
    exposure: f64,
}

impl Pace {
    /// The usual rate.
    pub(super) fn new(rate: Rate) -> Self {
        Self { rate, factor: 1.0, since: 0.0, exposure: 0.0 }
    }
    /// The factor is another one from `now` on.
    pub(super) fn set_factor(&mut self, now: f64, factor: f64) {
        let factor = sound(factor);
        if factor != self.factor {
            self.exposure = self.exposure(now);
            self.since = now;
            self.factor = factor;
        }
    }
    /// What has come due by `now`.
    pub(super) fn exposure(&self, now: f64) -> f64 {
        self.exposure + self.factor * (self.rate.exposure(now) - self.rate.exposure(self.since))
    }
    /// When that much would come due if the rate were the usual one from `now` on.
    pub(super) fn usual(&self, now: f64, exposure: f64) -> f64 {
        let mut usual = self.clone();
        usual.set_factor(now, 1.0);
        usual.when(exposure)
    }
    /// When that much comes due, in seconds, as far as is known now.
    pub(super) fn when(&self, exposure: f64) -> f64 {
        if self.factor == 1.0 && self.since == 0.0 {
            return self.rate.when(exposure); // no detour through other numbers: evenly spaced is even to the nanosecond
        }
        let left = (exposure - self.exposure).max(0.0);
        if self.factor == 0.0 {
            return f64::INFINITY;
        }
        self.rate.when(self.rate.exposure(self.since) + left / self.factor).max(self.since)
    }
}

#[cfg(test)]
mod tests {
    use sim_core::time::{ms, secs};

    use super::*;

    #[test]
    fn a_ramp_is_the_integral_of_a_straight_line() {
        let ramp = Rate::ramp(10.0, 30.0, secs(4));
        assert_eq!(ramp.exposure(4.0), 80.0); // (10 + 30) / 2 a second for 4 s
        assert_eq!(ramp.exposure(2.0), 30.0); // (10 + 20) / 2 for 2 s
        assert_eq!(ramp.exposure(5.0), 110.0);
        for exposure in [0.0, 1.0, 30.0, 79.0, 80.0, 200.0] {
            assert!((ramp.exposure(ramp.when(exposure)) - exposure).abs() < 1e-9, "{exposure}");
        }
    }

    #[test]
    fn a_ramp_down_to_nothing_ends() {
        let ramp = Rate::ramp(20.0, 0.0, secs(1));
        assert!((ramp.when(10.0) - 1.0).abs() < 1e-6);
        assert_eq!(ramp.when(10.1), f64::INFINITY);
    }

    #[test]
    fn nothing_comes_before_the_first_step() {
        let steps = Rate::steps([(secs(1), 10.0), (secs(2), 0.0), (secs(3), 5.0)]);
        assert_eq!(steps.when(0.0), 1.0);
        assert_eq!(steps.when(1.0), 1.1);
        assert_eq!(steps.when(10.5), 3.1);
        assert_eq!(steps.exposure(2.5), 10.0);
    }

    #[test]
    fn a_factor_compresses_what_is_left_from_when_it_is_noticed() {
        let mut pace = Pace::new(Rate::flat(10.0));
        assert_eq!(pace.when(15.0), 1.5);
        pace.set_factor(1.0, 5.0);
        assert_eq!(pace.when(15.0), 1.1); // 5 left at 50 a second
        pace.set_factor(1.04, 0.0);
        assert_eq!(pace.when(15.0), f64::INFINITY);
        pace.set_factor(2.0, 1.0);
        assert!((pace.when(15.0) - 2.3).abs() < 1e-9); // 3 left at 10 a second
    }

    #[test]
    fn rates_that_make_no_sense_are_no_load() {
        for rate in [-1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(Rate::flat(rate).when(1.0), f64::INFINITY);
        }
        assert_eq!(Rate::ramp(1.0, 2.0, ms(0)).when(2.0), 1.0);
    }
}
