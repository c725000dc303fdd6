//! What this node may not do: which peer has refused it last, and what was taken back.

use std::sync::PoisonError;

use peerage_api::kv::{Access, Denial, KvError, LastRefusal};
use peerage_types::{Author, Hlc, PeerId, Space, SpaceId, UnixMillis};

use super::{Replica, SpaceState};

impl Replica {
    /// The last peer that has refused to synchronise a space, unless it has done so since.
    #[must_use]
    pub fn last_refusal(&self, space: &SpaceId) -> Option<LastRefusal> {
        self.joined(space).ok()?.last_refusal()
    }

    /// Whether this node may do anything in a space; if that was taken back, when.
    #[must_use]
    pub fn access(&self, space: &SpaceId, now: UnixMillis) -> (Access, Option<UnixMillis>) {
        self.joined(space)
            .map_or((Access::None, None), |it| it.access(&self.inner.local.author, now))
    }

    /// A peer does not synchronise a space with this node.
    pub(crate) fn on_refused(&self, space: &SpaceId, refusal: LastRefusal) {
        if let Ok(space) = self.joined(space) {
            space.on_refused(refusal);
        }
    }
}

impl SpaceState {
    /// That a peer does not have the space is no refusal of it: so says every stranger. Nor is it one that it
    /// is busy: it will be asked again.
    fn on_refused(&self, refusal: LastRefusal) {
        match refusal.why {
            Denial::NoGrant | Denial::Clock => {
                *self.refusal.lock().unwrap_or_else(PoisonError::into_inner) = Some(refusal);
            }
            Denial::NoSuchSpace | Denial::Busy => {}
        }
    }

    /// A peer has synchronised the space with this node.
    pub(super) fn on_served(&self, by: &PeerId) {
        let mut last = self.refusal.lock().unwrap_or_else(PoisonError::into_inner);
        last.take_if(|last| last.peer == *by);
    }

    pub(super) fn last_refusal(&self) -> Option<LastRefusal> {
        *self.refusal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn access(&self, who: &Author, now: UnixMillis) -> (Access, Option<UnixMillis>) {
        match self.space {
            Space::Default => (Access::Granted, None),
            Space::Owned(_) => self.grants().map_or((Access::None, None), |it| it.access(who, now)),
        }
    }

    /// Why an author may not write a key on this node. One that was revoked may not from the moment
    /// on that it is known, whatever the clocks say.
    pub(super) fn denies(&self, author: &Author, key: &str, at: Hlc) -> Option<KvError> {
        let (space, what) = (self.space, || format!("write {key:?}"));
        let grants = self.grants().filter(|_| space != Space::Default);
        let revoked = grants.and_then(|grants| grants.write_revoked(author, key));
        match revoked {
            Some(at_ms) => Some(KvError::Revoked { space, what: what(), at_ms }),
            None if self.may_write(author, key, at) => None,
            None => Some(KvError::NoGrant { space, what: what() }),
        }
    }
}
