//! The variants side by side: goals, figures, and the size of the runs.

use anstyle::Style;
use scenarios::lab::variants::VariantKind;
use viz::terminal::number;

use super::{
    readable::readable,
    text::{columns, hanging},
};
use crate::{
    console::{BAD, BOLD, DIM, GOOD, painted},
    runs::{Outcome, Session, is_goal},
};

/// Between two columns.
const GAP: usize = 2;
const INDENT: &str = "  ";

struct Cell {
    text: String,
    style: Style,
}

struct Row {
    label: String,
    cells: Vec<Cell>,
}

/// All columns, in as many blocks below each other as the width needs.
pub(super) fn table(session: &Session<'_>, width: usize) -> String {
    let parts = [("Goals", goals(session)), ("Figures", figures(session)), ("Runs", runs(session))];
    let parts: Vec<(&str, Vec<Row>)> = parts.into_iter().filter(|(_, rows)| !rows.is_empty()).collect();
    let heads = heads(session);
    let labels = parts.iter().flat_map(|(_, rows)| rows).map(|row| columns(&row.label)).max().unwrap_or(0);
    let label_width = (INDENT.len() + labels).min(width * 9 / 20);
    let cell_width = |column: usize| {
        let cells = parts.iter().flat_map(|(_, rows)| rows).chain(&heads).map(|row| &row.cells[column]);
        cells.map(|cell| columns(&cell.text)).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..session.outcomes.len()).map(cell_width).collect();

    let mut out = String::new();
    let mut from = 0;
    while from < widths.len() {
        let mut to = from + 1;
        let mut used = label_width + GAP + widths[from];
        while to < widths.len() && used + GAP + widths[to] <= width {
            used += GAP + widths[to];
            to += 1;
        }
        if from > 0 {
            out.push('\n');
        }
        let block = Block { label_width, widths: &widths, from, to };
        heads.iter().for_each(|row| block.draw(row, "", &mut out));
        for (heading, rows) in &parts {
            out.push_str(&format!("{}\n", painted(BOLD, heading)));
            rows.iter().for_each(|row| block.draw(row, INDENT, &mut out));
        }
        from = to;
    }
    out
}

/// Some columns of the table.
struct Block<'t> {
    label_width: usize,
    widths: &'t [usize],
    from: usize,
    to: usize,
}

impl Block<'_> {
    fn draw(&self, row: &Row, indent: &str, out: &mut String) {
        // A label that is too long goes over several lines; the cells stand beside the last one.
        let label = hanging(&row.label, indent, &format!("{indent}{INDENT}"), self.label_width);
        let lines: Vec<&str> = label.lines().collect();
        let (last, before) = lines.split_last().unwrap_or((&"", &[]));
        for line in before {
            out.push_str(&format!("{line}\n"));
        }
        let mut line = format!("{last:width$}", width = self.label_width);
        for column in self.from..self.to {
            let cell = &row.cells[column];
            line.push_str(&" ".repeat(GAP + self.widths[column] - columns(&cell.text)));
            line.push_str(&painted(cell.style, &cell.text));
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
}

fn row(session: &Session<'_>, label: &str, cell: impl Fn(&Outcome) -> Cell) -> Row {
    Row { label: label.to_owned(), cells: session.outcomes.iter().map(cell).collect() }
}

fn plain(text: impl Into<String>) -> Cell {
    Cell { text: text.into(), style: Style::new() }
}

pub(super) fn kind_name(kind: VariantKind) -> &'static str {
    match kind {
        VariantKind::Broken => "broken",
        VariantKind::Fixed => "fixed",
        VariantKind::Control => "control",
    }
}

fn heads(session: &Session<'_>) -> [Row; 2] {
    let kind = |outcome: &Outcome| session.judged(outcome).map_or("", |one| kind_name(one.kind));
    [
        row(session, "", |outcome| Cell { text: outcome.variant().to_owned(), style: BOLD }),
        row(session, "", |outcome| Cell { text: kind(outcome).to_owned(), style: DIM }),
    ]
}

fn goals(session: &Session<'_>) -> Vec<Row> {
    let mut names: Vec<&str> = Vec::new();
    for verdict in session.judgement.verdicts().filter(|verdict| is_goal(verdict)) {
        if !names.contains(&verdict.name.as_str()) {
            names.push(&verdict.name);
        }
    }
    let cell = |name: &str, outcome: &Outcome| {
        let verdict = session.verdicts(outcome).find(|verdict| is_goal(verdict) && verdict.name == name);
        // A goal that the lab asks of other variants only: its figure may still be far from it.
        let Some(verdict) = verdict.filter(|verdict| verdict.asked) else { return plain("not asked") };
        let text = match (&verdict.error, verdict.met) {
            (Some(_), _) => "unknown",
            (None, true) => "met",
            (None, false) => "missed",
        };
        let (mark, style) = match (verdict.as_expected, verdict.met) {
            (false, _) => ("!", BAD),
            (true, true) => ("", GOOD),
            (true, false) => ("", Style::new()),
        };
        Cell { text: format!("{text}{mark}"), style }
    };
    names.iter().map(|name| row(session, name, |outcome| cell(name, outcome))).collect()
}

fn figures(session: &Session<'_>) -> Vec<Row> {
    let rows = session.judgement.figures.iter();
    rows.map(|figure| {
        row(session, &figure.name, |outcome| {
            let value = figure.values.iter().find(|value| value.variant == outcome.variant());
            plain(readable(value.map_or("-", |value| value.text.as_str())))
        })
    })
    .collect()
}

fn runs(session: &Session<'_>) -> Vec<Row> {
    let dim = |text: String| Cell { text, style: DIM };
    vec![
        row(session, "virtual time", |one| dim(viz::terminal::duration(one.recording.ended.since_start()))),
        row(session, "events", |one| dim(number(one.recording.events as f64))),
        row(session, "spans", |one| dim(number(one.recording.spans.len() as f64))),
    ]
}
