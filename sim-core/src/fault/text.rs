//! Fault plans as text: the file that people write, and the words in which a fault is shown.

use std::{fmt, str::FromStr};

use serde::Deserialize;

use super::{
    DiskFault, Fault, FaultKind, FaultPlan, LinkChange, MessageTrigger, PacketAction, Partition, When,
};

/// Why a file of faults cannot be read: with its line, as far as there is one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct FaultFileError {
    /// What is wrong and what is allowed, with the line and a mark under the place.
    pub message: String,
    /// The line, counted from 1.
    pub line: Option<usize>,
}

impl FaultPlan {
    /// Reads `[[fault]]` entries from TOML.
    ///
    /// # Errors
    /// When the text is no TOML, a key is unknown, a value has the wrong form or is out of its range.
    pub fn from_toml(text: &str) -> Result<Self, FaultFileError> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct File {
            #[serde(default)]
            fault: FaultPlan,
        }
        let file: File = toml::from_str(text).map_err(|error| {
            let line = error.span().map(|span| text[..span.start.min(text.len())].matches('\n').count() + 1);
            FaultFileError { message: error.to_string().trim_end().to_owned(), line }
        })?;
        file.fault.validate().map_err(|message| FaultFileError { message, line: None })?;
        Ok(file.fault)
    }

    /// The text that [`FaultPlan::from_toml`] reads.
    pub fn to_toml(&self) -> String {
        #[derive(serde::Serialize)]
        struct File<'a> {
            fault: &'a FaultPlan,
        }
        toml::to_string(&File { fault: self }).expect("a fault plan can be written as TOML")
    }

    /// Checks what types cannot: ranges of numbers, names that are given.
    ///
    /// # Errors
    /// A sentence that names the fault, the value and the allowed range.
    pub fn validate(&self) -> Result<(), String> {
        self.faults.iter().try_for_each(Fault::validate)
    }
}

impl Fault {
    fn validate(&self) -> Result<(), String> {
        let name = &self.name;
        let share = |what: &str, share: Option<f64>| match share {
            Some(s) if !(0.0..=1.0).contains(&s) => {
                Err(format!("fault `{name}`: {what} is a share from 0 to 1, not {s}"))
            }
            _ => Ok(()),
        };
        let factor = |what: &str, x: f64, low: f64, high: f64| {
            if (low..=high).contains(&x) {
                Ok(())
            } else {
                Err(format!("fault `{name}`: {what} lies between {low} and {high}, it cannot be {x}"))
            }
        };
        match &self.what {
            FaultKind::Slow(x) => factor("slow", *x, 0.01, 1e6)?,
            FaultKind::Load(x) => factor("load", *x, 0.0, 1e6)?,
            FaultKind::ClockDrift(ppm) => factor("clock-drift (parts in a million)", *ppm, -900_000.0, 1e6)?,
            FaultKind::Disk(DiskFault::Slow(x)) => factor("disk slow", *x, 0.01, 1e6)?,
            FaultKind::Link(change) => {
                share("loss", change.loss)?;
                share("duplication", change.duplication)?;
                share("corruption", change.corruption)?;
                if change.bandwidth == Some(0) {
                    return Err(format!(
                        "fault `{name}`: bandwidth is at least 1 byte a second; use a partition for none"
                    ));
                }
                if let Some(delay) = &change.delay {
                    delay.validate().map_err(|why| format!("fault `{name}`: delay: {why}"))?;
                }
            }
            FaultKind::Partition(Partition::Isolate) if self.on.is_everybody() => {
                return Err(format!("fault `{name}`: isolate needs `on`: whom to cut off from the rest"));
            }
            _ => {}
        }
        let count = match &self.when {
            When::Sent(m) | When::Delivered(m) => m.count,
            When::State(s) => s.count,
            When::At(_) => 1,
        };
        if count == 0 {
            return Err(format!("fault `{name}`: count is counted from 1"));
        }
        Ok(())
    }
}

