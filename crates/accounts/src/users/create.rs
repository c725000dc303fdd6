//! Making users.

use std::sync::Arc;

use peerage_api::users::{Create, Created, MAX_LOCAL_USERS, UsersError};
use peerage_store::{AccountChange, AccountId, SealKey};
use peerage_types::{Handle, RecoveryCode, UnixMillis, UserId};
use peerage_wire::identity::{Bundle, Profile, Signed, SigningKey, recovery_commitment};

use crate::{
    inner::{Account, Inner, State},
    keys::{Lock, new_signing_key, seal_signing, user_of},
    row::AccountRow,
};

/// A new recovery code and the key that it stands for.
pub(super) fn new_recovery() -> (RecoveryCode, SigningKey) {
    let key = new_signing_key();
    (RecoveryCode::new(key.to_bytes()), key)
}

/// What a profile says of a recovery key.
pub(super) fn commitment(recovery: &SigningKey) -> peerage_types::ContentHash {
    recovery_commitment(recovery.verifying_key().as_bytes())
}

pub(super) async fn create(inner: Arc<Inner>, request: Create) -> Result<Created, UsersError> {
    let Create { password, handle } = request;
    check_room(&inner.lock())?;
    let permit = inner.admit()?;
    let (id, master, signing) = (AccountId(rand::random()), SealKey::random(), new_signing_key());
    let (cost, locked) = (inner.cost(), master.clone());
    let lock = inner.stretch(&permit, move || Lock::new(cost, &password, id, &locked)).await?;
    let now = UnixMillis::now();
    let (recovery, recovery_key) = new_recovery();
    let profile = first_profile(&signing, handle, &recovery_key, now)?;
    let row = AccountRow {
        user: profile.user,
        created: now,
        lock,
        seed: seal_signing(&master, id, &signing),
        profile,
        deleted: false,
        fate: None,
        predecessors: Vec::new(),
    };
    inner.add(id, row, Vec::new()).await?;
    let open = inner.unseal(id, signing, master).await?;
    Ok(Created { session: inner.begin(open, None)?, recovery })
}

fn first_profile(
    signing: &SigningKey,
    handle: Option<Handle>,
    recovery: &SigningKey,
    now: UnixMillis,
) -> Result<Signed<Profile>, UsersError> {
    let profile = Profile {
        user: user_of(signing),
        seq: 1,
        handle,
        display_name: None,
        bio: <_>::default(),
        avatar: None,
        services: <_>::default(),
        mailboxes: <_>::default(),
        recovery: commitment(recovery),
        updated: now,
    };
    super::profile::sign(profile, signing)
}

fn check_room(state: &State) -> Result<(), UsersError> {
    if state.accounts.len() < MAX_LOCAL_USERS {
        return Ok(());
    }
    Err(UsersError::TooMany { what: "users on this node".into(), max: MAX_LOCAL_USERS as u64 })
}

impl Inner {
    /// Adds an account with what it has sealed, all or nothing, and tells its profile. One that
    /// was deleted and kept is replaced.
    pub(super) async fn add(
        &self,
        id: AccountId,
        row: AccountRow,
        sealed: Vec<AccountChange>,
    ) -> Result<(), UsersError> {
        let _adding = self.adding.lock().await;
        let user = row.user;
        // Nothing that is still under way may write to what is replaced.
        let kept = self.hold(user).await.ok();
        check_free(&self.lock(), id, &user)?;
        let forget = kept.as_ref().map(|kept| AccountChange::Forget(kept.id));
        let account = AccountChange::Account(id, Some(row.encode()));
        self.save(forget.into_iter().chain([account]).chain(sealed).collect()).await?;
        let profile = Some(row.profile.clone());
        self.lock().accounts.insert(user, Account::new(id, row));
        self.outside.publish(Bundle { profile, ..Bundle::default() });
        Ok(())
    }

    /// Writes to the disk, all or nothing.
    pub(super) async fn save(&self, changes: Vec<AccountChange>) -> Result<(), UsersError> {
        let saved = self.store.accounts().apply(changes).await;
        saved.map_err(|error| UsersError::Store { reason: error.to_string() })
    }
}

fn check_free(state: &State, id: AccountId, user: &UserId) -> Result<(), UsersError> {
    let here = |user: &UserId| Err(UsersError::AlreadyHere { user: *user });
    let same = state.accounts.values().find(|account| account.id == id);
    match (state.accounts.get(user), same) {
        (Some(account), _) if !account.row.deleted => here(user),
        (_, Some(account)) if account.row.user != *user => here(&account.row.user),
        (Some(_), _) => Ok(()),
        (None, _) => check_room(state),
    }
}
