//! Where the bytes of a store live, and how redb is told to open them.

use std::{
    fs::{DirBuilder, File, OpenOptions},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use redb::{Builder, Database, DatabaseError, StorageBackend, backends::InMemoryBackend};

/// redb keeps recently used pages in memory, so much at most, against 1 GiB by default; a node with little
/// data takes little. The page cache of the operating system holds the rest. With 4 MiB reads of a
/// thousand keys again and again are three times as slow.
pub(crate) const CACHE_BYTES: usize = 16 << 20;

/// Something that can be opened again after a failure.
#[derive(Clone, Debug)]
pub(crate) enum Medium {
    File(PathBuf),
    Memory(Shared),
}

impl Medium {
    pub(crate) fn memory() -> Self {
        Self::Memory(Shared(Arc::new(InMemoryBackend::new())))
    }

    /// Opens what is there; an existing file must be a database, memory may be empty.
    pub(crate) fn open(&self) -> Result<Database, DatabaseError> {
        let mut builder = builder();
        match self {
            Self::File(path) => {
                let check =
                    suspect(path).try_exists()? || path.metadata()?.len() <= MAX_VERIFIED_BYTES;
                let database = builder.set_check_integrity_on_open(check).open(path)?;
                clear_suspicion(path);
                Ok(database)
            }
            Self::Memory(shared) => builder.create_with_backend(shared.clone()),
        }
    }

    /// Makes the next opening verify every page, whatever the size.
    pub(crate) fn suspect_damage(&self) {
        if let Self::File(path) = self
            && let Err(error) =
                private(OpenOptions::new().write(true).create(true)).open(suspect(path))
        {
            tracing::warn!(%error, path = %path.display(), "damage cannot be noted for the next start");
        }
    }

    /// Where the file is, if it is one in which no damage was seen.
    pub(crate) fn sound_path(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path.as_path()).filter(|path| !suspect(path).exists()),
            Self::Memory(_) => None,
        }
    }

    /// Bytes in use; 0 when they cannot be counted just now.
    pub(crate) fn bytes(&self) -> u64 {
        match self {
            Self::File(path) => path.metadata().map_or(0, |metadata| metadata.len()),
            Self::Memory(shared) => shared.0.len().unwrap_or(0),
        }
    }
}

/// Up to this size a file is verified at every start, also after a clean stop.
///
/// redb trusts a file it closed itself and would find a page damaged since only when it reads it,
/// possibly by a panic. Reading and hashing 8 MiB costs about 15 ms of the 150 ms a start may
/// take. Larger files are verified after an unclean stop, which redb does anyway, and after
/// damage was seen while running.
const MAX_VERIFIED_BYTES: u64 = 8 << 20;

/// An empty file of this name means that damage was seen while the store was open.
fn suspect(path: &Path) -> PathBuf {
    path.with_extension("redb.suspect")
}

/// Called when the file passed verification or was set aside.
pub(crate) fn clear_suspicion(path: &Path) {
    // Left behind, it only costs the next start a verification.
    let _ = std::fs::remove_file(suspect(path));
}

pub(crate) fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE_BYTES);
    builder
}

/// A backend that outlives the database opened on it.
#[derive(Clone, Debug)]
pub(crate) struct Shared(pub(crate) Arc<dyn StorageBackend>);

impl StorageBackend for Shared {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read(offset, out)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write(offset, data)
    }
}

/// Makes files created with these options readable by the owner alone (0600).
pub(crate) fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    options
}

/// Creates the directory and its parents with mode 0700; one that exists is left as it is.
pub(crate) fn create_private_dir(dir: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir)
}

/// Makes a rename or a new file in this directory durable.
pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    // Windows cannot open directories as files and needs no such call.
    if cfg!(unix) { File::open(dir)?.sync_all() } else { Ok(()) }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::atomic::{AtomicBool, AtomicI32, Ordering::SeqCst};

    use super::*;

    /// Memory that fails on demand, as a disk would.
    #[derive(Debug, Default)]
    pub(crate) struct Flaky {
        memory: InMemoryBackend,
        /// Error number of every write, 0 for none.
        pub(crate) writes_fail: AtomicI32,
        pub(crate) reads_fail: AtomicBool,
    }

    impl Flaky {
        fn writable(&self) -> io::Result<()> {
            match self.writes_fail.load(SeqCst) {
                0 => Ok(()),
                number => Err(io::Error::from_raw_os_error(number)),
            }
        }
    }

    impl StorageBackend for Flaky {
        fn len(&self) -> io::Result<u64> {
            self.memory.len()
        }
        fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
            if self.reads_fail.load(SeqCst) {
                return Err(io::Error::from_raw_os_error(5));
            }
            self.memory.read(offset, out)
        }
        fn set_len(&self, len: u64) -> io::Result<()> {
            self.writable()?;
            self.memory.set_len(len)
        }
        fn sync_data(&self) -> io::Result<()> {
            self.writable()?;
            self.memory.sync_data()
        }
        fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
            self.writable()?;
            self.memory.write(offset, data)
        }
    }
}
