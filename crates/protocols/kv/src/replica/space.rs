//! A joined space in memory.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use peerage_api::kv::{KvError, SpaceKind};
use peerage_types::Space;
use tokio::sync::{Semaphore, watch};

use super::{Joined, edit::Place, reads::Recent};
use crate::{bounds::MAX_WATCHERS, grants::Grants, rows::Counters};

#[derive(Debug)]
pub(crate) struct SpaceState {
    pub(crate) place: Place,
    /// As it is named in questions.
    pub(crate) space: Space,
    pub(crate) kind: SpaceKind,
    name: Mutex<String>,
    grants: RwLock<Option<Arc<Grants>>>,
    /// Held from the clock's tick until a write is handed in, so that writes are dated in the order
    /// in which they happen.
    pub(crate) gate: tokio::sync::Mutex<()>,
    /// As of the last write that was committed.
    pub(crate) counters: watch::Sender<Counters>,
    pub(crate) watchers: Arc<Semaphore>,
    recent: Mutex<Recent>,
}

impl SpaceState {
    pub(crate) fn new(
        place: Place,
        (space, kind): (Space, SpaceKind),
        name: String,
        counters: Counters,
        grants: Option<Grants>,
    ) -> Self {
        Self {
            place,
            space,
            kind,
            name: Mutex::new(name),
            grants: RwLock::new(grants.map(Arc::new)),
            gate: tokio::sync::Mutex::new(()),
            counters: watch::Sender::new(counters),
            watchers: Arc::new(Semaphore::new(MAX_WATCHERS)),
            recent: Mutex::default(),
        }
    }

    /// Tells of a write that was committed.
    pub(crate) fn publish(&self, counters: Counters) {
        self.counters.send_if_modified(|known| {
            let newer = counters.head > known.head;
            if newer {
                *known = counters;
            }
            newer
        });
    }

    pub(crate) fn name(&self) -> MutexGuard<'_, String> {
        self.name.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn recent(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nothing for the default space.
    pub(crate) fn grants(&self) -> Option<Arc<Grants>> {
        self.grants.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_grants(&self, grants: Grants) {
        *self.grants.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(grants));
    }

    pub(crate) fn no_grant(&self, key: &str) -> KvError {
        KvError::NoGrant { space: self.space, what: format!("write {key:?}") }
    }

    pub(crate) fn shown(&self) -> Joined {
        let Counters { head, entries, tombstones, bytes } = *self.counters.borrow();
        let (id, kind, name) = (self.place.id, self.kind, self.name().clone());
        Joined { id, name, kind, entries, tombstones, bytes, head }
    }
}
