//! The cloneable handle: reads, writes, flush and close.

use std::{
    fmt, io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, PoisonError, atomic::Ordering::Relaxed},
    thread::{self, JoinHandle},
};

use redb::{Database, ReadTransaction, WriteTransaction};
use tokio::sync::{Semaphore, watch};

use crate::{
    Accounts, Book, Known, Kv, KvSnapshot, Marks, Pending, Power, StoreError, Transfers,
    database::Disk,
    job,
    medium::Medium,
    queue::{Entry, Queue},
    schema,
    simulated::Inline,
    writer::{Counters, Stopped, Writer},
};

/// Snapshots read at a time; more wait for their turn. 16 of the runtime's 512 blocking threads.
const MAX_READS: usize = 16;

/// The store of one node: rows in one file, written by one thread.
///
/// Cheap to clone. Dropping the last clone commits what was handed in, closes the file and waits
/// for that, which blocks for as long as the disk needs (usually a few milliseconds); in async
/// code call [`Store::close`] first.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    disk: Arc<Disk>,
    queue: Arc<Queue>,
    counters: Arc<Counters>,
    reads: Arc<Semaphore>,
    stopped: watch::Receiver<Stopped>,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// Instead of the thread.
    inline: Option<Inline>,
}

/// What a store has done since it was opened and what it holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoreStats {
    /// Transactions committed.
    pub commits: u64,
    /// Writes that are in one of them.
    pub operations: u64,
    /// Writes that failed after they were queued.
    pub failures: u64,
    /// Whether the last write failed, or the store is closed: the next one is likely to fail too.
    pub failing: bool,
    /// Bytes of the file after the last commit.
    pub file_bytes: u64,
    /// Writes waiting, at most [`MAX_QUEUED`](crate::MAX_QUEUED).
    pub queued: usize,
    /// Bytes of keys and values waiting, about [`MAX_QUEUED_BYTES`](crate::MAX_QUEUED_BYTES) at most.
    pub queued_bytes: usize,
}

/// What the file is made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Usage {
    /// Bytes of keys and values.
    pub row_bytes: u64,
    /// Bytes of pages that hold something, or held something that a reader may still see; the rest of the
    /// file is free.
    pub allocated_bytes: u64,
}

impl Store {
    /// An empty store in memory, for tests: everything behaves as with a file but nothing lasts.
    ///
    /// # Panics
    /// When no thread can be started.
    #[must_use]
    pub fn in_memory() -> Self {
        let medium = Medium::memory();
        let database = medium.open().expect("an empty memory is a valid database");
        schema::initialise(&database).expect("memory takes writes");
        Self::start(medium, database).expect("a thread can be started")
    }

    /// An empty store in memory that does each write and each read at once on the calling thread, for
    /// simulations that must repeat exactly, and the switch of its power.
    ///
    /// # Panics
    /// Never.
    #[must_use]
    pub fn simulated() -> (Self, Power) {
        let medium = Medium::memory();
        let database = medium.open().expect("an empty memory is a valid database");
        schema::initialise(&database).expect("memory takes writes");
        let (mut inner, writer) = Inner::new(medium, database);
        let power = Power::default();
        inner.inline = Some(Inline { writer: Mutex::new(writer), power: power.clone() });
        (Self(Arc::new(inner)), power)
    }

    pub(crate) fn start(medium: Medium, database: Database) -> io::Result<Self> {
        let (mut inner, writer) = Inner::new(medium, database);
        let thread = thread::Builder::new().name("peerage-store".into()).spawn(|| writer.run())?;
        inner.thread = Mutex::new(Some(thread));
        Ok(Self(Arc::new(inner)))
    }

    /// The address book's rows and lists.
    #[must_use]
    pub fn book(&self) -> Book {
        Book::new(self.clone())
    }

    /// Small blobs with a name.
    #[must_use]
    pub fn marks(&self) -> Marks {
        Marks::new(self.clone())
    }

    /// Transfers and shares of files.
    #[must_use]
    pub fn transfers(&self) -> Transfers {
        Transfers::new(self.clone())
    }

