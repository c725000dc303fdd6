//! The store's thread: takes batches, commits them, answers.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Instant,
};

use redb::WriteTransaction;
use tokio::sync::watch;

use crate::{
    StoreError,
    database::Disk,
    queue::{Entry, Next, Queue},
    shrink,
};

/// What the thread has done, for [`StoreStats`](crate::StoreStats).
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) commits: AtomicU64,
    pub(crate) operations: AtomicU64,
    pub(crate) failures: AtomicU64,
    /// Whether the last write failed.
    pub(crate) failing: AtomicBool,
    pub(crate) bytes: AtomicU64,
}

/// After a commit of this much, the pages that it has replaced are given back at once: 256 KiB, some 700 small
/// entries, which replace up to 12 MiB of pages. What it costs is one more commit that is nearly empty.
const LARGE_COMMIT: usize = 256 << 10;

/// How the thread ended; `None` while it runs.
pub(crate) type Stopped = Option<Result<(), StoreError>>;

pub(crate) struct Writer {
    pub(crate) disk: Arc<Disk>,
    pub(crate) queue: Arc<Queue>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) stopped: watch::Sender<Stopped>,
    /// The first failure nobody was told of, for the next flush.
    pub(crate) untold: Option<StoreError>,
}

/// Whose fault it was that a transaction was not committed.
enum Fault {
    /// One of the operations; the others may be tried without it.
    Operation(StoreError),
    /// The file or the disk; redb takes no more writes until it is opened again.
    Storage(StoreError),
}

impl Writer {
    /// Works until the queue is closed and empty, then closes the file.
    pub(crate) fn run(mut self) {
        let at_leisure = loop {
            match self.queue.next() {
                Next::Batch(batch) => self.on_batch(batch),
                Next::Recover { generation } => self.disk.recover_if(generation),
                Next::Stop { at_leisure } => break at_leisure,
            }
        };
        let closed = self.close(at_leisure);
        self.counters.bytes.store(self.disk.bytes(), Relaxed);
        let outcome = self.untold.take().map_or(closed, Err);
        self.stopped.send_replace(Some(outcome));
    }

    /// Closes the file, and makes it smaller if there is time, that is worth it and all is well.
    fn close(&self, at_leisure: bool) -> Result<(), StoreError> {
        let until = Instant::now() + shrink::MAX_TIME;
        let is_well = self.untold.is_none() && !self.counters.failing.load(Relaxed);
        let is_due =
            at_leisure && is_well && contain(|| shrink::is_due(&self.disk, until)).unwrap_or(false);
        self.disk.close()?;
        if let Some(path) = self.disk.sound_path().filter(|_| is_due) {
            match contain(|| shrink::rewrite(path, until)) {
                Ok(true) => tracing::info!(bytes = self.disk.bytes(), "the store was made smaller"),
                Ok(false) => tracing::debug!("making the store smaller took too long"),
                Err(error) => tracing::warn!(%error, "the store was not made smaller"),
            }
        }
        Ok(())
    }

    pub(crate) fn on_batch(&mut self, mut batch: Vec<Entry>) {
        if batch.iter().all(|entry| entry.is_flush) {
            return self.settle(batch, Ok(()));
        }
        let bytes: usize = batch.iter().map(|entry| entry.bytes).sum();
        match self.commit(&mut batch) {
            Ok(()) => {
                self.settle(batch, Ok(()));
                if bytes >= LARGE_COMMIT {
                    self.give_back();
                }
            }
            Err(Fault::Storage(error)) => {
                self.disk.note(&error);
                // Before anybody is answered, so that who then reads finds the file open.
                self.disk.recover();
                self.settle(batch, Err(error));
            }
            Err(Fault::Operation(error)) if batch.len() == 1 => {
                self.disk.note(&error);
                self.settle(batch, Err(error));
            }
            // Halving finds the faulty ones in few commits; one at a time would cost each of up to
            // 1,023 innocent writes an fsync.
            Err(Fault::Operation(_)) => {
                let second = batch.split_off(batch.len() / 2);
                self.on_batch(batch);
                self.on_batch(second);
            }
        }
    }

    /// All or nothing.
    fn commit(&self, batch: &mut [Entry]) -> Result<(), Fault> {
        let txn = contain(|| self.disk.begin_write()).map_err(Fault::Storage)?;
        // While anybody reads what a commit replaces, redb gives the pages back with the next commit;
        // otherwise by a second commit at once, which is not synced: it makes every commit longer, and
        // leaves pages in the write buffer, in which every read that misses the cache then looks for
        // something to make room with.
        let _reading = contain(|| self.disk.begin_read()).map_err(Fault::Storage)?;
        if let Err(error) = apply(batch, &txn) {
            let rolled_back = contain(|| Ok(txn.abort()?));
            return Err(match rolled_back {
                Ok(()) if !error.is_disk() => Fault::Operation(error),
                Err(rollback) if !error.is_disk() => Fault::Storage(rollback),
                Ok(()) | Err(_) => Fault::Storage(error),
            });
        }
        let mut poisoned = false;
        let committed = contain(|| {
            let result = txn.commit();
            poisoned = matches!(result, Err(redb::CommitError::TransactionPoisoned));
            Ok(result?)
        });
        match committed {
            Ok(()) => {
                self.disk.latest.forget();
                self.counters.commits.fetch_add(1, Relaxed);
                self.counters.bytes.store(self.disk.bytes(), Relaxed);
                Ok(())
            }
            // An operation swallowed the error that did it; redb rolled everything back.
            Err(error) if poisoned => Err(Fault::Operation(error)),
            Err(error) => Err(Fault::Storage(error)),
        }
    }

    /// Has the pages that the last commit has replaced reused by the next one. It would give them back itself,
    /// but only once it has taken as many others: the file would grow to what is in use and twice what
    /// a commit replaces, which for large ones is all of it.
    fn give_back(&self) {
        if let Err(Fault::Storage(error) | Fault::Operation(error)) = self.commit(&mut []) {
            self.disk.note(&error);
            self.disk.recover();
        }
    }

    fn settle(&mut self, batch: Vec<Entry>, outcome: Result<(), StoreError>) {
        for entry in batch {
            if entry.is_flush {
                let outcome = self.untold.take().map_or_else(|| outcome.clone(), Err);
                entry.job.settle(outcome);
                continue;
            }
            let counter =
                if outcome.is_ok() { &self.counters.operations } else { &self.counters.failures };
            counter.fetch_add(1, Relaxed);
            self.counters.failing.store(outcome.is_err(), Relaxed);
            let told = entry.job.settle(outcome.clone());
            if let (false, Err(error)) = (told, &outcome) {
                tracing::warn!(%error, "a write that nobody waited for was lost");
                self.untold.get_or_insert_with(|| error.clone());
            }
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.queue.abandon();
        self.stopped.send_if_modified(|stopped| {
            let unknown = stopped.is_none();
            stopped.get_or_insert(Err(StoreError::Closed));
            unknown
        });
    }
}

fn apply(batch: &mut [Entry], txn: &WriteTransaction) -> Result<(), StoreError> {
    batch.iter_mut().try_for_each(|entry| contain(|| entry.job.apply(txn)))
}

/// Neither a faulty operation nor redb on a damaged file may end the thread.
fn contain<T>(work: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    // Sound: what a panic leaves half done is the transaction, which is then rolled back or given
    // up with the whole database.
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| Err(StoreError::panicked(&*panic)))
}
