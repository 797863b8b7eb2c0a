//! Judging, on runs made by hand: a toy lab about a herd of queries.

use sim_core::{
    record::{Ending, Recording, RecordingLevel},
    time::{ms, secs},
};

use crate::{
    lab::{
        LabEntry, LabError, find_in,
        verdict::{Expected, VerdictKind},
    },
    measure::{Shown, percent, testing::RecordingBuilder},
    prelude::*,
};

mod properties;

#[derive(Clone, Copy, Serialize, Deserialize, JsonSchema)]
struct Toy {
    /// How many requests a second.
    #[schemars(range(min = 1, max = 1_000))]
    rate: f64,
    /// How a miss is filled.
    fill: Fill,
}

#[derive(Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Fill {
    EveryMiss,
    SingleFlight,
    HalfAFix,
}

impl Lab for Toy {
    const ABOUT: About = About { weeks: &[12], modules: &[10], path: "A", until: secs(10) };

    fn variants() -> Variants<Self> {
        let naive = Self { rate: 100.0, fill: Fill::EveryMiss };
        Variants::broken("naive", naive, misses("few queries").and_in(1, 5, "no page fails"))
            .fixed("single-flight", Self { fill: Fill::SingleFlight, ..naive })
            .control("half-a-fix", Self { fill: Fill::HalfAFix, ..naive })
    }
    fn build(self, _: &mut Sim) {}
    fn expect() -> Expectations {
        Expectations::new()
            .goal("few queries", |run| run.gauge("db.load").peaks().each().at_most(10))
            .goal("no page fails", |run| run.count("page.failed").or_zero().equals(0))
            .goal_for(["naive", "single-flight"], "pages are served", |run| run.count("page").at_least(1))
            .claim("naive", "a herd", |run| run.gauge("db.load").peaks().each().within(60..=150))
            .claim_in(1, 2, "single-flight", "often three queries", |run| {
                run.gauge("db.load").max().equals(3)
            })
            .compare(["single-flight", "half-a-fix"], "naive", "fewer queries than naive", |fixed, naive| {
                fixed.gauge("db.load").max().below(naive.gauge("db.load").max())
            })
            .over_seeds(
                2,
                "single-flight",
                "two queries on average",
                |run| run.gauge("db.load").max(),
                |all| all.mean().equals(2),
            )
            .under(with_knob("rate=5").without_faults(), "naive", "no herd without load", |run| {
                run.gauge("db.load").max().at_most(1)
            })
            .show("no page fails", |run| run.spans("GET /hot").failed().shown("a page that failed"))
            .show("few queries", |run| run.spans("GET /hot").shown("the slowest page"))
            .figure("herd", |run| run.gauge("db.load").max())
            .figure("p99 of a page", |run| run.spans("GET /hot").p99())
            .figure_for("naive", "pages", |run| run.count("page"))
    }
}

const STORY: &str =
    "//! # Toy\n//!\n//! ## Predict\n//! What?\n//! ## Watch\n//! db.load\n//! ## Try next\n//! More.\n";

fn toy() -> LabEntry {
    LabEntry::of::<Toy>("caching", "toy_lab", STORY)
}

fn herd(load: f64) -> RecordingBuilder {
    RecordingBuilder::lasting(10_000)
        .gauge("db", "db.load", &[(4_000, load), (4_500, 0.0)])
        .counter("web-1", "page", &[(1, 5.0)])
        .span("web-1", "GET /hot", 0, 30, None)
}

