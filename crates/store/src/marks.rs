//! Small blobs with a name.

use bytes::Bytes;

use crate::{Pending, Store, StoreError, tables};

/// Longest name: 255 bytes of UTF-8.
pub const MAX_MARK_NAME_BYTES: usize = 255;

/// Largest value: 1 MiB. A routing table of 2,000 peers with 5 addresses each takes 0.5 MB.
pub const MAX_MARK_BYTES: usize = 1 << 20;

/// Blobs by name: routing tables, high marks, the record of the last clean stop.
#[derive(Clone, Debug)]
pub struct Marks {
    store: Store,
}

impl Marks {
    pub(crate) fn new(store: Store) -> Self {
        Self { store }
    }

    /// The value under `name`, if there is one. Sees every write whose [`Pending`] resolved.
    ///
    /// # Errors
    /// [`StoreError::Reopening`] try again; [`StoreError::Closed`]; otherwise the disk failed.
    ///
    /// # Cancel safety
    /// Reads only.
    pub async fn get(&self, name: &str) -> Result<Option<Bytes>, StoreError> {
        let name = name.to_owned();
        self.store.read(move |txn| tables::get(txn, tables::MARKS, name.as_bytes())).await
    }

    /// [`Marks::get`] on this thread, for start-up before there is a runtime.
    ///
    /// # Errors
    /// As [`Marks::get`].
    pub fn get_blocking(&self, name: &str) -> Result<Option<Bytes>, StoreError> {
        self.store.read_blocking(|txn| tables::get(txn, tables::MARKS, name.as_bytes()))
    }

    /// Sets the value under `name` (1 to [`MAX_MARK_NAME_BYTES`] bytes), at most
    /// [`MAX_MARK_BYTES`] bytes.
    ///
    /// Resolves to [`StoreError::TooLarge`] when one of them is longer.
    pub fn put(&self, name: &str, value: Bytes) -> Pending {
        let limits = [
            ("the name", name.len(), MAX_MARK_NAME_BYTES),
            ("the value", value.len(), MAX_MARK_BYTES),
        ];
        for (what, size, max) in limits {
            if size > max {
                return Pending::refuse(StoreError::TooLarge { what, size, max });
            }
        }
        let name = name.to_owned();
        self.store.write(name.len() + value.len(), move |txn| {
            txn.open_table(tables::MARKS)?.insert(name.as_bytes(), &*value)?;
            Ok(())
        })
    }

    /// Removes the value under `name`; none there is fine.
    pub fn remove(&self, name: &str) -> Pending {
        let name = name.to_owned();
        self.store.write(name.len(), move |txn| {
            txn.open_table(tables::MARKS)?.remove(name.as_bytes())?;
            Ok(())
        })
    }
}
