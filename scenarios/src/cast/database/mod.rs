//! A relational database, as PostgreSQL is one: connections, rows with locks, and a log on disk.
//!
//! There are as many places for connections as it was told, and each statement needs one: either one that the client keeps
//! ([`DatabaseClient::connect`]), or whichever is free, as through a pooler in front of it. Who finds none waits in line,
//! or is refused where the line is full. A statement takes time on the database's cores.
//!
//! A transaction locks the rows that it writes until it ends; the next in line gets them then. Readers wait for nobody: they
//! see what was committed last (read committed). A commit is acknowledged when its record in the write-ahead log is synced,
//! and one sync serves all who wait. After a crash the log is replayed, and the database takes connections when that is done.

mod client;
mod locks;
mod messages;
mod server;

use std::{collections::BTreeMap, sync::Arc};

use sim_core::{
    NodeId, NodeSpec, Sim,
    machine::DiskSpec,
    rng::Delay,
    time::{Duration, ms},
};

pub use client::{Connection, DatabaseClient, Transaction};
pub use messages::{Answer, DatabaseError, DatabaseRequest, DatabaseResponse, Row, Statement};

use super::Machine;
use server::Server;

#[derive(Clone)]
struct Settings {
    connections: usize,
    queue: usize,
    skip_abandoned: bool,
    query_time: Delay,
    times: BTreeMap<String, Delay>,
    row_time: Duration,
    first_query: Delay,
    lock_timeout: Option<Duration>,
    group_commit: bool,
    rows: Arc<[(String, Vec<u8>)]>,
}

/// A database: see the module. A core for each connection, an unbounded line, 1 ms a statement, a sync of 1 ms, group commit,
/// no limit on waiting for a row, unless said otherwise.
///
/// ```
/// # use sim_core::{Sim, plan::Plan, record::RecordingLevel, rng::Delay, time::{ms, secs}};
/// # use scenarios::cast::{Database, DatabaseClient};
/// # let mut sim = Sim::new(&Plan::new("database", 42, secs(9)), RecordingLevel::Essential);
/// let db = Database::new(8)
///     .query_time(ms(5))
///     .time_for("report", Delay::exponential(ms(400)))
///     .row("price:7", "12.50")
///     .add_to(&mut sim, "db");
/// sim.node("web", async move |node| {
///     let db = DatabaseClient::new(&node, db);
///     assert_eq!(db.get("price:7").await.unwrap().unwrap().text(), "12.50");
///     db.query("report").await.unwrap();
///     let mut connection = db.connect().await.unwrap();
///     let transfer = connection.begin().await.unwrap();
///     transfer.increment("alice", -10).await.unwrap();
///     transfer.increment("bob", 10).await.unwrap();
///     transfer.commit().await.unwrap();
/// });
/// # sim.run().unwrap();
/// ```
pub struct Database {
    settings: Settings,
    rows: Vec<(String, Vec<u8>)>,
    machine: Machine,
}

impl Database {
    /// A database that serves that many connections at a time, at least one.
    pub fn new(connections: usize) -> Self {
        let connections = connections.max(1);
        let settings = Settings {
            connections,
            queue: usize::MAX,
            skip_abandoned: false,
            query_time: Delay::constant(ms(1)),
            times: BTreeMap::new(),
            row_time: Duration::ZERO,
            first_query: Delay::constant(Duration::ZERO),
            lock_timeout: None,
            group_commit: true,
            rows: Arc::default(),
        };
        let machine = Machine::cores(u32::try_from(connections).unwrap_or(u32::MAX));
        Self { settings, rows: Vec::new(), machine }
    }
    /// How long a statement takes on a core.
    pub fn query_time(self, time: Duration) -> Self {
        self.query_delay(Delay::constant(time))
    }
    /// How long a statement takes on a core, by chance.
    pub fn query_delay(mut self, time: Delay) -> Self {
        self.settings.query_time = time;
        self
    }
    /// How long statements of that name take: `get`, `get for update`, `put`, `insert`, `delete`, `increment`, `scan`, or a
    /// query's own name.
    pub fn time_for(mut self, statement: impl Into<String>, time: Delay) -> Self {
        self.settings.times.insert(statement.into(), time);
        self
    }
    /// What each row of a scan costs on top.
    pub fn row_time(mut self, time: Duration) -> Self {
        self.settings.row_time = time;
        self
    }
    /// What the first statement on a connection that a client opens and keeps costs on top.
    pub fn first_query(mut self, time: Delay) -> Self {
        self.settings.first_query = time;
        self
    }
    /// How many may wait for a connection; the next is refused at once. 0 refuses whoever finds none free.
    pub fn queue(mut self, queue: usize) -> Self {
        self.settings.queue = queue;
        self
    }
    /// A statement that waited for a connection is dropped at its turn if nobody waits for it any more.
    pub fn skip_abandoned(mut self) -> Self {
        self.settings.skip_abandoned = true;
        self
    }
    /// Who waits longer for a row fails, and its transaction is rolled back.
    pub fn lock_timeout(mut self, limit: Duration) -> Self {
        self.settings.lock_timeout = Some(limit);
        self
    }
    /// Whether one sync serves all commits that wait; else each has a sync of its own, one at a time.
    pub fn group_commit(mut self, together: bool) -> Self {
        self.settings.group_commit = together;
        self
    }
    /// How many cores.
    pub fn cores(self, cores: u32) -> Self {
        self.machine(move |m| m.cores(cores))
    }
    /// How long a sync takes.
    pub fn fsync(self, time: Duration) -> Self {
        self.machine(move |m| m.disk(DiskSpec { fsync: time, ..DiskSpec::default() }))
    }
    /// A row that is there, and on the disk, before the run.
    pub fn row(mut self, key: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        self.rows.push((key.into(), value.into()));
        self
    }
    /// Rows that are there before the run.
    pub fn rows<K: Into<String>, V: Into<Vec<u8>>>(mut self, rows: impl IntoIterator<Item = (K, V)>) -> Self {
        self.rows.extend(rows.into_iter().map(|(key, value)| (key.into(), value.into())));
        self
    }
    /// What the database's node is made of; after [`Database::fsync`] it may replace the disk.
    pub fn machine(mut self, change: impl Fn(NodeSpec) -> NodeSpec + 'static) -> Self {
        self.machine.change(change);
        self
    }
    /// Adds the database.
    pub fn add_to(mut self, sim: &mut Sim, name: &str) -> NodeId {
        self.settings.rows = std::mem::take(&mut self.rows).into();
        let settings = self.settings;
        sim.node(self.machine.spec(name), async move |node| Server::open(&node, &settings).await.run().await)
    }
}
