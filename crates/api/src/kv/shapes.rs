//! What is asked and told in the facet `kv`.

use std::time::Duration;

use peerage_types::{Author, Expected, KvKey, PeerId, Revision, SpaceId, UnixMillis};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Value, ValueKind};

/// One write of a batch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum Write {
    /// Sets a value.
    Put {
        /// The key.
        key: KvKey,
        /// The value.
        #[serde(flatten)]
        value: Value,
        /// Only if the entry is like this on this node.
        #[serde(default)]
        expect: Option<Expected>,
        /// Milliseconds after which it reads as deleted.
        #[serde(default)]
        ttl_ms: Option<u64>,
    },
    /// Removes a value.
    Delete {
        /// The key.
        key: KvKey,
        /// Only if the entry is like this on this node.
        #[serde(default)]
        expect: Option<Expected>,
    },
    /// Removes a value and its history, everywhere.
    Purge {
        /// The key.
        key: KvKey,
    },
}

impl Write {
    /// Sets a value.
    #[must_use]
    pub fn put(key: KvKey, value: impl Into<Value>) -> Self {
        Self::Put { key, value: value.into(), expect: None, ttl_ms: None }
    }

    /// The same, only if the entry is like this.
    #[must_use]
    pub fn expecting(mut self, expected: Expected) -> Self {
        match &mut self {
            Self::Put { expect, .. } | Self::Delete { expect, .. } => *expect = Some(expected),
            Self::Purge { .. } => {}
        }
        self
    }

    /// The same, for a time.
    #[must_use]
    pub fn expiring(mut self, ttl: Duration) -> Self {
        if let Self::Put { ttl_ms, .. } = &mut self {
            *ttl_ms = Some(u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX));
        }
        self
    }

    /// What it is about.
    #[must_use]
    pub fn key(&self) -> &KvKey {
        match self {
            Self::Put { key, .. } | Self::Delete { key, .. } | Self::Purge { key } => key,
        }
    }
}

/// What a batch has made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Applied {
    /// The sequence number of its last change on this node.
    pub seq: u64,
    /// The revision of the last write.
    pub revision: Revision,
}

/// One entry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Entry {
    /// The key.
    pub key: KvKey,
    /// The value.
    #[serde(flatten)]
    pub value: Value,
    /// Which version it is, the same on every node.
    pub revision: Revision,
    /// Who has signed it.
    pub author: Author,
    /// When, by the clock of the author.
    pub updated_ms: UnixMillis,
    /// When it will read as deleted.
    pub expires_ms: Option<UnixMillis>,
    /// Its number on this node.
    pub seq: u64,
}

/// What happened to a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Op {
    /// It was set.
    Put,
    /// It was deleted, purged, or its time was over.
    Delete,
}

/// One version of an entry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Version {
    /// What was done.
    pub op: Op,
    /// The value; nothing for a deletion, or if it was larger than
    /// [`MAX_INLINE_BYTES`](super::MAX_INLINE_BYTES) and is no longer kept.
    #[serde(flatten)]
    pub value: Option<Value>,
    /// Bytes of the value.
    pub size: u64,
    /// Whether it is a deletion because its time was over.
    #[serde(default)]
    pub expired: bool,
    /// Which version it is.
    pub revision: Revision,
    /// Who has signed it.
    pub author: Author,
    /// When, by the clock of the author.
    pub updated_ms: UnixMillis,
    /// Its number on this node.
    pub seq: u64,
}

/// What a value is, without the value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct About {
    /// Its type.
    #[serde(rename = "type")]
    pub kind: ValueKind,
    /// Its bytes.
    pub size: u64,
    /// BLAKE3 of the [bytes](Value::to_bytes), 64 hexadecimal digits.
    pub hash: String,
    /// Whether the key still had this value when the change was read.
    pub current: bool,
}

/// A change of an entry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Event {
    /// Its number on this node: rising, not always by 1.
    pub seq: u64,
    /// What happened.
    pub op: Op,
    /// To what.
    pub key: KvKey,
    /// The value, if it has at most [`MAX_INLINE_BYTES`](super::MAX_INLINE_BYTES) and is still kept:
    /// a reader that falls behind holds some 32 MiB of them and not gigabytes. A larger one that
    /// [is current](About::current) is what [`Kv::get`](super::Kv::get) gives.
    #[serde(flatten)]
    pub value: Option<Value>,
    /// What the value is or was, whether it is here or not; nothing for a deletion.
    #[serde(default)]
    pub about: Option<About>,
    /// The value before, on the same terms. That of an entry whose time is over is told only while
    /// that is news.
    pub old: Option<Value>,
    /// What the value before was; nothing if there was none, or its version is no longer known.
    #[serde(default)]
    pub old_about: Option<About>,
    /// Whether it is gone because its time was over, and not because somebody has deleted it.
    #[serde(default)]
    pub expired: bool,
    /// Which version it is.
    pub revision: Revision,
    /// Who has signed it.
    pub author: Author,
    /// When, by the clock of the author.
    pub updated_ms: UnixMillis,
    /// Whether it came from another node.
    pub remote: bool,
}

