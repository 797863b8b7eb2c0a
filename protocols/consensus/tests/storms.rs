//! Raft under random trouble: its properties hold at every step, and it goes on afterwards.

mod support;

use std::sync::Arc;

use consensus::raft::{Config, observer};
use sim_core::{
    record::Recording,
    rng::Rng,
    time::{ms, secs},
};
use support::{
    Book, Cluster,
    storm::{self, Weather},
    violations,
};

/// 3 or 5 servers under a storm until 5 s, then 5 s of quiet.
fn endure(seed: u64, change: impl Fn(Config) -> Config + Send + Sync + 'static) -> (Book, Recording) {
    let mut rng = Rng::seeded(seed).fork("size");
    let servers = if rng.chance(0.5) { 3 } else { 5 };
    let compact_after = rng.chance(0.5).then_some(20);
    let cluster = Cluster {
        seed,
        until: secs(10),
        faults: storm::faults(seed, servers, Weather::ALL),
        link: storm::link(seed),
        compact_after,
        change: Arc::new(change),
        ..Cluster::new(servers)
    };
    cluster.run()
}

#[test]
fn in_every_storm_the_properties_hold_and_after_it_there_is_progress() {
    let (mut truncated, mut installed, mut elections) = (0, 0, 0);
    for seed in 0..150 {
        let switches = Rng::seeded(seed).fork("switches").next_u64();
        let (book, recording) = endure(seed, move |config| {
            let guarded = switches & 1 == 0;
            let (min, max) = (ms(150), ms(if switches & 2 == 0 { 300 } else { 600 }));
            let config = config.election_timeout(min, max);
            Config { pre_vote: guarded, check_quorum: guarded, stickiness: guarded, keep: 5, ..config }
        });
        assert_eq!(violations(&recording), Vec::<String>::new(), "seed {seed}");
        let late = book.committed.values().filter(|at| at.since_start() > secs(8)).count();
        assert!(late > 5, "seed {seed}: {late} commits in the last two seconds");
        let longest = book.applied.values().max_by_key(|applied| applied.len()).unwrap();
        for (server, applied) in &book.applied {
            assert!(longest.starts_with(applied), "seed {seed}: {server:?} has applied something else");
        }
        let held = |name| recording.properties.iter().any(|p| p.name == name && p.held());
        truncated += usize::from(held(observer::TRUNCATED));
        installed += usize::from(held(observer::INSTALLED));
        elections += book.leaders.len();
    }
    // Or the storms were none.
    assert!(truncated > 20, "{truncated}");
    assert!(installed > 20, "{installed}");
    assert!(elections > 300, "{elections}");
}
