//! What a packet carries: a small message lies in the packet itself, a large one in memory of its own.
//!
//! With many packets on the wire the time goes into fetching their memory; a small message that lies in its packet's own
//! cache lines costs nothing extra.

use std::ops::{Deref, DerefMut};

const INLINE: usize = 38;

/// See the module.
#[derive(Clone, Debug)]
pub(crate) enum Bytes {
    Inline { len: u8, data: [u8; INLINE] },
    Heap(Vec<u8>),
}

impl Bytes {
    pub(crate) const fn new() -> Self {
        Self::Inline { len: 0, data: [0; INLINE] }
    }
    #[inline]
    pub(crate) fn clear(&mut self) {
        match self {
            Self::Inline { len, .. } => *len = 0,
            Self::Heap(_) => *self = Self::new(),
        }
    }
    #[inline]
    pub(crate) fn extend_from_slice(&mut self, bytes: &[u8]) {
        match self {
            Self::Inline { len, data } => {
                let start = usize::from(*len);
                if let Some(room) = data.get_mut(start..start + bytes.len()) {
                    // Most messages are a few bytes: not worth a call.
                    if bytes.len() <= 8 {
                        room.iter_mut().zip(bytes).for_each(|(room, byte)| *room = *byte);
                    } else {
                        room.copy_from_slice(bytes);
                    }
                    *len += bytes.len() as u8;
                } else {
                    let mut heap = Vec::with_capacity((start + bytes.len()).next_power_of_two());
                    heap.extend_from_slice(&data[..start]);
                    heap.extend_from_slice(bytes);
                    *self = Self::Heap(heap);
                }
            }
            Self::Heap(heap) => heap.extend_from_slice(bytes),
        }
    }
    /// Begins with so many zeros: room for a head. Only for an empty one.
    #[inline]
    pub(crate) fn begin_with_zeros(&mut self, count: usize) {
        const ZEROS: [u8; 32] = [0; 32];
        self.extend_from_slice(&ZEROS[..count]);
    }
}

impl Deref for Bytes {
    type Target = [u8];
    #[inline]
    fn deref(&self) -> &[u8] {
        match self {
            Self::Inline { len, data } => &data[..usize::from(*len)],
            Self::Heap(heap) => heap,
        }
    }
}
impl DerefMut for Bytes {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        match self {
            Self::Inline { len, data } => &mut data[..usize::from(*len)],
            Self::Heap(heap) => heap,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn bytes_are_what_was_appended(parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..30), 0..8)) {
            let mut bytes = Bytes::new();
            for part in &parts {
                bytes.extend_from_slice(part);
            }
            prop_assert_eq!(&*bytes, &*parts.concat());
            bytes.clear();
            bytes.begin_with_zeros(17);
            prop_assert_eq!(&*bytes, &[0_u8; 17][..]);
        }
    }
}
