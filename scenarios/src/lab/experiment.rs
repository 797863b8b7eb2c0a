//! A lab's variant as an experiment: what a sweep runs under many seeds, and what a shrinker makes small.
//!
//! What does not hold in a run is a failure: a property that is violated, a goal that is missed, and, under the lab's own
//! knobs and faults, a claim that is not true. Whether the lab expects it is another question ([`LabExperiment::expected`]). Comparisons need two variants under one
//! seed and claims over seeds need many: a sweep looks at one run at a time and leaves both out; the tests over all labs
//! judge them.
//!
//! ```
//! use scenarios::{find, lab::experiment::{LabExperiment, Settings}};
//! use sim_core::search::try_seed;
//!
//! let lab = find("write-ahead-log").unwrap();
//! let experiment = LabExperiment::new(lab, "no-sync", &Settings::default()).unwrap();
//! let trial = try_seed(&experiment, 1);
//! assert!(trial.failures.iter().any(|one| one.fingerprint() == "no acknowledged write is lost (goal)"));
//! ```

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use sim_core::{
    fault::FaultPlan,
    plan::{Draws, Plan, Ties},
    record::{Recording, RecordingLevel, SpanKind},
    search::{
        Experiment, Failure,
        explore::{Explore, Grid},
        failures,
        generate::Swarm,
        shrink::Hints,
    },
    time::ms,
};

use super::{
    LabEntry, LabError,
    knobs::KnobKind,
    variants::{Chance, VariantKind},
    verdict::{Expected, Judgement, VerdictKind},
};
use crate::measure::Unit;

/// Names of knobs that say how many servers there are.
const SERVERS_KNOBS: [&str; 5] = ["servers", "nodes", "replicas", "members", "voters"];
/// The seed of all chance while plans with k faults are enumerated: only the faults differ.
const CHANCE_SEED: u64 = 1;

/// How a variant is run, where that differs from the lab's own way.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Knobs that are set otherwise: `ttl=500ms`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sets: Vec<String>,
    /// Faults instead of the lab's own. Drawn ones come in addition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub faults: Option<FaultPlan>,
    /// The order of events at one instant.
    #[serde(default)]
    pub ties: Ties,
    /// Which runs.
    #[serde(default)]
    pub explore: Explore,
    /// The service to whose nodes drawn faults happen; empty for all that serve.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub servers: String,
}

impl Settings {
    /// Whether the lab itself says what comes of it: its own knobs and faults. The order of equal events may be another one.
    pub fn are_the_labs_own(&self) -> bool {
        self.sets.is_empty() && self.faults.is_none() && self.explore == Explore::Seeds
    }
}

/// What a lab expects of one thing that is judged in each run of a variant.
#[derive(Clone, Debug, PartialEq)]
pub struct Expectation {
    /// Its name.
    pub name: String,
    /// `goal`, `claim` or `property`.
    pub kind: &'static str,
    /// Whether it should hold.
    pub expected: Expected,
    /// How often over many seeds, where chance decides.
    pub chance: Option<Chance>,
}

/// See the module.
#[derive(Debug)]
pub struct LabExperiment<'l> {
    entry: &'l LabEntry,
    kind: VariantKind,
    explore: Explore,
    /// The plan of every seed, but for the seed and what is drawn.
    base: Plan,
    /// Whether claims are asked: they are the story of the lab's own knobs and faults.
    claims: bool,
    /// The nodes to which drawn faults happen.
    servers: Vec<(String, String)>,
    swarm: Option<Swarm>,
    grid: Option<Grid>,
    level: RecordingLevel,
}

impl<'l> LabExperiment<'l> {
    /// A variant of a lab under these settings. Where faults are drawn, it is run once without any, to see who serves.
    ///
    /// # Errors
    /// When there is no such variant, knob or service.
    pub fn new(entry: &'l LabEntry, variant: &str, settings: &Settings) -> Result<Self, LabError> {
        let mut base = entry.plan(variant, CHANCE_SEED, &settings.sets)?;
        base.ties = settings.ties;
        if let Some(faults) = &settings.faults {
            base.faults = faults.clone();
        }
        Self::of(entry, base, settings.explore, &settings.servers)
    }
    /// The experiment that a plan belongs to.
    ///
    /// # Errors
    /// When the plan is not one of this lab.
    pub fn of_plan(entry: &'l LabEntry, plan: &Plan) -> Result<Self, LabError> {
        Self::of(entry, plan.clone(), Explore::Seeds, "")
    }

