//! What each crash policy keeps, and under which names files are found afterwards.

use super::*;

#[test]
fn synced_data_survive_every_policy_and_unsynced_data_do_not_survive_the_default() {
    let mut disk = DiskState::default();
    disk.append("a", b"synced").unwrap();
    disk.fsync("a").unwrap();
    for policy in [LoseUnsynced, TearFirst, KeepPrefix, KeepRandomSectors] {
        let (copy, report) = crashed(&disk, policy, 1);
        assert_eq!((content(&copy, "a"), report), (&b"synced"[..], CrashReport::default()));
    }
    disk.append("a", b", not synced").unwrap();
    let report = disk.crash(LoseUnsynced, &mut no_words);
    assert_eq!(content(&disk, "a"), b"synced");
    assert_eq!(report, CrashReport { writes_lost: 1, bytes_lost: 12, ..CrashReport::default() });
}

#[test]
fn a_new_file_that_nobody_synced_is_gone_after_a_crash() {
    let mut disk = DiskState::default();
    disk.append("a", b"x").unwrap();
    disk.write_at("empty", 0, b"").unwrap();
    disk.fsync("empty").unwrap();
    let report = disk.crash(LoseUnsynced, &mut no_words);
    assert_eq!(disk.list(""), ["empty"]);
    assert_eq!(report.files_lost, 1);
}

#[test]
fn a_new_file_exists_after_a_crash_if_some_of_its_data_survived() {
    let mut disk = DiskState::default();
    disk.append("a", &[1; 512]).unwrap();
    let counts = outcomes(&disk, TearFirst, |disk, report| (disk.exists("a"), report.files_lost));
    assert_even(&counts, [(false, 1), (true, 0)]);
}

#[test]
fn tear_first_keeps_each_number_of_sectors_of_the_first_write_equally_often() {
    let mut disk = log_disk();
    // From 300 to 1,800: pieces of 212, 512, 512 and 264 bytes.
    disk.write_at("log", 300, &[7; 1_500]).unwrap();
    disk.write_at("log", 1_800, &[8; 1_500]).unwrap();
    let kept = |disk: &DiskState, _| content(disk, "log").iter().filter(|&&byte| byte == 7).count();
    assert_even(&outcomes(&disk, TearFirst, kept), [0, 212, 724, 1_236, 1_500]);
    for seed in 0..50 {
        let (copy, report) = crashed(&disk, TearFirst, seed);
        let kept = content(&copy, "log").iter().filter(|&&byte| byte != 0).count();
        assert_eq!(content(&copy, "log")[300..300 + kept], [7; 1_500][..kept]);
        assert_eq!(copy.len("log"), Ok(10_000));
        assert_eq!((report.bytes_kept, report.bytes_lost), (kept as u64, 3_000 - kept as u64));
        assert_eq!(report.writes_kept + report.writes_torn + report.writes_lost, 2);
        assert_eq!(
            (report.writes_kept, report.writes_torn),
            (u64::from(kept == 1_500), u64::from(![0, 1_500].contains(&kept)))
        );
    }
}

#[test]
fn a_torn_append_leaves_a_shorter_file() {
    let mut disk = DiskState::default();
    disk.append("a", &[7; 1_200]).unwrap();
    let counts = outcomes(&disk, TearFirst, |disk, _| disk.len("a").ok());
    assert_even(&counts, [None, Some(512), Some(1_024), Some(1_200)]);
}

