//! The calls to the operating system that can fail because of the disk, so that tests can make them.

use std::{
    fmt,
    fs::File,
    io::{self, IoSlice},
};

use rustix::{
    fs::{AtFlags, Mode, OFlags},
    io::Errno,
};

/// What a [`crate::Sink`] asks of the disk.
pub trait Disk: fmt::Debug + Send + Sync + 'static {
    /// Writes all parts one after the other, from `offset` on.
    ///
    /// # Errors
    /// Those of `pwritev(2)`; some of the parts may be written then.
    fn write_at(&self, file: &File, parts: &mut [IoSlice<'_>], offset: u64) -> io::Result<()>;

    /// Gives the file `len` bytes and reserves the space where the file system can.
    ///
    /// # Errors
    /// Those of `fallocate(2)`, except that it is not supported.
    fn allocate(&self, file: &File, len: u64) -> io::Result<()>;

    /// Makes what was written to the file durable, and its mode and time.
    ///
    /// # Errors
    /// Those of `fsync(2)`: what was written since the last success may be lost.
    fn sync(&self, file: &File) -> io::Result<()>;

    /// Makes everything durable that was written to the file system of this directory.
    ///
    /// # Errors
    /// Those of `syncfs(2)`: what was written since the last success may be lost.
    fn sync_all(&self, dir: &File) -> io::Result<()>;

    /// Bytes that may still be written to the file system of this directory.
    ///
    /// # Errors
    /// Those of `fstatvfs(3)`.
    fn free(&self, dir: &File) -> io::Result<u64>;

    /// Whether this directory takes names for one that differ only by case, or only in how Unicode
    /// composes them. Creates files in it to find out, and removes them.
    ///
    /// # Errors
    /// Those of `openat(2)` and `unlinkat(2)`.
    fn folds(&self, dir: &File) -> io::Result<bool>;

    /// Another text after every start of the machine; `None` where it cannot be told.
    fn boot_id(&self) -> Option<String>;
}

/// The disk of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct System;

impl Disk for System {
    fn write_at(&self, file: &File, parts: &mut [IoSlice<'_>], mut offset: u64) -> io::Result<()> {
        let mut parts = parts;
        IoSlice::advance_slices(&mut parts, 0);
        while !parts.is_empty() {
            match rustix::io::pwritev(file, parts, offset) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    offset += written as u64;
                    IoSlice::advance_slices(&mut parts, written);
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn allocate(&self, file: &File, len: u64) -> io::Result<()> {
        #[cfg(target_os = "linux")]
        {
            use rustix::{fs::FallocateFlags, io::Errno};
            match rustix::fs::fallocate(file, FallocateFlags::empty(), 0, len) {
                Ok(()) => return Ok(()),
                Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => {}
                Err(error) => return Err(error.into()),
            }
        }
        file.set_len(len)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        file.sync_all()
    }

    fn sync_all(&self, dir: &File) -> io::Result<()> {
        #[cfg(target_os = "linux")]
        rustix::fs::syncfs(dir)?;
        #[cfg(not(target_os = "linux"))]
        {
            let _ = dir;
            rustix::fs::sync();
        }
        Ok(())
    }

    fn free(&self, dir: &File) -> io::Result<u64> {
        let stat = rustix::fs::fstatvfs(dir)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    fn folds(&self, dir: &File) -> io::Result<bool> {
        Ok(are_one(dir, "name", "NAME")? || are_one(dir, "\u{e9}", "e\u{301}")?)
    }

    fn boot_id(&self) -> Option<String> {
        let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        Some(id.trim().to_owned()).filter(|id| !id.is_empty() && id.len() <= 64)
    }
}

/// Whether a file created under one name is there under the other.
fn are_one(dir: &File, name: &str, other: &str) -> io::Result<bool> {
    let [name, other] = [name, other].map(|name| format!(".peerage {name}"));
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    match rustix::fs::openat(dir, &name, flags, Mode::RUSR | Mode::WUSR) {
        // Left by a process that was killed here.
        Ok(_) | Err(Errno::EXIST) => {}
        // The file system has no such names.
        Err(Errno::INVAL | Errno::ILSEQ) => return Ok(false),
        Err(error) => return Err(error.into()),
    }
    let found = rustix::fs::statat(dir, &other, AtFlags::SYMLINK_NOFOLLOW);
    rustix::fs::unlinkat(dir, &name, AtFlags::empty())?;
    match found {
        Ok(_) => Ok(true),
        Err(Errno::NOENT | Errno::INVAL | Errno::ILSEQ) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finding_out_about_names_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        // As a killed process leaves it.
        File::create(dir.path().join(".peerage name")).unwrap();
        let handle = File::open(dir.path()).unwrap();
        let folds = System.folds(&handle).unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        File::create(dir.path().join("a")).unwrap();
        assert_eq!(folds, dir.path().join("A").exists());
    }
}
