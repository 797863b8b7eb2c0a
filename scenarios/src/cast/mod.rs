//! The cast: simulated parts that labs share.
//!
//! | part | what it is | added with |
//! |---|---|---|
//! | [`OpenLoop`], [`ClosedLoop`] | the public: requests on their own clock, or users who wait and think | `OpenLoop::poisson(400.0).get("/hot").add_to(sim, "clients")` |
//! | [`WebService`] | servers with a bounded number of workers and a queue | `WebService::new(handler).workers(64).add_many(sim, "web", 4)` |
//! | [`CacheServer`] | a Redis-like cache: one thread, memory only, leases | `CacheServer::new().add_to(sim, "cache")` |
//! | [`Database`] | a Postgres-like database: connections, row locks, a log on disk | `Database::new(8).query_time(ms(50)).add_to(sim, "db")` |
//! | [`KvStore`] | a key-value store, replicated by Raft | `KvStore::new(5).read(KvRead::Lease).add_to(sim, "server")` |
//! | [`ConnectionPool`] | on a client: a limited number of things to lend | `ConnectionPool::slots(&node, 10)` |
//! | [`ReadThrough`] | on a client: a cache in front of something slow, and who fills it on a miss | `ReadThrough::new(&node, cache, Fill::Lease, secs(4))` |
//! | [`Monitor`] | hears the heartbeats of a service and says who is dead | `Monitor::new(detector).add_to(sim, "monitor", "node")` |
//! | [`Courier`], [`Recipient`] | on two nodes: numbered datagrams, sent again until they are acknowledged, held until their turn | `Courier::new(&node, store, Some(ms(200)))` |
//! | [`DurableLog`] | on a node with a disk: a write-ahead log with group commit and checksums | `LogFile::new("log").open(&node).await` |
//! | [`SingleFlight`] | on a client: one fetch for all who want the same thing now | `SingleFlight::new(&node)` |
//!
//! Each part is a node (or lives on one) that talks bytes over links; what it shows is measured. All run with the default
//! configuration; the builders change what a lab is about. `.machine(|m| ..)` changes a part's node (cores, memory, disk,
//! region). A handle such as [`CacheClient`] belongs to the node that made it; a closure of a node makes its own.
//!
//! # Metrics
//!
//! The same names everywhere; each series belongs to a node. Times are histograms in seconds.
//!
//! | metric | kind | of | meaning |
//! |---|---|---|---|
//! | `request` | histogram | load | latency of each request from its intended start, good or bad; the point lies at its end |
//! | `request.ok` | histogram | load | the same, of those that succeeded |
//! | `requests.started` | counter | load | requests begun |
//! | `requests.ok`, `requests.failed` | counter | load | requests ended, each in one of the two |
//! | `requests.failed.<reason>` | counter | load | of the failed: `timed_out`, `refused`, `reset`, `status_503`, ... |
//! | `requests.in_flight` | gauge | load | begun and not ended |
//! | `web.requests` | counter | web | requests received |
//! | `web.refused` | counter | web | of those: refused at once, the queue was full |
//! | `web.abandoned` | counter | web | of those: dropped at their turn, nobody waited any more |
//! | `web.active`, `web.queue` | gauge | web | requests in the hands of a worker; requests that wait for one |
//! | `web.wait`, `web.time` | histogram | web | time until a worker took it; time from arrival to reply |
//! | `cache.gets` | counter | cache | look-ups: hits + misses |
//! | `cache.hits`, `cache.misses` | counter | cache | with and without a fresh value |
//! | `cache.stale` | counter | cache | of the misses: answered with an expired value |
//! | `cache.leases` | counter | cache | of the misses: told to fill |
//! | `cache.waits` | counter | cache | of the misses: told to wait for somebody else's fill |
//! | `cache.sets`, `cache.refused` | counter | cache | values stored; not stored (void lease, present, older, too large) |
//! | `cache.deletes` | counter | cache | keys removed by a client |
//! | `cache.evictions`, `cache.expired` | counter | cache | keys removed for lack of memory; because their time was over |
//! | `cache.entries`, `cache.bytes` | gauge | cache | what is in it |
//! | `cache.queue` | gauge | cache | operations that wait for the thread, or are on it |
//! | `db.query` | counter | database | statements received and not refused |
//! | `db.completed` | counter | database | statements carried out |
//! | `db.refused` | counter | database | requests for a connection refused: too many waited |
//! | `db.abandoned` | counter | database | dropped at their turn, nobody waited any more |
//! | `db.connections` | gauge | database | connections in use, idle ones among them |
//! | `db.active`, `db.queue`, `db.load` | gauge | database | requests at work; requests that wait for a connection; both |
//! | `db.locks.waiting` | gauge | database | transactions that wait for a row |
//! | `db.wait` | histogram | database | time until a connection was free |
//! | `db.lock.wait` | histogram | database | time until a row was free, of those that waited |
//! | `db.time` | histogram | database | time from a request's arrival to its answer |
//! | `db.commits`, `db.aborts` | counter | database | transactions that wrote; that were rolled back |
//! | `db.deadlocks` | counter | database | of the aborted: victims of a deadlock |
//! | `db.commit.batch` | distribution | database | transactions made durable by one sync |
//! | `db.replayed` | counter | database | transactions found in the log at a start |
//! | `raft.commit_index` | gauge | store | the last entry that the server knows to be committed |
//! | `raft.log_synced` | gauge | store | the last entry that a power failure would leave on its disk |
//! | `raft.log_bytes` | gauge | store | what term, vote, log and snapshot take on its disk |
//! | `raft.snapshot_index` | gauge | store | the last entry that its snapshot covers |
//! | `kv.applied`, `kv.repeated` | counter | store | commands applied; recognised as asked again |
//! | `kv.snapshots`, `kv.snapshot.bytes` | counter | store | snapshots taken, and their bytes |
//! | `kv.replay` | histogram | store | time from a start until all that was in the log is applied |
//! | `pool.in_use`, `pool.idle`, `pool.waiting` | gauge | pool | lent; in the pool; callers that wait |
//! | `pool.wait`, `pool.held` | histogram | pool | time until one was free, of those served; time it was lent |
//! | `pool.timed_out`, `pool.leaked`, `pool.reclaimed` | counter | pool | callers that waited in vain; never given back; taken back |
//! | `phi`, `limit` | gauge | monitor | how suspicious the first watched node's silence is; how long it may last |
//! | `limit.at_alarm` | histogram | monitor | the silence that was too long, at each alarm |
//! | `courier.sent` | counter | courier | sendings, the repeated ones among them |
//! | `log.replayed`, `log.truncated` | counter | log | records found at a start; whether what follows them was cut off |
//! | `log.batch` | distribution | log | records made durable by one sync (a database's log: `db.commit.batch`) |
//! | `log.unsynced` | gauge | log | bytes that a power failure would take, acknowledged or not, after each record |
//! | `flight.led`, `flight.shared` | counter | single flight | flights begun; callers who waited for somebody else's |
//!
//! States: `database` (`recovering`, `ready`); of a monitor, under the name of each watched node, `alive` or `dead`; of a store's
//! servers `role`, `term`, `config` (see `consensus::raft`).
//!
//! A crash does not lower a gauge: it shows the level before the crash until the node starts again.

