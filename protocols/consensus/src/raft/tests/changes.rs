//! Changes of membership.

use super::*;

fn change(a: &mut Bench, voters: &[NodeId], learners: &[NodeId], joint: bool) -> Effects {
    let (voters, learners) = (nodes(voters.iter().copied()), nodes(learners.iter().copied()));
    a.ask(Command::ChangeMembership { id: 3, voters, learners, joint })
}
fn rejection(effects: &Effects) -> Option<Rejection> {
    match announced(effects)[..] {
        [Event::Rejected { id: 3, reason }] => Some(*reason),
        _ => None,
    }
}
/// A leader of three whose first entry is committed, and D a learner that has everything.
fn with_learner() -> Bench {
    let mut a = Bench::leader(config(), &[]);
    a.matched(B, 1);
    a.matched(C, 1);
    assert_eq!(rejection(&change(&mut a, &[A, B, C], &[D], false)), None);
    a.durable();
    a.matched(B, 2);
    a.matched(C, 2);
    a.matched(D, 2);
    assert_eq!(a.raft.commit_index(), 2);
    a
}

#[test]
fn a_change_needs_an_entry_of_the_own_term_that_is_committed() {
    let mut a = Bench::leader(Config { catch_up: None, ..config() }, &[1]);
    let reason = Some(Rejection::NothingCommittedInTerm);
    assert_eq!(rejection(&change(&mut a, &[A, B, C, D], &[], false)), reason);
    a.matched(B, 2);
    assert_eq!(rejection(&change(&mut a, &[A, B, C, D], &[], false)), None);

    let flaws = Flaws { change_before_own_commit: true, no_noop: true, ..Flaws::default() };
    let mut a = Bench::leader(Config { catch_up: None, flaws, ..config() }, &[1]);
    assert_eq!(rejection(&change(&mut a, &[A, B, C, D], &[], false)), None);
    assert_eq!(a.raft.configuration(), &Configuration::of([A, B, C, D]));
}

#[test]
fn what_is_not_allowed_is_rejected_with_its_reason() {
    let mut a = with_learner();
    assert_eq!(rejection(&change(&mut a, &[], &[], false)), Some(Rejection::NoVoter));
    assert_eq!(rejection(&change(&mut a, &[A, D], &[], false)), Some(Rejection::TooManyAtOnce));
    let stranger = NodeId(9);
    let mut full = with_learner();
    (0..120).for_each(|_| drop(full.propose("x")));
    assert_eq!(
        rejection(&change(&mut full, &[A, B, C, stranger], &[], false)),
        Some(Rejection::NotCaughtUp { node: stranger })
    );
    assert_eq!(rejection(&change(&mut a, &[A, B, C, D], &[], false)), None);
    assert_eq!(rejection(&change(&mut a, &[A, B, C], &[], false)), Some(Rejection::ChangeInFlight));
    let mut b = Bench::new(config());
    let reason = Some(Rejection::NotLeader { leader: None });
    assert_eq!(rejection(&change(&mut b, &[A], &[], false)), reason);
}

#[test]
fn a_learner_gets_the_log_and_does_not_count() {
    let mut a = with_learner();
    let effects = a.propose("x");
    assert!(entries(&effects).contains(&(D, 2, 1)));
    a.durable();
    assert_eq!(committed(&a.matched(D, 3)), []);
    assert_eq!(committed(&a.matched(B, 3)), [(3, "x".to_owned())]);
}

#[test]
fn the_newest_configuration_counts_before_it_is_committed() {
    let mut a = with_learner();
    change(&mut a, &[A, B, C, D], &[], false);
    assert_eq!(a.raft.configuration().to_string(), "n0,n1,n2,n3");
    a.durable();
    assert_eq!(committed(&a.matched(B, 3)), [], "two of four are no majority");
    assert_eq!(committed(&a.matched(D, 3)), [(3, "n0,n1,n2,n3".to_owned())]);
}

#[test]
fn a_joint_change_needs_both_majorities_and_ends_by_itself() {
    let mut a = with_learner();
    let e = NodeId(4);
    let mut a_with_e = {
        change(&mut a, &[A, B, C], &[D, e], false);
        a.durable();
        for peer in [B, C, D, e] {
            a.matched(peer, 3);
        }
        a
    };
    let a = &mut a_with_e;
    assert_eq!(rejection(&change(a, &[A, D, e], &[], true)), None);
    assert_eq!(a.raft.configuration().to_string(), "n0,n1,n2>n0,n3,n4");
    a.durable();
    assert_eq!(committed(&a.matched(D, 4)), [], "a majority of the new ones only");
    let effects = a.matched(B, 4);
    assert_eq!(committed(&effects), [(4, "n0,n1,n2>n0,n3,n4".to_owned())]);
    assert_eq!(a.raft.configuration().to_string(), "n0,n3,n4", "it leaves at once");
    a.durable();
    assert_eq!(committed(&a.matched(B, 5)), [], "who is gone does not count");
    assert_eq!(committed(&a.matched(D, 5)), [(5, "n0,n3,n4".to_owned())]);
}

#[test]
fn a_leader_that_is_removed_steps_down_when_that_is_committed() {
    let mut a = with_learner();
    change(&mut a, &[B, C], &[], false);
    a.durable();
    a.matched(B, 3);
    assert!(a.raft.is_leader(), "its own copy does not count any more");
    let effects = a.matched(C, 3);
    assert_eq!(committed(&effects), [(3, "n1,n2".to_owned())]);
    assert_eq!(a.raft.role(), Role::Follower);
    let commits = sent(&effects)
        .iter()
        .any(|(to, message)| *to == B && matches!(message, Message::AppendEntries { commit: 3, .. }));
    assert!(commits, "the others hear of the commit: {effects:?}");
    // It is done: it campaigns no more.
    a.fire(Timer::Election);
    assert_eq!(a.raft.role(), Role::Follower);
}

#[test]
fn who_is_left_out_by_what_is_not_committed_may_still_be_needed() {
    let mut a = Bench::new(config());
    let out = Entry { term: 1, payload: Payload::Configuration(Configuration::of([B, C])) };
    a.append(1, Position::START, vec![out], 0);
    a.pass(secs(1));
    a.fire(Timer::Election);
    assert_eq!(a.raft.role(), Role::PreCandidate);
    a.append(1, at(1, 1), vec![], 1);
    a.pass(secs(1));
    a.fire(Timer::Election);
    assert_eq!(a.raft.role(), Role::Follower);
}

#[test]
fn a_change_that_is_cut_off_is_undone() {
    let mut a = Bench::new(config());
    let out = Entry { term: 1, payload: Payload::Configuration(Configuration::of([A, B])) };
    let effects = a.append(1, Position::START, vec![noop(1), out], 1);
    assert!(effects.contains(&Effect::State(CONFIG, "n0,n1".to_owned())));
    let effects = a.append(2, at(1, 1), vec![noop(2)], 1);
    assert_eq!(a.raft.configuration(), &Configuration::of([A, B, C]));
    assert!(effects.contains(&Effect::State(CONFIG, "n0,n1,n2".to_owned())));
}
