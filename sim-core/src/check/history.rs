//! A history: what the clients of a system asked and were told, and when.
//!
//! Each operation is invoked and then ends `ok` (it happened, with this output), `fail` (it certainly did not happen) or
//! unknown (nobody knows; it may even happen later). A client whose operation timed out goes on as a new *process*; a reply
//! that comes late still closes the old operation. So within one process operations follow each other, and what is
//! unknown is the last that its process did.
//!
//! Histories come from a recording ([`History::of`]), from a foreign file ([`super::foreign`]), or event by event from a
//! [`HistoryBuilder`].

use std::{collections::BTreeMap, sync::Arc};

use serde_json::Value as Json;

use crate::{
    record::{Operation as RecordedOperation, OperationOutcome, Recording},
    time::SimTime,
};

/// How an operation ended.
#[derive(Clone, PartialEq, Debug)]
pub enum Outcome {
    /// It happened, and this is what it gave back.
    Ok(Json),
    /// It certainly did not happen; the reason.
    Fail(String),
    /// It may have happened, or may happen yet; the reason.
    Unknown(String),
}

/// One operation of a history.
#[derive(Clone, PartialEq, Debug)]
pub struct Operation {
    /// Who asked, as people know it: `client-2`.
    pub client: Arc<str>,
    /// The logical process: a client is a new one after each operation that it gave up. Its operations do not overlap.
    pub process: u32,
    /// `read`, `write`, `cas`, ...
    pub function: Arc<str>,
    /// The object; empty where there is only one.
    pub key: Arc<str>,
    /// What was asked.
    pub input: Json,
    /// How it ended.
    pub outcome: Outcome,
    /// When it was asked.
    pub invoked: SimTime,
    /// When the answer came, or the client gave up; [`SimTime::MAX`] where neither happened.
    pub completed: SimTime,
    /// The line of the file that invoked it, from 1; 0 where there is no file.
    pub line: u32,
    /// The line that ended it; 0 where there is none.
    pub line_completed: u32,
    /// The place of its invocation among all events of the history.
    pub(super) call: u64,
    /// The place of its end among all events; `u64::MAX` where it has none, or is unknown.
    pub(super) end: u64,
}

impl Operation {
    /// The output, where it happened.
    pub fn output(&self) -> Option<&Json> {
        match &self.outcome {
            Outcome::Ok(output) => Some(output),
            _ => None,
        }
    }
    /// Whether it certainly happened.
    pub fn is_ok(&self) -> bool {
        matches!(self.outcome, Outcome::Ok(_))
    }
    /// Whether nobody knows if it happened.
    pub fn is_unknown(&self) -> bool {
        matches!(self.outcome, Outcome::Unknown(_))
    }
    /// Whether this ended before the other began. Of two events at one instant of a recording nobody knows which came
    /// first, except inside one process.
    pub fn ended_before(&self, other: &Self) -> bool {
        self.end < other.call
            || (self.process == other.process && self.end != u64::MAX && self.call < other.call)
    }
}

/// Operations in order of invocation.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct History {
    operations: Vec<Operation>,
    timed: bool,
}

impl History {
    /// All operations of a recording.
    pub fn of(recording: &Recording) -> Self {
        Self::of_those(recording, |_| true)
    }

