//! Removing users.

use std::sync::Arc;

use peerage_api::users::{Delete, UsersError};
use peerage_store::AccountChange;
use peerage_types::UnixMillis;

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
    inner.save(vec![AccountChange::Forget(held.id)]).await?;
    inner.outside.release(&user);
    let mut state = inner.lock();
    state.accounts.remove(&user);
    state.throttle.clear(&user);
    Ok(())
}
