//! Verdicts that are in the books: registers (Lamport 1986), queues (Herlihy & Wing 1990, figure 1), and what a witness
//! says.

use serde_json::{Value as Json, json};
use sim_core::check::{
    Budget, History, Model, Report, linearizable,
    models::{Queue, Register},
    registers::{Strength, register},
    sequential,
};

use crate::support::{Asked, history, ok, read, write};

/// Safe, regular, linearizable, sequentially consistent.
fn verdicts(asked: &[Asked], initial: impl Into<Json>) -> [bool; 4] {
    let (history, initial) = (history(asked), initial.into());
    let model = Register::from(initial.clone());
    [
        register(&history, &initial, Strength::Safe).is_ok(),
        register(&history, &initial, Strength::Regular).is_ok(),
        lin(&history, &model).is_ok(),
        sequential(&history, &model, Budget::default()).is_ok(),
    ]
}
fn lin<M: Model>(history: &History, model: &M) -> Report {
    linearizable(history, model, Budget::default())
}

#[test]
fn new_and_then_old_is_regular_but_not_atomic() {
    let by = |first, second| {
        [write(0, 0, 10, 1), write(0, 20, 60, 2), read(first, 25, 30, 2), read(second, 35, 40, 1)]
    };
    // One order for all needs the reads to be of different processes: each may be late by itself.
    assert_eq!(verdicts(&by(1, 2), json!(null)), [true, true, false, true]);
    assert_eq!(verdicts(&by(1, 1), json!(null)), [true, true, false, false]);
}

#[test]
fn an_old_value_after_a_write_is_not_even_safe() {
    let asked = [write(0, 0, 10, 1), write(0, 20, 30, 2), read(1, 40, 50, 1)];
    assert_eq!(verdicts(&asked, json!(null)), [false, false, false, true]);
}

#[test]
fn a_write_may_be_read_while_it_runs() {
    let asked = [write(0, 0, 10, 1), write(0, 20, 60, 2), read(1, 30, 40, 2)];
    assert_eq!(verdicts(&asked, json!(null)), [true, true, true, true]);
}

#[test]
fn nobody_reads_what_is_written_later() {
    let by = |reader| [write(0, 0, 10, 1), read(reader, 20, 30, 2), write(0, 40, 50, 2)];
    assert_eq!(verdicts(&by(1), json!(null)), [false, false, false, true]);
    assert_eq!(verdicts(&by(0), json!(null)), [false, false, false, false]);
}

#[test]
fn reads_inside_a_long_write_may_be_new_and_old_only_where_they_overlap() {
    // The quiz of MIT 6.824, 2017: the two reads overlap, so the one that began first may be the later one.
    let asked = [write(0, 0, 100, 100), read(1, 25, 75, 100), read(2, 30, 60, 0)];
    assert_eq!(verdicts(&asked, 0), [true, true, true, true]);
    // Here they do not: new, then old.
    let asked = [write(0, 0, 100, 200), read(1, 10, 30, 200), read(2, 40, 90, 0)];
    assert_eq!(verdicts(&asked, 0), [true, true, false, true]);
}

#[test]
fn a_queue_is_first_in_first_out() {
    let enqueue =
        |client, from, until, what: &str| ok(client, from, until, "enqueue", json!(what), json!(null));
    let dequeue =
        |client, from, until, what: &str| ok(client, from, until, "dequeue", json!(null), json!(what));
    let both = |asked: &[Asked]| {
        let history = history(asked);
        [lin(&history, &Queue).is_ok(), sequential(&history, &Queue, Budget::default()).is_ok()]
    };
    // x before y, but y comes out first.
    let asked =
        [enqueue(0, 0, 10, "x"), enqueue(1, 20, 30, "y"), dequeue(0, 40, 50, "y"), dequeue(1, 60, 70, "x")];
    assert_eq!(both(&asked), [false, true]);
    // x and y at the same time: either may be first.
    let asked =
        [enqueue(0, 0, 30, "x"), enqueue(1, 10, 40, "y"), dequeue(0, 50, 60, "y"), dequeue(1, 70, 80, "x")];
    assert_eq!(both(&asked), [true, true]);
    // y comes out twice.
    let asked =
        [enqueue(0, 0, 10, "x"), enqueue(1, 0, 10, "y"), dequeue(0, 20, 30, "y"), dequeue(1, 20, 30, "y")];
    assert_eq!(both(&asked), [false, false]);
}

