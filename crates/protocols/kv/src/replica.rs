//! All spaces of a node: what may be asked of them and done to them.

use bytes::Bytes;
use peerage_api::{
    kv::{self, Applied, Entry, Event, KvError, SpaceKind, Stats, SyncReport, Version, Write},
    users::Paged,
};
use peerage_store::{Kv, StoreError};
use peerage_types::{Author, KvKey, Network, PeerId, Space, SpaceId, UnixMillis};
use peerage_wire::kv::{Claimed, Fingerprint};

use crate::{KeyHash, View};

mod shapes;

pub use shapes::{
    Cursor, Incoming, Joined, Limits, Outgoing, PeerRow, ReceiveError, Received, Refusal, Signer,
};

/// The replica of a node. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Replica {}

/// Changes of a space, in pages.
#[derive(Debug)]
pub struct Changes {}

impl Changes {
    /// The next ones; waits until there are any.
    pub async fn next(&mut self) -> Result<Vec<Event>, KvError> {
        todo!()
    }
}

impl Replica {
    /// Opens it.
    pub async fn open(
        local: Signer,
        network: &Network,
        limits: Limits,
        kv: Kv,
        now: UnixMillis,
    ) -> Result<Self, StoreError> {
        let _ = (local, network, limits, kv, now);
        todo!()
    }

    /// The space that a name means, if this node has joined it.
    pub fn resolve(&self, space: Space) -> Result<SpaceId, KvError> {
        let _ = space;
        todo!()
    }

    /// Applies writes, all or none.
    pub async fn apply(
        &self,
        space: Space,
        signer: &Signer,
        writes: Vec<Write>,
        now: UnixMillis,
    ) -> Result<Applied, KvError> {
        let _ = (space, signer, writes, now);
        todo!()
    }

    /// One entry.
    pub async fn get(&self, space: Space, key: KvKey, now: UnixMillis) -> Result<Entry, KvError> {
        let _ = (space, key, now);
        todo!()
    }

    /// A page of entries.
    pub async fn list(&self, ask: kv::List, now: UnixMillis) -> Result<Paged<Entry>, KvError> {
        let _ = (ask, now);
        todo!()
    }

    /// Versions of a key, the newest first.
    pub async fn history(&self, space: Space, key: KvKey) -> Result<Vec<Version>, KvError> {
        let _ = (space, key);
        todo!()
    }

    /// Figures.
    pub async fn stats(&self, space: Space) -> Result<Stats, KvError> {
        let _ = space;
        todo!()
    }

    /// Changes after a sequence number, or those to come.
    pub async fn changes(
        &self,
        space: Space,
        prefix: String,
        from: Option<u64>,
    ) -> Result<Changes, KvError> {
        let _ = (space, prefix, from);
        todo!()
    }

    /// Marks what is expired; tells when the next is due.
    pub async fn expire(&self, now: UnixMillis) -> Result<Option<UnixMillis>, KvError> {
        let _ = now;
        todo!()
    }

    /// Forgets what was deleted or expired up to [`floor`](crate::bounds::floor)`(now)`; how many.
    pub async fn release(&self, now: UnixMillis) -> Result<u64, KvError> {
        let _ = now;
        todo!()
    }

    /// The spaces.
    #[must_use]
    pub fn spaces(&self) -> Vec<Joined> {
        todo!()
    }

    /// Joins a space, or renames it.
    pub async fn join_space(
        &self,
        id: SpaceId,
        kind: SpaceKind,
        name: String,
        now: UnixMillis,
    ) -> Result<Joined, KvError> {
        let _ = (id, kind, name, now);
        todo!()
    }

    /// Leaves a space and removes all of it.
    pub async fn leave_space(&self, id: SpaceId) -> Result<(), KvError> {
        let _ = id;
        todo!()
    }

    /// Takes grants and revocations; how many were new.
    pub async fn add_grants(
        &self,
        space: &SpaceId,
        grants: Vec<Bytes>,
        now: UnixMillis,
    ) -> Result<usize, KvError> {
        let _ = (space, grants, now);
        todo!()
    }

    /// A snapshot for a reader.
    pub async fn view(
        &self,
        space: &SpaceId,
        reader: &Author,
        now: UnixMillis,
    ) -> Result<View, Refusal> {
        let _ = (space, reader, now);
        todo!()
    }

    /// Of each whether it would win and is not here.
    pub async fn lacks(&self, space: &SpaceId, claimed: &[Claimed]) -> Result<Vec<bool>, KvError> {
        let _ = (space, claimed);
        todo!()
    }

    /// Takes entries, and in the same transaction notes how far the peer's feed was taken over.
    pub async fn receive(
        &self,
        space: &SpaceId,
        from: PeerId,
        entries: Vec<Incoming>,
        cursor: Option<Cursor>,
        now: UnixMillis,
    ) -> Result<Received, ReceiveError> {
        let _ = (space, from, entries, cursor, now);
        todo!()
    }

    /// Removes entries without a trace, if they still are what is said; how many.
    pub async fn bury(
        &self,
        space: &SpaceId,
        dead: Vec<(KeyHash, Fingerprint)>,
    ) -> Result<u64, KvError> {
        let _ = (space, dead);
        todo!()
    }

    /// Notes a session. `equal`: both were found equal, and this is the `as_of` that the other side
    /// has told of itself.
    pub async fn synced(
        &self,
        space: &SpaceId,
        peer: PeerId,
        report: SyncReport,
        equal: Option<UnixMillis>,
        cursor: Option<Cursor>,
        now: UnixMillis,
    ) -> Result<(), KvError> {
        let _ = (space, peer, report, equal, cursor, now);
        todo!()
    }
}
