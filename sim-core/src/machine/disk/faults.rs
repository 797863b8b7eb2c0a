//! What can be wrong with a disk besides a crash: rotten bits, failing input and output, failing syncs, no room.
//!
//! A failing sync is worse than it looks, as the users of PostgreSQL learned in 2018: the operating system reports the
//! error once and then takes the pages for clean. A program that syncs again is told that all is well, and reads its data
//! back from the cache; only the next crash shows that they never reached the disk.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{DiskState, Words, crash::below};

/// Which syncs of a disk fail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FailingSyncs {
    /// None.
    #[default]
    None,
    /// So many of the next ones; then they succeed again.
    Next(u32),
    /// All, until this is set to something else.
    All,
}

/// A bit that changed on the medium.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rot {
    /// The file's name.
    pub file: String,
    /// Which byte of the file.
    pub offset: u64,
    /// Which bit of the byte: 0 is the least significant, 7 the most.
    pub bit: u8,
}

impl DiskState {
    /// From now on, which syncs fail (replaces what was set before). A sync fails when it completes, with
    /// [`DiskError::Io`](super::DiskError::Io): what it was to make durable counts as clean from then on although it is not
    /// on the disk, so no later sync saves it, reads still find it, and a crash loses it. Names are not lost that way: after
    /// a failed directory sync, or a new file's first sync, they stay as undecided as they were.
    pub fn fail_syncs(&mut self, which: FailingSyncs) {
        self.failing_syncs = which;
    }

    /// While on, everything that may fail does, with [`DiskError::Io`](super::DiskError::Io): reads, writes and other changes
    /// have no effect, and syncs fail as with [`fail_syncs`](Self::fail_syncs).
    pub fn fail_io(&mut self, on: bool) {
        self.io_fails = on;
    }

    /// How many bytes all files may have together; `None` sets no bound. What is there stays, even if it is more.
    pub fn set_capacity(&mut self, bytes: Option<u64>) {
        self.capacity = bytes;
    }

    /// The bound of [`set_capacity`](Self::set_capacity).
    pub fn capacity(&self) -> Option<u64> {
        self.capacity
    }

    /// Flips one bit on the medium, in the file of that name, or in any: then one word picks among the files with durable
    /// data, each equally likely, so that a short manifest is hit as often as a long log. One more word picks the bit. Readers
    /// see it at once, unless the cache holds something newer at that place (which heals it when it is synced).
    ///
    /// Returns where it was, or `None`, with no word drawn, where there are no durable data to rot.
    pub fn rot(&mut self, file: Option<&str>, words: Words) -> Option<Rot> {
        let durable_bytes = |id| self.files.get(&id).map_or(0, |file| file.durable.len() as u64);
        let (name, id) = if let Some(name) = file {
            (name, self.directory.get(name).filter(|&id| durable_bytes(id) > 0)?)
        } else {
            let candidates = || self.directory.entries().filter(|&(_, id)| durable_bytes(id) > 0);
            let count = candidates().count() as u64;
            if count == 0 {
                return None;
            }
            candidates().nth(below(count, words) as usize)?
        };
        let name = name.to_owned();
        let file = self.files.get_mut(&id)?;
        let position = below(file.durable.len() as u64 * 8, words);
        let (offset, bit) = (position / 8, (position % 8) as u8);
        file.flip(offset as usize, bit);
        Some(Rot { file: name, offset, bit })
    }

    /// Whether the sync that completes now fails.
    pub(super) fn next_sync_fails(&mut self) -> bool {
        match &mut self.failing_syncs {
            _ if self.io_fails => true,
            FailingSyncs::None | FailingSyncs::Next(0) => false,
            FailingSyncs::Next(left) => {
                *left -= 1;
                true
            }
            FailingSyncs::All => true,
        }
    }
}
