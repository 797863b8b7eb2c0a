//! Calls: a request, an answer, a deadline, over a stream.
//!
//! A node *serves* a type of requests; a handler runs as a task of the server, so that a client that gives up does not stop
//! the server's work. All calls from one node to one port of another share a connection, which is opened by the first call
//! and opened again after a reset. A call fails in four ways that a client can tell apart ([`CallError`]): refused,
//! timed out, reset, and an answer that cannot be decoded.
//!
//! A frame is a tag, the number of the call, and the body; a request also carries the time that is left until its deadline
//! and room for a trace context of 25 bytes, whether spans are recorded or not.

use std::{
    future::{Future, poll_fn},
    marker::PhantomData,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use serde::{Serialize, de::DeserializeOwned};

use super::{
    Packet,
    stream::{Phase, StreamError},
};
use crate::{
    codec::{self, DecodeError},
    executor::{
        queue::{Class, EventKey},
        task::{TaskFuture, WakeTarget},
    },
    node::{Node, NodeId},
    record::{NodeIndex, SpanIndex, SpanKind, SpanStatus},
    time::{Duration, Monotonic},
    world::{Core, Event},
};

/// A request and what answers it. Both cross the wire as bytes.
pub trait Request: Serialize + DeserializeOwned + 'static {
    /// The answer.
    type Response: Serialize + DeserializeOwned + 'static;
}

/// Why a call has no answer.
#[derive(Debug, Clone, PartialEq, Eq, Hash, thiserror::Error)]
pub enum CallError {
    /// The machine answered that nobody serves there: the request was not executed.
    #[error("connection refused")]
    Refused,
    /// The deadline passed. The request may have been executed, or may be yet.
    #[error("deadline exceeded")]
    TimedOut,
    /// The connection broke. The request may have been executed.
    #[error("connection reset")]
    Reset,
    /// The answer, or the request at the server, is not what was expected: the two sides disagree on a type.
    #[error("undecodable: {0}")]
    Undecodable(String),
}

impl CallError {
    /// Whether the request was certainly not executed.
    pub fn is_definite(&self) -> bool {
        matches!(self, Self::Refused)
    }
    /// A word for metrics and spans.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::TimedOut => "timed out",
            Self::Reset => "reset",
            Self::Undecodable(_) => "undecodable",
        }
    }
}

const REQUEST: u8 = 0;
const RESPONSE: u8 = 1;
const FAILURE: u8 = 2;
const CANCEL: u8 = 3;
/// Tag and number.
const HEAD: usize = 9;
/// Trace id, span id and flags, as W3C's `traceparent` carries them, in binary.
pub(super) const TRACE_CONTEXT: u32 = 25;
/// What stands before a request's body: how long is left, and the head. The trace context is counted and not written: what
/// the observer records must not change what is on the wire.
const REQUEST_HEAD: usize = HEAD + 8;

fn write_head(bytes: &mut [u8], tag: u8, call: u64) {
    bytes[0] = tag;
    bytes[1..HEAD].copy_from_slice(&call.to_le_bytes());
}

// ---- the client's side ----

#[derive(Default)]
struct CallSlot {
    generation: u32,
    live: bool,
    node: Option<NodeId>,
    connection: u32,
    waker: Option<WakeTarget>,
    result: Option<Result<Box<Packet>, CallError>>,
    deadline: Option<EventKey>,
    span: SpanIndexOrNone,
}

#[derive(Clone, Copy)]
struct SpanIndexOrNone(SpanIndex);

impl Default for SpanIndexOrNone {
    fn default() -> Self {
        Self(SpanIndex::NONE)
    }
}

/// All calls that wait for an answer.
#[derive(Default)]
pub(crate) struct Calls {
    slots: Vec<CallSlot>,
    free: Vec<u32>,
}

impl Calls {
    fn slot(&mut self, number: u64) -> Option<&mut CallSlot> {
        let (slot, generation) = (number as u32, (number >> 32) as u32);
        self.slots.get_mut(slot as usize).filter(|s| s.generation == generation && s.live)
    }
}

