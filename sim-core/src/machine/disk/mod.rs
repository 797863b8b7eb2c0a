//! A disk behind a page cache: files, syncs, and what a crash leaves.
//!
//! A program that writes to a file changes the page cache, and every reader sees the change at once. The disk hears of it
//! only when somebody syncs the file, and when the power fails, what it has not heard of is lost, or some of it:
//!
//! ```text
//!   write, append, truncate        fsync, write-back
//!   ----------------------> cache ------------------> durable
//!   <---------------------- cache <------------------ durable
//!            read                      crash
//! ```
//!
//! [`DiskState`] is the state alone. It knows no time and draws no random numbers: whoever calls it charges the latency, and
//! passes words of randomness where chance decides. A sync that takes time is two calls: [`DiskState::begin_sync`] notes
//! what is dirty now, [`DiskState::complete_sync`] makes exactly that durable.
//!
//! What becomes durable when follows ext4 on Linux. Syncing a file makes its data, its length and, if it is new, its
//! directory entry durable. Renames and deletes wait for a sync of the directory, and a crash before it finds the old name
//! or the new one. A file renamed without having been synced may be found under its new name and empty.

pub mod checksum;
mod crash;
mod directory;
mod faults;
mod file;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use thiserror::Error;

pub use crash::{CrashPolicy, CrashReport};
pub use faults::{FailingSyncs, Rot};

use directory::Directory;
use file::{Change, File, FileId};

/// Where words of randomness come from.
pub type Words<'a> = &'a mut dyn FnMut() -> u64;

/// The sector size of a disk that nobody configured, in bytes.
pub const SECTOR_SIZE: u32 = 512;

/// The longest file, in bytes: 1 GiB. A file lies in the memory of the simulator, so a wrong offset must not fill it.
pub const FILE_SIZE_MAX: u64 = 1 << 30;

/// Why a disk refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum DiskError {
    /// There is no file of that name (ENOENT).
    #[error("no such file")]
    NotFound,
    /// The disk's capacity, or the longest possible file ([`FILE_SIZE_MAX`]), would be exceeded; nothing was changed
    /// (ENOSPC, EFBIG).
    #[error("no space left on the disk")]
    NoSpace,
    /// The device failed (EIO). After a failed sync, what was to become durable never will.
    #[error("input/output error")]
    Io,
}

/// A sync that has begun, and what it will make durable. Dropped, it makes nothing durable.
#[derive(Debug)]
#[must_use = "nothing is durable before the sync completes"]
pub struct SyncTicket {
    file: FileId,
    /// The order of the first change that is not part of it.
    end: u64,
    /// How many crashes the disk had seen when it began.
    crashes: u64,
    bytes: u64,
}

impl SyncTicket {
    /// How many bytes it has to write.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// A write that is not yet durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnsyncedWrite {
    /// The file's name now.
    pub file: String,
    /// Where it begins, in bytes. For a change of the file's length: the new length.
    pub offset: u64,
    /// How many bytes were written. For a change of the file's length: 0.
    pub len: u64,
}

/// The state of one disk with its page cache. An empty one owns no memory on the heap.
#[derive(Clone, Debug)]
pub struct DiskState {
    files: BTreeMap<FileId, File>,
    directory: Directory,
    sector_size: usize,
    capacity: Option<u64>,
    failing_syncs: FailingSyncs,
    io_fails: bool,
    next_file: u64,
    next_order: u64,
    crashes: u64,
}

impl Default for DiskState {
    fn default() -> Self {
        Self::new(SECTOR_SIZE)
    }
}

impl DiskState {
    /// An empty disk whose sectors have so many bytes (at least 1; 0 counts as 1).
    pub fn new(sector_size: u32) -> Self {
        Self {
            files: BTreeMap::new(),
            directory: Directory::default(),
            sector_size: (sector_size as usize).max(1),
            capacity: None,
            failing_syncs: FailingSyncs::None,
            io_fails: false,
            next_file: 0,
            next_order: 0,
            crashes: 0,
        }
    }

    /// Bytes in a sector.
    pub fn sector_size(&self) -> u32 {
        self.sector_size as u32
    }

    fn file(&self, name: &str) -> Result<&File, DiskError> {
        let id = self.directory.get(name).ok_or(DiskError::NotFound)?;
        self.files.get(&id).ok_or(DiskError::NotFound)
    }

    /// The file of that name; a new one if there is none.
    fn file_or_new(&mut self, name: &str) -> &mut File {
        let id = self.directory.get(name).unwrap_or_else(|| {
            let id = FileId(self.next_file);
            self.next_file += 1;
            self.directory.create(name, id);
            id
        });
        self.files.entry(id).or_default()
    }

    fn next_order(&mut self) -> u64 {
        self.next_order += 1;
        self.next_order - 1
    }

    fn check_io(&self) -> Result<(), DiskError> {
        if self.io_fails { Err(DiskError::Io) } else { Ok(()) }
    }

