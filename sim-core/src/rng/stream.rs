//! Named streams of random words: a key for each name, and a ChaCha8 generator for each key.
//!
//! A [`Key`] says which stream; [`Key::fork`] makes the key of a child from the parent's and a name. That is a pure
//! function: it draws nothing, so the order in which children are made does not matter, and a new child changes no other.
//! An [`Rng`] is a key with a position in its stream. The same name below the same parent gives the same stream: whoever
//! hands out names sees to it that none is used twice.

use std::{fmt, ops::RangeInclusive};

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng as _, SeedableRng as _};

use super::{Delay, Sample};
use crate::time::Duration;

/// Which stream: 256 bits that depend on the run's seed and on all names down to here.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(pub [u8; 32]);

/// What is hashed below a parent: the first byte keeps names and numbers apart.
const NAME: u8 = 1;
const NUMBER: u8 = 2;

impl Key {
    /// The key of a whole run.
    pub fn root(seed: u64) -> Self {
        // BLAKE3 in its mode for deriving keys: no other use of the hash, on any input, gives these.
        Self(blake3::derive_key("shaketable random streams, version 1: root", &seed.to_le_bytes()))
    }

    /// The key of the child with this name. Pure: it draws nothing.
    pub fn fork(&self, name: &str) -> Self {
        self.child(NAME, name.as_bytes())
    }

    /// The key of the child with this number; it is another than that of any name. Pure: it draws nothing.
    pub fn fork_u64(&self, n: u64) -> Self {
        self.child(NUMBER, &n.to_le_bytes())
    }

    /// The first word of this key's stream, the one an [`Rng`] of the same key draws first.
    pub fn word(&self) -> u64 {
        ChaCha8Rng::from_seed(self.0).next_u64()
    }

    fn child(&self, domain: u8, name: &[u8]) -> Self {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        hasher.update(&[domain]);
        hasher.update(&(name.len() as u64).to_le_bytes());
        hasher.update(name);
        Self(*hasher.finalize().as_bytes())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A stream of random words and what can be made of them. Nodes, clients and generators each hold one.
///
/// Every method says how many words it draws, and that number never depends on what came up, so that one decision does
/// not shift the next. A clone repeats the draws of its original; for a stream of its own use [`Rng::fork`].
#[derive(Clone, PartialEq, Eq)]
pub struct Rng {
    key: Key,
    words: ChaCha8Rng,
}

impl Rng {
    /// The stream of a key, from its first word.
    pub fn new(key: &Key) -> Self {
        Self { key: *key, words: ChaCha8Rng::from_seed(key.0) }
    }

    /// The stream of a run's root key. For tests and examples: a node gets its own from the world.
    pub fn seeded(seed: u64) -> Self {
        Self::new(&Key::root(seed))
    }

    /// Which stream this is.
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// The stream of the child with this name, from its first word. Pure: it draws nothing here, and what was drawn
    /// before does not matter.
    pub fn fork(&self, name: &str) -> Self {
        Self::new(&self.key.fork(name))
    }

    /// The stream of the child with this number; see [`Rng::fork`].
    pub fn fork_u64(&self, n: u64) -> Self {
        Self::new(&self.key.fork_u64(n))
    }

    /// The next word.
    #[inline]
    pub fn next_u64(&mut self) -> u64 {
        self.words.next_u64()
    }

    /// A number in [0, 1), a multiple of 2^-53. One word.
    #[inline]
    pub fn unit(&mut self) -> f64 {
        super::unit(self.next_u64())
    }

    /// A whole number in 0..n; 0 for n = 0. One word, with an error of each number's probability below 2^-64.
    #[inline]
    pub fn below(&mut self, n: u64) -> u64 {
        super::below(self.next_u64(), n)
    }

    /// A whole number in the range, both ends included; the start of a range that is empty. One word.
    #[inline]
    pub fn range(&mut self, range: RangeInclusive<u64>) -> u64 {
        let (from, to) = range.into_inner();
        let word = self.next_u64();
        match to.saturating_sub(from).checked_add(1) {
            Some(n) => from + super::below(word, n),
            None => word, // all of them
        }
    }

    /// True with probability `p`: never for 0, less or NaN, always for 1 or more. One word in every case.
    #[inline]
    pub fn chance(&mut self, p: f64) -> bool {
        self.unit() < p
    }

    /// A value of any of the distributions ([`Delay`], [`Zipf`](super::Zipf), ..). One word.
    #[inline]
    pub fn sample<D: Sample>(&mut self, distribution: &D) -> D::Value {
        distribution.sample(self.next_u64())
    }

    /// A span of time: [`Rng::sample`] under the name that reads well in a protocol. One word.
    #[inline]
    pub fn duration(&mut self, delay: &Delay) -> Duration {
        self.sample(delay)
    }

    /// One of the items, each with the same probability; none of an empty slice. One word in either case.
    #[inline]
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> Option<&'a T> {
        items.get(self.below(items.len() as u64) as usize)
    }

    /// Brings the items into a random order, each of the n! with the same probability. n - 1 words.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        // Fisher and Yates: the last place takes any of the items, the one before it any of the rest, and so on.
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last as u64 + 1) as usize);
        }
    }

    /// Fills the slice with random bytes, one word for each eight or part of eight.
    pub fn bytes(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.next_u64().to_le_bytes()[..chunk.len()]);
        }
    }
}

