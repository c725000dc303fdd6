//! From paths to open directories.

use std::io;

use peerage_wire::files::path::RelRef;

use super::{folder::Folder, names::Names};

/// Finds the directories of paths that come in order, with few calls to the system.
pub(super) struct Walk<'a> {
    top: &'a Folder,
    names: &'a Names,
    /// The directory that is open, as in the manifest.
    path: String,
    /// The open directories below the top, each with the length of its path.
    open: Vec<(usize, Folder)>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(top: &'a Folder, names: &'a Names) -> Self {
        Self { top, names, path: String::new(), open: Vec::new() }
    }

    /// The directory that an entry is in, created if need be.
    pub(super) fn parent(&mut self, path: RelRef<'_>) -> io::Result<&Folder> {
        match path.parent() {
            Some(parent) => self.dir(parent),
            None => Ok(self.top),
        }
    }

    /// A directory, created if need be.
    pub(super) fn dir(&mut self, wanted: RelRef<'_>) -> io::Result<&Folder> {
        let text = wanted.as_str();
        while let Some((len, _)) = self.open.last()
            && !contains(&self.path[..*len], text)
        {
            self.open.pop();
        }
        let mut at = self.open.last().map_or(0, |(len, _)| *len);
        while at < text.len() {
            let start = if at == 0 { 0 } else { at + 1 };
            let end = text[start..].find('/').map_or(text.len(), |len| start + len);
            let Ok(path) = RelRef::parse(&text[..end]) else {
                return Err(io::ErrorKind::InvalidFilename.into());
            };
            let here = self.open.last().map_or(self.top, |(_, folder)| folder);
            let next = here.dir_or_create(self.names.on_disk(path))?;
            self.open.push((end, next));
            at = end;
        }
        self.path.clear();
        self.path.push_str(text);
        Ok(self.open.last().map_or(self.top, |(_, folder)| folder))
    }
}

/// Whether `path` is `dir` or below it.
fn contains(dir: &str, path: &str) -> bool {
    path.strip_prefix(dir).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
