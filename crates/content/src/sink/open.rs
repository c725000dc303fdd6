//! Sinks created and resumed.

use std::{
    collections::HashSet,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, OnceLock},
};

use peerage_wire::files::path::RelPath;

use super::{
    Finished, Inner, Part, Sink, SinkError, Target,
    folder::Folder,
    names::{self, Names},
    state::{Header, Kind, Move, Saved, State},
};
use crate::{Bitfield, Plan, disk::Disk};

/// Names that are tried before a directory is called impossible.
pub(super) const MAX_NUMBERS: u32 = 10_000;
/// What a file takes beyond its bytes: half a block of 4 KiB on average, and its inode.
const FILE_OVERHEAD: u64 = 2048;

pub(super) fn create(
    disk: Arc<dyn Disk>,
    plan: Plan,
    name: &str,
    target: &Target,
    state_path: &Path,
) -> Result<Sink, SinkError> {
    let kind = Kind::of(&plan);
    if kind == Kind::Bundle && target.name.is_some() {
        return Err(SinkError::Bundle);
    }
    let name = RelPath::parse_name(target.name.as_deref().unwrap_or(name))?;
    let name = name.as_str();
    let at_dir = |error| SinkError::at(&target.dir, error);
    let path = std::path::absolute(&target.dir).map_err(at_dir)?;
    let dir = Folder::open(&path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
            SinkError::NoDirectory { dir: path.clone() }
        }
        _ => at_dir(error),
    })?;
    let needed = plan.bytes().saturating_add(plan.files().saturating_mul(FILE_OVERHEAD));
    let free = disk.free(&dir.file().map_err(at_dir)?).map_err(at_dir)?;
    let no_space = |free| SinkError::NoSpace { needed, free, dir: path.clone() };
    if needed > free {
        return Err(no_space(free));
    }
    let bits = Bitfield::new(plan.pieces());
    let header = Header {
        kind,
        root: plan.root(),
        size: plan.bytes(),
        pieces: plan.pieces(),
        folds: None,
        file: target.file.filter(|file| kind == Kind::Blob && file.modified.is_valid()),
        boot: disk.boot_id().unwrap_or_default(),
        staging: String::new(),
        name: name.to_owned(),
        dir: path.clone(),
    };
    let saved = Saved { header, bits, moves: Vec::new() };
    let created = create_part(&*disk, &dir, saved, state_path);
    let (part, state, saved) = created.map_err(|error| {
        // Without the part it is of no use.
        let _ = std::fs::remove_file(state_path);
        match error {
            // Another program was faster than this one.
            SinkError::DiskFull { path } if path != state_path => no_space(0),
            other => other,
        }
    })?;
    let durable = Bitfield::new(plan.pieces());
    Ok(sink(disk, plan, dir, part, state, saved, durable))
}

