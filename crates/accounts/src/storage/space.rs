//! The storage of one service for one user: orders its calls and keeps index and disk together.

use std::{
    collections::HashSet,
    mem,
    sync::{Arc, Mutex, PoisonError},
};

use peerage_api::{
    LinkError, Sink,
    storage::{Entry, Event, StorageError, Write},
    users::{Page, Paged},
};
use peerage_store::{AccountChange, Pending, Store, StoreError};
use peerage_types::{UnixMillis, UserId};
use tokio::sync::{RwLock, RwLockReadGuard, Semaphore, SemaphorePermit};

use super::{
    feed::Feed,
    index::{Index, Plan, check_key, check_prefix},
    load::{Loaded, load},
    rows::Keys,
};

/// Calls at one space that are not answered yet. They hold what their callers have handed in:
/// 64 × 4 MiB = 256 MiB at worst, 64 KiB as a rule. Writes of them share a commit.
pub(crate) const MAX_CALLS: usize = 64;
/// How often a write is offered to a store that is full.
const MAX_OFFERS: usize = 16;
/// What is sealed or opened on the thread that asks: 64 KiB take 0.1 ms.
const MAX_INLINE_BYTES: usize = 64 << 10;

/// See the [module](super).
#[derive(Debug)]
pub(crate) struct Space {
    keys: Keys,
    store: Store,
    /// Whether the account was closed; shared by all its spaces and held while a write is queued.
    closed: Arc<Mutex<bool>>,
    /// Nothing until the first use, and again after a write failed: then only the disk knows what
    /// has become of it.
    loaded: tokio::sync::Mutex<Option<Loaded>>,
    /// Held to read by every write until it is durable. Whoever holds it to write sees index and
    /// disk alike.
    flights: RwLock<()>,
    feed: Mutex<Feed>,
    calls: Semaphore,
}

/// A write on its way to the disk.
struct Flight<'a> {
    pending: Pending,
    ticket: u64,
    _flight: RwLockReadGuard<'a, ()>,
}

impl Space {
    pub(crate) fn new(keys: Keys, store: Store, closed: Arc<Mutex<bool>>) -> Self {
        Self {
            keys,
            store,
            closed,
            loaded: tokio::sync::Mutex::default(),
            flights: RwLock::default(),
            feed: Mutex::default(),
            calls: Semaphore::new(MAX_CALLS),
        }
    }

    fn feed(&self) -> std::sync::MutexGuard<'_, Feed> {
        // Nothing that can panic runs under the lock.
        self.feed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Applies writes, all or none, and returns their revision once it is durable.
    ///
    /// # Cancel safety
    /// None: what was planned must be settled. Runs in a task of its own.
    pub(crate) async fn apply(
        &self,
        user: &UserId,
        writes: Vec<Write>,
        now: UnixMillis,
    ) -> Result<u64, StorageError> {
        let _call = self.call()?;
        let (revision, flight) = self.launch(user, writes, now).await?;
        self.land(flight).await?;
        Ok(revision)
    }

    async fn launch(
        &self,
        user: &UserId,
        writes: Vec<Write>,
        now: UnixMillis,
    ) -> Result<(u64, Flight<'_>), StorageError> {
        let flight = self.flights.read().await;
        let mut slot = self.loaded.lock().await;
        let loaded = self.loaded(&mut slot).await?;
        // What is over counts against no quota. Whether it is durable is known with the write.
        while let Some(plan) = loaded.index.plan_expiry(now) {
            let (pending, ticket) = self.send(user, &mut loaded.index, plan).await?;
            drop(pending);
            self.feed().settle(ticket, true);
        }
        self.check_damage(user, &loaded.damaged, &writes)?;
        let plan = loaded.index.plan(writes, now)?;
        let revision = plan.revision;
        let (pending, ticket) = self.send(user, &mut loaded.index, plan).await?;
        Ok((revision, Flight { pending, ticket, _flight: flight }))
    }
}
