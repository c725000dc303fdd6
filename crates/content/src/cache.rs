//! What can be computed again but is quicker kept: outboards and manifests.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use peerage_types::ContentHash;
use peerage_wire::files::manifest::Manifest;

/// A directory of outboards and manifests by root. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Cache {
    dir: Arc<Path>,
}

impl Cache {
    /// Opens or creates the directory, for the owner alone (0700).
    ///
    /// # Errors
    /// The directory cannot be created or written.
    pub fn open(dir: &Path) -> io::Result<Self> {
        todo!("{dir:?}")
    }

    /// A manifest that was kept; `None` when it was not, or is damaged.
    #[must_use]
    pub fn manifest(&self, root: ContentHash) -> Option<Manifest> {
        todo!("{root}")
    }

    /// Keeps a manifest.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn keep_manifest(&self, manifest: &Manifest) -> io::Result<()> {
        todo!("{manifest:?} {:?}", PathBuf::from(&*self.dir))
    }

    /// Drops what is kept of a blob or a tree and its files. What is shared elsewhere is computed
    /// again when it is needed.
    pub fn forget(&self, root: ContentHash) {
        todo!("{root}")
    }

    /// Bytes that the directory takes.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn bytes(&self) -> io::Result<u64> {
        todo!()
    }

    /// Drops outboards, those not written for longest first, until the directory takes at most
    /// `max` bytes or has no more; returns the bytes it takes then.
    ///
    /// # Errors
    /// The directory cannot be read or written.
    pub fn trim(&self, max: u64) -> io::Result<u64> {
        todo!("{max}")
    }
}
