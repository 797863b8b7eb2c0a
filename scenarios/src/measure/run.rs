//! The view of a run that expectations get.

use std::{
    cell::{Cell, OnceCell},
    collections::BTreeMap,
    rc::Rc,
};

use sim_core::{
    plan::Plan,
    record::{Ending, FaultRecord, MetricKind, Name, NodeIndex, Recording, RecordingLevel, Series},
    time::{Duration, SimTime},
};

use super::{
    Check, Counter, Gauge, Measure, MeasureError, Measures, Messages, Operations, Recorded, Sample, Spans,
    States, Times, Unit, recorded, span_tree::SpanTree,
};

/// A read-only view of a recording: all of it, or some of its nodes and a part of its time.
///
/// Narrowing gives another view. A view of a node that does not exist, or of a time after the end, carries that error into
/// everything that is measured in it.
#[derive(Clone)]
pub struct Run<'a> {
    pub(super) shared: Rc<Shared<'a>>,
    from: SimTime,
    /// Exclusive; [`SimTime::MAX`] for "to the end, and with it".
    to: SimTime,
    nodes: Option<Rc<[bool]>>,
    problem: Option<MeasureError>,
}

/// What all views of one run share.
pub(super) struct Shared<'a> {
    pub(super) recording: &'a Recording,
    siblings: Vec<&'a Recording>,
    reads: Cell<RecordingLevel>,
    names: OnceCell<BTreeMap<&'a str, Name>>,
    tree: OnceCell<SpanTree>,
    horizon: OnceCell<SimTime>,
}

