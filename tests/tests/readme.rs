//! What the README says of the code is what the code says.

use std::{fs, process::Command};

use shaketable_tests::{program, root};

#[test]
fn the_readmes_table_of_labs_is_the_programs_own() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let (_, rest) = readme.split_once("<!-- labs -->").expect("the README has a place for the table of labs");
    let (table, _) = rest.split_once("<!-- /labs -->").expect("the place has an end");
    let output = Command::new(program()).args(["list", "--markdown"]).output().unwrap();
    assert!(output.status.success());
    assert_eq!(
        table.trim(),
        String::from_utf8(output.stdout).unwrap().trim(),
        "the table between the marks is the output of `shaketable list --markdown`"
    );
}

#[test]
fn the_readme_names_both_commands() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    assert!(readme.contains("cargo run -- scenario thundering-herd --seed 42"));
    assert!(readme.contains("\ncargo test"));
}

#[test]
fn what_the_readme_shows_of_the_first_command_is_what_it_prints() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let (_, rest) = readme.split_once("<!-- run -->").expect("the README shows a run");
    let (shown, _) = rest.split_once("<!-- /run -->").expect("what it shows has an end");
    let run = Command::new(program()).args(["scenario", "thundering-herd", "--seed", "42"]).output().unwrap();
    assert!(run.status.success());
    let printed = String::from_utf8(run.stdout).unwrap();
    let mut lines = printed.lines();
    for line in shown.trim().lines().filter(|line| !line.starts_with("```") && *line != "...") {
        assert!(
            lines.any(|other| other == line),
            "the program does not print this line, or not there: {line}"
        );
    }
}
