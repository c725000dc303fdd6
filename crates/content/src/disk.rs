//! The calls to the operating system that can fail because of the disk, so that tests can make them.

use std::{
    fmt,
    fs::File,
    io::{self, IoSlice},
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

    /// Makes what was written to the file durable.
    ///
    /// # Errors
    /// Those of `fdatasync(2)`: what was written since the last success may be lost.
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
        file.sync_data()
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

    fn boot_id(&self) -> Option<String> {
        let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        Some(id.trim().to_owned()).filter(|id| !id.is_empty() && id.len() <= 64)
    }
}