#[test]
fn keep_prefix_keeps_each_number_of_whole_writes_and_tears_the_next() {
    let mut disk = DiskState::new(4);
    disk.preallocate("a", 12).unwrap();
    for at in 0..3 {
        disk.write_at("a", at * 4, &[1; 4]).unwrap();
    }
    let whole = outcomes(&disk, KeepPrefix, |_, report| (report.writes_kept, report.writes_lost));
    assert_even(&whole, (0..=3).map(|kept| (kept, 3 - kept)));

    // Two files: the writes survive in the order in which they were made, in whatever file.
    let mut disk = DiskState::new(4);
    disk.preallocate("a", 12).unwrap();
    disk.preallocate("b", 12).unwrap();
    for file in ["a", "b"] {
        disk.write_at(file, 0, &[1; 12]).unwrap();
    }
    let seen = outcomes(&disk, KeepPrefix, |disk, report| {
        let count = |file| content(disk, file).iter().filter(|&&byte| byte == 1).count();
        assert_eq!(
            report.writes_torn,
            u64::from(![0, 12].contains(&count("a")) || ![0, 12].contains(&count("b")))
        );
        (count("a"), count("b"))
    });
    assert!(
        seen.keys().copied().eq([(0, 0), (4, 0), (8, 0), (12, 0), (12, 4), (12, 8), (12, 12)]),
        "{seen:?}"
    );
}

#[test]
fn random_sectors_survive_each_on_its_own_with_chance_one_half() {
    let mut disk = DiskState::new(4);
    disk.preallocate("a", 8).unwrap();
    disk.write_at("a", 0, &[1; 8]).unwrap();
    let counts = outcomes(&disk, KeepRandomSectors, |disk, _| content(disk, "a").to_vec());
    let all = [[0, 0], [0, 1], [1, 0], [1, 1]];
    assert_even(&counts, all.map(|[first, second]| [[first; 4], [second; 4]].concat()));
}

#[test]
fn all_writes_to_one_random_sector_share_its_fate() {
    let mut disk = DiskState::new(8);
    disk.preallocate("a", 8).unwrap();
    disk.write_at("a", 0, &[1; 3]).unwrap();
    disk.write_at("a", 2, &[2; 3]).unwrap();
    let counts = outcomes(&disk, KeepRandomSectors, |disk, _| content(disk, "a").to_vec());
    assert_even(&counts, [vec![0; 8], vec![1, 1, 2, 2, 2, 0, 0, 0]]);
}

#[test]
fn bytes_written_after_a_truncation_do_not_survive_without_it() {
    let mut disk = DiskState::new(4);
    disk.append("a", b"old, and longer").unwrap();
    disk.fsync("a").unwrap();
    disk.truncate("a", 0).unwrap();
    disk.append("a", b"new").unwrap();
    for policy in [LoseUnsynced, TearFirst, KeepPrefix, KeepRandomSectors] {
        for left in outcomes(&disk, policy, |disk, _| content(disk, "a").to_vec()).keys() {
            assert!(
                [&b"old, and longer"[..], b"", b"new"].contains(&left.as_slice()),
                "{policy:?}: {left:?}"
            );
        }
    }
}

#[test]
fn a_crash_finds_the_old_name_or_the_new_one_until_the_directory_is_synced() {
    let mut disk = DiskState::default();
    disk.append("current", b"old").unwrap();
    disk.fsync("current").unwrap();
    disk.append("next", b"new").unwrap();
    disk.fsync("next").unwrap();
    disk.rename("next", "current").unwrap();
    let see = |disk: &DiskState, report: CrashReport| {
        assert_eq!(report.names_kept + report.names_lost, 1);
        (
            content(disk, "current").to_vec(),
            disk.read("next", 0, 9).ok().map(<[u8]>::to_vec),
            report.names_kept,
        )
    };
    for policy in [LoseUnsynced, TearFirst, KeepPrefix, KeepRandomSectors] {
        let counts = outcomes(&disk, policy, see);
        assert_even(&counts, [(b"old".to_vec(), Some(b"new".to_vec()), 0), (b"new".to_vec(), None, 1)]);
    }
    disk.sync_directory().unwrap();
    disk.crash(LoseUnsynced, &mut no_words);
    assert_eq!((content(&disk, "current"), disk.list("").len()), (&b"new"[..], 1));
}

