//! Overrides: draws of the network that a plan sets by hand.
//!
//! Goal: an override names one packet and changes that packet alone, and one that sets what was drawn anyway changes
//! nothing. Method: the posts of `network.rs` with an override each.

mod common;

use common::*;
use sim_core::{
    Sim,
    net::Link,
    plan::{Override, OverrideFate, Plan, PlanError},
    record::RecordingLevel,
    rng::Delay,
    time::{Duration, ms, secs, us},
};

fn takes(delay: Duration) -> OverrideFate {
    OverrideFate { delay: Some(delay), ..OverrideFate::default() }
}
fn lost(is: bool) -> OverrideFate {
    OverrideFate { lost: Some(is), ..OverrideFate::default() }
}
fn duplicated(is: bool) -> OverrideFate {
    OverrideFate { duplicated: Some(is), ..OverrideFate::default() }
}
fn corrupted(is: bool) -> OverrideFate {
    OverrideFate { corrupted: Some(is), ..OverrideFate::default() }
}

/// `a` sends a note and a ping to `b` every 10 ms, five times: when notes and pings come, by number.
fn two_kinds(plan: &Plan) -> (Vec<(Duration, Message)>, sim_core::record::Recording) {
    let mut sim = Sim::new(plan, RecordingLevel::Full);
    sim.default_link(Link::constant(ms(1)));
    let arrivals = Notebook::new();
    let b = reader(&mut sim, "b", &arrivals);
    sim.node("a", async move |node| {
        for number in 0..5 {
            until(&node, ms(10) * number).await;
            node.send(b, &note(number));
            node.send(b, &ping(number));
        }
    });
    let recording = sim.run().unwrap();
    (arrivals.read(), recording)
}

fn changes(
    before: &[(Duration, Message)],
    after: &[(Duration, Message)],
) -> (Vec<Message>, Vec<(Duration, Message)>) {
    let gone = before.iter().filter(|entry| !after.contains(entry)).map(|&(_, message)| message).collect();
    let new = after.iter().filter(|entry| !before.contains(entry)).copied().collect();
    (gone, new)
}

#[test]
fn the_third_message_of_a_kind_takes_as_long_as_the_plan_says() {
    let (before, _) = two_kinds(&plan(1));
    let (after, recording) =
        two_kinds(&plan(1).with_override(overridden("a", "b", Some("Ping"), 3, takes(ms(40)))));
    assert_eq!(changes(&before, &after), (vec![ping(2)], vec![(ms(60), ping(2))]));
    let fault = &recording.faults[0];
    assert_eq!(fault.name, "override: Ping 3 from a to b");
    assert_eq!(fault.what, "takes 40ms");
    assert_eq!((fault.touched, fault.began.as_slice()), (1, [at(ms(20))].as_slice()));
}

#[test]
fn without_a_kind_all_messages_of_the_pair_are_counted() {
    let (before, _) = two_kinds(&plan(1));
    // Notes and pings alternate: the third message is the second note.
    let (after, recording) = two_kinds(&plan(1).with_override(overridden("a", "b", None, 3, takes(ms(40)))));
    assert_eq!(changes(&before, &after), (vec![note(1)], vec![(ms(50), note(1))]));
    assert_eq!(recording.faults[0].name, "override: message 3 from a to b");
    assert_eq!(recording.faults[0].touched, 1);
}

#[test]
fn a_message_is_lost_or_doubled_or_damaged_as_the_plan_says() {
    let (before, _) = two_kinds(&plan(1));
    let run = |fate| two_kinds(&plan(1).with_override(overridden("a", "b", Some("Note"), 2, fate)));

    let (after, recording) = run(lost(true));
    assert_eq!(changes(&before, &after), (vec![note(1)], vec![]));
    assert_eq!(after.len(), before.len() - 1);
    assert_eq!(dropped(&recording, "loss"), 1);

    let (after, _) = run(duplicated(true));
    assert_eq!(after.iter().filter(|&&(when, message)| (when, message) == (ms(11), note(1))).count(), 2);
    assert_eq!(after.len(), before.len() + 1);

    let (after, recording) = run(corrupted(true));
    let (gone, new) = changes(&before, &after);
    assert_eq!(gone, [note(1)]);
    assert_eq!(new.len() + total(&recording, "datagrams.undecodable") as usize, 1);
}

#[test]
fn what_chance_would_have_done_can_be_undone() {
    for (link, fate) in [
        (Link::constant(ms(1)).loss(1.0), lost(false)),
        (Link::constant(ms(1)).corruption(1.0), corrupted(false)),
    ] {
        let (before, _) = post(&plan(2), link.clone(), 10, ms(10));
        assert!(!before.contains(&(ms(21), note(2))));
        let plan = plan(2).with_override(overridden("a", "b", None, 3, fate));
        let (after, _) = post(&plan, link, 10, ms(10));
        assert!(after.contains(&(ms(21), note(2))));
    }
    let plan = plan(2).with_override(overridden("a", "b", None, 3, duplicated(false)));
    let (after, _) = post(&plan, Link::constant(ms(1)).duplication(1.0), 10, ms(10));
    assert_eq!(after.len(), 19);
}

