//! Paths to shared content: found, hashed, described.

use std::{
    io,
    path::{Path, PathBuf},
};

use crate::{Cache, Progress, SourceRecord};

/// How many skipped paths are listed; the rest are counted.
pub const MAX_SKIPPED: usize = 100;

/// How to share.
#[derive(Debug, Clone, Copy, Default)]
pub struct PrepareOptions {
    /// Keeps symbolic links that stay within the tree, rather than to skip them.
    pub keep_links: bool,
    /// Skips what cannot be read, rather than to end with an error.
    pub skip_unreadable: bool,
}

/// Content that is ready to be shared.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// What to remember of it.
    pub record: SourceRecord,
    /// What was left out, up to [`MAX_SKIPPED`].
    pub skipped: Vec<Skipped>,
    /// How many paths were left out in all.
    pub skipped_count: u64,
}

/// A path that was left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// Where it is.
    pub path: PathBuf,
    /// Why, as the end of a sentence: `it is a symbolic link`.
    pub reason: String,
}

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
    /// [`Progress::cancel`] was called.
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

/// Finds and hashes what is at `paths`: one file becomes a blob, one directory a tree named after
/// it, several paths a bundle.
///
/// Links are followed where they are named in `paths`, and nowhere below. Hashes are kept in `cache`,
/// large files are hashed by two threads. Blocks as long as that takes.
///
/// # Errors
/// [`PrepareError`] names the path and the remedy.
pub fn prepare(
    paths: &[PathBuf],
    options: &PrepareOptions,
    cache: &Cache,
    progress: &Progress,
) -> Result<Prepared, PrepareError> {
    let _: Option<&Path> = None;
    todo!("{paths:?} {options:?} {cache:?} {progress:?}")
}