    /// Accounts and services of this node, and what they keep sealed.
    #[must_use]
    pub fn accounts(&self) -> Accounts {
        Accounts::new(self.clone())
    }

    /// What is known of users anywhere.
    #[must_use]
    pub fn known(&self) -> Known {
        Known::new(self.clone())
    }

    /// The replicated key-value store.
    #[must_use]
    pub fn kv(&self) -> Kv {
        Kv::new(self.clone())
    }

    /// Returns once everything handed in before, through any clone, is durable. Also the way to
    /// wait after [`StoreError::Busy`]: when it returns the queue has room again.
    ///
    /// # Errors
    /// The first failure of an earlier write whose [`Pending`] was dropped, reported once;
    /// [`StoreError::Busy`] hundreds of flushes are waiting already; [`StoreError::Closed`].
    ///
    /// # Cancel safety
    /// Dropping it changes nothing but that a failure may go unreported.
    pub async fn flush(&self) -> Result<(), StoreError> {
        let (job, pending) = job::flush(&self.0.queue);
        self.push(Entry { job, bytes: 0, is_flush: true }, pending).await
    }

    /// Commits what was handed in, closes the file and ends the thread, whatever other clones
    /// exist; their calls then answer [`StoreError::Closed`]. A file of over 64 MiB of which most is free is made
    /// smaller, which takes up to 5 s.
    ///
    /// # Errors
    /// As [`Store::flush`], or what the disk said on closing: the next start then verifies the
    /// file, committed writes are safe.
    ///
    /// # Cancel safety
    /// The store closes even if this is dropped.
    pub async fn close(self) -> Result<(), StoreError> {
        self.0.queue.close(true);
        let mut stopped = self.0.stopped.clone();
        let outcome = stopped.wait_for(Option::is_some).await;
        outcome.ok().and_then(|outcome| outcome.clone()).unwrap_or(Err(StoreError::Closed))
    }

    /// What the file is made of. Reads all of it, and holds up writes meanwhile: for measurements.
    ///
    /// # Errors
    /// What the disk said.
    ///
    /// # Cancel safety
    /// Yes.
    pub async fn usage(&self) -> Result<Usage, StoreError> {
        let usage = self.write(0, |txn| {
            let stats = txn.stats()?;
            let allocated_bytes = stats.allocated_pages() * stats.page_size() as u64;
            Ok(Usage { row_bytes: stats.stored_bytes(), allocated_bytes })
        });
        usage.await
    }

    /// What was done and what waits, for metrics. Never blocks on the disk.
    #[must_use]
    pub fn stats(&self) -> StoreStats {
        let Counters { commits, operations, failures, failing, bytes } = &*self.0.counters;
        let (queued, queued_bytes) = self.0.queue.length();
        StoreStats {
            commits: commits.load(Relaxed),
            operations: operations.load(Relaxed),
            failures: failures.load(Relaxed),
            failing: failing.load(Relaxed) || self.0.stopped.borrow().is_some(),
            file_bytes: bytes.load(Relaxed),
            queued,
            queued_bytes,
        }
    }

    /// Queues a write that holds about `bytes` bytes of keys and values.
    ///
    /// `apply` may run more than once, each time in a transaction in which it never ran: it must
    /// change nothing but that, and doing it twice must be as good as once, since a caller repeats
    /// a write whose commit failed.
    pub(crate) fn write<T, F>(&self, bytes: usize, apply: F) -> Pending<T>
    where
        T: Send + 'static,
        F: Fn(&WriteTransaction) -> Result<T, StoreError> + Send + 'static,
    {
        self.write_then(bytes, apply, |_| ())
    }

    /// The same, and calls `done` on the store's thread before the outcome is told, once it is
    /// committed. It must neither block nor panic.
    pub(crate) fn write_then<T, F, D>(&self, bytes: usize, apply: F, done: D) -> Pending<T>
    where
        T: Send + 'static,
        F: Fn(&WriteTransaction) -> Result<T, StoreError> + Send + 'static,
        D: FnOnce(&T) + Send + 'static,
    {
        let (job, pending) = job::write(&self.0.queue, apply, done);
        self.push(Entry { job, bytes, is_flush: false }, pending)
    }

