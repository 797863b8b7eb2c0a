//! Spans: how long things took, and who took the time.

use sim_core::{
    record::{NodeIndex, Recording, RecordingLevel, Span, SpanIndex, SpanKind, SpanStatus, Value},
    time::{Duration, SimTime},
};

use super::{Measure, MeasureError, Measures, Recorded, Run, Sample, Times, Unit};

/// Some of a run's spans, in order of their start. A span that the end of the run or a crash cut short counts with the time
/// it had: see [`Spans::finished`].
#[derive(Clone)]
pub struct Spans<'a> {
    run: Run<'a>,
    label: String,
    chosen: Result<Vec<SpanIndex>, MeasureError>,
}

/// One span.
#[derive(Clone)]
pub struct SpanView<'a> {
    run: Run<'a>,
    index: SpanIndex,
}

/// The value of an attribute.
#[derive(Clone, PartialEq, Debug)]
pub enum AttributeValue {
    /// A number, whole or not.
    Number(f64),
    /// Yes or no.
    Bool(bool),
    /// A text.
    Text(String),
}

impl From<&str> for AttributeValue {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}
impl From<bool> for AttributeValue {
    fn from(yes: bool) -> Self {
        Self::Bool(yes)
    }
}
impl From<i32> for AttributeValue {
    fn from(n: i32) -> Self {
        Self::Number(f64::from(n))
    }
}
impl From<f64> for AttributeValue {
    fn from(x: f64) -> Self {
        Self::Number(x)
    }
}

/// A trace that is worth opening, and why: see [`Expectations::show`](crate::lab::Expectations::show).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Shown {
    /// Which one: [`Recording::trace_id`] makes its id of it.
    pub trace: u32,
    /// Why, to be read after "it is": `a write that was acknowledged and lost`.
    pub why: String,
}

