//! A joined space in memory.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
    time::Duration,
};

use peerage_api::kv::{LastRefusal, SpaceKind};
use peerage_types::{PeerId, Space, UnixMillis};
use tokio::sync::{Semaphore, watch};

use super::{Joined, edit::Place, lately::Lately};
use crate::{
    Cursor,
    bounds::{MAX_REPLICAS, MAX_WATCHERS},
    grants::Grants,
    rows::Counters,
};

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
    pub(super) lately: Arc<Mutex<Lately>>,
    noted: Mutex<HashMap<PeerId, (UnixMillis, Noted)>>,
    pub(super) refusal: Mutex<Option<LastRefusal>>,
}

/// What a session tells of a peer: how far its feed was taken over, and this side's last change if both
/// were equal.
pub(crate) type Noted = (Option<Cursor>, Option<u64>);

/// What has not changed is noted again after this.
const NOTE_INTERVAL: Duration = Duration::from_secs(60 * 60);

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
            lately: Arc::default(),
            noted: Mutex::default(),
            refusal: Mutex::default(),
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

    /// Tells of entries that were marked as expired.
    pub(super) fn publish_expired(&self, counters: Counters, expired: &Lately) {
        let is_watched = self.watchers.available_permits() < MAX_WATCHERS;
        {
            let mut lately = self.lately.lock().unwrap_or_else(PoisonError::into_inner);
            match is_watched {
                true => lately.take_over(expired),
                false => *lately = Lately::default(),
            }
        }
        self.publish(counters);
    }

    pub(crate) fn name(&self) -> MutexGuard<'_, String> {
        self.name.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was noted was not saved.
    pub(crate) fn forget_noted(&self, peer: &PeerId) {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner).remove(peer);
    }

    /// Whether the same was noted of a peer lately; if not, it counts as noted from now on.
    pub(crate) fn is_noted(&self, peer: PeerId, what: Noted, now: UnixMillis) -> bool {
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        let is_same = |(at, before): &(UnixMillis, Noted)| {
            *before == what && *at <= now && now.since(*at) < NOTE_INTERVAL
        };
        let is_noted = noted.get(&peer).is_some_and(is_same);
        if !is_noted {
            if noted.len() >= MAX_REPLICAS {
                noted.clear();
            }
            noted.insert(peer, (now, what));
        }
        is_noted
    }

    /// Nothing for the default space.
    pub(crate) fn grants(&self) -> Option<Arc<Grants>> {
        self.grants.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_grants(&self, grants: Grants) {
        *self.grants.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(grants));
    }

    pub(crate) fn shown(&self) -> Joined {
        let Counters { head, entries, tombstones, bytes } = *self.counters.borrow();
        let (id, kind, name) = (self.place.id, self.kind, self.name().clone());
        Joined { id, name, kind, entries, tombstones, bytes, head }
    }
}
