//! A signed duration, for clocks that jump: `+3s`, `-250ms`.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::time::{Duration, NotADuration};

/// Whole nanoseconds, forward or back.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash)]
pub struct Offset(i64);

impl Offset {
    /// Forward.
    pub const fn ahead(by: Duration) -> Self {
        Self(by.as_nanos() as i64)
    }
    /// Back.
    pub const fn behind(by: Duration) -> Self {
        Self(-(by.as_nanos() as i64))
    }
    /// From whole nanoseconds.
    pub const fn from_nanos(nanos: i64) -> Self {
        Self(nanos)
    }
    /// Whole nanoseconds.
    pub const fn as_nanos(self) -> i64 {
        self.0
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { '-' } else { '+' };
        write!(f, "{sign}{}", Duration::from_nanos(self.0.unsigned_abs()))
    }
}
impl fmt::Debug for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
impl FromStr for Offset {
    type Err = NotADuration;
    fn from_str(text: &str) -> Result<Self, NotADuration> {
        let text = text.trim();
        let (negative, rest) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let nanos = rest.parse::<Duration>()?.as_nanos();
        let nanos = i64::try_from(nanos).unwrap_or(i64::MAX);
        Ok(Self(if negative { -nanos } else { nanos }))
    }
}
impl Serialize for Offset {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}
impl schemars::JsonSchema for Offset {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Offset".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "format": "offset" })
    }
}
impl<'de> Deserialize<'de> for Offset {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(de::Error::custom)
    }
}
