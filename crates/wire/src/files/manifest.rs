//! The manifest of a tree: what is in it, where, and under which hash.
//!
//! A tree is named by the BLAKE3 hash of these bytes. They are canonical: what is accepted encodes
//! back to the same bytes.
//!
//! ```text
//! version  u8       1
//! name     string   the directory; empty for a bundle of several items
//! entries  uvarint  how many follow, at most MAX_ENTRIES
//! entry…            as in the table
//! ```
//!
//! | kind | entry | fields |
//! |---|---|---|
//! | `00` | directory | path string |
//! | `01` | file | path string, size uvarint, root 32 bytes, seconds varint, nanoseconds uvarint |
//! | `02` | executable file | as a file |
//! | `03` | symbolic link | path string, target string |
//!
//! The kind is a byte in front of the fields. A string is its length in bytes as a uvarint, then UTF-8.
//! A uvarint is an [unsigned varint](https://github.com/multiformats/unsigned-varint) in its shortest
//! form; a varint is one of the zigzag form `(n << 1) ^ (n >> 63)`. Times are of the last change, since
//! 1970 UTC. The root of an empty file is the hash of nothing.
//!
//! Paths are [`RelPath`](super::path::RelPath)s in strictly ascending order, component by component, and the directory of
//! every entry is an entry itself. The target of a link is any number of `..`, then components of a
//! such a path; it stays within the tree, in a bundle within the item it is in.

mod build;
mod decode;
mod target;

use std::{fmt, sync::Arc};

use bytes::Bytes;
use peerage_types::ContentHash;

use super::path::{PathError, RelRef};

pub use build::{ManifestBuilder, Pushed};
pub use target::link_target;

/// Entries of a manifest at most.
pub const MAX_ENTRIES: u32 = 1_000_000;
/// Bytes of an encoded manifest at most: 128 MiB.
pub const MAX_MANIFEST_BYTES: usize = 128 << 20;
/// Bytes of all files of a tree at most: 256 TiB.
pub const MAX_TREE_BYTES: u64 = 1 << 48;

const VERSION: u8 = 1;

mod kind {
    pub(super) const DIR: u8 = 0;
    pub(super) const FILE: u8 = 1;
    pub(super) const EXECUTABLE: u8 = 2;
    pub(super) const LINK: u8 = 3;
}

/// A valid manifest: its bytes and where the entries start, 4 bytes each. Cheap to clone.
#[derive(Clone)]
pub struct Manifest(Arc<Inner>);

struct Inner {
    bytes: Bytes,
    /// Where each entry starts.
    starts: Box<[u32]>,
    root: ContentHash,
    name: Option<Box<str>>,
    total: u64,
    files: u32,
}

/// Something in a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Where it is below the top of the tree.
    pub path: RelRef<'a>,
    /// What it is.
    pub kind: Kind<'a>,
}

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind<'a> {
    /// A directory.
    Dir,
    /// A regular file.
    File(FileEntry),
    /// A symbolic link.
    Link {
        /// Relative to the directory of the link; stays within the tree.
        target: &'a str,
    },
}

/// A file of a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileEntry {
    /// Bytes.
    pub size: u64,
    /// The BLAKE3 hash of its content.
    pub root: ContentHash,
    /// Whether its owner may run it.
    pub executable: bool,
    /// When its content last changed.
    pub modified: Modified,
}

/// A time in nanoseconds since 1970 UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Modified {
    /// Seconds; negative before 1970.
    pub secs: i64,
    /// Nanoseconds after that, below 1,000,000,000.
    pub nanos: u32,
}

impl Modified {
    /// Whether the nanoseconds are less than a second.
    #[must_use]
    pub fn is_valid(self) -> bool {
        self.nanos < 1_000_000_000
    }
}

impl Manifest {
    /// Reads a manifest; `bytes` is kept, not copied.
    ///
    /// # Errors
    /// [`ManifestError`]: whoever made it is broken or lies, nothing of it can be used.
    pub fn decode(bytes: Bytes) -> Result<Self, ManifestError> {
        decode::decode(bytes)
    }

