//! Datagrams and links: what delay, loss, duplication, corruption, reordering and bandwidth do to packets.
//!
//! Goal: each property of a link is seen in what arrives, in its stated share or at its exact time, and chance is addressed:
//! what happens to one packet leaves all others alone. Method: one node writes numbered notes to another, which writes
//! down when they come.

mod common;

use common::*;
use proptest::prelude::*;
use sim_core::{
    NodeId, NodeSpec, Sim,
    fault::{Fault, FaultKind},
    net::{Link, Loss, Reordering},
    plan::OverrideFate,
    record::{Fate, RecordingLevel},
    rng::Delay,
    time::{Duration, ms, ns, secs, us},
};

/// Nobody overtakes anybody: longer than every delay in this file.
const GAP: Duration = secs(2);

fn late(arrivals: &[(Duration, Message)], gap: Duration) -> Vec<Duration> {
    arrivals.iter().map(|&(when, message)| when - gap * message.number()).collect()
}

#[test]
fn each_distribution_of_delays_reaches_the_arrivals() {
    let delays = [
        Delay::uniform(ms(10), ms(30)),
        Delay::normal(ms(20), ms(3)),
        Delay::lognormal(ms(20), 0.5),
        Delay::exponential(ms(20)),
        Delay::pareto(ms(10), 3.0),
        Delay::empirical(&[(0.0, ms(1)), (0.9, ms(5)), (1.0, ms(100))]).unwrap(),
        Delay::exponential(ms(5)).plus(ms(10)),
    ];
    for delay in delays {
        let count = 4_000;
        let (arrivals, _) = post(&plan_for(count), Link::new(delay.clone()), count, GAP);
        assert_eq!(arrivals.len() as u64, count);
        let late = late(&arrivals, GAP);
        for share in [0.1, 0.25, 0.5, 0.75, 0.95] {
            let below = late.iter().filter(|&&d| d <= delay.quantile(share)).count();
            assert!(is_share(below, late.len(), share), "{delay}: {below} of {count} are below {share}");
        }
    }
    let (arrivals, _) = post(&plan(1), Link::constant(ms(7)), 10, ms(1));
    assert_eq!(late(&arrivals, ms(1)), vec![ms(7); 10]);
}

fn plan_for(count: u64) -> sim_core::plan::Plan {
    sim_core::plan::Plan { until: GAP * (count + 1), ..plan(1) }
}

#[test]
fn the_stated_share_of_packets_is_lost() {
    for share in [0.01, 0.1, 0.5] {
        let count = 20_000;
        let (arrivals, recording) = post(&plan(2), Link::constant(ms(1)).loss(share), count, us(10));
        let lost = count as usize - arrivals.len();
        assert!(is_share(lost, count as usize, share), "{lost} of {count}");
        assert_eq!(dropped(&recording, "loss"), lost);
    }
    assert!(post(&plan(2), Link::constant(ms(1)).loss(1.0), 100, ms(1)).0.is_empty());
}

#[test]
fn bursty_loss_has_its_share_and_its_mean_burst() {
    let count = 100_000;
    let (arrivals, _) = post(&plan(3), Link::constant(ms(1)).bursty_loss(0.05, 8.0), count, us(10));
    let mut lost = vec![true; count as usize];
    for number in numbers(&arrivals) {
        lost[number as usize] = false;
    }
    let all = lost.iter().filter(|&&l| l).count();
    let bursts = (0..lost.len()).filter(|&i| lost[i] && (i == 0 || !lost[i - 1])).count();
    // Neighbours are alike (correlation 1 - 1/8 - 0.0066 = 0.868), which multiplies the variance of the share by 14.2:
    // four standard errors are 4 * sqrt(0.05 * 0.95 * 14.2 / 100,000) = 0.0104.
    let share = all as f64 / count as f64;
    assert!((share - 0.05).abs() < 0.0104, "{share}");
    // A burst is geometric with mean 8 and deviation sqrt(7/8) * 8 = 7.5; of about 625 bursts the mean is within 1.2.
    let mean = all as f64 / bursts as f64;
    assert!((mean - 8.0).abs() < 4.0 * 7.5 / (bursts as f64).sqrt(), "{mean}");
}

