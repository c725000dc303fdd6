//! Transfers and shares of files as rows, and how much of a transfer is on disk.

use bytes::Bytes;
use peerage_types::TransferId;
use redb::{ReadTransaction, ReadableTable};

use crate::{Pending, Store, StoreError, tables};

/// What a row is about; the first byte of its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RowKind {
    /// A transfer.
    Transfer,
    /// A share.
    Share,
    /// The pieces of a transfer that are on disk for certain.
    Pieces,
}

impl RowKind {
    /// Never changes.
    fn byte(self) -> u8 {
        match self {
            Self::Transfer => 1,
            Self::Share => 2,
            Self::Pieces => 3,
        }
    }
}

/// Everything at one moment, in the order of the ids.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TransfersSnapshot {
    /// What was put for each transfer.
    pub transfers: Vec<(TransferId, Bytes)>,
    /// What was put for each share.
    pub shares: Vec<(TransferId, Bytes)>,
}

/// The rows of transfers and shares. Values are opaque here; `protocols/files` encodes them and
/// bounds how many there are.
#[derive(Clone, Debug)]
pub struct Transfers {
    store: Store,
}

impl Transfers {
    pub(crate) fn new(store: Store) -> Self {
        Self { store }
    }

    /// All transfers and shares, on this thread, for start-up before there is a runtime.
    ///
    /// # Errors
    /// [`StoreError::Closed`]; otherwise the disk failed.
    pub fn load_blocking(&self) -> Result<TransfersSnapshot, StoreError> {
        self.store.read_blocking(|txn| {
            let transfers = load(txn, RowKind::Transfer)?;
            Ok(TransfersSnapshot { transfers, shares: load(txn, RowKind::Share)? })
        })
    }

    /// The row of one thing, on this thread: for blocking workers.
    ///
    /// # Errors
    /// As [`Transfers::load_blocking`].
    pub fn get_blocking(&self, kind: RowKind, id: TransferId) -> Result<Option<Bytes>, StoreError> {
        let key = tables::transfer_key(kind.byte(), id);
        self.store.read_blocking(move |txn| tables::get(txn, tables::TRANSFERS, &key))
    }

    /// Sets a row.
    pub fn put(&self, kind: RowKind, id: TransferId, row: Bytes) -> Pending {
        let key = tables::transfer_key(kind.byte(), id);
        self.store.write(key.len() + row.len(), move |txn| {
            txn.open_table(tables::TRANSFERS)?.insert(&key[..], &*row)?;
            Ok(())
        })
    }

    /// Removes rows, all or none; none there is fine.
    pub fn remove(&self, rows: Vec<(RowKind, TransferId)>) -> Pending {
        let keys: Vec<_> =
            rows.into_iter().map(|(kind, id)| tables::transfer_key(kind.byte(), id)).collect();
        self.store.write(keys.iter().map(|key| key.len()).sum(), move |txn| {
            let mut table = txn.open_table(tables::TRANSFERS)?;
            for key in &keys {
                table.remove(&key[..])?;
            }
            Ok(())
        })
    }
}

fn load(txn: &ReadTransaction, kind: RowKind) -> Result<Vec<(TransferId, Bytes)>, StoreError> {
    let (first, end) = ([kind.byte()], [kind.byte() + 1]);
    let table = txn.open_table(tables::TRANSFERS)?;
    let mut rows = Vec::new();
    for row in ReadableTable::range::<&[u8]>(&table, &first[..]..&end[..])? {
        let (key, value) = row?;
        if let Some(id) = key.value().get(1..).and_then(|id| id.try_into().ok()) {
            rows.push((TransferId(id), Bytes::copy_from_slice(value.value())));
        }
    }
    Ok(rows)
}
