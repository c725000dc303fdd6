//! What runs on blocking workers, and how it comes back.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use peerage_api::files::{FilesError, MakeShare};
use peerage_content::{
    Bitfield, Cache, Collector, Finished, Manifest, Plan, PlanError, PrepareError, PrepareOptions,
    Prepared, Progress, Sink, SinkError, SourceError, SourceRecord, Target, WriteError, prepare,
};
use peerage_store::{RowKind, Store};
use peerage_types::{ContentHash, TransferId};
use peerage_wire::files::{Content, Kind, manifest::MAX_MANIFEST_BYTES};

use crate::download::{Download, Place};

/// What a worker brought.
#[derive(Debug)]
pub(crate) enum Work {
    /// Files of a transfer were hashed.
    Prepared { id: TransferId, outcome: Result<Prepared, FilesError> },
    /// Files of a share were hashed.
    Shared { ask: Box<peerage_api::Ask<MakeShare>>, outcome: Result<Prepared, FilesError> },
    /// There is a place for what comes.
    Opened { place: Box<Destination>, outcome: Result<Opening, FilesError> },
    /// What was written is durable.
    Checkpointed { id: TransferId, bytes: u64, outcome: Result<Bitfield, FilesError> },
    /// The content is at its destination.
    Finished { id: TransferId, outcome: Result<Finished, FilesError> },
    /// Finished content was hashed to be shared.
    Reshared { id: TransferId, finished: Finished, outcome: Result<Prepared, FilesError> },
    /// What was received of a transfer that goes elsewhere is removed.
    Cleared { id: TransferId },
    /// Something whose outcome nobody waits for.
    Nothing,
}

/// A place for what comes.
#[derive(Debug)]
pub(crate) enum Opening {
    /// The manifest is to be fetched first.
    Manifest(Plan, Collector),
    /// The files can be fetched.
    Files(Plan, Box<Sink>),
}

/// What receiving needs to know, for a worker.
#[derive(Debug, Clone)]
pub(crate) struct Destination {
    pub(crate) id: TransferId,
    pub(crate) content: Content,
    pub(crate) into: PathBuf,
    pub(crate) rename: Option<String>,
    /// The file that remembers which pieces are there.
    pub(crate) state: PathBuf,
}

/// Runs work on a blocking worker; what panics fails rather than to leave a transfer waiting.
pub(crate) fn contain<T>(work: impl FnOnce() -> Result<T, FilesError>) -> Result<T, FilesError> {
    // What a panic leaves half done is on disk, and is opened again from there or not at all.
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).unwrap_or_else(|_| {
        Err(FilesError::Store { reason: "a worker panicked; its log says where".into() })
    })
}

/// Hashes what is to be sent or shared. Blocks.
pub(crate) fn hash(
    paths: &[PathBuf],
    keep_links: bool,
    cache: &Cache,
    progress: &Progress,
) -> Result<Prepared, FilesError> {
    let options = PrepareOptions { keep_links, ..PrepareOptions::default() };
    prepare(paths, &options, cache, progress).map_err(|error| prepare_error(paths, &error))
}

/// Opens the place for a transfer: its manifest if that is not known, its files otherwise. Blocks.
pub(crate) fn open(
    place: &Destination,
    manifest: Option<Bytes>,
    cache: &Cache,
    store: &Store,
) -> Result<Opening, FilesError> {
    let content = &place.content;
    let plan = match content.kind {
        Kind::File => blob(content)?,
        Kind::Tree => match known(content, manifest, cache)? {
            Some(manifest) => Plan::tree(manifest),
            None if content.size > MAX_MANIFEST_BYTES as u64 => {
                return Err(FilesError::TooMany {
                    what: "bytes of the list of files".into(),
                    max: MAX_MANIFEST_BYTES as u64,
                });
            }
            None => {
                let plan = blob(content)?;
                let collector = Collector::new(plan.clone());
                return Ok(Opening::Manifest(plan, collector));
            }
        },
    };
    if (plan.bytes(), plan.files()) != (content.bytes, content.files) {
        return Err(FilesError::Corrupt { hash: content.root });
    }
    sink(place, plan.clone(), store).map(|sink| Opening::Files(plan, Box::new(sink)))
}

