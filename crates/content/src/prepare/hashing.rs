//! What was found, hashed.

use std::{
    fs::File,
    io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    thread,
};

use peerage_types::ContentHash;

use super::{
    PrepareError, Work,
    walk::{Found, What},
};
use crate::{SourceItem, Stamp, hash};

/// Files up to this size are hashed side by side, larger ones one by one with all threads.
const SIDE_BY_SIDE_BYTES: u64 = 32 << 20;
/// Entries that a thread takes at a time.
const STRIDE: usize = 32;

impl Work<'_> {
    /// Hashes every file that was found; `items` says where they are.
    pub(super) fn hash_all(
        &self,
        items: &[SourceItem],
        bundle: bool,
        found: &mut [Found],
    ) -> Result<(), PrepareError> {
        let threads = hash::threads().min(found.len().div_ceil(STRIDE)).max(1);
        {
            let queue = Mutex::new(found.chunks_mut(STRIDE));
            let work = || -> Result<(), PrepareError> {
                let mut buffer = Vec::new();
                loop {
                    let next = queue.lock().unwrap_or_else(PoisonError::into_inner).next();
                    let Some(entries) = next else { return Ok(()) };
                    for entry in entries {
                        if matches!(entry.what, What::File { size } if size <= SIDE_BY_SIDE_BYTES) {
                            self.hash_one(items, bundle, entry, &mut buffer, 1)?;
                        }
                    }
                }
            };
            thread::scope(|scope| {
                let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
                others.into_iter().fold(work(), |result, other| {
                    let panicked =
                        |_| Err(PrepareError::Cache(io::Error::other("thread panicked")));
                    result.and(other.join().unwrap_or_else(panicked))
                })
            })?;
        }
        let mut buffer = Vec::new();
        for entry in found.iter_mut().filter(|entry| matches!(entry.what, What::File { .. })) {
            self.hash_one(items, bundle, entry, &mut buffer, hash::threads())?;
        }
        Ok(())
    }

    fn hash_one(
        &self,
        items: &[SourceItem],
        bundle: bool,
        entry: &mut Found,
        buffer: &mut Vec<u8>,
        threads: usize,
    ) -> Result<(), PrepareError> {
        let path = path_of(items, bundle, entry.path.as_str());
        entry.what = match self.hash(&path, buffer, threads) {
            Ok((root, stamp, executable)) => What::Hashed { root, stamp, executable },
            Err(error) if self.options.skip_unreadable && error.is_of_path() => {
                self.skips.add(path, "it cannot be read");
                What::Skipped
            }
            Err(error) => return Err(error),
        };
        Ok(())
    }

    /// Hashes a file that does not change meanwhile, and keeps its outboard.
    pub(super) fn hash(
        &self,
        path: &Path,
        buffer: &mut Vec<u8>,
        threads: usize,
    ) -> Result<(ContentHash, Stamp, bool), PrepareError> {
        let first = self.hash_once(path, buffer, threads);
        match first {
            Err(PrepareError::Changed { .. }) => self.hash_once(path, buffer, threads),
            other => other,
        }
    }

    fn hash_once(
        &self,
        path: &Path,
        buffer: &mut Vec<u8>,
        threads: usize,
    ) -> Result<(ContentHash, Stamp, bool), PrepareError> {
        if self.progress.is_cancelled() {
            return Err(PrepareError::Cancelled);
        }
        let fault = |error| PrepareError::at(path, error);
        let file: File = hash::open(path).map_err(fault)?;
        let metadata = file.metadata().map_err(fault)?;
        if !metadata.is_file() {
            return Err(PrepareError::Changed { path: path.to_owned() });
        }
        let before = Stamp::of(&metadata);
        let hashed =
            hash::file(&file, before.size, buffer, threads, self.progress).map_err(fault)?;
        let after = Stamp::of(&file.metadata().map_err(fault)?);
        if before != after {
            return Err(PrepareError::Changed { path: path.to_owned() });
        }
        if !hashed.outboard.is_empty() {
            let kept = self.cache.keep_outboard(hashed.root, &hashed.outboard);
            kept.map_err(PrepareError::Cache)?;
        }
        self.progress.file_done();
        Ok((hashed.root, before, metadata.mode() & 0o100 != 0))
    }
}

fn path_of(items: &[SourceItem], bundle: bool, path: &str) -> PathBuf {
    if !bundle {
        return items.first().map(|item| item.path.join(path)).unwrap_or_default();
    }
    let (top, rest) = path.split_once('/').unwrap_or((path, ""));
    let at = items.binary_search_by(|item| item.name.as_str().cmp(top));
    let Some(item) = at.ok().and_then(|at| items.get(at)) else { return PathBuf::new() };
    if rest.is_empty() { item.path.clone() } else { item.path.join(rest) }
}
