//! One trace as a waterfall of text: who asked whom, when it began, how long it took, what failed.
//!
//! A trace may have thousands of spans and a terminal has few lines, so the lines go where the time went: first what leads to
//! a failure, then the critical path (walked back from the end: what was waited for last, and what that waited for), then
//! what took long. What happened at one instant (a lost packet, a retry) gets the lines that are left. Of many children that
//! are alike the first and the worst are shown. What is folded is counted, and how many spans are not shown is always said.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    fmt::Write,
};

use anstyle::{AnsiColor, Style};
use sim_core::{
    record::{Name, Recording, Span, SpanIndex, SpanKind, SpanStatus},
    time::{Duration, SimTime},
};

use super::{duration, number};

/// Whether a text has colours (ANSI escapes).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Colour {
    /// Plain text.
    #[default]
    Never,
    /// Failed spans red, folded ones dim, bars blue.
    Always,
}

/// The trace that is worth looking at first: of all roots the one that took longest; of equally long ones one that failed;
/// then the earliest. `None` where there are no spans.
pub fn worst_trace(recording: &Recording) -> Option<u32> {
    worst_trace_where(recording, |_| true)
}

/// The same among the root spans that pass a filter: operations of clients, say, and not a background task that lasts
/// as long as the run.
pub fn worst_trace_where(recording: &Recording, mut filter: impl FnMut(&Span) -> bool) -> Option<u32> {
    recording
        .spans
        .iter()
        .enumerate()
        .filter(|(_, span)| !span.parent.is_some() && filter(span))
        .max_by_key(|(index, span)| (end(recording, span).since(span.start), failed(span), Reverse(*index)))
        .map(|(_, span)| span.trace)
}

fn failed(span: &Span) -> bool {
    matches!(span.status, SpanStatus::Error(_))
}

fn end(recording: &Recording, span: &Span) -> SimTime {
    if span.end == SimTime::MAX { recording.ended.max(span.start) } else { span.end }
}

/// Levels of the tree that are shown at most; the margin has two columns for each.
const DEPTH_MAX: usize = 10;
/// Of more children that are alike than this, only the first and the worst have a line.
const ALIKE_MAX: usize = 3;
/// Columns for a time: `119.9ms`, and a space between columns.
const TIME_COLUMNS: usize = 8;
/// A narrower terminal gets lines of this width all the same.
const WIDTH_MIN: usize = 40;
/// How many messages of errors are quoted.
const MESSAGES_MAX: usize = 3;

/// Draws a trace in lines of at most `width` columns (at least 40) and `rows_max` rows (at least 1), besides a line above and up
/// to six below: the messages of errors, the meaning of the marks, and how many spans and events were left out.
pub fn waterfall(recording: &Recording, trace: u32, width: usize, rows_max: usize, colour: Colour) -> String {
    let tree = Tree::new(recording, trace);
    if tree.spans.is_empty() {
        return format!("trace {trace}: no spans were recorded\n");
    }
    let rows_max = rows_max.max(1);
    let mut rows = tree.rows(&tree.unfolded(rows_max));
    rows.truncate(rows_max);
    draw(&tree, &rows, width.max(WIDTH_MIN), colour)
}

/// A line of the waterfall.
struct Row {
    margin: String,
    label: String,
    /// The label where that one is too long.
    label_short: Option<String>,
    start: SimTime,
    end: SimTime,
    failed: bool,
    cut_short: bool,
    kind: RowKind,
}

#[derive(Clone, Copy, PartialEq)]
enum RowKind {
    Span,
    /// Several spans that have no line of their own.
    Fold,
    /// So many events of one name on one span.
    Event(usize),
}

/// Events of one span with the same name and detail.
struct EventGroup {
    place: usize,
    name: Name,
    detail: Name,
    first: SimTime,
    last: SimTime,
    count: usize,
}

/// What has a line of its own.
struct Unfolded {
    spans: Vec<bool>,
    /// Indices in [`Tree::events`].
    events: Vec<bool>,
}

/// The spans of one trace with their children.
struct Tree<'a> {
    recording: &'a Recording,
    trace: u32,
    /// Indices in the recording, rising.
    spans: Vec<u32>,
    /// Places in `spans`.
    roots: Vec<usize>,
    children: Vec<Vec<usize>>,
    parents: Vec<Option<usize>>,
    /// Spans in each subtree, its top included.
    sizes: Vec<usize>,
    /// In order of their first time.
    events: Vec<EventGroup>,
}

