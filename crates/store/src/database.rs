//! The open database, and opening it again after the disk failed.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::{PoisonError, RwLock, RwLockReadGuard},
};

use redb::{Database, ReadTransaction, ReadableDatabase, WriteTransaction};

use crate::{StoreError, latest::Latest, medium::Medium};

/// redb refuses everything after one I/O error until the database is opened again. This does so,
/// and lets snapshots and the writing thread share whatever is open at the moment.
///
/// | state | on | becomes |
/// |---|---|---|
/// | open | a failed commit, a failed read reported by a snapshot | failed |
/// | failed | the next write, or at once after the failure | open, or failed again |
/// | open, failed | close | closed |
pub(crate) struct Disk {
    medium: Medium,
    state: RwLock<State>,
    pub(crate) latest: Latest,
}

enum State {
    Open {
        database: Database,
        /// How many times it was opened.
        generation: u64,
    },
    Failed {
        generation: u64,
    },
    Closed,
}

impl Disk {
    pub(crate) fn new(medium: Medium, database: Database) -> Self {
        let state = RwLock::new(State::Open { database, generation: 1 });
        Self { medium, state, latest: Latest::default() }
    }

    fn state(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// A snapshot of everything committed.
    pub(crate) fn begin_read(&self) -> Result<ReadTransaction, StoreError> {
        match &*self.state() {
            State::Open { database, .. } => Ok(database.begin_read()?),
            State::Failed { .. } => Err(StoreError::Reopening),
            State::Closed => Err(StoreError::Closed),
        }
    }

    /// How often the file was opened; `None` while it is not.
    pub(crate) fn generation(&self) -> Option<u64> {
        match *self.state() {
            State::Open { generation, .. } => Some(generation),
            State::Failed { .. } | State::Closed => None,
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        matches!(*self.state(), State::Closed)
    }

    /// The only transaction for writing; opens the file first if it is not.
    pub(crate) fn begin_write(&self) -> Result<WriteTransaction, StoreError> {
        self.ensure_open()?;
        match &*self.state() {
            State::Open { database, .. } => {
                let mut txn = database.begin_write()?;
                txn.set_durability(redb::Durability::Immediate)?;
                Ok(txn)
            }
            State::Failed { .. } => Err(StoreError::Reopening),
            State::Closed => Err(StoreError::Closed),
        }
    }

    /// Closes what failed and opens it again; when that fails too the next write tries once more.
    pub(crate) fn recover(&self) {
        if let Some(failed) = self.give_up() {
            self.latest.forget();
            // Its locks must be gone before the file can be opened; the error is known already.
            let _ = catch_unwind(AssertUnwindSafe(|| drop(failed)));
        }
        if let Err(error) = self.ensure_open() {
            tracing::error!(%error, "the store cannot reopen its file");
        }
    }

    fn give_up(&self) -> Option<State> {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let State::Open { generation, .. } = *state else { return None };
        Some(std::mem::replace(&mut *state, State::Failed { generation }))
    }

    /// [`Disk::recover`], unless that was done since the failure was met.
    pub(crate) fn recover_if(&self, generation: u64) {
        if self.generation() == Some(generation) {
            self.recover();
        }
    }

    fn ensure_open(&self) -> Result<(), StoreError> {
        let State::Failed { generation } = *self.state() else { return Ok(()) };
        // Snapshots wait for nothing meanwhile: they are told `Reopening`.
        let opened = catch_unwind(AssertUnwindSafe(|| self.medium.open()));
        let database = opened.map_err(|panic| StoreError::panicked(&*panic))??;
        tracing::info!("the store reopened its file after a failure");
        *self.state.write().unwrap_or_else(PoisonError::into_inner) =
            State::Open { database, generation: generation + 1 };
        Ok(())
    }

    /// Ends every snapshot and closes the file such that the next start need not repair it.
    pub(crate) fn close(&self) -> Result<(), StoreError> {
        let former = {
            let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *state, State::Closed)
        };
        self.latest.forget();
        let State::Open { database, .. } = former else { return Ok(()) };
        catch_unwind(AssertUnwindSafe(|| database.close()))
            .map_err(|panic| StoreError::panicked(&*panic))??;
        Ok(())
    }

    /// To be told of every error met: what may be damage makes the next start verify the file.
    pub(crate) fn note(&self, error: &StoreError) {
        // redb meets some kinds of damage with a panic.
        if let StoreError::Corrupt { reason } | StoreError::Defect { reason } = error {
            tracing::error!(%reason, "the store may be damaged; it is verified at the next start");
            self.medium.suspect_damage();
        }
    }

    /// Where the file is, if it is one in which no damage was seen.
    pub(crate) fn sound_path(&self) -> Option<&Path> {
        self.medium.sound_path()
    }

    /// Bytes of the file.
    pub(crate) fn bytes(&self) -> u64 {
        self.medium.bytes()
    }
}
