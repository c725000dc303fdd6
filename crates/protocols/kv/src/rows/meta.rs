//! What is known of spaces, authors and peers.

use peerage_api::kv::{SpaceKind, SyncReport};
use peerage_store::StoreError;
use peerage_types::{PeerId, SpaceId, UnixMillis};

use super::corrupt;
use crate::Cursor;

/// As bytes: id 32, kind `u8`, epoch `u64`, `as_of` `u64`, settled `u64`, name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SpaceRow {
    pub(crate) id: SpaceId,
    pub(crate) kind: SpaceKind,
    /// Names the feed; never 0.
    pub(crate) epoch: u64,
    /// When it was last found equal with a replica that was not away itself; 0: never.
    pub(crate) as_of: UnixMillis,
    /// The sequence number up to which it had the same then.
    pub(crate) settled: u64,
    pub(crate) name: String,
}

impl SpaceRow {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let kind = match self.kind {
            SpaceKind::Default => 1,
            SpaceKind::Owned => 2,
            SpaceKind::Joined => 3,
        };
        let numbers: [u8; 24] = joined([self.epoch, self.as_of.0, self.settled]);
        [&self.id.0[..], &[kind], &numbers, self.name.as_bytes()].concat()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, StoreError> {
        let parse = || {
            let (id, rest) = bytes.split_first_chunk()?;
            let ([kind], rest) = rest.split_first_chunk()?;
            let kind = match kind {
                1 => SpaceKind::Default,
                2 => SpaceKind::Owned,
                3 => SpaceKind::Joined,
                _ => return None,
            };
            let ([epoch, as_of, settled], rest) = numbers(rest)?;
            let name = std::str::from_utf8(rest).ok()?.to_owned();
            let (id, as_of) = (SpaceId(*id), UnixMillis(as_of));
            Some(Self { id, kind, epoch, as_of, settled, name })
        };
        parse().ok_or_else(|| corrupt("a space"))
    }
}

/// What a space holds. As bytes: four times `u64` in this order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counters {
    /// The sequence number of the last change.
    pub(crate) head: u64,
    /// Entries that are neither deleted nor marked as expired.
    pub(crate) entries: u64,
    /// Those that are.
    pub(crate) tombstones: u64,
    /// Of keys, and of values of the former.
    pub(crate) bytes: u64,
}

impl Counters {
    pub(crate) fn encode(&self) -> [u8; 32] {
        joined([self.head, self.entries, self.tombstones, self.bytes])
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, StoreError> {
        let ([head, entries, tombstones, bytes], _) =
            numbers(bytes).ok_or_else(|| corrupt("counters"))?;
        Ok(Self { head, entries, tombstones, bytes })
    }
}

/// What an author has in a space. As bytes: twice `u64`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) entries: u64,
    pub(crate) bytes: u64,
}

impl Usage {
    pub(crate) fn encode(&self) -> [u8; 16] {
        joined([self.entries, self.bytes])
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, StoreError> {
        let ([entries, bytes], _) = numbers(bytes).ok_or_else(|| corrupt("an author"))?;
        Ok(Self { entries, bytes })
    }
}

/// A peer in a space. As bytes: twelve times `u64`: epoch (0: no cursor), sequence number, when found
/// equal, this replica's sequence number then, when last synchronised, and of the last session its rounds, bytes sent and received,
/// entries in, out and refused, and milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(crate) struct ReplicaRow {
    pub(crate) cursor: Option<Cursor>,
    pub(crate) equal_at: UnixMillis,
    pub(crate) settled: u64,
    pub(crate) synced_at: UnixMillis,
    report: [u64; 7],
}

impl ReplicaRow {
    pub(crate) fn encode(&self) -> [u8; 96] {
        let Cursor { epoch, seq } = self.cursor.unwrap_or(Cursor { epoch: 0, seq: 0 });
        let [rounds, sent, received, new, out, refused, ms] = self.report;
        let (equal_at, settled, synced_at) = (self.equal_at.0, self.settled, self.synced_at.0);
        joined([
            epoch, seq, equal_at, settled, synced_at, rounds, sent, received, new, out, refused, ms,
        ])
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, StoreError> {
        let ([epoch, seq, equal_at, settled, synced_at], rest) =
            numbers(bytes).ok_or_else(|| corrupt("a replica"))?;
        let (report, _) = numbers(rest).ok_or_else(|| corrupt("a replica"))?;
        let cursor = Some(Cursor { epoch, seq }).filter(|_| epoch != 0);
        let (equal_at, synced_at) = (UnixMillis(equal_at), UnixMillis(synced_at));
        Ok(Self { cursor, equal_at, settled, synced_at, report })
    }

    pub(crate) fn set_report(&mut self, of: &SyncReport) {
        let SyncReport { rounds, sent_bytes, received_bytes, .. } = *of;
        let SyncReport { entries_in, entries_out, refused, ms, .. } = *of;
        self.report = [rounds, sent_bytes, received_bytes, entries_in, entries_out, refused, ms];
    }

    pub(crate) fn report(&self, peer: PeerId) -> SyncReport {
        let [rounds, sent_bytes, received_bytes, entries_in, entries_out, refused, ms] =
            self.report;
        SyncReport {
            peer,
            rounds,
            sent_bytes,
            received_bytes,
            entries_in,
            entries_out,
            refused,
            ms,
            at_ms: Some(self.synced_at),
            error: None,
        }
    }
}

fn joined<const N: usize, const B: usize>(numbers: [u64; N]) -> [u8; B] {
    const { assert!(B == 8 * N) };
    let mut bytes = [0; B];
    for (to, number) in bytes.chunks_exact_mut(8).zip(numbers) {
        to.copy_from_slice(&number.to_be_bytes());
    }
    bytes
}

fn numbers<const N: usize>(bytes: &[u8]) -> Option<([u64; N], &[u8])> {
    let (head, rest) = bytes.split_at_checked(8 * N)?;
    let mut numbers = [0; N];
    for (to, bytes) in numbers.iter_mut().zip(head.as_chunks().0) {
        *to = u64::from_be_bytes(*bytes);
    }
    Some((numbers, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_survive_and_shortened_ones_are_refused() {
        let space = SpaceRow {
            id: SpaceId([3; 32]),
            kind: SpaceKind::Joined,
            epoch: 7,
            as_of: UnixMillis(8),
            settled: 9,
            name: "settings".into(),
        };
        assert_eq!(SpaceRow::decode(&space.encode()).unwrap(), space);
        SpaceRow::decode(&space.encode()[..56]).unwrap_err();
        let counters = Counters { head: 1, entries: 2, tombstones: 3, bytes: 4 };
        assert_eq!(Counters::decode(&counters.encode()).unwrap(), counters);
        Counters::decode(&counters.encode()[1..]).unwrap_err();
        let usage = Usage { entries: 1, bytes: 2 };
        assert_eq!(Usage::decode(&usage.encode()).unwrap(), usage);
        for cursor in [None, Some(Cursor { epoch: 5, seq: 6 })] {
            let row = ReplicaRow { cursor, equal_at: UnixMillis(1), ..ReplicaRow::default() };
            assert_eq!(ReplicaRow::decode(&row.encode()).unwrap(), row);
        }
    }
}
