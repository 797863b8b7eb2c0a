//! A measure: one number that came out of a run, with its unit, or the reason why there is none.
//!
//! Measures can be calculated with (`naive.count("db.query") / 10`) and held against bounds. A unit keeps a duration from
//! being compared with a bare number. There is never a NaN; an infinite time is shown as `never`.

use std::{
    fmt,
    ops::{Add, Div, Mul, Sub},
};

use serde::Serialize;
use sim_core::time::Duration;

use super::MeasureError;

/// What a number counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unit {
    /// Pieces, or anything without a unit of its own.
    Number,
    /// Virtual time, in seconds.
    Seconds,
    /// A part of a whole, 1 being all of it; shown in percent.
    Share,
    /// Pieces per second of virtual time.
    PerSecond,
    /// Bytes.
    Bytes,
}

/// See the module.
#[derive(Clone, PartialEq, Debug)]
pub struct Measure {
    label: String,
    unit: Unit,
    value: Result<f64, MeasureError>,
}

/// A part of a whole: `percent(98)` is 0.98.
pub fn percent(n: impl Into<f64>) -> Measure {
    Measure::new("", Unit::Share, n.into() / 100.0)
}

impl Measure {
    /// A number with its unit. A NaN becomes an error. Times are rounded to whole nanoseconds, so that equal times stay
    /// equal through additions.
    pub fn new(label: impl Into<String>, unit: Unit, value: f64) -> Self {
        let label = label.into();
        let value = if value.is_nan() {
            Err(MeasureError::Impossible(format!("{label}: the result is not a number")))
        } else if unit == Unit::Seconds && value.abs() < 4e6 {
            // 4e6 s are 4e15 ns: below 2^53, so that the rounding is exact.
            Ok((value * 1e9 + 0.5).floor() / 1e9)
        } else {
            Ok(value + 0.0) // the sum of nothing is -0
        };
        Self { label, unit, value }
    }
    /// A measure that could not be taken.
    pub fn failed(label: impl Into<String>, unit: Unit, error: MeasureError) -> Self {
        Self { label: label.into(), unit, value: Err(error) }
    }
    pub(super) fn from_result(
        label: impl Into<String>,
        unit: Unit,
        value: Result<f64, MeasureError>,
    ) -> Self {
        match value {
            Ok(value) => Self::new(label, unit, value),
            Err(error) => Self::failed(label, unit, error),
        }
    }
    /// What was measured, in a few words.
    pub fn label(&self) -> &str {
        &self.label
    }
    /// The unit of [`Measure::value`].
    pub fn unit(&self) -> Unit {
        self.unit
    }
    /// The number, never NaN; infinite for a time that never came. Times are in seconds, shares are 1 for the whole.
    ///
    /// # Errors
    /// Why it could not be measured.
    pub fn value(&self) -> Result<f64, MeasureError> {
        self.value.clone()
    }
    /// The same number under a better name.
    pub fn named(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }
    /// Zero where the run never recorded the name. For what a good variant never does: a run without one retry records
    /// no counter of retries. A name that no variant recorded remains an error, since it is misspelt.
    pub fn or_zero(mut self) -> Self {
        if let Err(MeasureError::NeverRecorded { elsewhere, .. }) = &self.value
            && *elsewhere != Some(false)
        {
            self.value = Ok(0.0);
        }
        self
    }
    /// The part that this is of the whole, shown in percent: `run.count("page.ok").share_of(run.count("page"))`.
    pub fn share_of(self, whole: impl Into<Self>) -> Self {
        let whole = whole.into();
        let label = joined(&self.label, "of", &whole.label);
        if !compatible(self.unit, whole.unit) {
            let text = format!("{label}: a part and its whole need the same unit");
            return Self::failed(label, Unit::Share, MeasureError::Units(text));
        }
        let mut share = self / whole;
        share.unit = Unit::Share;
        share.label = label;
        share
    }
    /// A bare number as a rate: what a knob says in requests per second.
    pub fn per_second(mut self) -> Self {
        self.unit = Unit::PerSecond;
        self
    }
    /// Without its sign.
    pub fn abs(mut self) -> Self {
        self.value = self.value.map(f64::abs);
        self
    }
    fn combine(
        self,
        sign: &str,
        other: Self,
        unit: Option<Unit>,
        calculate: impl FnOnce(f64, f64) -> Result<f64, String>,
    ) -> Self {
        let right = if other.label.is_empty() { other.to_string() } else { other.label.clone() };
        let label =
            if self.label.is_empty() { other.label.clone() } else { joined(&self.label, sign, &right) };
        let result = self.value.and_then(|a| {
            let b = other.value?;
            if unit.is_none() {
                let text =
                    format!("{label}: `{sign}` needs equal units, not {} and {}", self.unit, other.unit);
                return Err(MeasureError::Units(text));
            }
            calculate(a, b).map_err(|reason| MeasureError::Impossible(format!("{label}: {reason}")))
        });
        Self::from_result(label, unit.unwrap_or(self.unit), result)
    }
    /// The number for people: `1,060`, `412.3ms`, `35.2 %`.
    pub(super) fn text(&self) -> String {
        match &self.value {
            Ok(value) => text(*value, self.unit, false),
            Err(_) => "not measured".to_owned(),
        }
    }
    /// The number with all its digits, for when two different numbers look the same.
    pub(super) fn exact_text(&self) -> String {
        match &self.value {
            Ok(value) => text(*value, self.unit, true),
            Err(_) => "not measured".to_owned(),
        }
    }
}

