//! Compaction, and snapshots in parts.

use super::*;

fn replaced(effects: &Effects) -> Option<&Vec<Record>> {
    effects.iter().find_map(|e| if let Effect::Replace(records) = e { Some(records) } else { None })
}
fn part(last: Position, offset: u64, data: &str, done: bool) -> Message {
    Message::InstallSnapshot {
        term: 9,
        last,
        configuration: Configuration::of([A, B, C]),
        offset,
        data: data.into(),
        done,
        round: 0,
        sent: Monotonic::ZERO,
    }
}
/// A follower with five entries, of which four are committed.
fn follower() -> Bench {
    let mut a = Bench::with_log(Config { keep: 2, ..config() }, &[1, 1, 2, 2, 2]);
    a.append(2, at(2, 5), vec![], 4);
    a
}

#[test]
fn a_snapshot_replaces_the_log_but_for_the_entries_that_are_kept() {
    let mut a = follower();
    let effects = a.ask(Command::Compact { index: 4, data: "state".into() });
    let Some(
        [
            Record::Snapshot { base, snapshot },
            Record::HardState { .. },
            Record::Entries { previous, entries },
        ],
    ) = replaced(&effects).map(Vec::as_slice)
    else {
        panic!("{effects:?}")
    };
    assert_eq!((*base, *previous, entries.len()), (at(1, 2), at(1, 2), 3));
    assert_eq!((snapshot.last, &*snapshot.data), (at(2, 4), &b"state"[..]));
    assert_eq!((a.raft.log().base(), a.raft.log().last(), a.raft.snapshot_index()), (at(1, 2), at(2, 5), 4));

    // A restart finds the same.
    let records = replaced(&effects).unwrap().clone();
    let (b, effects) = Bench::start(Config { keep: 2, ..config() }, records);
    assert_eq!((b.raft.log(), b.raft.commit_index()), (a.raft.log(), 4));
    assert_eq!(b.raft.configuration(), a.raft.configuration());
    assert!(matches!(announced(&effects)[..], [Event::Restored { .. }]));
}

#[test]
fn what_is_not_committed_or_not_newer_is_not_compacted() {
    let mut a = follower();
    assert_eq!(a.ask(Command::Compact { index: 5, data: "state".into() }), []);
    assert_eq!(a.ask(Command::Compact { index: 99, data: "state".into() }), []);
    a.ask(Command::Compact { index: 4, data: "state".into() });
    assert_eq!(a.ask(Command::Compact { index: 4, data: "state".into() }), []);
    assert_eq!(a.ask(Command::Compact { index: 3, data: "state".into() }), []);
}

#[test]
fn a_snapshot_keeps_the_configuration_of_its_place_and_the_log_the_newer_ones() {
    let mut a = Bench::new(Config { keep: 0, ..config() });
    let to = |voters: &[NodeId]| Entry {
        term: 1,
        payload: Payload::Configuration(Configuration::of(voters.iter().copied())),
    };
    a.append(1, Position::START, vec![to(&[A, B]), entry(1, "x"), to(&[A])], 2);
    let effects = a.ask(Command::Compact { index: 2, data: Bytes::empty() });
    let snapshot = a.raft.snapshot().unwrap();
    assert_eq!(snapshot.configuration, Configuration::of([A, B]));
    assert_eq!(a.raft.configuration(), &Configuration::of([A]));
    let (b, _) = Bench::start(config(), replaced(&effects).unwrap().clone());
    assert_eq!(b.raft.configuration(), &Configuration::of([A]));
    // The uncommitted one is cut off: the server falls back on that of the snapshot.
    a.append(3, at(1, 2), vec![entry(3, "y")], 2);
    assert_eq!(a.raft.configuration(), &Configuration::of([A, B]));
}

#[test]
fn a_follower_whose_entries_are_gone_gets_the_snapshot_part_by_part() {
    let mut a = Bench::leader(Config { keep: 0, chunk_bytes: 4, ..config() }, &[]);
    a.matched(B, 1);
    a.ask(Command::Compact { index: 1, data: "twelve bytes".into() });
    let parts = |effects: &Effects| -> Vec<(u64, String, bool)> {
        let of = |(_, message): (NodeId, &Message)| match message {
            Message::InstallSnapshot { offset, data, done, .. } => {
                Some((*offset, String::from_utf8_lossy(data).into_owned(), *done))
            }
            _ => None,
        };
        sent(effects).into_iter().filter_map(of).collect()
    };
    let effects = a.matched(C, 0);
    assert_eq!(parts(&effects), [(0, "twel".to_owned(), false)]);
    let received = |offset| Message::SnapshotReceived {
        term: 1,
        last: at(1, 1),
        offset,
        round: 0,
        sent: Monotonic::ZERO,
    };
    assert_eq!(parts(&a.hear(C, received(4))), [(4, "ve b".to_owned(), false)]);
    assert_eq!(parts(&a.hear(C, received(4))), [], "a double asks for nothing");
    // The part gets lost; meanwhile heartbeats say that there is a leader.
    a.pass(ms(100));
    let effects = a.fire(Timer::Heartbeat);
    assert_eq!((parts(&effects), entries(&effects).contains(&(C, 0, 0))), (vec![], true));
    a.pass(ms(50));
    assert_eq!(parts(&a.fire(Timer::Heartbeat)), [(4, "ve b".to_owned(), false)]);
    assert_eq!(parts(&a.hear(C, received(8))), [(8, "ytes".to_owned(), true)]);
    a.propose("x");
    assert_eq!(entries(&a.matched(C, 1)), [(C, 1, 1)], "then the log goes on");
}

