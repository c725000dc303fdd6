//! Content that is served.

mod error;

use std::{
    fs::File,
    io::{self, IoSliceMut},
    os::unix::fs::FileExt as _,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use peerage_types::ContentHash;

use crate::{
    Cache, Manifest, Plan, Progress, SourceItem, SourceKind, SourceRecord,
    encoding::{self, PAIR_BYTES},
    hash,
    plan::{BLOCK_BYTES, FileRef, Pack, Piece, block_len, blocks},
};

pub use error::SourceError;

/// Files that are kept open, with their outboards: up to 16 descriptors a source.
const MAX_OPEN: usize = 8;

/// Shared content, open for reading. Share it by `Arc`; any number of threads may read.
#[derive(Debug)]
pub struct Source {
    plan: Plan,
    content: Content,
    /// Large files in use by entry, the last used at the end.
    open: Mutex<Vec<(u32, Arc<Open>)>>,
}

#[derive(Debug)]
enum Content {
    /// Sorted by name.
    Files {
        items: Vec<SourceItem>,
        cache: Cache,
    },
    Memory {
        bytes: Bytes,
        outboard: Vec<u8>,
    },
}

#[derive(Debug)]
struct Open {
    file: File,
    path: PathBuf,
    outboard: Outboard,
}

#[derive(Debug)]
enum Outboard {
    File(File),
    Memory(Vec<u8>),
}

impl Source {
    /// Opens what [`crate::prepare`] found.
    ///
    /// # Errors
    /// [`SourceError`] when a path named in the record is gone or a file has another size, or when
    /// the manifest is not in the cache.
    pub fn open(record: &SourceRecord, cache: &Cache) -> Result<Self, SourceError> {
        let unknown = || SourceError::Unknown { name: record.name.clone() };
        let plan = match record.kind {
            SourceKind::Blob => Plan::blob(record.root, record.bytes).map_err(|_| unknown())?,
            SourceKind::Tree => Plan::tree(cache.manifest(record.root).ok_or_else(unknown)?),
        };
        let mut items = record.items.clone();
        items.sort_by(|a, b| a.name.cmp(&b.name));
        for item in &items {
            let metadata =
                item.path.metadata().map_err(|error| SourceError::at(&item.path, error))?;
            if record.kind == SourceKind::Blob && metadata.len() != record.bytes {
                return Err(SourceError::Changed { path: item.path.clone() });
            }
        }
        if items.is_empty() {
            return Err(unknown());
        }
        let content = Content::Files { items, cache: cache.clone() };
        Ok(Self { plan, content, open: Mutex::default() })
    }

    /// The manifest itself, as a blob under its root.
    ///
    /// # Panics
    /// Never: a manifest is far below the largest blob.
    #[must_use]
    pub fn manifest(manifest: &Manifest) -> Self {
        let bytes = manifest.bytes().clone();
        let outboard = hash::memory(&bytes).outboard;
        let plan = Plan::blob(manifest.root(), bytes.len() as u64)
            .expect("a manifest has at most 128 MiB, a blob may have more");
        Self { plan, content: Content::Memory { bytes, outboard }, open: Mutex::default() }
    }

    /// How the content is cut.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Reads, verifies and encodes a piece. `out` is overwritten, its memory is used again; after an
    /// error its content is of no use.
    ///
    /// When the outboard of a large file is gone from the cache, the whole file is hashed first.
    ///
    /// # Errors
    /// [`SourceError`].
    pub fn read_piece(&self, piece: u32, out: &mut Vec<u8>) -> Result<(), SourceError> {
        match self.plan.piece(piece).ok_or(SourceError::NoPiece { piece })? {
            Piece::Block { file, block } => self.read_block(file, block, out),
            Piece::Pack(pack) => self.read_pack(pack, out),
        }
    }

    fn read_block(&self, file: FileRef, block: u64, out: &mut Vec<u8>) -> Result<(), SourceError> {
        out.resize(encoding::block_wire_len(file.size, block), 0);
        let len = block_len(file.size, block);
        let above = PAIR_BYTES * encoding::steps(file.size, block).count();
        let (path, inner) = out.split_at_mut(above);
        let mut groups = encoding::groups_mut(inner, len);
        let offset = block * BLOCK_BYTES;
        if let Content::Memory { bytes, outboard } = &self.content {
            let mut content = &bytes[offset as usize..];
            for group in &mut groups {
                let (taken, rest) = content.split_at(group.len());
                group.copy_from_slice(taken);
                content = rest;
            }
            let hash = encoding::fill_pairs(inner, offset, len, above == 0);
            let found = lead(file, block, path, |at, pair| {
                pair.copy_from_slice(&outboard[at..at + PAIR_BYTES]);
                Ok(())
            });
            debug_assert_eq!(found.ok().flatten(), Some(hash), "memory does not change");
            return Ok(());
        }
        let open = self.open_large(file, false)?;
        let fault = |error| SourceError::at(&open.path, error);
        read_vectored(&open.file, &mut groups, offset).map_err(fault)?;
        let hash = encoding::fill_pairs(inner, offset, len, above == 0);
        let expected = match open.lead(file, block, path) {
            Ok(Some(expected)) => expected,
            // The cache is damaged, not the file.
            Ok(None) | Err(_) => {
                let open = self.open_large(file, true)?;
                open.lead(file, block, path).map_err(fault)?.unwrap_or_default()
            }
        };
        if hash == expected {
            return Ok(());
        }
        self.close(file.entry);
        Err(SourceError::Changed { path: open.path.clone() })
    }

    fn read_pack(&self, pack: Pack<'_>, out: &mut Vec<u8>) -> Result<(), SourceError> {
        if let Content::Memory { bytes, .. } = &self.content {
            out.clear();
            out.extend_from_slice(bytes);
            return Ok(());
        }
        // A pack at most; memory that is there already is not cleared.
        out.resize(pack.files().map(|file| file.size as usize).sum(), 0);
        let mut rest = &mut out[..];
        for file in pack.files() {
            let content = rest.split_off_mut(..file.size as usize).unwrap_or_default();
            let path = self.path(file.entry);
            let fault = |error| SourceError::at(&path, error);
            let open = hash::open(&path).map_err(fault)?;
            open.read_exact_at(content, 0).map_err(fault)?;
            if *blake3::hash(content).as_bytes() != file.root.0 {
                return Err(SourceError::Changed { path });
            }
        }
        Ok(())
    }

    /// A large file and its outboard, from those in use or opened now.
    fn open_large(&self, file: FileRef, again: bool) -> Result<Arc<Open>, SourceError> {
        let mut all = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = all.iter().position(|(entry, _)| *entry == file.entry) {
            let found = all.remove(at);
            if !again {
                let open = found.1.clone();
                all.push(found);
                return Ok(open);
            }
        }
        let open = Arc::new(self.open_now(file, again)?);
        if all.len() >= MAX_OPEN {
            all.remove(0);
        }
        all.push((file.entry, open.clone()));
        Ok(open)
    }

    fn open_now(&self, file: FileRef, again: bool) -> Result<Open, SourceError> {
        let path = self.path(file.entry);
        let fault = |error| SourceError::at(&path, error);
        let handle = hash::open(&path).map_err(fault)?;
        if blocks(file.size) == 1 {
            return Ok(Open { file: handle, path, outboard: Outboard::Memory(Vec::new()) });
        }
        let Content::Files { cache, .. } = &self.content else {
            return Err(SourceError::Unknown { name: path.display().to_string() });
        };
        if let Some(outboard) = cache.outboard(file.root, file.size).filter(|_| !again) {
            return Ok(Open { file: handle, path, outboard: Outboard::File(outboard) });
        }
        let progress = Progress::default();
        let threads = hash::threads();
        let hashed =
            hash::file(&handle, file.size, &mut Vec::new(), threads, &progress).map_err(fault)?;
        if hashed.root != file.root {
            return Err(SourceError::Changed { path });
        }
        if let Err(error) = cache.keep_outboard(file.root, &hashed.outboard) {
            tracing::warn!(%error, path = %path.display(), "outboard not kept; it will be computed again");
        }
        Ok(Open { file: handle, path, outboard: Outboard::Memory(hashed.outboard) })
    }

    fn close(&self, entry: u32) {
        let mut all = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|(other, _)| *other != entry);
    }

    /// Where a file is.
    fn path(&self, entry: u32) -> PathBuf {
        let Content::Files { items, .. } = &self.content else { return PathBuf::new() };
        let first = || items[0].path.clone();
        let Some(manifest) = self.plan.manifest() else { return first() };
        let Some(entry) = manifest.entry(entry) else { return first() };
        let path = entry.path.as_str();
        if manifest.name().is_some() {
            return items[0].path.join(path);
        }
        let (top, rest) = path.split_once('/').unwrap_or((path, ""));
        match items.binary_search_by(|item| item.name.as_str().cmp(top)) {
            Ok(at) if rest.is_empty() => items[at].path.clone(),
            Ok(at) => items[at].path.join(rest),
            // The record does not belong to the manifest; nothing is there under this name.
            Err(_) => PathBuf::from(path),
        }
    }

    /// Names the content.
    #[must_use]
    pub fn root(&self) -> ContentHash {
        self.plan.root()
    }
}

