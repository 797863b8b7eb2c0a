//! The disk's claims, one test each; those about crashes are in `crashes.rs`. The test against a model of what may survive is
//! `tests/disk_model`.

use std::collections::{BTreeMap, BTreeSet};

use super::{CrashPolicy::*, *};

mod crashes;

/// A stream of words from a seed (SplitMix64).
fn seeded(seed: u64) -> impl FnMut() -> u64 {
    let mut state = seed;
    move || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut word = state;
        word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        word ^ (word >> 31)
    }
}

fn no_words() -> u64 {
    panic!("no chance is involved here")
}

fn content<'a>(disk: &'a DiskState, file: &str) -> &'a [u8] {
    disk.read(file, 0, u64::MAX).unwrap()
}

/// What one crash leaves of a copy of the disk.
fn crashed(disk: &DiskState, policy: CrashPolicy, seed: u64) -> (DiskState, CrashReport) {
    let mut copy = disk.clone();
    let report = copy.crash(policy, &mut seeded(seed));
    (copy, report)
}

/// How often each outcome comes out over 2,000 seeds.
fn outcomes<T: Ord>(
    disk: &DiskState,
    policy: CrashPolicy,
    see: impl Fn(&DiskState, CrashReport) -> T,
) -> BTreeMap<T, u32> {
    let mut counts = BTreeMap::new();
    for seed in 0..2_000 {
        let (copy, report) = crashed(disk, policy, seed);
        *counts.entry(see(&copy, report)).or_default() += 1;
    }
    counts
}

/// Each of `outcomes` came about equally often: within a fifth of its share of 2,000, which is more than four standard
/// deviations for up to 5 outcomes.
fn assert_even<T: Ord + std::fmt::Debug>(counts: &BTreeMap<T, u32>, outcomes: impl IntoIterator<Item = T>) {
    let outcomes: BTreeSet<T> = outcomes.into_iter().collect();
    let share = 2_000 / outcomes.len() as u32;
    assert!(counts.keys().eq(outcomes.iter()), "{counts:?}");
    assert!(counts.values().all(|&count| count.abs_diff(share) < share / 5), "{counts:?}");
}

/// A log of zeros, as the write-ahead log has it.
fn log_disk() -> DiskState {
    let mut disk = DiskState::default();
    disk.preallocate("log", 10_000).unwrap();
    disk
}

#[test]
fn an_empty_disk_is_small_and_owns_nothing() {
    assert!(size_of::<DiskState>() <= 192, "{}", size_of::<DiskState>());
    let disk = DiskState::default();
    assert_eq!((disk.sector_size(), disk.used_bytes(), disk.dirty_bytes()), (512, 0, 0));
    assert!(disk.list("").is_empty());
    assert_eq!(DiskState::new(0).sector_size(), 1);
}

#[test]
fn readers_see_a_write_at_once() {
    let mut disk = DiskState::default();
    disk.write_at("a", 3, b"xyz").unwrap();
    assert_eq!(content(&disk, "a"), b"\0\0\0xyz");
    assert_eq!(disk.append("a", b"!"), Ok(6));
    assert_eq!(disk.append("b", b"new"), Ok(0));
    disk.write_at("a", 0, b"abcd").unwrap();
    assert_eq!(content(&disk, "a"), b"abcdyz!");
    assert_eq!(disk.len("a"), Ok(7));
}

#[test]
fn a_read_is_short_at_the_end_of_the_file() {
    let mut disk = DiskState::default();
    disk.append("a", b"abcdef").unwrap();
    assert_eq!(disk.read("a", 4, 10), Ok(&b"ef"[..]));
    assert_eq!(disk.read("a", 1, 2), Ok(&b"bc"[..]));
    assert_eq!(disk.read("a", 6, 1), Ok(&b""[..]));
    assert_eq!(disk.read("a", u64::MAX, u64::MAX), Ok(&b""[..]));
}

#[test]
fn what_does_not_exist_is_not_found() {
    let mut disk = DiskState::default();
    assert_eq!(disk.read("a", 0, 1), Err(DiskError::NotFound));
    assert_eq!(disk.len("a"), Err(DiskError::NotFound));
    assert_eq!(disk.truncate("a", 0), Err(DiskError::NotFound));
    assert_eq!(disk.rename("a", "b"), Err(DiskError::NotFound));
    assert_eq!(disk.rename("a", "a"), Err(DiskError::NotFound));
    assert_eq!(disk.delete("a"), Err(DiskError::NotFound));
    assert_eq!(disk.fsync("a"), Err(DiskError::NotFound));
    assert!(!disk.exists("a"));
}