    /// The operations of a recording for which `wanted` says yes: those of one service, one function, one key.
    /// A pending operation is unknown. Of several events at one instant, invocations count as the earlier ones.
    pub fn of_those(recording: &Recording, wanted: impl Fn(&RecordedOperation) -> bool) -> Self {
        let chosen: Vec<&RecordedOperation> = recording.operations.iter().filter(|o| wanted(o)).collect();
        let mut processes: BTreeMap<_, Vec<u32>> = BTreeMap::new();
        for operation in &chosen {
            let of_node = processes.entry(operation.node).or_default();
            if !of_node.contains(&operation.process) {
                of_node.push(operation.process);
            }
        }
        let mut texts: BTreeMap<crate::record::Name, Arc<str>> = BTreeMap::new();
        let mut text = |name| texts.entry(name).or_insert_with(|| recording.text(name).into()).clone();
        let json = |name| {
            let text = recording.text(name);
            serde_json::from_str(text).unwrap_or_else(|_| Json::String(text.to_owned()))
        };
        let mut operations = Vec::with_capacity(chosen.len());
        for operation in chosen {
            let name = recording.node_name(operation.node);
            let alone = processes.get(&operation.node).is_none_or(|of_node| of_node.len() == 1);
            let client =
                if alone { name.to_owned() } else { format!("{name} process {}", operation.process) };
            let outcome = match operation.outcome {
                OperationOutcome::Ok(output) => Outcome::Ok(json(output)),
                OperationOutcome::Fail(reason) => Outcome::Fail(recording.text(reason).to_owned()),
                OperationOutcome::Unknown(reason) => Outcome::Unknown(recording.text(reason).to_owned()),
                OperationOutcome::Pending => Outcome::Unknown("no answer".to_owned()),
            };
            operations.push(Operation {
                client: client.into(),
                process: 0,
                function: text(operation.function),
                key: text(operation.key),
                input: json(operation.input),
                outcome,
                invoked: operation.invoked,
                completed: operation.completed,
                line: 0,
                line_completed: 0,
                call: 0,
                end: u64::MAX,
            });
        }
        Self::by_time(operations)
    }

    /// Places all events by their time, invocations first, and numbers the processes.
    fn by_time(mut operations: Vec<Operation>) -> Self {
        operations.sort_by_key(|operation| operation.invoked);
        let mut events: Vec<(SimTime, bool, usize)> = Vec::with_capacity(2 * operations.len());
        for (index, operation) in operations.iter().enumerate() {
            events.push((operation.invoked, false, index));
            if !operation.is_unknown() {
                events.push((operation.completed, true, index));
            }
        }
        events.sort_unstable();
        for (place, (_, ends, index)) in events.into_iter().enumerate() {
            let operation = &mut operations[index];
            *(if ends { &mut operation.end } else { &mut operation.call }) = place as u64;
        }
        Self::with_processes(operations, true)
    }

    /// Numbers the processes: a client goes on as the same one where its last operation ended for certain.
    fn with_processes(mut operations: Vec<Operation>, timed: bool) -> Self {
        let mut last: BTreeMap<Arc<str>, usize> = BTreeMap::new();
        let mut processes = 0;
        for index in 0..operations.len() {
            let before = last.insert(operations[index].client.clone(), index).map(|i| &operations[i]);
            let goes_on = before.filter(|before| {
                let now = &operations[index];
                !before.is_unknown() && (before.end < now.call || (timed && before.completed <= now.invoked))
            });
            operations[index].process = match goes_on {
                Some(before) => before.process,
                None => {
                    processes += 1;
                    processes - 1
                }
            };
        }
        Self { operations, timed }
    }

    /// The operations, in order of invocation.
    pub fn operations(&self) -> &[Operation] {
        &self.operations
    }
    /// How many operations there are.
    pub fn len(&self) -> usize {
        self.operations.len()
    }
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.operations.is_empty()
    }
    /// Whether events have times; without, lines of the file stand for them in sentences.
    pub fn is_timed(&self) -> bool {
        self.timed
    }
    /// The operations for which `wanted` says yes, as a history of their own.
    pub fn only(&self, wanted: impl Fn(&Operation) -> bool) -> Self {
        let operations = self.operations.iter().filter(|o| wanted(o)).cloned().collect();
        Self { operations, timed: self.timed }
    }
    /// The same operations, each changed by a function that leaves its time alone: to name functions as a model does,
    /// to put in one wrong answer in a test.
    pub fn map(mut self, change: impl Fn(usize, &mut Outcome)) -> Self {
        for (index, operation) in self.operations.iter_mut().enumerate() {
            let end = operation.end;
            change(index, &mut operation.outcome);
            if operation.is_unknown() {
                operation.end = u64::MAX;
            } else if end == u64::MAX {
                // It has no place to end at: it stays what it was.
                operation.outcome = Outcome::Unknown("no answer".to_owned());
            }
        }
        Self::with_processes(self.operations, self.timed)
    }
    /// When something happened, in words: `1.204 s`, or `line 12` where the history has no times.
    pub fn moment(&self, operation: &Operation, end: bool) -> String {
        if !self.timed {
            return format!("line {}", if end { operation.line_completed } else { operation.line });
        }
        let at = if end { operation.completed } else { operation.invoked };
        if at == SimTime::MAX { "never".to_owned() } else { seconds(at) }
    }
}

