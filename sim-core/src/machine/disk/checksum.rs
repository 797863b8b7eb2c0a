//! A checksum for records on a disk: it tells a record that is whole from one that a crash cut in two.
//!
//! A length field alone cannot do that: the length may have reached the disk while the end of the record did not. A CRC
//! finds every burst of damage up to 32 bits long, and any other damage but once in 2^32.

/// Steps of the division by the reflected polynomial 0xEDB88320: the first table for each value of a byte, the others for a
/// byte that so many more bytes follow. Eight bytes at a time, since protocols checksum every record that they write.
const TABLES: [[u32; 256]; 8] = {
    let mut tables = [[0; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut remainder = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            remainder = if remainder & 1 == 1 { (remainder >> 1) ^ 0xEDB8_8320 } else { remainder >> 1 };
            bit += 1;
        }
        tables[0][byte] = remainder;
        byte += 1;
    }
    let mut more = 1;
    while more < 8 {
        let mut byte = 0;
        while byte < 256 {
            let before = tables[more - 1][byte];
            tables[more][byte] = tables[0][(before & 0xff) as usize] ^ (before >> 8);
            byte += 1;
        }
        more += 1;
    }
    tables
};

/// The CRC-32 of `bytes`, as Ethernet, gzip and PNG compute it (CRC-32/ISO-HDLC in the catalogue of parametrised CRC
/// algorithms).
pub fn crc32(bytes: &[u8]) -> u32 {
    crc32_after(0, bytes)
}

/// The CRC-32 of some bytes whose sum is `before`, and of these after them.
pub(crate) fn crc32_after(before: u32, bytes: &[u8]) -> u32 {
    let mut remainder = !before;
    let mut chunks = bytes.chunks_exact(8);
    for chunk in &mut chunks {
        let low = remainder ^ u32::from_le_bytes([chunk[0], chunk[1], chunk[2], chunk[3]]);
        let at = |table: usize, byte: u32| TABLES[table][(byte & 0xff) as usize];
        remainder = at(7, low)
            ^ at(6, low >> 8)
            ^ at(5, low >> 16)
            ^ at(4, low >> 24)
            ^ at(3, u32::from(chunk[4]))
            ^ at(2, u32::from(chunk[5]))
            ^ at(1, u32::from(chunk[6]))
            ^ at(0, u32::from(chunk[7]));
    }
    for &byte in chunks.remainder() {
        remainder = TABLES[0][usize::from(remainder as u8 ^ byte)] ^ (remainder >> 8);
    }
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
    fn eight_bytes_at_a_time_give_what_single_bytes_give() {
        let bytes: Vec<u8> = (0..100_u32).map(|n| (n * n % 251) as u8).collect();
        for len in 0..bytes.len() {
            let single = bytes[..len].iter().fold(0, |sum, &byte| crc32_after(sum, &[byte]));
            assert_eq!(crc32(&bytes[..len]), single, "{len}");
            assert_eq!(crc32_after(crc32(&bytes[..len]), &bytes[len..]), crc32(&bytes), "{len}");
        }
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
