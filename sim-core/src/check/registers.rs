//! Weaker registers: regular and safe (Lamport 1986, "On interprocess communication").
//!
//! A read of a *regular* register gives the value of a write that overlaps with it, or of one after which no other write
//! was over before the read began. A read of a *safe* register that overlaps with no write does the same; one that does may
//! give anything. With several writers this is the weak regularity of Shao, Pierce & Welch (2003): each read is judged by
//! itself. Neither rules out that a later read gives an older value than an earlier one; linearizability does.

use serde_json::Value as Json;

use super::{
    Report, Witness,
    history::{History, Operation},
    model::Atom,
    tell,
};

/// Which register.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Strength {
    /// A read that overlaps with a write may give anything.
    Safe,
    /// A read gives an overlapping or a latest write.
    Regular,
}

fn is_write(operation: &Operation) -> bool {
    matches!(&*operation.function, "write" | "put")
}

/// Checks the reads of registers that begin with `initial`, each key by itself. An unknown write overlaps with everything
/// after its invocation.
pub fn register(history: &History, initial: &Json, strength: Strength) -> Report {
    let operations = history.operations();
    let mut examined = 0;
    for read in operations.iter().filter(|o| matches!(&*o.function, "read" | "get")) {
        let Some(output) = read.output().map(Atom::from) else { continue };
        let writes: Vec<&Operation> = operations
            .iter()
            .filter(|write| write.key == read.key && is_write(write))
            .filter(|write| write.is_ok() || write.is_unknown())
            .collect();
        examined += writes.len() as u64;
        let overlaps = |write: &Operation| !write.ended_before(read) && !read.ended_before(write);
        if strength == Strength::Safe && writes.iter().any(|write| overlaps(write)) {
            continue;
        }
        let over: Vec<&Operation> = writes.iter().copied().filter(|write| write.ended_before(read)).collect();
        let replaced = |write: &Operation| over.iter().find(|later| write.ended_before(later)).copied();
        let sources: Vec<&Operation> = writes
            .iter()
            .copied()
            .filter(|write| !read.ended_before(write) && Atom::from(&write.input) == output)
            .collect();
        let holds = sources.iter().any(|write| overlaps(write) || replaced(write).is_none())
            || (over.is_empty() && Atom::from(initial) == output);
        if holds {
            continue;
        }
        // The write that replaced the best candidate, or any that was over.
        let replacing = sources.last().and_then(|write| replaced(write)).or(over.last().copied());
        let mut shown: Vec<Operation> = sources.last().into_iter().map(|write| (*write).clone()).collect();
        shown.extend(replacing.cloned());
        shown.push(read.clone());
        shown.sort_by_key(|operation| operation.call);
        let culprit = shown.iter().position(|operation| operation.call == read.call).unwrap_or_default();
        let why = match replacing {
            Some(write) => format!(
                "though {} had written {} by {}",
                write.client,
                tell::value(&write.input),
                history.moment(write, true)
            ),
            None => "which nobody had written".to_owned(),
        };
        let witness = Witness { key: read.key.to_string(), operations: shown, culprit, minimal: true };
        let sentence = format!("{}, {why}", tell::told(history, read));
        return Report { examined, ..Report::violated(history, witness, sentence) };
    }
    let name = if strength == Strength::Safe { "safe" } else { "regular" };
    Report { examined, ..Report::ok(format!("{name}: every read gave a value that it may give")) }
}
