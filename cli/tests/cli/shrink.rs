//! `shrink`: from a failing run to the smallest one, its story, and the files that keep it.

use std::path::Path;

use serde_json::Value;
use shaketable::Status;

use super::sweep::{json, ledger::KEPT, run};
use crate::common::{keys, text};

/// A seed under which the property fails, among drawn faults.
fn failing_seed() -> String {
    let document = json(&[
        "sweep",
        "ledger",
        "--variant",
        "eager",
        "--seeds",
        "0..30",
        "--set",
        "strict=true",
        "--faults",
        "swarm",
        "--json",
    ]);
    let groups = document["failures"].as_array().unwrap();
    let group = groups.iter().find(|group| group["property"] == KEPT).expect("the property fails");
    group["seeds"][0].to_string()
}

fn shrink(seed: &str, out: &Path, more: &[&str]) -> Vec<String> {
    let command =
        ["shrink", "ledger", "--seed", seed, "--set", "strict=true", "--faults", "swarm", "--property", KEPT];
    let out = ["--out", text(out)];
    [&command[..], &out, more].concat().into_iter().map(str::to_owned).collect()
}

fn arguments(all: &[String]) -> Vec<&str> {
    all.iter().map(String::as_str).collect()
}

#[test]
fn a_failing_run_becomes_small_and_is_kept() {
    let seed = failing_seed();
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("small");
    let document = |workers: &str| {
        let mut document = json(&arguments(&shrink(&seed, &out, &["--json", "--workers", workers])));
        document["seconds"] = Value::Null;
        document
    };
    let first = document("2");
    assert_eq!(first, document("1"), "the same for any number of workers");
    assert_eq!(
        keys(&first),
        [
            "after",
            "before",
            "certificate",
            "executions",
            "files",
            "kind",
            "property",
            "roles",
            "scenario",
            "seconds",
            "seed",
            "story",
            "variant"
        ]
    );
    assert_eq!((&first["property"], &first["kind"]), (&KEPT.into(), &"always".into()));
    assert_eq!(first["roles"], serde_json::json!(["clerk"]));
    let size = |of: &str, what: &str| first[of][what].as_u64().unwrap();
    assert_eq!(size("after", "faults"), 1, "{first:#}");
    assert!(size("after", "operations") <= 4 && size("before", "operations") > 10, "{first:#}");
    assert_eq!(size("after", "nodes"), 2);
    assert!(size("before", "faults") >= 1 && size("after", "deliveries") <= size("before", "deliveries"));
    let certificate = first["certificate"].as_array().unwrap();
    assert!(certificate.iter().any(|needed| needed["without"].as_str().unwrap().starts_with("fault `")));
    let story: Vec<&str> =
        first["story"].as_array().unwrap().iter().map(|line| line.as_str().unwrap()).collect();
    assert!(
        story[0].trim_start().starts_with("1. ") && story.last().unwrap().contains("violated: "),
        "{story:?}"
    );

    // The files.
    let files: Vec<&str> =
        first["files"].as_array().unwrap().iter().map(|file| file.as_str().unwrap()).collect();
    for name in [
        "plan.toml",
        "before.toml",
        "story.txt",
        "test.rs",
        "certificate.json",
        "trace-000.jsonl",
        "metrics.prom",
        "summary.json",
    ] {
        assert!(files.contains(&text(&out.join(name))) && out.join(name).is_file(), "{name}: {files:?}");
    }
    let read = |name: &str| std::fs::read_to_string(out.join(name)).unwrap();
    let size_line = read("story.txt").lines().next().unwrap().to_owned();
    assert!(size_line.starts_with("2 nodes, 1 fault, "), "{size_line}");

    // Both plans fail in the same way when they are run again, and the small one cannot become smaller.
    for plan in ["plan.toml", "before.toml"] {
        let again = json(&["replay", text(&out.join(plan)), "--json"]);
        let properties = again["variants"][0]["properties"].as_array().unwrap();
        let property = properties.iter().find(|one| one["name"] == KEPT).unwrap();
        assert_eq!(property["held"], false, "{plan}");
    }
    let other = folder.path().join("again");
    let again =
        json(&["shrink", text(&out.join("plan.toml")), "--property", KEPT, "--out", text(&other), "--json"]);
    assert_eq!(again["seed"].to_string(), toml_seed(&read("plan.toml")));
    for what in ["nodes", "faults", "operations"] {
        assert!(again["after"][what].as_u64() <= first["after"][what].as_u64(), "{what}");
    }
}

