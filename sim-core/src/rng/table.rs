//! Chance among consecutive whole numbers, each with a weight of its own: one word, one search.

use std::sync::Arc;

use super::unit;

/// Consecutive whole numbers with their cumulative probabilities. A clone shares the table.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Table {
    /// The number of the first entry.
    first: u64,
    /// The probability of this number or a smaller one; the last is exactly 1.
    cumulative: Arc<[f64]>,
}

impl Table {
    /// Numbers from `first` on, with probabilities in proportion to the weights. At least one weight is positive and none
    /// is negative; the callers make them.
    pub(super) fn new(first: u64, weights: impl Iterator<Item = f64>) -> Self {
        // Kahan's compensated sum: a million small weights after a large one are not lost.
        let (mut sum, mut lost) = (0.0_f64, 0.0_f64);
        let mut cumulative: Vec<f64> = weights
            .map(|weight| {
                let corrected = weight - lost;
                let next = sum + corrected;
                lost = (next - sum) - corrected;
                sum = next;
                sum
            })
            .collect();
        for share in &mut cumulative {
            *share /= sum;
        }
        Self { first, cumulative: cumulative.into() }
    }

    /// The number for a random word: the smallest whose cumulative probability exceeds it.
    #[inline]
    pub(super) fn sample(&self, word: u64) -> u64 {
        let u = unit(word);
        self.first + self.cumulative.partition_point(|&share| share <= u) as u64
    }

    /// The probability of a number; 0 for one that is not in the table.
    pub(super) fn probability(&self, number: u64) -> f64 {
        let Some(index) = number.checked_sub(self.first).and_then(|i| usize::try_from(i).ok()) else {
            return 0.0;
        };
        let below = if index == 0 { 0.0 } else { self.cumulative.get(index - 1).copied().unwrap_or(1.0) };
        self.cumulative.get(index).map_or(0.0, |share| share - below)
    }
}