/// `1.204 s`, to the nanosecond where it matters.
pub(super) fn seconds(at: SimTime) -> String {
    let (whole, rest) = (at.as_nanos() / 1_000_000_000, at.as_nanos() % 1_000_000_000);
    let decimals = format!("{rest:09}");
    let decimals = decimals.trim_end_matches('0');
    if decimals.is_empty() { format!("{whole} s") } else { format!("{whole}.{decimals} s") }
}

/// An operation that a [`HistoryBuilder`] knows.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct OperationId(usize);

/// Builds a history event by event, in the order in which things happened.
#[derive(Clone, Debug, Default)]
pub struct HistoryBuilder {
    operations: Vec<Operation>,
    events: u64,
    timed: bool,
    line: u32,
}

impl HistoryBuilder {
    /// A history whose events have times.
    pub fn new() -> Self {
        Self { timed: true, ..Self::default() }
    }
    /// A history of which only the order of the events is known.
    pub fn untimed() -> Self {
        Self::default()
    }
    /// The events to come are on this line of a file.
    pub fn at_line(&mut self, line: u32) {
        self.line = line;
    }
    fn place(&mut self) -> u64 {
        self.events += 1;
        self.events - 1
    }
    /// A client asks.
    pub fn invoke(
        &mut self,
        client: &str,
        at: SimTime,
        function: &str,
        key: &str,
        input: impl Into<Json>,
    ) -> OperationId {
        let call = self.place();
        self.operations.push(Operation {
            client: client.into(),
            process: 0,
            function: function.into(),
            key: key.into(),
            input: input.into(),
            outcome: Outcome::Unknown("no answer".to_owned()),
            invoked: at,
            completed: SimTime::MAX,
            line: self.line,
            line_completed: 0,
            call,
            end: u64::MAX,
        });
        OperationId(self.operations.len() - 1)
    }
    fn end(&mut self, id: OperationId, at: SimTime, outcome: Outcome) {
        let place = self.place();
        let operation = &mut self.operations[id.0];
        if operation.end != u64::MAX {
            return; // it has ended: a second answer changes nothing
        }
        operation.completed = at;
        operation.line_completed = self.line;
        operation.end = if matches!(outcome, Outcome::Unknown(_)) { u64::MAX } else { place };
        operation.outcome = outcome;
    }
    /// It happened. After [`HistoryBuilder::unknown`] this is the late reply that closes the operation.
    pub fn ok(&mut self, id: OperationId, at: SimTime, output: impl Into<Json>) {
        self.end(id, at, Outcome::Ok(output.into()));
    }
    /// It certainly did not happen.
    pub fn fail(&mut self, id: OperationId, at: SimTime, reason: &str) {
        self.end(id, at, Outcome::Fail(reason.to_owned()));
    }
    /// The client gave up, and goes on as a new process.
    pub fn unknown(&mut self, id: OperationId, at: SimTime, reason: &str) {
        self.end(id, at, Outcome::Unknown(reason.to_owned()));
    }
    /// What was asked by that operation.
    pub fn function(&self, id: OperationId) -> &str {
        &self.operations[id.0].function
    }
    /// The line that invoked that operation.
    pub fn line(&self, id: OperationId) -> u32 {
        self.operations[id.0].line
    }
    /// The history. What has not ended is unknown.
    pub fn build(self) -> History {
        History::with_processes(self.operations, self.timed)
    }
}
