//! The exhaustive search: which steps it takes, and that it takes all of them.
//!
//! Goal: networks, disks, crashes, timers and budgets mean what they say, and a violation comes with a shortest way to it.
//! Method: a toy that does what it is told, and state spaces that are small enough to be counted by hand.

use serde::{Deserialize, Serialize};
use sim_core::{
    NodeId,
    protocol::{Out, Protocol},
    search::exhaustive::{Budgets, Exhaustive, Found, Network, State, Storage},
    time::ms,
};

const A: NodeId = NodeId(0);
const B: NodeId = NodeId(1);

/// Writes down all that it hears.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Toy {
    heard: Vec<u64>,
}

#[derive(Clone, Debug)]
enum Command {
    /// Says the number to B.
    Tell(u64),
    /// Persists the numbers, then says and announces the last.
    Keep(Vec<u64>),
    /// Says and announces the number, then persists it: too early.
    KeepLater(u64),
    /// Keeps only so many records, or these.
    Truncate(usize),
    Replace(Vec<u64>),
    Arm,
    Disarm,
    /// Writes down a number drawn by chance, and the time.
    Draw,
    Panic,
    /// Says something to a node that does not exist.
    Stray,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct Say(u64);

impl Protocol for Toy {
    type Config = ();
    type Message = Say;
    type Command = Command;
    type Event = u64;
    type Record = u64;
    type Timer = u8;

