//! Faults in words: what happens, to whom, and when, as it is shown beside every picture.
//!
//! "crash on store, at 5.7s" names whom it happens to behind what happens. Faults of the network name ways instead, and say it
//! all at once: "link all -> db: loss 20%".

use std::fmt;

use super::{
    DiskFault, Fault, FaultKind, LinkChange, MessageTrigger, PacketAction, PacketRule, Partition, Target,
    When,
};
use crate::{machine::disk::CrashPolicy, rng::Delay};

impl Fault {
    /// What happens, in words; of a fault of the network also to whom.
    pub(crate) fn what_in_words(&self) -> String {
        match &self.what {
            FaultKind::Partition(partition) => {
                format!("partition {}", partition_in_words(partition, &self.on))
            }
            FaultKind::Link(change) => link_in_words(change, &self.on),
            FaultKind::Packets(rule) => rule_in_words(rule, &self.on),
            other => other.to_string(),
        }
    }
    /// To whom, in words; nothing where [`Fault::what_in_words`] has said it.
    pub(crate) fn on_in_words(&self) -> String {
        match &self.what {
            FaultKind::Partition(_) | FaultKind::Link(_) | FaultKind::Packets(_) => String::new(),
            _ => self.on.to_string(),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.what_in_words())?;
        let on = self.on_in_words();
        if !on.is_empty() {
            write!(f, " on {on}")?;
        }
        write!(f, ", {}", self.when)?;
        if let Some(lasts) = self.lasts {
            write!(f, ", for {lasts}")?;
        }
        Ok(())
    }
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(time) => write!(f, "at {time}"),
            Self::Sent(m) => write!(f, "when {m} has been sent{}", after(m.then)),
            Self::Delivered(m) => write!(f, "when {m} has been delivered{}", after(m.then)),
            Self::State(s) => {
                let who = s.node.as_deref().unwrap_or("anybody");
                write!(f, "when {who} has {} = {}", s.key, s.value)?;
                if s.count > 1 {
                    write!(f, " for the {} time", ordinal(s.count))?;
                }
                f.write_str(&after(s.then))
            }
        }
    }
}

fn after(then: crate::time::Duration) -> String {
    if then.is_zero() { String::new() } else { format!(", {then} later") }
}

fn ordinal(n: u64) -> String {
    let suffix = match (n % 10, n % 100) {
        (1, x) if x != 11 => "st",
        (2, x) if x != 12 => "nd",
        (3, x) if x != 13 => "rd",
        _ => "th",
    };
    format!("{n}{suffix}")
}

impl fmt::Display for MessageTrigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the {} {}", ordinal(self.count), self.kind.as_deref().unwrap_or("message"))?;
        if let Some(from) = &self.from {
            write!(f, " from {from}")?;
        }
        if let Some(to) = &self.to {
            write!(f, " to {to}")?;
        }
        Ok(())
    }
}

/// Of a fault of the network: as it falls on everybody.
impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Crash => f.write_str("crash"),
            Self::PowerFailure => f.write_str("power failure"),
            Self::Restart => f.write_str("restart"),
            Self::Pause => f.write_str("pause"),
            Self::Slow(x) => write!(f, "slow x{x}"),
            Self::MemoryLimit(bytes) => write!(f, "memory limit {bytes} bytes"),
            Self::Partition(partition) => {
                write!(f, "partition {}", partition_in_words(partition, &Target::Everybody))
            }
            Self::Link(change) => f.write_str(&link_in_words(change, &Target::Everybody)),
            Self::Packets(rule) => f.write_str(&rule_in_words(rule, &Target::Everybody)),
            Self::ClockJump(by) => write!(f, "wall clock jumps {by}"),
            Self::ClockDrift(ppm) => write!(f, "clocks drift by {ppm} ppm"),
            Self::Disk(fault) => write!(f, "disk: {fault}"),
            Self::Load(x) => write!(f, "load x{x}"),
        }
    }
}

impl fmt::Display for DiskFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rot(file) if file.is_empty() => f.write_str("a bit rots"),
            Self::Rot(file) => write!(f, "a bit of {file} rots"),
            Self::IoError => f.write_str("input and output fail"),
            Self::FailSync => f.write_str("fsync fails"),
            Self::Full => f.write_str("full"),
            Self::Slow(x) => write!(f, "slow x{x}"),
            Self::CrashPolicy(policy) => f.write_str(match policy {
                CrashPolicy::LoseUnsynced => "a crash loses all that is unsynced",
                CrashPolicy::TearFirst => "a crash tears the first unsynced write",
                CrashPolicy::KeepPrefix => "a crash keeps a prefix of what is unsynced",
                CrashPolicy::KeepRandomSectors => "a crash keeps random sectors of what is unsynced",
            }),
        }
    }
}

