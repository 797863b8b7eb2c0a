//! The names of the files: as programs see them, as a crash would find them, and the changes between the two in order.
//!
//! A changed name is atomic: after a crash it is the old one or the new one. Changes of the same name keep their order, as in
//! a file system with a journal: if a later one survived, then so did the earlier ones that it builds on. This is what
//! makes "write a new file, sync it, rename it over the old one" safe.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
};

use super::{Words, crash::below, file::FileId};

#[derive(Clone, Debug)]
enum NameChange {
    Create { name: String, file: FileId },
    Rename { from: String, to: String },
    Delete { name: String },
}

impl NameChange {
    fn names(&self) -> impl Iterator<Item = &str> {
        let (first, second) = match self {
            Self::Create { name, .. } | Self::Delete { name } => (name, None),
            Self::Rename { from, to } => (from, Some(to)),
        };
        std::iter::once(first).chain(second).map(String::as_str)
    }

    /// Makes the change in a table of names; returns the file that has no name any more.
    fn apply(self, names: &mut BTreeMap<String, FileId>) -> Option<FileId> {
        match self {
            Self::Create { name, file } => names.insert(name, file),
            Self::Rename { from, to } => {
                let file = names.remove(&from)?;
                names.insert(to, file)
            }
            Self::Delete { name } => names.remove(&name),
        }
    }
}

/// All names of a disk.
#[derive(Clone, Debug, Default)]
pub(super) struct Directory {
    cached: BTreeMap<String, FileId>,
    durable: BTreeMap<String, FileId>,
    /// The changes that lead from the durable names to the cached ones.
    pending: Vec<NameChange>,
    /// The files whose creation is among them.
    new: BTreeSet<FileId>,
}

impl Directory {
    pub(super) fn get(&self, name: &str) -> Option<FileId> {
        self.cached.get(name).copied()
    }

    /// All names and their files, in the order of names.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&str, FileId)> {
        self.cached.iter().map(|(name, &file)| (name.as_str(), file))
    }

    /// The names that start with `prefix`, in order.
    pub(super) fn list(&self, prefix: &str) -> Vec<&str> {
        let from = self.cached.range::<str, _>((Bound::Included(prefix), Bound::Unbounded));
        from.map(|(name, _)| name.as_str()).take_while(|name| name.starts_with(prefix)).collect()
    }

    /// Gives a new file its name, which must be free.
    pub(super) fn create(&mut self, name: &str, file: FileId) {
        self.new.insert(file);
        self.change(NameChange::Create { name: name.to_owned(), file });
    }

    /// Returns the file that had the new name before.
    pub(super) fn rename(&mut self, from: &str, to: &str) -> Option<FileId> {
        self.change(NameChange::Rename { from: from.to_owned(), to: to.to_owned() })
    }

    /// Returns the file that had the name.
    pub(super) fn delete(&mut self, name: &str) -> Option<FileId> {
        self.change(NameChange::Delete { name: name.to_owned() })
    }

    fn change(&mut self, change: NameChange) -> Option<FileId> {
        self.pending.push(change.clone());
        change.apply(&mut self.cached)
    }

    /// Whether a new file's entry is not yet durable.
    pub(super) fn is_new(&self, file: FileId) -> bool {
        self.new.contains(&file)
    }

    /// Makes the entry of a new file durable, with the earlier changes that it builds on: the name under which it was
    /// created may have been freed by a rename. Returns the files that are gone for good.
    pub(super) fn settle_entry(&mut self, of: FileId) -> Vec<FileId> {
        if !self.new.contains(&of) {
            return Vec::new();
        }
        let mut kept: Vec<bool> = self
            .pending
            .iter()
            .map(|change| matches!(change, NameChange::Create { file, .. } if *file == of))
            .collect();
        self.add_what_they_build_on(&mut kept);
        self.settle(&kept)
    }

    /// Makes all names durable. Returns the files that are gone for good.
    pub(super) fn settle_all(&mut self) -> Vec<FileId> {
        let kept = vec![true; self.pending.len()];
        self.settle(&kept)
    }

    /// Also keeps each earlier change that shares a name with a kept one.
    fn add_what_they_build_on(&self, kept: &mut [bool]) {
        let mut names = BTreeSet::new();
        for (change, kept) in self.pending.iter().zip(kept).rev() {
            *kept |= change.names().any(|name| names.contains(name));
            if *kept {
                names.extend(change.names());
            }
        }
    }

    /// Makes the kept changes durable; the others stay pending. What is left out shares no name with a later change that
    /// is kept, so the order between the two does not matter.
    fn settle(&mut self, kept: &[bool]) -> Vec<FileId> {
        let mut gone = Vec::new();
        for (change, &kept) in std::mem::take(&mut self.pending).into_iter().zip(kept) {
            if !kept {
                self.pending.push(change);
                continue;
            }
            if let NameChange::Create { file, .. } = &change {
                self.new.remove(file);
            }
            gone.extend(change.apply(&mut self.durable));
        }
        gone
    }

    /// Loses the names that are not durable. One word says how many of the renames and deletes survived, the earliest
    /// first, each number equally likely; no word is drawn where there are none. The entry of a new file survives if some
    /// of its data did, or a change that builds on it. Returns how many renames and deletes were kept and lost.
    pub(super) fn crash(&mut self, has_data: impl Fn(FileId) -> bool, words: Words) -> (u64, u64) {
        let moves = |change: &NameChange| !matches!(change, NameChange::Create { .. });
        let total = self.pending.iter().filter(|change| moves(change)).count() as u64;
        let mut allowed = if total == 0 { 0 } else { below(total + 1, words) };
        let mut kept = Vec::with_capacity(self.pending.len());
        for change in &self.pending {
            kept.push(match change {
                NameChange::Create { file, .. } => has_data(*file),
                NameChange::Rename { .. } | NameChange::Delete { .. } => {
                    let survives = allowed > 0;
                    allowed = allowed.saturating_sub(1);
                    survives
                }
            });
        }
        self.add_what_they_build_on(&mut kept);
        let survivors =
            self.pending.iter().zip(&kept).filter(|(change, kept)| **kept && moves(change)).count();
        self.settle(&kept);
        self.pending.clear();
        self.new.clear();
        self.cached.clone_from(&self.durable);
        (survivors as u64, total - survivors as u64)
    }
}
