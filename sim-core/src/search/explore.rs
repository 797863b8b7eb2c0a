//! Which runs a search looks at: by chance alone, with drawn faults, by priorities of messages, or one fault plan after the
//! other.
//!
//! All take a number and give a plan, so all fit behind one budget of numbers. For [`Explore::KFaults`] the number is the
//! place in an enumeration ([`Grid`]), which has an end; for the others it is a seed.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::generate::Arm;
use crate::{
    fault::{Fault, FaultKind, FaultPlan, LinkChange, Offset, Partition, Target},
    nearest::{did_you_mean, nearest},
    rng::Delay,
    time::Duration,
};

/// How a search chooses its runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Explore {
    /// The experiment's own plan under each seed.
    #[default]
    Seeds,
    /// Each seed draws faults of all kinds.
    Random,
    /// Each seed arms a random subset of the kinds of faults (Groce et al., Swarm testing, ISSTA 2012).
    Swarm,
    /// Probabilistic concurrency testing for messages: see [`Draws::Pct`](crate::plan::Draws::Pct).
    Pct {
        /// The depth d of bugs that are looked for: d - 1 changes of priority.
        depth: u32,
    },
    /// All plans with at most so many faults of a [`Grid`], one after the other.
    KFaults {
        /// How many.
        most: u32,
    },
}

impl Explore {
    /// Whether faults are drawn or enumerated: then nobody can say which goals a system must still meet.
    pub fn draws_faults(self) -> bool {
        matches!(self, Self::Random | Self::Swarm | Self::KFaults { .. })
    }
}

impl fmt::Display for Explore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Seeds => f.write_str("seeds"),
            Self::Random => f.write_str("random"),
            Self::Swarm => f.write_str("swarm"),
            Self::Pct { depth } => write!(f, "pct:{depth}"),
            Self::KFaults { most } => write!(f, "k-faults:{most}"),
        }
    }
}

/// Why a text is no way to explore.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAWay {
    /// There is no such way.
    #[error("there is no exploration `{name}`{}; there are seeds, random, swarm, pct:DEPTH and k-faults:MOST", did_you_mean(*.near))]
    Unknown {
        /// What was written.
        name: String,
        /// The nearest way.
        near: Option<&'static str>,
    },
    /// Its number is missing or out of range.
    #[error("{0} takes a whole number from 1 to {1}, such as {0}:{2}")]
    Number(&'static str, u32, u32),
}

impl FromStr for Explore {
    type Err = NotAWay;
    fn from_str(text: &str) -> Result<Self, NotAWay> {
        let (name, number) = text.split_once(':').map_or((text, None), |(name, n)| (name, Some(n)));
        let number = |what, most, example| {
            let number = number.and_then(|n| n.parse::<u32>().ok()).filter(|n| (1..=most).contains(n));
            number.ok_or(NotAWay::Number(what, most, example))
        };
        match name {
            "pct" => number("pct", 1_000, 3).map(|depth| Self::Pct { depth }),
            "k-faults" => number("k-faults", 6, 2).map(|most| Self::KFaults { most }),
            "seeds" if !text.contains(':') => Ok(Self::Seeds),
            "random" if !text.contains(':') => Ok(Self::Random),
            "swarm" if !text.contains(':') => Ok(Self::Swarm),
            _ => Err(NotAWay::Unknown {
                name: text.to_owned(),
                near: nearest(name, ["seeds", "random", "swarm", "pct", "k-faults"]).and_then(|near| {
                    ["seeds", "random", "swarm", "pct:3", "k-faults:2"]
                        .into_iter()
                        .find(|one| one.starts_with(near))
                }),
            }),
        }
    }
}

impl Serialize for Explore {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}
impl<'de> Deserialize<'de> for Explore {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(de::Error::custom)
    }
}

/// Faults from which plans are put together: each kind, on each single target, at each of some times, for each of some
/// lengths. Plans have an order: no fault, then each one, then each pair, and so on.
#[derive(Clone, Debug, PartialEq)]
pub struct Grid {
    singles: Vec<Fault>,
    most: u32,
}

