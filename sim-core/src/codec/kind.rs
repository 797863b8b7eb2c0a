//! The name of a message's enum variant, from serde, without encoding anything.

use std::fmt;

use serde::{
    Serialize, Serializer,
    ser::{self, Impossible},
};

/// The kind of a message: its enum variant's name; for a struct the struct's name; for a plain value the name of its
/// serde type (`u64`, `str`, `seq`, ...). Options and newtypes are looked through.
#[inline]
pub fn kind_of<T: Serialize + ?Sized>(value: &T) -> &'static str {
    match value.serialize(Probe) {
        Err(Found(kind)) => kind,
        Ok(never) => match never {},
    }
}

enum Never {}
struct Probe;
#[derive(Debug)]
struct Found(&'static str);

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}
impl std::error::Error for Found {}
impl ser::Error for Found {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self("unserializable")
    }
}

macro_rules! plain {
    ($($method:ident: $type:ty => $kind:literal,)*) => {
        $(#[inline] fn $method(self, _: $type) -> Result<Never, Found> { Err(Found($kind)) })*
    };
}

impl Serializer for Probe {
    type Ok = Never;
    type Error = Found;
    type SerializeSeq = Impossible<Never, Found>;
    type SerializeTuple = Impossible<Never, Found>;
    type SerializeTupleStruct = Impossible<Never, Found>;
    type SerializeTupleVariant = Impossible<Never, Found>;
    type SerializeMap = Impossible<Never, Found>;
    type SerializeStruct = Impossible<Never, Found>;
    type SerializeStructVariant = Impossible<Never, Found>;

    plain! {
        serialize_bool: bool => "bool",
        serialize_i8: i8 => "i8",
        serialize_i16: i16 => "i16",
        serialize_i32: i32 => "i32",
        serialize_i64: i64 => "i64",
        serialize_u8: u8 => "u8",
        serialize_u16: u16 => "u16",
        serialize_u32: u32 => "u32",
        serialize_u64: u64 => "u64",
        serialize_f32: f32 => "f32",
        serialize_f64: f64 => "f64",
        serialize_char: char => "char",
        serialize_str: &str => "str",
        serialize_bytes: &[u8] => "bytes",
    }

    fn is_human_readable(&self) -> bool {
        false
    }
    fn serialize_none(self) -> Result<Never, Found> {
        Err(Found("none"))
    }
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<Never, Found> {
        value.serialize(Self)
    }
    fn serialize_unit(self) -> Result<Never, Found> {
        Err(Found("unit"))
    }
    fn serialize_unit_struct(self, name: &'static str) -> Result<Never, Found> {
        Err(Found(name))
    }
    #[inline]
    fn serialize_unit_variant(self, _: &'static str, _: u32, kind: &'static str) -> Result<Never, Found> {
        Err(Found(kind))
    }
    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<Never, Found> {
        value.serialize(Self)
    }
    #[inline]
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        kind: &'static str,
        _: &T,
    ) -> Result<Never, Found> {
        Err(Found(kind))
    }
    fn serialize_seq(self, _: Option<usize>) -> Result<Self::SerializeSeq, Found> {
        Err(Found("seq"))
    }
    fn serialize_tuple(self, _: usize) -> Result<Self::SerializeTuple, Found> {
        Err(Found("tuple"))
    }
    fn serialize_tuple_struct(
        self,
        name: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleStruct, Found> {
        Err(Found(name))
    }
    #[inline]
    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        kind: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleVariant, Found> {
        Err(Found(kind))
    }
    fn serialize_map(self, _: Option<usize>) -> Result<Self::SerializeMap, Found> {
        Err(Found("map"))
    }
    #[inline]
    fn serialize_struct(self, name: &'static str, _: usize) -> Result<Self::SerializeStruct, Found> {
        Err(Found(name))
    }
    #[inline]
    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        kind: &'static str,
        _: usize,
    ) -> Result<Self::SerializeStructVariant, Found> {
        Err(Found(kind))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct Inner {
        n: u8,
    }
    #[derive(Serialize)]
    enum Message {
        Ping,
        Put(Inner),
        Get { key: u8 },
        Pair(u8, u8),
    }
    #[derive(Serialize)]
    struct Wrapped(Message);

    #[test]
    fn a_kind_is_the_name_of_the_variant_or_of_the_struct() {
        assert_eq!(kind_of(&Message::Ping), "Ping");
        assert_eq!(kind_of(&Message::Put(Inner { n: 1 })), "Put");
        assert_eq!(kind_of(&Message::Get { key: 1 }), "Get");
        assert_eq!(kind_of(&Message::Pair(1, 2)), "Pair");
        assert_eq!(kind_of(&Some(Wrapped(Message::Ping))), "Ping");
        assert_eq!(kind_of(&Inner { n: 1 }), "Inner");
        assert_eq!(kind_of("text"), "str");
        assert_eq!(kind_of(&7_u64), "u64");
        assert_eq!(kind_of(&vec![1]), "seq");
    }
}
