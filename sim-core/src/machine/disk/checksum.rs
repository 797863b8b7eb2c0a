//! A checksum for records on a disk: it tells a record that is whole from one that a crash cut in two.
//!
//! A length field alone cannot do that: the length may have reached the disk while the end of the record did not. A CRC
//! finds every burst of damage up to 32 bits long, and any other damage but once in 2^32.

/// One step of the division for each value of a byte: the reflected polynomial 0xEDB88320.
const TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut remainder = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            remainder = if remainder & 1 == 1 { (remainder >> 1) ^ 0xEDB8_8320 } else { remainder >> 1 };
            bit += 1;
        }
        table[byte] = remainder;
        byte += 1;
    }
    table
};

/// The CRC-32 of `bytes`, as Ethernet, gzip and PNG compute it (CRC-32/ISO-HDLC in the catalogue of parametrised CRC
/// algorithms).
pub fn crc32(bytes: &[u8]) -> u32 {
    let remainder = bytes
        .iter()
        .fold(u32::MAX, |remainder, &byte| TABLE[usize::from(remainder as u8 ^ byte)] ^ (remainder >> 8));
    !remainder
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_value_of_the_catalogue_comes_out() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
    }

    #[test]
    fn known_texts_have_their_known_sums() {
        assert_eq!(crc32(b""), 0);
        assert_eq!(crc32(b"a"), 0xE8B7_BE43);
        assert_eq!(crc32(b"The quick brown fox jumps over the lazy dog"), 0x414F_A339);
    }

    #[test]
    fn every_single_flipped_bit_changes_the_sum() {
        let record: Vec<u8> = (0..200).collect();
        for bit in 0..record.len() * 8 {
            let mut damaged = record.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_ne!(crc32(&damaged), crc32(&record), "bit {bit}");
        }
    }

    #[test]
    fn a_record_whose_end_reads_as_zeros_has_another_sum() {
        let record = [7; 1_500];
        let mut torn = record;
        torn[512..].fill(0);
        assert_ne!(crc32(&torn), crc32(&record));
    }
}
