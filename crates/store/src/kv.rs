//! The tables of the key-value store. What keys and values mean is known to `protocols/kv`.

use std::{
    cell::OnceCell,
    ops::{Bound, ControlFlow},
    sync::Arc,
};

use redb::{ReadOnlyTable, ReadTransaction, ReadableTable, WriteTransaction};

use crate::{Pending, Store, StoreError, tables, tables::Table};

/// One of the tables. Keys and values are opaque here, in the order of the keys' bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KvTable {
    /// Spaces, grants, authors, replicas and counters.
    Meta,
    /// Live entries by key.
    Entries,
    /// Keys by the sequence number of their changes.
    Feed,
    /// Fingerprints by the hash of the key.
    Leaves,
    /// Counts and sums of ranges of leaves.
    Summaries,
    /// Former versions by key.
    History,
    /// Entries by when their time is over.
    Expiry,
    /// Deleted and expired entries by when that happened.
    Tombstones,
    /// Large values, in parts.
    Values,
}

const COUNT: usize = 9;

impl KvTable {
    const ALL: [Self; COUNT] = [
        Self::Meta,
        Self::Entries,
        Self::Feed,
        Self::Leaves,
        Self::Summaries,
        Self::History,
        Self::Expiry,
        Self::Tombstones,
        Self::Values,
    ];

    fn table(self) -> Table {
        match self {
            Self::Meta => tables::KV_META,
            Self::Entries => tables::KV_ENTRIES,
            Self::Feed => tables::KV_FEED,
            Self::Leaves => tables::KV_LEAVES,
            Self::Summaries => tables::KV_SUMMARIES,
            Self::History => tables::KV_HISTORY,
            Self::Expiry => tables::KV_EXPIRY,
            Self::Tombstones => tables::KV_TOMBSTONES,
            Self::Values => tables::KV_VALUES,
        }
    }
}

/// What a scan calls for each row; it may stop the scan.
pub type Visit<'a> = dyn FnMut(&[u8], &[u8]) -> Result<ControlFlow<()>, StoreError> + 'a;

/// The part of a table that a scan walks over.
pub type KeyRange<'a> = (Bound<&'a [u8]>, Bound<&'a [u8]>);

/// Reading, the same in a snapshot and in a transaction that writes.
pub trait KvRead {
    /// Shows the value of a key, if there is one, to `read`.
    ///
    /// # Errors
    /// What the disk said.
    fn get_with<T>(
        &self,
        table: KvTable,
        key: &[u8],
        read: impl FnOnce(&[u8]) -> T,
    ) -> Result<Option<T>, StoreError>;

    /// Shows the rows of a range to `visit` in the order of their keys, or backwards.
    ///
    /// # Errors
    /// What the disk or `visit` said.
    fn scan(
        &self,
        table: KvTable,
        range: KeyRange<'_>,
        backwards: bool,
        visit: &mut Visit<'_>,
    ) -> Result<(), StoreError>;

    /// The value of a key.
    ///
    /// # Errors
    /// What the disk said.
    fn get(&self, table: KvTable, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.get_with(table, key, <[u8]>::to_vec)
    }
}

/// Everything as it was when it was taken. Holds back the reuse of pages that were freed since, so
/// it should not be held for longer than a session takes. After [`Store::close`] it fails.
pub struct KvSnapshot {
    tables: [Option<ReadTable>; COUNT],
}

type ReadTable = ReadOnlyTable<&'static [u8], &'static [u8]>;

impl KvSnapshot {
    fn open(txn: &ReadTransaction) -> Result<Self, StoreError> {
        Self::open_some(txn, &KvTable::ALL)
    }

    pub(crate) fn open_some(txn: &ReadTransaction, some: &[KvTable]) -> Result<Self, StoreError> {
        let mut tables = [const { None }; COUNT];
        for table in some {
            tables[*table as usize] = Some(txn.open_table(table.table())?);
        }
        Ok(Self { tables })
    }

