//! Draws fault plans: a swarm that arms a random subset of kinds of faults for each seed, inside a stated budget.
//!
//! Testing with everything switched on hides bugs that need something switched off (Groce et al., Swarm testing, ISSTA
//! 2012): so each seed arms its own subset, its own number of faults and its own intensity, from wide log-uniform ranges.
//! All faults are over before the world has to show that it recovers.

use std::{collections::BTreeSet, ops::RangeInclusive};

use serde::{Deserialize, Serialize};

use crate::{
    fault::{Fault, FaultKind, FaultPlan, LinkChange, Offset, Partition, Target},
    math,
    rng::{Delay, Key, Rng},
    time::{Duration, ms, secs},
};

/// A kind of fault that a swarm may draw.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Arm {
    /// A server's process dies, and starts again.
    Crash,
    /// A server goes dark, and starts again: what was not synced is lost.
    PowerFailure,
    /// All servers go dark at once. Breaks any budget of servers that are down: it is its own.
    PowerCut,
    /// A server stands still.
    Pause,
    /// A server's work takes up to so many times as long.
    Slow(f64),
    /// A server is cut off from everybody, clients included.
    Isolate,
    /// The servers split into two groups; clients reach all.
    Split,
    /// Packets of one server to another are lost, in that direction only.
    OneWay,
    /// Two groups cannot reach each other, the rest reaches both.
    Bridge,
    /// Up to this share of packets between all is lost.
    Loss(f64),
    /// Up to this share of packets between all arrives twice.
    Duplication(f64),
    /// Delays between all grow by up to that much.
    Delay(Duration),
    /// Delays between all are drawn uniformly from nothing to up to that much: messages overtake one another.
    Reorder(Duration),
    /// The clocks of one server or several run slow or fast, alike, by up to this share (0.5 is 50 %), until all faults are
    /// over: oscillators do not change their minds. No clock is given two drifts, which would add up.
    ClockDrift(f64),
    /// A server's wall clock jumps by up to that much, forward or back.
    ClockJump(Duration),
}

/// What a swarm draws from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Swarm {
    /// The service whose nodes it happens to.
    pub servers: String,
    /// Kinds of faults.
    pub arms: Vec<Arm>,
    /// Whether each seed arms only a random subset of them, at least one.
    pub subset: bool,
    /// How many faults, log-uniform.
    pub faults: RangeInclusive<u64>,
    /// How long one lasts, log-uniform.
    pub lasts: RangeInclusive<Duration>,
    /// When they begin: uniform in this range.
    pub within: RangeInclusive<Duration>,
    /// By then all are over.
    pub over: Duration,
    /// Never more than a minority of the servers is down, paused or cut off at once (power cuts aside).
    pub minority: bool,
}

impl Swarm {
    /// All kinds, for the nodes of a service, in the first three quarters of a run; then it heals.
    pub fn new(servers: &str, until: Duration) -> Self {
        let over = until * 3 / 4;
        Self {
            servers: servers.to_owned(),
            arms: vec![
                Arm::Crash,
                Arm::PowerFailure,
                Arm::Pause,
                Arm::Slow(20.0),
                Arm::Isolate,
                Arm::Split,
                Arm::OneWay,
                Arm::Bridge,
                Arm::Loss(0.3),
                Arm::Duplication(0.3),
                Arm::Delay(ms(50)),
                Arm::Reorder(ms(50)),
                Arm::ClockDrift(0.01),
                Arm::ClockJump(secs(10)),
            ],
            subset: true,
            faults: 1..=40,
            lasts: ms(1)..=secs(2),
            within: Duration::ZERO..=over,
            over,
            minority: true,
        }
    }
    /// Only these kinds.
    pub fn armed(mut self, arms: &[Arm]) -> Self {
        self.arms = arms.to_vec();
        self
    }
    /// All of its kinds under each seed.
    pub fn all_armed(mut self) -> Self {
        self.subset = false;
        self
    }
    /// How many faults.
    pub fn faults(mut self, faults: RangeInclusive<u64>) -> Self {
        self.faults = faults;
        self
    }
    /// How long one lasts.
    pub fn lasting(mut self, lasts: RangeInclusive<Duration>) -> Self {
        self.lasts = lasts;
        self
    }
    /// When they begin, and when all are over.
    pub fn within(mut self, begins: RangeInclusive<Duration>, over: Duration) -> Self {
        (self.within, self.over) = (begins, over);
        self
    }
    /// Any number of servers may be down at once.
    pub fn without_budget(mut self) -> Self {
        self.minority = false;
        self
    }

