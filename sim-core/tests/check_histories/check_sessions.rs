//! Session guarantees: by hand, and against trying every order of versions.

use proptest::prelude::*;
use serde_json::{Value as Json, json};
use sim_core::check::{
    History, Operation,
    sessions::{Guarantee, VersionOrder, sessions},
};

use crate::support::{Asked, history, read, write};

fn held(asked: &[Asked], order: VersionOrder) -> Vec<&'static str> {
    let history = history(asked);
    let holds = |g: &Guarantee| sessions(&history, &[*g], order, &Json::Null).is_ok();
    Guarantee::ALL.into_iter().filter(holds).map(Guarantee::name).collect()
}

#[test]
fn a_session_that_does_not_see_its_own_write_is_told_so() {
    let asked = [write(0, 0, 10, 1), read(0, 20, 30, Json::Null)];
    assert_eq!(
        held(&asked, VersionOrder::Any),
        ["monotonic reads", "monotonic writes", "writes follow reads"]
    );
    let report = sessions(&history(&asked), &Guarantee::ALL, VersionOrder::Any, &Json::Null);
    assert_eq!(
        report.sentence,
        "no order of versions gives read your writes: client-0 wrote 1 at 0.01 s, then client-0 read nil at 0.03 s"
    );
    // Another session's read may miss it.
    assert_eq!(held(&[write(0, 0, 10, 1), read(1, 20, 30, Json::Null)], VersionOrder::Any).len(), 4);
    // So may its own after the write timed out.
    assert_eq!(
        held(&[write(0, 0, 10, 1).unknown(), read(0, 20, 30, Json::Null)], VersionOrder::Any).len(),
        4
    );
}

#[test]
fn reads_that_go_back_are_found_where_the_versions_are_known() {
    let asked = [write(0, 0, 10, 1), write(0, 20, 30, 2), read(1, 40, 50, 2), read(1, 60, 70, 1)];
    // Nobody said that 2 is newer than 1 ...
    assert!(held(&asked, VersionOrder::Any).contains(&"monotonic reads"));
    // ... but a store with one leader does, and so does monotonic writes.
    assert!(!held(&asked, VersionOrder::RealTime).contains(&"monotonic reads"));
    let both = [Guarantee::MonotonicReads, Guarantee::MonotonicWrites];
    assert!(sessions(&history(&asked), &both, VersionOrder::Any, &Json::Null).is_violated());
    // Two sessions that disagree about the order.
    let asked = [
        write(0, 0, 10, 1),
        write(1, 0, 10, 2),
        read(2, 20, 30, 1),
        read(2, 40, 50, 2),
        read(3, 20, 30, 2),
        read(3, 40, 50, 1),
    ];
    assert!(!held(&asked, VersionOrder::Any).contains(&"monotonic reads"));
    assert!(held(&asked, VersionOrder::Any).contains(&"read your writes"));
}

#[test]
fn a_value_that_was_written_twice_is_not_guessed() {
    let asked = [write(0, 0, 10, 1), write(1, 20, 30, 1), read(0, 40, 50, 1)];
    assert!(sessions(&history(&asked), &Guarantee::ALL, VersionOrder::Any, &Json::Null).is_unknown());
    let asked = [write(0, 0, 10, 1), read(0, 40, 50, 7)];
    let report = sessions(&history(&asked), &Guarantee::ALL, VersionOrder::Any, &Json::Null);
    assert_eq!(report.sentence, "client-0 read 7 at 0.05 s, which nobody wrote");
}

