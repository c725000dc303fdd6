//! The handle.

use std::{collections::HashSet, sync::Arc, time::Duration};

use peerage_api::{
    contacts, services, storage,
    users::{self, Auth, AuthError},
};
use peerage_store::{AccountsSnapshot, Store};
use peerage_types::{UnixMillis, UserId};
use peerage_wire::identity::SigningKey;

use crate::{Outside, inner::Inner};

/// How accounts are kept.
#[derive(Debug, Clone)]
pub struct Config {
    /// A session that is unused for this long ends.
    pub idle_timeout: Duration,
    /// A session ends after this even if it is used.
    pub session_timeout: Duration,
    /// How long a presence holds, at most a day; it is renewed at half of that. After a crash others
    /// believe for so long that users are here, unless they see that the node is gone. A renewal
    /// is one message of gossip, some 500 bytes.
    pub presence_timeout: Duration,
    /// Argon2id: KiB of memory, 8 to 262,144.
    pub argon_memory_kib: u32,
    /// Argon2id: passes over the memory, 1 to 16.
    pub argon_passes: u32,
}

impl Default for Config {
    /// RFC 9106 with 64 MiB and three passes; sessions of 30 minutes, 24 hours at most; presences
    /// of an hour.
    fn default() -> Self {
        Self {
            idle_timeout: Duration::from_secs(30 * 60),
            session_timeout: Duration::from_secs(24 * 60 * 60),
            presence_timeout: Duration::from_secs(60 * 60),
            argon_memory_kib: 64 << 10,
            argon_passes: 3,
        }
    }
}

/// Users of this node. Cheap to clone. See the [crate] page.
#[derive(Debug, Clone)]
pub struct Accounts(pub(crate) Arc<Inner>);

impl Accounts {
    /// Accounts as they were stored; nobody is logged in.
    ///
    /// # Panics
    /// Outside of a tokio runtime: commands are worked on there.
    #[must_use]
    pub fn new(
        config: Config,
        store: Store,
        snapshot: AccountsSnapshot,
        outside: Arc<dyn Outside>,
    ) -> Self {
        let inner = Arc::new(Inner::new(config, store, snapshot, outside));
        let (accounts, wake) = (Arc::downgrade(&inner), Arc::clone(&inner.expiry));
        inner.runtime.spawn(crate::storage::expire_all(accounts, wake));
        Self(inner)
    }

    /// Takes a command of the facet `users` from any thread; never blocks. Those about users
    /// anywhere, `list`, `get`, `search` and `events`, belong to the protocol `identity` and are
    /// dropped.
    pub fn on_users(&self, command: users::Command) {
        if !self.is_closed() {
            crate::users::on_command(&self.0, command);
        }
    }

    /// Takes a command of the facet `contacts` from any thread; never blocks.
    pub fn on_contacts(&self, command: contacts::Command) {
        if !self.is_closed() {
            crate::contacts::on_command(&self.0, command);
        }
    }

    /// Takes a command of the facet `services` from any thread; never blocks.
    pub fn on_services(&self, command: services::Command) {
        if !self.is_closed() {
            crate::services::on_command(&self.0, command);
        }
    }

    /// Takes a command of the facet `storage` from any thread; never blocks.
    pub fn on_storage(&self, command: storage::Command) {
        if !self.is_closed() {
            crate::storage::on_command(&self.0, command);
        }
    }

    /// Tells the network what users of this node have signed, whether or not they are logged in;
    /// to be called once when the node starts.
    pub fn start(&self) {
        self.0.publish_all();
    }

    /// Tells what became known of a user, on this node or elsewhere.
    pub fn on_learned(&self, event: &users::Event) {
        self.0.note_fate(event);
        for open in self.0.all_open() {
            crate::contacts::on_learned(&self.0, &open, event);
        }
    }

    /// Ends sessions that have expired and renews presences that are about to; to be called about
    /// every minute.
    pub fn on_time(&self) {
        let now = UnixMillis::now();
        self.0.expire_sessions(now);
        self.0.renew_presences(now);
    }

    /// Whom the user has blocked.
    ///
    /// # Errors
    /// [`AuthError`] when the session is not alive.
    pub fn blocked(&self, auth: &Auth) -> Result<HashSet<UserId>, AuthError> {
        let open = self.0.check(auth)?;
        Ok(open.book().blocked())
    }

    /// The key with which the user signs; a copy that wipes itself.
    ///
    /// # Errors
    /// [`AuthError`] when the session is not alive.
    pub fn signing_key(&self, auth: &Auth) -> Result<SigningKey, AuthError> {
        Ok(self.0.check(auth)?.signing.clone())
    }

    /// Whether `user`, if it is logged in here, has blocked `other`.
    #[must_use]
    pub fn is_blocked(&self, user: &UserId, other: &UserId) -> bool {
        let open = self.0.lock().accounts.get(user).and_then(|account| account.open.clone());
        open.is_some_and(|open| open.book().is_blocked(other))
    }

    /// Ends all sessions and takes their presences back; later commands find that the node has
    /// stopped.
    pub fn close(&self) {
        let users: Vec<_> = {
            let mut state = self.0.lock();
            state.is_closed = true;
            state.accounts.keys().copied().collect()
        };
        for user in users {
            self.0.end_sessions(&user, UnixMillis::now(), |all| all.end_all(&user, None));
        }
    }

    fn is_closed(&self) -> bool {
        self.0.lock().is_closed
    }
}
