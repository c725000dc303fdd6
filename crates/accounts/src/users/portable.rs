//! Users on their way from node to node.

use std::sync::Arc;

use bytes::Bytes;
use peerage_api::{
    LinkError,
    users::{AuthError, Export, Import, LocalUser, UsersError},
};
use peerage_store::{AccountChange, AccountId, SealedKey, SealedKind, Store};
use peerage_types::{Payload, UnixMillis};

use super::password::Unlocked;
use crate::{
    archive::{Archive, ArchiveError, MAX_ROWS_BYTES, ROW_OVERHEAD, SealedArchive},
    inner::Inner,
    keys::{Lock, open_signing, seal_signing},
    row::AccountRow,
};

pub(super) async fn export(inner: Arc<Inner>, request: Export) -> Result<Payload, UsersError> {
    let Export { user, password, archive_password } = request;
    let Unlocked { held, master, permit } = inner.unlock(user, password).await?;
    let signing = open_signing(&master, held.id, &user, &held.row.seed);
    let signing =
        signing.ok_or_else(|| UsersError::Damaged { user, what: "the private key".into() })?;
    let (store, id) = (inner.store.clone(), held.id);
    let rows = tokio::task::spawn_blocking(move || sealed_rows(&store, id));
    let archive = Archive {
        account: held.id,
        profile: inner.newest(&held.row),
        predecessors: held.row.predecessors.clone(),
        rows: rows.await.map_err(|_| LinkError::Stopped)??,
        signing,
        master,
    };
    let cost = inner.cost();
    let sealed = inner.stretch(&permit, move || archive.seal(cost, &archive_password)).await?;
    Ok(Payload::from(sealed))
}

/// Everything that an account has sealed, if it fits an archive. Blocks.
fn sealed_rows(store: &Store, id: AccountId) -> Result<Vec<(SealedKey, Bytes)>, UsersError> {
    let (mut all, mut left) = (Vec::new(), MAX_ROWS_BYTES);
    for kind in [SealedKind::Contact, SealedKind::Storage] {
        let rows = store.accounts().sealed_kind_blocking(id, kind, left);
        let rows = rows.map_err(|error| UsersError::Store { reason: error.to_string() })?;
        let rows = rows.ok_or_else(too_large)?;
        // A row takes more in an archive than in the store, which has counted it already.
        let bytes: usize = rows.iter().map(|(_, row)| ROW_OVERHEAD + row.len()).sum();
        left = left.checked_sub(bytes).ok_or_else(too_large)?;
        all.extend(rows);
    }
    Ok(all)
}

fn too_large() -> UsersError {
    let what = "bytes of contacts and storage for one archive".into();
    UsersError::TooMany { what, max: MAX_ROWS_BYTES as u64 }
}

pub(super) async fn import(inner: Arc<Inner>, request: Import) -> Result<LocalUser, UsersError> {
    let Import { archive, archive_password, password } = request;
    let sealed = SealedArchive::parse(archive.0).map_err(refused)?;
    let permit = inner.admit()?;
    let cost = inner.cost();
    let opened = inner.stretch(&permit, move || {
        let archive = sealed.open(&archive_password)?;
        let lock = Lock::new(cost, &password, archive.account, &archive.master);
        Ok((archive, lock))
    });
    let (archive, lock) = opened.await?.map_err(refused)?;
    let user = archive.profile.user;
    if let Some(successor) = inner.outside.fate(&user) {
        return Err(UsersError::Revoked { user, successor });
    }
    let row = AccountRow {
        user,
        created: UnixMillis::now(),
        lock,
        seed: seal_signing(&archive.master, archive.account, &archive.signing),
        profile: archive.profile,
        deleted: false,
        fate: None,
        predecessors: archive.predecessors,
    };
    let put = |(key, row)| AccountChange::Sealed(key, Some(row));
    let sealed = archive.rows.into_iter().map(put).collect();
    inner.add(archive.account, row, sealed).await?;
    let row = inner.lock().accounts.get(&user).map(|account| Arc::clone(&account.row));
    let row = row.ok_or(AuthError::NoSuchUser { user })?;
    Ok(inner.local_user(&row, 0))
}

fn refused(error: ArchiveError) -> UsersError {
    match error {
        ArchiveError::WrongPassword => UsersError::WrongArchivePassword {},
        ArchiveError::Bad(reason) => UsersError::BadArchive { reason: reason.into() },
    }
}
