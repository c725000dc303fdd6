//! Pieces written.

use std::{
    fs::File,
    io::{self, IoSlice},
    os::unix::fs::PermissionsExt as _,
    sync::Arc,
};

use peerage_wire::files::{
    FileMode,
    manifest::{Entry, FileEntry, Kind, Manifest, Modified},
    path::RelRef,
};
use rustix::fs::{Timespec, Timestamps, UTIME_OMIT};

use super::{Part, Sink, WriteError, folder::Folder, lock, walk::Walk};
use crate::{
    disk::Disk,
    encoding,
    plan::{BLOCK_BYTES, FileRef, Pack, Piece},
};

/// Large files that are kept open.
const MAX_OPEN: usize = 16;

pub(super) fn piece(sink: &Sink, number: u32, encoded: &[u8]) -> Result<(), WriteError> {
    let no_piece = WriteError::NoPiece { piece: number };
    let piece = sink.plan.piece(number).ok_or(no_piece)?;
    let Some(_claim) = Claim::of(sink, number) else { return Ok(()) };
    match piece {
        Piece::Block { file, block } => {
            let mut groups = encoding::verify_block(file, block, encoded)?;
            let handle = large(sink, file)?;
            sink.disk
                .write_at(&handle, &mut groups, block * BLOCK_BYTES)
                .map_err(|error| fault(sink, file.entry, error))?;
        }
        Piece::Pack(pack) => {
            encoding::verify_pack(pack, encoded)?;
            write_pack(sink, pack, encoded)?;
        }
    }
    let mut inner = sink.inner();
    if inner.bits.set(number)
        && let Err(error) = inner.state.write_bit(&inner.bits, number)
    {
        // The piece is there; it will be received again after a kill.
        tracing::warn!(%error, part = %sink.staging().display(), "state of a transfer not written");
    }
    Ok(())
}

/// The right to write a piece, which one thread has at a time.
struct Claim<'a> {
    sink: &'a Sink,
    piece: u32,
}

impl<'a> Claim<'a> {
    /// Waits while another thread writes the piece; `None` once it is there.
    fn of(sink: &'a Sink, piece: u32) -> Option<Self> {
        let mut inner = sink.inner();
        loop {
            if inner.bits.get(piece) {
                return None;
            }
            if inner.busy.insert(piece) {
                return Some(Self { sink, piece });
            }
            inner = sink.written.wait(inner).unwrap_or_else(std::sync::PoisonError::into_inner);
        }
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.sink.inner().busy.remove(&self.piece);
        self.sink.written.notify_all();
    }
}

/// An error of the disk, with the path of the entry on disk.
pub(super) fn fault(sink: &Sink, entry: u32, error: io::Error) -> WriteError {
    let entry = sink.plan.manifest().and_then(|manifest| manifest.entry(entry));
    let path = entry.map_or_else(|| sink.staging(), |e| sink.staging().join(e.path.as_str()));
    WriteError::at(path, error)
}

/// A large file that can be written: of the full length, and reserved where possible.
pub(super) fn large(sink: &Sink, file: FileRef) -> Result<Arc<File>, WriteError> {
    let top = match &sink.part {
        Part::File(file) => return Ok(file.clone()),
        Part::Tree(top) => top,
        Part::Moved => return Err(fault(sink, file.entry, io::ErrorKind::NotFound.into())),
    };
    let mut all = lock(&sink.files);
    if let Some(at) = all.iter().position(|(entry, _)| *entry == file.entry) {
        let found = all.remove(at);
        let handle = found.1.clone();
        all.push(found);
        return Ok(handle);
    }
    let handle = open_large(sink, top, file).map_err(|error| fault(sink, file.entry, error))?;
    if all.len() >= MAX_OPEN {
        all.remove(0);
    }
    all.push((file.entry, handle.clone()));
    Ok(handle)
}

fn open_large(sink: &Sink, top: &Folder, file: FileRef) -> io::Result<Arc<File>> {
    let (path, FileEntry { executable, .. }) =
        sink.plan.manifest().and_then(|m| entry(m, file.entry)).ok_or(io::ErrorKind::NotFound)?;
    let mut walk = Walk::new(top, &sink.names);
    let (dir, name) = (walk.parent(path)?, sink.names.on_disk(path));
    let handle = match dir.create(name, executable) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => dir.write(name)?,
        other => other?,
    };
    if handle.metadata()?.len() != file.size {
        sink.disk.allocate(&handle, file.size)?;
    }
    Ok(Arc::new(handle))
}

fn write_pack(sink: &Sink, pack: Pack<'_>, contents: &[u8]) -> Result<(), WriteError> {
    let (top, manifest) = match (&sink.part, sink.plan.manifest()) {
        (Part::File(file), _) => {
            let written = sink.disk.write_at(file, &mut [IoSlice::new(contents)], 0);
            return written.map_err(|error| fault(sink, 0, error));
        }
        (Part::Tree(top), Some(manifest)) => (top, manifest),
        _ => return Err(fault(sink, 0, io::ErrorKind::NotFound.into())),
    };
    let mut walk = Walk::new(top, &sink.names);
    let mut rest = contents;
    for file in pack.files() {
        // The pack was verified, so it is as long as its files.
        let (content, after) = rest.split_at(file.size as usize);
        rest = after;
        write_small(sink, &mut walk, manifest, file.entry, content)
            .map_err(|error| fault(sink, file.entry, error))?;
    }
    Ok(())
}

/// Writes a whole file anew.
pub(super) fn write_small(
    sink: &Sink,
    walk: &mut Walk<'_>,
    manifest: &Manifest,
    number: u32,
    content: &[u8],
) -> io::Result<()> {
    let (path, FileEntry { executable, modified, .. }) =
        entry(manifest, number).ok_or(io::ErrorKind::NotFound)?;
    let handle = walk.parent(path)?.replace(sink.names.on_disk(path), executable)?;
    if !content.is_empty() {
        let disk: &dyn Disk = &*sink.disk;
        disk.write_at(&handle, &mut [IoSlice::new(content)], 0)?;
    }
    set_modified(&handle, modified)
}

fn entry(manifest: &Manifest, number: u32) -> Option<(RelRef<'_>, FileEntry)> {
    match manifest.entry(number)? {
        Entry { path, kind: Kind::File(file) } => Some((path, file)),
        Entry { kind: Kind::Dir | Kind::Link { .. }, .. } => None,
    }
}

/// Gives a file its mode and time; what the file system cannot hold is left out.
pub(super) fn set_mode(file: &File, mode: FileMode) -> io::Result<()> {
    if mode.executable {
        let mut permissions = file.metadata()?.permissions();
        // Whoever may read it may run it: the umask still counts.
        permissions.set_mode(permissions.mode() | ((permissions.mode() & 0o444) >> 2));
        match file.set_permissions(permissions) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                tracing::debug!(%error, "the file system has no executable files");
            }
            other => other?,
        }
    }
    set_modified(file, mode.modified)
}

/// Gives a file its time; one that the file system cannot hold is left out.
pub(super) fn set_modified(file: &File, modified: Modified) -> io::Result<()> {
    let last_access = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
    let last_modification = Timespec { tv_sec: modified.secs, tv_nsec: modified.nanos.into() };
    match rustix::fs::futimens(file, &Timestamps { last_access, last_modification }) {
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::RANGE) => Ok(()),
        other => Ok(other?),
    }
}
