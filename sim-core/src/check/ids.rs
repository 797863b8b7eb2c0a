//! Unique ids: no two operations gave the same one.

use std::collections::BTreeMap;

use super::{Report, Witness, history::History, model::Atom, tell};

/// Whether all outputs of `function` are different. An operation of unknown outcome gave its id to nobody.
pub fn unique_ids(history: &History, function: &str) -> Report {
    let mut seen: BTreeMap<Atom, usize> = BTreeMap::new();
    let operations = history.operations();
    for (index, operation) in operations.iter().enumerate().filter(|(_, o)| &*o.function == function) {
        let Some(output) = operation.output() else { continue };
        if let Some(first) = seen.insert(output.into(), index) {
            let first = &operations[first];
            let sentence = format!(
                "the id {} was given twice: to {} at {} and to {} at {}",
                tell::value(output),
                first.client,
                history.moment(first, true),
                operation.client,
                history.moment(operation, true)
            );
            let witness = Witness {
                key: operation.key.to_string(),
                operations: vec![first.clone(), operation.clone()],
                culprit: 1,
                minimal: true,
            };
            return Report { examined: seen.len() as u64, ..Report::violated(history, witness, sentence) };
        }
    }
    let count = seen.len();
    Report { examined: count as u64, ..Report::ok(format!("unique: {count} ids, no two of them the same")) }
}
