//! A store of texts by key, with append.

use std::sync::Arc;

use serde_json::Value as Json;

use crate::check::{
    history::Operation,
    model::{Misfit, Model},
};

/// `put` replaces a key's text, `append` adds to its end, `get` gives it; a key that nobody wrote has the empty text.
/// Each key is judged by itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct KeyValue;

/// What is done to a key.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum KeyValueAction {
    /// A read, and what it gave; nothing where that is unknown.
    Get(Option<Arc<str>>),
    /// The text from now on.
    Put(Arc<str>),
    /// More text at the end.
    Append(Arc<str>),
}

fn text(value: &Json) -> Arc<str> {
    match value {
        Json::Null => "".into(),
        Json::String(text) => text.as_str().into(),
        other => other.to_string().into(),
    }
}

impl Model for KeyValue {
    type State = Arc<str>;
    type Action = KeyValueAction;

    fn name(&self) -> &'static str {
        "kv"
    }
    fn initial(&self) -> Arc<str> {
        "".into()
    }
    fn action(&self, operation: &Operation) -> Result<KeyValueAction, Misfit> {
        match &*operation.function {
            "get" | "read" => Ok(KeyValueAction::Get(operation.output().map(text))),
            "put" | "write" => Ok(KeyValueAction::Put(text(&operation.input))),
            "append" => Ok(KeyValueAction::Append(text(&operation.input))),
            _ => Err(Misfit::function(operation, self.name(), &["get", "put", "append"])),
        }
    }
    fn step(&self, state: &Arc<str>, action: &KeyValueAction, next: &mut Vec<Arc<str>>) {
        match action {
            KeyValueAction::Get(value) => {
                if value.as_ref().is_none_or(|value| value == state) {
                    next.push(state.clone());
                }
            }
            KeyValueAction::Put(value) => next.push(value.clone()),
            KeyValueAction::Append(value) => next.push(format!("{state}{value}").into()),
        }
    }
    fn only_observes(&self, action: &KeyValueAction) -> bool {
        matches!(action, KeyValueAction::Get(_))
    }
    fn overwrites(&self, action: &KeyValueAction) -> bool {
        matches!(action, KeyValueAction::Put(_))
    }
}