#[test]
fn names_are_listed_in_order_by_prefix() {
    let mut disk = DiskState::default();
    for name in ["table-2", "log", "table-1", "tables", "table-"] {
        disk.write_at(name, 0, b"").unwrap();
    }
    assert_eq!(disk.list("table-"), ["table-", "table-1", "table-2"]);
    assert_eq!(disk.list(""), ["log", "table-", "table-1", "table-2", "tables"]);
    assert!(disk.list("zebra").is_empty());
}

#[test]
fn truncating_cuts_and_extends_with_zeros() {
    let mut disk = DiskState::default();
    disk.append("a", b"abcdef").unwrap();
    disk.truncate("a", 2).unwrap();
    disk.truncate("a", 4).unwrap();
    assert_eq!(content(&disk, "a"), b"ab\0\0");
    disk.fsync("a").unwrap();
    assert_eq!(content(&crashed(&disk, LoseUnsynced, 0).0, "a"), b"ab\0\0");
}

#[test]
fn a_rename_replaces_and_a_deleted_name_is_free() {
    let mut disk = DiskState::default();
    disk.append("a", b"new").unwrap();
    disk.append("b", b"old").unwrap();
    disk.rename("a", "b").unwrap();
    disk.rename("b", "b").unwrap();
    assert_eq!((content(&disk, "b"), disk.exists("a")), (&b"new"[..], false));
    disk.delete("b").unwrap();
    assert_eq!(disk.append("b", b"x"), Ok(0));
    assert_eq!(disk.used_bytes(), 1);
}

#[test]
fn a_preallocated_file_is_durable_at_once() {
    let mut disk = DiskState::default();
    disk.append("a", b"head").unwrap();
    disk.preallocate("a", 6).unwrap();
    disk.preallocate("a", 2).unwrap();
    assert_eq!(disk.dirty_bytes(), 0);
    disk.crash(LoseUnsynced, &mut no_words);
    assert_eq!(content(&disk, "a"), b"head\0\0");
}

#[test]
fn writes_after_a_sync_began_are_not_part_of_it() {
    let mut disk = DiskState::default();
    disk.append("a", b"first").unwrap();
    let ticket = disk.begin_sync("a").unwrap();
    assert_eq!(ticket.bytes(), 5);
    disk.write_at("a", 0, b"FI").unwrap();
    disk.append("a", b", second").unwrap();
    disk.complete_sync(ticket).unwrap();
    assert_eq!(content(&disk, "a"), b"FIrst, second");
    assert_eq!(disk.dirty_bytes(), 10);
    disk.crash(LoseUnsynced, &mut no_words);
    assert_eq!(content(&disk, "a"), b"first");
}

#[test]
fn a_sync_that_never_completes_makes_nothing_durable() {
    let mut disk = DiskState::default();
    disk.append("a", b"x").unwrap();
    disk.fsync("a").unwrap();
    disk.append("a", b"y").unwrap();
    let ticket = disk.begin_sync("a").unwrap();
    disk.crash(LoseUnsynced, &mut no_words);
    assert_eq!(content(&disk, "a"), b"x");
    disk.append("a", b"z").unwrap();
    assert_eq!(disk.complete_sync(ticket), Err(DiskError::Io));
    assert_eq!(disk.dirty_bytes(), 1);
}

#[test]
fn two_syncs_of_one_file_may_complete_in_any_order() {
    let mut disk = DiskState::default();
    disk.append("a", b"x").unwrap();
    let first = disk.begin_sync("a").unwrap();
    disk.append("a", b"y").unwrap();
    let second = disk.begin_sync("a").unwrap();
    disk.complete_sync(second).unwrap();
    disk.complete_sync(first).unwrap();
    disk.crash(LoseUnsynced, &mut no_words);
    assert_eq!(content(&disk, "a"), b"xy");
}

#[test]
fn write_back_makes_the_data_of_all_files_durable() {
    let mut disk = DiskState::default();
    disk.append("a", b"x").unwrap();
    disk.append("b", b"y").unwrap();
    disk.sync_all().unwrap();
    assert_eq!(disk.dirty_bytes(), 0);
    disk.append("a", b"z").unwrap();
    disk.crash(LoseUnsynced, &mut no_words);
    assert_eq!((content(&disk, "a"), content(&disk, "b")), (&b"x"[..], &b"y"[..]));
}

