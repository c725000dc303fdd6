//! One version of an entry.

use bytes::Bytes;
use peerage_store::StoreError;
use peerage_types::{KvKey, SpaceId, UnixMillis};
use peerage_wire::kv::{Entry, Fingerprint, Kept, MAX_INLINE_BYTES, SignedEntry};

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
            let (seq, flags, past, mut rest) = opened(bytes)?;
            let signed = SignedEntry::kept(space, key.clone(), &mut rest)?;
            let value = Bytes::copy_from_slice(rest);
            Some(Self { seq, flags, past, signed, value })
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
        has_parts(self.entry().size, self.is_dead(), self.flags)
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

/// What a reader is shown of a version: all but its proof, and its value where it is.
#[derive(Debug)]
pub(crate) struct Shown<'a> {
    pub(crate) seq: u64,
    flags: u8,
    pub(crate) kept: Kept,
    pub(crate) value: &'a [u8],
}

impl<'a> Shown<'a> {
    pub(crate) fn decode(bytes: &'a [u8]) -> Result<Self, StoreError> {
        let parse = || {
            let (seq, flags, _, mut value) = opened(bytes)?;
            let kept = Kept::take(&mut value)?;
            Some(Self { seq, flags, kept, value })
        };
        parse().ok_or_else(|| corrupt("an entry"))
    }

    fn is_dead(&self) -> bool {
        !self.kept.kind.has_value() || self.flags & EXPIRED != 0
    }

    /// As [`Row::is_gone`].
    pub(crate) fn is_gone(&self, now: UnixMillis) -> bool {
        self.is_dead() || self.kept.expires.is_some_and(|at| at <= now)
    }

    /// As [`Row::has_parts`].
    pub(crate) fn has_parts(&self) -> bool {
        has_parts(self.kept.size, self.is_dead(), self.flags)
    }
}

fn has_parts(size: u32, is_dead: bool, flags: u8) -> bool {
    size as usize > MAX_INLINE_BYTES && !is_dead && flags & BARE == 0
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

/// The header, and what follows it.
fn opened(bytes: &[u8]) -> Option<(u64, u8, u8, &[u8])> {
    let (seq, rest) = bytes.split_first_chunk()?;
    let ([flags, past], rest) = rest.split_first_chunk()?;
    Some((u64::from_be_bytes(*seq), *flags, *past, rest))
}

/// The fingerprint in the bytes of a row, without reading the rest.
pub(crate) fn fingerprint_in(bytes: &[u8]) -> Result<Fingerprint, StoreError> {
    let fingerprint = bytes.get(HEADER..).and_then(|rest| rest.first_chunk());
    fingerprint.copied().ok_or_else(|| corrupt("an entry"))
}
