//! The gallery of known bugs: those that are quickly found are found here, in few runs; all of them, with patience and with
//! their twins, in the fidelity tests and by `shaketable bugs`.

use scenarios::gallery::{Bug, Patience, bugs};

fn quick() -> Patience {
    Patience {
        workers: 2,
        runs: 400,
        twin_seeds: 60,
        executions: 4_000,
        shrunk_seeds: 3,
        ..Patience::default()
    }
}

fn hunt(number: u32) {
    let bug: Bug = bugs().into_iter().find(|bug| bug.number == number).expect("it is in the gallery");
    let hunted = bug.hunt(quick()).expect("it is found");
    let size = hunted.shrunk.after;
    assert_eq!(hunted.shrunk.failure.property, bug.property);
    assert!(bug.is_small(&size), "bug {number}: {size}, target {:?}", bug.target);
    assert_eq!(hunted.twin_failures, 0, "the twin of bug {number}");
    assert!(hunted.twin_touched > 0, "the plan of bug {number} touches something in the twin");
}

#[test]
fn a_power_cut_takes_what_was_answered_too_early() {
    hunt(4);
}

#[test]
fn a_leader_that_was_replaced_answers_stale_reads() {
    hunt(6);
}

#[test]
fn no_leader_stays_while_links_are_cut_in_part() {
    hunt(8);
}

#[test]
fn a_server_that_was_away_deposes_a_healthy_leader() {
    hunt(9);
}

#[test]
fn a_command_that_is_sent_again_is_applied_twice() {
    hunt(10);
}

#[test]
fn the_gallery_is_numbered_and_each_bug_has_a_target() {
    let numbers: Vec<u32> = bugs().iter().map(|bug| bug.number).collect();
    assert_eq!(numbers, (1..=numbers.len() as u32).collect::<Vec<_>>());
    assert!(bugs().iter().all(|bug| bug.target.nodes > 0 && bug.target.faults > 0));
}
