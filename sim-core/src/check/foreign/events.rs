//! From events to operations: which end belongs to which invocation.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::Unreadable;
use crate::{
    check::history::{History, HistoryBuilder, OperationId},
    time::SimTime,
};

/// What an event says of its operation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Invoke,
    Ok,
    Fail,
    Unknown,
}

impl Kind {
    /// By the name that Jepsen has for it.
    pub(super) fn of(name: &str) -> Option<Self> {
        match name {
            "invoke" => Some(Self::Invoke),
            "ok" => Some(Self::Ok),
            "fail" => Some(Self::Fail),
            "info" | "unknown" => Some(Self::Unknown),
            _ => None,
        }
    }
    /// What to say where there is no such kind.
    pub(super) fn refused(name: &str) -> String {
        let near = crate::nearest::nearest(name, ["invoke", "ok", "fail", "info"]);
        let near = crate::nearest::did_you_mean(near);
        format!("`{name}` is no type of an event{near} (there are invoke, ok, fail, info)")
    }
}

/// One event of a history.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Event {
    pub line: u32,
    pub process: String,
    pub kind: Kind,
    pub function: String,
    pub key: Option<Json>,
    pub value: Json,
    /// In nanoseconds.
    pub time: Option<u64>,
    /// Why it failed or is unknown, where that is said.
    pub error: Option<String>,
}

fn key_text(key: &Json) -> String {
    match key {
        Json::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Takes pairs of a key and a value apart, where all values of a history are such pairs.
fn take_keys_apart(events: &mut [Event]) {
    let mut only_compares = true;
    for event in events.iter() {
        let Json::Array(pair) = &event.value else { return };
        let [key, value] = pair.as_slice() else { return };
        if event.key.is_some() || !(key.is_number() || key.is_string()) {
            return;
        }
        // The two values of a compare-and-set are a pair as well.
        let is_compare = event.function == "cas";
        if is_compare && event.kind == Kind::Invoke && value.as_array().is_none_or(|both| both.len() != 2) {
            return;
        }
        only_compares &= is_compare && !value.is_array();
    }
    if only_compares {
        return;
    }
    for event in events {
        if let Json::Array(pair) = &mut event.value
            && pair.len() == 2
        {
            let value = pair.remove(1);
            event.key = Some(pair.remove(0));
            event.value = value;
        }
    }
}

pub(super) fn history(mut events: Vec<Event>) -> Result<History, Unreadable> {
    if events.is_empty() {
        return Err(Unreadable::new(1, "there is no operation in it"));
    }
    take_keys_apart(&mut events);
    let times: Option<Vec<u64>> = events.iter().map(|event| event.time).collect();
    let timed = times.is_some_and(|times| times.is_sorted());
    let mut history = if timed { HistoryBuilder::new() } else { HistoryBuilder::untimed() };
    let mut open: BTreeMap<String, OperationId> = BTreeMap::new();
    // What a process gave up, until a late reply closes it.
    let mut given_up: BTreeMap<String, Vec<OperationId>> = BTreeMap::new();
    for event in events {
        history.at_line(event.line);
        let at = SimTime::from_nanos(event.time.filter(|_| timed).unwrap_or_default());
        if event.kind == Kind::Invoke {
            if let Some(before) = open.get(&event.process) {
                let message = format!(
                    "process {} invokes `{}` while its `{}` of line {} has not ended; a process that gives up says so \
                     with an event of type info",
                    event.process,
                    event.function,
                    history.function(*before),
                    history.line(*before)
                );
                return Err(Unreadable::new(event.line, message));
            }
            let client = format!("process {}", event.process);
            let key = event.key.as_ref().map(key_text).unwrap_or_default();
            let id = history.invoke(&client, at, &event.function, &key, event.value);
            open.insert(event.process, id);
            continue;
        }
        let same = |id: &OperationId| history.function(*id) == event.function;
        let current = open.get(&event.process).copied().filter(same);
        let old = given_up.get(&event.process).and_then(|ids| ids.iter().position(same));
        let id = match (current, old) {
            (Some(id), _) => {
                open.remove(&event.process);
                id
            }
            (None, Some(index)) => {
                let ids = given_up.entry(event.process.clone()).or_default();
                ids.remove(index)
            }
            (None, None) => {
                let message = match open.get(&event.process) {
                    Some(id) => format!(
                        "process {} ends `{}`, but what it invoked on line {} is `{}`",
                        event.process,
                        event.function,
                        history.line(*id),
                        history.function(*id)
                    ),
                    None => format!(
                        "process {} ends `{}`, which it has not invoked: an event of type invoke is missing",
                        event.process, event.function
                    ),
                };
                return Err(Unreadable::new(event.line, message));
            }
        };
        let reason = event.error.as_deref();
        match event.kind {
            Kind::Ok => history.ok(id, at, event.value),
            Kind::Fail => history.fail(id, at, reason.unwrap_or("failed")),
            Kind::Unknown | Kind::Invoke => {
                history.unknown(id, at, reason.unwrap_or("unknown"));
                given_up.entry(event.process).or_default().push(id);
            }
        }
    }
    Ok(history.build())
}
