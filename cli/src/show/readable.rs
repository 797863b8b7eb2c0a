//! Numbers with as many digits as a reader can use: at most four that matter.
//!
//! Recorded and measured texts are exact, and stay so in documents and plans: `3000664.448us`. Whoever reads the terminal is
//! better served by `3.001s`. Whole numbers keep all their digits, and so does everything that has four or fewer.

use sim_core::time::Duration;
use viz::terminal::{rounded, rounded_duration};

const DIGITS: usize = 4;

/// The text with its long numbers cut.
pub(super) fn readable(text: &str) -> String {
    tokens(text).into_iter().map(|token| token.shown).collect()
}

/// What was measured and its bound. A number that would look equal to one of the bound, and is not, stays exact.
pub(super) fn readable_pair(measured: &str, bound: &str) -> (String, String) {
    let of_bound = tokens(bound);
    let misleads = |token: &Token| {
        token.is_number
            && of_bound.iter().any(|other| other.shown == token.shown && other.exact != token.exact)
    };
    let shown = |token: Token| if misleads(&token) { token.exact } else { token.shown };
    let measured = tokens(measured).into_iter().map(shown).collect();
    (measured, of_bound.into_iter().map(|token| token.shown).collect())
}

/// A number with its unit, or what stands between two.
struct Token {
    exact: String,
    shown: String,
    is_number: bool,
}

fn tokens(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = text;
    let mut before = ' ';
    while !rest.is_empty() {
        // A digit within a word (`p99`, `n1`, a hash) begins no number.
        let begins = |before: char| !(before.is_alphanumeric() || "._-/`".contains(before));
        let first = rest.chars().next().unwrap_or(' ');
        let length = if first.is_ascii_digit() && begins(before) {
            let number = rest.find(|c: char| !c.is_ascii_digit() && !".,".contains(c)).unwrap_or(rest.len());
            let number = rest[..number].trim_end_matches(['.', ',']).len();
            let unit = rest[number..]
                .find(|c: char| !c.is_ascii_alphanumeric())
                .map_or(rest.len(), |at| number + at);
            let exact = &rest[..unit];
            let shown = shown(&rest[..number], &rest[number..unit]);
            tokens.push(Token { exact: exact.to_owned(), shown, is_number: true });
            unit
        } else {
            let length = first.len_utf8();
            tokens.push(Token {
                exact: rest[..length].to_owned(),
                shown: rest[..length].to_owned(),
                is_number: false,
            });
            length
        };
        before = rest[..length].chars().last().unwrap_or(' ');
        rest = &rest[length..];
    }
    tokens
}

fn shown(number: &str, unit: &str) -> String {
    let exact = format!("{number}{unit}");
    let bare = number.replace(',', "");
    let digits = bare.trim_start_matches(['0', '.']).chars().filter(char::is_ascii_digit).count();
    if digits <= DIGITS {
        return exact;
    }
    if ["ns", "us", "ms", "s"].contains(&unit)
        && let Ok(duration) = format!("{bare}{unit}").parse::<Duration>()
    {
        return rounded_duration(duration, DIGITS);
    }
    match bare.parse::<f64>() {
        Ok(value) if bare.contains('.') => format!("{}{unit}", rounded(value, DIGITS)),
        _ => exact,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_at_most_four_digits_and_the_unit_that_fits() {
        for (exact, text) in [
            ("3000664.448us", "3.001s"),
            ("705.155ms", "705.2ms"),
            ("47.244us", "47.24us"),
            ("999.9996ms", "1s"),
            ("5.7s", "5.7s"),
            ("5700ms", "5700ms"),
            ("23704123456ns", "23.7s"),
            ("p99 of page 448.246ms, 96.123456789s.", "p99 of page 448.2ms, 96.12s."),
            ("0s", "0s"),
        ] {
            assert_eq!(readable(exact), text);
        }
    }

    #[test]
    fn whole_numbers_names_and_short_numbers_stay() {
        for text in [
            "1,787,139 events",
            "9959",
            "node-10123.4567",
            "1,000/s",
            "p99.999 of it",
            "64 things",
            "2min 24s",
        ] {
            assert_eq!(readable(text), text);
        }
        assert_eq!(readable("12.88356 and 1,000.25/s; 89.18234 %"), "12.88 and 1,000/s; 89.18 %");
        assert_eq!(readable("0.000123456"), "0.0001235");
    }

    #[test]
    fn what_misses_its_bound_by_little_does_not_look_equal_to_it() {
        let pair = readable_pair("p99 90.00004ms, 85.12345ms", "below 90ms");
        assert_eq!(pair, ("p99 90.00004ms, 85.12ms".to_owned(), "below 90ms".to_owned()));
        let pair = readable_pair("share 99.99999 %", "at least 100 %");
        assert_eq!(pair.0, "share 99.99999 %");
        assert_eq!(readable_pair("42.2131ms", "at most 105.5162ms").1, "at most 105.5ms");
    }
}