    fn of(entry: &'l LabEntry, base: Plan, explore: Explore, servers: &str) -> Result<Self, LabError> {
        let kind = entry.variant(&base.variant)?.kind;
        let servers = if explore.draws_faults() { serving(entry, &base, servers)? } else { Vec::new() };
        // Names are in the roster already: what a service would add is said.
        let swarm = Swarm::new("", base.until);
        let names: Vec<String> = servers.iter().map(|(name, _)| name.clone()).collect();
        let (swarm, grid) = match explore {
            Explore::Seeds | Explore::Pct { .. } => (None, None),
            Explore::Random => (Some(swarm.all_armed()), None),
            Explore::Swarm => (Some(swarm), None),
            Explore::KFaults { most } => (None, Some(Grid::over(&swarm.arms, &names, base.until, most))),
        };
        let (level, own) = (entry.level(), entry.plan(&base.variant, CHANCE_SEED, &[])?);
        let claims = !explore.draws_faults() && base.knobs == own.knobs && base.faults == own.faults;
        Ok(Self { entry, kind, explore, base, claims, servers, swarm, grid, level })
    }

    /// The lab.
    pub fn lab(&self) -> &'l LabEntry {
        self.entry
    }
    /// The variant.
    pub fn variant(&self) -> &str {
        &self.base.variant
    }
    /// What the variant is in its lab's lesson.
    pub fn kind(&self) -> VariantKind {
        self.kind
    }
    /// How many plans there are, where they are enumerated.
    pub fn plans(&self) -> Option<u64> {
        self.grid.as_ref().map(Grid::count)
    }
    /// The nodes to which drawn faults happen.
    pub fn servers(&self) -> impl Iterator<Item = &str> {
        self.servers.iter().map(|(name, _)| name.as_str())
    }
    /// What the lab expects of each thing that a run of this variant is judged by, under its own knobs and faults. Of
    /// properties only those that the variant names.
    pub fn expected(&self) -> Vec<Expectation> {
        let nothing = Recording::default();
        let judged = self.judgement(&nothing);
        let verdicts = judged.iter().flat_map(|judged| judged.variants.iter().flat_map(|one| &one.verdicts));
        let one = |verdict: &super::Verdict| {
            let kind = match verdict.kind {
                VerdictKind::Goal => "goal",
                VerdictKind::Claim => "claim",
                VerdictKind::Comparison | VerdictKind::OverSeeds | VerdictKind::Run => return None,
                VerdictKind::Property => "property",
            };
            let (name, expected, chance) = (verdict.name.clone(), verdict.expected, verdict.chance);
            Some(Expectation { name, kind, expected, chance })
        };
        verdicts.filter_map(one).collect()
    }
    /// The units of the figures.
    pub fn figure_units(&self) -> Vec<(String, Unit)> {
        let nothing = Recording::default();
        let rows = self.judgement(&nothing).into_iter().flat_map(|judged| judged.figures);
        rows.filter_map(|row| Some((row.name, row.values.first()?.unit))).collect()
    }
    /// What does not hold when a plan is run: [`Experiment::run`] and [`Experiment::judge`] in one.
    ///
    /// # Errors
    /// When the world refuses the plan.
    pub fn failures(&self, plan: &Plan) -> Result<Vec<Failure>, String> {
        Ok(self.judge(&self.run(plan, self.level)?))
    }

    fn judgement(&self, recording: &Recording) -> Option<Judgement> {
        self.entry.judge(&[(self.variant(), recording)]).ok()
    }
}

