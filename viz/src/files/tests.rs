//! What a run's folder promises: the same bytes, whole files or none, and what is read back is what was written.

use std::collections::BTreeSet;

use serde_json::json;

use super::*;
use crate::testing::{Maker, one_of_everything};

fn write(folder: &Path, recording: &Recording) -> Result<Written, WriteError> {
    write_run(folder, recording, &ExportOptions::default(), &json!({ "seed": 42 }), None)
}

fn content(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read(&path).unwrap_or_default())
        })
        .collect();
    files.sort();
    files
}

fn names(folder: &Path) -> Vec<String> {
    content(folder).into_iter().map(|(name, _)| name).collect()
}

const ALL: [&str; 5] = ["metrics.jsonl", "metrics.prom", "plan.toml", "summary.json", "trace-000.jsonl"];

/// About 36,000 spans in 3,000 traces: more than one file takes.
fn large() -> Recording {
    let mut m = Maker::new();
    let nodes = [m.node("a", "a"), m.node("b", "b")];
    for trace in 0..3_000_u64 {
        let root = m.span(None, nodes[0], "root", trace, trace + 50);
        m.change(root).trace = trace as u32;
        for step in 0..11 {
            m.span(Some(root), nodes[step % 2], "step", trace, trace + 1);
        }
    }
    m.recording
}

#[test]
fn the_folder_has_every_file_and_the_same_bytes_each_time() {
    let folder = tempfile::tempdir().unwrap();
    let recording = one_of_everything();
    let (first, second) = (folder.path().join("deep/1"), folder.path().join("2"));
    let written = write(&first, &recording).unwrap();
    write(&second, &recording).unwrap();
    assert_eq!(names(&first), ALL);
    assert_eq!(content(&first), content(&second));
    assert_eq!((written.spans, written.traces), (3, vec![first.join("trace-000.jsonl")]));
    assert_eq!(fs::read_to_string(written.plan).unwrap(), recording.origin.plan);
    assert_eq!(fs::read_to_string(written.summary).unwrap(), "{\n  \"seed\": 42\n}\n");
    let metrics = fs::read_to_string(written.metrics_otlp).unwrap();
    let lines: Vec<ExportMetricsServiceRequest> =
        metrics.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines, metric_requests(&recording, &ExportOptions::default()));
}

#[test]
fn trace_files_read_back_are_the_requests() {
    let folder = tempfile::tempdir().unwrap();
    let recording = one_of_everything();
    let written = write(folder.path(), &recording).unwrap();
    let expected: Vec<_> = trace_requests(&recording, &ExportOptions::default()).collect();
    assert_eq!(read_trace_files(&written.traces).unwrap(), expected);
}

