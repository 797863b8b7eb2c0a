//! From "there is no order" to the few operations that show it.
//!
//! With real time, the search knows the first end that no order gets past; what was invoked later has no part in it. Of
//! what remains, operations are *relaxed* one group after the other: a relaxed operation may have taken effect inside its
//! interval, or not at all. While there still is no order the relaxation stays. What cannot be relaxed is the witness:
//! no order explains these operations, whatever all others did, and the witness alone is a history without an order too.
//! (Leaving operations out instead would blame honest ones: a read whose write is left out looks like a lie.)

use std::collections::{BTreeMap, BTreeSet};

use rustc_hash::FxHashMap;

use super::{
    Witness,
    history::History,
    model::{Misfit, Model},
    search::{Found, Machine, NEVER, Numbered, Problem, Step, search},
};

/// How many configurations one attempt to relax operations may cost.
const ATTEMPT: u64 = 20_000;
/// How many all of them may cost together.
const ATTEMPTS: u64 = 500_000;

/// An operation whose action is known.
#[derive(Clone, Copy, Debug)]
pub(super) struct Prepared {
    operation: usize,
    action: u32,
    only_observes: bool,
    overwrites: bool,
    unknown: bool,
}

impl Prepared {
    /// Those that constrain anything: neither failed, nor unknown reads.
    pub(super) fn all<M: Model>(
        history: &History,
        operations: &[usize],
        model: &M,
        machine: &mut Machine<'_, M>,
    ) -> Result<Vec<Self>, Misfit> {
        let mut all = Vec::with_capacity(operations.len());
        for &index in operations {
            let operation = &history.operations()[index];
            if !operation.is_ok() && !operation.is_unknown() {
                continue;
            }
            let action = machine.action(model.action(operation)?);
            let known = machine.action_of(action);
            let prepared = Self {
                operation: index,
                action,
                only_observes: model.only_observes(known),
                overwrites: model.overwrites(known),
                unknown: operation.is_unknown(),
            };
            if !(prepared.unknown && prepared.only_observes) {
                all.push(prepared);
            }
        }
        Ok(all)
    }
}

/// A part of a history that is judged by itself.
pub(super) struct Part<'h> {
    pub history: &'h History,
    pub key: &'h str,
    /// In order of invocation.
    pub prepared: &'h [Prepared],
    pub real_time: bool,
}

impl Part<'_> {
    /// The problem as it was recorded.
    pub(super) fn whole(&self) -> Problem {
        let open: Vec<bool> = self.prepared.iter().map(|one| one.unknown).collect();
        self.problem(self.prepared, &open, |_| true)
    }

    /// The problem of some operations, of which those that are `open` may happen at any time, or never. Of the others
    /// those for which `certain` says no are relaxed.
    fn problem(&self, prepared: &[Prepared], open: &[bool], certain: impl Fn(usize) -> bool) -> Problem {
        let operations = self.history.operations();
        let mut problem = Problem { real_time: self.real_time, ..Problem::default() };
        let mut processes: BTreeMap<u32, Process> = BTreeMap::new();
        let mut twins: FxHashMap<u32, u32> = FxHashMap::default();
        for (index, one) in prepared.iter().enumerate() {
            let operation = &operations[one.operation];
            let unknown = open[index];
            let is_certain = !unknown && certain(index);
            if !is_certain && one.only_observes {
                continue;
            }
            let number = processes.len() as u32;
            let process = processes
                .entry(operation.process)
                .or_insert_with(|| Process { number, ..Process::default() });
            // Operations of one process that touch at one instant are ordered, though their places are not.
            let touches = process.end > operation.call;
            let mut step = Step {
                action: one.action,
                call: operation.call,
                end: if unknown || (!is_certain && !self.real_time) { NEVER } else { operation.end },
                after: process.certain.filter(|_| !self.real_time || touches),
                process: process.number,
                twin: None,
                overwrites: one.overwrites,
                only_observes: one.only_observes,
                operation: one.operation,
            };
            if is_certain {
                process.certain = Some(problem.certain.len() as u32);
                problem.certain.push(step);
            } else {
                // To take one of two for the other must not keep operations of its process from taking effect.
                let free = if self.real_time { !touches } else { unknown && !process.relaxed };
                if free {
                    let place = problem.optional.len() as u32;
                    let twin = twins.insert(one.action, place);
                    step.twin = twin.filter(|twin| problem.optional[*twin as usize].end <= step.end);
                }
                process.relaxed = true;
                problem.relaxed |= !unknown;
                problem.optional.push(step);
            }
            process.end = process.end.max(operation.end);
        }
        problem.processes = processes.len();
        problem
    }

    /// The operations that show that there is no order past the end of `furthest`.
    pub(super) fn witness(&self, machine: &mut dyn Numbered, furthest: usize, examined: &mut u64) -> Witness {
        let operations = self.history.operations();
        let (prepared, until) = if self.real_time {
            let until = operations[furthest].end;
            let invoked = self.prepared.partition_point(|one| operations[one.operation].call < until);
            (&self.prepared[..invoked], until)
        } else {
            (self.prepared, NEVER)
        };
        // What had not ended by then may happen or not. An operation that its process followed by another had ended,
        // though its end may come later among the events of the same instant.
        let mut open = vec![false; prepared.len()];
        let mut followed: BTreeSet<u32> = BTreeSet::new();
        for (index, one) in prepared.iter().enumerate().rev() {
            let operation = &operations[one.operation];
            let is_last = followed.insert(operation.process);
            open[index] = one.unknown || (is_last && operation.end > until);
        }
        let certain = open.iter().map(|open| !open).collect();
        let mut shrink = Shrink { part: self, prepared, open, certain, spent: 0, gave_up: false };
        shrink.run(machine);
        *examined += shrink.spent;
        let kept: Vec<usize> = shrink.kept().into_iter().map(|index| prepared[index].operation).collect();
        let last = kept.iter().copied().max_by_key(|index| operations[*index].end);
        let culprit = if kept.contains(&furthest) { furthest } else { last.unwrap_or(furthest) };
        Witness {
            key: self.key.to_owned(),
            culprit: kept.iter().position(|index| *index == culprit).unwrap_or_default(),
            operations: kept.into_iter().map(|index| operations[index].clone()).collect(),
            minimal: !shrink.gave_up,
        }
    }
}

