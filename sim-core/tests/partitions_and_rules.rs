//! Faults of the network: partitions of every shape, links that change, rules for single packets.
//!
//! Goal: each cuts, slows or damages exactly what it names, for as long as it lasts, and counts what it touched. Method:
//! four nodes that all write to each other in rounds; the test reads who reached whom in a round.

mod common;

use std::collections::BTreeSet;

use common::*;
use sim_core::{
    NodeId, NodeSpec, Sim,
    fault::{Fault, FaultKind, LinkChange, PacketAction, PacketRule, Partition, Target},
    net::Link,
    record::{Recording, RecordingLevel},
    rng::Delay,
    time::{Duration, ms, secs},
};

const NODES: [&str; 4] = ["web-0", "web-1", "db-0", "db-1"];

/// Rounds at 0, 100, 200 ms, ...: in each everybody writes to everybody, itself too. Gives who was reached in each.
fn rounds(faults: impl IntoIterator<Item = Fault>, count: usize) -> (Vec<BTreeSet<(u32, u32)>>, Recording) {
    let mut sim = Sim::new(&with(faults), RecordingLevel::Full);
    sim.default_link(Link::constant(ms(1)));
    let book = Notebook::new();
    for (index, name) in NODES.iter().enumerate() {
        let book = book.clone();
        let region = ["eu", "us", "eu", "asia"][index];
        sim.node(NodeSpec::new(*name).region(region), async move |node| {
            let writer = node.clone();
            node.spawn_detached(async move {
                for round in 0..count as u64 {
                    until(&writer, ms(100) * round).await;
                    (0..4).for_each(|to| writer.send(NodeId(to), &note(round)));
                }
            });
            let mut mailbox = node.mailbox::<Message>();
            loop {
                let received = mailbox.recv().await;
                book.write((received.message.number(), (received.from.0, node.id().0)));
            }
        });
    }
    let recording = sim.run().unwrap();
    let mut reached = vec![BTreeSet::new(); count];
    for (round, pair) in book.read() {
        reached[round as usize].insert(pair);
    }
    (reached, recording)
}

