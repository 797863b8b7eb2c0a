//! Replication: what is sent, what is cut, what counts as committed.

use super::*;

#[test]
fn a_leader_sends_its_entry_before_it_persists_its_own_copy() {
    let mut a = Bench::leader(config(), &[]);
    a.matched(B, 1);
    let effects = a.propose("x");
    let sending = place(&effects, |e| matches!(e, Effect::SendNow(B, Message::AppendEntries { .. })));
    let record = Record::Entries { previous: at(1, 1), entries: vec![entry(1, "x")] };
    assert!(sending < place(&effects, |e| *e == Effect::Append(record.clone())), "{effects:?}");
    assert_eq!(effects.last(), Some(&Effect::WhenDurable(Timer::Durable { term: 1, index: 2 })));
    assert_eq!(announced(&effects), [&Event::Accepted { id: 1, at: at(1, 2) }]);
}

#[test]
fn a_majority_commits_with_the_leader_or_without_it() {
    let commits = vec![(2, "x".to_owned())];
    // The leader's own copy and one other.
    let mut a = Bench::leader(config(), &[]);
    a.matched(B, 1);
    a.propose("x");
    assert_eq!(committed(&a.matched(B, 2)), []);
    assert_eq!(committed(&a.durable()), commits);
    // The same the other way round.
    let mut a = Bench::leader(config(), &[]);
    a.matched(B, 1);
    a.propose("x");
    assert_eq!(committed(&a.durable()), []);
    assert_eq!(committed(&a.matched(B, 2)), commits);
    // Two others, while the leader's disk is slow.
    let mut a = Bench::leader(config(), &[]);
    a.matched(B, 1);
    a.matched(C, 1);
    a.propose("x");
    a.matched(C, 2);
    assert_eq!(committed(&a.matched(B, 2)), commits);
}

#[test]
fn old_answers_take_nothing_back() {
    let mut a = Bench::leader(config(), &[]);
    a.matched(B, 1);
    a.propose("x");
    a.durable();
    a.matched(B, 2);
    assert_eq!(a.matched(B, 1), []);
    assert_eq!((a.raft.matched(B), a.raft.commit_index()), (Some(2), 2));
    assert_eq!(a.matched(B, 99), [], "nobody can have more than the leader");
}

#[test]
fn an_entry_of_an_earlier_term_is_committed_only_with_one_of_the_own() {
    // Figure 8 of the paper: entry 1 of term 1 on a majority says nothing.
    let mut a = Bench::leader(config(), &[1]);
    assert_eq!((a.raft.term(), a.terms()), (2, vec![1, 2]));
    assert_eq!(committed(&a.matched(B, 1)), []);
    assert_eq!(committed(&a.matched(B, 2)), [(1, "old".to_owned()), (2, "noop".to_owned())]);

    let flaws = Flaws { commit_any_term: true, no_noop: true, ..Flaws::default() };
    let mut a = Bench::leader(Config { flaws, ..config() }, &[1]);
    assert_eq!(a.terms(), [1]);
    assert_eq!(committed(&a.matched(B, 1)), [(1, "old".to_owned())]);
}

#[test]
fn a_follower_appends_persists_and_then_answers() {
    let mut a = Bench::new(config());
    let effects = a.append(1, Position::START, vec![entry(1, "x"), entry(1, "y")], 1);
    assert_eq!(outcome(&effects), Outcome::Matched { index: 2 });
    assert_eq!(committed(&effects), [(1, "x".to_owned())]);
    let record = place(&effects, |e| matches!(e, Effect::Append(Record::Entries { .. })));
    assert!(record < place(&effects, |e| matches!(e, Effect::Send(B, _))), "the answer waits: {effects:?}");
    // A heartbeat brings the commit index; nothing is announced twice.
    let effects = a.append(1, at(1, 2), vec![], 2);
    assert_eq!(committed(&effects), [(2, "y".to_owned())]);
    assert_eq!(committed(&a.append(1, at(1, 2), vec![], 2)), []);
}

#[test]
fn a_commit_index_counts_only_as_far_as_the_log_is_known_to_match() {
    let mut a = Bench::with_log(config(), &[1, 1, 1]);
    let effects = a.append(2, at(1, 1), vec![], 3);
    assert_eq!(committed(&effects), [(1, "old".to_owned())]);
    assert_eq!(a.raft.commit_index(), 1);
}

#[test]
fn only_a_real_conflict_cuts_the_log() {
    // Old and short: everything in it is known.
    let mut a = Bench::with_log(config(), &[1, 1, 1]);
    let effects = a.append(1, Position::START, vec![entry(1, "old")], 0);
    assert_eq!(outcome(&effects), Outcome::Matched { index: 1 });
    assert_eq!(a.terms(), [1, 1, 1]);
    assert!(!effects.iter().any(|e| matches!(e, Effect::Append(_))), "{effects:?}");
    // A contradiction at index 2.
    let effects = a.append(2, at(1, 1), vec![entry(2, "new")], 0);
    assert_eq!(outcome(&effects), Outcome::Matched { index: 2 });
    assert_eq!(a.terms(), [1, 2]);
    let record = Record::Entries { previous: at(1, 1), entries: vec![entry(2, "new")] };
    assert!(effects.contains(&Effect::Append(record)));
    // The disk tells the same story.
    let records = vec![
        Record::Entries { previous: Position::START, entries: vec![entry(1, "old"); 3] },
        Record::Entries { previous: at(1, 1), entries: vec![entry(2, "new")] },
    ];
    assert_eq!(Bench::start(config(), records).0.terms(), [1, 2]);
}