impl<'a> Tree<'a> {
    fn new(recording: &'a Recording, trace: u32) -> Self {
        let all = recording.spans.iter().enumerate();
        let spans: Vec<u32> =
            all.filter(|(_, span)| span.trace == trace).map(|(index, _)| index as u32).collect();
        let mut children = vec![Vec::new(); spans.len()];
        let mut sizes = vec![1; spans.len()];
        let mut roots = Vec::new();
        let mut parents = Vec::with_capacity(spans.len());
        for (place, &index) in spans.iter().enumerate() {
            let SpanIndex(parent) = recording.spans[index as usize].parent;
            // A parent was started before its children; anything else is shown as a root.
            let parent = spans.binary_search(&parent).ok().filter(|&parent| parent < place);
            match parent {
                Some(parent) => children[parent].push(place),
                None => roots.push(place),
            }
            parents.push(parent);
        }
        for place in (0..spans.len()).rev() {
            if let Some(parent) = parents[place] {
                sizes[parent] += sizes[place];
            }
        }
        let mut groups: BTreeMap<(usize, Name, Name), EventGroup> = BTreeMap::new();
        for event in &recording.span_events {
            let Ok(place) = spans.binary_search(&event.span.0) else { continue };
            let (name, detail, first) = (event.name, event.detail, event.at);
            let group = groups.entry((place, name, detail)).or_insert(EventGroup {
                place,
                name,
                detail,
                first,
                last: first,
                count: 0,
            });
            group.first = group.first.min(event.at);
            group.last = group.last.max(event.at);
            group.count += 1;
        }
        let mut events: Vec<EventGroup> = groups.into_values().collect();
        events.sort_by_key(|group| (group.first, group.place, group.name, group.detail));
        Self { recording, trace, spans, roots, children, parents, sizes, events }
    }

