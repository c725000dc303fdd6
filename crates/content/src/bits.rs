//! Which pieces are there.

use std::{fmt, ops::Range};

/// One bit per piece. Bit `i` is bit `i % 8`, from the lowest, of byte `i / 8`.
#[derive(Clone, PartialEq, Eq)]
pub struct Bitfield {
    bytes: Vec<u8>,
    len: u32,
    count: u32,
}

/// Bytes that are no bitfield of so many pieces.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{bytes} bytes are no bitfield of {pieces} pieces, or spare bits are set")]
pub struct BitsError {
    bytes: usize,
    pieces: u32,
}

impl Bitfield {
    /// No piece of `len`.
    #[must_use]
    pub fn new(len: u32) -> Self {
        Self { bytes: vec![0; byte_len(len)], len, count: 0 }
    }

    /// All of `len` pieces.
    #[must_use]
    pub fn full(len: u32) -> Self {
        let mut bytes = vec![0xff; byte_len(len)];
        if let Some(last) = bytes.last_mut() {
            *last &= last_mask(len);
        }
        Self { bytes, len, count: len }
    }

    /// Reads what [`Bitfield::as_bytes`] gave, for content of `len` pieces.
    ///
    /// # Errors
    /// [`BitsError`] when the length is another or a bit behind the last piece is set.
    pub fn from_bytes(bytes: &[u8], len: u32) -> Result<Self, BitsError> {
        let spare = bytes.last().is_some_and(|last| last & !last_mask(len) != 0);
        if bytes.len() != byte_len(len) || spare {
            return Err(BitsError { bytes: bytes.len(), pieces: len });
        }
        // No more than `len` bits are set.
        let count = bytes.iter().map(|byte| byte.count_ones()).sum();
        Ok(Self { bytes: bytes.to_vec(), len, count })
    }

    /// The bits, ⌈pieces / 8⌉ bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// A copy of the bits.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.bytes.clone()
    }

    /// How many pieces there are in all.
    #[must_use]
    pub fn len(&self) -> u32 {
        self.len
    }

    /// Whether there are no pieces at all, there or not.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many pieces are there.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Whether all pieces are there.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.count == self.len
    }

    /// Whether the piece is there; no, for one past the end.
    #[must_use]
    pub fn get(&self, piece: u32) -> bool {
        let byte = self.bytes.get(piece as usize / 8);
        byte.is_some_and(|byte| byte & (1 << (piece % 8)) != 0)
    }

    /// Notes that the piece is there; `false` if it was, or is past the end.
    pub fn set(&mut self, piece: u32) -> bool {
        if piece >= self.len || self.get(piece) {
            return false;
        }
        self.bytes[piece as usize / 8] |= 1 << (piece % 8);
        self.count += 1;
        true
    }

    /// Notes that the piece is not there; `false` if it was not.
    pub fn clear(&mut self, piece: u32) -> bool {
        if !self.get(piece) {
            return false;
        }
        self.bytes[piece as usize / 8] &= !(1 << (piece % 8));
        self.count -= 1;
        true
    }

    /// The pieces that are not there, as runs in ascending order.
    pub fn missing_runs(&self) -> impl Iterator<Item = Range<u32>> + '_ {
        self.runs(false)
    }

    /// The pieces that are there, as runs in ascending order.
    pub fn present_runs(&self) -> impl Iterator<Item = Range<u32>> + '_ {
        self.runs(true)
    }

    fn runs(&self, value: bool) -> impl Iterator<Item = Range<u32>> + '_ {
        let mut from = 0;
        std::iter::from_fn(move || {
            let start = self.next(from, value)?;
            let end = self.next(start, !value).unwrap_or(self.len);
            from = end;
            Some(start..end)
        })
    }

    /// The first piece from `from` on whose bit has this value.
    fn next(&self, from: u32, value: bool) -> Option<u32> {
        let mut at = from;
        while at < self.len {
            let byte = self.bytes[at as usize / 8];
            let wanted = if value { byte } else { !byte } >> (at % 8);
            if wanted != 0 {
                return Some(at + wanted.trailing_zeros()).filter(|found| *found < self.len);
            }
            at = (at / 8 + 1) * 8;
        }
        None
    }
}

impl fmt::Debug for Bitfield {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bitfield({} of {})", self.count, self.len)
    }
}

fn byte_len(len: u32) -> usize {
    len.div_ceil(8) as usize
}

/// The bits of the last byte that belong to pieces.
fn last_mask(len: u32) -> u8 {
    if len.is_multiple_of(8) { 0xff } else { (1 << (len % 8)) - 1 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_bitfield_of_another_length_is_refused() {
        assert!(Bitfield::from_bytes(&[0xff], 8).unwrap().is_full());
        assert!(Bitfield::from_bytes(&[0xff], 7).is_err());
        assert!(Bitfield::from_bytes(&[0x7f], 9).is_err());
        assert!(Bitfield::from_bytes(&[], 0).unwrap().is_full());
        assert_eq!(Bitfield::full(9).as_bytes(), [0xff, 1]);
    }

    proptest! {
        #[test]
        fn runs_are_what_single_bits_say(set in prop::collection::vec(any::<bool>(), 0..70)) {
            let len = set.len() as u32;
            let mut bits = Bitfield::new(len);
            for (piece, _) in set.iter().enumerate().filter(|(_, set)| **set) {
                prop_assert!(bits.set(piece as u32));
                prop_assert!(!bits.set(piece as u32));
            }
            prop_assert_eq!(bits.count() as usize, set.iter().filter(|set| **set).count());
            let of = |value| -> Vec<u32> {
                (0..len).filter(|piece| set[*piece as usize] == value).collect()
            };
            prop_assert_eq!(bits.present_runs().flatten().collect::<Vec<_>>(), of(true));
            prop_assert_eq!(bits.missing_runs().flatten().collect::<Vec<_>>(), of(false));
            prop_assert_eq!(&Bitfield::from_bytes(bits.as_bytes(), len).unwrap(), &bits);
            for piece in of(true) {
                prop_assert!(bits.clear(piece));
            }
            prop_assert_eq!(bits, Bitfield::new(len));
        }
    }
}