#[test]
fn cutting_without_a_conflict_is_a_flaw() {
    let flaws = Flaws { truncate_on_stale: true, ..Flaws::default() };
    let mut a = Bench::with_log(Config { flaws, ..config() }, &[1, 1, 1]);
    a.append(1, Position::START, vec![entry(1, "old")], 0);
    assert_eq!(a.terms(), [1]);
    let mut a = Bench::with_log(Config { flaws, ..config() }, &[1, 1, 1]);
    let effects = a.append(1, at(1, 2), vec![], 0);
    assert_eq!(a.terms(), [1, 1]);
    assert!(effects.contains(&Effect::Append(Record::Entries { previous: at(1, 2), entries: vec![] })));
}

#[test]
fn a_conflict_is_hinted_by_term_and_found_in_one_round() {
    // The paper's 5.3: the follower names its conflicting term and where that begins.
    let mut a = Bench::with_log(config(), &[1, 1, 4, 4, 4]);
    let effects = a.append(6, at(5, 5), vec![], 0);
    assert_eq!(outcome(&effects), Outcome::Conflict { rejected: 5, first: 3, term: Some(4) });
    let effects = a.append(6, at(5, 9), vec![], 0);
    assert_eq!(outcome(&effects), Outcome::Conflict { rejected: 9, first: 6, term: None });

    // The leader has entries of that term: it goes on after the last of them.
    let mut a = Bench::leader(config(), &[1, 1, 4, 5, 5]);
    let effects = a.conflict(B, 5, 3, Some(4));
    assert_eq!(entries(&effects), [(B, 3, 3)]);
    // It has none: it goes to where the term begins.
    let mut a = Bench::leader(config(), &[1, 1, 5, 5, 5]);
    let effects = a.conflict(B, 5, 3, Some(4));
    assert_eq!(entries(&effects), [(B, 2, 4)]);
}

#[test]
fn a_member_is_probed_first_and_then_streamed_to_as_far_as_the_window_allows() {
    let mut a = Bench::leader(Config { in_flight: 2, ..config() }, &[]);
    assert_eq!(entries(&a.propose("a")), [], "one probe at a time");
    // The answer opens the stream: all that has gathered in one message, then one each.
    assert_eq!(entries(&a.matched(B, 1)), [(B, 1, 1)]);
    assert_eq!(entries(&a.propose("b")), [(B, 2, 1)]);
    assert_eq!(entries(&a.propose("c")), []);
    assert_eq!(entries(&a.propose("d")), []);
    assert_eq!(entries(&a.matched(B, 2)), [(B, 3, 2)], "what gathered shares a message");
}

#[test]
fn messages_keep_to_their_size() {
    let mut a = Bench::leader(Config { batch_bytes: 100, in_flight: 8, ..config() }, &[]);
    for _ in 0..10 {
        a.propose("32 bytes of data, 40 on the wire");
    }
    assert_eq!(entries(&a.matched(B, 1)), [(B, 1, 2), (B, 3, 2), (B, 5, 2), (B, 7, 2), (B, 9, 2)]);
}

#[test]
fn a_heartbeat_finds_out_what_got_lost() {
    let mut a = Bench::leader(config(), &[]);
    a.matched(B, 1);
    a.matched(C, 1);
    a.pass(ms(40));
    a.propose("lost");
    // It left 10 ms ago: a heartbeat may overtake it, and asks for nothing that it brings.
    a.pass(ms(10));
    assert_eq!(entries(&a.fire(Timer::Heartbeat)), [(B, 1, 0), (C, 1, 0)]);
    a.pass(ms(50));
    assert_eq!(entries(&a.fire(Timer::Heartbeat)), [(B, 2, 0), (C, 2, 0)]);
    assert_eq!(entries(&a.conflict(B, 2, 2, None)), [(B, 1, 1)]);
    // It comes twice: the second time it is old news.
    assert_eq!(a.conflict(B, 2, 2, None), []);
}

#[test]
fn in_the_steady_state_an_entry_costs_two_messages_for_each_follower() {
    let voters: Vec<NodeId> = (0..5).map(NodeId).collect();
    let mut a = Bench::with_log(Config { pre_vote: false, ..Config::new(A, voters.clone()) }, &[]);
    a.fire(Timer::Election);
    a.durable();
    for &voter in &voters[1..] {
        a.hear(voter, Message::Vote { term: 1, granted: true });
    }
    a.durable();
    voters[1..].iter().for_each(|&voter| drop(a.matched(voter, 1)));
    let mut messages = sent(&a.propose("x")).len();
    messages += sent(&a.durable()).len();
    for &voter in &voters[1..] {
        messages += 1 + sent(&a.matched(voter, 2)).len();
    }
    assert_eq!((messages, a.raft.commit_index()), (8, 2));
}

#[test]
fn a_follower_that_has_lost_what_it_promised_is_sent_it_again() {
    let mut a = Bench::leader(config(), &[]);
    a.propose("x");
    a.matched(B, 1);
    a.matched(B, 2);
    // Its disk has lied: it has nothing.
    assert_eq!(entries(&a.conflict(B, 2, 1, None)), [(B, 0, 2)]);
    assert!(a.raft.matched(B) < Some(2));
}

#[test]
fn proposals_to_others_than_the_leader_are_turned_away_with_a_hint() {
    let mut a = Bench::new(config());
    let reason = Rejection::NotLeader { leader: None };
    assert_eq!(announced(&a.propose("x")), [&Event::Rejected { id: 1, reason }]);
    a.append(1, Position::START, vec![], 0);
    let reason = Rejection::NotLeader { leader: Some(B) };
    assert_eq!(announced(&a.propose("x")), [&Event::Rejected { id: 1, reason }]);
}