fn partition_in_words(partition: &Partition, on: &Target) -> String {
    let groups = |groups: &[Vec<String>]| groups.iter().map(|g| g.join("+")).collect::<Vec<_>>().join(" | ");
    match partition {
        Partition::Isolate => format!("{on} | all others"),
        Partition::Split(sides) => groups(sides),
        Partition::Regions(sides) => format!("of regions {}", groups(sides)),
        Partition::OneWay { from, to } => format!("{} -> {}, one way", from.join("+"), to.join("+")),
        Partition::Bridge { left, right } => {
            format!("{} | {}, the others reach both", left.join("+"), right.join("+"))
        }
    }
}

/// ` a -> b`, where one of the two is named.
fn way(from: &[String], to: &[String]) -> String {
    if from.is_empty() && to.is_empty() {
        return String::new();
    }
    let side = |names: &[String]| if names.is_empty() { "all".to_owned() } else { names.join("+") };
    format!(" {} -> {}", side(from), side(to))
}

fn link_in_words(change: &LinkChange, on: &Target) -> String {
    let way = way(&change.from, &change.to);
    let which = match (way.is_empty(), on.is_everybody()) {
        (true, true) => "all links".to_owned(),
        (true, false) => format!("links of {on}"),
        (false, true) => format!("link{way}"),
        (false, false) => format!("link{way}, from or to {on}"),
    };
    let mut parts = Vec::new();
    match &change.delay {
        Some(Delay::Constant(delay)) => parts.push(format!("delay {delay}")),
        Some(delay) => parts.push(format!("delay ({delay})")),
        None => {}
    }
    if !change.extra_delay.is_zero() {
        parts.push(format!("delay +{}", change.extra_delay));
    }
    for (what, share) in
        [("loss", change.loss), ("duplication", change.duplication), ("corruption", change.corruption)]
    {
        if let Some(share) = share {
            parts.push(format!("{what} {}%", (share * 10_000.0).round() / 100.0));
        }
    }
    if let Some(bandwidth) = change.bandwidth {
        parts.push(format!("bandwidth {bandwidth} B/s"));
    }
    if parts.is_empty() {
        parts.push("unchanged".to_owned());
    }
    format!("{which}: {}", parts.join(", "))
}