    fn table(&self, table: KvTable) -> Result<&ReadTable, StoreError> {
        let open = self.tables[table as usize].as_ref();
        open.ok_or_else(|| StoreError::defect("a table that was not asked for"))
    }
}

impl KvRead for KvSnapshot {
    fn get_with<T>(
        &self,
        table: KvTable,
        key: &[u8],
        read: impl FnOnce(&[u8]) -> T,
    ) -> Result<Option<T>, StoreError> {
        let value = self.table(table)?.get(key)?;
        Ok(value.map(|value| read(value.value())))
    }

    fn scan(
        &self,
        table: KvTable,
        range: KeyRange<'_>,
        backwards: bool,
        visit: &mut Visit<'_>,
    ) -> Result<(), StoreError> {
        walk(self.table(table)?, range, backwards, visit)
    }
}

/// A transaction that writes; committed, durably, if what runs in it succeeds.
pub struct KvTxn<'t> {
    txn: &'t WriteTransaction,
    /// Opened when they are first used: most writes need half of them.
    tables: [OnceCell<WriteTable<'t>>; COUNT],
}

type WriteTable<'t> = redb::Table<'t, &'static [u8], &'static [u8]>;

impl<'t> KvTxn<'t> {
    fn new(txn: &'t WriteTransaction) -> Self {
        Self { txn, tables: Default::default() }
    }

    fn table(&self, table: KvTable) -> Result<&WriteTable<'t>, StoreError> {
        let cell = &self.tables[table as usize];
        if let Some(open) = cell.get() {
            return Ok(open);
        }
        let opened = self.txn.open_table(table.table())?;
        Ok(cell.get_or_init(|| opened))
    }

    fn table_mut(&mut self, table: KvTable) -> Result<&mut WriteTable<'t>, StoreError> {
        self.table(table)?;
        self.tables[table as usize].get_mut().ok_or_else(|| StoreError::defect("opened above"))
    }

    /// Sets a value.
    ///
    /// # Errors
    /// What the disk said.
    pub fn put(&mut self, table: KvTable, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.table_mut(table)?.insert(key, value)?;
        Ok(())
    }

    /// Removes a value, and tells whether there was one.
    ///
    /// # Errors
    /// What the disk said.
    pub fn remove(&mut self, table: KvTable, key: &[u8]) -> Result<bool, StoreError> {
        Ok(self.table_mut(table)?.remove(key)?.is_some())
    }
}

impl KvRead for KvTxn<'_> {
    fn get_with<T>(
        &self,
        table: KvTable,
        key: &[u8],
        read: impl FnOnce(&[u8]) -> T,
    ) -> Result<Option<T>, StoreError> {
        let value = self.table(table)?.get(key)?;
        Ok(value.map(|value| read(value.value())))
    }

    fn scan(
        &self,
        table: KvTable,
        range: KeyRange<'_>,
        backwards: bool,
        visit: &mut Visit<'_>,
    ) -> Result<(), StoreError> {
        walk(self.table(table)?, range, backwards, visit)
    }
}

fn walk(
    table: &impl ReadableTable<&'static [u8], &'static [u8]>,
    range: KeyRange<'_>,
    backwards: bool,
    visit: &mut Visit<'_>,
) -> Result<(), StoreError> {
    let mut rows = table.range::<&[u8]>(range)?;
    while let Some(row) = if backwards { rows.next_back() } else { rows.next() } {
        let (key, value) = row?;
        if visit(key.value(), value.value())?.is_break() {
            break;
        }
    }
    Ok(())
}

/// The rows of the key-value store.
#[derive(Clone, Debug)]
pub struct Kv {
    store: Store,
}

impl Kv {
    pub(crate) fn new(store: Store) -> Self {
        Self { store }
    }

    /// Hands in a write that holds about `bytes` bytes.
    ///
    /// `apply` may run more than once, each time in a transaction in which it never ran, and shares
    /// its transaction with other writes: it must find out everything that may make it fail before
    /// it writes, and give an `Err` only when the disk failed.
    pub fn write<T, F>(&self, bytes: usize, apply: F) -> Pending<T>
    where
        T: Send + 'static,
        F: Fn(&mut KvTxn<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        self.store.write(bytes, move |txn| apply(&mut KvTxn::new(txn)))
    }

