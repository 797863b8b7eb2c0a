//! `check`: histories that others recorded, in each format, and what is wrong with files that are none.

use std::path::{Path, PathBuf};

use serde_json::json;
use shaketable::Status;

use crate::common::{file, json, keys, run, text};

fn history(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/histories").join(name)
}

/// The status of a judgement, and what it says below its first line.
fn judged(name: &str, arguments: &[&str]) -> (Status, String) {
    let path = history(name);
    let ran = run(&[&["check", text(&path)], arguments].concat());
    assert_eq!(ran.error, "");
    (ran.status, ran.out.split_once('\n').unwrap().1.to_owned())
}

#[test]
fn each_format_is_told_by_its_content_and_judged() {
    let cases = [
        ("register.edn", "cas-register", "edn", Status::AsExpected),
        ("stale.edn", "register", "edn", Status::NotAsExpected),
        ("keys.edn", "cas-register", "edn", Status::NotAsExpected),
        ("transactions.edn", "multi-register", "edn", Status::NotAsExpected),
        ("mutex.edn", "mutex", "edn", Status::NotAsExpected),
        ("queue.jsonl", "queue", "jsonl", Status::NotAsExpected),
        ("set.jsonl", "set", "jsonl", Status::AsExpected),
        ("counter.jsonl", "counter", "jsonl", Status::NotAsExpected),
        ("late.etcd", "cas-register", "etcd", Status::AsExpected),
        ("refused.etcd", "cas-register", "etcd", Status::NotAsExpected),
        ("appends.kv", "kv", "kv", Status::AsExpected),
        ("swapped.kv", "kv", "kv", Status::NotAsExpected),
    ];
    for (name, model, format, status) in cases {
        let path = history(name);
        let guessed = run(&["check", text(&path), "--model", model]);
        assert_eq!(guessed.status, status, "{name}: {}{}", guessed.out, guessed.error);
        assert!(
            guessed.out.contains(&format!("read as {format}, against the model {model}")),
            "{}",
            guessed.out
        );
        let said = run(&["check", text(&path), "--model", model, "--format", format]);
        assert_eq!((said.status, said.out), (guessed.status, guessed.out), "{name}");
    }
}

