//! What a node remembers of content that it shares in place.

use std::path::PathBuf;

use peerage_types::ContentHash;
use peerage_wire::files::{FileMode, manifest::Modified};
use serde::{Deserialize, Serialize};

/// Content that is shared where it is, as [`crate::prepare`] found it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceRecord {
    /// Names the content: of a blob the hash of its bytes, of a tree that of its manifest.
    pub root: ContentHash,
    /// Whether it is one file.
    pub kind: SourceKind,
    /// What people call it: the file, the directory, or `a.txt and 2 more`.
    pub name: String,
    /// Bytes of all files.
    pub bytes: u64,
    /// How many files.
    pub files: u64,
    /// Bytes of the manifest of a tree; 0 of a blob.
    pub manifest_bytes: u64,
    /// Where it is: one item, or those of a bundle, sorted by name.
    pub items: Vec<SourceItem>,
    /// Of a blob, what its file looked like when it was hashed.
    pub stamp: Option<Stamp>,
    /// Of a blob, whether the owner of its file may run it.
    #[serde(default)]
    pub executable: bool,
}

impl SourceRecord {
    /// Of a blob, what its file has beside its bytes.
    #[must_use]
    pub fn file(&self) -> Option<FileMode> {
        let Stamp { secs, nanos, .. } = self.stamp.filter(|_| self.kind == SourceKind::Blob)?;
        Some(FileMode { executable: self.executable, modified: Modified { secs, nanos } })
    }
}

/// What shared content is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceKind {
    /// One file.
    Blob,
    /// A directory, or several files and directories.
    Tree,
}

/// A file or directory that was named when sharing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceItem {
    /// What it is called in the content.
    pub name: String,
    /// Where it is: absolute, links resolved.
    #[serde(with = "os_path")]
    pub path: PathBuf,
}

/// What tells that a file was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// Bytes.
    pub size: u64,
    /// When its content changed, in seconds since 1970 UTC.
    pub secs: i64,
    /// Nanoseconds after that.
    pub nanos: u32,
}

impl Stamp {
    pub(crate) fn of(metadata: &std::fs::Metadata) -> Self {
        use std::os::unix::fs::MetadataExt as _;
        // The kernel gives 0 to 999,999,999.
        let nanos = u32::try_from(metadata.mtime_nsec()).unwrap_or(0);
        Self { size: metadata.len(), secs: metadata.mtime(), nanos }
    }
}

/// A path as text, or as bytes where it is not UTF-8.
mod os_path {
    use std::{
        ffi::OsString,
        fmt,
        os::unix::ffi::{OsStrExt as _, OsStringExt as _},
        path::{Path, PathBuf},
    };

    use serde::{Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(path: &Path, to: S) -> Result<S::Ok, S::Error> {
        match path.to_str() {
            Some(text) => to.serialize_str(text),
            None => to.serialize_bytes(path.as_os_str().as_bytes()),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<PathBuf, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = PathBuf;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a path as text or bytes")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<PathBuf, E> {
                Ok(text.into())
            }

            fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<PathBuf, E> {
                Ok(OsString::from_vec(bytes.to_vec()).into())
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<PathBuf, A::Error> {
                let mut bytes = Vec::new();
                while let Some(byte) = seq.next_element()? {
                    bytes.push(byte);
                }
                Ok(OsString::from_vec(bytes).into())
            }
        }

        from.deserialize_any(Visitor)
    }
}
