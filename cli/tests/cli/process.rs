//! Processes of their own: closed pipes, full devices, environments. The real binary, and the example that runs the tests'
//! labs.

use std::{
    fs::File,
    io::Read,
    path::PathBuf,
    process::{Command, Output, Stdio},
};

use crate::common::without_wall_time;

/// The example `own_lab`, which cargo builds along with the tests.
fn own_lab() -> Command {
    let test = std::env::current_exe().unwrap();
    // target/debug/deps/cli-0123 -> target/debug/examples/own_lab
    let folder = test.parent().and_then(|deps| deps.parent()).unwrap().join("examples");
    let program: PathBuf = folder.join(format!("own_lab{}", std::env::consts::EXE_SUFFIX));
    assert!(
        program.is_file(),
        "{} is missing: cargo build -p shaketable --example own_lab",
        program.display()
    );
    clean(Command::new(program))
}

fn shaketable() -> Command {
    clean(Command::new(env!("CARGO_BIN_EXE_shaketable")))
}

fn clean(mut command: Command) -> Command {
    command.env_clear().stdin(Stdio::null());
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Runs a command whose output nobody reads.
fn with_closed_pipe(mut command: Command) -> Output {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let mut error = Vec::new();
    child.stderr.take().unwrap().read_to_end(&mut error).unwrap();
    Output { status: child.wait().unwrap(), stdout: Vec::new(), stderr: error }
}

#[test]
fn a_closed_pipe_is_success() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().to_str().unwrap();
    let with_files = ["scenario", "till-queue", "--out", out];
    let mut runs = Vec::new();
    for arguments in [
        &["completions", "bash"][..],
        &["man", "scenario"],
        &["scenario", "--help"],
        &["list"],
        &["scenario", "till-queue"],
        &["scenario", "till-queue", "--json"],
        // The files are written all the same.
        &with_files,
    ] {
        let mut command = own_lab();
        command.args(arguments);
        runs.push((arguments, with_closed_pipe(command)));
    }
    let mut command = shaketable();
    command.args(["completions", "zsh"]);
    runs.push((&["the binary"], with_closed_pipe(command)));
    for (arguments, output) in runs {
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", text(&output.stderr));
        assert_eq!(text(&output.stderr), "", "{arguments:?}");
    }
    assert!(folder.path().join("half-guarded/summary.json").is_file());
}

#[cfg(target_os = "linux")]
#[test]
fn an_output_that_is_full_is_no_success() {
    let mut command = own_lab();
    command.args(["scenario", "till-queue"]);
    let output = command.stdout(File::create("/dev/full").unwrap()).output().unwrap();
    assert_eq!(output.status.code(), Some(4));
    assert!(
        text(&output.stderr).contains("error: cannot write the output: No space left"),
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn two_processes_in_different_environments_print_the_same_bytes() {
    let output = |variables: &[(&str, &str)], arguments: &[&str]| {
        let mut command = own_lab();
        command.args(arguments).envs(variables.iter().copied());
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        text(&output.stdout)
    };
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9"),
        ("OTEL_SERVICE_NAME", "other"),
        ("NO_COLOR", "1"),
        ("COLUMNS", "40"),
        ("TZ", "Asia/Tokyo"),
        ("LC_ALL", "de_DE.UTF-8"),
    ];
    let json = ["scenario", "till-queue", "--seed", "42", "--json"];
    assert_eq!(output(&[], &json), output(&variables, &json));
    let shown = ["scenario", "till-queue", "--seed", "42"];
    assert_eq!(without_wall_time(&output(&[], &shown)), without_wall_time(&output(&variables, &shown)));
}

#[test]
fn the_exit_status_is_that_of_the_process() {
    for (arguments, status) in [
        (&["scenario", "till-queue"][..], 0),
        (&["scenario", "wishful", "--variant", "wrong"], 1),
        (&["scenario", "falling-over"], 1),
        (&["scenario", "till-queue", "--set", "rate=0"], 2),
        (&["scenario", "wishful", "--variant", "unknown"], 3),
    ] {
        let output = own_lab().args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(status), "{arguments:?}");
    }
    // A node's panic is told once, by the judgement: not by Rust in between.
    let output = own_lab().args(["scenario", "till-queue", "--set", "panics=true"]).output().unwrap();
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(1), String::new()));
}

#[test]
fn every_labs_page_fits_into_80_columns() {
    for lab in scenarios::catalogue() {
        let output = shaketable().args(["explain", lab.name()]).output().unwrap();
        for line in text(&output.stdout).lines() {
            // A table or a listing of the story's own keeps its lines.
            assert!(line.chars().count() <= 80, "{}: {line}", lab.name());
        }
    }
}

#[test]
fn the_binary_knows_the_catalogue() {
    let output = shaketable().args(["list", "--json"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let list: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout).unwrap();
    let names: Vec<&str> = list.iter().map(|lab| lab["name"].as_str().unwrap()).collect();
    let known: Vec<&str> = scenarios::catalogue().iter().map(scenarios::lab::LabEntry::name).collect();
    assert_eq!(names, known);
}

#[cfg(unix)]
#[test]
fn ctrl_c_keeps_what_was_done_and_says_how_to_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("results.jsonl");
    let mut command = own_lab();
    command.args(["sweep", "till-queue", "--variant", "guarded", "--seeds", "0..1000000", "--json", "--out"]);
    let child = command.arg(&path).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let lines = || std::fs::read_to_string(&path).map_or(0, |text| text.lines().count());
    while lines() < 4 {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
    assert!(text(&output.stderr).starts_with("Interrupted: "), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("the same command goes on from there"));
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["runs"], lines() - 1, "each run that was done is in the file and in the document");
}