impl Core {
    fn call_start(
        &mut self,
        node: NodeId,
        to: NodeId,
        port: u16,
        mut packet: Box<Packet>,
        kind: &'static str,
        deadline: Option<Duration>,
    ) -> u64 {
        let now = self.now;
        let channel = (node.0, to.0, port);
        let known = self
            .net
            .channels
            .get(&channel)
            .copied()
            .filter(|&c| self.net.connections[c as usize].ends[0].closed.is_none());

        let slot = self.calls.free.pop().unwrap_or_else(|| {
            self.calls.slots.push(CallSlot::default());
            self.calls.slots.len() as u32 - 1
        });
        let entry = &mut self.calls.slots[slot as usize];
        entry.generation = entry.generation.wrapping_add(1);
        entry.live = true;
        entry.node = Some(node);
        entry.result = None;
        entry.waker = None;
        entry.deadline = None;
        let generation = entry.generation;
        let number = u64::from(slot) | (u64::from(generation) << 32);

        // The span of the caller's side.
        let span = if self.recorder.spans_on() {
            let pair = self.pair(node, to);
            let name = self.kind_slot(pair, kind).span_name;
            let offset = self.clock_error(node);
            self.recorder.span_start(
                now,
                offset,
                NodeIndex(node.0),
                name,
                SpanKind::Client,
                self.current_span,
            )
        } else {
            SpanIndex::NONE
        };
        self.calls.slots[slot as usize].span = SpanIndexOrNone(span);

        packet.is_request = true;
        write_head(&mut packet.bytes, REQUEST, number);
        let left = deadline.map_or(u64::MAX, Duration::as_nanos);
        packet.bytes[HEAD..HEAD + 8].copy_from_slice(&left.to_le_bytes());

        let connection = known.unwrap_or_else(|| {
            let previous = std::mem::replace(&mut self.current_span, span);
            let connection = self.open_connection(node, to, port, true);
            self.current_span = previous;
            self.net.channels.insert(channel, connection);
            connection
        });
        self.calls.slots[slot as usize].connection = connection;
        if let Some(error) = self.net.connections[connection as usize].ends[0].closed {
            self.net.recycle(packet);
            self.call_end(number, Err(call_error(error)));
            return number;
        }
        if let Some(after) = deadline {
            let clock = &self.nodes[node.index()].clock;
            let reading = clock.monotonic(now) + after;
            let at = clock.when(reading);
            self.timer_is_set(node, at);
            let event = Event::CallDeadline { call: slot, generation, node, deadline: reading };
            let key = self.queue.push(at, Class::Usual, event);
            self.calls.slots[slot as usize].deadline = Some(key);
        }
        self.send_segment(connection, 0, packet, kind, span);
        number
    }

    /// A call has an outcome.
    fn call_end(&mut self, number: u64, result: Result<Box<Packet>, CallError>) {
        let now = self.now;
        let Some(slot) = self.calls.slot(number) else {
            if let Ok(packet) = result {
                self.net.recycle(packet); // too late: the caller has given up
            }
            return;
        };
        if slot.result.is_some() {
            return;
        }
        let (span, deadline) = (slot.span.0, slot.deadline.take());
        let failed = result.as_ref().err().map(CallError::label);
        slot.result = Some(result);
        if let Some(target) = slot.waker.take() {
            self.tasks.wake_target(target);
        }
        if let Some(key) = deadline {
            self.queue.withdraw(key);
        }
        if span.is_some() {
            if let Some(label) = failed {
                let message = self.recorder.name(label);
                self.recorder.span_status(span, SpanStatus::Error(message));
            }
            self.recorder.span_end(now, span);
        }
    }

    pub(crate) fn call_deadline(&mut self, slot: u32, generation: u32) {
        let number = u64::from(slot) | (u64::from(generation) << 32);
        if let Some(call) = self.calls.slot(number) {
            call.deadline = None;
            let connection = call.connection;
            self.call_end(number, Err(CallError::TimedOut));
            self.send_cancel(connection, number);
        }
    }

    /// Tells the server that nobody waits any more.
    fn send_cancel(&mut self, connection: u32, number: u64) {
        let mut packet = self.net.packet();
        packet.bytes.begin_with_zeros(HEAD);
        write_head(&mut packet.bytes, CANCEL, number);
        self.send_segment(connection, 0, packet, "cancel", SpanIndex::NONE);
    }

    fn call_free(&mut self, number: u64) {
        if let Some(slot) = self.calls.slot(number) {
            slot.live = false;
            slot.waker = None;
            let result = slot.result.take();
            self.calls.free.push(number as u32);
            if let Some(Ok(packet)) = result {
                self.net.recycle(packet);
            }
        }
    }

