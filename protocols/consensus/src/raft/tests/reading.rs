//! Reads: by read index, by lease, and not at all.

use super::*;

fn read(bench: &mut Bench, id: u64, mode: ReadMode) -> Effects {
    bench.ask(Command::Read { id, mode })
}
fn ready(effects: &Effects) -> Vec<(u64, Index)> {
    let of = |event: &Event| match event {
        Event::ReadReady { id, index } => Some((*id, *index)),
        _ => None,
    };
    announced(effects).into_iter().filter_map(of).collect()
}
/// A leader of three whose first entry is committed.
fn established(config: Config) -> Bench {
    let mut a = Bench::leader(config, &[]);
    a.pass(ms(1));
    a.matched(B, 1);
    assert_eq!(a.raft.commit_index(), 1);
    a
}
/// An answer to a message that left at that time.
fn answer(a: &mut Bench, from: NodeId, round: u64, left: Monotonic) -> Effects {
    let outcome = Outcome::Matched { index: a.raft.commit_index() };
    a.hear(from, Message::Appended { term: a.raft.term(), outcome, round, sent: left })
}

#[test]
fn a_read_index_waits_for_a_majority_that_answers_this_very_round() {
    let mut a = established(config());
    let effects = read(&mut a, 7, ReadMode::ReadIndex);
    assert_eq!(entries(&effects), [(B, 1, 0), (C, 0, 0)], "C has not answered yet");
    assert_eq!(ready(&effects), []);
    let now = a.out.now();
    assert_eq!(ready(&answer(&mut a, B, 0, now)), [], "an answer to what left before");
    assert_eq!(ready(&answer(&mut a, B, 9, now)), [], "an answer to what never left");
    assert_eq!(ready(&answer(&mut a, C, 1, now)), [(7, 1)]);
    assert_eq!(ready(&answer(&mut a, B, 1, now)), [], "once");
}

#[test]
fn a_later_round_confirms_the_earlier_reads() {
    let mut a = established(config());
    read(&mut a, 7, ReadMode::ReadIndex);
    read(&mut a, 8, ReadMode::ReadIndex);
    let now = a.out.now();
    assert_eq!(ready(&answer(&mut a, C, 2, now)), [(7, 1), (8, 1)]);
}

#[test]
fn a_new_leader_reads_only_when_an_entry_of_its_term_is_committed() {
    let mut a = Bench::leader(config(), &[1]);
    assert_eq!(read(&mut a, 7, ReadMode::ReadIndex), []);
    assert_eq!(read(&mut a, 8, ReadMode::Lease), []);
    let effects = a.matched(B, 2);
    assert_eq!(ready(&effects), [], "now it begins");
    let now = a.out.now();
    assert_eq!(ready(&answer(&mut a, C, 2, now)), [(7, 2), (8, 2)]);
}

#[test]
fn a_lease_runs_from_the_sending_and_is_shortened_for_both_clocks() {
    // 150 ms x (1 - 0.01) / (1 + 0.01)
    let lease = config().lease_on_own_clock();
    assert_eq!(lease, sim_core::time::ns(147_029_702));
    let mut a = established(config());
    let left = a.out.now();
    a.pass(ms(100));
    answer(&mut a, B, 0, left);
    assert_eq!(ready(&read(&mut a, 1, ReadMode::Lease)), [(1, 1)]);
    a.pass(lease - ms(100) - sim_core::time::ns(1));
    assert_eq!(ready(&read(&mut a, 2, ReadMode::Lease)), [(2, 1)]);
    a.pass(sim_core::time::ns(1));
    let effects = read(&mut a, 3, ReadMode::Lease);
    assert_eq!(ready(&effects), []);
    assert_eq!(entries(&effects).len(), 2, "it falls back on the read index");

    let flaws = Flaws { lease_ignores_others: true, ..Flaws::default() };
    assert_eq!(Config { flaws, ..config() }.lease_on_own_clock(), sim_core::time::us(148_500));
    assert_eq!(
        Config { drift_bound: 300_000, ..config() }.lease_on_own_clock(),
        sim_core::time::ns(80_769_230)
    );
}

#[test]
fn votes_are_no_promise() {
    let mut a = Bench::leader(config(), &[]);
    // Its entry is committed, but the answer says nothing of when the message left.
    let message = |round| Message::Appended {
        term: 1,
        outcome: Outcome::Matched { index: 1 },
        round,
        sent: Monotonic::ZERO,
    };
    a.hear(B, message(0));
    assert_eq!(a.raft.commit_index(), 1);
    assert_eq!(ready(&read(&mut a, 1, ReadMode::Lease)), []);
}

#[test]
fn a_leader_that_has_told_another_to_campaign_has_no_lease_any_more() {
    let mut a = established(config());
    a.ask(Command::TransferLeadership { id: 1, target: B });
    a.fire(Timer::Transfer);
    assert_eq!(ready(&read(&mut a, 1, ReadMode::Lease)), [], "the message may still be on its way");
}

#[test]
fn a_local_read_asks_nobody_and_a_follower_turns_reads_away() {
    let mut a = established(config());
    assert_eq!(ready(&read(&mut a, 1, ReadMode::Local)), [(1, 1)]);
    let mut b = Bench::new(config());
    let reason = Rejection::NotLeader { leader: None };
    assert_eq!(announced(&read(&mut b, 1, ReadMode::Local)), [&Event::Rejected { id: 1, reason }]);
}

#[test]
fn who_steps_down_turns_its_reads_away() {
    let mut a = established(config());
    read(&mut a, 7, ReadMode::ReadIndex);
    let effects = a.append(5, Position::START, vec![], 0);
    let reason = Rejection::NotLeader { leader: Some(B) };
    assert!(announced(&effects).contains(&&Event::Rejected { id: 7, reason }));
}
