//! Fault plans as files: how they are read, and what is said of a value that cannot be.

use std::{ops::Range, str::FromStr};

use serde::Deserialize;
use toml::de::{DeTable, DeValue};

use super::{DiskFault, Fault, FaultKind, FaultPlan, Partition, When};

/// Why a file of faults cannot be read: with its line, as far as there is one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct FaultFileError {
    /// What is wrong and what is allowed, with the line and a mark under the place.
    pub message: String,
    /// The line, counted from 1.
    pub line: Option<usize>,
}

/// A value of a fault that cannot be, and where it stands.
struct Problem {
    /// The fault's place in the list.
    fault: usize,
    /// The keys from the fault to the value.
    keys: Vec<&'static str>,
    /// What is wrong and what is allowed.
    message: String,
}

impl FaultPlan {
    /// Reads `[[fault]]` entries from TOML. A file of faults is there for its faults, so there is at least one; who wants a
    /// run without faults writes `fault = []`.
    ///
    /// # Errors
    /// When the text is no TOML, has no fault, a key is unknown, a value has the wrong form or is out of its range.
    pub fn from_toml(text: &str) -> Result<Self, FaultFileError> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct File {
            fault: Option<FaultPlan>,
        }
        let file: File = toml::from_str(text).map_err(|error| {
            let line = error.span().map(|span| line_of(text, span.start));
            FaultFileError { message: error.to_string().trim_end().to_owned(), line }
        })?;
        let Some(plan) = file.fault else {
            let message = "it contains no `[[fault]]`; `fault = []` stands for no faults".to_owned();
            return Err(FaultFileError { message, line: None });
        };
        plan.check_in(text)?;
        Ok(plan)
    }

    /// The text that [`FaultPlan::from_toml`] reads.
    pub fn to_toml(&self) -> String {
        #[derive(serde::Serialize)]
        struct File<'a> {
            fault: &'a FaultPlan,
        }
        toml::to_string(&File { fault: self }).expect("a fault plan can be written as TOML")
    }

    /// Checks what types cannot: ranges of numbers, names that are given, values that do not fit together.
    ///
    /// # Errors
    /// A sentence that names the fault, the value and the allowed range.
    pub fn validate(&self) -> Result<(), String> {
        self.first_problem().map_or(Ok(()), |problem| Err(problem.message))
    }

    /// The same for a plan that was read from this text: the error shows the line of the value.
    pub(crate) fn check_in(&self, text: &str) -> Result<(), FaultFileError> {
        let Some(problem) = self.first_problem() else { return Ok(()) };
        let Some(place) = place_of(text, &problem) else {
            return Err(FaultFileError { message: problem.message, line: None });
        };
        let (snippet, line) = (snippet(text, &place), line_of(text, place.start));
        Err(FaultFileError { message: format!("{}\n{snippet}", problem.message), line: Some(line) })
    }

    fn first_problem(&self) -> Option<Problem> {
        self.faults.iter().enumerate().find_map(|(fault, one)| {
            let (keys, message) = one.problem()?;
            Some(Problem { fault, keys, message: format!("fault `{}`: {message}", one.name) })
        })
    }
}

/// The line of a place in a text, counted from 1.
fn line_of(text: &str, place: usize) -> usize {
    text[..place.min(text.len())].matches('\n').count() + 1
}

/// Where the value of a problem stands, or the part of it that is there.
fn place_of(text: &str, problem: &Problem) -> Option<Range<usize>> {
    let document = DeTable::parse(text).ok()?;
    let fault = document.get_ref().get("fault")?.get_ref().as_array()?.get(problem.fault)?;
    let (mut value, mut place) = (fault.get_ref(), None);
    for key in &problem.keys {
        let DeValue::Table(table) = value else { break };
        let Some((name, inner)) = table.get_key_value(*key) else { break };
        // A table that goes over several lines is shown by its name.
        let span = inner.span();
        place = Some(if text[span.clone()].contains('\n') { name.span() } else { span });
        value = inner.get_ref();
    }
    place.or_else(|| Some(fault.span()))
}

