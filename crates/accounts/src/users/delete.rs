//! Removing users.

use std::sync::Arc;

use peerage_api::users::{Delete, Forget, UsersError};
use peerage_store::AccountChange;
use peerage_types::UnixMillis;

use super::password::Held;
use crate::{inner::Inner, row::AccountRow};

pub(super) async fn delete(inner: Arc<Inner>, request: Delete) -> Result<(), UsersError> {
    let Delete { auth, password, keep } = request;
    inner.check(&auth)?;
    let held = inner.unlock(auth.user, password).await?.held;
    inner.check(&auth)?;
    let user = auth.user;
    let end = || inner.end_sessions(&user, UnixMillis::now(), |all| all.end_all(&user, None));
    if keep {
        let row = AccountRow { deleted: true, ..held.row.as_ref().clone() };
        inner.save_row(&held, row).await?;
        end();
        inner.outside.release(&user);
        return Ok(());
    }
    // First, so that no session writes behind what is forgotten.
    end();
    inner.remove(&held).await
}

pub(super) async fn forget(inner: Arc<Inner>, request: Forget) -> Result<(), UsersError> {
    let Forget { user, password } = request;
    let held = inner.unlock(user, password).await?.held;
    match held.row.deleted {
        true => inner.remove(&held).await,
        false => Err(UsersError::NotDeleted { user }),
    }
}

impl Inner {
    /// Forgets an account of which no session is alive.
    async fn remove(&self, held: &Held) -> Result<(), UsersError> {
        let user = held.row.user;
        self.save(vec![AccountChange::Forget(held.id)]).await?;
        self.outside.release(&user);
        let mut state = self.lock();
        state.accounts.remove(&user);
        state.throttle.clear(&user);
        Ok(())
    }
}