#[test]
fn a_bursty_link_may_lose_in_its_good_state_and_pass_in_its_bad_one() {
    // Half of the time good (loss 0.1), half bad (loss 0.7): 0.4 in all. The states last two packets, so neighbours hardly
    // correlate; the bound leaves room for a variance twice as large.
    let link =
        Link { loss: Loss::Bursty { worsens: 0.5, recovers: 0.5, good: 0.1, bad: 0.7 }, ..Link::default() };
    let count = 20_000;
    let (arrivals, _) = post(&plan(3), link, count, us(10));
    let share = 1.0 - arrivals.len() as f64 / count as f64;
    assert!((share - 0.4).abs() < 4.0 * (2.0 * 0.24 / count as f64).sqrt(), "{share}");
}

#[test]
fn the_stated_share_arrives_twice_and_the_copy_has_a_delay_of_its_own() {
    let count = 10_000;
    let link = Link::new(Delay::uniform(ms(1), ms(100))).duplication(0.2);
    let (arrivals, recording) = post(&plan(4), link, count, ms(1));
    let mut times: Vec<Vec<Duration>> = vec![Vec::new(); count as usize];
    for &(when, message) in &arrivals {
        times[message.number() as usize].push(when);
    }
    assert!(times.iter().all(|t| t.len() == 1 || t.len() == 2));
    let twice: Vec<_> = times.iter().filter(|t| t.len() == 2).collect();
    assert!(is_share(twice.len(), count as usize, 0.2), "{}", twice.len());
    assert!(twice.iter().all(|t| t[0] != t[1]), "the copy took as long as its original");
    let copies = recording.messages.iter().filter(|m| m.duplicate).count();
    assert_eq!(copies, twice.len());
}

#[test]
fn corruption_flips_one_bit_of_the_bytes_and_what_cannot_be_read_is_counted() {
    let count = 10_000;
    let (arrivals, recording) = post(&plan(5), Link::constant(ms(1)).corruption(0.3), count, ms(1));
    let unreadable = total(&recording, "datagrams.undecodable") as usize;
    assert_eq!(arrivals.len() + unreadable, count as usize, "a damaged datagram arrives all the same");
    let mut damaged = unreadable;
    for (when, message) in arrivals {
        let original = note(when.as_nanos() / ms(1).as_nanos() - 1);
        let before = sim_core::codec::encode(&original);
        let after = sim_core::codec::encode(&message);
        let flips: u32 = before.iter().zip(&after).map(|(a, b)| (a ^ b).count_ones()).sum();
        assert!(flips <= 1, "{flips} bits flipped");
        damaged += flips as usize;
    }
    assert!(is_share(damaged, count as usize, 0.3), "{damaged}");
    // Of the 72 bits six make a kind that does not exist (3 kinds; bits 0 and 1 lead to another one of them).
    assert!(is_share(unreadable, damaged, 6.0 / 72.0), "{unreadable} of {damaged}");
}

#[test]
fn held_up_packets_are_overtaken() {
    let count = 5_000;
    let link = Link::constant(ms(10)).reordering(0.2, Delay::constant(ms(50)));
    let (arrivals, _) = post(&plan(6), link, count, ms(1));
    let late = late(&arrivals, ms(1));
    assert!(late.iter().all(|&d| d == ms(10) || d == ms(60)));
    let held = late.iter().filter(|&&d| d == ms(60)).count();
    assert!(is_share(held, count as usize, 0.2), "{held}");
    let numbers = numbers(&arrivals);
    assert!(!numbers.is_sorted());
}

#[test]
fn on_an_ordered_link_nobody_overtakes() {
    let link = Link::new(Delay::exponential(ms(20)))
        .reordering(0.2, Delay::constant(ms(50)))
        .duplication(0.2)
        .loss(0.1);
    let (unordered, _) = post(&plan(7), link.clone(), 3_000, ms(1));
    assert!(!numbers(&unordered).is_sorted());
    let (ordered, _) = post(&plan(7), link.ordered(), 3_000, ms(1));
    assert!(numbers(&ordered).is_sorted());
    let mut same = [numbers(&unordered), numbers(&ordered)];
    same.iter_mut().for_each(|numbers| numbers.sort_unstable());
    assert_eq!(same[0], same[1], "order changes nobody's loss and duplication");
}

