//! Reads the rows of a space into its index.

use std::collections::HashSet;

use peerage_api::{LinkError, storage::StorageError};
use peerage_store::{SealedKind, Store, StoreError};
use tokio::sync::Semaphore;

use super::{
    index::Index,
    rows::{Keys, Tail, split},
};

/// Spaces that are read at a time. Each holds its sealed rows while it is: 4 × 64 MiB and what
/// sealing adds, 270 MB at worst.
const MAX_LOADS: usize = 4;
static LOADS: Semaphore = Semaphore::const_new(MAX_LOADS);

/// What is known of a space once it was read.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) index: Index,
    /// Of rows that do not open. They stay as they are: what would touch them is refused.
    pub(crate) damaged: HashSet<Tail>,
}

/// Reads a space, on the blocking pool.
///
/// # Errors
/// [`StorageError::Store`] when the disk failed.
pub(crate) async fn load(keys: &Keys, store: &Store) -> Result<Loaded, StorageError> {
    // What was written before, by this session or the one before it, belongs to what is read. A
    // failure of it is known to who asked for it.
    let _ = store.flush().await;
    let _permit = LOADS.acquire().await.map_err(|_| LinkError::Stopped)?;
    let (keys, store) = (keys.clone(), store.clone());
    let work = move || load_blocking(&keys, &store);
    let loaded = tokio::task::spawn_blocking(work).await.map_err(|_| LinkError::Stopped)?;
    loaded.map_err(|error| StorageError::Store { reason: error.to_string() })
}

fn load_blocking(keys: &Keys, store: &Store) -> Result<Loaded, StoreError> {
    let rows =
        store.accounts().sealed_blocking(keys.account(), SealedKind::Storage, keys.place())?;
    let mut loaded = Loaded { index: Index::new(keys.service().clone()), damaged: HashSet::new() };
    for (at, sealed) in rows {
        let (slot, tail) = split(&at);
        match keys.open(&at, &sealed) {
            Some(row) => loaded.index.restore(slot, &row),
            None => _ = loaded.damaged.insert(tail),
        }
    }
    if !loaded.damaged.is_empty() {
        let (service, count) = (keys.service(), loaded.damaged.len());
        tracing::warn!(%service, count, "sealed rows do not open; they are kept as they are");
    }
    Ok(loaded)
}
