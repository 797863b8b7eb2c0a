//! The passes: what is taken away, in which order.

use std::collections::{BTreeMap, BTreeSet};

use super::{Found, Needed, Shrinker, Size, mutate};
use crate::{
    fault::{Fault, FaultKind, FaultPlan, Target, When},
    plan::{Draws, Override, OverrideFate, Plan},
    record::{Fate, RecordingLevel},
    time::{Duration, ms, secs},
};

/// Candidates that are tried side by side.
const BATCH: u64 = 32;

impl Shrinker<'_> {
    /// All passes, again and again until none helps.
    pub(super) fn as_small_as_it_gets(&mut self, first: Found) -> Found {
        let mut best = first;
        loop {
            let before = (best.size.nodes, best.size.faults, best.size.operations);
            self.idle_faults(&mut best);
            self.kinds(&mut best);
            self.faults(&mut best);
            self.operations(&mut best);
            self.servers(&mut best);
            self.mutations(&mut best);
            if (best.size.nodes, best.size.faults, best.size.operations) == before || self.is_spent() {
                break;
            }
        }
        self.defaults(&mut best);
        self.durations(&mut best);
        if self.effort.deliveries {
            self.deliveries(&mut best);
        }
        self.end(&mut best);
        best
    }

    /// Takes a candidate that is no larger in anything that counts.
    fn accept(&mut self, best: &mut Found, candidates: &[Plan]) -> Option<usize> {
        let size = best.size;
        let (index, found) = self.first(candidates, |found| no_larger(&found.size, &size))?;
        *best = found;
        Some(index)
    }

    /// Faults without effect go first, all at once.
    fn idle_faults(&mut self, best: &mut Found) {
        if best.idle.is_empty() {
            return;
        }
        let faults = best.plan.faults.faults().iter().enumerate();
        let kept: FaultPlan =
            faults.filter(|(index, _)| !best.idle.contains(index)).map(|(_, fault)| fault.clone()).collect();
        let plan = best.plan.clone().with_faults(kept);
        self.accept(best, &[plan]);
    }

    fn kinds(&mut self, best: &mut Found) {
        loop {
            let kinds: BTreeSet<String> = best.plan.faults.faults().iter().map(kind_of).collect();
            if kinds.len() < 2 {
                return;
            }
            let without = |kind: &String| -> Plan {
                let kept = best.plan.faults.faults().iter().filter(|fault| kind_of(fault) != *kind);
                best.plan.clone().with_faults(kept.cloned().collect())
            };
            let candidates: Vec<Plan> = kinds.iter().map(without).collect();
            if self.accept(best, &candidates).is_none() {
                return;
            }
        }
    }

    fn faults(&mut self, best: &mut Found) {
        let items = best.plan.faults.faults().to_vec();
        self.chunks(best, items, |plan, kept: &[Fault]| plan.with_faults(kept.iter().cloned().collect()));
    }

    fn operations(&mut self, best: &mut Found) {
        let items: Vec<(String, u64)> = best
            .operations
            .iter()
            .flat_map(|(client, numbers)| numbers.iter().map(move |&number| (client.clone(), number)))
            .collect();
        if items.is_empty() {
            return;
        }
        self.chunks(best, items, |mut plan, kept| {
            let mut operations: BTreeMap<String, BTreeSet<u64>> = BTreeMap::new();
            for (client, number) in kept {
                operations.entry(client.clone()).or_default().insert(*number);
            }
            plan.operations = Some(operations);
            plan
        });
    }

    /// Delta debugging over a list: leaves out halves, quarters, ... and in the end single items.
    fn chunks<T: Clone>(&mut self, best: &mut Found, mut items: Vec<T>, with: impl Fn(Plan, &[T]) -> Plan) {
        let mut chunk = items.len();
        while chunk > 0 && !items.is_empty() && !self.is_spent() {
            let starts: Vec<usize> = (0..items.len()).step_by(chunk).rev().collect();
            let left = |start: usize| -> Vec<T> {
                let end = (start + chunk).min(items.len());
                items[..start].iter().chain(&items[end..]).cloned().collect()
            };
            let kept: Vec<Vec<T>> = starts.iter().map(|&start| left(start)).collect();
            let candidates: Vec<Plan> = kept.iter().map(|kept| with(best.plan.clone(), kept)).collect();
            match self.accept(best, &candidates) {
                Some(index) => {
                    items.clone_from(&kept[index]);
                    chunk = chunk.min(items.len().max(1));
                }
                None if chunk == 1 => break,
                None => chunk = chunk.div_ceil(2),
            }
        }
    }

    /// Fewer servers: names of those that are no more are given to those that stay.
    fn servers(&mut self, best: &mut Found) {
        let Some((knob, fewest)) = self.judge.hints.servers_knob.clone() else { return };
        loop {
            let now = best.plan.knobs.get(&knob).and_then(toml::Value::as_integer).unwrap_or(0);
            let mut candidates = Vec::new();
            for count in (fewest as i64)..now {
                candidates.extend(mutate::fewer_servers(&self.judge.hints, &best.plan, &knob, count as u64));
            }
            if candidates.is_empty() || self.accept(best, &candidates).is_none() {
                return;
            }
        }
    }

    /// Draws anew around what is left, a little smaller each time.
    fn mutations(&mut self, best: &mut Found) {
        let mut round = 0;
        let mut idle = 0;
        while idle < self.effort.patience && !self.is_spent() {
            let size = best.size;
            let candidate = |n: u64| match n % 4 {
                0 => mutate::fresh(self.judge.experiment, best, round * BATCH + n),
                _ => mutate::mutate(&self.judge.hints, best, round * BATCH + n),
            };
            let candidates: Vec<Plan> = (0..BATCH).map(candidate).collect();
            round += 1;
            let smaller = |found: &Found| no_larger(&found.size, &size) && is_smaller(&found.size, &size);
            match self.first(&candidates, smaller) {
                Some((_, found)) => {
                    *best = found;
                    self.idle_faults(best);
                    self.faults(best);
                    self.operations(best);
                    idle = 0;
                }
                None => idle += BATCH,
            }
        }
    }

    fn defaults(&mut self, best: &mut Found) {
        let defaults = self.judge.hints.defaults.clone();
        for (knob, value) in &defaults {
            if best.plan.knobs.get(knob).is_some_and(|now| now != value) {
                let mut plan = best.plan.clone();
                plan.knobs.insert(knob.clone(), value.clone());
                self.accept(best, &[plan]);
            }
        }
    }

    /// Faults become shorter, and their times round.
    fn durations(&mut self, best: &mut Found) {
        for index in 0..best.plan.faults.faults().len() {
            let Some(fault) = best.plan.faults.faults().get(index).cloned() else { return };
            let mut candidates = Vec::new();
            if fault.lasts.is_some() {
                candidates.push(Fault { lasts: None, ..fault.clone() });
            }
            for unit in [secs(1), ms(100), ms(10), ms(1)] {
                candidates.extend(rounded(&fault, unit));
            }
            let plans: Vec<Plan> = candidates
                .into_iter()
                .filter(|candidate| *candidate != fault)
                .map(|candidate| {
                    let mut faults = best.plan.faults.faults().to_vec();
                    faults[index] = candidate;
                    best.plan.clone().with_faults(faults.into_iter().collect())
                })
                .collect();
            self.accept(best, &plans);
        }
    }

    /// The network's chance is replaced by its median and the fewest deliveries that differ from it.
    fn deliveries(&mut self, best: &mut Found) {
        if best.plan.draws != Draws::Chance {
            return;
        }
        let Ok(recording) = self.judge.experiment.run(&best.plan, RecordingLevel::Full) else { return };
        let mut counts: BTreeMap<(u32, u32, u32), u64> = BTreeMap::new();
        let mut overrides = Vec::new();
        for message in recording.messages.iter().filter(|m| m.attempt == 0 && !m.duplicate) {
            let ordinal = counts.entry((message.from.0, message.to.0, message.kind.0)).or_default();
            *ordinal += 1;
            let fate = match message.fate {
                Fate::Arrived(at) => {
                    OverrideFate { delay: Some(at - message.sent), ..OverrideFate::default() }
                }
                Fate::InFlight => continue,
                // What faults lose they lose again; what chance lost must be said.
                Fate::Dropped(_, why) if recording.text(why) == "loss" => {
                    OverrideFate { lost: Some(true), ..OverrideFate::default() }
                }
                Fate::Dropped(..) => continue,
            };
            overrides.push(Override {
                from: recording.node_name(message.from).to_owned(),
                to: recording.node_name(message.to).to_owned(),
                kind: Some(recording.text(message.kind).to_owned()),
                ordinal: *ordinal,
                fate,
            });
        }
        let mut fixed = best.plan.clone();
        fixed.draws = Draws::Median;
        fixed.overrides.clone_from(&overrides);
        let mut quiet = best.plan.clone();
        quiet.draws = Draws::Median;
        let counted = best.size;
        let as_small = |found: &Found| {
            let (a, b) = (&found.size, &counted);
            a.nodes <= b.nodes && a.faults <= b.faults && a.operations <= b.operations
        };
        let Some((index, found)) = self.first(&[quiet, fixed], as_small) else { return };
        *best = found;
        if index == 1 {
            self.chunks(best, overrides, |mut plan, kept| {
                plan.overrides = kept.to_vec();
                plan
            });
        }
    }

    /// The run ends at the failure.
    fn end(&mut self, best: &mut Found) {
        let at = best.failure.at - crate::time::SimTime::ZERO;
        let candidates: Vec<Plan> = [ms(1), Duration::from_nanos(1)]
            .into_iter()
            .map(|unit| round_up(at + Duration::from_nanos(1), unit))
            .filter(|&until| until < best.plan.until)
            .map(|until| {
                let mut plan = best.plan.clone();
                plan.until = until;
                plan
            })
            .collect();
        self.accept(best, &candidates);
    }

    /// What happens without each thing that was kept.
    pub(super) fn certificate(&self, best: &Found) -> Vec<Needed> {
        let mut all: Vec<(String, Plan)> = Vec::new();
        for (index, fault) in best.plan.faults.faults().iter().enumerate() {
            let mut faults = best.plan.faults.faults().to_vec();
            faults.remove(index);
            let plan = best.plan.clone().with_faults(faults.into_iter().collect());
            all.push((format!("fault `{}`", fault.name), plan));
        }
        if best.plan.operations.is_some() {
            for (client, numbers) in &best.operations {
                for number in numbers {
                    let mut plan = best.plan.clone();
                    if let Some(kept) = plan.operations.as_mut().and_then(|all| all.get_mut(client)) {
                        kept.remove(number);
                    }
                    all.push((format!("operation {number} of {client}"), plan));
                }
            }
        }
        for (index, one) in best.plan.overrides.iter().enumerate() {
            let mut plan = best.plan.clone();
            plan.overrides.remove(index);
            let kind = one.kind.as_deref().unwrap_or("message");
            let what = format!("{kind} {} from {} to {}: it {}", one.ordinal, one.from, one.to, one.fate);
            all.push((what, plan));
        }
        let verdict = |plan: &Plan| match self.judge.experiment.run(plan, self.judge.experiment.level()) {
            Err(error) => error,
            Ok(recording) => {
                let failures = self.judge.experiment.judge(&recording);
                if failures.iter().any(|one| one.fingerprint() == self.judge.fingerprint) {
                    "fails all the same".to_owned()
                } else if let Some(other) = failures.first() {
                    format!("fails otherwise: {}", other.fingerprint())
                } else {
                    "passes".to_owned()
                }
            }
        };
        all.into_iter().map(|(without, plan)| Needed { then: verdict(&plan), without }).collect()
    }
}