/// The definition: some order of the versions that were written gives every session what it expects.
fn some_order_holds(history: &History, guarantees: &[Guarantee], order: VersionOrder) -> bool {
    let operations = history.operations();
    let writes: Vec<&Operation> =
        operations.iter().filter(|o| &*o.function == "write" && (o.is_ok() || o.is_unknown())).collect();
    let mut versions: Vec<usize> = (0..writes.len()).collect();
    permutations(&mut versions, 0, &mut |versions| {
        // Nil is version 0, the write at place n is version n + 1.
        let version_of = |value: &Json| match value {
            Json::Null => Some(0),
            value => versions.iter().position(|w| writes[*w].input == *value).map(|place| place + 1),
        };
        let known = order == VersionOrder::Any
            || writes.iter().all(|earlier| {
                writes.iter().all(|later| {
                    !(earlier.is_ok() && earlier.ended_before(later))
                        || version_of(&earlier.input) < version_of(&later.input)
                })
            });
        known
            && operations.iter().enumerate().all(|(index, now)| {
                // The session's operations before this one.
                let past =
                    || operations[..index].iter().filter(|o| o.client == now.client && o.ended_before(now));
                let reads = || past().filter(|o| &*o.function == "read" && o.is_ok());
                let writes = || past().filter(|o| &*o.function == "write" && o.is_ok());
                let read_versions = || reads().map(|o| version_of(o.output().unwrap()));
                let write_versions = || writes().map(|o| version_of(&o.input));
                let has = |guarantee| guarantees.contains(&guarantee);
                match (&*now.function, now.output()) {
                    ("read", Some(output)) => {
                        let version = version_of(output);
                        version.is_some()
                            && (!has(Guarantee::ReadYourWrites)
                                || write_versions().next_back().is_none_or(|own| own <= version))
                            && (!has(Guarantee::MonotonicReads)
                                || read_versions().all(|earlier| earlier <= version))
                    }
                    ("write", _) if now.is_ok() || now.is_unknown() => {
                        let version = version_of(&now.input);
                        (!has(Guarantee::MonotonicWrites)
                            || write_versions().all(|earlier| earlier < version))
                            && (!has(Guarantee::WritesFollowReads)
                                || read_versions().all(|earlier| earlier < version))
                    }
                    _ => true,
                }
            })
    })
}

fn permutations(all: &mut Vec<usize>, fixed: usize, holds: &mut dyn FnMut(&[usize]) -> bool) -> bool {
    if fixed == all.len() {
        return holds(all);
    }
    for next in fixed..all.len() {
        all.swap(fixed, next);
        let found = permutations(all, fixed + 1, holds);
        all.swap(fixed, next);
        if found {
            return true;
        }
    }
    false
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, ..ProptestConfig::default() })]

    #[test]
    fn sessions_are_judged_as_by_trying_every_order_of_versions(
        choices in prop::collection::vec((0..3_usize, any::<bool>(), 0..5_i64, 0..3_u64, 0..4_u64, 0..8_u8), 1..9),
        guarantees in prop::sample::subsequence(Guarantee::ALL.to_vec(), 1..=4),
        real_time in any::<bool>(),
    ) {
        let mut free_at = [0_u64; 3];
        let mut next_value = 0;
        let mut asked = Vec::new();
        for (client, writes, value, gap, length, end) in choices {
            let from = free_at[client] + gap;
            // To give up takes time.
            let length = if end == 0 { length + 1 } else { length };
            free_at[client] = from + length;
            let one = if writes {
                next_value += 1;
                write(client, from, from + length, next_value)
            } else {
                let value = if value == 0 { json!(null) } else { json!(value) };
                read(client, from, from + length, value)
            };
            asked.push(match end { 0 => one.unknown(), 1 => one.failed(), _ => one });
        }
        let history = history(&asked);
        let order = if real_time { VersionOrder::RealTime } else { VersionOrder::Any };
        let report = sessions(&history, &guarantees, order, &Json::Null);
        prop_assert_eq!(report.is_ok(), some_order_holds(&history, &guarantees, order), "{}", report);
        prop_assert!(!report.is_unknown());
        if let Some(witness) = report.witness() {
            // The witness alone breaks the same guarantees.
            let alone = history.only(|operation| witness.operations.contains(operation));
            prop_assert!(!some_order_holds(&alone, &guarantees, order), "{}", report);
        }
    }
}
