//! Counting by chance: how many arrive in an interval (Poisson), how many fail before one succeeds (geometric).

use serde::{Deserialize, Serialize};

use super::table::Table;
use crate::math;

/// How many independent events fall into an interval in which `mean` are expected.
///
/// One word a sample: a table of all counts whose probability matters (some 20 standard deviations wide) is made once and
/// searched. In text: `{ mean = 3.5 }`. A clone shares the table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "WrittenPoisson", into = "WrittenPoisson")]
pub struct Poisson {
    mean: f64,
    table: Table,
}

#[derive(Serialize, Deserialize)]
#[serde(rename = "Poisson", deny_unknown_fields)]
struct WrittenPoisson {
    mean: f64,
}

impl Poisson {
    /// The largest mean: a table of about 22,000 counts.
    pub const MEAN_MAX: f64 = 1e6;

    /// With this mean, 0 to [`Poisson::MEAN_MAX`].
    ///
    /// # Errors
    /// Says what is allowed where the mean is out of its range.
    pub fn new(mean: f64) -> Result<Self, String> {
        if !(0.0..=Self::MEAN_MAX).contains(&mean) {
            return Err(format!("poisson: `mean` must be 0 to {}, not {mean}", Self::MEAN_MAX));
        }
        // Weights relative to the most likely count, outwards with P(k) = P(k - 1) * mean / k until they are below what a
        // word of 53 bits can hit even when all of the tail is added up.
        const NEGLIGIBLE: f64 = 1e-25;
        let mode = mean.floor();
        let mut weights = vec![1.0];
        let (mut count, mut weight) = (mode, 1.0);
        while count > 0.0 && weight > NEGLIGIBLE {
            weight *= count / mean;
            count -= 1.0;
            weights.push(weight);
        }
        weights.reverse();
        let first = count as u64;
        (count, weight) = (mode, 1.0);
        while weight > NEGLIGIBLE {
            count += 1.0;
            weight *= mean / count;
            weights.push(weight);
        }
        Ok(Self { mean, table: Table::new(first, weights.into_iter()) })
    }

    /// The mean, which is also the variance.
    pub fn mean(&self) -> f64 {
        self.mean
    }

    /// The count for a random word.
    #[inline]
    pub fn sample(&self, word: u64) -> u64 {
        self.table.sample(word)
    }

    /// The probability of a count.
    pub fn probability(&self, count: u64) -> f64 {
        self.table.probability(count)
    }
}

impl TryFrom<WrittenPoisson> for Poisson {
    type Error = String;
    fn try_from(written: WrittenPoisson) -> Result<Self, String> {
        Self::new(written.mean)
    }
}
impl From<Poisson> for WrittenPoisson {
    fn from(poisson: Poisson) -> Self {
        Self { mean: poisson.mean }
    }
}

/// How many trials fail before the first that succeeds: 0, 1, 2, .. with a mean of (1 - p) / p.
///
/// In text: `{ probability = 0.2 }`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "WrittenGeometric", into = "WrittenGeometric")]
pub struct Geometric {
    probability: f64,
    /// ln(1 - probability): negative, or minus infinity where every trial succeeds.
    ln_failure: f64,
}

#[derive(Serialize, Deserialize)]
#[serde(rename = "Geometric", deny_unknown_fields)]
struct WrittenGeometric {
    probability: f64,
}

impl Geometric {
    /// With this probability of success, more than 0 and at most 1.
    ///
    /// # Errors
    /// Says what is allowed where the probability is out of its range.
    pub fn new(probability: f64) -> Result<Self, String> {
        if !(probability > 0.0 && probability <= 1.0) {
            return Err(format!(
                "geometric: `probability` must be more than 0 and at most 1, not {probability}"
            ));
        }
        Ok(Self { probability, ln_failure: math::ln_1p(-probability) })
    }

    /// The probability that one trial succeeds.
    pub fn probability(&self) -> f64 {
        self.probability
    }

    /// The mean number of failures.
    pub fn mean(&self) -> f64 {
        (1.0 - self.probability) / self.probability
    }

    /// The number of failures for a random word. With a very small probability it saturates at `u64::MAX`.
    #[inline]
    pub fn sample(&self, word: u64) -> u64 {
        // At least k failures have the probability (1 - p)^k; a quotient is never NaN, since ln_failure is never 0.
        (math::ln(1.0 - super::unit(word)) / self.ln_failure) as u64
    }
}

impl TryFrom<WrittenGeometric> for Geometric {
    type Error = String;
    fn try_from(written: WrittenGeometric) -> Result<Self, String> {
        Self::new(written.probability)
    }
}
impl From<Geometric> for WrittenGeometric {
    fn from(geometric: Geometric) -> Self {
        Self { probability: geometric.probability }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Rng, square};

