//! One version of an entry.

use bytes::Bytes;
use peerage_store::StoreError;
use peerage_types::{KvKey, SpaceId, UnixMillis};
use peerage_wire::kv::{Entry, Fingerprint, MAX_INLINE_BYTES, SignedEntry};

use super::corrupt;

/// It came from another node.
pub(crate) const REMOTE: u8 = 1;
/// Its time was over, and its value is gone.
pub(crate) const EXPIRED: u8 = 2;
/// Its value is no longer kept, in History.
pub(crate) const BARE: u8 = 4;

/// Sequence number `u64`, flags `u8`, former versions that are kept `u8`.
const HEADER: usize = 10;

/// As bytes: the header; what [`SignedEntry::keep`] gives; the value, if it is kept inline.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) seq: u64,
    pub(crate) flags: u8,
    /// Former versions that are kept of the key; only right in Entries.
    pub(crate) past: u8,
    pub(crate) signed: SignedEntry,
    pub(crate) value: Bytes,
}

impl Row {
    pub(crate) fn decode(space: SpaceId, key: &KvKey, bytes: &[u8]) -> Result<Self, StoreError> {
        let parse = || {
            let (seq, rest) = bytes.split_first_chunk()?;
            let ([flags, past], mut rest) = rest.split_first_chunk()?;
            let signed = SignedEntry::kept(space, key.clone(), &mut rest)?;
            let seq = u64::from_be_bytes(*seq);
            let value = Bytes::copy_from_slice(rest);
            Some(Self { seq, flags: *flags, past: *past, signed, value })
        };
        parse().ok_or_else(|| corrupt("an entry"))
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = head(self.seq, self.flags, self.past, 256 + self.value.len());
        self.signed.keep(&mut bytes);
        bytes.extend_from_slice(&self.value);
        bytes
    }

    pub(crate) fn entry(&self) -> &Entry {
        self.signed.entry()
    }

    /// Whether it is a deletion, or its time was over when somebody looked.
    pub(crate) fn is_dead(&self) -> bool {
        is_dead(self.entry(), self.flags)
    }

    /// Whether it reads as deleted.
    pub(crate) fn is_gone(&self, now: UnixMillis) -> bool {
        self.is_dead() || self.entry().expires.is_some_and(|at| at <= now)
    }

    /// Whether the value is in Values.
    pub(crate) fn has_parts(&self) -> bool {
        let large = self.entry().size as usize > MAX_INLINE_BYTES;
        large && !self.is_dead() && self.flags & BARE == 0
    }

    /// The bytes it counts for.
    pub(crate) fn weight(&self) -> u64 {
        weight(self.entry(), self.flags)
    }

    /// The same for History: whose value, if it is not inline, is no longer kept.
    pub(crate) fn former(mut self) -> Self {
        if self.has_parts() {
            self.flags |= BARE;
        }
        self
    }
}

pub(crate) fn is_dead(entry: &Entry, flags: u8) -> bool {
    !entry.kind.has_value() || flags & EXPIRED != 0
}

/// The time that counts for when a dead one is forgotten.
pub(crate) fn died(entry: &Entry) -> UnixMillis {
    entry.expires.filter(|_| entry.kind.has_value()).unwrap_or(entry.hlc.at())
}

pub(crate) fn weight(entry: &Entry, flags: u8) -> u64 {
    let value = if is_dead(entry, flags) { 0 } else { u64::from(entry.size) };
    entry.key.as_str().len() as u64 + value
}

/// The beginning of a row, with room for the rest.
pub(crate) fn head(seq: u64, flags: u8, past: u8, rest: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER + rest);
    bytes.extend_from_slice(&seq.to_be_bytes());
    bytes.extend_from_slice(&[flags, past]);
    bytes
}

/// The fingerprint in the bytes of a row, without reading the rest.
pub(crate) fn fingerprint_in(bytes: &[u8]) -> Result<Fingerprint, StoreError> {
    let fingerprint = bytes.get(HEADER..).and_then(|rest| rest.first_chunk());
    fingerprint.copied().ok_or_else(|| corrupt("an entry"))
}
