//! Sessions: opened, listed, ended.

use std::sync::{Arc, Mutex};

use peerage_api::{
    LinkError,
    users::{
        AuthError, Login, Logout, MAX_SESSIONS, Revoke, RevokeAll, Session, SessionSummary,
        Sessions, UsersError,
    },
};
use peerage_store::{AccountId, SealKey};
use peerage_types::{ServiceName, UnixMillis, UserId};
use peerage_wire::identity::SigningKey;

use super::password::{Held, Unlocked};
use crate::{
    contacts::Book,
    inner::{Inner, State, refusal},
    keys::{open_signing, user_of},
    open::Open,
    sessions::{self, TooMany},
    storage::Spaces,
};

pub(super) async fn login(inner: Arc<Inner>, request: Login) -> Result<Session, UsersError> {
    let Login { user, password, service } = request;
    let unlocked = inner.unlock(user, password).await?;
    if unlocked.held.row.deleted {
        return Err(UsersError::Deleted { user });
    }
    if let Some(session) = inner.join(&unlocked.held, service.clone())? {
        return Ok(session);
    }
    let Unlocked { held, master, .. } = unlocked;
    let signing = open_signing(&master, held.id, &user, &held.row.seed);
    let signing =
        signing.ok_or_else(|| UsersError::Damaged { user, what: "the private key".into() })?;
    let open = inner.unseal(held.id, signing, master).await?;
    inner.begin(open, service)
}

impl Inner {
    /// Opens a session of an account that is open.
    fn join(
        &self,
        held: &Held,
        service: Option<ServiceName>,
    ) -> Result<Option<Session>, UsersError> {
        let user = held.row.user;
        let mut state = self.lock();
        match state.accounts.get(&user) {
            Some(account) if account.open.is_some() => state.session(user, service).map(Some),
            _ => Ok(None),
        }
    }

    /// Reads what belongs to an open account.
    pub(super) async fn unseal(
        &self,
        account: AccountId,
        signing: SigningKey,
        master: SealKey,
    ) -> Result<Arc<Open>, UsersError> {
        let (user, store) = (user_of(&signing), self.store.clone());
        let (outside, wake) = (Arc::clone(&self.outside), Arc::clone(&self.expiry));
        let read = move || {
            let book = Book::load(account, user, &master, &store, outside)?;
            let (book, spaces) = (Arc::new(Mutex::new(book)), Spaces::new(account, &master, wake));
            let spaces = Arc::new(spaces);
            Ok(Arc::new(Open { account, user, signing, master, store, book, spaces }))
        };
        let read = tokio::task::spawn_blocking(read).await.map_err(|_| LinkError::Stopped)?;
        read.map_err(|what| UsersError::Damaged { user, what })
    }

    /// Opens a session, the first one unless another call was faster.
    pub(super) fn begin(
        &self,
        open: Arc<Open>,
        service: Option<ServiceName>,
    ) -> Result<Session, UsersError> {
        let user = open.user;
        let mut state = self.lock();
        let state = &mut *state;
        let session = state.session(user, service)?;
        if let Some(account) = state.accounts.get_mut(&user)
            && account.open.is_none()
        {
            self.present(account, &open, UnixMillis::now());
            account.open = Some(open);
            state.services.on_opened(user);
        }
        Ok(session)
    }

    /// Ends the session that asks; one that is limited to a service may do that as well.
    pub(super) fn logout(&self, request: &Logout) -> Result<(), UsersError> {
        let user = request.auth.user;
        if !self.lock().accounts.contains_key(&user) {
            return Err(AuthError::NoSuchUser { user }.into());
        }
        let now = UnixMillis::now();
        let token = request.auth.token.as_ref().ok_or(AuthError::NotAuthorised { user })?;
        let ended = self.end_sessions(&user, now, |all| all.end_token(&user, token, now));
        ended.map_err(|refused| refusal(user, refused).into())
    }

    pub(super) fn sessions(&self, request: &Sessions) -> Result<Vec<SessionSummary>, UsersError> {
        let Sessions { auth } = request;
        self.check(auth)?;
        let now = UnixMillis::now();
        self.end_sessions(&auth.user, now, |all| all.expire_of(&auth.user, now));
        Ok(self.lock().sessions.list(&auth.user, auth.token.as_ref()))
    }

    pub(super) fn revoke(&self, request: &Revoke) -> Result<(), UsersError> {
        let Revoke { auth, session } = request;
        self.check(auth)?;
        let end = |all: &mut sessions::Sessions| all.end_number(&auth.user, *session);
        match self.end_sessions(&auth.user, UnixMillis::now(), end) {
            true => Ok(()),
            false => Err(UsersError::NoSuchSession { session: *session }),
        }
    }

    pub(super) fn revoke_all(&self, request: &RevokeAll) -> Result<u64, UsersError> {
        let RevokeAll { auth, keep_current } = request;
        self.check(auth)?;
        let keep = auth.token.as_ref().filter(|_| *keep_current);
        Ok(self.end_sessions(&auth.user, UnixMillis::now(), |all| all.end_all(&auth.user, keep)))
    }

    /// Ends sessions whose time is over.
    pub(crate) fn expire_sessions(&self, now: UnixMillis) {
        let users = self.lock().sessions.expire(now);
        users.iter().for_each(|user| self.end_sessions(user, now, |_| ()));
    }
}

impl State {
    fn session(
        &mut self,
        user: UserId,
        service: Option<ServiceName>,
    ) -> Result<Session, UsersError> {
        if self.is_closed {
            return Err(LinkError::Stopped.into());
        }
        if !self.accounts.contains_key(&user) {
            return Err(AuthError::NoSuchUser { user }.into());
        }
        let now = UnixMillis::now();
        self.sessions.expire_of(&user, now);
        self.sessions.open(user, service, now).map_err(|TooMany| UsersError::TooMany {
            what: "sessions of this user".into(),
            max: MAX_SESSIONS as u64,
        })
    }
}
