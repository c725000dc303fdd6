//! What goes into a replica and comes out of it.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use ed25519_dalek::SigningKey;
use peerage_api::kv::{KvError, SpaceKind};
use peerage_types::{Author, KvKey, SpaceId, UnixMillis};
use peerage_wire::kv::{Claimed, EntryError, SignedEntry};

/// How much a replica holds. What comes from others is refused beyond it, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one value.
    pub max_value: usize,
    /// Entries of a space, deleted ones included.
    pub space_entries: u64,
    /// Bytes of keys and values of a space.
    pub space_bytes: u64,
    /// Entries of one author in a space.
    pub author_entries: u64,
    /// Bytes of keys and values of one author in a space.
    pub author_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_value: peerage_api::kv::MAX_VALUE_BYTES,
            space_entries: 4_000_000,
            space_bytes: 4 << 30,
            author_entries: 2_000_000,
            author_bytes: 2 << 30,
        }
    }
}

/// In whose name entries are written, and with which key.
#[derive(Clone)]
pub struct Signer {
    /// Who.
    pub author: Author,
    /// Its key.
    pub key: Arc<SigningKey>,
}

impl Signer {
    /// Of a key.
    #[must_use]
    pub fn node(key: SigningKey) -> Self {
        let author = Author::Node(key.verifying_key().to_bytes());
        Self { author, key: Arc::new(key) }
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer").field("author", &self.author).finish_non_exhaustive()
    }
}

/// An entry that came from another replica.
#[derive(Debug, Clone)]
pub struct Incoming {
    /// What somebody says was signed.
    pub claimed: Claimed,
    /// The value, whatever its size; nothing for a deletion and for what is expired.
    pub value: Option<Bytes>,
}

/// An entry for another replica.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// Its number on this replica.
    pub seq: u64,
    /// Whether it was written elsewhere.
    pub remote: bool,
    /// What it says.
    pub signed: SignedEntry,
    /// The value, unless it is a deletion, expired, or over
    /// [`MAX_INLINE_BYTES`](peerage_wire::kv::MAX_INLINE_BYTES): then
    /// [`View::value`](crate::View::value) has it.
    pub value: Option<Bytes>,
}

/// What became of entries that came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Received {
    /// They are current now.
    pub new: u64,
    /// They, or later ones, were there, or are forgotten since.
    pub known: u64,
    /// Dated too far ahead, without a grant, or over a quota.
    pub refused: u64,
    /// The keys that were changed, at most [`MAX_CHANGED`](crate::bounds::MAX_CHANGED) of them.
    pub changed: Vec<KvKey>,
}

/// Why nothing of what came was taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReceiveError {
    /// No honest peer sends this.
    #[error(transparent)]
    Misbehaviour(#[from] EntryError),
    /// It could not be stored.
    #[error(transparent)]
    Kv(#[from] KvError),
}

/// How far a feed was taken over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// Which feed.
    pub epoch: u64,
    /// Up to which change.
    pub seq: u64,
}

/// That two replicas were found equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Equal {
    /// The [`as_of`](crate::View::as_of) that the other one has told of itself.
    pub as_of: UnixMillis,
    /// The [`head`](crate::View::head) of the view of this one that was compared.
    pub head: u64,
}

/// What is remembered of a peer in a space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerRow {
    /// How far its feed was taken over.
    pub cursor: Option<Cursor>,
    /// When both were last found equal; 0: never.
    pub synced_ms: UnixMillis,
    /// The sequence number of this replica up to which both had the same then.
    pub settled: u64,
}

/// Why somebody may not have a view.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// This node has not joined the space, or does not tell.
    #[error("this node does not have the space")]
    NoSuchSpace,
    /// Not allowed to read any of it.
    #[error("no grant to read the space")]
    NoGrant,
    /// The store failed.
    #[error(transparent)]
    Store(KvError),
}

/// A space that this replica has joined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joined {
    /// Which.
    pub id: SpaceId,
    /// How this node calls it.
    pub name: String,
    /// Whose it is.
    pub kind: SpaceKind,
    /// Entries that can be read.
    pub entries: u64,
    /// Deleted and expired ones that are remembered.
    pub tombstones: u64,
    /// Bytes of keys and values.
    pub bytes: u64,
    /// The sequence number of the last change.
    pub head: u64,
}
