//! What accounts need of the network.

use std::fmt;

use peerage_api::users::User;
use peerage_types::{Handle, PeerId, UnixMillis, UserId};
use peerage_wire::identity::{Bundle, Profile, Signed};

/// What accounts need of the network: to tell what users have signed, and to know of others.
///
/// Called under locks and from async code: nothing here may block or call back.
pub trait Outside: fmt::Debug + Send + Sync {
    /// This node.
    fn node(&self) -> PeerId;

    /// Takes signed records of a user of this node, keeps them as the newest and spreads them.
    fn publish(&self, bundle: Bundle);

    /// A user does not live on this node any more.
    fn release(&self, user: &UserId);

    /// The newest valid profile known of a user.
    fn profile(&self, user: &UserId) -> Option<Signed<Profile>>;

    /// What became of a user's key: `None` while it is valid, `Some(None)` when it was revoked,
    /// `Some(Some(successor))` when it moved.
    fn fate(&self, user: &UserId) -> Option<Option<UserId>>;

    /// What is known of a user, as it is shown.
    fn user(&self, user: &UserId) -> Option<User>;

    /// When this node last met a peer again that it had lost: such a peer may doubt that users are
    /// still here.
    fn met_again(&self) -> Option<UnixMillis>;

    /// Whether some node says that the user is logged in there.
    fn is_online(&self, user: &UserId) -> bool;

    /// Known users whose handle looks the same, up to 16: case and Unicode form do not matter.
    fn named(&self, handle: &Handle) -> Vec<UserId>;

    /// Keeps what is known of a user, as often as it was asked, until it is let go as often.
    fn pin(&self, user: &UserId);

    /// Takes back one [`Outside::pin`].
    fn unpin(&self, user: &UserId);
}
