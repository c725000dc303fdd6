//! New keys for old ones, and the end of keys.

use std::sync::Arc;

use peerage_api::users::{Event, RevokeKey, Rotate, Rotated, UsersError};
use peerage_store::AccountChange;
use peerage_types::{RecoveryCode, UnixMillis, UserId};
use peerage_wire::identity::{Bundle, Profile, RecordError, Signed, SigningKey, Succession};

use super::{
    create::{commitment, new_recovery},
    password::{Held, Unlocked},
    profile::sign,
};
use crate::{
    inner::{Account, Inner, Presented},
    keys::{new_signing_key, seal_signing, user_of},
    open::Open,
    row::{AccountRow, Fate, Predecessor},
};

pub(super) async fn rotate(inner: Arc<Inner>, request: Rotate) -> Result<Rotated, UsersError> {
    let Rotate { auth, password, recovery } = request;
    inner.check(&auth)?;
    let Unlocked { held, master, .. } = inner.unlock(auth.user, password).await?;
    inner.check(&auth)?;
    inner.check_fate(&held.row)?;
    let newest = inner.newest(&held.row);
    let signing = new_signing_key();
    let now = UnixMillis::now();
    let before =
        succeeded(&newest, &recovery, |key| Succession::moved(auth.user, &signing, key, now))?;
    let (recovery, recovery_key) = new_recovery();
    let user = user_of(&signing);
    let commitment = commitment(&recovery_key);
    let profile =
        Profile { user, seq: 1, recovery: commitment, updated: now, ..newest.record().clone() };
    let mut row = AccountRow {
        user,
        seed: seal_signing(&master, held.id, &signing),
        profile: sign(profile, &signing)?,
        ..held.row.as_ref().clone()
    };
    row.push_predecessor(before);
    inner.save_moved(&held, row, signing).await?;
    Ok(Rotated { previous: auth.user, user, recovery })
}

pub(super) async fn revoke_key(inner: Arc<Inner>, request: RevokeKey) -> Result<(), UsersError> {
    let RevokeKey { user, recovery } = request;
    // If it lives here, it must not move at the same time.
    let held = inner.hold(user).await.ok();
    let fate = match &held {
        Some(held) => inner.fate(&held.row),
        None => inner.outside.fate(&user).map(Fate::from),
    };
    if let Some(fate) = fate {
        return Err(UsersError::Revoked { user, successor: fate.successor() });
    }
    let profile = match &held {
        Some(held) => Some(inner.newest(&held.row)),
        None => inner.outside.profile(&user),
    };
    let profile = profile.ok_or(UsersError::Unknown { user })?;
    let now = UnixMillis::now();
    let revoked = succeeded(&profile, &recovery, |key| Succession::revoked(user, key, now))?;
    // Told before it is kept: what matters is that the key is no longer believed.
    inner.outside.publish(revoked.bundle());
    if let Some(held) = held {
        inner.mark(&held, Fate::Revoked).await;
    }
    Ok(())
}

/// What a recovery code states of the user of a profile.
fn succeeded(
    profile: &Signed<Profile>,
    recovery: &RecoveryCode,
    state: impl FnOnce(&SigningKey) -> Succession,
) -> Result<Predecessor, UsersError> {
    let key = SigningKey::from_bytes(recovery.expose());
    let wrong = |_| UsersError::WrongRecovery { user: profile.user };
    let succession = state(&key);
    succession.check_commitment(&profile.recovery).map_err(wrong)?;
    let refused = |error: RecordError| UsersError::BadRecord { reason: error.to_string() };
    let succession = Signed::sign(succession, &key).map_err(refused)?;
    Ok(Predecessor { profile: profile.clone(), succession })
}

impl Predecessor {
    /// What proves the move to everybody.
    pub(super) fn bundle(&self) -> Bundle {
        let (profile, succession) = (self.profile.clone(), self.succession.clone());
        Bundle { profile: Some(profile), succession: Some(succession), ..Bundle::default() }
    }
}

impl Inner {
    /// Saves an account under its new key. Sessions go on under that.
    async fn save_moved(
        &self,
        held: &Held,
        row: AccountRow,
        signing: SigningKey,
    ) -> Result<(), UsersError> {
        let change = AccountChange::Account(held.id, Some(row.encode()));
        self.save(vec![change]).await?;
        let told = row.predecessors.last().map(Predecessor::bundle);
        told.into_iter().for_each(|bundle| self.outside.publish(bundle));
        let profile = Some(row.profile.clone());
        self.outside.publish(Bundle { profile, ..Bundle::default() });
        let user = row.user;
        if let Some(open) = self.relabel(&held.row.user, row, signing) {
            open.book().set_user(user);
        }
        Ok(())
    }

    fn relabel(&self, from: &UserId, row: AccountRow, signing: SigningKey) -> Option<Arc<Open>> {
        let mut state = self.lock();
        let state = &mut *state;
        let mut account = state.accounts.remove(from)?;
        let to = row.user;
        account.row = Arc::new(row);
        account.presence = Presented::default();
        state.sessions.relabel(from, to);
        state.throttle.clear(from);
        // Its last session may have ended meanwhile.
        if let Some(open) = account.open.take() {
            let open = Arc::new(open.moved(signing));
            self.present(&mut account, &open, UnixMillis::now());
            account.open = Some(open);
            state.services.on_moved(*from, to);
        }
        let open = account.open.clone();
        state.accounts.insert(to, account);
        open
    }

    /// Keeps in mind that the key of a user of this node is no longer valid.
    async fn mark(&self, held: &Held, fate: Fate) {
        if held.row.fate.is_some() {
            return;
        }
        let row = AccountRow { fate: Some(fate), ..held.row.as_ref().clone() };
        if let Err(error) = self.save_row(held, row).await {
            let user = held.row.user;
            tracing::warn!(%user, %error, "that the key of a user was revoked is not saved");
        }
    }

    /// Takes note when the key of a user of this node was revoked, or moved elsewhere.
    pub(crate) fn note_fate(self: &Arc<Self>, event: &Event) {
        let Event::Revoked { user, successor } = event else { return };
        let is_news = |account: &Account| account.row.fate.is_none();
        if !self.lock().accounts.get(user).is_some_and(is_news) {
            return;
        }
        let (inner, user, fate) = (Arc::clone(self), *user, Fate::from(*successor));
        self.runtime.spawn(async move {
            if let Ok(held) = inner.hold(user).await {
                inner.mark(&held, fate).await;
            }
        });
    }
}
