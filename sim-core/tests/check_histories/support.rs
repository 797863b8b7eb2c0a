//! Small histories, made through a recording as a run would make them, and a judge without any cleverness.

use serde_json::{Value as Json, json};
use sim_core::{
    check::{History, Model, Operation},
    record::{self, Name, NodeIndex, NodeRecord, OperationOutcome, Recording, SpanIndex},
    time::{SimTime, ms},
};

/// How an operation of a test ends.
#[derive(Clone, PartialEq, Debug)]
pub enum End {
    Ok(Json),
    Fail,
    Unknown,
}

/// An operation of a test; times in milliseconds.
#[derive(Clone, PartialEq, Debug)]
pub struct Asked {
    pub client: usize,
    pub function: &'static str,
    pub key: &'static str,
    pub input: Json,
    pub from: u64,
    pub until: u64,
    pub end: End,
}

/// An operation that happened.
pub fn ok(client: usize, from: u64, until: u64, function: &'static str, input: Json, output: Json) -> Asked {
    Asked { client, function, key: "", input, from, until, end: End::Ok(output) }
}
pub fn write(client: usize, from: u64, until: u64, value: i64) -> Asked {
    ok(client, from, until, "write", json!(value), json!(null))
}
pub fn read(client: usize, from: u64, until: u64, value: impl Into<Json>) -> Asked {
    ok(client, from, until, "read", json!(null), value.into())
}
impl Asked {
    /// The same, but nobody knows whether it happened.
    pub fn unknown(self) -> Self {
        Self { end: End::Unknown, ..self }
    }
    pub fn failed(self) -> Self {
        Self { end: End::Fail, ..self }
    }
    pub fn on(self, key: &'static str) -> Self {
        Self { key, ..self }
    }
}

/// The recording of these operations.
pub fn recording(asked: &[Asked]) -> Recording {
    let mut recording = Recording { names: vec![String::new()], ..Recording::default() };
    let clients = asked.iter().map(|one| one.client + 1).max().unwrap_or(0);
    for client in 0..clients {
        let name = format!("client-{client}");
        recording.nodes.push(NodeRecord { name, service: "client".to_owned(), region: String::new() });
    }
    let mut asked: Vec<&Asked> = asked.iter().collect();
    asked.sort_by_key(|one| one.from);
    for one in asked {
        let mut name = |text: &str| match recording.names.iter().position(|known| known == text) {
            Some(index) => Name(index as u32),
            None => {
                recording.names.push(text.to_owned());
                Name(recording.names.len() as u32 - 1)
            }
        };
        let operation = record::Operation {
            node: NodeIndex(one.client as u32),
            process: 0,
            function: name(one.function),
            key: name(one.key),
            input: name(&one.input.to_string()),
            invoked: SimTime::ZERO + ms(one.from),
            completed: SimTime::ZERO + ms(one.until),
            outcome: match &one.end {
                End::Ok(output) => OperationOutcome::Ok(name(&output.to_string())),
                End::Fail => OperationOutcome::Fail(name("refused")),
                End::Unknown => OperationOutcome::Unknown(name("timeout")),
            },
            span: SpanIndex::NONE,
        };
        recording.operations.push(operation);
    }
    recording
}

pub fn history(asked: &[Asked]) -> History {
    History::of(&recording(asked))
}

/// Tries every order. `real_time`: operations that do not overlap keep their order, else those of a process do.
pub fn has_an_order<M: Model>(history: &History, model: &M, real_time: bool) -> bool {
    has_an_order_of(history, model, real_time, Operation::is_ok)
}

/// The same, where only those operations must take effect that are `needed`; all others may, in their interval.
pub fn has_an_order_of<M: Model>(
    history: &History,
    model: &M,
    real_time: bool,
    needed: impl Fn(&Operation) -> bool,
) -> bool {
    let operations: Vec<&Operation> =
        history.operations().iter().filter(|o| o.is_ok() || o.is_unknown()).collect();
    let mut tried = Tried {
        actions: operations.iter().map(|o| model.action(o).unwrap()).collect(),
        needed: operations.iter().map(|o| needed(o)).collect(),
        done: vec![false; operations.len()],
        operations,
        model,
        real_time,
    };
    tried.extend(&model.initial())
}

struct Tried<'h, M: Model> {
    operations: Vec<&'h Operation>,
    actions: Vec<M::Action>,
    needed: Vec<bool>,
    done: Vec<bool>,
    model: &'h M,
    real_time: bool,
}

impl<M: Model> Tried<'_, M> {
    /// Whether the first comes before the second in every order.
    fn precedes(&self, first: usize, second: usize) -> bool {
        let (earlier, later) = (self.operations[first], self.operations[second]);
        let ends = !earlier.is_unknown();
        ends && if self.real_time {
            earlier.ended_before(later)
        } else {
            earlier.process == later.process && first < second
        }
    }
    fn extend(&mut self, state: &M::State) -> bool {
        let all = 0..self.operations.len();
        if all.clone().all(|index| self.done[index] || !self.needed[index]) {
            return true;
        }
        for next in all.clone() {
            let too_early =
                |other: usize| !self.done[other] && self.needed[other] && self.precedes(other, next);
            let too_late = |other: usize| self.done[other] && self.precedes(next, other);
            if self.done[next] || all.clone().any(too_early) || all.clone().any(too_late) {
                continue;
            }
            let mut states = Vec::new();
            self.model.step(state, &self.actions[next], &mut states);
            self.done[next] = true;
            let found = states.iter().any(|state| self.extend(state));
            self.done[next] = false;
            if found {
                return true;
            }
        }
        false
    }
}