#[test]
fn a_write_that_timed_out_may_come_at_any_time_or_never() {
    let late = |reads: &[Asked]| {
        let mut asked = vec![write(0, 0, 10, 1), write(1, 20, 30, 2).unknown()];
        asked.extend_from_slice(reads);
        lin(&history(&asked), &Register::default()).is_ok()
    };
    assert!(late(&[read(2, 40, 50, 1), read(2, 60, 70, 2)]));
    assert!(late(&[read(2, 40, 50, 1), read(2, 60, 70, 1)]));
    assert!(late(&[read(2, 40, 50, 2), read(2, 60, 70, 2)]));
    assert!(!late(&[read(2, 40, 50, 2), read(2, 60, 70, 1)]), "once it came it stays");
    assert!(!late(&[read(2, 12, 15, 2)]), "it does not come before it was invoked");
    // Its client goes on, and is a new process: its own later read may still miss it.
    assert!(late(&[read(1, 40, 50, 1)]));
    // A write that failed never comes.
    let asked = [write(0, 0, 10, 1), write(1, 20, 30, 2).failed(), read(2, 40, 50, 2)];
    assert!(lin(&history(&asked), &Register::default()).is_violated());
    // A read that timed out says nothing.
    let asked = [write(0, 0, 10, 1), read(1, 20, 30, 7).unknown()];
    assert!(lin(&history(&asked), &Register::default()).is_ok());
}

#[test]
fn a_client_that_goes_on_at_the_instant_of_its_answer_keeps_its_order() {
    // Invocation and end at one instant: for others they overlap, for the client itself they do not.
    let own = [write(0, 0, 10, 1), read(0, 10, 20, Json::Null)];
    assert!(lin(&history(&own), &Register::default()).is_violated());
    let other = [write(0, 0, 10, 1), read(1, 10, 20, Json::Null)];
    assert!(lin(&history(&other), &Register::default()).is_ok());
}

#[test]
fn a_witness_has_what_it_takes_and_nothing_else() {
    let mut asked = Vec::new();
    // A long and honest past, with 3 in it many times.
    for n in 0..60 {
        asked.push(write(n % 3, 20 * n as u64, 20 * n as u64 + 8, (n % 5) as i64));
        asked.push(read(3 + n % 2, 20 * n as u64 + 10, 20 * n as u64 + 18, (n % 5) as i64));
    }
    asked.push(write(1, 2000, 2100, 4));
    asked.push(read(2, 2200, 2204, 3));
    asked.push(read(3, 2205, 2210, 4));
    let report = lin(&history(&asked), &Register::default());
    assert_eq!(report.sentence, "client-2 read 3 at 2.204 s, though client-1 had written 4 by 2.1 s");
    let witness = report.witness().unwrap();
    assert_eq!(witness.operations.len(), 2);
    assert!(witness.minimal);
    assert_eq!(witness.culprit, 1);
    assert_eq!(
        report.picture.text(100),
        "\
what cannot be:
    client-1  write 4    |--|         2 s .. 2.1 s
  ! client-2  read -> 3         |---| 2.2 s .. 2.204 s
"
    );
}

#[test]
fn a_value_from_nowhere_is_its_own_witness() {
    let asked = [write(0, 0, 10, 1), write(1, 20, 30, 2), read(2, 40, 50, 9)];
    let report = lin(&history(&asked), &Register::default());
    assert_eq!(report.witness().unwrap().operations.len(), 1);
    assert_eq!(
        report.sentence,
        "client-2 read 9 at 0.05 s, though nothing that was invoked by then accounts for it, in whatever order"
    );
}

#[test]
fn new_and_then_old_is_told_by_the_two_reads() {
    let asked =
        [write(0, 0, 10, 1), write(0, 20, 60, 2), read(1, 25, 30, 2), read(2, 35, 40, 1), read(2, 70, 80, 2)];
    let report = lin(&history(&asked), &Register::default());
    assert_eq!(report.sentence, "client-2 read 1 at 0.04 s, though client-1 had read 2 by 0.03 s");
    assert!(report.witness().unwrap().operations.len() <= 3, "{report}");
}
