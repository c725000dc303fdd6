//! Bytes to manifests.

use std::sync::Arc;

use bytes::Bytes;
use peerage_types::ContentHash;
use unsigned_varint::decode::{self as varint, Error as Varint};

use super::{
    Entry, FileEntry, Inner, Kind, MAX_ENTRIES, MAX_MANIFEST_BYTES, MAX_TREE_BYTES, Manifest,
    ManifestError, Modified, VERSION, kind, target::is_inside,
};
use crate::files::path::{self, RelPath, RelRef};

/// Bytes of the shortest entry: kind, length, one character.
const MIN_ENTRY_BYTES: usize = 3;

pub(super) fn decode(bytes: Bytes) -> Result<Manifest, ManifestError> {
    if bytes.len() > MAX_MANIFEST_BYTES {
        return Err(ManifestError::Long);
    }
    let mut fields = Fields(&bytes);
    match fields.byte()? {
        VERSION => {}
        other => return Err(ManifestError::Version(other)),
    }
    let name = Some(fields.text()?).filter(|name| !name.is_empty());
    if let Some(name) = name {
        RelPath::parse_name(name)?;
    }
    let count = fields.number()?;
    if count > u64::from(MAX_ENTRIES) {
        return Err(ManifestError::Entries);
    }
    // Not more than the bytes that are there can hold.
    let count = count as usize;
    if count > fields.0.len() / MIN_ENTRY_BYTES {
        return Err(ManifestError::Short);
    }
    let mut starts = Vec::with_capacity(count);
    let mut rules = Rules::new(name.is_none());
    for _ in 0..count {
        // At most MAX_MANIFEST_BYTES.
        starts.push((bytes.len() - fields.0.len()) as u32);
        let entry = fields.entry(|path| Ok(RelRef::parse(path)?))?;
        rules.admit(&entry)?;
    }
    if !fields.0.is_empty() {
        return Err(ManifestError::Trailing(fields.0.len()));
    }
    let root = ContentHash(*blake3::hash(&bytes).as_bytes());
    let (name, starts) = (name.map(Box::from), starts.into_boxed_slice());
    let Rules { total, files, .. } = rules;
    Ok(Manifest(Arc::new(Inner { bytes, starts, root, name, total, files })))
}

/// An entry that was checked when the manifest was.
pub(super) fn trusted(bytes: &[u8]) -> Option<Entry<'_>> {
    Fields(bytes).entry(|path| Ok(RelRef::trusted(path))).ok()
}

/// What must hold between entries.
pub(super) struct Rules {
    bundle: bool,
    /// The last entry.
    last: String,
    /// How long the path of each directory is that `last` is in, or is.
    open: Vec<usize>,
    pub(super) total: u64,
    pub(super) files: u32,
}

impl Rules {
    pub(super) fn new(bundle: bool) -> Self {
        Self { bundle, last: String::new(), open: Vec::new(), total: 0, files: 0 }
    }

    pub(super) fn admit(&mut self, entry: &Entry<'_>) -> Result<(), ManifestError> {
        let path = entry.path;
        let text = || path.as_str().to_owned();
        if !self.last.is_empty() && RelRef::trusted(&self.last) >= path {
            return Err(ManifestError::Order { path: text() });
        }
        let parent = path.parent().map_or("", RelRef::as_str);
        while self.open.last().is_some_and(|len| self.last[..*len] != *parent) {
            self.open.pop();
        }
        if self.open.last().copied().unwrap_or(0) != parent.len() {
            return Err(ManifestError::NoParent { path: text() });
        }
        match entry.kind {
            Kind::Dir => self.open.push(path.as_str().len()),
            Kind::File(file) => self.admit_file(&file, path)?,
            Kind::Link { target } => {
                if !is_inside(path, target, usize::from(self.bundle)) {
                    return Err(ManifestError::Target { path: text(), target: target.to_owned() });
                }
            }
        }
        self.last.clear();
        self.last.push_str(path.as_str());
        Ok(())
    }

    fn admit_file(&mut self, file: &FileEntry, path: RelRef<'_>) -> Result<(), ManifestError> {
        let text = || path.as_str().to_owned();
        let Modified { nanos, .. } = file.modified;
        if !file.modified.is_valid() {
            return Err(ManifestError::Time { path: text(), nanos });
        }
        if file.size == 0 && file.root.0 != *blake3::hash(b"").as_bytes() {
            return Err(ManifestError::EmptyRoot { path: text() });
        }
        let total = self.total.checked_add(file.size).filter(|total| *total <= MAX_TREE_BYTES);
        self.total = total.ok_or(ManifestError::TooMuch)?;
        self.files += 1;
        Ok(())
    }
}

/// What is left of the bytes.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn entry(
        &mut self,
        path: impl FnOnce(&'a str) -> Result<RelRef<'a>, ManifestError>,
    ) -> Result<Entry<'a>, ManifestError> {
        let code = self.byte()?;
        if code > kind::LINK {
            return Err(ManifestError::Kind(code));
        }
        let path = path(self.text()?)?;
        let kind = match code {
            kind::DIR => Kind::Dir,
            kind::LINK => Kind::Link { target: self.text()? },
            _ => Kind::File(self.file(code == kind::EXECUTABLE)?),
        };
        Ok(Entry { path, kind })
    }

    fn file(&mut self, executable: bool) -> Result<FileEntry, ManifestError> {
        let size = self.number()?;
        let (root, rest) = self.0.split_first_chunk().ok_or(ManifestError::Short)?;
        self.0 = rest;
        let zigzag = self.number()?;
        let secs = (zigzag >> 1) as i64 ^ -((zigzag & 1) as i64);
        let nanos = u32::try_from(self.number()?).map_err(|_| ManifestError::Number)?;
        let modified = Modified { secs, nanos };
        Ok(FileEntry { size, root: ContentHash(*root), executable, modified })
    }

    fn byte(&mut self) -> Result<u8, ManifestError> {
        let (byte, rest) = self.0.split_first().ok_or(ManifestError::Short)?;
        self.0 = rest;
        Ok(*byte)
    }

    fn number(&mut self) -> Result<u64, ManifestError> {
        let (number, rest) = varint::u64(self.0).map_err(|error| match error {
            Varint::Insufficient => ManifestError::Short,
            _ => ManifestError::Number,
        })?;
        let len = self.0.len() - rest.len();
        // The tenth byte has one bit left to give; the library drops the others silently.
        if len == 10 && self.0[9] > 1 {
            return Err(ManifestError::Number);
        }
        self.0 = rest;
        Ok(number)
    }

    fn text(&mut self) -> Result<&'a str, ManifestError> {
        let len = self.number()?;
        if len > path::MAX_PATH_BYTES as u64 {
            return Err(ManifestError::Number);
        }
        let (text, rest) = self.0.split_at_checked(len as usize).ok_or(ManifestError::Short)?;
        self.0 = rest;
        std::str::from_utf8(text).map_err(|_| ManifestError::Text)
    }
}
