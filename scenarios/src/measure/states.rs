//! States: who was what, when, and for how long.

use std::collections::BTreeMap;

use sim_core::{
    record::{Name, NodeIndex, StateChange},
    time::{Duration, SimTime},
};

use super::{Gauge, Measure, MeasureError, Recorded, Run, Times, Unit, recorded::state_value};

/// The changes of one state (`role`, `suspected`, ...) of the nodes in the view.
#[derive(Clone)]
pub struct States<'a> {
    run: Run<'a>,
    key: String,
    /// All of them, also before the view: what a node was at its beginning counts.
    changes: Result<Vec<&'a StateChange>, MeasureError>,
}

/// Times at which a state took a value, and on which nodes.
#[derive(Clone, PartialEq, Debug)]
pub struct Moments {
    label: String,
    moments: Result<Vec<(SimTime, String, String)>, MeasureError>,
}

impl<'a> States<'a> {
    pub(super) fn new(run: &Run<'a>, key: &str) -> Self {
        let changes = run.problem().and_then(|()| {
            let missing = || run.missing(Recorded::State, key);
            let name = run.name(key).ok_or_else(missing)?;
            let all: Vec<&StateChange> =
                run.recording().states.iter().filter(|change| change.key == name).collect();
            if all.is_empty() {
                return Err(missing());
            }
            Ok(all.into_iter().filter(|change| run.has_node(change.node)).collect())
        });
        Self { run: run.clone(), key: key.to_owned(), changes }
    }
    fn text(&self, name: Name) -> &'a str {
        self.run.recording().text(name)
    }
    /// That the value was recorded on some node at some time: otherwise it is misspelt, or something never happened.
    fn known(&self, value: &str) -> Result<(), MeasureError> {
        let key = self.run.name(&self.key);
        let value_name = self.run.name(value);
        let mut all = self.run.recording().states.iter();
        if value_name.is_some()
            && all.any(|change| Some(change.key) == key && Some(change.value) == value_name)
        {
            return Ok(());
        }
        Err(self.run.missing(Recorded::StateValue, &state_value(&self.key, value)))
    }
    /// How often, when and where the state took that value in the view. A value that the run never recorded is an error:
    /// see [`Measure::or_zero`].
    pub fn became(&self, value: &str) -> Moments {
        let known = self.known(value);
        let moments = self.became_where(&format!("{} = {value}", self.key), |text| text == value);
        Moments { moments: known.and(moments.moments), ..moments }
    }
    /// As [`States::became`], for the values for which this is true; none is fine.
    pub fn became_where(&self, label: &str, is: impl Fn(&str) -> bool) -> Moments {
        let moments = self.changes.as_ref().map_err(Clone::clone).map(|changes| {
            let here =
                changes.iter().filter(|change| self.run.has_time(change.at) && is(self.text(change.value)));
            here.map(|change| {
                let node = self.run.recording().node_name(change.node).to_owned();
                (change.at, node, self.text(change.value).to_owned())
            })
            .collect()
        });
        Moments { label: label.to_owned(), moments }
    }
    /// Every change in the view: when, where, to what (empty when the state is no more).
    pub fn changes(&self) -> Moments {
        self.became_where(&format!("change of {}", self.key), |_| true)
    }
    /// How many nodes have that value, as a gauge: `run.states("role").holders("leader").max().at_most(1)`. A value that the
    /// run never recorded is an error.
    pub fn holders(&self, value: &str) -> Gauge {
        let gauge = self.holders_where(&format!("nodes with {} = {value}", self.key), |text| text == value);
        Gauge { steps: self.known(value).and(gauge.steps), ..gauge }
    }
    /// As [`States::holders`], for the values for which this is true; none is fine.
    pub fn holders_where(&self, label: &str, is: impl Fn(&str) -> bool) -> Gauge {
        let (from, to) = self.run.span_of_view();
        let steps = self.changes.as_ref().map_err(Clone::clone).map(|changes| {
            let mut by_node: BTreeMap<NodeIndex, Vec<(SimTime, f64)>> = BTreeMap::new();
            // What happens at the view's end, or later, belongs to the next view.
            for change in changes.iter().filter(|change| change.at < from || self.run.has_time(change.at)) {
                let holds = f64::from(u8::from(is(self.text(change.value))));
                by_node.entry(change.node).or_default().push((change.at, holds));
            }
            Gauge::sum(by_node.into_values().collect(), from, to)
        });
        Gauge { label: label.to_owned(), unit: Unit::Number, to, steps }
    }
    /// For how long nodes in the view had that value, added up over the nodes.
    pub fn time_in(&self, value: &str) -> Measure {
        let gauge = self.holders(value);
        let length = gauge.to.since(self.run.span_of_view().0);
        let label = format!("time in {} = {value}", self.key);
        if length.is_zero() {
            return Measure::from_result(label, Unit::Seconds, gauge.steps.map(|_| 0.0));
        }
        (gauge.mean() * length).named(label)
    }
    /// What each node in the view had at a time since the start of the run. Nodes that had no value are left out.
    ///
    /// # Errors
    /// When the run never recorded the state.
    pub fn at(&self, time: Duration) -> Result<BTreeMap<String, String>, MeasureError> {
        let when = SimTime::ZERO + time;
        let mut held = BTreeMap::new();
        for change in
            self.changes.as_ref().map_err(Clone::clone)?.iter().take_while(|change| change.at <= when)
        {
            let node = self.run.recording().node_name(change.node).to_owned();
            if change.value == Name::EMPTY {
                held.remove(&node);
            } else {
                held.insert(node, self.text(change.value).to_owned());
            }
        }
        Ok(held)
    }
    /// What each node in the view had at the end of the run.
    ///
    /// # Errors
    /// When the run never recorded the state.
    pub fn last(&self) -> Result<BTreeMap<String, String>, MeasureError> {
        self.at(self.run.end().since_start())
    }
}

impl Moments {
    /// How many there were. Zero is an answer.
    pub fn count(&self) -> Measure {
        self.times().count()
    }
    /// When.
    pub fn times(&self) -> Times {
        let at = self.moments.as_ref().map(|all| all.iter().map(|one| one.0).collect()).map_err(Clone::clone);
        Times::new(self.label.clone(), at)
    }
    /// The first time; `never` where there is none.
    pub fn first(&self) -> Measure {
        self.times().first()
    }
    /// When, on which node, and the value, in order of time.
    ///
    /// # Errors
    /// When the run never recorded the state or the value.
    pub fn list(&self) -> Result<&[(SimTime, String, String)], MeasureError> {
        self.moments.as_deref().map_err(Clone::clone)
    }
}
