//! A run is a function of its plan: twice in one process, among workers, recorded or not, in another process with another
//! environment, in debug and in release, each lab and variant gives the same bytes.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use rayon::prelude::*;
use scenarios::lab::LabEntry;
use serde_json::Value;
use shaketable_tests::{Case, GOLDEN, SEEDS, hashes, program};
use sim_core::record::{Recording, RecordingLevel};
use tempfile::TempDir;

/// Labs that record hundreds of thousands of spans, and knobs with which they record less of the same.
const SHORTER: [(&str, &[&str]); 2] =
    [("thundering-herd", &["rate=200"]), ("write-ahead-log", &["rate=150"])];

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
        assert_eq!(hashes.len(), SEEDS.len(), "{name} does not depend on its seed");
    }
}

/// The paths of all files below a folder, in order.
fn files(folder: &Path) -> BTreeSet<PathBuf> {
    fn walk(folder: &Path, root: &Path, found: &mut BTreeSet<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, root, found);
            } else {
                found.insert(path.strip_prefix(root).unwrap().to_owned());
            }
        }
    }
    let mut found = BTreeSet::new();
    walk(folder, folder, &mut found);
    found
}

/// Nobody's: the usual time zone and language, and a log level of nothing.
fn plain() -> Command {
    let mut command = Command::new(program());
    command.env("TZ", "UTC").env("LANG", "C").env_remove("LC_ALL").env_remove("RUST_LOG");
    command
}

/// Another time zone, language, log level, folder, size of the environment, and layout of the address space; other things
/// that programs like to read from the environment; and, for each seed, another one of each.
fn strange(index: usize, folder: &Path) -> Command {
    let fixed_layout = Command::new("setarch").args(["-R", "true"]).status().is_ok_and(|s| s.success());
    let mut command = if fixed_layout {
        let mut command = Command::new("setarch");
        command.arg("-R").arg(program());
        command
    } else {
        Command::new(program())
    };
    let pick = |of: [&'static str; 3]| of[index % 3];
    command
        .env("TZ", pick(["Asia/Kathmandu", "America/St_Johns", "Pacific/Kiritimati"]))
        .env("LANG", pick(["tr_TR.UTF-8", "de_DE.UTF-8", "ar_EG.UTF-8"]))
        .env("LC_ALL", pick(["tr_TR.UTF-8", "de_DE.UTF-8", "ar_EG.UTF-8"]))
        .env("RUST_LOG", pick(["trace", "debug", "shaketable=trace"]))
        .env("RUST_BACKTRACE", "full")
        .env("RUST_MIN_STACK", "16777216")
        .env("RAYON_NUM_THREADS", pick(["1", "2", "7"]))
        .env("OTEL_RESOURCE_ATTRIBUTES", "host.id=elsewhere,service.name=somebody")
        .env("OTEL_SERVICE_NAME", "somebody")
        .env("COLUMNS", pick(["20", "80", "400"]))
        .env("TMPDIR", folder)
        .env("HOME", folder)
        .env("FILLER", "x".repeat([10_000, 77_777, 1][index % 3]))
        .current_dir(folder);
    command
}

/// Runs a lab under one seed in two processes and holds them against each other, and against this process.
fn two_processes_agree(lab: &LabEntry, index: usize, sets: &[&str]) {
    let (seed, name) = (SEEDS[index], format!("{} {} {sets:?}", lab.name(), SEEDS[index]));
    let [here, there, elsewhere] = [(); 3].map(|()| TempDir::new().unwrap());
    let run = |mut command: Command, out: &Path| {
        command.args(["scenario", lab.name(), "--seed", &seed.to_string(), "--json", "--out"]).arg(out);
        let output = command.args(sets.iter().flat_map(|set| ["--set", set])).output().unwrap();
        // With other knobs a lab may miss what it expects of itself (1), or be unable to judge (3).
        let told = matches!(output.status.code(), Some(0 | 1 | 3));
        assert!(told, "{name}: {}", String::from_utf8_lossy(&output.stderr));
        // The one thing that the two were told differently is where to write.
        let document = String::from_utf8(output.stdout).unwrap().replace(out.to_str().unwrap(), "OUT");
        (output.status, document)
    };
    let (status, document) = run(plain(), here.path());
    let (other_status, other_document) = run(strange(index, elsewhere.path()), there.path());
    assert_eq!(status, other_status, "{name}");
    assert_eq!(document, other_document, "{name}");
    assert_eq!(files(elsewhere.path()), BTreeSet::new(), "{name}: nothing is written but what was asked for");

    // Every file, byte for byte; a variant has at least its plan, its summary, its metrics, and its spans.
    let names = files(here.path());
    assert_eq!(names, files(there.path()), "{name}");
    for file in &names {
        let same = fs::read(here.path().join(file)).unwrap() == fs::read(there.path().join(file)).unwrap();
        assert!(same, "{name}: {} differs between the two processes", file.display());
    }
    let document: Value = serde_json::from_str(&document).unwrap();
    let told = document["variants"].as_array().unwrap();
    assert_eq!(told.len(), lab.variants().len(), "{name}");
    for (variant, told) in lab.variants().iter().zip(told) {
        for file in ["trace-000.jsonl", "metrics.jsonl", "metrics.prom", "plan.toml", "summary.json"] {
            assert!(names.contains(&Path::new(variant.name).join(file)), "{name}: {file} in {names:?}");
        }
        // This process, among workers, agrees with those two. The real knobs are in the golden file.
        let owned: Vec<String> = sets.iter().map(|&set| set.to_owned()).collect();
        let line = if sets.is_empty() {
            let begin = format!("{} {} {seed} ", lab.name(), variant.name);
            GOLDEN.lines().find_map(|line| line.strip_prefix(&begin)).unwrap_or_default().to_owned()
        } else {
            let plan = lab.plan(variant.name, seed, &owned).unwrap();
            let recording = lab.run(&plan, RecordingLevel::Full).unwrap();
            format!("{} {}", recording.hash(), recording.run_hash)
        };
        let hashes = [&told["hash"], &told["run_hash"]].map(|hash| hash.as_str().unwrap());
        assert_eq!(line, hashes.join(" "), "{name} {}", variant.name);
    }
}

/// Each lab as it is under the first seed; those that record much, at a lower rate under the others.
#[test]
fn two_processes_in_different_surroundings_write_the_same_files_and_documents() {
    let cases: Vec<(&LabEntry, usize)> = scenarios::catalogue()
        .iter()
        .flat_map(|lab| (0..SEEDS.len()).map(move |index| (lab, index)))
        .collect();
    cases.par_iter().for_each(|&(lab, index)| {
        let shorter = SHORTER.iter().find(|(name, _)| index > 0 && *name == lab.name());
        two_processes_agree(lab, index, shorter.map_or(&[], |(_, sets)| sets));
    });
    for (name, _) in SHORTER {
        assert!(scenarios::find(name).is_ok(), "there is no lab `{name}`");
    }
}