fn blob(content: &Content) -> Result<Plan, FilesError> {
    Plan::blob(content.root, content.size).map_err(|error| match error {
        PlanError::EmptyRoot => FilesError::Corrupt { hash: content.root },
        _ => FilesError::TooMany { what: "bytes".into(), max: 1 << 48 },
    })
}

/// The manifest, from the cache or from what was just received.
fn known(
    content: &Content,
    received: Option<Bytes>,
    cache: &Cache,
) -> Result<Option<Manifest>, FilesError> {
    let Some(bytes) = received else { return Ok(cache.manifest(content.root)) };
    let corrupt = |_| FilesError::Corrupt { hash: content.root };
    let manifest = Manifest::decode(bytes).map_err(corrupt)?;
    if let Err(error) = cache.keep_manifest(&manifest) {
        tracing::warn!(%error, "the list of files is not kept: it is fetched again after a restart");
    }
    Ok(Some(manifest))
}

fn sink(place: &Destination, plan: Plan, store: &Store) -> Result<Sink, FilesError> {
    let stored = store.transfers().get_blocking(RowKind::Pieces, place.id);
    let stored = stored.map_err(|e| FilesError::Store { reason: e.to_string() })?;
    let durable = stored.and_then(|bits| Bitfield::from_bytes(&bits, plan.pieces()).ok());
    match Sink::resume(plan.clone(), &place.state, durable.as_ref()) {
        Ok(sink) => return Ok(sink),
        Err(SinkError::Lost { path }) => {
            tracing::debug!(path = %path.display(), "nothing to resume");
        }
        Err(SinkError::OtherContent { .. }) => Sink::forget(&place.state),
        Err(error) => return Err(sink_error(&place.into, &error)),
    }
    let (dir, name, file) = (place.into.clone(), place.rename.clone(), place.content.file);
    let target = Target { dir, name, file };
    Sink::create(plan, &place.content.name, &target, &place.state)
        .map_err(|error| sink_error(&place.into, &error))
}

/// Puts complete content to its destination. Blocks.
pub(crate) fn finish(download: &Download, into: &Path) -> Result<Finished, FilesError> {
    match &download.place {
        Place::Disk(sink) => sink.finish().map_err(|error| sink_error(into, &error)),
        Place::Memory(_) => Err(FilesError::Corrupt { hash: download.plan.root() }),
    }
}

/// Makes durable what is written, so that a power cut does not lose it. Blocks.
pub(crate) fn checkpoint(download: &Download) -> Result<Bitfield, FilesError> {
    match &download.place {
        Place::Disk(sink) => sink.checkpoint().map_err(|error| write_error(download, &error)),
        Place::Memory(_) => Ok(Bitfield::new(0)),
    }
}

/// Removes what was received of a transfer. Blocks.
pub(crate) fn discard(place: &Destination) {
    if place.state.exists()
        && let Err(error) = Sink::discard(&place.state)
    {
        tracing::warn!(%error, id = %place.id, "what was received in part is not removed");
    }
}

pub(crate) fn write_error(download: &Download, error: &WriteError) -> FilesError {
    match error {
        WriteError::DiskFull { path } => {
            let needed = download.plan.bytes().saturating_sub(download.done_bytes());
            disk_full(path, needed)
        }
        WriteError::Denied { path } | WriteError::Io { path, .. } => {
            FilesError::Path { path: path.clone(), reason: words(error) }
        }
        WriteError::Corrupt(_) | WriteError::NoPiece { .. } => {
            FilesError::Corrupt { hash: download.plan.root() }
        }
        other => FilesError::Path { path: PathBuf::new(), reason: words(other) },
    }
}

fn sink_error(into: &Path, error: &SinkError) -> FilesError {
    match error {
        SinkError::NoSpace { needed, free, dir } => {
            FilesError::DiskFull { dir: dir.clone(), needed: *needed, free: *free }
        }
        SinkError::DiskFull { path } => disk_full(path, 0),
        SinkError::Io { path, .. } | SinkError::Denied { path } | SinkError::ReadOnly { path } => {
            FilesError::Path { path: path.clone(), reason: words(error) }
        }
        other => FilesError::Path { path: into.to_owned(), reason: words(other) },
    }
}

