//! Accounts and services of this node as rows, and what accounts keep sealed.

use bytes::Bytes;
use redb::{ReadTransaction, ReadableTable, WriteTransaction};

use crate::{Pending, Store, StoreError, tables};

/// Names an account of this node in the store; random, so that rows do not tell whose they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountId(pub [u8; 16]);

/// What kind of sealed row it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SealedKind {
    /// An entry of the contact book.
    Contact,
    /// An entry of a service's storage.
    Storage,
}

impl SealedKind {
    /// Never changes.
    fn byte(self) -> u8 {
        match self {
            Self::Contact => 1,
            Self::Storage => 2,
        }
    }
}

/// Where a sealed row is. `place` and `name` are keyed hashes, which tell nothing; a name may begin
/// with what keeps rows together that are written together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SealedKey {
    /// Whose.
    pub account: AccountId,
    /// Of what kind.
    pub kind: SealedKind,
    /// Groups rows that are read together, such as those of one service.
    pub place: [u8; 16],
    /// Of the row.
    pub name: [u8; 16],
}

impl SealedKey {
    /// The key in the table, 49 bytes; also what a row is bound to when it is sealed.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; 49] {
        tables::sealed_key(self.account.0, self.kind.byte(), self.place, self.name)
    }
}

/// A row that is set or, without a value, removed.
#[derive(Clone, Debug)]
pub enum AccountChange {
    /// An account.
    Account(AccountId, Option<Bytes>),
    /// A service, by its name of up to 64 bytes.
    Service(String, Option<Bytes>),
    /// Something sealed.
    Sealed(SealedKey, Option<Bytes>),
    /// An account with all that it has sealed is removed.
    Forget(AccountId),
}

/// Everything that is not sealed, at one moment, in the order of the keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccountsSnapshot {
    /// What was put for each account.
    pub accounts: Vec<(AccountId, Bytes)>,
    /// What was put for each service.
    pub services: Vec<(String, Bytes)>,
}

/// The rows of accounts and services, opaque here: `accounts` encodes and seals them, and bounds
/// how many there are.
#[derive(Clone, Debug)]
pub struct Accounts {
    store: Store,
}

impl Accounts {
    pub(crate) fn new(store: Store) -> Self {
        Self { store }
    }

    /// All accounts and services, on this thread, for start-up before there is a runtime.
    ///
    /// # Errors
    /// [`StoreError::Closed`]; otherwise the disk failed.
    pub fn load_blocking(&self) -> Result<AccountsSnapshot, StoreError> {
        self.store.read_blocking(load)
    }

    /// Applies changes, all or none.
    pub fn apply(&self, changes: Vec<AccountChange>) -> Pending {
        self.store.write(changes.iter().map(size).sum(), move |txn| {
            let mut tables = Tables { txn, accounts: None, sealed: None };
            changes.iter().try_for_each(|change| tables.apply(change))
        })
    }

    /// The sealed rows of one kind and place, on this thread: for blocking workers.
    ///
    /// # Errors
    /// As [`Accounts::load_blocking`].
    pub fn sealed_blocking(
        &self,
        account: AccountId,
        kind: SealedKind,
        place: [u8; 16],
    ) -> Result<Vec<(SealedKey, Bytes)>, StoreError> {
        self.store.read_blocking(move |txn| {
            let all = tables::sealed_range(account.0, Some((kind.byte(), place)));
            let key_of = |key: &[u8]| SealedKey { account, kind, place, name: tail(key) };
            Ok(scan(txn, &all, usize::MAX, key_of)?.unwrap_or_default())
        })
    }

    /// All sealed rows of one kind of an account, on this thread: for exports. Nothing if their
    /// keys, 49 bytes each, and values are more than `max_bytes`; no more than that is read.
    ///
    /// # Errors
    /// As [`Accounts::load_blocking`].
    pub fn sealed_kind_blocking(
        &self,
        account: AccountId,
        kind: SealedKind,
        max_bytes: usize,
    ) -> Result<Option<Vec<(SealedKey, Bytes)>>, StoreError> {
        self.store.read_blocking(move |txn| {
            let first = tables::sealed_key(account.0, kind.byte(), [0; 16], [0; 16]);
            let last = tables::sealed_key(account.0, kind.byte(), [0xff; 16], [0xff; 16]);
            scan(txn, &(first, last), max_bytes, |key| {
                let mut place = [0; 16];
                place.copy_from_slice(&key[17..33]);
                SealedKey { account, kind, place, name: tail(key) }
            })
        })
    }

    /// One sealed row, on this thread: for blocking workers.
    ///
    /// # Errors
    /// As [`Accounts::load_blocking`].
    pub fn get_blocking(&self, key: &SealedKey) -> Result<Option<Bytes>, StoreError> {
        self.store.read_blocking(|txn| tables::get(txn, tables::SEALED, &key.to_bytes()))
    }

