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
