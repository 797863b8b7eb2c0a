//! Two hashes of a run: a cheap one over every dispatched event, and a canonical one over the whole recording.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::Recording;

/// A 64-bit hash over all dispatched events (time, entity, kind, payload). It costs a few nanoseconds an event, so it is
/// always there. Two runs of one plan have the same; it is no defence against an adversary.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, PartialOrd, Ord)]
pub struct RunHash(pub u64);

/// A canonical 256-bit hash (BLAKE3).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Hash256(pub [u8; 32]);

/// Multiplies two words into 128 bits and folds the halves: each bit of the input reaches each bit of the output.
#[inline]
pub(crate) const fn fold_multiply(a: u64, b: u64) -> u64 {
    let wide = (a as u128).wrapping_mul(b as u128);
    (wide as u64) ^ ((wide >> 64) as u64)
}

const ODD: u64 = 0x9e37_79b9_7f4a_7c15; // 2^64 / golden ratio
const MIX: u64 = 0xd6e8_feb8_6659_fd93;

/// A well-mixed word from three.
#[inline]
pub(crate) const fn mix(a: u64, b: u64, c: u64) -> u64 {
    let first = fold_multiply(a ^ ODD, b ^ MIX);
    fold_multiply(first ^ c, ODD ^ a.rotate_left(32))
}

/// A fast hash of bytes, the same on every platform (words are read little-endian). Not for adversaries.
#[inline]
pub(crate) fn bytes(bytes: &[u8]) -> u64 {
    let mut state = ODD ^ bytes.len() as u64;
    let mut chunks = bytes.chunks_exact(8);
    for chunk in &mut chunks {
        let word = u64::from_le_bytes(chunk.try_into().expect("eight bytes"));
        state = fold_multiply(state ^ word, MIX);
    }
    let last = chunks.remainder().iter().rev().fold(0, |last, &byte| last << 8 | u64::from(byte));
    fold_multiply(state ^ last, ODD ^ state.rotate_right(29))
}

impl RunHash {
    /// Takes one dispatched event into the hash.
    #[inline]
    pub(crate) fn add(&mut self, time: u64, entity: u64, payload: u64) {
        self.0 = mix(self.0 ^ time, entity, payload);
    }
    /// Combines the hashes of several runs, in order.
    pub fn combine(hashes: impl IntoIterator<Item = Self>) -> Self {
        Self(hashes.into_iter().fold(0, |all, one| mix(all, one.0, 1)))
    }
}

impl fmt::Display for RunHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}
impl fmt::Debug for RunHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
impl Serialize for RunHash {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        if s.is_human_readable() { s.collect_str(self) } else { s.serialize_u64(self.0) }
    }
}
impl<'de> Deserialize<'de> for RunHash {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        if d.is_human_readable() {
            let text = String::deserialize(d)?;
            u64::from_str_radix(&text, 16).map(Self).map_err(de::Error::custom)
        } else {
            u64::deserialize(d).map(Self)
        }
    }
}

impl fmt::Display for Hash256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
impl fmt::Debug for Hash256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
impl Serialize for Hash256 {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

/// The canonical encoding (the wire's own codec) of the recording, hashed as it is written.
pub(super) fn of_recording(recording: &Recording) -> Hash256 {
    struct Sink(blake3::Hasher);
    impl std::io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.update(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    // Small writes are gathered: BLAKE3 wants whole blocks.
    let mut sink = std::io::BufWriter::with_capacity(64 * 1024, Sink(blake3::Hasher::new()));
    crate::codec::encode_to_writer(recording, &mut sink);
    let sink = sink.into_inner().map_err(|_| ()).expect("a hasher takes every byte");
    Hash256(*sink.0.finalize().as_bytes())
}
