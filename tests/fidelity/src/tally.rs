//! Bookkeeping in bounded memory: the area below a step function, sums of times, and a histogram fine enough for quantiles.
//!
//! Sums are whole nanoseconds in 128 bits, so that identities between them can be checked to the last digit.

use sim_core::time::{Duration, Monotonic};

/// A span of virtual time in which figures are taken.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// Its start: what comes before is warm-up.
    pub from: u64,
    /// Its end.
    pub to: u64,
}

impl Window {
    /// From the end of a warm-up, that long; both in seconds.
    pub fn new(warm_up: f64, length: f64) -> Self {
        let from = Duration::from_secs_f64(warm_up).as_nanos();
        Self { from, to: from + Duration::from_secs_f64(length).as_nanos() }
    }
    /// Whether a time is in it.
    #[inline]
    pub fn contains(&self, time: Monotonic) -> bool {
        (self.from..self.to).contains(&time.as_nanos())
    }
    /// The same without an end.
    pub fn without_end(self) -> Self {
        Self { to: u64::MAX, ..self }
    }
    /// Its length in nanoseconds.
    pub fn nanos(&self) -> u64 {
        self.to - self.from
    }
    /// Its length in seconds.
    pub fn secs(&self) -> f64 {
        self.nanos() as f64 / 1e9
    }
}

/// The area below a step function of time, within a window: customers times nanoseconds.
#[derive(Clone, Copy, Debug)]
pub struct Area {
    window: Window,
    since: u64,
    level: u64,
    area: u128,
}

impl Area {
    /// Level 0 since the start of the run.
    pub fn new(window: Window) -> Self {
        Self { window, since: 0, level: 0, area: 0 }
    }
    /// From now on the function has this level.
    #[inline]
    pub fn level(&mut self, now: Monotonic, level: usize) {
        let now = now.as_nanos();
        let (from, to) = (self.since.max(self.window.from), now.min(self.window.to));
        if to > from {
            self.area += u128::from(self.level) * u128::from(to - from);
        }
        (self.since, self.level) = (now, level as u64);
    }
    /// The area up to the last change.
    pub fn area(&self) -> u128 {
        self.area
    }
    /// The mean level over the window.
    pub fn mean(&self) -> f64 {
        self.area as f64 / self.window.nanos() as f64
    }
}

/// How many, and their sum in nanoseconds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sum {
    /// How many.
    pub count: u64,
    /// Their sum in nanoseconds.
    pub nanos: u128,
}

impl Sum {
    /// One more.
    #[inline]
    pub fn add(&mut self, time: Duration) {
        self.count += 1;
        self.nanos += u128::from(time.as_nanos());
    }
    /// The mean in seconds.
    pub fn mean(&self) -> f64 {
        self.nanos as f64 / self.count as f64 / 1e9
    }
}

/// Times from a nanosecond to centuries in cells whose width is a 512th of what they hold.
#[derive(Clone, Debug)]
pub struct Histogram {
    cells: Vec<u32>,
    count: u64,
}

const FINE: u32 = 9;

impl Default for Histogram {
    fn default() -> Self {
        Self { cells: vec![0; ((65 - FINE) << FINE) as usize], count: 0 }
    }
}

impl Histogram {
    /// One more time.
    #[inline]
    pub fn add(&mut self, time: Duration) {
        let nanos = time.as_nanos();
        // The position of the leading bit, and the nine bits that follow it.
        let shift = (64 - FINE).saturating_sub(nanos.leading_zeros() + 1);
        let cell = (u64::from(shift) << FINE) + (nanos >> shift);
        self.cells[cell as usize] += 1;
        self.count += 1;
    }
    /// All times of another one too.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.cells.iter_mut().zip(&other.cells) {
            *mine += theirs;
        }
        self.count += other.count;
    }
    /// The time, in seconds, that a share `p` of all stays below; on a straight line within its cell.
    pub fn quantile(&self, p: f64) -> f64 {
        let wanted = p * self.count as f64;
        let mut below = 0.0;
        for (cell, &count) in self.cells.iter().enumerate() {
            let count = f64::from(count);
            if count > 0.0 && below + count >= wanted {
                let shift = (cell >> FINE).saturating_sub(1);
                let start = ((cell - (shift << FINE)) as u64) << shift;
                let width = (1_u64 << shift) as f64;
                return (start as f64 + width * (wanted - below) / count) / 1e9;
            }
            below += count;
        }
        f64::NAN
    }
}

#[cfg(test)]
mod tests {
    use sim_core::time::{ns, secs};

    use super::*;

    #[test]
    fn quantiles_are_within_a_cell_of_the_truth() {
        let mut histogram = Histogram::default();
        for n in 1..=100_000_u64 {
            histogram.add(ns(n * 1_000_003));
        }
        for p in [0.001, 0.5, 0.99, 1.0] {
            let truth = p * 100_000.0 * 1_000_003e-9;
            assert!((histogram.quantile(p) / truth - 1.0).abs() < 1.0 / 512.0, "{p}");
        }
    }

    #[test]
    fn small_and_huge_times_have_cells() {
        for nanos in [0, 1, 511, 512, 1023, 1024, u64::MAX] {
            let mut histogram = Histogram::default();
            histogram.add(ns(nanos));
            let quantile = histogram.quantile(1.0) * 1e9;
            assert!((quantile - nanos as f64).abs() <= 1.0 + nanos as f64 / 512.0, "{nanos}: {quantile}");
        }
    }

    #[test]
    fn an_area_counts_only_what_is_in_its_window() {
        let mut area = Area::new(Window::new(10.0, 10.0));
        let at = |s| Monotonic::ZERO + secs(s);
        area.level(at(5), 2); // 2 from 10 to 12
        area.level(at(12), 3); // 3 from 12 to 18
        area.level(at(18), 1); // 1 from 18 to 20
        area.level(at(30), 0);
        assert_eq!(area.area(), 24_000_000_000);
        assert_eq!(area.mean(), 2.4);
    }
}
