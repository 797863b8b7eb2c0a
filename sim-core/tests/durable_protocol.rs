//! A protocol with records that lives through crashes: what it was told is durable is there, and nothing else.
//!
//! A ledger takes random commands (append, truncate, snapshot) and announces each once it is durable. Crashes and power
//! failures come at random times, with each policy of what a crash leaves, sectors small enough to tear records, and syncs of
//! random length. The observer keeps every state that the ledger went through. The property, checked at each restart:
//!
//! > The restored records are a state that the ledger went through, and not an earlier one than the last it announced.
//!
//! For appends alone this says: a prefix of what was written that contains everything that was announced.

mod support;

use std::sync::{Arc, Mutex};

use proptest::prelude::*;
use sim_core::{
    NodeSpec, Sim,
    fault::{Fault, FaultKind, FaultPlan},
    machine::{DiskSpec, disk::CrashPolicy},
    plan::Plan,
    protocol::{Out, Protocol},
    record::RecordingLevel,
    time::{Duration, ms, secs, us},
};
use support::run;

/// A record: its number, which is never used again, and a load that makes records of different lengths.
type Record = (u64, Vec<u8>);

#[derive(Clone, Copy, Debug)]
enum Command {
    /// That many records.
    Append(u8),
    /// Forgets that many of the last ones, then appends one.
    Rewrite(u8),
    /// Forgets that many of the last ones.
    Forget(u8),
    /// Only the last so many are kept, as a new whole; then one more.
    Snapshot(u8),
}

/// What the observer knows.
#[derive(Default)]
struct Book {
    /// Every state since the last restart, in order; the restored one first.
    states: Vec<Vec<u64>>,
    /// The latest state that was announced.
    announced: usize,
    next: u64,
    // Over the whole run, so that a test can say that it has tested something.
    restarts: usize,
    lost: usize,
    lost_last: usize,
    kept_unannounced: usize,
    all_announced: usize,
}

type Shared = Arc<Mutex<Book>>;

struct Ledger {
    book: Shared,
    records: Vec<Record>,
}

impl Ledger {
    /// The observer sees the state as it is after one more effect.
    fn step(&self) -> usize {
        let mut book = self.book.lock().unwrap();
        book.states.push(self.records.iter().map(|(number, _)| *number).collect());
        book.states.len() - 1
    }
    fn append(&mut self, out: &mut Out<Self>) {
        let number = {
            let mut book = self.book.lock().unwrap();
            book.next += 1;
            book.next
        };
        let record = (number, vec![number as u8; (number * 7 % 40) as usize]);
        self.records.push(record.clone());
        out.append(record);
        self.step();
    }
    fn forget(&mut self, count: u8, out: &mut Out<Self>) {
        let keep = self.records.len().saturating_sub(usize::from(count));
        self.records.truncate(keep);
        out.truncate(keep);
        self.step();
    }
}

impl Protocol for Ledger {
    type Config = Shared;
    type Message = ();
    type Command = Command;
    type Event = usize;
    type Record = Record;
    type Timer = ();

    fn restore(book: &Shared, records: Vec<Record>, _: &mut Out<Self>) -> Self {
        let found: Vec<u64> = records.iter().map(|(number, _)| *number).collect();
        for (number, load) in &records {
            assert!(*load == vec![*number as u8; (*number * 7 % 40) as usize], "record {number} is damaged");
        }
        let mut book_now = book.lock().unwrap();
        if !book_now.states.is_empty() {
            let (last, announced) = (book_now.states.len() - 1, book_now.announced);
            let index = (announced..=last).rev().find(|&index| book_now.states[index] == found);
            let index = index.unwrap_or_else(|| {
                let earlier = book_now.states.iter().position(|state| *state == found);
                panic!(
                    "restored {found:?}, which is state {earlier:?} of 0..={last}, but state {announced} was announced: {:?}",
                    book_now.states[announced]
                )
            });
            book_now.restarts += 1;
            book_now.lost += last - index;
            book_now.lost_last = last - index;
            book_now.kept_unannounced += index - announced;
        }
        book_now.states = vec![found];
        book_now.announced = 0;
        Self { book: Arc::clone(book), records }
    }
    fn on_command(&mut self, command: Command, out: &mut Out<Self>) {
        match command {
            Command::Append(count) => (0..count).for_each(|_| self.append(out)),
            Command::Rewrite(count) => {
                self.forget(count, out);
                self.append(out);
            }
            Command::Forget(count) => self.forget(count, out),
            Command::Snapshot(count) => {
                let keep = self.records.len().min(usize::from(count));
                self.records.drain(..self.records.len() - keep);
                out.replace(self.records.clone());
                self.step();
                self.append(out);
            }
        }
        let state = self.book.lock().unwrap().states.len() - 1;
        out.announce(state);
    }
    fn on_message(&mut self, _: sim_core::NodeId, (): (), _: &mut Out<Self>) {}
    fn on_timer(&mut self, (): (), _: &mut Out<Self>) {}
}

/// Everything that is drawn for one run.
#[derive(Clone, Debug)]
struct Case {
    seed: u64,
    /// (pause before it in us, command), again and again.
    commands: Vec<(u64, Command)>,
    /// (when in us, a power failure of 3 ms or else a restart).
    crashes: Vec<(u64, bool)>,
    policy: CrashPolicy,
    sector: u32,
    fsync: Duration,
    write: Duration,
    write_back: Option<Duration>,
}

