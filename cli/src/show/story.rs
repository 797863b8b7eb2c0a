//! A lab's page: what `explain` prints.
//!
//! The story is the text at the head of the lab's file; variants, knobs and faults come from its code. Answers are shown
//! only to those who ask for them.

use scenarios::lab::{LabEntry, story::Story};
use sim_core::plan::Plan;
use viz::terminal::duration;

use super::{
    readable::readable,
    table::kind_name,
    text::{columns, hanging, spread, wrapped},
};
use crate::{
    console::{BOLD, DIM, painted},
    document::knobs,
    failure::Failure,
    runs::Session,
};

/// The page. With the runs of one seed, what was measured in them is shown as answers.
pub(crate) fn page(lab: &LabEntry, answers: Option<&Session<'_>>, width: usize) -> Result<String, Failure> {
    let about = lab.about();
    let right = format!("{} / {}, {} long", lab.shelf(), lab.name(), duration(about.until));
    let (left, right) = spread(lab.title(), &right, width);
    let mut out = format!("{}{}\n\n", painted(BOLD, left), painted(DIM, right));
    // The questions come before the story: it answers some of them.
    let story = lab.story();
    out.push_str(list("Predict, before you read on and run it", &story.predict, width).trim_start());
    if answers.is_none() {
        let told = format!("the answers, when you have yours: shaketable explain {} --answers", lab.name());
        out.push_str(&painted(DIM, wrapped(&told, "    ", width).trim_end()));
        out.push('\n');
    }
    out.push('\n');
    for (heading, body) in story.sections() {
        if !heading.is_empty() {
            out.push_str(&heading_of(heading));
        }
        out.push_str(&prose(&body, if heading.is_empty() { "" } else { "  " }, width));
    }
    out.push_str(&variants(lab, width));
    out.push_str(&knob_list(lab, width)?);
    out.push_str(&faults(&lab.plan(lab.variants().first().map_or("", |one| one.name), 1, &[])?, width));
    out.push_str(&list("Watch", &story.watch, width));
    out.push_str(&list("Try next", &story.try_next, width));
    if let Some(session) = answers {
        out.push_str(&measured(session, &story.answers, width));
    }
    out.push_str(&format!("\n{}\n  shaketable scenario {} --seed 42\n", painted(BOLD, "Run it"), lab.name()));
    Ok(out)
}

fn heading_of(text: &str) -> String {
    format!("\n{}\n", painted(BOLD, text))
}

fn list(heading: &str, items: &[String], width: usize) -> String {
    if items.is_empty() {
        return String::new();
    }
    let items: String = items.iter().map(|item| hanging(&unmarked(item), "  - ", "    ", width)).collect();
    format!("{}{items}", heading_of(heading))
}

/// The story itself, as Markdown: without the sections that are shown apart, so without answers.
pub(crate) fn told(story: &Story) -> String {
    let mut out = String::new();
    for (heading, lines) in story.sections() {
        if !heading.is_empty() {
            out.push_str(&format!("## {heading}\n"));
        }
        lines.iter().for_each(|line| out.push_str(&format!("{line}\n")));
    }
    out.trim().to_owned()
}

/// Markdown as plain text: paragraphs and list items are wrapped, tables are set in columns, indented and fenced lines stay as
/// they are.
fn prose(lines: &[&str], indent: &str, width: usize) -> String {
    let mut out = String::new();
    let mut paragraph = String::new();
    let mut fenced = false;
    let finish = |paragraph: &mut String, out: &mut String| {
        if !paragraph.is_empty() {
            let item = paragraph.strip_prefix("- ").or_else(|| paragraph.strip_prefix("* "));
            let (first, others) = (format!("{indent}- "), format!("{indent}  "));
            out.push_str(&match item {
                Some(item) => hanging(&unmarked(item), &first, &others, width),
                None => wrapped(&unmarked(paragraph), indent, width),
            });
            paragraph.clear();
        }
    };
    let mut rows: Vec<&str> = Vec::new();
    for line in lines {
        let trimmed = line.trim();
        if !rows.is_empty() && !trimmed.starts_with('|') {
            out.push_str(&table(&std::mem::take(&mut rows), indent, width));
        }
        if trimmed.starts_with("```") {
            finish(&mut paragraph, &mut out);
            fenced = !fenced;
        } else if !fenced && trimmed.starts_with('|') {
            finish(&mut paragraph, &mut out);
            rows.push(trimmed);
            continue;
        } else if fenced || (paragraph.is_empty() && line.starts_with("    ")) {
            finish(&mut paragraph, &mut out);
            out.push_str(format!("{indent}{line}").trim_end());
            out.push('\n');
        } else if trimmed.is_empty() {
            finish(&mut paragraph, &mut out);
            if !out.is_empty() && !out.ends_with("\n\n") {
                out.push('\n');
            }
        } else {
            if trimmed.starts_with("- ") || trimmed.starts_with("* ") {
                finish(&mut paragraph, &mut out);
            }
            if !paragraph.is_empty() {
                paragraph.push(' ');
            }
            paragraph.push_str(trimmed);
        }
    }
    finish(&mut paragraph, &mut out);
    out.push_str(&table(&rows, indent, width));
    while out.ends_with("\n\n") {
        out.pop();
    }
    out
}

