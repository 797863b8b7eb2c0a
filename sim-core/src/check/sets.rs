//! Sets: what became of each element that was added.
//!
//! An element is *known* from the moment at which its add was acknowledged, or a read that has it was over, whichever came
//! first. From then on every read that begins should have it.
//!
//! - *lost*: known, but the last reads do not have it;
//! - *stale*: known, missing in a read that began later, and there again in the end. The time from known to the
//!   beginning of the last read without it is its *stable latency*;
//! - *never read*: acknowledged, and no read that says anything about it began later;
//! - *invented*: read, though nobody tried to add it, or only in vain.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::{
    Report, Witness,
    history::{History, Operation},
    model::Atom,
    tell,
};
use crate::time::{Duration, SimTime};

/// What is asked of a set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Promise {
    /// In the end every element is there.
    Eventual,
    /// An element is there as soon as it is known.
    Immediate,
}

/// What became of the elements.
#[derive(Clone, PartialEq, Debug)]
pub struct SetReport {
    /// Ok; violated where an element was lost, invented, or stale though that was not promised; unknown where elements
    /// that were acknowledged were never read.
    pub report: Report,
    /// Elements somebody tried to add.
    pub attempted: u64,
    /// Elements whose add was acknowledged.
    pub acknowledged: u64,
    /// Elements that are there in the end.
    pub stable: u64,
    /// In order, as JSON text.
    pub lost: Vec<String>,
    /// In order, as JSON text.
    pub stale: Vec<String>,
    /// In order, as JSON text.
    pub never_read: Vec<String>,
    /// In order, as JSON text.
    pub invented: Vec<String>,
    /// Elements that one read had more than once.
    pub duplicated: Vec<String>,
    /// The stable latencies of all stable elements, shortest first; zero for those that were never stale.
    pub stable_latencies: Vec<Duration>,
}

impl SetReport {
    /// The stable latency that this share of the stable elements does not exceed; zero where there are none.
    pub fn stable_latency(&self, share: f64) -> Duration {
        let count = self.stable_latencies.len();
        let rank = (share.clamp(0.0, 1.0) * count as f64).ceil() as usize;
        self.stable_latencies.get(rank.max(1) - 1).copied().unwrap_or(Duration::ZERO)
    }
}

#[derive(Default)]
struct Element<'h> {
    add: Option<&'h Operation>,
    acknowledged: bool,
    attempted: bool,
    /// The place and the time since which it is known.
    known: Option<(u64, SimTime)>,
    last_present: Option<&'h Operation>,
    last_absent: Option<&'h Operation>,
}

