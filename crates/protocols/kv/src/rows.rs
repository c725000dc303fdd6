//! The rows of the tables: what is in their keys and values. Numbers are big-endian; `space` is the
//! number, `u32`, that this node has given a joined space.
//!
//! | table | key | value |
//! |---|---|---|
//! | Meta | 1, space | [`SpaceRow`] |
//! | Meta | 2, space | [`Counters`] |
//! | Meta | 3, space, author (1 node, 2 user; key 32) | [`Usage`] |
//! | Meta | 4, space, peer id | [`ReplicaRow`] |
//! | Meta | 5, space, its place: kind `u8`, id | a grant or revocation |
//! | Meta | 6 | the latest clock reading, `u64` |
//! | Meta | 7, space | empty: the space was left and is being removed |
//! | Meta | 8, space | empty: entries that no grant covers any more are being removed |
//! | Meta | 9, space | up to 64 × (prefix of a leaf bucket `u16`, count `i32`, sum 32, little-endian): to be added to Summaries |
//! | Entries | space, key | [`Row`] |
//! | Feed | space, sequence number `u64` | from whom, 8 bytes (zeros: written here), key |
//! | Leaves | space, hash of the key 16 | sequence number `u64`, fingerprint 32 |
//! | Summaries | space, level `u8`, prefix `u16` | 16 × (count `u32`, sum 32, little-endian) |
//! | History | space, key, 0, sequence number `u64` | [`Row`] |
//! | Expiry | time in ms `u64`, space, key | empty |
//! | Tombstones | space, when deleted or expired in ms `u64`, key | empty |
//! | Values | space, hash of the key 16, part `u32` | up to 1 MiB of the value |

mod meta;
mod row;

pub(crate) use meta::{Counters, ReplicaRow, SpaceRow, Usage};
pub(crate) use row::{
    BARE, EXPIRED, REMOTE, Row, Shown, died, fingerprint_in, head, is_dead, weight,
};

use std::ops::Bound;

use peerage_store::{KeyRange, StoreError};
use peerage_types::{Author, KvKey, PeerId, UnixMillis};

use crate::{KeyHash, Node};

/// The number that this node has given a space.
pub(crate) type SpaceNo = u32;

/// Key in Meta of the latest clock reading.
pub(crate) const CLOCK: [u8; 1] = [6];

/// Kinds of rows in Meta.
#[derive(Clone, Copy, Debug)]
#[repr(u8)]
pub(crate) enum Meta {
    Space = 1,
    Counters = 2,
    Author = 3,
    Replica = 4,
    Grant = 5,
    Leaving = 7,
    Revoking = 8,
    Waiting = 9,
}

/// What the keys of Meta of one kind in one space begin with; the key itself where there is one.
pub(crate) fn meta(kind: Meta, space: SpaceNo) -> [u8; 5] {
    let mut key = [kind as u8; 5];
    key[1..].copy_from_slice(&space.to_be_bytes());
    key
}

pub(crate) fn author(space: SpaceNo, author: &Author) -> Vec<u8> {
    let kind = match author {
        Author::Node(_) => 1,
        Author::User(_) => 2,
    };
    [&meta(Meta::Author, space)[..], &[kind], author.key()].concat()
}

pub(crate) fn replica(space: SpaceNo, peer: &PeerId) -> Vec<u8> {
    [&meta(Meta::Replica, space)[..], &peer.to_bytes()].concat()
}

pub(crate) fn grant(space: SpaceNo, place: &[u8]) -> Vec<u8> {
    [&meta(Meta::Grant, space)[..], place].concat()
}

/// Key in Entries.
pub(crate) fn entry(space: SpaceNo, key: &str) -> Vec<u8> {
    [&space.to_be_bytes(), key.as_bytes()].concat()
}

/// Key in Feed.
pub(crate) fn feed(space: SpaceNo, seq: u64) -> [u8; 12] {
    let mut key = [0; 12];
    key[..4].copy_from_slice(&space.to_be_bytes());
    key[4..].copy_from_slice(&seq.to_be_bytes());
    key
}

/// Whom a row of Feed was learned from, as it is written there: the end of the peer's key. Two peers
/// with the same one would only be found equal a session later.
pub(crate) fn from(peer: &PeerId) -> [u8; 8] {
    let bytes = peer.to_bytes();
    bytes.last_chunk().copied().unwrap_or([0xff; 8])
}

/// Key in Leaves.
pub(crate) fn leaf(space: SpaceNo, hash: &KeyHash) -> [u8; 20] {
    let mut key = [0; 20];
    key[..4].copy_from_slice(&space.to_be_bytes());
    key[4..].copy_from_slice(hash);
    key
}

/// Key in Summaries.
pub(crate) fn summary(space: SpaceNo, node: Node) -> [u8; 7] {
    let mut key = [0; 7];
    key[..4].copy_from_slice(&space.to_be_bytes());
    key[4] = node.level;
    key[5..].copy_from_slice(&node.prefix.to_be_bytes());
    key
}

