//! Virtual time: instants, durations, and the two clocks of a node as types of their own.
//!
//! [`SimTime`] is true time, which belongs to the observer: nodes never read it. A node reads [`Monotonic`] (drift only;
//! for time-outs) and [`Wall`] (offset, drift and jumps; for time stamps and leases between machines). The two types do not
//! mix, so a lease cannot be measured with the wrong clock by accident.
//!
//! All are whole nanoseconds in a `u64`: 584 years, exact arithmetic, no rounding that could make two events collapse.

use std::{
    fmt,
    iter::Sum,
    ops::{Add, AddAssign, Div, Mul, Rem, Sub, SubAssign},
    str::FromStr,
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A span of virtual time, in whole nanoseconds.
///
/// In text (plans, knobs, JSON) it is written with its unit, `"50ms"` or `"1.5s"`; on the wire it is a `u64`.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Duration(u64);

/// `n` nanoseconds.
pub const fn ns(n: u64) -> Duration {
    Duration(n)
}
/// `n` microseconds.
pub const fn us(n: u64) -> Duration {
    Duration(n * 1_000)
}
/// `n` milliseconds.
pub const fn ms(n: u64) -> Duration {
    Duration(n * 1_000_000)
}
/// `n` seconds.
pub const fn secs(n: u64) -> Duration {
    Duration(n * 1_000_000_000)
}
/// `n` minutes.
pub const fn mins(n: u64) -> Duration {
    Duration(n * 60_000_000_000)
}

impl Duration {
    /// No time at all.
    pub const ZERO: Self = Self(0);
    /// Longer than any run.
    pub const MAX: Self = Self(u64::MAX);

    /// From whole nanoseconds.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }
    /// Whole nanoseconds.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }
    /// Seconds, rounded to the nearest double.
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1e9
    }
    /// Milliseconds, rounded to the nearest double.
    pub fn as_millis_f64(self) -> f64 {
        self.0 as f64 / 1e6
    }
    /// Rounds to the nearest nanosecond; a negative number or NaN is zero, what is too large is [`Duration::MAX`].
    pub fn from_secs_f64(secs: f64) -> Self {
        Self::from_nanos_f64(secs * 1e9)
    }
    /// Rounds to the nearest nanosecond; a negative number or NaN is zero, what is too large is [`Duration::MAX`].
    pub fn from_nanos_f64(nanos: f64) -> Self {
        // `as` saturates and maps NaN to zero; adding a half and truncating rounds half up.
        Self((nanos + 0.5) as u64)
    }
    /// Scales by a factor of at least 0, rounding to the nearest nanosecond.
    pub fn mul_f64(self, factor: f64) -> Self {
        Self::from_nanos_f64(self.0 as f64 * factor)
    }
    /// The difference, or zero where `other` is longer.
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
    /// Whether this is no time at all.
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }
    pub(crate) const fn is_zero_ref(&self) -> bool {
        self.0 == 0
    }
    /// How many times `other` this is, as a double.
    pub fn ratio(self, other: Self) -> f64 {
        self.0 as f64 / other.0 as f64
    }
}

impl From<std::time::Duration> for Duration {
    fn from(d: std::time::Duration) -> Self {
        Self(u64::try_from(d.as_nanos()).unwrap_or(u64::MAX))
    }
}

impl From<Duration> for std::time::Duration {
    fn from(d: Duration) -> Self {
        Self::from_nanos(d.0)
    }
}

impl Add for Duration {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}
impl AddAssign for Duration {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}
impl Sub for Duration {
    type Output = Self;
    /// Panics where the result would be negative; see [`Duration::saturating_sub`].
    fn sub(self, other: Self) -> Self {
        Self(self.0.checked_sub(other.0).expect("a duration cannot be negative"))
    }
}
impl SubAssign for Duration {
    fn sub_assign(&mut self, other: Self) {
        *self = *self - other;
    }
}
impl Mul<u64> for Duration {
    type Output = Self;
    fn mul(self, n: u64) -> Self {
        Self(self.0.saturating_mul(n))
    }
}
impl Div<u64> for Duration {
    type Output = Self;
    fn div(self, n: u64) -> Self {
        Self(self.0 / n)
    }
}
impl Rem for Duration {
    type Output = Self;
    fn rem(self, other: Self) -> Self {
        Self(self.0 % other.0)
    }
}
impl Sum for Duration {
    fn sum<I: Iterator<Item = Self>>(iter: I) -> Self {
        iter.fold(Self::ZERO, Add::add)
    }
}

/// Exact: the largest unit in which the number has at most three decimals, else nanoseconds.
impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let n = self.0;
        if n == 0 {
            return f.pad("0s");
        }
        for (unit, size) in [("s", 1_000_000_000_u64), ("ms", 1_000_000), ("us", 1_000)] {
            if n >= size && n.is_multiple_of(size / 1_000) {
                let (whole, thousandths) = (n / size, n % size / (size / 1_000));
                let text = if thousandths == 0 {
                    format!("{whole}{unit}")
                } else {
                    let decimals = format!("{thousandths:03}");
                    format!("{whole}.{}{unit}", decimals.trim_end_matches('0'))
                };
                return f.pad(&text);
            }
        }
        f.pad(&format!("{n}ns"))
    }
}
impl fmt::Debug for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why a text is not a duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a duration: write a number and a unit (ns, us, ms, s, min, h), such as 50ms or 1.5s")]
pub struct NotADuration(String);

