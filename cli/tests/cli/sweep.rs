//! `sweep` and `merge`: the same results however they are run, result files, verdicts, and what is told of it.

use std::{ffi::OsString, path::Path};

use scenarios::lab::LabEntry;
use serde_json::Value;
use shaketable::{Console, Status};

use crate::common::{Ran, keys, labs, text};

#[path = "../common/ledger.rs"]
pub mod ledger;

/// Runs a command on the tests' labs and the ledger.
pub fn run(arguments: &[&str]) -> Ran {
    let (mut out, mut error) = (Vec::new(), Vec::new());
    let status = {
        let mut labs = labs::labs();
        let source = include_str!("../common/ledger.rs");
        labs.push(LabEntry::of::<ledger::Ledger>("replication", "ledger", source));
        let mut console = Console::plain(&mut out, &mut error, &|_| None);
        let arguments = ["shaketable"].iter().chain(arguments).map(OsString::from);
        shaketable::run(&labs, arguments, &mut console)
    };
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ran { status, out: text(out), error: text(error) }
}

pub fn json(arguments: &[&str]) -> Value {
    let ran = run(arguments);
    assert_eq!(ran.error, "");
    serde_json::from_str(&ran.out).expect("the output is JSON")
}

fn refused(arguments: &[&str]) -> String {
    let ran = run(arguments);
    assert_eq!((ran.status, ran.out.as_str()), (Status::Usage, ""), "{arguments:?}: {}", ran.error);
    ran.error.trim_end().to_owned()
}

const EAGER: [&str; 6] = ["sweep", "ledger", "--variant", "eager", "--seeds", "0..80"];

#[test]
fn the_document_has_the_shape_that_scripts_rely_on() {
    let document = json(&[&EAGER[..], &["--json"]].concat());
    assert_eq!(
        keys(&document),
        [
            "as_expected",
            "events",
            "failed",
            "failed_share",
            "failures",
            "figures",
            "hash",
            "runs",
            "scenario",
            "seeds",
            "sometimes_never_held",
            "transitions",
            "variant"
        ]
    );
    assert_eq!((&document["scenario"], &document["variant"]), (&"ledger".into(), &"eager".into()));
    assert_eq!((&document["seeds"], &document["runs"]), (&"0..80".into(), &80.into()));
    let group = &document["failures"][0];
    assert_eq!(keys(group), ["count", "fingerprint", "kind", "property", "roles", "seeds"]);
    assert_eq!(group["fingerprint"], "nothing is lost (goal)");
    let count = group["count"].as_u64().unwrap();
    assert!((8..80).contains(&count), "chance decides: {count}");
    assert_eq!(group["seeds"].as_array().unwrap().len() as u64, count);
    assert_eq!(document["failed"], count);
    assert_eq!(document["sometimes_never_held"], serde_json::json!(["the copy is ahead"]));
    assert_eq!(document["hash"].as_str().unwrap().len(), 16);
    assert!(document["transitions"].as_u64().unwrap() >= 3, "{}", document["transitions"]);
    let lost = &document["figures"]["lost"];
    assert!(lost["low"].as_f64() < lost["value"].as_f64() && lost["value"].as_f64() < lost["high"].as_f64());
    // Each seed of the group fails when it is run alone.
    let seed = group["seeds"][0].to_string();
    let alone = json(&["scenario", "ledger", "--variant", "eager", "--seed", &seed, "--json"]);
    assert_eq!(alone["variants"][0]["expectations"][0]["met"], false);

    let all = json(&["sweep", "ledger", "--seeds", "3,5", "--json"]);
    let names: Vec<&str> =
        all.as_array().unwrap().iter().map(|one| one["variant"].as_str().unwrap()).collect();
    assert_eq!(names, ["eager", "patient"]);
}

#[test]
fn one_worker_and_three_print_the_same_bytes() {
    for form in ["--json", "--csv", "--color=never"] {
        let with =
            |workers: &str| run(&["sweep", "ledger", "--seeds", "0..30", form, "--workers", workers]).out;
        let one = with("1");
        assert!(one.len() > 200, "{one}");
        assert_eq!(one, with("3"), "{form}");
    }
}

