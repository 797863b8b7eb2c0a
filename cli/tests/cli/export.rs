//! What leaves the program: files, spans, and the sentence about each that did not get through.

use std::{fs, path::Path};

use serde_json::Value;
use shaketable::Status;

use crate::common::{
    file, json, keys,
    receiver::{Receiver, nobody},
    run, run_with, text,
};

fn names(folder: &Path) -> Vec<String> {
    let entries =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = entries.collect();
    names.sort();
    names
}

const FILES: [&str; 5] = ["metrics.jsonl", "metrics.prom", "plan.toml", "summary.json", "trace-000.jsonl"];

#[test]
fn each_variant_gets_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let ran = run(&["scenario", "till-queue", "--out", text(folder.path())]);
    assert_eq!(ran.status, Status::AsExpected, "{}", ran.error);
    assert_eq!(names(folder.path()), ["guarded", "half-guarded", "open"]);
    assert_eq!(names(&folder.path().join("open")), FILES);
    assert!(ran.out.contains(text(folder.path())), "{}", ran.out);
    let summary = fs::read_to_string(folder.path().join("open/summary.json")).unwrap();
    let summary: Value = serde_json::from_str(&summary).unwrap();
    let document = json(&["scenario", "till-queue", "--json"]);
    assert_eq!(summary["hash"], document["variants"][0]["hash"]);
    assert_eq!((&summary["scenario"], &summary["seed"]), (&"till-queue".into(), &1.into()));
}

#[test]
fn every_span_is_acknowledged_or_told() {
    let folder = tempfile::tempdir().unwrap();
    let receiver = Receiver::that_rejects(0);
    let arguments = ["scenario", "till-queue", "--otlp", &receiver.url, "--out", text(folder.path())];
    let document = json(&[&arguments[..], &["--json"]].concat());
    let export = &document["export"];
    assert_eq!(keys(export), ["acknowledged", "bytes", "complete", "endpoint", "folder", "spans"]);
    let recorded: u64 =
        document["variants"].as_array().unwrap().iter().map(|one| one["spans"].as_u64().unwrap()).sum();
    assert_eq!(export["complete"], true);
    assert_eq!((&export["spans"], &export["acknowledged"]), (&recorded.into(), &recorded.into()));
    assert_eq!(receiver.spans() as u64, recorded);

    let ran = run(&arguments);
    assert_eq!(ran.status, Status::AsExpected, "{}", ran.error);
    assert!(
        ran.out.contains(&format!("all {recorded} spans were acknowledged by {}", receiver.url)),
        "{}",
        ran.out
    );
    let trace = document["variants"][0]["worst_trace"].as_str().unwrap();
    assert!(ran.out.contains(&format!("http://localhost:16686/trace/{trace}")), "{}", ran.out);
    let ran = run(&[&arguments[..], &["--jaeger", "http://j:1/"]].concat());
    assert!(ran.out.contains(&format!("  http://j:1/trace/{trace}")), "{}", ran.out);
}

/// What an incomplete export says: the sentence, the files, and a command that mends it when the receiver is there.
#[test]
fn an_unreachable_receiver_leaves_the_files_and_the_command_that_sends_them() {
    let folder = tempfile::tempdir().unwrap();
    let url = nobody();
    let other = tempfile::tempdir().unwrap();
    let ran =
        run(&["scenario", "wishful", "--variant", "wrong", "--otlp", &url, "--out", text(other.path())]);
    // No span was recorded, so none is missing.
    assert_eq!(ran.status, Status::NotAsExpected, "{}", ran.error);

    let ran =
        run(&["scenario", "till-queue", "--variant", "open", "--otlp", &url, "--out", text(folder.path())]);
    assert_eq!(ran.status, Status::ExportIncomplete);
    let path = text(folder.path());
    let recorded =
        json(&["scenario", "till-queue", "--variant", "open", "--json"])["variants"][0]["spans"].clone();
    for part in [
        format!("error: {recorded} of {recorded} spans were not acknowledged"),
        "receiver not reachable".to_owned(),
        format!("All of them are in {path}; send them again with\n  shaketable export {path} --to {url}"),
    ] {
        assert!(ran.error.contains(&part), "{}", ran.error);
    }
    assert_eq!(names(&folder.path().join("open")), FILES);
    // The results were shown before.
    assert!(ran.out.contains("broke, as it should"));

    // Another run beside it is not sent along.
    let ran = run(&["scenario", "till-queue", "--variant", "guarded", "--otlp", &url, "--out", path]);
    assert!(ran.error.contains(&format!("shaketable export {path}/guarded --to {url}")), "{}", ran.error);

    // And the command works, with a receiver.
    let receiver = Receiver::that_rejects(0);
    let ran = run(&["export", &format!("{path}/open"), "--to", &receiver.url]);
    assert_eq!(ran.status, Status::AsExpected, "{}", ran.error);
    assert_eq!(Value::from(receiver.spans()), recorded);
}

