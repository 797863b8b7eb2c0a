//! The file of a protocol's records.
//!
//! Records lie in one file, each with its length and a CRC-32 that is chained to the one before, so that what is left of an
//! overwritten tail can never be taken for its continuation.

use crate::{
    codec,
    machine::{
        File,
        disk::DiskError,
        disk::checksum::{crc32, crc32_after},
    },
};

/// What a protocol persists, encoded.
pub(super) enum Write {
    Append(Vec<u8>),
    Truncate(usize),
    Replace(Vec<Vec<u8>>),
}

/// The file of a protocol's records: each is its length, a CRC chained to the one before, and its bytes.
pub(super) struct RecordLog {
    file: File,
    /// Where each record ends, and its CRC.
    ends: Vec<(u64, u32)>,
    /// Whether a new file has taken the old one's name and no sync has made that durable.
    renamed: bool,
}

const RECORD_HEAD: usize = 8;

pub(super) fn record_file(port: u16) -> String {
    format!("protocol-{port}.log")
}

fn chain(bytes: &[u8], previous: u32) -> u32 {
    crc32_after(crc32(&previous.to_le_bytes()), bytes)
}

/// Writes a record and gives its CRC.
fn frame(bytes: &[u8], previous: u32, into: &mut Vec<u8>) -> u32 {
    let crc = chain(bytes, previous);
    into.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    into.extend_from_slice(&crc.to_le_bytes());
    into.extend_from_slice(bytes);
    crc
}

impl RecordLog {
    pub(super) fn new(file: File) -> Self {
        Self { file, ends: Vec::new(), renamed: false }
    }
    fn end(&self) -> (u64, u32) {
        self.ends.last().copied().unwrap_or((0, 0))
    }

    /// Reads the records up to the first that is not whole.
    pub(super) async fn load<R: serde::de::DeserializeOwned>(&mut self) -> Result<Vec<R>, DiskError> {
        let bytes = self.file.read_all().await?;
        let mut records = Vec::new();
        let mut rest = bytes.as_slice();
        while rest.len() >= RECORD_HEAD {
            let word = |at: usize| u32::from_le_bytes(rest[at..at + 4].try_into().expect("four bytes"));
            let (len, crc) = (word(0) as usize, word(4));
            let Some(body) = rest.get(RECORD_HEAD..RECORD_HEAD + len) else { break };
            let (offset, previous) = self.end();
            if chain(body, previous) != crc {
                break;
            }
            let Ok(record) = codec::decode(body) else { break };
            records.push(record);
            self.ends.push((offset + (RECORD_HEAD + len) as u64, crc));
            rest = &rest[RECORD_HEAD + len..];
        }
        if self.file.len() > self.end().0 {
            self.file.truncate(self.end().0)?;
        }
        Ok(records)
    }

    /// Carries out several persists, and syncs once if it shall.
    pub(super) async fn write(&mut self, writes: Vec<Write>, sync: bool) -> Result<(), DiskError> {
        let mut batch = Vec::new();
        for write in writes {
            match write {
                Write::Append(bytes) => {
                    let (offset, previous) = self.end();
                    let crc = frame(&bytes, previous, &mut batch);
                    self.ends.push((offset + (RECORD_HEAD + bytes.len()) as u64, crc));
                }
                Write::Truncate(keep) => {
                    self.flush(&mut batch).await?;
                    if keep < self.ends.len() {
                        self.ends.truncate(keep);
                        self.file.truncate(self.end().0)?;
                    }
                }
                Write::Replace(records) => {
                    // The old file is whole until the new one is: write beside it, sync, rename.
                    batch.clear();
                    self.ends.clear();
                    let node = self.file.node();
                    let new = node.file(format!("{}.new", self.file.name()));
                    if new.exists() {
                        new.truncate(0)?;
                    }
                    let mut content = Vec::new();
                    for bytes in records {
                        let (offset, previous) = self.end();
                        let crc = frame(&bytes, previous, &mut content);
                        self.ends.push((offset + (RECORD_HEAD + bytes.len()) as u64, crc));
                    }
                    new.append(&content).await?;
                    if sync {
                        new.sync().await?;
                    }
                    node.disk().rename(new.name(), self.file.name())?;
                    if sync {
                        node.disk().sync_directory().await?;
                    }
                    self.renamed = !sync;
                }
            }
        }
        self.flush(&mut batch).await?;
        // Where no record was ever written there is nothing to sync, and truncating nothing is no failure.
        if !sync || !self.file.exists() {
            return Ok(());
        }
        if std::mem::take(&mut self.renamed) {
            self.file.node().disk().sync_directory().await?;
        }
        self.file.sync().await
    }
    async fn flush(&self, batch: &mut Vec<u8>) -> Result<(), DiskError> {
        if !batch.is_empty() {
            self.file.append(batch).await?;
            batch.clear();
        }
        Ok(())
    }
}
