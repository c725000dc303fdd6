//! Content made durable and put to its destination.

use std::{fs::File, io};

use peerage_wire::files::{
    manifest::{FileEntry, Kind, Manifest},
    path::RelRef,
};

use super::{
    Finished, Part, Sink, SinkError, WriteError,
    folder::Folder,
    lock,
    names::numbered,
    open::MAX_NUMBERS,
    state::{self, Move},
    walk::Walk,
    write,
};
use crate::{
    Bitfield,
    plan::{FileRef, PACKED_MAX_BYTES},
};

/// Makes durable what is there, and says which pieces. The caller has the turn.
pub(super) fn sync(sink: &Sink) -> Result<Bitfield, WriteError> {
    let (there, first) = {
        let inner = sink.inner();
        (inner.bits.clone(), !inner.state_durable)
    };
    if !first && there == sink.inner().durable {
        return Ok(there);
    }
    let synced = sync_part(sink).and_then(|()| match first {
        // The name of the part, and the state that tells it.
        true => sink.disk.sync(&sink.dir.file()?).and_then(|()| sink.inner().state.sync()),
        false => Ok(()),
    });
    let mut inner = sink.inner();
    match synced {
        Ok(()) => {
            inner.durable.clone_from(&there);
            inner.state_durable = true;
            Ok(there)
        }
        Err(error) => {
            // The kernel may have dropped what it could not write, and will not say so again.
            let durable = inner.durable.clone();
            inner.bits = durable;
            let _ = inner.state.write_bits(&inner.bits);
            Err(WriteError::at(sink.staging(), error))
        }
    }
}

fn sync_part(sink: &Sink) -> io::Result<()> {
    match &sink.part {
        Part::File(file) => sink.disk.sync(file),
        // One call for any number of files and the directories they are in.
        Part::Tree(top) => sink.disk.sync_all(&top.file()?),
        Part::Moved => Ok(()),
    }
}

pub(super) fn finish(sink: &Sink) -> Result<Finished, SinkError> {
    let _turn = lock(&sink.turn);
    if let Some(done) = sink.done.get() {
        return Ok(done.clone());
    }
    let missing = {
        let inner = sink.inner();
        inner.bits.len() - inner.bits.count()
    };
    if missing > 0 {
        return Err(SinkError::Incomplete { missing });
    }
    let moving = !sink.inner().moves.is_empty();
    let changed = match (&sink.part, sink.plan.manifest(), sink.header.file) {
        (Part::Tree(top), Some(manifest), _) if !moving => {
            complete(sink, top, manifest)?;
            true
        }
        (Part::File(file), _, Some(mode)) if !moving => {
            write::set_mode(file, mode).map_err(|error| SinkError::at(sink.staging(), error))?;
            true
        }
        _ => false,
    };
    if changed {
        // Times and links come after the pieces that a checkpoint may have synced.
        sink.inner().state_durable = false;
    }
    sync(sink)?;
    let paths = match (&sink.part, sink.plan.manifest()) {
        (Part::Tree(top), Some(manifest)) if sink.header.kind == state::Kind::Bundle => {
            move_items(sink, top, manifest)?
        }
        _ => vec![move_part(sink)?],
    };
    let dir = sink.dir.file().and_then(|dir: File| sink.disk.sync(&dir));
    dir.map_err(|error| SinkError::at(&sink.header.dir, error))?;
    lock(&sink.files).clear();
    let paths = paths.into_iter().map(|name| sink.header.dir.join(name)).collect();
    Ok(sink.done.get_or_init(|| Finished { paths }).clone())
}

/// Makes what no piece has: directories, empty files, times of large files, and links last.
fn complete(sink: &Sink, top: &Folder, manifest: &Manifest) -> Result<(), SinkError> {
    let mut walk = Walk::new(top, &sink.names);
    let mut links = false;
    for (number, entry) in (0..).zip(manifest.entries()) {
        let path = entry.path;
        match entry.kind {
            Kind::Dir => walk.dir(path).map(drop),
            Kind::File(FileEntry { size: 0, .. }) => {
                write::write_small(sink, &mut walk, manifest, number, &[])
            }
            Kind::File(file) if file.size > PACKED_MAX_BYTES => {
                let of = FileRef { entry: number, root: file.root, size: file.size };
                let handle = write::large(sink, of)?;
                write::set_modified(&handle, file.modified)
            }
            Kind::File(_) => Ok(()),
            Kind::Link { .. } => {
                links = true;
                Ok(())
            }
        }
        .map_err(|error| write::fault(sink, number, error))?;
    }
    if links {
        make_links(sink, top, manifest)?;
    }
    Ok(())
}

