//! What can be computed again but is quicker kept: outboards and manifests.

use std::{
    collections::BTreeMap,
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use peerage_types::ContentHash;
use peerage_wire::files::manifest::{Kind, MAX_MANIFEST_BYTES, Manifest};

use crate::{encoding::PAIR_BYTES, plan::blocks};

/// A directory of outboards and manifests by root. Cheap to clone.
///
/// `outboards/ROOT` has the hash pairs of a file above its blocks of 1 MiB in pre-order, 64 bytes
/// each; `manifests/ROOT` the bytes of a manifest. What is read is verified against its root.
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
        let cache = Self { dir: dir.into() };
        for part in [cache.outboards(), cache.manifests()] {
            create_private_dir(&part)?;
            for file in fs::read_dir(&part)? {
                // Left by a killed process.
                let path = file?.path();
                if path.extension().is_some_and(|extension| extension == "tmp") {
                    fs::remove_file(&path)?;
                }
            }
        }
        Ok(cache)
    }

    /// A manifest that was kept; `None` when it was not, or is damaged.
    #[must_use]
    pub fn manifest(&self, root: ContentHash) -> Option<Manifest> {
        let path = self.manifests().join(root.to_string());
        if path.metadata().ok()?.len() > MAX_MANIFEST_BYTES as u64 {
            return None;
        }
        let manifest = Manifest::decode(fs::read(path).ok()?.into()).ok()?;
        (manifest.root() == root).then_some(manifest)
    }

    /// Keeps a manifest; it is durable when this returns.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn keep_manifest(&self, manifest: &Manifest) -> io::Result<()> {
        let dir = self.manifests();
        write(&dir, &manifest.root().to_string(), manifest.bytes(), true)
    }

    /// Drops what is kept of a blob, or of a tree and its files. What is shared elsewhere as well is
    /// computed again when it is needed.
    pub fn forget(&self, root: ContentHash) {
        if let Some(manifest) = self.manifest(root) {
            for entry in manifest.entries() {
                if let Kind::File(file) = entry.kind
                    && blocks(file.size) > 1
                {
                    let _ = fs::remove_file(self.outboards().join(file.root.to_string()));
                }
            }
        }
        // Left behind, they only take space.
        let _ = fs::remove_file(self.outboards().join(root.to_string()));
        let _ = fs::remove_file(self.manifests().join(root.to_string()));
    }

    /// Bytes that the files of the cache have.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn bytes(&self) -> io::Result<u64> {
        let mut bytes = 0;
        for dir in [self.outboards(), self.manifests()] {
            for file in fs::read_dir(dir)? {
                bytes += file?.metadata().map_or(0, |metadata| metadata.len());
            }
        }
        Ok(bytes)
    }

    /// Drops outboards, the oldest first, until the files have at most `max` bytes or none is left;
    /// returns the bytes they have then. Manifests stay.
    ///
    /// # Errors
    /// The directory cannot be read or written.
    pub fn trim(&self, max: u64) -> io::Result<u64> {
        let mut bytes = self.bytes()?;
        let mut oldest = BTreeMap::new();
        for file in fs::read_dir(self.outboards())? {
            let file = file?;
            let metadata = file.metadata()?;
            oldest.insert((metadata.modified()?, file.file_name()), metadata.len());
        }
        for ((_, name), len) in oldest {
            if bytes <= max {
                break;
            }
            fs::remove_file(self.outboards().join(name))?;
            bytes = bytes.saturating_sub(len);
        }
        Ok(bytes)
    }

    /// Opens the outboard of a file of this size, if it is there in full.
    pub(crate) fn outboard(&self, root: ContentHash, size: u64) -> Option<File> {
        let file = File::open(self.outboards().join(root.to_string())).ok()?;
        let len = (blocks(size) - 1) * PAIR_BYTES as u64;
        (file.metadata().ok()?.len() == len).then_some(file)
    }

    pub(crate) fn keep_outboard(&self, root: ContentHash, pairs: &[u8]) -> io::Result<()> {
        write(&self.outboards(), &root.to_string(), pairs, false)
    }

    fn outboards(&self) -> PathBuf {
        self.dir.join("outboards")
    }

    fn manifests(&self) -> PathBuf {
        self.dir.join("manifests")
    }
}

/// Creates the directory and its parents with mode 0700; one that exists is left as it is.
pub(crate) fn create_private_dir(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

/// Writes a file (0600) that is there in full or not at all.
pub(crate) fn write(dir: &Path, name: &str, content: &[u8], durable: bool) -> io::Result<()> {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Relaxed);
    let temporary = dir.join(format!("{name}.{}.{number}.tmp", std::process::id()));
    let written = (|| {
        let mut options = OpenOptions::new();
        let mut file =
            options.write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        file.write_all(content)?;
        if durable {
            file.sync_all()?;
        }
        fs::rename(&temporary, dir.join(name))?;
        if durable { File::open(dir)?.sync_all() } else { Ok(()) }
    })();
    if written.is_err() {
        // The error that is reported says more.
        let _ = fs::remove_file(&temporary);
    }
    written
}
