//! The world of the campaigns: Raft servers with a register each, clients that write and read it, an operator.
//!
//! It is small on purpose (a few thousand events in six virtual seconds), and everything of it that a campaign varies is a
//! knob of the plan: a shrinker can set it.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
    sync::{Arc, Mutex, PoisonError},
};

use consensus::{
    Raft,
    raft::{Command, Config, Event, Flaws, Index, Observer, Payload, ReadMode, Rejection, observer},
    sessions::{Admission, Sessions},
};
use serde::{Deserialize, Serialize};
use sim_core::{
    Node, NodeId, NodeSpec, Sim,
    machine::DiskSpec,
    net::{Link, rpc::Request},
    plan::Plan,
    protocol::Durability,
    rng::Delay,
    sync::{OneshotSender, oneshot},
    time::{Duration, ms, us},
};

/// What a campaign varies. Times are whole microseconds, so that a plan file reads well.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Knobs {
    /// Servers.
    pub servers: u32,
    /// Mean one-way delay, in µs; each delay is uniform between half and one and a half of it.
    pub delay_us: u64,
    /// The shortest election time-out, in µs.
    pub timeout_us: u64,
    /// By how much the longest is longer, in µs.
    pub width_us: u64,
    /// Mean time between the operations of a client, in µs.
    pub gap_us: u64,
}

/// What a campaign fixes.
#[derive(Clone, Copy, Debug)]
pub struct World {
    /// Bugs put back.
    pub flaws: Flaws,
    /// Switches of Raft.
    pub pre_vote: bool,
    /// See [`Config::check_quorum`].
    pub check_quorum: bool,
    /// See [`Config::stickiness`].
    pub stickiness: bool,
    /// Whether answers wait for the disk.
    pub durable: bool,
    /// In parts in a million.
    pub drift_bound: u32,
    /// How reads are made sure of.
    pub reads: ReadMode,
    /// Whether the state machine knows a command that comes twice.
    pub sessions: bool,
    /// Clients.
    pub clients: u32,
    /// The share of reads among their operations.
    pub read_share: f64,
    /// Whether an operator adds and removes servers.
    pub operator: bool,
    /// When clients and operator stop.
    pub quiet_after: Duration,
    /// The claim that a read sees every write that was acknowledged before it began, by the name it has here.
    pub fresh_reads: &'static str,
}

impl World {
    /// Raft as it should be, two clients that write.
    pub const SOUND: Self = Self {
        flaws: Flaws {
            commit_any_term: false,
            no_noop: false,
            change_before_own_commit: false,
            forget_vote: false,
            truncate_on_stale: false,
            lease_ignores_others: false,
        },
        pre_vote: false,
        check_quorum: false,
        stickiness: false,
        durable: true,
        drift_bound: 10_000,
        reads: ReadMode::ReadIndex,
        sessions: true,
        clients: 2,
        read_share: 0.0,
        operator: false,
        quiet_after: ms(5_500),
        fresh_reads: FRESH_READS,
    };
}

/// The usual name of [`World::fresh_reads`].
pub const FRESH_READS: &str = "a read sees every write that was acknowledged before it began";
/// Exactly-once.
pub const ONCE: &str = "no command is applied twice";
/// Liveness of one operation at least; a case that a sweep should reach.
pub const ANSWERED: &str = "an operation was answered";

#[derive(Serialize, Deserialize, Debug, Clone)]
enum Ask {
    Put { client: u64, number: u64 },
    Get,
    Change { server: u32 },
}
#[derive(Serialize, Deserialize, Debug, Clone)]
enum Answer {
    /// The index of the write, or of the last write that the read saw.
    Done {
        index: Index,
    },
    NotLeader {
        hint: Option<u32>,
    },
    /// It was refused, or its place in the log went to another.
    Refused,
}
impl Request for Ask {
    type Response = Answer;
}

/// What the observer keeps: the scenario's bookkeeping, that no server sees.
#[derive(Default)]
struct Book {
    /// The highest index of an acknowledged write.
    acknowledged: Index,
}

/// A server's state machine: a register, and who waits for what.
#[derive(Default)]
struct Machine {
    /// The index of the last write that was applied.
    register: Index,
    sessions: Sessions<Index>,
    /// Where each command of a client was applied: to see one that is applied twice.
    applied: BTreeMap<(u64, u64), Index>,
    next: u64,
    proposed: BTreeMap<u64, OneshotSender<Answer>>,
    placed: BTreeMap<Index, (u64, OneshotSender<Answer>)>,
    reading: BTreeMap<u64, OneshotSender<Answer>>,
}

