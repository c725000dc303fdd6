//! Content on its way in: what is missing, who is asked for it, and where it goes.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Instant,
};

use peerage_content::{Bitfield, Collector, Plan, Sink, WriteError};
use tokio::sync::Notify;

use crate::{
    schedule::{Provider, Schedule},
    traffic::Traffic,
};

/// One blob or the files of one tree, being fetched by any number of dialogs.
#[derive(Debug)]
pub(crate) struct Download {
    pub(crate) plan: Plan,
    pub(crate) place: Place,
    schedule: Mutex<Schedule>,
    /// Bytes of content that are verified and written, those of former attempts included.
    done: AtomicU64,
    /// Bytes that did not verify.
    corrupt: AtomicU64,
    pub(crate) traffic: Arc<Traffic>,
    /// Told when pieces become free, or everything is there.
    pub(crate) news: Notify,
    /// Whether nothing is written any more; held by who writes.
    closed: RwLock<bool>,
}

/// Where content goes.
#[derive(Debug)]
pub(crate) enum Place {
    /// A manifest, into memory, from where it is taken when it is complete.
    Memory(Mutex<Option<Collector>>),
    /// Files.
    Disk(Box<Sink>),
}

/// What became of a piece that was received.
#[derive(Debug)]
pub(crate) enum Written {
    /// It is there.
    Kept,
    /// It does not verify.
    Corrupt,
    /// It could not be written.
    Failed(WriteError),
}

impl Download {
    pub(crate) fn new(plan: Plan, place: Place, traffic: Arc<Traffic>) -> Self {
        let bits = match &place {
            Place::Memory(collector) => match &*lock(collector) {
                Some(collector) => collector.bits().clone(),
                None => Bitfield::full(plan.pieces()),
            },
            Place::Disk(sink) => sink.bits(),
        };
        let done = bits.present_runs().flatten().map(|piece| plan.piece_bytes(piece)).sum();
        Self {
            schedule: Mutex::new(Schedule::new(bits.missing_runs())),
            done: AtomicU64::new(done),
            corrupt: AtomicU64::new(0),
            plan,
            place,
            traffic,
            news: Notify::new(),
            closed: RwLock::new(false),
        }
    }

    pub(crate) fn done_bytes(&self) -> u64 {
        self.done.load(Relaxed)
    }

    pub(crate) fn corrupt_bytes(&self) -> u64 {
        self.corrupt.load(Relaxed)
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.schedule().is_complete()
    }

    pub(crate) fn next(&self, provider: Provider) -> Option<u32> {
        self.schedule().next(provider, Instant::now())
    }

    pub(crate) fn is_useless(&self, provider: Provider) -> bool {
        self.schedule().is_useless(provider)
    }

    pub(crate) fn on_lacking(&self, provider: Provider, piece: u32) {
        self.schedule().on_lacking(provider, piece);
        self.news.notify_waiters();
    }

    pub(crate) fn release(&self, provider: Provider) {
        self.schedule().release(provider);
        self.news.notify_waiters();
    }

    /// Waits until nobody writes and sees to it that nobody does from then on. Blocks.
    pub(crate) fn close(&self) {
        *self.closed.write().unwrap_or_else(PoisonError::into_inner) = true;
    }

    /// Verifies a piece and writes it. Blocks.
    pub(crate) fn write(&self, provider: Provider, piece: u32, encoded: &[u8]) -> Written {
        let closed = self.closed.read().unwrap_or_else(PoisonError::into_inner);
        if *closed {
            return Written::Kept;
        }
        self.traffic.on_piece(self.plan.piece_bytes(piece));
        let written = match &self.place {
            Place::Memory(collector) => match &mut *lock(collector) {
                Some(collector) => {
                    collector.write_piece(piece, encoded).map_err(WriteError::Corrupt)
                }
                None => Ok(()),
            },
            Place::Disk(sink) => sink.write_piece(piece, encoded),
        };
        match written {
            Ok(()) => {
                if self.schedule().on_done(provider, piece, Instant::now()) {
                    self.done.fetch_add(self.plan.piece_bytes(piece), Relaxed);
                }
                if self.is_complete() {
                    self.news.notify_waiters();
                }
                Written::Kept
            }
            Err(WriteError::Corrupt(error)) => {
                tracing::debug!(piece, %error, "a piece does not verify");
                self.corrupt.fetch_add(encoded.len() as u64, Relaxed);
                Written::Corrupt
            }
            Err(error) => Written::Failed(error),
        }
    }

    fn schedule(&self) -> MutexGuard<'_, Schedule> {
        lock(&self.schedule)
    }
}

/// What a panic left behind is still consistent: every change is a single call.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
