//! What a cache server and its clients say to each other.

use serde::{Deserialize, Serialize};
use sim_core::{net::rpc::Request, rng::Rng, time::Duration};

/// What is put into a cache: a value, how long it lives, and what it cost.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// The value.
    #[serde(with = "crate::cast::bytes")]
    pub value: Vec<u8>,
    /// How long it is fresh; for ever without it.
    pub ttl: Option<Duration>,
    /// How long it took to compute: for readers who refresh early (Vattani et al., "Optimal Probabilistic Cache Stampede
    /// Prevention", VLDB 2015).
    pub cost: Duration,
    /// The version of what it was read from, where there is one.
    pub version: u64,
}

impl Item {
    /// A value that lives for ever.
    pub fn new(value: impl Into<Vec<u8>>) -> Self {
        Self { value: value.into(), ..Self::default() }
    }
    /// How long it is fresh.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }
    /// Lives shorter by a part of its time to live, at most `share` and by chance, so that what was stored together does not
    /// expire together. It draws one word.
    pub fn jittered(mut self, share: f64, chance: &mut Rng) -> Self {
        let part = 1.0 - share * chance.unit();
        self.ttl = self.ttl.map(|ttl| ttl.mul_f64(part));
        self
    }
    /// How long it took to compute.
    pub fn cost(mut self, cost: Duration) -> Self {
        self.cost = cost;
        self
    }
    /// The version of what it was read from.
    pub fn version(mut self, version: u64) -> Self {
        self.version = version;
        self
    }
}

/// What a cache gave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cached {
    /// The value.
    #[serde(with = "crate::cast::bytes")]
    pub value: Vec<u8>,
    /// How long it is still fresh: zero for a stale one, `None` where it lives for ever.
    pub ttl_left: Option<Duration>,
    /// What [`Item::cost`] said.
    pub cost: Duration,
    /// What [`Item::version`] said.
    pub version: u64,
}

/// On which condition a value is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SetWhen {
    /// On none. It ends a lease on the key.
    Always,
    /// When the key has no fresh value (SETNX).
    Absent,
    /// When this lease has not been voided.
    Lease(u64),
    /// When what is there, or was deleted, has no higher version.
    NotOlder,
}

/// An operation. The variant's name is the packet's kind: a rule can hold up the first `Set`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CacheRequest {
    /// Reads.
    Get {
        /// What.
        key: String,
    },
    /// Reads, and asks for a lease on a miss.
    GetOrLease {
        /// What.
        key: String,
    },
    /// Stores.
    Set {
        /// Where.
        key: String,
        /// What.
        item: Item,
        /// On which condition.
        when: SetWhen,
    },
    /// Removes, and voids a lease. With a version it leaves a mark that keeps lower versions out.
    Delete {
        /// What.
        key: String,
        /// The version that made the value obsolete.
        version: Option<u64>,
    },
    /// Removes if the value is this one: how the holder of a lock gives it back, and nobody else's.
    DeleteIfEqual {
        /// What.
        key: String,
        /// The value that it must have.
        #[serde(with = "crate::cast::bytes")]
        value: Vec<u8>,
    },
    /// Adds to a whole number, which is 0 where there is none. A number that is made here gets the time to live.
    Increment {
        /// What.
        key: String,
        /// How much.
        by: i64,
        /// How long a new number lives.
        ttl: Option<Duration>,
    },
    /// Gives a fresh value another time to live, from now on.
    Touch {
        /// What.
        key: String,
        /// How long.
        ttl: Duration,
    },
}

/// The answer to an operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CacheResponse {
    /// There is no fresh value.
    Missing,
    /// The value.
    Found(Cached),
    /// There is no fresh value, and the asker is to fill it.
    Lease {
        /// The token that the fill must carry.
        lease: u64,
        /// The expired value, where it was kept.
        stale: Option<Cached>,
    },
    /// There is no fresh value, and somebody else is to fill it.
    Busy {
        /// The expired value, where it was kept.
        stale: Option<Cached>,
    },
    /// Whether it was done: stored, removed, touched.
    Done(bool),
    /// The number.
    Number(i64),
    /// The value alone is larger than the memory.
    TooLarge,
    /// The value is no whole number, or became too large for one.
    NotANumber,
}

impl Request for CacheRequest {
    type Response = CacheResponse;
}