    /// The caller dropped the call.
    fn call_drop(&mut self, number: u64) {
        let now = self.now;
        let Some(slot) = self.calls.slot(number) else { return };
        let (waiting, connection, span) = (slot.result.is_none(), slot.connection, slot.span.0);
        let deadline = slot.deadline.take();
        if let Some(key) = deadline {
            self.queue.withdraw(key);
        }
        if waiting {
            self.recorder.span_cut(now, span);
            self.send_cancel(connection, number);
        }
        self.call_free(number);
    }

    /// The connection of some calls is no more.
    pub(super) fn fail_calls(&mut self, connection: u32, error: StreamError) {
        let numbers: Vec<u64> = self
            .calls
            .slots
            .iter()
            .enumerate()
            .filter(|(_, s)| s.live && s.connection == connection && s.result.is_none())
            .map(|(slot, s)| slot as u64 | (u64::from(s.generation) << 32))
            .collect();
        for number in numbers {
            self.call_end(number, Err(call_error(error)));
        }
    }

    /// The calls of a node that has crashed: nobody collects them.
    pub(super) fn drop_calls_of(&mut self, node: NodeId) {
        let now = self.now;
        for slot in 0..self.calls.slots.len() {
            let entry = &mut self.calls.slots[slot];
            if entry.live && entry.node == Some(node) {
                let number = slot as u64 | (u64::from(entry.generation) << 32);
                let (span, deadline) = (entry.span.0, entry.deadline.take());
                if let Some(key) = deadline {
                    self.queue.withdraw(key);
                }
                self.recorder.span_cut(now, span);
                self.call_free(number);
            }
        }
    }

    // ---- frames ----

    /// A frame of a connection that carries calls has arrived, in order.
    pub(super) fn arrive_call_frame(&mut self, connection: u32, receiver: usize, packet: Box<Packet>) {
        let bytes = &packet.bytes;
        if bytes.len() < HEAD {
            return;
        }
        let tag = bytes[0];
        let number = u64::from_le_bytes(bytes[1..HEAD].try_into().expect("eight bytes"));
        match (tag, receiver) {
            (REQUEST, 1) if bytes.len() >= REQUEST_HEAD => self.arrive_request(connection, number, packet),
            (RESPONSE, 0) => self.call_end(number, Ok(packet)),
            (FAILURE, 0) => {
                let reason = String::from_utf8_lossy(&bytes[HEAD..]).into_owned();
                self.call_end(number, Err(CallError::Undecodable(reason)));
            }
            (CANCEL, 1) => {
                self.net.recycle(packet);
                let entry = &mut self.net.connections[connection as usize];
                entry.cancelled.insert(number);
                entry.cancel_wakers.retain(|(of, waker)| {
                    if *of == number {
                        waker.wake_by_ref();
                    }
                    *of != number
                });
            }
            _ => self.net.recycle(packet),
        }
    }

    fn arrive_request(&mut self, connection: u32, number: u64, packet: Box<Packet>) {
        let now = self.now;
        let server = packet.to;
        let port = self.net.connections[connection as usize].port;
        let state = &self.nodes[server.index()];
        let Some(service) = state.services.iter().find(|(p, _)| *p == port).map(|(_, s)| Rc::clone(s)) else {
            // The service was withdrawn while the connection was open.
            return self.send_failure(connection, number, "nobody serves this port any more");
        };
        let left = u64::from_le_bytes(packet.bytes[HEAD..HEAD + 8].try_into().expect("eight bytes"));
        let deadline = (left != u64::MAX).then(|| state.clock.monotonic(now) + Duration::from_nanos(left));
        let offset = self.clock_error(server);
        let span = self.recorder.span_start(
            now,
            offset,
            NodeIndex(server.0),
            packet.span_name,
            SpanKind::Server,
            packet.span,
        );
        let info = CallInfo { from: packet.from, deadline, connection, number, span };
        let incarnation = self.nodes[server.index()].incarnation;
        let started = service.start(info, &packet.bytes[REQUEST_HEAD..]);
        self.net.recycle(packet);
        match started {
            Ok(future) => {
                self.tasks.spawn(future, server, incarnation, span);
            }
            Err(error) => {
                let message = self.recorder.name("undecodable");
                self.recorder.span_status(span, SpanStatus::Error(message));
                self.recorder.span_end(now, span);
                self.send_failure(connection, number, &error.to_string());
            }
        }
    }