#[test]
fn shards_that_are_merged_are_the_document_of_one_machine() {
    let folder = tempfile::tempdir().unwrap();
    let files: Vec<String> =
        (1..=3).map(|n| text(&folder.path().join(format!("{n}.jsonl"))).to_owned()).collect();
    let command = ["sweep", "ledger", "--seeds", "0..20", "--faults", "swarm"];
    for (index, file) in files.iter().enumerate() {
        let shard = format!("{}/3", index + 1);
        let ran = run(&[&command[..], &["--shard", &shard, "--out", file, "--json"]].concat());
        assert_eq!(ran.error, "");
        let document: Value = serde_json::from_str(&ran.out).unwrap();
        assert_eq!(document[0]["runs"], [7, 7, 6][index]);
        assert_eq!(document[0]["shard"], shard);
    }
    let whole = |form: &[&str]| run(&[&command[..], form].concat());
    let merged = |form: &[&str]| {
        // In whatever order.
        let files = [files[2].as_str(), &files[0], &files[1]];
        run(&[&["merge"], &files[..], form].concat())
    };
    for form in [&["--json"][..], &["--csv"], &[]] {
        let (whole, merged) = (whole(form), merged(form));
        assert_eq!((whole.out, whole.status), (merged.out, merged.status), "{form:?}");
    }
    assert_eq!(
        refused(&["merge", &files[0], &files[2]]),
        "error: the sweep is not complete: shard 2/3 is missing"
    );
    let other = text(&folder.path().join("other.jsonl")).to_owned();
    run(&["sweep", "ledger", "--seeds", "0..2", "--out", &other]);
    let told = refused(&["merge", &files[0], &other]);
    assert!(
        told.contains("are of different sweeps: the seeds is 0..2 in the one and 0..20 in the other"),
        "{told}"
    );
    // A shard that was killed.
    let cut = std::fs::read_to_string(&files[1]).unwrap();
    let cut: Vec<&str> = cut.split_inclusive('\n').take(4).collect();
    std::fs::write(&files[1], cut.concat()).unwrap();
    let told = refused(&["merge", &files[0], &files[1], &files[2]]);
    assert!(told.contains("2.jsonl (shard 2/3) lacks seeds") && told.contains("and it goes on"), "{told}");
}

fn lines(path: &Path) -> Vec<String> {
    std::fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn a_sweep_that_was_killed_goes_on_where_it_ended() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deep/results.jsonl");
    let command = ["sweep", "ledger", "--seeds", "0..12", "--json", "--out", text(&path)];
    let whole = run(&command);
    assert_eq!(whole.error, "");
    let all = lines(&path);
    assert_eq!(all.len(), 1 + 24, "a header and a line for each seed of two variants");
    // Cut in the middle of a line.
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() * 2 / 3]).unwrap();
    let kept = lines(&path).len() - 1;
    let again = run(&command);
    assert_eq!((again.out, again.error.as_str()), (whole.out.clone(), ""));
    let now = lines(&path);
    assert_eq!(now.len(), all.len());
    assert_eq!(now[..kept], all[..kept], "what was there is not run again");
    // And once more, with nothing to do.
    assert_eq!(run(&command).out, whole.out);
    assert_eq!(lines(&path), now);
    // Not even a whole header.
    std::fs::write(&path, &bytes[..40]).unwrap();
    assert_eq!(run(&command).out, whole.out);
}