/// What is known of a process while a problem is put together.
#[derive(Default)]
struct Process {
    number: u32,
    /// Its last certain operation.
    certain: Option<u32>,
    /// Whether it has optional operations.
    relaxed: bool,
    /// The last end of its operations.
    end: u64,
}

struct Shrink<'p, 'h> {
    part: &'p Part<'h>,
    prepared: &'p [Prepared],
    /// Which operations may happen at any time, or never.
    open: Vec<bool>,
    /// Which operations must take effect.
    certain: Vec<bool>,
    spent: u64,
    /// Whether an attempt cost too much, so that it is not known whether there is less.
    gave_up: bool,
}

impl Shrink<'_, '_> {
    fn run(&mut self, machine: &mut dyn Numbered) {
        // Most of what is long past has no part in it: a few of the last operations are tried first.
        for last in [4, 16, 64, 256, 1024] {
            let kept: Vec<usize> = self.kept();
            if kept.len() <= last {
                break;
            }
            let gave_up = self.gave_up;
            if self.relax(machine, &kept[..kept.len() - last]) {
                break;
            }
            self.gave_up = gave_up;
        }
        let mut size = self.kept().len().next_power_of_two() / 2;
        loop {
            let mut fewer = false;
            self.gave_up = false;
            let kept = self.kept();
            for group in kept.chunks(size.max(1)) {
                fewer |= self.relax(machine, group);
            }
            match size {
                0 | 1 if !fewer => break,
                0 | 1 => {}
                _ => size /= 2,
            }
        }
    }

    /// Those that must take effect.
    fn kept(&self) -> Vec<usize> {
        (0..self.prepared.len()).filter(|index| self.certain[*index]).collect()
    }

    /// Relaxes a group, if there still is no order.
    fn relax(&mut self, machine: &mut dyn Numbered, group: &[usize]) -> bool {
        if self.spent >= ATTEMPTS {
            self.gave_up = true;
            return false;
        }
        for index in group {
            self.certain[*index] = false;
        }
        let problem = self.part.problem(self.prepared, &self.open, |index| self.certain[index]);
        let limit = self.spent + ATTEMPT;
        match search(&problem, machine, limit, &mut self.spent) {
            Found::NoOrder { .. } => return true,
            Found::Exhausted { .. } => self.gave_up = true,
            Found::Order(_) => {}
        }
        for index in group {
            self.certain[*index] = true;
        }
        false
    }
}