/// Ten notes at once from `a` to `b` and as many to `c`: when they come.
fn ten_at_once(spec: NodeSpec, link: Link) -> ([Vec<Duration>; 2], usize) {
    let mut sim = Sim::new(&plan(1), RecordingLevel::Full);
    sim.default_link(link);
    let (at_b, at_c) = (Notebook::new(), Notebook::new());
    let b = reader(&mut sim, "b", &at_b);
    let c = reader(&mut sim, "c", &at_c);
    sim.node(spec, async move |node| {
        for number in 0..10 {
            node.send(b, &note(number));
            node.send(c, &note(number));
        }
    });
    let recording = sim.run().unwrap();
    let times = |book: Notebook<(Duration, Message)>| book.read().into_iter().map(|(when, _)| when).collect();
    ([times(at_b), times(at_c)], dropped(&recording, "queue full"))
}

#[test]
fn an_interface_sends_one_packet_after_the_other_and_drops_what_finds_its_queue_full() {
    // A note is 37 bytes on the wire: 37 ms at 1,000 bytes a second. The queue of 400 bytes has room for ten of them.
    let spec = NodeSpec::new("a").bandwidth(1_000, 400);
    let ([b, c], dropped) = ten_at_once(spec, Link::constant(ms(5)));
    let expected = |slots: [u64; 5]| slots.map(|n| ms(37) * n + ms(5)).to_vec();
    // One queue for both receivers: theirs alternate, and the second half finds no room.
    assert_eq!(b, expected([1, 3, 5, 7, 9]));
    assert_eq!(c, expected([2, 4, 6, 8, 10]));
    assert_eq!(dropped, 10);
}

#[test]
fn a_link_with_a_bandwidth_has_a_queue_of_its_own_for_each_pair() {
    let ([b, c], dropped) = ten_at_once(NodeSpec::new("a"), Link::constant(ms(5)).bandwidth(1_000, 200));
    // 5 * 37 = 185 bytes fit into 200.
    let expected: Vec<_> = (1..=5).map(|n| ms(37) * n + ms(5)).collect();
    assert_eq!(b, expected);
    assert_eq!(c, expected);
    assert_eq!(dropped, 10);
}

#[test]
fn a_queue_that_has_drained_takes_packets_again() {
    // One note each 40 ms needs 37 ms: nothing is ever dropped, or delayed by another.
    let (arrivals, recording) = post(&plan(1), Link::constant(ms(5)).bandwidth(1_000, 37), 20, ms(40));
    assert_eq!(late(&arrivals, ms(40)), vec![ms(42); 20]);
    assert_eq!(dropped(&recording, "queue full"), 0);
}

#[test]
fn sizes_on_the_wire_are_those_of_the_encoded_messages_and_their_headers() {
    let mut sim = Sim::new(&plan(1), RecordingLevel::Full);
    let b = sim.node("b", async |node| {
        let mut mailbox = node.mailbox::<String>();
        let mut listener = node.listen(1);
        assert_eq!(mailbox.recv().await.message.len(), 1_000);
        let _stream = listener.accept().await;
        std::future::pending::<()>().await;
    });
    sim.node("a", async move |node| {
        let text = "x".repeat(1_000);
        node.send(b, &text);
        node.connect(b, 1).await.unwrap().send(&text).unwrap();
    });
    let recording = sim.run().unwrap();
    // 1,000 bytes and three of length; IPv4 and UDP have 28 bytes of headers, IPv4 and TCP 40.
    assert_eq!(packets(&recording, "str").iter().map(|m| m.bytes).collect::<Vec<_>>(), [1_031, 1_043]);
    assert_eq!(packets(&recording, "open")[0].bytes, 40);
    let (_, recording) = post(&plan(1), Link::default(), 1, ms(1));
    assert_eq!(packets(&recording, "Note")[0].bytes, BODY + 28);
}

