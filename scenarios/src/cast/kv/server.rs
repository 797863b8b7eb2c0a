//! A server of the replicated store: it hosts Raft, applies what is committed, and answers clients.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, VecDeque},
    rc::Rc,
};

use consensus::{
    Raft,
    raft::{Command, Entry, Event, Index, Payload, Record, Role, Term, observer},
};
use sim_core::{
    Node,
    combine::{Either, race},
    net::rpc::Call,
    protocol::{Effect, Hosted},
    record::{Counter, Gauge, Histogram},
    sync::{OneshotReceiver, OneshotSender, oneshot},
    time::{Duration, Monotonic, ms},
};

use super::{
    APPLIED_ONCE, KV_ADMIN_PORT, KvRead, Settings, Watchers,
    messages::{KvAdmin, KvAdminResponse, KvOperation, KvRequest, KvResponse, Logged},
    store::Store,
};

/// How often the gauges look, beside each commit.
const GLANCE: Duration = ms(20);

/// Who waits for what.
enum Waiting {
    /// For a place in the log, and then for the answer.
    Command(OneshotSender<KvResponse>),
    /// For leave to read.
    Read(KvOperation, OneshotSender<KvResponse>),
    /// An operator: for a place in the log.
    Change(OneshotSender<KvAdminResponse>),
}

/// How far the log is durable: where it ended after each persist of which that is not known.
#[derive(Default)]
struct Ends {
    persists: u64,
    pending: VecDeque<(u64, Index)>,
    durable: Index,
}

impl Ends {
    /// A step has these effects.
    fn saw(&mut self, raft: &Raft, effects: &[Effect<Raft>]) {
        if self.persists == 0 && self.pending.is_empty() && self.durable == 0 {
            // The start: what was read from the disk. What the first step persists has no entries.
            self.durable = raft.log().last().index;
        }
        for effect in effects {
            let end = match effect {
                Effect::Append(Record::Entries { previous, entries }) => {
                    previous.index + entries.len() as Index
                }
                Effect::Append(_) => self.pending.back().map_or(self.durable, |(_, end)| *end),
                Effect::Replace(_) => raft.log().last().index,
                _ => continue,
            };
            self.persists += 1;
            self.pending.push_back((self.persists, end));
        }
    }
    fn durable(&mut self, persists: u64) -> Index {
        while self.pending.front().is_some_and(|(number, _)| *number <= persists) {
            self.durable = self.pending.pop_front().map_or(self.durable, |(_, end)| end);
        }
        self.durable
    }
}

struct Gauges {
    commit: Gauge,
    synced: Gauge,
    bytes: Gauge,
    snapshot: Gauge,
}

pub(super) struct Server {
    node: Node,
    settings: Settings,
    watchers: Option<Watchers>,
    raft: Hosted<Raft>,
    store: RefCell<Store>,
    /// By the number of the request.
    asked: RefCell<BTreeMap<u64, Waiting>>,
    /// By the place in the log; with the term that it must have.
    placed: RefCell<BTreeMap<Index, (Term, OneshotSender<KvResponse>)>>,
    next: Cell<u64>,
    ends: Rc<RefCell<Ends>>,
    /// Up to where the log was there at the start, until that is applied; and when that was.
    replaying: Cell<Option<(Index, Monotonic)>>,
    gauges: Gauges,
    applied: Counter,
    repeated: Counter,
    snapshots: Counter,
    snapshot_bytes: Counter,
    replay: Histogram,
}