#[test]
fn the_last_part_installs_and_is_answered_when_it_is_durable() {
    let mut a = follower();
    let effects = a.hear(B, part(at(5, 20), 0, "sta", false));
    assert!(matches!(sent(&effects)[..], [(B, Message::SnapshotReceived { offset: 3, .. })]));
    // Out of place, or of another snapshot.
    let effects = a.hear(B, part(at(5, 20), 9, "x", true));
    assert!(matches!(sent(&effects)[..], [(B, Message::SnapshotReceived { offset: 3, .. })]));
    let effects = a.hear(B, part(at(5, 20), 3, "te", true));
    let record = place(&effects, |e| matches!(e, Effect::Replace(_)));
    let answer = place(&effects, |e| matches!(e, Effect::Send(B, Message::Appended { .. })));
    assert!(record < answer);
    assert_eq!((a.raft.log().last(), a.raft.log().len(), a.raft.commit_index()), (at(5, 20), 0, 20));
    let restored = announced(&effects).into_iter().find_map(|event| match event {
        Event::Restored { snapshot } => Some(snapshot.data.to_vec()),
        _ => None,
    });
    assert_eq!(restored, Some(b"state".to_vec()));
    // It comes again: old.
    let effects = a.hear(B, part(at(5, 20), 0, "state", true));
    assert_eq!(outcome(&effects), Outcome::Matched { index: 20 });
    assert_eq!(replaced(&effects), None);
}

#[test]
fn a_log_that_goes_on_after_the_snapshot_is_kept() {
    let mut a = Bench::with_log(config(), &[1, 1, 2, 2, 2]);
    a.hear(B, part(at(2, 3), 0, "state", true));
    assert_eq!((a.raft.log().base(), a.raft.log().last(), a.raft.commit_index()), (at(2, 3), at(2, 5), 3));
    // One that contradicts is not.
    let mut a = Bench::with_log(config(), &[1, 1, 1, 1, 1]);
    a.hear(B, part(at(2, 3), 0, "state", true));
    assert_eq!((a.raft.log().base(), a.raft.log().last()), (at(2, 3), at(2, 3)));
}

#[test]
fn entries_that_reach_back_before_the_snapshot_fit() {
    let mut a = Bench::with_log(config(), &[1, 1, 2, 2, 2]);
    a.hear(B, part(at(2, 5), 0, "state", true));
    let effects = a.append(9, at(1, 2), vec![entry(2, "a"), entry(2, "b"), entry(2, "c"), entry(9, "d")], 6);
    assert_eq!(outcome(&effects), Outcome::Matched { index: 6 });
    assert_eq!(committed(&effects), [(6, "d".to_owned())]);
    let effects = a.append(9, at(1, 1), vec![entry(1, "z")], 6);
    assert_eq!(outcome(&effects), Outcome::Matched { index: 2 });
}

#[test]
fn a_follower_that_was_away_while_its_entries_were_compacted_gets_a_snapshot() {
    // It was streamed to, and has answered nothing since: the window is full, and what is in it is gone from the log.
    let mut a = Bench::leader(Config { keep: 0, in_flight: 2, ..config() }, &[]);
    a.matched(B, 1);
    a.matched(C, 1);
    for index in 2..=9 {
        a.propose("x");
        a.durable();
        a.matched(B, index);
    }
    a.ask(Command::Compact { index: 9, data: "state".into() });
    a.pass(ms(50));
    let effects = a.fire(Timer::Heartbeat);
    let installs = |effects: &Effects| {
        let is = |(to, message): &(NodeId, &Message)| {
            *to == C && matches!(message, Message::InstallSnapshot { .. })
        };
        sent(effects).iter().any(is)
    };
    assert!(installs(&effects), "{effects:?}");
    // The same for one that has never answered.
    let mut a = Bench::leader(Config { keep: 0, ..config() }, &[1, 1]);
    a.durable();
    a.matched(B, 3);
    a.ask(Command::Compact { index: 3, data: "state".into() });
    assert!(installs(&a.fire(Timer::Heartbeat)));
}
