//! A write-ahead log: records in a file, and a record is a promise only when the file has been synced.
//!
//! A record is its length, a CRC-32, and its body. It is appended to the operating system's page cache; then, as [`LogSync`]
//! says, a sync makes it durable. A sync that is shared by all who wait is called group commit (DeWitt et al.,
//! "Implementation Techniques for Main Memory Database Systems", SIGMOD 1984).
//!
//! After a crash the log is read from its beginning to the first record that does not fit. The checksum covers the one of the
//! record before too, so that what is left of an overwritten tail can never be taken for its continuation.

use std::cell::Cell;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sim_core::{
    Node, codec,
    machine::{Disk, File, disk::checksum::crc32},
    record::{Gauge, Histogram},
    sync::{Mutex, Semaphore},
};

/// Length and checksum.
const HEAD: usize = 8;

/// What happens before a record is acknowledged.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LogSync {
    /// Nothing: the operating system writes back when it likes.
    Never,
    /// A sync of its own, one record at a time.
    Each,
    /// A sync that is shared by all who have written when it begins.
    Group,
}

/// A log that is to be opened: see the module. Group commit, checksums, and a failed sync crashes the node, unless said
/// otherwise.
///
/// ```
/// # use sim_core::{Sim, plan::Plan, record::RecordingLevel, time::secs};
/// # use scenarios::cast::LogFile;
/// # let mut sim = Sim::new(&Plan::new("log", 42, secs(1)), RecordingLevel::Essential);
/// sim.node("store", async |node| {
///     let (log, found) = LogFile::new("log").open::<(u64, String)>(&node).await;
///     assert!(found.is_empty(), "the first start finds nothing");
///     log.append(&(7, "seven".to_owned())).await;
///     let (_, found) = LogFile::new("log").open::<(u64, String)>(&node).await;
///     assert_eq!(found, [(7, "seven".to_owned())]);
/// });
/// # sim.run().unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct LogFile {
    name: String,
    sync: LogSync,
    checksums: bool,
    preallocated: u64,
    retry: bool,
    batch: (&'static str, &'static str),
}

impl LogFile {
    /// A log in the file of that name.
    pub fn new(name: impl Into<String>) -> Self {
        let batch = ("log.batch", "{record}");
        let (sync, checksums, preallocated, retry) = (LogSync::Group, true, 0, false);
        Self { name: name.into(), sync, checksums, preallocated, retry, batch }
    }
    /// What happens before a record is acknowledged.
    pub fn sync(mut self, sync: LogSync) -> Self {
        self.sync = sync;
        self
    }
    /// Whether recovery compares each record with its checksum, or trusts its length.
    pub fn checksums(mut self, compared: bool) -> Self {
        self.checksums = compared;
        self
    }
    /// The file has that many bytes, all zero, before the run: so a sync need not write the file's length too.
    pub fn preallocated(mut self, bytes: u64) -> Self {
        self.preallocated = bytes;
        self
    }
    /// A sync that fails is tried again, as databases did for years (until "fsyncgate", 2018). It says that it is fine, and
    /// what the failed one should have written is gone.
    pub fn retry_failed_syncs(mut self) -> Self {
        self.retry = true;
        self
    }
    /// How many records a sync covers is the distribution of that name; `log.batch` unless said.
    pub(super) fn batches_as(mut self, metric: &'static str, unit: &'static str) -> Self {
        self.batch = (metric, unit);
        self
    }

    /// Opens the log and gives what is in it, in order. A log that cannot be read crashes the node.
    pub async fn open<T: DeserializeOwned>(self, node: &Node) -> (DurableLog, Vec<T>) {
        let (file, disk) = (node.file(&*self.name), node.disk());
        let is_new = !file.exists();
        if is_new && self.preallocated > 0 && file.preallocate(self.preallocated).is_err() {
            return fail(node, "there is no room for the log").await;
        }
        // Who has just made it need not read it.
        let bytes = if is_new { Ok(Vec::new()) } else { file.read_all().await };
        let Ok(bytes) = bytes else { return fail(node, "the log cannot be read").await };
        let (replayed, truncated) = (node.counter("log.replayed"), node.counter("log.truncated"));
        let (mut found, mut rest, mut chain) = (Vec::new(), bytes.as_slice(), 0);
        while let Some((record, sum, behind)) = first(rest, chain, self.checksums) {
            replayed.increment();
            found.push(record);
            (rest, chain) = (behind, sum);
        }
        let end = (bytes.len() - rest.len()) as u64;
        if rest.iter().take(HEAD).any(|&byte| byte != 0) {
            truncated.increment();
        }
        // A file that only grows ends with its last record; in a preallocated one the checksums tell what is old.
        let cut = self.preallocated == 0 && !rest.is_empty();
        if cut && (file.truncate(end).is_err() || file.sync().await.is_err()) {
            return fail(node, "the log cannot be cut").await;
        }
        let log = DurableLog {
            end: Cell::new(end),
            chain: Cell::new(chain),
            written: Cell::new(end),
            waiting: Cell::new(0),
            synced: Mutex::new(end),
            turns: Semaphore::new(1),
            batch: node.distribution(self.batch.0, self.batch.1),
            unsynced: node.gauge_in("log.unsynced", "By"),
            settings: self,
            disk,
            file,
            node: node.clone(),
        };
        (log, found)
    }
}

