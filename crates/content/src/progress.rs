//! How far hashing is.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

/// Counts that one thread reads while others work, and a way to stop them.
#[derive(Debug, Default)]
pub struct Progress {
    found_bytes: AtomicU64,
    found_files: AtomicU64,
    hashed_bytes: AtomicU64,
    hashed_files: AtomicU64,
    cancelled: AtomicBool,
}

impl Progress {
    /// Bytes of the files that were found so far.
    #[must_use]
    pub fn found_bytes(&self) -> u64 {
        self.found_bytes.load(Relaxed)
    }

    /// Files that were found so far.
    #[must_use]
    pub fn found_files(&self) -> u64 {
        self.found_files.load(Relaxed)
    }

    /// Bytes that were hashed so far; a file that changed meanwhile counts again.
    #[must_use]
    pub fn hashed_bytes(&self) -> u64 {
        self.hashed_bytes.load(Relaxed)
    }

    /// Files that were hashed so far.
    #[must_use]
    pub fn hashed_files(&self) -> u64 {
        self.hashed_files.load(Relaxed)
    }

    /// Makes the work end with an error within a block of 1 MiB.
    pub fn cancel(&self) {
        self.cancelled.store(true, Relaxed);
    }

    /// Whether [`Progress::cancel`] was called.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Relaxed)
    }

    pub(crate) fn found(&self, bytes: u64) {
        self.found_files.fetch_add(1, Relaxed);
        self.found_bytes.fetch_add(bytes, Relaxed);
    }

    pub(crate) fn hashed(&self, bytes: u64) {
        self.hashed_bytes.fetch_add(bytes, Relaxed);
    }

    pub(crate) fn file_done(&self) {
        self.hashed_files.fetch_add(1, Relaxed);
    }
}
