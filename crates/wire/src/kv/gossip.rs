//! What is gossiped: new entries of the default space, and that there is something new elsewhere.
//!
//! ```text
//! 1 Entries  as in a session, at most MAX_MESSAGE_BYTES
//! 2 Hint     (tag 16)*
//! tag        the first 16 bytes of BLAKE3 keyed with "peerage/kv/1/hint" over the space id
//! ```
//!
//! Messages are hints: who misses one finds out in the next session. A tag says nothing to who does
//! not know the space.

use bytes::Bytes;
use peerage_types::SpaceId;

use super::{
    frames::{Carried, FrameError, Shown, decode_entries, encode_entries},
    named,
};

/// Longest value that is gossiped: 8 KiB.
pub const MAX_GOSSIPED_BYTES: usize = 8 << 10;
/// Longest message: 32 KiB.
pub const MAX_MESSAGE_BYTES: usize = 32 << 10;
/// Tags of one hint.
pub const MAX_TAGS: usize = 64;

const TAG_KEY: [u8; 32] = named(b"peerage/kv/1/hint");

/// Stands for a space among those who know it.
pub type Tag = [u8; 16];

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// Entries of the default space, with their values, not yet verified.
    Entries(Vec<Carried>),
    /// There is something new in these spaces: ask the sender.
    Hint(Vec<Tag>),
}

/// What stands for a space in a hint.
#[must_use]
pub fn tag(space: &SpaceId) -> Tag {
    let hash = blake3::keyed_hash(&TAG_KEY, &space.0);
    *hash.as_bytes().first_chunk().expect("32 bytes")
}

/// A message with entries; nothing if it became too long.
#[must_use]
pub fn entries(entries: &[Shown<'_>]) -> Option<Bytes> {
    let message = [&[1][..], &encode_entries(entries)].concat();
    (message.len() <= MAX_MESSAGE_BYTES).then(|| message.into())
}

/// A message with hints.
///
/// # Panics
/// With none or more than [`MAX_TAGS`]: a defect of this program.
#[must_use]
pub fn hint(tags: &[Tag]) -> Bytes {
    assert!((1..=MAX_TAGS).contains(&tags.len()), "{} tags", tags.len());
    [&[2][..], &tags.concat()].concat().into()
}

/// Reads a message; `space` is the default space of the network.
///
/// # Errors
/// [`FrameError`]: whoever has sent it is to blame.
pub fn decode(message: &Bytes, space: SpaceId) -> Result<Message, FrameError> {
    if message.len() > MAX_MESSAGE_BYTES {
        return Err(FrameError::Malformed);
    }
    match message.first() {
        Some(1) => entries_of(&message.slice(1..), space).map(Message::Entries),
        Some(2) => tags(&message[1..]).map(Message::Hint).ok_or(FrameError::Malformed),
        Some(kind) => Err(FrameError::Kind(*kind)),
        None => Err(FrameError::Malformed),
    }
}

fn entries_of(body: &Bytes, space: SpaceId) -> Result<Vec<Carried>, FrameError> {
    let entries = decode_entries(body, space)?;
    let fits = |entry: &Carried| match &entry.value {
        Some(value) => value.len() <= MAX_GOSSIPED_BYTES,
        None => !entry.claimed.entry.kind.has_value(),
    };
    Some(entries).filter(|entries| entries.iter().all(fits)).ok_or(FrameError::Malformed)
}

fn tags(body: &[u8]) -> Option<Vec<Tag>> {
    let (tags, rest) = body.as_chunks::<16>();
    (rest.is_empty() && (1..=MAX_TAGS).contains(&tags.len())).then(|| tags.to_vec())
}
