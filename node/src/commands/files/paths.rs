//! Paths as they are typed.

use std::{
    io,
    path::{Component, Path, PathBuf},
};

use peerage_api::files::FilesError;

/// What is to be sent or shared, as the daemon needs it: absolute, and not through a final link.
pub(super) fn existing(paths: &[PathBuf]) -> Result<Vec<PathBuf>, FilesError> {
    paths.iter().map(|path| source(path).map_err(|error| bad(path, &error))).collect()
}

/// What to call them together.
pub(super) fn name(paths: &[PathBuf]) -> String {
    let name = |path: &PathBuf| path.file_name().map(|name| name.to_string_lossy().into_owned());
    match paths {
        [one] => name(one).unwrap_or_else(|| one.display().to_string()),
        paths => format!("{} paths", paths.len()),
    }
}

/// A path that cannot be used.
pub(super) fn bad(path: &Path, reason: &dyn std::fmt::Display) -> FilesError {
    FilesError::Path { path: path.to_owned(), reason: reason.to_string() }
}

fn source(path: &Path) -> io::Result<PathBuf> {
    // Whoever names a link means what it points to.
    let is_link = std::fs::symlink_metadata(path)?.is_symlink();
    let plain = path.components().all(|part| part != Component::ParentDir);
    let found =
        if plain && !is_link { std::path::absolute(path)? } else { std::fs::canonicalize(path)? };
    let kind = std::fs::metadata(&found)?;
    match found.to_str() {
        _ if !kind.is_file() && !kind.is_dir() => {
            Err(io::Error::other("is neither a file nor a folder"))
        }
        Some(_) => Ok(found),
        None => Err(io::Error::other("the name is not UTF-8 text")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_become_absolute_and_links_their_targets() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().canonicalize().unwrap();
        std::fs::create_dir(dir.join("sub")).unwrap();
        std::fs::write(dir.join("file"), "").unwrap();
        std::os::unix::fs::symlink("file", dir.join("link")).unwrap();
        let given = ["file", "sub/", "link", "sub/../file", "sub/."].map(|name| dir.join(name));
        let expected = ["file", "sub", "file", "file", "sub"].map(|name| dir.join(name));
        assert_eq!(existing(&given).unwrap(), expected);
        let missing = existing(&[dir.join("nothing")]).unwrap_err().to_string();
        assert!(missing.contains("nothing: No such file"), "{missing}");
        let device = existing(&["/dev/null".into()]).unwrap_err().to_string();
        assert!(device.contains("neither a file nor a folder"), "{device}");
        assert!(existing(&[PathBuf::from(".")]).unwrap()[0].is_absolute());
    }
}
