//! Read-through: who wants a value looks into the cache, and fills it where it is not there. How is what a herd depends on.
//!
//! A miss costs one trip to whatever makes the value. Between the expiry of a key and the moment at which the new value is in
//! the cache everybody misses; [`Fill`] says which of them make it. All ways but the first keep the crowd small: by sharing
//! on one node ([`SingleFlight`]), by asking the cache who may ([`CacheClient::get_or_lease`]), or by renewing the value before
//! its time is over ([`EarlyRefresh`]).

use caching_policies::EarlyRefresh;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sim_core::{
    Node, NodeId,
    rng::Rng,
    time::{Duration, ms},
};

use super::{CacheClient, Cached, Failure, Item, Lookup, SetWhen, SingleFlight};

/// How a miss is filled.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Fill {
    /// Every miss asks the database.
    EveryMiss,
    /// Misses of one web server share a query, until the cache has the page.
    SingleFlight,
    /// Misses of one web server share a query, until the database has answered.
    ShortFlight,
    /// The cache lets one ask for 200 ms; the others look again after 10 ms.
    Lease,
    /// The cache lets one ask for 200 ms; the others get the expired page.
    StaleWhileRevalidate,
    /// A reader renews the page early, with a chance that grows towards the expiry.
    EarlyRefresh {
        /// How eagerly.
        beta: f64,
    },
}

/// A cache in front of something slow, as one node uses it: see the module.
///
/// ```
/// # use sim_core::{Sim, plan::Plan, record::RecordingLevel, time::{ms, secs}};
/// # use scenarios::cast::{CacheServer, Failure, Fill, ReadThrough};
/// # let mut sim = Sim::new(&Plan::new("read through", 42, secs(9)), RecordingLevel::Essential);
/// let cache = CacheServer::new().add_to(&mut sim, "cache");
/// sim.node("web", async move |node| {
///     let pages = ReadThrough::new(&node, cache, Fill::SingleFlight, secs(4));
///     let streams = node.rng("pages");
///     let slow = async || {
///         node.sleep(ms(50)).await;
///         Ok::<_, Failure>("page")
///     };
///     assert_eq!(pages.get("hot", |name| streams.fork(name), slow).await.unwrap(), b"page");
///     let never = async || Err::<&str, Failure>("it is in the cache".into());
///     assert_eq!(pages.get("hot", |name| streams.fork(name), never).await.unwrap(), b"page");
/// });
/// # sim.run().unwrap();
/// ```
pub struct ReadThrough {
    node: Node,
    cache: CacheClient,
    flights: SingleFlight<Result<Vec<u8>, Failure>>,
    fill: Fill,
    ttl: Duration,
    jitter: f64,
}

impl ReadThrough {
    /// For one node and one cache server; values live for `ttl`.
    pub fn new(node: &Node, cache: NodeId, fill: Fill, ttl: Duration) -> Self {
        let (node, cache, flights) = (node.clone(), CacheClient::new(node, cache), SingleFlight::new(node));
        Self { node, cache, flights, fill, ttl, jitter: 0.0 }
    }
    /// By which part of the time to live, at most and by chance, a value lives shorter: see [`Item::jittered`].
    pub fn jitter(mut self, share: f64) -> Self {
        self.jitter = share;
        self
    }

    /// The value: from the cache, or made. `chance` gives the streams of chance of this very look-up
    /// (`refresh` and `jitter`): `|name| request.rng(name)`. What it
    /// took to make a value is put into the cache with it.
    ///
    /// # Errors
    /// When the cache does not answer, or the value cannot be made.
    pub async fn get<V: Into<Vec<u8>>, E: Into<Failure>>(
        &self,
        key: &str,
        chance: impl Fn(&str) -> Rng,
        make: impl AsyncFnOnce() -> Result<V, E>,
    ) -> Result<Vec<u8>, Failure> {
        let (found, when) = self.look(key, &chance).await?;
        if let Some(cached) = found {
            return Ok(cached.value);
        }
        let fill = async || {
            let asked = self.node.monotonic();
            let value = make().await.map_err(Into::into)?.into();
            let item = Item::new(value.clone()).ttl(self.ttl).jittered(self.jitter, &mut chance("jitter"));
            let item = item.cost(self.node.monotonic().since(asked));
            let (cache, key) = (self.cache.clone(), key.to_owned());
            let set = async move { cache.set_when(&key, item, when).await };
            if self.fill == Fill::ShortFlight {
                self.node.spawn_detached(async { drop(set.await) }); // the flight does not wait for it
            } else {
                set.await?;
            }
            Ok(value)
        };
        match self.fill {
            Fill::SingleFlight | Fill::ShortFlight => self.flights.share(key, fill).await,
            _ => fill().await,
        }
    }

    /// What to answer with, and else on which condition the new value is stored.
    async fn look(
        &self,
        key: &str,
        chance: &impl Fn(&str) -> Rng,
    ) -> Result<(Option<Cached>, SetWhen), Failure> {
        Ok(match self.fill {
            Fill::Lease | Fill::StaleWhileRevalidate => match self.cache.wait_or_lease(key, ms(10)).await? {
                Lookup::Fill { lease, .. } => (None, SetWhen::Lease(lease)),
                found => (found.value(), SetWhen::Always),
            },
            Fill::EarlyRefresh { beta } => {
                let (rule, u) = (EarlyRefresh::new(beta), chance("refresh").unit());
                let due = |page: &Cached| page.ttl_left.is_some_and(|left| rule.is_due(left, page.cost, u));
                (self.cache.get(key).await?.filter(|page| !due(page)), SetWhen::Always)
            }
            _ => (self.cache.get(key).await?, SetWhen::Always),
        })
    }
}