/// Creates the part under a name that is free, and before that the state that names it, so that
/// no part is left behind that nobody knows of.
fn create_part(
    disk: &dyn Disk,
    dir: &Folder,
    mut saved: Saved,
    state_path: &Path,
) -> Result<(Part, State, Saved), SinkError> {
    for number in 0..MAX_NUMBERS {
        let staging = names::staging(&saved.header.name, number);
        let path = saved.header.dir.join(&staging);
        if dir.has(&staging).map_err(|error| SinkError::at(&path, error))? {
            continue;
        }
        saved.header.staging.clone_from(&staging);
        let at_state = |error| SinkError::at(state_path, error);
        let mut state = State::create(state_path, &saved).map_err(at_state)?;
        match new_part(disk, dir, &mut saved.header) {
            Ok(part) => {
                if saved.header.folds.is_some() {
                    state = State::create(state_path, &saved).map_err(|error| {
                        let _ = dir.remove_dir(&staging);
                        at_state(error)
                    })?;
                }
                return Ok((part, state, saved));
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(SinkError::at(path, error)),
        }
    }
    Err(SinkError::at(saved.header.dir, io::ErrorKind::AlreadyExists.into()))
}

/// Creates the part, or nothing.
fn new_part(disk: &dyn Disk, dir: &Folder, header: &mut Header) -> io::Result<Part> {
    let staging = header.staging.clone();
    match header.kind {
        Kind::Blob => {
            let file = dir.create(&staging, false)?;
            disk.allocate(&file, header.size).inspect_err(|_| {
                // The error that is reported says more.
                let _ = dir.remove_file(&staging);
            })?;
            Ok(Part::File(Arc::new(file)))
        }
        Kind::Tree | Kind::Bundle => {
            dir.create_dir(&staging)?;
            let part = dir.dir(&staging).map(Part::Tree).and_then(|part| {
                learn_names(disk, &part, header)?;
                Ok(part)
            });
            part.inspect_err(|_| {
                let _ = dir.remove_dir(&staging);
            })
        }
    }
}

/// Finds out what the destination makes of names that differ by case or form only, unless that is
/// known; says whether it is news.
fn learn_names(disk: &dyn Disk, part: &Part, header: &mut Header) -> io::Result<bool> {
    match (part, header.folds) {
        (Part::Tree(top), None) => {
            header.folds = Some(disk.folds(&top.file()?)?);
            Ok(true)
        }
        _ => Ok(false),
    }
}

pub(super) fn resume(
    disk: Arc<dyn Disk>,
    plan: Plan,
    state_path: &Path,
    durable: Option<&Bitfield>,
) -> Result<Sink, SinkError> {
    let at_state = |error| SinkError::at(state_path, error);
    let lost = || SinkError::Lost { path: state_path.to_owned() };
    let (mut state, mut saved) = State::load(state_path).map_err(at_state)?.ok_or_else(lost)?;
    let header = &saved.header;
    let of_plan = (plan.root(), plan.bytes(), plan.pieces(), Kind::of(&plan));
    if (header.root, header.size, header.pieces, header.kind) != of_plan {
        return Err(SinkError::OtherContent { path: state_path.to_owned() });
    }
    let durable = durable.filter(|bits| bits.len() == plan.pieces()).cloned();
    let durable = durable.unwrap_or_else(|| Bitfield::new(plan.pieces()));
    let boot = disk.boot_id().unwrap_or_default();
    let same_boot = !boot.is_empty() && boot == saved.header.boot;
    if !same_boot {
        // What was not synced may be lost, whatever the state says.
        saved.bits.clone_from(&durable);
        saved.header.boot = boot;
    }
    if !saved.moves.is_empty() {
        // Complete, and synced before the first move was noted.
        saved.bits = Bitfield::full(plan.pieces());
    }
    let dir = Folder::open(&saved.header.dir).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => SinkError::Lost { path: saved.header.dir.clone() },
        _ => SinkError::at(&saved.header.dir, error),
    })?;
    let part = open_part(&*disk, &dir, &saved, &plan)?;
    let learned = learn_names(&*disk, &part, &mut saved.header)
        .map_err(|error| SinkError::at(saved.header.dir.join(&saved.header.staging), error))?;
    if learned || !same_boot {
        state = State::create(state_path, &saved).map_err(at_state)?;
    }
    let moved = matches!(part, Part::Moved);
    let saved_moves = saved.moves.clone();
    let mut sink = sink(disk, plan, dir, part, state, saved, durable);
    if moved {
        let paths = saved_moves.iter().map(|done| sink.header.dir.join(&done.name));
        sink.done = OnceLock::from(Finished { paths: paths.collect() });
    }
    Ok(sink)
}