#[test]
fn a_file_of_another_sweep_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("results.jsonl");
    fn with<'a>(path: &'a Path, more: &[&'a str]) -> Vec<&'a str> {
        [&["sweep", "ledger", "--out", text(path)], more].concat()
    }
    run(&with(&path, &["--seeds", "0..3"]));
    let before = std::fs::read(&path).unwrap();
    let told = refused(&with(&path, &["--seeds", "0..4"]));
    assert!(told.contains("is the result of another sweep: its seeds is 0..3, not 0..4"), "{told}");
    let told = refused(&with(&path, &["--seeds", "0..3", "--ties", "seeded"]));
    assert!(told.contains("its knobs and faults is {\"ties\":\"fifo\""), "{told}");
    let told = refused(&with(&path, &["--seeds", "0..3", "--variant", "eager"]));
    assert!(told.contains("its variants is eager, patient, not eager"), "{told}");
    assert_eq!(std::fs::read(&path).unwrap(), before, "and left as it is");
    // The program has changed since.
    let text_before = String::from_utf8(before).unwrap();
    let hash = text_before.split("\"hash\":\"").nth(1).unwrap()[..16].to_owned();
    std::fs::write(&path, text_before.replace(&hash, "0123456789abcdef")).unwrap();
    let told = refused(&with(&path, &["--seeds", "0..3"]));
    assert!(told.contains("was written by another state of the program: seed"), "{told}");
    std::fs::write(&path, "my diary\n").unwrap();
    let told = refused(&with(&path, &["--seeds", "0..3"]));
    assert!(told.contains("is no result of a sweep: its first line is no header"), "{told}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "my diary\n");
}

#[test]
fn the_status_says_whether_it_came_as_the_lab_expects() {
    let status = |arguments: &[&str]| run(arguments).status;
    assert_eq!(status(&EAGER), Status::AsExpected, "it names the goal that it misses, by chance");
    assert_eq!(status(&["sweep", "till-queue", "--seeds", "0..2"]), Status::AsExpected);
    assert_eq!(status(&["sweep", "wishful", "--variant", "wrong", "--seeds", "1"]), Status::NotAsExpected);
    assert_eq!(status(&["sweep", "wishful", "--variant", "unknown", "--seeds", "1"]), Status::Unknown);
    // A property that nobody names.
    let strict = run(&[&EAGER[..], &["--set", "strict=true"]].concat());
    assert_eq!(strict.status, Status::NotAsExpected);
    assert!(
        strict.out.contains("NOT as expected: an answered number is in the copy (always) by clerk"),
        "{}",
        strict.out
    );
    // With a lag that loses nothing, the variant does not do what it should.
    let drawn = run(&[&EAGER[..], &["--faults", "swarm"]].concat());
    assert_eq!(drawn.status, Status::NotAsExpected, "under drawn faults any failure counts");
    let falling = run(&["sweep", "falling-over", "--seeds", "0..3"]);
    assert_eq!(falling.status, Status::NotAsExpected);
    let told = "seed 0 and 2 more could not be run: the lab `falling-over` panicked while it set up";
    assert!(falling.out.split_whitespace().collect::<Vec<_>>().join(" ").contains(told), "{}", falling.out);
    let panics = run(&["sweep", "till-queue", "--variant", "open", "--seeds", "1", "--set", "panics=true"]);
    assert_eq!(panics.status, Status::NotAsExpected);
    assert!(panics.out.contains("no code panics (panic) by till"), "{}", panics.out);
}

#[test]
fn the_text_reads_well_at_80_columns() {
    let ran = run(&["sweep", "ledger", "--seeds", "0..40"]);
    assert!(ran.out.lines().all(|line| line.chars().count() <= 80), "{}", ran.out);
    insta::assert_snapshot!("sweep", ran.out);
    let ran = run(&["sweep", "ledger", "--seeds", "0..16", "--variant", "eager", "--set", "lag=0s..80ms/5"]);
    assert_eq!((ran.status, ran.error.as_str()), (Status::AsExpected, ""));
    assert!(ran.out.lines().all(|line| line.chars().count() <= 80), "{}", ran.out);
    insta::assert_snapshot!("sweep_of_a_knob", ran.out);
}

#[test]
fn a_knobs_sweep_has_a_row_for_each_value() {
    let command = ["sweep", "ledger", "--variant", "eager", "--seeds", "0..16", "--set", "lag=0s..80ms/5"];
    let document = json(&[&command[..], &["--json"]].concat());
    assert_eq!((&document["knob"], &document["runs"]), (&"lag".into(), &Value::Null));
    let rows = document["rows"].as_array().unwrap();
    let values: Vec<&str> = rows.iter().map(|row| row["value"].as_str().unwrap()).collect();
    assert_eq!(values, ["0s", "20ms", "40ms", "60ms", "80ms"]);
    let share = |row: &Value| row["failed_share"]["value"].as_f64().unwrap();
    assert!(share(&rows[0]) < share(&rows[4]), "a longer lag loses more");
    let csv = run(&[&command[..], &["--csv"]].concat()).out;
    let head = csv.lines().next().unwrap();
    assert!(
        head.starts_with("scenario,variant,seeds,lag,runs,failed,failed share,failed low,failed high,"),
        "{head}"
    );
    assert_eq!(csv.lines().count(), 6);
}

#[test]
fn runs_are_explored_by_faults_and_by_priorities() {
    let hash = |more: &[&str]| {
        let command =
            [&["sweep", "ledger", "--variant", "patient", "--seeds", "0..4", "--json"], more].concat();
        json(&command)["hash"].to_string()
    };
    let ways: Vec<String> = [
        &[][..],
        &["--explore", "random"],
        &["--explore", "swarm"],
        &["--explore", "pct:3"],
        &["--explore", "k-faults:1"],
    ]
    .iter()
    .map(|more| hash(more))
    .collect();
    let different: std::collections::BTreeSet<&String> = ways.iter().collect();
    assert_eq!(different.len(), ways.len(), "{ways:?}");
    assert_eq!(hash(&["--faults", "swarm"]), ways[2]);
    let told = refused(&["sweep", "ledger", "--explore", "k-faults:1", "--seeds", "0..100000"]);
    assert!(
        told.contains("error: k-faults:1 has ") && told.contains("asks for more: they are 0.."),
        "{told}"
    );
}

#[test]
fn a_file_of_faults_replaces_the_labs_own() {
    let folder = tempfile::tempdir().unwrap();
    let calm = crate::common::file(folder.path(), "calm.toml", "fault = []\n");
    let document = json(&[&EAGER[..], &["--json", "--faults", text(&calm)]].concat());
    assert_eq!(document["failed"], 0);
    assert_eq!(document["as_expected"], true);
}

#[test]
fn bad_input_is_answered_with_what_is_allowed() {
    insta::assert_snapshot!(refused(&["sweep", "ledgr"]), @"error: there is no lab `ledgr`; `list` shows all 4; did you mean `ledger`?");
    insta::assert_snapshot!(refused(&["sweep", "ledger", "--variant", "eagr"]), @"error: the lab `ledger` has no variant `eagr`; its variants are eager, patient; did you mean `eager`?");
    insta::assert_snapshot!(refused(&["sweep", "ledger", "--set", "lag=1ms..5ms", "--set", "lag=1ms..2ms"]), @"error: only one knob can be swept at a time: two ranges were given with --set");
    insta::assert_snapshot!(refused(&["sweep", "ledger", "--set", "strict=1..2"]), @"error: the knob `strict` has no range to sweep: only numbers and durations have");
    let told = refused(&["sweep", "ledger", "--set", "lag=1s..5s"]);
    assert!(told.contains("the knob `lag` cannot be 1.57s: from 0s to 1s is allowed"), "{told}");
    insta::assert_snapshot!(refused(&["sweep", "ledger", "--faults", "swarm", "--explore", "pct:2"]), @"error: --faults swarm and --explore pct:2 are two ways to choose runs: take one of them");
    insta::assert_snapshot!(refused(&["sweep", "ledger", "--faults", "swarm", "--servers", "ledgers"]), @"error: the lab `ledger` has no service `ledgers`; did you mean `ledger`?; its services are clerk, ledger");
    for (arguments, told) in [
        (&["--seeds", "9..3"][..], "there is no seed in `9..3`"),
        (&["--seeds", "many"], "write 0..1000, 0..=99, 7 or 1,5,9"),
        (&["--shard", "1/3"], "--out <FILE>"),
        (&["--shard", "4/3", "--out", "x"], "write 3/16 for the third of sixteen"),
        (&["--explore", "pct"], "pct takes a whole number from 1 to 1000, such as pct:3"),
        (&["--ties", "none"], "it is fifo (in order of scheduling) or seeded"),
        (&["--workers", "0"], "0 is not in 1.."),
        (&["--time", "10"], "write a number and a unit"),
    ] {
        let error = refused(&[&["sweep", "ledger"], arguments].concat());
        assert!(error.contains(told), "{arguments:?}: {error}");
    }
}

#[test]
fn when_the_time_is_over_no_run_begins() {
    let ran = run(&["sweep", "ledger", "--seeds", "0..1000", "--time", "0s"]);
    assert_eq!(ran.status, Status::AsExpected);
    assert_eq!(
        ran.error,
        "The time was over: 0 of 2,000 runs are done; with --out FILE the same command could go on from there.\n"
    );
}
