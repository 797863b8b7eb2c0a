//! `scenario`: the document, the text, and what they say of broken, fixed and altered runs.

use shaketable::Status;

use crate::common::{file, json, keys, run, text, without_wall_time};

#[test]
fn the_document_has_the_shape_that_scripts_rely_on() {
    let document = json(&["scenario", "till-queue", "--seed", "42", "--json"]);
    assert_eq!(keys(&document), ["as_expected", "scenario", "seed", "title", "variants"]);
    assert_eq!(document["scenario"], "till-queue");
    assert_eq!(document["seed"], 42);
    assert_eq!(document["as_expected"], true);

    let variants = document["variants"].as_array().unwrap();
    let told: Vec<_> =
        variants.iter().map(|one| (one["name"].as_str().unwrap(), one["kind"].as_str().unwrap())).collect();
    assert_eq!(told, [("open", "broken"), ("guarded", "fixed"), ("half-guarded", "control")]);
    for variant in variants {
        assert_eq!(
            keys(variant),
            [
                "altered",
                "ending",
                "events",
                "expectations",
                "faults",
                "figures",
                "hash",
                "kind",
                "messages",
                "name",
                "properties",
                "run_hash",
                "spans",
                "virtual_ns",
                "worst_trace"
            ]
        );
        assert_eq!(variant["hash"].as_str().unwrap().len(), 64);
        assert_eq!(variant["run_hash"].as_str().unwrap().len(), 16);
        assert_eq!(variant["worst_trace"].as_str().unwrap().len(), 32);
        assert_eq!(variant["virtual_ns"], 6_000_000_000_u64);
        assert!(variant["events"].as_u64().unwrap() > 1_000);
        assert!(variant["spans"].as_u64().unwrap() > 500);
        assert!(variant["figures"]["served"].is_f64());
        let fault = &variant["faults"][0];
        assert_eq!(keys(fault), ["at_ns", "ended_ns", "name", "nodes", "on", "touched", "what"]);
        assert_eq!((&fault["what"], &fault["on"]), (&"pause".into(), &"till".into()));
        assert_eq!(fault["at_ns"], 2_000_000_000_u64);
        // 60 customers a second come while the till stands still for one.
        assert!(fault["touched"].as_u64().is_some_and(|touched| (40..90).contains(&touched)), "{fault}");
        let property = &variant["properties"][0];
        assert_eq!(keys(property), ["checks", "held", "kind", "name", "passes"]);
        assert_eq!((&property["kind"], &property["held"]), (&"always".into(), &true.into()));
    }
    let goal = &variants[0]["expectations"][0];
    assert_eq!(keys(goal), ["as_expected", "bound", "expected", "kind", "measured", "met", "name", "value"]);
    assert_eq!((&goal["kind"], &goal["expected"]), (&"goal".into(), &"missed".into()));
    assert_eq!((&goal["met"], &goal["as_expected"]), (&false.into(), &true.into()));
    assert_eq!(goal["bound"], "at most 100ms");
    let comparison = variants[1]["expectations"].as_array().unwrap().last().unwrap().clone();
    assert_eq!((&comparison["kind"], &comparison["against"]), (&"comparison".into(), &"open".into()));
    let of_control = &variants[2]["expectations"][0];
    assert_eq!((&of_control["expected"], &of_control["as_expected"]), (&"either".into(), &true.into()));
}

#[test]
fn the_same_command_prints_the_same_bytes() {
    let document = || run(&["scenario", "till-queue", "--json"]).out;
    assert_eq!(document(), document());
    let text = || without_wall_time(&run(&["scenario", "till-queue"]).out);
    assert_eq!(text(), text());
}

#[test]
fn the_text_reads_well_at_80_columns_without_colour() {
    let ran = run(&["scenario", "till-queue", "--seed", "42"]);
    assert_eq!((ran.status, ran.error.as_str()), (Status::AsExpected, ""));
    for line in ran.out.lines().filter(|line| !line.contains(" of wall time: ")) {
        assert!(line.chars().count() <= 80, "{line}");
    }
    assert!(!ran.out.contains('\u{1b}'));
    insta::assert_snapshot!("scenario", without_hashes(&without_wall_time(&ran.out)));
}

#[test]
fn colours_are_for_whoever_asks_for_them() {
    let ran = run(&["scenario", "till-queue", "--color", "always"]);
    assert!(ran.out.contains("\u{1b}["));
    assert_eq!(run(&["scenario", "till-queue", "--color", "never"]).out.matches('\u{1b}').count(), 0);
}

#[test]
fn one_variant_is_run_alone_and_seed_1_is_the_default() {
    let document =
        json(&["scenario", "till-queue", "--variant", "guarded", "--variant", "guarded", "--json"]);
    assert_eq!(document["seed"], 1);
    let variants = document["variants"].as_array().unwrap();
    assert_eq!(variants.len(), 1);
    // Nothing to compare with.
    let kinds: Vec<_> =
        variants[0]["expectations"].as_array().unwrap().iter().map(|one| &one["kind"]).collect();
    assert_eq!(kinds, ["goal", "goal"]);
    // And it is the same run as among the others.
    let all = json(&["scenario", "till-queue", "--json"]);
    assert_eq!(all["variants"][1]["hash"], variants[0]["hash"]);
}

