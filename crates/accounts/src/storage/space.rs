//! The storage of one service for one user: orders its calls and keeps index and disk together.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use peerage_api::{
    LinkError, Open,
    storage::{Entry, StorageError, Watch, Write},
    users::{Page, Paged},
};
use peerage_store::{AccountChange, Pending, SealedKey, Store, StoreError};
use peerage_types::{UnixMillis, UserId};
use tokio::sync::{Notify, RwLock, RwLockReadGuard, Semaphore};

use super::{
    alarm::Alarm,
    feed::Feed,
    index::{Plan, check_key, check_prefix},
    load::{Loaded, load},
    rows::Keys,
};

/// Writes at one space that are not answered yet. They hold what their callers have handed in,
/// usually some hundred bytes, and share commits.
const MAX_WRITES: usize = 1024;
/// How often a write is offered to a store whose queue is full.
const MAX_OFFERS: usize = 16;
/// What is sealed on the thread that asks: 64 KiB take 0.1 ms.
const MAX_INLINE_BYTES: usize = 64 << 10;

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Space {
    keys: Keys,
    store: Store,
    /// Whether the account was closed; shared by all its spaces, held while a write is queued.
    closed: Arc<Mutex<bool>>,
    /// Nothing until the first use, and again after a write failed: then only the disk knows what
    /// has become of it.
    loaded: tokio::sync::Mutex<Option<Loaded>>,
    /// Held to read by every write until it is durable. Whoever holds it to write sees index and
    /// disk alike.
    flights: RwLock<()>,
    feed: Mutex<Feed>,
    alarm: Alarm,
    writes: Semaphore,
}

/// Writes on their way to the disk.
struct Flight<'a> {
    sent: Vec<(Pending, Landing)>,
    _airborne: RwLockReadGuard<'a, ()>,
}

/// Who is to be told of a write that has become durable.
#[derive(Debug, Clone, Copy)]
struct Landing {
    /// What the feed calls it.
    ticket: u64,
    /// Its revision if it removes something, for the index.
    removal: Option<u64>,
}

impl Space {
    /// A space of which nothing was read yet; `wake` is told when an entry is over sooner than was
    /// known.
    pub(crate) fn new(
        keys: Keys,
        store: Store,
        closed: Arc<Mutex<bool>>,
        wake: Arc<Notify>,
    ) -> Self {
        Self {
            keys,
            store,
            closed,
            loaded: tokio::sync::Mutex::default(),
            flights: RwLock::default(),
            feed: Mutex::default(),
            alarm: Alarm::new(wake),
            writes: Semaphore::new(MAX_WRITES),
        }
    }

    /// Applies writes, all or none, and returns their revision once they are durable.
    ///
    /// # Errors
    /// [`StorageError`], and nothing has changed.
    ///
    /// # Cancel safety
    /// None: readers would wait for what was begun. Runs in a task of its own.
    pub(crate) async fn apply(
        &self,
        user: &UserId,
        writes: Vec<Write>,
        now: UnixMillis,
    ) -> Result<u64, StorageError> {
        let busy = |_| StorageError::Store { reason: "too many writes at once".into() };
        let _permit = self.writes.try_acquire().map_err(busy)?;
        let mut flight = self.take_off().await;
        let planned = self.launch(user, writes, now, &mut flight).await;
        // Also what was on its way before a write was refused.
        let landed = self.land(flight).await;
        planned.and_then(|revision| landed.map(|()| revision))
    }

