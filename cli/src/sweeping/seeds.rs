//! Which seeds: `0..10000`, `0..=99`, `7`, `1,5,9`, and mixtures of these.

use std::{fmt, str::FromStr};

/// The most seeds of one command: what a list in memory holds without trouble.
const MOST: u64 = 10_000_000;
const HOW: &str = "write 0..1000, 0..=99, 7 or 1,5,9";

/// A list of seeds, in order, each once; and how it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seeds {
    text: String,
    list: Vec<u64>,
}

impl Seeds {
    pub(crate) fn list(&self) -> &[u64] {
        &self.list
    }
    /// The first so many numbers.
    pub(crate) fn first(count: u64) -> Self {
        Self { text: format!("0..{count}"), list: (0..count).collect() }
    }
}

impl fmt::Display for Seeds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Seeds {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let number =
            |part: &str| crate::input::seed(part.trim()).map_err(|error| format!("`{text}`: {error}; {HOW}"));
        let (mut list, mut parts) = (Vec::new(), Vec::new());
        for part in text.split(',') {
            let (from, to, text) = if let Some((from, to)) = part.split_once("..=") {
                let (from, to) = (number(from)?, number(to)?);
                (from, to.saturating_add(1), format!("{from}..={to}"))
            } else if let Some((from, to)) = part.split_once("..") {
                let (from, to) = (number(from)?, number(to)?);
                (from, to, format!("{from}..{to}"))
            } else {
                let seed = number(part)?;
                (seed, seed + 1, seed.to_string())
            };
            if from >= to {
                return Err(format!("there is no seed in `{text}`: the smaller one comes first"));
            }
            if to - from > MOST || list.len() as u64 + (to - from) > MOST {
                return Err(format!(
                    "`{text}` are more than {MOST} seeds: share them out with --shard, or take fewer"
                ));
            }
            list.extend(from..to);
            parts.push(text);
        }
        list.sort_unstable();
        list.dedup();
        Ok(Self { text: parts.join(","), list })
    }
}

/// A part of the seeds: the i-th of n, counted from 1, takes every n-th.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Shard {
    pub(crate) number: u64,
    pub(crate) of: u64,
}

impl Shard {
    pub(crate) const WHOLE: Self = Self { number: 1, of: 1 };
    /// Whether the seed at that place of the list, counted from 0, is its own.
    pub(crate) fn has(self, place: usize) -> bool {
        place as u64 % self.of == self.number - 1
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.number, self.of)
    }
}

impl FromStr for Shard {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let read = || {
            let (number, of) = text.split_once('/')?;
            let (number, of) = (number.trim().parse().ok()?, of.trim().parse().ok()?);
            (1 <= number && number <= of).then_some(Self { number, of })
        };
        read().ok_or_else(|| {
            format!("`{text}` is no shard: write 3/16 for the third of sixteen, 1/16 is the first")
        })
    }
}

impl serde::Serialize for Shard {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}
impl<'de> serde::Deserialize<'de> for Shard {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &str) -> Vec<u64> {
        text.parse::<Seeds>().unwrap().list
    }

    #[test]
    fn seeds_are_ranges_and_single_numbers() {
        assert_eq!(list("0..4"), [0, 1, 2, 3]);
        assert_eq!(list("2..=4"), [2, 3, 4]);
        assert_eq!(list("7"), [7]);
        assert_eq!(list("9,1,5, 1..3"), [1, 2, 5, 9]);
        assert_eq!(list("1_000..1_002"), [1_000, 1_001]);
        assert_eq!("1_000..1_002,7".parse::<Seeds>().unwrap().to_string(), "1000..1002,7");
    }

    #[test]
    fn what_is_no_seed_is_answered_with_what_is() {
        let told = |text: &str| text.parse::<Seeds>().unwrap_err();
        assert!(told("5..2").contains("there is no seed in `5..2`"));
        assert!(told("0..0").contains("there is no seed"));
        assert!(told("a..b").contains("write 0..1000"), "{}", told("a..b"));
        assert!(told("").contains("write 0..1000"));
        assert!(told("0..9000000000000000000").contains("more than 10000000 seeds"));
    }

    #[test]
    fn shards_share_out_all_seeds() {
        let shards: Vec<Shard> = (1..=3).map(|number| Shard { number, of: 3 }).collect();
        for place in 0..10 {
            assert_eq!(shards.iter().filter(|shard| shard.has(place)).count(), 1);
        }
        assert_eq!("3/16".parse(), Ok(Shard { number: 3, of: 16 }));
        for text in ["0/3", "4/3", "3", "a/b", "1/0"] {
            assert!(text.parse::<Shard>().unwrap_err().contains("write 3/16"), "{text}");
        }
    }
}
