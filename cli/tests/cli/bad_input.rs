//! Bad input: each message names what was wrong, what is allowed, and the nearest valid name; the status is 2, and nothing
//! was run.

use shaketable::Status;

use crate::common::{file, run, run_with, text};

/// The message of a command line that is refused.
fn refused(arguments: &[&str]) -> String {
    let ran = run(arguments);
    assert_eq!(ran.status, Status::Usage, "{arguments:?}: {}{}", ran.out, ran.error);
    assert_eq!(ran.out, "", "{arguments:?}");
    ran.error.trim_end().to_owned()
}

fn till(arguments: &[&str]) -> String {
    refused(&[&["scenario", "till-queue"], arguments].concat())
}

#[test]
fn an_unknown_lab_is_answered_with_the_nearest() {
    for command in ["scenario", "explain"] {
        insta::allow_duplicates! {
            insta::assert_snapshot!(refused(&[command, "till-qeue"]), @"error: there is no lab `till-qeue`; did you mean `till-queue`?; `list` shows all 3");
        }
    }
}

#[test]
fn an_unknown_variant_or_knob_is_answered_with_all_of_them() {
    insta::assert_snapshot!(till(&["--variant", "gaurded"]), @"error: the lab `till-queue` has no variant `gaurded`; did you mean `guarded`?; its variants are open, guarded, half-guarded");
    insta::assert_snapshot!(till(&["--set", "rte=3"]), @"error: there is no knob `rte`; did you mean `rate`? (the knobs are rate, work, door, panics)");
    insta::assert_snapshot!(till(&["--set", "rate"]), @"error: `rate` sets no knob: write knob=value, such as rate=60.0");
}

#[test]
fn a_value_out_of_range_or_without_a_unit_is_answered_with_what_is_allowed() {
    insta::assert_snapshot!(till(&["--set", "rate=0"]), @"error: the knob `rate` cannot be 0.0: from 1 to 1000 is allowed");
    insta::assert_snapshot!(till(&["--set", "work=5"]), @"error: the knob `work` cannot be `5`: it takes a duration: a number and a unit (ns, us, ms, s, min, h), such as 50ms or 1.5s, from 1ms to 1s");
    insta::assert_snapshot!(till(&["--set", "work=5parsec"]), @"error: the knob `work` cannot be `5parsec`: it takes a duration: a number and a unit (ns, us, ms, s, min, h), such as 50ms or 1.5s, from 1ms to 1s");
    insta::assert_snapshot!(till(&["--set", "work=5min"]), @"error: the knob `work` cannot be 300s: from 1ms to 1s is allowed");
    insta::assert_snapshot!(till(&["--set", "door=opn"]), @"error: the knob `door` cannot be `opn`: it takes one of open, {guarded={waiting=..}}; did you mean `open`?");
}

#[test]
fn a_seed_is_a_number_that_a_plan_can_hold() {
    for seed in ["x", "-1", "1.5", "9223372036854775808"] {
        let argument = format!("--seed={seed}");
        assert!(
            till(&[&argument]).contains("a seed is a whole number from 0 to 9223372036854775807"),
            "{seed}"
        );
    }
    assert_eq!(
        run(&["scenario", "wishful", "--variant", "wrong", "--seed", "9223372036854775807"]).status,
        Status::NotAsExpected
    );
}

#[test]
fn a_misspelt_option_or_command_is_answered_with_the_nearest() {
    assert!(till(&["--sed", "3"]).contains("'--seed'"));
    assert!(refused(&["scenaro"]).contains("'scenario'"));
    assert!(refused(&["explain"]).contains("<NAME>"));
    assert!(refused(&["man", "scenaro"]).contains("did you mean `scenario`?"));
}

#[test]
fn what_no_lab_has_is_answered_with_what_there_is() {
    insta::assert_snapshot!(refused(&["list", "--shelf", "laod"]), @"error: no lab has the shelf `laod`; did you mean `load`? (there are: load, foundations)");
    insta::assert_snapshot!(refused(&["list", "--path", "Z"]), @"error: no lab has the path `Z` (there are: A, B)");
    insta::assert_snapshot!(refused(&["list", "--week", "9"]), @"error: no lab has the week `9` (there are: 3, 4)");
}