#[test]
fn unsynced_writes_are_listed_in_order() {
    let mut disk = log_disk();
    disk.write_at("log", 100, &[1; 20]).unwrap();
    disk.append("a", b"xyz").unwrap();
    disk.write_at("log", 110, &[2; 5]).unwrap();
    disk.truncate("a", 1).unwrap();
    let write = |file: &str, offset, len| UnsyncedWrite { file: file.to_owned(), offset, len };
    assert_eq!(
        disk.unsynced(),
        [write("log", 100, 20), write("a", 0, 3), write("log", 110, 5), write("a", 1, 0)]
    );
    assert_eq!(disk.dirty_bytes(), 28);
    disk.delete("a").unwrap();
    assert_eq!(disk.dirty_bytes(), 25);
}

#[test]
fn a_failed_sync_is_reported_once_and_its_data_are_lost_by_the_next_crash() {
    let mut disk = DiskState::default();
    disk.append("a", b"safe").unwrap();
    disk.fsync("a").unwrap();
    disk.append("a", b"LOST").unwrap();
    disk.fail_syncs(FailingSyncs::Next(1));
    assert_eq!(disk.fsync("a"), Err(DiskError::Io));
    assert_eq!(disk.dirty_bytes(), 0);
    disk.append("a", b"tail").unwrap();
    assert_eq!(disk.fsync("a"), Ok(()));
    assert_eq!(content(&disk, "a"), b"safeLOSTtail");
    disk.crash(LoseUnsynced, &mut no_words);
    assert_eq!(content(&disk, "a"), b"safe\0\0\0\0tail");
}

#[test]
fn syncs_fail_as_often_as_they_were_told_to() {
    let mut disk = DiskState::default();
    disk.append("a", b"x").unwrap();
    disk.fail_syncs(FailingSyncs::Next(2));
    let results: Vec<bool> = (0..3).map(|_| disk.fsync("a").is_ok()).collect();
    assert_eq!(results, [false, false, true]);
    disk.fail_syncs(FailingSyncs::All);
    assert!((0..5).all(|_| disk.fsync("a").is_err() && disk.sync_directory().is_err()));
    disk.crash(LoseUnsynced, &mut no_words);
    assert_eq!(disk.sync_directory(), Err(DiskError::Io));
    disk.fail_syncs(FailingSyncs::None);
    assert_eq!(disk.sync_directory(), Ok(()));
}

#[test]
fn a_failed_directory_sync_leaves_names_undecided() {
    let mut disk = DiskState::default();
    disk.append("a", b"x").unwrap();
    disk.fsync("a").unwrap();
    disk.rename("a", "b").unwrap();
    disk.fail_syncs(FailingSyncs::Next(1));
    assert_eq!(disk.sync_directory(), Err(DiskError::Io));
    assert_even(&outcomes(&disk, LoseUnsynced, |disk, _| disk.exists("b")), [false, true]);
    disk.sync_directory().unwrap();
    disk.crash(LoseUnsynced, &mut no_words);
    assert!(disk.exists("b"));
}

#[test]
fn a_failed_write_back_is_reported_by_the_next_sync_of_the_file() {
    let mut disk = DiskState::default();
    disk.preallocate("a", 3).unwrap();
    disk.preallocate("b", 3).unwrap();
    disk.fail_syncs(FailingSyncs::Next(1));
    assert_eq!(disk.sync_all(), Ok(()), "nothing is dirty: no sync happens, none fails");
    disk.write_at("a", 0, b"xyz").unwrap();
    assert_eq!(disk.sync_all(), Err(DiskError::Io));
    assert_eq!(disk.fsync("b"), Ok(()));
    assert_eq!(disk.fsync("a"), Err(DiskError::Io));
    assert_eq!(disk.fsync("a"), Ok(()));
    disk.crash(LoseUnsynced, &mut no_words);
    assert_eq!(content(&disk, "a"), b"\0\0\0");
}

