//! What accounts and others of this node ask and tell.

use std::sync::atomic::Ordering::Acquire;

use peerage_api::users::User;
use peerage_types::{Handle, PeerId, UnixMillis, UserId};
use peerage_wire::identity::{Bundle, Profile, Signed};

use super::{Directory, Spread};
use crate::{Outcome, Source};

impl Directory {
    /// This node.
    #[must_use]
    pub fn node(&self) -> PeerId {
        self.0.node
    }

    /// Takes signed records of a user of this node, keeps them whatever others tell, and spreads
    /// them: by gossip, in sessions and through Kademlia. [`Outcome::error`] says what was not
    /// taken.
    pub fn publish(&self, bundle: &Bundle) -> Outcome {
        let outcome = self.merge(bundle, Source::Own, Spread::On);
        if let Some(user) = bundle.user() {
            self.outbox().put(user);
        }
        self.0.waker.wake();
        outcome
    }

    /// Takes a statement that this node has made or was given about a user of any node, such as
    /// a revocation with nothing but the recovery code, and spreads it.
    pub fn announce(&self, bundle: &Bundle) -> Outcome {
        self.merge(bundle, Source::Peer(self.0.node), Spread::On)
    }

    /// A user does not live here any more: its records are kept like anybody's.
    pub fn release(&self, user: &UserId) {
        self.write().release(*user);
        self.outbox().puts.retain(|put| put != user);
        self.mark_unsaved(std::iter::once(*user));
    }

    /// What is known of a user.
    #[must_use]
    pub fn get(&self, user: &UserId) -> Option<User> {
        self.read().shown(user, UnixMillis::now())
    }

    /// The newest valid profile of a user.
    #[must_use]
    pub fn profile(&self, user: &UserId) -> Option<Signed<Profile>> {
        self.read().profile(user)
    }

    /// What became of a user's key: `None` while it is valid, `Some(None)` when it was revoked,
    /// `Some(Some(successor))` when it moved.
    #[must_use]
    pub fn fate(&self, user: &UserId) -> Option<Option<UserId>> {
        self.read().fate(user)
    }

    /// Whether some node says that the user is logged in there.
    #[must_use]
    pub fn is_online(&self, user: &UserId) -> bool {
        self.read().is_online(user, UnixMillis::now())
    }

    /// When this node last met a peer again that it had lost; such peers may have come to doubt that
    /// users are here, who are to say so once more.
    #[must_use]
    pub fn met_again(&self) -> Option<UnixMillis> {
        let at = self.0.met_again.load(Acquire);
        (at > 0).then_some(UnixMillis(at))
    }

    /// Known users whose handle looks the same, up to [`MAX_NAMED`](crate::bounds::MAX_NAMED): case
    /// and Unicode form do not matter.
    #[must_use]
    pub fn named(&self, handle: &Handle) -> Vec<UserId> {
        self.read().named(handle)
    }

    /// Keeps what is known of a user, as often as it was asked, until it is let go as often.
    pub fn pin(&self, user: &UserId) {
        self.write().pin(*user);
    }

    /// Takes back one [`Directory::pin`].
    pub fn unpin(&self, user: &UserId) {
        self.write().unpin(*user);
    }
}
