//! What is found below a path, and what is left out.

use std::{
    ffi::OsStr,
    fs,
    os::unix::{ffi::OsStrExt as _, fs::symlink},
    path::{Path, PathBuf},
};

use peerage_content::{
    Cache, MAX_SKIPPED, PrepareError, PrepareOptions, Progress, SourceKind, SourceRecord, prepare,
};

use crate::support::{Place, noise};

fn skips(place: &Place, keep_links: bool) -> Vec<(String, String)> {
    let options = PrepareOptions { keep_links, ..PrepareOptions::default() };
    let path = place.input("t");
    let prepared =
        prepare(std::slice::from_ref(&path), &options, &place.cache, &Progress::default()).unwrap();
    assert_eq!(prepared.skipped.len() as u64, prepared.skipped_count);
    let texts = prepared.skipped.iter().filter(|skip| skip.path.to_str().is_some());
    assert_eq!(texts.count(), prepared.skipped.len(), "a path is not text");
    let real = path.canonicalize().unwrap();
    let name = |path: &Path| path.strip_prefix(&real).unwrap().to_string_lossy().into_owned();
    prepared.skipped.into_iter().map(|skip| (name(&skip.path), skip.reason)).collect()
}

#[test]
fn what_cannot_be_sent_is_listed_with_the_reason() {
    let place = Place::new();
    place.file("t/fine", b"1");
    place.file("t/a\nb", b"2");
    place.file("t/back\\slash", b"3");
    place.file("t/CON", b"4");
    fs::write(place.input("t").join(OsStr::from_bytes(b"\xff")), "5").unwrap();
    symlink("fine", place.input("t/inside")).unwrap();
    symlink("../fine", place.input("t/outside")).unwrap();
    symlink("/etc/passwd", place.input("t/absolute")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, place.input("t/pipe"), 0o600.into()).unwrap();
    let common = [
        ("CON", "it has a name that Windows reserves for a device"),
        ("a\nb", "the character U+000A is not allowed in names"),
        ("absolute", "it is a symbolic link"),
        ("back\\slash", "the character U+005C is not allowed in names"),
        ("inside", "it is a symbolic link"),
        ("outside", "it is a symbolic link"),
        ("pipe", "it is neither a file nor a directory"),
        ("\u{fffd}", "its name is not UTF-8"),
    ];
    let expected: Vec<_> = common.map(|(name, why)| (name.to_owned(), why.to_owned())).into();
    assert_eq!(skips(&place, false), expected);
    let kept = skips(&place, true);
    let links: Vec<_> = kept.iter().filter(|(_, why)| why.contains("link")).collect();
    assert_eq!(links.len(), 2, "{links:?}");
    assert!(links.iter().all(|(_, why)| why.ends_with("leads out of the tree")));
    (0..150).for_each(|number| drop(place.file(&format!("t/{number}\\"), b"")));
    let prepared = place.prepare(&[place.input("t")]);
    assert_eq!((prepared.skipped.len(), prepared.skipped_count), (MAX_SKIPPED, 157));
}

#[test]
fn the_tree_is_called_what_the_directory_is_called_however_it_was_named() {
    let place = Place::new();
    place.file("album/song", b"la");
    let named = |path: PathBuf| place.prepare(&[path]).record.name;
    assert_eq!(named(place.input("album")), "album");
    assert_eq!(named(place.input("album/.")), "album");
    fs::create_dir(place.input("album/sub")).unwrap();
    assert_eq!(named(place.input("album/sub/..")), "album");
    symlink("album", place.input("link")).unwrap();
    let record = place.prepare(&[place.input("link")]).record;
    assert_eq!((&record.name[..], record.files), ("link", 1));
    assert_eq!(record.items[0].path, place.input("album").canonicalize().unwrap());
}

#[test]
fn what_is_shared_twice_has_the_same_root() {
    let place = Place::new();
    (0..300).for_each(|n| drop(place.file(&format!("t/{}/{n}", n % 5), &noise(n, 999))));
    let roots: Vec<_> = (0..3).map(|_| place.prepare(&[place.input("t")]).record.root).collect();
    assert!(roots.iter().all(|root| *root == roots[0]));
}

#[test]
fn a_path_that_cannot_be_shared_is_named() {
    let place = Place::new();
    let run = |paths: &[PathBuf]| {
        prepare(paths, &PrepareOptions::default(), &place.cache, &Progress::default()).unwrap_err()
    };
    assert!(matches!(run(&[]), PrepareError::Nothing));
    let gone = place.input("gone");
    assert!(
        matches!(run(std::slice::from_ref(&gone)), PrepareError::Missing { path } if path == gone)
    );
    assert!(matches!(run(&["/dev/null".into()]), PrepareError::Special { .. }));
    assert!(matches!(run(&["/".into()]), PrepareError::Name { .. }));
    let odd = place.file("odd:name", b"");
    let error = run(&[odd]);
    assert!(error.to_string().ends_with("rename it"), "{error}");
    let progress = Progress::default();
    progress.cancel();
    let cancelled =
        prepare(&[place.file("a", b"")], &PrepareOptions::default(), &place.cache, &progress);
    assert!(matches!(cancelled, Err(PrepareError::Cancelled)));
}

#[test]
fn progress_counts_what_was_found_and_hashed() {
    let place = Place::new();
    place.file("t/large", &noise(1, 40_000_000));
    (0..100).for_each(|n| drop(place.file(&format!("t/{n}"), &noise(n, 1000))));
    let progress = Progress::default();
    let record = prepare(&[place.input("t")], &PrepareOptions::default(), &place.cache, &progress)
        .unwrap()
        .record;
    assert_eq!((record.bytes, record.files), (40_100_000, 101));
    assert_eq!((progress.found_bytes(), progress.found_files()), (40_100_000, 101));
    assert_eq!((progress.hashed_bytes(), progress.hashed_files()), (40_100_000, 101));
}

#[test]
fn a_record_survives_json_and_paths_need_not_be_text() {
    let place = Place::new();
    let dir = place.input("t").join(OsStr::from_bytes(b"\xff"));
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join("file"), "content").unwrap();
    let record = place.prepare(&[dir.join("file")]).record;
    assert_eq!((record.kind, record.bytes), (SourceKind::Blob, 7));
    let json = serde_json::to_string(&record).unwrap();
    assert_eq!(serde_json::from_str::<SourceRecord>(&json).unwrap(), record);
    // As it was kept before modes were.
    let older = json.replace(",\"executable\":false", "");
    assert_ne!(older, json);
    assert_eq!(serde_json::from_str::<SourceRecord>(&older).unwrap(), record);
}

#[test]
fn the_cache_is_for_the_owner_alone_and_cleaned_of_what_a_kill_left() {
    use std::os::unix::fs::MetadataExt as _;
    let place = Place::new();
    place.file("t/large", &noise(1, 3_000_000));
    place.prepare(&[place.input("t")]);
    let dir = place.dir.path().join("cache");
    fs::write(dir.join("outboards/x.1.2.tmp"), "half").unwrap();
    Cache::open(&dir).unwrap();
    for (part, files) in [("outboards", 1), ("manifests", 1)] {
        assert_eq!(fs::metadata(dir.join(part)).unwrap().mode() & 0o777, 0o700);
        let found: Vec<_> = fs::read_dir(dir.join(part)).unwrap().map(Result::unwrap).collect();
        assert_eq!(found.len(), files, "{part}");
        assert!(found.iter().all(|file| file.metadata().unwrap().mode() & 0o777 == 0o600));
    }
}
