//! Content that is received.

mod error;
mod finish;
mod folder;
mod names;
mod open;
mod state;
mod walk;
mod write;

use std::{
    collections::HashSet,
    fs::File,
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError},
};

use peerage_wire::files::FileMode;

use crate::{Bitfield, Plan, disk::Disk, disk::System};
use folder::Folder;
use names::Names;
use state::{Header, State};

pub use error::{SinkError, WriteError};
pub(crate) use names::numbered;

/// Where content is to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// An existing directory.
    pub dir: PathBuf,
    /// Another name than that which was offered; not for bundles.
    pub name: Option<String>,
    /// Mode and time that a blob gets when it is finished; trees bring their own.
    pub file: Option<FileMode>,
}

/// Where content is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// The file or directory, or the items of a bundle.
    pub paths: Vec<PathBuf>,
}

/// Content that is being received. Share it by `Arc`; any number of threads may write.
///
/// Until it is finished it is in `NAME.part` beside its destination. The *state* file says which
/// pieces are there, so that a killed process resumes where it was; after a crash of the machine only
/// what [`Sink::checkpoint`] returned is certain.
#[derive(Debug)]
pub struct Sink {
    plan: Plan,
    disk: Arc<dyn Disk>,
    header: Header,
    /// The destination.
    dir: Folder,
    part: Part,
    names: Names,
    inner: Mutex<Inner>,
    /// A piece is no longer being written.
    written: Condvar,
    /// Large files in use by entry, the last used at the end.
    files: Mutex<Vec<(u32, Arc<File>)>>,
    /// Held while syncing and finishing, which happen one at a time.
    turn: Mutex<()>,
    done: OnceLock<Finished>,
}

/// What has been received so far.
#[derive(Debug)]
enum Part {
    File(Arc<File>),
    Tree(Folder),
    /// It has its final name.
    Moved,
}

#[derive(Debug)]
struct Inner {
    state: State,
    /// What is there.
    bits: Bitfield,
    /// What is there for certain.
    durable: Bitfield,
    /// Whether the state file has been synced since it was created.
    state_durable: bool,
    /// Pieces that are being written.
    busy: HashSet<u32>,
    moves: Vec<state::Move>,
}

impl Sink {
    /// Starts to receive content that was offered as `name`.
    ///
    /// Creates the file `state` (its directory as well), which belongs to the sink until
    /// [`Sink::forget`], and allocates the space of a single file.
    ///
    /// # Errors
    /// [`SinkError`]: nothing was created.
    pub fn create(
        plan: Plan,
        name: &str,
        target: &Target,
        state: &Path,
    ) -> Result<Self, SinkError> {
        Self::create_on(Arc::new(System), plan, name, target, state)
    }

    /// [`Sink::create`] on another disk.
    ///
    /// # Errors
    /// As it.
    pub fn create_on(
        disk: Arc<dyn Disk>,
        plan: Plan,
        name: &str,
        target: &Target,
        state: &Path,
    ) -> Result<Self, SinkError> {
        open::create(disk, plan, name, target, state)
    }

    /// Goes on with content that was received in part, without reading it.
    ///
    /// `durable` is what [`Sink::checkpoint`] returned last, if the caller kept it. When the machine was
    /// started since, only this counts.
    ///
    /// # Errors
    /// [`SinkError::Lost`] when the state or what was received is gone: create a new sink.
    pub fn resume(plan: Plan, state: &Path, durable: Option<&Bitfield>) -> Result<Self, SinkError> {
        Self::resume_on(Arc::new(System), plan, state, durable)
    }

    /// [`Sink::resume`] on another disk.
    ///
    /// # Errors
    /// As it.
    pub fn resume_on(
        disk: Arc<dyn Disk>,
        plan: Plan,
        state: &Path,
        durable: Option<&Bitfield>,
    ) -> Result<Self, SinkError> {
        open::resume(disk, plan, state, durable)
    }

    /// How the content is cut.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Where the content is until it is finished.
    #[must_use]
    pub fn staging(&self) -> PathBuf {
        self.header.dir.join(&self.header.staging)
    }

    /// Which pieces are there just now.
    #[must_use]
    pub fn bits(&self) -> Bitfield {
        self.inner().bits.clone()
    }

    /// Whether the piece is there.
    #[must_use]
    pub fn has(&self, piece: u32) -> bool {
        self.inner().bits.get(piece)
    }

    /// Verifies a piece as [`Plan`] describes it and writes it. One that is there already is not
    /// written again.
    ///
    /// # Errors
    /// [`WriteError::Corrupt`]: nothing was written. [`WriteError::DiskFull`]: make space and try
    /// again, the pieces that are there stay.
    pub fn write_piece(&self, piece: u32, encoded: &[u8]) -> Result<(), WriteError> {
        write::piece(self, piece, encoded)
    }

    /// Makes the pieces durable that are there when it is called, and says which.
    ///
    /// # Errors
    /// [`WriteError`]: those that came since the last success may be lost and count as missing.
    pub fn checkpoint(&self) -> Result<Bitfield, WriteError> {
        let _turn = lock(&self.turn);
        finish::sync(self)
    }

    /// Puts complete content to its destination, durably: under its name, or with ` (1)` when that
    /// is taken. May be called again after an error, and after a kill.
    ///
    /// The state stays until [`Sink::forget`], so that a resumed sink knows that it is finished.
    ///
    /// # Errors
    /// [`SinkError::Incomplete`] while pieces are missing.
    pub fn finish(&self) -> Result<Finished, SinkError> {
        finish::finish(self)
    }

    /// Removes the state of a finished sink, once the caller remembers that it is.
    pub fn forget(state: &Path) {
        // Left behind, it only takes a few kilobytes.
        let _ = std::fs::remove_file(state);
    }

    /// Removes what was received, and the state; no thread may be writing any more. What is finished
    /// stays.
    ///
    /// # Errors
    /// [`SinkError`] when something cannot be removed; the state is kept then.
    pub fn discard(state: &Path) -> Result<(), SinkError> {
        open::discard(state)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        lock(&self.inner)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Whoever panicked left counts and bits that are still true.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