/// Figures of a space.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Stats {
    /// Entries that can be read.
    pub entries: u64,
    /// Deleted or expired ones that are remembered.
    pub tombstones: u64,
    /// Bytes of keys and values.
    pub bytes: u64,
    /// Bytes of the file in which the node keeps all of its spaces and everything else; 0: the node does not tell.
    /// What of it was never written takes no room on most disks.
    #[serde(default)]
    pub file_bytes: u64,
    /// Spaces of this node.
    pub spaces: u64,
    /// The number of the last change.
    pub seq: u64,
    /// Peers that this node has synchronised the space with.
    pub replicas: u64,
    /// The last session that moved entries or was the first with its peer.
    pub last_sync: Option<SyncReport>,
    /// The last session that moved entries.
    #[serde(default)]
    pub last_moved: Option<SyncReport>,
    /// The last peer that has refused to synchronise the space, since this node was started.
    #[serde(default)]
    pub last_refusal: Option<LastRefusal>,
    /// Whether this node may do anything in it.
    #[serde(default)]
    pub access: Access,
    /// When the access of this node was taken back.
    #[serde(default)]
    pub revoked_ms: Option<UnixMillis>,
}

/// Why a peer does not synchronise a space with this node.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, thiserror::Error, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Denial {
    /// It does not have the space, or does not tell.
    #[error("it does not have the space")]
    NoSuchSpace,
    /// It knows of no valid grant for this node.
    #[error("there is no grant to read the space")]
    NoGrant,
    /// The clocks are too far apart.
    #[error("the clocks of the two are too far apart")]
    Clock,
    /// Not now.
    #[error("it is busy")]
    Busy,
}

/// A peer that has refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Refused {
    /// Who.
    #[schemars(with = "String")]
    pub peer: PeerId,
    /// Why.
    pub why: Denial,
}

/// The last time a peer has refused to synchronise a space.
///
/// Forgotten when it does synchronise it. A peer that does not have the space does not refuse it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LastRefusal {
    /// Who.
    #[schemars(with = "String")]
    pub peer: PeerId,
    /// Why.
    pub why: Denial,
    /// When.
    pub at_ms: UnixMillis,
}

/// Whether a node may do anything in a space, and if not, why.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    /// It may.
    Granted,
    /// It knows of no grant for it.
    #[default]
    None,
    /// The time of its grants is over.
    Ended,
    /// Its grants were taken back.
    Revoked,
}

/// What a session did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SyncReport {
    /// With whom.
    #[schemars(with = "String")]
    pub peer: PeerId,
    /// Round trips.
    pub rounds: u64,
    /// Bytes that were sent.
    pub sent_bytes: u64,
    /// Bytes that were received.
    pub received_bytes: u64,
    /// Entries that were new to this node.
    pub entries_in: u64,
    /// Entries that were sent.
    pub entries_out: u64,
    /// Entries that were refused: over a quota, without a grant, or dated too far ahead.
    pub refused: u64,
    /// Milliseconds it took.
    pub ms: u64,
    /// When it ended; nothing if it failed.
    #[serde(default)]
    pub at_ms: Option<UnixMillis>,
    /// Why it failed, if it did.
    #[serde(default)]
    pub error: Option<String>,
}

impl SyncReport {
    /// Of a session that has given nothing but a reason.
    #[must_use]
    pub fn failed(peer: PeerId, error: String) -> Self {
        Self {
            peer,
            rounds: 0,
            sent_bytes: 0,
            received_bytes: 0,
            entries_in: 0,
            entries_out: 0,
            refused: 0,
            ms: 0,
            at_ms: None,
            error: Some(error),
        }
    }
}

/// What kind of space it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SpaceKind {
    /// It belongs to the network.
    Default,
    /// It belongs to this node, or a user of it.
    Owned,
    /// It belongs to somebody else.
    Joined,
}

/// A space of this node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SpaceInfo {
    /// Its id; nothing for the default one.
    pub space: Option<SpaceId>,
    /// How this node calls it.
    pub name: String,
    /// What kind it is.
    pub kind: SpaceKind,
    /// What this node may do.
    pub rights: Option<Rights>,
    /// Whether it may do anything, and if not, why.
    #[serde(default)]
    pub access: Access,
    /// When its access was taken back.
    #[serde(default)]
    pub revoked_ms: Option<UnixMillis>,
    /// The last peer that has refused to synchronise it, since this node was started.
    #[serde(default)]
    pub last_refusal: Option<LastRefusal>,
    /// Entries that can be read.
    pub entries: u64,
    /// Bytes of keys and values.
    pub bytes: u64,
    /// Who may do what. Only shown by `kv.space`.
    #[serde(default)]
    pub grants: Vec<Grant>,
}

/// What somebody may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Rights {
    /// Read.
    Read,
    /// Read and write.
    Write,
}

/// What is to be granted to whom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GrantRequest {
    /// To whom: a node, or a user on whichever node.
    pub to: Author,
    /// What.
    pub rights: Rights,
    /// With which keys.
    #[serde(default)]
    pub prefix: String,
    /// Milliseconds for which it is valid; nothing: until it is revoked.
    #[serde(default)]
    pub ttl_ms: Option<u64>,
}

/// A grant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Grant {
    /// Its name, 32 hexadecimal digits.
    pub id: String,
    /// To whom; nothing for a ticket.
    pub to: Option<Author>,
    /// By whom; nothing for the owner's key of the space.
    pub by: Option<Author>,
    /// What.
    pub rights: Rights,
    /// With which keys.
    pub prefix: String,
    /// Until when.
    pub expires_ms: Option<UnixMillis>,
    /// When it was revoked.
    pub revoked_ms: Option<UnixMillis>,
    /// The grant it was derived from.
    pub parent: Option<String>,
}

/// A ticket and what it is worth.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SpaceTicket {
    /// What to join with.
    pub ticket: String,
    /// The grant behind it; revoke it to make the ticket worthless.
    pub grant: Grant,
}
