//! What a power failure leaves of the changes that nobody synced.
//!
//! The page cache is gone. Some of what was in it may have been on its way: the operating system writes pages back when it
//! likes, and a drive writes whole sectors, in an order of its own. A [`CrashPolicy`] says how much of that luck there is;
//! words of randomness decide the rest.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    DiskState, Words,
    file::{Change, File, FileId},
};

/// Which of the unsynced changes a crash keeps.
///
/// A write reaches the disk by sectors. Its pieces are what it touches of each sector: a record that starts in the middle of
/// a sector has a first piece up to the sector's end, which counts as a sector like the others. A change of length counts
/// as a write of one piece.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CrashPolicy {
    /// Nothing of them.
    #[default]
    LoseUnsynced,
    /// Of the first unsynced write its first sectors, from none to all of them, each number equally likely; nothing else.
    TearFirst,
    /// The first unsynced writes whole, from none to all of them, each number equally likely; and of the next one its first
    /// sectors, fewer than all, each number equally likely.
    KeepPrefix,
    /// Each sector with unsynced bytes survives on its own with chance 1/2, as in a drive that orders its writes as it
    /// likes. A change of length survives with chance 1/2, and always if a later change of the same file did.
    KeepRandomSectors,
}

/// What a crash did to a disk. Changes of length count as writes of no bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CrashReport {
    /// Unsynced writes of which nothing survived.
    pub writes_lost: u64,
    /// Unsynced writes of which some sectors survived and some did not.
    pub writes_torn: u64,
    /// Unsynced writes that survived whole.
    pub writes_kept: u64,
    /// Bytes of unsynced writes that did not survive. Where two writes overlap, the bytes count twice.
    pub bytes_lost: u64,
    /// Bytes of unsynced writes that survived.
    pub bytes_kept: u64,
    /// Renames and deletes without a directory sync that did not survive.
    pub names_lost: u64,
    /// Renames and deletes without a directory sync that survived.
    pub names_kept: u64,
    /// New files that are gone, since neither they nor the directory had been synced.
    pub files_lost: u64,
}

/// A number from 0 to `bound - 1`, out of one word; `bound` is at least 1. (The product's upper half; the chances differ by
/// less than `bound` / 2^64.)
pub(super) fn below(bound: u64, words: Words) -> u64 {
    ((u128::from(words()) * u128::from(bound)) >> 64) as u64
}

/// Which pieces of each change survive. `changes` are in the order in which they were made.
fn survivors(
    policy: CrashPolicy,
    changes: &[(FileId, Change)],
    sector_size: usize,
    words: Words,
) -> Vec<Vec<bool>> {
    let mut kept: Vec<Vec<bool>> =
        changes.iter().map(|(_, change)| vec![false; change.pieces(sector_size).count()]).collect();
    match policy {
        CrashPolicy::LoseUnsynced => {}
        CrashPolicy::TearFirst => {
            if let Some(first) = kept.first_mut() {
                let sectors = below(first.len() as u64 + 1, words) as usize;
                first[..sectors].fill(true);
            }
        }
        CrashPolicy::KeepPrefix => {
            if !kept.is_empty() {
                let whole = below(kept.len() as u64 + 1, words) as usize;
                kept[..whole].iter_mut().for_each(|pieces| pieces.fill(true));
                if let Some(next) = kept.get_mut(whole) {
                    let sectors = below(next.len() as u64, words) as usize;
                    next[..sectors].fill(true);
                }
            }
        }
        CrashPolicy::KeepRandomSectors => keep_random_sectors(changes, sector_size, &mut kept, words),
    }
    kept
}

/// One word for each sector, in the order in which they were first written, and one for each change of length.
fn keep_random_sectors(
    changes: &[(FileId, Change)],
    sector_size: usize,
    kept: &mut [Vec<bool>],
    words: Words,
) {
    let mut sectors = BTreeMap::new();
    for ((file, change), kept) in changes.iter().zip(kept.iter_mut()) {
        for (piece, kept) in change.pieces(sector_size).zip(kept) {
            *kept = if piece.is_empty() {
                below(2, words) == 1
            } else {
                // A sector is written as a whole: all writes to it share one fate.
                *sectors.entry((*file, piece.start / sector_size)).or_insert_with(|| below(2, words) == 1)
            };
        }
    }
    // The file system's journal keeps lengths in order: bytes written after a truncation are nowhere without it.
    let mut survived = BTreeSet::new();
    for ((file, change), kept) in changes.iter().zip(kept).rev() {
        if matches!(change, Change::SetLength(_)) && survived.contains(file) {
            kept.fill(true);
        }
        if kept.contains(&true) {
            survived.insert(*file);
        }
    }
}

impl DiskState {
    /// The power fails: the page cache is gone, and afterwards readers see what is durable, which is all that was synced and
    /// what the policy keeps of the rest. Renames and deletes without [`sync_directory`](Self::sync_directory) are decided
    /// by one more word, under every policy. Syncs that have not completed make nothing durable any more.
    ///
    /// The faults of the device stay as they are: a disk that fails its syncs does so after a restart too.
    pub fn crash(&mut self, policy: CrashPolicy, words: Words) -> CrashReport {
        self.crashes += 1;
        let mut changes = Vec::new();
        for (&id, file) in &mut self.files {
            let unsynced = std::mem::take(&mut file.unsynced);
            // The cache drops the pages of a deleted file; they are never written, even if the file comes back.
            if !file.unlinked {
                changes.extend(unsynced.into_iter().map(|unsynced| (unsynced.order, id, unsynced.change)));
            }
        }
        changes.sort_unstable_by_key(|(order, ..)| *order);
        let changes: Vec<(FileId, Change)> =
            changes.into_iter().map(|(_, id, change)| (id, change)).collect();

        let mut report = CrashReport::default();
        let mut has_data = BTreeSet::new();
        let kept = survivors(policy, &changes, self.sector_size, words);
        for ((id, change), kept) in changes.iter().zip(kept) {
            match (kept.contains(&true), kept.contains(&false)) {
                (true, true) => report.writes_torn += 1,
                (true, false) => report.writes_kept += 1,
                (false, _) => report.writes_lost += 1,
            }
            let Some(file) = self.files.get_mut(id) else { continue };
            for (piece, kept) in change.pieces(self.sector_size).zip(kept) {
                if kept {
                    has_data.insert(*id);
                    report.bytes_kept += piece.len() as u64;
                    change.apply_piece(piece, &mut file.durable);
                } else {
                    report.bytes_lost += piece.len() as u64;
                }
            }
        }

        let new = self.directory.entries().filter(|(_, file)| self.directory.is_new(*file));
        let new: Vec<FileId> = new.map(|(_, file)| file).collect();
        (report.names_kept, report.names_lost) = self.directory.crash(|file| has_data.contains(&file), words);
        let alive: BTreeSet<FileId> = self.directory.entries().map(|(_, file)| file).collect();
        report.files_lost = new.iter().filter(|file| !alive.contains(file)).count() as u64;
        self.files.retain(|id, _| alive.contains(id));
        for file in self.files.values_mut() {
            let File { cached, durable, unlinked, write_back_failed, .. } = file;
            cached.clone_from(durable);
            *unlinked = false;
            *write_back_failed = false;
        }
        report
    }
}
