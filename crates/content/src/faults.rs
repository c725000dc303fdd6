//! A disk that fails when a test says so.

use std::{
    fs::File,
    io::{self, IoSlice},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
};

use crate::disk::{Disk, System};

/// Error number of a full disk.
pub const ENOSPC: i32 = 28;
/// Error number of a broken disk.
pub const EIO: i32 = 5;

/// The disk of this machine, except for the faults that were asked for.
#[derive(Debug)]
pub struct Faulty {
    plan: Mutex<Faults>,
    writes: AtomicU64,
    syncs: AtomicU64,
}

/// What is to go wrong.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    /// From this write on, counted from 1 by [`Faulty::writes`], every write fails with the error number.
    pub write: Option<(u64, i32)>,
    /// This one write fails with the error number.
    pub one_write: Option<(u64, i32)>,
    /// From this sync on, counted from 1 by [`Faulty::syncs`], every sync fails with the error number.
    pub sync: Option<(u64, i32)>,
    /// Every allocation fails with the error number.
    pub allocate: Option<i32>,
    /// Allocates nothing: files become sparse.
    pub sparse: bool,
    /// Bytes that are said to be free.
    pub free: Option<u64>,
    /// What the destination is said to make of names that differ by case or form only.
    pub folds: Option<bool>,
    /// The machine seems to have been started under this id; `Some("")` for one that cannot tell.
    pub boot_id: Option<String>,
}

impl Faulty {
    /// A disk with these faults.
    #[must_use]
    pub fn new(faults: Faults) -> Self {
        Self { plan: Mutex::new(faults), writes: AtomicU64::new(0), syncs: AtomicU64::new(0) }
    }

    /// Changes what goes wrong from now on; the counts stay.
    pub fn set(&self, faults: Faults) {
        *self.plan.lock().unwrap_or_else(PoisonError::into_inner) = faults;
    }

    /// Writes that were tried so far.
    #[must_use]
    pub fn writes(&self) -> u64 {
        self.writes.load(SeqCst)
    }

    /// Syncs that were tried so far, of files and of the file system.
    #[must_use]
    pub fn syncs(&self) -> u64 {
        self.syncs.load(SeqCst)
    }

    fn plan(&self) -> Faults {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn before_sync(&self) -> io::Result<()> {
        let number = self.syncs.fetch_add(1, SeqCst) + 1;
        match self.plan().sync {
            Some((from, errno)) if number >= from => Err(io::Error::from_raw_os_error(errno)),
            _ => Ok(()),
        }
    }
}

impl Disk for Faulty {
    fn write_at(&self, file: &File, parts: &mut [IoSlice<'_>], offset: u64) -> io::Result<()> {
        let number = self.writes.fetch_add(1, SeqCst) + 1;
        let faults = self.plan();
        let error = match (faults.write, faults.one_write) {
            (Some((from, errno)), _) if number >= from => errno,
            (_, Some((at, errno))) if number == at => errno,
            _ => return System.write_at(file, parts, offset),
        };
        // As a disk that becomes full: the first part of what was to be written is there.
        let first = parts.len().min(1);
        System.write_at(file, &mut parts[..first], offset)?;
        Err(io::Error::from_raw_os_error(error))
    }

    fn allocate(&self, file: &File, len: u64) -> io::Result<()> {
        let faults = self.plan();
        match faults.allocate {
            Some(errno) => Err(io::Error::from_raw_os_error(errno)),
            None if faults.sparse => file.set_len(len),
            None => System.allocate(file, len),
        }
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        self.before_sync()?;
        System.sync(file)
    }

    fn sync_all(&self, dir: &File) -> io::Result<()> {
        self.before_sync()?;
        System.sync_all(dir)
    }

    fn free(&self, dir: &File) -> io::Result<u64> {
        self.plan().free.map_or_else(|| System.free(dir), Ok)
    }

    fn folds(&self, dir: &File) -> io::Result<bool> {
        self.plan().folds.map_or_else(|| System.folds(dir), Ok)
    }

    fn boot_id(&self) -> Option<String> {
        match self.plan().boot_id {
            Some(id) => Some(id).filter(|id| !id.is_empty()),
            None => System.boot_id(),
        }
    }
}
