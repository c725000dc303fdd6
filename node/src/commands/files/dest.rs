//! Where fetched content goes.

use std::path::{Path, PathBuf};

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
        if path.is_dir() {
            return Ok(Self { into: path, name: None });
        }
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(bad(given, &"no such folder; create it first"));
        };
        if !parent.is_dir() {
            return Err(bad(parent, &"no such folder; create it first"));
        }
        let name = name.to_str().ok_or_else(|| bad(given, &"the name is not UTF-8 text"))?;
        Ok(Self { into: parent.to_owned(), name: Some(name.to_owned()) })
    }

    /// A folder that must exist.
    pub(super) fn folder(given: &Path) -> Result<PathBuf, FilesError> {
        match Self::of(given)? {
            Self { into, name: None } => Ok(into),
            Self { name: Some(_), .. } => Err(bad(given, &"no such folder; create it first")),
        }
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
        for missing in ["nowhere/new", "taken/new", "nowhere/.."] {
            let error = Dest::of(&dir.join(missing)).unwrap_err().to_string();
            assert!(error.contains("create it first"), "{error}");
        }
        let here = Dest::of(Path::new(".")).unwrap();
        assert_eq!(here, Dest { into: std::env::current_dir().unwrap(), name: None });
    }
}