/// What the keys in History of one key begin with.
pub(crate) fn versions(space: SpaceNo, key: &str) -> Vec<u8> {
    [&space.to_be_bytes(), key.as_bytes(), &[0]].concat()
}

/// Key in History.
pub(crate) fn version(space: SpaceNo, key: &str, seq: u64) -> Vec<u8> {
    [&versions(space, key)[..], &seq.to_be_bytes()].concat()
}

/// Key in Expiry.
pub(crate) fn expiry(at: UnixMillis, space: SpaceNo, key: &str) -> Vec<u8> {
    [&at.0.to_be_bytes()[..], &space.to_be_bytes(), key.as_bytes()].concat()
}

/// Key in Tombstones.
pub(crate) fn tombstone(space: SpaceNo, at: UnixMillis, key: &str) -> Vec<u8> {
    [&space.to_be_bytes()[..], &at.0.to_be_bytes(), key.as_bytes()].concat()
}

/// Key in Values.
pub(crate) fn value(space: SpaceNo, hash: &KeyHash, part: u32) -> [u8; 24] {
    let mut key = [0; 24];
    key[..20].copy_from_slice(&leaf(space, hash));
    key[20..].copy_from_slice(&part.to_be_bytes());
    key
}

/// Value in Leaves.
pub(crate) fn leaf_value(seq: u64, fingerprint: &[u8; 32]) -> [u8; 40] {
    let mut value = [0; 40];
    value[..8].copy_from_slice(&seq.to_be_bytes());
    value[8..].copy_from_slice(fingerprint);
    value
}

/// From a value in Leaves.
pub(crate) fn leaf_of(value: &[u8]) -> Result<(u64, [u8; 32]), StoreError> {
    let parts = value.split_first_chunk::<8>();
    let leaf =
        parts.and_then(|(seq, rest)| Some((u64::from_be_bytes(*seq), rest.try_into().ok()?)));
    leaf.ok_or_else(|| corrupt("a leaf"))
}

/// The last 8 bytes of a key as a number: of Feed and of History.
pub(crate) fn seq_of(key: &[u8]) -> Result<u64, StoreError> {
    key.last_chunk().map(|seq| u64::from_be_bytes(*seq)).ok_or_else(|| corrupt("a sequence number"))
}

/// The name of an entry in a row.
pub(crate) fn key_of(bytes: &[u8]) -> Result<KvKey, StoreError> {
    let key = std::str::from_utf8(bytes).ok().and_then(|key| KvKey::new(key).ok());
    key.ok_or_else(|| corrupt("a key"))
}

/// All keys that begin with the same bytes, of which not all may be 255.
pub(crate) struct Prefix(Vec<u8>, Option<Vec<u8>>);

impl Prefix {
    pub(crate) fn new(bytes: &[u8]) -> Self {
        let mut end = bytes.to_vec();
        while end.pop_if(|last| *last == u8::MAX).is_some() {}
        if let Some(last) = end.last_mut() {
            *last += 1;
        }
        Self(bytes.to_vec(), Some(end).filter(|end| !end.is_empty()))
    }

    /// The key behind the last; `None`: there is no end.
    pub(crate) fn end(&self) -> Bound<&[u8]> {
        self.1.as_deref().map_or(Bound::Unbounded, Bound::Excluded)
    }

    pub(crate) fn range(&self) -> KeyRange<'_> {
        (Bound::Included(&self.0), self.end())
    }
}

/// A row that cannot be read.
pub(crate) fn corrupt(what: &str) -> StoreError {
    StoreError::Corrupt { reason: format!("{what} of the key-value store cannot be read").into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_these_bytes_for_ever() {
        assert_eq!(meta(Meta::Leaving, 258), [7, 0, 0, 1, 2]);
        let node = Author::Node([9; 32]);
        assert_eq!(author(1, &node)[..7], [3, 0, 0, 0, 1, 1, 9]);
        assert_eq!(entry(1, "ab"), [0, 0, 0, 1, b'a', b'b']);
        assert_eq!(feed(1, 258), [0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 2]);
        assert_eq!(leaf(1, &[5; 16])[3..6], [1, 5, 5]);
        let node = Node { level: 2, prefix: 0xab };
        assert_eq!(summary(1, node), [0, 0, 0, 1, 2, 0, 0xab]);
        assert_eq!(version(1, "a", 2), [0, 0, 0, 1, b'a', 0, 0, 0, 0, 0, 0, 0, 0, 2]);
        assert_eq!(expiry(UnixMillis(3), 1, "a"), [0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 1, b'a']);
        assert_eq!(tombstone(1, UnixMillis(3), "a"), [0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 3, b'a']);
        assert_eq!(value(1, &[5; 16], 7)[19..], [5, 0, 0, 0, 7]);
    }

    #[test]
    fn a_prefix_ends_where_the_next_begins() {
        let end = |bytes: &[u8]| Prefix::new(bytes).1;
        assert_eq!(end(&[1, 2]), Some(vec![1, 3]));
        assert_eq!(end(&[1, 255, 255]), Some(vec![2]));
        assert_eq!((end(&[255]), end(&[])), (None, None));
    }
}