/// A link on which everything happens.
fn eventful() -> Link {
    Link::new(Delay::lognormal(ms(10), 0.7))
        .loss(0.2)
        .duplication(0.1)
        .reordering(0.1, Delay::exponential(ms(30)))
}

fn without(number: u64, arrivals: &[(Duration, Message)]) -> Vec<(Duration, Message)> {
    arrivals.iter().filter(|(_, message)| message.number() != number).copied().collect()
}

#[test]
fn a_lost_packet_shifts_nobody_elses_delay() {
    let (base, _) = post(&plan(8), eventful(), 200, ms(1));
    let victim = base[20].1.number();
    let lost = OverrideFate { lost: Some(true), ..OverrideFate::default() };
    let plan = plan(8).with_override(overridden("a", "b", Some("Note"), victim + 1, lost));
    let (arrivals, recording) = post(&plan, eventful(), 200, ms(1));
    assert_eq!(arrivals, without(victim, &base));
    assert!(arrivals.len() < base.len());
    assert_eq!(recording.faults[0].touched, 1);
}

#[test]
fn the_draws_of_a_pair_do_not_depend_on_other_nodes() {
    let (base, _) = post(&plan(9), eventful(), 200, ms(1));

    let mut sim = Sim::new(&plan(9), RecordingLevel::Essential);
    sim.default_link(eventful());
    let (arrivals, others) = (Notebook::new(), Notebook::new());
    let other = reader(&mut sim, "other-0", &others);
    let b = reader(&mut sim, "b", &arrivals);
    sim.node("other-1", async move |node| {
        for number in 0..500 {
            node.send(other, &note(number));
            node.send(NodeId(3), &ping(number));
            node.sleep(us(700)).await;
        }
    });
    sim.node("a", async move |node| {
        for number in 0..200 {
            until(&node, ms(1) * number).await;
            node.send(b, &note(number));
            // Other kinds and other receivers have draws of their own.
            node.send(b, &ping(number));
            node.send(other, &note(number));
        }
    });
    sim.run().unwrap();
    let notes: Vec<_> =
        arrivals.read().into_iter().filter(|(_, message)| matches!(message, Message::Note(_))).collect();
    assert_eq!(notes, base);
    assert!(others.read().len() > 300);
}

#[test]
fn another_seed_is_another_run() {
    let runs: Vec<_> = [1, 1, 2].iter().map(|&seed| post(&plan(seed), eventful(), 100, ms(1))).collect();
    assert_eq!(runs[0].0, runs[1].0);
    assert_eq!(runs[0].1.hash(), runs[1].1.hash());
    assert_ne!(runs[0].0, runs[2].0);
    assert_ne!(runs[0].1.run_hash, runs[2].1.run_hash);
}

#[test]
fn a_message_to_a_node_that_is_down_disappears() {
    let down = with([Fault::at(ms(35), "down", FaultKind::Crash).on("b").lasting(ms(30))]);
    let (arrivals, recording) = post(&down, Link::constant(ms(1)), 10, ms(10));
    // Those that would have come at 41, 51 and 61 ms.
    assert_eq!(numbers(&arrivals), [0, 1, 2, 3, 7, 8, 9]);
    assert_eq!(dropped(&recording, "node down"), 3);
}

#[test]
fn a_message_to_a_port_that_nobody_has_bound_disappears() {
    let mut sim = Sim::new(&plan(1), RecordingLevel::Full);
    sim.default_link(Link::constant(ms(1)));
    let arrivals = Notebook::new();
    let book = arrivals.clone();
    let b = sim.node("b", async move |node| {
        node.sleep(ms(10)).await;
        {
            let mut mailbox = node.mailbox_on::<Message>(7);
            book.write(mailbox.recv().await.message.number());
        } // unbound again
        node.sleep(ms(20)).await;
        let mut mailbox = node.mailbox_on::<Message>(7);
        book.write(mailbox.recv().await.message.number());
    });
    sim.node("a", async move |node| {
        for number in 0..5 {
            until(&node, ms(8) * number).await; // at 1, 9, 17, 25 and 33 ms there
            node.send_on(8, b, &note(100 + number));
            node.send_on(7, b, &note(number));
        }
        until(&node, ms(40)).await;
        node.send_on(7, b, &note(5));
    });
    let recording = sim.run().unwrap();
    assert_eq!(arrivals.read(), [2, 5]);
    assert!(recording.messages.iter().all(|m| matches!(m.fate, Fate::Arrived(_))), "it had reached the node");
}