    fn restore((): &(), records: Vec<u64>, _: &mut Out<Self>) -> Self {
        Self { heard: records }
    }
    fn on_command(&mut self, command: Command, out: &mut Out<Self>) {
        match command {
            Command::Tell(number) => out.send(B, Say(number)),
            Command::Keep(numbers) => {
                let last = *numbers.last().expect("a number");
                numbers.into_iter().for_each(|number| out.append(number));
                out.send(B, Say(last));
                out.announce(last);
            }
            Command::KeepLater(number) => {
                out.send(B, Say(number));
                out.announce(number);
                out.append(number);
            }
            Command::Truncate(keep) => out.truncate(keep),
            Command::Replace(numbers) => out.replace(numbers),
            Command::Arm => out.arm(9, ms(1)),
            Command::Disarm => out.disarm(9),
            Command::Draw => {
                let draw = out.rng().below(1 << 40);
                self.heard.extend([draw, out.now().as_nanos()]);
            }
            Command::Panic => panic!("told to"),
            Command::Stray => out.send(NodeId(7), Say(0)),
        }
    }
    fn on_message(&mut self, _: NodeId, Say(number): Say, _: &mut Out<Self>) {
        self.heard.push(number);
    }
    fn on_timer(&mut self, timer: u8, _: &mut Out<Self>) {
        self.heard.push(u64::from(timer));
    }
}

fn toys(commands: impl IntoIterator<Item = Command>) -> Exhaustive<Toy> {
    let mut search = Exhaustive::new();
    search.node("a", ());
    search.node("b", ());
    search.script(A, commands);
    search
}
fn heard(state: &State<Toy>, node: NodeId) -> Option<&[u64]> {
    state.protocol(node).map(|toy| toy.heard.as_slice())
}
fn all(search: &Exhaustive<Toy>) -> Found {
    let found = search.run(100_000);
    assert!(found.complete, "{found:?}");
    found
}

// ---- the network ----

#[test]
fn a_multiset_hands_each_message_over_once_in_any_order() {
    // Nothing said; 7 on its way, or heard; both on their way; 7 heard, 8 heard; 7 then 8, 8 then 7.
    let found = all(&toys([Command::Tell(7), Command::Tell(8)]));
    assert_eq!((found.states, found.depth, found.ends), (8, 4, 2));
}

#[test]
fn a_set_hands_them_over_again_and_again() {
    // Nothing said: 1. Only 7 said: heard never, once, twice: 3. Both said: lists of up to two of them: 1 + 2 + 4.
    let mut search = toys([Command::Tell(7), Command::Tell(8)]);
    search.network(Network::Set);
    search.within(|state| heard(state, B).is_none_or(|heard| heard.len() <= 2));
    let found = all(&search);
    assert_eq!(found.states, 1 + 3 + 7);
    // Each list of two can only grow out of the bounds: by 7 alone, or by 7 and 8, four times.
    assert_eq!((found.cut, found.ends), (1 + 4 * 2, 0));
}

#[test]
fn what_is_said_twice_is_there_twice_in_a_multiset_and_once_in_a_set() {
    for (network, most) in [(Network::Multiset, 2), (Network::Set, 1)] {
        let mut search = toys([Command::Tell(7), Command::Tell(7)]);
        search.network(network).within(|state| heard(state, B).is_none_or(<[u64]>::is_empty));
        search.always("copies", move |state| {
            let copies: u32 = state.messages().map(|(.., count)| count).sum();
            if copies <= most { Ok(()) } else { Err(format!("{copies} copies")) }
        });
        search.sometimes("the most", move |state| state.messages().any(|(.., count)| count == most));
        let found = search.run(100);
        assert_eq!((found.violation, found.never), (None, vec![]));
    }
}

#[test]
fn losses_and_copies_are_steps_within_their_budgets() {
    let with = |losses, copies| {
        let mut search = toys([Command::Tell(7)]);
        search.budgets(Budgets { losses, copies, ..Budgets::default() });
        all(&search).states
    };
    // Nothing said, on its way, heard; and lost; and heard with a copy on its way, and heard twice.
    assert_eq!(with(Some(0), 0), 3);
    assert_eq!(with(Some(1), 0), 4);
    assert_eq!(with(None, 0), 4);
    assert_eq!(with(Some(0), 1), 5);
}

#[test]
fn what_arrives_at_a_node_that_is_down_is_lost() {
    let mut search = toys([Command::Tell(7)]);
    search.budgets(Budgets { crashes: 1, ..Budgets::default() });
    search.at_end("heard, or lost with its hearer", |state| {
        let (a, b) = (heard(state, A).map(<[u64]>::len), heard(state, B));
        if a == Some(0) && (b == Some(&[7][..]) || b == Some(&[][..])) {
            Ok(())
        } else {
            Err(format!("{b:?}"))
        }
    });
    search.sometimes("lost", |state| state.messages().count() == 0 && heard(state, B).is_none());
    let found = all(&search);
    assert_eq!((found.violation, found.never), (None, vec![]));
}

// ---- disks, crashes, timers ----

/// What B has heard is on A's disk.
fn safe(state: &State<Toy>) -> Result<(), String> {
    let heard = heard(state, B).unwrap_or_default();
    match heard.iter().find(|number| !state.records(A).contains(number)) {
        Some(number) => Err(format!("{number} is on no disk")),
        None => Ok(()),
    }
}

#[test]
fn what_follows_a_persist_waits_for_its_sync() {
    for storage in [Storage::AtOnce, Storage::Stepwise { torn: false }, Storage::Stepwise { torn: true }] {
        let mut search = toys([Command::Keep(vec![5, 6])]);
        search.storage(storage).budgets(Budgets { crashes: 1, ..Budgets::default() });
        search.always("what is heard is safe", safe);
        search.events("what is announced is the last", |node, number| {
            if (node, *number) == (A, 6) { Ok(()) } else { Err(format!("{node:?}: {number}")) }
        });
        search.sometimes("what waits outlives a crash", |state| {
            state.protocol(A).is_none() && state.is_behind(A)
        });
        search.sometimes("half is left", |state| state.records(A) == [5]);
        search.sometimes("the rest waits", |state| state.is_behind(A) && state.messages().count() == 0);
        let found = all(&search);
        assert_eq!(found.violation, None, "{storage:?}");
        // A crash takes what waits, so the first never is; what a crash leaves depends on the storage.
        let half = if storage == (Storage::Stepwise { torn: true }) { vec![] } else { vec!["half is left"] };
        let waits = if storage == Storage::AtOnce { vec!["the rest waits"] } else { vec![] };
        assert_eq!(found.never, [vec!["what waits outlives a crash"], half, waits].concat(), "{storage:?}");
    }
}

#[test]
fn what_precedes_a_persist_does_not_and_is_found_on_a_shortest_way() {
    let mut search = toys([Command::KeepLater(5)]);
    search.storage(Storage::Stepwise { torn: true }).always("what is heard is safe", safe);
    let found = search.run(100);
    let violation = found.violation.expect("it speaks too early");
    assert_eq!(violation.what, "what is heard is safe");
    assert_eq!(violation.reason, "5 is on no disk");
    assert_eq!(violation.steps, ["a: command KeepLater(5); a announces 5", "a -> b: Say(5)"]);
    assert!(!found.complete);
    // Where a persist is durable at once, there is no "too early" between two handlers.
    search.storage(Storage::AtOnce);
    assert_eq!(all(&search).violation, None);
}

#[test]
fn a_restart_begins_with_the_records_and_nothing_else() {
    let mut search = toys([Command::Keep(vec![5]), Command::Arm]);
    search.storage(Storage::Stepwise { torn: false });
    search.budgets(Budgets { crashes: 1, timers: Some(0), ..Budgets::default() });
    search.always("a knows its disk", |state| match heard(state, A) {
        Some(heard) if heard != state.records(A) && !heard.is_empty() => Err(format!("{heard:?}")),
        None if !state.timers(A).is_empty() => Err("a timer outlives its node".to_owned()),
        _ => Ok(()),
    });
    search.sometimes("it comes back with a record", |state| heard(state, A) == Some(&[5][..]));
    search.sometimes("it comes back without", |state| {
        state.records(A).is_empty() && state.protocol(A).is_none()
    });
    search.sometimes("a timer", |state| state.timers(A).contains(&9));
    let found = all(&search);
    assert_eq!((found.violation, found.never), (None, vec![]));
}

#[test]
fn records_are_truncated_and_replaced() {
    let commands = [Command::Keep(vec![1, 2, 3]), Command::Truncate(1), Command::Replace(vec![8, 9])];
    for storage in [Storage::AtOnce, Storage::Stepwise { torn: true }] {
        let mut search = toys(commands.clone());
        search.storage(storage);
        for wanted in [&[][..], &[1, 2, 3], &[1], &[8, 9]] {
            search.sometimes(format!("{wanted:?}"), move |state| state.records(A) == wanted);
        }
        search.at_end("replaced", |state| {
            if state.records(A) == [8, 9] { Ok(()) } else { Err(format!("{:?}", state.records(A))) }
        });
        let found = all(&search);
        assert_eq!((found.violation, found.never), (None, vec![]));
    }
}

#[test]
fn an_armed_timer_fires_once_at_any_time_or_never() {
    // Not armed; armed; fired; armed again after it fired, or not yet fired; and so on: lists of 9 and a timer.
    let mut search = toys([Command::Arm, Command::Arm]);
    // (0 told): []; (1): armed, [9]; (2): armed, [9] armed, [9], [9 9].
    assert_eq!(all(&search).states, 1 + 2 + 4);
    search.budgets(Budgets { timers: Some(0), ..Budgets::default() });
    assert_eq!(all(&search).states, 3);
    // Taken back: (2): [], [9].
    assert_eq!(all(&toys([Command::Arm, Command::Disarm])).states, 1 + 2 + 2);
}

#[test]
fn the_set_up_is_done_and_synced_before_the_first_state() {
    let mut search = toys([]);
    search.storage(Storage::Stepwise { torn: false });
    search.before(A, Command::Keep(vec![5])).before(A, Command::Tell(6));
    let mut first = None;
    let found = search.run_with(100, |state| {
        let messages = state.messages().map(|(_, to, Say(number), _)| (to, *number)).collect::<Vec<_>>();
        first.get_or_insert((state.records(A).to_vec(), messages));
    });
    assert_eq!(first, Some((vec![5], vec![(B, 5), (B, 6)])));
    assert_eq!(found.states, 5);
}

// ---- what tells states apart ----

#[test]
fn time_stands_still_and_chance_repeats_itself() {
    // Whoever draws first draws the same: 2 x 2 states, and both ways lead to the last one.
    let mut search = toys([Command::Draw]);
    search.script(B, [Command::Draw]);
    search.always("alike", |state| match (heard(state, A), heard(state, B)) {
        (Some(a), Some(b)) if a.len() == b.len() && a != b => Err(format!("{a:?} {b:?}")),
        _ => Ok(()),
    });
    let found = all(&search);
    assert_eq!((found.states, found.transitions, found.violation), (4, 4, None));
}

#[test]
fn offers_come_at_any_time_and_again() {
    let mut search = toys([]);
    search.offer(A, [Command::Tell(1), Command::Tell(2)]);
    search.within(|state| {
        state.messages().map(|(.., count)| count).sum::<u32>() <= 3
            && heard(state, B).is_none_or(<[u64]>::is_empty)
    });
    // Bags of up to three of two kinds: 1 + 2 + 3 + 4.
    assert_eq!(all(&search).states, 10);
}

#[test]
fn kept_events_tell_states_apart_and_outlive_crashes() {
    let mut search = toys([Command::Keep(vec![5]), Command::Keep(vec![6])]);
    search.budgets(Budgets { crashes: 1, ..Budgets::default() });
    let without = all(&search).states;
    search.keep_events(|&number| number == 6);
    search.sometimes("kept", |state| state.events(A) == [6] && state.protocol(A).is_none());
    search.always("only what is kept", |state| {
        if state.events(A).contains(&5) { Err("5".to_owned()) } else { Ok(()) }
    });
    let found = all(&search);
    assert_eq!((found.violation, found.never), (None, vec![]));
    // The script says already what was announced.
    assert_eq!(found.states, without);
}

#[test]
fn a_view_makes_one_state_of_many() {
    let mut search = toys([Command::Tell(7), Command::Tell(8)]);
    search.identify_by(|state| {
        let mut heard = heard(state, B).unwrap_or_default().to_vec();
        heard.sort_unstable();
        let mut said: Vec<u64> = state.messages().map(|(_, _, Say(number), _)| *number).collect();
        said.sort_unstable();
        (heard, said)
    });
    assert_eq!(all(&search).states, 7);
}

// ---- what is wrong, and limits ----

#[test]
fn a_panic_and_a_stray_message_are_violations() {
    let violation = toys([Command::Tell(1), Command::Panic]).run(100).violation.expect("it panics");
    assert_eq!((violation.what.as_str(), violation.reason.as_str()), ("the protocol", "a panicked: told to"));
    assert_eq!(violation.steps, ["a: command Tell(1)", "a: command Panic"]);
    assert!(violation.to_string().contains("   2. a: command Panic"), "{violation}");

    let violation = toys([Command::Stray]).run(100).violation.expect("nobody is there");
    assert_eq!(violation.reason, "a sends Say(0) to node #7, but there are 2 nodes");
}

#[test]
fn an_event_that_must_not_be_is_found_with_its_step() {
    let mut search = toys([Command::Keep(vec![5])]);
    search.storage(Storage::Stepwise { torn: false });
    search.events("no five", |_, &number| if number == 5 { Err("five".to_owned()) } else { Ok(()) });
    let violation = search.run(100).violation.expect("five");
    assert_eq!(violation.steps, ["a: command Keep([5])", "a: sync"]);
}

#[test]
fn a_search_that_stops_early_says_so() {
    let search = toys([Command::Tell(7), Command::Tell(8)]);
    for most in 0..8 {
        let found = search.run(most);
        assert_eq!((found.states, found.complete, &found.violation), (most, false, &None));
    }
    assert!(search.run(8).complete);
}

#[test]
fn the_same_search_finds_the_same() {
    let search = || {
        let mut search = toys([Command::Keep(vec![5, 6]), Command::Arm, Command::Tell(7)]);
        search.storage(Storage::Stepwise { torn: true });
        search.budgets(Budgets { crashes: 2, losses: None, copies: 1, timers: None });
        search.always("seven comes last", |state| match heard(state, B) {
            Some([.., 7, _]) => Err("something came after seven".to_owned()),
            _ => Ok(()),
        });
        search.run(1_000_000)
    };
    let found = search();
    assert!(found.violation.is_some() && found.states > 20);
    assert_eq!(found, search());
}
