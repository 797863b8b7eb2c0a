//! Terms, votes, elections, transfers.

use super::*;

fn request(term: Term, last: Position) -> Message {
    Message::RequestVote { term, last, transfer: false }
}
fn vote(effects: &Effects) -> bool {
    match sent(effects)[..] {
        [(_, Message::Vote { granted, .. })] => *granted,
        ref other => panic!("{other:?}"),
    }
}

#[test]
fn a_server_starts_as_a_follower_with_a_random_time_out() {
    let mut timeouts = BTreeSet::new();
    for seed in 0..20 {
        let mut out = Out::new(Monotonic::ZERO, Wall::START, seed);
        Raft::restore(&config(), Vec::new(), &mut out);
        let effects = out.take();
        let [.., Effect::Arm(Timer::Election, after)] = effects[..] else { panic!("{effects:?}") };
        assert!(after >= ms(150) && after <= ms(300), "{after}");
        timeouts.insert(after);
    }
    assert_eq!(timeouts.len(), 20);
}

#[test]
fn a_pre_candidate_asks_before_it_raises_its_term() {
    let mut a = Bench::new(config());
    let effects = a.fire(Timer::Election);
    let ask = Message::PreVote { term: 1, last: Position::START };
    assert_eq!(sent(&effects), [(B, &ask), (C, &ask)]);
    assert_eq!((a.raft.role(), a.raft.term()), (Role::PreCandidate, 0));
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::Append(_))));
    // An answer for another term is none.
    a.hear(B, Message::PreVoted { term: 9, granted: true });
    assert_eq!(a.raft.role(), Role::PreCandidate);
    a.hear(B, Message::PreVoted { term: 1, granted: true });
    assert_eq!((a.raft.role(), a.raft.term()), (Role::Candidate, 1));
}

#[test]
fn a_candidate_asks_at_once_and_leads_only_when_its_own_term_is_durable() {
    let mut a = Bench::new(Config { pre_vote: false, ..config() });
    let effects = a.fire(Timer::Election);
    let ask = request(1, Position::START);
    assert_eq!(sent(&effects), [(B, &ask), (C, &ask)]);
    assert!(effects.contains(&Effect::SendNow(B, ask)));
    assert!(effects.contains(&Effect::Append(Record::HardState { term: 1, vote: Some(A) })));
    let durable = Timer::Durable { term: 1, index: 0 };
    assert!(effects.contains(&Effect::WhenDurable(durable)));
    // Everybody else is for it: that is not enough.
    a.hear(B, Message::Vote { term: 1, granted: true });
    a.hear(C, Message::Vote { term: 1, granted: true });
    assert_eq!(a.raft.role(), Role::Candidate);
    let effects = a.fire(durable);
    assert!(a.raft.is_leader());
    assert_eq!(entries(&effects), [(B, 0, 1), (C, 0, 1)]);
}

#[test]
fn refusals_and_strangers_do_not_count() {
    let mut a = Bench::new(Config { pre_vote: false, ..config() });
    a.fire(Timer::Election);
    a.fire(Timer::Durable { term: 1, index: 0 });
    a.hear(B, Message::Vote { term: 1, granted: false });
    a.hear(D, Message::Vote { term: 1, granted: true });
    a.hear(B, Message::Vote { term: 0, granted: true });
    assert_eq!(a.raft.role(), Role::Candidate);
    a.hear(C, Message::Vote { term: 1, granted: true });
    assert!(a.raft.is_leader());
}

#[test]
fn a_vote_is_given_once_in_a_term_and_persisted_before_the_answer() {
    let mut a = Bench::new(config());
    let effects = a.hear(B, request(1, Position::START));
    assert!(vote(&effects));
    let record = place(&effects, |e| *e == Effect::Append(Record::HardState { term: 1, vote: Some(B) }));
    assert!(record < place(&effects, |e| matches!(e, Effect::Send(..))), "{effects:?}");
    assert!(effects.iter().any(|e| matches!(e, Effect::Arm(Timer::Election, _))));
    assert!(!vote(&a.hear(C, request(1, at(9, 9)))));
    // The same candidate may ask again.
    assert!(vote(&a.hear(B, request(1, Position::START))));
    // What is on the disk counts after a restart.
    let (mut a, _) = Bench::start(config(), vec![Record::HardState { term: 1, vote: Some(B) }]);
    a.pass(secs(1));
    assert!(!vote(&a.hear(C, request(1, at(9, 9)))));
    assert!(vote(&a.hear(C, request(2, at(9, 9)))));
}

#[test]
fn a_shorter_or_older_log_gets_no_vote() {
    for (last, granted) in [(at(2, 2), false), (at(1, 9), false), (at(2, 3), true), (at(3, 1), true)] {
        let mut a = Bench::with_log(config(), &[1, 2, 2]);
        assert_eq!(vote(&a.hear(B, request(5, last))), granted, "{last:?}");
        assert_eq!(a.raft.term(), 5, "the term counts in any case");
    }
}

#[test]
fn who_hears_a_leader_ignores_candidates_and_says_no_to_pre_candidates() {
    let mut a = Bench::new(config());
    a.append(1, Position::START, vec![], 0);
    a.pass(ms(149));
    assert_eq!(a.hear(C, request(2, at(9, 9))), []);
    let effects = a.hear(C, Message::PreVote { term: 2, last: at(9, 9) });
    assert_eq!(sent(&effects), [(C, &Message::PreVoted { term: 1, granted: false })]);
    // A transfer breaks the promise on purpose.
    let mut other = Bench { out: Out::new(Monotonic::ZERO, Wall::START, 5), raft: a.raft.clone() };
    other.pass(ms(149));
    assert!(vote(&other.hear(C, Message::RequestVote { term: 2, last: at(9, 9), transfer: true })));
    // The promise ends.
    a.pass(ms(1));
    let effects = a.hear(C, Message::PreVote { term: 2, last: at(9, 9) });
    assert_eq!(sent(&effects), [(C, &Message::PreVoted { term: 2, granted: true })]);
    assert!(vote(&a.hear(C, request(2, at(9, 9)))));
}

