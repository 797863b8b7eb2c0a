//! Known bugs, put back: a campaign of random trouble finds each, and names the property that it violates.

mod support;

use std::{collections::BTreeMap, sync::Arc};

use consensus::raft::{Config, Flaws};
use sim_core::{
    net::Link,
    record::Recording,
    rng::{Delay, Rng},
    time::{Duration, ms, secs, us},
};
use support::{
    Cluster,
    storm::{self, Weather, log_uniform},
};

fn millis(rng: &mut Rng, from: f64, to: f64) -> Duration {
    us((log_uniform(rng, from, to) * 1_000.0) as u64)
}

/// What a campaign fixes; the rest is drawn for each seed.
#[derive(Clone, Copy)]
struct Campaign {
    flaws: Flaws,
    crashes: bool,
    isolations: bool,
    sizes: [u32; 2],
    /// In ms: the range of the mean delay, and of the width of the election time-outs.
    delay: (f64, f64),
    width: (f64, f64),
    propose: (f64, f64),
}

impl Campaign {
    const WIDE: Self = Self {
        flaws: Flaws {
            commit_any_term: false,
            no_noop: false,
            change_before_own_commit: false,
            forget_vote: false,
            truncate_on_stale: false,
            lease_ignores_others: false,
        },
        crashes: true,
        isolations: true,
        sizes: [3, 5],
        delay: (0.5, 50.0),
        width: (10.0, 150.0),
        propose: (20.0, 1_000.0),
    };

    fn run(self, seed: u64) -> Recording {
        let mut rng = Rng::seeded(seed).fork("campaign");
        let servers = self.sizes[rng.below(2) as usize];
        let delay = millis(&mut rng, self.delay.0, self.delay.1);
        let width = millis(&mut rng, self.width.0, self.width.1);
        let propose_every = millis(&mut rng, self.propose.0, self.propose.1);
        let weather = Weather { crashes: self.crashes, isolations: self.isolations, ..Weather::ALL };
        let cluster = Cluster {
            seed,
            until: secs(6),
            faults: storm::faults(seed, servers, weather),
            link: Link::new(Delay::uniform(delay / 2, delay + delay / 2)),
            propose_every,
            steady: false,
            change: Arc::new(move |config: Config| {
                let config = config.election_timeout(ms(150), ms(150) + width);
                Config {
                    pre_vote: false,
                    check_quorum: false,
                    stickiness: false,
                    flaws: self.flaws,
                    catch_up: None,
                    ..config
                }
            }),
            ..Cluster::new(servers)
        };
        cluster.run().1
    }

    /// How many of the seeds violate each property first.
    fn hunt(self, seeds: u64) -> BTreeMap<String, Vec<u64>> {
        let mut found: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        for seed in 0..seeds {
            let recording = self.run(seed);
            let first = recording
                .properties
                .iter()
                .filter_map(|p| Some((p.first_failure.as_ref()?.at, p.name.clone())))
                .min();
            if let Some((_, property)) = first {
                found.entry(property).or_default().push(seed);
            }
        }
        found
    }
}

#[test]
fn explore() {
    let n = std::env::var("N").map_or(300, |n| n.parse().unwrap());
    let start = std::time::Instant::now();
    let wide = Campaign::WIDE;
    println!("sound {:?}", wide.hunt(n));
    let flaws = Flaws { commit_any_term: true, no_noop: true, ..Flaws::default() };
    for propose in [(20.0, 1_000.0), (100.0, 5_000.0), (500.0, 5_000.0)] {
        for sizes in [[3, 3], [5, 5]] {
            let found = Campaign { flaws, crashes: false, propose, sizes, ..wide }.hunt(n);
            println!("1 {propose:?} {sizes:?} {found:?}");
        }
    }
}