impl Grid {
    /// All that these kinds can do to these nodes, with at most so many faults at once. What a kind leaves open (how slow,
    /// how lossy) is the most that it allows.
    pub fn new(arms: &[Arm], servers: &[String], times: &[Duration], lasts: &[Duration], most: u32) -> Self {
        let mut singles = Vec::new();
        for &arm in arms {
            for (what, on) in everything(arm, servers) {
                for &at in times {
                    let fault = Fault::at(at, arm.name(), what.clone()).on(on.clone());
                    if arm.stays() {
                        singles.push(fault);
                    } else {
                        singles.extend(lasts.iter().map(|&time| fault.clone().lasting(time)));
                    }
                }
            }
        }
        Self { singles, most }
    }
    /// Sixteen times, evenly spaced over the first three quarters of a run, and three lengths: a 200th, a 40th and an 8th of
    /// it.
    pub fn over(arms: &[Arm], servers: &[String], until: Duration, most: u32) -> Self {
        let times: Vec<Duration> = (0..16).map(|n| until * 3 / 4 * n / 16).collect();
        Self::new(arms, servers, &times, &[until / 200, until / 40, until / 8], most)
    }
    /// The single faults, in order.
    pub fn singles(&self) -> &[Fault] {
        &self.singles
    }
    /// How many plans there are.
    pub fn count(&self) -> u64 {
        let all = (0..=u64::from(self.most)).map(|faults| choose(self.singles.len() as u64, faults));
        all.fold(0, u64::saturating_add)
    }
    /// The plan at a place, counted from 0.
    pub fn plan(&self, place: u64) -> Option<FaultPlan> {
        let all = self.singles.len() as u64;
        let mut left = place;
        for faults in 0..=u64::from(self.most) {
            let plans = choose(all, faults);
            if left < plans {
                return Some(self.nth(left, faults));
            }
            left -= plans;
        }
        None
    }
    /// The n-th set of so many faults, in lexicographic order of their places.
    fn nth(&self, mut n: u64, faults: u64) -> FaultPlan {
        let mut plan = FaultPlan::none();
        let mut wanted = faults;
        for (place, fault) in self.singles.iter().enumerate() {
            if wanted == 0 {
                break;
            }
            let with_this = choose((self.singles.len() - place - 1) as u64, wanted - 1);
            if n < with_this {
                let mut fault = fault.clone();
                fault.name = format!("{} {}", fault.name, faults - wanted + 1);
                plan.push(fault);
                wanted -= 1;
            } else {
                n -= with_this;
            }
        }
        plan
    }
}

/// How many sets of so many there are; the largest number where there are more.
fn choose(of: u64, so_many: u64) -> u64 {
    if so_many > of {
        return 0;
    }
    let mut sets: u128 = 1;
    for n in 0..so_many {
        // Exact: any n + 1 consecutive numbers have one that n + 1 divides.
        sets = sets * u128::from(of - n) / u128::from(n + 1);
        if sets > u128::from(u64::MAX) {
            return u64::MAX;
        }
    }
    sets as u64
}