impl<'a> Spans<'a> {
    pub(super) fn named(run: &Run<'a>, name: &str) -> Self {
        run.reads(RecordingLevel::Spans);
        let find = || {
            run.problem()?;
            let missing = || run.missing(Recorded::Span, name);
            let key = run.name(name).ok_or_else(missing)?;
            let spans = &run.recording().spans;
            let mut known = false;
            let mut chosen = Vec::new();
            for (i, span) in spans.iter().enumerate().filter(|(_, span)| span.name == key) {
                known = true;
                if run.has_time(span.start) && run.has_node(span.node) {
                    chosen.push(SpanIndex(i as u32));
                }
            }
            if known { Ok(chosen) } else { Err(missing()) }
        };
        Self { run: run.clone(), label: name.to_owned(), chosen: find() }
    }
    fn span(&self, index: SpanIndex) -> &'a Span {
        &self.run.recording().spans[index.0 as usize]
    }

    // ---- which of them ----

    /// Those for which this is true.
    pub fn only(mut self, keep: impl Fn(&SpanView<'a>) -> bool) -> Self {
        let run = self.run.clone();
        let view = |index| SpanView { run: run.clone(), index };
        self.chosen = self.chosen.map(|all| all.into_iter().filter(|&index| keep(&view(index))).collect());
        self
    }
    /// Those that have no parent: each begins a trace.
    pub fn roots(self) -> Self {
        self.only(|span| !span.span().parent.is_some())
    }
    /// The side that asked.
    pub fn client(self) -> Self {
        self.only(|span| span.span().kind == SpanKind::Client)
    }
    /// The side that was asked.
    pub fn server(self) -> Self {
        self.only(|span| span.span().kind == SpanKind::Server)
    }
    /// Those that ended with an error.
    pub fn failed(self) -> Self {
        self.only(SpanView::failed)
    }
    /// Those that came to their own end, without an error.
    pub fn succeeded(self) -> Self {
        self.only(|span| !span.failed() && !span.span().cut_short)
    }
    /// Those that came to their own end, with or without an error.
    pub fn finished(self) -> Self {
        self.only(|span| !span.span().cut_short)
    }
    /// Those that have an attribute with that value. A key that no span has is an error.
    pub fn with(mut self, key: &str, value: impl Into<AttributeValue>) -> Self {
        let value = value.into();
        let known = self
            .run
            .name(key)
            .filter(|&name| self.run.recording().attributes.iter().any(|one| one.key == name));
        if known.is_none() && self.chosen.is_ok() {
            self.chosen = Err(self.run.missing(Recorded::Attribute, key));
            return self;
        }
        self.only(|span| span.attribute(key).as_ref() == Some(&value))
    }
    /// Those that have an event of that name. A name that no span has is an error.
    pub fn with_event(mut self, name: &str) -> Self {
        let events = &self.run.recording().span_events;
        let key = self.run.name(name);
        let having: std::collections::BTreeSet<SpanIndex> =
            events.iter().filter(|event| Some(event.name) == key).map(|event| event.span).collect();
        if having.is_empty() && self.chosen.is_ok() {
            self.chosen = Err(self.run.missing(Recorded::SpanEvent, name));
            return self;
        }
        self.only(|span| having.contains(&span.index))
    }
    /// Those that began in `[from, to)`, in time since the start of the run.
    pub fn started_between(self, from: Duration, to: Duration) -> Self {
        self.only(|span| (from..to).contains(&span.span().start.since_start()))
    }
    /// Those that began at one of these times or less than `width` after it.
    pub fn started_after_each(mut self, times: &Times, width: Duration) -> Self {
        match times.list() {
            Ok(times) => self.only(|span| {
                let start = span.span().start;
                let before = times.partition_point(|&time| time <= start);
                before > 0 && start < times[before - 1] + width
            }),
            Err(error) => {
                self.chosen = self.chosen.and(Err(error));
                self
            }
        }
    }
    /// The slowest part of them, rounded up to whole spans: of 150 spans the slowest `0.01` are two. Of equally slow ones
    /// the earlier is taken.
    pub fn slowest(mut self, part: f64) -> Self {
        let recording = self.run.recording();
        let took = |index: &SpanIndex| {
            let span = &recording.spans[index.0 as usize];
            span.end.since(span.start)
        };
        self.chosen = self.chosen.map(|mut all| {
            let wanted = (all.len() as f64 * part.clamp(0.0, 1.0)).ceil() as usize;
            all.sort_by_key(|index| (std::cmp::Reverse(took(index)), *index));
            all.truncate(wanted);
            all.sort_unstable();
            all
        });
        self.label = format!("slowest {} of {}", Measure::new("", Unit::Share, part), self.label);
        self
    }

    // ---- what they say ----

    /// How many there are. Zero is an answer.
    pub fn count(&self) -> Measure {
        let count = self.chosen.as_ref().map(|all| all.len() as f64).map_err(Clone::clone);
        Measure::from_result(format!("count of {}", self.label), Unit::Number, count)
    }
    /// When they began.
    pub fn times(&self) -> Times {
        let starts =
            self.chosen.as_ref().map(|all| all.iter().map(|&index| self.span(index).start).collect());
        Times::new(self.label.clone(), starts.map_err(Clone::clone))
    }
    /// How long they took.
    pub fn durations(&self) -> Measures {
        self.measured(self.label.clone(), SpanView::duration)
    }
    /// How much of their time none of their children was running, on whatever node.
    pub fn self_times(&self) -> Measures {
        self.measured(format!("self time of {}", self.label), SpanView::self_time)
    }
    /// For each, the part of its time that spans of a service own: the sum of the self times, inside the span's own
    /// interval, of all spans of that service in its tree, itself included. Where children run side by side the parts of all
    /// services can add up to more than the whole. Spans that took no time are left out.
    pub fn share_of(&self, service: &str) -> Measures {
        let label = format!("share of {service} in {}", self.label);
        if !self.run.recording().nodes.iter().any(|node| node.service == service) {
            return Measures::new(label, Unit::Share, Err(self.run.missing(Recorded::Service, service)));
        }
        let some = self.clone().only(|span| span.span().end > span.span().start);
        some.measured(label, |span| span.share_of(service))
    }
    /// For each, how many spans of that name are in the tree below it. A name that no span has is an error.
    pub fn count_below(&self, name: &str) -> Measures {
        self.measured(format!("{name} in each {}", self.label), |span| span.count_below(name))
    }
    /// A measure of each of them.
    pub fn each(&self, measure: impl Fn(&SpanView<'a>) -> Measure) -> Measures {
        self.measured(self.label.clone(), measure)
    }
    /// The spans, one by one.
    ///
    /// # Errors
    /// Why they could not be found.
    pub fn list(&self) -> Result<Vec<SpanView<'a>>, MeasureError> {
        let all = self.chosen.as_ref().map_err(Clone::clone)?;
        Ok(all.iter().map(|&index| SpanView { run: self.run.clone(), index }).collect())
    }
    /// The trace of the one that took longest, of equal ones the first. `None` where there is none.
    pub fn shown(&self, why: impl Into<String>) -> Option<Shown> {
        let longest = self
            .list()
            .ok()?
            .into_iter()
            .max_by_key(|span| (span.span().end.since(span.start()), std::cmp::Reverse(span.index)));
        longest.map(|span| span.shown(why))
    }
    fn measured(&self, label: String, measure: impl Fn(&SpanView<'a>) -> Measure) -> Measures {
        let mut unit = None;
        let samples = self.list().and_then(|all| {
            let sample = |view: &SpanView<'a>| {
                let measured = measure(view);
                unit = Some(measured.unit());
                Ok(Sample { started: view.span().start, at: view.span().end, value: measured.value()? })
            };
            all.iter().map(sample).collect()
        });
        Measures::new(label, unit.unwrap_or(Unit::Seconds), samples)
    }
    /// The mean duration.
    pub fn mean(&self) -> Measure {
        self.durations().mean()
    }
    /// The longest duration.
    pub fn max(&self) -> Measure {
        self.durations().max()
    }
    /// The median duration.
    pub fn median(&self) -> Measure {
        self.durations().median()
    }
    /// The 0.99-quantile of the durations.
    pub fn p99(&self) -> Measure {
        self.durations().p99()
    }
    /// A quantile of the durations: see [`Measures::quantile`].
    pub fn quantile(&self, p: f64) -> Measure {
        self.durations().quantile(p)
    }
}

