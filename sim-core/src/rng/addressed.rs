//! Addressed chance: a random word that belongs to an address and is looked up, not drawn.
//!
//! A stream hands out words in the order in which they are asked for. If one packet is dropped before its delay is drawn,
//! every later packet gets another delay, and two runs that should differ in one packet differ in all. An addressed word
//! depends on its address alone: the k-th packet of a kind between two nodes has its own words for loss, delay,
//! duplication and corruption, whether they are used or not. An override can then name one of them.
//!
//! It costs four multiplications, where seeking in ChaCha costs a block. It is no cipher: the key comes from
//! ChaCha8 ([`Key::word`](super::Key::word)), the rest is mixing.

use crate::record::hash::{fold_multiply, mix};

const STEP: u64 = 0x9e37_79b9_7f4a_7c15; // 2^64 / golden ratio, odd: consecutive ordinals lie far apart
const FLIP: u64 = 0xa076_1d64_78bd_642f; // half of its bits are set

/// The random word at an address.
///
/// `key` should itself be random, for instance a pair's own [`Key::word`](super::Key::word); `kind` is what is counted
/// (a hash of a message's name), `ordinal` the count, and `role` what the word is for. These three may be any numbers,
/// small and consecutive ones too.
#[inline]
pub const fn word(key: u64, kind: u64, ordinal: u64, role: u64) -> u64 {
    // Where the sequence of this (key, kind, role) starts. Multiplying once more by a number that depends on the ordinal
    // only linearly would leave consecutive words in a lattice, hence the square-like step in the middle.
    let start = mix(key, kind, role);
    let place = start.wrapping_add(ordinal.wrapping_mul(STEP));
    let square = fold_multiply(place, place ^ FLIP);
    fold_multiply(square ^ key.rotate_left(23), start ^ STEP)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Key, square, unit};

    /// Four standard errors: of the few hundred comparisons in this file, one in 16,000 would fail by chance; the
    /// numbers are fixed, so that a pass is a pass for good.
    const LIMIT: f64 = 4.0;

    fn key(n: u64) -> u64 {
        Key::root(2_024).fork_u64(n).word()
    }

    /// Words at consecutive addresses along each axis, other coordinates small.
    fn sequences(n: u64) -> [(&'static str, Vec<u64>); 4] {
        let of = |f: &dyn Fn(u64) -> u64| (0..n).map(f).collect::<Vec<_>>();
        [
            ("ordinal", of(&|i| word(key(1), 3, i, 1))),
            ("kind", of(&|i| word(key(1), i, 5, 1))),
            ("role", of(&|i| word(key(1), 3, 5, i))),
            ("key", of(&|i| word(i, 3, 5, 1))),
        ]
    }

    #[test]
    fn each_bit_is_set_half_of_the_time() {
        let n = 100_000;
        for (axis, words) in sequences(n) {
            let standard_error = 0.5 / (n as f64).sqrt();
            for bit in 0..64 {
                let share = words.iter().filter(|w| *w >> bit & 1 == 1).count() as f64 / n as f64;
                let off = (share - 0.5) / standard_error;
                assert!(off.abs() < LIMIT + 0.5, "bit {bit} along {axis}: {share}"); // 256 comparisons
            }
        }
    }

    #[test]
    fn words_are_uniform() {
        let n = 100_000;
        for (axis, words) in sequences(n) {
            let mean = words.iter().map(|&w| unit(w)).sum::<f64>() / n as f64;
            let standard_error = (1.0 / 12.0_f64).sqrt() / (n as f64).sqrt();
            assert!((mean - 0.5).abs() < LIMIT * standard_error, "{axis}: mean {mean}");
            // Chi-square over 256 cells, of the top byte and of the lowest: mean 255, standard deviation 22.6.
            for shift in [56, 0] {
                let mut cells = [0_u32; 256];
                for w in &words {
                    cells[(w >> shift & 255) as usize] += 1;
                }
                let expected = n as f64 / 256.0;
                let chi: f64 = cells.iter().map(|&c| square(f64::from(c) - expected) / expected).sum();
                assert!((chi - 255.0).abs() < LIMIT * 22.6, "{axis}, byte at {shift}: chi-square {chi}");
            }
        }
    }

    #[test]
    fn neighbours_along_every_axis_know_nothing_of_each_other() {
        let n = 100_000;
        for (axis, words) in sequences(n) {
            for lag in [1, 2, 3, 64] {
                let pairs = words.iter().zip(&words[lag..]);
                let count = (n as usize - lag) as f64;
                // Correlation of the values: for independent ones mean 0, standard deviation 1/sqrt(n).
                let sum: f64 = pairs.clone().map(|(&a, &b)| (unit(a) - 0.5) * (unit(b) - 0.5)).sum();
                let correlation = sum / count * 12.0;
                assert!(correlation.abs() < LIMIT / count.sqrt(), "{axis}, lag {lag}: {correlation}");
                // The difference of two independent uniform words is uniform modulo 2^64; in a lattice it repeats.
                let mut cells = [0_u32; 256];
                for (a, b) in pairs {
                    cells[(b.wrapping_sub(*a) >> 56) as usize] += 1;
                }
                let expected = count / 256.0;
                let chi: f64 = cells.iter().map(|&c| square(f64::from(c) - expected) / expected).sum();
                assert!((chi - 255.0).abs() < LIMIT * 22.6, "{axis}, lag {lag}: chi-square {chi}");
            }
        }
    }

    #[test]
    fn roles_of_one_packet_are_independent() {
        // The joint distribution of (loss, delay) of one packet, over 16 x 16 cells.
        let n = 100_000;
        for (first, second) in [(0, 1), (1, 2), (2, 3), (0, 3)] {
            let mut cells = [0_u32; 256];
            for i in 0..n {
                let (a, b) = (word(key(7), 9, i, first), word(key(7), 9, i, second));
                cells[(a >> 60 << 4 | b >> 60) as usize] += 1;
            }
            let expected = n as f64 / 256.0;
            let chi: f64 = cells.iter().map(|&c| square(f64::from(c) - expected) / expected).sum();
            assert!((chi - 255.0).abs() < LIMIT * 22.6, "roles {first} and {second}: chi-square {chi}");
        }
    }

    #[test]
    fn each_bit_of_the_address_flips_half_of_the_word() {
        let n = 10_000_u64;
        for input in 0..256 {
            let mut flips = [0_u32; 64];
            for i in 0..n {
                // Small coordinates, as in use, and a random key.
                let mut address = [key(i % 97) ^ i.wrapping_mul(STEP), i % 5, i, i % 4];
                let before = word(address[0], address[1], address[2], address[3]);
                address[input / 64] ^= 1 << (input % 64);
                let changed = before ^ word(address[0], address[1], address[2], address[3]);
                for (bit, count) in flips.iter_mut().enumerate() {
                    *count += (changed >> bit & 1) as u32;
                }
            }
            let all = flips.iter().sum::<u32>() as f64 / 64.0 / n as f64;
            assert!((all - 0.5).abs() < 0.01, "input bit {input} flips {all} of the word");
            for (bit, &count) in flips.iter().enumerate() {
                // 16,384 comparisons, standard error 0.005: five of them.
                let share = f64::from(count) / n as f64;
                assert!((share - 0.5).abs() < 0.025, "input bit {input} flips output bit {bit} in {share}");
            }
        }
    }

    #[test]
    fn addresses_do_not_collide() {
        // 400,000 words of one link: two alike would be expected once in 230 million runs.
        let mut all: Vec<u64> = Vec::new();
        for kind in 0..10 {
            for ordinal in 0..10_000 {
                all.extend((0..4).map(|role| word(key(3), kind, ordinal, role)));
            }
        }
        let n = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), n);
    }

    #[test]
    fn the_words_are_what_they_were() {
        assert_eq!(
            [word(0, 0, 0, 0), word(1, 2, 3, 4), word(u64::MAX, 0, 1, 0), word(5, u64::MAX, u64::MAX, 3)],
            [0x2aff_56b1_f535_1dc0, 0x2017_9f28_c555_64f9, 0x95a1_1f23_79a1_d24b, 0x0d8d_b60f_9a7c_12f1]
        );
    }
}