    /// The faults of a seed, for a world of these nodes (name and service).
    pub fn draw(&self, seed: u64, roster: &[(String, String)]) -> FaultPlan {
        let mut rng = Rng::new(&Key::root(seed).fork("swarm"));
        let servers: Vec<&str> = roster
            .iter()
            .filter(|(_, service)| self.servers.is_empty() || *service == self.servers)
            .map(|(name, _)| name.as_str())
            .collect();
        if servers.is_empty() || self.arms.is_empty() {
            return FaultPlan::none();
        }
        let armed = self.arm(&mut rng);
        let count =
            log_uniform(&mut rng, *self.faults.start() as f64, *self.faults.end() as f64).round() as u64;
        let mut plan = FaultPlan::none();
        let mut down: Vec<(Duration, Duration)> = Vec::new();
        let mut drifting: BTreeSet<&str> = BTreeSet::new();
        for number in 1..=count {
            let Some(&arm) = rng.pick(&armed) else { break };
            let begins = uniform(&mut rng, &self.within);
            let left = self.over.saturating_sub(begins).max(ms(1));
            let lasts = log_uniform_time(&mut rng, &self.lasts).min(left);
            let lasts = if matches!(arm, Arm::ClockDrift(_)) { left } else { lasts };
            let steady: Vec<&str> = servers.iter().copied().filter(|name| !drifting.contains(name)).collect();
            let among = if matches!(arm, Arm::ClockDrift(_)) { &steady } else { &servers };
            if among.is_empty() {
                continue;
            }
            let (what, on) = draw_one(&mut rng, arm, among);
            if let (FaultKind::ClockDrift(_), Target::Nodes(some)) = (&what, &on) {
                drifting.extend(servers.iter().filter(|name| some.iter().any(|one| one == *name)));
            }
            if self.minority && arm.takes_down() {
                let at_once =
                    down.iter().filter(|(from, to)| *from <= begins + lasts && begins <= *to).count();
                if at_once >= servers.len().saturating_sub(1) / 2 {
                    continue; // over the budget: this one does not happen
                }
                down.push((begins, begins + lasts));
            }
            let fault = Fault::at(begins, format!("{} {number}", arm.name()), what).on(on);
            plan.push(if arm.stays() { fault } else { fault.lasting(lasts) });
        }
        plan
    }

    fn arm(&self, rng: &mut Rng) -> Vec<Arm> {
        if !self.subset {
            return self.arms.clone();
        }
        loop {
            let armed: Vec<Arm> = self.arms.iter().copied().filter(|_| rng.chance(0.5)).collect();
            if !armed.is_empty() {
                return armed;
            }
        }
    }
}

impl Arm {
    /// A word for it, as faults are named.
    pub fn name(self) -> &'static str {
        match self {
            Self::Crash => "crash",
            Self::PowerFailure => "power failure",
            Self::PowerCut => "power cut",
            Self::Pause => "pause",
            Self::Slow(_) => "slow",
            Self::Isolate => "isolate",
            Self::Split => "split",
            Self::OneWay => "one way",
            Self::Bridge => "bridge",
            Self::Loss(_) => "loss",
            Self::Duplication(_) => "duplication",
            Self::Delay(_) => "delay",
            Self::Reorder(_) => "reorder",
            Self::ClockDrift(_) => "drift",
            Self::ClockJump(_) => "jump",
        }
    }
    /// Whether a server cannot do its part meanwhile.
    fn takes_down(self) -> bool {
        matches!(self, Self::Crash | Self::PowerFailure | Self::Pause | Self::Isolate)
    }
    /// Whether it is never undone.
    pub(super) fn stays(self) -> bool {
        matches!(self, Self::ClockJump(_))
    }
}

