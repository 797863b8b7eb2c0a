//! The host: gives a protocol its messages, timers and commands, and carries out its effects.
//!
//! While a sync is pending the handlers run on. What was sent or announced after a persist waits for its sync, timers do
//! not, and persists that wait share one sync. A failed sync crashes the node. A protocol may say what does not wait, ask to
//! be told when a sync is done, or choose to be synced in the background ([`Durability`]).

use std::{
    cell::RefCell,
    collections::{BTreeMap, VecDeque},
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
    task::{Poll, Waker},
};

use super::{
    Durability, Effect, Out, Protocol,
    records::{RecordLog, Write, record_file},
};
use crate::{
    codec,
    executor::{
        combine::race,
        queue::{Class, EventKey},
        sync::Notify,
    },
    net::Packet,
    node::{Node, NodeId},
    record::{Ending, NodeIndex, PropertyKind, SpanIndex, SpanKind},
    sim::panic_message,
    time::{Monotonic, SimTime, ns},
    world::{Core, Event},
};

/// The port that [`Node::host`] binds.
const HOST_PORT: u16 = 1;

/// A protocol on a node, without its types.
pub(crate) trait AnyHost {
    fn on_message(&self, core: &mut Core, from: NodeId, bytes: &[u8], span: SpanIndex);
    fn on_timer(&self, core: &mut Core, timer: u64);
    /// Reads a little of itself, so that its memory is at hand when a message comes.
    fn touch(&self) -> u32;
}

/// A bound protocol.
pub(crate) struct HostSlot {
    port: u16,
    host: Rc<dyn AnyHost>,
}

impl HostSlot {
    #[inline]
    pub(crate) fn port(&self) -> u16 {
        self.port
    }
    #[inline]
    pub(crate) fn touch(&self) -> u32 {
        self.host.touch()
    }
}

/// What waits for a sync.
enum Held<P: Protocol> {
    Send(NodeId, Box<Packet>, &'static str, SpanIndex),
    Announce(P::Event),
    Fire(P::Timer, SpanIndex),
}

/// What looks on after each step.
type Watch<P> = Box<dyn FnMut(&mut Watching<'_>, &P, &[Effect<P>])>;

struct Host<P: Protocol> {
    protocol: Option<P>,
    out: Option<Out<P>>,
    scratch: Vec<Effect<P>>,
    timers: BTreeMap<P::Timer, (u64, EventKey)>,
    timer_names: BTreeMap<u64, P::Timer>,
    next_timer: u64,
    /// Persists that no sync has begun with.
    writes: Vec<Write>,
    /// The number of the sync that will cover `writes`, and of the last one that is done.
    epoch: u64,
    synced: u64,
    /// How many persists have been said, and how many of them are durable.
    persisted: u64,
    durable: u64,
    held: VecDeque<(u64, Held<P>)>,
    events: VecDeque<P::Event>,
    waiting: Option<Waker>,
    /// Timers that waited for a sync, and found none pending.
    due: VecDeque<(P::Timer, SpanIndex)>,
    watch: Option<Watch<P>>,
}

impl<P: Protocol> Host<P> {
    fn tell(&mut self, event: P::Event) {
        self.events.push_back(event);
        if let Some(waker) = self.waiting.take() {
            waker.wake();
        }
    }
}

struct HostCell<P: Protocol> {
    node: Node,
    port: u16,
    dirty: Notify,
    host: RefCell<Host<P>>,
}

impl<P: Protocol> HostCell<P> {
    /// Runs a handler and carries out what it says.
    #[inline]
    fn handle(&self, core: &mut Core, span: SpanIndex, handler: impl FnOnce(&mut P, &mut Out<P>)) {
        let mut host = self.host.borrow_mut();
        let host = &mut *host;
        self.step(core, host, span, handler);
        self.fire_due(core, host);
    }

    /// The timers that waited for a sync and found none pending.
    fn fire_due(&self, core: &mut Core, host: &mut Host<P>) {
        while let Some((timer, span)) = host.due.pop_front() {
            if !self.node.is_current(core) || core.stop.is_some() {
                return;
            }
            self.step(core, host, span, |protocol, out| protocol.on_timer(timer, out));
        }
    }

    #[inline]
    fn step(
        &self,
        core: &mut Core,
        host: &mut Host<P>,
        span: SpanIndex,
        handler: impl FnOnce(&mut P, &mut Out<P>),
    ) {
        let state = &core.nodes[self.node.id().index()];
        let (now, wall) = (state.clock.monotonic(core.now), state.clock.wall(core.now));
        let (Some(protocol), Some(out)) = (&mut host.protocol, &mut host.out) else { return };
        out.set_time(now, wall);
        // Messages and timers come from the dispatcher, not from a task's poll: a panic is caught here, and ends the run.
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| handler(protocol, out))) {
            let node = state.name.to_string();
            core.stop = Some(Ending::Panicked { node, message: panic_message(&*panic) });
            return;
        }
        core.clocks_are_read(self.node.id(), out.take_readings());
        if out.effects().is_empty() {
            return;
        }
        if let Some(watch) = &mut host.watch {
            watch(&mut Watching { core, node: self.node.id() }, protocol, out.effects());
        }
        let mut effects = std::mem::take(&mut host.scratch);
        out.swap(&mut effects);
        self.carry_out(core, host, &mut effects, now, span);
        effects.clear();
        host.scratch = effects;
    }

