//! What is gossiped: new entries of the default space.
//!
//! ```text
//! message  kind u8 (1), then entries as in a session; at most MAX_MESSAGE_BYTES
//! ```
//!
//! Messages are hints: who misses one finds out in the next session.

use bytes::Bytes;
use peerage_types::SpaceId;

use super::frames::{Carried, FrameError, Shown, decode_entries, encode_entries};

/// Longest value that is gossiped: 8 KiB.
pub const MAX_GOSSIPED_BYTES: usize = 8 << 10;
/// Longest message: 32 KiB.
pub const MAX_MESSAGE_BYTES: usize = 32 << 10;

const ENTRIES: u8 = 1;

/// A message; nothing if it became too long.
#[must_use]
pub fn encode(entries: &[Shown<'_>]) -> Option<Bytes> {
    let message = [&[ENTRIES][..], &encode_entries(entries)].concat();
    (message.len() <= MAX_MESSAGE_BYTES).then(|| message.into())
}

/// Reads a message: entries with their values, not yet verified. `space` is the default space of the
/// network.
///
/// # Errors
/// [`FrameError`]: whoever has sent it is to blame.
pub fn decode(message: &Bytes, space: SpaceId) -> Result<Vec<Carried>, FrameError> {
    if message.len() > MAX_MESSAGE_BYTES {
        return Err(FrameError::Malformed);
    }
    match message.first() {
        Some(&ENTRIES) => entries_of(&message.slice(1..), space),
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
