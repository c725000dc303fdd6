//! The facet `kv`: a key-value store that is replicated between nodes.

use std::time::Duration;

use peerage_types::{Expected, KvKey, PeerId, Revision, Space, SpaceId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Link, Stream,
    contract::facet,
    users::{Auth, Page, Paged},
};

mod error;
mod shapes;
mod value;

pub use error::KvError;
pub use shapes::{
    About, Access, Applied, Denial, Entry, Event, Grant, GrantRequest, LastRefusal, Op, Refused,
    Rights, SpaceInfo, SpaceKind, SpaceTicket, Stats, SyncReport, Version, Write,
};
pub use value::{Value, ValueKind};

/// Longest value in bytes, unless the node is configured otherwise: 16 MiB.
pub const MAX_VALUE_BYTES: usize = 16 << 20;
/// Up to this size a value is kept with its entry and its former versions; larger ones are kept
/// apart and travel when they are asked for: 64 KiB.
pub const MAX_INLINE_BYTES: usize = 64 << 10;
/// Writes of one batch.
pub const MAX_BATCH: usize = 10_000;
/// Bytes of keys and values of one batch, or one larger value: 16 MiB.
pub const MAX_BATCH_BYTES: usize = 16 << 20;
/// Spaces that a node may join, the default one included.
pub const MAX_SPACES: usize = 64;
/// Longest name that a node may give a space, in bytes.
pub const MAX_SPACE_NAME: usize = 64;

/// One space of the key-value store, as the node writes to it or, after [`Kv::acting`], a user.
///
/// Writes are local and immediate; replicas converge by themselves: of two writes to one key the later
/// one by (clock, author, fingerprint) wins, the same everywhere.
#[derive(Debug, Clone)]
pub struct Kv {
    link: Link,
    space: Space,
    auth: Option<Auth>,
}

impl Kv {
    pub(crate) fn new(link: Link, space: Space) -> Self {
        Self { link, space, auth: None }
    }

    /// The same, with entries signed by a user that is logged in on the node.
    #[must_use]
    pub fn acting(self, auth: Auth) -> Self {
        Self { auth: Some(auth), ..self }
    }

    /// Sets a value. Durable when it returns.
    ///
    /// # Errors
    /// [`KvError::TooLarge`], [`KvError::Quota`], [`KvError::NoGrant`], [`KvError::Revoked`],
    /// [`KvError::NoSuchSpace`], [`KvError::Busy`], [`KvError::Store`], [`KvError::Auth`] and
    /// [`KvError::Link`]: nothing was written.
    ///
    /// # Cancel safety
    /// A write that was handed in may still happen.
    pub async fn put(&self, key: KvKey, value: impl Into<Value>) -> Result<Applied, KvError> {
        self.batch(vec![Write::put(key, value)]).await
    }

    /// Sets a value for a time, after which it reads as deleted on every replica.
    ///
    /// # Errors
    /// As [`Kv::put`].
    pub async fn put_for(
        &self,
        key: KvKey,
        value: impl Into<Value>,
        ttl: Duration,
    ) -> Result<Applied, KvError> {
        self.batch(vec![Write::put(key, value).expiring(ttl)]).await
    }

    /// Sets the value of a key that has none.
    ///
    /// # Errors
    /// [`KvError::Conflict`] if it has one; otherwise as [`Kv::put`].
    pub async fn create(&self, key: KvKey, value: impl Into<Value>) -> Result<Applied, KvError> {
        self.batch(vec![Write::put(key, value).expecting(Expected::Absent)]).await
    }

    /// Sets a value if the entry is at `revision` *on this node*. Another node may write at the same
    /// time; then one of the two wins later.
    ///
    /// # Errors
    /// [`KvError::Conflict`] if it is not; otherwise as [`Kv::put`].
    pub async fn update(
        &self,
        key: KvKey,
        value: impl Into<Value>,
        revision: Revision,
    ) -> Result<Applied, KvError> {
        self.batch(vec![Write::put(key, value).expecting(Expected::At(revision))]).await
    }

    /// Deletes an entry. Its former versions stay in its history. Durable when it returns.
    ///
    /// # Errors
    /// [`KvError::NotFound`] if there is none; otherwise as [`Kv::put`].
    pub async fn delete(&self, key: KvKey) -> Result<Applied, KvError> {
        self.batch(vec![Write::Delete { key, expect: None }]).await
    }