    fn carry_out(
        &self,
        core: &mut Core,
        host: &mut Host<P>,
        effects: &mut Vec<Effect<P>>,
        now: Monotonic,
        span: SpanIndex,
    ) {
        let id = self.node.id();
        if effects.len() > 2 {
            core.warm_pairs(id, effects.len());
        }
        for effect in effects.drain(..) {
            // A send or a state may have triggered a crash of this very node: the rest is not done.
            if !self.node.is_current(core) {
                return;
            }
            match effect {
                Effect::Send(to, message) => {
                    let packet = core.net.packet_with(0, &message);
                    let kind = codec::kind_of(&message);
                    if host.synced < host.epoch {
                        host.held.push_back((host.epoch, Held::Send(to, packet, kind, span)));
                    } else {
                        self.send(core, to, packet, kind, span);
                    }
                }
                Effect::Announce(event) => {
                    if host.synced < host.epoch {
                        host.held.push_back((host.epoch, Held::Announce(event)));
                    } else {
                        host.tell(event);
                    }
                }
                Effect::SendNow(to, message) => {
                    let packet = core.net.packet_with(0, &message);
                    let kind = codec::kind_of(&message);
                    self.send(core, to, packet, kind, span);
                }
                Effect::AnnounceNow(event) => host.tell(event),
                Effect::WhenDurable(timer) => {
                    if host.synced < host.epoch {
                        host.held.push_back((host.epoch, Held::Fire(timer, span)));
                    } else {
                        host.due.push_back((timer, span));
                    }
                }
                Effect::Arm(timer, after) => {
                    if let Some((number, key)) = host.timers.remove(&timer) {
                        host.timer_names.remove(&number);
                        core.queue.withdraw(key);
                    }
                    let deadline = now + after;
                    let at = core.nodes[id.index()].clock.when(deadline);
                    core.timer_is_set(id, at);
                    let number = host.next_timer;
                    host.next_timer += 1;
                    let event = Event::HostTimer {
                        node: id,
                        incarnation: self.node.incarnation_number(),
                        host: u32::from(self.port),
                        timer: number,
                        deadline,
                    };
                    let key = core.queue.push(at, Class::Usual, event);
                    host.timers.insert(timer, (number, key));
                    host.timer_names.insert(number, timer);
                }
                Effect::Disarm(timer) => {
                    if let Some((number, key)) = host.timers.remove(&timer) {
                        host.timer_names.remove(&number);
                        core.queue.withdraw(key);
                    }
                }
                Effect::Append(record) => self.persist(host, Write::Append(codec::encode(&record))),
                Effect::Truncate(keep) => self.persist(host, Write::Truncate(keep)),
                Effect::Replace(records) => {
                    self.persist(host, Write::Replace(records.iter().map(codec::encode).collect()));
                }
                Effect::State(key, value) => core.set_state(id, key, &value),
            }
        }
    }

