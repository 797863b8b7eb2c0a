//! `replay`: the same plan gives the same recording, an edited one another, and a wrong one a message with the line.

use std::path::PathBuf;

use shaketable::Status;

use crate::common::{file, json, run, text};

/// The plan of a run, as `--out` wrote it.
fn written_plan(folder: &std::path::Path) -> PathBuf {
    let ran = run(&["scenario", "till-queue", "--seed", "7", "--set", "rate=50", "--out", text(folder)]);
    assert_eq!(ran.status, Status::AsExpected, "{}", ran.error);
    folder.join("guarded/plan.toml")
}

#[test]
fn a_plan_gives_its_recording_again() {
    let folder = tempfile::tempdir().unwrap();
    let plan = written_plan(folder.path());
    let first = json(&["scenario", "till-queue", "--seed", "7", "--set", "rate=50", "--json"]);
    let again = json(&["replay", text(&plan), "--json"]);
    assert_eq!(again["seed"], 7);
    assert_eq!(again["variants"].as_array().unwrap().len(), 1);
    assert_eq!(again["variants"][0]["hash"], first["variants"][1]["hash"]);
    assert_eq!(again["variants"][0]["altered"], serde_json::json!(["knobs"]));
    let hash = again["variants"][0]["hash"].as_str().unwrap();
    assert!(run(&["replay", text(&plan)]).out.contains(hash));
}

#[test]
fn a_replay_writes_the_same_folder_byte_for_byte() {
    let folder = tempfile::tempdir().unwrap();
    let plan = written_plan(folder.path());
    let again = tempfile::tempdir().unwrap();
    let ran = run(&["replay", text(&plan), "--out", text(again.path())]);
    assert_eq!(ran.status, Status::AsExpected, "{}", ran.error);
    for name in ["trace-000.jsonl", "metrics.jsonl", "metrics.prom", "plan.toml"] {
        let read = |folder: &std::path::Path| std::fs::read(folder.join("guarded").join(name)).unwrap();
        assert!(read(folder.path()) == read(again.path()), "{name}");
    }
}

#[test]
fn what_is_edited_in_a_plan_counts() {
    let folder = tempfile::tempdir().unwrap();
    let plan = written_plan(folder.path());
    let whole = std::fs::read_to_string(&plan).unwrap();
    let edited = format!(
        "{whole}\n[[override]]\nfrom = \"customers\"\nto = \"till\"\nkind = \"Buy\"\nordinal = 3\ndelay = \"400ms\"\n"
    );
    let path = file(folder.path(), "edited.toml", &edited);
    let document = json(&["replay", text(&path), "--json"]);
    let variant = &document["variants"][0];
    assert_eq!(variant["altered"], serde_json::json!(["knobs", "overrides"]));
    let faults = variant["faults"].as_array().unwrap();
    assert_eq!(faults[1]["what"], "takes 400ms");
    assert_eq!(faults[1]["touched"], 1);
    let before = json(&["replay", text(&plan), "--json"]);
    assert_ne!(before["variants"][0]["hash"], variant["hash"]);
}

#[test]
fn a_plan_that_cannot_be_run_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let plan = std::fs::read_to_string(written_plan(folder.path())).unwrap();
    let refused = |text_of_plan: &str| {
        let path = file(folder.path(), "wrong.toml", text_of_plan);
        let ran = run(&["replay", text(&path)]);
        assert_eq!(ran.status, Status::Usage, "{}", ran.error);
        assert_eq!(ran.out, "");
        ran.error.replace(text(folder.path()), "DIR").trim_end().to_owned()
    };
    insta::assert_snapshot!(refused(&plan.replace("till-queue", "till-qeue")), @"error: DIR/wrong.toml cannot be replayed: there is no lab `till-qeue`; did you mean `till-queue`?; `list` shows all 3");
    insta::assert_snapshot!(refused(&plan.replace("\"guarded\"", "\"gaurded\"")), @"error: DIR/wrong.toml cannot be replayed: the lab `till-queue` has no variant `gaurded`; did you mean `guarded`?; its variants are open, guarded, half-guarded");
    insta::assert_snapshot!(refused(&plan.replace("rate = 50.0", "rate = 5000.0")), @"error: DIR/wrong.toml cannot be replayed: the knob `rate` cannot be 5000.0: from 1 to 1000 is allowed");
    insta::assert_snapshot!(refused(&plan.replace("seed = 7", "sede = 7")), @r"
    error: DIR/wrong.toml is no plan: TOML parse error at line 4, column 1
      |
    4 | sede = 7
      | ^^^^
    unknown field `sede`, expected one of `format`, `scenario`, `variant`, `seed`, `until`, `ties`, `draws`, `operations`, `knobs`, `fault`, `override`
    ");
    insta::assert_snapshot!(refused(&plan.replace("format = 1", "format = 9")), @"error: DIR/wrong.toml is no plan: the plan has format 9, this version reads format 1");
    let told = refused(&plan.replace("on = \"till\"", "on = \"tlil\""));
    assert!(told.contains("`tlil`") && told.contains("did you mean `till`?"), "{told}");
    let ran = run(&["replay", "no/such/plan.toml"]);
    assert_eq!(ran.status, Status::Usage);
    assert!(ran.error.contains("cannot read the plan no/such/plan.toml"), "{}", ran.error);
}
