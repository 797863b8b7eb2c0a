//! Registers: one value, or several that a transaction reads and writes at once.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::Value as Json;

use crate::check::{
    history::Operation,
    model::{Atom, Misfit, Model},
};

/// A register: a read gives what was written last.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Register {
    /// The value before the first write.
    pub initial: Atom,
    /// Whether there is `cas`: write `to` if the value is `from`.
    pub compare_and_set: bool,
}

impl Default for Register {
    fn default() -> Self {
        Self { initial: Atom::Nil, compare_and_set: false }
    }
}

impl Register {
    /// A register with compare-and-set.
    pub fn with_cas() -> Self {
        Self { compare_and_set: true, ..Self::default() }
    }
    /// A register that begins with that value.
    pub fn from(initial: impl Into<Json>) -> Self {
        Self { initial: Atom::from(&initial.into()), ..Self::default() }
    }
}

/// What is done to a register.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum RegisterAction {
    /// A read, and what it gave; nothing where that is unknown.
    Read(Option<Atom>),
    /// A write.
    Write(Atom),
    /// A compare-and-set: from, to, and whether it found what it compared with.
    CompareAndSet(Atom, Atom, Option<bool>),
}

fn two<'j>(input: &'j Json, names: (&str, &str)) -> Option<(&'j Json, &'j Json)> {
    match input {
        Json::Array(values) => match values.as_slice() {
            [first, second] => Some((first, second)),
            _ => None,
        },
        Json::Object(fields) => Some((fields.get(names.0)?, fields.get(names.1)?)),
        _ => None,
    }
}

impl Model for Register {
    type State = Atom;
    type Action = RegisterAction;

    fn name(&self) -> &'static str {
        if self.compare_and_set { "cas-register" } else { "register" }
    }
    fn initial(&self) -> Atom {
        self.initial.clone()
    }
    fn action(&self, operation: &Operation) -> Result<RegisterAction, Misfit> {
        match &*operation.function {
            "read" | "get" => Ok(RegisterAction::Read(operation.output().map(Atom::from))),
            "write" | "put" => Ok(RegisterAction::Write(Atom::from(&operation.input))),
            "cas" if self.compare_and_set => {
                let Some((from, to)) = two(&operation.input, ("from", "to")) else {
                    return Err(Misfit::input(operation, "two values, [from to]"));
                };
                let found = operation.output().map(|output| *output != Json::Bool(false));
                Ok(RegisterAction::CompareAndSet(from.into(), to.into(), found))
            }
            _ if self.compare_and_set => {
                Err(Misfit::function(operation, self.name(), &["read", "write", "cas"]))
            }
            _ => Err(Misfit::function(operation, self.name(), &["read", "write"])),
        }
    }
    fn step(&self, state: &Atom, action: &RegisterAction, next: &mut Vec<Atom>) {
        match action {
            RegisterAction::Read(value) => {
                if value.as_ref().is_none_or(|value| value == state) {
                    next.push(state.clone());
                }
            }
            RegisterAction::Write(value) => next.push(value.clone()),
            RegisterAction::CompareAndSet(from, to, found) => {
                let finds = from == state;
                if found.is_none_or(|found| found == finds) {
                    next.push(if finds { to.clone() } else { state.clone() });
                }
            }
        }
    }
    fn only_observes(&self, action: &RegisterAction) -> bool {
        matches!(action, RegisterAction::Read(_) | RegisterAction::CompareAndSet(_, _, Some(false)))
    }
    fn overwrites(&self, action: &RegisterAction) -> bool {
        matches!(action, RegisterAction::Write(_))
    }
}

/// Several registers that one transaction reads and writes at once. All keys are judged together.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct MultiRegister;

/// A part of a transaction.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Access {
    /// Reads that value at that key; nothing where it is unknown.
    Read(Arc<str>, Option<Atom>),
    /// Writes that value to that key.
    Write(Arc<str>, Atom),
}

fn key_of(value: &Json) -> Arc<str> {
    match value {
        Json::String(text) => text.as_str().into(),
        other => other.to_string().into(),
    }
}

/// `[["r", "x", 1], ["w", "y", 2]]`, or `None`.
fn accesses(value: &Json, known: bool) -> Option<Vec<Access>> {
    let one = |access: &Json| match access.as_array()?.as_slice() {
        [what, key, value] => match what.as_str()? {
            "r" | "read" => Some(Access::Read(key_of(key), known.then(|| value.into()))),
            "w" | "write" => Some(Access::Write(key_of(key), value.into())),
            _ => None,
        },
        _ => None,
    };
    value.as_array()?.iter().map(one).collect()
}

impl Model for MultiRegister {
    /// What is nil is not in the map.
    type State = BTreeMap<Arc<str>, Atom>;
    type Action = Vec<Access>;

    fn name(&self) -> &'static str {
        "multi-register"
    }
    fn partition<'o>(&self, _operation: &'o Operation) -> &'o str {
        ""
    }
    fn initial(&self) -> Self::State {
        BTreeMap::new()
    }
    fn action(&self, operation: &Operation) -> Result<Vec<Access>, Misfit> {
        const TRANSACTION: &str = "a list of [r key value] and [w key value]";
        // With a key of its own, an operation is about that register; without, its value says which.
        let keyed = !operation.key.is_empty();
        match &*operation.function {
            "txn" => match operation.output() {
                Some(output) => accesses(output, true).ok_or_else(|| Misfit::output(operation, TRANSACTION)),
                None => {
                    accesses(&operation.input, false).ok_or_else(|| Misfit::input(operation, TRANSACTION))
                }
            },
            "write" if keyed => Ok(vec![Access::Write(operation.key.clone(), (&operation.input).into())]),
            "read" if keyed => {
                Ok(vec![Access::Read(operation.key.clone(), operation.output().map(Atom::from))])
            }
            "write" => match operation.input.as_object() {
                Some(fields) => Ok(fields
                    .iter()
                    .map(|(key, value)| Access::Write(key.as_str().into(), value.into()))
                    .collect()),
                None => Err(Misfit::input(operation, "a map of keys and values")),
            },
            "read" => match operation.output() {
                None => Ok(Vec::new()),
                Some(output) => match output.as_object() {
                    Some(fields) => Ok(fields
                        .iter()
                        .map(|(key, value)| Access::Read(key.as_str().into(), Some(value.into())))
                        .collect()),
                    None => Err(Misfit::output(operation, "a map of keys and values")),
                },
            },
            _ => Err(Misfit::function(operation, self.name(), &["txn", "read", "write"])),
        }
    }
    fn step(&self, state: &Self::State, action: &Vec<Access>, next: &mut Vec<Self::State>) {
        let mut state = state.clone();
        for access in action {
            match access {
                Access::Read(key, Some(value)) => {
                    if state.get(key).unwrap_or(&Atom::Nil) != value {
                        return;
                    }
                }
                Access::Read(_, None) => {}
                Access::Write(key, Atom::Nil) => {
                    state.remove(key);
                }
                Access::Write(key, value) => {
                    state.insert(key.clone(), value.clone());
                }
            }
        }
        next.push(state);
    }
    fn only_observes(&self, action: &Vec<Access>) -> bool {
        action.iter().all(|access| matches!(access, Access::Read(..)))
    }
}
