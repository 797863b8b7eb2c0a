//! What checkers say, in sentences.

use serde_json::Value as Json;

use super::{
    Witness,
    history::{History, Operation},
};

/// A value as people write it: `nil`, `4`, `x`, shortened where it is long.
pub(super) fn value(value: &Json) -> String {
    let text = match value {
        Json::Null => "nil".to_owned(),
        Json::String(text) if text.is_empty() => "\"\"".to_owned(),
        Json::String(text) => text.clone(),
        other => other.to_string(),
    };
    shortened(&text, 40)
}

pub(super) fn shortened(text: &str, columns: usize) -> String {
    if text.chars().count() <= columns {
        return text.to_owned();
    }
    let tail: Vec<char> = text.chars().collect();
    let half = (columns - 2) / 2;
    // Texts that only grow differ at their ends.
    let (first, last) = (&tail[..half], &tail[tail.len() - half..]);
    format!("{}..{}", first.iter().collect::<String>(), last.iter().collect::<String>())
}

/// What an operation was, for a picture: `write 4`, `read -> 3`.
pub(super) fn label(operation: &Operation) -> String {
    let mut label = operation.function.to_string();
    if !operation.input.is_null() {
        label = format!("{label} {}", value(&operation.input));
    }
    match operation.output() {
        Some(output) if !output.is_null() && *output != operation.input => {
            format!("{label} -> {}", value(output))
        }
        Some(Json::Null) if operation.input.is_null() && is_question(operation) => format!("{label} -> nil"),
        _ => label,
    }
}

fn is_question(operation: &Operation) -> bool {
    matches!(&*operation.function, "read" | "get" | "dequeue")
}

/// What an operation did, behind the name of its client: (`wrote 4`, `had written 4`).
fn deed(operation: &Operation) -> (String, String) {
    let input = value(&operation.input);
    let output = operation.output().map_or_else(|| "something".to_owned(), value);
    let both = |past: &str, participle: &str, rest: String| {
        let rest = if rest.is_empty() { rest } else { format!(" {rest}") };
        (format!("{past}{rest}"), format!("had {participle}{rest}"))
    };
    let pair = operation.input.as_array().and_then(|values| match values.as_slice() {
        [from, to] => Some((value(from), value(to))),
        _ => None,
    });
    let refused = operation.output() == Some(&Json::Bool(false));
    match &*operation.function {
        "read" | "get" => both("read", "read", output),
        "write" | "put" if refused => both("was refused", "been refused", format!("a write of {input}")),
        "write" | "put" => both("wrote", "written", input),
        "append" => both("appended", "appended", input),
        "cas" => match pair {
            Some((from, _)) if refused => both("found another value than", "found another value than", from),
            Some((from, to)) => both("changed", "changed", format!("{from} to {to}")),
            None => both("compared and set", "compared and set", input),
        },
        "enqueue" => both("enqueued", "enqueued", input),
        "dequeue" if operation.output() == Some(&Json::Null) => {
            both("found the queue empty", "found the queue empty", String::new())
        }
        "dequeue" => both("dequeued", "dequeued", output),
        "add" => both("added", "added", input),
        "remove" => both("removed", "removed", input),
        "increment" => both("incremented", "incremented", String::new()),
        "decrement" => both("decremented", "decremented", String::new()),
        "contains" if refused => both("did not find", "not found", input),
        "contains" => both("found", "found", input),
        "acquire" | "lock" if refused => both("was refused the lock", "been refused the lock", String::new()),
        "acquire" | "lock" => match operation.output() {
            Some(Json::Number(token)) => {
                both("acquired the lock with token", "acquired the lock with token", token.to_string())
            }
            _ => both("acquired the lock", "acquired the lock", String::new()),
        },
        "release" | "unlock" => both("released the lock", "released the lock", String::new()),
        _ => both("did", "done", label(operation)),
    }
}

/// `client-2 read 3 at 1.204 s`.
pub(super) fn told(history: &History, operation: &Operation) -> String {
    format!("{} {} at {}", operation.client, deed(operation).0, history.moment(operation, true))
}

fn had_done(history: &History, operation: &Operation) -> String {
    format!("{} {} by {}", operation.client, deed(operation).1, history.moment(operation, true))
}

fn listed(parts: &[String]) -> String {
    match parts {
        [] => String::new(),
        [one] => one.clone(),
        [others @ .., last] => format!("{} and {last}", others.join(", ")),
    }
}

/// Why a witness cannot be.
pub(super) fn violation(history: &History, witness: &Witness, real_time: bool) -> String {
    let Some(culprit) = witness.operations.get(witness.culprit) else {
        return "no order explains the history".to_owned();
    };
    let key = if witness.key.is_empty() { String::new() } else { format!("key {}: ", witness.key) };
    let what = told(history, culprit);
    let mut others: Vec<&Operation> = witness.operations.iter().collect();
    others.remove(witness.culprit);
    if others.is_empty() {
        let why = match &*culprit.function {
            "read" | "get" | "dequeue" => {
                "though nothing that was invoked by then accounts for it, in whatever order"
            }
            _ => "though nothing that was invoked by then makes it possible, in whatever order",
        };
        return format!("{key}{what}, {why}");
    }
    if !real_time {
        let told: Vec<String> = others.iter().take(4).map(|other| told(history, other)).collect();
        let more = others.len().saturating_sub(4);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        return format!(
            "{key}{what}, and no one order puts that together with what else happened ({}{more}) as each process saw it",
            told.join(", ")
        );
    }
    // The latest that was over before the culprit began says most.
    let (mut over, overlapping): (Vec<&Operation>, Vec<&Operation>) =
        others.into_iter().partition(|other| other.ended_before(culprit));
    over.sort_by_key(|other| std::cmp::Reverse(other.end));
    let mut reasons: Vec<String> = over.iter().take(3).rev().map(|other| had_done(history, other)).collect();
    if reasons.is_empty() {
        reasons = overlapping
            .iter()
            .take(3)
            .map(|other| format!("at the same time {}", told(history, other)))
            .collect();
    }
    let shown = reasons.len();
    let hidden = witness.operations.len() - 1 - shown;
    let more = match hidden {
        0 => String::new(),
        1 => " (one more operation leaves no other way)".to_owned(),
        n => format!(" ({n} more operations leave no other way)"),
    };
    format!("{key}{what}, though {}{more}", listed(&reasons))
}

/// Why nothing was decided.
pub(super) fn exhausted(history: &History, key: &str, furthest: usize, examined: u64) -> String {
    let key = if key.is_empty() { String::new() } else { format!("key {key}: ") };
    let operation = &history.operations()[furthest];
    format!(
        "{key}{examined} configurations were looked at without getting past what {} did ({}) until {}",
        operation.client,
        label(operation),
        history.moment(operation, true)
    )
}

/// What was shown to be possible.
pub(super) fn explained(history: &History, parts: u64, property: &str) -> String {
    let count = |outcome: fn(&Operation) -> bool| history.operations().iter().filter(|o| outcome(o)).count();
    let (ok, unknown) = (count(Operation::is_ok), count(Operation::is_unknown));
    let unknown = match unknown {
        0 => String::new(),
        n => format!(", {n} of unknown outcome"),
    };
    let failed = match history.len() - ok - (history.operations().iter().filter(|o| o.is_unknown()).count()) {
        0 => String::new(),
        n => format!(", {n} that failed"),
    };
    let keys = if parts > 1 { format!(" over {parts} keys") } else { String::new() };
    let plural = if ok == 1 { "" } else { "s" };
    format!("{property}: an order explains the outputs of {ok} operation{plural}{unknown}{failed}{keys}")
}