    fn persist(&self, host: &mut Host<P>, write: Write) {
        if host.writes.is_empty() {
            host.epoch += 1;
            self.dirty.notify_all();
        }
        if matches!(write, Write::Replace(_)) {
            host.writes.clear(); // nobody would ever read them: a disk that is behind need not write them either
        }
        host.writes.push(write);
        host.persisted += 1;
    }

    /// Puts a message on the wire. One that starts a chain of its own becomes the root of a trace.
    fn send(
        &self,
        core: &mut Core,
        to: NodeId,
        packet: Box<Packet>,
        kind: &'static str,
        mut span: SpanIndex,
    ) {
        let id = self.node.id();
        if !span.is_some() && core.recorder.spans_on() {
            let pair = core.pair(id, to);
            let name = core.kind_slot(pair, kind).span_name;
            let (now, offset) = (core.now, core.clock_error(id));
            span = core.recorder.span_start(
                now,
                offset,
                NodeIndex(id.0),
                name,
                SpanKind::Producer,
                SpanIndex::NONE,
            );
            core.recorder.span_end(now, span);
        }
        core.send_datagram(id, to, self.port, packet, kind, span);
    }

    /// A sync is done: what waited for it goes out, in order.
    fn release(&self, core: &mut Core, epoch: u64) {
        self.host.borrow_mut().synced = epoch;
        while self.node.is_current(core) && core.stop.is_none() {
            let mut host = self.host.borrow_mut();
            if host.held.front().is_none_or(|(wanted, _)| *wanted > epoch) {
                break;
            }
            match host.held.pop_front().expect("it has a front").1 {
                Held::Send(to, packet, kind, span) => self.send(core, to, packet, kind, span),
                Held::Announce(event) => host.tell(event),
                Held::Fire(timer, span) => {
                    drop(host);
                    self.handle(core, span, |protocol, out| protocol.on_timer(timer, out));
                }
            }
        }
    }
}

impl<P: Protocol> AnyHost for HostCell<P> {
    fn touch(&self) -> u32 {
        let host = self.host.borrow();
        host.next_timer as u32
            ^ host.epoch as u32
            ^ host.scratch.len() as u32
            ^ u32::from(host.protocol.is_some())
    }

    fn on_message(&self, core: &mut Core, from: NodeId, bytes: &[u8], sent_in: SpanIndex) {
        let Ok(message) = codec::decode::<P::Message>(bytes) else {
            core.count_undecodable(self.node.id());
            return;
        };
        let span = if sent_in.is_some() {
            let id = self.node.id();
            let pair = core.pair(from, id);
            let name = core.kind_slot(pair, codec::kind_of(&message)).span_name;
            let (now, offset) = (core.now, core.clock_error(id));
            let span =
                core.recorder.span_start(now, offset, NodeIndex(id.0), name, SpanKind::Consumer, sent_in);
            core.recorder.span_end(now, span);
            span
        } else {
            SpanIndex::NONE
        };
        self.handle(core, span, |protocol, out| protocol.on_message(from, message, out));
    }

    fn on_timer(&self, core: &mut Core, number: u64) {
        let timer = {
            let mut host = self.host.borrow_mut();
            let Some(timer) = host.timer_names.remove(&number) else { return };
            host.timers.remove(&timer);
            timer
        };
        self.handle(core, SpanIndex::NONE, |protocol, out| protocol.on_timer(timer, out));
    }
}

impl Core {
    pub(crate) fn host_message(
        &mut self,
        node: NodeId,
        host: usize,
        from: NodeId,
        bytes: &[u8],
        span: SpanIndex,
    ) {
        let host = Rc::clone(&self.nodes[node.index()].hosts[host].host);
        host.on_message(self, from, bytes, span);
    }
    pub(crate) fn host_timer(&mut self, node: NodeId, incarnation: u32, port: u32, timer: u64) {
        let state = &self.nodes[node.index()];
        if state.incarnation != incarnation {
            return;
        }
        let Some(slot) = state.hosts.iter().find(|h| u32::from(h.port) == port) else { return };
        let host = Rc::clone(&slot.host);
        host.on_timer(self, timer);
    }
}