    fn span(&self, place: usize) -> &'a Span {
        &self.recording.spans[self.spans[place] as usize]
    }

    fn end(&self, place: usize) -> SimTime {
        end(self.recording, self.span(place))
    }

    fn duration(&self, place: usize) -> Duration {
        self.end(place).since(self.span(place).start)
    }

    fn service(&self, span: &Span) -> &'a str {
        self.recording.nodes.get(span.node.0 as usize).map_or("-", |node| node.service.as_str())
    }

    /// Whether there is a failure in each subtree.
    fn failures(&self) -> Vec<bool> {
        let mut failures: Vec<bool> = (0..self.spans.len()).map(|place| failed(self.span(place))).collect();
        for place in (0..self.spans.len()).rev() {
            if let Some(parent) = self.parents[place] {
                failures[parent] |= failures[place];
            }
        }
        failures
    }

    /// How much of each span lies on the critical path. Walked back from a span's end: the child that ended last was waited
    /// for until then, before it began the one that had ended last by that time, and so on. What ran beside them held nobody
    /// up.
    fn critical(&self) -> Vec<Duration> {
        let mut part: Vec<Option<(SimTime, SimTime)>> = vec![None; self.spans.len()];
        for &root in &self.roots {
            part[root] = Some((self.span(root).start, self.end(root)));
        }
        // Parents come before their children.
        for place in 0..self.spans.len() {
            let Some((from, to)) = part[place] else { continue };
            let mut children = self.children[place].clone();
            children.sort_by_key(|&child| (Reverse(self.end(child)), child));
            let mut before = to;
            for child in children {
                let (start, end) = (self.span(child).start.max(from), self.end(child).min(before));
                if end > start {
                    part[child] = Some((start, end));
                    before = start;
                }
            }
        }
        part.into_iter().map(|part| part.map_or(Duration::ZERO, |(from, to)| to.since(from))).collect()
    }

    /// Chooses what gets a line: always the worthiest whose parent has one, as long as there are lines.
    fn unfolded(&self, rows_max: usize) -> Unfolded {
        let (failures, critical) = (self.failures(), self.critical());
        let top = self.spans.len(); // stands for the parent of the roots
        let siblings = |parent: usize| if parent == top { &self.roots } else { &self.children[parent] };
        let (mut shown, mut depths) = (vec![false; top], vec![0; top]);
        let mut shown_below = vec![0_usize; top + 1];
        // Those that stay hidden share a line, beside others that are shown.
        let folds = |parent: usize, shown: usize| usize::from(shown > 0 && shown < siblings(parent).len());
        let mut waiting = BinaryHeap::new();
        let offer = |waiting: &mut BinaryHeap<_>, parent: usize| {
            for place in self.worth_a_line(siblings(parent)) {
                // What is on the critical path counts three times, so that it comes before what ran beside it.
                let worth = critical[place] * 2 + self.duration(place);
                waiting.push((failures[place], worth, Reverse(place)));
            }
        };
        offer(&mut waiting, top);
        let mut rows = 0;
        while let Some((_, _, Reverse(place))) = waiting.pop() {
            let parent = self.parents[place].unwrap_or(top);
            let so_far = shown_below[parent];
            let cost = 1 + folds(parent, so_far + 1) - folds(parent, so_far);
            if rows > 0 && rows + cost > rows_max {
                continue;
            }
            rows += cost;
            shown_below[parent] += 1;
            shown[place] = true;
            depths[place] = self.parents[place].map_or(0, |parent| depths[parent] + 1);
            if depths[place] < DEPTH_MAX {
                offer(&mut waiting, place);
            }
        }
        let mut event = |group: &EventGroup| {
            let fits = shown[group.place] && rows < rows_max;
            rows += usize::from(fits);
            fits
        };
        let events = self.events.iter().map(&mut event).collect();
        Unfolded { spans: shown, events }
    }

    /// Of siblings those that may have a line: where more than a few are alike, the first and the worst of them.
    fn worth_a_line(&self, places: &[usize]) -> Vec<usize> {
        let mut alike: BTreeMap<(&str, Name, u8), Vec<usize>> = BTreeMap::new();
        for &place in places {
            let span = self.span(place);
            alike.entry((self.service(span), span.name, kind_order(span.kind))).or_default().push(place);
        }
        let mut worth = Vec::new();
        for group in alike.into_values() {
            if group.len() <= ALIKE_MAX {
                worth.extend(group);
                continue;
            }
            let worst = group[1..].iter().copied();
            let worst =
                worst.max_by_key(|&place| (failed(self.span(place)), self.duration(place), Reverse(place)));
            worth.push(group[0]);
            worth.extend(worst);
        }
        worth
    }

    fn rows(&self, unfolded: &Unfolded) -> Vec<Row> {
        let mut rows = Vec::new();
        self.siblings(&self.roots, None, "", 0, unfolded, &mut rows);
        rows
    }

    /// The lines below a span (none for the roots): events and children in order of time, and one for the others.
    fn siblings(
        &self,
        places: &[usize],
        parent: Option<usize>,
        margin: &str,
        depth: usize,
        unfolded: &Unfolded,
        rows: &mut Vec<Row>,
    ) {
        let (shown, hidden): (Vec<usize>, Vec<usize>) =
            places.iter().copied().partition(|&place| unfolded.spans[place]);
        let events = self.events.iter().zip(&unfolded.events);
        let events = events.filter(|(group, shown)| **shown && Some(group.place) == parent);
        let mut entries: Vec<(SimTime, Entry<'_>)> =
            events.map(|(group, _)| (group.first, Entry::Event(group))).collect();
        entries.extend(shown.iter().map(|&place| (self.span(place).start, Entry::Span(place))));
        entries.sort_by_key(|(at, _)| *at); // stable: an event comes before a span of the same time
        if !hidden.is_empty() && !shown.is_empty() {
            entries.push((SimTime::MAX, Entry::Fold(&hidden)));
        }
        for (number, (_, entry)) in entries.iter().enumerate() {
            let last = number + 1 == entries.len();
            let (branch, below) = match (depth, last) {
                (0, _) => ("", ""),
                (_, false) => ("├ ", "│ "),
                (_, true) => ("└ ", "  "),
            };
            let margin_here = format!("{margin}{branch}");
            match *entry {
                Entry::Span(place) => {
                    rows.push(self.span_row(place, margin_here, unfolded));
                    let margin = format!("{margin}{below}");
                    self.siblings(&self.children[place], Some(place), &margin, depth + 1, unfolded, rows);
                }
                Entry::Fold(places) => rows.push(self.fold_row(places, margin_here)),
                Entry::Event(group) => rows.push(self.event_row(group, margin_here)),
            }
        }
    }

    fn span_row(&self, place: usize, margin: String, unfolded: &Unfolded) -> Row {
        let span = self.span(place);
        // Below a span of the same node, the node need not be named again: names deep down keep their room.
        let parent = self.parents[place].map(|parent| self.span(parent));
        let name = self.recording.text(span.name);
        let mut label = if parent.is_some_and(|parent| parent.node == span.node) {
            name.to_owned()
        } else {
            format!("{} {name}", self.recording.node_name(span.node))
        };
        let inside = self.sizes[place] - 1;
        if inside > 0 && self.children[place].iter().all(|&child| !unfolded.spans[child]) {
            let _ = write!(label, " (+{} inside)", number_of(inside));
        }
        Row {
            margin,
            label,
            label_short: None,
            start: span.start,
            end: self.end(place),
            failed: failed(span),
            cut_short: span.cut_short || span.end == SimTime::MAX,
            kind: RowKind::Span,
        }
    }

    fn fold_row(&self, places: &[usize], margin: String) -> Row {
        let spans = || places.iter().map(|&place| self.span(place));
        let first = self.span(places[0]);
        let failures = spans().filter(|span| failed(span)).count();
        let all: Duration = places.iter().map(|&place| self.duration(place)).sum();
        let failed = match failures {
            0 => String::new(),
            n => format!(", {} failed", number_of(n)),
        };
        let (count, all) = (number_of(places.len()), duration(all));
        let label = |what: &str| format!("+ {count} more{what}, {all} in all{failed}");
        let alike = spans().all(|span| span.name == first.name && self.service(span) == self.service(first));
        let what = format!(" {} {}", self.service(first), self.recording.text(first.name));
        Row {
            margin,
            label: label(if alike { &what } else { "" }),
            label_short: Some(label("")),
            start: spans().map(|span| span.start).min().unwrap_or_default(),
            end: places.iter().map(|&place| self.end(place)).max().unwrap_or_default(),
            failed: failures > 0,
            cut_short: false,
            kind: RowKind::Fold,
        }
    }

    fn event_row(&self, group: &EventGroup, margin: String) -> Row {
        let name = self.recording.text(group.name);
        let label = match self.recording.text(group.detail) {
            "" => format!("• {name}"),
            detail => format!("• {name}: {detail}"),
        };
        Row {
            margin,
            label,
            label_short: None,
            start: group.first,
            end: group.last,
            failed: false,
            cut_short: false,
            kind: RowKind::Event(group.count),
        }
    }
}