impl Server {
    /// Starts Raft with what the disk holds, then serves for as long as the node is up.
    pub(super) async fn run(
        node: Node,
        settings: Settings,
        config: consensus::raft::Config,
        watchers: Option<Watchers>,
    ) {
        let ends = Rc::new(RefCell::new(Ends::default()));
        let counted = Rc::clone(&ends);
        let mut watch = watchers.as_ref().map(|watchers| observer::watch(watchers.raft.clone()));
        let raft = node
            .host_watched::<Raft>(config, move |watching, raft, effects| {
                counted.borrow_mut().saw(raft, effects);
                if let Some(watch) = &mut watch {
                    watch(watching, raft, effects);
                }
            })
            .await;
        let found = raft.inspect(|raft| (raft.log().last().index, raft.commit_index()));
        let server = Rc::new(Self {
            store: RefCell::default(),
            asked: RefCell::default(),
            placed: RefCell::default(),
            next: Cell::new(0),
            ends,
            replaying: Cell::new((found.0 > found.1).then(|| (found.0, node.monotonic()))),
            gauges: Gauges {
                commit: node.gauge("raft.commit_index"),
                synced: node.gauge("raft.log_synced"),
                bytes: node.gauge_in("raft.log_bytes", "By"),
                snapshot: node.gauge("raft.snapshot_index"),
            },
            applied: node.counter("kv.applied"),
            repeated: node.counter("kv.repeated"),
            snapshots: node.counter("kv.snapshots"),
            snapshot_bytes: node.counter("kv.snapshot.bytes"),
            replay: node.histogram("kv.replay"),
            raft,
            settings,
            watchers,
            node,
        });
        let serving = Rc::clone(&server);
        server.node.serve(async move |call: Call, request: KvRequest| serving.answer(call, request).await);
        let serving = Rc::clone(&server);
        server.node.serve_on(KV_ADMIN_PORT, async move |call: Call, request: KvAdmin| {
            serving.administer(call, request).await
        });
        let glancing = Rc::clone(&server);
        server.node.spawn_detached(async move {
            loop {
                glancing.look();
                glancing.node.sleep(GLANCE).await;
            }
        });
        loop {
            let event = server.raft.next().await;
            server.on_event(event).await;
        }
    }

    /// The gauges take their levels; one that has not changed is not written again.
    fn look(&self) {
        let (commit, snapshot) = self.raft.inspect(|raft| (raft.commit_index(), raft.snapshot_index()));
        let synced = self.ends.borrow_mut().durable(self.raft.durable_persists());
        let set = |gauge: &Gauge, level: u64| {
            if gauge.level() != level as f64 {
                gauge.set(level as f64);
            }
        };
        set(&self.gauges.commit, commit);
        set(&self.gauges.synced, synced);
        set(&self.gauges.bytes, self.raft.bytes_on_disk());
        set(&self.gauges.snapshot, snapshot);
    }

    fn number(&self) -> u64 {
        self.next.replace(self.next.get() + 1)
    }

    // ---- requests ----

    async fn answer(&self, call: Call, request: KvRequest) -> KvResponse {
        if !self.raft.inspect(Raft::is_leader) {
            let hint = self.raft.inspect(Raft::leader);
            return KvResponse::NotLeader { hint };
        }
        let id = self.number();
        let (sender, receiver) = oneshot();
        let read = match (&request.operation, self.settings.read) {
            (KvOperation::Read { .. }, KvRead::Local) => Some(consensus::raft::ReadMode::Local),
            (KvOperation::Read { .. }, KvRead::ReadIndex) => Some(consensus::raft::ReadMode::ReadIndex),
            (KvOperation::Read { .. }, KvRead::Lease) => Some(consensus::raft::ReadMode::Lease),
            _ => None,
        };
        let KvRequest { client, sequence, operation } = request;
        let (waiting, command) = match read {
            Some(mode) => (Waiting::Read(operation, sender), Command::Read { id, mode }),
            None => {
                let data = sim_core::codec::encode(&Logged { client, sequence, operation }).into();
                (Waiting::Command(sender), Command::Propose { id, data })
            }
        };
        self.asked.borrow_mut().insert(id, waiting);
        self.raft.command(command);
        wait(call, receiver).await.unwrap_or(KvResponse::Unclear)
    }

    async fn administer(&self, call: Call, request: KvAdmin) -> KvAdminResponse {
        let id = self.number();
        let (sender, receiver) = oneshot();
        self.asked.borrow_mut().insert(id, Waiting::Change(sender));
        match request {
            KvAdmin::ChangeMembership { voters, learners, joint } => {
                self.raft.command(Command::ChangeMembership { id, voters, learners, joint });
            }
            KvAdmin::TransferLeadership { target } => {
                self.raft.command(Command::TransferLeadership { id, target });
                // Nobody answers a transfer that has begun.
                if self.raft.inspect(Raft::is_leader) {
                    return KvAdminResponse::Asked;
                }
            }
        }
        wait(call, receiver).await.unwrap_or(KvAdminResponse::Asked)
    }

    // ---- events ----

