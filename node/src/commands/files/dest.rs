//! Where fetched content goes.

use std::path::{Component, Path, PathBuf};

use peerage_api::files::FilesError;

use super::paths::bad;

/// A folder, and what the content is called in it if not by its own name.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Dest {
    pub(super) into: PathBuf,
    pub(super) name: Option<String>,
}

impl Dest {
    /// An existing folder is gone into; so is one with a slash at its end, which is made. Anything
    /// else is the new name of the content.
    pub(super) fn of(given: &Path) -> Result<Self, FilesError> {
        let made = given.as_os_str().as_encoded_bytes().ends_with(b"/");
        if made {
            std::fs::create_dir_all(given).map_err(|error| bad(given, &error))?;
        }
        let path = std::path::absolute(given).map_err(|error| bad(given, &error))?;
        if path.to_str().is_none() {
            return Err(bad(given, &"the name is not UTF-8 text"));
        }
        if path.is_dir() {
            return Ok(Self { into: plain(path)?, name: None });
        }
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(no_folder(given));
        };
        if !parent.is_dir() {
            return Err(no_folder(parent));
        }
        let name = Some(name.to_string_lossy().into_owned());
        Ok(Self { into: plain(parent.to_owned())?, name })
    }

    /// A folder that must exist.
    pub(super) fn folder(given: &Path) -> Result<PathBuf, FilesError> {
        match Self::of(given)? {
            Self { into, name: None } => Ok(into),
            Self { name: Some(_), .. } => Err(no_folder(given)),
        }
    }
}

fn no_folder(path: &Path) -> FilesError {
    match path.exists() {
        true => bad(path, &"is not a folder"),
        false => bad(path, &"no such folder; create it first"),
    }
}

/// Without `..`, which would stay in what is shown.
fn plain(folder: PathBuf) -> Result<PathBuf, FilesError> {
    match folder.components().any(|part| part == Component::ParentDir) {
        true => folder.canonicalize().map_err(|error| bad(&folder, &error)),
        false => Ok(folder),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_gone_into_and_anything_else_is_a_name() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        std::fs::write(dir.join("taken"), "").unwrap();
        let named = |name: &str| Dest { into: dir.to_owned(), name: Some(name.to_owned()) };
        assert_eq!(Dest::of(dir).unwrap(), Dest { into: dir.to_owned(), name: None });
        assert_eq!(Dest::of(&dir.join("new")).unwrap(), named("new"));
        assert_eq!(Dest::of(&dir.join("taken")).unwrap(), named("taken"));
        assert!(!dir.join("new").exists());
        let made = Dest::of(&dir.join("made/here/")).unwrap();
        assert_eq!((made.into.is_dir(), made.name), (true, None));
        for (wrong, problem) in [
            ("nowhere/new", "create it first"),
            ("nowhere/..", "create it first"),
            ("taken/new", "is not a folder"),
        ] {
            let error = Dest::of(&dir.join(wrong)).unwrap_err().to_string();
            assert!(error.contains(problem), "{error}");
        }
        let above = Dest::of(&dir.join("made/../x")).unwrap().into;
        assert_eq!(above, dir.canonicalize().unwrap());
        let here = Dest::of(Path::new(".")).unwrap();
        assert_eq!(here, Dest { into: std::env::current_dir().unwrap(), name: None });
    }
}
