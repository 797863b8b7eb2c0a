//! Known bugs, put back: a campaign of random trouble finds each, and names the property that it violates.

mod support;

use std::sync::Arc;

use consensus::raft::{Config, Flaws, observer};
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

    /// The first of so many seeds that violates something, and what.
    fn hunt(self, seeds: u64) -> Option<(u64, String)> {
        (0..seeds).find_map(|seed| {
            let recording = self.run(seed);
            let failed = recording.properties.iter().filter_map(|p| Some((p.first_failure.as_ref()?.at, p)));
            failed.min_by_key(|(at, _)| *at).map(|(_, property)| (seed, property.name.clone()))
        })
    }
}

#[test]
fn without_a_flaw_nothing_is_found() {
    assert_eq!(Campaign::WIDE.hunt(300), None);
}

#[test]
fn commit_by_counting_entries_of_earlier_terms_is_found() {
    let flaws = Flaws { commit_any_term: true, no_noop: true, ..Flaws::default() };
    let rare = Campaign { flaws, crashes: false, sizes: [3, 3], propose: (500.0, 5_000.0), ..Campaign::WIDE };
    let (_, property) = rare.hunt(1_000).expect("about 3 in 1,000");
    assert_eq!(property, observer::LEADER_COMPLETENESS);
    // Without the flaw the same campaign finds nothing, with or without the no-op.
    let sound = Campaign { flaws: Flaws { no_noop: true, ..Flaws::default() }, ..rare };
    assert_eq!(sound.hunt(300), None);
}

#[test]
fn a_forgotten_vote_is_found() {
    let flaws = Flaws { forget_vote: true, ..Flaws::default() };
    let slow = Campaign { delay: (5.0, 50.0), width: (10.0, 50.0), isolations: false, ..Campaign::WIDE };
    let (_, property) = Campaign { flaws, ..slow }.hunt(1_000).expect("about 1 in 1,000");
    assert_eq!(property, observer::ELECTION_SAFETY);
}

#[test]
fn cutting_a_log_without_a_conflict_is_found() {
    let flaws = Flaws { truncate_on_stale: true, ..Flaws::default() };
    let (_, property) = Campaign { flaws, propose: (2.0, 200.0), ..Campaign::WIDE }.hunt(100).expect("often");
    assert_eq!(property, observer::LEADER_COMPLETENESS);
}
