//! Messages: how many packets, of which kind, how large, and what became of them.

use sim_core::record::{Fate, Message, RecordingLevel};

use super::{Measure, MeasureError, Measures, Recorded, Run, Sample, Times, Unit};

/// Some of a run's packets, in order of sending. Retransmissions and copies that the network made are among them: see
/// [`Messages::originals`].
#[derive(Clone)]
pub struct Messages<'a> {
    run: Run<'a>,
    label: String,
    chosen: Result<Vec<&'a Message>, MeasureError>,
}

impl<'a> Messages<'a> {
    pub(super) fn new(run: &Run<'a>, kind: Option<&str>) -> Self {
        run.reads(RecordingLevel::Full);
        let asked = kind.unwrap_or("message");
        let find = || {
            run.problem()?;
            let all = &run.recording().messages;
            let name = kind.map(|text| run.name(text));
            let is = |one: &&Message| name.is_none_or(|name| Some(one.kind) == name);
            if !all.iter().any(|one| is(&one)) {
                return Err(run.missing(Recorded::Message, asked));
            }
            Ok(all.iter().filter(is).filter(|one| run.has_time(one.sent) && run.has_node(one.from)).collect())
        };
        Self { run: run.clone(), label: asked.to_owned(), chosen: find() }
    }
    /// Those for which this is true.
    pub fn only(mut self, keep: impl Fn(&Message) -> bool) -> Self {
        self.chosen = self.chosen.map(|all| all.into_iter().filter(|&one| keep(one)).collect());
        self
    }
    /// Those that a protocol sent itself: no retransmissions, no copies made by the network.
    pub fn originals(self) -> Self {
        self.only(|one| !one.duplicate && one.attempt == 0)
    }
    /// Those to one node. A node that does not exist is an error. For senders narrow the run: `run.node("n1").messages(..)`.
    pub fn to(mut self, node: &str) -> Self {
        match self.run.recording().find_node(node) {
            Some(index) => self.only(|one| one.to == index),
            None => {
                self.chosen = self.chosen.and(Err(self.run.missing(Recorded::Node, node)));
                self
            }
        }
    }
    /// Those that arrived.
    pub fn arrived(self) -> Self {
        self.only(|one| matches!(one.fate, Fate::Arrived(_)))
    }
    /// Those that were lost.
    pub fn dropped(self) -> Self {
        self.only(|one| matches!(one.fate, Fate::Dropped(..)))
    }
    /// How many there are. Zero is an answer.
    pub fn count(&self) -> Measure {
        let count = self.chosen.as_ref().map(|all| all.len() as f64).map_err(Clone::clone);
        Measure::from_result(format!("count of {}", self.label), Unit::Number, count)
    }
    /// Their size on the wire, added up.
    pub fn bytes(&self) -> Measure {
        let sum = |all: &Vec<&Message>| all.iter().map(|one| f64::from(one.bytes)).sum();
        let bytes = self.chosen.as_ref().map(sum).map_err(Clone::clone);
        Measure::from_result(format!("size of {}", self.label), Unit::Bytes, bytes)
    }
    /// How long they were on the wire, of those that arrived, in order of sending.
    pub fn delays(&self) -> Measures {
        let delay = |one: &&Message| match one.fate {
            Fate::Arrived(at) => {
                Some(Sample { started: one.sent, at, value: at.since(one.sent).as_secs_f64() })
            }
            _ => None,
        };
        let samples = self.chosen.as_ref().map(|all| all.iter().filter_map(delay).collect());
        Measures::new(format!("delay of {}", self.label), Unit::Seconds, samples.map_err(Clone::clone))
    }
    /// When they were sent.
    pub fn times(&self) -> Times {
        let at =
            self.chosen.as_ref().map(|all| all.iter().map(|one| one.sent).collect()).map_err(Clone::clone);
        Times::new(self.label.clone(), at)
    }
    /// The records.
    ///
    /// # Errors
    /// When the run never recorded any.
    pub fn list(&self) -> Result<&[&'a Message], MeasureError> {
        self.chosen.as_deref().map_err(Clone::clone)
    }
}