#[test]
fn of_a_run_with_other_knobs_nothing_is_expected() {
    let ran = run(&["scenario", "till-queue", "--set", "rate=20", "--set", "work=5ms"]);
    assert_eq!(ran.status, Status::AsExpected);
    let note = "The knobs are not the lab's own, so nothing is expected";
    assert_eq!(ran.out.matches(note).count(), 1, "{}", ran.out);
    let document = json(&["scenario", "till-queue", "--set", "rate=20", "--json"]);
    assert_eq!(document["variants"][0]["altered"], serde_json::json!(["knobs"]));
    assert_eq!(document["variants"][0]["expectations"][0]["expected"], "either");
    // What is set is the first variant's own value: only the others are altered.
    let ran = run(&["scenario", "till-queue", "--set", "door=open"]);
    assert!(ran.out.contains("\nopen: broke, as it should\n"), "{}", ran.out);
    assert_eq!(ran.out.matches(note).count(), 2, "{}", ran.out);
}

#[test]
fn a_fault_that_touched_nothing_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let faults = file(
        folder.path(),
        "faults.toml",
        r#"
[[fault]]
name = "refunds are lost"
when = { at = "1s" }
what = { packets = { kind = "Refund", action = "drop" } }

[[fault]]
name = "the boss calls"
when = { state = { key = "mood", value = "angry" } }
what = "pause"
on = "till"
"#,
    );
    let ran = run(&["scenario", "till-queue", "--faults", text(&faults)]);
    assert!(ran.out.contains("The faults are not the lab's own"), "{}", ran.out);
    insta::assert_snapshot!(section(&ran.out, "Faults"), @r"
    Faults
      refunds are lost: drop every Refund, at 1s
        this fault touched nothing, in any variant
      the boss calls: pause on till, which never began
        this fault touched nothing, in any variant
    ");
    let document = json(&["scenario", "till-queue", "--faults", text(&faults), "--json"]);
    let faults = &document["variants"][0]["faults"];
    assert_eq!((&faults[0]["touched"], &faults[1]["at_ns"]), (&0.into(), &serde_json::Value::Null));
}

#[test]
fn a_panic_of_a_node_is_not_as_expected_and_is_told() {
    let ran = run(&["scenario", "till-queue", "--variant", "open", "--set", "panics=true"]);
    assert_eq!(ran.status, Status::NotAsExpected);
    assert!(ran.out.contains("NOT as expected"), "{}", ran.out);
    assert!(ran.out.contains("open ended early: till panicked: the till is on fire"), "{}", ran.out);
}

#[test]
fn a_panic_while_the_world_is_built_is_told_with_its_message() {
    let ran = run(&["scenario", "falling-over"]);
    assert_eq!(ran.status, Status::NotAsExpected);
    assert!(
        ran.error.contains("error: the lab `falling-over` panicked while it set up `only`: the ceiling fell"),
        "{}",
        ran.error
    );
}

#[test]
fn what_is_not_as_expected_is_1_and_what_cannot_be_judged_is_3() {
    let ran = run(&["scenario", "wishful", "--variant", "wrong"]);
    assert_eq!(ran.status, Status::NotAsExpected);
    assert!(ran.out.contains("  ✗ nothing happens"), "{}", ran.out);
    assert!(ran.out.ends_with("Something was NOT as expected.\n"), "{}", ran.out);

    let ran = run(&["scenario", "wishful", "--variant", "unknown"]);
    assert_eq!(ran.status, Status::Unknown);
    assert!(ran.out.contains("could not be judged"), "{}", ran.out);
    assert!(ran.out.ends_with("Something could not be judged.\n"), "{}", ran.out);

    let ran = run(&["scenario", "wishful"]);
    assert_eq!(ran.status, Status::NotAsExpected);
}

/// With as many `#` as a hash or an id has digits: they change whenever more is recorded.
fn without_hashes(out: &str) -> String {
    let is_hash = |word: &str| word.len() >= 32 && word.chars().all(|c| c.is_ascii_hexdigit());
    let words = out.split_inclusive([' ', '\n', '/', ':']);
    let hidden = words.map(|word| {
        let bare = word.trim_end_matches([' ', '\n', '/', ':']);
        if is_hash(bare) { word.replace(bare, &"#".repeat(bare.len())) } else { word.to_owned() }
    });
    hidden.collect()
}

/// The lines from a heading to the next empty one.
fn section(out: &str, heading: &str) -> String {
    let lines: Vec<&str> = out.lines().collect();
    let from = lines.iter().position(|line| *line == heading).expect("the heading is there");
    let to = lines[from..].iter().position(|line| line.is_empty()).map_or(lines.len(), |at| from + at);
    lines[from..to].join("\n")
}