#[test]
fn a_deleted_file_comes_back_whole_or_not_at_all() {
    let mut disk = DiskState::default();
    disk.append("a", b"whole").unwrap();
    disk.fsync("a").unwrap();
    disk.append("a", b" and more").unwrap();
    disk.delete("a").unwrap();
    let counts = outcomes(&disk, KeepPrefix, |disk, _| disk.read("a", 0, 99).ok().map(<[u8]>::to_vec));
    assert_even(&counts, [None, Some(b"whole".to_vec())]);
    disk.sync_directory().unwrap();
    disk.crash(KeepPrefix, &mut no_words);
    assert!(!disk.exists("a"));
}

#[test]
fn a_file_renamed_without_a_sync_may_be_found_empty() {
    let mut disk = DiskState::default();
    disk.append("current", b"old").unwrap();
    disk.fsync("current").unwrap();
    disk.append("next", b"new").unwrap();
    disk.rename("next", "current").unwrap();
    let counts = outcomes(&disk, LoseUnsynced, |disk, _| content(disk, "current").to_vec());
    assert_even(&counts, [b"old".to_vec(), b"".to_vec()]);
}

#[test]
fn renames_survive_in_order_and_each_number_equally_often() {
    let mut disk = DiskState::default();
    for name in ["a", "b", "c"] {
        disk.append(name, name.as_bytes()).unwrap();
        disk.fsync(name).unwrap();
        disk.delete(name).unwrap();
    }
    let counts = outcomes(&disk, LoseUnsynced, |disk, _| disk.list("").concat());
    assert_even(&counts, ["abc", "bc", "c", ""].map(str::to_owned));
}

#[test]
fn a_new_file_under_a_freed_name_does_not_swallow_the_file_that_had_it() {
    let mut disk = DiskState::default();
    disk.append("log", b"first").unwrap();
    disk.fsync("log").unwrap();
    disk.rename("log", "log.1").unwrap();
    disk.append("log", b"second").unwrap();
    disk.fsync("log").unwrap();
    // The new entry cannot be durable without the rename that made room for it.
    disk.crash(LoseUnsynced, &mut no_words);
    assert_eq!((content(&disk, "log"), content(&disk, "log.1")), (&b"second"[..], &b"first"[..]));
}

#[test]
fn syncing_a_new_file_leaves_other_names_undecided() {
    let mut disk = DiskState::default();
    disk.append("a", b"a").unwrap();
    disk.fsync("a").unwrap();
    disk.rename("a", "b").unwrap();
    disk.append("other", b"x").unwrap();
    disk.fsync("other").unwrap();
    let counts = outcomes(&disk, LoseUnsynced, |disk, _| disk.list("").concat());
    assert_even(&counts, ["aother", "bother"].map(str::to_owned));
}

#[test]
fn the_same_words_leave_the_same_disk() {
    let mut disk = log_disk();
    for at in 0..20 {
        disk.write_at("log", at * 300, &[at as u8 + 1; 700]).unwrap();
    }
    for policy in [TearFirst, KeepPrefix, KeepRandomSectors] {
        let (first, second) = (crashed(&disk, policy, 3), crashed(&disk, policy, 3));
        assert_eq!(content(&first.0, "log"), content(&second.0, "log"));
        assert_eq!(first.1, second.1);
        let others = outcomes(&disk, policy, |disk, _| content(disk, "log").to_vec());
        assert!(others.len() >= 3, "{policy:?} knows only {} outcomes", others.len());
    }
}

#[test]
fn policies_are_written_in_kebab_case() {
    let names = [LoseUnsynced, TearFirst, KeepPrefix, KeepRandomSectors]
        .map(|policy| serde_json::to_string(&policy).unwrap());
    assert_eq!(names.join(" "), r#""lose-unsynced" "tear-first" "keep-prefix" "keep-random-sectors""#);
    assert_eq!(CrashPolicy::default(), LoseUnsynced);
}
