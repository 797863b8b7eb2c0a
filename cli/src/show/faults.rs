//! The faults of the plan, and what each of them changed in each run. One that touched nothing proves nothing, so it is said.

use sim_core::record::FaultRecord;
use viz::terminal::duration;

use super::text::{counted, hanging};
use crate::{
    console::{BOLD, NOTE, painted},
    runs::{Outcome, Session},
};

/// All faults, in the plan's order; nothing where none was planned.
pub(super) fn faults(session: &Session<'_>, width: usize) -> String {
    let mut known: Vec<(&str, &str, &str)> = Vec::new();
    for fault in session.outcomes.iter().flat_map(|outcome| &outcome.recording.faults) {
        if !known.contains(&key(fault)) {
            known.push(key(fault));
        }
    }
    if known.is_empty() {
        return String::new();
    }
    let mut out = format!("\n{}\n", painted(BOLD, "Faults"));
    for fault in known {
        out.push_str(&one(session, fault, width));
    }
    out
}

fn key(fault: &FaultRecord) -> (&str, &str, &str) {
    (&fault.name, &fault.what, &fault.on)
}

fn one(session: &Session<'_>, wanted: (&str, &str, &str), width: usize) -> String {
    let effects: Vec<(&Outcome, &FaultRecord)> = session
        .outcomes
        .iter()
        .filter_map(|outcome| {
            outcome.recording.faults.iter().find(|fault| key(fault) == wanted).map(|fault| (outcome, fault))
        })
        .collect();
    let (name, what, on) = wanted;
    let times: Vec<String> = effects.iter().map(|(_, fault)| when(fault)).collect();
    let same_time = times.windows(2).all(|pair| pair[0] == pair[1]);
    let time = times.first().filter(|_| same_time).cloned().unwrap_or_default();
    let on = if on.is_empty() { String::new() } else { format!(" on {on}") };
    let mut out = hanging(&format!("{name}: {what}{on}{time}"), "  ", "    ", width);

    let touched: Vec<u64> = effects.iter().map(|(_, fault)| fault.touched).collect();
    if let (Some(&first), true) = (touched.first(), touched.windows(2).all(|pair| pair[0] == pair[1])) {
        let text = match (first, effects.len()) {
            (0, 1) => "this fault touched nothing".to_owned(),
            (0, _) => "this fault touched nothing, in any variant".to_owned(),
            (n, 1) => format!("touched {}", counted(n, "thing")),
            (n, _) => format!("touched {} in each variant", counted(n, "thing")),
        };
        let line = hanging(&text, "    ", "    ", width);
        out.push_str(&if first == 0 { format!("{}\n", painted(NOTE, line.trim_end())) } else { line });
        return out;
    }
    let told: Vec<String> = effects
        .iter()
        .zip(&times)
        .map(|((outcome, fault), time)| {
            let time = if same_time { "" } else { time.as_str() };
            let effect = match fault.touched {
                0 => "this fault touched nothing".to_owned(),
                n => counted(n, "thing"),
            };
            format!("{}{time}: {effect}", outcome.variant())
        })
        .collect();
    out.push_str(&hanging(&format!("touched in {}", told.join("; in ")), "    ", "      ", width));
    out
}

/// When it took hold and let go.
fn when(fault: &FaultRecord) -> String {
    let Some(first) = fault.began.first() else { return ", which never began".to_owned() };
    let times = match fault.began.len() {
        1 => String::new(),
        n => format!(", {n} times"),
    };
    let until = match fault.ended.first() {
        Some(end) if fault.began.len() == 1 => format!(" until {}", duration(end.since_start())),
        _ => String::new(),
    };
    let word = if until.is_empty() { "at" } else { "from" };
    format!(", {word} {}{until}{times}", duration(first.since_start()))
}