    /// Deletes an entry, or what is left of a deleted one, and its history on every replica.
    ///
    /// # Errors
    /// [`KvError::NotFound`] if this node knows of none; otherwise as [`Kv::put`].
    pub async fn purge(&self, key: KvKey) -> Result<Applied, KvError> {
        self.batch(vec![Write::Purge { key }]).await
    }

    /// Applies up to [`MAX_BATCH`] writes, all or none *on this node*; of several to one key the last
    /// one counts. Other nodes may see a part earlier than the rest. Durable when it returns.
    ///
    /// # Errors
    /// As [`Kv::put`], [`Kv::update`] and [`Kv::delete`]; then nothing has changed.
    pub async fn batch(&self, writes: Vec<Write>) -> Result<Applied, KvError> {
        let (space, auth) = (self.space, self.auth.clone());
        self.link.call(Apply { space, auth, writes }).await
    }

    /// The entry of a key.
    ///
    /// # Errors
    /// [`KvError::NotFound`], [`KvError::NoSuchSpace`], [`KvError::Store`].
    pub async fn get(&self, key: KvKey) -> Result<Entry, KvError> {
        self.link.call(Get { space: self.space, key }).await
    }

    /// A part of the entries whose keys begin with `prefix`, in the order of the keys' bytes.
    ///
    /// # Errors
    /// [`KvError::NoSuchSpace`], [`KvError::Store`].
    pub async fn list(
        &self,
        prefix: impl Into<String>,
        page: Page,
    ) -> Result<Paged<Entry>, KvError> {
        let prefix = prefix.into();
        self.link.call(List { space: self.space, prefix, from: None, to: None, page }).await
    }

    /// A part of the entries from a key to another, without that one.
    ///
    /// # Errors
    /// As [`Kv::list`].
    pub async fn range(
        &self,
        from: Option<KvKey>,
        to: Option<KvKey>,
        page: Page,
    ) -> Result<Paged<Entry>, KvError> {
        let prefix = String::new();
        self.link.call(List { space: self.space, prefix, from, to, page }).await
    }

    /// The versions of a key that this node still has, the newest first.
    ///
    /// # Errors
    /// [`KvError::NotFound`] if there are none; [`KvError::NoSuchSpace`], [`KvError::Store`].
    pub async fn history(&self, key: KvKey) -> Result<Vec<Version>, KvError> {
        self.link.call(History { space: self.space, key }).await
    }

    /// Changes of keys that begin with `prefix`: those after `from`, a [sequence number](Event::seq)
    /// (0: everything there is), and then those to come, without a gap or a repetition. Without
    /// `from` only those to come.
    ///
    /// Sequence numbers are this node's own and survive a restart. A version that was overwritten
    /// is told as long as it is in the history. Of values over [`MAX_INLINE_BYTES`] type, size and
    /// hash are told: a reader that wants the value itself asks for it.
    ///
    /// # Errors
    /// [`KvError::NoSuchSpace`], [`KvError::TooMany`] readers, [`KvError::Ahead`].
    pub async fn watch(
        &self,
        prefix: impl Into<String>,
        from: Option<u64>,
    ) -> Result<Stream<Event>, KvError> {
        self.link.open(Watch { space: self.space, prefix: prefix.into(), from }).await
    }

    /// Figures of the space.
    ///
    /// # Errors
    /// [`KvError::NoSuchSpace`], [`KvError::Store`].
    pub async fn stats(&self) -> Result<Stats, KvError> {
        self.link.call(GetStats { space: self.space }).await
    }

    /// Synchronises now, with one connected peer or with all that have not refused the space before,
    /// with those as well if all have; gives what each session did.
    ///
    /// # Errors
    /// [`KvError::NotConnected`], [`KvError::Refused`], [`KvError::Failed`]: with the peer that was
    /// named; of several those that failed are reported, unless none served the space:
    /// [`KvError::RefusedByAll`].
    pub async fn sync(&self, peer: Option<PeerId>) -> Result<Vec<SyncReport>, KvError> {
        self.link.call(Sync { space: self.space, peer }).await
    }
}

/// The spaces of a node, and who may do what in them.
#[derive(Debug, Clone)]
pub struct Spaces {
    link: Link,
}

impl Spaces {
    pub(crate) fn new(link: Link) -> Self {
        Self { link }
    }