impl FromStr for FaultPlan {
    type Err = FaultFileError;
    fn from_str(text: &str) -> Result<Self, FaultFileError> {
        Self::from_toml(text)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} on {}, {}", self.name, self.what, self.on, self.when)?;
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

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Crash => f.write_str("crash"),
            Self::PowerFailure => f.write_str("power failure"),
            Self::Restart => f.write_str("restart"),
            Self::Pause => f.write_str("pause"),
            Self::Slow(x) => write!(f, "slow x{x}"),
            Self::MemoryLimit(bytes) => write!(f, "memory limit {bytes} bytes"),
            Self::Partition(partition) => write!(f, "partition ({partition})"),
            Self::Link(change) => write!(f, "link: {change}"),
            Self::Packets(rule) => {
                match rule.action {
                    PacketAction::Pass => f.write_str("pass")?,
                    PacketAction::Drop => f.write_str("drop")?,
                    PacketAction::Delay(d) => write!(f, "hold for {d}")?,
                    PacketAction::Duplicate => f.write_str("duplicate")?,
                    PacketAction::Corrupt => f.write_str("corrupt")?,
                }
                match rule.count {
                    Some(1) => write!(f, " the {} ", ordinal(rule.first))?,
                    Some(n) => write!(f, " {n} from the {} ", ordinal(rule.first))?,
                    None if rule.first > 1 => write!(f, " all from the {} ", ordinal(rule.first))?,
                    None => f.write_str(" every ")?,
                }
                f.write_str(rule.kind.as_deref().unwrap_or("packet"))?;
                if let Some(from) = &rule.from {
                    write!(f, " from {from}")?;
                }
                if let Some(to) = &rule.to {
                    write!(f, " to {to}")?;
                }
                Ok(())
            }
            Self::ClockJump(by) => write!(f, "wall clock jumps {by}"),
            Self::ClockDrift(ppm) => write!(f, "clocks drift by {ppm} ppm"),
            Self::Disk(DiskFault::Rot(file)) if file.is_empty() => f.write_str("disk: a bit rots"),
            Self::Disk(DiskFault::Rot(file)) => write!(f, "disk: a bit of {file} rots"),
            Self::Disk(DiskFault::IoError) => f.write_str("disk: input and output fail"),
            Self::Disk(DiskFault::FailSync) => f.write_str("disk: fsync fails"),
            Self::Disk(DiskFault::Full) => f.write_str("disk: full"),
            Self::Disk(DiskFault::Slow(x)) => write!(f, "disk: slow x{x}"),
            Self::Disk(DiskFault::CrashPolicy(policy)) => write!(f, "disk: a crash will {policy:?}"),
            Self::Load(x) => write!(f, "load x{x}"),
        }
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let groups =
            |groups: &[Vec<String>]| groups.iter().map(|g| g.join("+")).collect::<Vec<_>>().join(" | ");
        match self {
            Self::Isolate => f.write_str("isolated"),
            Self::Split(sides) => f.write_str(&groups(sides)),
            Self::Regions(sides) => write!(f, "regions {}", groups(sides)),
            Self::OneWay { from, to } => write!(f, "{} -/-> {}", from.join("+"), to.join("+")),
            Self::Bridge { left, right } => write!(f, "{} | bridge | {}", left.join("+"), right.join("+")),
        }
    }
}

