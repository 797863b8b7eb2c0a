//! A cluster in the simulator: servers that host Raft, propose while they lead, and write down what they apply.
#![allow(dead_code, reason = "each test binary uses a part of it")]

pub mod storm;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

use consensus::{
    Bytes, Raft,
    raft::{Command, Config, Event, Index, Observer, Payload, Role, observer},
};
use sim_core::{
    NodeId, NodeSpec, Sim,
    fault::FaultPlan,
    machine::DiskSpec,
    net::Link,
    plan::Plan,
    record::{Recording, RecordingLevel},
    time::{Duration, SimTime, ms, us},
};

/// What a server has applied since its last start: index, term and command.
pub type Applied = Vec<(Index, u64, String)>;

/// What a run has shown to the observer.
#[derive(Default)]
pub struct Book {
    /// By server.
    pub applied: BTreeMap<NodeId, Applied>,
    /// When somebody became leader, who, and of which term.
    pub leaders: Vec<(SimTime, NodeId, u64)>,
    /// What was rejected.
    pub rejected: Vec<(SimTime, NodeId, Event)>,
    /// How many proposals were accepted.
    pub accepted: usize,
    /// When each command was first announced as committed.
    pub committed: BTreeMap<String, SimTime>,
}

/// A cluster to be.
pub struct Cluster {
    pub seed: u64,
    pub servers: u32,
    pub voters: u32,
    pub until: Duration,
    pub faults: FaultPlan,
    pub link: Link,
    pub disk: DiskSpec,
    pub change: Arc<dyn Fn(Config) -> Config + Send + Sync>,
    /// A leader proposes one command each so often.
    pub propose_every: Duration,
    /// Not at random times, which are of the same mean.
    pub steady: bool,
    /// A server takes a snapshot after so many entries; never, without a number.
    pub compact_after: Option<u64>,
    /// What whoever leads at that time is asked for.
    pub orders: Vec<(Duration, fn() -> Command)>,
}

impl Cluster {
    /// Servers 0 to n - 1, links of 1 ms, disks that sync in 2 ms, one proposal each 10 ms.
    pub fn new(servers: u32) -> Self {
        Self {
            seed: 1,
            servers,
            voters: servers,
            until: sim_core::time::secs(5),
            faults: FaultPlan::none(),
            link: Link::constant(ms(1)),
            disk: DiskSpec { fsync: ms(2), write: us(20), ..DiskSpec::default() },
            change: Arc::new(|config| config),
            propose_every: ms(10),
            steady: true,
            compact_after: None,
            orders: Vec::new(),
        }
    }

    pub fn run(self) -> (Book, Recording) {
        let plan = Plan::new("cluster", self.seed, self.until).with_faults(self.faults);
        let mut sim = Sim::new(&plan, RecordingLevel::Essential);
        sim.default_link(self.link);
        let book = Arc::new(Mutex::new(Book::default()));
        let watcher = Arc::new(Mutex::new(Observer::new()));
        let voters: Vec<NodeId> = (0..self.voters).map(NodeId).collect();
        for number in 0..self.servers {
            let (book, watcher) = (Arc::clone(&book), Arc::clone(&watcher));
            let (voters, change, orders) = (voters.clone(), Arc::clone(&self.change), self.orders.clone());
            let (every, steady, compact_after) = (self.propose_every, self.steady, self.compact_after);
            let spec = NodeSpec::new(format!("server-{number}")).disk(self.disk);
            sim.node(spec, async move |node| {
                let id = node.id();
                let first = if voters.contains(&id) { voters.clone() } else { Vec::new() };
                let config = change(Config::new(id, first));
                let hosted = node.host_watched::<Raft>(config, observer::watch(Arc::clone(&watcher))).await;
                book.lock().unwrap().applied.insert(id, Vec::new());
                let (proposer, raft, orders) = (node.clone(), hosted.clone(), orders.clone());
                node.spawn_detached(async move {
                    let mut number = 0;
                    let mut given = BTreeSet::new();
                    let mut chance = proposer.rng("proposals");
                    loop {
                        let share = if steady { 1.0 } else { 2.0 * chance.unit() };
                        proposer.sleep(every.mul_f64(share)).await;
                        if !raft.inspect(Raft::is_leader) {
                            continue;
                        }
                        let now = proposer.observer().now().since_start();
                        for (order, (at, command)) in orders.iter().enumerate() {
                            if now >= *at && now < *at + every && given.insert(order) {
                                raft.command(command());
                            }
                        }
                        let text = format!("{}.{}-{number}", id.0, proposer.incarnation());
                        raft.command(Command::Propose { id: number, data: text.as_str().into() });
                        number += 1;
                    }
                });
                loop {
                    let event = hosted.next().await;
                    let now = node.observer().now();
                    let mut book = book.lock().unwrap();
                    match event {
                        Event::Committed { first, entries } => {
                            for (index, entry) in (first..).zip(entries) {
                                if let Payload::Command(data) = &entry.payload {
                                    let text = String::from_utf8_lossy(data).into_owned();
                                    book.committed.entry(text.clone()).or_insert(now);
                                    book.applied.get_mut(&id).unwrap().push((index, entry.term, text));
                                }
                                let (snapshot, commit) =
                                    hosted.inspect(|raft| (raft.snapshot_index(), raft.commit_index()));
                                if compact_after
                                    .is_some_and(|after| index == commit && index >= snapshot + after)
                                {
                                    let data = state(&book.applied[&id]);
                                    hosted.command(Command::Compact { index, data });
                                }
                            }
                        }
                        Event::Restored { snapshot } => {
                            let applied = parse(&snapshot.data);
                            book.applied.insert(id, applied);
                        }
                        Event::RoleChanged { role: Role::Leader, term, .. } => {
                            book.leaders.push((now, id, term));
                        }
                        Event::Accepted { .. } => book.accepted += 1,
                        Event::Rejected { .. } => book.rejected.push((now, id, event)),
                        _ => {}
                    }
                }
            });
        }
        let recording = sim.run().unwrap();
        let book = std::mem::take(&mut *book.lock().unwrap());
        (book, recording)
    }
}

/// The application's state as bytes: what it has applied.
fn state(applied: &Applied) -> Bytes {
    sim_core::codec::encode(applied).into()
}
fn parse(data: &Bytes) -> Applied {
    sim_core::codec::decode(data).unwrap()
}

/// The properties that did not hold.
pub fn violations(recording: &Recording) -> Vec<String> {
    recording
        .properties
        .iter()
        .filter(|property| property.first_failure.is_some())
        .map(|property| format!("{}: {:?}", property.name, property.first_failure))
        .collect()
}