/// A kind of fault on each single target.
fn everything(arm: Arm, servers: &[String]) -> Vec<(FaultKind, Target)> {
    let on_each = |what: &dyn Fn(&String) -> FaultKind| -> Vec<(FaultKind, Target)> {
        servers.iter().map(|name| (what(name), Target::from(name.clone()))).collect()
    };
    let on_all = |what: FaultKind| vec![(what, Target::Everybody)];
    let others =
        |name: &String| -> Vec<String> { servers.iter().filter(|other| *other != name).cloned().collect() };
    let between = |what: &dyn Fn(&String) -> Partition| -> Vec<(FaultKind, Target)> {
        let single = if servers.len() < 2 { &[] } else { servers };
        single.iter().map(|name| (what(name).into(), Target::Everybody)).collect()
    };
    match arm {
        Arm::Crash => on_each(&|_| FaultKind::Crash),
        Arm::PowerFailure => on_each(&|_| FaultKind::PowerFailure),
        Arm::PowerCut => vec![(FaultKind::PowerFailure, Target::Nodes(servers.to_vec()))],
        Arm::Pause => on_each(&|_| FaultKind::Pause),
        Arm::Slow(most) => on_each(&|_| FaultKind::Slow(most)),
        Arm::Isolate => on_each(&|_| Partition::Isolate.into()),
        Arm::Split => between(&|name| Partition::Split(vec![vec![name.clone()], others(name)])),
        Arm::OneWay => between(&|name| Partition::OneWay { from: vec![name.clone()], to: others(name) }),
        // Each cannot reach the next one, and with two there is nobody in between.
        Arm::Bridge if servers.len() < 3 => Vec::new(),
        Arm::Bridge => {
            let next = servers.iter().cycle().skip(1);
            let pairs = servers.iter().zip(next);
            let bridge = |(a, b): (&String, &String)| Partition::Bridge {
                left: vec![a.clone()],
                right: vec![b.clone()],
            };
            pairs.map(|pair| (bridge(pair).into(), Target::Everybody)).collect()
        }
        Arm::Loss(most) => on_all(LinkChange::loss(most).into()),
        Arm::Duplication(most) => on_all(LinkChange::duplication(most).into()),
        Arm::Delay(most) => on_all(LinkChange::slower_by(most).into()),
        Arm::Reorder(most) => on_all(LinkChange::delay(Delay::uniform(Duration::ZERO, most)).into()),
        Arm::ClockDrift(most) => {
            let drift = |sign: f64| FaultKind::ClockDrift((sign * most * 1e6).round());
            on_each(&|_| drift(1.0)).into_iter().chain(on_each(&|_| drift(-1.0))).collect()
        }
        Arm::ClockJump(most) => {
            let by = i64::try_from(most.as_nanos()).unwrap_or(i64::MAX);
            let jump = |by| FaultKind::ClockJump(Offset::from_nanos(by));
            on_each(&|_| jump(by)).into_iter().chain(on_each(&|_| jump(-by))).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::time::{ms, secs};

    fn grid(most: u32) -> Grid {
        let servers = ["a", "b", "c"].map(str::to_owned);
        Grid::new(
            &[Arm::Crash, Arm::Loss(0.5), Arm::ClockJump(secs(1))],
            &servers,
            &[ms(0), ms(10)],
            &[ms(1)],
            most,
        )
    }

    #[test]
    fn the_enumeration_has_each_set_of_faults_once() {
        // Crashes 3 x 2, loss 2, jumps 3 x 2 x 2 directions: 20. And 1 + 20 + 20 x 19 / 2.
        let grid = grid(2);
        assert_eq!((grid.singles().len(), grid.count()), (20, 211));
        let texts: Vec<String> = (0..211).map(|place| format!("{:?}", grid.plan(place).unwrap())).collect();
        assert_eq!(texts.iter().collect::<BTreeSet<_>>().len(), 211);
        assert!(grid.plan(0).unwrap().is_empty());
        assert_eq!(grid.plan(1).unwrap().faults()[0].what, FaultKind::Crash);
        assert!((1..21).all(|place| grid.plan(place).unwrap().faults().len() == 1));
        assert!((21..211).all(|place| grid.plan(place).unwrap().faults().len() == 2));
        assert_eq!(grid.plan(211), None);
        for place in 0..211 {
            assert_eq!(grid.plan(place).unwrap().validate(), Ok(()));
        }
    }

    #[test]
    fn a_huge_enumeration_is_counted_without_overflow() {
        assert_eq!(choose(5, 2), 10);
        assert_eq!(choose(3, 4), 0);
        assert_eq!(choose(3_000, 3), 3_000 * 2_999 * 2_998 / 6);
        assert_eq!(choose(1_000_000, 6), u64::MAX);
    }

    #[test]
    fn ways_to_explore_are_read_as_they_are_written() {
        for text in ["seeds", "random", "swarm", "pct:3", "k-faults:2"] {
            assert_eq!(text.parse::<Explore>().unwrap().to_string(), text);
        }
        let told = |text: &str| text.parse::<Explore>().unwrap_err().to_string();
        assert_eq!(told("pct"), "pct takes a whole number from 1 to 1000, such as pct:3");
        assert_eq!(told("k-faults:0"), "k-faults takes a whole number from 1 to 6, such as k-faults:2");
        assert_eq!(
            told("swrm"),
            "there is no exploration `swrm`; did you mean `swarm`?; there are seeds, random, swarm, pct:DEPTH and k-faults:MOST"
        );
    }
}
