//! Content that is served.

use std::{io, path::PathBuf};

use crate::{Cache, Manifest, Plan, SourceRecord};

/// Shared content, open for reading. Share it by `Arc`; any number of threads may read.
#[derive(Debug)]
pub struct Source {
    plan: Plan,
}

/// Why a piece cannot be served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// The file is not what was shared.
    #[error("{} was changed since it was shared: share it again", .path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// The file is gone.
    #[error("{} is gone: put it back or share it from where it is now", .path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// The node may not read it.
    #[error("no permission to read {}: change its permissions", .path.display())]
    Denied {
        /// The file.
        path: PathBuf,
    },
    /// The manifest of the tree is not in the cache.
    #[error("the list of files of {name:?} is gone from the cache: share it again")]
    Unknown {
        /// The tree.
        name: String,
    },
    /// There is no such piece.
    #[error("there is no piece {piece}")]
    NoPiece {
        /// What was asked for.
        piece: u32,
    },
    /// The disk has a fault.
    #[error("{} cannot be read", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

impl Source {
    /// Opens what [`crate::prepare`] found.
    ///
    /// # Errors
    /// [`SourceError`] when a file named in the record is gone or has another size, or when the
    /// manifest is not in the cache.
    pub fn open(record: &SourceRecord, cache: &Cache) -> Result<Self, SourceError> {
        todo!("{record:?} {cache:?}")
    }

    /// The manifest itself, as a blob under its root.
    #[must_use]
    pub fn manifest(manifest: &Manifest) -> Self {
        todo!("{manifest:?}")
    }

    /// How the content is cut.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Reads, verifies and encodes a piece. `out` is overwritten, its memory is used again; after an
    /// error its content is of no use.
    ///
    /// # Errors
    /// [`SourceError`].
    pub fn read_piece(&self, piece: u32, out: &mut Vec<u8>) -> Result<(), SourceError> {
        todo!("{piece} {out:?}")
    }
}
