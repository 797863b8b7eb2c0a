//! Distributions of times and numbers: exactly one random word in, one value out.
//!
//! Each applies its inverse distribution function to the word ("what value is exceeded by the rest?"), so a larger word
//! gives a larger value (up to the last bit of rounding), every sample costs the same number of words, and a run with a
//! slower network sees the same luck. The word becomes u = (its upper 53 bits) / 2^53 in [0, 1); where the function is
//! infinite at 0 (the normal family) the middle of that cell is taken instead. So no sample is infinite or NaN: the rarest
//! exponential sample is 36.7 means, and a Pareto tail ends at scale * 2^(53 / shape).

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, de::DeserializeOwned};

use super::{Empirical, unit};
use crate::{math, time::Duration};

/// What a distribution can be over: plain numbers (`f64`) and spans of time ([`Duration`]).
pub trait Quantity:
    Copy + PartialOrd + fmt::Debug + fmt::Display + Serialize + DeserializeOwned + private::Sealed + 'static
{
    /// The least value there is.
    const LEAST: f64;
    /// The greatest value there is.
    const GREATEST: f64;
    /// What the schema calls a distribution over it, and an example of a value in text.
    #[doc(hidden)]
    const SCHEMA: (&'static str, &'static str);
    /// The nearest value: what is too large or too small becomes the greatest or least, NaN becomes zero.
    fn from_f64(x: f64) -> Self;
    /// As a number (times in nanoseconds).
    fn to_f64(self) -> f64;
    /// The sum, or the greatest value where it is too large.
    fn plus(self, other: Self) -> Self;
}

mod private {
    pub trait Sealed {}
    impl Sealed for f64 {}
    impl Sealed for crate::time::Duration {}
}

impl Quantity for Duration {
    const LEAST: f64 = 0.0;
    const GREATEST: f64 = u64::MAX as f64;
    const SCHEMA: (&'static str, &'static str) = ("Delay", "\"10ms\"");
    #[inline]
    fn from_f64(x: f64) -> Self {
        Self::from_nanos_f64(x)
    }
    #[inline]
    fn to_f64(self) -> f64 {
        self.as_nanos() as f64
    }
    #[inline]
    fn plus(self, other: Self) -> Self {
        self + other
    }
}

impl Quantity for f64 {
    const LEAST: f64 = Self::MIN;
    const GREATEST: f64 = Self::MAX;
    const SCHEMA: (&'static str, &'static str) = ("Distribution", "10.0");
    #[inline]
    fn from_f64(x: f64) -> Self {
        if x.is_nan() { 0.0 } else { x.clamp(Self::MIN, Self::MAX) }
    }
    #[inline]
    fn to_f64(self) -> f64 {
        self
    }
    #[inline]
    fn plus(self, other: Self) -> Self {
        Self::from_f64(self + other)
    }
}

/// How long something takes: a distribution of times. Samples are whole nanoseconds, never negative.
///
/// In text it is a table with one key: `{ constant = "5ms" }`, `{ exponential = { mean = "10ms" } }`,
/// `{ shifted = { by = "300us", plus = { exponential = { mean = "1ms" } } } }`.
pub type Delay = Distribution<Duration>;

/// A distribution over numbers, or over times ([`Delay`]).
///
/// The fields are open so that a plan can be matched on; [`Distribution::validate`] says whether they make sense. Those
/// that do not (a uniform range that ends before it starts) still never panic and never give NaN.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(remote = "Self", rename_all = "kebab-case", deny_unknown_fields, bound = "T: Quantity")]
pub enum Distribution<T: Quantity = f64> {
    /// Always the same.
    Constant(T),
    /// Every value between the two equally likely.
    Uniform {
        /// The least value.
        from: T,
        /// The greatest value, at least `from`.
        to: T,
    },
    /// The bell curve. A time that would be negative is zero, which makes the mean of a wide curve larger than `mean`.
    Normal {
        /// The middle of the curve.
        mean: T,
        /// The standard deviation, at least 0.
        deviation: T,
    },
    /// A value whose logarithm is normal: never negative, with a long tail. Typical of service times.
    Lognormal {
        /// Half of all values are below it.
        median: T,
        /// The standard deviation of the natural logarithm, at least 0: with 1, one value in six is over 2.7 medians.
        sigma: f64,
    },
    /// The time to the next of many independent events: what has lasted long is no nearer to its end.
    Exponential {
        /// The mean, at least 0.
        mean: T,
    },
    /// The Pareto distribution (type I): a tail so heavy that a few values make up most of the sum.
    Pareto {
        /// The least value, more than 0.
        scale: T,
        /// How fast the tail falls, more than 0: a value exceeds x with probability (scale / x)^shape. Up to 1 the mean
        /// is infinite, up to 2 the variance.
        shape: f64,
    },
    /// Measured points with straight lines between them.
    Empirical(Empirical<T>),
    /// A fixed part and a random one: "0.3 ms plus an exponential of mean 1 ms".
    Shifted {
        /// The fixed part.
        by: T,
        /// The random part.
        plus: Box<Self>,
    },
}

