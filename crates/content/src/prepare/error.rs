//! What can go wrong while preparing.

use std::{
    io,
    path::{Path, PathBuf},
};

/// Why paths cannot be shared.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PrepareError {
    /// No path was given.
    #[error("no path to share")]
    Nothing,
    /// It is not there.
    #[error("there is no {}", .path.display())]
    Missing {
        /// The path.
        path: PathBuf,
    },
    /// The node may not read it.
    #[error("no permission to read {}: change its permissions or leave it out", .path.display())]
    Denied {
        /// The path.
        path: PathBuf,
    },
    /// It is neither a file nor a directory.
    #[error("{} is neither a file nor a directory", .path.display())]
    Special {
        /// The path.
        path: PathBuf,
    },
    /// It has no name under which it could be sent.
    #[error("{} cannot be sent under its name ({reason}): rename it", .path.display())]
    Name {
        /// The path.
        path: PathBuf,
        /// What is wrong with the name.
        reason: String,
    },
    /// It changes while it is read.
    #[error("{} is being changed: share it again when it is complete", .path.display())]
    Changed {
        /// The path.
        path: PathBuf,
    },
    /// The tree is above a limit.
    #[error("{} cannot be shared as one: {source}", .path.display())]
    Limit {
        /// The entry that was too much.
        path: PathBuf,
        /// The limit.
        source: peerage_wire::files::manifest::ManifestError,
    },
    /// [`crate::Progress::cancel`] was called.
    #[error("sharing was cancelled")]
    Cancelled,
    /// The cache cannot be written.
    #[error("the cache in the data directory cannot be written; check its permissions and space")]
    Cache(#[source] io::Error),
    /// The disk has a fault.
    #[error("{} cannot be read", .path.display())]
    Io {
        /// The path.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

impl PrepareError {
    pub(super) fn at(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Self::Missing { path },
            io::ErrorKind::PermissionDenied => Self::Denied { path },
            // How a cancelled hash ends.
            io::ErrorKind::Interrupted => Self::Cancelled,
            io::ErrorKind::UnexpectedEof => Self::Changed { path },
            _ => Self::Io { path, source },
        }
    }

    /// Whether a walk may go on without the path.
    pub(super) fn is_of_path(&self) -> bool {
        matches!(self, Self::Missing { .. } | Self::Denied { .. } | Self::Io { .. })
    }
}
