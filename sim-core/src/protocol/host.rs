//! The host: gives a protocol its messages, timers and commands, and carries out its effects.
//!
//! While a sync is pending the handlers run on. What was sent or announced after a persist waits for its sync, timers do
//! not, and persists that wait share one sync. A failed sync crashes the node.
//!
//! Records lie in one file, each with its length and a CRC-32 that is chained to the one before, so that what is left of an
//! overwritten tail can never be taken for its continuation.

use std::{
    cell::RefCell,
    collections::{BTreeMap, VecDeque},
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
    task::{Poll, Waker},
};

use super::{Effect, Out, Protocol};
use crate::{
    codec,
    executor::{
        queue::{Class, EventKey},
        sync::Notify,
    },
    machine::{File, disk::DiskError, disk::checksum::crc32},
    net::Packet,
    node::{Node, NodeId},
    record::{Ending, NodeIndex, SpanIndex, SpanKind},
    sim::panic_message,
    time::Monotonic,
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

enum Write {
    Append(Vec<u8>),
    Truncate(usize),
    Replace(Vec<Vec<u8>>),
}

/// What waits for a sync.
enum Held<P: Protocol> {
    Send(NodeId, Box<Packet>, &'static str, SpanIndex),
    Announce(P::Event),
}

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
    held: VecDeque<(u64, Held<P>)>,
    events: VecDeque<P::Event>,
    waiting: Option<Waker>,
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
                        host.events.push_back(event);
                        if let Some(waker) = host.waiting.take() {
                            waker.wake();
                        }
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
        let mut host = self.host.borrow_mut();
        host.synced = epoch;
        while let Some((wanted, _)) = host.held.front() {
            if *wanted > epoch || !self.node.is_current(core) {
                break;
            }
            match host.held.pop_front().expect("it has a front").1 {
                Held::Send(to, packet, kind, span) => self.send(core, to, packet, kind, span),
                Held::Announce(event) => {
                    host.events.push_back(event);
                    if let Some(waker) = host.waiting.take() {
                        waker.wake();
                    }
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
        let mut log = RecordLog::new(self.file(format!("protocol-{port}.log")));
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
                held: VecDeque::new(),
                events: VecDeque::new(),
                waiting: None,
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
                host.protocol = Some(protocol);
                host.out = Some(out);
                cell.carry_out(&mut core, &mut host, &mut effects, now, SpanIndex::NONE);
            }
        }
        self.spawn_detached(persist_loop(Rc::clone(&cell), log));
        Hosted { cell }
    }
}

/// Writes and syncs what the protocol persists; what comes meanwhile shares the next sync.
async fn persist_loop<P: Protocol>(cell: Rc<HostCell<P>>, mut log: RecordLog) {
    loop {
        let bell = cell.dirty.notified();
        let (writes, epoch) = {
            let mut host = cell.host.borrow_mut();
            (std::mem::take(&mut host.writes), host.epoch)
        };
        if writes.is_empty() {
            bell.await;
            continue;
        }
        if let Err(error) = log.write(writes).await {
            cell.node.crash(&format!("sync failed: {error}"));
            return;
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
    /// Looks at the protocol's own state: for the observer and for answers that need no step.
    pub fn inspect<T>(&self, look: impl FnOnce(&P) -> T) -> T {
        let host = self.cell.host.borrow();
        look(host.protocol.as_ref().expect("it is set when the host is made"))
    }
}

// ---- records on disk ----

/// The file of a protocol's records: each is its length, a CRC chained to the one before, and its bytes.
struct RecordLog {
    file: File,
    /// Where each record ends, and its CRC.
    ends: Vec<(u64, u32)>,
}

const RECORD_HEAD: usize = 8;

fn frame(bytes: &[u8], previous: u32) -> (Vec<u8>, u32) {
    let mut chained = previous.to_le_bytes().to_vec();
    chained.extend_from_slice(bytes);
    let crc = crc32(&chained);
    let mut framed = Vec::with_capacity(RECORD_HEAD + bytes.len());
    framed.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    framed.extend_from_slice(&crc.to_le_bytes());
    framed.extend_from_slice(bytes);
    (framed, crc)
}

impl RecordLog {
    fn new(file: File) -> Self {
        Self { file, ends: Vec::new() }
    }
    fn end(&self) -> (u64, u32) {
        self.ends.last().copied().unwrap_or((0, 0))
    }

    /// Reads the records up to the first that is not whole.
    async fn load<R: serde::de::DeserializeOwned>(&mut self) -> Result<Vec<R>, DiskError> {
        let bytes = self.file.read_all().await?;
        let mut records = Vec::new();
        let mut rest = bytes.as_slice();
        while rest.len() >= RECORD_HEAD {
            let word = |at: usize| u32::from_le_bytes(rest[at..at + 4].try_into().expect("four bytes"));
            let (len, crc) = (word(0) as usize, word(4));
            let Some(body) = rest.get(RECORD_HEAD..RECORD_HEAD + len) else { break };
            let (offset, previous) = self.end();
            if frame(body, previous).1 != crc {
                break;
            }
            let Ok(record) = codec::decode(body) else { break };
            records.push(record);
            self.ends.push((offset + (RECORD_HEAD + len) as u64, crc));
            rest = &rest[RECORD_HEAD + len..];
        }
        if self.file.len() > self.end().0 {
            self.file.truncate(self.end().0)?;
        }
        Ok(records)
    }

    /// Carries out several persists and syncs once.
    async fn write(&mut self, writes: Vec<Write>) -> Result<(), DiskError> {
        let mut batch = Vec::new();
        for write in writes {
            match write {
                Write::Append(bytes) => {
                    let (offset, previous) = self.end();
                    let (framed, crc) = frame(&bytes, previous);
                    self.ends.push((offset + framed.len() as u64, crc));
                    batch.extend_from_slice(&framed);
                }
                Write::Truncate(keep) => {
                    self.flush(&mut batch).await?;
                    if keep < self.ends.len() {
                        self.ends.truncate(keep);
                        self.file.truncate(self.end().0)?;
                    }
                }
                Write::Replace(records) => {
                    // The old file is whole until the new one is: write beside it, sync, rename.
                    batch.clear();
                    self.ends.clear();
                    let node = self.file.node();
                    let new = node.file(format!("{}.new", self.file.name()));
                    if new.exists() {
                        new.truncate(0)?;
                    }
                    let mut content = Vec::new();
                    for bytes in records {
                        let (offset, previous) = self.end();
                        let (framed, crc) = frame(&bytes, previous);
                        self.ends.push((offset + framed.len() as u64, crc));
                        content.extend_from_slice(&framed);
                    }
                    new.append(&content).await?;
                    new.sync().await?;
                    node.disk().rename(new.name(), self.file.name())?;
                    node.disk().sync_directory().await?;
                }
            }
        }
        self.flush(&mut batch).await?;
        if !self.file.exists() {
            return Ok(()); // no record was ever written: there is nothing to sync, and truncating nothing is no failure
        }
        self.file.sync().await
    }

    async fn flush(&self, batch: &mut Vec<u8>) -> Result<(), DiskError> {
        if !batch.is_empty() {
            self.file.append(batch).await?;
            batch.clear();
        }
        Ok(())
    }
}