#[test]
fn empty_fields_are_left_out_and_texts_stay_as_they_are() {
    let lean = |json: &str| String::from_utf8(without_empty_fields(json.as_bytes())).unwrap();
    let span = r#"{"spanId":"ab","traceState":"","flags":0,"name":"a","attributes":[],"droppedAttributesCount":0,"events":[],"links":[{"traceId":"cd","flags":256}],"droppedLinksCount":3}"#;
    assert_eq!(
        lean(span),
        r#"{"spanId":"ab","name":"a","links":[{"traceId":"cd","flags":256}],"droppedLinksCount":3}"#
    );
    let hostile =
        serde_json::to_string(&json!({ "name": r#"x,"events":[],"flags":0"#, "z": ["a,", ","] })).unwrap();
    assert_eq!(lean(&hostile), hostile);

    let folder = tempfile::tempdir().unwrap();
    let written = write(folder.path(), &large()).unwrap();
    let text = fs::read_to_string(&written.traces[0]).unwrap();
    assert!(!text.contains("droppedEventsCount") && !text.contains("[]"), "{}", &text[..1_000]);
}

#[test]
fn files_are_cut_below_their_limits_and_each_trace_lies_in_one() {
    let folder = tempfile::tempdir().unwrap();
    let recording = large();
    let written = write(folder.path(), &recording).unwrap();
    assert!(written.traces.len() > 1);
    let mut seen = BTreeSet::new();
    let mut spans = 0;
    for path in &written.traces {
        assert!(fs::metadata(path).unwrap().len() < FILE_BYTES_MAX as u64);
        let requests = read_trace_files([path]).unwrap();
        let count: usize = requests.iter().map(count_spans).sum();
        assert!(count <= FILE_SPANS_MAX);
        spans += count;
        let here: BTreeSet<_> = requests
            .iter()
            .flat_map(|r| &r.resource_spans)
            .flat_map(|r| &r.scope_spans[0].spans)
            .map(|span| span.trace_id.clone())
            .collect();
        assert!(here.is_disjoint(&seen), "no trace lies in two files");
        seen.extend(here);
    }
    assert_eq!((spans as u64, seen.len()), (written.spans, 3_000));
    assert_eq!(spans, recording.spans.len());
}

#[test]
fn it_is_known_which_file_holds_a_trace_and_how_large_all_are() {
    let folder = tempfile::tempdir().unwrap();
    let recording = large();
    let summary = json!({});
    for trace in [0, 1_500, 2_999] {
        let wanted = recording.trace_id(trace);
        let written =
            write_run(folder.path(), &recording, &ExportOptions::default(), &summary, Some(wanted)).unwrap();
        let [holding] = written.holding.as_slice() else { panic!("{:?}", written.holding) };
        for path in &written.traces {
            let here = fs::read_to_string(path).unwrap().contains(&wanted.to_string());
            assert_eq!(here, path == holding, "{}", path.display());
        }
        let sizes: u64 = names(folder.path())
            .iter()
            .map(|name| fs::metadata(folder.path().join(name)).unwrap().len())
            .sum();
        assert_eq!(written.bytes, sizes);
    }
    let none = write(folder.path(), &recording).unwrap();
    assert!(none.holding.is_empty());
}

#[test]
fn a_smaller_run_in_the_same_folder_leaves_nothing_of_the_larger_one() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &large()).unwrap();
    assert!(names(folder.path()).contains(&"trace-001.jsonl".to_owned()));
    for kept in ["trace-1.jsonl", "trace-notes.jsonl", "mine.txt"] {
        fs::write(folder.path().join(kept), "kept").unwrap();
    }
    write(folder.path(), &one_of_everything()).unwrap();
    let mut expected: Vec<&str> =
        ALL.into_iter().chain(["trace-1.jsonl", "trace-notes.jsonl", "mine.txt"]).collect();
    expected.sort_unstable();
    assert_eq!(names(folder.path()), expected);
    let no_spans = write(folder.path(), &Maker::new().recording).unwrap();
    assert_eq!((no_spans.spans, no_spans.traces.len()), (0, 0));
    assert!(!names(folder.path()).contains(&"trace-000.jsonl".to_owned()));
}

#[test]
fn a_request_whose_json_is_too_long_is_halved_until_it_fits() {
    let recording = large();
    let request = trace_requests(&recording, &ExportOptions::default()).next().unwrap();
    let whole = json_line(&request).len();
    let lines = lines_that_fit(request.clone(), whole / 5);
    assert!(lines.len() >= 6 && lines.iter().all(|(_, line)| line.len() < whole / 5));
    assert_eq!(lines.iter().map(|(r, _)| count_spans(r)).sum::<usize>(), count_spans(&request));
    // A span that is too long by itself is not lost.
    let single = lines_that_fit(request.clone(), 10);
    assert_eq!(single.len(), count_spans(&request));
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_is_an_error_that_names_the_file_and_leaves_the_folder_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &one_of_everything()).unwrap();
    let before = content(folder.path());
    for name in ["trace-000.jsonl", "metrics.prom", "summary.json"] {
        // Every write to this device fails as on a full disk.
        std::os::unix::fs::symlink("/dev/full", folder.path().join(format!(".{name}.part"))).unwrap();
        let mut other = one_of_everything();
        other.origin.seed = 43;
        let error = write(folder.path(), &other).unwrap_err();
        let text = error.to_string();
        assert!(text.contains(name) && text.contains("No space left on device"), "{text}");
        assert_eq!(content(folder.path()), before, "{name}");
    }
}

#[test]
fn a_file_that_cannot_be_made_or_named_is_an_error_that_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let error = write(&file, &one_of_everything()).unwrap_err().to_string();
    assert!(error.starts_with("cannot create ") && error.contains("file"), "{error}");

    let run = folder.path().join("run");
    fs::create_dir_all(run.join("metrics.prom")).unwrap();
    let error = write(&run, &one_of_everything()).unwrap_err().to_string();
    assert!(error.starts_with("cannot rename ") && error.contains("metrics.prom"), "{error}");
    assert!(names(&run).iter().all(|name| !name.ends_with(".part")), "no leftovers: {:?}", names(&run));
}

#[test]
fn a_bad_line_is_named_with_its_file_and_number() {
    let folder = tempfile::tempdir().unwrap();
    let written = write(folder.path(), &one_of_everything()).unwrap();
    let good = fs::read_to_string(&written.traces[0]).unwrap();
    let path = folder.path().join("edited.jsonl");
    for (line, hint) in [
        ("{\"resourceSpans\": [", "EOF"),
        ("not json", "column"),
        ("{}", "no span"),
        ("{\"resourceMetrics\":[]}", "no span"),
        ("[1]", "expected"),
        ("\u{1}\u{2}", "column"),
    ] {
        fs::write(&path, format!("{good}\n{line}\n")).unwrap();
        let error = read_trace_files([&path]).unwrap_err().to_string();
        assert!(
            error.contains("edited.jsonl is no trace file, line 3: ") && error.contains(hint),
            "{line}: {error}"
        );
        assert!(error.contains("resourceSpans"), "it says what is expected: {error}");
    }
    let error = read_trace_files([folder.path().join("absent.jsonl")]).unwrap_err().to_string();
    assert!(error.contains("absent.jsonl") && error.contains("No such file"), "{error}");
}
