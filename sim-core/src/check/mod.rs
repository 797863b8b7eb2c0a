//! Checkers: was what the clients saw possible at all?
//!
//! A checker takes a [`History`] of operations and, where the question is hard, a [`Budget`]. Its [`Report`] says ok,
//! violated with a minimal witness, or unknown, and explains itself in a sentence and a picture.
//!
//! | question | checker |
//! |---|---|
//! | did every operation take effect at one instant between its invocation and its end? | [`linearizable`] |
//! | is there one order for all that each process agrees with? | [`sequential`] |
//! | is a register at least regular, or safe? | [`registers::register`] |
//! | does each session see its own past? | [`sessions::sessions`] |
//! | did a set lose elements, or show them late? | [`sets::set_elements`] |
//! | are ids unique? | [`ids::unique_ids`] |
//! | can a counter's reads be, given adds that nobody knows the outcome of? | [`counters::counter_reads`] |
//! | did the replicas agree in the end? | [`convergence::convergence`] |
//!
//! [`linearizable`] and [`sequential`] take a [`Model`] of the object: one of [`models`], or your own. They search an order
//! as `search.rs` describes; a budget counts the configurations that are looked at, so a verdict is the same on
//! every machine.
//!
//! ```
//! use sim_core::{check::{Budget, HistoryBuilder, linearizable, models::Register}, time::{SimTime, ms}};
//!
//! let at = |millis| SimTime::ZERO + ms(millis);
//! let mut history = HistoryBuilder::new();
//! let write = history.invoke("client-1", at(1000), "write", "", 4);
//! history.ok(write, at(1100), ());
//! let read = history.invoke("client-2", at(1200), "read", "", ());
//! history.ok(read, at(1204), 3);
//! let report = linearizable(&history.build(), &Register::from(3), Budget::default());
//! assert_eq!(report.sentence, "client-2 read 3 at 1.204 s, though client-1 had written 4 by 1.1 s");
//! ```

pub mod convergence;
pub mod counters;
pub mod foreign;
mod history;
pub mod ids;
mod model;
pub mod models;
mod picture;
pub mod registers;
mod search;
pub mod sessions;
pub mod sets;
mod tell;
mod witness;

use std::{collections::BTreeMap, fmt, hash::Hash};

pub use history::{History, HistoryBuilder, Operation, OperationId, Outcome};
pub use model::{Atom, Misfit, Model};
pub use picture::{Picture, Row};
use search::{Found, Machine, search};
use witness::{Part, Prepared};

/// How many configurations a checker may look at before it says unknown.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Budget(pub u64);

impl Default for Budget {
    /// One million: about a second, and a few hundred megabytes where all of it is used for one key.
    fn default() -> Self {
        Self(1_000_000)
    }
}

/// Operations that cannot be, taken together.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Witness {
    /// The key that they are about; empty where there is only one.
    pub key: String,
    /// The operations, in order of invocation. No order explains them, whatever the other operations did; with any one
    /// of them less, there would be one.
    pub operations: Vec<Operation>,
    /// Which of them is the one that cannot be any more, given the others.
    pub culprit: usize,
    /// Whether it is certain that none can be left out: looking for less has a budget too.
    pub minimal: bool,
}

/// What a checker found.
#[derive(Clone, PartialEq, Debug)]
pub enum Verdict {
    /// All is as it should be.
    Ok,
    /// These operations show that it is not.
    Violated(Witness),
    /// It could not be decided; why.
    Unknown(String),
}

/// A verdict, and what there is to say about it.
#[derive(Clone, PartialEq, Debug)]
pub struct Report {
    /// Ok, violated or unknown.
    pub verdict: Verdict,
    /// One sentence that explains the verdict.
    pub sentence: String,
    /// The operations that show it: the witness, or the most crowded moment of a history that is ok.
    pub picture: Picture,
    /// How many configurations were looked at.
    pub examined: u64,
}

impl Report {
    /// Whether the verdict is ok.
    pub fn is_ok(&self) -> bool {
        self.verdict == Verdict::Ok
    }
    /// Whether the verdict is violated.
    pub fn is_violated(&self) -> bool {
        matches!(self.verdict, Verdict::Violated(_))
    }
    /// Whether the verdict is unknown.
    pub fn is_unknown(&self) -> bool {
        matches!(self.verdict, Verdict::Unknown(_))
    }
    /// The witness of a violation.
    pub fn witness(&self) -> Option<&Witness> {
        match &self.verdict {
            Verdict::Violated(witness) => Some(witness),
            _ => None,
        }
    }
    fn ok(sentence: String) -> Self {
        Self { verdict: Verdict::Ok, sentence, picture: Picture::default(), examined: 0 }
    }
    fn unknown(why: String) -> Self {
        let sentence = format!("not decided: {why}");
        Self { verdict: Verdict::Unknown(why), sentence, picture: Picture::default(), examined: 0 }
    }
    /// A violation that these operations show, the last one named by `culprit`.
    fn violated(history: &History, witness: Witness, sentence: String) -> Self {
        let picture = Picture::of_witness(history, &witness);
        Self { verdict: Verdict::Violated(witness), sentence, picture, examined: 0 }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n{}", self.sentence, self.picture.text(100))
    }
}

/// Whether a model understands every operation of a history; the first that it does not.
pub fn fits<M: Model>(history: &History, model: &M) -> Result<(), Misfit> {
    history.operations().iter().try_for_each(|operation| model.action(operation).map(|_| ()))
}

