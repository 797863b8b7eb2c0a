//! Which key a request asks for: one, all alike, or a few that everybody wants.

use sim_core::rng::{Rng, Zipf};

/// How a load generator picks keys. A key is a name and a number: `page:17`.
#[derive(Clone, Debug, PartialEq)]
pub struct Keys {
    kind: Kind,
    prefix: String,
}

#[derive(Clone, Debug, PartialEq)]
enum Kind {
    One(String),
    List(Vec<String>),
    Uniform(u64),
    Zipf(Zipf),
    Each,
}

/// A key that was picked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Picked {
    pub(super) key: String,
    pub(super) number: u64,
}

impl Keys {
    fn new(kind: Kind) -> Self {
        Self { kind, prefix: "key".to_owned() }
    }
    /// Always the same key.
    pub fn one(key: impl Into<String>) -> Self {
        Self::new(Kind::One(key.into()))
    }
    /// The keys of a list, each as often as the others. An empty list is the empty key.
    pub fn list(keys: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self::new(Kind::List(keys.into_iter().map(Into::into).collect()))
    }
    /// `key:0` to `key:{n-1}`, each as often as the others; n is at least 1.
    pub fn uniform(n: u64) -> Self {
        Self::new(Kind::Uniform(n.max(1)))
    }
    /// `key:0` (the most popular) to `key:{n-1}` after Zipf's law: key r comes up in proportion to 1 / (r + 1)^exponent.
    /// What is out of range becomes the nearest that is allowed: n 1 to [`Zipf::RANKS_MAX`], exponent finite and at least 0.
    pub fn zipf(n: u64, exponent: f64) -> Self {
        let exponent = if exponent.is_finite() { exponent.max(0.0) } else { 0.0 };
        let zipf = Zipf::new(n.clamp(1, Zipf::RANKS_MAX), exponent).expect("both are in range");
        Self::new(Kind::Zipf(zipf))
    }
    /// A key of its own for each request: `key:0`, `key:1`, ... (with several front ends, of the whole generator).
    pub fn each() -> Self {
        Self::new(Kind::Each)
    }
    /// Another name before the number: `Keys::uniform(20).named("price")` gives `price:7`. One key and lists keep theirs.
    pub fn named(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }
    /// The key of a number, as this generator writes it; for whoever fills a cache before the run.
    pub fn key(&self, number: u64) -> String {
        match &self.kind {
            Kind::One(key) => key.clone(),
            Kind::List(keys) => keys.get(number as usize).cloned().unwrap_or_default(),
            _ => format!("{}:{number}", self.prefix),
        }
    }
    /// How many different keys there are; none where each request has its own.
    pub fn count(&self) -> Option<u64> {
        match &self.kind {
            Kind::One(_) => Some(1),
            Kind::List(keys) => Some(keys.len() as u64),
            Kind::Uniform(n) => Some(*n),
            Kind::Zipf(zipf) => Some(zipf.n()),
            Kind::Each => None,
        }
    }
    /// One word of the stream for each request, whatever the kind, so that another kind shifts no draw.
    pub(super) fn pick(&self, rng: &mut Rng, ordinal: u64) -> Picked {
        let word = rng.next_u64();
        let number = match &self.kind {
            Kind::One(_) => 0,
            Kind::List(keys) => sim_core::rng::below(word, keys.len() as u64),
            Kind::Uniform(n) => sim_core::rng::below(word, *n),
            Kind::Zipf(zipf) => zipf.sample(word),
            Kind::Each => ordinal,
        };
        Picked { key: self.key(number), number }
    }
}

impl From<&str> for Keys {
    fn from(key: &str) -> Self {
        Self::one(key)
    }
}
