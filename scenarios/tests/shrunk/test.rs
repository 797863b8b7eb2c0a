//! no acknowledged write is lost (goal): write-ahead-log, no-sync, made small from seed 3: 1 node, 1 fault, 197 operations, 0 deliveries.
//!
//! `shaketable shrink` wrote it. The plan lies beside this file; what happens in it is told in story.txt.

use scenarios::{
    find,
    lab::experiment::{LabExperiment, as_variant},
};
use sim_core::{plan::Plan, search::Failure};

/// How the run fails: property, kind and roles of the witnesses.
const FAILURE: &str = "no acknowledged write is lost (goal)";

/// What fails when the small plan is run with that variant.
fn failures(variant: &str) -> Vec<String> {
    let plan = Plan::from_toml(include_str!("plan.toml")).expect("a plan");
    let lab = find(&plan.scenario).expect("a lab of the catalogue");
    let plan = as_variant(lab, &plan, variant).expect("a variant of the lab");
    let experiment = LabExperiment::of_plan(lab, &plan).expect("a plan of the lab");
    let failures = experiment.failures(&plan).expect("the plan can be run");
    failures.iter().map(Failure::fingerprint).collect()
}

#[test]
fn no_sync_fails_as_it_did() {
    let failures = failures("no-sync");
    assert!(failures.iter().any(|one| one == FAILURE), "{failures:?}");
}

#[test]
fn sync_each_holds() {
    let failures = failures("sync-each");
    assert!(!failures.iter().any(|one| one == FAILURE), "{failures:?}");
}
