//! Trying and changing passwords: few at once, one at a time for each user, throttled.

use std::sync::Arc;

use peerage_api::{
    LinkError,
    users::{AuthError, ChangePassword, UsersError},
};
use peerage_store::{AccountChange, AccountId, SealKey};
use peerage_types::{Password, UnixMillis, UserId};
use tokio::sync::{OwnedMutexGuard, OwnedSemaphorePermit};

use crate::{
    inner::{Inner, State},
    keys::{Cost, Lock, LockError},
    row::AccountRow,
};

/// An account whose row nobody else changes while this is held.
pub(super) struct Held {
    pub(super) id: AccountId,
    pub(super) row: Arc<AccountRow>,
    _gate: OwnedMutexGuard<()>,
}

/// An account whose password was right.
pub(super) struct Unlocked {
    pub(super) held: Held,
    pub(super) master: SealKey,
    /// For more work with passwords.
    pub(super) permit: OwnedSemaphorePermit,
}

impl Inner {
    /// Room for one call with a password.
    pub(super) fn admit(&self) -> Result<OwnedSemaphorePermit, UsersError> {
        Arc::clone(&self.passwords).try_acquire_owned().map_err(|_| UsersError::Busy {})
    }

    /// Runs work that stretches passwords on the blocking pool, in turn.
    pub(super) async fn stretch<T: Send + 'static>(
        &self,
        _admitted: &OwnedSemaphorePermit,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, UsersError> {
        let permit = Arc::clone(&self.stretching).acquire_owned().await;
        let permit = permit.map_err(|_| LinkError::Stopped)?;
        let work = move || {
            let _permit = permit;
            work()
        };
        // Fails when the runtime shuts down before the work began.
        Ok(tokio::task::spawn_blocking(work).await.map_err(|_| LinkError::Stopped)?)
    }

    pub(super) fn cost(&self) -> Cost {
        Cost::of(&self.config)
    }

    /// Waits until nobody else changes the account.
    pub(super) async fn hold(&self, user: UserId) -> Result<Held, AuthError> {
        let gone = AuthError::NoSuchUser { user };
        let gate = self.lock().accounts.get(&user).map(|account| Arc::clone(&account.gate));
        let Some(gate) = gate else { return Err(gone) };
        let held = Arc::clone(&gate).lock_owned().await;
        let state = self.lock();
        // It may have been removed, and another one made, while this waited.
        let account = state.accounts.get(&user).filter(|now| Arc::ptr_eq(&now.gate, &gate));
        let account = account.ok_or(gone)?;
        Ok(Held { id: account.id, row: Arc::clone(&account.row), _gate: held })
    }

    /// Tries a password.
    pub(super) async fn unlock(
        &self,
        user: UserId,
        password: Password,
    ) -> Result<Unlocked, UsersError> {
        check_throttle(&self.lock(), &user)?;
        let permit = self.admit()?;
        let held = self.hold(user).await?;
        // Attempts that came before this one may have been wrong.
        check_throttle(&self.lock(), &user)?;
        let (id, row) = (held.id, Arc::clone(&held.row));
        let opened = self.stretch(&permit, move || row.lock.open(&password, id)).await?;
        let throttle = &mut self.lock().throttle;
        match opened {
            Ok(master) => {
                throttle.clear(&user);
                Ok(Unlocked { held, master, permit })
            }
            Err(LockError::WrongPassword) => {
                throttle.on_failure(user, UnixMillis::now());
                Err(UsersError::WrongPassword {})
            }
            Err(LockError::Damaged) => {
                throttle.clear(&user);
                Err(UsersError::Damaged { user, what: "the master key".into() })
            }
        }
    }

    /// Replaces the row of an account: first on the disk, then here.
    pub(super) async fn save_row(&self, held: &Held, row: AccountRow) -> Result<(), UsersError> {
        let change = AccountChange::Account(held.id, Some(row.encode()));
        self.save(vec![change]).await?;
        if let Some(account) = self.lock().accounts.get_mut(&held.row.user) {
            account.row = Arc::new(row);
        }
        Ok(())
    }
}

fn check_throttle(state: &State, user: &UserId) -> Result<(), UsersError> {
    if !state.accounts.contains_key(user) {
        return Err(AuthError::NoSuchUser { user: *user }.into());
    }
    let Some(wait) = state.throttle.wait(user, UnixMillis::now()) else { return Ok(()) };
    let retry_after_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
    Err(UsersError::Throttled { retry_after_ms })
}

pub(super) async fn change(inner: Arc<Inner>, request: ChangePassword) -> Result<(), UsersError> {
    let ChangePassword { auth, old, new } = request;
    inner.check(&auth)?;
    let Unlocked { held, master, permit } = inner.unlock(auth.user, old).await?;
    inner.check(&auth)?;
    let (cost, id) = (inner.cost(), held.id);
    let lock = inner.stretch(&permit, move || Lock::new(cost, &new, id, &master)).await?;
    let row = AccountRow { lock, ..held.row.as_ref().clone() };
    inner.save_row(&held, row).await
}