#[test]
fn spans_that_a_receiver_rejects_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    let receiver = Receiver::that_rejects(2);
    let path = text(folder.path());
    let ran = run(&["scenario", "till-queue", "--variant", "open", "--otlp", &receiver.url, "--out", path]);
    assert_eq!(ran.status, Status::ExportIncomplete);
    let requests = receiver.received().len();
    for part in [
        format!("error: {} of ", 2 * requests),
        "rejected: no room".to_owned(),
        format!("shaketable export {path} --to"),
    ] {
        assert!(ran.error.contains(&part), "{}", ran.error);
    }
    assert_eq!(names(&folder.path().join("open")), FILES);

    let ran = run(&["export", path, "--to", &receiver.url, "--json"]);
    assert_eq!(ran.status, Status::ExportIncomplete);
    let document: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(keys(&document), ["acknowledged", "complete", "endpoint", "failures", "files", "spans"]);
    assert_eq!(document["complete"], false);
    assert_eq!(document["failures"][0]["kind"], "rejected");
    let missing = document["spans"].as_u64().unwrap() - document["acknowledged"].as_u64().unwrap();
    assert_eq!(document["failures"][0]["spans"], missing);
}

#[test]
fn the_document_tells_an_incomplete_export() {
    let folder = tempfile::tempdir().unwrap();
    let ran = run(&["scenario", "till-queue", "--json", "--otlp", &nobody(), "--out", text(folder.path())]);
    assert_eq!(ran.status, Status::ExportIncomplete);
    let document: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(document["export"]["complete"], false);
    assert_eq!(document["export"]["acknowledged"], 0);
    assert!(document["export"]["error"].as_str().unwrap().contains("shaketable export"));
}

#[test]
fn a_folder_that_is_a_file_is_told_and_nothing_is_sent() {
    let folder = tempfile::tempdir().unwrap();
    let taken = file(folder.path(), "taken", "a file");
    let receiver = Receiver::that_rejects(0);
    let ran = run(&["scenario", "till-queue", "--out", text(&taken), "--otlp", &receiver.url]);
    assert_eq!(ran.status, Status::ExportIncomplete);
    assert!(ran.error.contains(&format!("cannot create {}/open", text(&taken))), "{}", ran.error);
    assert!(
        ran.error.contains("nothing was sent; the same command gives the same run again"),
        "{}",
        ran.error
    );
    assert!(receiver.received().is_empty());
    assert!(ran.out.contains("broke, as it should"));
}

/// `/dev/full` takes no byte: whoever writes through a link to it meets a full disk.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_told_and_leaves_no_half_file() {
    let folder = tempfile::tempdir().unwrap();
    let open = folder.path().join("open");
    fs::create_dir(&open).unwrap();
    std::os::unix::fs::symlink("/dev/full", open.join(".metrics.prom.part")).unwrap();
    let receiver = Receiver::that_rejects(0);
    let ran = run(&["scenario", "till-queue", "--out", text(folder.path()), "--otlp", &receiver.url]);
    assert_eq!(ran.status, Status::ExportIncomplete);
    let told = format!("error: cannot write {}/metrics.prom: No space left on device", text(&open));
    assert!(ran.error.contains(&told), "{}", ran.error);
    assert_eq!(names(&open), Vec::<String>::new());
    assert!(receiver.received().is_empty());
}

