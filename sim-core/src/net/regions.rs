//! Regions of the world, and how far apart they are.

use crate::{
    net::Link,
    rng::Delay,
    time::{Duration, ms, us},
};

/// The regions of [`Regions::cloud`], with their cities.
const CLOUD: [(&str, &str); 10] = [
    ("us-south", "Dallas"),
    ("ca-tor", "Toronto"),
    ("us-east", "Washington DC"),
    ("eu-de", "Frankfurt"),
    ("eu-gb", "London"),
    ("eu-es", "Madrid"),
    ("jp-osa", "Osaka"),
    ("au-syd", "Sydney"),
    ("jp-tok", "Tokyo"),
    ("br-sao", "Sao Paulo"),
];

/// Round trips in milliseconds: row i holds those from region i to the regions after it.
const CLOUD_ROUND_TRIPS: [&[u64]; 9] = [
    &[34, 31, 123, 113, 119, 150, 185, 141, 144],
    &[19, 93, 84, 108, 169, 214, 162, 131],
    &[90, 76, 89, 175, 213, 169, 119],
    &[13, 29, 232, 250, 231, 197],
    &[27, 244, 261, 242, 188],
    &[259, 275, 255, 207],
    &[122, 9, 292],
    &[115, 328],
    &[283],
];

/// Latencies between named regions.
#[derive(Clone, Debug, Default)]
pub struct Regions {
    names: Vec<String>,
    /// One-way, by (smaller index, larger index).
    delays: std::collections::BTreeMap<(usize, usize), Duration>,
    within: Duration,
    jitter: f64,
}

impl Regions {
    /// No regions yet; half a millisecond inside each of them.
    pub fn new() -> Self {
        Self { within: us(500), ..Self::default() }
    }
    /// Ten regions of a real cloud: `us-south` (Dallas), `ca-tor` (Toronto), `us-east` (Washington DC), `eu-de` (Frankfurt),
    /// `eu-gb` (London), `eu-es` (Madrid), `jp-osa` (Osaka), `au-syd` (Sydney), `jp-tok` (Tokyo), `br-sao` (Sao Paulo).
    ///
    /// The figures are IBM's, for its virtual private cloud: the averages from 28 September to 27 October 2024 as published
    /// in its documentation (repository `ibm-cloud-docs/vpc`, file `_include-segments/network-latency.md`, section
    /// "27 Oct 2024"), in whole milliseconds. The page has both directions, which differ by 4 ms at most; of each pair the
    /// upper one is here. It says "latency" and does not say whether there and back: 13 ms between London and Frankfurt
    /// (640 km, of which light in glass needs 3.2 ms) and 185 ms between Dallas and Sydney (13,800 km, 69 ms) are what
    /// others measure as round trips. Inside a region the page has round trips of about 2 ms between zones, hence 1 ms.
    pub fn cloud() -> Self {
        let mut regions = Self::new().within(ms(1));
        for (from, row) in CLOUD_ROUND_TRIPS.iter().enumerate() {
            for (step, &time) in row.iter().enumerate() {
                regions = regions.round_trip(CLOUD[from].0, CLOUD[from + 1 + step].0, ms(time));
            }
        }
        regions
    }
    /// The city of a region of [`Regions::cloud`].
    pub fn city(region: &str) -> Option<&'static str> {
        CLOUD.iter().find(|(name, _)| *name == region).map(|(_, city)| *city)
    }
    /// Sets the one-way delay inside a region.
    pub fn within(mut self, delay: Duration) -> Self {
        self.within = delay;
        self
    }
    /// Spreads each delay over a lognormal with that sigma around it as the median; 0 is constant.
    pub fn jitter(mut self, sigma: f64) -> Self {
        self.jitter = sigma;
        self
    }
    /// Sets the round-trip time between two regions; each way takes half of it.
    pub fn round_trip(mut self, a: &str, b: &str, time: Duration) -> Self {
        let (a, b) = (self.index(a), self.index(b));
        self.delays.insert((a.min(b), a.max(b)), time / 2);
        self
    }
    fn index(&mut self, name: &str) -> usize {
        self.names.iter().position(|n| n == name).unwrap_or_else(|| {
            self.names.push(name.to_owned());
            self.names.len() - 1
        })
    }
    /// The names, in the order in which they were named first.
    pub fn names(&self) -> &[String] {
        &self.names
    }
    /// The one-way delay between two regions, as far as it is known.
    pub fn one_way(&self, from: &str, to: &str) -> Option<Duration> {
        let find = |name: &str| self.names.iter().position(|n| n == name);
        let (a, b) = (find(from)?, find(to)?);
        if a == b { Some(self.within) } else { self.delays.get(&(a.min(b), a.max(b))).copied() }
    }
    pub(crate) fn link(&self, from: &str, to: &str) -> Option<Link> {
        let delay = self.one_way(from, to)?;
        Some(Link::new(if self.jitter > 0.0 {
            Delay::lognormal(delay, self.jitter)
        } else {
            Delay::constant(delay)
        }))
    }
}
