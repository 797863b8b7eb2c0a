//! The fingerprint of a state: 128 bits that are the same on every platform.
//!
//! `std`'s `Hash` feeds a hasher with words; two lanes take each word with different constants. The fingerprints of nodes are
//! kept with the nodes, and those of messages are added up, so that a step costs only what it changes.

use std::hash::{Hash, Hasher};

use crate::record::hash::fold_multiply;

const LEFT: u64 = 0xd6e8_feb8_6659_fd93;
const RIGHT: u64 = 0xa076_1d64_78bd_642f;

/// Two lanes of 64 bits.
pub(super) struct Print {
    left: u64,
    right: u64,
}

/// The fingerprint of one value.
pub(super) fn print_of<T: Hash + ?Sized>(value: &T) -> u128 {
    let mut print = Print::new();
    value.hash(&mut print);
    print.done()
}

impl Print {
    pub(super) const fn new() -> Self {
        Self { left: 0x9e37_79b9_7f4a_7c15, right: 0xe703_7ed1_a0b4_28db }
    }
    pub(super) fn done(&self) -> u128 {
        let left = fold_multiply(self.left ^ LEFT, self.right ^ RIGHT);
        let right = fold_multiply(self.right.rotate_left(29) ^ LEFT, self.left ^ RIGHT.rotate_left(32));
        u128::from(left) << 64 | u128::from(right)
    }
}

impl Hasher for Print {
    fn finish(&self) -> u64 {
        self.done() as u64
    }
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let word = chunk.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte));
            self.write_u64(word);
        }
        self.write_u64(bytes.len() as u64);
    }
    // Every integer is one word, whatever its size and the platform's byte order.
    fn write_u64(&mut self, word: u64) {
        self.left = fold_multiply(self.left ^ word, LEFT).wrapping_add(self.left.rotate_left(17));
        self.right = fold_multiply(self.right ^ word, RIGHT).wrapping_add(self.right.rotate_left(41));
    }
    fn write_u8(&mut self, n: u8) {
        self.write_u64(u64::from(n));
    }
    fn write_u16(&mut self, n: u16) {
        self.write_u64(u64::from(n));
    }
    fn write_u32(&mut self, n: u32) {
        self.write_u64(u64::from(n));
    }
    fn write_u128(&mut self, n: u128) {
        self.write_u64(n as u64);
        self.write_u64((n >> 64) as u64);
    }
    fn write_usize(&mut self, n: usize) {
        self.write_u64(n as u64);
    }
    fn write_i8(&mut self, n: i8) {
        self.write_u64(n as u64);
    }
    fn write_i16(&mut self, n: i16) {
        self.write_u64(n as u64);
    }
    fn write_i32(&mut self, n: i32) {
        self.write_u64(n as u64);
    }
    fn write_i64(&mut self, n: i64) {
        self.write_u64(n as u64);
    }
    fn write_i128(&mut self, n: i128) {
        self.write_u128(n as u128);
    }
    fn write_isize(&mut self, n: isize) {
        self.write_u64(n as u64);
    }
}
