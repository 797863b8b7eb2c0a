//! Counters with adds of which nobody knows whether they happened.
//!
//! Each read is judged by itself: it must be the sum of all adds that were over before it began, and of some of those that
//! overlap with it or are unknown. What can be reached is kept as ranges of numbers, so a thousand unknown increments are
//! one range. This is what an eventually consistent counter promises of its last reads; a counter that promises more is
//! judged with [`super::linearizable`] and [`super::models::Counter`].

use std::collections::BTreeMap;

use super::{
    Budget, Report, Witness,
    history::{History, Operation},
    model::Model,
    models::{Counter, CounterAction},
    tell,
};

/// Which reads are judged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reads {
    /// All of them.
    All,
    /// Those that were invoked after the last add had ended, or been given up.
    Final,
}

/// Ranges of whole numbers, none of which touch, in order.
struct Ranges(Vec<(i64, i64)>);

impl Ranges {
    /// The numbers themselves, and each of them with `amount` more.
    fn maybe_add(&mut self, amount: i64) {
        let moved = self.0.iter().map(|(from, to)| (from.saturating_add(amount), to.saturating_add(amount)));
        let mut all: Vec<(i64, i64)> = self.0.iter().copied().chain(moved).collect();
        all.sort_unstable();
        self.0.clear();
        for (from, to) in all {
            match self.0.last_mut() {
                Some((_, end)) if from <= end.saturating_add(1) => *end = to.max(*end),
                _ => self.0.push((from, to)),
            }
        }
    }
    fn contains(&self, number: i64) -> bool {
        self.0.iter().any(|(from, to)| (*from..=*to).contains(&number))
    }
    fn told(&self) -> String {
        let one = |(from, to): &(i64, i64)| {
            if from == to { from.to_string() } else { format!("{from} to {to}") }
        };
        let mut told: Vec<String> = self.0.iter().take(4).map(one).collect();
        if self.0.len() > 4 {
            told.push("..".to_owned());
        }
        told.join(" or ")
    }
}

/// Checks the reads of counters, each key by itself. The budget counts ranges.
pub fn counter_reads(history: &History, which: Reads, budget: Budget) -> Report {
    let mut keys: BTreeMap<&str, Vec<(&Operation, CounterAction)>> = BTreeMap::new();
    for operation in history.operations() {
        match Counter.action(operation) {
            Ok(action) => keys.entry(&operation.key).or_default().push((operation, action)),
            Err(misfit) => return Report::unknown(misfit.message),
        }
    }
    let (mut examined, mut judged) = (0, 0);
    for (key, operations) in &keys {
        let adds: Vec<(&Operation, i64)> = operations
            .iter()
            .filter(|(operation, _)| operation.is_ok() || operation.is_unknown())
            .filter_map(|(operation, action)| match action {
                CounterAction::Add(amount) => Some((*operation, *amount)),
                CounterAction::Read(_) => None,
            })
            .collect();
        let calm = adds.iter().map(|(add, _)| if add.is_ok() { add.end } else { add.call }).max();
        for (read, action) in operations {
            let CounterAction::Read(Some(sum)) = action else { continue };
            if which == Reads::Final && calm.is_some_and(|calm| read.call < calm) {
                continue;
            }
            judged += 1;
            let mut ranges = Ranges(vec![(0, 0)]);
            let mut certain: i64 = 0;
            let mut open: Vec<&Operation> = Vec::new();
            for (add, amount) in &adds {
                if add.ended_before(read) {
                    certain = certain.saturating_add(*amount);
                } else if !read.ended_before(add) {
                    ranges.maybe_add(*amount);
                    open.push(add);
                    examined += ranges.0.len() as u64;
                    if examined > budget.0 {
                        let why =
                            format!("{examined} ranges of sums were looked at; the adds are too different");
                        return Report { examined, ..Report::unknown(why) };
                    }
                }
            }
            if ranges.contains(sum.saturating_sub(certain)) {
                continue;
            }
            for (from, to) in &mut ranges.0 {
                (*from, *to) = (from.saturating_add(certain), to.saturating_add(certain));
            }
            let of_key = if key.is_empty() { String::new() } else { format!("key {key}: ") };
            let sentence =
                format!("{of_key}{}, which can only be {}", tell::told(history, read), ranges.told());
            let mut shown: Vec<Operation> = open.into_iter().cloned().collect();
            shown.push((*read).clone());
            shown.sort_by_key(|operation| operation.call);
            let culprit = shown.iter().position(|operation| operation.call == read.call).unwrap_or_default();
            let witness = Witness { key: (*key).to_owned(), operations: shown, culprit, minimal: true };
            return Report { examined, ..Report::violated(history, witness, sentence) };
        }
    }
    let plural = if judged == 1 { "" } else { "s" };
    Report { examined, ..Report::ok(format!("each of {judged} read{plural} is a sum that can be")) }
}
