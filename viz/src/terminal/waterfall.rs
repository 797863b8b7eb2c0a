//! One trace as a waterfall of text: who asked whom, when it began, how long it took, what failed.
//!
//! A trace may have thousands of spans and a terminal has few lines, so repetition is folded: of many children that are
//! alike, the first and the worst are shown and one line stands for the rest; deep branches are cut where lines run out.
//! How many spans are not shown is always said.

use std::{cmp::Reverse, collections::BTreeMap, fmt::Write};

use anstyle::{AnsiColor, Style};
use sim_core::{
    record::{Name, Recording, Span, SpanIndex, SpanKind, SpanStatus},
    time::SimTime,
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
/// More children that are alike than this are folded.
const ALIKE_MAX: usize = 3;
/// Columns for a time: `119.9ms`, and a space between columns.
const TIME_COLUMNS: usize = 8;
/// A narrower terminal gets lines of this width all the same.
const WIDTH_MIN: usize = 40;
/// How many messages of errors are quoted.
const MESSAGES_MAX: usize = 3;

/// Draws a trace in lines of at most `width` columns (at least 40) and `rows_max` rows (at least 1), besides a line above and up
/// to five below: the messages of errors, the meaning of the marks, and how many spans were left out.
pub fn waterfall(recording: &Recording, trace: u32, width: usize, rows_max: usize, colour: Colour) -> String {
    let tree = Tree::new(recording, trace);
    if tree.spans.is_empty() {
        return format!("trace {trace}: no spans were recorded\n");
    }
    let rows_max = rows_max.max(1);
    // As deep as the lines allow.
    let mut rows = tree.rows(0);
    for depth in 1..=DEPTH_MAX {
        let deeper = tree.rows(depth);
        if deeper.len() > rows_max {
            break;
        }
        rows = deeper;
    }
    rows.truncate(rows_max);
    let shown = rows.iter().filter(|row| row.folded == 0).count();
    draw(&tree, &rows, shown, width.max(WIDTH_MIN), colour)
}

/// A line of the waterfall: one span, or several that are alike.
struct Row {
    margin: String,
    label: String,
    start: SimTime,
    end: SimTime,
    failed: bool,
    cut_short: bool,
    /// How many spans this line stands for besides none of its own; 0 for a line that is a span.
    folded: usize,
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
    /// Spans in each subtree, its top included.
    sizes: Vec<usize>,
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
        Self { recording, trace, spans, roots, children, sizes }
    }

    fn span(&self, place: usize) -> &'a Span {
        &self.recording.spans[self.spans[place] as usize]
    }

    fn service(&self, span: &Span) -> &'a str {
        self.recording.nodes.get(span.node.0 as usize).map_or("-", |node| node.service.as_str())
    }

    /// The rows down to a depth; 0 is the roots alone.
    fn rows(&self, depth_max: usize) -> Vec<Row> {
        let mut rows = Vec::new();
        self.siblings(&self.roots, "", 0, depth_max, &mut rows);
        rows
    }

    fn siblings(&self, places: &[usize], margin: &str, depth: usize, depth_max: usize, rows: &mut Vec<Row>) {
        let entries = self.folded(places);
        for (number, entry) in entries.iter().enumerate() {
            let last = number + 1 == entries.len();
            let (branch, below) = match (depth, last) {
                (0, _) => ("", ""),
                (_, false) => ("├ ", "│ "),
                (_, true) => ("└ ", "  "),
            };
            let margin_here = format!("{margin}{branch}");
            match entry {
                Entry::One(place) => {
                    let span = self.span(*place);
                    let inside = self.sizes[*place] - 1;
                    // Below a span of the same node, the node need not be named again: names deep down keep their room.
                    let same_node = span.parent.is_some()
                        && self
                            .recording
                            .spans
                            .get(span.parent.0 as usize)
                            .is_some_and(|p| p.node == span.node);
                    let name = self.recording.text(span.name);
                    let mut label = if same_node {
                        name.to_owned()
                    } else {
                        format!("{} {name}", self.recording.node_name(span.node))
                    };
                    if inside > 0 && depth == depth_max {
                        let _ = write!(label, " (+{} inside)", number_of(inside));
                    }
                    rows.push(Row {
                        margin: margin_here,
                        label,
                        start: span.start,
                        end: end(self.recording, span),
                        failed: failed(span),
                        cut_short: span.cut_short || span.end == SimTime::MAX,
                        folded: 0,
                    });
                    if depth < depth_max {
                        let margin = format!("{margin}{below}");
                        self.siblings(&self.children[*place], &margin, depth + 1, depth_max, rows);
                    }
                }
                Entry::Many(places) => rows.push(self.fold(places, margin_here)),
            }
        }
    }

    /// Siblings in order of start; where more than a few are alike, the first and the worst of them stay and the others
    /// become one entry behind the later of these two.
    fn folded(&self, places: &[usize]) -> Vec<Entry> {
        let mut alike: BTreeMap<(&str, Name, u8), Vec<usize>> = BTreeMap::new();
        for &place in places {
            let span = self.span(place);
            alike.entry((self.service(span), span.name, kind_order(span.kind))).or_default().push(place);
        }
        let mut entries = Vec::new();
        for group in alike.into_values() {
            if group.len() <= ALIKE_MAX {
                entries.extend(group.into_iter().map(|place| (place, Entry::One(place))));
                continue;
            }
            let first = group[0];
            let worst = group[1..].iter().copied().max_by_key(|&place| {
                let span = self.span(place);
                (failed(span), end(self.recording, span).since(span.start), Reverse(place))
            });
            let worst = worst.unwrap_or(first);
            let others = group.into_iter().filter(|&place| place != first && place != worst).collect();
            entries.push((first, Entry::One(first)));
            entries.push((worst, Entry::One(worst)));
            entries.push((worst, Entry::Many(others)));
        }
        entries.sort_by_key(|(place, _)| *place); // stable: the fold stays behind its worst
        entries.into_iter().map(|(_, entry)| entry).collect()
    }

    fn fold(&self, places: &[usize], margin: String) -> Row {
        let spans = || places.iter().map(|&place| self.span(place));
        let first = self.span(places[0]);
        let failures = spans().filter(|span| failed(span)).count();
        let mut label = format!(
            "… {} more {} {}",
            number_of(places.len()),
            self.service(first),
            self.recording.text(first.name)
        );
        if failures > 0 {
            let _ = write!(label, " ({} failed)", number_of(failures));
        }
        Row {
            margin,
            label,
            start: spans().map(|span| span.start).min().unwrap_or_default(),
            end: spans().map(|span| end(self.recording, span)).max().unwrap_or_default(),
            failed: failures > 0,
            cut_short: false,
            folded: places.iter().map(|&place| self.sizes[place]).sum(),
        }
    }
}

