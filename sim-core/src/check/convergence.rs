//! Convergence: when everything has calmed down, all replicas say the same.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::{
    Report, Witness,
    history::{History, Operation},
    tell,
};

/// What a replica said last. A list that stands for a set says the same in every order.
fn normal(value: &Json, unordered: bool) -> Json {
    match value {
        Json::Array(elements) if unordered => {
            let mut elements = elements.clone();
            elements.sort_by_key(ToString::to_string);
            Json::Array(elements)
        }
        other => other.clone(),
    }
}

/// Whether the last `read` of each client gave the same, key by key. Only reads count that were invoked after the last
/// change of their key had ended, or been given up; where there is none, the verdict is unknown. With `unordered`, lists are
/// compared as sets.
pub fn convergence(history: &History, unordered: bool) -> Report {
    let is_read = |operation: &Operation| matches!(&*operation.function, "read" | "get");
    let mut keys: BTreeMap<&str, Vec<&Operation>> = BTreeMap::new();
    for operation in history.operations() {
        keys.entry(&operation.key).or_default().push(operation);
    }
    let (mut replicas, mut without) = (0, None);
    for (key, operations) in &keys {
        // An unknown change has no end: its invocation is the last thing that is known of it.
        let changes = operations.iter().filter(|o| !is_read(o) && (o.is_ok() || o.is_unknown()));
        let calm = changes.map(|o| if o.is_ok() { o.end } else { o.call }).max();
        let mut last: BTreeMap<&str, &Operation> = BTreeMap::new();
        for read in operations.iter().filter(|o| is_read(o) && o.is_ok()) {
            if calm.is_none_or(|calm| read.call > calm) {
                last.insert(&read.client, read);
            }
        }
        if last.is_empty() {
            without = Some((*key).to_owned());
            continue;
        }
        replicas += last.len();
        let said = |read: &Operation| normal(read.output().unwrap_or(&Json::Null), unordered);
        let mut reads = last.values();
        let Some(first) = reads.next() else { continue };
        if let Some(other) = reads.find(|read| said(read) != said(first)) {
            let of_key = if key.is_empty() { String::new() } else { format!("key {key}: ") };
            let sentence = format!(
                "{of_key}the replicas did not converge: in the end {} and {}",
                tell::told(history, first),
                tell::told(history, other)
            );
            let mut operations = vec![(*first).clone(), (*other).clone()];
            operations.sort_by_key(|operation| operation.call);
            let witness = Witness { key: (*key).to_owned(), operations, culprit: 1, minimal: true };
            return Report::violated(history, witness, sentence);
        }
    }
    match without {
        Some(key) if key.is_empty() => Report::unknown("nobody read after the last change".to_owned()),
        Some(key) => Report::unknown(format!("nobody read the key {key} after its last change")),
        None => Report::ok(format!("converged: {replicas} last reads agree")),
    }
}
