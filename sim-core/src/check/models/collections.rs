//! A queue and a set.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
};

use serde_json::Value as Json;

use crate::check::{
    history::Operation,
    model::{Atom, Misfit, Model},
};

/// First in, first out. `dequeue` gives the oldest element, nil where there is none; `drain` gives all of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Queue;

/// What is done to a queue.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum QueueAction {
    /// An element at the end.
    Enqueue(Atom),
    /// The oldest element; the inner nothing where the queue was empty, the outer where the output is unknown.
    Dequeue(Option<Option<Atom>>),
    /// All elements, oldest first; nothing where the output is unknown.
    Drain(Option<Vec<Atom>>),
}

impl Model for Queue {
    type State = Arc<VecDeque<Atom>>;
    type Action = QueueAction;

    fn name(&self) -> &'static str {
        "queue"
    }
    fn initial(&self) -> Self::State {
        Arc::default()
    }
    fn action(&self, operation: &Operation) -> Result<QueueAction, Misfit> {
        match &*operation.function {
            "enqueue" => match &operation.input {
                Json::Null => Err(Misfit::input(operation, "an element")),
                element => Ok(QueueAction::Enqueue(element.into())),
            },
            "dequeue" => Ok(QueueAction::Dequeue(operation.output().map(|output| match output {
                Json::Null => None,
                element => Some(element.into()),
            }))),
            "drain" => match operation.output() {
                None => Ok(QueueAction::Drain(None)),
                Some(Json::Array(all)) => Ok(QueueAction::Drain(Some(all.iter().map(Atom::from).collect()))),
                Some(_) => Err(Misfit::output(operation, "a list of elements")),
            },
            _ => Err(Misfit::function(operation, self.name(), &["enqueue", "dequeue", "drain"])),
        }
    }
    fn step(&self, state: &Self::State, action: &QueueAction, next: &mut Vec<Self::State>) {
        match action {
            QueueAction::Enqueue(element) => {
                let mut queue = (**state).clone();
                queue.push_back(element.clone());
                next.push(queue.into());
            }
            QueueAction::Dequeue(output) => {
                if output.as_ref().is_none_or(|output| output.as_ref() == state.front()) {
                    let mut queue = (**state).clone();
                    queue.pop_front();
                    next.push(queue.into());
                }
            }
            QueueAction::Drain(output) => {
                if output.as_ref().is_none_or(|output| output.iter().eq(state.iter())) {
                    next.push(Arc::default());
                }
            }
        }
    }
}

/// A set: `add`, `remove` (gives whether the element was there, where it gives a truth value), `contains`, `read`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Set;

/// What is done to a set.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum SetAction {
    /// The element is in the set from now on.
    Add(Atom),
    /// The element is not; whether it was, where that is known.
    Remove(Atom, Option<bool>),
    /// Whether the element is in the set; nothing where the output is unknown.
    Contains(Atom, Option<bool>),
    /// All elements; nothing where the output is unknown.
    Read(Option<BTreeSet<Atom>>),
}

impl Model for Set {
    type State = Arc<BTreeSet<Atom>>;
    type Action = SetAction;

    fn name(&self) -> &'static str {
        "set"
    }
    fn initial(&self) -> Self::State {
        Arc::default()
    }
    fn action(&self, operation: &Operation) -> Result<SetAction, Misfit> {
        let element = || Atom::from(&operation.input);
        match &*operation.function {
            "add" => Ok(SetAction::Add(element())),
            "remove" => Ok(SetAction::Remove(element(), operation.output().and_then(Json::as_bool))),
            "contains" => match operation.output() {
                None => Ok(SetAction::Contains(element(), None)),
                Some(Json::Bool(found)) => Ok(SetAction::Contains(element(), Some(*found))),
                Some(_) => Err(Misfit::output(operation, "true or false")),
            },
            "read" => match operation.output() {
                None => Ok(SetAction::Read(None)),
                Some(Json::Null) => Ok(SetAction::Read(Some(BTreeSet::new()))),
                Some(Json::Array(all)) => Ok(SetAction::Read(Some(all.iter().map(Atom::from).collect()))),
                Some(_) => Err(Misfit::output(operation, "a list of elements")),
            },
            _ => Err(Misfit::function(operation, self.name(), &["add", "remove", "contains", "read"])),
        }
    }
    fn step(&self, state: &Self::State, action: &SetAction, next: &mut Vec<Self::State>) {
        let holds = |found: &Option<bool>, element: &Atom| found.is_none_or(|f| f == state.contains(element));
        match action {
            SetAction::Add(element) => {
                let mut set = (**state).clone();
                set.insert(element.clone());
                next.push(set.into());
            }
            SetAction::Remove(element, found) => {
                if holds(found, element) {
                    let mut set = (**state).clone();
                    set.remove(element);
                    next.push(set.into());
                }
            }
            SetAction::Contains(element, found) => {
                if holds(found, element) {
                    next.push(state.clone());
                }
            }
            SetAction::Read(all) => {
                if all.as_ref().is_none_or(|all| *all == **state) {
                    next.push(state.clone());
                }
            }
        }
    }
    fn only_observes(&self, action: &SetAction) -> bool {
        matches!(action, SetAction::Contains(..) | SetAction::Read(_))
    }
}
