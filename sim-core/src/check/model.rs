//! What a correct object does, one operation after the other: the specification that a history is held against.
//!
//! A model knows nothing of clients and time. It reads each operation into an *action* once, and then says which states
//! may follow a state; none, where the action's output cannot come from that state.

use std::{fmt, hash::Hash, sync::Arc};

use serde_json::Value as Json;

use super::history::Operation;

/// A sequential specification. Write your own, or take one of [`super::models`].
pub trait Model {
    /// The object's state.
    type State: Clone + Eq + Hash + fmt::Debug;
    /// An operation as the model understands it, with its output where that is known. Two operations with equal actions
    /// are the same to the model.
    type Action: Clone + Eq + Hash + fmt::Debug;

    /// The model's name, such as `register`.
    fn name(&self) -> &'static str;
    /// The part of the object that an operation is about. Parts are judged one by one, which is exact for linearizability
    /// (Herlihy & Wing 1990, locality) and makes large histories tractable (Horn & Kroening 2015, P-compositionality).
    fn partition<'o>(&self, operation: &'o Operation) -> &'o str {
        &operation.key
    }
    /// The state before everything.
    fn initial(&self) -> Self::State;
    /// Reads an operation. One that is not `ok` has no output: its action allows all outputs.
    fn action(&self, operation: &Operation) -> Result<Self::Action, Misfit>;
    /// Pushes every state that may follow; nothing where the action cannot happen in that state.
    fn step(&self, state: &Self::State, action: &Self::Action, next: &mut Vec<Self::State>);
    /// Whether the action never changes the state: a read. An unknown one says nothing and is dropped.
    fn only_observes(&self, _action: &Self::Action) -> bool {
        false
    }
    /// Whether the action is always possible and the state after it does not depend on the state before it: a blind
    /// write. Only for speed; `false` is always right.
    fn overwrites(&self, _action: &Self::Action) -> bool {
        false
    }
}

/// An operation that a model does not understand.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{message}")]
pub struct Misfit {
    /// The line of the file, 0 where there is none.
    pub line: u32,
    /// What was wrong, and what is allowed.
    pub message: String,
}

impl Misfit {
    /// The operation's function is none of the model's.
    pub fn function(operation: &Operation, model: &str, known: &[&str]) -> Self {
        let near = crate::nearest::nearest(&operation.function, known.iter().copied());
        let near = crate::nearest::did_you_mean(near);
        let known = known.join(", ");
        let message =
            format!("the model {model} has no function `{}`{near} (it has {known})", operation.function);
        Self { line: operation.line, message }
    }
    /// The operation's input is not what its function takes.
    pub fn input(operation: &Operation, wanted: &str) -> Self {
        let message = format!("`{}` takes {wanted}, not {}", operation.function, operation.input);
        Self { line: operation.line, message }
    }
    /// The operation's output is not what its function gives.
    pub fn output(operation: &Operation, wanted: &str) -> Self {
        let output = operation.output().unwrap_or(&Json::Null);
        let message = format!("`{}` gives {wanted}, not {output}", operation.function);
        Self { line: operation.line_completed, message }
    }
}

/// A value that is only compared: of a register, of an element.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Atom {
    /// Nothing yet.
    Nil,
    /// A whole number.
    Int(i64),
    /// Everything else, as JSON text.
    Text(Arc<str>),
}

impl From<&Json> for Atom {
    fn from(value: &Json) -> Self {
        match value {
            Json::Null => Self::Nil,
            Json::Number(number) if number.is_i64() => Self::Int(number.as_i64().unwrap_or_default()),
            other => Self::Text(other.to_string().into()),
        }
    }
}

impl fmt::Display for Atom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nil => f.write_str("nil"),
            Self::Int(number) => write!(f, "{number}"),
            Self::Text(text) => f.write_str(text),
        }
    }
}
