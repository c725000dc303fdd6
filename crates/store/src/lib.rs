//! The one redb file of a node and the one thread that writes it.
//!
//! Sits between the types and the protocol crates: it knows tables of bytes, not what they mean.
//! Writes go through a bounded queue to the store's own thread, which commits them in batches;
//! reads are snapshots taken on the blocking pool. redb is used by this crate alone and not called
//! from async code, but for [`Kv::peek`].
//!
//! Invariant: a write whose [`Pending`] resolved to `Ok` is on disk and survives `kill -9` and a
//! power cut (as far as the disk honours `fsync`); a write that failed says so.
//!
//! | to … | edit |
//! |---|---|
//! | persist something new | `tables.rs`, a `<noun>.rs` like `book.rs`, the version in `schema.rs` |
//! | change when batches are committed | `queue.rs` |
//! | change what survives damage | `open.rs` |
//!
//! ```
//! # tokio::runtime::Builder::new_multi_thread().build().unwrap().block_on(async {
//! use bytes::Bytes;
//! use peerage_store::Store;
//!
//! let store = Store::in_memory();
//! store.marks().put("high", Bytes::from_static(b"42")).await?;
//! assert_eq!(store.marks().get("high").await?.as_deref(), Some(&b"42"[..]));
//! store.close().await?;
//! # Ok::<(), peerage_store::StoreError>(())
//! # }).unwrap();
//! ```

mod accounts;
mod book;
mod database;
mod error;
mod handle;
mod job;
mod known;
mod kv;
mod latest;
mod lock;
mod marks;
mod medium;
mod open;
mod queue;
mod schema;
mod seal;
mod shrink;
mod simulated;
mod tables;
#[cfg(test)]
mod tests;
mod transfers;
mod writer;

pub use accounts::{AccountChange, AccountId, Accounts, AccountsSnapshot, SealedKey, SealedKind};
pub use book::{Book, BookSnapshot, List};
pub use error::StoreError;
pub use handle::{Store, StoreStats, Usage};
pub use job::Pending;
pub use known::Known;
pub use kv::{KeyRange, Kv, KvRead, KvSnapshot, KvTable, KvTxn, Visit};
pub use lock::{DirLock, LockError};
pub use marks::{MAX_MARK_BYTES, MAX_MARK_NAME_BYTES, Marks};
pub use open::{KeptAside, OpenError, Opened, kept_aside};
pub use queue::{BATCH_DELAY, MAX_BATCH, MAX_QUEUED, MAX_QUEUED_BYTES};
pub use seal::{SEAL_OVERHEAD, SealError, SealKey};
pub use simulated::Power;
pub use transfers::{RowKind, Transfers, TransfersSnapshot};