#[test]
fn a_violation_is_told_and_drawn() {
    insta::assert_snapshot!(judged("stale.edn", &["--model", "register"]).1, @r"
    process 2 read 3 at 1.204 s, though process 1 had written 4 by 1.1 s

    what cannot be:
        process 1  write 4    |--|         1 s .. 1.1 s
      ! process 2  read -> 3         |---| 1.2 s .. 1.204 s
    ");
    insta::assert_snapshot!(judged("keys.edn", &["--model", "cas-register"]).1, @r"
    key x: process 1 read nil at line 10, though process 0 had read 1 by line 8

    what cannot be:
        process 0  read -> 1    |--|         line 7 .. line 8
      ! process 1  read -> nil         |---| line 9 .. line 10
    ");
    insta::assert_snapshot!(judged("queue.jsonl", &["--model", "queue"]).1, @r"
    process 0 dequeued y at 0.05 s, though process 0 had enqueued x by 0.01 s

    what cannot be:
        process 0  enqueue x     |--|         0 s .. 0.01 s
      ! process 0  dequeue -> y         |---| 0.04 s .. 0.05 s
    ");
    insta::assert_snapshot!(judged("swapped.kv", &["--model", "kv"]).1, @r"
    key 1: process 1 read x 0 0 yx 1 0 y at line 11, though nothing that was invoked
    by then accounts for it, in whatever order

    what cannot be:
      ! process 1  get -> x .. yx 1 0 y  |------| line 9 .. line 11
    ");
}

#[test]
fn a_history_that_can_be_is_shown_with_an_order() {
    insta::assert_snapshot!(judged("register.edn", &["--model", "cas-register"]).1, @r"
    linearizable: an order explains the outputs of 5 operations

    its most crowded moment, with an order that explains it:
     2. process 1   write 2    |----------| 1.2 s .. 1.9 s
     1. process 11  read -> 1     |---|     1.75 s .. 1.76 s
    ");
}

#[test]
fn sequential_consistency_asks_for_less() {
    // Each process sees the queue in an order that can be, though not when it happened.
    assert_eq!(
        judged("queue.jsonl", &["--model", "queue", "--consistency", "sequential"]).0,
        Status::AsExpected
    );
    assert_eq!(
        judged("stale.edn", &["--model", "register", "--consistency", "sequential"]).0,
        Status::AsExpected
    );
}

#[test]
fn what_the_budget_does_not_reach_is_unknown() {
    let (status, told) = judged("register.edn", &["--model", "cas-register", "--budget", "1"]);
    assert_eq!(status, Status::Unknown);
    assert!(told.starts_with("not decided: 2 configurations were looked at without getting past"), "{told}");
}

#[test]
fn the_document_has_the_shape_that_scripts_rely_on() {
    let path = history("stale.edn");
    let document = json(&["check", text(&path), "--model", "register", "--json"]);
    assert_eq!(
        keys(&document),
        ["examined", "file", "format", "model", "operations", "sentence", "verdict", "witness"]
    );
    assert_eq!(document["verdict"], "violated");
    assert_eq!(document["operations"], 4);
    assert_eq!(document["format"], "edn");
    assert_eq!(
        document["witness"][1],
        json!({
            "client": "process 2", "function": "read", "key": "", "input": null, "outcome": "ok", "output": 3,
            "invoked_ns": 1_200_000_000, "completed_ns": 1_204_000_000, "line": 5, "line_completed": 6, "culprit": true,
        })
    );
    let path = history("late.etcd");
    let document = json(&["check", text(&path), "--model", "cas-register", "--json"]);
    assert_eq!((&document["verdict"], &document["witness"]), (&json!("ok"), &json!([])));
}

#[test]
fn a_file_that_is_no_history_is_refused_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |content: &str, arguments: &[&str]| {
        let path = file(folder.path(), "history", content);
        let ran = run(&[&["check", text(&path), "--model", "register"], arguments].concat());
        assert_eq!(ran.status, Status::Usage, "{}{}", ran.out, ran.error);
        assert_eq!(ran.out, "");
        ran.error.replace(text(folder.path()), "DIR").trim_end().to_owned()
    };
    let edn = |content: &str| refused(content, &["--format", "edn"]);
    insta::assert_snapshot!(edn("{:process 0, :type :invoke, :f :write, :value 1}\n{:process 0, :type :okay, :f :write, :value 1}"), @r"
    error: DIR/history, line 2: `okay` is no type of an event (there are invoke, ok, fail, info)
      |
    2 | {:process 0, :type :okay, :f :write, :value 1}
    ");
    insta::assert_snapshot!(edn("{:process 0, :type :ok, :f :write, :value 1}"), @r"
    error: DIR/history, line 1: process 0 ends `write`, which it has not invoked: an event of type invoke is missing
      |
    1 | {:process 0, :type :ok, :f :write, :value 1}
    ");
    insta::assert_snapshot!(edn("\n[{:process 0, :type :invoke, :f :write, :value 1}\n"), @r"
    error: DIR/history, line 2: what is opened here is never closed with `]`
      |
    2 | [{:process 0, :type :invoke, :f :write, :value 1}
    ");
    insta::assert_snapshot!(edn("{:process 0, :type :invoke, :f :write, :value 1}\n{:process 0, :type :invoke, :f :read}"), @r"
    error: DIR/history, line 2: process 0 invokes `read` while its `write` of line 1 has not ended; a process that gives up says so with an event of type info
      |
    2 | {:process 0, :type :invoke, :f :read}
    ");
    insta::assert_snapshot!(edn("{:process 0, :type :invoke, :f :wirte, :value 1}"), @r"
    error: DIR/history, line 1: the model register has no function `wirte`; did you mean `write`? (it has read, write)
      |
    1 | {:process 0, :type :invoke, :f :wirte, :value 1}
    ");
    insta::assert_snapshot!(edn(""), @"error: DIR/history, line 1: there is no operation in it");
    insta::assert_snapshot!(refused("{\"process\": 0, \"type\": \"invoke\", \"f\": }", &[]), @r#"
    error: DIR/history, line 1: no JSON: expected value at column 39
      |
    1 | {"process": 0, "type": "invoke", "f": }
    "#);
    insta::assert_snapshot!(refused("{\"process\": 0, \"f\": \"read\"}", &[]), @r#"
    error: DIR/history, line 1: an operation needs "type", one of invoke, ok, fail, info
      |
    1 | {"process": 0, "f": "read"}
    "#);
    insta::assert_snapshot!(refused("INFO  jepsen.util - 3\t:invoke\t:write\n", &[]), @r"
    error: DIR/history, line 1: the value is missing; an operation is a line such as `INFO  jepsen.util - 3 :invoke :cas [4 2]`
      |
    1 | INFO  jepsen.util - 3	:invoke	:write
    ");
    insta::assert_snapshot!(refused("{:process 0, :type :invoke, :f :put, :key \"x\", :value y}", &["--format", "kv"]), @r#"
    error: DIR/history, line 1: :value is neither nil nor a text in quotation marks; an operation is a line such as {:process 0, :type :invoke, :f :put, :key "x", :value "y"}
      |
    1 | {:process 0, :type :invoke, :f :put, :key "x", :value y}
    "#);
    insta::assert_snapshot!(refused("once upon a time\n", &[]), @"error: DIR/history: it cannot be told how the history is written; say --format edn, jsonl, etcd, kv");
    assert!(refused("x", &["--format", "end"]).contains("possible values: edn, jsonl, etcd, kv"));
    let ran = run(&["check", "no/such/file", "--model", "register"]);
    assert_eq!(ran.status, Status::Usage);
    assert!(ran.error.contains("cannot read the history no/such/file"), "{}", ran.error);
    let ran = run(&["check", "no/such/file", "--model", "regster"]);
    assert!(ran.error.contains("'register'"), "{}", ran.error);
}
