//! A failing run told as a numbered story, in virtual time.

use std::collections::BTreeMap;

use crate::{
    record::{Fate, NodeIndex, OperationOutcome, Recording},
    search::Failure,
    time::SimTime,
};

/// What led to the failure: faults, operations, changes of role, overridden deliveries, the violation. Of the states only
/// those that the failure's witnesses could know of (by messages that had arrived) are told.
pub fn story(recording: &Recording, failure: &Failure) -> Vec<String> {
    let known = horizon(recording, failure);
    let mut lines: Vec<(SimTime, u8, String)> = Vec::new();
    for fault in &recording.faults {
        let on: Vec<&str> = fault.nodes.iter().map(|&node| recording.node_name(node)).collect();
        let on = if on.is_empty() || on.len() > 3 { fault.on.clone() } else { on.join(", ") };
        let on = if on.is_empty() { on } else { format!(" ({on})") };
        for &at in &fault.began {
            lines.push((at, 0, format!("fault `{}`: {}{on}", fault.name, fault.what)));
        }
        for &at in &fault.ended {
            lines.push((at, 0, format!("fault `{}` is over", fault.name)));
        }
    }
    for operation in &recording.operations {
        let client = recording.node_name(operation.node);
        let key = recording.text(operation.key);
        let call = format!(
            "{client}: {}{}({})",
            recording.text(operation.function),
            if key.is_empty() { String::new() } else { format!(" {key}") },
            recording.text(operation.input)
        );
        lines.push((operation.invoked, 2, format!("{call} begins")));
        if operation.completed != SimTime::MAX {
            let end = match operation.outcome {
                OperationOutcome::Ok(output) => format!("answers {}", recording.text(output)),
                OperationOutcome::Fail(why) => format!("fails: {}", recording.text(why)),
                OperationOutcome::Unknown(why) => format!("is unknown: {}", recording.text(why)),
                OperationOutcome::Pending => "is pending".to_owned(),
            };
            lines.push((operation.completed, 3, format!("{call} {end}")));
        }
    }
    for change in &recording.states {
        let (key, value) = (recording.text(change.key), recording.text(change.value));
        // What everybody is at the start is no news.
        let told = ["role", "process"].contains(&key) && !value.is_empty() && change.at > SimTime::ZERO;
        if told && known.get(&change.node).is_some_and(|&until| change.at <= until) {
            lines.push((change.at, 1, format!("{}: {key} {value}", recording.node_name(change.node))));
        }
    }
    lines.retain(|(at, ..)| *at <= failure.at);
    lines.push((failure.at, 9, format!("violated: {} ({})", failure.property, failure.detail)));
    lines.sort();
    let number = |(index, (at, _, text)): (usize, (SimTime, u8, String))| {
        format!("{:>3}. {:>11} ms  {text}", index + 1, milliseconds(at))
    };
    lines.into_iter().enumerate().map(number).collect()
}

/// With three decimals: whole microseconds.
fn milliseconds(at: SimTime) -> String {
    let micros = at.as_nanos() / 1_000;
    format!("{}.{:03}", micros / 1_000, micros % 1_000)
}

/// Up to when each node's past is in the past of the failure.
fn horizon(recording: &Recording, failure: &Failure) -> BTreeMap<NodeIndex, SimTime> {
    let witness = recording.properties.iter().filter(|one| one.name == failure.property);
    let witness = witness.filter_map(|one| one.first_failure.as_ref()).map(|first| first.node);
    let witnesses: Vec<NodeIndex> = witness.filter(|node| *node != NodeIndex::NONE).collect();
    let all = (0..recording.nodes.len() as u32).map(NodeIndex);
    if witnesses.is_empty() || recording.messages.is_empty() {
        return all.map(|node| (node, failure.at)).collect();
    }
    let mut known: BTreeMap<NodeIndex, SimTime> =
        witnesses.into_iter().map(|node| (node, failure.at)).collect();
    // Backwards in time of arrival: who sent what had arrived is known up to the sending.
    let mut arrived: Vec<(SimTime, usize)> = Vec::new();
    for (index, message) in recording.messages.iter().enumerate() {
        if let Fate::Arrived(at) = message.fate {
            arrived.push((at, index));
        }
    }
    arrived.sort_unstable_by(|a, b| b.cmp(a));
    for (at, index) in arrived {
        let message = &recording.messages[index];
        if known.get(&message.to).is_some_and(|&until| at <= until) {
            let until = known.entry(message.from).or_insert(message.sent);
            *until = (*until).max(message.sent);
        }
    }
    known
}