    /// Makes a space that this node owns or, with `auth`, a user of it. The name is its own: the
    /// same owner gets the same space for the same name again.
    ///
    /// # Errors
    /// [`KvError::BadField`], [`KvError::TooMany`], [`KvError::Auth`], [`KvError::Store`].
    pub async fn create(
        &self,
        name: impl Into<String>,
        auth: Option<Auth>,
    ) -> Result<SpaceInfo, KvError> {
        self.link.call(SpaceCreate { name: name.into(), auth }).await
    }

    /// The spaces of this node.
    ///
    /// # Errors
    /// [`KvError::Store`].
    pub async fn list(&self) -> Result<Vec<SpaceInfo>, KvError> {
        self.link.call(SpaceList {}).await
    }

    /// One space, with its grants.
    ///
    /// # Errors
    /// [`KvError::NoSuchSpace`], [`KvError::Store`].
    pub async fn show(&self, space: Space) -> Result<SpaceInfo, KvError> {
        self.link.call(SpaceShow { space }).await
    }

    /// Lets somebody read or write. The ticket is no secret: it tells whom it was made for where the
    /// space is, and works for nobody else. A node may also join by the id of the space.
    ///
    /// # Errors
    /// [`KvError::NoGrant`] unless this node or the user may pass on as much; [`KvError::TooLarge`] and
    /// [`KvError::BadField`] if no key can begin with the prefix; [`KvError::TooMany`],
    /// [`KvError::NoSuchSpace`], [`KvError::Store`].
    pub async fn grant(
        &self,
        space: SpaceId,
        grant: GrantRequest,
        auth: Option<Auth>,
    ) -> Result<SpaceTicket, KvError> {
        self.link.call(SpaceGrant { space, grant, auth }).await
    }

    /// Takes a grant back, and with it all that were derived from it. What was written under it and
    /// dated before stays.
    ///
    /// # Errors
    /// [`KvError::NoSuchGrant`], [`KvError::AlreadyRevoked`]; [`KvError::BadField`] if that is no id;
    /// [`KvError::NoGrant`] unless this node or user owns the space or gave it; [`KvError::Store`].
    pub async fn revoke(
        &self,
        space: SpaceId,
        grant: impl Into<String>,
        auth: Option<Auth>,
    ) -> Result<(), KvError> {
        self.link.call(SpaceRevoke { space, grant: grant.into(), auth }).await
    }

    /// A ticket with which whoever has it may join. It is a secret.
    ///
    /// # Errors
    /// As [`Spaces::grant`].
    pub async fn ticket(
        &self,
        space: SpaceId,
        rights: Rights,
        prefix: impl Into<String>,
        ttl: Option<Duration>,
        auth: Option<Auth>,
    ) -> Result<SpaceTicket, KvError> {
        let ttl_ms = ttl.map(|ttl| u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX));
        self.link.call(MakeTicket { space, rights, prefix: prefix.into(), ttl_ms, auth }).await
    }

    /// Joins a space by a ticket, or by its id if this node was granted access. With a peer's addresses
    /// it need not be connected yet. Whoever was not granted any joins nevertheless, and waits for it:
    /// [`SpaceInfo::access`] tells.
    ///
    /// # Errors
    /// [`KvError::BadTicket`], [`KvError::TooMany`], [`KvError::Auth`], [`KvError::Store`].
    pub async fn join(
        &self,
        ticket: impl Into<String>,
        name: Option<String>,
        auth: Option<Auth>,
    ) -> Result<SpaceInfo, KvError> {
        self.link.call(SpaceJoin { ticket: ticket.into(), name, auth }).await
    }

    /// Leaves a space and removes all that this node has of it.
    ///
    /// # Errors
    /// [`KvError::NoSuchSpace`], also for the default one; [`KvError::Store`].
    pub async fn leave(&self, space: SpaceId) -> Result<(), KvError> {
        self.link.call(SpaceLeave { space }).await
    }
}

/// Applies writes, all or none.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Apply {
    /// Where.
    #[serde(default)]
    pub space: Space,
    /// The user that signs; without, the node does.
    #[serde(default)]
    pub auth: Option<Auth>,
    /// The writes, in order; 1 to [`MAX_BATCH`].
    pub writes: Vec<Write>,
}