mod bytes;
mod cache;
mod caller;
mod courier;
mod database;
mod durable_log;
mod failure;
mod flight;
mod kv;
mod level;
mod load;
mod machine;
mod monitor;
mod pool;
mod read_through;
mod web;

pub use cache::{
    CacheClient, CacheError, CacheRequest, CacheResponse, CacheServer, Cached, Item, Lookup, SetWhen,
};
pub use courier::{Ack, Courier, Numbered, Recipient};
pub use database::{
    Answer, Connection, Database, DatabaseClient, DatabaseError, DatabaseRequest, DatabaseResponse, Row,
    Statement, Transaction,
};
pub use durable_log::{DurableLog, LogFile, LogSync};
pub use failure::Failure;
pub use flight::SingleFlight;
pub use kv::{
    APPLIED_ONCE, KV_ADMIN_PORT, KvAdmin, KvAdminResponse, KvAnswer, KvClient, KvError, KvOperation, KvRead,
    KvRequest, KvResponse, KvStore, KvValue, PROGRESS,
};
pub use load::{ClosedLoop, Destination, Keys, Load, OpenLoop, RequestInfo, Spread};
pub use monitor::Monitor;
pub use pool::{ConnectionPool, PoolError, Pooled};
pub use read_through::{Fill, ReadThrough};
pub use web::{Content, Http, Incoming, Method, Reply, WebRequest, WebService};

use machine::Machine;
