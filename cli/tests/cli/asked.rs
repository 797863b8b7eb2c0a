//! What is said of the trace to open, and of everything that is not the lab's own.

use shaketable::Status;

use crate::common::{file, json, run, text};

#[test]
fn the_trace_to_open_shows_the_goal_that_was_missed() {
    let folder = tempfile::tempdir().unwrap();
    let document = json(&["scenario", "till-queue", "--seed", "42", "--json"]);
    let [open, guarded] = [0, 1].map(|index| &document["variants"][index]);
    let why = open["worst_trace_why"].as_str().unwrap();
    assert!(why.starts_with("who waits longest of ") && why.ends_with(" that come after the pause"), "{why}");
    // Nothing was missed: the longest one will do.
    let longest = guarded["worst_trace_why"].as_str().unwrap();
    assert!(longest.starts_with("the longest of ") && longest.ends_with(" traces"), "{longest}");

    let ran = run(&["scenario", "till-queue", "--seed", "42", "--out", text(folder.path())]);
    let trace = open["worst_trace"].as_str().unwrap();
    for part in [
        format!("The worst trace of open\n  {why}\ntrace {trace}: "),
        format!("http://localhost:16686/trace/{trace}"),
    ] {
        assert!(ran.out.contains(&part), "{part}: {}", ran.out);
    }
    // The file that is named holds it.
    let words: String = ran.out.split_whitespace().collect::<Vec<_>>().join(" ");
    let (_, rest) = words.split_once("the worst trace of open is in ").expect("a file is named");
    let held = std::fs::read_to_string(rest.split(' ').next().unwrap()).unwrap();
    assert!(held.contains(&format!("\"traceId\":\"{trace}\"")));
}

#[test]
fn the_size_of_what_was_written_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["scenario", "till-queue", "--out", text(folder.path())];
    let document = json(&[&arguments[..], &["--json"]].concat());
    let mut bytes = 0;
    for run in std::fs::read_dir(folder.path()).unwrap() {
        for file in std::fs::read_dir(run.unwrap().path()).unwrap() {
            bytes += file.unwrap().metadata().unwrap().len();
        }
    }
    assert_eq!(document["export"]["bytes"], bytes);
    let told = format!(": {:.2} MB;", bytes as f64 / 1e6);
    let out = run(&arguments).out;
    assert!(out.contains(&told), "{told} {out}");
}

#[test]
fn a_knob_that_is_set_for_all_is_told_first_and_who_became_equal() {
    let ran = run(&["scenario", "till-queue", "--set", "door=open"]);
    let told = "\n\nKnob set for all variants: door = open.\n\
                The variants open, guarded and half-guarded are now equal.\n\n";
    let at = ran.out.find(told).expect("it is told");
    assert!(at < ran.out.find("Goals").unwrap(), "{}", ran.out);
    let document = json(&["scenario", "till-queue", "--set", "door=open", "--set", "rate=6_0", "--json"]);
    assert_eq!(document["set"], serde_json::json!({ "door": "open", "rate": "60.0" }));
    assert_eq!(document["equal_variants"], serde_json::json!([["open", "guarded", "half-guarded"]]));
    assert_eq!(document["variants"][0]["hash"].as_str().unwrap().len(), 64);

    let ran = run(&["scenario", "till-queue", "--set", "rate=20", "--variant", "open"]);
    assert!(ran.out.contains("\nKnob set: rate = 20.0.\n\n"), "{}", ran.out);
    // Where nothing was set nothing is said.
    let document = json(&["scenario", "till-queue", "--json"]);
    assert_eq!(
        (&document["set"], &document["faults_from"]),
        (&serde_json::json!({}), &serde_json::Value::Null)
    );
    assert_eq!(document["equal_variants"], serde_json::json!([]));
    assert!(!run(&["scenario", "till-queue"]).out.contains("equal"));
}

#[test]
fn faults_from_a_file_are_told_first() {
    let folder = tempfile::tempdir().unwrap();
    let calm = file(folder.path(), "calm.toml", "");
    let ran = run(&["scenario", "till-queue", "--faults", text(&calm)]);
    let told: String =
        ran.out.split("Goals").next().unwrap().split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(told.contains(&format!("The faults are those of {}, not the lab's own.", text(&calm))), "{told}");
    let document = json(&["scenario", "till-queue", "--faults", text(&calm), "--json"]);
    assert_eq!(document["faults_from"], text(&calm));
}

#[test]
fn the_next_seed_is_asked_for_with_the_same_options() {
    let folder = tempfile::tempdir().unwrap();
    let calm = file(folder.path(), "it is calm.toml", "");
    let arguments = [
        "scenario",
        "till-queue",
        "--seed",
        "6",
        "--variant",
        "open",
        "--set",
        "door={guarded={waiting=5}}",
        "--faults",
        text(&calm),
    ];
    let ran = run(&arguments);
    let next = format!(
        "  shaketable scenario till-queue --seed 7 --variant open --set 'door={{guarded={{waiting=5}}}}' --faults '{}'\n",
        text(&calm)
    );
    assert!(ran.out.contains(&next), "{next}{}", ran.out);
}

#[test]
fn a_replay_tells_its_plan_and_what_is_not_the_labs_own_in_it() {
    let folder = tempfile::tempdir().unwrap();
    run(&["scenario", "till-queue", "--set", "rate=50", "--variant", "open", "--out", text(folder.path())]);
    let own = folder.path().join("open");
    let ran = run(&["replay", text(&own)]);
    assert_eq!(ran.status, Status::AsExpected, "{}", ran.error);
    let words: String = ran.out.split_whitespace().collect::<Vec<_>>().join(" ");
    let plan = own.join("plan.toml");
    assert!(
        words.contains(&format!("Replayed from {}. Not the lab's own knobs: rate = 50.0.", text(&plan))),
        "{words}"
    );
    assert!(words.contains(&format!("shaketable replay {}", text(&plan))), "{words}");
    assert!(!words.contains("--seed 2"), "{words}");
    assert_eq!(json(&["replay", text(&own), "--json"])["plan_from"], text(&plan));
}
