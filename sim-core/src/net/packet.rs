//! A packet, and where it goes when it arrives.

use super::{Bytes, rpc};
use crate::{
    node::NodeId,
    record::{MessageIndex, Name, SpanIndex, hash},
    time::SimTime,
};

/// IPv4 and UDP headers, in bytes.
const DATAGRAM_HEADER: u32 = 28;
/// IPv4 and TCP headers, in bytes.
const SEGMENT_HEADER: u32 = 40;

/// Where a packet goes when it arrives.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Route {
    Datagram {
        port: u16,
    },
    /// Segment `sequence` from the end `side` of a connection. The last one of a direction ends it.
    Segment {
        connection: u32,
        side: u8,
        sequence: u64,
        last: bool,
    },
    Open {
        connection: u32,
    },
    Opened {
        connection: u32,
    },
    /// To the end that is not `side`: the connection is no more. `refused`: it never was.
    Reset {
        connection: u32,
        side: u8,
        refused: bool,
    },
}

/// A packet: on the wire, or waiting to be sent again. It travels in a box that is used again.
#[derive(Clone)]
#[repr(align(64))]
pub(crate) struct Packet {
    pub(crate) from: NodeId,
    pub(crate) to: NodeId,
    pub(crate) pair: u32,
    pub(crate) kind: Name,
    pub(super) kind_hash: u64,
    pub(super) ordinal: u64,
    pub(crate) route: Route,
    pub(crate) bytes: Bytes,
    pub(crate) sent: SimTime,
    pub(crate) first_sent: SimTime,
    pub(crate) attempt: u16,
    /// A call's request, which has room for a trace context.
    pub(crate) is_request: bool,
    pub(crate) span: SpanIndex,
    /// The name of the spans of a call of this kind.
    pub(crate) span_name: Name,
    pub(super) message: MessageIndex,
    pub(super) duplicate: bool,
}

impl Packet {
    pub(super) fn empty() -> Self {
        Self {
            from: NodeId(0),
            to: NodeId(0),
            pair: 0,
            kind: Name::EMPTY,
            kind_hash: 0,
            ordinal: 0,
            route: Route::Datagram { port: 0 },
            bytes: Bytes::new(),
            sent: SimTime::ZERO,
            first_sent: SimTime::ZERO,
            attempt: 0,
            is_request: false,
            span: SpanIndex::NONE,
            span_name: Name::EMPTY,
            message: MessageIndex::NONE,
            duplicate: false,
        }
    }
    /// Reads a little of each of its cache lines.
    #[inline]
    pub(crate) fn touch(&self) -> u32 {
        self.bytes.len() as u32
            ^ self.bytes.last().map_or(0, |&b| u32::from(b))
            ^ self.ordinal as u32
            ^ self.pair
            ^ self.kind_hash as u32
    }
    /// For the run hash: who, what, how and the payload.
    pub(crate) fn hash(&self) -> u64 {
        let what = self.kind_hash
            ^ (u64::from(self.from.0) << 32)
            ^ u64::from(self.attempt)
            ^ u64::from(self.duplicate) << 16;
        hash::mix(what, self.ordinal, hash::bytes(&self.bytes))
    }
    pub(super) fn size(&self) -> u32 {
        let header =
            if matches!(self.route, Route::Datagram { .. }) { DATAGRAM_HEADER } else { SEGMENT_HEADER };
        let context = if self.is_request { rpc::TRACE_CONTEXT } else { 0 };
        u32::try_from(self.bytes.len()).unwrap_or(u32::MAX).saturating_add(header + context)
    }
}

/// Two cache lines: see the module `bytes`.
const _: () = assert!(size_of::<Packet>() == 128);
