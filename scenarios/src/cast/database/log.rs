//! The write-ahead log: a commit is a record in a file, and it is a promise only when the file has been synced.
//!
//! A record is its length, a CRC-32 of the rest, and the rows that the transaction wrote. One task writes: it takes all
//! records that wait, appends them, syncs once for all, and answers. Those that come while it syncs are the next batch: group
//! commit (DeWitt et al., "Implementation Techniques for Main Memory Database Systems", SIGMOD 1984).
//!
//! After a crash the log is read from its beginning to the first record that is not whole, and cut there.

use std::cell::RefCell;

use sim_core::{
    Node, codec,
    machine::disk::checksum::crc32,
    record::Histogram,
    sync::{Notify, OneshotSender, oneshot},
};

use crate::cast::bytes::Bytes;

/// The rows that a transaction wrote; `None` is a row that it removed.
pub(super) type Writes = Vec<(String, Option<Bytes>)>;

const FILE: &str = "wal";
/// Length and checksum.
const HEAD: usize = 8;

pub(super) struct Log {
    node: Node,
    together: bool,
    waiting: RefCell<Vec<(Vec<u8>, OneshotSender<()>)>>,
    bell: Notify,
    batch: Histogram,
}

fn encode(writes: &Writes) -> Vec<u8> {
    let body = codec::encode(writes);
    let mut record = Vec::with_capacity(HEAD + body.len());
    record.extend_from_slice(&(body.len() as u32).to_le_bytes());
    record.extend_from_slice(&crc32(&body).to_le_bytes());
    record.extend_from_slice(&body);
    record
}

/// The record at the front and what follows it, if it is whole.
fn decode(bytes: &[u8]) -> Option<(Writes, &[u8])> {
    let (head, rest) = bytes.split_at_checked(HEAD)?;
    let length = u32::from_le_bytes(head[..4].try_into().ok()?) as usize;
    let sum = u32::from_le_bytes(head[4..].try_into().ok()?);
    let (body, rest) = rest.split_at_checked(length)?;
    // Zeros are no record, although the checksum of nothing is zero.
    (length > 0 && crc32(body) == sum).then_some(())?;
    Some((codec::decode(body).ok()?, rest))
}

impl Log {
    /// The log of a node. With `together` one sync serves all who wait, without it each has its own.
    pub(super) fn new(node: &Node, together: bool) -> Self {
        Self {
            together,
            waiting: RefCell::default(),
            bell: Notify::new(),
            batch: node.distribution("db.commit.batch", "{transaction}"),
            node: node.clone(),
        }
    }

    /// What was committed before, in order. Cuts off what is not whole.
    pub(super) async fn recover(&self) -> Vec<Writes> {
        let file = self.node.file(FILE);
        let Ok(bytes) = file.read_all().await else { return self.fail("the log cannot be read").await };
        let (mut found, mut rest) = (Vec::new(), bytes.as_slice());
        while let Some((writes, after)) = decode(rest) {
            found.push(writes);
            rest = after;
        }
        if !rest.is_empty() {
            let whole = (bytes.len() - rest.len()) as u64;
            if file.truncate(whole).is_err() || file.sync().await.is_err() {
                return self.fail("the log cannot be cut").await;
            }
        }
        found
    }

    /// Makes a transaction durable.
    pub(super) async fn commit(&self, writes: &Writes) {
        let (done, synced) = oneshot();
        self.waiting.borrow_mut().push((encode(writes), done));
        self.bell.notify_all();
        synced.await;
    }

    /// Writes for all. Runs for as long as the node does.
    pub(super) async fn write(&self) {
        let file = self.node.file(FILE);
        loop {
            let rung = self.bell.notified();
            if self.waiting.borrow().is_empty() {
                rung.await;
                continue;
            }
            let batch = {
                let mut waiting = self.waiting.borrow_mut();
                let many = if self.together { waiting.len() } else { 1 };
                waiting.drain(..many).collect::<Vec<_>>()
            };
            let bytes: Vec<u8> = batch.iter().flat_map(|(record, _)| record).copied().collect();
            if file.append(&bytes).await.is_err() || file.sync().await.is_err() {
                // After a failed sync nobody knows what is on the disk: stop, and read the log (PostgreSQL since version 12).
                return self.fail("the log cannot be written").await;
            }
            self.batch.observe(batch.len() as f64);
            for (_, done) in batch {
                done.send(());
            }
        }
    }

    async fn fail<T>(&self, reason: &str) -> T {
        self.node.crash(reason);
        std::future::pending().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_comes_back_and_a_part_of_one_does_not() {
        let writes: Writes = vec![("a".into(), None), ("b".into(), Some(Bytes(b"1".to_vec())))];
        let mut bytes = encode(&writes);
        let whole = bytes.len();
        bytes.extend_from_slice(&encode(&writes));
        let (first, rest) = decode(&bytes).unwrap();
        assert_eq!(first, writes);
        assert_eq!(rest.len(), whole);
        for cut in 0..whole {
            assert!(decode(&rest[..cut]).is_none(), "{cut} of {whole} bytes");
            let mut torn = rest.to_vec();
            torn[cut..].fill(0);
            assert!(decode(&torn).is_none(), "zeros from byte {cut}");
        }
        assert!(decode(&[0; 64]).is_none());
    }
}