/// Asks for an entry.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Get {
    /// Where.
    #[serde(default)]
    pub space: Space,
    /// The key.
    pub key: KvKey,
}

/// Asks for entries.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct List {
    /// Where.
    #[serde(default)]
    pub space: Space,
    /// What their keys begin with.
    #[serde(default)]
    pub prefix: String,
    /// The first key.
    #[serde(default)]
    pub from: Option<KvKey>,
    /// The key behind the last.
    #[serde(default)]
    pub to: Option<KvKey>,
    /// Which part of them. A page may be shorter than its limit, so that answers stay below 4 MiB.
    #[serde(default)]
    pub page: Page,
}

/// Asks for the versions of an entry.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct History {
    /// Where.
    #[serde(default)]
    pub space: Space,
    /// The key.
    pub key: KvKey,
}

/// Subscribes to changes.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Watch {
    /// Where.
    #[serde(default)]
    pub space: Space,
    /// What the keys begin with.
    #[serde(default)]
    pub prefix: String,
    /// Changes after this sequence number first.
    #[serde(default)]
    pub from: Option<u64>,
}

/// Asks for figures.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct GetStats {
    /// Of which space.
    #[serde(default)]
    pub space: Space,
}

/// Synchronises now.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Sync {
    /// What.
    #[serde(default)]
    pub space: Space,
    /// With whom; without, with every connected peer that has not refused the space, or, if all have,
    /// with every one.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub peer: Option<PeerId>,
}

/// Makes a space.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct SpaceCreate {
    /// Its name, 1 to [`MAX_SPACE_NAME`] bytes.
    pub name: String,
    /// The user that will own it; without, the node does.
    #[serde(default)]
    pub auth: Option<Auth>,
}

/// Asks for the spaces.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct SpaceList {}

/// Asks for a space.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct SpaceShow {
    /// Which.
    #[serde(default)]
    pub space: Space,
}

/// Grants access to a space.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct SpaceGrant {
    /// To which.
    pub space: SpaceId,
    /// What to whom.
    #[serde(flatten)]
    pub grant: GrantRequest,
    /// The user that grants; without, the node does.
    #[serde(default)]
    pub auth: Option<Auth>,
}

/// Takes a grant back.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct SpaceRevoke {
    /// Of which space.
    pub space: SpaceId,
    /// Its [id](Grant::id).
    pub grant: String,
    /// The user that takes it back; without, the node does.
    #[serde(default)]
    pub auth: Option<Auth>,
}

/// Makes a ticket.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct MakeTicket {
    /// To which space.
    pub space: SpaceId,
    /// What who has it may do.
    pub rights: Rights,
    /// With which keys.
    #[serde(default)]
    pub prefix: String,
    /// Milliseconds for which it may be used, and what was joined by it.
    #[serde(default)]
    pub ttl_ms: Option<u64>,
    /// The user that grants; without, the node does.
    #[serde(default)]
    pub auth: Option<Auth>,
}

/// Joins a space.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct SpaceJoin {
    /// A ticket, or the id of a space.
    pub ticket: String,
    /// How this node calls it.
    #[serde(default)]
    pub name: Option<String>,
    /// The user that was granted access; without, the node was, or whoever has the ticket.
    #[serde(default)]
    pub auth: Option<Auth>,
}

/// Leaves a space.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct SpaceLeave {
    /// Which.
    pub space: SpaceId,
}

facet! {
    Kv, KvError;
    methods {
        Apply => "kv.apply" -> Applied;
        Get => "kv.get" -> Entry;
        List => "kv.list" -> Paged<Entry>;
        History => "kv.history" -> Vec<Version>;
        GetStats => "kv.stats" -> Stats;
        Sync => "kv.sync" -> Vec<SyncReport>;
        SpaceCreate => "kv.space_create" -> SpaceInfo;
        SpaceList => "kv.spaces" -> Vec<SpaceInfo>;
        SpaceShow => "kv.space" -> SpaceInfo;
        SpaceGrant => "kv.grant" -> SpaceTicket;
        SpaceRevoke => "kv.revoke" -> ();
        MakeTicket => "kv.ticket" -> SpaceTicket;
        SpaceJoin => "kv.join" -> SpaceInfo;
        SpaceLeave => "kv.leave" -> ();
    }
    local {}
    feeds {
        Watch[256] => "kv.watch" -> Event;
    }
    extra {}
}