    fn send_failure(&mut self, connection: u32, number: u64, reason: &str) {
        let mut packet = self.net.packet();
        packet.bytes.begin_with_zeros(HEAD);
        write_head(&mut packet.bytes, FAILURE, number);
        packet.bytes.extend_from_slice(reason.as_bytes());
        self.send_segment(connection, 1, packet, "failure", SpanIndex::NONE);
    }
}

fn call_error(error: StreamError) -> CallError {
    match error {
        StreamError::Refused => CallError::Refused,
        StreamError::Reset => CallError::Reset,
        StreamError::TimedOut => CallError::TimedOut,
    }
}

/// A call to another node: a future of its answer. Nothing is sent before it is awaited.
///
/// Dropping it while it waits tells the server that nobody waits any more.
pub struct Calling<Q: Request> {
    node: Node,
    to: NodeId,
    port: u16,
    deadline: Option<Duration>,
    kind: &'static str,
    state: CallState,
    request: PhantomData<fn() -> Q>,
}

enum CallState {
    Ready(Option<Box<Packet>>),
    Waiting(u64),
    Done,
}

impl Node {
    /// Calls another node. Without [`Calling::deadline`] it waits for as long as the connection lives.
    pub fn call<Q: Request>(&self, to: NodeId, request: &Q) -> Calling<Q> {
        let packet = self.core().net.packet_with(REQUEST_HEAD, request);
        Calling {
            node: self.clone(),
            to,
            port: super::datagram::DEFAULT_PORT,
            deadline: None,
            kind: codec::kind_of(request),
            state: CallState::Ready(Some(packet)),
            request: PhantomData,
        }
    }
}

impl<Q: Request> Calling<Q> {
    /// Gives up after that long on the caller's monotonic clock. The server is told how long is left.
    pub fn deadline(mut self, after: Duration) -> Self {
        self.deadline = Some(after);
        self
    }
    /// Calls another port than the default one.
    pub fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }
}

impl<Q: Request> Future for Calling<Q> {
    type Output = Result<Q::Response, CallError>;
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let mut core = this.node.core();
        if !this.node.is_current(&core) {
            return Poll::Pending;
        }
        if let CallState::Ready(packet) = &mut this.state {
            let packet = packet.take().expect("a call starts once");
            let number =
                core.call_start(this.node.id(), this.to, this.port, packet, this.kind, this.deadline);
            this.state = CallState::Waiting(number);
        }
        let CallState::Waiting(number) = this.state else { panic!("a call is awaited once") };
        let Core { calls, tasks, .. } = &mut *core;
        let Some(slot) = calls.slot(number) else {
            return Poll::Pending; // this very send has crashed the node
        };
        let Some(result) = slot.result.take() else {
            slot.waker = Some(tasks.target(cx.waker()));
            return Poll::Pending;
        };
        core.call_free(number);
        this.state = CallState::Done;
        Poll::Ready(match result {
            Ok(packet) => {
                let answer = codec::decode(&packet.bytes[HEAD..]);
                core.net.recycle(packet);
                answer.map_err(|error: DecodeError| CallError::Undecodable(error.to_string()))
            }
            Err(error) => Err(error),
        })
    }
}

impl<Q: Request> Drop for Calling<Q> {
    fn drop(&mut self) {
        if let CallState::Waiting(number) = self.state {
            let mut core = self.node.core();
            if self.node.is_current(&core) {
                core.call_drop(number);
            }
        }
    }
}

// ---- the server's side ----

#[derive(Clone, Copy)]
pub(crate) struct CallInfo {
    from: NodeId,
    deadline: Option<Monotonic>,
    connection: u32,
    number: u64,
    span: SpanIndex,
}

/// Makes handlers from requests.
pub(crate) trait Service {
    fn start(&self, info: CallInfo, body: &[u8]) -> Result<TaskFuture, DecodeError>;
}

struct TypedService<Q, F> {
    node: Node,
    handler: Rc<F>,
    request: PhantomData<fn() -> Q>,
}

impl<Q, F> Service for TypedService<Q, F>
where
    Q: Request,
    F: AsyncFn(Call, Q) -> Q::Response + 'static,
{
    fn start(&self, info: CallInfo, body: &[u8]) -> Result<TaskFuture, DecodeError> {
        let request: Q = codec::decode(body)?;
        let handler = Rc::clone(&self.handler);
        let mut responder = Responder { node: self.node.clone(), info, open: true };
        let call = Call { node: self.node.clone(), info };
        Ok(Box::pin(async move {
            let response = handler(call, request).await;
            responder.answer(&response);
        }))
    }
}

