//! A run is a function of its plan: twice in one process, among workers, recorded or not, in another process with another
//! environment, in debug and in release, each lab and variant gives the same bytes.

use std::{collections::BTreeMap, fs, path::Path, process::Command};

use rayon::prelude::*;
use shaketable_tests::{Case, GOLDEN, hashes, program};
use sim_core::record::{Recording, RecordingLevel};
use tempfile::TempDir;

/// Debug and release, this machine and others: they all compare with one file. The fidelity command does so in release.
#[test]
fn every_lab_gives_the_hashes_that_it_has_always_given() {
    let now = hashes();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/golden/hashes.txt"), &now).unwrap();
        return;
    }
    let old: Vec<&str> = GOLDEN.lines().collect();
    for (old, now) in old.iter().zip(now.lines()) {
        assert_eq!(
            *old, now,
            "a changed hash is a fact to explain; UPDATE_GOLDEN=1 cargo test writes the file anew"
        );
    }
    assert_eq!(
        old.len(),
        now.lines().count(),
        "labs came or went: UPDATE_GOLDEN=1 cargo test writes the file anew"
    );
}

#[test]
fn alone_or_among_workers_twice_is_the_same() {
    let alone = Case::all().iter().map(Case::line).collect::<Vec<_>>();
    let workers = rayon::ThreadPoolBuilder::new().num_threads(8).build().unwrap();
    let among = workers.install(|| Case::all().par_iter().map(Case::line).collect::<Vec<_>>());
    assert_eq!(alone, among);
}

#[test]
fn what_is_recorded_changes_no_event() {
    Case::all().par_iter().for_each(|case| {
        let [least, spans, full] = [RecordingLevel::Essential, RecordingLevel::Spans, RecordingLevel::Full]
            .map(|level| case.run(level));
        assert_eq!(least.run_hash, full.run_hash, "{}", case.name());
        assert_eq!(spans.run_hash, full.run_hash, "{}", case.name());
        assert_eq!((least.events, least.ended), (full.events, full.ended), "{}", case.name());
        // The essentials are the same in content, whatever else has taken a place in the table of names.
        let states = |r: &Recording| {
            r.states
                .iter()
                .map(|s| (s.at, s.node, r.text(s.key).to_owned(), r.text(s.value).to_owned()))
                .collect::<Vec<_>>()
        };
        assert_eq!(states(&least), states(&full), "{}", case.name());
        let metrics = |r: &Recording| {
            r.metrics
                .iter()
                .map(|m| (r.text(m.name).to_owned(), m.node, m.points.clone()))
                .collect::<Vec<_>>()
        };
        assert_eq!(metrics(&least), metrics(&full), "{}", case.name());
        assert_eq!(least.faults, full.faults, "{}", case.name());
        assert_eq!(least.properties, full.properties, "{}", case.name());
    });
}

#[test]
fn another_seed_is_another_run() {
    let mut runs: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for case in Case::all() {
        let hash = case.run(RecordingLevel::Essential).run_hash;
        runs.entry(format!("{} {}", case.lab.name(), case.variant)).or_default().push(hash.0);
    }
    for (name, mut hashes) in runs {
        hashes.sort_unstable();
        hashes.dedup();
        assert_eq!(hashes.len(), shaketable_tests::SEEDS.len(), "{name} does not depend on its seed");
    }
}

/// All files below a folder, by their path in it.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    fn walk(folder: &Path, root: &Path, found: &mut BTreeMap<String, Vec<u8>>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, root, found);
            } else {
                let name = path.strip_prefix(root).unwrap().to_string_lossy().into_owned();
                found.insert(name, fs::read(&path).unwrap());
            }
        }
    }
    let mut found = BTreeMap::new();
    walk(folder, folder, &mut found);
    found
}

#[test]
fn two_processes_in_different_surroundings_write_the_same_files_and_documents() {
    for lab in scenarios::catalogue() {
        let (here, there, elsewhere) =
            (TempDir::new().unwrap(), TempDir::new().unwrap(), TempDir::new().unwrap());
        let arguments = |out: &Path| {
            let out = out.to_str().unwrap().to_owned();
            ["scenario", lab.name(), "--seed", "42", "--json", "--out", &out].map(str::to_owned)
        };
        let mut first = Command::new(program());
        first.args(arguments(here.path())).env("TZ", "UTC").env("LANG", "C").env_remove("RUST_LOG");

        // Another time zone, language, log level, folder, size of the environment, and layout of the address space.
        let fixed_layout = Command::new("setarch").args(["-R", "true"]).status().is_ok_and(|s| s.success());
        let mut second = if fixed_layout {
            let mut command = Command::new("setarch");
            command.arg("-R").arg(program());
            command
        } else {
            Command::new(program())
        };
        second
            .args(arguments(there.path()))
            .env("TZ", "Asia/Kathmandu")
            .env("LANG", "tr_TR.UTF-8")
            .env("LC_ALL", "tr_TR.UTF-8")
            .env("RUST_LOG", "trace")
            .env("RAYON_NUM_THREADS", "1")
            .env("FILLER", "x".repeat(10_000))
            .current_dir(elsewhere.path());

        let (first, second) = (first.output().unwrap(), second.output().unwrap());
        assert!(first.status.success(), "{}: {}", lab.name(), String::from_utf8_lossy(&first.stderr));
        assert_eq!(first.status, second.status, "{}", lab.name());
        let text = |bytes: &[u8], folder: &Path| {
            String::from_utf8(bytes.to_vec()).unwrap().replace(folder.to_str().unwrap(), "OUT")
        };
        assert_eq!(text(&first.stdout, here.path()), text(&second.stdout, there.path()), "{}", lab.name());
        let (left, right) = (files(here.path()), files(there.path()));
        assert!(left.keys().any(|name| name.ends_with("trace-000.jsonl")), "{:?}", left.keys());
        assert_eq!(left.keys().collect::<Vec<_>>(), right.keys().collect::<Vec<_>>(), "{}", lab.name());
        for (name, bytes) in &left {
            let same = text(bytes, here.path()) == text(&right[name], there.path());
            assert!(same, "{}: {name} differs between the two processes", lab.name());
        }
    }
}
