//! What can go wrong while serving.

use std::{
    io,
    path::{Path, PathBuf},
};

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
    /// The manifest of the tree is not in the cache, or the record is not one of this version.
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

impl SourceError {
    pub(super) fn at(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Self::Missing { path },
            io::ErrorKind::PermissionDenied => Self::Denied { path },
            // Shorter than it was, or a link or directory by now.
            io::ErrorKind::UnexpectedEof | io::ErrorKind::IsADirectory => Self::Changed { path },
            _ if source.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => {
                Self::Changed { path }
            }
            _ => Self::Io { path, source },
        }
    }
}