/// The plan for another variant: its knobs, but for those that the plan has set otherwise than its own variant.
///
/// # Errors
/// When there is no such variant, or the plan's own is none.
pub fn as_variant(entry: &LabEntry, plan: &Plan, variant: &str) -> Result<Plan, LabError> {
    let own = entry.plan(&plan.variant, plan.seed, &[])?.knobs;
    let mut other = Plan { variant: variant.to_owned(), ..plan.clone() };
    other.knobs = entry.plan(variant, plan.seed, &[])?.knobs;
    for (name, value) in plan.knobs.iter().filter(|(name, value)| own.get(*name) != Some(value)) {
        other.knobs.insert(name.clone(), value.clone());
    }
    Ok(other)
}

/// The failures of a judged run: properties first, in the order in which they were seen, then goals and claims. `claims`:
/// whether what the story says of the lab's own faults is asked at all.
fn all_failures(judgement: &Judgement, recording: &Recording, claims: bool) -> Vec<Failure> {
    let mut found = failures(recording);
    for verdict in judgement.variants.iter().flat_map(|one| &one.verdicts) {
        let kind = match verdict.kind {
            VerdictKind::Goal => "goal",
            VerdictKind::Claim if claims => "claim",
            _ => continue,
        };
        if verdict.met {
            continue;
        }
        let (kind, detail) = match &verdict.error {
            Some(error) => ("not measured", error.clone()),
            None => (kind, format!("{}; wanted: {}", verdict.measured, verdict.bound)),
        };
        found.push(Failure {
            property: verdict.name.clone(),
            kind: kind.to_owned(),
            roles: Vec::new(),
            at: recording.ended,
            detail,
        });
    }
    found
}

fn all_figures(judgement: &Judgement) -> Vec<(String, f64)> {
    let value = |row: &super::verdict::FigureRow| Some((row.name.clone(), row.values.first()?.value?));
    judgement.figures.iter().filter_map(value).collect()
}

impl Experiment for LabExperiment<'_> {
    fn plan(&self, seed: u64) -> Result<Plan, String> {
        let mut plan = self.base.clone();
        plan.seed = seed;
        if let Some(swarm) = &self.swarm {
            for fault in swarm.draw(seed, &self.servers).faults() {
                plan.faults.push(fault.clone());
            }
        }
        if let Some(grid) = &self.grid {
            let faults = grid.plan(seed).ok_or_else(|| {
                format!(
                    "there are {} plans ({}): 0 to {}",
                    grid.count(),
                    self.explore,
                    grid.count().saturating_sub(1)
                )
            })?;
            plan.seed = CHANCE_SEED;
            for fault in faults.faults() {
                plan.faults.push(fault.clone());
            }
        }
        if let Explore::Pct { depth } = self.explore {
            let recording = self.run(&plan, RecordingLevel::Full)?;
            plan.draws = Draws::Pct { depth, messages: recording.messages.len() as u64 };
        }
        Ok(plan)
    }
    fn run(&self, plan: &Plan, level: RecordingLevel) -> Result<Recording, String> {
        self.entry.run(plan, level).map_err(|error| error.to_string())
    }
    fn judge(&self, recording: &Recording) -> Vec<Failure> {
        self.assess(recording).0
    }
    fn level(&self) -> RecordingLevel {
        self.level
    }
    fn figures(&self, recording: &Recording) -> Vec<(String, f64)> {
        self.assess(recording).1
    }
    fn assess(&self, recording: &Recording) -> (Vec<Failure>, Vec<(String, f64)>) {
        match self.judgement(recording) {
            Some(judgement) => (all_failures(&judgement, recording, self.claims), all_figures(&judgement)),
            None => (failures(recording), Vec::new()),
        }
    }
    /// Who serves is asked of a run without faults, here or, where faults are drawn, at the beginning.
    fn hints(&self) -> Hints {
        let base = &self.base;
        let serving = || serving(self.entry, base, "").unwrap_or_default();
        let servers = if self.servers.is_empty() { serving() } else { self.servers.clone() };
        let services: BTreeSet<&str> = servers.iter().map(|(_, service)| service.as_str()).collect();
        // A shrinker counts the nodes of one service, or all.
        let service = if services.len() == 1 { servers[0].1.clone() } else { String::new() };
        let own = self.entry.plan(self.variant(), CHANCE_SEED, &[]);
        Hints {
            servers_knob: servers_knob(self.entry, base, servers.len()).ok().flatten(),
            servers: service,
            defaults: own.map(|plan| plan.knobs).unwrap_or_default(),
            lasts: ms(1)..=(base.until / 4).max(ms(1)),
            within: ms(0)..=base.until * 3 / 4,
        }
    }
}

