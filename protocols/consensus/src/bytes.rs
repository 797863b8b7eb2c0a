//! A block of bytes that is cheap to copy: what a command is to a protocol that does not look into it.

use std::{fmt, ops::Deref, sync::Arc};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, Visitor},
};

/// Bytes that are never changed and are shared by all copies within a node. On the wire: their number and the bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bytes(Arc<[u8]>);

impl Bytes {
    /// No bytes.
    pub fn empty() -> Self {
        Self(Arc::from([]))
    }
}

impl Default for Bytes {
    fn default() -> Self {
        Self::empty()
    }
}
impl Deref for Bytes {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.0
    }
}
impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes.into())
    }
}
impl From<&[u8]> for Bytes {
    fn from(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }
}
impl From<&str> for Bytes {
    fn from(text: &str) -> Self {
        Self(text.as_bytes().into())
    }
}

/// As text, where it is short and is text; otherwise how many there are.
impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match std::str::from_utf8(self) {
            Ok(text) if text.len() <= 40 && !text.contains(char::is_control) => write!(f, "{text:?}"),
            _ => write!(f, "{} bytes", self.len()),
        }
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self)
    }
}
impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Block;
        impl Visitor<'_> for Block {
            type Value = Bytes;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }
            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Bytes, E> {
                Ok(bytes.into())
            }
            fn visit_byte_buf<E: Error>(self, bytes: Vec<u8>) -> Result<Bytes, E> {
                Ok(bytes.into())
            }
        }
        deserializer.deserialize_bytes(Block)
    }
}

#[cfg(test)]
mod tests {
    use sim_core::codec;

    use super::*;

    #[test]
    fn a_block_comes_back_as_it_was() {
        for length in [0, 1, 250, 251, 70_000] {
            let bytes = Bytes::from(vec![7_u8; length]);
            let encoded = codec::encode(&bytes);
            assert!(encoded.len() <= length + 5);
            assert_eq!(codec::decode(&encoded), Ok(bytes));
        }
    }

    #[test]
    fn short_text_is_shown_and_the_rest_is_counted() {
        assert_eq!(format!("{:?}", Bytes::from("put a")), "\"put a\"");
        assert_eq!(format!("{:?}", Bytes::from(&[0, 255][..])), "2 bytes");
    }
}