/// Opens what was received, which must look as it did.
fn open_part(disk: &dyn Disk, dir: &Folder, saved: &Saved, plan: &Plan) -> Result<Part, SinkError> {
    let Header { kind, size, staging, .. } = &saved.header;
    let path = saved.header.dir.join(staging);
    let fault = |error: io::Error| match error.kind() {
        io::ErrorKind::PermissionDenied => SinkError::Denied { path: path.clone() },
        _ => SinkError::Lost { path: path.clone() },
    };
    if !dir.has(staging).map_err(fault)? {
        let moved = was_moved(dir, saved, plan).map_err(fault)?;
        return if moved { Ok(Part::Moved) } else { Err(SinkError::Lost { path }) };
    }
    if *kind != Kind::Blob {
        return Ok(Part::Tree(dir.dir(staging).map_err(fault)?));
    }
    let file = dir.write(staging).map_err(fault)?;
    let len = file.metadata().map_err(fault)?.len();
    if len != *size {
        if saved.bits.count() > 0 {
            return Err(SinkError::Lost { path });
        }
        disk.allocate(&file, *size).map_err(|error| SinkError::at(&path, error))?;
    }
    Ok(Part::File(Arc::new(file)))
}

/// Whether the part is gone because everything has its final name.
fn was_moved(dir: &Folder, saved: &Saved, plan: &Plan) -> io::Result<bool> {
    let items = match plan.manifest().filter(|_| saved.header.kind == Kind::Bundle) {
        Some(manifest) => manifest.entries().filter(|entry| entry.path.depth() == 1).count(),
        None => 1,
    };
    if saved.moves.len() != items {
        return Ok(false);
    }
    for Move { name, .. } in &saved.moves {
        if !dir.has(name)? {
            return Ok(false);
        }
    }
    Ok(items > 0)
}

fn sink(
    disk: Arc<dyn Disk>,
    plan: Plan,
    dir: Folder,
    part: Part,
    state: State,
    saved: Saved,
    durable: Bitfield,
) -> Sink {
    let folds = saved.header.folds == Some(true);
    let names = plan.manifest().filter(|_| folds).map(Names::of).unwrap_or_default();
    let Saved { header, bits, moves } = saved;
    let inner = Inner { state, bits, durable, state_durable: false, busy: HashSet::new(), moves };
    Sink {
        plan,
        disk,
        header,
        dir,
        part,
        names,
        inner: Mutex::new(inner),
        written: Condvar::new(),
        files: Mutex::default(),
        turn: Mutex::default(),
        done: OnceLock::new(),
    }
}

pub(super) fn discard(state_path: &Path) -> Result<(), SinkError> {
    let at = |path: PathBuf| move |error| SinkError::at(path, error);
    if let Some((_, saved)) = State::load(state_path).map_err(at(state_path.to_owned()))? {
        let Header { kind, staging, dir, .. } = saved.header;
        let part = dir.join(&staging);
        // Without the directory there is no part.
        if let Ok(folder) = Folder::open(&dir)
            && folder.has(&staging).map_err(at(part.clone()))?
        {
            let removed = match kind {
                Kind::Blob => folder.remove_file(&staging),
                Kind::Tree | Kind::Bundle => folder.remove_all(&staging),
            };
            removed.map_err(at(part))?;
        }
    }
    Sink::forget(state_path);
    Ok(())
}

#[cfg(test)]
mod tests {
    use peerage_wire::files::manifest::ManifestBuilder;

    use super::*;
    use crate::faults::{Faults, Faulty};

    #[test]
    fn what_a_kill_left_unknown_about_names_is_found_out_by_the_next_start() {
        let dir = tempfile::tempdir().unwrap();
        let (state, target) =
            (dir.path().join("state"), Target { dir: dir.path().into(), name: None, file: None });
        let disk =
            |folds| Arc::new(Faulty::new(Faults { folds: Some(folds), ..Faults::default() }));
        let plan = Plan::tree(ManifestBuilder::new(Some("t")).unwrap().finish());
        drop(create(disk(false), plan.clone(), "t", &target, &state).unwrap());
        let folds = || State::load(&state).unwrap().unwrap().1.header.folds;
        assert_eq!(folds(), Some(false));
        // Killed before the part was there.
        let (_, mut saved) = State::load(&state).unwrap().unwrap();
        saved.header.folds = None;
        State::create(&state, &saved).unwrap();
        for _ in 0..2 {
            drop(resume(disk(true), plan.clone(), &state, None).unwrap());
            assert_eq!(folds(), Some(true));
        }
    }
}