impl World {
    /// Builds the world of a plan.
    pub fn build(self, plan: &Plan, sim: &mut Sim) {
        let knobs: Knobs = plan.knobs.clone().try_into().expect("the campaign's own knobs");
        let delay = us(knobs.delay_us);
        sim.default_link(Link::new(Delay::uniform(delay / 2, delay + delay / 2)));
        let observer = Arc::new(Mutex::new(Observer::new()));
        let book = Arc::new(Mutex::new(Book::default()));
        let servers: Vec<NodeId> = (0..knobs.servers).map(NodeId).collect();
        for number in 1..=knobs.servers {
            let disk = DiskSpec { fsync: ms(2), write: us(20), ..DiskSpec::default() };
            let (voters, observer) = (servers.clone(), Arc::clone(&observer));
            sim.node(NodeSpec::new(format!("raft-{number}")).disk(disk), async move |node| {
                let config = self.config(knobs, node.id(), &voters);
                serve(self, node, config, Arc::clone(&observer)).await;
            });
        }
        for client in 1..=self.clients {
            let (servers, book) = (servers.clone(), Arc::clone(&book));
            sim.node(format!("client-{client}"), async move |node| {
                work(self, knobs, node, u64::from(client), &servers, &book).await;
            });
        }
        if self.operator {
            let servers = servers.clone();
            sim.node("operator", async move |node| operate(self, knobs, node, &servers).await);
        }
    }

    fn config(self, knobs: Knobs, id: NodeId, voters: &[NodeId]) -> Config {
        let (min, width) = (us(knobs.timeout_us), us(knobs.width_us));
        let config = Config::new(id, voters.iter().copied()).election_timeout(min, min + width);
        Config {
            heartbeat: min / 3,
            pre_vote: self.pre_vote,
            check_quorum: self.check_quorum,
            stickiness: self.stickiness,
            drift_bound: self.drift_bound,
            catch_up: None,
            durability: if self.durable { Durability::BeforeAnswers } else { Durability::Every(ms(120_000)) },
            flaws: self.flaws,
            ..config
        }
    }
}

/// A server: Raft, the register, and the answers to clients.
async fn serve(world: World, node: Node, config: Config, observer: Arc<Mutex<Observer>>) {
    let hosted = node.host_watched::<Raft>(config, observer::watch(observer)).await;
    let machine = Rc::new(RefCell::new(Machine::default()));
    {
        let (hosted, machine) = (hosted.clone(), Rc::clone(&machine));
        node.serve(async move |_call, ask: Ask| {
            let (sender, answer) = oneshot();
            let id = {
                let mut machine = machine.borrow_mut();
                machine.next += 1;
                let id = machine.next;
                if matches!(ask, Ask::Get) {
                    machine.reading.insert(id, sender);
                } else {
                    machine.proposed.insert(id, sender);
                }
                id
            };
            match ask {
                Ask::Put { client, number } => {
                    let data = sim_core::codec::encode(&(client, number));
                    hosted.command(Command::Propose { id, data: data.into() });
                }
                Ask::Get => hosted.command(Command::Read { id, mode: world.reads }),
                Ask::Change { server } => {
                    let now = hosted.inspect(|raft| raft.configuration().all_voters().collect::<Vec<_>>());
                    hosted.command(change(id, &now, server));
                }
            }
            answer.await.unwrap_or(Answer::Refused)
        });
    }
    loop {
        let event = hosted.next().await;
        take(world, &node, &hosted, &mut machine.borrow_mut(), event);
    }
}

/// One voter more or fewer: who votes is removed, who does not is added.
fn change(id: u64, now: &[NodeId], server: u32) -> Command {
    let mut voters: BTreeSet<NodeId> = now.iter().copied().collect();
    if !voters.remove(&NodeId(server)) {
        voters.insert(NodeId(server));
    }
    Command::ChangeMembership { id, voters, learners: BTreeSet::new(), joint: false }
}