fn draw_one(rng: &mut Rng, arm: Arm, servers: &[&str]) -> (FaultKind, Target) {
    let one = rng.pick(servers).map_or("", |name| *name).to_owned();
    let everybody = Target::Everybody;
    match arm {
        Arm::Crash => (FaultKind::Crash, one.into()),
        Arm::PowerFailure => (FaultKind::PowerFailure, one.into()),
        Arm::PowerCut => {
            let all = servers.iter().map(|name| (*name).to_owned()).collect();
            (FaultKind::PowerFailure, Target::Nodes(all))
        }
        Arm::Pause => (FaultKind::Pause, one.into()),
        Arm::Slow(most) => (FaultKind::Slow(log_uniform(rng, 1.1, most.max(1.2))), one.into()),
        Arm::Isolate => (Partition::Isolate.into(), one.into()),
        Arm::Split => {
            let (left, right) = two_groups(rng, servers, 0);
            (Partition::Split(vec![left, right]).into(), everybody)
        }
        Arm::Bridge => {
            let (left, right) = two_groups(rng, servers, 1);
            (Partition::Bridge { left, right }.into(), everybody)
        }
        Arm::OneWay => {
            let others: Vec<&str> = servers.iter().copied().filter(|name| *name != one).collect();
            let to = rng.pick(&others).map_or(one.as_str(), |name| *name).to_owned();
            (Partition::OneWay { from: vec![one], to: vec![to] }.into(), everybody)
        }
        Arm::Loss(most) => (LinkChange::loss(rng.unit() * most).into(), everybody),
        Arm::Duplication(most) => (LinkChange::duplication(rng.unit() * most).into(), everybody),
        Arm::Delay(most) => (LinkChange::slower_by(log_uniform_time(rng, &(ms(1)..=most))).into(), everybody),
        Arm::Reorder(most) => {
            let most = log_uniform_time(rng, &(ms(1)..=most));
            (LinkChange::delay(Delay::uniform(Duration::ZERO, most)).into(), everybody)
        }
        Arm::ClockDrift(most) => {
            let drift = (rng.unit() * 2.0 - 1.0) * most;
            let (some, _) = two_groups(rng, servers, 0);
            (FaultKind::ClockDrift((drift * 1e6).round()), Target::Nodes(some))
        }
        Arm::ClockJump(most) => {
            let by = log_uniform_time(rng, &(ms(1)..=most)).as_nanos() as i64;
            (FaultKind::ClockJump(Offset::from_nanos(if rng.chance(0.5) { by } else { -by })), one.into())
        }
    }
}

/// Two groups that together are all, but for so many that are in neither; each has at least one, where there are enough.
fn two_groups(rng: &mut Rng, servers: &[&str], neither: usize) -> (Vec<String>, Vec<String>) {
    let mut all: Vec<String> = servers.iter().map(|name| (*name).to_owned()).collect();
    rng.shuffle(&mut all);
    all.truncate(all.len().saturating_sub(neither).max(1));
    let left = if all.len() < 2 { all.len() } else { 1 + rng.below(all.len() as u64 - 1) as usize };
    let right = all.split_off(left);
    all.sort();
    let mut right = right;
    right.sort();
    (all, right)
}

/// A number between two positive ones whose logarithm is uniform.
pub fn log_uniform(rng: &mut Rng, from: f64, to: f64) -> f64 {
    let (low, high) = (math::ln(from), math::ln(to));
    math::exp(low + rng.unit() * (high - low)).clamp(from, to)
}
/// A time between two positive ones whose logarithm is uniform.
pub fn log_uniform_time(rng: &mut Rng, range: &RangeInclusive<Duration>) -> Duration {
    let (from, to) = (range.start().as_nanos().max(1) as f64, range.end().as_nanos().max(1) as f64);
    Duration::from_nanos(log_uniform(rng, from, to.max(from)) as u64)
}
/// A time that is uniform in a range.
pub fn uniform(rng: &mut Rng, range: &RangeInclusive<Duration>) -> Duration {
    Duration::from_nanos(
        rng.range(range.start().as_nanos()..=range.end().as_nanos().max(range.start().as_nanos())),
    )
}