impl fmt::Display for LinkChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        if let Some(delay) = &self.delay {
            parts.push(format!("delay {delay}"));
        }
        if !self.extra_delay.is_zero() {
            parts.push(format!("delay +{}", self.extra_delay));
        }
        for (what, share) in
            [("loss", self.loss), ("duplication", self.duplication), ("corruption", self.corruption)]
        {
            if let Some(share) = share {
                parts.push(format!("{what} {}%", (share * 10_000.0).round() / 100.0));
            }
        }
        if let Some(bandwidth) = self.bandwidth {
            parts.push(format!("bandwidth {bandwidth} B/s"));
        }
        f.write_str(&parts.join(", "))?;
        if !self.from.is_empty() || !self.to.is_empty() {
            let side = |names: &[String]| if names.is_empty() { "all".to_owned() } else { names.join("+") };
            write!(f, " ({} -> {})", side(&self.from), side(&self.to))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        fault::{Offset, PacketRule, StateTrigger, Target},
        rng::Delay,
        time::{ms, secs},
    };

    fn every_kind() -> FaultPlan {
        let kinds = [
            FaultKind::Crash,
            FaultKind::PowerFailure,
            FaultKind::Restart,
            FaultKind::Pause,
            FaultKind::Slow(3.0),
            FaultKind::MemoryLimit(1_000),
            FaultKind::Partition(Partition::Isolate),
            FaultKind::Partition(Partition::Split(vec![vec!["a".into()], vec!["b".into(), "c".into()]])),
            FaultKind::Partition(Partition::OneWay { from: vec!["a".into()], to: vec!["b".into()] }),
            FaultKind::Partition(Partition::Bridge { left: vec!["a".into()], right: vec!["b".into()] }),
            FaultKind::Partition(Partition::Regions(vec![vec!["eu".into()], vec!["us".into()]])),
            FaultKind::Link(LinkChange::slower_by(ms(100))),
            FaultKind::Link(LinkChange::delay(Delay::constant(ms(3))).only("a", "b")),
            FaultKind::Link(LinkChange {
                corruption: Some(0.5),
                bandwidth: Some(10),
                ..LinkChange::loss(0.1)
            }),
            FaultKind::Packets(PacketRule::all(PacketAction::Drop).kind("Vote").between("a", "b").nth(2)),
            FaultKind::Packets(PacketRule::all(PacketAction::Delay(ms(400)))),
            FaultKind::ClockJump(Offset::behind(secs(3))),
            FaultKind::ClockDrift(-50.0),
            FaultKind::Disk(DiskFault::Rot("log".into())),
            FaultKind::Disk(DiskFault::FailSync),
            FaultKind::Load(10.0),
        ];
        let targets = [
            Target::from("a"),
            Target::Nodes(vec!["a".into(), "b".into()]),
            Target::group("web"),
            Target::role("leader"),
            Target::State { key: "lock".into(), value: "held".into() },
            Target::Minority("web".into()),
            Target::Any { group: "web".into(), count: 2 },
        ];
        let whens = [
            When::At(ms(5_700)),
            When::Sent(MessageTrigger { kind: Some("Prepare".into()), count: 1, ..Default::default() }),
            When::Delivered(MessageTrigger {
                from: Some("a".into()),
                count: 3,
                then: ms(1),
                ..Default::default()
            }),
            When::State(StateTrigger {
                key: "role".into(),
                value: "leader".into(),
                node: None,
                count: 2,
                then: secs(1),
            }),
        ];
        kinds
            .iter()
            .enumerate()
            .map(|(n, kind)| Fault {
                name: format!("fault {n}"),
                when: whens[n % whens.len()].clone(),
                lasts: n.is_multiple_of(2).then_some(secs(1)),
                what: kind.clone(),
                on: targets[n % targets.len()].clone(),
            })
            .collect()
    }

    #[test]
    fn a_plan_written_and_read_back_is_the_same() {
        let plan = every_kind();
        let text = plan.to_toml();
        assert_eq!(FaultPlan::from_toml(&text).unwrap_or_else(|e| panic!("{e}\n{text}")), plan);
    }

    #[test]
    fn every_fault_can_be_said_in_words() {
        for fault in every_kind().faults() {
            let words = fault.to_string();
            assert!(!words.contains("  ") && words.len() > 10, "{words}");
        }
    }

    #[test]
    fn a_malformed_file_is_refused_with_its_line() {
        let text = "[[fault]]\nname = \"x\"\nwhen = { at = \"5 parsecs\" }\nwhat = \"crash\"\non = \"a\"\n";
        let error = FaultPlan::from_toml(text).unwrap_err();
        assert_eq!(error.line, Some(3), "{error}");
        assert!(error.message.contains("parsecs"), "{error}");

        let text = "[[fault]]\nname = \"x\"\nwhen = { at = \"5s\" }\nwhat = \"crush\"\n";
        let error = FaultPlan::from_toml(text).unwrap_err();
        assert!(error.message.contains("crush") && error.message.contains("crash"), "{error}");

        let text = "[[fault]]\nname = \"x\"\nwhen = { at = \"5s\" }\nwhat = { link = { loss = 1.5 } }\n";
        let error = FaultPlan::from_toml(text).unwrap_err();
        assert!(error.message.contains("from 0 to 1"), "{error}");
    }
}