impl<'a> Run<'a> {
    /// The view of a whole run.
    pub fn new(recording: &'a Recording) -> Self {
        Self::among(recording, Vec::new())
    }
    /// The view of a whole run among the other variants' runs under the same seed. They are looked at for one thing only:
    /// whether a name that this run lacks is misspelt.
    pub fn among(recording: &'a Recording, siblings: Vec<&'a Recording>) -> Self {
        let shared = Shared {
            recording,
            siblings,
            reads: Cell::new(RecordingLevel::Essential),
            names: OnceCell::new(),
            tree: OnceCell::new(),
            horizon: OnceCell::new(),
        };
        Self { shared: Rc::new(shared), from: SimTime::ZERO, to: SimTime::MAX, nodes: None, problem: None }
    }
    /// The recording itself, for checkers and for what the view cannot say. It is not narrowed.
    pub fn recording(&self) -> &'a Recording {
        self.shared.recording
    }
    /// The run's seed.
    pub fn seed(&self) -> u64 {
        self.recording().origin.seed
    }
    /// When the run was over. A run that fell quiet before its planned end is over at the planned end: nothing happened in
    /// between.
    pub fn end(&self) -> SimTime {
        *self.shared.horizon.get_or_init(|| {
            let recording = self.shared.recording;
            let planned = match recording.ending {
                Ending::Quiet => {
                    toml::from_str::<Plan>(&recording.origin.plan).map_or(SimTime::ZERO, |plan| plan.end())
                }
                _ => SimTime::ZERO,
            };
            planned.max(recording.ended)
        })
    }
    /// How much recording the expectations that looked at this run need. Asked of a run in which nothing happened, this
    /// tells what a lab's expectations read, so every closure must be called at least once even there.
    pub(crate) fn level_read(&self) -> RecordingLevel {
        self.shared.reads.get()
    }
    pub(super) fn reads(&self, level: RecordingLevel) {
        self.shared.reads.set(self.shared.reads.get().max(level));
    }

    // ---- narrower views ----

    /// From `from` (with it) to `to` (without it), in time since the start of the run. Views of views are what both have.
    pub fn between(&self, from: Duration, to: Duration) -> Self {
        let (start, end) = (SimTime::ZERO + from, SimTime::ZERO + to);
        let over = self.end();
        let problem = if from >= to {
            Some(format!("the window from {from} to {to} is empty"))
        } else if start >= over && over > SimTime::ZERO {
            Some(format!("the window from {from} begins when the run is over, at {over}"))
        } else {
            None
        };
        let mut view = self.clone();
        view.from = self.from.max(start);
        view.to = self.to.min(end);
        view.problem = view.problem.or(problem.map(MeasureError::Impossible));
        view
    }
    /// From a time (with it) to the end.
    pub fn after(&self, from: Duration) -> Self {
        self.between(from, Duration::MAX)
    }
    /// From the start to a time (without it).
    pub fn before(&self, to: Duration) -> Self {
        self.between(Duration::ZERO, to)
    }
    /// One node, by its name.
    pub fn node(&self, name: &str) -> Self {
        self.narrowed(Recorded::Node, name, |node| node.name == name)
    }
    /// The nodes of one service, by its name.
    pub fn service(&self, name: &str) -> Self {
        self.narrowed(Recorded::Service, name, |node| node.service == name)
    }
    fn narrowed(
        &self,
        what: Recorded,
        name: &str,
        is: impl Fn(&sim_core::record::NodeRecord) -> bool,
    ) -> Self {
        let all = &self.recording().nodes;
        let mut view = self.clone();
        if !all.iter().any(&is) {
            view.problem = view.problem.or_else(|| Some(self.missing(what, name)));
        }
        let in_view = |(i, node)| is(node) && self.has_node(NodeIndex(i as u32));
        view.nodes = Some(all.iter().enumerate().map(in_view).collect());
        view
    }
    /// One measure for each node of a service, in order of creation.
    pub fn over_nodes(&self, service: &str, measure: impl Fn(&Self) -> Measure) -> Measures {
        let view = self.service(service);
        if let Some(error) = view.problem.clone() {
            measure(&view); // for what it reads: see `level_read`
            return Measures::new(service, Unit::Number, Err(error));
        }
        let nodes = self.recording().nodes.iter().enumerate();
        let chosen = nodes.filter(|(i, _)| view.has_node(NodeIndex(*i as u32)));
        Measures::collect(
            format!("by node of {service}"),
            chosen.map(|(_, node)| measure(&view.node(&node.name))),
        )
    }
    /// One measure for each window of that width: the view is cut from its beginning on, and a rest is left out.
    pub fn every(&self, width: Duration, measure: impl Fn(&Self) -> Measure) -> Measures {
        let label = format!("in each {width}");
        if width.is_zero() {
            return Measures::new(
                label,
                Unit::Number,
                Err(MeasureError::Impossible("a window of no time".to_owned())),
            );
        }
        let (first, last) = (self.from.since_start(), self.to.min(self.end()).since_start());
        if first + width > last {
            measure(self); // for what it reads: see `level_read`
        }
        let starts = std::iter::successors(Some(first), |&start| Some(start + width));
        let windows = starts.take_while(|&start| start + width <= last);
        Measures::collect(label, windows.map(|start| measure(&self.between(start, start + width))))
    }
    /// One measure for each of these windows, `(from, to)` in time since the start of the run.
    pub fn over_windows(
        &self,
        windows: impl IntoIterator<Item = (Duration, Duration)>,
        measure: impl Fn(&Self) -> Measure,
    ) -> Measures {
        Measures::collect("by window", windows.into_iter().map(|(from, to)| measure(&self.between(from, to))))
    }

    // ---- what is in the view ----

    pub(super) fn has_node(&self, node: NodeIndex) -> bool {
        self.nodes.as_ref().is_none_or(|nodes| nodes.get(node.0 as usize).copied().unwrap_or(false))
    }
    pub(super) fn has_time(&self, at: SimTime) -> bool {
        at >= self.from && (at < self.to || self.to == SimTime::MAX)
    }
    /// The beginning and the end of the view, inside the run.
    pub(super) fn span_of_view(&self) -> (SimTime, SimTime) {
        (self.from, self.to.min(self.end()).max(self.from))
    }
    pub(super) fn problem(&self) -> Result<(), MeasureError> {
        self.problem.clone().map_or(Ok(()), Err)
    }
    pub(super) fn name(&self, text: &str) -> Option<Name> {
        let names = self.shared.names.get_or_init(|| {
            let names = self.shared.recording.names.iter().enumerate();
            names.map(|(i, text)| (text.as_str(), Name(i as u32))).collect()
        });
        names.get(text).copied()
    }
    pub(super) fn missing(&self, what: Recorded, name: &str) -> MeasureError {
        recorded::missing(self.shared.recording, &self.shared.siblings, what, name)
    }
    pub(super) fn tree(&self) -> &SpanTree {
        self.shared.tree.get_or_init(|| SpanTree::new(self.shared.recording))
    }

    // ---- metrics ----

    /// The series of that name and kind, or why there is none. A node that has no such series is fine as long as another
    /// node of the run has it: whoever never retried has no counter of retries.
    fn series(&self, kind: MetricKind, what: Recorded, name: &str) -> Result<Vec<&'a Series>, MeasureError> {
        self.problem()?;
        let key = self.name(name).ok_or_else(|| self.missing(what, name))?;
        let all = self.shared.recording.metrics.iter();
        let found: Vec<&Series> = all.filter(|series| series.name == key && series.kind == kind).collect();
        if found.is_empty() { Err(self.missing(what, name)) } else { Ok(found) }
    }
    fn in_view<'s>(&'s self, all: &'s [&'a Series]) -> impl Iterator<Item = &'a Series> + 's {
        all.iter().copied().filter(|series| self.has_node(series.node))
    }
    /// The total of a counter: `run.count("db.query")`.
    pub fn count(&self, name: &str) -> Measure {
        self.counter(name).total()
    }
    /// A counter, summed over the nodes in the view.
    pub fn counter(&self, name: &str) -> Counter {
        let (from, to) = self.span_of_view();
        let increments = self.series(MetricKind::Counter, Recorded::Counter, name).map(|all| {
            let points =
                self.in_view(&all).flat_map(|series| &series.points).filter(|point| self.has_time(point.at));
            let mut all: Vec<(SimTime, f64)> = points.map(|point| (point.at, point.value)).collect();
            all.sort_by_key(|one| one.0);
            all
        });
        Counter { label: name.to_owned(), length: to.since(from), increments }
    }
    /// A gauge, summed over the nodes in the view.
    pub fn gauge(&self, name: &str) -> Gauge {
        let (from, to) = self.span_of_view();
        let found = self.series(MetricKind::Gauge, Recorded::Gauge, name);
        let (unit, scale) = found.as_ref().map_or((Unit::Number, 1.0), |all| self.unit_of(all[0]));
        let steps = found.map(|all| {
            let points = |series: &Series| {
                let until =
                    series.points.iter().take_while(|point| point.at < self.from || self.has_time(point.at));
                until.map(|point| (point.at, point.value * scale)).collect()
            };
            Gauge::sum(self.in_view(&all).map(points).collect(), from, to)
        });
        Gauge { label: name.to_owned(), unit, to, steps }
    }
    /// The observations of a histogram that were made in the view, by all its nodes. For latencies that is when the
    /// operation was over; see [`Measures::started_between`].
    pub fn histogram(&self, name: &str) -> Measures {
        let found = self.series(MetricKind::Histogram, Recorded::Histogram, name);
        let (unit, scale) = found.as_ref().map_or((Unit::Number, 1.0), |all| self.unit_of(all[0]));
        let samples = found.map(|all| {
            let points =
                self.in_view(&all).flat_map(|series| &series.points).filter(|point| self.has_time(point.at));
            let sample = |point: &sim_core::record::Point| {
                // A double keeps a factor of 1 exact, so that seconds stay as they were recorded.
                let value = point.value * scale;
                let took =
                    if unit == Unit::Seconds { Duration::from_secs_f64(value) } else { Duration::ZERO };
                Sample { started: point.at - took, at: point.at, value }
            };
            let mut samples: Vec<Sample> = points.map(sample).collect();
            samples.sort_by_key(|sample| sample.at);
            samples
        });
        Measures::new(name, unit, samples)
    }
    /// The unit of a series, and what one of the recorded unit is in it. A gauge's "1" is a level, pieces, and no share.
    fn unit_of(&self, series: &Series) -> (Unit, f64) {
        match self.shared.recording.text(series.unit) {
            "s" => (Unit::Seconds, 1.0),
            "ms" => (Unit::Seconds, 1e-3),
            "us" => (Unit::Seconds, 1e-6),
            "ns" => (Unit::Seconds, 1e-9),
            "By" => (Unit::Bytes, 1.0),
            _ => (Unit::Number, 1.0),
        }
    }

    // ---- everything else ----

    /// The spans of that name that began in the view. Both sides of a call may have one of the same name:
    /// see [`Spans::client`] and [`Spans::server`].
    pub fn spans(&self, name: &str) -> Spans<'a> {
        Spans::named(self, name)
    }
    /// The changes of a state.
    pub fn states(&self, key: &str) -> States<'a> {
        States::new(self, key)
    }
    /// The operations of that function (`read`, `write`, ...) that were invoked in the view.
    pub fn operations(&self, function: &str) -> Operations<'a> {
        Operations::new(self, Some(function))
    }
    /// All operations that were invoked in the view; none is an error.
    pub fn all_operations(&self) -> Operations<'a> {
        Operations::new(self, None)
    }
    /// The messages of that kind that nodes of the view sent in the view.
    pub fn messages(&self, kind: &str) -> Messages<'a> {
        Messages::new(self, Some(kind))
    }
    /// All messages that nodes of the view sent in the view.
    pub fn all_messages(&self) -> Messages<'a> {
        Messages::new(self, None)
    }
    /// A fault of the plan, by its name.
    pub fn fault(&self, name: &str) -> FaultView<'a> {
        let found = self.shared.recording.faults.iter().find(|fault| fault.name == name);
        let fault = self.problem().and_then(|()| found.ok_or_else(|| self.missing(Recorded::Fault, name)));
        FaultView { name: name.to_owned(), recording: self.shared.recording, fault }
    }
    /// Whether a named property (`always`, `sometimes`, `eventually`) held over the whole run.
    pub fn property(&self, statement: &str) -> Check {
        let found = self.shared.recording.properties.iter().find(|property| property.name == statement);
        let result =
            self.problem().and_then(|()| found.ok_or_else(|| self.missing(Recorded::Property, statement)));
        let (measured, met) = match result {
            Ok(property) => {
                let of = format!("{} of {} checks", property.passes, property.checks);
                let failure = property.first_failure.as_ref().filter(|_| !property.held()).map(|first| {
                    let node = self.shared.recording.node_name(first.node);
                    let at = Measure::from(first.at.since_start());
                    format!(", first not at {at} on {node}: {}", first.detail)
                });
                (format!("{statement}: {of}{}", failure.unwrap_or_default()), Ok(property.held()))
            }
            Err(error) => (format!("{statement}: not measured"), Err(error)),
        };
        Check { measured, bound: "holds".to_owned(), met, value: None }
    }
    /// A knob of the run: a number or a duration, as it was set.
    pub fn knob(&self, name: &str) -> Measure {
        let knobs = recorded::knobs(self.shared.recording);
        match knobs.get(name) {
            Some(toml::Value::Integer(n)) => Measure::from(*n).named(name),
            Some(toml::Value::Float(x)) => Measure::from(*x).named(name),
            Some(toml::Value::String(text)) if text.parse::<Duration>().is_ok() => {
                Measure::from(text.parse::<Duration>().unwrap_or_default()).named(name)
            }
            Some(other) => {
                let error = MeasureError::Units(format!(
                    "the knob `{name}` is {other}, neither a number nor a duration"
                ));
                Measure::failed(name, Unit::Number, error)
            }
            None => Measure::failed(name, Unit::Number, self.missing(Recorded::Knob, name)),
        }
    }
}

