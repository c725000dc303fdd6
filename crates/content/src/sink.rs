//! Content that is received.

mod error;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::{Bitfield, Plan, disk::Disk};

pub use error::{SinkError, WriteError};

/// Where content is to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// An existing directory.
    pub dir: PathBuf,
    /// Another name than that which was offered; not for bundles.
    pub name: Option<String>,
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
}

impl Sink {
    /// Starts to receive content that was offered as `name`.
    ///
    /// Creates the file `state` (its directory as well), which belongs to the sink until
    /// [`Sink::forget`].
    ///
    /// # Errors
    /// [`SinkError`]: nothing was created.
    pub fn create(
        plan: Plan,
        name: &str,
        target: &Target,
        state: &Path,
    ) -> Result<Self, SinkError> {
        Self::create_on(Arc::new(crate::disk::System), plan, name, target, state)
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
        todo!("{disk:?} {plan:?} {name} {target:?} {state:?}")
    }

    /// Goes on with content that was received in part, without reading it.
    ///
    /// `durable` is what [`Sink::checkpoint`] returned last, if the caller kept it. When the machine was
    /// started since, only this counts.
    ///
    /// # Errors
    /// [`SinkError::Lost`] when the state or what was received is gone: create a new sink.
    pub fn resume(plan: Plan, state: &Path, durable: Option<&Bitfield>) -> Result<Self, SinkError> {
        Self::resume_on(Arc::new(crate::disk::System), plan, state, durable)
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
        todo!("{disk:?} {plan:?} {state:?} {durable:?}")
    }

    /// How the content is cut.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Where the content is until it is finished.
    #[must_use]
    pub fn staging(&self) -> &Path {
        todo!()
    }

    /// Which pieces are there just now.
    #[must_use]
    pub fn bits(&self) -> Bitfield {
        todo!()
    }

    /// Whether the piece is there.
    #[must_use]
    pub fn has(&self, piece: u32) -> bool {
        todo!("{piece}")
    }

    /// Verifies a piece as [`Plan`] describes it and writes it. One that is there already is not
    /// written again.
    ///
    /// # Errors
    /// [`WriteError::Corrupt`]: nothing was written. [`WriteError::DiskFull`]: make space and try
    /// again, the pieces that are there stay.
    pub fn write_piece(&self, piece: u32, encoded: &[u8]) -> Result<(), WriteError> {
        todo!("{piece} {}", encoded.len())
    }

    /// Makes the pieces durable that are there when it is called, and says which.
    ///
    /// # Errors
    /// [`WriteError`]: those that came since the last success may be lost and count as missing.
    pub fn checkpoint(&self) -> Result<Bitfield, WriteError> {
        todo!()
    }

    /// Puts complete content to its destination, durably: under its name, or with ` (1)` when that
    /// is taken. May be called again after an error, and after a kill.
    ///
    /// The state stays until [`Sink::forget`], so that a resumed sink knows that it is finished.
    ///
    /// # Errors
    /// [`SinkError::Incomplete`] while pieces are missing.
    pub fn finish(&self) -> Result<Finished, SinkError> {
        todo!()
    }

    /// Removes the state of a finished sink, once the caller remembers that it is.
    pub fn forget(state: &Path) {
        todo!("{state:?}")
    }

    /// Removes what was received, and the state.
    pub fn discard(self) {
        todo!()
    }
}