/// A line of a text with a mark under a place in it.
fn snippet(text: &str, place: &Range<usize>) -> String {
    let begin = text[..place.start].rfind('\n').map_or(0, |newline| newline + 1);
    let line = text[begin..].lines().next().unwrap_or_default();
    let number = line_of(text, place.start).to_string();
    let (before, marked) = (&text[begin..place.start], &line[place.start - begin..]);
    let marks = marked.chars().count().min(text[place.clone()].chars().count()).max(1);
    let gap: String = before.chars().map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
    let margin = " ".repeat(number.len());
    format!("{margin} |\n{number} | {line}\n{margin} | {gap}{}", "^".repeat(marks))
}

type Keys = Vec<&'static str>;

impl Fault {
    /// The first value that cannot be: its keys, and what is wrong with it.
    fn problem(&self) -> Option<(Keys, String)> {
        self.problem_of_what().or_else(|| self.problem_of_when()).or_else(|| {
            let lasting = match &self.what {
                FaultKind::Restart => {
                    "a restart happens at one instant, it cannot last; `crash` with `lasts` keeps a node down"
                }
                FaultKind::Disk(DiskFault::Rot(_)) => "a bit that has rotted stays so, it cannot last",
                _ => return None,
            };
            self.lasts.map(|_| (vec!["lasts"], lasting.to_owned()))
        })
    }

    fn problem_of_what(&self) -> Option<(Keys, String)> {
        let share = |key: &'static str, share: Option<f64>| {
            let share = share.filter(|s| !(0.0..=1.0).contains(s))?;
            Some((vec!["what", "link", key], format!("{key} is a share from 0 to 1, not {share}")))
        };
        let factor = |keys: &[&'static str], what: &str, x: f64, low: f64, high: f64| {
            let message = || format!("{what} lies between {low} and {high}, it cannot be {x}");
            (!(low..=high).contains(&x)).then(|| ([&["what"], keys].concat(), message()))
        };
        let counted = |key: &'static str, n: u64| {
            let message = || format!("{key} is a number from 1 on: packets are counted from 1");
            (n == 0).then(|| (vec!["what", "packets", key], message()))
        };
        match &self.what {
            FaultKind::Slow(x) => factor(&["slow"], "slow", *x, 0.01, 1e6),
            FaultKind::Load(x) => factor(&["load"], "load", *x, 0.0, 1e6),
            FaultKind::ClockDrift(ppm) => {
                factor(&["clock-drift"], "clock-drift (parts in a million)", *ppm, -900_000.0, 1e6)
            }
            FaultKind::Disk(DiskFault::Slow(x)) => factor(&["disk", "slow"], "disk slow", *x, 0.01, 1e6),
            FaultKind::Link(change) => {
                let bandwidth = || {
                    let message = "bandwidth is at least 1 byte a second; use a partition for none";
                    (change.bandwidth == Some(0))
                        .then(|| (vec!["what", "link", "bandwidth"], message.to_owned()))
                };
                let delay = || {
                    let why = change.delay.as_ref()?.validate().err()?;
                    Some((vec!["what", "link", "delay"], format!("delay: {why}")))
                };
                share("loss", change.loss)
                    .or_else(|| share("duplication", change.duplication))
                    .or_else(|| share("corruption", change.corruption))
                    .or_else(bandwidth)
                    .or_else(delay)
            }
            FaultKind::Packets(rule) => {
                counted("first", rule.first).or_else(|| counted("count", rule.count.unwrap_or(1)))
            }
            FaultKind::Partition(Partition::Isolate) if self.on.is_everybody() => {
                let message = "isolate needs `on`: whom to cut off from the rest";
                Some((vec!["what", "partition"], message.to_owned()))
            }
            _ => None,
        }
    }

    fn problem_of_when(&self) -> Option<(Keys, String)> {
        let (count, trigger) = match &self.when {
            When::Sent(m) => (m.count, "sent"),
            When::Delivered(m) => (m.count, "delivered"),
            When::State(s) => (s.count, "state"),
            When::At(_) => return None,
        };
        (count == 0).then(|| (vec!["when", trigger, "count"], "count is counted from 1".to_owned()))
    }
}

