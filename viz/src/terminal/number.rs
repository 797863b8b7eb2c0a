//! Numbers and durations with as many digits as a reader can use: three that matter, and all of a whole number.

use sim_core::time::Duration;

/// How many digits matter, unless somebody says otherwise.
const DIGITS: usize = 3;

/// A number for a reader: a whole one in full with its thousands set apart, another with three significant digits
/// (`0.00123`, `12.3`, `1,235`), very large or small ones with an exponent (`1.23e-7`).
pub fn number(value: f64) -> String {
    rounded(value, DIGITS)
}

/// The same with another number of significant digits, at least 1.
pub fn rounded(value: f64, digits: usize) -> String {
    let digits = digits.max(1);
    if !value.is_finite() {
        return if value.is_nan() {
            "not a number"
        } else if value > 0.0 {
            "infinite"
        } else {
            "-infinite"
        }
        .to_owned();
    }
    let size = value.abs();
    if size >= 1e15 || (size > 0.0 && size < 1e-4) {
        return format!("{value:.*e}", digits - 1);
    }
    if value == value.trunc() {
        return with_thousands(&format!("{size:.0}"), value < 0.0);
    }
    // Rounding may add a digit (9.996 is 10.0), so the number of decimals follows from the rounded value.
    let rounded: f64 = format!("{size:.*e}", digits - 1).parse().unwrap_or(size);
    let before_the_point = [1e-3, 1e-2, 1e-1, 1.0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6];
    let before_the_point = before_the_point.into_iter().filter(|power| rounded >= *power).count();
    let decimals = (digits + 3).saturating_sub(before_the_point);
    let text = format!("{size:.decimals$}");
    let text = if decimals > 0 { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    with_thousands(text, value < 0.0)
}

fn with_thousands(digits: &str, negative: bool) -> String {
    let (whole, rest) = digits.find('.').map_or((digits, ""), |point| digits.split_at(point));
    let mut out = if negative { "-".to_owned() } else { String::new() };
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out.push_str(rest);
    out
}

/// A duration for a reader: three significant digits and its unit (`1.23ms`, `61.9s`); from two minutes on, minutes
/// and seconds. [`Duration`]'s own text is the exact one.
pub fn duration(value: Duration) -> String {
    rounded_duration(value, DIGITS)
}

/// The same with another number of significant digits, at least 1.
pub fn rounded_duration(value: Duration, digits: usize) -> String {
    let nanos = value.as_nanos();
    if nanos >= 120_000_000_000 {
        // To the nearest second, so that no minute has sixty.
        let seconds = (nanos / 500_000_000).div_ceil(2);
        return match (seconds / 60, seconds % 60) {
            (minutes, 0) => format!("{}min", with_thousands(&minutes.to_string(), false)),
            (minutes, seconds) => format!("{}min {seconds}s", with_thousands(&minutes.to_string(), false)),
        };
    }
    let units = [("ns", 1_u64), ("us", 1_000), ("ms", 1_000_000), ("s", 1_000_000_000)];
    for (unit, size) in units {
        let text = rounded(nanos as f64 / size as f64, digits);
        // What rounds to a thousand of a unit is one of the next.
        if nanos < size.saturating_mul(1_000) && text != "1,000" || unit == "s" {
            return if nanos == 0 { "0s".to_owned() } else { format!("{text}{unit}") };
        }
    }
    value.to_string()
}

#[cfg(test)]
mod tests {
    use sim_core::time::{ms, ns, secs, us};

    use super::*;

    #[test]
    fn three_digits_matter_and_whole_numbers_are_whole() {
        for (value, text) in [
            (0.0, "0"),
            (7.0, "7"),
            (-1_234_567.0, "-1,234,567"),
            (12_345.6, "12,346"),
            (999.6, "1,000"),
            (12.345, "12.3"),
            (9.996, "10"),
            (1.5, "1.5"),
            (0.012_345, "0.0123"),
            (0.1 + 0.2, "0.3"),
            (-0.5, "-0.5"),
            (1.5e-7, "1.50e-7"),
            (2e18, "2.00e18"),
            (f64::INFINITY, "infinite"),
        ] {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn a_duration_has_the_unit_that_fits() {
        for (value, text) in [
            (Duration::ZERO, "0s"),
            (ns(999), "999ns"),
            (us(1), "1us"),
            (ns(1_234_567), "1.23ms"),
            (ns(999_999), "1ms"),
            (ns(59_840_000), "59.8ms"),
            (ms(61_900), "61.9s"),
            (ms(119_999), "120s"),
            (secs(125), "2min 5s"),
            (ms(179_600), "3min"),
            (secs(7_200), "120min"),
        ] {
            assert_eq!(duration(value), text);
        }
    }
}