    fn push<T>(&self, entry: Entry, pending: Pending<T>) -> Pending<T> {
        let pushed = match &self.0.inline {
            None => self.0.queue.push(entry),
            Some(inline) => inline.push(entry),
        };
        match pushed {
            Ok(()) => pending,
            Err(error) => Pending::refuse(error),
        }
    }

    /// Reads one snapshot on the blocking pool of the runtime this is called in.
    ///
    /// # Cancel safety
    /// A read that began runs to its end; its result is dropped.
    pub(crate) async fn read<T, F>(&self, read: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&ReadTransaction) -> Result<T, StoreError> + Send + 'static,
    {
        if self.0.inline.is_some() {
            return snapshot(&self.0.disk, &self.0.queue, read);
        }
        let permit = self.0.reads.clone().acquire_owned().await.map_err(|_| StoreError::Closed)?;
        let (disk, queue) = (self.0.disk.clone(), self.0.queue.clone());
        let work = move || {
            let _permit = permit;
            snapshot(&disk, &queue, read)
        };
        // Cancelled when the runtime shuts down before the read began.
        tokio::task::spawn_blocking(work).await.unwrap_or(Err(StoreError::Closed))
    }

    #[cfg(test)]
    pub(crate) fn latest(&self) -> &crate::latest::Latest {
        &self.0.disk.latest
    }

    pub(crate) fn is_simulated(&self) -> bool {
        self.0.inline.is_some()
    }

    /// Reads one snapshot on this thread: for start-up, before there is a runtime.
    pub(crate) fn read_blocking<T>(
        &self,
        read: impl FnOnce(&ReadTransaction) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        snapshot(&self.0.disk, &self.0.queue, read)
    }

    /// Reads the newest snapshot, which is shared, on this thread.
    pub(crate) fn read_latest<T>(
        &self,
        read: impl FnOnce(&KvSnapshot) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let disk = &self.0.disk;
        contained(disk, &self.0.queue, || read(&*disk.latest.get(disk)?))
    }
}

fn snapshot<T>(
    disk: &Disk,
    queue: &Queue,
    read: impl FnOnce(&ReadTransaction) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    contained(disk, queue, || read(&disk.begin_read()?))
}

/// Has the file opened again if that is why a read failed.
fn contained<T>(
    disk: &Disk,
    queue: &Queue,
    read: impl FnOnce() -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let generation = disk.generation();
    // redb may panic on a damaged page; the snapshot is given up and nothing else touched.
    let outcome = catch_unwind(AssertUnwindSafe(read))
        .unwrap_or_else(|panic| Err(StoreError::panicked(&*panic)));
    outcome.map_err(|error| {
        if disk.is_closed() {
            return StoreError::Closed;
        }
        disk.note(&error);
        if let (true, Some(generation)) = (error.is_disk(), generation) {
            queue.recover(generation);
        }
        error
    })
}

impl Inner {
    fn new(medium: Medium, database: Database) -> (Self, Writer) {
        let disk = Arc::new(Disk::new(medium, database));
        let queue = Arc::<Queue>::default();
        let counters = Arc::<Counters>::default();
        counters.bytes.store(disk.bytes(), Relaxed);
        let (stopped, watch) = watch::channel(None);
        let writer = Writer {
            disk: disk.clone(),
            queue: queue.clone(),
            counters: counters.clone(),
            stopped,
            untold: None,
        };
        let inner = Self {
            disk,
            queue,
            counters,
            reads: Arc::new(Semaphore::new(MAX_READS)),
            stopped: watch,
            thread: Mutex::default(),
            inline: None,
        };
        (inner, writer)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.queue.close(false);
        let thread = self.thread.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        // An operation may have held the last handle: the thread cannot wait for itself.
        if let Some(thread) = thread.filter(|thread| thread.thread().id() != thread::current().id())
        {
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Store").field(&self.stats()).finish()
    }
}