    /// Whether the file may have that length, in bytes.
    fn check_room(&self, name: &str, length: u64) -> Result<usize, DiskError> {
        if self.would_fit(name, length, self.capacity) {
            Ok(length as usize)
        } else {
            Err(DiskError::NoSpace)
        }
    }

    /// Whether the file could have that length on a disk for so many bytes.
    pub fn would_fit(&self, file: &str, length: u64, capacity: Option<u64>) -> bool {
        let growth = length.saturating_sub(self.len(file).unwrap_or(0));
        let full = capacity.is_some_and(|capacity| growth > capacity.saturating_sub(self.used_bytes()));
        length <= FILE_SIZE_MAX && (growth == 0 || !full)
    }

    /// Whether a reader finds the same files with the same contents on another disk.
    pub fn reads_as(&self, other: &Self) -> bool {
        fn contents(disk: &DiskState) -> impl Iterator<Item = (&str, Option<&Vec<u8>>)> {
            disk.directory.entries().map(|(name, id)| (name, disk.files.get(&id).map(|file| &file.cached)))
        }
        contents(self).eq(contents(other))
    }

    /// Writes at an offset, in bytes. Creates the file if there is none; fills a gap between the file's end and the offset
    /// with zeros. Writing no bytes creates the file and changes nothing else.
    pub fn write_at(&mut self, file: &str, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
        self.check_io()?;
        if bytes.is_empty() {
            self.file_or_new(file);
            return Ok(());
        }
        let end = self.check_room(file, offset.saturating_add(bytes.len() as u64))?;
        let order = self.next_order();
        let change = Change::Write { offset: end - bytes.len(), bytes: bytes.into() };
        self.file_or_new(file).change(order, change);
        Ok(())
    }

    /// Writes at the end of the file. Creates it if there is none. Returns the offset at which the bytes begin.
    pub fn append(&mut self, file: &str, bytes: &[u8]) -> Result<u64, DiskError> {
        let offset = self.len(file).unwrap_or(0);
        self.write_at(file, offset, bytes)?;
        Ok(offset)
    }

    /// What is in the file from an offset on; fewer than `len` bytes, or none, where the file ends before.
    pub fn read(&self, file: &str, offset: u64, len: u64) -> Result<&[u8], DiskError> {
        self.check_io()?;
        let cached = &self.file(file)?.cached;
        let length = cached.len() as u64;
        let start = offset.min(length);
        let end = offset.saturating_add(len).min(length);
        Ok(&cached[start as usize..end as usize])
    }

    /// The file's length, in bytes.
    pub fn len(&self, file: &str) -> Result<u64, DiskError> {
        Ok(self.file(file)?.cached.len() as u64)
    }

    /// Whether there is a file of that name.
    pub fn exists(&self, file: &str) -> bool {
        self.directory.get(file).is_some()
    }

    /// The names that start with `prefix`, in order.
    pub fn list(&self, prefix: &str) -> Vec<&str> {
        self.directory.list(prefix)
    }

    /// Sets the file's length, in bytes: cuts off the rest, or adds zeros.
    pub fn truncate(&mut self, file: &str, len: u64) -> Result<(), DiskError> {
        self.check_io()?;
        if self.len(file)? != len {
            let len = self.check_room(file, len)?;
            let order = self.next_order();
            self.file_or_new(file).change(order, Change::SetLength(len));
        }
        Ok(())
    }

    /// Makes the file at least so long, in bytes, by adding zeros, and makes all of it durable at once, name and all (no
    /// failing device prevents that). It stands for work that was done before the run: a log that is overwritten in place
    /// need not grow, so its syncs need not change its length.
    pub fn preallocate(&mut self, file: &str, len: u64) -> Result<(), DiskError> {
        let len = self.check_room(file, len)?;
        let image = self.file_or_new(file);
        image.settle(u64::MAX);
        let len = len.max(image.cached.len());
        image.cached.resize(len, 0);
        image.durable.resize(len, 0);
        if let Some(id) = self.directory.get(file) {
            self.settle_entry(id);
        }
        Ok(())
    }

    /// Gives a file another name, in one step: readers find the file under the old name or the new one. A file that had the
    /// new name is gone.
    pub fn rename(&mut self, from: &str, to: &str) -> Result<(), DiskError> {
        self.check_io()?;
        if !self.exists(from) {
            return Err(DiskError::NotFound);
        }
        if from != to {
            let replaced = self.directory.rename(from, to);
            self.unlink(replaced);
        }
        Ok(())
    }

    /// Removes a file. Its room is free at once.
    pub fn delete(&mut self, file: &str) -> Result<(), DiskError> {
        self.check_io()?;
        if !self.exists(file) {
            return Err(DiskError::NotFound);
        }
        let deleted = self.directory.delete(file);
        self.unlink(deleted);
        Ok(())
    }

