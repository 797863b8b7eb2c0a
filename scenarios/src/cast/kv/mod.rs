//! A replicated key-value store: servers that agree by Raft on the order of operations, and clients that find the leader.
//!
//! A write is an entry of the log, and is answered when it is committed and applied. A read goes one of four ways
//! ([`KvRead`]). Each operation carries its client's number and its own, and the servers keep the last answer of each client: an
//! operation that is asked again is not applied again (unless `sessions` is off). A server takes a snapshot of table and
//! sessions after so many entries, if told to. After a restart it applies its log again, from the snapshot on.
//!
//! With [`KvStore::observed`] the four safety properties of Raft are checked at every step of every server, and
//! [`APPLIED_ONCE`] at each entry.

mod client;
mod messages;
mod server;
mod store;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use consensus::raft::{Config, Index, Observer};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sim_core::{
    Node, NodeId, NodeSpec, Sim,
    machine::DiskSpec,
    time::{Duration, ms},
};

pub use client::KvClient;
pub use messages::{
    KvAdmin, KvAdminResponse, KvAnswer, KvError, KvOperation, KvRequest, KvResponse, KvValue,
};

use super::Machine;
use server::Server;

/// No operation of a client is applied at two places of the log.
pub const APPLIED_ONCE: &str = "exactly once: an operation is applied at one index only";
/// The clients' operations get through in the end.
pub const PROGRESS: &str = "progress: an offered operation commits";
/// The port where operators ask ([`KvAdmin`]).
pub const KV_ADMIN_PORT: u16 = 2;

/// How a read is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum KvRead {
    /// From the state of whoever takes itself for the leader.
    Local,
    /// As an entry of the log.
    Log,
    /// After a majority has confirmed the leader.
    ReadIndex,
    /// From the leader's state while it holds a lease.
    Lease,
}

#[derive(Clone)]
struct Settings {
    read: KvRead,
    sessions: bool,
    compact_after: Option<u64>,
    replay_time: Duration,
}

/// The observer's bookkeeping, of all servers.
#[derive(Clone, Default)]
struct Watchers {
    raft: Arc<Mutex<Observer>>,
    /// Where each operation was applied first.
    applied: Arc<Mutex<BTreeMap<(u64, u64), Index>>>,
}

impl Watchers {
    fn applied(&self) -> MutexGuard<'_, BTreeMap<(u64, u64), Index>> {
        self.applied.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

type Change = Arc<dyn Fn(Config) -> Config + Send + Sync>;

/// A replicated store: see the module. Reads by read index, sessions, no snapshots, syncs of 2 ms, unless said otherwise.
///
/// ```
/// # use sim_core::{Sim, plan::Plan, record::RecordingLevel, time::secs};
/// # use scenarios::cast::{KvClient, KvRead, KvStore};
/// # let mut sim = Sim::new(&Plan::new("store", 42, secs(5)), RecordingLevel::Essential);
/// let servers = KvStore::new(3).read(KvRead::Lease).observed().add_to(&mut sim, "server");
/// sim.node("client", async move |node| {
///     let client = KvClient::new(&node, &servers, 1);
///     client.write("a", 1).await.unwrap();
///     assert_eq!(client.increment("a", 41).await, Ok(42));
/// });
/// # assert!(sim.run().unwrap().operations.len() == 2);
/// ```
pub struct KvStore {
    servers: u32,
    learners: u32,
    settings: Settings,
    change: Change,
    observed: bool,
    machine: Machine,
}

impl KvStore {
    /// A store of so many servers, at least one.
    pub fn new(servers: u32) -> Self {
        let mut machine = Machine::cores(1);
        machine.change(|m: NodeSpec| m.disk(DiskSpec { fsync: ms(2), ..DiskSpec::default() }));
        Self {
            servers: servers.max(1),
            learners: 0,
            settings: Settings {
                read: KvRead::ReadIndex,
                sessions: true,
                compact_after: None,
                replay_time: Duration::ZERO,
            },
            change: Arc::new(|config| config),
            observed: false,
            machine,
        }
    }
    /// So many more servers that belong to nothing yet, and wait to be added.
    pub fn spare(mut self, servers: u32) -> Self {
        self.learners = servers;
        self
    }
    /// How reads are answered.
    pub fn read(mut self, read: KvRead) -> Self {
        self.settings.read = read;
        self
    }
    /// Whether an operation that is asked again is recognised.
    pub fn sessions(mut self, sessions: bool) -> Self {
        self.settings.sessions = sessions;
        self
    }
    /// A snapshot after so many entries; none, without a number.
    pub fn compact_after(mut self, entries: Option<u64>) -> Self {
        self.settings.compact_after = entries;
        self
    }
    /// What it costs a core to apply an entry again after a restart.
    pub fn replay_time(mut self, time: Duration) -> Self {
        self.settings.replay_time = time;
        self
    }
    /// Changes the configuration of each server's Raft: timings, switches, flaws.
    pub fn raft(mut self, change: impl Fn(Config) -> Config + Send + Sync + 'static) -> Self {
        let before = self.change;
        self.change = Arc::new(move |config| change(before(config)));
        self
    }
    /// Checks Raft's safety properties at every step, and that each operation is applied once. The run stays the same.
    pub fn observed(mut self) -> Self {
        self.observed = true;
        self
    }
    /// Changes the servers' machines.
    pub fn machine(mut self, change: impl Fn(NodeSpec) -> NodeSpec + 'static) -> Self {
        self.machine.change(change);
        self
    }

    /// Adds the servers: `name-0`, `name-1` and so on, those that wait to be added last.
    pub fn add_to(self, sim: &mut Sim, name: &str) -> Vec<NodeId> {
        let first = sim.nodes() as u32;
        let voters: Vec<NodeId> = (first..first + self.servers).map(NodeId).collect();
        let watchers = self.observed.then(Watchers::default);
        (0..self.servers + self.learners)
            .map(|number| {
                let (settings, change, watchers) =
                    (self.settings.clone(), Arc::clone(&self.change), watchers.clone());
                let voters = if number < self.servers { voters.clone() } else { Vec::new() };
                let spec = self.machine.spec(format!("{name}-{number}"));
                sim.node(spec, async move |node: Node| {
                    let config = change(Config::new(node.id(), voters.iter().copied()));
                    Server::run(node, settings.clone(), config, watchers.clone()).await;
                })
            })
            .collect()
    }
}