#[test]
fn a_restart_renews_the_promise_that_the_server_has_forgotten() {
    let (mut a, _) = Bench::start(config(), vec![Record::HardState { term: 1, vote: None }]);
    a.pass(ms(149));
    assert_eq!(a.hear(C, request(2, at(9, 9))), []);
    a.pass(ms(1));
    assert!(vote(&a.hear(C, request(2, at(9, 9)))));
}

#[test]
fn a_higher_term_makes_a_follower_of_anybody() {
    let mut a = Bench::leader(config(), &[]);
    let (term, sent_at) = (7, Monotonic::ZERO);
    let message = Message::Appended { term, outcome: Outcome::StaleTerm, round: 0, sent: sent_at };
    let effects = a.hear(B, message);
    assert_eq!((a.raft.role(), a.raft.term(), a.raft.leader()), (Role::Follower, 7, None));
    assert!(effects.contains(&Effect::Disarm(Timer::Heartbeat)));
    assert!(effects.iter().any(|e| matches!(e, Effect::Arm(Timer::Election, _))));
    let role = Event::RoleChanged { role: Role::Follower, term: 7, leader: None };
    assert_eq!(announced(&effects), [&role]);
}

#[test]
fn a_lower_term_is_told_the_higher_one() {
    let mut a = Bench::with_log(config(), &[5]);
    let effects = a.append(4, Position::START, vec![entry(4, "x")], 1);
    assert_eq!(outcome(&effects), Outcome::StaleTerm);
    assert_eq!(a.terms(), [5]);
    let effects = a.hear(B, request(4, at(4, 9)));
    assert_eq!(sent(&effects), [(B, &Message::Vote { term: 5, granted: false })]);
    let effects = a.hear(B, Message::PreVote { term: 5, last: at(9, 9) });
    assert_eq!(sent(&effects), [(B, &Message::PreVoted { term: 5, granted: false })]);
}

#[test]
fn a_leader_without_answers_steps_down_and_one_with_them_does_not() {
    let mut a = Bench::leader(config(), &[]);
    for _ in 0..10 {
        a.pass(ms(50));
        a.fire(Timer::Heartbeat);
        a.matched(B, 1);
    }
    assert!(a.raft.is_leader());
    for _ in 0..6 {
        a.pass(ms(50));
        a.fire(Timer::Heartbeat);
    }
    assert!(a.raft.is_leader(), "300 ms are not over");
    a.pass(ms(50));
    a.fire(Timer::Heartbeat);
    assert_eq!((a.raft.role(), a.raft.term()), (Role::Follower, 1));

    let mut a = Bench::leader(Config { check_quorum: false, ..config() }, &[]);
    a.pass(secs(9));
    a.fire(Timer::Heartbeat);
    assert!(a.raft.is_leader());
}

#[test]
fn a_single_voter_elects_itself() {
    let mut a = Bench::new(Config::new(A, [A]));
    a.fire(Timer::Election);
    assert_eq!(a.raft.role(), Role::Candidate);
    a.fire(Timer::Durable { term: 1, index: 0 });
    assert!(a.raft.is_leader());
    a.propose("x");
    assert_eq!(committed(&a.durable()), [(1, "noop".to_owned()), (2, "x".to_owned())]);
}

#[test]
fn who_is_no_voter_never_campaigns() {
    let mut a = Bench::new(Config::new(A, []));
    let effects = a.fire(Timer::Election);
    assert!(matches!(effects[..], [Effect::Arm(Timer::Election, _)]), "{effects:?}");
    assert_eq!(a.hear(B, Message::TimeoutNow { term: 0 }), []);
}

#[test]
fn a_transfer_waits_until_the_target_has_everything_then_tells_it_to_campaign() {
    let mut a = Bench::leader(config(), &[]);
    let effects = a.ask(Command::TransferLeadership { id: 1, target: C });
    assert_eq!(effects, [Effect::Arm(Timer::Transfer, ms(300))]);
    let effects = a.propose("x");
    let rejected = Event::Rejected { id: 1, reason: Rejection::Transferring };
    assert_eq!(announced(&effects), [&rejected]);
    let effects = a.matched(C, 1);
    assert!(sent(&effects).contains(&(C, &Message::TimeoutNow { term: 1 })));
    // It takes too long: the leader goes on.
    a.fire(Timer::Transfer);
    assert!(matches!(announced(&a.propose("x"))[..], [Event::Accepted { .. }]));

    let effects = a.ask(Command::TransferLeadership { id: 2, target: D });
    assert_eq!(announced(&effects), [&Event::Rejected { id: 2, reason: Rejection::NoVoter }]);

    let mut c = Bench::with_log(config(), &[1]);
    let effects = c.hear(B, Message::TimeoutNow { term: 1 });
    let campaign = Message::RequestVote { term: 2, last: at(1, 1), transfer: true };
    assert_eq!(sent(&effects), [(B, &campaign), (C, &campaign)]);
}

#[test]
fn a_forgotten_vote_is_a_flaw() {
    let flaws = Flaws { forget_vote: true, ..Flaws::default() };
    let mut a = Bench::new(Config { flaws, ..config() });
    let effects = a.hear(B, request(1, Position::START));
    assert!(vote(&effects));
    assert!(effects.contains(&Effect::Append(Record::HardState { term: 1, vote: None })));
}
