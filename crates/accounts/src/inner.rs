//! What all clones of the handle share, and the one check of every call on a user's behalf.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use peerage_api::{
    storage::{Place, StorageError},
    users::{Auth, AuthError},
};
use peerage_store::{AccountId, AccountsSnapshot, Store};
use peerage_types::{ServiceName, UnixMillis, UserId};
use tokio::{
    runtime::Handle,
    sync::{Notify, Semaphore},
};

use crate::{
    Config, Outside,
    open::Open,
    row::AccountRow,
    services::Registry,
    sessions::{Refused, Sessions},
    throttle::Throttle,
};

/// Passwords that are stretched at once: 2 × 64 MiB, and for some 20 ms as much that is being wiped.
const MAX_STRETCHING: usize = 2;
/// Questions that are worked on at once in tasks; those with passwords have their own limit.
const MAX_WORKING: usize = 256;
/// Calls with passwords at once, those that are stretched included.
const MAX_PASSWORDS: usize = MAX_STRETCHING + 32;

pub(crate) struct Inner {
    pub(crate) config: Config,
    pub(crate) store: Store,
    pub(crate) outside: Arc<dyn Outside>,
    /// Where commands are worked on, whatever thread they come from.
    pub(crate) runtime: Handle,
    pub(crate) stretching: Arc<Semaphore>,
    pub(crate) passwords: Arc<Semaphore>,
    pub(crate) working: Arc<Semaphore>,
    /// Told when something that is stored is over sooner than was known.
    pub(crate) expiry: Arc<Notify>,
    /// Held while an account is added.
    pub(crate) adding: tokio::sync::Mutex<()>,
    state: Mutex<State>,
}

/// Everything that changes; locked for microseconds, never across an `.await` or a disk access.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) accounts: HashMap<UserId, Account>,
    pub(crate) sessions: Sessions,
    pub(crate) throttle: Throttle,
    pub(crate) services: Registry,
    /// No session is opened any more.
    pub(crate) is_closed: bool,
}

/// A user of this node.
#[derive(Debug)]
pub(crate) struct Account {
    pub(crate) id: AccountId,
    /// As it is stored.
    pub(crate) row: Arc<AccountRow>,
    /// While a session is alive.
    pub(crate) open: Option<Arc<Open>>,
    /// The last presence that was signed.
    pub(crate) presence: Presented,
    /// Held while the row changes or a password is tried.
    pub(crate) gate: Arc<tokio::sync::Mutex<()>>,
}

/// The number of a presence and when it was signed.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Presented {
    pub(crate) seq: u64,
    pub(crate) issued: UnixMillis,
}

impl Account {
    pub(crate) fn new(id: AccountId, row: AccountRow) -> Self {
        let (row, gate) = (Arc::new(row), Arc::default());
        Self { id, row, open: None, presence: Presented::default(), gate }
    }
}

impl Inner {
    pub(crate) fn new(
        config: Config,
        store: Store,
        snapshot: AccountsSnapshot,
        outside: Arc<dyn Outside>,
    ) -> Self {
        let state = State {
            accounts: restored(snapshot.accounts),
            sessions: Sessions::new(config.idle_timeout, config.session_timeout),
            throttle: Throttle::default(),
            services: Registry::restore(snapshot.services),
            is_closed: false,
        };
        Self {
            config,
            store,
            outside,
            runtime: Handle::current(),
            stretching: Arc::new(Semaphore::new(MAX_STRETCHING)),
            passwords: Arc::new(Semaphore::new(MAX_PASSWORDS)),
            working: Arc::new(Semaphore::new(MAX_WORKING)),
            expiry: Arc::default(),
            adding: tokio::sync::Mutex::default(),
            state: Mutex::new(state),
        }
    }

    /// The state. No book and no space is locked while it is.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The one check of every call on a user's behalf: the token is alive, is of this user, and is
    /// not limited to a service. Counts as use of the session.
    pub(crate) fn check(&self, auth: &Auth) -> Result<Arc<Open>, AuthError> {
        self.check_for(auth, None, UnixMillis::now())
    }

    /// The same for the storage of a service: a session may be limited to that one, and the
    /// service's own token is good while the user is logged in.
    pub(crate) fn check_place(&self, place: &Place) -> Result<Arc<Open>, StorageError> {
        let Place { auth, service } = place;
        let refused = match self.check_for(auth, Some(service), UnixMillis::now()) {
            Ok(open) => return Ok(open),
            Err(refused) => refused,
        };
        let state = self.lock();
        match (&refused, &auth.token) {
            (AuthError::NotAuthorised { .. }, Some(token))
                if state.services.is_token(service, token) =>
            {
                let open = state.accounts.get(&auth.user).and_then(|account| account.open.clone());
                open.ok_or(StorageError::Sealed { user: auth.user })
            }
            _ => Err(refused.into()),
        }
    }

    fn check_for(
        &self,
        auth: &Auth,
        service: Option<&ServiceName>,
        now: UnixMillis,
    ) -> Result<Arc<Open>, AuthError> {
        let user = auth.user;
        let mut state = self.lock();
        if !state.accounts.contains_key(&user) {
            return Err(AuthError::NoSuchUser { user });
        }
        let token = auth.token.as_ref().ok_or(AuthError::NotAuthorised { user })?;
        if let Err(refused) = state.sessions.check(&user, token, service, now) {
            drop(state);
            self.end_sessions(&user, now, |all| all.expire_of(&user, now));
            return Err(refusal(user, refused));
        }
        let open = state.accounts.get(&user).and_then(|account| account.open.clone());
        open.ok_or(AuthError::NotAuthorised { user })
    }

    /// All accounts that are open.
    pub(crate) fn all_open(&self) -> Vec<Arc<Open>> {
        self.lock().accounts.values().filter_map(|account| account.open.clone()).collect()
    }

    /// Ends sessions of a user. If none is left the account is sealed: its presence is taken back,
    /// services are told, and its keys go with the last call that uses them.
    pub(crate) fn end_sessions<T>(
        &self,
        user: &UserId,
        now: UnixMillis,
        end: impl FnOnce(&mut Sessions) -> T,
    ) -> T {
        let mut state = self.lock();
        let ended = end(&mut state.sessions);
        let closed = self.close_unused(&mut state, user, now);
        drop(state);
        if let Some(open) = closed {
            open.close();
        }
        ended
    }

    fn close_unused(&self, state: &mut State, user: &UserId, now: UnixMillis) -> Option<Arc<Open>> {
        if state.sessions.count(user) > 0 {
            return None;
        }
        let account = state.accounts.get_mut(user)?;
        let open = account.open.take()?;
        self.retract(account, &open, now);
        state.services.on_closed(*user);
        Some(open)
    }
}

pub(crate) fn refusal(user: UserId, refused: Refused) -> AuthError {
    match refused {
        Refused::Unknown => AuthError::NotAuthorised { user },
        Refused::Expired => AuthError::SessionExpired { user },
    }
}

fn restored(rows: Vec<(AccountId, bytes::Bytes)>) -> HashMap<UserId, Account> {
    let mut accounts = HashMap::new();
    for (id, bytes) in rows {
        match AccountRow::decode(&bytes) {
            Ok(row) => _ = accounts.entry(row.user).or_insert(Account::new(id, row)),
            Err(what) => {
                tracing::warn!(account = ?id, "its row {what}; it is passed over and kept")
            }
        }
    }
    accounts
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Who waits for what is over ends as well.
        self.expiry.notify_one();
    }
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("accounts::Inner").finish_non_exhaustive()
    }
}
