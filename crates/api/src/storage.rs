//! The facet `storage`: what services keep for users, sealed.

use std::time::Duration;

use peerage_types::{Payload, ServiceName, UnixMillis};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Link, Stream,
    contract::facet,
    users::{Auth, Page, Paged},
};

mod error;

pub use error::StorageError;

/// What one service keeps for one user: keys and values, sealed with the user's master key.
///
/// May be used with a token of the user's session, or with the service's own token while the user
/// is logged in. Every call also fails with [`StorageError::Auth`] when the token is not alive or
/// belongs to another user or service.
#[derive(Debug, Clone)]
pub struct Storage {
    link: Link,
    place: Place,
}

impl Storage {
    pub(crate) fn new(link: Link, auth: Auth, service: ServiceName) -> Self {
        Self { link, place: Place { auth, service } }
    }

    fn place(&self) -> Place {
        self.place.clone()
    }

    /// Sets a value. Durable when it returns. With `if_revision` only if the entry is at that
    /// revision, 0 for no entry; with `ttl` it is gone after that.
    ///
    /// # Errors
    /// [`StorageError::Conflict`], [`StorageError::BadField`], [`StorageError::Quota`],
    /// [`StorageError::Sealed`], [`StorageError::Store`].
    pub async fn put(
        &self,
        key: impl Into<String>,
        value: impl Into<Payload>,
        if_revision: Option<u64>,
        ttl: Option<Duration>,
    ) -> Result<Revision, StorageError> {
        let ttl_ms = ttl.map(|ttl| u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX));
        let write = Write::Put { key: key.into(), value: value.into(), if_revision, ttl_ms };
        self.link.call(Apply { place: self.place(), writes: vec![write] }).await
    }

    /// One entry.
    ///
    /// # Errors
    /// [`StorageError::NotFound`], [`StorageError::Sealed`], [`StorageError::Damaged`].
    pub async fn get(&self, key: impl Into<String>) -> Result<Entry, StorageError> {
        self.link.call(Get { place: self.place(), key: key.into() }).await
    }

    /// Entries whose keys begin with `prefix`, in the order of their bytes.
    ///
    /// # Errors
    /// [`StorageError::Sealed`], [`StorageError::Damaged`].
    pub async fn list(
        &self,
        prefix: impl Into<String>,
        page: Page,
    ) -> Result<Paged<Entry>, StorageError> {
        self.link.call(List { place: self.place(), prefix: prefix.into(), page }).await
    }

    /// Removes an entry, with `if_revision` only if it is at that revision. Durable when it
    /// returns.
    ///
    /// # Errors
    /// [`StorageError::NotFound`], [`StorageError::Conflict`], [`StorageError::Sealed`],
    /// [`StorageError::Store`].
    pub async fn delete(
        &self,
        key: impl Into<String>,
        if_revision: Option<u64>,
    ) -> Result<Revision, StorageError> {
        let write = Write::Delete { key: key.into(), if_revision };
        self.link.call(Apply { place: self.place(), writes: vec![write] }).await
    }

    /// Applies up to [`MAX_BATCH`] writes, all or none. Durable when it returns.
    ///
    /// # Errors
    /// As [`Storage::put`] and [`Storage::delete`]; then nothing has changed.
    pub async fn batch(&self, writes: Vec<Write>) -> Result<Revision, StorageError> {
        self.link.call(Apply { place: self.place(), writes }).await
    }

    /// Changes under a prefix from now on, each once it is durable.
    ///
    /// # Errors
    /// [`StorageError::Sealed`], [`StorageError::TooMany`] readers.
    pub async fn watch(&self, prefix: impl Into<String>) -> Result<Stream<Event>, StorageError> {
        self.link.open(Watch { place: self.place(), prefix: prefix.into() }).await
    }
}

/// Longest key in bytes.
pub const MAX_KEY_BYTES: usize = 512;
/// Longest value in bytes: 256 KiB.
pub const MAX_VALUE_BYTES: usize = 256 << 10;
/// Writes of one batch.
pub const MAX_BATCH: usize = 1000;
/// Bytes of keys and values of one batch: 4 MiB.
pub const MAX_BATCH_BYTES: usize = 4 << 20;
/// Entries of one service for one user.
pub const MAX_ENTRIES: usize = 100_000;
/// Bytes of keys and values of one service for one user: 64 MiB.
pub const MAX_BYTES: u64 = 64 << 20;

/// Whose storage, by which service.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Place {
    /// The user, and the token of a session of it or of the service.
    #[serde(flatten)]
    pub auth: Auth,
    /// The service.
    pub service: ServiceName,
}

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// The value.
    pub value: Payload,
    /// Rises with every write to this storage.
    pub revision: u64,
    /// When it was written.
    pub updated_ms: UnixMillis,
    /// When it will be gone.
    pub expires_ms: Option<UnixMillis>,
}

/// The revision that a write has made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Revision {
    /// Of all entries that were written.
    pub revision: u64,
}

/// One write of a batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum Write {
    /// Sets a value.
    Put {
        /// The key, 1 to [`MAX_KEY_BYTES`].
        key: String,
        /// The value, at most [`MAX_VALUE_BYTES`].
        value: Payload,
        /// Only if the entry is at this revision; 0 for no entry.
        #[serde(default)]
        if_revision: Option<u64>,
        /// Milliseconds after which it is gone.
        #[serde(default)]
        ttl_ms: Option<u64>,
    },
    /// Removes an entry.
    Delete {
        /// The key.
        key: String,
        /// Only if the entry is at this revision.
        #[serde(default)]
        if_revision: Option<u64>,
    },
}

/// A change of an entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// It was written.
    Put(Entry),
    /// It was removed, or its time was over.
    Deleted {
        /// The key.
        key: String,
        /// The revision of the removal.
        revision: u64,
    },
}

/// Applies writes, all or none.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Apply {
    /// Where.
    #[serde(flatten)]
    pub place: Place,
    /// The writes, in order; 1 to [`MAX_BATCH`].
    pub writes: Vec<Write>,
}

/// Asks for an entry.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Get {
    /// Where.
    #[serde(flatten)]
    pub place: Place,
    /// The key.
    pub key: String,
}

/// Asks for entries.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct List {
    /// Where.
    #[serde(flatten)]
    pub place: Place,
    /// What their keys begin with.
    #[serde(default)]
    pub prefix: String,
    /// Which part of them.
    #[serde(default)]
    pub page: Page,
}

/// Subscribes to changes.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Watch {
    /// Where.
    #[serde(flatten)]
    pub place: Place,
    /// What the keys begin with.
    #[serde(default)]
    pub prefix: String,
}

facet! {
    Storage, StorageError;
    methods {}
    scoped {
        Apply => "storage.apply" -> Revision;
        Get => "storage.get" -> Entry;
        List => "storage.list" -> Paged<Entry>;
    }
    local {}
    feeds {}
    scoped_feeds {
        Watch[256] => "storage.watch" -> Event;
    }
    extra {}
}