    /// Keeps the file for a crash that brings it back.
    fn unlink(&mut self, id: Option<FileId>) {
        if let Some(file) = id.and_then(|id| self.files.get_mut(&id)) {
            file.unlinked = true;
        }
    }

    fn settle_entry(&mut self, of: FileId) {
        for gone in self.directory.settle_entry(of) {
            self.files.remove(&gone);
        }
    }

    /// Makes the file durable at once: [`begin_sync`](Self::begin_sync) and [`complete_sync`](Self::complete_sync) in one.
    pub fn fsync(&mut self, file: &str) -> Result<(), DiskError> {
        let ticket = self.begin_sync(file)?;
        self.complete_sync(ticket)
    }

    /// Begins a sync of what is unsynced of the file now.
    pub fn begin_sync(&self, file: &str) -> Result<SyncTicket, DiskError> {
        let id = self.directory.get(file).ok_or(DiskError::NotFound)?;
        let bytes = self.file(file)?.dirty_bytes();
        Ok(SyncTicket { file: id, end: self.next_order, crashes: self.crashes, bytes })
    }

    /// Makes durable what was unsynced when the sync began: data as they were then, length, and a new file's directory entry.
    /// Whatever was written since stays unsynced, even at the same place.
    ///
    /// Fails with [`DiskError::Io`] where the device does ([`fail_syncs`](Self::fail_syncs)), once after a write-back in the
    /// background that failed for this file ([`sync_all`](Self::sync_all)), and after a crash, which ended the sync.
    pub fn complete_sync(&mut self, ticket: SyncTicket) -> Result<(), DiskError> {
        if ticket.crashes != self.crashes {
            return Err(DiskError::Io);
        }
        let fails = self.next_sync_fails();
        let mut reported = false;
        // The file may have been deleted meanwhile, and the deletion synced: then there is nothing left to do.
        if let Some(file) = self.files.get_mut(&ticket.file) {
            reported = std::mem::take(&mut file.write_back_failed);
            if fails {
                file.forget(ticket.end);
            } else {
                file.settle(ticket.end);
                self.settle_entry(ticket.file);
            }
        }
        if fails || reported { Err(DiskError::Io) } else { Ok(()) }
    }

    /// Makes all renames, deletes and new entries durable.
    pub fn sync_directory(&mut self) -> Result<(), DiskError> {
        if self.next_sync_fails() {
            return Err(DiskError::Io);
        }
        for gone in self.directory.settle_all() {
            self.files.remove(&gone);
        }
        Ok(())
    }

    /// Writes back all that is dirty, as the operating system does from time to time: the data and lengths of all files, and
    /// the entries of new ones. Renames and deletes still wait for [`sync_directory`](Self::sync_directory).
    ///
    /// Counts as one sync. If it fails, the next sync of each file that lost data reports [`DiskError::Io`], once, as Linux
    /// does since 4.13: nobody waits for a write-back in the background, so nobody heard of its error.
    pub fn sync_all(&mut self) -> Result<(), DiskError> {
        let dirty = |id: &FileId| {
            self.directory.is_new(*id) || self.files.get(id).is_some_and(|file| !file.unsynced.is_empty())
        };
        let dirty: Vec<FileId> = self.directory.entries().map(|(_, id)| id).filter(dirty).collect();
        if dirty.is_empty() {
            return Ok(());
        }
        let fails = self.next_sync_fails();
        for id in dirty {
            let Some(file) = self.files.get_mut(&id) else { continue };
            if fails {
                file.write_back_failed |= !file.unsynced.is_empty();
                file.forget(u64::MAX);
            } else {
                file.settle(u64::MAX);
                self.settle_entry(id);
            }
        }
        if fails { Err(DiskError::Io) } else { Ok(()) }
    }

    /// The writes that are not yet durable, in the order in which they were made. Those of deleted files are not among them.
    pub fn unsynced(&self) -> Vec<UnsyncedWrite> {
        let mut writes = Vec::new();
        for (name, id) in self.directory.entries() {
            for unsynced in self.files.get(&id).into_iter().flat_map(|file| &file.unsynced) {
                let (offset, len) = unsynced.change.place();
                writes.push((unsynced.order, UnsyncedWrite { file: name.to_owned(), offset, len }));
            }
        }
        writes.sort_unstable_by_key(|(order, _)| *order);
        writes.into_iter().map(|(_, write)| write).collect()
    }

    /// The bytes of all [`unsynced`](Self::unsynced) writes together. Where two overlap, the bytes count twice.
    pub fn dirty_bytes(&self) -> u64 {
        self.files.values().filter(|file| !file.unlinked).map(File::dirty_bytes).sum()
    }

    /// The length of all files together, in bytes.
    pub fn used_bytes(&self) -> u64 {
        self.files.values().filter(|file| !file.unlinked).map(|file| file.cached.len() as u64).sum()
    }
}