#[test]
fn while_input_and_output_fail_nothing_changes() {
    let mut disk = DiskState::default();
    disk.append("a", b"x").unwrap();
    disk.fail_io(true);
    assert_eq!(disk.read("a", 0, 1), Err(DiskError::Io));
    assert_eq!(disk.append("a", b"y"), Err(DiskError::Io));
    assert_eq!(disk.truncate("a", 0), Err(DiskError::Io));
    assert_eq!(disk.rename("a", "b"), Err(DiskError::Io));
    assert_eq!(disk.delete("a"), Err(DiskError::Io));
    assert_eq!(disk.fsync("a"), Err(DiskError::Io));
    disk.fail_io(false);
    assert_eq!(content(&disk, "a"), b"x");
    disk.fsync("a").unwrap();
    disk.crash(LoseUnsynced, &mut no_words);
    assert_eq!(content(&disk, "a"), b"", "the entry is durable, the byte was lost by the failed sync");
}

#[test]
fn a_full_disk_refuses_what_grows_and_changes_nothing() {
    let mut disk = DiskState::default();
    disk.set_capacity(Some(10));
    disk.append("a", b"12345678").unwrap();
    let before = disk.unsynced();
    assert_eq!(disk.append("a", b"xyz"), Err(DiskError::NoSpace));
    assert_eq!(disk.write_at("b", 8, b"x"), Err(DiskError::NoSpace));
    assert_eq!(disk.truncate("a", 11), Err(DiskError::NoSpace));
    assert_eq!(disk.preallocate("c", 3), Err(DiskError::NoSpace));
    assert_eq!((disk.unsynced(), disk.list("")), (before, vec!["a"]));
    disk.write_at("a", 6, b"abcd").unwrap();
    disk.write_at("a", 0, b"in place").unwrap();
    disk.delete("a").unwrap();
    disk.append("b", b"1234567890").unwrap();
    disk.set_capacity(Some(5));
    disk.write_at("b", 9, b"x").unwrap();
    assert_eq!(disk.append("b", b"x"), Err(DiskError::NoSpace));
}

#[test]
fn an_absurd_offset_is_refused() {
    let mut disk = DiskState::default();
    assert_eq!(disk.write_at("a", u64::MAX, b"x"), Err(DiskError::NoSpace));
    assert_eq!(disk.write_at("a", FILE_SIZE_MAX, b"x"), Err(DiskError::NoSpace));
    assert_eq!(disk.preallocate("a", u64::MAX), Err(DiskError::NoSpace));
    assert!(!disk.exists("a"));
}

#[test]
fn rot_flips_one_bit_for_readers_and_for_good() {
    let mut disk = DiskState::default();
    assert_eq!(disk.rot(None, &mut no_words), None);
    disk.append("unsynced", &[0; 4]).unwrap();
    assert_eq!(disk.rot(None, &mut no_words), None);
    assert_eq!(disk.rot(Some("unsynced"), &mut no_words), None);
    assert_eq!(disk.rot(Some("missing"), &mut no_words), None);
    disk.preallocate("a", 2).unwrap();
    disk.preallocate("long", 100).unwrap();
    let mut hit = BTreeSet::new();
    let mut files = BTreeMap::<_, u32>::new();
    for seed in 0..2_000 {
        let mut copy = disk.clone();
        let rot = copy.rot(None, &mut seeded(seed)).unwrap();
        let mut expected = content(&disk, &rot.file).to_vec();
        expected[rot.offset as usize] ^= 1 << rot.bit;
        assert_eq!(content(&copy, &rot.file), expected);
        copy.crash(LoseUnsynced, &mut no_words);
        assert_eq!(content(&copy, &rot.file), expected);
        *files.entry(rot.file.clone()).or_default() += 1;
        if rot.file == "a" {
            hit.insert((rot.offset, rot.bit));
        }
    }
    assert_even(&files, ["a", "long"].map(str::to_owned));
    assert_eq!(hit.len(), 16);
    assert!((0..50).all(|seed| disk.rot(Some("a"), &mut seeded(seed)).is_some_and(|rot| rot.file == "a")));
}

#[test]
fn rot_under_a_newer_write_shows_only_after_a_crash() {
    let mut disk = DiskState::default();
    disk.preallocate("a", 1).unwrap();
    disk.write_at("a", 0, b"\0").unwrap();
    let rot = disk.rot(None, &mut seeded(1)).unwrap();
    assert_eq!(content(&disk, "a"), b"\0");
    assert_eq!(content(&crashed(&disk, LoseUnsynced, 1).0, "a"), [1 << rot.bit]);
    disk.fsync("a").unwrap();
    assert_eq!(content(&crashed(&disk, LoseUnsynced, 1).0, "a"), b"\0");
}