impl fmt::Debug for Rng {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The position in 64-bit words: enough to see where two runs part.
        write!(f, "Rng {{ key: {:?}, word: {} }}", self.key, self.words.get_word_pos() / 2)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

    use super::*;

    #[test]
    fn the_streams_are_what_they_were() {
        let root = Key::root(1);
        assert_eq!(format!("{root:?}"), "c4adc2c572490ec0de67caf2a56ce9d571f74ff76645b7297d953976c8727a3f");
        assert_eq!(
            format!("{:?}", root.fork("n1")),
            "35050c5fbc6f263f7be6909aa8e44db4755767a4a4711201c08cb4947fc84ce0"
        );
        let mut rng = Rng::new(&root.fork("n1"));
        assert_eq!(
            [rng.next_u64(), rng.next_u64(), rng.next_u64()],
            [0x0152_5669_5b97_2d03, 0xb65d_e53d_ad27_78ce, 0xa850_00fb_03b5_ce5a]
        );
        // Beyond the generator's buffer of 32 words.
        for _ in 0..100 {
            rng.next_u64();
        }
        assert_eq!(rng.next_u64(), 0xe260_e281_ccbf_8518);
        let mut bytes = [0; 11];
        rng.bytes(&mut bytes);
        assert_eq!(bytes, [184, 238, 38, 252, 251, 160, 24, 20, 103, 142, 204]);
        assert_eq!(rng.fork_u64(3).next_u64(), 0xca69_d877_5074_1a8b);
    }

    #[test]
    fn chacha8_is_the_published_cipher() {
        // ChaCha8, key of 32 zero bytes, nonce 0: the first keystream bytes are 3e 00 ef 2f 89 5f 40 d6 (test vectors of
        // draft-strombergson-chacha-test-vectors-01, TC1, 256-bit key, 8 rounds).
        let first = u64::from_le_bytes([0x3e, 0x00, 0xef, 0x2f, 0x89, 0x5f, 0x40, 0xd6]);
        assert_eq!(Key([0; 32]).word(), first);
        assert_eq!(Rng::new(&Key([0; 32])).next_u64(), first);
    }

    #[test]
    fn a_fork_draws_nothing_and_does_not_care_what_was_drawn() {
        let mut a = Rng::seeded(3);
        let untouched = a.clone();
        let early = a.fork("x");
        assert_eq!(a, untouched);
        for _ in 0..77 {
            a.next_u64();
        }
        assert_eq!(a.fork("x"), early);
    }

