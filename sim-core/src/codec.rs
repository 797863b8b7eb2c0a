//! The one place where messages become bytes and bytes become messages (serde and bincode).
//!
//! Every value that passes between two nodes, or is written to a node's disk by a protocol, goes through here, so that
//! sizes, bandwidth and corruption are real, and so that a successor of bincode is one file's change.
//!
//! The encoding is bincode's with variable-length integers, little-endian. A message's *kind* is the name of its enum
//! variant: [`kind_of`] asks serde for it without encoding anything.

use bincode::config::{self, Configuration};
use serde::{Serialize, de::DeserializeOwned};

pub(crate) mod json;
mod kind;

pub use kind::kind_of;

const CONFIG: Configuration = config::standard();

/// Why bytes are not the message that was expected: they were corrupted, or sender and receiver disagree on the type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot decode {len} bytes: {reason}")]
pub struct DecodeError {
    /// How many bytes there were.
    pub len: usize,
    /// What bincode says.
    pub reason: String,
}

/// Appends the encoding of `value`.
///
/// # Panics
/// When the type's own `Serialize` fails, which is an error of the program.
pub fn encode_into<T: Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) {
    struct Appender<'a>(&'a mut Vec<u8>);
    impl bincode::enc::write::Writer for Appender<'_> {
        #[inline]
        fn write(&mut self, bytes: &[u8]) -> Result<(), bincode::error::EncodeError> {
            self.0.extend_from_slice(bytes);
            Ok(())
        }
    }
    bincode::serde::encode_into_writer(value, Appender(out), CONFIG).expect("a message can be encoded");
}

/// The encoding of `value`. Panics as [`encode_into`] does.
pub fn encode<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    let mut out = Vec::new();
    encode_into(value, &mut out);
    out
}

/// Writes the encoding of `value`; panics where the writer fails.
pub(crate) fn encode_to_writer<T: Serialize + ?Sized>(value: &T, writer: &mut impl std::io::Write) {
    struct Adapter<'a, W>(&'a mut W);
    impl<W: std::io::Write> bincode::enc::write::Writer for Adapter<'_, W> {
        fn write(&mut self, bytes: &[u8]) -> Result<(), bincode::error::EncodeError> {
            self.0
                .write_all(bytes)
                .map_err(|inner| bincode::error::EncodeError::OtherString(inner.to_string()))
        }
    }
    bincode::serde::encode_into_writer(value, Adapter(writer), CONFIG).expect("the writer takes every byte");
}

/// Decodes a value that fills `bytes` exactly.
///
/// # Errors
/// When the bytes are no such value, or some are left over.
#[inline]
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
    let fail = |reason: String| DecodeError { len: bytes.len(), reason };
    match bincode::serde::decode_from_slice::<T, _>(bytes, CONFIG) {
        Ok((value, used)) if used == bytes.len() => Ok(value),
        Ok((_, used)) => Err(fail(format!("{} bytes are left over", bytes.len() - used))),
        Err(error) => Err(fail(error.to_string())),
    }
}

/// Decodes a value from the front of `bytes`; gives it and the rest.
///
/// # Errors
/// When the bytes do not begin with such a value.
pub fn decode_prefix<T: DeserializeOwned>(bytes: &[u8]) -> Result<(T, &[u8]), DecodeError> {
    match bincode::serde::decode_from_slice::<T, _>(bytes, CONFIG) {
        Ok((value, used)) => Ok((value, &bytes[used..])),
        Err(error) => Err(DecodeError { len: bytes.len(), reason: error.to_string() }),
    }
}