/// A protocol that runs on this node, as its application sees it. It runs until the node crashes.
pub struct Hosted<P: Protocol> {
    cell: Rc<HostCell<P>>,
}

impl<P: Protocol> Clone for Hosted<P> {
    fn clone(&self) -> Self {
        Self { cell: Rc::clone(&self.cell) }
    }
}

impl Node {
    /// Starts a protocol on this node with what its disk holds of it, and binds the protocols' port.
    pub async fn host<P: Protocol>(&self, config: P::Config) -> Hosted<P> {
        self.host_on(HOST_PORT, config).await
    }
    /// Starts a protocol on a port of its own.
    ///
    /// # Panics
    /// When the port is bound already.
    pub async fn host_on<P: Protocol>(&self, port: u16, config: P::Config) -> Hosted<P> {
        self.start_host(port, config, None).await
    }
    /// The same as [`Node::host`], with somebody who looks on: after each step that has effects, before they are carried
    /// out, with the protocol's state and the effects. For the observer's bookkeeping and for properties; the watch can say
    /// nothing to the node.
    pub async fn host_watched<P: Protocol>(
        &self,
        config: P::Config,
        watch: impl FnMut(&mut Watching<'_>, &P, &[Effect<P>]) + 'static,
    ) -> Hosted<P> {
        self.start_host(HOST_PORT, config, Some(Box::new(watch))).await
    }
    async fn start_host<P: Protocol>(
        &self,
        port: u16,
        config: P::Config,
        watch: Option<Watch<P>>,
    ) -> Hosted<P> {
        let mut log = RecordLog::new(self.file(record_file(port)));
        // A disk that cannot be read at start is a machine that does not start.
        let records = match log.load::<P::Record>().await {
            Ok(records) => records,
            Err(error) => {
                self.crash(&format!("cannot read the protocol's records: {error}"));
                std::future::pending().await
            }
        };
        let rng = self.rng(&format!("protocol-{port}"));
        let cell = Rc::new(HostCell {
            node: self.clone(),
            port,
            dirty: Notify::new(),
            host: RefCell::new(Host {
                protocol: None,
                out: None,
                scratch: Vec::new(),
                timers: BTreeMap::new(),
                timer_names: BTreeMap::new(),
                next_timer: 0,
                writes: Vec::new(),
                epoch: 0,
                synced: 0,
                persisted: 0,
                durable: 0,
                held: VecDeque::new(),
                events: VecDeque::new(),
                waiting: None,
                due: VecDeque::new(),
                watch,
            }),
        });
        {
            let mut core = self.core();
            if self.is_current(&core) {
                let true_now = core.now;
                let state = &mut core.nodes[self.id().index()];
                assert!(
                    !state.hosts.iter().any(|h| h.port == port),
                    "port {port} of node `{}` is bound already",
                    state.name
                );
                state.hosts.push(HostSlot { port, host: Rc::<HostCell<P>>::clone(&cell) });
                let (now, wall) = (state.clock.monotonic(true_now), state.clock.wall(true_now));
                let mut out = Out::with_rng(now, wall, rng);
                let protocol = P::restore(&config, records, &mut out);
                let mut effects = out.take();
                core.clocks_are_read(self.id(), out.take_readings());
                let mut host = cell.host.borrow_mut();
                let host = &mut *host;
                if let Some(watch) = &mut host.watch {
                    watch(&mut Watching { core: &mut core, node: self.id() }, &protocol, &effects);
                }
                host.protocol = Some(protocol);
                host.out = Some(out);
                cell.carry_out(&mut core, host, &mut effects, now, SpanIndex::NONE);
                cell.fire_due(&mut core, host);
            }
        }
        self.spawn_detached(persist_loop(Rc::clone(&cell), log, P::durability(&config)));
        Hosted { cell }
    }
}

/// What a watch may say: it sees the true time, and records properties in the name of the node that it watches.
pub struct Watching<'a> {
    core: &'a mut Core,
    node: NodeId,
}