/// What came of two things. The same thing of two runs, or of two parts of one, is named once: `difference in p99 of page`.
fn joined(left: &str, word: &str, right: &str) -> String {
    if left.is_empty() || right.is_empty() {
        return format!("{left}{right}");
    }
    match word {
        _ if left != right => format!("{left} {word} {right}"),
        "of" => format!("share of {left}"),
        "-" => format!("difference in {left}"),
        "/" => format!("ratio of {left}"),
        "+" => format!("{left}, added up"),
        _ => format!("{left}, multiplied"),
    }
}

/// Whether two numbers can be compared: all but times go with a bare number.
pub(super) fn compatible(a: Unit, b: Unit) -> bool {
    let bare = |unit| unit == Unit::Number;
    a == b || (bare(a) && b != Unit::Seconds) || (bare(b) && a != Unit::Seconds)
}

fn sum_unit(a: Unit, b: Unit) -> Option<Unit> {
    if !compatible(a, b) {
        None
    } else if a == Unit::Number {
        Some(b)
    } else {
        Some(a)
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Number => "a number",
            Self::Seconds => "a time",
            Self::Share => "a share",
            Self::PerSecond => "a rate per second",
            Self::Bytes => "a number of bytes",
        })
    }
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text())
    }
}

/// A number with thousands apart and at most three decimals, or with all its digits.
fn number(value: f64, exact: bool) -> String {
    let digits = if exact { format!("{value}") } else { format!("{value:.3}") };
    let (sign, digits) = digits.strip_prefix('-').map_or(("", digits.as_str()), |rest| ("-", rest));
    let (whole, decimals) = digits.split_once('.').unwrap_or((digits, ""));
    let decimals = decimals.trim_end_matches('0');
    let mut grouped = String::new();
    for (i, digit) in whole.chars().enumerate() {
        if i > 0 && (whole.len() - i).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    let sign = if grouped == "0" && decimals.is_empty() { "" } else { sign };
    if decimals.is_empty() { format!("{sign}{grouped}") } else { format!("{sign}{grouped}.{decimals}") }
}

fn text(value: f64, unit: Unit, exact: bool) -> String {
    if value.is_infinite() {
        return if value > 0.0 { "never".to_owned() } else { "always".to_owned() };
    }
    match unit {
        Unit::Number => number(value, exact),
        Unit::Share => format!("{} %", number(value * 100.0, exact)),
        Unit::PerSecond => format!("{}/s", number(value, exact)),
        Unit::Bytes => format!("{} B", number(value, exact)),
        Unit::Seconds => {
            let size = value.abs();
            let (scale, name) = match size {
                _ if size == 0.0 || size >= 1.0 => (1.0, "s"),
                _ if size >= 1e-3 => (1e3, "ms"),
                _ if size >= 1e-6 => (1e6, "us"),
                _ => (1e9, "ns"),
            };
            format!("{}{name}", number(value * scale, exact))
        }
    }
}

macro_rules! from_number {
    ($($number:ty),*) => {$(
        impl From<$number> for Measure {
            fn from(n: $number) -> Self {
                Self::new("", Unit::Number, n as f64)
            }
        }
    )*};
}
from_number!(f64, i32, i64, u32, u64, usize);

impl From<Duration> for Measure {
    fn from(d: Duration) -> Self {
        Self::new("", Unit::Seconds, d.as_secs_f64())
    }
}
impl From<&Self> for Measure {
    fn from(other: &Self) -> Self {
        other.clone()
    }
}

impl<T: Into<Self>> Add<T> for Measure {
    type Output = Self;
    fn add(self, other: T) -> Self {
        let other = other.into();
        let unit = sum_unit(self.unit, other.unit);
        self.combine("+", other, unit, |a, b| Ok(a + b))
    }
}
impl<T: Into<Self>> Sub<T> for Measure {
    type Output = Self;
    fn sub(self, other: T) -> Self {
        let other = other.into();
        let unit = sum_unit(self.unit, other.unit);
        self.combine("-", other, unit, |a, b| Ok(a - b))
    }
}
impl<T: Into<Self>> Mul<T> for Measure {
    type Output = Self;
    fn mul(self, other: T) -> Self {
        let other = other.into();
        let unit = match (self.unit, other.unit) {
            (Unit::Seconds, Unit::PerSecond) | (Unit::PerSecond, Unit::Seconds) => Some(Unit::Number),
            (a, Unit::Number | Unit::Share) => Some(a),
            (Unit::Number | Unit::Share, b) => Some(b),
            _ => None,
        };
        self.combine("x", other, unit, |a, b| Ok(a * b))
    }
}
impl<T: Into<Self>> Div<T> for Measure {
    type Output = Self;
    fn div(self, other: T) -> Self {
        let other = other.into();
        let unit = match (self.unit, other.unit) {
            (a, b) if a == b => Some(Unit::Number),
            (Unit::Number, Unit::Seconds) => Some(Unit::PerSecond),
            (Unit::Number, Unit::PerSecond) => Some(Unit::Seconds),
            (a, Unit::Number | Unit::Share) => Some(a),
            _ => None,
        };
        self.combine(
            "/",
            other,
            unit,
            |a, b| if b == 0.0 { Err("a division by 0".to_owned()) } else { Ok(a / b) },
        )
    }
}

#[cfg(test)]
mod tests {
    use sim_core::time::{ms, secs, us};

    use super::*;

    #[test]
    fn numbers_are_written_for_people() {
        for (measure, written) in [
            (Measure::from(1_060), "1,060"),
            (Measure::from(-1_234_567.5), "-1,234,567.5"),
            (Measure::from(2.8), "2.8"),
            (Measure::from(-0.000_1), "0"),
            (Measure::from(us(412_300)), "412.3ms"),
            (Measure::from(secs(0)), "0s"),
            (Measure::new("", Unit::Seconds, f64::INFINITY), "never"),
            (percent(35), "35 %"),
            (Measure::from(10) / secs(4), "2.5/s"),
        ] {
            assert_eq!(measure.to_string(), written);
        }
    }

    #[test]
    fn arithmetic_keeps_units() {
        assert_eq!((Measure::from(ms(30)) + ms(20)).value(), Ok(0.05));
        assert_eq!((Measure::from(ms(30)) - ms(50)).abs().to_string(), "20ms");
        assert_eq!((Measure::from(ms(30)) * 3 / ms(45)).value(), Ok(2.0));
        assert_eq!((Measure::from(400) / secs(2) * secs(10)).to_string(), "2,000");
        assert_eq!(Measure::from(1).share_of(4).to_string(), "25 %");
        assert_eq!((percent(25) * secs(4)).to_string(), "1s");
    }

    #[test]
    fn what_is_the_same_on_both_sides_is_named_once() {
        let page = || Measure::from(ms(30)).named("median of page");
        let alarms = |count| Measure::from(count).named("false alarms");
        for (measure, label) in [
            (page() - page(), "difference in median of page"),
            ((page() - page()).abs(), "difference in median of page"),
            (page() / page(), "ratio of median of page"),
            (page() + page(), "median of page, added up"),
            (alarms(2) * alarms(3), "false alarms, multiplied"),
            (alarms(3).share_of(alarms(4)), "share of false alarms"),
            // What differs is told in full, and a bare number has no name but its value.
            (alarms(3).share_of(Measure::from(4).named("alarms")), "false alarms of alarms"),
            (page() - ms(10), "median of page - 10ms"),
            (alarms(4) / 2, "false alarms / 2"),
            (alarms(4).share_of(8), "false alarms"),
        ] {
            assert_eq!(measure.label(), label);
        }
    }

    #[test]
    fn tenths_of_a_second_add_up_exactly() {
        let sum = (0..3).fold(Measure::from(secs(0)), |sum, _| sum + ms(100));
        assert_eq!(sum, sum.clone().named("") - ms(0));
        assert_eq!(sum.value(), Measure::from(ms(300)).value());
        let nothing: f64 = [].iter().sum();
        assert!(Measure::from(nothing).value().unwrap().is_sign_positive());
    }

    #[test]
    fn a_time_and_a_bare_number_do_not_mix() {
        assert!(matches!((Measure::from(ms(1)) + 1).value(), Err(MeasureError::Units(_))));
        assert!(matches!(Measure::from(ms(1)).share_of(5).value(), Err(MeasureError::Units(_))));
    }

    #[test]
    fn there_is_no_division_by_zero_and_no_nan() {
        assert!(matches!((Measure::from(1) / 0).value(), Err(MeasureError::Impossible(_))));
        let never = Measure::new("first", Unit::Seconds, f64::INFINITY);
        assert!(matches!((never.clone() - never).value(), Err(MeasureError::Impossible(_))));
        assert!(Measure::from(f64::NAN).value().is_err());
    }

    #[test]
    fn the_first_error_is_the_one_that_is_told() {
        let error = MeasureError::Empty { of: "p99 of page".to_owned() };
        let measure = Measure::failed("p99", Unit::Seconds, error.clone()) * 2 + ms(1);
        assert_eq!(measure.value(), Err(error));
    }
}
