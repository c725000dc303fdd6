//! The spaces of one account.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use peerage_api::storage::StorageError;
use peerage_store::{AccountId, SealKey, Store};
use peerage_types::{ServiceName, UnixMillis, UserId};
use tokio::sync::Notify;

use super::{
    rows::{Keys, storage_key},
    space::Space,
};

/// Spaces of one account that are known at a time; idle ones make room for others.
const MAX_SPACES: usize = 256;

/// The storage of services in an open account.
#[derive(Debug)]
pub(crate) struct Spaces {
    account: AccountId,
    key: SealKey,
    spaces: Mutex<HashMap<ServiceName, Arc<Space>>>,
    /// Held while a write is queued, so that after [`Spaces::close`] none is.
    closed: Arc<Mutex<bool>>,
    /// Told when an entry is over sooner than was known.
    wake: Arc<Notify>,
}

impl Spaces {
    pub(crate) fn new(account: AccountId, master: &SealKey, wake: Arc<Notify>) -> Self {
        let (key, closed) = (storage_key(master), Arc::default());
        Self { account, key, spaces: Mutex::default(), closed, wake }
    }

    /// The space of a service; costs nothing until it is used.
    ///
    /// # Errors
    /// [`StorageError::Sealed`], [`StorageError::TooMany`].
    pub(crate) fn space(
        &self,
        user: &UserId,
        service: &ServiceName,
        store: &Store,
    ) -> Result<Arc<Space>, StorageError> {
        let mut spaces = self.lock();
        if self.is_closed() {
            return Err(StorageError::Sealed { user: *user });
        }
        if let Some(space) = spaces.get(service) {
            return Ok(Arc::clone(space));
        }
        make_room(&mut spaces)?;
        let keys = Keys::new(self.account, self.key.clone(), service.clone());
        let (closed, wake) = (Arc::clone(&self.closed), Arc::clone(&self.wake));
        let space = Arc::new(Space::new(keys, store.clone(), closed, wake));
        spaces.insert(service.clone(), Arc::clone(&space));
        Ok(space)
    }

    /// Spaces with entries whose time is over.
    pub(crate) fn expired(&self, now: UnixMillis) -> Vec<Arc<Space>> {
        let is_over = |space: &&Arc<Space>| space.next_expiry().is_some_and(|at| at <= now);
        self.lock().values().filter(is_over).cloned().collect()
    }

    /// When the next entry is over.
    pub(crate) fn next_expiry(&self) -> Option<UnixMillis> {
        self.lock().values().filter_map(|space| space.next_expiry()).min()
    }

    /// The last session has ended: readers end, and writes that are still on their way to the
    /// store's queue are refused.
    pub(crate) fn close(&self) {
        *self.closed.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.lock().drain().for_each(|(_, space)| space.end());
    }

    fn is_closed(&self) -> bool {
        *self.closed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ServiceName, Arc<Space>>> {
        // Nothing that can panic runs under the lock.
        self.spaces.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Forgets a space that nobody uses; what it holds is on disk.
fn make_room(spaces: &mut HashMap<ServiceName, Arc<Space>>) -> Result<(), StorageError> {
    if spaces.len() < MAX_SPACES {
        return Ok(());
    }
    // Calls hold clones, and new ones are made under the lock that is held here.
    let is_idle = |space: &Arc<Space>| Arc::strong_count(space) == 1 && !space.has_readers();
    let idle = spaces.iter().find(|(_, space)| is_idle(space)).map(|(service, _)| service.clone());
    match idle.and_then(|service| spaces.remove(&service)) {
        Some(_) => Ok(()),
        None => Err(StorageError::TooMany { what: "services at once".into(), max: 256 }),
    }
}