    /// The name of the tree: the BLAKE3 hash of [`Manifest::bytes`].
    #[must_use]
    pub fn root(&self) -> ContentHash {
        self.0.root
    }

    /// The encoded form.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.0.bytes
    }

    /// What the directory is called; `None` for a bundle of several items, which go side by side.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.0.name.as_deref()
    }

    /// How many entries there are.
    #[must_use]
    pub fn len(&self) -> u32 {
        // At most MAX_ENTRIES.
        self.0.starts.len() as u32
    }

    /// Whether the tree is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.starts.is_empty()
    }

    /// Bytes of all files.
    #[must_use]
    pub fn total_bytes(&self) -> u64 {
        self.0.total
    }

    /// How many entries are files.
    #[must_use]
    pub fn files(&self) -> u32 {
        self.0.files
    }

    /// An entry by its number; `None` past the end.
    #[must_use]
    pub fn entry(&self, number: u32) -> Option<Entry<'_>> {
        let start = *self.0.starts.get(usize::try_from(number).ok()?)?;
        decode::trusted(&self.0.bytes[start as usize..])
    }

    /// The entries in order: a directory, then what is in it, then its next sibling.
    pub fn entries(&self) -> impl DoubleEndedIterator<Item = Entry<'_>> {
        (0..self.len()).filter_map(|number| self.entry(number))
    }
}

impl PartialEq for Manifest {
    fn eq(&self, other: &Self) -> bool {
        self.0.bytes == other.0.bytes
    }
}

impl Eq for Manifest {}

impl fmt::Debug for Manifest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Manifest")
            .field("root", &self.root())
            .field("name", &self.name())
            .field("entries", &self.len())
            .field("bytes", &self.total_bytes())
            .finish_non_exhaustive()
    }
}

/// Bytes that are no manifest, or an entry that cannot be in one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// Made by a later version.
    #[error("a manifest of version {0}; this node knows version {VERSION}: update it")]
    Version(u8),
    /// Above [`MAX_MANIFEST_BYTES`].
    #[error("the manifest is longer than {MAX_MANIFEST_BYTES} bytes: share parts of the tree")]
    Long,
    /// Above [`MAX_ENTRIES`].
    #[error("the manifest has more than {MAX_ENTRIES} entries: share parts of the tree")]
    Entries,
    /// Above [`MAX_TREE_BYTES`].
    #[error("the files have more than {MAX_TREE_BYTES} bytes in all: share parts of the tree")]
    TooMuch,
    /// It ends within its fields.
    #[error("the manifest ends within its fields")]
    Short,
    /// Bytes after the last entry.
    #[error("the manifest has {0} bytes after its last entry")]
    Trailing(usize),
    /// A number is not in its shortest form, or too large.
    #[error("a number in the manifest is malformed")]
    Number,
    /// A string is not UTF-8.
    #[error("a name in the manifest is not UTF-8")]
    Text,
    /// No such kind of entry.
    #[error("there is no kind {0} of entries")]
    Kind(u8),
    /// A path or the name is not one.
    #[error(transparent)]
    Path(#[from] PathError),
    /// An entry is not after the one before it.
    #[error("the entry {path:?} is out of order or there twice")]
    Order {
        /// The entry.
        path: String,
    },
    /// The directory of an entry is not an entry.
    #[error("the entry {path:?} is not in a directory of the manifest")]
    NoParent {
        /// The entry.
        path: String,
    },
    /// A link leads out of the tree or has a malformed target.
    #[error("the link {path:?} to {target:?} leads out of the tree or is malformed")]
    Target {
        /// The link.
        path: String,
        /// Where it leads.
        target: String,
    },
    /// A time has a second of nanoseconds or more.
    #[error("the time of {path:?} has {nanos} nanoseconds")]
    Time {
        /// The entry.
        path: String,
        /// What was given.
        nanos: u32,
    },
    /// An empty file whose root is not the hash of nothing.
    #[error("the empty file {path:?} has the root of something else")]
    EmptyRoot {
        /// The entry.
        path: String,
    },
}