fn toml_seed(plan: &str) -> String {
    plan.lines().find_map(|line| line.strip_prefix("seed = ")).unwrap().to_owned()
}

#[test]
fn the_text_begins_with_the_size_and_tells_the_story() {
    let seed = failing_seed();
    let folder = tempfile::tempdir().unwrap();
    let ran = run(&arguments(&shrink(&seed, folder.path(), &["--effort", "1500", "--ties", "seeded"])));
    assert_eq!((ran.status, ran.error.as_str()), (Status::AsExpected, ""));
    let before = std::fs::read_to_string(folder.path().join("before.toml")).unwrap();
    assert!(before.contains("ties = \"seeded\""), "{before}");
    let lines: Vec<&str> = ran.out.lines().collect();
    assert!(lines[0].starts_with("2 nodes, 1 fault, ") && lines[0].ends_with(" deliveries"), "{}", ran.out);
    assert!(
        lines[1].starts_with("an answered number is in the copy (always) by clerk: read "),
        "{}",
        ran.out
    );
    for heading in ["What happens", "What happens without", &format!("Files in {}", folder.path().display())]
    {
        assert!(lines.contains(&heading), "{heading}: {}", ran.out);
    }
    let told = |line: &&&str| {
        line.contains("fault `") && line.trim_start().starts_with(|c: char| c.is_ascii_digit())
    };
    assert!(lines.iter().find(told).is_some_and(|line| line.contains(" ms fault `")), "{}", ran.out);
    assert!(ran.out.contains("\n  shaketable replay "), "{}", ran.out);
}

/// The function of a written test that runs the plan: all but names and numbers.
fn machinery(test: &str) -> Vec<&str> {
    let lines = test.lines().skip_while(|line| !line.starts_with("use "));
    lines.take_while(|line| *line != "#[test]").filter(|line| !line.starts_with("const FAILURE")).collect()
}

#[test]
fn the_written_test_is_like_the_one_that_is_compiled() {
    let seed = failing_seed();
    let folder = tempfile::tempdir().unwrap();
    run(&arguments(&shrink(&seed, folder.path(), &["--effort", "200"])));
    let test = std::fs::read_to_string(folder.path().join("test.rs")).unwrap();
    let compiled = include_str!("../../../scenarios/tests/shrunk/test.rs");
    assert!(machinery(&test).len() > 10 && test.contains("include_str!(\"plan.toml\")"), "{test}");
    assert_eq!(machinery(&test), machinery(compiled));
    assert!(
        test.contains("const FAILURE: &str = \"an answered number is in the copy (always) by clerk\";"),
        "{test}"
    );
    assert!(test.contains("fn eager_fails_as_it_did() {") && test.contains("fn patient_holds() {"), "{test}");
}

#[test]
fn what_does_not_fail_is_told() {
    let error = |arguments: &[&str]| {
        let ran = run(arguments);
        assert_eq!(ran.status, Status::Usage, "{}{}", ran.out, ran.error);
        ran.error.trim_end().to_owned()
    };
    insta::assert_snapshot!(error(&["shrink", "ledger", "--variant", "patient"]), @"error: this run does not fail: there is nothing to make small");
    let lost = json(&["sweep", "ledger", "--variant", "eager", "--seeds", "0..40", "--json"]);
    let seed = lost["failures"][0]["seeds"][0].to_string();
    insta::assert_snapshot!(error(&["shrink", "ledger", "--seed", &seed, "--property", "nothing is lst"]), @"error: `nothing is lst` does not fail in this run; did you mean `nothing is lost`?; what fails: nothing is lost");
    assert!(error(&["shrink", "no/such.toml"]).contains("cannot read the plan no/such.toml"));
}
