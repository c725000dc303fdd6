//! What was left out.

use std::{
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

/// How many skipped paths are listed; the rest are counted.
pub const MAX_SKIPPED: usize = 100;

/// A path that was left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// Where it is; what is not UTF-8 of it is replaced, as it is told and stored as text.
    pub path: PathBuf,
    /// Why: `it is a symbolic link`.
    pub reason: String,
}

/// The list so far, and how many in all.
#[derive(Debug, Default)]
pub(super) struct Skips(Mutex<(Vec<Skipped>, u64)>);

impl Skips {
    pub(super) fn add(&self, path: impl AsRef<Path>, reason: impl Into<String>) {
        let mut list = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        list.1 += 1;
        if list.0.len() < MAX_SKIPPED {
            let path = path.as_ref().to_string_lossy().into_owned().into();
            list.0.push(Skipped { path, reason: reason.into() });
        }
    }

    pub(super) fn into_list(self) -> (Vec<Skipped>, u64) {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}