fn live(case: &Case) -> Book {
    let mut faults = FaultPlan::none();
    for (number, &(at, power)) in case.crashes.iter().enumerate() {
        let what = if power { FaultKind::PowerFailure } else { FaultKind::Restart };
        let fault = Fault::at(us(at), format!("crash {number}"), what).on("node");
        faults.push(if power { fault.lasting(ms(3)) } else { fault });
    }
    // And one when all is quiet: then nothing may be missing.
    faults.push(Fault::at(secs(1), "last", FaultKind::Restart).on("node"));
    let plan = Plan::new("ledger", case.seed, secs(2)).with_faults(faults);
    let mut sim = Sim::new(&plan, RecordingLevel::Essential);
    let book = Shared::default();
    let disk = DiskSpec {
        write: case.write,
        fsync: case.fsync,
        sector: case.sector,
        crash: case.policy,
        write_back: case.write_back,
        ..DiskSpec::default()
    };
    let (shared, commands) = (Arc::clone(&book), case.commands.clone());
    sim.node(NodeSpec::new("node").disk(disk), async move |node| {
        let hosted = node.host::<Ledger>(Arc::clone(&shared)).await;
        let (me, asked, commands) = (node.clone(), hosted.clone(), commands.clone());
        node.spawn_detached(async move {
            for &(pause, command) in commands.iter().cycle() {
                if me.monotonic().since_start() > ms(600) {
                    return;
                }
                me.sleep(us(pause)).await;
                asked.command(command);
            }
        });
        loop {
            let state = hosted.next().await;
            let mut book = shared.lock().unwrap();
            book.announced = state;
            book.all_announced += 1;
        }
    });
    run(sim);
    Arc::into_inner(book).expect("the run is over").into_inner().unwrap()
}

fn commands() -> impl Strategy<Value = Vec<(u64, Command)>> {
    let command = prop_oneof![
        6 => (1..4_u8).prop_map(Command::Append),
        2 => (1..6_u8).prop_map(Command::Rewrite),
        1 => (1..9_u8).prop_map(Command::Forget),
        1 => (0..9_u8).prop_map(Command::Snapshot),
    ];
    // At most one a millisecond: the disk keeps up, so that all is quiet at the last restart.
    prop::collection::vec((1_000..20_000_u64, command), 1..40)
}

fn policy() -> impl Strategy<Value = CrashPolicy> {
    prop_oneof![
        Just(CrashPolicy::LoseUnsynced),
        Just(CrashPolicy::TearFirst),
        Just(CrashPolicy::KeepPrefix),
        Just(CrashPolicy::KeepRandomSectors),
    ]
}

prop_compose! {
    fn case()(
        seed in any::<u64>(),
        commands in commands(),
        crashes in prop::collection::vec((0..700_000_u64, any::<bool>()), 0..12),
        policy in policy(),
        sector in prop_oneof![Just(16_u32), Just(64), Just(512)],
        (fsync, write, write_back) in (
            (0..20_000_u64).prop_map(us), (0..500_u64).prop_map(us), prop::option::of((1..50_u64).prop_map(ms)),
        ),
    ) -> Case {
        Case { seed, commands, crashes, policy, sector, fsync, write, write_back }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_restart_finds_a_state_that_is_not_older_than_the_last_announced(case in case()) {
        let book = live(&case);
        prop_assert!(book.restarts > 0);
        // The last restart came in the quiet: with every sync done, the ledger has lost nothing.
        prop_assert_eq!(book.lost_last, 0);
    }
}

/// A case in which much is written and each crash finds something half done.
fn rough(seed: u64, policy: CrashPolicy) -> Case {
    let commands = [
        (700, Command::Append(3)),
        (2_100, Command::Rewrite(2)),
        (1_300, Command::Append(2)),
        (3_700, Command::Snapshot(6)),
        (900, Command::Append(1)),
        (1_100, Command::Forget(2)),
    ];
    Case {
        seed,
        commands: commands.to_vec(),
        crashes: (1..60).map(|n| (n * 9_973 + seed * 37, n % 3 == 0)).collect(),
        policy,
        sector: 16,
        fsync: ms(2),
        write: us(100),
        write_back: None,
    }
}

#[test]
fn crashes_lose_something_tears_keep_something_and_most_is_announced() {
    for policy in [
        CrashPolicy::LoseUnsynced,
        CrashPolicy::TearFirst,
        CrashPolicy::KeepPrefix,
        CrashPolicy::KeepRandomSectors,
    ] {
        let (mut restarts, mut lost, mut kept, mut announced) = (0, 0, 0, 0);
        for seed in 0..8 {
            let book = live(&rough(seed, policy));
            restarts += book.restarts;
            lost += book.lost;
            kept += book.kept_unannounced;
            announced += book.all_announced;
        }
        assert!(restarts >= 400, "{policy:?}: {restarts} restarts");
        assert!(lost > 100, "{policy:?}: {lost} steps lost");
        assert!(announced > 1_000, "{policy:?}: {announced} announced");
        if policy != CrashPolicy::LoseUnsynced {
            assert!(kept > 50, "{policy:?}: {kept} steps found that nobody had announced");
        }
    }
}

#[test]
fn without_crashes_nothing_is_lost() {
    let calm = Case { crashes: Vec::new(), ..rough(1, CrashPolicy::LoseUnsynced) };
    let book = live(&calm);
    assert_eq!((book.restarts, book.lost, book.kept_unannounced), (1, 0, 0));
}
