//! Bugs 1 to 10: Raft and its clients.

use consensus::raft::{Flaws, ReadMode, observer};
use sim_core::{
    plan::Plan,
    rng::Rng,
    search::{
        generate::{Arm, Swarm, log_uniform},
        scenario::Scenario,
        shrink::{Hints, Size},
    },
    time::{Duration, ms, secs},
};

use super::{
    Bug,
    cluster::{FRESH_READS, Knobs, ONCE, World},
    properties,
};

const DURABLE: &str = "a power cut takes no acknowledged write";
const LEASE: &str = "a read under a lease sees every write that was acknowledged before it began";

pub(super) fn bugs() -> Vec<Bug> {
    let target = |nodes, faults, operations| Size { nodes, faults, operations, deliveries: 0 };
    let bug = |number, title, source, property, target, campaign| Bug {
        number,
        protocol: "Raft",
        title,
        source,
        property,
        target,
        campaign,
    };
    vec![
        bug(
            1,
            "an entry of an earlier term is committed by counting",
            "Ongaro and Ousterhout, ATC 2014, figure 8",
            observer::LEADER_COMPLETENESS,
            target(3, 3, 1),
            |broken| {
                let flaws = Flaws { commit_any_term: broken, no_noop: true, ..Flaws::default() };
                campaign(
                    "figure-8",
                    World { flaws, ..World::SOUND },
                    Ranges { servers: &[3, 5], ..Ranges::WIDE },
                    |swarm| swarm.armed(&[Arm::Split]).all_armed().without_budget(),
                )
            },
        ),
        bug(
            2,
            "a configuration is changed before an entry of the own term is committed",
            "Ongaro, raft-dev, July 2015",
            observer::LEADER_COMPLETENESS,
            target(4, 1, 2),
            |broken| {
                let flaws = Flaws { change_before_own_commit: broken, no_noop: broken, ..Flaws::default() };
                let world = World { flaws, clients: 0, operator: true, ..World::SOUND };
                campaign("single-server-change", world, Ranges { servers: &[4], ..Ranges::WIDE }, |swarm| {
                    swarm.armed(&[Arm::Split]).all_armed().without_budget()
                })
            },
        ),
        bug(
            3,
            "the vote is not persisted",
            "Ongaro and Ousterhout, ATC 2014, section 5.2",
            observer::ELECTION_SAFETY,
            target(3, 1, 0),
            |broken| {
                let flaws = Flaws { forget_vote: broken, ..Flaws::default() };
                let ranges = Ranges {
                    delay: (5_000.0, 50_000.0),
                    width: (10_000.0, 50_000.0),
                    servers: &[3],
                    ..Ranges::WIDE
                };
                campaign("forgotten-vote", World { flaws, clients: 0, ..World::SOUND }, ranges, |swarm| {
                    swarm.armed(&[Arm::Crash]).all_armed().without_budget()
                })
            },
        ),
        bug(
            4,
            "an answer does not wait for the disk",
            "Kingsbury, Jepsen: NATS 2.12.1, 2025",
            DURABLE,
            target(1, 1, 1),
            |broken| {
                let world = World { durable: !broken, read_share: 0.5, fresh_reads: DURABLE, ..World::SOUND };
                campaign("early-answer", world, Ranges { servers: &[1, 3, 5], ..Ranges::WIDE }, |swarm| {
                    swarm.armed(&[Arm::PowerFailure, Arm::PowerCut]).without_budget()
                })
            },
        ),
        bug(
            5,
            "a late AppendEntries cuts the log although nothing contradicts",
            "Tang et al., SandTable, EuroSys 2024: WRaft, RaftOS",
            observer::LEADER_COMPLETENESS,
            target(3, 1, 1),
            |broken| {
                let flaws = Flaws { truncate_on_stale: broken, ..Flaws::default() };
                let ranges = Ranges { gap: (5_000.0, 500_000.0), ..Ranges::WIDE };
                campaign("late-append", World { flaws, ..World::SOUND }, ranges, |swarm| {
                    swarm.armed(&[Arm::Isolate, Arm::Crash, Arm::Reorder(ms(50))]).without_budget()
                })
            },
        ),
        bug(
            6,
            "a leader that was replaced answers reads from its own state",
            "Kingsbury, Jepsen: etcd 0.4.1, 2014",
            FRESH_READS,
            target(3, 1, 2),
            |broken| {
                let reads = if broken { ReadMode::Local } else { ReadMode::ReadIndex };
                let world = World { reads, read_share: 0.5, ..World::SOUND };
                campaign("stale-read", world, Ranges { servers: &[3, 5], ..Ranges::WIDE }, |swarm| {
                    swarm.armed(&[Arm::Split, Arm::OneWay, Arm::Bridge, Arm::PowerCut])
                })
            },
        ),
        bug(
            7,
            "a lease is shortened for the leader's own clock only",
            "Ongaro, thesis, section 6.4.1",
            LEASE,
            target(3, 2, 2),
            |broken| {
                let flaws = Flaws { lease_ignores_others: broken, ..Flaws::default() };
                let world = World {
                    flaws,
                    stickiness: true,
                    reads: ReadMode::Lease,
                    clients: 4,
                    read_share: 0.5,
                    drift_bound: 500_000,
                    fresh_reads: LEASE,
                    ..World::SOUND
                };
                let ranges = Ranges {
                    servers: &[3],
                    delay: (500.0, 5_000.0),
                    timeout: (150_000.0, 1_000_000.0),
                    gap: (10_000.0, 200_000.0),
                    ..Ranges::WIDE
                };
                campaign("lease-and-drift", world, ranges, |swarm| {
                    swarm
                        .armed(&[Arm::Split, Arm::ClockDrift(0.5)])
                        .all_armed()
                        .without_budget()
                        .faults(6..=40)
                })
            },
        ),
        bug(
            8,
            "no leader stays while links are cut in part",
            "Jensen, Howard and Mortier, Examining Raft's behaviour during partial network failures, HAOC 2021",
            properties::STABLE_LEADER,
            target(3, 1, 0),
            |broken| {
                let world = World {
                    pre_vote: !broken,
                    check_quorum: !broken,
                    stickiness: !broken,
                    clients: 0,
                    quiet_after: secs(11),
                    ..World::SOUND
                };
                let ranges = Ranges {
                    delay: (500.0, 1_000.0),
                    timeout: (50_000.0, 100_000.0),
                    until: secs(12),
                    lasts: (secs(1), secs(12)),
                    ..Ranges::WIDE
                };
                campaign("half-a-network", world, ranges, |swarm| {
                    swarm.armed(&[Arm::Bridge]).all_armed().without_budget().faults(1..=4)
                })
                .check(properties::stable_leader)
            },
        ),
        bug(
            9,
            "a server that was away deposes a healthy leader",
            "Ongaro, thesis, section 4.2.3",
            properties::UNDISTURBED,
            target(3, 1, 0),
            |broken| {
                let world = World {
                    pre_vote: !broken,
                    check_quorum: !broken,
                    stickiness: !broken,
                    clients: 0,
                    ..World::SOUND
                };
                let ranges = Ranges { delay: (500.0, 5_000.0), ..Ranges::WIDE };
                campaign("disruptive-server", world, ranges, |swarm| swarm.armed(&[Arm::Isolate]).all_armed())
                    .check(properties::undisturbed)
            },
        ),
        bug(
            10,
            "a command that is sent again is applied twice",
            "Ongaro, thesis, section 6.3",
            ONCE,
            target(1, 1, 1),
            |broken| {
                let world = World { sessions: !broken, ..World::SOUND };
                campaign("sent-again", world, Ranges { servers: &[1, 3, 5], ..Ranges::WIDE }, |swarm| {
                    swarm.armed(&[Arm::Isolate, Arm::Pause, Arm::Loss(0.3), Arm::Delay(ms(500))])
                })
            },
        ),
    ]
}

