//! Values on the wire as one block of bytes. Serde knows a `Vec<u8>` only as a list of numbers, one call each, which costs
//! more than all the rest of a run with large values. The encoding is the same: a length and the bytes.

use std::fmt;

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, Visitor},
};

/// For fields: `#[serde(with = "bytes")]`.
pub(super) fn serialize<S: Serializer>(value: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bytes(value)
}

/// See [`serialize`].
pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    struct Block;
    impl Visitor<'_> for Block {
        type Value = Vec<u8>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("bytes")
        }
        fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
            Ok(bytes.to_vec())
        }
        fn visit_byte_buf<E: Error>(self, bytes: Vec<u8>) -> Result<Vec<u8>, E> {
            Ok(bytes)
        }
    }
    deserializer.deserialize_byte_buf(Block)
}

/// A value where an attribute on a field does not reach: inside a list or an option.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Bytes(#[serde(with = "crate::cast::bytes")] pub(super) Vec<u8>);

#[cfg(test)]
mod tests {
    use sim_core::codec;

    use super::*;

    #[test]
    fn a_block_is_encoded_as_the_list_of_its_numbers_is() {
        for length in [0, 1, 250, 251, 70_000] {
            let value = vec![7_u8; length];
            let encoded = codec::encode(&Bytes(value.clone()));
            assert_eq!(encoded, codec::encode(&value));
            assert_eq!(codec::decode(&encoded), Ok(Bytes(value)));
        }
    }
}
