//! Folders of runs: what is replaced, what may lie side by side, and what is refused before anything is run.

use std::{fs, path::Path};

use shaketable::Status;

use crate::common::{run, text};

fn scenario(folder: &Path, arguments: &[&str]) -> crate::common::Ran {
    run(&[&["scenario"], arguments, &["--out", text(folder)]].concat())
}

/// The message of a command that is refused, with DIR for the folder.
fn refused(folder: &Path, arguments: &[&str]) -> String {
    let before = plans(folder);
    let ran = scenario(folder, arguments);
    assert_eq!(ran.status, Status::Usage, "{arguments:?}: {}{}", ran.out, ran.error);
    assert_eq!((ran.out.as_str(), plans(folder)), ("", before), "nothing was run, nothing was written");
    ran.error.replace(text(folder), "DIR").trim_end().to_owned()
}

/// The plans in a folder of runs.
fn plans(folder: &Path) -> Vec<String> {
    let runs = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path().join("plan.toml"));
    let mut plans: Vec<String> = runs.filter_map(|plan| fs::read_to_string(plan).ok()).collect();
    plans.sort();
    plans
}

#[test]
fn a_run_replaces_the_earlier_one_of_its_variant() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(scenario(folder.path(), &["till-queue"]).status, Status::AsExpected);
    fs::write(folder.path().join("notes.txt"), "mine").unwrap();
    fs::write(folder.path().join("open/notes.txt"), "mine").unwrap();
    // All variants are replaced: under another seed, with another knob.
    assert_eq!(
        scenario(folder.path(), &["till-queue", "--seed", "7", "--set", "rate=50"]).status,
        Status::AsExpected
    );
    let plans = plans(folder.path());
    assert!(
        plans.len() == 3
            && plans.iter().all(|plan| plan.contains("seed = 7") && plan.contains("rate = 50.0"))
    );
    for kept in ["notes.txt", "open/notes.txt"] {
        assert_eq!(fs::read_to_string(folder.path().join(kept)).unwrap(), "mine");
    }
    // One of them, asked for in the same way, belongs to the others.
    let same = ["till-queue", "--seed", "7", "--set", "rate=50", "--variant", "open"];
    assert_eq!(scenario(folder.path(), &same).status, Status::AsExpected);
}

#[test]
fn runs_that_cannot_be_compared_do_not_lie_side_by_side() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(scenario(folder.path(), &["till-queue", "--variant", "open"]).status, Status::AsExpected);
    insta::assert_snapshot!(refused(folder.path(), &["wishful", "--variant", "unknown"]), @"error: DIR/open holds a run of another experiment (till-queue, seed 1), this one is wishful, seed 1. In one folder they could not be told apart: give another one with --out, or remove that one");
    insta::assert_snapshot!(refused(folder.path(), &["till-queue", "--variant", "guarded", "--seed", "7"]), @"error: DIR/open holds a run of another experiment (till-queue, seed 1), this one is till-queue, seed 7. In one folder they could not be told apart: give another one with --out, or remove that one");
    insta::assert_snapshot!(refused(folder.path(), &["till-queue", "--variant", "guarded", "--set", "rate=50"]), @"error: DIR/open holds a run of another experiment (till-queue, seed 1), this one is till-queue, seed 1, rate = 50.0. In one folder they could not be told apart: give another one with --out, or remove that one");
    // A replayed plan may be an edited one.
    let plan = folder.path().join("open/plan.toml");
    let edited = fs::read_to_string(&plan).unwrap().replace("\"open\"\nseed", "\"guarded\"\nseed");
    let edited = crate::common::file(folder.path(), "edited.toml", &edited);
    let ran = run(&["replay", text(&edited), "--out", text(folder.path())]);
    assert_eq!(ran.status, Status::Usage);
    assert!(ran.error.contains("replayed from"), "{}", ran.error);
}

#[test]
fn the_folder_of_one_run_takes_no_others() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(scenario(folder.path(), &["till-queue", "--variant", "open"]).status, Status::AsExpected);
    let told = refused(&folder.path().join("open"), &["till-queue"]);
    assert!(told.contains("DIR is the folder of a single run"), "{told}");
    assert!(told.contains(text(folder.path())), "{told}");
}

#[test]
fn a_folder_without_a_name_is_named_after_what_makes_runs_comparable() {
    // In a folder of its own: the default one lies where the command is run.
    let program = env!("CARGO_BIN_EXE_shaketable");
    let folder = tempfile::tempdir().unwrap();
    let url = crate::common::receiver::nobody();
    for set in [&[][..], &["--set", "jitter=20ms"]] {
        let arguments = ["scenario", "network-faults", "--variant", "numbered", "--otlp", &url];
        let output = std::process::Command::new(program)
            .args(arguments)
            .args(set)
            .current_dir(folder.path())
            .env_clear()
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(4), "nobody is there");
    }
    let folder = folder.path().join("shaketable-out");
    for name in ["network-faults-1", "network-faults-1-jitter-20ms"] {
        assert!(folder.join(name).join("numbered/plan.toml").is_file(), "{name}");
    }
}
