//! Plans like a failing one, but a little smaller and drawn anew: what taking away alone cannot reach.

use std::collections::BTreeSet;

use super::{Found, Hints, reduce::names_of};
use crate::{
    fault::{Fault, FaultKind, FaultPlan, Partition, When},
    plan::Plan,
    rng::{Key, Rng},
    search::Experiment,
    search::generate::{log_uniform_time, uniform},
    time::Duration,
};

/// A plan with one thing fewer, or as many, and with some of its times and its seed drawn anew. The same for the same number.
pub(super) fn mutate(hints: &Hints, best: &Found, number: u64) -> Plan {
    let mut rng = Rng::new(&Key::root(number).fork("mutation").fork_u64(best.size.faults));
    let mut plan = best.plan.clone();
    let mut faults = plan.faults.faults().to_vec();
    // What to take away.
    match rng.below(4) {
        0 | 1 if !faults.is_empty() => {
            let drop = 1 + rng.below(1 + faults.len() as u64 / 2);
            for _ in 0..drop.min(faults.len() as u64) {
                faults.remove(rng.below(faults.len() as u64) as usize);
            }
        }
        2 if !best.operations.is_empty() => {
            let mut all = best.operations.clone();
            let made: Vec<(String, u64)> =
                all.iter().flat_map(|(c, numbers)| numbers.iter().map(move |&n| (c.clone(), n))).collect();
            let drop = 1 + rng.below(1 + made.len() as u64 / 2);
            for _ in 0..drop {
                if let Some((client, number)) = rng.pick(&made)
                    && let Some(numbers) = all.get_mut(client)
                {
                    numbers.remove(number);
                }
            }
            plan.operations = Some(all);
        }
        _ => {
            if let Some((knob, fewest)) = &hints.servers_knob {
                let now = plan.knobs.get(knob).and_then(toml::Value::as_integer).unwrap_or(0) as u64;
                if now > *fewest {
                    let count = rng.range(*fewest..=now - 1);
                    let smaller = fewer_servers(
                        hints,
                        &plan.clone().with_faults(faults.iter().cloned().collect()),
                        knob,
                        count,
                    );
                    if let Some(one) = rng.pick(&smaller) {
                        plan = one.clone();
                        faults = plan.faults.faults().to_vec();
                    }
                }
            }
        }
    }
    // What to draw anew.
    match rng.below(4) {
        // All faults keep their distances and happen a little earlier or later.
        0 => {
            let by = log_uniform_time(&mut rng, &(Duration::from_nanos(100_000)..=*hints.lasts.end()));
            let earlier = rng.chance(0.5);
            for fault in &mut faults {
                if let When::At(at) = &mut fault.when {
                    *at = if earlier { at.saturating_sub(by) } else { *at + by };
                }
            }
        }
        // Nothing but the seed.
        1 => plan.seed = new_seed(&mut rng),
        _ => {
            let all_times = rng.chance(0.5);
            for fault in &mut faults {
                if all_times || rng.chance(0.3) {
                    redraw(&mut rng, hints, fault);
                }
            }
        }
    }
    plan.faults = faults.into_iter().collect();
    if rng.chance(0.5) {
        plan.seed = new_seed(&mut rng);
    }
    plan
}

/// Short enough for every reader of numbers.
fn new_seed(rng: &mut Rng) -> u64 {
    rng.next_u64() >> 12
}

/// Other faults altogether, fewer or as many, from the experiment's own draw for another seed; servers, knobs and
/// operations stay as they are.
pub(super) fn fresh(experiment: &dyn Experiment, best: &Found, number: u64) -> Plan {
    let mut rng = Rng::new(&Key::root(number).fork("fresh").fork_u64(best.size.faults));
    let mut plan = best.plan.clone();
    let Ok(other) = experiment.plan(new_seed(&mut rng)) else { return plan };
    let mut faults = other.faults.faults().to_vec();
    rng.shuffle(&mut faults);
    faults.truncate(rng.below(1 + plan.faults.faults().len() as u64) as usize);
    faults.sort_by_key(|fault| if let When::At(at) = fault.when { at } else { Duration::ZERO });
    plan.faults = faults.into_iter().collect();
    plan.seed = other.seed;
    if let Some(made) = &mut plan.operations
        && rng.chance(0.5)
    {
        for numbers in made.values_mut() {
            numbers.retain(|_| rng.chance(0.7));
        }
    }
    plan
}

