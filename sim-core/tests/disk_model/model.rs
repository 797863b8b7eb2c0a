//! What may survive a crash, written down as plainly as possible: it lists the permitted outcomes instead of choosing one.
//!
//! Per file there are the durable bytes and the unsynced changes in order. A policy permits a set of *worlds*; in each, a
//! file has one of a few contents. Names: a file may be found under any name that it has had since its last durable one,
//! and must be found under one of them if its entry was durable and nobody deleted or replaced it.

use std::collections::{BTreeMap, BTreeSet};

use sim_core::machine::disk::{CrashPolicy, SyncTicket};

/// Small, so that short writes span several sectors.
pub const SECTOR_SIZE: usize = 4;

#[derive(Clone, Debug)]
pub enum Change {
    Write(usize, Vec<u8>),
    Length(usize),
}

impl Change {
    /// The parts that survive on their own: one for each sector.
    fn pieces(&self) -> Vec<Change> {
        let Self::Write(offset, bytes) = self else { return vec![self.clone()] };
        let mut pieces: Vec<(usize, Vec<u8>)> = Vec::new();
        for (at, &byte) in (*offset..).zip(bytes) {
            match pieces.last_mut() {
                Some((_, piece)) if at % SECTOR_SIZE != 0 => piece.push(byte),
                _ => pieces.push((at, vec![byte])),
            }
        }
        pieces.into_iter().map(|(at, bytes)| Self::Write(at, bytes)).collect()
    }

    fn apply(&self, image: &mut Vec<u8>) {
        match self {
            Self::Length(length) => image.resize(*length, 0),
            Self::Write(offset, bytes) => {
                for (at, &byte) in (*offset..).zip(bytes) {
                    while image.len() <= at {
                        image.push(0);
                    }
                    image[at] = byte;
                }
            }
        }
    }
}

#[derive(Clone, Debug, Default)]
pub struct ModelFile {
    pub cached: Vec<u8>,
    durable: Vec<u8>,
    /// With the number of each among all changes.
    unsynced: Vec<(u64, Change)>,
    /// The names under which a crash may find it.
    possible_names: BTreeSet<&'static str>,
    /// A crash may not lose its entry.
    entry_durable: bool,
    /// It was deleted or replaced, and the directory has not been synced since.
    pub may_be_gone: bool,
    /// A write-back failed, and nobody has been told.
    write_back_failed: bool,
}

#[derive(Debug, Default)]
pub struct Model {
    pub names: BTreeMap<&'static str, usize>,
    pub files: Vec<ModelFile>,
    pub begun: Vec<(SyncTicket, usize, u64)>,
    /// How many of the next syncs fail.
    pub failing: u32,
    next_change: u64,
    next_byte: u8,
}

/// The contents that a world permits for some files; the others are as they are durable.
type World = BTreeMap<usize, BTreeSet<Vec<u8>>>;

impl Model {
    /// Stands for the end of a sync that a crash has ended.
    pub const BEFORE_CRASH: u64 = u64::MAX;

    /// Bytes unlike those of other writes.
    pub fn fresh_bytes(&mut self, len: usize) -> Vec<u8> {
        self.next_byte = self.next_byte % 250 + 1;
        vec![self.next_byte; len]
    }

    /// The number of the change that comes next.
    pub fn end(&self) -> u64 {
        self.next_change
    }

    fn change(&mut self, id: usize, change: Change) {
        change.apply(&mut self.files[id].cached);
        self.files[id].unsynced.push((self.next_change, change));
        self.next_change += 1;
    }

    pub fn write(&mut self, name: &'static str, offset: usize, bytes: Vec<u8>) {
        let id = *self.names.entry(name).or_insert_with(|| {
            self.files.push(ModelFile { possible_names: BTreeSet::from([name]), ..ModelFile::default() });
            self.files.len() - 1
        });
        self.change(id, Change::Write(offset, bytes));
    }

