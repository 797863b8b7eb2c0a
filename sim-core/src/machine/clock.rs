//! A node's oscillator and its two clocks.
//!
//! The oscillator drifts; the monotonic clock counts it, the wall clock counts it from an offset that may jump. All
//! arithmetic is in whole nanoseconds, so that both directions agree on every platform.

use crate::{
    fault::Offset,
    time::{Monotonic, SimTime, Wall},
};

const BILLION: i128 = 1_000_000_000;

/// See the module. A clock that does not drift is two numbers; what a drift needs lies elsewhere.
#[derive(Clone, Debug)]
pub(crate) struct Clock {
    /// Local minus true time, while there is no drift.
    skew: i64,
    /// Wall clock minus what an exact one with this oscillator would show.
    offset: i64,
    drift: Option<Box<Drift>>,
}

/// An oscillator that is too fast or too slow.
#[derive(Clone, Copy, Debug)]
struct Drift {
    /// When it began, in true and in local time.
    base_true: u64,
    base_local: u64,
    /// How much faster than true time, in parts in a billion.
    ppb: i64,
}

impl Drift {
    fn monotonic(&self, now: SimTime) -> u64 {
        let elapsed = now.as_nanos() - self.base_true;
        let local = i128::from(elapsed) * (BILLION + i128::from(self.ppb)) / BILLION;
        self.base_local + u64::try_from(local).unwrap_or(u64::MAX)
    }
    fn when(&self, reading: u64) -> u64 {
        let local = reading.saturating_sub(self.base_local);
        let rate = BILLION + i128::from(self.ppb);
        let elapsed = (i128::from(local) * BILLION + rate - 1) / rate;
        self.base_true.saturating_add(u64::try_from(elapsed).unwrap_or(u64::MAX))
    }
}

impl Clock {
    pub(crate) fn new(offset: Offset, drift_ppm: f64) -> Self {
        let mut clock = Self { skew: 0, offset: offset.as_nanos(), drift: None };
        clock.set_drift(SimTime::ZERO, drift_ppm);
        clock
    }

    /// The monotonic clock at a true time that is not before the last change.
    #[inline]
    pub(crate) fn monotonic(&self, now: SimTime) -> Monotonic {
        Monotonic::from_nanos(match &self.drift {
            None => now.as_nanos().saturating_add_signed(self.skew),
            Some(drift) => drift.monotonic(now),
        })
    }

    /// The wall clock at a true time.
    #[inline]
    pub(crate) fn wall(&self, now: SimTime) -> Wall {
        let exact = self.monotonic(now).as_nanos().saturating_add(Wall::START.as_nanos());
        Wall::from_nanos(exact.saturating_add_signed(self.offset))
    }

    /// Wall clock minus true time, in nanoseconds: what the observer sees of its error.
    #[inline]
    pub(crate) fn error(&self, now: SimTime) -> i64 {
        match &self.drift {
            None => self.offset + self.skew,
            Some(_) => self.wall(now).since_run_start() - now.as_nanos() as i64,
        }
    }

    /// The first true time at which the monotonic clock shows at least `reading`.
    #[inline]
    pub(crate) fn when(&self, reading: Monotonic) -> SimTime {
        SimTime::from_nanos(match &self.drift {
            None => reading.as_nanos().saturating_add_signed(-self.skew),
            Some(drift) => drift.when(reading.as_nanos()),
        })
    }

    /// From now on another drift; both clocks go on from what they show.
    pub(crate) fn set_drift(&mut self, now: SimTime, drift_ppm: f64) {
        let local = self.monotonic(now).as_nanos();
        let ppb = ppm_to_ppb(drift_ppm);
        if ppb == 0 {
            self.skew = local as i64 - now.as_nanos() as i64;
            self.drift = None;
        } else {
            self.drift = Some(Box::new(Drift { base_true: now.as_nanos(), base_local: local, ppb }));
        }
    }
    /// The wall clock jumps.
    pub(crate) fn jump(&mut self, by: Offset) {
        self.offset = self.offset.saturating_add(by.as_nanos());
    }
    pub(crate) fn drift_ppm(&self) -> f64 {
        self.drift.as_ref().map_or(0.0, |drift| drift.ppb as f64 / 1_000.0)
    }
}

fn ppm_to_ppb(ppm: f64) -> i64 {
    ((ppm * 1_000.0).round() as i64).max(-900_000_000)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::time::{Duration, ms, secs};

    #[test]
    fn a_clock_that_drifts_by_100_ppm_gains_360_ms_an_hour() {
        let clock = Clock::new(Offset::default(), 100.0);
        let hour = SimTime::ZERO + secs(3_600);
        assert_eq!(clock.monotonic(hour).as_nanos(), secs(3_600).as_nanos() + ms(360).as_nanos());
    }

    #[test]
    fn a_jump_moves_the_wall_clock_and_not_the_monotonic_one() {
        let mut clock = Clock::new(Offset::behind(secs(3)), 0.0);
        let now = SimTime::ZERO + secs(1);
        assert_eq!(clock.wall(now).since_run_start(), -2_000_000_000);
        let before = clock.monotonic(now);
        clock.jump(Offset::ahead(secs(10)));
        assert_eq!(clock.monotonic(now), before);
        assert_eq!(clock.wall(now).since_run_start(), 8_000_000_000);
        assert_eq!(clock.error(now), 7_000_000_000);
    }

    proptest! {
        #[test]
        fn when_is_the_first_instant_that_shows_the_reading(
            drift in -500_000.0..500_000.0_f64, change in 0..1_000_000_000_u64, wait in 0..10_000_000_000_u64,
        ) {
            let mut clock = Clock::new(Offset::default(), 0.0);
            clock.set_drift(SimTime::from_nanos(change), drift);
            let reading = Monotonic::from_nanos(change + wait);
            let when = clock.when(reading);
            prop_assert!(clock.monotonic(when) >= reading);
            if when.as_nanos() > change {
                prop_assert!(clock.monotonic(when - Duration::from_nanos(1)) < reading);
            }
        }
    }
}