/// An open log; see [`LogFile`].
pub struct DurableLog {
    node: Node,
    file: File,
    disk: Disk,
    settings: LogFile,
    /// Where the next record begins, and the checksum of the one before it.
    end: Cell<u64>,
    chain: Cell<u32>,
    /// Up to there it is in the page cache, and so many records since the last sync began.
    written: Cell<u64>,
    waiting: Cell<u32>,
    /// Up to there it is on the disk; whose turn it is to sync holds the lock.
    synced: Mutex<u64>,
    turns: Semaphore,
    batch: Histogram,
    unsynced: Gauge,
}

impl DurableLog {
    /// Appends a record, and comes back when it is as durable as [`LogSync`] promises.
    pub async fn append(&self, record: &impl Serialize) {
        // With a sync of its own each record has the log for itself.
        let _turn = match self.settings.sync {
            LogSync::Each => Some(self.node.span("turn").run(self.turns.acquire()).await),
            LogSync::Never | LogSync::Group => None,
        };
        let (bytes, sum) = encoded(record, self.chain.get());
        let begin = self.end.get();
        let own_end = begin + bytes.len() as u64;
        self.end.set(own_end);
        self.chain.set(sum);
        if self.file.write_at(begin, &bytes).await.is_err() {
            return fail(&self.node, "the log cannot be written").await;
        }
        self.written.set(own_end);
        self.waiting.set(self.waiting.get() + 1);
        if self.settings.sync != LogSync::Never {
            self.node.span("durable").run(self.sync_to(own_end)).await;
        }
        self.unsynced.set(self.disk.dirty_bytes() as f64);
    }

    /// Whose turn it is syncs for all who have written, and they find it done.
    async fn sync_to(&self, own_end: u64) {
        let mut synced = self.synced.lock().await;
        if *synced >= own_end {
            return;
        }
        let covered = self.written.get();
        self.batch.observe(f64::from(self.waiting.replace(0)));
        while self.file.sync().await.is_err() {
            if !self.settings.retry {
                // After a failed sync nobody knows what is on the disk: stop, and read the log (PostgreSQL since version 12).
                return fail(&self.node, "the log cannot be synced").await;
            }
            self.node.event("sync.failed", "trying again");
        }
        *synced = covered;
    }
}

async fn fail<T>(node: &Node, reason: &str) -> T {
    node.crash(reason);
    std::future::pending().await
}

fn checksum(chain: u32, body: &[u8]) -> u32 {
    crc32(&[&chain.to_le_bytes(), body].concat())
}

/// A record as it is written, and its checksum.
fn encoded(record: &impl Serialize, chain: u32) -> (Vec<u8>, u32) {
    let body = codec::encode(record);
    let sum = checksum(chain, &body);
    ([&(body.len() as u32).to_le_bytes()[..], &sum.to_le_bytes(), &body].concat(), sum)
}

/// The record at the front, its checksum, and the log behind it; nothing where none fits.
fn first<T: DeserializeOwned>(log: &[u8], chain: u32, checksums: bool) -> Option<(T, u32, &[u8])> {
    let (head, rest) = log.split_at_checked(HEAD)?;
    let (length, sum) = head.split_at(4);
    let length = u32::from_le_bytes(length.try_into().ok()?) as usize;
    let sum = u32::from_le_bytes(sum.try_into().ok()?);
    let (body, rest) = rest.split_at_checked(length)?;
    // Zeros are no record.
    if length == 0 || (checksums && checksum(chain, body) != sum) {
        return None;
    }
    Some((codec::decode(body).ok()?, sum, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    type Record = (u64, String);

    fn two() -> (Record, Record, Vec<u8>, usize) {
        let (a, b) = ((1, "first".to_owned()), (2, "#".repeat(900)));
        let (mut log, sum) = encoded(&a, 0);
        let whole = log.len();
        log.extend(encoded(&b, sum).0);
        (a, b, log, whole)
    }

    #[test]
    fn records_come_back_and_a_part_of_one_does_not() {
        let (a, b, log, whole) = two();
        let (found, sum, rest) = first::<Record>(&log, 0, true).unwrap();
        assert_eq!((&found, rest.len()), (&a, log.len() - whole));
        let (found, _, end) = first::<Record>(rest, sum, true).unwrap();
        assert_eq!((&found, end.len()), (&b, 0));
        for cut in 0..rest.len() {
            assert!(first::<Record>(&rest[..cut], sum, true).is_none(), "{cut} bytes of it");
            let mut torn = rest.to_vec();
            torn[cut..].fill(0);
            assert!(first::<Record>(&torn, sum, true).is_none(), "zeros from byte {cut}");
        }
        assert!(first::<Record>(&[0; 64], 0, true).is_none());
    }

    #[test]
    fn who_trusts_the_length_takes_the_half_for_the_whole() {
        let (_, b, log, whole) = two();
        let mut torn = log[whole..].to_vec();
        torn[500..].fill(0);
        let (found, ..) = first::<Record>(&torn, 0, false).unwrap();
        assert_eq!(found.1.len(), b.1.len());
        assert_ne!(found, b);
    }

    #[test]
    fn a_record_of_an_overwritten_tail_does_not_continue_another_log() {
        // A shorter log was written over the first record; the second one lies where it lay, whole.
        let (_, _, log, whole) = two();
        let (other, sum) = encoded(&(9, "other".to_owned()), 0);
        assert_eq!(other.len(), whole);
        assert!(first::<Record>(&log[whole..], sum, true).is_none());
        assert!(first::<Record>(&log[whole..], sum, false).is_some(), "without a checksum nobody can tell");
    }
}