#[test]
fn a_date_and_an_endpoint_are_checked_before_anything_is_run() {
    assert!(till(&["--epoch", "yesterday"]).contains("write 2000-01-01 or 2000-01-01T00:00:00Z"));
    let told = till(&["--otlp", "localhost:4317"]);
    assert!(told.contains("did you mean grpc://localhost:4317?"), "{told}");
    let told = refused(&["export", "nowhere", "--to", "https://collector"]);
    assert!(told.contains("encrypted connections (https) are not built in"), "{told}");
}

#[test]
fn a_wrong_variable_of_the_environment_is_named_where_something_is_sent() {
    let environment = |name: &str| (name == "OTEL_EXPORTER_OTLP_TIMEOUT").then(|| "soon".to_owned());
    let ran = run_with(&["scenario", "till-queue", "--otlp"], &environment);
    assert_eq!(ran.status, Status::Usage);
    assert!(ran.error.contains("OTEL_EXPORTER_OTLP_TIMEOUT: `soon` is not a time-out"), "{}", ran.error);
    // And only there: no variable has a say in a run.
    assert_eq!(run_with(&["scenario", "till-queue"], &environment).status, Status::AsExpected);
}

#[test]
fn a_malformed_file_of_faults_is_shown_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |text_of_file: &str| {
        let path = file(folder.path(), "faults.toml", text_of_file);
        till(&["--faults", text(&path)]).replace(text(folder.path()), "DIR")
    };
    insta::assert_snapshot!(refused("[[fault]]\nname = \"rain\"\nwhen = { at = \"1s\" }\nwhat = \"drizzle\"\n"), @r#"
    error: DIR/faults.toml is no file of faults: TOML parse error at line 4, column 8
      |
    4 | what = "drizzle"
      |        ^^^^^^^^^
    unknown variant `drizzle`, expected one of `crash`, `power-failure`, `restart`, `pause`, `slow`, `memory-limit`, `partition`, `link`, `packets`, `clock-jump`, `clock-drift`, `disk`, `load`
    "#);
    insta::assert_snapshot!(refused("[[fault]]\nname = \"rain\"\nwhen = { at = \"1s\" }\nwhat = { link = { loss = 3.0 } }\n"), @r#"
    error: DIR/faults.toml is no file of faults: fault `rain`: loss is a share from 0 to 1, not 3
      |
    4 | what = { link = { loss = 3.0 } }
      |                          ^^^
    "#);
    insta::assert_snapshot!(refused("[[fault]]\nname = \"rain\"\nwhen = { at = \"1s\" }\nlasts = \"1s\"\nwhat = \"restart\"\n"), @r#"
    error: DIR/faults.toml is no file of faults: fault `rain`: a restart happens at one instant, it cannot last; `crash` with `lasts` keeps a node down
      |
    4 | lasts = "1s"
      |         ^^^^
    "#);
    insta::assert_snapshot!(refused("# nothing yet\n"), @"error: DIR/faults.toml is no file of faults: it contains no `[[fault]]`; `fault = []` stands for no faults");
    let told = refused("[[fault\n");
    assert!(told.contains("1 | [[fault"), "{told}");
    assert!(
        till(&["--faults", "no/such/file.toml"]).contains("cannot read the file of faults no/such/file.toml")
    );
}

#[test]
fn faults_on_somebody_who_does_not_exist_are_answered_with_who_does() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(
        folder.path(),
        "faults.toml",
        "[[fault]]\nname = \"rain\"\nwhen = { at = \"1s\" }\nwhat = \"crash\"\non = \"tlil\"\n",
    );
    let told = till(&["--faults", text(&path)]);
    assert!(told.contains("`tlil`") && told.contains("did you mean `till`?"), "{told}");
}