enum Entry {
    One(usize),
    Many(Vec<usize>),
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

fn draw(tree: &Tree<'_>, rows: &[Row], shown: usize, width: usize, colour: Colour) -> String {
    let recording = tree.recording;
    let all = || (0..tree.spans.len()).map(|place| tree.span(place));
    let from = all().map(|span| span.start).min().unwrap_or_default();
    let to = all().map(|span| end(recording, span)).max().unwrap_or_default();
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
        let mark = if row.failed {
            "✗ "
        } else if row.cut_short {
            "~ "
        } else {
            ""
        };
        let label = fitted(&format!("{}{mark}{}", row.margin, printable(&row.label)), label_columns);
        let bar = bar(row, from, to, bar_columns);
        let dim = Style::new().dimmed();
        let red = AnsiColor::Red.on_default();
        let (label_style, bar_style) = match (row.failed, row.folded > 0) {
            (true, _) => (red, red),
            (false, true) => (dim, dim),
            (false, false) => (Style::new(), AnsiColor::Blue.on_default()),
        };
        let _ = writeln!(
            out,
            "{} {:>TIME_COLUMNS$} {:>TIME_COLUMNS$} {}",
            painted(&label, label_style, colour),
            duration(row.start.since(from)),
            duration(row.end.since(row.start)),
            painted(bar.trim_end(), bar_style, colour)
        );
    }
    messages(tree, width, &mut out);
    if rows.iter().any(|row| row.cut_short && !row.failed) {
        out.push_str("~ cut short: its node crashed, its task was dropped, or the run ended\n");
    }
    if shown < count {
        let _ = writeln!(out, "{} of {} spans left out", number_of(count - shown), number_of(count));
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
            _ if row.folded > 0 => '░',
            (true, true) => '█',
            (true, false) => '▌',
            (false, true) => '▐',
        })
        .collect()
}
