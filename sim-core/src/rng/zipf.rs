//! Popularity: a few keys get most of the requests. Zipf's law, by rank.

use serde::{Deserialize, Serialize};

use super::table::Table;

/// Zipf's law over n ranks: rank r (from 0, the most popular) comes up in proportion to 1 / (r + 1)^exponent.
///
/// Exact: the probabilities are divided by their own sum, with no approximation for large n. A sample is a *rank*, not a
/// key: used as a key directly, the popular keys are neighbours and land in one shard. Where that matters, look the key
/// up in a shuffled list ([`Rng::shuffle`](super::Rng::shuffle)).
///
/// The table takes 8 bytes a rank and a sample a binary search. In text: `{ n = 1000, exponent = 0.99 }`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct Zipf {
    n: u64,
    exponent: f64,
    table: Table,
}

#[derive(Serialize, Deserialize)]
#[serde(rename = "Zipf", deny_unknown_fields)]
struct Written {
    n: u64,
    exponent: f64,
}

impl Zipf {
    /// The most ranks there can be: a table of 80 MB.
    pub const RANKS_MAX: u64 = 10_000_000;

    /// `n` ranks, 1 to [`Zipf::RANKS_MAX`]; `exponent` 0 (all alike) or more, 0.99 in the YCSB benchmark.
    ///
    /// # Errors
    /// Says what is allowed where a parameter is out of its range.
    pub fn new(n: u64, exponent: f64) -> Result<Self, String> {
        if !(1..=Self::RANKS_MAX).contains(&n) {
            return Err(format!("zipf: `n` must be 1 to {}, not {n}", Self::RANKS_MAX));
        }
        if !(exponent >= 0.0 && exponent.is_finite()) {
            return Err(format!("zipf: `exponent` must be finite and at least 0, not {exponent}"));
        }
        let table = Table::new(0, (1..=n).map(|place| crate::math::pow(place as f64, -exponent)));
        Ok(Self { n, exponent, table })
    }

    /// How many ranks there are.
    pub fn n(&self) -> u64 {
        self.n
    }

    /// How steep popularity falls.
    pub fn exponent(&self) -> f64 {
        self.exponent
    }

    /// The rank for a random word, 0 (the most popular) to n - 1.
    #[inline]
    pub fn sample(&self, word: u64) -> u64 {
        self.table.sample(word)
    }

    /// How often a rank comes up; 0 from rank n on.
    pub fn probability(&self, rank: u64) -> f64 {
        self.table.probability(rank)
    }
}

impl TryFrom<Written> for Zipf {
    type Error = String;
    fn try_from(written: Written) -> Result<Self, String> {
        Self::new(written.n, written.exponent)
    }
}
impl From<Zipf> for Written {
    fn from(zipf: Zipf) -> Self {
        Self { n: zipf.n, exponent: zipf.exponent }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Rng, square};

    /// Exponent, then the probabilities of ranks 0, 1, 2, 9 and 99 of 100, and the mean rank; computed independently from
    /// the closed form with 40 digits.
    const CLOSED_FORM: [(f64, [f64; 5], f64); 3] = [
        (
            0.8,
            [
                0.122_934_146_556_582_82,
                0.070_607_125_961_255_55,
                0.051_047_623_300_254_544,
                0.019_483_749_199_854_492,
                0.003_087_966_147_046_905,
            ],
            24.844_515_072_937_188,
        ),
        (
            1.0,
            [
                0.192_775_635_973_960_05,
                0.096_387_817_986_980_03,
                0.064_258_545_324_653_35,
                0.019_277_563_597_396_005,
                0.001_927_756_359_739_600_6,
            ],
            18.277_563_597_396_007,
        ),
        (
            1.2,
            [
                0.277_543_935_968_710_74,
                0.120_808_014_898_492_29,
                0.074_265_350_872_201_44,
                0.017_511_838_481_539_855,
                0.001_104_922_310_527_844_7,
            ],
            12.663_061_279_648_106,
        ),
    ];

    #[test]
    fn probabilities_are_the_closed_form() {
        for (exponent, shares, _) in CLOSED_FORM {
            let zipf = Zipf::new(100, exponent).unwrap();
            for (rank, share) in [0, 1, 2, 9, 99].into_iter().zip(shares) {
                assert!((zipf.probability(rank) - share).abs() < 3e-16, "{exponent}, rank {rank}");
            }
            assert_eq!(zipf.probability(100), 0.0);
        }
    }

    #[test]
    fn ranks_come_up_as_often_as_the_closed_form_says() {
        for (exponent, shares, mean) in CLOSED_FORM {
            let zipf = Zipf::new(100, exponent).unwrap();
            let (mut rng, n) = (Rng::seeded(11), 200_000_u32);
            let mut counts = [0_u32; 100];
            let (mut sum, mut squares) = (0.0, 0.0);
            for _ in 0..n {
                let rank = zipf.sample(rng.next_u64());
                counts[rank as usize] += 1;
                sum += rank as f64;
                squares += (rank * rank) as f64;
            }
            let n = f64::from(n);
            for (rank, share) in [0, 1, 2, 9, 99].into_iter().zip(shares) {
                let standard_error = (n * share * (1.0 - share)).sqrt();
                let off = (f64::from(counts[rank]) - n * share) / standard_error;
                assert!(off.abs() < 4.0, "exponent {exponent}, rank {rank}: {off} standard errors");
            }
            let standard_error = ((squares / n - square(sum / n)) / n).sqrt();
            assert!((sum / n - mean).abs() < 4.0 * standard_error && standard_error < 0.07, "{exponent}");
            // Chi-square over all 100 ranks: mean 99, standard deviation sqrt(198) = 14.1.
            let chi: f64 = (0..100_u64)
                .map(|rank| {
                    let expected = n * zipf.probability(rank);
                    square(f64::from(counts[rank as usize]) - expected) / expected
                })
                .sum();
            assert!((chi - 99.0).abs() < 4.0 * 14.1, "exponent {exponent}: chi-square {chi}");
        }
    }

    #[test]
    fn the_least_word_is_the_most_popular_rank_and_the_greatest_the_least() {
        for (n, exponent) in [(1, 1.0), (2, 0.0), (1_000, 0.99), (100_000, 3.0)] {
            let zipf = Zipf::new(n, exponent).unwrap();
            assert_eq!(zipf.sample(0), 0);
            assert!(zipf.sample(u64::MAX) < n);
        }
        assert_eq!(Zipf::new(1_000, 0.99).unwrap().sample(u64::MAX), 999);
    }

    #[test]
    fn what_is_out_of_range_is_refused_with_the_range() {
        assert_eq!(Zipf::new(0, 1.0).unwrap_err(), "zipf: `n` must be 1 to 10000000, not 0");
        assert!(Zipf::new(5, -1.0).unwrap_err().contains("at least 0"));
        assert!(Zipf::new(5, f64::NAN).unwrap_err().contains("at least 0"));
        let zipf: Zipf = toml::from_str("n = 10\nexponent = 1").unwrap();
        assert_eq!(toml::from_str::<Zipf>(&toml::to_string(&zipf).unwrap()), Ok(zipf));
        assert!(toml::from_str::<Zipf>("n = 10\nskew = 1").unwrap_err().to_string().contains("`exponent`"));
    }
}