/// A fault of the plan, and what it did.
#[derive(Clone)]
pub struct FaultView<'a> {
    name: String,
    recording: &'a Recording,
    fault: Result<&'a FaultRecord, MeasureError>,
}

impl FaultView<'_> {
    /// How many things it changed: packets, nodes, disk operations.
    pub fn touched(&self) -> Measure {
        let touched = self.fault.as_ref().map(|fault| fault.touched as f64).map_err(Clone::clone);
        Measure::from_result(format!("touched by {}", self.name), Unit::Number, touched)
    }
    /// Each time that it took hold.
    pub fn times(&self) -> Times {
        Times::new(
            self.name.clone(),
            self.fault.as_ref().map(|fault| fault.began.clone()).map_err(Clone::clone),
        )
    }
    /// Each time that it was over.
    pub fn ends(&self) -> Times {
        let ended = self.fault.as_ref().map(|fault| fault.ended.clone()).map_err(Clone::clone);
        Times::new(format!("end of {}", self.name), ended)
    }
    /// The names of the nodes that it meant when it began.
    ///
    /// # Errors
    /// When the plan has no such fault.
    pub fn nodes(&self) -> Result<Vec<String>, MeasureError> {
        let fault = self.fault.clone()?;
        Ok(fault.nodes.iter().map(|&node| self.recording.node_name(node).to_owned()).collect())
    }
}
