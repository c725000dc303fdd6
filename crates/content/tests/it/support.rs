//! Directories, content and transfers of tests.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use peerage_content::{
    Cache, Plan, PrepareOptions, Prepared, Progress, Sink, Source, Target, prepare,
};
use tempfile::TempDir;

/// Directories of a sender and a receiver.
pub(crate) struct Place {
    pub(crate) dir: TempDir,
    pub(crate) cache: Cache,
}

impl Place {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("in")).unwrap();
        fs::create_dir(dir.path().join("out")).unwrap();
        let cache = Cache::open(&dir.path().join("cache")).unwrap();
        Self { dir, cache }
    }

    pub(crate) fn input(&self, name: &str) -> PathBuf {
        self.dir.path().join("in").join(name)
    }

    pub(crate) fn out(&self) -> PathBuf {
        self.dir.path().join("out")
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.dir.path().join("parts/1")
    }

    pub(crate) fn target(&self) -> Target {
        Target { dir: self.out(), name: None, file: None }
    }

    /// Writes a file of the sender.
    pub(crate) fn file(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.input(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    pub(crate) fn prepare(&self, paths: &[PathBuf]) -> Prepared {
        let options = PrepareOptions { keep_links: true, skip_unreadable: false };
        prepare(paths, &options, &self.cache, &Progress::default()).unwrap()
    }

    pub(crate) fn source(&self, paths: &[PathBuf]) -> (Prepared, Source) {
        let prepared = self.prepare(paths);
        let source = Source::open(&prepared.record, &self.cache).unwrap();
        (prepared, source)
    }

    pub(crate) fn sink(&self, source: &Source, name: &str) -> Sink {
        Sink::create(source.plan().clone(), name, &self.target(), &self.state()).unwrap()
    }
}

/// Bytes that look random and are the same for the same seed.
pub(crate) fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

/// One piece as it is on the wire.
pub(crate) fn read(source: &Source, piece: u32) -> Vec<u8> {
    let mut out = Vec::new();
    source.read_piece(piece, &mut out).unwrap();
    assert_eq!(out.len(), source.plan().wire_len(piece), "wire length of piece {piece}");
    out
}

/// Moves all pieces that are missing.
pub(crate) fn transfer(source: &Source, sink: &Sink) {
    let bits = sink.bits();
    for piece in bits.missing_runs().flatten() {
        sink.write_piece(piece, &read(source, piece)).unwrap();
    }
}

/// What is below a directory: kind, content or target, executable, time of files.
pub(crate) fn tree(dir: &Path) -> BTreeMap<String, (char, Vec<u8>, bool, i64)> {
    fn walk(top: &Path, dir: &Path, out: &mut BTreeMap<String, (char, Vec<u8>, bool, i64)>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(top).unwrap().to_str().unwrap().to_owned();
            let metadata = path.symlink_metadata().unwrap();
            let kind = metadata.file_type();
            if kind.is_symlink() {
                let target = fs::read_link(&path).unwrap();
                out.insert(name, ('l', target.to_str().unwrap().into(), false, 0));
            } else if kind.is_dir() {
                out.insert(name, ('d', Vec::new(), false, 0));
                walk(top, &path, out);
            } else {
                let executable = metadata.mode() & 0o100 != 0;
                let content = fs::read(&path).unwrap();
                out.insert(name, ('f', content, executable, metadata.mtime()));
            }
        }
    }
    let mut out = BTreeMap::new();
    walk(dir, dir, &mut out);
    out
}

/// What is in a directory.
pub(crate) fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// The plan of a blob with this content.
pub(crate) fn blob(content: &[u8]) -> Plan {
    let root = peerage_types::ContentHash(*blake3::hash(content).as_bytes());
    Plan::blob(root, content.len() as u64).unwrap()
}
