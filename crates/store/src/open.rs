//! Opening the file at start: create, verify, migrate, or set aside what is damaged.

use std::{
    fs, io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use redb::{Database, DatabaseError, ReadableDatabase};

use crate::{
    Store, StoreError,
    lock::{holder, process},
    medium::{Medium, builder, clear_suspicion, create_private_dir},
    schema, shrink,
};

/// Name of the file inside the data directory.
const FILE_NAME: &str = "peerage.redb";

/// What follows in the name of one that was moved out of the way, before the time.
const ASIDE: &str = ".corrupt-";

/// What [`Store::open`] gives.
#[derive(Debug)]
pub struct Opened {
    /// The store.
    pub store: Store,
    /// Set when the former file was damaged and `store` is a new, empty one. Warn loudly: the
    /// node goes on, but it has forgotten what it knew.
    pub kept_aside: Option<KeptAside>,
}

/// A damaged file that was moved out of the way; never deleted by this program.
#[derive(Clone, Debug, thiserror::Error)]
#[error(
    "{} was damaged ({reason}) and is kept as {}; started with an empty one: restore a backup, or \
     delete the kept file once you do not need it", path.display(), kept.display()
)]
pub struct KeptAside {
    /// Where it was, and where the new one is.
    pub path: PathBuf,
    /// Where it is now: `peerage.redb.corrupt-` and the time in Unix seconds.
    pub kept: PathBuf,
    /// What was wrong with it.
    pub reason: String,
}

/// Why there is no store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process has the file open.
    #[error("{} is open in another process{}; stop that one first", path.display(), process(*pid))]
    Locked {
        /// The file.
        path: PathBuf,
        /// The process named in the directory's lock file, if it is another than this.
        pid: Option<u32>,
    },
    /// A newer program wrote the file; it was left untouched.
    #[error(
        "{} has version {found}, this program knows up to {known}; run the newer program or give \
         --data another directory", path.display()
    )]
    TooNew {
        /// The file.
        path: PathBuf,
        /// Version in the file.
        found: u32,
        /// Newest version this program reads.
        known: u32,
    },
    /// The file is damaged and cannot be moved out of the way.
    #[error("{} is damaged ({reason}) and cannot be moved away; do that yourself: {source}", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
        /// Why it cannot be renamed.
        source: io::Error,
    },
    /// The disk, the permissions or the space do not allow it; nothing was moved or deleted.
    #[error("cannot open {}; check its permissions, disk and free space: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
}

/// Why an existing file was not opened.
enum Refusal {
    Damaged(String),
    Open(OpenError),
}

impl Store {
    /// Opens `dir/peerage.redb` or creates it (mode 0600; `dir` gets 0700 if it is created).
    ///
    /// Blocks, usually for less than 20 ms; after an unclean stop also for the time to read the
    /// whole file. A damaged file is renamed, never deleted, and the store starts empty:
    /// see [`Opened::kept_aside`]. Take the [`DirLock`](crate::DirLock) of `dir` first.
    ///
    /// The file is not made smaller here, which would take the start past 150 ms, but at a clean stop:
    /// free pages at its end are given back, and if it is large and most of it is free, it is rewritten.
    ///
    /// # Errors
    /// [`OpenError::Locked`] another process uses it; [`OpenError::TooNew`] run the newer program;
    /// [`OpenError::Io`] and [`OpenError::Corrupt`] somebody must look at the disk.
    pub fn open(dir: &Path) -> Result<Opened, OpenError> {
        create_private_dir(dir).map_err(io_at(dir))?;
        let path = dir.join(FILE_NAME);
        shrink::remove_unfinished(&path).map_err(io_at(&path))?;
        let (database, kept_aside) = match exists(&path)?.then(|| open_existing(&path)) {
            None => (create(&path)?, None),
            Some(Ok(database)) => (database, None),
            Some(Err(Refusal::Open(error))) => return Err(error),
            Some(Err(Refusal::Damaged(reason))) => {
                let kept_aside = keep_aside(&path, reason)?;
                (create(&path)?, Some(kept_aside))
            }
        };
        let store = Store::start(Medium::File(path.clone()), database).map_err(io_at(&path))?;
        Ok(Opened { store, kept_aside })
    }
}

fn io_at(path: &Path) -> impl Fn(io::Error) -> OpenError {
    move |source| OpenError::Io { path: path.to_owned(), source }
}

fn exists(path: &Path) -> Result<bool, OpenError> {
    path.try_exists().map_err(io_at(path))
}