enum Entry<'t> {
    Span(usize),
    Fold(&'t [usize]),
    Event(&'t EventGroup),
}

fn kind_order(kind: SpanKind) -> u8 {
    match kind {
        SpanKind::Internal => 0,
        SpanKind::Server => 1,
        SpanKind::Client => 2,
        SpanKind::Producer => 3,
        SpanKind::Consumer => 4,
    }
}

fn number_of(count: usize) -> String {
    number(count as f64)
}

/// Recorded text may have anything in it; a line of the terminal may not.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn fitted(text: &str, columns: usize) -> String {
    let length = text.chars().count();
    if length <= columns {
        return format!("{text}{}", " ".repeat(columns - length));
    }
    let mut short: String = text.chars().take(columns.saturating_sub(1)).collect();
    short.push('…');
    short
}

fn painted(text: &str, style: Style, colour: Colour) -> String {
    match colour {
        Colour::Never => text.to_owned(),
        Colour::Always => format!("{style}{text}{style:#}"),
    }
}

fn draw(tree: &Tree<'_>, rows: &[Row], width: usize, colour: Colour) -> String {
    let recording = tree.recording;
    let from = (0..tree.spans.len()).map(|place| tree.span(place).start).min().unwrap_or_default();
    let to = (0..tree.spans.len()).map(|place| tree.end(place)).max().unwrap_or_default();
    // A packet may be lost when the span that sent it is over.
    let to = tree.events.iter().map(|group| group.last).max().unwrap_or_default().max(to);
    let count = tree.spans.len();
    let mut out = format!(
        "trace {}: {} span{}, {}, from {} of the run\n",
        recording.trace_id(tree.trace),
        number_of(count),
        if count == 1 { "" } else { "s" },
        duration(to.since(from)),
        duration(from.since_start())
    );
    let bar_columns = width * 3 / 10;
    let label_columns = width - bar_columns - 2 * (TIME_COLUMNS + 1) - 1;
    for row in rows {
        let mark = if row.kind != RowKind::Span {
            ""
        } else if row.failed {
            "✗ "
        } else if row.cut_short {
            "~ "
        } else {
            ""
        };
        let label = |text: &str| format!("{}{mark}{}", row.margin, printable(text));
        let long = label(&row.label);
        let label = match &row.label_short {
            Some(short) if long.chars().count() > label_columns => label(short),
            _ => long,
        };
        let start = duration(row.start.since(from));
        if matches!(row.kind, RowKind::Event(_)) && label.chars().count() > label_columns {
            // What happened is worth more than a mark on the time line.
            let times = match row.kind {
                RowKind::Event(count) if count > 1 => format!(" ({}x)", number_of(count)),
                _ => String::new(),
            };
            let label = fitted(&format!("{label}{times}"), width - TIME_COLUMNS - 1);
            let _ =
                writeln!(out, "{} {start:>TIME_COLUMNS$}", painted(&label, Style::new().dimmed(), colour));
            continue;
        }
        let label = fitted(&label, label_columns);
        let (start, took) = match row.kind {
            RowKind::Span => (start, duration(row.end.since(row.start))),
            RowKind::Fold => (String::new(), String::new()),
            RowKind::Event(1) => (start, String::new()),
            RowKind::Event(n) => (start, format!("{}x", number_of(n))),
        };
        let bar = bar(row, from, to, bar_columns);
        let dim = Style::new().dimmed();
        let red = AnsiColor::Red.on_default();
        let (label_style, bar_style) = match (row.failed, row.kind) {
            (true, _) => (red, red),
            (false, RowKind::Fold | RowKind::Event(_)) => (dim, dim),
            (false, RowKind::Span) => (Style::new(), AnsiColor::Blue.on_default()),
        };
        let line = format!(
            "{} {start:>TIME_COLUMNS$} {took:>TIME_COLUMNS$} {}",
            painted(&label, label_style, colour),
            painted(bar.trim_end(), bar_style, colour)
        );
        let _ = writeln!(out, "{}", line.trim_end());
    }
    messages(tree, width, &mut out);
    if rows.iter().any(|row| row.cut_short && !row.failed) {
        out.push_str("~ cut short: its node crashed, its task was dropped, or the run ended\n");
    }
    let shown = rows.iter().filter(|row| row.kind == RowKind::Span).count();
    if shown < count {
        let _ = writeln!(out, "{} of {} spans left out", number_of(count - shown), number_of(count));
    }
    let events: usize = tree.events.iter().map(|group| group.count).sum();
    let told = |row: &Row| if let RowKind::Event(count) = row.kind { count } else { 0 };
    let told: usize = rows.iter().map(told).sum();
    if told < events {
        let _ = writeln!(out, "{} of {} events left out", number_of(events - told), number_of(events));
    }
    out
}

