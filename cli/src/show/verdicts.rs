//! What was expected of each variant, and what came.

use anstyle::Style;
use scenarios::lab::{
    Verdict,
    variants::VariantKind,
    verdict::{Expected, VariantJudgement, VerdictKind},
};

use super::text::{hanging, spread};
use crate::{
    console::{BAD, BOLD, DIM, GOOD, NOTE, painted},
    runs::{Outcome, Session, is_goal},
};

/// All variants.
pub(super) fn verdicts(session: &Session<'_>, width: usize) -> String {
    let mut out = String::new();
    for outcome in &session.outcomes {
        if !out.is_empty() {
            out.push('\n');
        }
        out.push_str(&variant(session, outcome, width));
    }
    out
}

fn variant(session: &Session<'_>, outcome: &Outcome, width: usize) -> String {
    let verdicts: Vec<&Verdict> = session.verdicts(outcome).collect();
    let Some(judged) = session.judged(outcome) else { return String::new() };
    let (told, style) = summary(judged, &verdicts);
    let mut out = format!("{}: {}\n", painted(BOLD, outcome.variant()), painted(style, told));
    if !judged.altered.is_empty() {
        let what = judged.altered.join(" and ");
        let text = format!("The {what} are not the lab's own, so nothing is expected: see what comes.");
        out.push_str(&painted(NOTE, hanging(&text, "  ", "  ", width).trim_end()));
        out.push('\n');
    }
    for verdict in verdicts {
        out.push_str(&one(verdict, judged.altered.is_empty(), width));
    }
    out
}

/// A variant in a few words.
fn summary(judged: &VariantJudgement, verdicts: &[&Verdict]) -> (&'static str, Style) {
    if verdicts.iter().any(|verdict| !verdict.as_expected) {
        return ("NOT as expected", BAD);
    }
    let missed = verdicts.iter().any(|verdict| is_goal(verdict) && !verdict.met && verdict.error.is_none());
    match (judged.altered.is_empty(), judged.kind, missed) {
        (false, _, true) => ("it missed a goal", NOTE),
        (false, _, false) => ("it met its goals", NOTE),
        (true, VariantKind::Broken, true) => ("broke, as it should", GOOD),
        // Chance decides, and the tests over many seeds count.
        (true, VariantKind::Broken, false) => ("did not break under this seed, which may be", NOTE),
        (true, VariantKind::Fixed, _) => ("stood, as it should", GOOD),
        (true, VariantKind::Control, _) => ("as expected", GOOD),
    }
}

/// One expectation: its name and what came of it, and below it what was measured.
fn one(verdict: &Verdict, strict: bool, width: usize) -> String {
    let (mark, told, style) = outcome(verdict, strict);
    let name = match (verdict.kind, verdict.variants.get(1)) {
        (VerdictKind::Comparison, Some(other)) => format!("  {mark} {} (against {other})", verdict.name),
        _ => format!("  {mark} {}", verdict.name),
    };
    let (left, right) = spread(&name, &told, width);
    let mut out = format!("{left}{}\n", painted(style, right));
    let detail = match &verdict.error {
        Some(error) => error.clone(),
        None => format!("{}; wanted: {}", verdict.measured, verdict.bound),
    };
    out.push_str(&painted(DIM, hanging(&detail, "    ", "    ", width).trim_end()));
    out.push('\n');
    out
}

fn outcome(verdict: &Verdict, strict: bool) -> (char, String, Style) {
    let came = if verdict.met { "met" } else { "missed" };
    if verdict.error.is_some() {
        let style = if strict { BAD } else { NOTE };
        return ('?', "could not be judged".to_owned(), style);
    }
    if !verdict.as_expected {
        return ('✗', format!("NOT as expected: {came}"), BAD);
    }
    match (verdict.expected, is_goal(verdict)) {
        (Expected::Missed, _) => ('✓', "broke, as it should".to_owned(), GOOD),
        (Expected::Met, _) => ('✓', came.to_owned(), GOOD),
        (Expected::Either, _) => match verdict.chance.filter(|_| strict) {
            Some(chance) => {
                let what = if is_goal(verdict) { "missed" } else { "met" };
                ('·', format!("{came} ({what} in {chance})"), NOTE)
            }
            None => ('·', came.to_owned(), NOTE),
        },
    }
}
