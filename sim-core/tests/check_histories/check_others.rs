//! Sets, unique ids, counters and replicas.

use proptest::prelude::*;
use serde_json::{Value as Json, json};
use sim_core::{
    check::{
        Budget, History, HistoryBuilder, Verdict,
        convergence::convergence,
        counters::{Reads, counter_reads},
        ids::unique_ids,
        linearizable,
        models::{FencedLock, Register},
        sets::{Promise, set_elements},
    },
    time::{Duration, SimTime, ms},
};

use crate::support::{Asked, history, ok, read, recording, write};

fn add(client: usize, from: u64, until: u64, what: i64) -> Asked {
    ok(client, from, until, "add", json!(what), Json::Null)
}

// ---- sets ----

#[test]
fn an_element_that_was_there_and_is_gone_is_lost() {
    let asked =
        [add(0, 0, 10, 1), add(0, 20, 30, 2), read(1, 40, 50, json!([1, 2])), read(1, 60, 70, json!([2]))];
    let set = set_elements(&history(&asked), Promise::Eventual);
    assert_eq!((set.attempted, set.acknowledged, set.stable), (2, 2, 1));
    assert_eq!(set.lost, ["1"]);
    assert_eq!(
        set.report.sentence,
        "1 of 2 elements were lost: 1 was known, and the read of client-1 at 0.07 s does not have it"
    );
    assert!(set.report.is_violated());
    // One that nobody acknowledged, but somebody saw, can be lost as well; one that nobody saw cannot.
    let seen = [add(0, 0, 10, 1).unknown(), read(1, 40, 50, json!([1])), read(1, 60, 70, json!([]))];
    assert_eq!(set_elements(&history(&seen), Promise::Eventual).lost, ["1"]);
    let unseen = [add(0, 0, 10, 1).unknown(), read(1, 40, 50, json!([])), read(1, 60, 70, json!([]))];
    assert!(set_elements(&history(&unseen), Promise::Eventual).report.is_ok());
}

#[test]
fn an_element_that_comes_late_is_stale_for_so_long() {
    let asked = [
        add(0, 0, 10, 1),
        add(0, 20, 30, 2),
        read(1, 40, 50, json!([1])),
        read(1, 60, 70, json!([1])),
        read(1, 80, 90, json!([1, 2])),
    ];
    let set = set_elements(&history(&asked), Promise::Eventual);
    assert!(set.report.is_ok(), "{}", set.report);
    assert_eq!(set.stale, ["2"]);
    // Known at 30 ms, and the last read without it began at 60 ms.
    assert_eq!(set.stable_latencies, [Duration::ZERO, ms(30)]);
    assert_eq!((set.stable_latency(0.5), set.stable_latency(1.0)), (Duration::ZERO, ms(30)));
    assert!(set_elements(&history(&asked), Promise::Immediate).report.is_violated());
    // A read that began before the add was over promised nothing.
    let early = [add(0, 0, 50, 1), read(1, 20, 60, json!([])), read(1, 80, 90, json!([1]))];
    assert!(set_elements(&history(&early), Promise::Immediate).report.is_ok());
}

#[test]
fn elements_that_nobody_added_or_read_are_named() {
    let invented = [add(0, 0, 10, 1), add(0, 20, 30, 7).failed(), read(1, 40, 50, json!([1, 7, 9]))];
    let set = set_elements(&history(&invented), Promise::Eventual);
    assert_eq!(set.invented, ["7", "9"]);
    assert!(set.report.is_violated());
    let unread = [read(1, 0, 5, json!([])), add(0, 10, 20, 1)];
    let set = set_elements(&history(&unread), Promise::Eventual);
    assert_eq!(set.never_read, ["1"]);
    assert!(set.report.is_unknown());
    let twice = [add(0, 0, 10, 1), read(1, 20, 30, json!([1, 1]))];
    assert_eq!(set_elements(&history(&twice), Promise::Eventual).duplicated, ["1"]);
}

// ---- unique ids ----

