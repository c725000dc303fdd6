//! The bounded queue to the store's thread, and when a batch is due.

use std::{
    collections::VecDeque,
    mem,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::{StoreError, job::Job};

/// Writes that may wait. Empty ones take about 200 bytes each: 1.6 MB at worst, beside
/// [`MAX_QUEUED_BYTES`] of content. At 2,900 commits/s and [`MAX_BATCH`] writes each, 3 ms of work.
pub const MAX_QUEUED: usize = 8 * 1024;

/// Bytes of keys and values that may wait: 8 MiB. One larger write is taken when nothing waits.
pub const MAX_QUEUED_BYTES: usize = 8 << 20;

/// Writes that go into one transaction.
pub const MAX_BATCH: usize = 1024;

/// How long a batch collects when nobody waits for its outcome: 5 ms, 200 commits/s at worst.
pub const BATCH_DELAY: Duration = Duration::from_millis(5);

/// A job with what it holds in memory.
pub(crate) struct Entry {
    pub(crate) job: Box<dyn Job>,
    pub(crate) bytes: usize,
    /// Writes nothing itself; answers for those before it that nobody waited for.
    pub(crate) is_flush: bool,
}

/// What the thread does next.
pub(crate) enum Next {
    Batch(Vec<Entry>),
    /// A snapshot met a failed disk: open the file again if it is still this opening of it.
    Recover {
        generation: u64,
    },
    Stop,
}

#[derive(Default)]
struct State {
    entries: VecDeque<Entry>,
    bytes: usize,
    /// When the oldest entry came; meaningless while there is none.
    since: Option<Instant>,
    /// Somebody waits for one of the entries.
    hurry: bool,
    recover: Option<u64>,
    closed: bool,
}

/// Many callers, none of whom ever blocks; one thread that waits.
#[derive(Default)]
pub(crate) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

impl Queue {
    fn state(&self) -> MutexGuard<'_, State> {
        // No code that can panic runs under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the entry or says why not.
    pub(crate) fn push(&self, entry: Entry) -> Result<(), StoreError> {
        let mut state = self.state();
        if state.closed {
            return Err(StoreError::Closed);
        }
        let too_much = state.bytes.saturating_add(entry.bytes) > MAX_QUEUED_BYTES;
        let full = state.entries.len() >= MAX_QUEUED || (too_much && !state.entries.is_empty());
        if full {
            // The thread may be waiting for the batch to grow; it cannot any more.
            state.hurry = true;
            self.changed.notify_one();
            return Err(StoreError::Busy);
        }
        state.bytes += entry.bytes;
        state.entries.push_back(entry);
        let length = state.entries.len();
        if length == 1 {
            state.since = Some(Instant::now());
        }
        // In between the thread sleeps until the batch is due; waking it would be for nothing.
        if length == 1 || length == MAX_BATCH {
            self.changed.notify_one();
        }
        Ok(())
    }

    /// Makes what waits due now.
    pub(crate) fn hurry(&self) {
        let mut state = self.state();
        if !state.entries.is_empty() && !state.hurry {
            state.hurry = true;
            self.changed.notify_one();
        }
    }

    /// Asks the thread to open the file again.
    pub(crate) fn recover(&self, generation: u64) {
        self.state().recover = Some(generation);
        self.changed.notify_one();
    }

    /// Takes nothing more; the thread finishes what waits and stops.
    pub(crate) fn close(&self) {
        self.state().closed = true;
        self.changed.notify_one();
    }

    /// Entries and bytes that wait.
    pub(crate) fn length(&self) -> (usize, usize) {
        let state = self.state();
        (state.entries.len(), state.bytes)
    }

    /// Blocks until there is something to do.
    pub(crate) fn next(&self) -> Next {
        let mut state = self.state();
        loop {
            if let Some(generation) = state.recover.take() {
                return Next::Recover { generation };
            }
            if state.entries.is_empty() {
                if state.closed {
                    return Next::Stop;
                }
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let age = state.since.map_or(BATCH_DELAY, |since| since.elapsed());
            let left = BATCH_DELAY.saturating_sub(age);
            let due = state.hurry || state.closed || state.entries.len() >= MAX_BATCH;
            if due || left.is_zero() {
                return Next::Batch(state.take());
            }
            let waited = self.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// For when the thread ends: whoever still waits is told by the drop of the reply.
    pub(crate) fn abandon(&self) {
        let left = {
            let mut state = self.state();
            state.closed = true;
            state.bytes = 0;
            mem::take(&mut state.entries)
        };
        drop(left);
    }
}

impl State {
    fn take(&mut self) -> Vec<Entry> {
        let count = self.entries.len().min(MAX_BATCH);
        let batch: Vec<Entry> = self.entries.drain(..count).collect();
        self.bytes -= batch.iter().map(|entry| entry.bytes).sum::<usize>();
        // What is left came while the queue held a full batch, so it is due as well.
        self.hurry = !self.entries.is_empty();
        batch
    }
}