    /// Checks mean and variance of 200,000 samples, each within four standard errors. `kurtosis` is the fourth central
    /// moment over the squared variance: the variance's standard error is variance * sqrt((kurtosis - 1) / n).
    fn moments_hold(sample: impl Fn(u64) -> u64, mean: f64, variance: f64, kurtosis: f64) {
        for seed in [1, 2] {
            let (mut rng, n) = (Rng::seeded(seed), 200_000_u32);
            let values: Vec<f64> = (0..n).map(|_| sample(rng.next_u64()) as f64).collect();
            let n = f64::from(n);
            let got = values.iter().sum::<f64>() / n;
            assert!((got - mean).abs() <= 4.0 * (variance / n).sqrt(), "mean {got}, not {mean}");
            let spread = values.iter().map(|x| square(x - mean)).sum::<f64>() / n;
            let standard_error = variance * ((kurtosis - 1.0) / n).sqrt();
            assert!((spread - variance).abs() <= 4.0 * standard_error, "variance {spread}, not {variance}");
        }
    }

    #[test]
    fn poisson_counts_have_the_mean_as_mean_and_variance() {
        for mean in [0.01, 3.5, 200.0, 1e6] {
            let poisson = Poisson::new(mean).unwrap();
            moments_hold(|word| poisson.sample(word), mean, mean, 3.0 + 1.0 / mean);
        }
        assert_eq!(Poisson::new(0.0).unwrap().sample(u64::MAX), 0);
    }

    #[test]
    fn poisson_quantiles_and_probabilities_are_those_of_the_incomplete_gamma_function() {
        // Computed independently with 40 digits.
        let word = |p: f64| ((p * 9_007_199_254_740_992.0) as u64) << 11;
        for (mean, counts) in [(3.5, [0, 3, 8]), (200.0, [168, 200, 234])] {
            let poisson = Poisson::new(mean).unwrap();
            assert_eq!([0.01, 0.5, 0.99].map(|p| poisson.sample(word(p))), counts);
        }
        let cumulative =
            |mean, up_to| (0..=up_to).map(|k| Poisson::new(mean).unwrap().probability(k)).sum::<f64>();
        for (got, expected) in [
            (cumulative(3.5, 0), 0.030_197_383_422_318_5),
            (cumulative(3.5, 3), 0.536_632_667_900_785),
            (cumulative(3.5, 10), 0.998_980_605_562_383),
            (cumulative(200.0, 200), 0.518_794_309_678_684_5),
        ] {
            assert!((got - expected).abs() < 1e-13, "{got}, not {expected}");
        }
    }

    #[test]
    fn failures_before_a_success_are_geometric() {
        for p in [0.2, 0.9, 0.001] {
            let geometric = Geometric::new(p).unwrap();
            let variance = (1.0 - p) / (p * p);
            moments_hold(|word| geometric.sample(word), geometric.mean(), variance, 9.0 + 1.0 / variance);
        }
        let word = |p: f64| ((p * 9_007_199_254_740_992.0) as u64) << 11;
        let geometric = Geometric::new(0.2).unwrap();
        assert_eq!([0.01, 0.5, 0.99].map(|p| geometric.sample(word(p))), [0, 3, 20]);
        assert_eq!(Geometric::new(1.0).unwrap().sample(u64::MAX), 0);
        assert_eq!(Geometric::new(1e-300).unwrap().sample(u64::MAX), u64::MAX);
    }

    #[test]
    fn the_counts_are_what_they_were() {
        let words = [0, 0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210, u64::MAX];
        let poisson = Poisson::new(3.5).unwrap();
        assert_eq!(words.map(|word| poisson.sample(word)), [0, 0, 9, 28]);
        let geometric = Geometric::new(0.2).unwrap();
        assert_eq!(words.map(|word| geometric.sample(word)), [0, 0, 24, 164]);
    }

    #[test]
    fn what_is_out_of_range_is_refused_with_the_range() {
        for mean in [-1.0, 2e6, f64::NAN] {
            assert!(Poisson::new(mean).unwrap_err().contains("must be 0 to 1000000"));
        }
        for p in [0.0, 1.5, f64::NAN] {
            assert!(Geometric::new(p).unwrap_err().contains("more than 0 and at most 1"));
        }
        assert_eq!(toml::from_str::<Poisson>("mean = 2.5"), Ok(Poisson::new(2.5).unwrap()));
        assert!(
            toml::from_str::<Geometric>("probability = 2").unwrap_err().to_string().contains("at most 1")
        );
    }
}
