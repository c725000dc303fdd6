//! Files that only their owner reads, written whole or not at all.

use std::{
    fs::{DirBuilder, File, Permissions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
};

use tempfile::NamedTempFile;

use crate::failed::{Exit, Failed};

/// A file beside its place, which takes the place once it is whole.
#[derive(Debug)]
pub(crate) struct Draft {
    path: PathBuf,
    file: NamedTempFile,
}

impl Draft {
    /// Begins a file that will be at `path`: proof that it can be written there.
    pub(crate) fn new(path: &Path) -> Result<Self, Failed> {
        let folder = folder_of(path);
        let mut builder = tempfile::Builder::new();
        builder.prefix(".peerage-").permissions(Permissions::from_mode(0o600));
        let file = builder.tempfile_in(folder).map_err(|error| unwritten(path, &error))?;
        Ok(Self { path: path.to_owned(), file })
    }

    /// As [`Draft::new`] for a file that must not be there yet.
    pub(crate) fn fresh(path: &Path) -> Result<Self, Failed> {
        match path.symlink_metadata() {
            Ok(_) => Err(exists(path)),
            Err(_) => Self::new(path),
        }
    }

    /// Puts the bytes in and replaces what was at the place. Durable when it returns.
    pub(crate) fn finish(self, bytes: &[u8]) -> Result<(), Failed> {
        let Self { path, file } = self;
        let done = whole(file, bytes).and_then(|file| Ok(file.persist(&path).map(drop)?));
        done.and_then(|()| synced(&path)).map_err(|error| unwritten(&path, &error))
    }

    /// As [`Draft::finish`], unless something came to the place meanwhile.
    pub(crate) fn finish_fresh(self, bytes: &[u8]) -> Result<(), Failed> {
        let Self { path, file } = self;
        let done =
            whole(file, bytes).and_then(|file| Ok(file.persist_noclobber(&path).map(drop)?));
        done.and_then(|()| synced(&path)).map_err(|error| unwritten(&path, &error))
    }
}

/// Makes a folder that only its owner enters, unless it is there.
pub(crate) fn folder(path: &Path) -> Result<(), Failed> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|error| unwritten(path, &error))
}

/// Whether others than the owner may read an ordinary file.
pub(crate) fn is_open(file: &File) -> io::Result<bool> {
    let about = file.metadata()?;
    Ok(about.is_file() && about.permissions().mode() & 0o077 != 0)
}

/// A failure that names the file.
pub(crate) fn unread(path: &Path, error: &io::Error) -> Failed {
    Failed::new(Exit::Failed, "io", format!("cannot read {}: {error}", path.display()))
}

fn unwritten(path: &Path, error: &io::Error) -> Failed {
    match error.kind() {
        io::ErrorKind::AlreadyExists => exists(path),
        _ => {
            let text = format!("cannot write {}: {}", path.display(), of_system(error));
            Failed::new(Exit::Failed, "io", text)
        }
    }
}

/// What the system said, without the name of a file that is there for a moment only: `tempfile` puts
/// that behind it, and keeps the error itself for itself.
fn of_system(error: &io::Error) -> String {
    let said = error.to_string();
    said.split_once(" at path ").map_or(said.clone(), |(said, _)| said.to_owned())
}

fn exists(path: &Path) -> Failed {
    let text =
        format!("{} exists already and is left as it is; choose another name", path.display());
    Failed::new(Exit::Failed, "exists", text)
}

fn whole(mut file: NamedTempFile, bytes: &[u8]) -> io::Result<NamedTempFile> {
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    Ok(file)
}

/// The name of a file is durable once its folder is.
fn synced(path: &Path) -> io::Result<()> {
    File::open(folder_of(path))?.sync_all()
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        path.metadata().unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_file_is_its_owners_alone_and_whole_even_when_it_replaces_an_open_one() {
        let dir = tempfile::tempdir().unwrap();
        let (inner, path) = (dir.path().join("in/ner"), dir.path().join("in/ner/file"));
        folder(&inner).unwrap();
        assert_eq!(mode(&inner), 0o700);
        std::fs::write(&path, "old").unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        assert!(is_open(&File::open(&path).unwrap()).unwrap());
        let draft = Draft::new(&path).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        draft.finish(b"new").unwrap();
        assert_eq!((std::fs::read(&path).unwrap(), mode(&path)), (b"new".to_vec(), 0o600));
        assert!(!is_open(&File::open(&path).unwrap()).unwrap());
        assert_eq!(std::fs::read_dir(&inner).unwrap().count(), 1, "nothing else is left");
    }

    #[test]
    fn a_fresh_file_replaces_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("code");
        let (first, second) = (Draft::fresh(&path).unwrap(), Draft::fresh(&path).unwrap());
        first.finish_fresh(b"1").unwrap();
        assert!(second.finish_fresh(b"2").is_err());
        assert!(Draft::fresh(&path).is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"1");
        let Failed::Because(reason) = Draft::new(&dir.path().join("no/where")).unwrap_err() else {
            panic!("no reason");
        };
        assert!(reason.message.contains("no/where: No such file"), "{}", reason.message);
        assert!(!reason.message.contains(".peerage-"), "{}", reason.message);
    }
}