/// A table of Markdown in columns; the last one is wrapped.
fn table(rows: &[&str], indent: &str, width: usize) -> String {
    let is_line = |row: &&&str| row.chars().all(|c| "|-: ".contains(c));
    let cells =
        |row: &&str| row.trim_matches('|').split('|').map(|cell| unmarked(cell.trim())).collect::<Vec<_>>();
    let rows: Vec<Vec<String>> = rows.iter().filter(|row| !is_line(row)).map(cells).collect();
    let mut out = String::new();
    for row in &rows {
        let mut head = indent.to_owned();
        let (last, before) = row.split_last().expect("a split has one part at least");
        for (column, cell) in before.iter().enumerate() {
            let widest = rows.iter().filter_map(|row| row.get(column)).map(|cell| columns(cell)).max();
            head.push_str(&format!("{cell:width$}  ", width = widest.unwrap_or(0)));
        }
        out.push_str(&hanging(last, &head, &" ".repeat(columns(&head)), width));
    }
    out
}

/// Without the marks of Markdown that mean nothing on a terminal.
fn unmarked(text: &str) -> String {
    text.replace("**", "")
}

/// What the story answers, and what was measured: numbers come out of the simulation.
fn measured(session: &Session<'_>, told: &[String], width: usize) -> String {
    let told: Vec<String> = told.iter().filter(|answer| !answer.is_empty()).cloned().collect();
    let mut out = list("What the story answers", &told, width);
    out.push_str(&heading_of(&format!("Measured under seed {}", session.seed)));
    for outcome in &session.outcomes {
        out.push_str(&format!("  {}\n", outcome.variant()));
        for verdict in session.verdicts(outcome).filter(|verdict| verdict.asked) {
            let measured = verdict.error.as_deref().unwrap_or(&verdict.measured);
            out.push_str(&hanging(
                &format!("{}: {}", verdict.name, readable(measured)),
                "    - ",
                "      ",
                width,
            ));
        }
    }
    out
}

fn variants(lab: &LabEntry, width: usize) -> String {
    let all = lab.variants();
    let names = all.iter().map(|one| columns(one.name)).max().unwrap_or(0);
    let mut out = heading_of("Variants");
    for (index, one) in all.iter().enumerate() {
        let differs = match (index, one.changes.is_empty()) {
            (0, _) => "the others differ from it in what they name".to_owned(),
            (_, true) => "in nothing".to_owned(),
            (_, false) => one.changes.join(", "),
        };
        let head = format!("  {:names$}  {:7}  ", one.name, kind_name(one.kind));
        let indent = " ".repeat(columns(&head));
        out.push_str(&hanging(&differs, &head, &indent, width));
        if !one.misses.is_empty() {
            out.push_str(&hanging(&format!("misses: {}", one.misses.join("; ")), &indent, &indent, width));
        }
    }
    out
}

fn knob_list(lab: &LabEntry, width: usize) -> Result<String, Failure> {
    let knobs = knobs(lab)?;
    if knobs.is_empty() {
        return Ok(String::new());
    }
    let mut out = heading_of("Knobs (--set NAME=VALUE)");
    for knob in knobs {
        // A duration is written with its unit.
        let unit = match (knob.kind, knob.unit.as_str()) {
            (_, "") | ("duration", _) => String::new(),
            (_, unit) => format!(" in {unit}"),
        };
        let allowed = match (&knob.range, knob.choices.is_empty()) {
            (Some(range), _) => format!("{}{unit}, {range}", knob.kind),
            (None, false) => knob.choices.join(" | "),
            (None, true) => format!("{}{unit}", knob.kind),
        };
        let head = format!("  {}={}", knob.name, knob.default);
        let fits = columns(&head) + 2 + columns(&allowed) <= width;
        let (left, right) = match fits {
            true => spread(&head, &allowed, width),
            false => (head, format!("\n{}", hanging(&allowed, "    ", "      ", width).trim_end())),
        };
        out.push_str(&format!("{left}{}\n", painted(DIM, right)));
        out.push_str(&wrapped(&knob.help, "    ", width));
    }
    Ok(out)
}

fn faults(plan: &Plan, width: usize) -> String {
    let mut out = heading_of("Faults");
    if plan.faults.is_empty() {
        out.push_str("  none: what goes wrong comes from the inside\n");
    }
    for fault in plan.faults.faults() {
        out.push_str(&hanging(&readable(&fault.to_string()), "  - ", "    ", width));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markdown_is_set_as_text() {
        let source = "# Title\n\nOne **hot** page\nand a cache.\n\n- a list\n  of two\n- items\n\n```\nx = 1\n```\n\n| a | b |\n|---|---|\n| long | two or three words |\n\n## Predict\nWhy?\n";
        let source: String = source.lines().map(|line| format!("//! {line}\n")).collect();
        let story = Story::of_source(&source);
        let sections = story.sections();
        assert_eq!((sections.len(), sections[0].0), (1, ""));
        let page = prose(&sections[0].1, "", 20);
        assert_eq!(
            page,
            "One hot page and a\ncache.\n\n- a list of two\n- items\n\nx = 1\n\na     b\nlong  two or three\n      words\n"
        );
    }
}
