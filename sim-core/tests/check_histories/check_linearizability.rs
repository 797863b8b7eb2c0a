//! Linearizability and sequential consistency against trying every order, on random small histories of several models.

use proptest::prelude::*;
use serde_json::json;
use sim_core::check::{
    Budget, History, Model, Operation, Outcome, Report, linearizable,
    models::{Counter, FencedLock, KeyValue, MultiRegister, Mutex, Queue, Register, Set},
    sequential,
};

use crate::support::{Asked, End, has_an_order, has_an_order_of, history, ok, read, write};

/// Operations by three clients, with gaps of 0: what touches at one instant is the hard case.
fn asked(
    operation: impl Strategy<Value = (&'static str, serde_json::Value, serde_json::Value)>,
    most: usize,
) -> impl Strategy<Value = Vec<Asked>> {
    let one = (0..3_usize, operation, 0..3_u64, 0..5_u64, 0..12_u8);
    prop::collection::vec(one, 1..=most).prop_map(|all| {
        let mut free_at = [0_u64; 3];
        let ask = |(client, (function, input, output), gap, length, end): (usize, _, _, _, u8)| {
            let from = free_at[client] + gap;
            let until = from + length;
            free_at[client] = until;
            let asked: Asked = ok(client, from, until, function, input, output);
            match end {
                0 | 1 => asked.unknown(),
                2 => asked.failed(),
                _ => asked,
            }
        };
        all.into_iter().map(ask).collect()
    })
}

fn agrees<M: Model>(history: &History, model: &M) -> Result<(), TestCaseError> {
    for real_time in [true, false] {
        let report = if real_time {
            linearizable(history, model, Budget::default())
        } else {
            sequential(history, model, Budget::default())
        };
        let expected = has_an_order(history, model, real_time);
        prop_assert_eq!(report.is_ok(), expected, "{} real time {}", report, real_time);
        prop_assert!(!report.is_unknown());
        prop_assert!(report.picture.text(100).lines().all(|line| line.chars().count() <= 100));
        if let Some(witness) = report.witness() {
            prop_assert!(witness.minimal);
            witness_is_minimal(history, model, real_time, &report)?;
        }
    }
    Ok(())
}

/// No order has all operations of the witness, whatever the others did, nor has the witness alone one. Without any one of
/// its operations there is an order.
fn witness_is_minimal<M: Model>(
    history: &History,
    model: &M,
    real_time: bool,
    report: &Report,
) -> Result<(), TestCaseError> {
    let witness = report.witness().unwrap();
    let in_witness = |operation: &Operation| witness.operations.contains(operation);
    prop_assert!(!has_an_order_of(history, model, real_time, in_witness), "others explain it: {}", report);
    prop_assert!(
        !has_an_order(&history.only(in_witness), model, real_time),
        "alone it has an order: {}",
        report
    );
    for left_out in &witness.operations {
        let fewer = |operation: &Operation| in_witness(operation) && operation != left_out;
        prop_assert!(has_an_order_of(history, model, real_time, fewer), "{:?} can go: {}", left_out, report);
    }
    Ok(())
}

fn small() -> impl Strategy<Value = serde_json::Value> {
    (0..3_i64).prop_map(|n| json!(n))
}
fn small_or_nil() -> impl Strategy<Value = serde_json::Value> {
    prop_oneof![4 => small(), 1 => Just(json!(null))]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, ..ProptestConfig::default() })]

    #[test]
    fn a_register_is_judged_as_by_trying_every_order(asked in asked(prop_oneof![
        small_or_nil().prop_map(|value| ("read", json!(null), value)),
        small().prop_map(|value| ("write", value, json!(null))),
    ], 8)) {
        agrees(&history(&asked), &Register::default())?;
    }

    #[test]
    fn a_register_with_compare_and_set_is_judged_as_by_trying_every_order(asked in asked(prop_oneof![
        small_or_nil().prop_map(|value| ("read", json!(null), value)),
        small().prop_map(|value| ("write", value, json!(null))),
        (small(), small(), any::<bool>()).prop_map(|(from, to, found)| ("cas", json!([from, to]), json!(found))),
    ], 7)) {
        agrees(&history(&asked), &Register::with_cas())?;
    }

    #[test]
    fn two_keys_are_judged_as_by_trying_every_order(
        asked in asked(prop_oneof![
            small_or_nil().prop_map(|value| ("read", json!(null), value)),
            small().prop_map(|value| ("write", value, json!(null))),
        ], 7),
        keys in prop::collection::vec(any::<bool>(), 7),
    ) {
        let asked: Vec<Asked> = asked.into_iter().zip(keys).map(|(one, x)| one.on(if x { "x" } else { "y" })).collect();
        let history = history(&asked);
        // Key by key, as the checker does it; and all keys at once, which must come to the same.
        let report = linearizable(&history, &Register::default(), Budget::default());
        let expected = ["x", "y"].iter().all(|key| {
            has_an_order(&history.only(|o| &*o.key == *key), &Register::default(), true)
        });
        prop_assert_eq!(report.is_ok(), expected);
        let whole = linearizable(&history, &MultiRegister, Budget::default());
        prop_assert_eq!(whole.is_ok(), expected);
        // Sequential consistency does not come apart by keys.
        let report = sequential(&history, &Register::default(), Budget::default());
        prop_assert_eq!(report.is_ok(), has_an_order(&history, &MultiRegister, false), "{}", report);
    }

    #[test]
    fn transactions_over_registers_are_judged_as_by_trying_every_order(asked in asked(
        prop::collection::vec((any::<bool>(), any::<bool>(), 0..2_i64), 1..3).prop_map(|accesses| {
            let all: Vec<_> = accesses.iter().map(|(reads, x, value)| json!([
                if *reads { "r" } else { "w" }, if *x { "x" } else { "y" }, value,
            ])).collect();
            ("txn", json!(all), json!(all))
        }), 6)) {
        agrees(&history(&asked), &MultiRegister)?;
    }

    #[test]
    fn a_store_with_append_is_judged_as_by_trying_every_order(asked in asked(prop_oneof![
        prop_oneof![Just(""), Just("a"), Just("b"), Just("ab"), Just("ba"), Just("aa")]
            .prop_map(|value| ("get", json!(null), json!(value))),
        prop_oneof![Just("a"), Just("b")].prop_map(|value| ("put", json!(value), json!(null))),
        prop_oneof![Just("a"), Just("b")].prop_map(|value| ("append", json!(value), json!(null))),
    ], 7)) {
        agrees(&history(&asked), &KeyValue)?;
    }

    #[test]
    fn a_queue_is_judged_as_by_trying_every_order(asked in asked(prop_oneof![
        small().prop_map(|value| ("enqueue", value, json!(null))),
        small_or_nil().prop_map(|value| ("dequeue", json!(null), value)),
    ], 7)) {
        agrees(&history(&asked), &Queue)?;
    }

    #[test]
    fn a_set_is_judged_as_by_trying_every_order(asked in asked(prop_oneof![
        small().prop_map(|value| ("add", value, json!(null))),
        small().prop_map(|value| ("remove", value, json!(null))),
        (small(), any::<bool>()).prop_map(|(value, found)| ("contains", value, json!(found))),
        prop::collection::btree_set(0..3_i64, 0..3).prop_map(|all| ("read", json!(null), json!(all))),
    ], 7)) {
        agrees(&history(&asked), &Set)?;
    }

    #[test]
    fn a_counter_is_judged_as_by_trying_every_order(asked in asked(prop_oneof![
        (-1..3_i64).prop_map(|value| ("add", json!(value), json!(null))),
        (-1..4_i64).prop_map(|value| ("read", json!(null), json!(value))),
    ], 7)) {
        agrees(&history(&asked), &Counter)?;
    }

    #[test]
    fn locks_are_judged_as_by_trying_every_order(asked in asked(prop_oneof![
        any::<bool>().prop_map(|got| ("acquire", json!(null), json!(got))),
        any::<bool>().prop_map(|got| ("release", json!(null), json!(got))),
    ], 7)) {
        agrees(&history(&asked), &Mutex)?;
    }

    #[test]
    fn fencing_tokens_are_judged_as_by_trying_every_order(
        asked in asked(prop_oneof![
            (1..4_i64).prop_map(|token| ("acquire", json!(null), json!(token))),
            Just(("acquire", json!(null), json!(false))),
            Just(("release", json!(null), json!(null))),
            (1..4_i64, any::<bool>()).prop_map(|(token, taken)| ("write", json!(token), json!(taken))),
        ], 6),
        leases in any::<bool>(),
    ) {
        agrees(&history(&asked), &FencedLock { leases })?;
    }

    /// A history that was linearizable, with one read changed: the change is noticed whenever trying every order notices it.
    #[test]
    fn one_flipped_read_is_noticed_whenever_there_is_no_order_any_more(
        asked in asked(prop_oneof![
            Just(("read", json!(null), json!(null))),
            small().prop_map(|value| ("write", value, json!(null))),
        ], 8),
        flipped in any::<prop::sample::Index>(),
        to in 0..3_i64,
    ) {
        let mut asked = asked;
        // Each operation takes effect at its invocation, one after the other.
        let mut by_time: Vec<usize> = (0..asked.len()).collect();
        by_time.sort_by_key(|index| asked[*index].from);
        let mut value = json!(null);
        for index in by_time {
            let one = &mut asked[index];
            match (one.function, &one.end) {
                ("write", End::Ok(_) | End::Unknown) => value = one.input.clone(),
                ("read", End::Ok(_)) => one.end = End::Ok(value.clone()),
                _ => {}
            }
        }
        let model = Register::default();
        let valid = history(&asked);
        prop_assert!(linearizable(&valid, &model, Budget::default()).is_ok());
        let place = flipped.index(valid.len());
        let changed = valid.map(|index, outcome| match outcome {
            Outcome::Ok(output) if index == place => *output = json!(to),
            _ => {}
        });
        agrees(&changed, &model)?;
    }
}

#[test]
fn a_budget_that_is_too_small_is_unknown_and_says_where_it_got_to() {
    let writes = (0..30).map(|n| write(n as usize, 0, 100, n).unknown());
    let reads =
        (0..10_usize).map(|n| read(40 + n, 200 + 10 * n as u64, 205 + 10 * n as u64, (7 * n as i64) % 30));
    let asked: Vec<Asked> = writes.chain(reads).collect();
    let report = linearizable(&history(&asked), &Register::default(), Budget(5));
    assert!(report.is_unknown(), "{report}");
    assert!(report.sentence.contains("configurations were looked at"), "{report}");
    assert!(report.examined <= 8, "{}", report.examined);
    assert!(linearizable(&history(&asked), &Register::default(), Budget::default()).is_ok());
}

#[test]
fn an_operation_that_the_model_does_not_know_is_named() {
    let asked = [ok(0, 0, 1, "wirte", json!(1), json!(null))];
    let report = linearizable(&history(&asked), &Register::default(), Budget::default());
    assert_eq!(
        report.sentence,
        "not decided: the model register has no function `wirte`; did you mean `write`? (it has read, write)"
    );
}