impl Watching<'_> {
    /// True time since the start of the run.
    pub fn now(&self) -> SimTime {
        self.core.now
    }
    /// The node that has taken a step.
    pub fn node(&self) -> NodeId {
        self.node
    }
    /// The name of a node.
    pub fn name_of(&self, node: NodeId) -> &str {
        &self.core.nodes[node.index()].name
    }
    /// A check of a property; see [`Node::always`], [`Node::sometimes`], [`Node::eventually`].
    pub fn check(
        &mut self,
        kind: PropertyKind,
        statement: &str,
        holds: bool,
        detail: impl FnOnce() -> String,
    ) {
        let (now, node) = (self.core.now, NodeIndex(self.node.0));
        let is_news = !holds && !self.core.recorder.has_failed(kind, statement);
        let told = if is_news { detail() } else { String::new() };
        self.core.recorder.property(now, node, kind, statement, holds, told);
        self.core.stop_if_violated(kind, statement, holds);
    }
}

/// Writes and syncs what the protocol persists; what comes meanwhile shares the next sync.
async fn persist_loop<P: Protocol>(cell: Rc<HostCell<P>>, mut log: RecordLog, durability: Durability) {
    let mut next_sync = match durability {
        Durability::BeforeAnswers => None,
        Durability::Every(period) => Some(cell.node.monotonic() + period),
    };
    loop {
        let bell = cell.dirty.notified();
        let (writes, epoch, persisted) = {
            let mut host = cell.host.borrow_mut();
            (std::mem::take(&mut host.writes), host.epoch, host.persisted)
        };
        let sync_is_due = next_sync.is_some_and(|at| cell.node.monotonic() >= at);
        let done = if !writes.is_empty() && !sync_is_due {
            log.write(writes, next_sync.is_none()).await
        } else if let (Durability::Every(period), true) = (durability, sync_is_due) {
            next_sync = Some(cell.node.monotonic() + period.max(ns(1)));
            log.write(writes, true).await
        } else if let Some(at) = next_sync {
            race(bell, cell.node.sleep_until(at)).await;
            continue;
        } else {
            bell.await;
            continue;
        };
        if let Err(error) = done {
            cell.node.crash(&format!("sync failed: {error}"));
            return;
        }
        if next_sync.is_none() || sync_is_due {
            cell.host.borrow_mut().durable = persisted;
        }
        cell.release(&mut cell.node.core(), epoch);
    }
}

impl<P: Protocol> Hosted<P> {
    /// Asks the protocol for something; sends and calls that follow from it belong to the caller's span.
    pub fn command(&self, command: P::Command) {
        let cell = &self.cell;
        let mut core = cell.node.core();
        if cell.node.is_current(&core) {
            let span = core.current_span;
            cell.handle(&mut core, span, |protocol, out| protocol.on_command(command, out));
        }
    }
    /// The next thing that the protocol announces.
    pub async fn next(&self) -> P::Event {
        poll_fn(|cx| {
            let mut host = self.cell.host.borrow_mut();
            match host.events.pop_front() {
                Some(event) => Poll::Ready(event),
                None => {
                    host.waiting = Some(cx.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }
    /// The next thing that it has announced already.
    pub fn try_next(&self) -> Option<P::Event> {
        self.cell.host.borrow_mut().events.pop_front()
    }
    /// How many persists (appends, truncations, replacements) of this incarnation are truly durable, whatever the protocol
    /// has been told: what a power failure would leave. For the observer.
    pub fn durable_persists(&self) -> u64 {
        self.cell.host.borrow().durable
    }
    /// Bytes of the records in the file, synced or not; those that wait to be written are not among them.
    pub fn bytes_on_disk(&self) -> u64 {
        let cell = &self.cell;
        cell.node.file(record_file(cell.port)).len()
    }
    /// Looks at the protocol's own state: for the observer and for answers that need no step.
    pub fn inspect<T>(&self, look: impl FnOnce(&P) -> T) -> T {
        let host = self.cell.host.borrow();
        look(host.protocol.as_ref().expect("it is set when the host is made"))
    }
}