/// What the errors of the trace say, the most frequent first.
fn messages(tree: &Tree<'_>, width: usize, out: &mut String) {
    let mut counts: BTreeMap<Name, usize> = BTreeMap::new();
    for place in 0..tree.spans.len() {
        if let SpanStatus::Error(message) = tree.span(place).status {
            *counts.entry(message).or_default() += 1;
        }
    }
    let mut sorted: Vec<(Name, usize)> = counts.into_iter().collect();
    sorted.sort_by_key(|&(message, count)| (Reverse(count), message));
    for (message, count) in sorted.into_iter().take(MESSAGES_MAX) {
        let said = match tree.recording.text(message) {
            "" => "failed",
            text => text,
        };
        let times = if count == 1 { String::new() } else { format!(" ({} spans)", number_of(count)) };
        let line = fitted(&format!("✗ {}{times}", printable(said)), width);
        let _ = writeln!(out, "{}", line.trim_end());
    }
}

/// The bar of a row, in half columns; at least one half column is filled.
fn bar(row: &Row, from: SimTime, to: SimTime, columns: usize) -> String {
    let halves = columns as u128 * 2;
    // A trace of no length has its marks at the left.
    let total = u128::from(to.since(from).as_nanos()).max(1);
    let place = |at: SimTime| u128::from(at.since(from).as_nanos()) * halves;
    let begin = (place(row.start) / total).min(halves - 1);
    let finish = place(row.end).div_ceil(total).max(begin + 1);
    let filled = |half: u128| (begin..finish).contains(&half);
    (0..columns as u128)
        .map(|column| match (filled(column * 2), filled(column * 2 + 1)) {
            (false, false) => ' ',
            _ if matches!(row.kind, RowKind::Event(_)) => '•',
            _ if row.kind == RowKind::Fold => '░',
            (true, true) => '█',
            (true, false) => '▌',
            (false, true) => '▐',
        })
        .collect()
}