/// A file gets its name once it is complete, so that a crash meanwhile leaves none rather than one
/// that looks damaged.
fn create(path: &Path) -> Result<Database, OpenError> {
    let database = shrink::create_unfinished(path)
        .and_then(|database| schema::initialise(&database).map(|()| database))
        .map_err(|error| io_at(path)(into_io(error)))?;
    shrink::finish(path).map_err(io_at(path))?;
    Ok(database)
}

fn open_existing(path: &Path) -> Result<Database, Refusal> {
    make_private(path);
    // redb may panic on a file it does not understand.
    let opened = catch_unwind(AssertUnwindSafe(|| {
        refuse_newer(path)?;
        let database = Medium::File(path.to_owned()).open().map_err(|e| refusal(path, e))?;
        // Once more: redb does not show the content of a file that needs repair before it did so.
        check_version(path, &database)?;
        schema::migrate(&database).map_err(|error| store_refusal(path, error))?;
        Ok(database)
    }));
    opened
        .unwrap_or_else(|panic| Err(Refusal::Damaged(crate::error::panic_message(&*panic).into())))
}

/// Opens the file read-only, which writes nothing, to see whether it may be written.
fn refuse_newer(path: &Path) -> Result<(), Refusal> {
    match builder().open_read_only(path) {
        Ok(database) => check_version(path, &database),
        // Not closed cleanly: only opening it for writing repairs it.
        Err(DatabaseError::RepairAborted) => Ok(()),
        Err(error) => Err(refusal(path, error)),
    }
}

fn check_version(path: &Path, database: &impl ReadableDatabase) -> Result<(), Refusal> {
    let found = database
        .begin_read()
        .map_err(StoreError::from)
        .and_then(|txn| schema::version(&txn))
        .map_err(|error| store_refusal(path, error))?;
    if found > schema::VERSION {
        let path = path.to_owned();
        return Err(Refusal::Open(OpenError::TooNew { path, found, known: schema::VERSION }));
    }
    Ok(())
}

fn refusal(path: &Path, error: DatabaseError) -> Refusal {
    match error {
        DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch => {
            let pid = path.parent().and_then(holder).filter(|pid| *pid != std::process::id());
            Refusal::Open(OpenError::Locked { path: path.to_owned(), pid })
        }
        other => store_refusal(path, other.into()),
    }
}

fn store_refusal(path: &Path, error: StoreError) -> Refusal {
    match error {
        StoreError::Corrupt { reason } => Refusal::Damaged(reason.to_string()),
        other => Refusal::Open(io_at(path)(into_io(other))),
    }
}

/// Keeps the kind and the words of the operating system.
fn into_io(error: StoreError) -> io::Error {
    match error {
        StoreError::Io { source } | StoreError::Full { source } => {
            io::Error::new(source.kind(), source)
        }
        other => io::Error::other(other),
    }
}

fn keep_aside(path: &Path, reason: String) -> Result<KeptAside, OpenError> {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let name = |suffix: String| path.with_file_name(format!("{FILE_NAME}{ASIDE}{seconds}{suffix}"));
    let kept = std::iter::once(name(String::new()))
        .chain((1..).map(|n| name(format!("-{n}"))))
        .find(|kept| fs::symlink_metadata(kept).is_err_and(|e| e.kind() == io::ErrorKind::NotFound))
        .unwrap_or_else(|| name("-last".into()));
    if let Err(source) = fs::rename(path, &kept) {
        return Err(OpenError::Corrupt { path: path.to_owned(), reason, source });
    }
    clear_suspicion(path);
    Ok(KeptAside { path: path.to_owned(), kept, reason })
}

/// The damaged file that was moved out of the way in this directory, the latest if there are
/// several; until somebody deletes it. Reads the directory.
#[must_use]
pub fn kept_aside(dir: &Path) -> Option<PathBuf> {
    let prefix = format!("{FILE_NAME}{ASIDE}");
    let of = |entry: fs::DirEntry| entry.file_name().into_string().ok();
    let names = fs::read_dir(dir).ok()?.filter_map(|entry| of(entry.ok()?));
    // Numbers of seconds have as many digits for the next centuries.
    names.filter(|name| name.starts_with(&prefix)).max().map(|name| dir.join(name))
}

/// Takes the file from everybody else, should it have been copied there with a wider mode.
fn make_private(path: &Path) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let wide = fs::metadata(path).is_ok_and(|file| file.permissions().mode() & 0o077 != 0);
        if wide && let Err(error) = fs::set_permissions(path, fs::Permissions::from_mode(0o600)) {
            tracing::warn!(%error, path = %path.display(), "others can read the store");
        }
    }
}
