//! One file: what a reader sees (the page cache), what a crash would leave (the durable image), and the changes between
//! the two, in the order in which they were made.
//!
//! Each change keeps its own copy of the bytes it wrote. So a sync that began before a later write to the same place makes
//! the earlier bytes durable, and a crash can keep the first of two writes and lose the second. Images are changed by
//! ranges only: a sync of five records costs five records, however long the file is.

use std::{collections::VecDeque, ops::Range};

/// A file's identity. It stays the same under another name, and no later file gets it again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct FileId(pub(super) u64);

/// What a program did to a file.
#[derive(Clone, Debug)]
pub(super) enum Change {
    /// Bytes from an offset on.
    Write { offset: usize, bytes: Box<[u8]> },
    /// A new length: the rest is cut off, or zeros are added.
    SetLength(usize),
}

impl Change {
    /// Bytes written.
    pub(super) fn bytes(&self) -> u64 {
        match self {
            Self::Write { bytes, .. } => bytes.len() as u64,
            Self::SetLength(_) => 0,
        }
    }

    /// Where the change lies: offset and length, in bytes.
    pub(super) fn place(&self) -> (u64, u64) {
        match self {
            Self::Write { offset, bytes } => (*offset as u64, bytes.len() as u64),
            Self::SetLength(length) => (*length as u64, 0),
        }
    }

    /// The parts that reach the disk whole or not at all: what a write touches of each sector, as ranges of the file. A
    /// change of length is one part without bytes, in no sector.
    pub(super) fn pieces(&self, sector_size: usize) -> impl Iterator<Item = Range<usize>> {
        let (mut start, stop, mut bare) = match self {
            Self::Write { offset, bytes } => (*offset, *offset + bytes.len(), false),
            Self::SetLength(length) => (*length, *length, true),
        };
        std::iter::from_fn(move || {
            if std::mem::take(&mut bare) {
                return Some(start..start);
            }
            let end = ((start / sector_size + 1) * sector_size).min(stop);
            let piece = start..end;
            start = end;
            (!piece.is_empty()).then_some(piece)
        })
    }

    /// Makes the change in an image.
    pub(super) fn apply(&self, image: &mut Vec<u8>) {
        match self {
            Self::Write { offset, bytes } => put(image, *offset, bytes),
            Self::SetLength(length) => image.resize(*length, 0),
        }
    }

    /// Makes one of its [`pieces`](Self::pieces) in an image.
    pub(super) fn apply_piece(&self, piece: Range<usize>, image: &mut Vec<u8>) {
        match self {
            Self::Write { offset, bytes } => {
                put(image, piece.start, &bytes[piece.start - offset..piece.end - offset]);
            }
            Self::SetLength(length) => image.resize(*length, 0),
        }
    }

    /// Whether it decides what stands at an offset of the file.
    fn covers(&self, at: usize) -> bool {
        match self {
            Self::Write { offset, bytes } => (*offset..*offset + bytes.len()).contains(&at),
            Self::SetLength(length) => *length <= at,
        }
    }
}

/// Writes bytes at an offset; a gap before them is filled with zeros.
fn put(image: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    if image.len() < offset {
        image.resize(offset, 0);
    }
    let overlap = (image.len() - offset).min(bytes.len());
    image[offset..offset + overlap].copy_from_slice(&bytes[..overlap]);
    image.extend_from_slice(&bytes[overlap..]);
}

/// A change that is not yet durable.
#[derive(Clone, Debug)]
pub(super) struct Unsynced {
    /// Its place among all changes of the disk.
    pub(super) order: u64,
    pub(super) change: Change,
}

/// One file.
#[derive(Clone, Debug, Default)]
pub(super) struct File {
    pub(super) cached: Vec<u8>,
    pub(super) durable: Vec<u8>,
    pub(super) unsynced: VecDeque<Unsynced>,
    /// It was deleted or replaced: nobody can open it, but a crash may bring it back.
    pub(super) unlinked: bool,
    /// A write-back in the background failed, and no sync has told the program yet.
    pub(super) write_back_failed: bool,
}

impl File {
    /// Changes what readers see, and remembers the change until a sync.
    pub(super) fn change(&mut self, order: u64, change: Change) {
        change.apply(&mut self.cached);
        self.unsynced.push_back(Unsynced { order, change });
    }

    /// Makes the changes before `end` durable.
    pub(super) fn settle(&mut self, end: u64) {
        while self.unsynced.front().is_some_and(|first| first.order < end) {
            if let Some(first) = self.unsynced.pop_front() {
                first.change.apply(&mut self.durable);
            }
        }
    }

    /// Forgets that the changes before `end` are not durable.
    pub(super) fn forget(&mut self, end: u64) {
        while self.unsynced.front().is_some_and(|first| first.order < end) {
            self.unsynced.pop_front();
        }
    }

    /// Bytes written and not yet durable.
    pub(super) fn dirty_bytes(&self) -> u64 {
        self.unsynced.iter().map(|unsynced| unsynced.change.bytes()).sum()
    }

    /// Flips one bit of the medium. The cache shows it too, unless it holds something newer at that place.
    pub(super) fn flip(&mut self, offset: usize, bit: u8) {
        let newer = self.unsynced.iter().any(|unsynced| unsynced.change.covers(offset));
        let medium = &mut self.durable[offset];
        if let Some(cached) = self.cached.get_mut(offset)
            && !newer
            && *cached == *medium
        {
            *cached ^= 1 << bit;
        }
        *medium ^= 1 << bit;
    }
}