fn delays() -> impl Strategy<Value = Delay> {
    prop_oneof![
        (0..30_000_u64).prop_map(|n| Delay::constant(us(n))),
        (0..5_000_u64, 0..30_000_u64).prop_map(|(from, more)| Delay::uniform(us(from), us(from + more))),
        (1..20_000_u64).prop_map(|mean| Delay::exponential(us(mean))),
    ]
}

fn losses() -> impl Strategy<Value = Loss> {
    prop_oneof![
        Just(Loss::Never),
        (0.0..1.0_f64).prop_map(Loss::Independent),
        (0.0..1.0_f64, 0.0..1.0_f64, 0.0..1.0_f64, 0.0..1.0_f64)
            .prop_map(|(worsens, recovers, good, bad)| Loss::Bursty { worsens, recovers, good, bad }),
    ]
}

prop_compose! {
    fn links()(
        delay in delays(), loss in losses(),
        duplication in prop_oneof![Just(0.0), 0.0..1.0_f64], corruption in prop_oneof![Just(0.0), 0.0..1.0_f64],
        reordering in proptest::option::of((0.0..1.0_f64, delays())), ordered in any::<bool>(),
        bandwidth in proptest::option::of((1_000..1_000_000_u64, 50..2_000_u64)),
    ) -> Link {
        Link {
            delay, loss, duplication, corruption, ordered,
            reordering: reordering.map(|(share, by)| Reordering { share, by }),
            bandwidth: bandwidth.map(|(rate, _)| rate),
            queue: bandwidth.map_or(1 << 18, |(_, queue)| queue),
        }
    }
}

/// A payload that no single bit turns into another's.
fn spread(number: u64) -> u64 {
    (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_link_delivers_what_was_sent_at_most_twice_and_in_order_where_it_is_ordered(
        link in links(), seed in any::<u64>(), gaps in proptest::collection::vec(0..5_000_u64, 1..60),
    ) {
        let mut sim = Sim::new(&plan(seed), RecordingLevel::Essential);
        sim.default_link(link.clone());
        let arrivals = Notebook::new();
        let b = reader(&mut sim, "b", &arrivals);
        let times: Vec<Duration> = gaps.iter().scan(ns(0), |t, &gap| { *t += us(gap); Some(*t) }).collect();
        let sends = times.clone();
        sim.node("a", async move |node| {
            for (number, &time) in sends.iter().enumerate() {
                until(&node, time).await;
                node.send(b, &note(spread(number as u64)));
            }
        });
        let recording = sim.run().unwrap();
        let unreadable = total(&recording, "datagrams.undecodable") as usize;
        let mut seen = vec![Vec::new(); times.len()];
        let mut order = Vec::new();
        for (when, message) in arrivals.read() {
            let bits = |number: usize| (spread(number as u64) ^ message.number()).count_ones();
            let sent = (0..times.len()).find(|&number| bits(number) <= 1);
            prop_assert!(sent.is_some(), "{message:?} was never sent");
            let number = sent.unwrap();
            let damaged = message != note(spread(number as u64));
            prop_assert!(!damaged || link.corruption > 0.0, "{message:?} is damaged");
            prop_assert!(when >= times[number] + link.delay.minimum(), "it came before its time");
            seen[number].push(message);
            order.push(number);
        }
        prop_assert!(seen.iter().all(|copies| copies.len() <= 1 + usize::from(link.duplication > 0.0)));
        prop_assert!(seen.iter().all(|copies| copies.windows(2).all(|two| two[0] == two[1])));
        prop_assert!(unreadable == 0 || link.corruption > 0.0);
        prop_assert!(!link.ordered || order.is_sorted(), "{order:?}");
        if link.loss == Loss::Never && link.bandwidth.is_none() && link.corruption == 0.0 {
            prop_assert!(seen.iter().all(|copies| !copies.is_empty()), "nothing may be lost");
        }
    }
}
