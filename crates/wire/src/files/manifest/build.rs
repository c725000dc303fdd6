//! Entries to manifests.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use peerage_types::ContentHash;
use unsigned_varint::encode;

use super::{
    Entry, Inner, Kind, MAX_ENTRIES, MAX_MANIFEST_BYTES, Manifest, ManifestError, VERSION,
    decode::Rules, kind,
};
use crate::files::path::RelPath;

/// Puts a manifest together, entry by entry in order.
pub struct ManifestBuilder {
    name: Option<RelPath>,
    entries: BytesMut,
    /// Where each entry starts within `entries`.
    starts: Vec<u32>,
    rules: Rules,
}

/// What has been pushed so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pushed {
    /// Entries.
    pub entries: u32,
    /// Files among them.
    pub files: u32,
    /// Bytes of the files.
    pub bytes: u64,
}

impl ManifestBuilder {
    /// Starts the manifest of the directory `name`, or of a bundle.
    ///
    /// # Errors
    /// [`ManifestError::Path`] when the name is not a single component.
    pub fn new(name: Option<&str>) -> Result<Self, ManifestError> {
        let name = name.map(RelPath::parse_name).transpose()?;
        let rules = Rules::new(name.is_none());
        Ok(Self { name, entries: BytesMut::new(), starts: Vec::new(), rules })
    }

    /// Appends an entry.
    ///
    /// # Errors
    /// [`ManifestError`] when the entry cannot follow those before it, or a limit is reached. The
    /// builder cannot be used any further then.
    pub fn push(&mut self, entry: Entry<'_>) -> Result<(), ManifestError> {
        if self.starts.len() >= MAX_ENTRIES as usize {
            return Err(ManifestError::Entries);
        }
        self.rules.admit(&entry)?;
        // Bounded by MAX_MANIFEST_BYTES below.
        self.starts.push(self.entries.len() as u32);
        put(&mut self.entries, &entry);
        // Version 1, name at most 2 + 255, count at most 3.
        if self.entries.len() + 512 > MAX_MANIFEST_BYTES {
            return Err(ManifestError::Long);
        }
        Ok(())
    }

    /// What has been pushed so far.
    #[must_use]
    pub fn pushed(&self) -> Pushed {
        let Rules { files, total: bytes, .. } = self.rules;
        Pushed { entries: self.starts.len() as u32, files, bytes }
    }

    /// The manifest.
    #[must_use]
    pub fn finish(self) -> Manifest {
        let mut bytes = BytesMut::with_capacity(self.entries.len() + 512);
        bytes.put_u8(VERSION);
        put_text(&mut bytes, self.name.as_ref().map_or("", RelPath::as_str));
        put_number(&mut bytes, self.starts.len() as u64);
        // At most 512.
        let head = bytes.len() as u32;
        bytes.extend_from_slice(&self.entries);
        let bytes: Bytes = bytes.freeze();
        let root = ContentHash(*blake3::hash(&bytes).as_bytes());
        let mut starts = self.starts.into_boxed_slice();
        starts.iter_mut().for_each(|start| *start += head);
        let name = self.name.map(|name| name.as_str().into());
        let Rules { total, files, .. } = self.rules;
        Manifest(Arc::new(Inner { bytes, starts, root, name, total, files }))
    }
}

impl std::fmt::Debug for ManifestBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ManifestBuilder")
            .field("name", &self.name)
            .field("pushed", &self.pushed())
            .finish_non_exhaustive()
    }
}

fn put(into: &mut BytesMut, entry: &Entry<'_>) {
    match entry.kind {
        Kind::Dir => {
            into.put_u8(kind::DIR);
            put_text(into, entry.path.as_str());
        }
        Kind::File(file) => {
            into.put_u8(if file.executable { kind::EXECUTABLE } else { kind::FILE });
            put_text(into, entry.path.as_str());
            put_number(into, file.size);
            into.extend_from_slice(file.root.as_bytes());
            let secs = file.modified.secs;
            put_number(into, ((secs << 1) ^ (secs >> 63)) as u64);
            put_number(into, file.modified.nanos.into());
        }
        Kind::Link { target } => {
            into.put_u8(kind::LINK);
            put_text(into, entry.path.as_str());
            put_text(into, target);
        }
    }
}

fn put_text(into: &mut BytesMut, text: &str) {
    put_number(into, text.len() as u64);
    into.extend_from_slice(text.as_bytes());
}

fn put_number(into: &mut BytesMut, number: u64) {
    into.extend_from_slice(encode::u64(number, &mut encode::u64_buffer()));
}