#[test]
fn the_environment_names_the_receiver_of_whoever_asks_for_one() {
    let folder = tempfile::tempdir().unwrap();
    let receiver = Receiver::that_rejects(0);
    let environment = |name: &str| match name {
        "OTEL_EXPORTER_OTLP_ENDPOINT" => Some(receiver.url.clone()),
        "OTEL_EXPORTER_OTLP_HEADERS" => Some("api-key=secret".to_owned()),
        _ => None,
    };
    let out = ["--out", text(folder.path())];
    let ran = run_with(&[&["scenario", "till-queue"], &out[..]].concat(), &environment);
    assert_eq!(ran.status, Status::AsExpected);
    assert!(receiver.received().is_empty(), "nobody asked for it");

    let ran = run_with(&[&["scenario", "till-queue"], &out[..], &["--otlp"]].concat(), &environment);
    assert_eq!(ran.status, Status::AsExpected, "{}", ran.error);
    let ran = run_with(&["export", text(folder.path())], &environment);
    assert_eq!(ran.status, Status::AsExpected, "{}", ran.error);
    let received = receiver.received();
    assert!(received.len() >= 2);
    assert!(received.iter().all(|request| request.path == "/v1/traces"));
    assert!(
        received.iter().all(|request| request.headers.contains(&"api-key: secret".to_owned())),
        "{received:?}"
    );
}

#[test]
fn metrics_are_sent_to_whoever_asks_for_them() {
    let folder = tempfile::tempdir().unwrap();
    let receiver = Receiver::that_rejects(0);
    let ran = run(&[
        "scenario",
        "till-queue",
        "--otlp",
        &receiver.url,
        "--otlp-metrics",
        "--out",
        text(folder.path()),
    ]);
    assert_eq!(ran.status, Status::AsExpected, "{}", ran.error);
    assert!(receiver.received().iter().any(|request| request.path == "/v1/metrics"));
    assert!(ran.out.contains(" data points were acknowledged"), "{}", ran.out);
}

#[test]
fn what_cannot_be_exported_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = text(folder.path());
    let ran = run(&["export", "no/such/folder"]);
    assert_eq!(ran.status, Status::Usage);
    assert!(ran.error.contains("cannot read no/such/folder"), "{}", ran.error);
    let ran = run(&["export", path]);
    assert_eq!(ran.status, Status::Usage);
    assert!(ran.error.contains("there are no trace files in"), "{}", ran.error);

    let receiver = Receiver::that_rejects(0);
    run(&["scenario", "till-queue", "--variant", "open", "--out", path]);
    let traces = folder.path().join("open/trace-000.jsonl");
    let plan = folder.path().join("open/plan.toml");
    let ran = run(&["export", text(&plan), "--to", &receiver.url]);
    assert_eq!((ran.status, ran.out.as_str()), (Status::Usage, ""));
    for part in [
        "plan.toml is no trace file, line 1: ",
        "a trace file (trace-000.jsonl and so on in the folder of a run) has one OTLP request",
        &format!("this is a plan: run it with `shaketable replay {}`. Nothing was sent", text(&plan)),
    ] {
        assert!(ran.error.contains(part), "{}", ran.error);
    }
    let mut content = fs::read_to_string(&traces).unwrap();
    content.push_str("{ not json\n");
    fs::write(&traces, content).unwrap();
    let ran = run(&["export", path, "--to", &receiver.url]);
    assert_eq!(ran.status, Status::Usage);
    assert!(ran.error.contains("trace-000.jsonl is no trace file, line 2: "), "{}", ran.error);
    assert!(ran.error.contains("Nothing was sent"), "{}", ran.error);
    assert!(receiver.received().is_empty());
}