fn no_larger(a: &Size, b: &Size) -> bool {
    a.nodes <= b.nodes && a.faults <= b.faults && a.operations <= b.operations
}

fn is_smaller(a: &Size, b: &Size) -> bool {
    (a.nodes, a.faults, a.operations) != (b.nodes, b.faults, b.operations)
}

/// Kinds of faults, as whole kinds are taken away.
fn kind_of(fault: &Fault) -> String {
    match &fault.what {
        FaultKind::Partition(partition) => {
            format!("{partition:?}").split([' ', '(', '{']).next().unwrap_or_default().to_owned()
        }
        what => format!("{what:?}").split([' ', '(', '{']).next().unwrap_or_default().to_owned(),
    }
}

fn round_up(time: Duration, unit: Duration) -> Duration {
    let (time, unit) = (time.as_nanos(), unit.as_nanos().max(1));
    Duration::from_nanos(time.div_ceil(unit) * unit)
}

/// The same fault with rounder times.
fn rounded(fault: &Fault, unit: Duration) -> Vec<Fault> {
    let near = |time: Duration| {
        let (time, unit) = (time.as_nanos(), unit.as_nanos());
        Duration::from_nanos((time + unit / 2) / unit * unit)
    };
    let mut all = Vec::new();
    let When::At(at) = fault.when else { return all };
    let lasts = fault.lasts.map(|time| near(time).max(unit));
    all.push(Fault { when: When::At(near(at)), lasts, ..fault.clone() });
    all.push(Fault { when: When::At(near(at)), ..fault.clone() });
    all.push(Fault { lasts, ..fault.clone() });
    all
}

/// The names of nodes that a fault aims at.
pub(super) fn names_of(target: &mut Target) -> Vec<&mut String> {
    match target {
        Target::Node(name) => vec![name],
        Target::Nodes(names) => names.iter_mut().collect(),
        _ => Vec::new(),
    }
}
