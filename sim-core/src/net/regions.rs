//! Regions of the world, and how far apart they are.

use crate::{
    net::Link,
    rng::Delay,
    time::{Duration, us},
};

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
