//! What can go wrong while receiving.

use std::{io, path::PathBuf};

use peerage_wire::files::path::PathError;

use crate::Corrupt;

/// Why content cannot be received here, or not be put to its destination.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SinkError {
    /// Too little space for the whole content.
    #[error("{needed} bytes are needed and {free} are free in {}: make space", .dir.display())]
    NoSpace {
        /// Bytes that the content takes.
        needed: u64,
        /// Bytes that may be written.
        free: u64,
        /// Where.
        dir: PathBuf,
    },
    /// The offered name, or the one that was chosen, is not one.
    #[error(transparent)]
    Name(#[from] PathError),
    /// A bundle cannot be renamed.
    #[error("several items cannot be received under one name: leave the name out")]
    Bundle,
    /// The destination is not there or not a directory.
    #[error("{} is not a directory: create it or choose another", .dir.display())]
    NoDirectory {
        /// The destination.
        dir: PathBuf,
    },
    /// The node may not write there.
    #[error("no permission to write {}: change its permissions or choose another directory", .path.display())]
    Denied {
        /// Where.
        path: PathBuf,
    },
    /// The file system is mounted read-only.
    #[error("{} is on a read-only file system: choose another directory", .path.display())]
    ReadOnly {
        /// Where.
        path: PathBuf,
    },
    /// What was received is gone.
    #[error("what was received of {} is gone: it must be received again", .path.display())]
    Lost {
        /// Where it was, or its state.
        path: PathBuf,
    },
    /// The state is of other content.
    #[error("the state {} is of other content", .path.display())]
    OtherContent {
        /// The state.
        path: PathBuf,
    },
    /// Pieces are missing.
    #[error("{missing} pieces are missing")]
    Incomplete {
        /// How many.
        missing: u32,
    },
    /// The disk became full.
    #[error("the disk of {} is full: make space and resume", .path.display())]
    DiskFull {
        /// What was written.
        path: PathBuf,
    },
    /// The disk has a fault, or somebody interferes.
    #[error("{} cannot be written", .path.display())]
    Io {
        /// What was written.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// Why a piece was not written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// It is not what its hash says; nothing of it was written.
    #[error(transparent)]
    Corrupt(#[from] Corrupt),
    /// There is no such piece.
    #[error("there is no piece {piece}")]
    NoPiece {
        /// What was given.
        piece: u32,
    },
    /// The disk is full. The pieces that are there stay.
    #[error("the disk of {} is full: make space and resume", .path.display())]
    DiskFull {
        /// What was written.
        path: PathBuf,
    },
    /// The node may no longer write there.
    #[error("no permission to write {}: change its permissions and resume", .path.display())]
    Denied {
        /// What was written.
        path: PathBuf,
    },
    /// The disk has a fault, or somebody interferes.
    #[error("{} cannot be written", .path.display())]
    Io {
        /// What was written.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

impl WriteError {
    pub(crate) fn at(path: impl Into<PathBuf>, source: io::Error) -> Self {
        let path = path.into();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull { path },
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                Self::Denied { path }
            }
            _ => Self::Io { path, source },
        }
    }
}

impl SinkError {
    pub(crate) fn at(path: impl Into<PathBuf>, source: io::Error) -> Self {
        let path = path.into();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull { path },
            io::ErrorKind::PermissionDenied => Self::Denied { path },
            io::ErrorKind::ReadOnlyFilesystem => Self::ReadOnly { path },
            _ => Self::Io { path, source },
        }
    }
}

impl From<WriteError> for SinkError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::DiskFull { path } => Self::DiskFull { path },
            WriteError::Denied { path } => Self::Denied { path },
            WriteError::Io { path, source } => Self::Io { path, source },
            // Neither comes from putting complete content to its destination.
            WriteError::Corrupt(error) => {
                Self::Io { path: PathBuf::new(), source: io::Error::other(error) }
            }
            WriteError::NoPiece { piece } => Self::Io {
                path: PathBuf::new(),
                source: io::Error::other(format!("piece {piece}")),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_say_what_to_do() {
        for (errno, remedy) in [
            (13, "change its permissions"),
            (30, "choose another directory"),
            (28, "make space"),
            (122, "make space"),
            (5, "cannot be written"),
        ] {
            let error = || io::Error::from_raw_os_error(errno);
            let sink = SinkError::at("/some/where", error()).to_string();
            assert!(sink.contains(remedy) && sink.contains("/some/where"), "{sink}");
            let write = WriteError::at("/some/where", error()).to_string();
            assert!(write.contains("/some/where"), "{write}");
        }
    }
}
