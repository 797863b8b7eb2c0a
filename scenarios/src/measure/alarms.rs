//! Alarms: what a monitor said of other nodes, held against what the plan's crashes did to them.
//!
//! A monitor shows what it thinks of a node as a state under that node's name. An alarm is a time at which such a state took
//! the value that means "dead". It is false while the node is up: it has not crashed, or has started again.

use sim_core::{
    record::{FaultRecord, Recording},
    time::SimTime,
};

use super::{Measure, MeasureError, Measures, Run, Sample, Times, Unit};

/// See the module.
#[derive(Clone)]
pub struct Alarms<'a> {
    run: Run<'a>,
    value: String,
}

/// The crashes of one node, by the plan: `(down, up again)`.
fn downtimes(recording: &Recording, node: &str) -> Vec<(SimTime, SimTime)> {
    let stops = |fault: &&FaultRecord| {
        let kills = matches!(fault.what.as_str(), "crash" | "power failure");
        kills && fault.nodes.iter().any(|&one| recording.node_name(one) == node)
    };
    let ends = |fault: &FaultRecord, index: usize| fault.ended.get(index).copied().unwrap_or(SimTime::MAX);
    let faults = recording.faults.iter().filter(stops);
    let all =
        faults.flat_map(|fault| fault.began.iter().enumerate().map(move |(i, &at)| (at, ends(fault, i))));
    all.collect()
}

impl<'a> Run<'a> {
    /// What was said of nodes: states under the nodes' names, `value` being the word for dead.
    pub fn alarms(&self, value: &str) -> Alarms<'a> {
        Alarms { run: self.clone(), value: value.to_owned() }
    }
}

impl<'a> Alarms<'a> {
    /// The nodes of which anything was said.
    fn nodes(&self) -> Result<Vec<&'a str>, MeasureError> {
        let recording = self.run.recording();
        let names = recording.nodes.iter().map(|node| node.name.as_str());
        let watched = |name: &&str| recording.states.iter().any(|change| recording.text(change.key) == *name);
        let all: Vec<&str> = names.filter(watched).collect();
        if all.is_empty() {
            return Err(MeasureError::Empty { of: "alarms: no state has a node's name, and so".to_owned() });
        }
        Ok(all)
    }
    /// When that node was called dead.
    pub fn of(&self, node: &str) -> Times {
        self.run.states(node).became_where(&format!("alarm of {node}"), |state| state == self.value).times()
    }
    /// When any node was called dead that was up.
    pub fn false_ones(&self) -> Times {
        let all = self.nodes().and_then(|nodes| {
            let mut all = Vec::new();
            for node in nodes {
                let down = downtimes(self.run.recording(), node);
                let is_up = |at: &SimTime| !down.iter().any(|(from, to)| (*from..*to).contains(at));
                all.extend(self.of(node).list()?.into_iter().filter(is_up));
            }
            Ok(all)
        });
        Times::new("false alarms", all)
    }
    /// From each crash of a watched node to the next alarm of it; `never` where none follows.
    pub fn detections(&self) -> Measures {
        self.crashes("time from crash to alarm", |_, crash, alarm| {
            Measure::new("", Unit::Seconds, alarm.map_or(f64::INFINITY, |at| at.since(crash).as_secs_f64()))
        })
    }
    /// One measure for each crash of a watched node: of the node's name, the crash, and the next alarm of the node, if any.
    pub fn crashes(
        &self,
        label: &str,
        measure: impl Fn(&str, SimTime, Option<SimTime>) -> Measure,
    ) -> Measures {
        let nodes = self.nodes().inspect_err(|_| {
            measure("", SimTime::ZERO, None); // for what it reads: see `Run::level_read`
        });
        let samples = nodes.and_then(|nodes| {
            let mut samples = Vec::new();
            for node in nodes {
                let alarms = self.of(node).list()?;
                for (crash, _) in downtimes(self.run.recording(), node) {
                    let alarm = alarms.iter().copied().find(|&at| at >= crash);
                    let measure = measure(node, crash, alarm);
                    let at = alarm.unwrap_or(crash);
                    samples.push((measure.unit(), Sample { started: crash, at, value: measure.value()? }));
                }
            }
            Ok(samples)
        });
        let unit = samples.as_ref().ok().and_then(|all| all.first()).map_or(Unit::Seconds, |first| first.0);
        Measures::new(label, unit, samples.map(|all| all.into_iter().map(|one| one.1).collect()))
    }
}

impl Measures {
    /// The one that was observed at that very instant; an error where none was.
    pub fn at(&self, time: SimTime) -> Measure {
        self.clone().only(|one| one.at == time).first()
    }
}

#[cfg(test)]
mod tests {
    use sim_core::{record::NodeIndex, time::ms};

    use super::*;
    use crate::measure::testing::RecordingBuilder;

    /// `a` crashes at 2 s and is called dead at 1 s, at 2.2 s and at 4.5 s; it is up again at 4 s. `b` crashes and is never
    /// called dead. `c` is watched and well.
    fn recording() -> Recording {
        let says = |run: RecordingBuilder, at, who, what| run.state(at, "monitor", who, what);
        let mut run =
            RecordingBuilder::lasting(9_000).counter("a", "n", &[(0, 1.0)]).counter("b", "n", &[(0, 1.0)]);
        run = run.counter("c", "n", &[(0, 1.0)]).fault("a crashes", 2_000, 1).fault("b crashes", 3_000, 1);
        for (at, who, what) in [
            (0, "a", "alive"),
            (0, "b", "alive"),
            (0, "c", "alive"),
            (1_000, "a", "dead"),
            (1_100, "a", "alive"),
            (2_200, "a", "dead"),
            (4_100, "a", "alive"),
            (4_500, "a", "dead"),
        ] {
            run = says(run, at, who, what);
        }
        let mut recording = run.done();
        let node = |name| recording.find_node(name).unwrap();
        let (a, b): (NodeIndex, NodeIndex) = (node("a"), node("b"));
        recording.faults[0].nodes = vec![a];
        recording.faults[0].ended = vec![SimTime::ZERO + ms(4_000)];
        recording.faults[1].nodes = vec![b];
        recording
    }

    #[test]
    fn an_alarm_is_false_while_the_node_is_up() {
        let recording = recording();
        let run = Run::new(&recording);
        let alarms = run.alarms("dead");
        let at = |times: Times| {
            times.list().unwrap().iter().map(|at| at.as_nanos() / 1_000_000).collect::<Vec<_>>()
        };
        assert_eq!(at(alarms.of("a")), [1_000, 2_200, 4_500]);
        assert_eq!(at(alarms.false_ones()), [1_000, 4_500]);
        assert_eq!(at(run.alarms("gone").false_ones()), [0; 0]);
    }

    #[test]
    fn a_detection_runs_from_the_crash_to_the_next_alarm_and_may_be_never() {
        let recording = recording();
        let run = Run::new(&recording);
        let found = run.alarms("dead").detections();
        assert_eq!(
            found.list().unwrap().iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["200ms", "never"]
        );
        assert_eq!(
            (found.label(), found.samples().unwrap()[0].at),
            ("time from crash to alarm", SimTime::ZERO + ms(2_200))
        );
    }

    #[test]
    fn without_a_state_that_is_called_like_a_node_there_is_an_error_and_no_zero() {
        let recording = RecordingBuilder::lasting(9_000).state(1, "monitor", "role", "leader").done();
        let alarms = Run::new(&recording).alarms("dead");
        assert!(alarms.false_ones().count().value().is_err());
        assert!(alarms.detections().count().value().is_err());
    }
}
