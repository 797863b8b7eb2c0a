//! A counter.

use serde_json::Value as Json;

use crate::check::{
    history::Operation,
    model::{Misfit, Model},
};

/// Begins at 0. `add` adds its input, `increment` and `decrement` add and take 1 (or their input), `read` gives the sum.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counter;

/// What is done to a counter.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum CounterAction {
    /// Adds that much, which may be negative.
    Add(i64),
    /// A read, and what it gave; nothing where that is unknown.
    Read(Option<i64>),
}

impl Model for Counter {
    type State = i64;
    type Action = CounterAction;

    fn name(&self) -> &'static str {
        "counter"
    }
    fn initial(&self) -> i64 {
        0
    }
    fn action(&self, operation: &Operation) -> Result<CounterAction, Misfit> {
        let amount = |default: Option<i64>| {
            let given = if operation.input.is_null() { default } else { operation.input.as_i64() };
            given.ok_or_else(|| Misfit::input(operation, "a whole number"))
        };
        match &*operation.function {
            "add" => Ok(CounterAction::Add(amount(None)?)),
            "increment" => Ok(CounterAction::Add(amount(Some(1))?)),
            "decrement" => Ok(CounterAction::Add(amount(Some(1))?.saturating_neg())),
            "read" => match operation.output() {
                None => Ok(CounterAction::Read(None)),
                Some(output) => match output {
                    Json::Null => Ok(CounterAction::Read(Some(0))),
                    output => match output.as_i64() {
                        Some(sum) => Ok(CounterAction::Read(Some(sum))),
                        None => Err(Misfit::output(operation, "a whole number")),
                    },
                },
            },
            _ => Err(Misfit::function(operation, self.name(), &["add", "increment", "decrement", "read"])),
        }
    }
    fn step(&self, state: &i64, action: &CounterAction, next: &mut Vec<i64>) {
        match action {
            CounterAction::Add(amount) => next.push(state.wrapping_add(*amount)),
            CounterAction::Read(sum) => {
                if sum.is_none_or(|sum| sum == *state) {
                    next.push(*state);
                }
            }
        }
    }
    fn only_observes(&self, action: &CounterAction) -> bool {
        matches!(action, CounterAction::Read(_) | CounterAction::Add(0))
    }
}
