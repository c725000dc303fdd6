//! One node per data directory.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use crate::medium::{create_private_dir, private};

/// Name of the lock file inside the data directory.
const FILE_NAME: &str = "lock";

/// The right to use a data directory, until dropped or until the process ends, however it ends.
///
/// An exclusive advisory lock on `DIR/lock`, which also holds the decimal process id for people
/// and for [`LockError::Held`]. The file stays when the lock goes: removing it would let two
/// processes hold locks on two files of the same name.
#[derive(Debug)]
pub struct DirLock {
    file: File,
}

/// Why a data directory cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LockError {
    /// Another process uses the directory.
    #[error(
        "another node{} uses {}; stop it with `peerage stop` or give --data another directory",
        process(*pid), dir.display()
    )]
    Held {
        /// The data directory.
        dir: PathBuf,
        /// The process that holds it, when it has written that down already.
        pid: Option<u32>,
    },
    /// The lock file cannot be created, locked or written.
    #[error("cannot lock {}; check that it is a writable directory: {source}", path.display())]
    Io {
        /// The lock file or the directory.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
}

pub(crate) fn process(pid: Option<u32>) -> String {
    pid.map(|pid| format!(" (process {pid})")).unwrap_or_default()
}

impl DirLock {
    /// Takes the directory for this process; creates it with mode 0700 if it does not exist.
    ///
    /// Blocks for a few file operations, never for the other process.
    ///
    /// # Errors
    /// [`LockError::Held`] another node runs there: stop it or use another directory.
    /// [`LockError::Io`] the directory cannot be used: check path and permissions.
    pub fn acquire(dir: &Path) -> Result<Self, LockError> {
        let path = dir.join(FILE_NAME);
        let failed = |source| LockError::Io { path: path.clone(), source };
        create_private_dir(dir).map_err(failed)?;
        // Not truncated on opening: until the lock is ours the content belongs to its holder.
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let mut file = private(&mut options).open(&path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(LockError::Held { dir: dir.to_owned(), pid: holder(dir) });
            }
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        file.set_len(0).map_err(failed)?;
        writeln!(file, "{}", std::process::id()).map_err(failed)?;
        Ok(Self { file })
    }
}

impl Drop for DirLock {
    fn drop(&mut self) {
        // So that nobody is ever told the id of a process long gone; closing the file unlocks it.
        let _ = self.file.set_len(0);
    }
}

/// The process written down in the directory's lock file.
pub(crate) fn holder(dir: &Path) -> Option<u32> {
    let mut text = String::new();
    File::open(dir.join(FILE_NAME)).ok()?.take(16).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_holder_is_told_the_process() {
        let dir = tempfile::tempdir().unwrap();
        let held = DirLock::acquire(dir.path()).unwrap();
        let error = DirLock::acquire(dir.path()).unwrap_err();
        assert!(error.to_string().contains(&format!("process {}", std::process::id())), "{error}");
        assert!(error.to_string().contains("peerage stop"), "{error}");
        drop(held);
        assert_eq!(holder(dir.path()), None);
        DirLock::acquire(dir.path()).unwrap();
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_named() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("file"), b"").unwrap();
        let error = DirLock::acquire(&dir.path().join("file")).unwrap_err();
        assert!(matches!(error, LockError::Io { .. }), "{error}");
        assert!(error.to_string().contains("file"), "{error}");
    }
}