/// The ranges that a campaign draws its knobs from, log-uniform; in µs.
#[derive(Clone, Copy)]
struct Ranges {
    servers: &'static [u32],
    delay: (f64, f64),
    timeout: (f64, f64),
    width: (f64, f64),
    gap: (f64, f64),
    lasts: (Duration, Duration),
    until: Duration,
}

impl Ranges {
    const WIDE: Self = Self {
        servers: &[3, 5],
        delay: (500.0, 50_000.0),
        timeout: (150_000.0, 150_000.0),
        width: (10_000.0, 150_000.0),
        gap: (100_000.0, 5_000_000.0),
        lasts: (ms(1), secs(2)),
        until: secs(6),
    };
}

/// A campaign: its world, the ranges of its knobs, the faults it arms.
fn campaign(name: &str, world: World, ranges: Ranges, arm: impl Fn(Swarm) -> Swarm) -> Scenario {
    let over = ranges.until * 5 / 6;
    let swarm = Swarm::new("raft", ranges.until)
        .lasting(ranges.lasts.0..=ranges.lasts.1)
        .within(ms(100)..=over, over);
    let middle = |(low, high): (f64, f64)| log_middle(low, high);
    let defaults = Knobs {
        servers: 3,
        delay_us: middle(ranges.delay),
        timeout_us: middle(ranges.timeout),
        width_us: middle(ranges.width),
        gap_us: middle(ranges.gap),
    };
    let mut defaults = table(&defaults);
    defaults.remove("servers"); // the shrinker has a pass of its own for them
    Scenario::new(name, ranges.until, move |plan: &Plan, sim| world.build(plan, sim))
        .knobs(move |rng| table(&draw(rng, ranges)))
        .faults(arm(swarm))
        .shrinking(Hints {
            servers: "raft".to_owned(),
            servers_knob: Some((
                "servers".to_owned(),
                u64::from(ranges.servers.iter().copied().min().unwrap_or(1)),
            )),
            defaults,
            lasts: ranges.lasts.0..=ranges.lasts.1,
            within: ms(100)..=over,
        })
}

fn draw(rng: &mut Rng, ranges: Ranges) -> Knobs {
    let mut number = |(low, high): (f64, f64)| log_uniform(rng, low, high).round() as u64;
    let (delay_us, timeout_us) = (number(ranges.delay), number(ranges.timeout));
    let (width_us, gap_us) = (number(ranges.width), number(ranges.gap));
    let servers = rng.pick(ranges.servers).copied().unwrap_or(3);
    Knobs { servers, delay_us, timeout_us, width_us, gap_us }
}

/// The geometric mean.
fn log_middle(low: f64, high: f64) -> u64 {
    (low * high).sqrt().round() as u64
}

fn table(knobs: &Knobs) -> toml::Table {
    toml::Table::try_from(knobs).expect("knobs are numbers")
}
