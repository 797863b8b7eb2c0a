//! Real runs in a real Jaeger: what the program records is what Jaeger tells, span by span, over HTTP and over gRPC; and the
//! same plan, run again by another process and sent to an empty Jaeger, gives the same answer.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::OnceLock,
};

use jaeger_test::{Jaeger, Spans, compare};
use tempfile::TempDir;

/// Labs with calls, with datagrams and with a protocol. Each trace is asked for by itself, so of those with a trace for each
/// message one variant will do.
const LABS: [(&str, Option<&str>); 3] = [
    ("finding-slow-service", None),
    ("network-faults", Some("fire-and-forget")),
    ("failure-detector", Some("phi")),
];

/// The program, built in this profile.
fn program() -> &'static PathBuf {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--quiet", "--package", "shaketable", "--bin", "shaketable"]);
        if !cfg!(debug_assertions) {
            build.arg("--release");
        }
        assert!(build.current_dir(env!("CARGO_MANIFEST_DIR")).status().unwrap().success());
        let mut folder = std::env::current_exe().unwrap();
        folder.pop();
        if folder.ends_with("deps") {
            folder.pop();
        }
        folder.join(format!("shaketable{}", std::env::consts::EXE_SUFFIX))
    })
}

fn run((lab, variant): (&str, Option<&str>), out: &Path, otlp: &str) -> Output {
    let mut command = Command::new(program());
    command.args(["scenario", lab, "--seed", "42", "--otlp", otlp, "--out"]).arg(out);
    command.args(variant.iter().flat_map(|variant| ["--variant", variant]));
    let output = command.output().unwrap();
    assert!(output.status.success(), "{lab} to {otlp}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

/// All spans that a run has written: of each variant's folder.
fn written(out: &Path) -> Spans {
    let mut all = Spans::default();
    let mut folders: Vec<PathBuf> =
        std::fs::read_dir(out).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    for folder in folders.iter().filter(|path| path.is_dir()) {
        all.extend(Spans::from_folder(folder).unwrap());
    }
    assert!(!all.is_empty());
    all
}

/// Sends a lab's run, reads every trace back, compares; gives what Jaeger told.
fn there_and_back(jaeger: &Jaeger, lab: (&str, Option<&str>), otlp: &str) -> Spans {
    let out = TempDir::new().unwrap();
    run(lab, out.path(), otlp);
    let lab = lab.0;
    let meant = written(out.path());
    let got = jaeger.read_back(&meant).unwrap_or_else(|error| panic!("{lab} over {otlp}: {error}"));
    let compared = compare(&meant, &got).unwrap_or_else(|error| panic!("{lab} over {otlp}: {error}"));
    assert_eq!(compared, meant.len());
    println!("{lab} over {otlp}: {compared} spans are what was recorded");
    got
}

#[test]
fn jaeger_tells_what_was_recorded_over_http_and_over_grpc_and_again() {
    let Some(first) = Jaeger::for_test() else { return };
    let by_http: Vec<Spans> =
        LABS.iter().map(|&lab| there_and_back(&first, lab, &first.http_endpoint())).collect();
    drop(first);

    // Another process, another way, an empty server: the same answer.
    let Some(second) = Jaeger::for_test() else { return };
    let grpc = second.grpc_endpoint().replace("http://", "grpc://");
    for (&lab, before) in LABS.iter().zip(&by_http) {
        let again = there_and_back(&second, lab, &grpc);
        let compared =
            compare(before, &again).unwrap_or_else(|error| panic!("{}, the second time: {error}", lab.0));
        assert_eq!(compared, before.len());
    }
    // Sending a run twice stores it once: the ids are the plan's.
    there_and_back(&second, LABS[2], &second.http_endpoint());
}

#[test]
fn what_was_written_can_be_sent_later() {
    let Some(jaeger) = Jaeger::for_test() else { return };
    let out = TempDir::new().unwrap();
    let folder = out.path().to_str().unwrap();
    let scenario = ["scenario", "finding-slow-service", "--seed", "7", "--out", folder];
    assert!(Command::new(program()).args(scenario).output().unwrap().status.success());
    let export =
        Command::new(program()).args(["export", folder, "--to", &jaeger.http_endpoint()]).output().unwrap();
    assert!(export.status.success(), "{}", String::from_utf8_lossy(&export.stderr));
    let meant = written(out.path());
    let got = jaeger.read_back(&meant).unwrap();
    assert_eq!(compare(&meant, &got).unwrap(), meant.len());
}
