//! `list`, `explain`, completions and the manual: all from the labs and from one definition of the command line.

use shaketable::Status;

use crate::common::{json, keys, run, text};

#[test]
fn the_list_has_the_shape_that_scripts_rely_on() {
    let list = json(&["list", "--json"]);
    let labs = list.as_array().unwrap();
    let names: Vec<_> = labs.iter().map(|lab| &lab["name"]).collect();
    assert_eq!(names, ["till-queue", "wishful", "falling-over"], "in the order of the catalogue");
    assert_eq!(keys(&labs[0]), ["knobs", "modules", "name", "path", "shelf", "title", "variants", "weeks"]);
    assert_eq!(labs[0]["variants"], serde_json::json!(["open", "guarded", "half-guarded"]));
    let knobs = labs[0]["knobs"].as_array().unwrap();
    assert_eq!(keys(&knobs[0]), ["default", "help", "kind", "name", "range", "unit"]);
    let told: Vec<_> = knobs
        .iter()
        .map(|knob| ["name", "kind", "unit", "default"].map(|key| knob[key].as_str().unwrap()))
        .collect();
    assert_eq!(
        told,
        [
            ["rate", "number", "1/s", "60.0"],
            ["work", "duration", "ms", "10ms"],
            ["door", "choice", "", "open"],
            ["panics", "switch", "", "false"],
        ]
    );
    assert_eq!(knobs[2]["choices"], serde_json::json!(["open", "guarded"]));
}