fn take(
    world: World,
    node: &Node,
    hosted: &sim_core::protocol::Hosted<Raft>,
    machine: &mut Machine,
    event: Event,
) {
    match event {
        Event::Accepted { id, at } => {
            if let Some(waiting) = machine.proposed.remove(&id) {
                machine.placed.insert(at.index, (at.term, waiting));
            }
        }
        Event::Rejected { id, reason } => {
            let waiting = machine.proposed.remove(&id).or_else(|| machine.reading.remove(&id));
            if let Some(waiting) = waiting {
                waiting.send(match reason {
                    Rejection::NotLeader { leader } => Answer::NotLeader { hint: leader.map(|node| node.0) },
                    _ => Answer::Refused,
                });
            }
        }
        Event::Committed { first, entries } => {
            for (index, entry) in (first..).zip(entries) {
                let mut answer = index;
                if let Payload::Command(data) = &entry.payload {
                    let (client, number): (u64, u64) = sim_core::codec::decode(data).unwrap_or_default();
                    let known = match machine.sessions.admit(client, number) {
                        Admission::Repeated(at) if world.sessions => Some(*at),
                        Admission::Outdated if world.sessions => Some(index),
                        _ => None,
                    };
                    if let Some(at) = known {
                        answer = at;
                    } else {
                        let before = machine.applied.insert((client, number), index);
                        node.always(ONCE, before.is_none(), || {
                            format!(
                                "command {number} of client-{client} is applied at {} and at {index}",
                                before.unwrap_or(0)
                            )
                        });
                        machine.sessions.record(client, number, index);
                        machine.register = index;
                    }
                }
                if let Some((term, waiting)) = machine.placed.remove(&index) {
                    waiting.send(if term == entry.term {
                        Answer::Done { index: answer }
                    } else {
                        Answer::Refused
                    });
                }
            }
        }
        Event::ReadReady { id, .. } => {
            if let Some(waiting) = machine.reading.remove(&id) {
                waiting.send(Answer::Done { index: machine.register });
            }
        }
        Event::RoleChanged { .. } if !hosted.inspect(Raft::is_leader) => {
            // Whoever waits here may wait for long: the client asks elsewhere.
            for (_, waiting) in std::mem::take(&mut machine.reading) {
                waiting.send(Answer::NotLeader { hint: None });
            }
        }
        _ => {}
    }
}

/// A client: operations at random times, each tried at one server after the other until it is answered.
async fn work(world: World, knobs: Knobs, node: Node, client: u64, servers: &[NodeId], book: &Mutex<Book>) {
    let mut chance = node.rng("work");
    let leader = Cell::new(0_usize);
    let book = || book.lock().unwrap_or_else(PoisonError::into_inner);
    for number in 1.. {
        let gap = us(knobs.gap_us).mul_f64(2.0 * chance.unit());
        let reads = chance.chance(world.read_share);
        let start = chance.below(servers.len() as u64) as usize;
        let anywhere = chance.chance(0.5);
        node.sleep(gap.max(ms(1))).await;
        if node.observer().now().since_start() >= world.quiet_after {
            return;
        }
        if !node.next_operation() {
            continue;
        }
        if anywhere {
            leader.set(start);
        }
        let expected = book().acknowledged;
        let operation = node.invoke(client as u32, if reads { "read" } else { "write" }, "", &number);
        let ask = if reads { Ask::Get } else { Ask::Put { client, number } };
        let answer = ask_around(&node, servers, &leader, &ask, 6).await;
        match answer {
            Some(index) => {
                operation.ok(&index);
                node.sometimes(ANSWERED, true);
                if reads {
                    node.always(world.fresh_reads, index >= expected, || {
                        format!("client-{client} read the write at index {index}, the one at {expected} was acknowledged before")
                    });
                } else {
                    let mut book = book();
                    book.acknowledged = book.acknowledged.max(index);
                }
            }
            None => operation.unknown("no answer"),
        }
    }
}

/// Asks one server after the other.
async fn ask_around(
    node: &Node,
    servers: &[NodeId],
    leader: &Cell<usize>,
    ask: &Ask,
    tries: u32,
) -> Option<Index> {
    for _ in 0..tries {
        let at = leader.get() % servers.len();
        match node.call(servers[at], ask).deadline(ms(250)).await {
            Ok(Answer::Done { index }) => return Some(index),
            Ok(Answer::NotLeader { hint: Some(hint) }) if hint as usize != at => leader.set(hint as usize),
            Ok(Answer::NotLeader { .. }) => {
                leader.set(at + 1);
                node.sleep(ms(20)).await;
            }
            Ok(Answer::Refused) | Err(_) => leader.set(at + 1),
        }
    }
    None
}

/// An operator who removes a server or adds it again, now and then, through whoever takes himself for the leader.
async fn operate(world: World, knobs: Knobs, node: Node, servers: &[NodeId]) {
    let mut chance = node.rng("operate");
    for number in 1_u64.. {
        let gap = us(knobs.gap_us).mul_f64(2.0 * chance.unit());
        let (server, at) =
            (chance.below(servers.len() as u64) as u32, chance.below(servers.len() as u64) as usize);
        node.sleep(gap.max(ms(1))).await;
        if node.observer().now().since_start() >= world.quiet_after {
            return;
        }
        if !node.next_operation() {
            continue;
        }
        let operation = node.invoke(1_000, "add or remove", &format!("raft-{}", server + 1), &number);
        match ask_around(&node, servers, &Cell::new(at), &Ask::Change { server }, 2).await {
            Some(index) => operation.ok(&index),
            None => operation.unknown("no answer"),
        }
    }
}