    #[test]
    fn names_numbers_parents_and_depth_are_kept_apart() {
        let root = Key::root(0);
        let mut keys = vec![
            root,
            Key::root(1),
            root.fork(""),
            root.fork("a"),
            root.fork("b"),
            root.fork("ab"),
            root.fork("a").fork("b"),
            root.fork("b").fork("a"),
            root.fork_u64(0),
            root.fork_u64(1),
            root.fork("\0\0\0\0\0\0\0\0"),
            root.fork_u64(u64::from_le_bytes(*b"abcdefgh")),
            root.fork("abcdefgh"),
            Key::root(1).fork("a"),
        ];
        let n = keys.len();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), n);
    }

    #[test]
    fn each_number_below_six_comes_up_a_sixth_of_the_time() {
        let (mut rng, n) = (Rng::seeded(5), 120_000);
        let mut counts = [0_u32; 6];
        for _ in 0..n {
            counts[rng.range(10..=15) as usize - 10] += 1;
        }
        // Standard error of a count: sqrt(120,000 / 6 * 5 / 6) = 129.
        for count in counts {
            assert!((f64::from(count) - 20_000.0).abs() < 4.0 * 129.1, "{counts:?}");
        }
    }

    #[test]
    fn chance_is_as_often_as_it_says() {
        let (mut rng, n) = (Rng::seeded(8), 100_000);
        for p in [0.001, 0.2, 0.5, 0.97] {
            let hits = (0..n).filter(|_| rng.chance(p)).count() as f64;
            let standard_error = (f64::from(n) * p * (1.0 - p)).sqrt();
            assert!((hits - f64::from(n) * p).abs() < 4.0 * standard_error, "{p}: {hits} of {n}");
        }
        assert!((0..1000).all(|_| rng.chance(1.0) && !rng.chance(0.0) && !rng.chance(f64::NAN)));
    }

    #[test]
    fn every_order_of_four_is_equally_likely() {
        let (mut rng, n) = (Rng::seeded(9), 48_000);
        let mut counts = std::collections::BTreeMap::<[u8; 4], u32>::new();
        for _ in 0..n {
            let mut items = [0, 1, 2, 3];
            rng.shuffle(&mut items);
            *counts.entry(items).or_default() += 1;
        }
        assert_eq!(counts.len(), 24);
        // Expected 2000 each, standard error sqrt(2000 * 23 / 24) = 43.8.
        assert!(counts.values().all(|&c| (f64::from(c) - 2_000.0).abs() < 4.0 * 43.8), "{counts:?}");
    }

    #[test]
    fn nothing_can_be_picked_from_nothing_but_the_word_is_drawn() {
        let mut rng = Rng::seeded(4);
        let mut other = rng.clone();
        assert_eq!(rng.pick::<u8>(&[]), None);
        assert!([1, 2, 3].contains(other.pick(&[1, 2, 3]).unwrap()));
        assert_eq!(rng, other);
    }

    proptest! {
        #[test]
        fn a_range_keeps_to_its_ends(seed in any::<u64>(), a in any::<u64>(), b in any::<u64>()) {
            let mut rng = Rng::seeded(seed);
            let (low, high) = (a.min(b), a.max(b));
            prop_assert!((low..=high).contains(&rng.range(low..=high)));
            prop_assert_eq!(rng.range(RangeInclusive::new(7, 3)), 7);
            prop_assert!(rng.below(high.max(1)) < high.max(1));
            prop_assert_eq!(rng.below(0), 0);
            rng.range(0..=u64::MAX);
        }

        #[test]
        fn a_unit_is_below_one(word in any::<u64>()) {
            prop_assert!((0.0..1.0).contains(&super::super::unit(word)));
            prop_assert!((0.0..1.0).contains(&super::super::unit(u64::MAX - (word & 0xfff))));
        }
    }
}