impl Open {
    fn lead(&self, file: FileRef, block: u64, path: &mut [u8]) -> io::Result<Option<[u8; 32]>> {
        lead(file, block, path, |at, pair| match &self.outboard {
            Outboard::File(outboard) => outboard.read_exact_at(pair, at as u64),
            Outboard::Memory(pairs) => {
                let found = pairs.get(at..at + PAIR_BYTES).ok_or(io::ErrorKind::UnexpectedEof)?;
                pair.copy_from_slice(found);
                Ok(())
            }
        })
    }
}

/// Copies the pairs that lead from the root to a block; returns the hash of the block, or `None`
/// when they do not match.
fn lead(
    file: FileRef,
    block: u64,
    path: &mut [u8],
    read: impl Fn(usize, &mut [u8]) -> io::Result<()>,
) -> io::Result<Option<[u8; 32]>> {
    let mut expected = file.root.0;
    for (step, place) in encoding::steps(file.size, block).zip(path.chunks_exact_mut(PAIR_BYTES)) {
        // An outboard has at most 2²⁸ pairs.
        read(step.pair as usize * PAIR_BYTES, place)?;
        let Some([left, right]) = encoding::split_pair(place) else { return Ok(None) };
        if encoding::merge(&left, &right, step.root) != expected {
            return Ok(None);
        }
        expected = if step.left { left } else { right };
    }
    Ok(Some(expected))
}

/// Fills all buffers from `offset` on.
fn read_vectored(
    file: &File,
    mut buffers: &mut [IoSliceMut<'_>],
    mut offset: u64,
) -> io::Result<()> {
    while !buffers.is_empty() {
        match rustix::io::preadv(file, buffers, offset) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => {
                offset += read as u64;
                IoSliceMut::advance_slices(&mut buffers, read);
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