    async fn on_event(&self, event: Event) {
        match event {
            Event::Accepted { id, at } => match self.asked.borrow_mut().remove(&id) {
                Some(Waiting::Command(sender)) => {
                    let before = self.placed.borrow_mut().insert(at.index, (at.term, sender));
                    if let Some((_, before)) = before {
                        before.send(KvResponse::Unclear);
                    }
                }
                Some(Waiting::Change(sender)) => sender.send(KvAdminResponse::Accepted { at }),
                _ => {}
            },
            Event::Rejected { id, reason } => {
                let hint = self.raft.inspect(Raft::leader).filter(|leader| *leader != self.node.id());
                match self.asked.borrow_mut().remove(&id) {
                    Some(Waiting::Command(sender) | Waiting::Read(_, sender)) => {
                        sender.send(KvResponse::NotLeader { hint });
                    }
                    Some(Waiting::Change(sender)) => sender.send(KvAdminResponse::Rejected { reason }),
                    None => {}
                }
            }
            Event::ReadReady { id, .. } => {
                if let Some(Waiting::Read(operation, sender)) = self.asked.borrow_mut().remove(&id) {
                    let answer = self.store.borrow_mut().execute(&operation);
                    sender.send(KvResponse::Answered { answer });
                }
            }
            Event::Committed { first, entries } => self.apply(first, entries).await,
            Event::Restored { snapshot } => {
                if let Some(store) = Store::from_snapshot(&snapshot.data) {
                    *self.store.borrow_mut() = store;
                    self.end_replay(snapshot.last.index);
                }
            }
            Event::RoleChanged { role, .. } => {
                if role != Role::Leader {
                    // They may be committed yet, by another leader.
                    for (_, (_, sender)) in std::mem::take(&mut *self.placed.borrow_mut()) {
                        sender.send(KvResponse::Unclear);
                    }
                }
            }
        }
        self.look();
    }

    async fn apply(&self, first: Index, entries: Vec<Entry>) {
        let last = first + entries.len() as Index - 1;
        if let Some((end, _)) = self.replaying.get() {
            // A restart applies at once what the others applied one by one.
            let replayed = end.min(last).saturating_sub(first - 1);
            self.node.work(self.settings.replay_time * replayed).await;
        }
        for (index, entry) in (first..).zip(entries) {
            let waiting = self.placed.borrow_mut().remove(&index);
            let response = match &entry.payload {
                Payload::Command(data) => self.apply_command(index, data),
                _ => None,
            };
            if let Some((term, sender)) = waiting {
                // Another entry in its place: this one is lost. The client may have sent it to others too.
                let own = term == entry.term;
                sender.send(response.filter(|_| own).unwrap_or(KvResponse::Unclear));
            }
        }
        self.end_replay(last);
        self.compact(last);
    }

    fn apply_command(&self, index: Index, data: &[u8]) -> Option<KvResponse> {
        // What cannot be decoded is nothing, on every server alike.
        let logged: Logged = sim_core::codec::decode(data).ok()?;
        let effect = self.store.borrow_mut().apply(&logged, self.settings.sessions);
        if effect.applied {
            self.applied.increment();
            if let Some(watchers) = &self.watchers {
                let place = *watchers.applied().entry((logged.client, logged.sequence)).or_insert(index);
                self.node.always(APPLIED_ONCE, place == index, || {
                    let Logged { client, sequence, .. } = logged;
                    format!(
                        "operation {sequence} of client {client} is applied at index {place} and at {index}"
                    )
                });
            }
        } else {
            self.repeated.increment();
        }
        Some(match effect.answer {
            Some(answer) => KvResponse::Answered { answer },
            None => KvResponse::Outdated,
        })
    }

    fn end_replay(&self, applied: Index) {
        if let Some((end, since)) = self.replaying.get()
            && applied >= end
        {
            self.replay.record(self.node.monotonic().since(since));
            self.replaying.set(None);
        }
    }

    fn compact(&self, applied: Index) {
        let since = self.raft.inspect(|raft| applied.saturating_sub(raft.snapshot_index()));
        if self.settings.compact_after.is_some_and(|after| since >= after) {
            let data = self.store.borrow().to_snapshot();
            self.snapshots.increment();
            self.snapshot_bytes.add(data.len() as f64);
            self.raft.command(Command::Compact { index: applied, data });
        }
    }
}

/// Waits for an answer for as long as the caller does.
async fn wait<T>(call: Call, receiver: OneshotReceiver<T>) -> Option<T> {
    match race(receiver, call.cancelled()).await {
        Either::First(answer) => answer,
        Either::Second(()) => None,
    }
}
