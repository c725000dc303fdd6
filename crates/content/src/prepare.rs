//! Paths to shared content: found, hashed, described.

mod error;
mod hashing;
mod skipped;
mod walk;

use std::path::{Path, PathBuf};

use peerage_wire::files::{
    manifest::{Entry, FileEntry, Kind, Manifest, ManifestBuilder, Modified},
    path::{RelPath, check_name},
};

use crate::{Cache, Progress, SourceItem, SourceKind, SourceRecord, Stamp};
pub use error::PrepareError;
use skipped::Skips;
pub use skipped::{MAX_SKIPPED, Skipped};
use walk::{Found, What};

/// How to share.
#[derive(Debug, Clone, Copy, Default)]
pub struct PrepareOptions {
    /// Keeps symbolic links that stay within the tree, rather than to skip them.
    pub keep_links: bool,
    /// Skips what cannot be read, rather than to end with an error.
    pub skip_unreadable: bool,
}

/// Content that is ready to be shared.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// What to remember of it.
    pub record: SourceRecord,
    /// What was left out, up to [`MAX_SKIPPED`].
    pub skipped: Vec<Skipped>,
    /// How many paths were left out in all.
    pub skipped_count: u64,
}

/// Finds and hashes what is at `paths`: one file becomes a blob, one directory a tree named after
/// it, several paths a bundle.
///
/// Links are followed where they are named in `paths`, and nowhere below. Hashes are kept in `cache`,
/// several threads hash. Blocks as long as that takes.
///
/// # Errors
/// [`PrepareError`] names the path and the remedy.
pub fn prepare(
    paths: &[PathBuf],
    options: &PrepareOptions,
    cache: &Cache,
    progress: &Progress,
) -> Result<Prepared, PrepareError> {
    let mut items = paths.iter().map(|path| item(path)).collect::<Result<Vec<_>, _>>()?;
    items.sort_by(|a, b| (&a.name, &a.path).cmp(&(&b.name, &b.path)));
    items.dedup_by(|a, b| a.path == b.path);
    let work = Work { options, cache, progress, skips: Skips::default() };
    let record = match &items[..] {
        [] => return Err(PrepareError::Nothing),
        [item] if !item.path.is_dir() => work.blob(item)?,
        [item] => work.tree(Some(item.name.clone()), vec![item.clone()])?,
        _ => {
            number_names(&mut items);
            work.tree(None, items)?
        }
    };
    let (skipped, skipped_count) = work.skips.into_list();
    Ok(Prepared { record, skipped, skipped_count })
}

/// What a path names, and under which name.
fn item(path: &Path) -> Result<SourceItem, PrepareError> {
    let real = path.canonicalize().map_err(|error| PrepareError::at(path, error))?;
    // `.` and `..` have no name of their own.
    let named = path.file_name().or(real.file_name());
    let refused = |reason: String| PrepareError::Name { path: real.clone(), reason };
    let name = named.ok_or_else(|| refused("it has none".to_owned()))?;
    let name = name.to_str().ok_or_else(|| refused("it is not UTF-8".to_owned()))?;
    check_name(name).map_err(|fault| refused(fault.to_string()))?;
    Ok(SourceItem { name: name.to_owned(), path: real })
}

/// Gives items of a bundle names of their own: `a/x` and `b/x` become `x` and `x (1)`.
fn number_names(items: &mut [SourceItem]) {
    let mut taken = std::collections::HashSet::new();
    for item in items.iter_mut() {
        let free = (0..)
            .map(|number| crate::sink::numbered(&item.name, number))
            .find(|name| taken.insert(name.clone()));
        if let Some(free) = free {
            item.name = free;
        }
    }
    items.sort_by(|a, b| a.name.cmp(&b.name));
}

/// What it takes to prepare.
struct Work<'a> {
    options: &'a PrepareOptions,
    cache: &'a Cache,
    progress: &'a Progress,
    skips: Skips,
}

impl Work<'_> {
    fn blob(&self, item: &SourceItem) -> Result<SourceRecord, PrepareError> {
        let size = walk::regular(&item.path)?;
        self.progress.found(size);
        let (root, stamp, executable) =
            self.hash(&item.path, &mut Vec::new(), crate::hash::threads())?;
        let Stamp { size: bytes, .. } = stamp;
        Ok(SourceRecord {
            root,
            kind: SourceKind::Blob,
            name: item.name.clone(),
            bytes,
            files: 1,
            manifest_bytes: 0,
            items: vec![item.clone()],
            stamp: Some(stamp),
            executable,
        })
    }

    fn tree(
        &self,
        name: Option<String>,
        items: Vec<SourceItem>,
    ) -> Result<SourceRecord, PrepareError> {
        let mut found = Vec::new();
        for item in &items {
            let within = name.is_none().then_some(item.name.as_str());
            walk::find(self, &item.path, within, &mut found)?;
        }
        self.hash_all(&items, name.is_none(), &mut found)?;
        let manifest = manifest(name.as_deref(), &items, found)?;
        self.cache.keep_manifest(&manifest).map_err(PrepareError::Cache)?;
        let more = items.len().saturating_sub(1);
        let name = name.unwrap_or_else(|| {
            let first = items.first().map_or("", |item| &item.name);
            let shown = format!("{first} and {more} more");
            // A name of the greatest length leaves no room for the rest.
            if check_name(&shown).is_ok() { shown } else { format!("{} items", more + 1) }
        });
        Ok(SourceRecord {
            root: manifest.root(),
            kind: SourceKind::Tree,
            name,
            bytes: manifest.total_bytes(),
            files: manifest.files().into(),
            manifest_bytes: manifest.bytes().len() as u64,
            items,
            stamp: None,
            executable: false,
        })
    }
}

fn manifest(
    name: Option<&str>,
    items: &[SourceItem],
    found: Vec<Found>,
) -> Result<Manifest, PrepareError> {
    let top = || items.first().map(|item| item.path.clone()).unwrap_or_default();
    let limit = |source| PrepareError::Limit { path: top(), source };
    let mut builder = ManifestBuilder::new(name).map_err(limit)?;
    for Found { path, what } in found {
        let kind = match &what {
            What::Dir => Kind::Dir,
            What::Link(target) => Kind::Link { target },
            What::Hashed { root, stamp, executable } => Kind::File(FileEntry {
                size: stamp.size,
                root: *root,
                executable: *executable,
                modified: Modified { secs: stamp.secs, nanos: stamp.nanos },
            }),
            What::File { .. } | What::Skipped => continue,
        };
        builder.push(Entry { path: RelPath::as_ref(&path), kind }).map_err(limit)?;
    }
    Ok(builder.finish())
}