/// The nodes to which faults may happen: those of a service, or of all services that answered a call or took a message from
/// another in a run without faults. Where nobody did, all.
fn serving(entry: &LabEntry, plan: &Plan, service: &str) -> Result<Vec<(String, String)>, LabError> {
    let roster = entry.roster(plan)?;
    if !service.is_empty() {
        let chosen: Vec<_> = roster.iter().filter(|(_, own)| own == service).cloned().collect();
        if chosen.is_empty() {
            let known: BTreeSet<&str> = roster.iter().map(|(_, own)| own.as_str()).collect();
            let near = super::nearest::did_you_mean(super::nearest::nearest(service, known.iter().copied()));
            let known: Vec<&str> = known.into_iter().collect();
            return Err(LabError::Misuse(format!(
                "the lab `{}` has no service `{service}`{near}; its services are {}",
                entry.name(),
                known.join(", ")
            )));
        }
        return Ok(chosen);
    }
    let recording = entry.run(&plan.clone().with_faults(FaultPlan::none()), RecordingLevel::Full)?;
    let serves = |kind: SpanKind| matches!(kind, SpanKind::Server | SpanKind::Consumer);
    let spans = recording.spans.iter().filter(|span| serves(span.kind));
    let services: BTreeSet<&str> = spans
        .filter_map(|span| recording.nodes.get(span.node.0 as usize))
        .map(|node| &*node.service)
        .collect();
    if services.is_empty() {
        return Ok(roster);
    }
    Ok(roster.into_iter().filter(|(_, service)| services.contains(&**service)).collect())
}

/// The knob that says how many servers there are: a whole number of that name and value.
fn servers_knob(entry: &LabEntry, plan: &Plan, servers: usize) -> Result<Option<(String, u64)>, LabError> {
    let knobs = entry.knobs()?;
    let is_one = |name: &str| {
        let value = plan.knobs.get(name).and_then(toml::Value::as_integer);
        value == Some(servers as i64)
            && knobs.iter().any(|knob| knob.name == name && knob.kind == KnobKind::Whole)
    };
    Ok(SERVERS_KNOBS.into_iter().find(|name| is_one(name)).map(|name| (name.to_owned(), 1)))
}

#[cfg(test)]
mod tests {
    use sim_core::search::{shrink, sweep::Summary, try_seed};

    use super::*;
    use crate::find;

    fn settings(explore: Explore) -> Settings {
        Settings { explore, ..Settings::default() }
    }