    /// The same, and tells `done` of the result on the store's thread when it is committed, whether or
    /// not anybody waits for the outcome, and before those are told. It must neither block nor panic.
    pub fn write_then<T, F, D>(&self, bytes: usize, apply: F, done: D) -> Pending<T>
    where
        T: Send + 'static,
        F: Fn(&mut KvTxn<'_>) -> Result<T, StoreError> + Send + 'static,
        D: FnOnce(&T) + Send + 'static,
    {
        self.store.write_then(bytes, move |txn| apply(&mut KvTxn::new(txn)), done)
    }

    /// Reads one snapshot on the blocking pool of the runtime this is called in.
    ///
    /// # Errors
    /// What `read` or the disk said; [`StoreError::Closed`].
    ///
    /// # Cancel safety
    /// A read that began runs to its end; its result is dropped.
    pub async fn read<T, F>(&self, read: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&KvSnapshot) -> Result<T, StoreError> + Send + 'static,
    {
        self.store.read(move |txn| read(&KvSnapshot::open(txn)?)).await
    }

    /// Reads one snapshot on this thread: for start-up and blocking workers.
    ///
    /// # Errors
    /// As [`Kv::read`].
    pub fn read_blocking<T>(
        &self,
        read: impl FnOnce(&KvSnapshot) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.store.read_blocking(|txn| read(&KvSnapshot::open(txn)?))
    }

    /// Shows an entry, if there is one, to `read` on this thread, as of the last commit that anybody
    /// was told of or later.
    ///
    /// The one read that async code may do itself: it is one page at each level of the tree, mostly
    /// 4 KiB and at most 128, which takes a few microseconds while they are in memory.
    ///
    /// # Errors
    /// As [`Kv::read`].
    pub fn peek<T>(
        &self,
        key: &[u8],
        read: impl FnOnce(&[u8]) -> T,
    ) -> Result<Option<T>, StoreError> {
        self.store.read_latest(|snapshot| snapshot.get_with(KvTable::Entries, key, read))
    }

    /// Waits until what was handed in before is durable: after [`StoreError::Busy`] there is room.
    ///
    /// # Errors
    /// As [`Store::flush`].
    ///
    /// # Cancel safety
    /// Yes.
    pub async fn flush(&self) -> Result<(), StoreError> {
        self.store.flush().await
    }

    /// Bytes of the file after the last commit, with all else that is in it.
    #[must_use]
    pub fn file_bytes(&self) -> u64 {
        self.store.stats().file_bytes
    }

    /// Whether writes and reads are done at once on the calling thread: then other work of this
    /// node should be, too.
    #[must_use]
    pub fn is_simulated(&self) -> bool {
        self.store.is_simulated()
    }

    /// Takes a snapshot to be read from several times.
    ///
    /// # Errors
    /// As [`Kv::read`].
    ///
    /// # Cancel safety
    /// Yes.
    pub async fn snapshot(&self) -> Result<Arc<KvSnapshot>, StoreError> {
        self.store.read(|txn| Ok(Arc::new(KvSnapshot::open(txn)?))).await
    }

    /// Reads a snapshot that was taken before, on the blocking pool.
    ///
    /// # Errors
    /// As [`Kv::read`].
    ///
    /// # Cancel safety
    /// As [`Kv::read`].
    pub async fn read_at<T, F>(&self, snapshot: &Arc<KvSnapshot>, read: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&KvSnapshot) -> Result<T, StoreError> + Send + 'static,
    {
        let snapshot = snapshot.clone();
        self.store.read(move |_| read(&snapshot)).await
    }
}

impl std::fmt::Debug for KvSnapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KvSnapshot").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for KvTxn<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KvTxn").finish_non_exhaustive()
    }
}
