//! Who may talk to whom, and how far apart they are.
//!
//! Goal: a topology is what its builder says, seen by who hears a greeting; regions give their latencies to the links
//! between their nodes. Method: everybody greets everybody, and the test reads who was reached, and when.

mod common;

use std::collections::{BTreeMap, BTreeSet};

use common::*;
use sim_core::{
    NodeId, NodeSpec, Sim,
    net::{Link, Topology, regions::Regions, stream::StreamError},
    record::{Fate, RecordingLevel},
    time::{Duration, ms, us},
};

type Reached = BTreeMap<(u32, u32), Duration>;

/// Everybody sends a note to everybody else at once: (from, to) of those that came, and when.
fn greet(specs: Vec<NodeSpec>, links: impl FnOnce(&mut Sim, &[NodeId])) -> Reached {
    let mut sim = Sim::new(&plan(1), RecordingLevel::Essential);
    let book = Notebook::new();
    let count = specs.len() as u32;
    let nodes: Vec<NodeId> = specs
        .into_iter()
        .map(|spec| {
            let book = book.clone();
            sim.node(spec, async move |node| {
                let me = node.id().0;
                (0..count).filter(|&n| n != me).for_each(|n| node.send(NodeId(n), &note(0)));
                let mut mailbox = node.mailbox::<Message>();
                loop {
                    let from = mailbox.recv().await.from.0;
                    book.write(((from, me), now(&node)));
                }
            })
        })
        .collect();
    links(&mut sim, &nodes);
    sim.run().unwrap();
    book.read().into_iter().collect()
}

fn plain(count: usize) -> Vec<NodeSpec> {
    (0..count).map(|n| NodeSpec::new(format!("n-{n}"))).collect()
}

/// Both directions of each pair.
fn edges(pairs: &[(u32, u32)]) -> BTreeSet<(u32, u32)> {
    pairs.iter().flat_map(|&(a, b)| [(a, b), (b, a)]).collect()
}
fn reached(reached: &Reached) -> BTreeSet<(u32, u32)> {
    reached.keys().copied().collect()
}

#[test]
fn without_a_topology_everybody_reaches_everybody() {
    let all = greet(plain(4), |_, _| {});
    assert_eq!(all.len(), 12);
    assert!(all.values().all(|&when| when == us(500)), "the default link takes half a millisecond");
}