fn rule_in_words(rule: &PacketRule, on: &Target) -> String {
    let kind = rule.kind.as_deref().unwrap_or("packet");
    let mut which = match rule.count {
        Some(1) => format!("the {} {kind}", ordinal(rule.first)),
        Some(n) => {
            let last = rule.first.saturating_add(n).saturating_sub(1);
            format!("the {} to the {} {kind}", ordinal(rule.first), ordinal(last))
        }
        None if rule.first > 1 => format!("every {kind} from the {} on", ordinal(rule.first)),
        None => format!("every {kind}"),
    };
    which += &way(rule.from.as_slice(), rule.to.as_slice());
    if !on.is_everybody() {
        which += &format!(", from or to {on},");
    }
    let told = match rule.action {
        PacketAction::Pass => format!("let {which} pass"),
        PacketAction::Drop => format!("drop {which}"),
        PacketAction::Delay(by) => format!("hold {which} for {by}"),
        PacketAction::Duplicate => format!("duplicate {which}"),
        PacketAction::Corrupt => format!("corrupt {which}"),
    };
    told.trim_end_matches(',').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        fault::{Offset, StateTrigger},
        time::{ms, secs},
    };

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn every_kind_reads_well() {
        let everybody = || Target::Everybody;
        let rule = PacketRule::all;
        let change = LinkChange::default();
        let several = LinkChange { corruption: Some(0.005), bandwidth: Some(10), ..LinkChange::loss(0.2) };
        let disk = FaultKind::Disk;
        let policy = |policy| disk(DiskFault::CrashPolicy(policy));
        let to_db = |mut rule: PacketRule| {
            rule.to = Some("db".to_owned());
            rule
        };
        let table: Vec<(FaultKind, Target, &str)> = vec![
            (FaultKind::Crash, "db".into(), "crash on db"),
            (FaultKind::PowerFailure, everybody(), "power failure on everybody"),
            (FaultKind::Restart, Target::group("web"), "restart on all of web"),
            (FaultKind::Pause, Target::role("leader"), "pause on the leader"),
            (FaultKind::Slow(2.5), "db".into(), "slow x2.5 on db"),
            (FaultKind::MemoryLimit(1_000), "db".into(), "memory limit 1000 bytes on db"),
            (FaultKind::ClockJump(Offset::behind(secs(3))), "db".into(), "wall clock jumps -3s on db"),
            (FaultKind::ClockDrift(-50.0), "db".into(), "clocks drift by -50 ppm on db"),
            (FaultKind::Load(10.0), "clients".into(), "load x10 on clients"),
            (disk(DiskFault::Rot(String::new())), "db".into(), "disk: a bit rots on db"),
            (disk(DiskFault::Rot("log".into())), "db".into(), "disk: a bit of log rots on db"),
            (disk(DiskFault::IoError), "db".into(), "disk: input and output fail on db"),
            (disk(DiskFault::FailSync), "db".into(), "disk: fsync fails on db"),
            (disk(DiskFault::Full), "db".into(), "disk: full on db"),
            (disk(DiskFault::Slow(3.0)), "db".into(), "disk: slow x3 on db"),
            (
                policy(CrashPolicy::LoseUnsynced),
                "db".into(),
                "disk: a crash loses all that is unsynced on db",
            ),
            (
                policy(CrashPolicy::TearFirst),
                "db".into(),
                "disk: a crash tears the first unsynced write on db",
            ),
            (
                policy(CrashPolicy::KeepPrefix),
                "db".into(),
                "disk: a crash keeps a prefix of what is unsynced on db",
            ),
            (
                policy(CrashPolicy::KeepRandomSectors),
                "db".into(),
                "disk: a crash keeps random sectors of what is unsynced on db",
            ),
            (Partition::Isolate.into(), Target::role("leader"), "partition the leader | all others"),
            (
                Partition::Isolate.into(),
                Target::Minority("replica".into()),
                "partition a minority of replica | all others",
            ),
            (
                Partition::Split(vec![names(&["a"]), names(&["b", "c"])]).into(),
                everybody(),
                "partition a | b+c",
            ),
            (
                Partition::OneWay { from: names(&["a"]), to: names(&["b", "c"]) }.into(),
                everybody(),
                "partition a -> b+c, one way",
            ),
            (
                Partition::Bridge { left: names(&["a"]), right: names(&["b"]) }.into(),
                everybody(),
                "partition a | b, the others reach both",
            ),
            (
                Partition::Regions(vec![names(&["eu"]), names(&["us", "asia"])]).into(),
                everybody(),
                "partition of regions eu | us+asia",
            ),
            (
                LinkChange { to: names(&["db"]), ..LinkChange::loss(0.2) }.into(),
                everybody(),
                "link all -> db: loss 20%",
            ),
            (LinkChange::slower_by(ms(100)).into(), everybody(), "all links: delay +100ms"),
            (
                LinkChange::delay(Delay::constant(ms(3))).only("a", "b").into(),
                everybody(),
                "link a -> b: delay 3ms",
            ),
            (
                LinkChange::delay(Delay::uniform(ms(1), ms(3))).into(),
                "db".into(),
                "links of db: delay (uniform, 1ms to 3ms)",
            ),
            (several.into(), "db".into(), "links of db: loss 20%, corruption 0.5%, bandwidth 10 B/s"),
            (
                LinkChange::duplication(1.0).only("web", "db").into(),
                "web-0".into(),
                "link web -> db, from or to web-0: duplication 100%",
            ),
            (change.into(), everybody(), "all links: unchanged"),
            (rule(PacketAction::Drop).into(), everybody(), "drop every packet"),
            (to_db(rule(PacketAction::Drop)).into(), everybody(), "drop every packet all -> db"),
            (
                rule(PacketAction::Drop).kind("Vote").between("a", "b").nth(2).into(),
                everybody(),
                "drop the 2nd Vote a -> b",
            ),
            (
                PacketRule { first: 3, count: Some(4), ..rule(PacketAction::Duplicate) }.into(),
                everybody(),
                "duplicate the 3rd to the 6th packet",
            ),
            (
                PacketRule { first: 11, ..rule(PacketAction::Corrupt) }.kind("Vote").into(),
                "db".into(),
                "corrupt every Vote from the 11th on, from or to db",
            ),
            (
                rule(PacketAction::Delay(ms(400))).into(),
                "db".into(),
                "hold every packet, from or to db, for 400ms",
            ),
            (rule(PacketAction::Pass).kind("Ack").into(), everybody(), "let every Ack pass"),
        ];
        for (what, on, words) in table {
            let fault = Fault::at(secs(1), "name", what).on(on);
            assert_eq!(fault.to_string(), format!("name: {words}, at 1s"));
            let (what, on) = (fault.what_in_words(), fault.on_in_words());
            assert_eq!(if on.is_empty() { what } else { format!("{what} on {on}") }, words);
        }
    }

    #[test]
    fn an_event_that_triggers_a_fault_reads_well() {
        let message = MessageTrigger { kind: Some("Prepare".into()), count: 1, ..Default::default() };
        let second = MessageTrigger {
            from: Some("a".into()),
            to: Some("b".into()),
            count: 2,
            then: ms(1),
            ..Default::default()
        };
        let (key, value) = ("role".into(), "leader".into());
        let state = StateTrigger { key, value, node: None, count: 3, then: secs(1) };
        let told = |when| Fault::when(when, "x", FaultKind::Crash).on("db").lasting(secs(2)).to_string();
        assert_eq!(told(When::Sent(message)), "x: crash on db, when the 1st Prepare has been sent, for 2s");
        assert_eq!(
            told(When::Delivered(second)),
            "x: crash on db, when the 2nd message from a to b has been delivered, 1ms later, for 2s"
        );
        assert_eq!(
            told(When::State(state)),
            "x: crash on db, when anybody has role = leader for the 3rd time, 1s later, for 2s"
        );
    }
}