impl FromStr for FaultPlan {
    type Err = FaultFileError;
    fn from_str(text: &str) -> Result<Self, FaultFileError> {
        Self::from_toml(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        fault::{LinkChange, MessageTrigger, Offset, PacketAction, PacketRule, StateTrigger, Target},
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
                lasts: (n.is_multiple_of(2)
                    && !matches!(kind, FaultKind::Restart | FaultKind::Disk(DiskFault::Rot(_))))
                .then_some(secs(1)),
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
    fn a_malformed_file_is_refused_with_its_line() {
        let text = "[[fault]]\nname = \"x\"\nwhen = { at = \"5 parsecs\" }\nwhat = \"crash\"\non = \"a\"\n";
        let error = FaultPlan::from_toml(text).unwrap_err();
        assert_eq!(error.line, Some(3), "{error}");
        assert!(error.message.contains("parsecs"), "{error}");

        let text = "[[fault]]\nname = \"x\"\nwhen = { at = \"5s\" }\nwhat = \"crush\"\n";
        let error = FaultPlan::from_toml(text).unwrap_err();
        assert!(error.message.contains("crush") && error.message.contains("crash"), "{error}");
    }

    /// The error of a file with a good fault and then this one, whose name is `x`: its line, and the text under the mark.
    fn marked(fault: &str) -> (usize, String, String) {
        let text =
            format!("[[fault]]\nname = \"good\"\nwhen = {{ at = \"1s\" }}\nwhat = \"crash\"\n\n{fault}");
        let error = FaultPlan::from_toml(&text).unwrap_err();
        let line = error.line.unwrap_or_else(|| panic!("no line: {error}"));
        let lines: Vec<&str> = error.message.lines().collect();
        let shown =
            lines.iter().position(|shown| shown.starts_with(&format!("{line} | "))).expect(&error.message);
        assert_eq!(lines[shown], format!("{line} | {}", text.lines().nth(line - 1).unwrap()), "{error}");
        let (from, to) = (lines[shown + 1].find('^').unwrap(), lines[shown + 1].rfind('^').unwrap());
        (line, lines[shown][from..=to].to_owned(), error.message)
    }

    #[test]
    fn a_value_out_of_its_range_is_shown_in_its_line() {
        let table: &[(&str, usize, &str, &str)] = &[
            (
                "when = { at = \"1s\" }\nwhat = { link = { delay = { constant = \"1ms\" }, loss = 3.0 } }",
                9,
                "3.0",
                "share",
            ),
            ("when = { at = \"1s\" }\nwhat = { link = { duplication = -0.1 } }", 9, "-0.1", "from 0 to 1"),
            ("what = { link = { corruption = 1.5 } }\nwhen = { at = \"1s\" }", 8, "1.5", "from 0 to 1"),
            ("when = { at = \"1s\" }\nwhat.link.loss = 3.0", 9, "3.0", "from 0 to 1"),
            ("when = { at = \"1s\" }\n[fault.what.link]\nbandwidth = 0\n", 10, "0", "at least 1 byte"),
            ("when = { at = \"1s\" }\n[fault.what]\n# comment\nslow = 0.001\n", 11, "0.001", "between 0.01"),
            ("when = { at = \"1s\" }\nwhat = { load = -1.0 }", 9, "-1.0", "between 0"),
            ("when = { at = \"1s\" }\nwhat = { clock-drift = -1e6 }", 9, "-1e6", "between -900000"),
            ("when = { at = \"1s\" }\nwhat = { disk = { slow = 0.0 } }", 9, "0.0", "disk slow"),
            (
                "when = { at = \"1s\" }\nwhat = { packets = { action = \"drop\", first = 0 } }",
                9,
                "0",
                "from 1 on",
            ),
            (
                "when = { at = \"1s\" }\nwhat = { packets = { action = \"drop\", count = 0 } }",
                9,
                "0",
                "from 1 on",
            ),
            ("when = { at = \"1s\" }\nwhat = { partition = \"isolate\" }", 9, "\"isolate\"", "needs `on`"),
            ("when = { sent = { count = 0 } }\nwhat = \"crash\"", 8, "0", "from 1"),
            (
                "what = \"crash\"\n[fault.when.state]\nkey = \"a\"\nvalue = \"b\"\ncount = 0\n",
                12,
                "0",
                "from 1",
            ),
            ("when = { at = \"1s\" }\nlasts = \"2s\"\nwhat = \"restart\"", 9, "\"2s\"", "cannot last"),
            (
                "when = { at = \"1s\" }\nlasts = \"2s\"\nwhat = { disk = { rot = \"\" } }",
                9,
                "\"2s\"",
                "cannot last",
            ),
        ];
        for (fault, line, mark, told) in table {
            let (at, marked, message) = marked(&format!("[[fault]]\nname = \"x\"\n{fault}"));
            assert_eq!((at, marked.as_str()), (*line, *mark), "{message}");
            assert!(message.starts_with("fault `x`: ") && message.contains(told), "{message}");
        }
    }

    #[test]
    fn a_value_of_the_wrong_form_is_shown_in_its_line() {
        let table: &[(&str, usize, &str)] = &[
            ("when = { at = \"soon\" }\nwhat = \"crash\"", 8, "soon"),
            ("when = { at = \"1s\" }\nwhat = { slow = \"much\" }", 9, "much"),
            ("when = { at = \"1s\" }\nwhat = { memory-limit = -1 }", 9, "-1"),
            ("when = { at = \"1s\" }\nwhat = { link = { los = 0.5 } }", 9, "los"),
            ("when = { at = \"1s\" }\n[fault.what.link]\nextra_delay = \"1ms\"\n", 10, "extra_delay"),
            (
                "when = { at = \"1s\" }\n[fault.what.link.delay.uniform]\nfrom = \"2ms\"\nto = \"1ms\"\n",
                9,
                "delay",
            ),
            ("when = { at = \"1s\" }\nwhat = { clock-jump = 3 }", 9, "3"),
            (
                "when = { at = \"1s\" }\nwhat = \"crash\"\non = { any = { group = \"g\", count = -1 } }",
                10,
                "-1",
            ),
            ("when = { at = \"1s\" }\nwhat = \"crash\"\non = { grup = \"g\" }", 10, "grup"),
            ("when = { at = \"1s\" }\nwhat = { disk = { crash-policy = \"keep\" } }", 9, "keep"),
        ];
        for (fault, line, mark) in table {
            let (at, marked, message) = marked(&format!("[[fault]]\nname = \"x\"\n{fault}"));
            assert!(at == *line && marked.contains(mark), "{at} {marked}: {message}");
        }
    }

    #[test]
    fn a_value_of_a_plan_out_of_its_range_is_shown_in_its_line() {
        let plan = crate::plan::Plan::new("x", 1, secs(1)).with_faults(every_kind());
        let good = plan.to_toml();
        let bad = good.replacen("loss = 0.1", "loss = 1.1", 1);
        assert_ne!(good, bad);
        let error = crate::plan::Plan::from_toml(&bad).unwrap_err();
        let line = bad.lines().position(|line| line.contains("loss = 1.1")).unwrap() + 1;
        assert!(error.contains(&format!("\n{line} | ")) && error.contains("from 0 to 1"), "{error}");
    }

    #[test]
    fn a_file_without_faults_is_refused_unless_it_says_so() {
        for text in ["", "\n", "# nothing yet\n"] {
            let error = FaultPlan::from_toml(text).unwrap_err();
            assert!(error.message.contains("contains no `[[fault]]`"), "{error}");
        }
        assert_eq!(FaultPlan::from_toml("fault = []"), Ok(FaultPlan::none()));
        assert_eq!(FaultPlan::from_toml(&FaultPlan::none().to_toml()), Ok(FaultPlan::none()));
    }
}