impl<T: Quantity> Distribution<T> {
    /// Always `value`.
    pub const fn constant(value: T) -> Self {
        Self::Constant(value)
    }
    /// Every value from `from` to `to` equally likely.
    pub const fn uniform(from: T, to: T) -> Self {
        Self::Uniform { from, to }
    }
    /// The bell curve; times are clipped at zero.
    pub const fn normal(mean: T, deviation: T) -> Self {
        Self::Normal { mean, deviation }
    }
    /// A value whose natural logarithm is normal with standard deviation `sigma`.
    pub const fn lognormal(median: T, sigma: f64) -> Self {
        Self::Lognormal { median, sigma }
    }
    /// The time to the next of many independent events.
    pub const fn exponential(mean: T) -> Self {
        Self::Exponential { mean }
    }
    /// At least `scale`, more than x with probability (scale / x)^shape.
    pub const fn pareto(scale: T, shape: f64) -> Self {
        Self::Pareto { scale, shape }
    }
    /// Straight lines between (probability, value) points, from probability 0 to 1.
    ///
    /// # Errors
    /// As [`Empirical::new`].
    pub fn empirical(points: &[(f64, T)]) -> Result<Self, String> {
        Empirical::new(points).map(Self::Empirical)
    }
    /// This, and `base` on top of every sample.
    #[must_use]
    pub fn plus(self, base: T) -> Self {
        Self::Shifted { by: base, plus: Box::new(self) }
    }

    /// The value for a random word. Exactly one word to one value; a larger word gives a larger value, up to
    /// the last bit of rounding.
    #[inline]
    pub fn sample(&self, word: u64) -> T {
        match self {
            Self::Constant(value) => *value,
            Self::Uniform { from, to } => uniform(*from, *to, unit(word)),
            _ => self.at(unit(word), || standard_normal(word)),
        }
    }

    /// The value that a sample stays below (or equals) with probability `p`.
    ///
    /// `p` is brought into 0..=1, and NaN counts as 0. Where the quantile is infinite it is the greatest value there is.
    pub fn quantile(&self, p: f64) -> T {
        let p = if p.is_nan() { 0.0 } else { p.clamp(0.0, 1.0) };
        self.at(p, || math::normal_quantile(p))
    }

    /// The least value that can come up. A simulator may rely on no delay of a link being shorter.
    pub fn minimum(&self) -> T {
        self.quantile(0.0)
    }

    /// The mean; none where it is infinite (Pareto with a shape up to 1) or too large to be written.
    pub fn mean(&self) -> Option<T> {
        let mean = match self {
            Self::Constant(value) => return Some(*value),
            Self::Uniform { from, to } => 0.5 * from.to_f64() + 0.5 * to.to_f64(),
            Self::Normal { mean, deviation } => normal_mean(mean.to_f64(), deviation.to_f64(), T::LEAST),
            Self::Lognormal { median, sigma } => median.to_f64() * math::exp(sigma * sigma / 2.0),
            Self::Exponential { mean } => return Some(*mean),
            Self::Pareto { shape, .. } if *shape <= 1.0 => return None,
            Self::Pareto { scale, shape } => scale.to_f64() * shape / (shape - 1.0),
            Self::Empirical(empirical) => empirical.mean(),
            Self::Shifted { by, plus } => by.to_f64() + plus.mean()?.to_f64(),
        };
        (mean <= T::GREATEST).then(|| T::from_f64(mean))
    }

    /// The inverse distribution function at `u`; `normal` is that of the standard normal distribution at the same place.
    fn at<N: FnOnce() -> f64>(&self, u: f64, normal: N) -> T {
        match self {
            Self::Constant(value) => *value,
            Self::Uniform { from, to } => uniform(*from, *to, u),
            // A spread of zero is a constant, also where the standard normal is infinite.
            Self::Normal { mean, deviation } if deviation.to_f64() == 0.0 => *mean,
            Self::Normal { mean, deviation } => T::from_f64(mean.to_f64() + deviation.to_f64() * normal()),
            Self::Lognormal { median, sigma } if *sigma == 0.0 => *median,
            Self::Lognormal { median, sigma } => T::from_f64(median.to_f64() * math::exp(sigma * normal())),
            // Subtracted from zero, not negated: at u = 0 the result is 0, not -0.
            Self::Exponential { mean } => T::from_f64(mean.to_f64() * (0.0 - math::ln(1.0 - u))),
            Self::Pareto { scale, shape } => T::from_f64(scale.to_f64() * math::pow(1.0 - u, -1.0 / shape)),
            Self::Empirical(empirical) => empirical.at(u),
            Self::Shifted { by, plus } => by.plus(plus.at(u, normal)),
        }
    }

