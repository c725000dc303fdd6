//! All spaces of a node: what may be asked of them and done to them.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use peerage_api::kv::KvError;
use peerage_store::{Kv, KvTxn, Pending, StoreError};
use peerage_types::{Space, SpaceId, UnixMillis};
use peerage_wire::kv::default_space;

use crate::{bounds::floor, clock::Clock, fills::SharedFills};

mod access;
mod apply;
mod audit;
mod batch;
mod changes;
mod edit;
mod lately;
mod list;
mod open;
mod peers;
mod reads;
mod receive;
mod refusals;
mod shapes;
mod space;
mod spaces;
mod sums;
mod sweep;

pub use changes::Changes;
pub use shapes::{
    Cursor, Equal, Incoming, Joined, Limits, Outgoing, PeerRow, ReceiveError, Received, Refusal,
    Signer,
};

pub(crate) use edit::{Place, parts, row};
pub(crate) use space::SpaceState;
pub(crate) use sums::{children, total};
pub(crate) use sweep::key_behind;

/// The replica of a node. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Replica {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    kv: Kv,
    local: Signer,
    default: SpaceId,
    limits: Limits,
    clock: Mutex<Clock>,
    spaces: RwLock<BTreeMap<SpaceId, Arc<SpaceState>>>,
    pace: reads::Pace,
    /// Up to when deleted entries were forgotten; in ms.
    floor: AtomicU64,
    fills: SharedFills,
}

impl Replica {
    /// In whose name the node itself writes.
    #[must_use]
    pub fn local(&self) -> &Signer {
        &self.inner.local
    }

    /// How much it holds.
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.inner.limits
    }

    /// The default space of the network.
    #[must_use]
    pub fn default_space(&self) -> SpaceId {
        self.inner.default
    }

    /// The space that a name means.
    ///
    /// # Errors
    /// [`KvError::NoSuchSpace`]: this node has not joined it.
    pub fn resolve(&self, space: Space) -> Result<SpaceId, KvError> {
        self.named(space).map(|space| space.place.id)
    }

    /// Up to when deleted and expired entries are forgotten: see [`floor`].
    #[must_use]
    pub fn floor(&self, now: UnixMillis) -> UnixMillis {
        UnixMillis(self.inner.floor.load(Relaxed)).max(floor(now))
    }

    /// From whom its spaces are being filled.
    pub(crate) fn fills(&self) -> &SharedFills {
        &self.inner.fills
    }

    fn named(&self, space: Space) -> Result<Arc<SpaceState>, KvError> {
        let id = match space {
            Space::Default => self.inner.default,
            Space::Owned(id) => id,
        };
        self.all().get(&id).cloned().ok_or(KvError::NoSuchSpace { space })
    }

    fn joined(&self, id: &SpaceId) -> Result<Arc<SpaceState>, KvError> {
        self.all().get(id).cloned().ok_or(KvError::NoSuchSpace { space: self.space_of(*id) })
    }

    fn space_of(&self, id: SpaceId) -> Space {
        if id == self.inner.default { Space::Default } else { Space::Owned(id) }
    }

    fn all(&self) -> RwLockReadGuard<'_, BTreeMap<SpaceId, Arc<SpaceState>>> {
        self.inner.spaces.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn clock(&self) -> MutexGuard<'_, Clock> {
        self.inner.clock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does what keeps a processor busy on the blocking pool, unless it is little.
    async fn work<T: Send + 'static>(
        &self,
        heavy: bool,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, KvError> {
        if !heavy || self.inner.kv.is_simulated() {
            return Ok(work());
        }
        // Cancelled when the runtime shuts down before it began.
        tokio::task::spawn_blocking(work).await.map_err(|_| stored(StoreError::Closed))
    }

    /// Hands in a write whose commit is told to those who wait for changes of the space, whether or not
    /// anybody waits for this.
    fn commit<T: Send + 'static>(
        &self,
        space: &Arc<SpaceState>,
        bytes: usize,
        apply: impl Fn(&mut KvTxn<'_>) -> Result<batch::Verdict<T>, StoreError> + Send + 'static,
    ) -> Pending<batch::Verdict<T>> {
        let space = space.clone();
        let publish = move |verdict: &batch::Verdict<T>| {
            if let Ok((counters, _)) = verdict {
                space.publish(*counters);
            }
        };
        self.inner.kv.write_then(bytes, apply, publish)
    }
}

/// How a failure of the store is told.
pub(crate) fn stored(error: StoreError) -> KvError {
    match error {
        StoreError::Busy => KvError::Busy,
        other => KvError::Store { reason: other.to_string() },
    }
}

#[cfg(test)]
mod tests;