    pub fn truncate(&mut self, name: &str, length: usize) -> bool {
        let Some(&id) = self.names.get(name) else { return false };
        if self.files[id].cached.len() != length {
            self.change(id, Change::Length(length));
        }
        true
    }

    pub fn rename(&mut self, from: &'static str, to: &'static str) -> bool {
        let Some(&id) = self.names.get(from) else { return false };
        if from != to {
            self.delete(to);
            self.names.remove(from);
            self.names.insert(to, id);
            self.files[id].possible_names.insert(to);
        }
        true
    }

    pub fn delete(&mut self, name: &str) -> bool {
        let Some(id) = self.names.remove(name) else { return false };
        self.files[id].may_be_gone = true;
        true
    }

    fn next_sync_fails(&mut self) -> bool {
        let fails = self.failing > 0;
        self.failing = self.failing.saturating_sub(1);
        fails
    }

    /// Syncs the changes before `end`. Returns whether it succeeded.
    pub fn sync(&mut self, id: usize, end: u64) -> bool {
        let fails = self.next_sync_fails();
        let told = std::mem::take(&mut self.files[id].write_back_failed);
        self.settle(id, end, fails);
        !fails && !told
    }

    fn settle(&mut self, id: usize, end: u64, fails: bool) {
        let file = &mut self.files[id];
        if !fails {
            let before = file.unsynced.iter().filter(|(number, _)| *number < end);
            before.for_each(|(_, change)| change.apply(&mut file.durable));
            file.entry_durable = true;
        }
        file.unsynced.retain(|(number, _)| *number >= end);
    }

    pub fn sync_directory(&mut self) -> bool {
        if self.next_sync_fails() {
            return false;
        }
        for file in &mut self.files {
            file.possible_names.clear();
        }
        for (name, &id) in &self.names {
            self.files[id].possible_names.insert(name);
            self.files[id].entry_durable = true;
        }
        true
    }

    pub fn sync_all(&mut self) -> bool {
        let dirty = |id: &usize| !self.files[*id].unsynced.is_empty() || !self.files[*id].entry_durable;
        let dirty: Vec<usize> = self.names.values().copied().filter(dirty).collect();
        let fails = !dirty.is_empty() && self.next_sync_fails();
        for id in dirty {
            self.files[id].write_back_failed |= fails && !self.files[id].unsynced.is_empty();
            self.settle(id, u64::MAX, fails);
        }
        !fails
    }

    /// The changes that are not durable, of all files that have a name, in order.
    pub fn unsynced(&self) -> Vec<(usize, &Change)> {
        let of =
            |&id: &usize| self.files[id].unsynced.iter().map(move |(number, change)| (*number, id, change));
        let mut changes: Vec<_> = self.names.values().flat_map(of).collect();
        changes.sort_by_key(|(number, ..)| *number);
        changes.into_iter().map(|(_, id, change)| (id, change)).collect()
    }

    /// The world in which the first `whole` changes survived, and `pieces` pieces of the next.
    fn cut(&self, whole: usize, pieces: usize) -> World {
        let mut images = BTreeMap::new();
        for (number, (id, change)) in self.unsynced().into_iter().enumerate().take(whole + 1) {
            let image = images.entry(id).or_insert_with(|| self.files[id].durable.clone());
            let kept = if number < whole { usize::MAX } else { pieces };
            change.pieces().iter().take(kept).for_each(|piece| piece.apply(image));
        }
        images.into_iter().map(|(id, image)| (id, BTreeSet::from([image]))).collect()
    }

