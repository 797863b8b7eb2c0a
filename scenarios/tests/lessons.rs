//! What single labs promise beyond their expectations, where it takes more runs or a closer look than a lab can afford.

use scenarios::{find, measure::Run};
use sim_core::{
    record::{Recording, RecordingLevel},
    time::ms,
};

fn run(lab: &str, variant: &str, seed: u64, sets: &[&str], level: RecordingLevel) -> Recording {
    let lab = find(lab).unwrap();
    let sets: Vec<String> = sets.iter().map(|&set| set.to_owned()).collect();
    lab.run(&lab.plan(variant, seed, &sets).unwrap(), level).unwrap()
}

/// Who refreshes early is not alone: until the first one is done, others throw their dice too. That makes e^(52.2/51) = 2.78
/// queries a cycle, whatever the rate and the time to live are (Vattani et al., VLDB 2015: e^(1/beta) where the page is back as
/// soon as it is made; here it takes 1.2 ms more). So a cheap world will do: 200 requests a second, a cycle of 0.42 s.
#[test]
fn early_refresh_costs_2_8_queries_a_cycle() {
    let mut queries = Vec::new();
    for seed in 1..=448 {
        let sets = ["rate=200", "ttl=500ms"];
        let recording = run("thundering-herd", "early-refresh", seed, &sets, RecordingLevel::Essential);
        let cycles = Run::new(&recording).counter("db.query").bursts(ms(100));
        // So many come within 10 s under every seed. Taking all that do would favour short cycles.
        let cycles: Vec<f64> = cycles.samples().unwrap().iter().map(|one| one.value).take(18).collect();
        assert_eq!(cycles.len(), 18, "seed {seed}");
        queries.extend(cycles);
    }
    let n = queries.len() as f64;
    let mean = queries.iter().sum::<f64>() / n;
    let variance = queries.iter().map(|q| (q - mean) * (q - mean)).sum::<f64>() / (n - 1.0);
    // Four standard errors: 4 x sqrt(4.96 / 8,064) = 0.099.
    assert!((mean - 2.78).abs() < 0.1, "{mean}");
    // 1 plus a geometric number of mean m = 1.78 has the variance m + m^2 = 4.96.
    assert!((variance - 4.96).abs() < 1.0, "{variance}");
}

/// A fix is compared with what it fixes page by page: the pages that meet the rare look-up are the same in all variants.
#[test]
fn the_same_pages_are_slow_in_all_variants_of_the_slow_service() {
    let rare = |variant| {
        let recording = run("finding-slow-service", variant, 7, &[], RecordingLevel::Spans);
        Run::new(&recording).spans("currency.scan").times().list().unwrap()
    };
    let times = rare("unindexed");
    assert!(times.len() > 20);
    assert_eq!(times, rare("indexed"));
    assert_eq!(times, rare("tune-reviews"));
}