    fn log(variant: &str, explore: Explore) -> LabExperiment<'static> {
        LabExperiment::new(find("write-ahead-log").unwrap(), variant, &settings(explore)).unwrap()
    }

    #[test]
    fn an_experiment_is_the_labs_own_run_and_its_failures_are_what_did_not_hold() {
        let lab = find("write-ahead-log").unwrap();
        let experiment = log("no-sync", Explore::Seeds);
        let trial = try_seed(&experiment, 7);
        let own = lab.run(&lab.plan("no-sync", 7, &[]).unwrap(), RecordingLevel::Essential).unwrap();
        assert_eq!(trial.hash, own.run_hash);
        let told: Vec<String> = trial.failures.iter().map(Failure::fingerprint).collect();
        let property = "what was acknowledged is there after a power failure (always) by client";
        assert_eq!(told, [property, "no acknowledged write is lost (goal)"]);
        assert!(trial.failures[1].detail.ends_with("; wanted: exactly 0"), "{}", trial.failures[0].detail);
        assert!(trial.figures.iter().any(|(name, value)| name == "acknowledged and lost" && *value > 500.0));
        let expected = experiment.expected();
        let of = |name: &str| expected.iter().find(|one| one.name == name).unwrap().expected;
        assert_eq!(of("no acknowledged write is lost"), Expected::Missed);
        assert_eq!(of("what is read back was written"), Expected::Met);
        assert_eq!(of("what was not written back is lost"), Expected::Met);
    }

    #[test]
    fn faults_are_drawn_for_those_who_serve_and_come_in_addition() {
        let experiment = log("group-commit", Explore::Swarm);
        assert_eq!(experiment.servers().collect::<Vec<_>>(), ["store"]);
        let plan = experiment.plan(3).unwrap();
        assert_eq!(plan.faults.faults()[0].name, "power failure");
        let kinds: BTreeSet<usize> =
            (0..8).map(|seed| experiment.plan(seed).unwrap().faults.faults().len()).collect();
        assert!(kinds.len() > 2, "each seed draws its own: {kinds:?}");
        assert_eq!(experiment.plan(3), experiment.plan(3));
        let error = LabExperiment::new(
            find("write-ahead-log").unwrap(),
            "no-sync",
            &Settings { servers: "stroe".to_owned(), explore: Explore::Swarm, ..Settings::default() },
        );
        assert_eq!(
            error.unwrap_err().to_string(),
            "the lab `write-ahead-log` has no service `stroe`; did you mean `store`?; its services are client, store"
        );
    }

    #[test]
    fn enumerated_plans_have_one_seed_and_an_end() {
        let experiment = log("group-commit", Explore::KFaults { most: 1 });
        let plans = experiment.plans().unwrap();
        assert_eq!(experiment.plan(0).unwrap().faults.faults().len(), 1, "the lab's own");
        let last = experiment.plan(plans - 1).unwrap();
        assert_eq!((last.seed, last.faults.faults().len()), (CHANCE_SEED, 2));
        assert!(experiment.plan(plans).unwrap_err().starts_with(&format!("there are {plans} plans")));
    }

    #[test]
    fn priorities_of_messages_know_how_many_there_are() {
        let of = |explore| {
            LabExperiment::new(find("failure-detector").unwrap(), "phi", &settings(explore)).unwrap()
        };
        let experiment = of(Explore::Pct { depth: 3 });
        let plan = experiment.plan(1).unwrap();
        let Draws::Pct { depth: 3, messages } = plan.draws else { panic!("{:?}", plan.draws) };
        assert!(messages > 1_000, "{messages}");
        assert_ne!(try_seed(&experiment, 1).hash, try_seed(&of(Explore::Seeds), 1).hash);
    }

    #[test]
    fn the_plan_of_another_variant_keeps_what_was_set() {
        let lab = find("write-ahead-log").unwrap();
        let plan = lab.plan("no-sync", 5, &["rate=100".to_owned()]).unwrap();
        let other = as_variant(lab, &plan, "group-commit").unwrap();
        assert_eq!(other, lab.plan("group-commit", 5, &["rate=100".to_owned()]).unwrap());
    }

    #[test]
    fn a_lab_shrinks_to_its_one_fault() {
        let lab = find("write-ahead-log").unwrap();
        let sets = ["rate=100".to_owned(), "value=100".to_owned()].to_vec();
        let all = Settings { sets, explore: Explore::Swarm, ..Settings::default() };
        let experiment = LabExperiment::new(lab, "no-sync", &all).unwrap();
        let effort = shrink::Effort { workers: 2, executions: 60, patience: 16, deliveries: false };
        let shrunk = shrink::shrink(&experiment, &experiment.plan(2).unwrap(), None, effort).unwrap();
        assert_eq!(shrunk.failure.property, "what was acknowledged is there after a power failure");
        assert_eq!((shrunk.after.nodes, shrunk.after.faults), (1, 1), "{}", shrunk.plan.to_toml());
        let again = LabExperiment::of_plan(lab, &shrunk.plan).unwrap();
        assert!(again.failures(&shrunk.plan).unwrap().contains(&shrunk.failure));
    }

    #[test]
    fn a_summary_of_a_lab_names_its_goals() {
        let experiment = log("no-sync", Explore::Seeds);
        let mut summary = Summary::default();
        for seed in 0..3 {
            summary.add(&try_seed(&experiment, seed));
        }
        let groups = summary.failures();
        let told: Vec<(u64, &str)> = groups.iter().map(|group| (group.count, &*group.kind)).collect();
        assert_eq!(told, [(3, "goal"), (3, "always")]);
    }
}
