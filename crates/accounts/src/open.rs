//! An account while somebody is logged in: its keys in clear, and what was unsealed with them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use peerage_store::{AccountId, SealKey, Store};
use peerage_types::UserId;
use peerage_wire::identity::SigningKey;

use crate::{contacts::Book, keys::user_of, storage::Spaces};

/// An account with its keys in clear. Wiped when the last session has ended and the last call that
/// still uses it has returned.
pub(crate) struct Open {
    pub(crate) account: AccountId,
    /// Who: changes when the key is rotated, which makes a new `Open` with the same book and
    /// spaces.
    pub(crate) user: UserId,
    /// Signs for the user. Wipes itself.
    pub(crate) signing: SigningKey,
    /// Everything is sealed with keys that are derived from it.
    pub(crate) master: SealKey,
    pub(crate) store: Store,
    pub(crate) book: Arc<Mutex<Book>>,
    pub(crate) spaces: Arc<Spaces>,
}

impl Open {
    /// The same account under a new key, with the same book and spaces.
    pub(crate) fn moved(&self, signing: SigningKey) -> Self {
        Self {
            account: self.account,
            user: user_of(&signing),
            signing,
            master: self.master.clone(),
            store: self.store.clone(),
            book: Arc::clone(&self.book),
            spaces: Arc::clone(&self.spaces),
        }
    }

    /// The last session has ended: feeds end, and calls that are still on their way are refused.
    pub(crate) fn close(&self) {
        self.book().close();
        self.spaces.close();
    }

    /// The contact book. Not to be held across an `.await`, nor while the state is locked.
    pub(crate) fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Open {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Open").field("user", &self.user).finish_non_exhaustive()
    }
}
