//! What was expected of each variant, and what came.

use anstyle::Style;
use scenarios::lab::{
    Verdict,
    variants::VariantKind,
    verdict::{Expected, VariantJudgement, VerdictKind},
};

use super::{
    readable::readable_pair,
    text::{hanging, spread},
};
use crate::{
    console::{BAD, BOLD, DIM, GOOD, NOTE, painted},
    runs::{Outcome, Session, is_goal},
};

/// All variants.
pub(super) fn verdicts(session: &Session<'_>, width: usize) -> String {
    let judged: Vec<&VariantJudgement> =
        session.outcomes.iter().filter_map(|outcome| session.judged(outcome)).collect();
    // Mostly all variants are altered in the same way: then it is said once.
    let alike = judged.windows(2).all(|pair| pair[0].altered == pair[1].altered);
    let mut parts = Vec::new();
    if let Some(first) = judged.first().filter(|first| alike && !first.altered.is_empty()) {
        parts.push(note(first, "", width));
    }
    parts.extend(session.outcomes.iter().map(|outcome| variant(session, outcome, !alike, width)));
    parts.join("\n")
}

/// That nothing is expected of such a run.
fn note(judged: &VariantJudgement, indent: &str, width: usize) -> String {
    let what = judged.altered.join(" and ");
    let text = format!("The {what} are not the lab's own, so nothing is expected: see what comes.");
    painted(NOTE, hanging(&text, indent, indent, width).trim_end()) + "\n"
}

fn variant(session: &Session<'_>, outcome: &Outcome, with_note: bool, width: usize) -> String {
    let verdicts: Vec<&Verdict> = session.verdicts(outcome).filter(|verdict| verdict.asked).collect();
    let Some(judged) = session.judged(outcome) else { return String::new() };
    let (told, style) = summary(judged, &verdicts);
    let mut out = format!("{}: {}\n", painted(BOLD, outcome.variant()), painted(style, told));
    if with_note && !judged.altered.is_empty() {
        out.push_str(&note(judged, "  ", width));
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
        None => {
            let (measured, bound) = readable_pair(&verdict.measured, &verdict.bound);
            format!("{measured}; wanted: {bound}")
        }
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