#[test]
fn an_id_that_was_given_twice_is_found() {
    let generate = |client, from, id: &str| ok(client, from, from + 1, "generate", Json::Null, json!(id));
    let different = [generate(0, 0, "a"), generate(1, 0, "b"), generate(0, 5, "c")];
    assert_eq!(
        unique_ids(&history(&different), "generate").sentence,
        "unique: 3 ids, no two of them the same"
    );
    let same = [generate(0, 0, "a"), generate(1, 0, "b"), generate(1, 5, "a")];
    let report = unique_ids(&history(&same), "generate");
    assert_eq!(
        report.sentence,
        "the id a was given twice: to client-0 at 0.001 s and to client-1 at 0.006 s"
    );
    assert_eq!(report.witness().unwrap().operations.len(), 2);
    // Nobody got the second one.
    let lost = [generate(0, 0, "a"), generate(1, 5, "a").unknown()];
    assert!(unique_ids(&history(&lost), "generate").is_ok());
}

// ---- counters ----

#[test]
fn a_counter_may_or_may_not_have_an_add_of_unknown_outcome() {
    let with_read = |sum: i64| {
        let asked =
            [add(0, 0, 10, 5), add(1, 0, 10, 2).unknown(), add(2, 0, 10, -4).unknown(), read(3, 20, 30, sum)];
        counter_reads(&history(&asked), Reads::All, Budget::default())
    };
    let possible: Vec<i64> = (-10..20).filter(|sum| with_read(*sum).is_ok()).collect();
    assert_eq!(possible, [1, 3, 5, 7]);
    assert_eq!(with_read(4).sentence, "client-3 read 4 at 0.03 s, which can only be 1 or 3 or 5 or 7");
    // A last read that is right makes up for an early one only where that was promised.
    let asked = [add(0, 0, 10, 5), read(3, 20, 30, 0), add(0, 40, 50, 1), read(3, 60, 70, 6)];
    assert!(counter_reads(&history(&asked), Reads::Final, Budget::default()).is_ok());
    assert!(counter_reads(&history(&asked), Reads::All, Budget::default()).is_violated());
}

#[test]
fn a_thousand_unknown_increments_are_one_range() {
    let mut asked: Vec<Asked> = (0..1000).map(|n| add(n, 0, 10, 1).unknown()).collect();
    asked.push(read(1000, 20, 30, 777));
    let report = counter_reads(&history(&asked), Reads::All, Budget::default());
    assert!(report.is_ok());
    assert_eq!(report.examined, 1000);
    // Adds that are all different make too many sums: that is said.
    let asked: Vec<Asked> = (0..40_u32)
        .map(|n| add(n as usize, 0, 10, 3_i64.pow(n.min(38))).unknown())
        .chain([read(50, 20, 30, 2)])
        .collect();
    assert!(counter_reads(&history(&asked), Reads::All, Budget(10_000)).is_unknown());
}

proptest! {
    #[test]
    fn a_counters_read_is_judged_as_by_adding_every_subset(
        adds in prop::collection::vec((-3..6_i64, 0..3_u8, 0..30_u64), 0..8),
        sum in -5..15_i64,
    ) {
        let mut asked = vec![read(100, 20, 30, sum)];
        let mut sums = std::collections::BTreeSet::from([0]);
        for (client, (amount, end, from)) in adds.iter().enumerate() {
            let one = add(client, *from, from + 5, *amount);
            let maybe: std::collections::BTreeSet<i64> = sums.iter().map(|sum| sum + amount).collect();
            match end {
                0 => sums.extend(maybe),
                1 => {}
                // Over before the read began: at one instant nobody knows.
                _ if from + 5 < 20 => sums = maybe,
                _ => sums.extend(maybe),
            }
            asked.push(match end { 0 => one.unknown(), 1 => one.failed(), _ => one });
        }
        let report = counter_reads(&history(&asked), Reads::All, Budget::default());
        prop_assert_eq!(report.is_ok(), sums.contains(&sum), "{}", report);
    }
}

// ---- convergence ----