    async fn take_off(&self) -> Flight<'_> {
        Flight { sent: Vec::new(), _airborne: self.flights.read().await }
    }

    async fn launch(
        &self,
        user: &UserId,
        writes: Vec<Write>,
        now: UnixMillis,
        flight: &mut Flight<'_>,
    ) -> Result<u64, StorageError> {
        let mut slot = self.loaded.lock().await;
        let loaded = self.loaded(&mut slot).await?;
        self.check_damage(user, loaded, &writes)?;
        // What is over counts against no quota.
        self.send_expired(user, loaded, now, flight).await?;
        let plan = loaded.index.plan(writes, now)?;
        let revision = plan.revision;
        self.send(user, loaded, plan, flight).await?;
        Ok(revision)
    }

    /// Removes what is over, up to [`MAX_EXPIRED`](super::index::MAX_EXPIRED) entries.
    ///
    /// # Errors
    /// [`StorageError::Sealed`], [`StorageError::Store`].
    ///
    /// # Cancel safety
    /// As [`Space::apply`].
    pub(crate) async fn expire(&self, user: &UserId, now: UnixMillis) -> Result<(), StorageError> {
        let mut flight = self.take_off().await;
        {
            let mut slot = self.loaded.lock().await;
            let loaded = self.loaded(&mut slot).await?;
            self.send_expired(user, loaded, now, &mut flight).await?;
        }
        self.land(flight).await
    }

    /// When there is something for [`Space::expire`], as far as the space was read.
    pub(crate) fn next_expiry(&self) -> Option<UnixMillis> {
        self.alarm.at()
    }

    async fn send_expired(
        &self,
        user: &UserId,
        loaded: &mut Loaded,
        now: UnixMillis,
        flight: &mut Flight<'_>,
    ) -> Result<(), StorageError> {
        match loaded.index.plan_expiry(now) {
            Some(plan) => self.send(user, loaded, plan, flight).await,
            None => Ok(()),
        }
    }

    async fn send(
        &self,
        user: &UserId,
        loaded: &mut Loaded,
        plan: Plan,
        flight: &mut Flight<'_>,
    ) -> Result<(), StorageError> {
        let (plan, changes) = self.seal(plan).await?;
        let pending = self.queue(user, changes).await?;
        loaded.index.adopt(&plan);
        self.alarm.set(loaded.index.next_expiry());
        let removal = plan.removes().then_some(plan.revision);
        let ticket = self.feed().begin(|| plan.events());
        flight.sent.push((pending, Landing { ticket, removal }));
        Ok(())
    }

    async fn seal(&self, plan: Plan) -> Result<(Plan, Vec<AccountChange>), StorageError> {
        if plan.bytes() <= MAX_INLINE_BYTES {
            let changes = self.keys.seal(&plan);
            return Ok((plan, changes));
        }
        let keys = self.keys.clone();
        let work = move || {
            let changes = keys.seal(&plan);
            (plan, changes)
        };
        Ok(tokio::task::spawn_blocking(work).await.map_err(|_| LinkError::Stopped)?)
    }

    /// Hands changes to the store, waiting while its queue is full.
    async fn queue(
        &self,
        user: &UserId,
        changes: Vec<AccountChange>,
    ) -> Result<Pending, StorageError> {
        for _ in 0..MAX_OFFERS {
            let pending = self.offer(user, changes.clone())?;
            match pending.refused() {
                None => return Ok(pending),
                // What it says of others' writes, it says to them as well.
                Some(StoreError::Busy) => _ = self.store.flush().await,
                Some(error) => return Err(store_error(error)),
            }
        }
        Err(store_error(&StoreError::Busy))
    }

    fn offer(&self, user: &UserId, changes: Vec<AccountChange>) -> Result<Pending, StorageError> {
        let closed = self.closed.lock().unwrap_or_else(PoisonError::into_inner);
        match *closed {
            true => Err(StorageError::Sealed { user: *user }),
            false => Ok(self.store.accounts().apply(changes)),
        }
    }

    /// Waits until all is durable, tells readers, and answers for the last.
    async fn land(&self, flight: Flight<'_>) -> Result<(), StorageError> {
        let mut last = Ok(());
        for (pending, landing) in flight.sent {
            last = self.settle(landing, pending.await).await;
        }
        last
    }

    async fn settle(
        &self,
        landing: Landing,
        outcome: Result<(), StoreError>,
    ) -> Result<(), StorageError> {
        self.feed().settle(landing.ticket, outcome.is_ok());
        match (&outcome, landing.removal) {
            (Err(_), _) => {
                let mut slot = self.loaded.lock().await;
                *slot = None;
                self.alarm.set(None);
            }
            (Ok(()), Some(revision)) => {
                let mut slot = self.loaded.lock().await;
                slot.iter_mut().for_each(|loaded| loaded.index.settle(revision));
            }
            (Ok(()), None) => {}
        }
        outcome.map_err(|error| store_error(&error))
    }

    /// The value of one key, as it is on disk.
    ///
    /// # Errors
    /// [`StorageError::NotFound`], [`StorageError::BadField`], [`StorageError::Damaged`],
    /// [`StorageError::Store`].
    pub(crate) async fn get(
        &self,
        user: &UserId,
        key: String,
        now: UnixMillis,
    ) -> Result<Entry, StorageError> {
        check_key(&key)?;
        let Some(at) = self.find(user, &key).await? else { return Err(self.not_found(key)) };
        let sealed = self.store.accounts().get(at).await.map_err(|error| store_error(&error))?;
        let row = sealed.map(|sealed| self.keys.open(&at, &sealed));
        match row {
            Some(None) => Err(self.damaged(user)),
            Some(Some(row)) if row.is_live(now) => Ok(row.to_entry()),
            Some(Some(_)) | None => Err(self.not_found(key)),
        }
    }

    /// Where the row of a key is, or will be once a write on its way has arrived. It stays there
    /// while the key has a value, so that whoever reads it finds the old value or the new one.
    async fn find(&self, user: &UserId, key: &str) -> Result<Option<SealedKey>, StorageError> {
        let mut slot = self.loaded.lock().await;
        let loaded = self.loaded(&mut slot).await?;
        match loaded.index.slot(key) {
            Some(slot) => Ok(Some(self.keys.at(slot, key))),
            None if self.is_damaged(loaded, key) => Err(self.damaged(user)),
            None => Ok(None),
        }
    }

    /// A page of entries, all of one moment.
    ///
    /// # Errors
    /// [`StorageError::BadField`], [`StorageError::Store`]; [`StorageError::Damaged`] when nothing
    /// opens of what there is.
    pub(crate) async fn list(
        &self,
        user: &UserId,
        prefix: String,
        page: Page,
        now: UnixMillis,
    ) -> Result<Paged<Entry>, StorageError> {
        check_prefix("prefix", &prefix)?;
        check_prefix("after", page.after.as_deref().unwrap_or_default())?;
        let _nothing_airborne = self.flights.write().await;
        let (keys, more) = {
            let mut slot = self.loaded.lock().await;
            let loaded = self.loaded(&mut slot).await?;
            if loaded.index.is_empty() && !loaded.damaged.is_empty() {
                return Err(self.damaged(user));
            }
            loaded.index.page(&prefix, page.after.as_deref(), page.limit(), now)
        };
        let next = keys.last().filter(|_| more).map(|(key, _)| key.to_string());
        let items = self.read(user, keys).await?;
        Ok(Paged { items, next })
    }

    async fn read(
        &self,
        user: &UserId,
        keys: Vec<(Arc<str>, u32)>,
    ) -> Result<Vec<Entry>, StorageError> {
        let (own, accounts) = (self.keys.clone(), self.store.accounts());
        let one = move |(key, slot): &(Arc<str>, u32)| -> Result<Option<Entry>, StorageError> {
            let at = own.at(*slot, key);
            let sealed = accounts.get_blocking(&at).map_err(|error| store_error(&error))?;
            Ok(sealed.and_then(|sealed| own.open(&at, &sealed)).map(|row| row.to_entry()))
        };
        let work = move || keys.iter().map(one).collect::<Result<Option<Vec<_>>, _>>();
        let entries = tokio::task::spawn_blocking(work).await.map_err(|_| LinkError::Stopped)??;
        entries.ok_or_else(|| self.damaged(user))
    }

    /// Takes a reader, or refuses it.
    pub(crate) fn watch(&self, open: Open<Watch>) {
        match check_prefix("prefix", &open.request.prefix) {
            Ok(()) => self.feed().join(open),
            Err(error) => open.refuse(error),
        }
    }

    /// Reads the space if nobody has, so that readers hear of what is over.
    pub(crate) async fn read_for_readers(&self) {
        // Whoever asks for something meets the failure.
        let _ = self.loaded(&mut *self.loaded.lock().await).await;
    }

    pub(crate) fn has_readers(&self) -> bool {
        self.feed().has_readers()
    }

    /// Ends all readers.
    pub(crate) fn end(&self) {
        self.feed().end();
    }

    fn feed(&self) -> MutexGuard<'_, Feed> {
        // Nothing that can panic runs under the lock.
        self.feed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn loaded<'a>(
        &self,
        slot: &'a mut Option<Loaded>,
    ) -> Result<&'a mut Loaded, StorageError> {
        match slot {
            Some(loaded) => Ok(loaded),
            None => {
                let loaded = slot.insert(load(&self.keys, &self.store).await?);
                self.alarm.set(loaded.index.next_expiry());
                Ok(loaded)
            }
        }
    }

    fn check_damage(
        &self,
        user: &UserId,
        loaded: &Loaded,
        writes: &[Write],
    ) -> Result<(), StorageError> {
        let is_damaged = |write: &Write| {
            let (Write::Put { key, .. } | Write::Delete { key, .. }) = write;
            self.is_damaged(loaded, key)
        };
        match writes.iter().any(is_damaged) {
            true => Err(self.damaged(user)),
            false => Ok(()),
        }
    }

    fn is_damaged(&self, loaded: &Loaded, key: &str) -> bool {
        !loaded.damaged.is_empty() && loaded.damaged.contains(&self.keys.tail(key))
    }

    fn not_found(&self, key: String) -> StorageError {
        StorageError::NotFound { service: self.keys.service().clone(), key }
    }

    fn damaged(&self, user: &UserId) -> StorageError {
        StorageError::Damaged { user: *user, service: self.keys.service().clone() }
    }
}

fn store_error(error: &StoreError) -> StorageError {
    StorageError::Store { reason: error.to_string() }
}

#[cfg(test)]
mod tests;