#[test]
fn the_list_is_narrowed() {
    let names = |arguments: &[&str]| {
        let list = json(&[&["list", "--json"], arguments].concat());
        list.as_array()
            .unwrap()
            .iter()
            .map(|lab| lab["name"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(names(&["--shelf", "foundations"]), ["wishful", "falling-over"]);
    assert_eq!(names(&["--path", "b"]), ["till-queue"]);
    assert_eq!(names(&["--week", "4"]), ["till-queue"]);
    assert_eq!(names(&["--week", "4", "--shelf", "foundations"]), Vec::<String>::new());
}

#[test]
fn the_list_reads_well() {
    insta::assert_snapshot!(run(&["list"]).out, @r"
    load
      till-queue    The till and its queue                       weeks 3, 4, path AB

    foundations
      wishful       Wishful thinking
      falling-over  Falling over

    3 labs. Read one with `shaketable explain NAME`, run it with `shaketable
    scenario NAME`.
    ");
    insta::assert_snapshot!(run(&["list", "--markdown", "--shelf", "load"]).out, @r"
    | shelf | lab | what it is about | variants | week | path |
    |---|---|---|---|---|---|
    | load | `till-queue` | The till and its queue | open, guarded, half-guarded | 3, 4 | AB |
    ");
}

#[test]
fn a_labs_page_hides_its_answers() {
    let page = run(&["explain", "till-queue"]);
    assert_eq!(page.status, Status::AsExpected);
    assert!(!page.out.contains("two and a half"));
    assert!(
        page.out.find("For how long").unwrap() < page.out.find("One till serves").unwrap(),
        "questions come first"
    );
    assert!(page.out.lines().all(|line| line.chars().count() <= 80));
    insta::assert_snapshot!("explain", page.out);

    let answers = run(&["explain", "till-queue", "--answers"]).out;
    assert!(answers.contains("About two and a half seconds"), "{answers}");
    assert!(answers.contains("Measured under seed 1"), "{answers}");
    assert!(answers.find("two and a half").unwrap() > answers.find("Try next").unwrap(), "answers come last");
    assert!(answers.contains("the queue outlives the pause: largest buy "), "{answers}");
}

#[test]
fn a_labs_page_as_a_document() {
    let page = json(&["explain", "till-queue", "--json"]);
    assert_eq!(
        keys(&page),
        [
            "about", "faults", "knobs", "name", "predict", "shelf", "story", "title", "try_next", "variants",
            "watch"
        ]
    );
    assert_eq!(keys(&page["predict"][0]), ["question"]);
    assert_eq!(page["variants"][1]["changes"], serde_json::json!(["door={guarded={waiting=5}}"]));
    assert_eq!(page["faults"], serde_json::json!(["the till stands still: pause on till, at 2s, for 1s"]));
    assert!(!page["story"].as_str().unwrap().contains("Predict"));
    let page = json(&["explain", "till-queue", "--json", "--answers"]);
    assert!(page["predict"][0]["answer"].as_str().unwrap().starts_with("About two"));
}

#[test]
fn the_page_about_faults_has_every_kind_with_its_range_and_an_example() {
    let page = run(&["explain", "faults"]);
    assert_eq!((page.status, page.error.as_str()), (Status::AsExpected, ""));
    assert!(
        page.out.lines().all(|line| line.chars().count() <= 80 && line == line.trim_end()),
        "{}",
        page.out
    );
    // The kinds that the code knows, as its own error lists them.
    let error = toml::from_str::<sim_core::fault::Fault>("name = 'x'\nwhen = { at = '1s' }\nwhat = 'none'")
        .unwrap_err();
    let kinds: Vec<String> = error
        .to_string()
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|kind| *kind != "none")
        .map(str::to_owned)
        .collect();
    assert!(kinds.len() >= 13, "{error}");
    for kind in &kinds {
        let heading = page
            .out
            .lines()
            .any(|line| line == format!("  {kind}") || line.starts_with(&format!("  {kind}: ")));
        assert!(heading, "{kind} has its place: {}", page.out);
        let examples = [format!("what = \"{kind}\""), format!("what = {{ {kind} = ")];
        assert!(
            examples.iter().any(|example| page.out.contains(example)),
            "{kind} has an example: {}",
            page.out
        );
    }
    for part in [
        "  slow: number, 0.01 to 1,000,000\n",
        "    loss: number, 0 to 1; optional\n",
        "[[override]]",
        "ordinal: whole number, at least 1\n",
    ] {
        assert!(page.out.contains(part), "{part}: {}", page.out);
    }

    let document = json(&["explain", "faults", "--json"]);
    assert_eq!(keys(&document), ["examples", "fault", "override"]);
    let known = document["fault"]["$defs"]["FaultKind"]["oneOf"].as_array().unwrap();
    assert_eq!(known.len(), kinds.len());
    let folder = tempfile::tempdir().unwrap();
    let example =
        crate::common::file(folder.path(), "faults.toml", document["examples"]["file"].as_str().unwrap());
    // It is read; that there is no such node is said of the run.
    let ran = run(&["scenario", "till-queue", "--faults", text(&example)]);
    assert!(ran.error.contains("there is no node"), "{}", ran.error);
}

#[test]
fn shells_complete_commands_options_and_labs() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let ran = run(&["completions", shell]);
        assert_eq!(ran.status, Status::AsExpected);
        for word in ["scenario", "otlp"] {
            assert!(ran.out.contains(word), "{shell}: {word}");
        }
        // The other scripts know options only.
        if ["bash", "zsh"].contains(&shell) {
            assert!(ran.out.contains("till-queue") && ran.out.contains("falling-over faults"), "{shell}");
        }
    }
    let ran = run(&["completions", "csh"]);
    assert_eq!(ran.status, Status::Usage);
    assert!(ran.error.contains("bash"), "{}", ran.error);
}

#[test]
fn the_manual_has_a_page_for_each_command() {
    let page = run(&["man"]).out;
    assert!(page.contains(".TH shaketable 1") && page.contains("Exit status"), "{page}");
    let page = run(&["man", "scenario"]).out;
    assert!(
        page.contains(".TH shaketable-scenario 1") || page.contains(".TH \"shaketable scenario\" 1"),
        "{page}"
    );
    assert!(page.contains("otlp"), "{page}");
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(run(&["man", "--out", text(folder.path())]).status, Status::AsExpected);
    assert!(folder.path().join("shaketable.1").is_file());
    assert!(folder.path().join("shaketable-replay.1").is_file());
}

#[test]
fn help_and_version_are_what_was_asked_for() {
    for arguments in [&["--help"][..], &["scenario", "--help"], &["help", "export"], &["--version"]] {
        let ran = run(arguments);
        assert_eq!((ran.status, ran.error.as_str()), (Status::AsExpected, ""), "{arguments:?}");
        assert!(!ran.out.is_empty() && !ran.out.contains('\u{1b}'));
        assert!(ran.out.lines().all(|line| line.chars().count() <= 80), "{}", ran.out);
    }
    let ran = run(&[]);
    assert_eq!(ran.status, Status::Usage);
    assert!(ran.error.contains("Usage: shaketable"), "{}", ran.error);
}
