//! Trees found.

use std::{
    fs::{self, FileType, Metadata},
    io,
    path::{Path, PathBuf},
};

use peerage_types::ContentHash;
use peerage_wire::files::{
    manifest::{MAX_ENTRIES, ManifestError, link_target},
    path::{RelPath, check_name},
};

use super::{PrepareError, Work};
use crate::Stamp;

/// Something that goes into the manifest.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) path: RelPath,
    pub(super) what: What,
}

#[derive(Debug)]
pub(super) enum What {
    Dir,
    Link(Box<str>),
    /// A file that is still to be hashed.
    File {
        size: u64,
    },
    Hashed {
        root: ContentHash,
        stamp: Stamp,
        executable: bool,
    },
    /// It could not be read, and that was to be tolerated.
    Skipped,
}

/// The size of a regular file.
pub(super) fn regular(path: &Path) -> Result<u64, PrepareError> {
    let metadata = path.metadata().map_err(|error| PrepareError::at(path, error))?;
    match metadata.is_file() {
        true => Ok(metadata.len()),
        false => Err(PrepareError::Special { path: path.to_owned() }),
    }
}

/// Finds what is at and below `path`, in the order of manifests. In a bundle it is called `name`.
pub(super) fn find(
    work: &Work<'_>,
    path: &Path,
    name: Option<&str>,
    found: &mut Vec<Found>,
) -> Result<(), PrepareError> {
    let mut walk = Walk { work, bundle: name.is_some(), found };
    let Some(name) = name else { return walk.children(path, None) };
    let refused = |fault: peerage_wire::files::path::PathError| PrepareError::Name {
        path: path.to_owned(),
        reason: fault.fault.to_string(),
    };
    let rel = RelPath::parse_name(name).map_err(refused)?;
    let metadata = path.metadata().map_err(|error| PrepareError::at(path, error))?;
    if metadata.is_dir() || metadata.is_file() {
        return walk.one(path.to_owned(), rel, &metadata);
    }
    Err(PrepareError::Special { path: path.to_owned() })
}

struct Walk<'a, 'b> {
    work: &'a Work<'a>,
    bundle: bool,
    found: &'b mut Vec<Found>,
}

impl Walk<'_, '_> {
    /// What is in a directory, `rel` in the tree, by name.
    fn children(&mut self, dir: &Path, rel: Option<&RelPath>) -> Result<(), PrepareError> {
        let listed = fs::read_dir(dir).and_then(|entries| {
            entries.map(|entry| Ok(entry?.file_name())).collect::<io::Result<Vec<_>>>()
        });
        let mut names = match listed.map_err(|error| PrepareError::at(dir, error)) {
            Ok(names) => names,
            Err(error) => return self.unreadable(dir.to_owned(), error),
        };
        names.sort();
        for name in names {
            if self.work.progress.is_cancelled() {
                return Err(PrepareError::Cancelled);
            }
            let path = dir.join(&name);
            let Some(name) = name.to_str() else {
                self.work.skips.add(path, "its name is not UTF-8");
                continue;
            };
            let rel = match rel {
                Some(rel) => rel.join(name).map_err(|error| error.fault),
                None => check_name(name)
                    .and_then(|()| RelPath::parse_name(name).map_err(|error| error.fault)),
            };
            match rel {
                Ok(rel) => match fs::symlink_metadata(&path) {
                    Ok(metadata) => self.one(path, rel, &metadata)?,
                    Err(error) => {
                        let error = PrepareError::at(&path, error);
                        self.unreadable(path, error)?;
                    }
                },
                Err(fault) => self.work.skips.add(path, fault.to_string()),
            }
        }
        Ok(())
    }

    fn one(
        &mut self,
        path: PathBuf,
        rel: RelPath,
        metadata: &Metadata,
    ) -> Result<(), PrepareError> {
        if self.found.len() >= MAX_ENTRIES as usize {
            return Err(PrepareError::Limit { path, source: ManifestError::Entries });
        }
        let kind: FileType = metadata.file_type();
        if kind.is_dir() {
            self.found.push(Found { path: rel.clone(), what: What::Dir });
            return self.children(&path, Some(&rel));
        }
        if kind.is_file() {
            let size = metadata.len();
            self.work.progress.found(size);
            self.found.push(Found { path: rel, what: What::File { size } });
        } else if kind.is_symlink() {
            self.link(path, rel);
        } else {
            self.work.skips.add(path, "it is neither a file nor a directory");
        }
        Ok(())
    }

    fn link(&mut self, path: PathBuf, rel: RelPath) {
        if !self.work.options.keep_links {
            return self.work.skips.add(path, "it is a symbolic link");
        }
        let target = fs::read_link(&path).ok();
        let target = target.as_deref().and_then(Path::to_str);
        let inside =
            target.and_then(|target| link_target(rel.as_ref(), target, self.bundle.into()));
        match inside {
            Some(target) => {
                self.found.push(Found { path: rel, what: What::Link(target.into()) });
            }
            None => self.work.skips.add(path, "it is a symbolic link that leads out of the tree"),
        }
    }

    fn unreadable(&self, path: PathBuf, error: PrepareError) -> Result<(), PrepareError> {
        if !self.work.options.skip_unreadable || !error.is_of_path() {
            return Err(error);
        }
        self.work.skips.add(path, "it cannot be read");
        Ok(())
    }
}