/// Linearizability (Herlihy & Wing 1990): whether each operation can have taken effect at one instant between its
/// invocation and its end, so that the model allows all outputs. Keys are judged one by one.
///
/// An unknown operation may take effect at any time after its invocation, or never; a failed one never does.
/// An operation that the model does not understand makes the verdict unknown; ask [`fits`] before.
///
/// Histories of 10,000 operations by 10 clients, a twentieth of them unknown, of reads, writes of small numbers and
/// compare-and-sets, are decided for 10 and for 100 keys. For a single key it depends on luck: see
/// `sim-core/benches/check.rs`, which counts.
pub fn linearizable<M: Model>(history: &History, model: &M, budget: Budget) -> Report {
    let mut parts: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (index, operation) in history.operations().iter().enumerate() {
        parts.entry(model.partition(operation)).or_default().push(index);
    }
    let parts = parts.into_iter().map(|(key, operations)| (key.to_owned(), operations)).collect();
    judge(history, model, parts, budget, true)
}

/// Sequential consistency (Lamport 1979): whether there is one order of all operations that the model allows and that
/// keeps each process's own order. All keys are judged together, since objects that are sequentially consistent by
/// themselves may not be so together.
pub fn sequential<M: Model>(history: &History, model: &M, budget: Budget) -> Report {
    let mut keys: Vec<String> = Vec::new();
    for operation in history.operations() {
        let key = model.partition(operation);
        if !keys.iter().any(|known| known == key) {
            keys.push(key.to_owned());
        }
    }
    let all = (0..history.len()).collect();
    let key = if keys.len() == 1 { keys[0].clone() } else { String::new() };
    judge(history, &Joint { model, keys }, vec![(key, all)], budget, false)
}

/// All parts of a model's object together.
struct Joint<'m, M> {
    model: &'m M,
    keys: Vec<String>,
}

impl<M: Model> Model for Joint<'_, M>
where
    M::State: Hash,
{
    type State = Vec<M::State>;
    type Action = (usize, M::Action);
    fn name(&self) -> &'static str {
        self.model.name()
    }
    fn initial(&self) -> Self::State {
        vec![self.model.initial(); self.keys.len()]
    }
    fn action(&self, operation: &Operation) -> Result<Self::Action, Misfit> {
        let key = self.model.partition(operation);
        let index = self.keys.iter().position(|known| known == key).unwrap_or_default();
        Ok((index, self.model.action(operation)?))
    }
    fn step(&self, state: &Self::State, (key, action): &Self::Action, next: &mut Vec<Self::State>) {
        let mut of_key = Vec::new();
        self.model.step(&state[*key], action, &mut of_key);
        for one in of_key {
            let mut state = state.clone();
            state[*key] = one;
            next.push(state);
        }
    }
    fn only_observes(&self, (_, action): &Self::Action) -> bool {
        self.model.only_observes(action)
    }
    fn overwrites(&self, (_, action): &Self::Action) -> bool {
        self.keys.len() == 1 && self.model.overwrites(action)
    }
}

/// Searches an order for each part: first each with its share of the budget, then those that were too hard with what is
/// left.
fn judge<M: Model>(
    history: &History,
    model: &M,
    parts: Vec<(String, Vec<usize>)>,
    budget: Budget,
    real_time: bool,
) -> Report {
    let property = if real_time { "linearizable" } else { "sequentially consistent" };
    let mut examined = 0;
    let mut orders: Vec<Vec<usize>> = Vec::new();
    let mut hard: Vec<(String, Vec<usize>)> = Vec::new();
    let mut stuck: Option<(String, usize)> = None;
    let count = parts.len() as u64;
    let rounds = if count > 1 { 2 } else { 1 };
    let mut open = parts;
    for round in 0..rounds {
        for (key, operations) in std::mem::take(&mut open) {
            let mut machine = Machine::new(model);
            let prepared = match Prepared::all(history, &operations, model, &mut machine) {
                Ok(prepared) => prepared,
                Err(misfit) => return Report { examined, ..Report::unknown(misfit.message) },
            };
            let part = Part { history, key: &key, prepared: &prepared, real_time };
            let share = if round + 1 < rounds { budget.0 / count } else { budget.0.saturating_sub(examined) };
            let limit = examined.saturating_add(share);
            match search(&part.whole(), &mut machine, limit, &mut examined) {
                Found::Order(order) => orders.push(order),
                Found::NoOrder { furthest } => {
                    let witness = part.witness(&mut machine, furthest, &mut examined);
                    let sentence = tell::violation(history, &witness, real_time);
                    return Report { examined, ..Report::violated(history, witness, sentence) };
                }
                Found::Exhausted { furthest } => {
                    stuck = Some((key.clone(), furthest));
                    hard.push((key, operations));
                }
            }
        }
        open = std::mem::take(&mut hard);
    }
    if let (Some((key, furthest)), false) = (stuck, open.is_empty()) {
        let why = tell::exhausted(history, &key, furthest, examined);
        let picture = Picture::around(history, furthest);
        return Report { examined, picture, ..Report::unknown(why) };
    }
    let sentence = tell::explained(history, count, property);
    let picture = Picture::of_orders(history, &orders);
    Report { examined, picture, ..Report::ok(sentence) }
}
