//! The folder that runs are written to: those of one experiment lie beside each other, and no others among them.
//!
//! A run replaces the earlier one of its variant. What would stay beside it must belong to it: the same lab, the same seed,
//! the same knobs and faults. Otherwise pictures and `export` would take runs together that nobody can compare, so the
//! command is refused before anything is run.

use std::{fs, path::Path};

use scenarios::lab::LabEntry;
use serde_json::Value;
use sim_core::plan::Plan;

use crate::{asked::Asked, document, failure::Failure};

/// What makes runs comparable, as `summary.json` tells it.
const SAME: [&str; 5] = ["scenario", "seed", "set", "faults_from", "plan_from"];

/// The keys of [`SAME`] for runs that are yet to be made.
fn origin(lab: &LabEntry, plans: &[Plan], asked: &Asked) -> Value {
    let mut origin = document::value(&asked.document(plans.first()));
    origin["scenario"] = lab.name().into();
    origin["seed"] = plans.first().map_or(0, |plan| plan.seed).into();
    origin
}

/// What the folder of a run says of it: `None` where it is none.
fn found(folder: &Path) -> Option<Value> {
    let read = |name: &str| fs::read_to_string(folder.join(name)).ok();
    if let Some(summary) = read("summary.json").and_then(|text| serde_json::from_str::<Value>(&text).ok())
        && summary.get("scenario").is_some()
    {
        return Some(summary);
    }
    let plan = Plan::from_toml(&read("plan.toml")?).ok()?;
    Some(serde_json::json!({ "scenario": plan.scenario, "seed": plan.seed }))
}

/// A run in a few words.
fn told(run: &Value) -> String {
    let mut told = format!("{}, seed {}", run["scenario"].as_str().unwrap_or("?"), run["seed"]);
    for (name, value) in run["set"].as_object().into_iter().flatten() {
        told.push_str(&format!(", {name} = {}", value.as_str().unwrap_or_default()));
    }
    for (key, word) in [("faults_from", "faults from"), ("plan_from", "replayed from")] {
        if let Some(path) = run[key].as_str() {
            told.push_str(&format!(", {word} {path}"));
        }
    }
    told
}

/// Whether the runs of these plans may be written to a folder.
pub(crate) fn check(folder: &Path, lab: &LabEntry, plans: &[Plan], asked: &Asked) -> Result<(), Failure> {
    let own = origin(lab, plans, asked);
    if found(folder).is_some() {
        let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty());
        let parent = parent.unwrap_or(Path::new(".")).display();
        return Err(Failure::Usage(format!(
            "{} is the folder of a single run. Each variant gets a folder of its own in the one that --out names: give \
             the folder above it ({parent}), or a new one",
            folder.display()
        )));
    }
    // What cannot be read is told when it is written to.
    let Ok(entries) = fs::read_dir(folder) else { return Ok(()) };
    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        let Some(other) = found(&path) else { continue };
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let replaced = plans.iter().any(|plan| plan.variant == name);
        let same = |key: &str| other[key] == own[key];
        if if replaced { same("scenario") } else { SAME.iter().all(|key| same(key)) } {
            continue;
        }
        return Err(Failure::Usage(format!(
            "{} holds a run of another experiment ({}), this one is {}. In one folder they could not be told apart: give \
             another one with --out, or remove that one",
            path.display(),
            told(&other),
            told(&own)
        )));
    }
    Ok(())
}

/// The name of the folder where none was given: what makes runs comparable is in it.
pub(crate) fn name(lab: &LabEntry, plans: &[Plan], asked: &Asked) -> String {
    let seed = plans.first().map_or(0, |plan| plan.seed);
    let mut name = format!("{}-{seed}", lab.name());
    let stem =
        |path: &Path| path.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
    let knobs = asked.knobs(plans.first()).into_iter().map(|(knob, value)| format!("{knob}-{value}"));
    let faults = asked.faults_from.iter().map(|path| format!("faults-{}", stem(path)));
    let replayed = asked
        .plan_from
        .iter()
        .map(|_| format!("replay-{}", plans.first().map_or("", |plan| plan.variant.as_str())));
    for part in knobs.chain(faults).chain(replayed) {
        let plain = part.replace(|c: char| !c.is_ascii_alphanumeric() && c != '.' && c != '_', "-");
        name.push_str(&format!("-{}", plain.trim_matches('-')));
    }
    name
}