#[test]
fn replicas_that_differ_in_the_end_did_not_converge() {
    let asked = [write(0, 0, 10, 1), read(1, 5, 8, Json::Null), read(1, 20, 30, 1), read(2, 20, 30, 1)];
    assert_eq!(convergence(&history(&asked), false).sentence, "converged: 2 last reads agree");
    let asked = [write(0, 0, 10, 1), write(3, 0, 12, 2), read(1, 20, 30, 1), read(2, 25, 35, 2)];
    let report = convergence(&history(&asked), false);
    assert_eq!(
        report.sentence,
        "the replicas did not converge: in the end client-1 read 1 at 0.03 s and client-2 read 2 at 0.035 s"
    );
    let asked = [read(1, 0, 5, 1), write(0, 10, 20, 2)];
    assert!(convergence(&history(&asked), false).is_unknown());
    let sets = [add(0, 0, 10, 1), read(1, 20, 30, json!([1, 2])), read(2, 20, 30, json!([2, 1]))];
    assert!(convergence(&history(&sets), true).is_ok());
    assert!(convergence(&history(&sets), false).is_violated());
}

// ---- histories ----

#[test]
fn a_late_reply_closes_the_operation_and_its_client_is_another_process_by_then() {
    let at = |millis| SimTime::ZERO + ms(millis);
    let build = |late: bool| {
        let mut history = HistoryBuilder::new();
        let old = history.invoke("client", at(0), "write", "", 1);
        history.unknown(old, at(10), "timeout");
        let new = history.invoke("client", at(20), "read", "", ());
        history.ok(new, at(30), ());
        if late {
            history.ok(old, at(40), ());
        }
        let last = history.invoke("client", at(50), "read", "", ());
        history.ok(last, at(60), ());
        history.build()
    };
    let processes = |history: &History| history.operations().iter().map(|o| o.process).collect::<Vec<_>>();
    let (without, with) = (build(false), build(true));
    assert_eq!(processes(&without), [0, 1, 1]);
    assert_eq!(processes(&with), [0, 1, 1]);
    let judge = |history: &History| linearizable(history, &Register::default(), Budget::default());
    assert!(judge(&without).is_ok(), "the write may still come");
    assert!(judge(&with).is_violated(), "it came by 40 ms, and the last read does not have it");
}

#[test]
fn a_history_takes_from_a_recording_what_is_asked_for() {
    let asked = [write(0, 0, 10, 1), add(1, 20, 30, 5), write(0, 40, 50, 2).on("x")];
    let recording = recording(&asked);
    assert_eq!(History::of(&recording).len(), 3);
    let writes = History::of_those(&recording, |operation| recording.text(operation.function) == "write");
    assert_eq!(writes.len(), 2);
    assert_eq!(writes.only(|operation| &*operation.key == "x").len(), 1);
    let clients: Vec<&str> = writes.operations().iter().map(|operation| &*operation.client).collect();
    assert_eq!(clients, ["client-0", "client-0"]);
    assert_eq!(writes.moment(&writes.operations()[1], true), "0.05 s");
}

#[test]
fn a_token_that_is_too_small_is_found() {
    let acquire = |client, from, token: i64| ok(client, from, from + 5, "acquire", Json::Null, json!(token));
    let used = |client, from, token: i64, taken: bool| {
        ok(client, from, from + 5, "write", json!(token), json!(taken))
    };
    let judge = |asked: &[Asked]| linearizable(&history(asked), &FencedLock::default(), Budget::default());
    // A client that slept through its lease comes back and is refused.
    let fenced = [acquire(0, 0, 33), acquire(1, 20, 34), used(1, 30, 34, true), used(0, 40, 33, false)];
    assert!(judge(&fenced).is_ok());
    let open = [acquire(0, 0, 33), acquire(1, 20, 34), used(1, 30, 34, true), used(0, 40, 33, true)];
    assert!(judge(&open).is_violated());
    let smaller = [acquire(0, 0, 33), acquire(1, 20, 33)];
    let report = judge(&smaller);
    assert_eq!(
        report.sentence,
        "client-1 acquired the lock with token 33 at 0.025 s, though client-0 had acquired the lock with token 33 by 0.005 s"
    );
    assert!(matches!(report.verdict, Verdict::Violated(_)));
}
