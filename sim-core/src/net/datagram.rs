//! Datagrams: packets as they are. They may be lost, late, twice, damaged, and in any order.

use std::{
    collections::VecDeque,
    future::Future,
    marker::PhantomData,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use serde::{Serialize, de::DeserializeOwned};

use super::{Packet, Route};
use crate::{
    codec,
    node::{Node, NodeId},
    record::{SpanBuilder, SpanIndex, SpanKind},
    world::Core,
};

/// The port that [`Node::send`] and [`Node::mailbox`] use.
pub const DEFAULT_PORT: u16 = 0;

/// A bound port.
pub(crate) struct MailboxSlot {
    port: u16,
    queue: VecDeque<Box<Packet>>,
    waker: Option<Waker>,
}

/// Receives the datagrams of one port, decoded as `M`.
pub struct Mailbox<M> {
    node: Node,
    port: u16,
    message: PhantomData<fn() -> M>,
}

/// A datagram that has arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received<M> {
    /// Who sent it.
    pub from: NodeId,
    /// What it says.
    pub message: M,
    span: SpanIndex,
}

impl<M> Received<M> {
    /// The span in which it was sent, to link to.
    pub fn sent_in(&self) -> SpanIndex {
        self.span
    }
    /// A span on the receiving node for what is done with it: a consumer, in the trace of the span in which it was sent.
    pub fn span(&self, node: &Node, name: &str) -> SpanBuilder {
        node.span_in(self.span, name).kind(SpanKind::Consumer)
    }
}

impl Node {
    /// Sends a datagram to the default port.
    pub fn send<M: Serialize>(&self, to: NodeId, message: &M) {
        self.send_on(DEFAULT_PORT, to, message);
    }
    /// Sends a datagram. Nobody says whether it arrives.
    pub fn send_on<M: Serialize>(&self, port: u16, to: NodeId, message: &M) {
        let mut core = self.core();
        if !self.is_current(&core) {
            return;
        }
        let packet = core.net.packet_with(0, message);
        let span = core.current_span;
        core.send_datagram(self.id(), to, port, packet, codec::kind_of(message), span);
    }
    /// Binds the default port.
    pub fn mailbox<M: DeserializeOwned>(&self) -> Mailbox<M> {
        self.mailbox_on(DEFAULT_PORT)
    }
    /// Binds a port; datagrams that come before are lost.
    ///
    /// # Panics
    /// When the port is bound already.
    pub fn mailbox_on<M: DeserializeOwned>(&self, port: u16) -> Mailbox<M> {
        let mut core = self.core();
        if self.is_current(&core) {
            let state = &mut core.nodes[self.id().index()];
            let taken = state.mailboxes.iter().any(|m| m.port == port)
                || state.hosts.iter().any(|h| h.port() == port);
            assert!(!taken, "port {port} of node `{}` is bound already", state.name);
            state.mailboxes.push(MailboxSlot { port, queue: VecDeque::new(), waker: None });
        }
        drop(core);
        Mailbox { node: self.clone(), port, message: PhantomData }
    }
}

impl<M: DeserializeOwned> Mailbox<M> {
    /// The next datagram. What cannot be decoded, because bits of it flipped on the way, is dropped and counted in the
    /// metric `datagrams.undecodable`.
    pub fn recv(&mut self) -> RecvDatagram<'_, M> {
        RecvDatagram { mailbox: self }
    }
    /// The next datagram, if one waits.
    pub fn try_recv(&mut self) -> Option<Received<M>> {
        let mut core = self.node.core();
        if !self.node.is_current(&core) {
            return None;
        }
        loop {
            let mailboxes = &mut core.nodes[self.node.id().index()].mailboxes;
            let slot = mailboxes.iter_mut().find(|m| m.port == self.port)?;
            let packet = slot.queue.pop_front()?;
            let (from, span) = (packet.from, packet.span);
            let decoded = codec::decode::<M>(&packet.bytes);
            core.net.recycle(packet);
            match decoded {
                Ok(message) => return Some(Received { from, message, span }),
                Err(_) => core.count_undecodable(self.node.id()),
            }
        }
    }
    /// How many datagrams wait.
    pub fn len(&self) -> usize {
        let core = self.node.core();
        let mailboxes = &core.nodes[self.node.id().index()].mailboxes;
        mailboxes.iter().find(|m| m.port == self.port).map_or(0, |m| m.queue.len())
    }
    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<M> Drop for Mailbox<M> {
    fn drop(&mut self) {
        let mut core = self.node.core();
        if self.node.is_current(&core) {
            let mailboxes = &mut core.nodes[self.node.id().index()].mailboxes;
            mailboxes.retain(|m| m.port != self.port);
        }
    }
}

/// See [`Mailbox::recv`].
pub struct RecvDatagram<'a, M> {
    mailbox: &'a mut Mailbox<M>,
}

impl<M: DeserializeOwned> Future for RecvDatagram<'_, M> {
    type Output = Received<M>;
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Received<M>> {
        if let Some(received) = self.mailbox.try_recv() {
            return Poll::Ready(received);
        }
        let mut core = self.mailbox.node.core();
        if self.mailbox.node.is_current(&core) {
            let mailboxes = &mut core.nodes[self.mailbox.node.id().index()].mailboxes;
            if let Some(slot) = mailboxes.iter_mut().find(|m| m.port == self.mailbox.port) {
                slot.waker = Some(cx.waker().clone());
            }
        }
        Poll::Pending
    }
}

impl Core {
    #[inline]
    pub(crate) fn send_datagram(
        &mut self,
        from: NodeId,
        to: NodeId,
        port: u16,
        packet: Box<Packet>,
        kind: &'static str,
        span: SpanIndex,
    ) {
        let pair = self.pair(from, to);
        let slot = self.kind_slot(pair, kind);
        self.send_packet(pair, slot, Route::Datagram { port }, packet, span);
    }

    pub(super) fn arrive_datagram(&mut self, packet: Box<Packet>, port: u16) {
        let state = &mut self.nodes[packet.to.index()];
        if let Some(host) = state.hosts.iter().position(|h| h.port() == port) {
            self.host_message(packet.to, host, packet.from, &packet.bytes, packet.span);
            self.net.recycle(packet);
            return;
        }
        if let Some(slot) = state.mailboxes.iter_mut().find(|m| m.port == port) {
            slot.queue.push_back(packet);
            if let Some(waker) = slot.waker.take() {
                waker.wake();
            }
            return;
        }
        // Nobody has bound the port: as UDP does, the packet is dropped after it has arrived.
        self.net.recycle(packet);
    }

    /// Bits flipped on the way: counted, in a metric of the node.
    pub(crate) fn count_undecodable(&mut self, node: NodeId) {
        use crate::record::{MetricKind, NodeIndex};
        let series = self.recorder.series(
            "datagrams.undecodable",
            NodeIndex(node.0),
            MetricKind::Counter,
            "{message}",
        );
        self.recorder.point(self.now, series, 1.0);
    }
}
