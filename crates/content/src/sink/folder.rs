//! Directories that are written below, never through a symbolic link.

use std::{
    fs::File,
    io,
    os::{fd::AsFd as _, unix::fs::MetadataExt as _},
    path::Path,
};

use cap_std::fs::{Dir, OpenOptions, OpenOptionsExt as _};
use rustix::{
    fs::{OFlags, RenameFlags},
    io::Errno,
};

/// An open directory. Every name given to it is a single component.
///
/// `cap_std` keeps names beneath it; `O_NOFOLLOW` refuses links, also those that lead back into it.
#[derive(Debug)]
pub(super) struct Folder(Dir);

impl Folder {
    /// Opens a directory of the user's choice; links on the way to it are theirs.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Self::of(File::open(path)?)
    }

    fn of(file: File) -> io::Result<Self> {
        match file.metadata()?.is_dir() {
            true => Ok(Self(Dir::from_std_file(file))),
            false => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    /// A handle for syncing.
    pub(super) fn file(&self) -> io::Result<File> {
        Ok(self.0.try_clone()?.into_std_file())
    }

    /// Opens a directory in it.
    pub(super) fn dir(&self, name: &str) -> io::Result<Self> {
        let flags = OFlags::NOFOLLOW | OFlags::DIRECTORY;
        let mut options = OpenOptions::new();
        options.read(true).custom_flags(flags.bits() as i32);
        Ok(Self(Dir::from_std_file(self.0.open_with(name, &options)?.into_std())))
    }

    /// Creates a directory in it; an existing one is an error.
    pub(super) fn create_dir(&self, name: &str) -> io::Result<()> {
        self.0.create_dir(name)
    }

    /// Opens a directory in it, created if need be.
    pub(super) fn dir_or_create(&self, name: &str) -> io::Result<Self> {
        match self.dir(name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => return other,
        }
        match self.create_dir(name) {
            // Another thread was faster.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            other => other?,
        }
        self.dir(name)
    }

    /// Creates a file in it; an existing one is an error.
    pub(super) fn create(&self, name: &str, executable: bool) -> io::Result<File> {
        let mut options = OpenOptions::new();
        // Less the umask, as of all programs.
        options.write(true).create_new(true).mode(if executable { 0o777 } else { 0o666 });
        Ok(self.0.open_with(name, &options)?.into_std())
    }

    /// Creates a file in it instead of what has that name.
    pub(super) fn replace(&self, name: &str, executable: bool) -> io::Result<File> {
        match self.create(name, executable) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            other => return other,
        }
        self.0.remove_file(name)?;
        self.create(name, executable)
    }

    /// Opens a file in it for writing that has no other name.
    pub(super) fn write(&self, name: &str) -> io::Result<File> {
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let mut options = OpenOptions::new();
        options.write(true).custom_flags(flags.bits() as i32);
        let file = self.0.open_with(name, &options)?.into_std();
        let metadata = file.metadata()?;
        match metadata.is_file() && metadata.nlink() == 1 {
            true => Ok(file),
            false => Err(io::Error::other("it was replaced by something else")),
        }
    }

    /// Whether something has that name, be it a dangling link.
    pub(super) fn has(&self, name: &str) -> io::Result<bool> {
        match self.0.symlink_metadata(name) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Creates a link in it instead of what has that name.
    pub(super) fn link(&self, target: &str, name: &str) -> io::Result<()> {
        match self.0.symlink(target, name) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            other => return other,
        }
        self.0.remove_file(name)?;
        self.0.symlink(target, name)
    }

    pub(super) fn remove_file(&self, name: &str) -> io::Result<()> {
        self.0.remove_file(name)
    }

    /// Removes an empty directory.
    pub(super) fn remove_dir(&self, name: &str) -> io::Result<()> {
        self.0.remove_dir(name)
    }

    /// Removes a directory and what is in it; links are removed, not followed.
    pub(super) fn remove_all(&self, name: &str) -> io::Result<()> {
        self.0.remove_dir_all(name)
    }

    /// Moves `from` in it to `to` in `into`, where nothing may have that name.
    pub(super) fn move_new(&self, from: &str, into: &Self, to: &str) -> io::Result<()> {
        let (here, there) = (self.0.as_fd(), into.0.as_fd());
        match rustix::fs::renameat_with(here, from, there, to, RenameFlags::NOREPLACE) {
            Ok(()) => Ok(()),
            // File systems that cannot, such as NFS.
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => self.move_old(from, into, to),
            Err(error) => Err(error.into()),
        }
    }

    /// [`Folder::move_new`] in two steps that do not replace either.
    fn move_old(&self, from: &str, into: &Self, to: &str) -> io::Result<()> {
        if self.0.symlink_metadata(from)?.is_dir() {
            into.create_dir(to)?;
            // Replaces the empty directory, and nothing but an empty directory.
            return self.0.rename(from, &into.0, to);
        }
        self.0.hard_link(from, &into.0, to)?;
        self.remove_file(from)
    }
}