impl<'a> SpanView<'a> {
    fn recording(&self) -> &'a Recording {
        self.run.recording()
    }
    /// The record itself.
    pub fn span(&self) -> &'a Span {
        &self.recording().spans[self.index.0 as usize]
    }
    /// Its name.
    pub fn name(&self) -> &'a str {
        self.recording().text(self.span().name)
    }
    /// Its trace.
    pub fn shown(&self, why: impl Into<String>) -> Shown {
        Shown { trace: self.span().trace, why: why.into() }
    }
    /// The name of its node, `-` for none.
    pub fn node(&self) -> &'a str {
        self.recording().node_name(self.span().node)
    }
    /// The service of its node, `-` for none.
    pub fn service(&self) -> &'a str {
        service(self.recording(), self.span().node)
    }
    /// When it began.
    pub fn start(&self) -> SimTime {
        self.span().start
    }
    /// Whether it ended with an error.
    pub fn failed(&self) -> bool {
        matches!(self.span().status, SpanStatus::Error(_))
    }
    /// How long it took.
    pub fn duration(&self) -> Measure {
        Measure::from(self.span().end.since(self.span().start)).named(self.name())
    }
    /// See [`Spans::self_times`].
    pub fn self_time(&self) -> Measure {
        let (from, to) = (self.span().start, self.span().end);
        Measure::from(self.run.tree().self_time(self.recording(), self.index, from, to)).named(self.name())
    }
    /// See [`Spans::share_of`].
    pub fn share_of(&self, name: &str) -> Measure {
        let (recording, tree, own) = (self.recording(), self.run.tree(), self.span());
        let family = tree.family(self.index).into_iter();
        let theirs =
            family.filter(|index| service(recording, recording.spans[index.0 as usize].node) == name);
        let owned: Duration = theirs.map(|index| tree.self_time(recording, index, own.start, own.end)).sum();
        Measure::from(owned).named(name).share_of(self.duration())
    }
    /// See [`Spans::count_below`].
    pub fn count_below(&self, name: &str) -> Measure {
        let label = format!("{name} below {}", self.name());
        let key =
            self.run.name(name).filter(|&key| self.recording().spans.iter().any(|span| span.name == key));
        let Some(key) = key else {
            return Measure::failed(label, Unit::Number, self.run.missing(Recorded::Span, name));
        };
        let family = self.run.tree().family(self.index);
        let named =
            family.iter().skip(1).filter(|index| self.recording().spans[index.0 as usize].name == key);
        Measure::from(named.count()).named(label)
    }
    /// Its children, in order of their start.
    pub fn children(&self) -> Vec<Self> {
        let children = self.run.tree().children(self.index).iter();
        children.map(|&child| Self { run: self.run.clone(), index: SpanIndex(child) }).collect()
    }
    /// An attribute, where it has one of that key.
    pub fn attribute(&self, key: &str) -> Option<AttributeValue> {
        let value = self.run.tree().attribute(self.index, self.run.name(key)?)?;
        Some(match value {
            Value::Int(n) => AttributeValue::Number(n as f64),
            Value::Float(x) => AttributeValue::Number(x),
            Value::Bool(yes) => AttributeValue::Bool(yes),
            Value::Text(name) => AttributeValue::Text(self.recording().text(name).to_owned()),
        })
    }
}

fn service(recording: &Recording, node: NodeIndex) -> &str {
    recording.nodes.get(node.0 as usize).map_or("-", |node| node.service.as_str())
}