    /// All contents that sectors surviving on their own can leave of a file: each set of sectors with each number of its
    /// changes of length, unless a surviving sector was written after a change of length that did not survive.
    fn by_sectors(file: &ModelFile) -> BTreeSet<Vec<u8>> {
        let pieces: Vec<Change> = file.unsynced.iter().flat_map(|(_, change)| change.pieces()).collect();
        let sector = |piece: &Change| match piece {
            Change::Write(offset, _) => Some(offset / SECTOR_SIZE),
            Change::Length(_) => None,
        };
        let sectors: Vec<usize> =
            pieces.iter().filter_map(sector).collect::<BTreeSet<_>>().into_iter().collect();
        let lengths = pieces.iter().filter(|piece| sector(piece).is_none()).count();
        let mut contents = BTreeSet::new();
        for set in 0..1_u32 << sectors.len() {
            'lengths: for kept in 0..=lengths {
                let mut image = file.durable.clone();
                let mut seen = 0;
                for piece in &pieces {
                    if let Some(sector) = sector(piece) {
                        let survives =
                            sectors.iter().position(|&s| s == sector).is_some_and(|bit| set >> bit & 1 == 1);
                        if survives && seen > kept {
                            continue 'lengths;
                        }
                        if survives {
                            piece.apply(&mut image);
                        }
                    } else {
                        seen += 1;
                        if seen <= kept {
                            piece.apply(&mut image);
                        }
                    }
                }
                contents.insert(image);
            }
        }
        contents
    }

    fn worlds(&self, policy: CrashPolicy) -> Vec<World> {
        let pieces: Vec<usize> =
            self.unsynced().into_iter().map(|(_, change)| change.pieces().len()).collect();
        match policy {
            CrashPolicy::LoseUnsynced => vec![World::new()],
            CrashPolicy::TearFirst => {
                (0..=pieces.first().copied().unwrap_or(0)).map(|kept| self.cut(0, kept)).collect()
            }
            CrashPolicy::KeepPrefix => (0..=pieces.len())
                .flat_map(|whole| {
                    let cuts = pieces.get(whole).copied().unwrap_or(1);
                    (0..cuts).map(move |kept| self.cut(whole, kept))
                })
                .collect(),
            CrashPolicy::KeepRandomSectors => {
                vec![self.names.values().map(|&id| (id, Self::by_sectors(&self.files[id]))).collect()]
            }
        }
    }

    /// Whether a crash may leave these names and contents.
    pub fn permits(&self, policy: CrashPolicy, found: &[(&'static str, Vec<u8>)]) -> bool {
        self.worlds(policy).iter().any(|world| self.explains(policy, world, found, &mut BTreeSet::new()))
    }

    /// Whether each name can be given a file of its own that may have this name and this content in this world, with all
    /// files given a name that must have one.
    fn explains(
        &self,
        policy: CrashPolicy,
        world: &World,
        found: &[(&'static str, Vec<u8>)],
        used: &mut BTreeSet<usize>,
    ) -> bool {
        let Some(((name, content), rest)) = found.split_first() else {
            let must = |(_, file): &(usize, &ModelFile)| file.entry_durable && !file.may_be_gone;
            return self.files.iter().enumerate().filter(must).all(|(id, _)| used.contains(&id));
        };
        for (id, file) in self.files.iter().enumerate() {
            let permitted =
                world.get(&id).map_or(*content == file.durable, |contents| contents.contains(content));
            // A new file whose data are lost has an entry only if a surviving rename moved it.
            let known =
                file.entry_durable || policy != CrashPolicy::LoseUnsynced || file.possible_names.len() > 1;
            if permitted && known && file.possible_names.contains(name) && used.insert(id) {
                if self.explains(policy, world, rest, used) {
                    return true;
                }
                used.remove(&id);
            }
        }
        false
    }

    /// After a crash: what was found is what there is, and all of it is durable.
    pub fn restart(&mut self, found: Vec<(&'static str, Vec<u8>)>) {
        self.files.clear();
        self.names.clear();
        for (name, content) in found {
            self.names.insert(name, self.files.len());
            self.files.push(ModelFile {
                cached: content.clone(),
                durable: content,
                possible_names: BTreeSet::from([name]),
                entry_durable: true,
                ..ModelFile::default()
            });
        }
        for (_, _, end) in &mut self.begun {
            *end = Self::BEFORE_CRASH;
        }
    }
}
