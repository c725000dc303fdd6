//! What is known of users anywhere.

use bytes::Bytes;
use redb::{ReadTransaction, ReadableTable};

use crate::{Pending, Store, StoreError, tables};

/// One row for each known user, opaque here: `protocols/identity` encodes them and bounds how many
/// there are.
#[derive(Clone, Debug)]
pub struct Known {
    store: Store,
}

impl Known {
    pub(crate) fn new(store: Store) -> Self {
        Self { store }
    }

    /// All of them, in the order of the ids.
    ///
    /// # Errors
    /// [`StoreError::Closed`]; otherwise the disk failed.
    ///
    /// # Cancel safety
    /// A read that began runs to its end; its result is dropped.
    pub async fn load(&self) -> Result<Vec<([u8; 32], Bytes)>, StoreError> {
        self.store.read(load).await
    }

    /// Sets rows or, without a value, removes them; all or none.
    pub fn apply(&self, rows: Vec<([u8; 32], Option<Bytes>)>) -> Pending {
        let bytes = rows.iter().map(|(id, row)| id.len() + row.as_ref().map_or(0, Bytes::len));
        self.store.write(bytes.sum(), move |txn| {
            let mut table = txn.open_table(tables::KNOWN)?;
            for (id, row) in &rows {
                match row {
                    Some(row) => _ = table.insert(&id[..], &**row)?,
                    None => _ = table.remove(&id[..])?,
                }
            }
            Ok(())
        })
    }
}

fn load(txn: &ReadTransaction) -> Result<Vec<([u8; 32], Bytes)>, StoreError> {
    let table = txn.open_table(tables::KNOWN)?;
    let mut rows = Vec::new();
    for row in table.iter()? {
        let (key, value) = row?;
        if let Ok(id) = key.value().try_into() {
            rows.push((id, Bytes::copy_from_slice(value.value())));
        }
    }
    Ok(rows)
}