/// Another time, another length.
fn redraw(rng: &mut Rng, hints: &Hints, fault: &mut Fault) {
    if let When::At(at) = &mut fault.when {
        *at = if rng.chance(0.5) {
            uniform(rng, &hints.within)
        } else {
            // Near where it was: between half and twice as late.
            let factor = 500 + rng.below(1_500);
            Duration::from_nanos(at.as_nanos() / 1_000 * factor)
                .clamp(*hints.within.start(), *hints.within.end())
        };
    }
    if fault.lasts.is_some() {
        fault.lasts = Some(log_uniform_time(rng, &hints.lasts));
    }
}

/// The plan for fewer servers, in several ways: faults of those that are no more go, or fall on others.
pub(super) fn fewer_servers(hints: &Hints, plan: &Plan, knob: &str, count: u64) -> Vec<Plan> {
    let mut smaller = plan.clone();
    smaller.knobs.insert(knob.to_owned(), toml::Value::Integer(count as i64));
    let exists = |name: &str| match server_number(&hints.servers, name) {
        Some(number) => number <= count,
        None => true,
    };
    let without =
        smaller.clone().with_faults(rename(&plan.faults, |name| exists(name).then(|| name.to_owned())));
    let mut all = vec![without];
    for shift in 0..count {
        let renamed = rename(&plan.faults, |name| match server_number(&hints.servers, name) {
            Some(number) if number > count => {
                let other = (number + shift - 1) % count + 1;
                Some(name.replace(&number.to_string(), &other.to_string()))
            }
            _ => Some(name.to_owned()),
        });
        all.push(smaller.clone().with_faults(renamed));
    }
    all
}

/// The number of a server, from its name: `raft-3`, `n3`.
fn server_number(service: &str, name: &str) -> Option<u64> {
    let digits = name.trim_start_matches(|c: char| !c.is_ascii_digit());
    let number = digits.parse().ok()?;
    (service.is_empty() || name.starts_with(service.trim_end_matches('s'))).then_some(number)
}

/// The faults with other names for nodes; those that are left without a target go.
fn rename(faults: &FaultPlan, new: impl Fn(&str) -> Option<String>) -> FaultPlan {
    let list = |names: &[String]| -> Vec<String> {
        let kept: BTreeSet<String> = names.iter().filter_map(|name| new(name)).collect();
        kept.into_iter().collect()
    };
    let one = |fault: &Fault| -> Option<Fault> {
        let mut fault = fault.clone();
        for name in names_of(&mut fault.on) {
            *name = new(name)?;
        }
        if let FaultKind::Partition(partition) = &mut fault.what {
            match partition {
                Partition::Isolate | Partition::Regions(_) => {}
                Partition::Split(groups) => {
                    *groups =
                        groups.iter().map(|group| list(group)).filter(|group| !group.is_empty()).collect();
                    disjoint(groups);
                    if groups.len() < 2 {
                        return None;
                    }
                }
                Partition::OneWay { from, to } | Partition::Bridge { left: from, right: to } => {
                    (*from, *to) = (list(from), list(to));
                    to.retain(|name| !from.contains(name));
                    if from.is_empty() || to.is_empty() {
                        return None;
                    }
                }
            }
        }
        Some(fault)
    };
    faults.faults().iter().filter_map(one).collect()
}

/// Nobody is in two groups.
fn disjoint(groups: &mut Vec<Vec<String>>) {
    let mut seen = BTreeSet::new();
    for group in groups.iter_mut() {
        group.retain(|name| seen.insert(name.clone()));
    }
    groups.retain(|group| !group.is_empty());
}