    /// One sealed row, from async code.
    ///
    /// # Errors
    /// As [`Accounts::load_blocking`].
    ///
    /// # Cancel safety
    /// A read that began runs to its end; its result is dropped.
    pub async fn get(&self, key: SealedKey) -> Result<Option<Bytes>, StoreError> {
        self.store.read(move |txn| tables::get(txn, tables::SEALED, &key.to_bytes())).await
    }
}

fn size(change: &AccountChange) -> usize {
    let value = |value: &Option<Bytes>| value.as_ref().map_or(0, Bytes::len);
    match change {
        AccountChange::Account(_, row) => 17 + value(row),
        AccountChange::Service(name, row) => 1 + name.len() + value(row),
        AccountChange::Sealed(_, row) => 49 + value(row),
        AccountChange::Forget(_) => 17,
    }
}

type Rows<'t> = redb::Table<'t, &'static [u8], &'static [u8]>;

/// The tables that changes write, each opened when it is first needed: opening takes as long as
/// some writes, and one call may bring a thousand.
struct Tables<'t> {
    txn: &'t WriteTransaction,
    accounts: Option<Rows<'t>>,
    sealed: Option<Rows<'t>>,
}

impl<'t> Tables<'t> {
    fn accounts(&mut self) -> Result<&mut Rows<'t>, StoreError> {
        opened(self.txn, &mut self.accounts, tables::ACCOUNTS)
    }

    fn sealed(&mut self) -> Result<&mut Rows<'t>, StoreError> {
        opened(self.txn, &mut self.sealed, tables::SEALED)
    }

    fn apply(&mut self, change: &AccountChange) -> Result<(), StoreError> {
        match change {
            AccountChange::Account(id, row) => {
                set(self.accounts()?, &tables::account_key(id.0), row.as_deref())
            }
            AccountChange::Service(name, row) => {
                set(self.accounts()?, &tables::service_key(name), row.as_deref())
            }
            AccountChange::Sealed(key, row) => set(self.sealed()?, &key.to_bytes(), row.as_deref()),
            AccountChange::Forget(id) => self.forget(*id),
        }
    }

    fn forget(&mut self, id: AccountId) -> Result<(), StoreError> {
        set(self.accounts()?, &tables::account_key(id.0), None)?;
        let (first, last) = tables::sealed_range(id.0, None);
        let all = &first[..]..=&last[..];
        self.sealed()?.retain_in::<&[u8], _>(all, |_, _| false).map_err(StoreError::from)
    }
}

fn opened<'a, 't>(
    txn: &'t WriteTransaction,
    slot: &'a mut Option<Rows<'t>>,
    table: tables::Table,
) -> Result<&'a mut Rows<'t>, StoreError> {
    match slot {
        Some(rows) => Ok(rows),
        None => Ok(slot.insert(txn.open_table(table)?)),
    }
}

fn set(rows: &mut Rows<'_>, key: &[u8], row: Option<&[u8]>) -> Result<(), StoreError> {
    match row {
        Some(row) => _ = rows.insert(key, row)?,
        None => _ = rows.remove(key)?,
    }
    Ok(())
}

fn load(txn: &ReadTransaction) -> Result<AccountsSnapshot, StoreError> {
    let table = txn.open_table(tables::ACCOUNTS)?;
    let mut snapshot = AccountsSnapshot::default();
    for row in table.iter()? {
        let (key, value) = row?;
        let value = Bytes::copy_from_slice(value.value());
        match tables::account_of(key.value()) {
            Some(tables::AccountRow::Account(id)) => {
                snapshot.accounts.push((AccountId(id), value));
            }
            Some(tables::AccountRow::Service(name)) => snapshot.services.push((name, value)),
            None => tracing::warn!("an account's row with an unreadable key is passed over"),
        }
    }
    Ok(snapshot)
}

fn scan(
    txn: &ReadTransaction,
    (first, last): &([u8; 49], [u8; 49]),
    max_bytes: usize,
    key_of: impl Fn(&[u8]) -> SealedKey,
) -> Result<Option<Vec<(SealedKey, Bytes)>>, StoreError> {
    let table = txn.open_table(tables::SEALED)?;
    let (mut rows, mut bytes) = (Vec::new(), 0_usize);
    for row in ReadableTable::range::<&[u8]>(&table, &first[..]..=&last[..])? {
        let (key, value) = row?;
        bytes = bytes.saturating_add(key.value().len() + value.value().len());
        if bytes > max_bytes {
            return Ok(None);
        }
        if key.value().len() == first.len() {
            rows.push((key_of(key.value()), Bytes::copy_from_slice(value.value())));
        }
    }
    Ok(Some(rows))
}

fn tail(key: &[u8]) -> [u8; 16] {
    let mut name = [0; 16];
    name.copy_from_slice(&key[33..]);
    name
}
