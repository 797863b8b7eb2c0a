use scenarios::gallery::bugs;
use sim_core::search::{
    Experiment,
    shrink::{Effort, shrink},
    sweep::sweep,
    try_seed,
};
use std::{collections::BTreeMap, time::Instant};
fn main() {
    let args: Vec<String> = std::env::args().collect();
    let only: u32 = args[1].parse().unwrap();
    let n: u64 = args[2].parse().unwrap();
    let twin = args.get(3).is_some_and(|a| a == "twin");
    let bug = bugs().into_iter().find(|b| b.number == only).unwrap();
    let scenario = if twin { bug.twin() } else { bug.campaign() };
    let seeds: Vec<u64> = (0..n).collect();
    let t = Instant::now();
    let mut found: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    let (mut events, mut runs, mut some) = (0, 0, BTreeMap::<String, u64>::new());
    sweep(&scenario, &seeds, 2, |trial| {
        runs += 1;
        events += trial.events;
        if let Some(e) = &trial.error {
            println!("ERROR {e}");
        }
        for (k, v) in &trial.sometimes {
            *some.entry(k.clone()).or_default() += u64::from(*v);
        }
        if let Some(f) = trial.failures.first() {
            found.entry(f.fingerprint()).or_default().push(trial.seed);
        }
        std::ops::ControlFlow::Continue(())
    });
    println!(
        "{} {} runs {:.1}s, {:.0} events/run {:?}",
        bug.number,
        runs,
        t.elapsed().as_secs_f64(),
        events as f64 / runs as f64,
        some
    );
    for (f, s) in &found {
        println!("  {} x {f}: {:?}", s.len(), &s[..s.len().min(8)]);
    }
    if args.get(3).is_some_and(|a| a == "shrink") {
        let k: usize = args[4].parse().unwrap();
        let mut hits: Vec<u64> =
            found.iter().filter(|(f, _)| f.starts_with(bug.property)).flat_map(|(_, s)| s.clone()).collect();
        hits.sort();
        for seed in hits.into_iter().take(k) {
            let t = Instant::now();
            let plan = scenario.plan(seed).unwrap();
            let trial = try_seed(&scenario, seed);
            let fp = trial.failures.iter().find(|f| f.property == bug.property).unwrap().fingerprint();
            let s = shrink(
                &scenario,
                &plan,
                Some(&fp),
                Effort {
                    workers: 2,
                    deliveries: args.get(6).is_some(),
                    patience: args.get(5).map_or(600, |p| p.parse().unwrap()),
                    executions: 200_000,
                    ..Effort::default()
                },
            )
            .unwrap();
            println!(
                "{seed}: {} -> {} in {} runs {:.1}s small {}",
                s.before,
                s.after,
                s.executions,
                t.elapsed().as_secs_f64(),
                bug.is_small(&s.after)
            );
            if args.get(6).is_some() {
                println!("{}", s.plan.to_toml());
                for l in sim_core::search::shrink::story(&s.recording, &s.failure) {
                    println!("{l}");
                }
                for c in &s.certificate {
                    println!("without {}: {}", c.without, c.then);
                }
            }
        }
    }
}