#[test]
fn each_builder_links_those_whom_it_is_named_after() {
    let link = Link::constant(ms(3));
    let of = |build: &dyn Fn(&[NodeId]) -> Topology| {
        let heard = greet(plain(6), |sim, nodes| sim.topology(build(nodes)));
        assert!(heard.values().all(|&when| when == ms(3)));
        reached(&heard)
    };
    assert_eq!(of(&|n| Topology::full_mesh(n, &link)).len(), 30);
    assert_eq!(of(&|n| Topology::line(n, &link)), edges(&[(0, 1), (1, 2), (2, 3), (3, 4), (4, 5)]));
    assert_eq!(of(&|n| Topology::ring(n, &link)), edges(&[(0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (5, 0)]));
    assert_eq!(of(&|n| Topology::star(n, &link)), edges(&[(0, 1), (0, 2), (0, 3), (0, 4), (0, 5)]));
    assert_eq!(of(&|n| Topology::tree(n, 2, &link)), edges(&[(0, 1), (0, 2), (1, 3), (1, 4), (2, 5)]));
    let grid = [(0, 1), (1, 2), (3, 4), (4, 5), (0, 3), (1, 4), (2, 5)];
    assert_eq!(of(&|n| Topology::grid(n, 3, &link)), edges(&grid));
}

#[test]
fn a_random_regular_topology_gives_everybody_as_many_neighbours() {
    let heard = greet(plain(20), |sim, nodes| {
        let mut rng = sim.rng("graph");
        sim.topology(Topology::random_regular(nodes, 3, &Link::default(), &mut rng).unwrap());
    });
    for n in 0..20 {
        assert_eq!(heard.keys().filter(|(from, _)| *from == n).count(), 3);
        assert_eq!(heard.keys().filter(|(_, to)| *to == n).count(), 3);
    }
}

#[test]
fn single_links_and_a_default_link_complete_a_topology() {
    // A line 0 - 1 - 2, a way from 2 to 0 only, a slow link in the line's place, and the rest over a default link.
    let heard = greet(plain(4), |sim, nodes| {
        sim.topology(Topology::line(&nodes[..3], &Link::constant(ms(1))));
        sim.link(nodes[0], nodes[1], Link::constant(ms(8)));
        sim.link_one_way(nodes[2], nodes[0], Link::constant(ms(4)));
    });
    let expected = [((0, 1), ms(8)), ((1, 0), ms(8)), ((1, 2), ms(1)), ((2, 1), ms(1)), ((2, 0), ms(4))];
    assert_eq!(heard, expected.into_iter().collect());

    let heard = greet(plain(3), |sim, nodes| {
        sim.topology(Topology::line(&nodes[..2], &Link::constant(ms(1))));
        sim.default_link(Link::constant(ms(9)));
    });
    assert_eq!(heard.len(), 6);
    assert_eq!((heard[&(0, 1)], heard[&(0, 2)]), (ms(1), ms(9)));
}

#[test]
fn a_topology_ends_the_default_link_also_after_single_links() {
    let heard = greet(plain(4), |sim, nodes| {
        sim.link(nodes[0], nodes[3], Link::constant(ms(2)));
        sim.topology(Topology::line(&nodes[..3], &Link::constant(ms(1))));
    });
    assert_eq!(reached(&heard), edges(&[(0, 1), (1, 2), (0, 3)]));
}

#[test]
fn a_single_link_leaves_all_other_pairs_as_they_were() {
    let heard = greet(plain(3), |sim, nodes| sim.link(nodes[0], nodes[1], Link::constant(ms(2))));
    assert_eq!((heard[&(0, 1)], heard[&(1, 0)], heard[&(1, 2)]), (ms(2), ms(2), us(500)));
    assert_eq!(heard.len(), 6);
}

#[test]
fn who_is_not_linked_cannot_connect_and_its_packets_are_counted_as_dropped() {
    let mut sim = Sim::new(&plan(1), RecordingLevel::Full);
    let book = Notebook::new();
    let c = sim.node("c", async |node| {
        let _listener = node.listen(1);
        std::future::pending::<()>().await;
    });
    let b = sim.node("b", async |_| {});
    let answers = book.clone();
    let a = sim.node("a", async move |node| {
        node.send(c, &note(1));
        answers.write((now(&node), node.connect(c, 1).await.err()));
    });
    sim.topology(Topology::line(&[a, b, c], &Link::default()));
    let recording = sim.run().unwrap();
    assert_eq!(book.read(), [(Duration::ZERO, Some(StreamError::Refused))], "nothing is routed over b");
    assert_eq!(dropped(&recording, "no link"), 1);
    assert!(!recording.messages.iter().any(|m| matches!(m.fate, Fate::Arrived(_))));
}

// ---- regions ----

fn in_regions(regions: &[&str]) -> Vec<NodeSpec> {
    regions.iter().enumerate().map(|(n, region)| NodeSpec::new(format!("n-{n}")).region(*region)).collect()
}

#[test]
fn a_packet_takes_half_of_the_round_trip_between_its_regions() {
    let specs = in_regions(&["eu", "eu", "us", "mars", ""]);
    let heard = greet(specs, |sim, _| {
        sim.regions(Regions::new().within(ms(1)).round_trip("eu", "us", ms(80)));
    });
    assert_eq!((heard[&(0, 1)], heard[&(0, 2)], heard[&(2, 0)]), (ms(1), ms(40), ms(40)));
    // Regions that the table does not know, and no region at all, have the default link.
    assert_eq!((heard[&(0, 3)], heard[&(4, 0)]), (us(500), us(500)));
}

#[test]
fn a_link_of_its_own_goes_before_the_regions() {
    let heard = greet(in_regions(&["eu", "us", "us"]), |sim, nodes| {
        sim.regions(Regions::new().round_trip("eu", "us", ms(80)));
        sim.link(nodes[0], nodes[1], Link::constant(ms(5)));
    });
    assert_eq!((heard[&(0, 1)], heard[&(0, 2)]), (ms(5), ms(40)));
}

#[test]
fn jitter_spreads_the_delays_around_the_regions_median() {
    let mut sim = Sim::new(&plan(1), RecordingLevel::Essential);
    let book = Notebook::new();
    let arrivals = book.clone();
    let b = sim.node(NodeSpec::new("b").region("us"), async move |node| {
        let mut mailbox = node.mailbox::<Message>();
        loop {
            let number = mailbox.recv().await.message.number();
            arrivals.write(now(&node) - ms(100) * number);
        }
    });
    sim.node(NodeSpec::new("a").region("eu"), async move |node| {
        for number in 0..4_000 {
            until(&node, ms(100) * number).await;
            node.send(b, &note(number));
        }
    });
    sim.regions(Regions::new().round_trip("eu", "us", ms(40)).jitter(0.1));
    sim.run().unwrap();
    let late = book.read();
    let share = |limit: f64| late.iter().filter(|d| d.as_millis_f64() <= limit).count();
    // A lognormal with median 20 ms and sigma 0.1: one standard deviation up is 20 * e^0.1 = 22.1 ms.
    assert!(is_share(share(20.0), late.len(), 0.5));
    assert!(is_share(share(22.1034), late.len(), 0.8413));
}

#[test]
fn the_cloud_has_ten_regions_whose_distances_are_symmetric_and_plausible() {
    let cloud = Regions::cloud();
    assert_eq!(cloud.names().len(), 10);
    for a in cloud.names() {
        assert!(Regions::city(a).is_some());
        assert_eq!(cloud.one_way(a, a), Some(ms(1)));
        for b in cloud.names().iter().filter(|b| *b != a) {
            let direct = cloud.one_way(a, b).expect("every pair is in the table");
            assert_eq!(cloud.one_way(b, a), Some(direct));
            assert!((ms(4)..=ms(170)).contains(&direct), "{a} to {b}: {direct}");
            for c in cloud.names().iter().filter(|c| *c != a && *c != b) {
                // Routes follow cables, so a detour may be a little shorter, but never by a fifth.
                let detour = cloud.one_way(a, c).unwrap() + cloud.one_way(c, b).unwrap();
                assert!(detour.ratio(direct) > 0.8, "{a} to {b} takes {direct}, over {c} {detour}");
            }
        }
    }
    // Three spots of the table: Dallas to Sydney, Osaka to Tokyo, Tokyo to Sao Paulo.
    let round_trip = |a, b| cloud.one_way(a, b).unwrap() * 2;
    assert_eq!(round_trip("us-south", "au-syd"), ms(185));
    assert_eq!(round_trip("jp-tok", "jp-osa"), ms(9));
    assert_eq!(round_trip("br-sao", "jp-tok"), ms(283));
}

#[test]
fn nodes_in_the_clouds_regions_are_as_far_apart_as_the_table_says() {
    let heard = greet(in_regions(&["us-east", "eu-gb", "eu-gb"]), |sim, _| sim.regions(Regions::cloud()));
    assert_eq!((heard[&(0, 1)], heard[&(1, 0)], heard[&(1, 2)]), (ms(38), ms(38), ms(1)));
}