fn all() -> BTreeSet<(u32, u32)> {
    (0..16).map(|n| (n / 4, n % 4)).collect()
}
/// Everybody reaches everybody, but not these.
fn except(pairs: &[(u32, u32)]) -> BTreeSet<(u32, u32)> {
    all().into_iter().filter(|pair| !pairs.contains(pair)).collect()
}
fn both(pairs: &[(u32, u32)]) -> Vec<(u32, u32)> {
    pairs.iter().flat_map(|&(a, b)| [(a, b), (b, a)]).collect()
}
fn listed(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

// ---- partitions ----

/// The partition is in force in the second of three rounds: who is not reached then, if everybody is before and after.
fn cut_by(partition: Partition, on: Target) -> Vec<(u32, u32)> {
    let fault = Fault::at(ms(50), "cut", FaultKind::Partition(partition)).on(on).lasting(ms(100));
    let (reached, recording) = rounds([fault], 3);
    assert_eq!(reached[0], all());
    assert_eq!(reached[2], all(), "it heals");
    let cut: Vec<_> = all().difference(&reached[1]).copied().collect();
    assert_eq!(touched(&recording, "cut"), cut.len() as u64);
    assert_eq!(dropped(&recording, "partition"), cut.len());
    cut
}

fn sorted(mut pairs: Vec<(u32, u32)>) -> Vec<(u32, u32)> {
    pairs.sort_unstable();
    pairs
}

#[test]
fn isolation_cuts_the_target_off_from_everybody_else() {
    let cut = cut_by(Partition::Isolate, "web-0".into());
    assert_eq!(cut, sorted(both(&[(0, 1), (0, 2), (0, 3)])));
    // Those who are isolated together reach each other.
    let cut = cut_by(Partition::Isolate, Target::group("web"));
    assert_eq!(cut, sorted(both(&[(0, 2), (0, 3), (1, 2), (1, 3)])));
}

#[test]
fn a_split_separates_its_groups_and_leaves_who_is_in_none() {
    let groups = vec![listed(&["web-0"]), listed(&["web-1", "db-0"])];
    assert_eq!(cut_by(Partition::Split(groups), Target::Everybody), sorted(both(&[(0, 1), (0, 2)])));
    let services = vec![listed(&["web"]), listed(&["db"])];
    let cut = cut_by(Partition::Split(services), Target::Everybody);
    assert_eq!(cut, sorted(both(&[(0, 2), (0, 3), (1, 2), (1, 3)])));
    let three = vec![listed(&["web-0"]), listed(&["web-1"]), listed(&["db-0"])];
    let cut = cut_by(Partition::Split(three), Target::Everybody);
    assert_eq!(cut, sorted(both(&[(0, 1), (0, 2), (1, 2)])));
}

#[test]
fn a_one_way_partition_lets_the_other_direction_pass() {
    let partition = Partition::OneWay { from: listed(&["web"]), to: listed(&["db-1"]) };
    assert_eq!(cut_by(partition, Target::Everybody), [(0, 3), (1, 3)]);
}

#[test]
fn a_bridge_is_reached_by_two_sides_that_do_not_reach_each_other() {
    let partition = Partition::Bridge { left: listed(&["web-0"]), right: listed(&["db"]) };
    assert_eq!(cut_by(partition, Target::Everybody), sorted(both(&[(0, 2), (0, 3)])));
}

#[test]
fn a_partition_of_regions_cuts_their_nodes() {
    // web-0 and db-0 are in eu, web-1 in us, db-1 in asia, which is in neither group.
    let partition = Partition::Regions(vec![listed(&["eu"]), listed(&["us"])]);
    assert_eq!(cut_by(partition, Target::Everybody), sorted(both(&[(0, 1), (2, 1)])));
}

#[test]
fn overlapping_partitions_heal_one_by_one() {
    let isolate = |start, lasts, name: &str, on: &str| {
        Fault::at(ms(start), name, FaultKind::Partition(Partition::Isolate)).on(on).lasting(ms(lasts))
    };
    let (reached, _) = rounds([isolate(50, 200, "first", "web-0"), isolate(150, 200, "second", "web-1")], 5);
    let zero = both(&[(0, 1), (0, 2), (0, 3)]);
    let one = both(&[(0, 1), (1, 2), (1, 3)]);
    let expected = [all(), except(&zero), except(&[zero.clone(), one.clone()].concat()), except(&one), all()];
    assert_eq!(reached, expected);
}

#[test]
fn what_was_on_the_wire_when_a_partition_began_arrives() {
    let fault = Fault::at(ms(15), "cut", FaultKind::Partition(Partition::Isolate)).on("b").lasting(ms(20));
    let (arrivals, recording) = post(&with([fault]), Link::constant(ms(30)), 5, ms(10));
    // Sent at 0 and 10 ms before it, at 20 and 30 during it, at 40 after it.
    assert_eq!(numbers(&arrivals), [0, 1, 4]);
    assert_eq!(touched(&recording, "cut"), 2);
    assert_eq!(fault_times(&recording, "cut"), (vec![ms(15)], vec![ms(35)]));
}

fn fault_times(recording: &Recording, name: &str) -> (Vec<Duration>, Vec<Duration>) {
    let fault = fault(recording, name);
    let since = |times: &[sim_core::time::SimTime]| times.iter().map(|t| t.since_start()).collect();
    (since(&fault.began), since(&fault.ended))
}

#[test]
fn a_partition_that_nobody_ran_into_has_touched_nothing() {
    let silent = Fault::at(ms(250), "late", FaultKind::Partition(Partition::Isolate)).on("web-0");
    let (reached, recording) = rounds([silent], 3);
    assert_eq!(reached, vec![all(); 3]);
    assert!(!fault(&recording, "late").had_effect());
    assert_eq!(fault_times(&recording, "late"), (vec![ms(250)], vec![]));
}

// ---- links that change ----

/// 30 notes, one each 10 ms, over a link of 1 ms; the change holds for the second ten of them.
fn changed(change: LinkChange, on: Target) -> (Vec<(Duration, Message)>, Recording) {
    let fault = Fault::at(ms(95), "change", FaultKind::Link(change)).on(on).lasting(ms(100));
    post(&with([fault]), Link::constant(ms(1)), 30, ms(10))
}
fn delays(arrivals: &[(Duration, Message)]) -> Vec<Duration> {
    arrivals.iter().map(|&(when, message)| when - ms(10) * message.number()).collect()
}
/// 1 ms for the first and last ten, and what else for the ten between.
fn ten_between(between: impl Fn(u64) -> Duration) -> Vec<Duration> {
    (0..30).map(|n| if (10..20).contains(&n) { between(n - 10) } else { ms(1) }).collect()
}

#[test]
fn a_link_can_take_another_delay_or_a_longer_one() {
    let (arrivals, recording) = changed(LinkChange::delay(Delay::constant(ms(6))), Target::Everybody);
    assert_eq!(delays(&arrivals), ten_between(|_| ms(6)));
    assert_eq!(touched(&recording, "change"), 10);
    let (arrivals, _) = changed(LinkChange::slower_by(ms(6)), Target::Everybody);
    assert_eq!(delays(&arrivals), ten_between(|_| ms(7)));
}

#[test]
fn a_link_can_begin_to_lose_to_double_and_to_damage() {
    let (arrivals, recording) = changed(LinkChange::loss(1.0), Target::Everybody);
    assert_eq!(numbers(&arrivals), (0..10).chain(20..30).collect::<Vec<_>>());
    assert_eq!(touched(&recording, "change"), 10);

    // A change that makes no difference to any packet has touched none.
    let (_, recording) = changed(LinkChange::loss(0.0), Target::Everybody);
    assert_eq!(touched(&recording, "change"), 0);

    let (arrivals, _) = changed(LinkChange::duplication(1.0), Target::Everybody);
    assert_eq!(arrivals.len(), 40);
    assert!(numbers(&arrivals).iter().filter(|n| (10..20).contains(*n)).count() == 20);

    let (arrivals, recording) = changed(LinkChange::corruption(1.0), Target::Everybody);
    let unreadable = total(&recording, "datagrams.undecodable") as usize;
    let damaged = arrivals.iter().filter(|(when, m)| *m != note((*when - ms(1)).as_nanos() / 10_000_000));
    assert_eq!(damaged.count() + unreadable, 10);
}

#[test]
fn a_link_can_become_a_bottleneck() {
    let change = LinkChange { bandwidth: Some(2_000), ..LinkChange::default() };
    let (arrivals, recording) = changed(change, Target::Everybody);
    assert_eq!(touched(&recording, "change"), 10);
    // 37 bytes at 2,000 a second take 18.5 ms, and come every 10 ms: the queue grows. When the change is over, the others
    // do not wait for what is still in it, and overtake.
    let mut late = arrivals.clone();
    late.sort_by_key(|(_, message)| message.number());
    let queue = |n: u64| Duration::from_nanos(18_500_000) * (n + 1) - ms(10) * n + ms(1);
    assert_eq!(delays(&late), ten_between(queue));
}

#[test]
fn a_link_that_loses_can_be_made_whole() {
    let fault = Fault::at(ms(95), "repair", FaultKind::Link(LinkChange::loss(0.0))).lasting(ms(100));
    let (arrivals, recording) = post(&with([fault]), Link::constant(ms(1)).loss(1.0), 30, ms(10));
    assert_eq!(numbers(&arrivals), (10..20).collect::<Vec<_>>());
    assert_eq!(touched(&recording, "repair"), 10);
}

#[test]
fn a_change_is_for_the_way_and_the_nodes_that_it_names() {
    let slow = |change: LinkChange, on: Target| {
        let fault = Fault::at(ms(0), "slow", FaultKind::Link(change)).on(on);
        let (reached, recording) = rounds([fault], 1);
        assert_eq!(reached[0], all());
        let late = recording.messages.iter().filter_map(|m| match m.fate {
            sim_core::record::Fate::Arrived(when) if when.since(m.sent) > ms(1) => Some((m.from.0, m.to.0)),
            _ => None,
        });
        let late: Vec<_> = late.collect();
        assert_eq!(touched(&recording, "slow"), late.len() as u64);
        sorted(late)
    };
    let change = LinkChange::slower_by(ms(5));
    assert_eq!(slow(change.clone().only("web-0", "db"), Target::Everybody), [(0, 2), (0, 3)]);
    assert_eq!(slow(LinkChange { from: listed(&["db"]), ..change.clone() }, Target::Everybody).len(), 8);
    assert_eq!(slow(LinkChange { to: listed(&["db-1"]), ..change.clone() }, Target::Everybody).len(), 4);
    // On a node: packets from it and to it, itself included once.
    let expected = sorted([both(&[(0, 1), (0, 2), (0, 3)]), vec![(0, 0)]].concat());
    assert_eq!(slow(change.clone(), "web-0".into()), expected);
    assert_eq!(slow(change, Target::Everybody).len(), 16);
}

#[test]
fn changes_add_up_and_are_undone_one_by_one() {
    let slower = |start, lasts, by| {
        Fault::at(ms(start), format!("by {by}"), FaultKind::Link(LinkChange::slower_by(ms(by))))
            .lasting(ms(lasts))
    };
    let plan = with([slower(5, 20, 1), slower(15, 20, 2)]);
    let (arrivals, recording) = post(&plan, Link::constant(ms(1)), 5, ms(10));
    assert_eq!(delays(&arrivals), [1, 2, 4, 3, 1].map(ms));
    assert_eq!((touched(&recording, "by 1"), touched(&recording, "by 2")), (2, 2));
}

// ---- rules for packets ----

fn rule(rule: PacketRule) -> Fault {
    Fault::at(ms(0), "rule", FaultKind::Packets(rule))
}
/// Ten notes, one each 10 ms, over a link of 1 ms, under one rule.
fn ruled(one: PacketRule) -> (Vec<(Duration, Message)>, Recording) {
    post(&with([rule(one)]), Link::constant(ms(1)), 10, ms(10))
}

#[test]
fn a_rule_drops_the_nth_packet_or_several_from_it_on() {
    let drop = PacketRule::all(PacketAction::Drop);
    let (arrivals, recording) = ruled(drop.clone().nth(3));
    assert_eq!(numbers(&arrivals), [0, 1, 3, 4, 5, 6, 7, 8, 9]);
    assert_eq!((touched(&recording, "rule"), dropped(&recording, "rule")), (1, 1));
    let (arrivals, _) = ruled(PacketRule { first: 3, count: Some(4), ..drop.clone() });
    assert_eq!(numbers(&arrivals), [0, 1, 6, 7, 8, 9]);
    let (arrivals, _) = ruled(PacketRule { first: 3, ..drop.clone() });
    assert_eq!(numbers(&arrivals), [0, 1]);
    let (arrivals, recording) = ruled(drop);
    assert!(arrivals.is_empty());
    assert_eq!(touched(&recording, "rule"), 10);
}

#[test]
fn a_rule_delays_doubles_or_damages_a_packet() {
    let (arrivals, _) = ruled(PacketRule::all(PacketAction::Delay(ms(25))).nth(3));
    assert_eq!(arrivals[4], (ms(46), note(2)), "it comes between the fifth and the sixth");
    assert_eq!(arrivals.len(), 10);
    let (arrivals, _) = ruled(PacketRule::all(PacketAction::Duplicate).nth(3));
    assert_eq!(numbers(&arrivals), [0, 1, 2, 2, 3, 4, 5, 6, 7, 8, 9]);
    let (arrivals, recording) = ruled(PacketRule::all(PacketAction::Corrupt).nth(3));
    assert!(!arrivals.contains(&(ms(21), note(2))));
    assert_eq!(arrivals.len() + total(&recording, "datagrams.undecodable") as usize, 10);
}

#[test]
fn a_packet_that_may_pass_is_spared_by_chance_and_by_later_rules() {
    let pass = rule(PacketRule::all(PacketAction::Pass).nth(3));
    let drop = Fault::at(ms(0), "drop", FaultKind::Packets(PacketRule::all(PacketAction::Drop)));
    let (arrivals, recording) = post(&with([pass, drop]), Link::constant(ms(1)), 10, ms(10));
    assert_eq!(numbers(&arrivals), [2]);
    assert_eq!((touched(&recording, "rule"), touched(&recording, "drop")), (1, 9));
    let hopeless = Link::constant(ms(1)).loss(1.0);
    let pass = rule(PacketRule::all(PacketAction::Pass).nth(3));
    assert_eq!(numbers(&post(&with([pass]), hopeless, 10, ms(10)).0), [2]);
}

#[test]
fn a_rule_is_for_the_kind_the_way_and_the_nodes_that_it_names() {
    let cut = |rule: PacketRule, on: Target| {
        let (reached, recording) = rounds([Fault::at(ms(0), "r", FaultKind::Packets(rule)).on(on)], 1);
        let cut: Vec<_> = all().difference(&reached[0]).copied().collect();
        assert_eq!(touched(&recording, "r"), cut.len() as u64);
        cut
    };
    let drop = PacketRule::all(PacketAction::Drop);
    assert_eq!(cut(drop.clone().between("web-0", "db-1"), Target::Everybody), [(0, 3)]);
    assert_eq!(cut(drop.clone().between("web", "db"), Target::Everybody), [(0, 2), (0, 3), (1, 2), (1, 3)]);
    assert_eq!(cut(drop.clone().kind("Note"), Target::Everybody).len(), 16);
    assert_eq!(cut(drop.clone().kind("Vote"), Target::Everybody), []);
    assert_eq!(cut(PacketRule { from: Some("db".into()), ..drop.clone() }, "web-1".into()), [(2, 1), (3, 1)]);
    // Counted over all that match: the second of those from web to db is web-0's to db-1.
    assert_eq!(cut(drop.between("web", "db").nth(2), Target::Everybody), [(0, 3)]);
}

#[test]
fn a_rule_counts_from_when_it_takes_hold_and_ends_with_its_fault() {
    let late = FaultKind::Packets(PacketRule { first: 2, ..PacketRule::all(PacketAction::Drop) });
    let (arrivals, _) =
        post(&with([Fault::at(ms(25), "late", late).lasting(ms(40))]), Link::constant(ms(1)), 10, ms(10));
    // In force for those of 30 to 60 ms, and from the second of them on.
    assert_eq!(numbers(&arrivals), [0, 1, 2, 3, 7, 8, 9]);
}

#[test]
fn a_retransmission_is_a_packet_too() {
    // Dropping the first two Notes on a stream drops the message and its first retransmission.
    let drop = PacketRule { count: Some(2), ..PacketRule::all(PacketAction::Drop).kind("Note") };
    let mut sim = Sim::new(&with([rule(drop)]), RecordingLevel::Full);
    sim.default_link(Link::constant(ms(1)));
    let book = Notebook::new();
    let heard = book.clone();
    let b = sim.node("b", async move |node| {
        let mut stream = node.listen(1).accept().await;
        stream.recv::<Message>().await.unwrap();
        heard.write(now(&node));
    });
    sim.node("a", async move |node| {
        let stream = node.connect(b, 1).await.unwrap();
        stream.send(&note(1)).unwrap();
        node.sleep(secs(5)).await;
    });
    sim.run().unwrap();
    assert_eq!(book.read(), [ms(2 + 200 + 400 + 1)]);
}