/// Runs of all three variants; `failed` pages in the naive one.
fn runs(naive: f64, fixed: f64, failed: f64) -> [(&'static str, Recording); 3] {
    let failing = herd(naive).counter("web-1", "page.failed", &[(4_000, failed)]);
    [("naive", failing.done()), ("single-flight", herd(fixed).done()), ("half-a-fix", herd(50.0).done())]
}

fn judged(runs: &[(&'static str, Recording)]) -> super::Judgement {
    let runs: Vec<(&str, &Recording)> = runs.iter().map(|(name, recording)| (*name, recording)).collect();
    toy().judge(&runs).unwrap()
}

/// The verdict of that name about a variant: expected, met, as expected.
fn told(judgement: &super::Judgement, variant: &str, name: &str) -> (Expected, bool, bool) {
    let mut verdicts = judgement.verdicts();
    let verdict = verdicts.find(|one| one.name == name && one.variants[0] == variant);
    let verdict = verdict.unwrap_or_else(|| panic!("no verdict `{name}` about {variant}"));
    (verdict.expected, verdict.met, verdict.as_expected)
}

#[test]
fn a_broken_variant_misses_what_it_names_and_a_fixed_one_meets_everything() {
    let judgement = judged(&runs(105.0, 2.0, 0.0));
    assert!(judgement.as_expected(), "{judgement:#?}");
    assert_eq!(told(&judgement, "naive", "few queries"), (Expected::Missed, false, true));
    assert_eq!(told(&judgement, "naive", "pages are served"), (Expected::Met, true, true));
    assert_eq!(told(&judgement, "single-flight", "few queries"), (Expected::Met, true, true));
    assert_eq!(told(&judgement, "half-a-fix", "few queries"), (Expected::Either, false, true));
    assert_eq!(told(&judgement, "naive", "a herd"), (Expected::Met, true, true));
    assert_eq!(told(&judgement, "half-a-fix", "fewer queries than naive"), (Expected::Met, true, true));
}

#[test]
fn a_broken_variant_that_does_not_break_has_failed() {
    let judgement = judged(&runs(5.0, 2.0, 0.0));
    assert_eq!(told(&judgement, "naive", "few queries"), (Expected::Missed, true, false));
    assert_eq!(told(&judgement, "naive", "a herd"), (Expected::Met, false, false));
    assert!(!judgement.as_expected());
}

#[test]
fn a_broken_variant_that_breaks_for_another_reason_has_failed() {
    let mut runs = runs(105.0, 2.0, 0.0);
    runs[0].1 = herd(105.0).with(|recording| recording.metrics[1].points.clear()).done();
    assert_eq!(told(&judged(&runs), "naive", "pages are served"), (Expected::Met, false, false));
}

#[test]
fn a_fixed_variant_that_misses_a_goal_has_failed() {
    let judgement = judged(&runs(105.0, 60.0, 0.0));
    assert_eq!(told(&judgement, "single-flight", "few queries"), (Expected::Met, false, false));
}

#[test]
fn a_goal_of_other_variants_is_judged_and_nothing_is_expected() {
    let mut runs = runs(105.0, 2.0, 0.0);
    let of_control = |runs: &[(&'static str, Recording)]| {
        let judgement = judged(runs);
        assert!(judgement.as_expected(), "{judgement:#?}");
        let verdict = judgement.verdicts().find(|one| {
            one.name == "pages are served" && one.variants == ["half-a-fix"] && one.kind == VerdictKind::Goal
        });
        verdict.map(|one| (one.asked, one.expected, one.met, one.error.is_some()))
    };
    assert_eq!(of_control(&runs), Some((false, Expected::Either, true, false)));
    // Also where it cannot be measured.
    runs[2].1 = herd(50.0).with(|recording| recording.metrics.truncate(1)).done();
    assert_eq!(of_control(&runs), Some((false, Expected::Either, false, true)));
}

#[test]
fn a_missed_goal_shows_the_trace_that_the_lab_has_for_it() {
    let broken = |recording: Recording| {
        let judgement = judged(&[("naive", recording.clone())]);
        toy().shown(&judgement.variants[0], &recording)
    };
    let two_pages = || {
        let herd = herd(105.0).span("web-1", "GET /hot", 50, 900, None).failed();
        herd.with(|recording| recording.spans[1].trace = 1)
    };
    let few_queries = Some(Shown { trace: 1, why: "the slowest page".to_owned() });
    assert_eq!(broken(two_pages().done()), few_queries);
    // The first goal that was missed decides.
    assert_eq!(broken(two_pages().counter("web-1", "page.failed", &[(4_000, 1.0)]).done()), few_queries);
    let failed = two_pages().counter("web-1", "page.failed", &[(4_000, 1.0)]);
    let calm = failed.with(|recording| recording.metrics[0].points[0].value = 5.0).done();
    assert_eq!(broken(calm), Some(Shown { trace: 1, why: "a page that failed".to_owned() }));
    // Nothing was missed.
    let judgement = judged(&runs(105.0, 2.0, 0.0));
    assert_eq!(toy().shown(&judgement.variants[1], &herd(2.0).done()), None);
}

#[test]
fn where_chance_decides_either_is_as_expected() {
    for failed in [0.0, 3.0] {
        let judgement = judged(&runs(105.0, 2.0, failed));
        assert_eq!(told(&judgement, "naive", "no page fails"), (Expected::Either, failed == 0.0, true));
    }
}

#[test]
fn what_was_never_recorded_is_never_as_expected() {
    let mut runs = runs(105.0, 2.0, 0.0);
    runs[0].1 = RecordingBuilder::lasting(10_000).counter("web-1", "page", &[(1, 1.0)]).done();
    let judgement = judged(&runs);
    // A goal that it should miss, but not by having no data.
    assert_eq!(told(&judgement, "naive", "few queries"), (Expected::Missed, false, false));
    let verdict = judgement.verdicts().find(|one| one.name == "few queries").unwrap();
    let error = verdict.error.as_deref().unwrap();
    assert!(error.contains("no gauge `db.load`") && error.contains("another variant did"), "{error}");
    // And `.or_zero()` does not help a name that no variant has.
    assert_eq!(told(&judgement, "single-flight", "no page fails"), (Expected::Met, false, false));
}

#[test]
fn some_variants_can_be_judged_alone() {
    let all = runs(105.0, 2.0, 0.0);
    let judgement = toy().judge(&[("single-flight", &all[1].1)]).unwrap();
    assert!(judgement.as_expected(), "nobody knows better about `page.failed`: {judgement:#?}");
    assert_eq!((judgement.variants.len(), judgement.comparisons.len()), (1, 0));
    let error = toy().judge(&[("singel-flight", &all[1].1)]).unwrap_err().to_string();
    assert!(
        error.contains("did you mean `single-flight`?") && error.contains("naive, single-flight"),
        "{error}"
    );
    assert!(matches!(toy().judge(&[("naive", &all[0].1), ("naive", &all[0].1)]), Err(LabError::Misuse(_))));
}

#[test]
fn nothing_is_expected_of_a_run_with_other_knobs() {
    let plan = toy().plan("naive", 7, &["rate=5".to_owned()]).unwrap();
    let with_plan = |plan: &sim_core::plan::Plan| {
        let text = toml::to_string(plan).unwrap();
        herd(1.0).with(|recording| recording.origin.plan = text).done()
    };
    let judgement = judged(&[("naive", with_plan(&plan))]);
    assert_eq!(judgement.variants[0].altered, ["knobs"]);
    assert_eq!(told(&judgement, "naive", "few queries"), (Expected::Either, true, true));
    assert!(judgement.as_expected());
    let own = judged(&[("naive", with_plan(&toy().plan("naive", 0, &[]).unwrap()))]);
    assert!(own.variants[0].altered.is_empty() && !own.as_expected());
}

#[test]
fn a_panic_and_faults_without_effect_are_not_as_expected() {
    let panicked = |recording: &mut Recording| {
        recording.ending =
            Ending::Panicked { node: "db".to_owned(), message: "index out of bounds".to_owned() };
    };
    let mut all = runs(105.0, 2.0, 0.0);
    all[1].1 = herd(2.0).with(panicked).done();
    assert_eq!(told(&judged(&all), "single-flight", "no node panics"), (Expected::Met, false, false));
    all[1].1 = herd(2.0).fault("crash db", 5_000, 0).done();
    let judgement = judged(&all);
    assert_eq!(told(&judgement, "single-flight", "the faults take hold"), (Expected::Met, false, false));
    assert_eq!(judgement.variants[1].untouched, ["crash db"]);
    all[1].1 = herd(2.0).fault("crash db", 5_000, 0).fault("loss", 6_000, 9).done();
    assert!(judged(&all).as_expected());
}

#[test]
fn chances_and_averages_are_counted_over_seeds() {
    // Pages fail in 1 of 4 seeds, three queries come in 2 of 4; on average there are 2.
    let seeds = [(3.0, 0.0), (1.0, 2.0), (3.0, 0.0), (1.0, 0.0)];
    let judgements: Vec<_> = seeds.iter().map(|&(load, failed)| judged(&runs(105.0, load, failed))).collect();
    let verdicts = toy().judge_over_seeds(&judgements);
    let told: Vec<(&str, &str, bool)> =
        verdicts.iter().map(|one| (one.name.as_str(), one.measured.as_str(), one.as_expected)).collect();
    assert_eq!(
        told,
        [
            ("two queries on average", "mean of highest db.load 2", true),
            ("no page fails", "missed in 1 of 4 seeds", true),
            ("often three queries", "met in 2 of 4 seeds", true),
        ]
    );
    assert!(verdicts.iter().all(|one| one.kind == VerdictKind::OverSeeds));
    // Without the failing seed the broken variant never fails a page, which is not what it says.
    let calm: Vec<_> = (0..4).map(|_| judged(&runs(105.0, 1.0, 0.0))).collect();
    let verdicts = toy().judge_over_seeds(&calm);
    assert_eq!(verdicts.iter().filter(|one| one.as_expected).count(), 0, "{verdicts:#?}");
    // One seed is not enough for an average.
    let few = toy().judge_over_seeds(&judgements[..1]);
    assert!(few[0].error.as_deref().unwrap().contains("needs 2 seeds, 1 were run"));
    assert_eq!(toy().seeds_needed(), 40);
    assert_eq!(["naive", "single-flight", "half-a-fix"].map(|v| toy().seeds_needed_of(v)), [40, 16, 0]);
}

#[test]
fn figures_stand_side_by_side_and_are_asked_of_those_for_whom_they_make_sense() {
    let judgement = judged(&runs(105.0, 2.0, 0.0));
    let texts =
        |row: usize| judgement.figures[row].values.iter().map(|one| one.text.as_str()).collect::<Vec<_>>();
    assert_eq!(texts(0), ["105", "2", "50"]);
    assert_eq!(texts(1), ["30ms", "30ms", "30ms"]);
    assert_eq!(texts(2), ["5", "-", "-"]);
    assert!(judgement.figures[2].values[1].error.is_none() && judgement.as_expected());
}

#[test]
fn a_figure_that_was_never_recorded_is_never_as_expected() {
    let mut all = runs(105.0, 2.0, 0.0);
    all[2].1 = herd(50.0).with(|recording| recording.spans.clear()).done();
    let judgement = judged(&all);
    let value = &judgement.figures[1].values[2];
    assert_eq!((value.text.as_str(), value.value), ("?", None));
    assert!(value.error.as_deref().unwrap().contains("no spans at all"));
    assert_eq!(told(&judgement, "half-a-fix", "the figure `p99 of a page`"), (Expected::Met, false, false));
    let verdict = judgement.verdicts().find(|one| one.name.starts_with("the figure")).unwrap();
    assert_eq!((verdict.kind, verdict.error.is_some()), (VerdictKind::Run, true));
    assert!(!judgement.as_expected());
}

#[test]
fn a_run_that_is_not_the_labs_own_says_so_in_a_sentence() {
    let lab = toy();
    let note = |change: &dyn Fn(&mut sim_core::plan::Plan), ended: u64| {
        let mut plan = lab.plan("naive", 0, &[]).unwrap();
        change(&mut plan);
        let text = toml::to_string(&plan).unwrap();
        let run = RecordingBuilder::lasting(ended).with(|recording| recording.origin.plan = text).done();
        let judgement = lab.judge(&[("naive", &run)]).unwrap();
        (judgement.as_expected(), judgement.variants[0].note.clone().unwrap_or_default())
    };
    assert_eq!(note(&|_| {}, 10_000), (false, String::new()), "its own run has nothing recorded");
    let (fine, said) = note(&|plan| plan.until = secs(3), 3_000);
    assert!(fine, "nothing is expected");
    assert_eq!(
        said,
        "This run is planned to end at 3s and the lab's own at 10s: what comes later is in no figure. So nothing is \
         expected of it."
    );
    let (_, said) = note(&|plan| plan.until = secs(30), 30_000);
    assert!(said.contains("end at 30s and the lab's own at 10s: figures are of all of it."), "{said}");
    let (_, said) = note(&|plan| *plan = lab.plan("naive", 0, &["rate=5".to_owned()]).unwrap(), 10_000);
    assert_eq!(said, "Its knobs are not the lab's own. So nothing is expected of it.");
    let both = |plan: &mut sim_core::plan::Plan| {
        *plan = lab.plan("naive", 0, &["rate=5".to_owned()]).unwrap();
        plan.faults = FaultPlan::none().with(Fault::at(secs(1), "crash", FaultKind::Crash).on("db"));
        plan.until = secs(3);
    };
    let (_, said) = note(&both, 3_000);
    assert!(said.contains("at 10s: what comes later") && said.contains("knobs and faults are not"), "{said}");
}

#[test]
fn a_verdict_in_json_has_the_documented_fields() {
    let judgement = judged(&runs(105.0, 2.0, 0.0));
    let json = serde_json::to_value(&judgement.variants[0].verdicts[0]).unwrap();
    assert_eq!(
        json,
        serde_json::json!({
            "name": "few queries",
            "kind": "goal",
            "variants": ["naive"],
            "asked": true,
            "expected": "missed",
            "met": false,
            "as_expected": true,
            "measured": "peaks of db.load: 105",
            "bound": "each at most 10",
            "value": 105.0,
        })
    );
}

#[test]
fn a_claim_under_other_circumstances_has_its_own_plan() {
    let toy = toy();
    let cases = toy.cases();
    assert_eq!((cases.len(), cases[0].variant), (1, "naive"));
    assert_eq!(cases[0].circumstances, ["rate=5", "no faults"]);
    let plan = toy.case_plan(0, 9).unwrap();
    assert_eq!((plan.knobs["rate"].as_float(), plan.seed, plan.faults.is_empty()), (Some(5.0), 9, true));
    assert!(toy.judge_case(0, &herd(1.0).done()).unwrap().as_expected);
    assert!(!toy.judge_case(0, &herd(2.0).done()).unwrap().as_expected);
    assert!(toy.case_plan(1, 9).unwrap_err().to_string().contains("none with index 1"));
}

#[test]
fn a_plan_alone_decides_and_is_checked() {
    let toy = toy();
    let plan = toy.plan("single-flight", 42, &["rate=2_00".to_owned()]).unwrap();
    assert_eq!((plan.scenario.as_str(), plan.variant.as_str(), plan.seed), ("toy-lab", "single-flight", 42));
    assert_eq!((plan.until, plan.knobs["rate"].as_float()), (secs(10), Some(200.0)));
    let back: sim_core::plan::Plan = toml::from_str(&toml::to_string(&plan).unwrap()).unwrap();
    assert_eq!(back, plan, "a plan survives its file");
    assert!(
        toy.plan("single-flight", 42, &["rate=0".to_owned()])
            .unwrap_err()
            .to_string()
            .contains("from 1 to 1000")
    );
    let mut other = plan.clone();
    other.scenario = "cache-dies".to_owned();
    assert!(matches!(toy.run(&other, RecordingLevel::Full), Err(LabError::OtherScenario { .. })));
    let mut odd = plan.clone();
    odd.knobs.insert("ratte".to_owned(), 5.into());
    assert!(toy.run(&odd, RecordingLevel::Full).unwrap_err().to_string().contains("did you mean `rate`?"));
    odd.knobs = toml::Table::new();
    assert!(toy.run(&odd, RecordingLevel::Full).unwrap_err().to_string().contains("is missing"));
}

#[test]
fn variants_are_told_by_what_differs_from_the_first() {
    let toy = toy();
    let told: Vec<(&str, Vec<String>)> =
        toy.variants().into_iter().map(|one| (one.name, one.changes)).collect();
    assert_eq!(told[0], ("naive", vec![]));
    assert_eq!(told[1], ("single-flight", vec!["fill=single-flight".to_owned()]));
    assert_eq!(toy.level(), RecordingLevel::Spans, "a figure reads spans");
    assert_eq!((toy.name(), toy.title(), toy.shelf()), ("toy-lab", "Toy", "caching"));
}

#[test]
fn a_lab_is_found_by_its_name_or_nearly() {
    let labs = [toy()];
    assert_eq!(find_in(&labs, "toy-lab").map(LabEntry::name), Ok("toy-lab"));
    let error = find_in(&labs, "toylab").unwrap_err();
    assert_eq!(error.nearest.as_deref(), Some("toy-lab"));
}

#[test]
fn a_well_formed_lab_has_no_problems_and_a_careless_one_has_many() {
    assert_eq!(toy().problems(), Vec::<String>::new());

    #[derive(Clone, Copy, Serialize, Deserialize, JsonSchema)]
    struct Careless {
        rate: f64,
        pick: Pick,
    }
    #[derive(Clone, Copy, Serialize, Deserialize, JsonSchema)]
    enum Pick {
        OneThing,
    }
    impl Lab for Careless {
        const ABOUT: About = About::NONE;
        fn variants() -> Variants<Self> {
            let one = Self { rate: 1.0, pick: Pick::OneThing };
            Variants::broken("Naive_One", one, misses("few qeries")).fixed("good", one).fixed("good", one)
        }
        fn build(self, _: &mut Sim) {}
        fn expect() -> Expectations {
            Expectations::new()
                .goal("few queries", |run| run.count("q").at_most(1))
                .show("fwe queries", |run| run.spans("q").shown("a query"))
                .claim("godo", "few queries", |run| run.count("q").at_least(percent(1)))
                .under(with_knob("rat=5"), "good", "slow", |run| run.count("q").within(ms(1)..ms(2)))
        }
    }
    let problems = LabEntry::of::<Careless>("caching", "careless", "//! # Careless\n").problems().join("\n");
    for part in [
        "no `## Predict`",
        "`Naive_One` is not written like-this",
        "two variants `good`",
        "misses `few qeries`, which is no goal of it; did you mean `few queries`?",
        "two expectations have the name `few queries`",
        "the variant `godo`, which does not exist; did you mean `good`?",
        "a trace is shown for `fwe queries`, which is no goal; did you mean `few queries`?",
        "the knob `rate` has no doc comment",
        "`OneThing` of `pick`",
        "the claim `slow` has no plan: there is no knob `rat`",
    ] {
        assert!(problems.contains(part), "{problems}\n\ndoes not say: {part}");
    }
}
