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

/// Flushes that may wait beyond [`MAX_QUEUED`]: one who was told `Busy` can await the end of the
/// jam. 256 × 100 bytes = 25 KiB.
const MAX_FLUSHES: usize = 256;

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
    Stop {
        /// Somebody waits for it, and there is time.
        at_leisure: bool,
    },
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
    at_leisure: bool,
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
        let max_entries = if entry.is_flush { MAX_QUEUED + MAX_FLUSHES } else { MAX_QUEUED };
        let too_much =
            entry.bytes > 0 && state.bytes.saturating_add(entry.bytes) > MAX_QUEUED_BYTES;
        let full = state.entries.len() >= max_entries || (too_much && !state.entries.is_empty());
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

    /// Takes nothing more; the thread finishes what waits and stops. `at_leisure`: it may make the file smaller.
    pub(crate) fn close(&self, at_leisure: bool) {
        let mut state = self.state();
        state.at_leisure |= !state.closed && at_leisure;
        state.closed = true;
        drop(state);
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
                    return Next::Stop { at_leisure: state.at_leisure };
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

#[cfg(test)]
mod tests {
    use super::*;

    struct Nothing;

    impl Job for Nothing {
        fn apply(&mut self, _: &redb::WriteTransaction) -> Result<(), StoreError> {
            Ok(())
        }
        fn settle(self: Box<Self>, _: Result<(), StoreError>) -> bool {
            true
        }
    }

    fn push(queue: &Queue, bytes: usize) -> Result<(), StoreError> {
        queue.push(Entry { job: Box::new(Nothing), bytes, is_flush: false })
    }

    fn push_flush(queue: &Queue) -> Result<(), StoreError> {
        queue.push(Entry { job: Box::new(Nothing), bytes: 0, is_flush: true })
    }

    fn batch(queue: &Queue) -> usize {
        match queue.next() {
            Next::Batch(batch) => batch.len(),
            Next::Recover { .. } | Next::Stop { .. } => panic!("no batch was due"),
        }
    }

    #[test]
    fn a_queue_full_of_writes_is_busy_and_drained_in_whole_batches() {
        let queue = Queue::default();
        for _ in 0..MAX_QUEUED {
            push(&queue, 0).unwrap();
        }
        assert!(matches!(push(&queue, 0), Err(StoreError::Busy)));
        assert_eq!(batch(&queue), MAX_BATCH);
        push(&queue, 0).unwrap();
        assert_eq!(queue.length(), (MAX_QUEUED - MAX_BATCH + 1, 0));
    }

    #[test]
    fn a_full_queue_still_takes_flushes_up_to_their_own_bound() {
        let queue = Queue::default();
        for _ in 0..MAX_QUEUED {
            push(&queue, 0).unwrap();
        }
        for _ in 0..MAX_FLUSHES {
            push_flush(&queue).unwrap();
        }
        assert!(matches!(push_flush(&queue), Err(StoreError::Busy)));
    }

    #[test]
    fn a_queue_full_of_bytes_is_busy_but_a_larger_write_gets_its_turn() {
        let queue = Queue::default();
        push(&queue, MAX_QUEUED_BYTES * 2).unwrap();
        assert!(matches!(push(&queue, 1), Err(StoreError::Busy)));
        assert_eq!(batch(&queue), 1);
        push(&queue, MAX_QUEUED_BYTES - 1).unwrap();
        push(&queue, 1).unwrap();
        assert!(matches!(push(&queue, 1), Err(StoreError::Busy)));
        assert_eq!(queue.length(), (2, MAX_QUEUED_BYTES));
    }

    #[test]
    fn a_batch_nobody_waits_for_collects_for_the_delay() {
        let queue = Queue::default();
        let begun = Instant::now();
        push(&queue, 0).unwrap();
        assert_eq!(batch(&queue), 1);
        assert!(begun.elapsed() >= BATCH_DELAY);
    }

    #[test]
    fn a_closed_queue_takes_nothing_and_gives_what_it_has() {
        let queue = Queue::default();
        push(&queue, 0).unwrap();
        queue.close(true);
        queue.close(false);
        assert!(matches!(push(&queue, 0), Err(StoreError::Closed)));
        assert_eq!(batch(&queue), 1);
        assert!(matches!(queue.next(), Next::Stop { at_leisure: true }));
    }
}
