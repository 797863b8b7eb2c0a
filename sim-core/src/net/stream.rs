//! Streams: ordered and reliable, as TCP.
//!
//! A handshake opens a connection. Each message is one segment with a number; a segment that is lost is sent again after a
//! time-out that doubles (RFC 6298: at least 200 ms as Linux has it, from a measured round trip), and later segments wait at
//! the receiver until the gap is filled. Acknowledgements are computed, not sent: a segment that arrives is acknowledged
//! if the way back is open at that moment; if not, it is sent again, and the receiver drops what it has already. So a
//! connection without loss costs one event a message.
//!
//! A crash resets the connections of its node; of a power failure the peers hear nothing. A sender that hears nothing
//! for [`GIVE_UP`] closes the connection.

use std::{
    collections::{BTreeMap, VecDeque},
    future::Future,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use serde::{Serialize, de::DeserializeOwned};

use super::{Packet, Route};
use crate::{
    codec::{self, DecodeError},
    executor::queue::Class,
    node::{Node, NodeId},
    record::SpanIndex,
    time::{Duration, SimTime, ms, secs},
    world::{Core, Event},
};

/// The least retransmission time-out (Linux's `TCP_RTO_MIN`; RFC 6298 has one second).
pub const RETRANSMIT_AFTER: Duration = ms(200);
/// The first retransmission of a handshake packet (RFC 6298, section 2.1).
pub const RECONNECT_AFTER: Duration = secs(1);
/// The longest pause between two retransmissions (RFC 6298 allows a bound of at least 60 s).
pub const RETRANSMIT_LIMIT: Duration = secs(60);
/// After that long without an acknowledgement the sender closes the connection (as `TCP_USER_TIMEOUT`).
pub const GIVE_UP: Duration = secs(60);

/// Why a connection could not be opened, or is no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, thiserror::Error)]
pub enum StreamError {
    /// The machine answered that nobody listens there.
    #[error("connection refused")]
    Refused,
    /// The peer's process died, or it closed the connection while something was on its way.
    #[error("connection reset")]
    Reset,
    /// Nothing was heard for too long.
    #[error("connection timed out")]
    TimedOut,
}

/// One end of a connection.
pub(crate) struct End {
    pub(crate) node: NodeId,
    incarnation: u32,
    /// From this end to the other.
    pub(super) pair: u32,
    next: u64,
    /// All segments below this are acknowledged.
    acknowledged: u64,
    /// The segment that this end waits for.
    expected: u64,
    early: BTreeMap<u64, Box<Packet>>,
    inbox: VecDeque<Box<Packet>>,
    waker: Option<Waker>,
    pub(crate) closed: Option<StreamError>,
    /// The other end has closed its direction.
    finished: bool,
}

impl End {
    fn new(node: NodeId, incarnation: u32, pair: u32) -> Self {
        Self {
            node,
            incarnation,
            pair,
            next: 0,
            acknowledged: 0,
            expected: 0,
            early: BTreeMap::new(),
            inbox: VecDeque::new(),
            waker: None,
            closed: None,
            finished: false,
        }
    }
    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Phase {
    Opening,
    /// The server has accepted; the client may not know yet.
    Accepted,
    Open,
}

struct Unsent {
    packet: Box<Packet>,
    kind: &'static str,
    span: SpanIndex,
}

/// A connection: end 0 opened it, end 1 accepted it.
pub(crate) struct Connection {
    pub(crate) ends: [End; 2],
    pub(crate) port: u16,
    /// Carries calls, not a stream of the program's own.
    pub(crate) calls: bool,
    pub(crate) phase: Phase,
    unsent: Vec<Unsent>,
    opened_at: SimTime,
    /// The latest transmission of the first packet that has arrived, and its number.
    asked_at: SimTime,
    asked: u16,
    round_trip: Duration,
    /// Calls that the client has given up, and handlers that wait to hear of it.
    pub(crate) cancelled: std::collections::BTreeSet<u64>,
    pub(crate) cancel_wakers: Vec<(u64, Waker)>,
}

/// A listening port.
pub(crate) struct ListenerSlot {
    port: u16,
    queue: VecDeque<u32>,
    waker: Option<Waker>,
}

impl Core {
    /// Sends the first packet of a handshake.
    pub(crate) fn open_connection(&mut self, from: NodeId, to: NodeId, port: u16, calls: bool) -> u32 {
        let there = self.pair(from, to);
        let back = self.pair(to, from);
        let connection =
            u32::try_from(self.net.connections.len()).expect("fewer than four billion connections");
        let incarnation = |node: NodeId| self.nodes[node.index()].incarnation;
        self.net.connections.push(Connection {
            ends: [End::new(from, incarnation(from), there), End::new(to, u32::MAX, back)],
            port,
            calls,
            phase: Phase::Opening,
            unsent: Vec::new(),
            opened_at: self.now,
            asked_at: self.now,
            asked: 0,
            round_trip: Duration::ZERO,
            cancelled: std::collections::BTreeSet::new(),
            cancel_wakers: Vec::new(),
        });
        if self.is_linked(there) {
            let slot = self.kind_slot(there, "open");
            let packet = self.net.packet();
            self.send_packet(there, slot, Route::Open { connection }, packet, self.current_span);
        } else {
            // No route to host: known at once.
            self.close_end(connection, 0, StreamError::Refused);
        }
        connection
    }

    /// Sends a message on a connection, or keeps it until the connection is open.
    pub(crate) fn send_segment(
        &mut self,
        connection: u32,
        side: u8,
        packet: Box<Packet>,
        kind: &'static str,
        span: SpanIndex,
    ) {
        let entry = &mut self.net.connections[connection as usize];
        if entry.ends[side as usize].closed.is_some() {
            self.net.recycle(packet);
            return;
        }
        if side == 0 && entry.phase != Phase::Open {
            entry.unsent.push(Unsent { packet, kind, span });
            return;
        }
        self.send_segment_now(connection, side, packet, kind, span, false);
    }

    #[inline]
    fn send_segment_now(
        &mut self,
        connection: u32,
        side: u8,
        packet: Box<Packet>,
        kind: &'static str,
        span: SpanIndex,
        last: bool,
    ) {
        let end = &mut self.net.connections[connection as usize].ends[side as usize];
        let sequence = end.next;
        end.next += 1;
        let pair = end.pair;
        let slot = self.kind_slot(pair, kind);
        self.send_packet(pair, slot, Route::Segment { connection, side, sequence, last }, packet, span);
    }

    // ---- loss ----

    /// A packet of a stream was lost: its sender's time-out will send it again.
    pub(super) fn send_again_later(&mut self, mut packet: Box<Packet>) {
        let (connection, handshake) = match packet.route {
            Route::Segment { connection, .. } => (connection, false),
            Route::Open { connection } => (connection, true),
            Route::Opened { connection } => {
                // The client knows only that its first packet was not answered: that one goes out again.
                let pair = self.net.connections[connection as usize].ends[0].pair;
                let slot = self.kind_slot(pair, "open");
                self.make_handshake(&mut packet, pair, slot, connection);
                (connection, true)
            }
            Route::Datagram { .. } | Route::Reset { .. } => return,
        };
        let least = if handshake { RECONNECT_AFTER } else { RETRANSMIT_AFTER };
        let base = least.max(self.net.connections[connection as usize].round_trip * 2);
        let doubled = base * 2_u64.saturating_pow(u32::from(packet.attempt));
        // The sender's patience ends on time, not at the next transmission after it.
        let at = (packet.sent + doubled.min(RETRANSMIT_LIMIT)).min(packet.first_sent + GIVE_UP).max(self.now);
        packet.attempt += 1;
        let slot = self.net.store(packet);
        self.queue.push(at, Class::Usual, Event::Retransmit { packet: slot });
    }

    pub(crate) fn retransmit(&mut self, packet: Box<Packet>) {
        let (connection, side, acknowledged) = match packet.route {
            Route::Segment { connection, side, sequence, .. } => {
                let end = &self.net.connections[connection as usize].ends[side as usize];
                (connection, side, end.acknowledged > sequence)
            }
            Route::Open { connection } => {
                (connection, 0, self.net.connections[connection as usize].phase == Phase::Open)
            }
            _ => return,
        };
        let end = &self.net.connections[connection as usize].ends[side as usize];
        let sender = &self.nodes[end.node.index()];
        let alive = sender.up && sender.incarnation == end.incarnation && end.closed.is_none();
        if acknowledged || !alive {
            self.net.recycle(packet);
            return;
        }
        if self.now.since(packet.first_sent) >= GIVE_UP {
            self.net.recycle(packet);
            self.close_end(connection, side as usize, StreamError::TimedOut);
            return;
        }
        if packet.span.is_some() {
            let kind = self.recorder.recording().names[packet.kind.0 as usize].clone();
            let detail = format!("{kind}, transmission {}", packet.attempt + 1);
            self.recorder.span_event(self.now, packet.span, "packet.retransmitted", &detail);
        }
        self.launch(packet);
    }

    // ---- arrivals ----

    /// The machine of a process that is down, or does not listen, says so.
    pub(super) fn refuse(&mut self, packet: Box<Packet>) {
        let (connection, side, refused) = match packet.route {
            Route::Segment { connection, side, .. } => (connection, 1 - side, false),
            Route::Open { connection } => (connection, 1, true),
            Route::Opened { connection } => (connection, 0, false),
            Route::Datagram { .. } | Route::Reset { .. } => return,
        };
        self.send_reset(connection, side, refused, packet.span);
        self.net.recycle(packet);
    }

    /// Tells the end that is not `side` that the connection is no more.
    fn send_reset(&mut self, connection: u32, side: u8, refused: bool, span: SpanIndex) {
        let end = &self.net.connections[connection as usize].ends[side as usize];
        let pair = end.pair;
        let slot = self.kind_slot(pair, if refused { "refused" } else { "reset" });
        let packet = self.net.packet();
        self.send_packet(pair, slot, Route::Reset { connection, side, refused }, packet, span);
    }

    pub(super) fn arrive_open(&mut self, mut packet: Box<Packet>, connection: u32) {
        let port = self.net.connections[connection as usize].port;
        let state = &self.nodes[packet.to.index()];
        let incarnation = state.incarnation;
        let (calls, phase) = {
            let c = &self.net.connections[connection as usize];
            (c.calls, c.phase)
        };
        let listens = if calls {
            state.services.iter().any(|(p, _)| *p == port)
        } else {
            state.listeners.iter().any(|l| l.port == port)
        };
        if !listens {
            return self.refuse(packet);
        }
        let entry = &mut self.net.connections[connection as usize];
        (entry.asked_at, entry.asked) = (packet.sent, packet.attempt);
        if phase == Phase::Opening {
            let entry = &mut self.net.connections[connection as usize];
            entry.phase = Phase::Accepted;
            entry.ends[1].incarnation = incarnation;
            if !calls
                && let Some(listener) =
                    self.nodes[packet.to.index()].listeners.iter_mut().find(|l| l.port == port)
            {
                listener.queue.push_back(connection);
                if let Some(waker) = listener.waker.take() {
                    waker.wake();
                }
            }
        } else if self.net.connections[connection as usize].ends[1].incarnation != incarnation {
            return self.refuse(packet);
        }
        let pair = self.net.connections[connection as usize].ends[1].pair;
        let slot = self.kind_slot(pair, "opened");
        let span = packet.span;
        packet.bytes.clear();
        packet.is_request = false;
        self.send_packet(pair, slot, Route::Opened { connection }, packet, span);
    }

    pub(super) fn arrive_opened(&mut self, packet: Box<Packet>, connection: u32) {
        let now = self.now;
        let entry = &mut self.net.connections[connection as usize];
        if entry.ends[0].closed.is_some() {
            return self.refuse(packet); // whoever asked has crashed or given up
        }
        self.net.recycle(packet);
        let entry = &mut self.net.connections[connection as usize];
        if entry.phase == Phase::Open {
            return;
        }
        entry.phase = Phase::Open;
        // From the transmission that was answered (Karn): lost ones would make every later time-out as long as they took.
        entry.round_trip = now.since(entry.asked_at);
        entry.ends[0].wake();
        for unsent in std::mem::take(&mut entry.unsent) {
            self.send_segment_now(connection, 0, unsent.packet, unsent.kind, unsent.span, false);
        }
    }

    pub(super) fn arrive_reset(&mut self, packet: Box<Packet>, connection: u32, side: u8, refused: bool) {
        self.net.recycle(packet);
        let error = if refused { StreamError::Refused } else { StreamError::Reset };
        let other = 1 - side as usize;
        let end = &self.net.connections[connection as usize].ends[other];
        // A reset that comes late finds another incarnation, which knows nothing of this connection.
        if self.nodes[end.node.index()].incarnation == end.incarnation {
            self.close_end(connection, other, error);
        }
    }

    pub(super) fn arrive_segment(
        &mut self,
        packet: Box<Packet>,
        connection: u32,
        side: u8,
        sequence: u64,
        last: bool,
    ) {
        let receiver = 1 - side as usize;
        let end = &self.net.connections[connection as usize].ends[receiver];
        let incarnation = self.nodes[end.node.index()].incarnation;
        if end.incarnation != incarnation || end.closed.is_some() {
            return self.refuse(packet);
        }
        let back = end.pair;
        let acknowledged = self.path_is_open(back, &packet);
        // What is not acknowledged goes out again whole: the receiver's copy may be all that it has.
        let again = (!acknowledged).then(|| packet.clone());
        let entry = &mut self.net.connections[connection as usize];
        if entry.phase == Phase::Accepted && side == 0 {
            entry.phase = Phase::Open;
        }
        let expected = entry.ends[receiver].expected;
        if sequence == expected {
            entry.ends[receiver].expected += 1;
            self.deliver_segment(connection, receiver, packet, last);
            // What came early follows.
            loop {
                let end = &mut self.net.connections[connection as usize].ends[receiver];
                let next = end.expected;
                let Some(early) = end.early.remove(&next) else { break };
                end.expected += 1;
                let last = matches!(early.route, Route::Segment { last: true, .. });
                self.deliver_segment(connection, receiver, early, last);
            }
        } else if sequence > expected {
            entry.ends[receiver].early.insert(sequence, packet);
        } else {
            self.net.recycle(packet); // has it already
        }
        let entry = &mut self.net.connections[connection as usize];
        if acknowledged {
            let expected = entry.ends[receiver].expected;
            let sender = &mut entry.ends[side as usize];
            sender.acknowledged = sender.acknowledged.max(expected);
        }
        if let Some(again) = again {
            if self.net.connections[connection as usize].ends[side as usize].acknowledged <= sequence {
                // The acknowledgement is lost: the sender will send the segment again, unless a later one comes through.
                self.send_again_later(again);
            } else {
                self.net.recycle(again);
            }
        }
    }

    #[inline]
    fn deliver_segment(&mut self, connection: u32, receiver: usize, packet: Box<Packet>, last: bool) {
        let (kind, from, to) = (packet.kind, packet.from, packet.to);
        if self.net.connections[connection as usize].calls {
            self.arrive_call_frame(connection, receiver, packet);
        } else {
            let end = &mut self.net.connections[connection as usize].ends[receiver];
            if last {
                end.finished = true;
            } else {
                end.inbox.push_back(packet);
            }
            end.wake();
        }
        if self.faults.has_triggers() {
            self.trigger_delivered(kind, from, to);
        }
    }

    // ---- the end ----

    /// One end learns that the connection is no more.
    pub(crate) fn close_end(&mut self, connection: u32, side: usize, error: StreamError) {
        let entry = &mut self.net.connections[connection as usize];
        let end = &mut entry.ends[side];
        if end.closed.is_some() {
            return;
        }
        end.closed = Some(error);
        end.wake();
        let early = std::mem::take(&mut end.early);
        let unsent = if side == 0 { std::mem::take(&mut entry.unsent) } else { Vec::new() };
        drop((early, unsent));
        if side == 0 && self.net.connections[connection as usize].calls {
            self.fail_calls(connection, error);
        }
    }

    /// The connections of a node that crashes. A process's death is told to the peers by its machine; a power failure is not.
    pub(crate) fn crash_connections(&mut self, node: NodeId, silent: bool) {
        for connection in 0..self.net.connections.len() as u32 {
            for side in 0..2_u8 {
                let entry = &mut self.net.connections[connection as usize];
                let end = &mut entry.ends[side as usize];
                if end.node != node || end.closed.is_some() || (side == 1 && entry.phase == Phase::Opening) {
                    continue;
                }
                end.closed = Some(StreamError::Reset);
                end.waker = None;
                end.early.clear();
                end.inbox.clear();
                entry.unsent.clear();
                let other_open = entry.ends[1 - side as usize].closed.is_none();
                let opened = entry.phase != Phase::Opening;
                if !silent && other_open && opened {
                    self.send_reset(connection, side, false, SpanIndex::NONE);
                }
            }
        }
        self.drop_calls_of(node);
    }
}

impl Core {
    /// Turns an answer that was lost into the first packet of the handshake again.
    fn make_handshake(&mut self, packet: &mut Packet, pair: u32, slot: super::KindSlot, connection: u32) {
        let Connection { opened_at, asked_at, asked, .. } = self.net.connections[connection as usize];
        self.net.address(packet, pair, slot);
        packet.route = Route::Open { connection };
        packet.bytes.clear();
        packet.sent = asked_at;
        packet.first_sent = opened_at;
        packet.attempt = asked;
        packet.message = super::MessageIndex::NONE;
        packet.duplicate = false;
    }
}

// ---- what a program sees ----

/// One end of an open connection: messages come out in the order in which they were put in, each once.
pub struct Stream {
    node: Node,
    connection: u32,
    side: u8,
}

/// Accepts connections on a port.
pub struct Listener {
    node: Node,
    port: u16,
}

impl Node {
    /// Listens on a port.
    ///
    /// # Panics
    /// When something listens there already.
    pub fn listen(&self, port: u16) -> Listener {
        let mut core = self.core();
        if self.is_current(&core) {
            let state = &mut core.nodes[self.id().index()];
            assert!(
                !state.listeners.iter().any(|l| l.port == port),
                "something listens on port {port} of node `{}` already",
                state.name
            );
            state.listeners.push(ListenerSlot { port, queue: VecDeque::new(), waker: None });
        }
        drop(core);
        Listener { node: self.clone(), port }
    }

    /// Opens a connection: one round trip, if nothing is lost.
    ///
    /// # Errors
    /// [`StreamError::Refused`] where nobody listens, [`StreamError::TimedOut`] where nobody answers for [`GIVE_UP`].
    pub async fn connect(&self, to: NodeId, port: u16) -> Result<Stream, StreamError> {
        let connection = {
            let mut core = self.core();
            if self.is_current(&core) { Some(core.open_connection(self.id(), to, port, false)) } else { None }
        };
        let Some(connection) = connection else { return std::future::pending().await };
        let stream = Stream { node: self.clone(), connection, side: 0 };
        std::future::poll_fn(|cx| {
            let mut core = self.core();
            let entry = &mut core.net.connections[connection as usize];
            if let Some(error) = entry.ends[0].closed {
                return Poll::Ready(Err(error));
            }
            if entry.phase == Phase::Open {
                return Poll::Ready(Ok(()));
            }
            entry.ends[0].waker = Some(cx.waker().clone());
            Poll::Pending
        })
        .await?;
        Ok(stream)
    }
}

impl Listener {
    /// The next connection.
    pub async fn accept(&mut self) -> Stream {
        std::future::poll_fn(|cx| {
            let mut core = self.node.core();
            if !self.node.is_current(&core) {
                return Poll::Pending;
            }
            let listeners = &mut core.nodes[self.node.id().index()].listeners;
            let Some(slot) = listeners.iter_mut().find(|l| l.port == self.port) else { return Poll::Pending };
            if let Some(connection) = slot.queue.pop_front() {
                return Poll::Ready(Stream { node: self.node.clone(), connection, side: 1 });
            }
            slot.waker = Some(cx.waker().clone());
            Poll::Pending
        })
        .await
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let mut core = self.node.core();
        if self.node.is_current(&core) {
            core.nodes[self.node.id().index()].listeners.retain(|l| l.port != self.port);
        }
    }
}

impl Stream {
    /// Who is at the other end.
    pub fn peer(&self) -> NodeId {
        self.node.core().net.connections[self.connection as usize].ends[1 - self.side as usize].node
    }
    /// Sends a message. It is in the kernel's hands: whether it arrives is only known from an answer.
    ///
    /// # Errors
    /// When this end knows already that the connection is no more.
    pub fn send<M: Serialize>(&self, message: &M) -> Result<(), StreamError> {
        let mut core = self.node.core();
        if !self.node.is_current(&core) {
            return Ok(());
        }
        if let Some(error) = core.net.connections[self.connection as usize].ends[self.side as usize].closed {
            return Err(error);
        }
        let packet = core.net.packet_with(0, message);
        let span = core.current_span;
        core.send_segment(self.connection, self.side, packet, codec::kind_of(message), span);
        Ok(())
    }
    /// The next message; `Ok(None)` when the other end has closed.
    ///
    /// # Errors
    /// When the connection is no more.
    pub fn recv<M: DeserializeOwned>(&mut self) -> RecvSegment<'_, M> {
        RecvSegment { stream: self, message: std::marker::PhantomData }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let mut core = self.node.core();
        if !self.node.is_current(&core) {
            return;
        }
        let entry = &mut core.net.connections[self.connection as usize];
        if entry.phase == Phase::Opening {
            // Given up before it was open: the answer, if one comes, gets a reset.
            entry.ends[0].closed = Some(StreamError::Reset);
        } else if entry.ends[self.side as usize].closed.is_none() {
            let packet = core.net.packet();
            core.send_segment_now(self.connection, self.side, packet, "close", SpanIndex::NONE, true);
        }
    }
}

/// See [`Stream::recv`].
pub struct RecvSegment<'a, M> {
    stream: &'a mut Stream,
    message: std::marker::PhantomData<fn() -> M>,
}

/// Why a message could not be received.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecvError {
    /// The connection is no more.
    #[error(transparent)]
    Closed(#[from] StreamError),
    /// The bytes are not the message that was expected: the two ends disagree on its type.
    #[error(transparent)]
    Undecodable(#[from] DecodeError),
}

impl<M: DeserializeOwned> Future for RecvSegment<'_, M> {
    type Output = Result<Option<M>, RecvError>;
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut core = self.stream.node.core();
        if !self.stream.node.is_current(&core) {
            return Poll::Pending;
        }
        let end = &mut core.net.connections[self.stream.connection as usize].ends[self.stream.side as usize];
        if let Some(packet) = end.inbox.pop_front() {
            let message = codec::decode(&packet.bytes);
            core.net.recycle(packet);
            return Poll::Ready(message.map(Some).map_err(RecvError::from));
        }
        if end.finished {
            return Poll::Ready(Ok(None));
        }
        if let Some(error) = end.closed {
            return Poll::Ready(Err(error.into()));
        }
        end.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}