fn make_links(sink: &Sink, top: &Folder, manifest: &Manifest) -> Result<(), SinkError> {
    let mut walk = Walk::new(top, &sink.names);
    let on_disk = |path| sink.names.on_disk(path);
    for (number, entry) in (0..).zip(manifest.entries()) {
        let Kind::Link { target } = entry.kind else { continue };
        let made = walk
            .parent(entry.path)
            .and_then(|dir| dir.link(&sink.names.target(entry.path, target), on_disk(entry.path)));
        made.map_err(|error| write::fault(sink, number, error))?;
    }
    Ok(())
}

/// Moves the items of a bundle; those that were moved before a kill are found in the state.
fn move_items(sink: &Sink, top: &Folder, manifest: &Manifest) -> Result<Vec<String>, SinkError> {
    let items: Vec<(u32, RelRef<'_>)> = (0..)
        .zip(manifest.entries().map(|entry| entry.path))
        .filter(|(_, path)| path.parent().is_none())
        .collect();
    let on_disk = |path| sink.names.on_disk(path);
    for (number, path) in &items {
        let staged = on_disk(*path);
        if top.has(staged).map_err(|error| SinkError::at(sink.staging().join(staged), error))? {
            note_move(sink, *number, free_name(sink, staged, 0)?.1)?;
        }
    }
    sync_moves(sink)?;
    let moved = items.iter().map(|(number, path)| move_one(sink, top, *number, on_disk(*path)));
    let names = moved.collect::<Result<_, _>>()?;
    match sink.dir.remove_dir(&sink.header.staging) {
        // Somebody put something of their own into it, or it was removed before.
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(%error, part = %sink.staging().display(), "not removed");
        }
        _ => {}
    }
    Ok(names)
}

/// Moves a blob or the directory of a tree.
fn move_part(sink: &Sink) -> Result<String, SinkError> {
    let there = sink.dir.has(&sink.header.staging);
    if there.map_err(|error| SinkError::at(sink.staging(), error))? {
        note_move(sink, 0, free_name(sink, &sink.header.name, 0)?.1)?;
        sync_moves(sink)?;
    }
    move_one(sink, &sink.dir, 0, &sink.header.staging)
}

/// Moves something that has been noted to the destination; returns its name there.
fn move_one(sink: &Sink, from: &Folder, entry: u32, staged: &str) -> Result<String, SinkError> {
    let wanted = match sink.header.kind {
        state::Kind::Bundle => staged,
        state::Kind::Blob | state::Kind::Tree => &sink.header.name,
    };
    let noted = sink.inner().moves.iter().rfind(|noted| noted.entry == entry).cloned();
    let lost = || SinkError::Lost { path: sink.staging() };
    let mut name = noted.ok_or_else(lost)?.name;
    if !from.has(staged).map_err(|error| SinkError::at(sink.staging(), error))? {
        return Ok(name);
    }
    let mut number = 0;
    loop {
        match from.move_new(staged, &sink.dir, &name) {
            Ok(()) => return Ok(name),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(SinkError::at(sink.header.dir.join(&name), error)),
        }
        (number, name) = free_name(sink, wanted, number)?;
        number += 1;
        note_move(sink, entry, name.clone())?;
        sync_moves(sink)?;
    }
}

/// The first free form of a name from this number on.
fn free_name(sink: &Sink, wanted: &str, from: u32) -> Result<(u32, String), SinkError> {
    for number in from..MAX_NUMBERS {
        let name = numbered(wanted, number);
        let taken = sink.dir.has(&name);
        if !taken.map_err(|error| SinkError::at(sink.header.dir.join(&name), error))? {
            return Ok((number, name));
        }
    }
    Err(SinkError::at(sink.header.dir.join(wanted), io::ErrorKind::AlreadyExists.into()))
}

/// Notes a name before the move, so that after a kill in between it is known.
fn note_move(sink: &Sink, entry: u32, name: String) -> Result<(), SinkError> {
    let next = Move { entry, name };
    let mut inner = sink.inner();
    let noted = inner.state.add_move(&next);
    noted.map_err(|error| SinkError::at(inner.state.path(), error))?;
    inner.moves.push(next);
    Ok(())
}

fn sync_moves(sink: &Sink) -> Result<(), SinkError> {
    let inner = sink.inner();
    inner.state.sync().map_err(|error| SinkError::at(inner.state.path(), error))
}