/// Checks a set whose elements are added with `add` and never taken out, and read as lists with `read`. Keys are sets of
/// their own.
pub fn set_elements(history: &History, promise: Promise) -> SetReport {
    let mut elements: BTreeMap<(&str, Atom), Element<'_>> = BTreeMap::new();
    let mut duplicated = Vec::new();
    let operations = history.operations();
    for operation in operations.iter().filter(|o| &*o.function == "add") {
        let element = elements.entry((&operation.key, Atom::from(&operation.input))).or_default();
        element.attempted |= !matches!(operation.outcome, super::Outcome::Fail(_));
        element.add = element.add.or(Some(operation));
        if operation.is_ok() {
            element.acknowledged = true;
            element.known = earlier(element.known, operation);
        }
    }
    let mut reads: Vec<(&Operation, Vec<Atom>)> = Vec::new();
    for read in operations.iter().filter(|o| &*o.function == "read") {
        let Some(Json::Array(output)) = read.output() else { continue };
        let mut output: Vec<Atom> = output.iter().map(Atom::from).collect();
        output.sort_unstable();
        duplicated
            .extend(output.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0].to_string()));
        output.dedup();
        for atom in &output {
            let element = elements.entry((&read.key, atom.clone())).or_default();
            element.known = earlier(element.known, read);
        }
        reads.push((read, output));
    }
    // Reads are in order of invocation: the last one that says something wins.
    for (read, output) in &reads {
        for ((key, atom), element) in &mut elements {
            if **key == *read.key {
                let present = output.binary_search(atom).is_ok();
                *(if present { &mut element.last_present } else { &mut element.last_absent }) = Some(read);
            }
        }
    }
    duplicated.sort();
    duplicated.dedup();
    let mut all = SetReport {
        report: Report::ok(String::new()),
        attempted: 0,
        acknowledged: 0,
        stable: 0,
        lost: Vec::new(),
        stale: Vec::new(),
        never_read: Vec::new(),
        invented: Vec::new(),
        duplicated,
        stable_latencies: Vec::new(),
    };
    let (mut worst, mut examined) = (None, 0);
    for ((_, atom), element) in &elements {
        examined += 1;
        all.attempted += u64::from(element.attempted);
        all.acknowledged += u64::from(element.acknowledged);
        let name = atom.to_string();
        if !element.attempted {
            all.invented.push(name);
            worst = worst.or(Some((Wrong::Invented, element)));
            continue;
        }
        let Some((known, known_at)) = element.known else { continue };
        let absent = element.last_absent.filter(|read| read.call > known);
        let stable = element
            .last_present
            .is_some_and(|present| element.last_absent.is_none_or(|absent| absent.call < present.call));
        if stable {
            all.stable += 1;
            let latency = absent.map_or(Duration::ZERO, |read| read.invoked.since(known_at));
            all.stable_latencies.push(latency);
            if absent.is_some() {
                all.stale.push(name);
                if promise == Promise::Immediate && !matches!(worst, Some((Wrong::Lost | Wrong::Invented, _)))
                {
                    worst = worst.or(Some((Wrong::Stale, element)));
                }
            }
        } else if absent.is_some() {
            all.lost.push(name);
            if !matches!(worst, Some((Wrong::Lost, _))) {
                worst = Some((Wrong::Lost, element));
            }
        } else if element.acknowledged {
            all.never_read.push(name);
        }
    }
    all.stable_latencies.sort_unstable();
    all.report = match worst {
        Some((wrong, element)) => blame(history, wrong, element, &all),
        None if !all.never_read.is_empty() => {
            let count = all.never_read.len();
            Report::unknown(format!("{count} elements that were acknowledged were never read afterwards"))
        }
        None => Report::ok(format!(
            "all {} elements that were acknowledged or seen are there in the end, {} of them late",
            all.stable,
            all.stale.len()
        )),
    };
    all.report.examined = examined;
    all
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Wrong {
    Lost,
    Stale,
    Invented,
}

fn earlier(known: Option<(u64, SimTime)>, by: &Operation) -> Option<(u64, SimTime)> {
    match known {
        Some((place, _)) if place <= by.end => known,
        _ => Some((by.end, by.completed)),
    }
}

fn blame(history: &History, wrong: Wrong, element: &Element<'_>, all: &SetReport) -> Report {
    let read = if wrong == Wrong::Invented { element.last_present } else { element.last_absent };
    let mut operations: Vec<Operation> = element.add.into_iter().chain(read).cloned().collect();
    // An unknown add became known by a read that had it.
    if element.add.is_some_and(|add| !add.is_ok()) {
        operations.extend(element.last_present.cloned());
    }
    operations.sort_by_key(|operation| operation.call);
    operations.dedup_by_key(|operation| operation.call);
    let culprit =
        operations.iter().position(|o| read.is_some_and(|read| o.call == read.call)).unwrap_or_default();
    let what = element.add.map_or_else(String::new, |add| tell::value(&add.input));
    let reader = read.map_or_else(String::new, |read| {
        format!("the read of {} at {}", read.client, history.moment(read, true))
    });
    let sentence = match wrong {
        Wrong::Lost => {
            format!(
                "{} of {} elements were lost: {what} was known, and {reader} does not have it",
                all.lost.len(),
                all.acknowledged
            )
        }
        Wrong::Stale => {
            format!(
                "{} of {} elements were stale: {what} was known, and {reader} does not have it",
                all.stale.len(),
                all.acknowledged
            )
        }
        Wrong::Invented => {
            format!("{reader} has {}, which nobody added", all.invented.join(", "))
        }
    };
    let key = operations.first().map_or_else(String::new, |operation| operation.key.to_string());
    Report::violated(history, Witness { key, operations, culprit, minimal: true }, sentence)
}
