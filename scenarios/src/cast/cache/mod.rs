//! A cache server, as Redis or memcached are: a map in memory, and one thread that carries out one operation after another.
//!
//! Each operation takes the same time on the node's single core, so 0.2 ms an operation is 5,000 a second and no more. Nothing
//! is on a disk: a crash empties it. Entries live for as long as they were told, and the least recently used leave when the
//! memory is full.
//!
//! A miss can be answered in two ways. [`CacheClient::get`] says that there is nothing, and everybody who hears it asks the
//! database. [`CacheClient::get_or_lease`] hands one of them a *lease*, a token that allows to fill the key, and tells the
//! others to wait, or gives them the expired value (Nishtala et al., "Scaling Memcache at Facebook", NSDI 2013, section
//! 3.2.1). A delete voids the token, so that a value read before the delete cannot be stored after it.

mod client;
mod messages;
mod store;

use std::{cell::RefCell, sync::Arc};

use sim_core::{
    Node, NodeId, NodeSpec, Sim,
    net::rpc::Call,
    time::{Duration, Monotonic, us},
};

pub use client::{CacheClient, CacheError, Lookup};
pub use messages::{CacheRequest, CacheResponse, Cached, Item, SetWhen};

use super::{Machine, level::Level};
use store::{Settings, Store, TALLIES};

/// A cache server: see the module. 0.2 ms an operation, no limit on memory, leases of 200 ms, expired values are dropped, unless
/// said otherwise.
///
/// ```
/// # use sim_core::{Sim, plan::Plan, record::RecordingLevel, time::{ms, secs}};
/// # use scenarios::cast::{CacheClient, CacheServer, Item};
/// # let mut sim = Sim::new(&Plan::new("cache", 42, secs(9)), RecordingLevel::Essential);
/// let cache = CacheServer::new()
///     .prefill("hot", Item::new("page").ttl(secs(4)).cost(ms(52)))
///     .add_to(&mut sim, "cache");
/// sim.node("web", async move |node| {
///     let cache = CacheClient::new(&node, cache);
///     let page = cache.get("hot").await.unwrap().expect("it was put there before the run");
///     assert_eq!(page.value, b"page");
///     assert!(page.ttl_left < Some(secs(4)));
///     cache.set("cold", Item::new("other page").ttl(secs(60))).await.unwrap();
/// });
/// # sim.run().unwrap();
/// ```
pub struct CacheServer {
    operation: Duration,
    settings: Settings,
    prefill: Vec<(String, Item)>,
    machine: Machine,
}

impl Default for CacheServer {
    fn default() -> Self {
        Self {
            operation: us(200),
            settings: Settings::default(),
            prefill: Vec::new(),
            machine: Machine::default(),
        }
    }
}

impl CacheServer {
    /// What an entry takes beside its key and its value, in bytes: pointers, times, its place in the map.
    pub const ENTRY_OVERHEAD: u64 = store::ENTRY_OVERHEAD;

    /// A cache server.
    pub fn new() -> Self {
        Self::default()
    }
    /// How long an operation takes on the core.
    pub fn operation(mut self, time: Duration) -> Self {
        self.operation = time;
        self
    }
    /// How many bytes the entries may take, keys and [`CacheServer::ENTRY_OVERHEAD`] included.
    pub fn memory(mut self, bytes: u64) -> Self {
        self.settings.bytes_max = bytes;
        self
    }
    /// How many entries there may be.
    pub fn entries(mut self, entries: usize) -> Self {
        self.settings.entries_max = entries;
        self
    }
    /// After that long without a fill, a lease is handed to somebody else too.
    pub fn lease_time(mut self, time: Duration) -> Self {
        self.settings.lease = time;
        self
    }
    /// Keeps values for that long after they have expired or were deleted, to hand them out while somebody fills the key.
    pub fn keep_stale(mut self, time: Duration) -> Self {
        self.settings.keep_stale = time;
        self
    }
    /// Puts an entry there before the run; its time to live counts from the start of the run. A restart finds nothing.
    pub fn prefill(mut self, key: impl Into<String>, item: Item) -> Self {
        self.prefill.push((key.into(), item));
        self
    }
    /// Puts many entries there before the run.
    pub fn prefill_all<K: Into<String>>(mut self, items: impl IntoIterator<Item = (K, Item)>) -> Self {
        self.prefill.extend(items.into_iter().map(|(key, item)| (key.into(), item)));
        self
    }
    /// What the server is made of.
    pub fn machine(mut self, change: impl Fn(NodeSpec) -> NodeSpec + 'static) -> Self {
        self.machine.change(change);
        self
    }
    /// Adds the server.
    pub fn add_to(self, sim: &mut Sim, name: &str) -> NodeId {
        self.add_node(sim, name)
    }
    /// Adds so many servers, all alike: `cache-0`, `cache-1`, ...
    pub fn add_many(self, sim: &mut Sim, name: &str, servers: u32) -> Vec<NodeId> {
        (0..servers).map(|server| self.add_node(sim, &format!("{name}-{server}"))).collect()
    }

    fn add_node(&self, sim: &mut Sim, name: &str) -> NodeId {
        let (operation, settings) = (self.operation, self.settings);
        let prefill: Arc<[(String, Item)]> = self.prefill.clone().into();
        sim.node(self.machine.spec(name), async move |node| {
            let mut store = Store::new(settings, u64::from(node.incarnation()));
            if node.incarnation() == 0 {
                for (key, item) in prefill.iter() {
                    store.prefill(key.clone(), item.clone(), Monotonic::ZERO);
                }
            }
            let server = Server::new(&node, store, operation);
            node.serve(async move |_call: Call, request: CacheRequest| server.handle(request).await);
            std::future::pending::<()>().await;
        })
    }
}

struct Server {
    node: Node,
    store: RefCell<Store>,
    operation: Duration,
    queue: Level,
    entries: Level,
    bytes: Level,
    counters: Vec<sim_core::record::Counter>,
}

impl Server {
    fn new(node: &Node, store: Store, operation: Duration) -> Self {
        let server = Self {
            operation,
            queue: Level::new(node, "cache.queue"),
            entries: Level::new(node, "cache.entries"),
            bytes: Level::new(node, "cache.bytes"),
            counters: TALLIES.iter().map(|name| node.counter(name)).collect(),
            store: RefCell::new(store),
            node: node.clone(),
        };
        server.show(&[0; TALLIES.len()]);
        server
    }

    async fn handle(&self, request: CacheRequest) -> CacheResponse {
        let inside = self.queue.enter();
        // The one thread: the node's core takes operations in order of arrival.
        self.node.work(self.operation).await;
        drop(inside);
        let now = self.node.monotonic();
        let before = self.store.borrow().tally;
        let response = self.store.borrow_mut().apply(request, now);
        self.show(&before);
        response
    }

    /// What has changed since `before`.
    fn show(&self, before: &[u64; TALLIES.len()]) {
        let store = self.store.borrow();
        for ((counter, before), after) in self.counters.iter().zip(before).zip(&store.tally) {
            if after > before {
                counter.add((after - before) as f64);
            }
        }
        for (level, now) in [(&self.entries, store.len() as u64), (&self.bytes, store.bytes())] {
            if level.count() as u64 != now {
                level.set(now as f64);
            }
        }
    }
}
