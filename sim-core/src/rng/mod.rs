//! Chance: everything random in a run, reproducible from one seed and the same on every machine.
//!
//! Three kinds of source, each for one need:
//!
//! - [`Rng`], a stream of ChaCha8 words. Every node, client and generator owns one. Streams are *named*: a stream's key is
//!   a hash of its parent's key and its name, so adding a node leaves the draws of all others alone.
//! - [`addressed::word`], a random word that is looked up instead of drawn: packet k of a kind on a link has its words
//!   whether or not anybody asked for those of packet k - 1. A lost packet shifts nobody's delay.
//! - Distributions, which turn exactly one word into one value: [`Delay`] (times), [`Distribution`] (numbers) and the
//!   whole numbers [`Zipf`], [`Poisson`] and [`Geometric`]. They apply the inverse distribution function to the word, so
//!   that a larger word gives a larger value, and changing a parameter shifts no later draw.
//!
//! ```
//! use sim_core::{rng::{Delay, Rng}, time::{ms, us}};
//!
//! let mut rng = Rng::seeded(7).fork("client-1");
//! let delay = Delay::exponential(ms(1)).plus(us(300)); // 0.3 ms at least, 1.3 ms on average
//! assert!(rng.sample(&delay) >= us(300));
//! ```

pub mod addressed;
mod counts;
mod distribution;
mod empirical;
mod stream;
mod table;
mod zipf;

pub use counts::{Geometric, Poisson};
pub use distribution::{Delay, Distribution, Quantity};
pub use empirical::Empirical;
pub use stream::{Key, Rng};
pub use zipf::Zipf;

/// What turns one random word into one value; [`Rng::sample`] takes any of them.
pub trait Sample {
    /// What comes out.
    type Value;
    /// The value for a word.
    fn sample(&self, word: u64) -> Self::Value;
}

impl<T: Quantity> Sample for Distribution<T> {
    type Value = T;
    #[inline]
    fn sample(&self, word: u64) -> T {
        Self::sample(self, word)
    }
}

/// The distributions over whole numbers.
macro_rules! whole_numbers {
    ($($name:ident)*) => {$(
        impl Sample for $name {
            type Value = u64;
            #[inline]
            fn sample(&self, word: u64) -> u64 {
                Self::sample(self, word)
            }
        }
    )*};
}
whole_numbers! { Zipf Poisson Geometric }

/// A number in [0, 1) from one word: its upper 53 bits, as many as a double holds.
#[inline]
pub fn unit(word: u64) -> f64 {
    (word >> 11) as f64 * (1.0 / 9_007_199_254_740_992.0) // 2^-53
}

/// A whole number in 0..n from one word, by multiplication: floor(word * n / 2^64). For n = 0 it is 0.
///
/// Each number comes up with probability 1/n up to an error below 2^-64: over n = 1000 a trillion draws would not show it.
#[inline]
pub fn below(word: u64, n: u64) -> u64 {
    ((u128::from(word) * u128::from(n)) >> 64) as u64
}

/// For the statistics of the tests.
#[cfg(test)]
fn square(x: f64) -> f64 {
    x * x
}