#[test]
fn one_override_may_set_several_things_and_a_plan_may_have_several_overrides() {
    let slow_and_double = OverrideFate { duplicated: Some(true), ..takes(ms(5)) };
    let plan = plan(1)
        .with_override(overridden("a", "b", Some("Note"), 1, slow_and_double))
        .with_override(overridden("a", "b", Some("Note"), 2, lost(true)))
        .with_override(overridden("b", "a", None, 1, lost(true)));
    let (after, recording) = two_kinds(&plan);
    let notes: Vec<_> = after.into_iter().filter(|(_, m)| matches!(m, Message::Note(_))).collect();
    // The copy has its own delay: that of the link.
    let expected = [(1, 0), (5, 0), (21, 2), (31, 3), (41, 4)].map(|(when, n)| (ms(when), note(n)));
    assert_eq!(notes, expected);
    // Nobody ever wrote from b to a: that override touched nothing, and the recording says so.
    let touched: Vec<_> = recording.faults.iter().map(|f| f.touched).collect();
    assert_eq!(touched, [1, 1, 0]);
    assert!(recording.faults[2].began.is_empty());
}

#[test]
fn retransmissions_and_copies_are_not_counted() {
    let link = Link::constant(ms(1)).duplication(1.0);
    let plan = plan(1).with_override(overridden("a", "b", Some("Note"), 3, takes(ms(5))));
    let (after, _) = post(&plan, link, 5, ms(10));
    let changed: Vec<_> =
        after.iter().filter(|(when, m)| *when != ms(10) * m.number() + ms(1)).copied().collect();
    assert_eq!(changed, [(ms(25), note(2))]);

    let mut sim = Sim::new(
        &plan_with([
            overridden("a", "b", Some("Note"), 1, lost(true)),
            overridden("a", "b", Some("Note"), 2, takes(ms(5))),
        ]),
        RecordingLevel::Full,
    );
    sim.default_link(Link::constant(ms(1)));
    let book = Notebook::new();
    let heard = book.clone();
    let b = sim.node("b", async move |node| {
        let mut stream = node.listen(1).accept().await;
        while let Ok(Some(message)) = stream.recv::<Message>().await {
            heard.write((now(&node), message));
        }
    });
    sim.node("a", async move |node| {
        let stream = node.connect(b, 1).await.unwrap();
        stream.send(&note(1)).unwrap();
        node.sleep(secs(1)).await;
        stream.send(&note(2)).unwrap();
    });
    sim.run().unwrap();
    // The first goes out again at 202 ms; that transmission is not the second note.
    assert_eq!(book.read(), [(ms(203), note(1)), (ms(1_002 + 5), note(2))]);
}

fn plan_with(overrides: impl IntoIterator<Item = Override>) -> Plan {
    overrides.into_iter().fold(plan(1), Plan::with_override)
}

#[test]
fn an_override_that_sets_what_was_drawn_anyway_leaves_the_run_as_it_was() {
    let link = Link::new(Delay::lognormal(ms(10), 0.5)).loss(0.2).duplication(0.2);
    let (before, base) = post(&plan(5), link.clone(), 100, secs(1));
    // Note 40 or the next that arrived exactly once: its draws are known.
    let number = (40..100).find(|&n| numbers(&before).iter().filter(|&&m| m == n).count() == 1).unwrap();
    let (when, _) = before.iter().find(|(_, message)| message.number() == number).unwrap();
    let fate = OverrideFate {
        delay: Some(*when - secs(1) * number),
        lost: Some(false),
        duplicated: Some(false),
        corrupted: Some(false),
    };
    let same = |delay: Duration| {
        let fate = OverrideFate { delay: Some(delay), ..fate.clone() };
        post(
            &plan(5).with_override(overridden("a", "b", Some("Note"), number + 1, fate)),
            link.clone(),
            100,
            secs(1),
        )
    };
    let (after, run) = same(fate.delay.unwrap());
    assert_eq!(after, before);
    assert_eq!(run.run_hash, base.run_hash);
    assert_eq!(
        (run.faults[0].began.len(), run.faults[0].touched),
        (1, 0),
        "its packet came, and fared as usual"
    );
    // And one that sets something else does not.
    let other = same(fate.delay.unwrap() + us(1)).1;
    assert_ne!(other.run_hash, base.run_hash);
    assert_eq!(other.faults[0].touched, 1);
}

#[test]
fn a_node_that_does_not_exist_is_an_error_with_the_nearest_name() {
    let run = |from: &str, to: &str, ordinal| {
        let plan = plan(1).with_override(overridden(from, to, None, ordinal, lost(true)));
        let mut sim = Sim::new(&plan, RecordingLevel::Essential);
        for name in ["server", "client"] {
            sim.node(name, async |_| {});
        }
        sim.run().map(drop)
    };
    assert_eq!(run("client", "server", 1), Ok(()));
    for error in [run("client", "sever", 1), run("sever", "client", 1)] {
        let error = error.unwrap_err();
        assert!(matches!(&error, PlanError::Unknown { nearest: Some(name), .. } if name == "server"));
        assert!(error.to_string().contains("did you mean `server`?"), "{error}");
    }
    assert!(matches!(run("client", "server", 0), Err(PlanError::Invalid(_))));
}

#[test]
fn overrides_are_part_of_the_plans_text() {
    let plan = plan_with([
        overridden("a", "b", Some("Note"), 3, takes(ms(40))),
        overridden("a", "b", None, 1, lost(true)),
    ]);
    let read = Plan::from_toml(&plan.to_toml()).unwrap();
    assert_eq!(read, plan);
    assert_eq!(two_kinds(&read).1.run_hash, two_kinds(&plan).1.run_hash);
}