impl FromStr for Duration {
    type Err = NotADuration;
    fn from_str(text: &str) -> Result<Self, NotADuration> {
        let wrong = || NotADuration(text.to_owned());
        let trimmed = text.trim();
        if trimmed == "0" {
            return Ok(Self::ZERO);
        }
        let split = trimmed.find(|c: char| !c.is_ascii_digit() && c != '.' && c != '_').ok_or_else(wrong)?;
        let (number, unit) = trimmed.split_at(split);
        let nanos: u64 = match unit.trim() {
            "ns" => 1,
            "us" | "µs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "min" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return Err(wrong()),
        };
        let number = number.replace('_', "");
        let (whole, decimals) = number.split_once('.').unwrap_or((&number, ""));
        let mut total = whole.parse::<u64>().ok().and_then(|w| w.checked_mul(nanos)).ok_or_else(wrong)?;
        let mut unit = nanos;
        for digit in decimals.chars() {
            let digit = digit.to_digit(10).ok_or_else(wrong)?;
            if !unit.is_multiple_of(10) && digit != 0 {
                return Err(wrong()); // finer than a nanosecond
            }
            unit /= 10;
            total = total.checked_add(u64::from(digit) * unit).ok_or_else(wrong)?;
        }
        Ok(Self(total))
    }
}

impl Serialize for Duration {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        if s.is_human_readable() { s.collect_str(self) } else { s.serialize_u64(self.0) }
    }
}
impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        if d.is_human_readable() {
            String::deserialize(d)?.parse().map_err(de::Error::custom)
        } else {
            u64::deserialize(d).map(Self)
        }
    }
}
impl schemars::JsonSchema for Duration {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Duration".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "format": "duration" })
    }
}

/// Declares an instant: a number of nanoseconds since an origin, with the arithmetic that makes sense for it.
macro_rules! instant {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(u64);

        impl $name {
            /// The origin.
            pub const ZERO: Self = Self(0);
            /// After everything.
            pub const MAX: Self = Self(u64::MAX);
            /// From whole nanoseconds since the origin.
            pub const fn from_nanos(nanos: u64) -> Self {
                Self(nanos)
            }
            /// Whole nanoseconds since the origin.
            pub const fn as_nanos(self) -> u64 {
                self.0
            }
            /// Seconds since the origin, rounded to the nearest double.
            pub fn as_secs_f64(self) -> f64 {
                self.0 as f64 / 1e9
            }
            /// The time from `earlier` to this, or zero where `earlier` is later.
            pub const fn since(self, earlier: Self) -> Duration {
                Duration(self.0.saturating_sub(earlier.0))
            }
            /// The time since the origin.
            pub const fn since_start(self) -> Duration {
                Duration(self.0)
            }
        }
        impl Add<Duration> for $name {
            type Output = Self;
            fn add(self, d: Duration) -> Self {
                Self(self.0.saturating_add(d.0))
            }
        }
        impl AddAssign<Duration> for $name {
            fn add_assign(&mut self, d: Duration) {
                *self = *self + d;
            }
        }
        impl Sub<Duration> for $name {
            type Output = Self;
            /// Stops at the origin.
            fn sub(self, d: Duration) -> Self {
                Self(self.0.saturating_sub(d.0))
            }
        }
        impl Sub for $name {
            type Output = Duration;
            /// Panics where `earlier` is later; see `since`.
            fn sub(self, earlier: Self) -> Duration {
                Duration(self.0.checked_sub(earlier.0).expect("the earlier instant is the later one"))
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&Duration(self.0), f)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

instant! {
    /// True time since the start of the run. Only the observer, and the physics of the world, know it.
    SimTime
}
instant! {
    /// A reading of a node's monotonic clock: it drifts, never jumps, and starts at zero with the run.
    Monotonic
}
instant! {
    /// A reading of a node's wall clock: offset, drift and jumps included. Its origin lies one day before the run
    /// ([`Wall::START`] is what an exact clock reads at the start), so that clocks that are behind stay in range.
    Wall
}

impl Wall {
    /// What an exact wall clock reads when the run starts.
    pub const START: Self = Self(86_400 * 1_000_000_000);
    /// How far the reading is from the start of the run, in nanoseconds; negative before it.
    pub const fn since_run_start(self) -> i64 {
        self.0 as i64 - Self::START.0 as i64
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_duration_is_written_in_its_largest_exact_unit() {
        for (d, text) in [
            (secs(4), "4s"),
            (ms(1_500), "1.5s"),
            (us(52_200), "52.2ms"),
            (ns(1), "1ns"),
            (ns(1_234_567), "1234.567us"),
            (ns(1_000_000_001), "1000000.001us"),
            (Duration::ZERO, "0s"),
        ] {
            assert_eq!(d.to_string(), text);
        }
    }

    #[test]
    fn what_is_not_a_duration_is_refused_with_the_units() {
        for text in ["", "5", "5m", "ms", "5 parsecs", "-1s", "1.2.3s", "0.1ns", "99999999999999h"] {
            let error = text.parse::<Duration>().unwrap_err().to_string();
            assert!(error.contains("ns, us, ms, s, min, h"), "{error}");
        }
        assert_eq!("1.5min".parse(), Ok(secs(90)));
        assert_eq!("2_000us".parse(), Ok(ms(2)));
    }

    proptest! {
        #[test]
        fn text_and_back_is_the_same_duration(n in any::<u64>()) {
            let d = Duration::from_nanos(n);
            prop_assert_eq!(d.to_string().parse::<Duration>(), Ok(d));
        }
    }
}