    /// Whether the parameters make sense. What is read from text has been checked.
    ///
    /// # Errors
    /// Says which parameter is wrong and what is allowed.
    pub fn validate(&self) -> Result<(), String> {
        let finite = |name: &str, value: T| {
            if value.to_f64().is_finite() {
                return Ok(());
            }
            Err(format!("`{name}` must be a finite number, not {value}"))
        };
        let at_least_zero = |name: &str, value: T| {
            if value.to_f64() >= 0.0 && value.to_f64().is_finite() {
                return Ok(());
            }
            Err(format!("`{name}` must be finite and at least 0, not {value}"))
        };
        let positive = |name: &str, value: f64, text: &dyn fmt::Display| {
            if value > 0.0 && value.is_finite() {
                return Ok(());
            }
            Err(format!("`{name}` must be finite and more than 0, not {text}"))
        };
        match self {
            Self::Constant(value) => finite("constant", *value),
            Self::Uniform { from, to } => {
                finite("from", *from)?;
                finite("to", *to)?;
                if from > to {
                    return Err(format!("uniform: `from` ({from}) must not be more than `to` ({to})"));
                }
                Ok(())
            }
            Self::Normal { mean, deviation } => {
                finite("mean", *mean)?;
                at_least_zero("deviation", *deviation)
            }
            Self::Lognormal { median, sigma } => {
                positive("median", median.to_f64(), median)?;
                if *sigma >= 0.0 && sigma.is_finite() {
                    return Ok(());
                }
                Err(format!("`sigma` must be finite and at least 0, not {sigma}"))
            }
            Self::Exponential { mean } => at_least_zero("mean", *mean),
            Self::Pareto { scale, shape } => {
                positive("scale", scale.to_f64(), scale)?;
                positive("shape", *shape, shape)
            }
            Self::Empirical(_) => Ok(()), // checked when it was made
            Self::Shifted { by, plus } => {
                finite("by", *by)?;
                plus.validate()
            }
        }
    }
}

#[inline]
fn uniform<T: Quantity>(from: T, to: T, u: f64) -> T {
    let (from, to) = (from.to_f64(), to.to_f64());
    T::from_f64(from + u * (to - from))
}

/// The standard normal value for a word.
///
/// The inverse is infinite at 0, so it is taken in the middle of the word's cell of width 2^-53. The upper half mirrors
/// the lower one: that is exactly symmetric, and near 1, where doubles are coarse, the tail is as fine as near 0.
#[inline]
fn standard_normal(word: u64) -> f64 {
    let cell = word >> 11;
    let mirrored = cell >> 52 == 1;
    let from_end = if mirrored { (1 << 53) - 1 - cell } else { cell };
    let p = (from_end as f64 + 0.5) * (1.0 / 9_007_199_254_740_992.0);
    let z = math::normal_quantile(p);
    if mirrored { -z } else { z }
}

/// The mean of a normal variable of which what lies below `least` is cut to it. With a = (mean - least) / deviation it is
/// least + (mean - least) * cdf(a) + deviation * density(a).
fn normal_mean(mean: f64, deviation: f64, least: f64) -> f64 {
    if least < 0.0 || deviation == 0.0 {
        return mean;
    }
    let a = (mean - least) / deviation;
    let density = math::exp(-a * a / 2.0) / math::sqrt(std::f64::consts::TAU);
    least + (mean - least) * math::normal_cdf(a) + deviation * density
}

impl<T: Quantity> Serialize for Distribution<T> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        Self::serialize(self, s)
    }
}
/// Reads and checks: what breaks [`Distribution::validate`] is refused with its reason.
impl<'de, T: Quantity> Deserialize<'de> for Distribution<T> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let distribution = Self::deserialize(d)?;
        distribution.validate().map_err(de::Error::custom)?;
        Ok(distribution)
    }
}

/// In words: `exponential, mean 10ms`.
impl<T: Quantity> fmt::Display for Distribution<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Constant(value) => write!(f, "constant {value}"),
            Self::Uniform { from, to } => write!(f, "uniform, {from} to {to}"),
            Self::Normal { mean, deviation } => write!(f, "normal, mean {mean}, deviation {deviation}"),
            Self::Lognormal { median, sigma } => write!(f, "lognormal, median {median}, sigma {sigma}"),
            Self::Exponential { mean } => write!(f, "exponential, mean {mean}"),
            Self::Pareto { scale, shape } => write!(f, "Pareto, scale {scale}, shape {shape}"),
            Self::Empirical(empirical) => {
                let n = empirical.points().len();
                write!(f, "empirical, {n} points, {} to {}", self.minimum(), self.quantile(1.0))
            }
            Self::Shifted { by, plus } => write!(f, "{by} plus {plus}"),
        }
    }
}

impl From<Duration> for Delay {
    fn from(value: Duration) -> Self {
        Self::Constant(value)
    }
}
impl From<f64> for Distribution {
    fn from(value: f64) -> Self {
        Self::Constant(value)
    }
}

impl<T: Quantity> schemars::JsonSchema for Distribution<T> {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        T::SCHEMA.0.into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let example = format!("{{ exponential = {{ mean = {} }} }}", T::SCHEMA.1);
        schemars::json_schema!({
            "type": "object",
            "format": "distribution",
            "description": format!(
                "one of constant, uniform, normal, lognormal, exponential, pareto, empirical, shifted; such as {example}"
            ),
            "minProperties": 1,
            "maxProperties": 1,
        })
    }
}

#[cfg(test)]
mod tests;
