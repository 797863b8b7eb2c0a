//! Time zero: the calendar date on which every run starts, for tools that know no other kind of time.
//!
//! A run starts at virtual time 0. Jaeger and Prometheus want dates, so the export adds a fixed one, by default the
//! first of January 2000. It is fixed, rather than "now", so that the same plan gives the same bytes; and it is not 1970,
//! which tools take for "no time at all".

use std::{fmt, str::FromStr};

use sim_core::time::SimTime;

/// The date of virtual time zero, in nanoseconds since 1970-01-01T00:00:00Z; never 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub struct Epoch(u64);

/// 2000-01-01T00:00:00Z.
pub const EPOCH_DEFAULT: Epoch = Epoch(946_684_800 * SECOND);

const SECOND: u64 = 1_000_000_000;
const DAY: i64 = 86_400;

impl Epoch {
    /// From nanoseconds since 1970; `None` for 0, which receivers take for a time that was never set.
    pub const fn from_unix_nanos(nanos: u64) -> Option<Self> {
        if nanos == 0 { None } else { Some(Self(nanos)) }
    }
    /// Nanoseconds since 1970.
    pub const fn unix_nanos(self) -> u64 {
        self.0
    }
    /// The date of a virtual time, in nanoseconds since 1970. Stops at the last one that 64 bits hold (the year 2554).
    pub const fn at(self, time: SimTime) -> u64 {
        self.0.saturating_add(time.as_nanos())
    }
}

impl Default for Epoch {
    fn default() -> Self {
        EPOCH_DEFAULT
    }
}

/// Why a text is not a date that a run can start on.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "`{0}` is not a date that a run can start on: write 2000-01-01 or 2000-01-01T00:00:00Z, in UTC, later than 1970-01-01 \
     and before the year 2200"
)]
pub struct NotAnEpoch(String);

/// Days from 1970-01-01 to a date of the Gregorian calendar (proleptic), counting whole years of 365 days and the leap
/// days between; years start in March here, so that the leap day is the last of its year.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let (year, month_from_march) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = year / 4 - year / 100 + year / 400;
    // 153 days are the five months March to July, and every five months after them.
    let days_before_month = (153 * month_from_march + 2) / 5;
    // 719,468 days lie between 0000-03-01 and 1970-01-01.
    365 * year + leap_days + days_before_month + day - 1 - 719_468
}

fn days_in_month(year: i64, month: i64) -> i64 {
    let (next_year, next_month) = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
    days_since_1970(next_year, next_month, 1) - days_since_1970(year, month, 1)
}

fn parse(text: &str) -> Option<Epoch> {
    let (date, time) = match text.split_once('T') {
        Some((date, time)) => (date, time.strip_suffix('Z')?),
        None => (text, "00:00:00"),
    };
    let number = |part: &str, digits: usize| {
        (part.len() == digits && part.bytes().all(|b| b.is_ascii_digit()))
            .then(|| part.parse::<i64>().ok())
            .flatten()
    };
    let mut parts = date.split('-');
    let (year, month, day) =
        (number(parts.next()?, 4)?, number(parts.next()?, 2)?, number(parts.next()?, 2)?);
    let mut clock = time.split(':');
    let (hour, minute, second) =
        (number(clock.next()?, 2)?, number(clock.next()?, 2)?, number(clock.next()?, 2)?);
    let whole = parts.next().is_none() && clock.next().is_none();
    let exists = (1970..2200).contains(&year)
        && (1..=12).contains(&month)
        && (1..=days_in_month(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60;
    if !(whole && exists) {
        return None;
    }
    let seconds = days_since_1970(year, month, day) * DAY + hour * 3_600 + minute * 60 + second;
    Epoch::from_unix_nanos(u64::try_from(seconds).ok()? * SECOND)
}

impl FromStr for Epoch {
    type Err = NotAnEpoch;
    fn from_str(text: &str) -> Result<Self, NotAnEpoch> {
        parse(text.trim()).ok_or_else(|| NotAnEpoch(text.to_owned()))
    }
}

/// As RFC 3339 in UTC, to the second, or to the nanosecond where there are any.
impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = (self.0 / SECOND) as i64;
        let (mut days, clock) = (seconds / DAY, seconds % DAY);
        let mut year = 1970;
        loop {
            let length = days_since_1970(year + 1, 1, 1) - days_since_1970(year, 1, 1);
            if days < length {
                break;
            }
            days -= length;
            year += 1;
        }
        let mut month = 1;
        while days >= days_in_month(year, month) {
            days -= days_in_month(year, month);
            month += 1;
        }
        let (hour, minute, second) = (clock / 3_600, clock / 60 % 60, clock % 60);
        write!(f, "{year:04}-{month:02}-{:02}T{hour:02}:{minute:02}:{second:02}", days + 1)?;
        match self.0 % SECOND {
            0 => f.write_str("Z"),
            nanos => write!(f, ".{nanos:09}Z"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_read_and_written_back() {
        for (text, unix_seconds) in [
            ("2000-01-01T00:00:00Z", 946_684_800),
            ("2000-02-29T12:00:00Z", 951_825_600),
            ("1970-01-01T00:00:01Z", 1),
            ("2024-12-31T23:59:59Z", 1_735_689_599),
            ("2100-03-01T00:00:00Z", 4_107_542_400),
        ] {
            let epoch: Epoch = text.parse().unwrap();
            assert_eq!(epoch.unix_nanos(), unix_seconds * SECOND, "{text}");
            assert_eq!(epoch.to_string(), text);
        }
        assert_eq!("2000-01-01".parse(), Ok(EPOCH_DEFAULT));
    }

    #[test]
    fn what_is_no_date_is_refused_and_the_form_is_named() {
        for text in [
            "",
            "now",
            "0",
            "1970-01-01",
            "2001-02-29",
            "2100-02-29",
            "2000-13-01",
            "2000-01-01T24:00:00Z",
            "2000-01-01T00:00:00",
            "2000-01-01T00:00:00+01:00",
            "2000-1-1",
            "2200-01-01",
            "2000-01-01-01",
            "+200-01-01",
        ] {
            let error = text.parse::<Epoch>().unwrap_err().to_string();
            assert!(error.contains("2000-01-01T00:00:00Z"), "{error}");
        }
    }
}