/// A call as its handler sees it.
pub struct Call {
    node: Node,
    info: CallInfo,
}

impl Call {
    /// The node that serves.
    pub fn node(&self) -> &Node {
        &self.node
    }
    /// The node that asks.
    pub fn from(&self) -> NodeId {
        self.info.from
    }
    /// When the caller gives up, on this node's monotonic clock, as far as it said; the way back is not counted.
    pub fn deadline(&self) -> Option<Monotonic> {
        self.info.deadline
    }
    /// How long is left until the deadline: zero where it has passed, `None` where there is none.
    pub fn time_left(&self) -> Option<Duration> {
        self.info.deadline.map(|deadline| deadline.since(self.node.monotonic()))
    }
    /// Whether the caller has said that it does not wait any more.
    pub fn is_cancelled(&self) -> bool {
        self.node.core().net.connections[self.info.connection as usize].cancelled.contains(&self.info.number)
    }
    /// Waits until the caller says that it does not wait any more.
    pub async fn cancelled(&self) {
        poll_fn(|cx| {
            let mut core = self.node.core();
            let entry = &mut core.net.connections[self.info.connection as usize];
            if entry.cancelled.contains(&self.info.number) {
                return Poll::Ready(());
            }
            entry.cancel_wakers.push((self.info.number, cx.waker().clone()));
            Poll::Pending
        })
        .await;
    }
}

struct Responder {
    node: Node,
    info: CallInfo,
    open: bool,
}

impl Responder {
    fn answer<R: Serialize>(&mut self, response: &R) {
        self.open = false;
        let mut core = self.node.core();
        if !self.node.is_current(&core) {
            return;
        }
        let mut packet = core.net.packet_with(HEAD, response);
        write_head(&mut packet.bytes, RESPONSE, self.info.number);
        let now = core.now;
        let span = self.info.span;
        core.send_segment(self.info.connection, 1, packet, codec::kind_of(response), span);
        core.recorder.span_end(now, span);
        let entry = &mut core.net.connections[self.info.connection as usize];
        if !entry.cancelled.is_empty() {
            entry.cancelled.remove(&self.info.number);
        }
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        if self.open {
            let mut core = self.node.core();
            let now = core.now;
            core.recorder.span_cut(now, self.info.span);
        }
    }
}

impl Node {
    /// Serves requests on the default port: each in a task of its own. What the handler captures is the service's state.
    pub fn serve<Q: Request>(&self, handler: impl AsyncFn(Call, Q) -> Q::Response + 'static) {
        self.serve_on(super::datagram::DEFAULT_PORT, handler);
    }
    /// Serves requests on a port.
    ///
    /// # Panics
    /// When the port is served already.
    pub fn serve_on<Q: Request>(&self, port: u16, handler: impl AsyncFn(Call, Q) -> Q::Response + 'static) {
        let service: Rc<dyn Service> =
            Rc::new(TypedService { node: self.clone(), handler: Rc::new(handler), request: PhantomData });
        let mut core = self.core();
        if !self.is_current(&core) {
            core.graveyard.push(Box::new(service));
            return;
        }
        let state = &mut core.nodes[self.id().index()];
        assert!(
            !state.services.iter().any(|(p, _)| *p == port),
            "port {port} of node `{}` is served already",
            state.name
        );
        state.services.push((port, service));
    }
    /// Stops serving a port: new connections are refused, requests on old ones fail, handlers run on.
    pub fn stop_serving(&self, port: u16) {
        let mut core = self.core();
        if self.is_current(&core) {
            let state = &mut core.nodes[self.id().index()];
            if let Some(index) = state.services.iter().position(|(p, _)| *p == port) {
                let service = state.services.remove(index);
                core.graveyard.push(Box::new(service));
            }
        }
    }
    /// Whether a connection for calls from here to there is open.
    pub fn is_connected_to(&self, to: NodeId, port: u16) -> bool {
        let core = self.core();
        let connection = core.net.channels.get(&(self.id().0, to.0, port));
        connection.is_some_and(|&c| {
            let entry = &core.net.connections[c as usize];
            entry.phase == Phase::Open && entry.ends[0].closed.is_none()
        })
    }
}