fn disk_full(path: &Path, needed: u64) -> FilesError {
    let dir = if path.is_dir() { path } else { path.parent().unwrap_or(path) };
    let free = rustix::fs::statvfs(dir).map_or(0, |stat| stat.f_bavail * stat.f_frsize);
    FilesError::DiskFull { dir: dir.to_owned(), needed, free }
}

pub(crate) fn prepare_error(paths: &[PathBuf], error: &PrepareError) -> FilesError {
    match error {
        PrepareError::Changed { path } => FilesError::Changed { path: as_text(path) },
        PrepareError::Missing { path } => {
            FilesError::Path { path: as_text(path), reason: "there is no such file".into() }
        }
        PrepareError::Denied { path }
        | PrepareError::Special { path }
        | PrepareError::Name { path, .. }
        | PrepareError::Limit { path, .. }
        | PrepareError::Io { path, .. } => {
            FilesError::Path { path: as_text(path), reason: words(error) }
        }
        other => {
            let path = paths.first().map(|path| as_text(path)).unwrap_or_default();
            FilesError::Path { path, reason: words(other) }
        }
    }
}

/// The path as it can be told and stored: what is not UTF-8 of it is replaced.
fn as_text(path: &Path) -> PathBuf {
    path.to_string_lossy().into_owned().into()
}

/// The error and what is under it.
fn words(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text = format!("{text}: {inner}");
        source = inner.source();
    }
    text
}

/// What a source is, as it is offered.
pub(crate) fn content_of(record: &SourceRecord) -> Content {
    let (kind, size) = match record.kind {
        peerage_content::SourceKind::Blob => (Kind::File, record.bytes),
        peerage_content::SourceKind::Tree => (Kind::Tree, record.manifest_bytes),
    };
    let SourceRecord { root, bytes, files, .. } = *record;
    Content { root, kind, size, bytes, files, name: record.name.clone(), file: record.file() }
}

/// Whether the part is the content itself, rather than the manifest before it.
pub(crate) fn is_content(part: peerage_wire::files::Part, record: &SourceRecord) -> bool {
    let whole = record.kind == peerage_content::SourceKind::Blob;
    whole || part == peerage_wire::files::Part::Tree
}

/// Opens shared content, or the manifest of a shared tree. Blocks.
pub(crate) fn open_source(
    record: &SourceRecord,
    part: peerage_wire::files::Part,
    cache: &Cache,
) -> Result<peerage_content::Source, SourceError> {
    use peerage_wire::files::Part;
    match (part, record.kind) {
        (Part::Root, peerage_content::SourceKind::Tree) => {
            let unknown = || SourceError::Unknown { name: record.name.clone() };
            let manifest = cache.manifest(record.root).ok_or_else(unknown)?;
            Ok(peerage_content::Source::manifest(&manifest))
        }
        _ => peerage_content::Source::open(record, cache),
    }
}

/// A source that is open already, by content.
pub(crate) type Open = std::sync::Weak<peerage_content::Source>;

/// What sources are open, so that several peers share one.
#[derive(Debug, Default)]
pub(crate) struct Library(std::sync::Mutex<std::collections::HashMap<(ContentHash, bool), Open>>);

impl Library {
    /// The open source of a record, opened if need be. Blocks.
    pub(crate) fn open(
        &self,
        record: &SourceRecord,
        part: peerage_wire::files::Part,
        cache: &Cache,
    ) -> Result<Arc<peerage_content::Source>, SourceError> {
        let key = (record.root, part == peerage_wire::files::Part::Tree);
        if let Some(open) = crate::download::lock(&self.0).get(&key).and_then(Open::upgrade) {
            return Ok(open);
        }
        let opened = Arc::new(open_source(record, part, cache)?);
        let mut sources = crate::download::lock(&self.0);
        sources.retain(|_, source| source.strong_count() > 0);
        sources.insert(key, Arc::downgrade(&opened));
        Ok(opened)
    }
}
