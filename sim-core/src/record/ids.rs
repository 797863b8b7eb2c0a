//! Trace and span ids: a pure function of what was run and of a counter.
//!
//! Two runs that differ in scenario, variant, knobs or seed never share an id (Jaeger would merge their traces); one plan
//! run twice has the same ids, so that sending it twice stores it once.

use std::fmt;

use super::{Origin, SpanIndex};

/// A 128-bit trace id, never zero.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TraceId(pub [u8; 16]);

/// A 64-bit span id, never zero.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpanId(pub [u8; 8]);

macro_rules! hex {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}
hex!(TraceId);
hex!(SpanId);

/// Gives the ids of one run.
#[derive(Clone, Copy, Debug)]
pub struct Ids {
    key: [u8; 32],
}

impl Ids {
    /// The ids of the run with this origin. The whole plan counts: other faults or overrides make another run.
    pub fn new(origin: &Origin) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("shaketable 1 trace ids");
        for part in [&origin.scenario, &origin.variant, &origin.knobs, &origin.plan] {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part.as_bytes());
        }
        hasher.update(&origin.seed.to_le_bytes());
        Self { key: *hasher.finalize().as_bytes() }
    }
    fn derive(&self, domain: u8, counter: u32) -> [u8; 32] {
        let mut input = [0_u8; 5];
        input[0] = domain;
        input[1..].copy_from_slice(&counter.to_le_bytes());
        *blake3::keyed_hash(&self.key, &input).as_bytes()
    }
    /// The id of the trace with that counter.
    pub fn trace(&self, trace: u32) -> TraceId {
        let mut id = [0_u8; 16];
        id.copy_from_slice(&self.derive(0, trace)[..16]);
        TraceId(id)
    }
    /// The id of a span.
    pub fn span(&self, span: SpanIndex) -> SpanId {
        let mut id = [0_u8; 8];
        id.copy_from_slice(&self.derive(1, span.0)[..8]);
        SpanId(id)
    }
}

pub(super) fn trace_id(origin: &Origin, trace: u32) -> TraceId {
    Ids::new(origin).trace(trace)
}
