//! Disks that are full or broken, and content that changes.

use std::{fs, os::unix::fs::PermissionsExt as _, sync::Arc};

use peerage_content::{
    Plan, Sink, SinkError, Source, SourceError, WriteError,
    faults::{EIO, ENOSPC, Faults, Faulty},
};

use crate::support::{Place, names, noise, read, transfer, tree};

fn files(place: &Place) -> Source {
    place.file("t/large", &noise(1, 5_000_000));
    place.file("t/other", &noise(2, 50_000));
    (0..1200).for_each(|number| {
        place.file(&format!("t/d{}/f{number}", number % 7), &noise(number, 2000));
    });
    place.source(&[place.input("t")]).1
}

fn create(place: &Place, source: &Source, disk: &Arc<Faulty>) -> Result<Sink, SinkError> {
    Sink::create_on(disk.clone(), source.plan().clone(), "t", &place.target(), &place.state())
}

#[test]
fn too_little_space_is_said_before_anything_is_created() {
    let place = Place::new();
    let source = files(&place);
    let disk = Arc::new(Faulty::new(Faults { free: Some(7_000_000), ..Faults::default() }));
    let error = create(&place, &source, &disk).unwrap_err();
    let SinkError::NoSpace { needed, free, dir } = &error else { panic!("{error}") };
    assert!(*needed > 7_450_000 && *free == 7_000_000 && *dir == place.out());
    assert!(error.to_string().contains("make space"));
    assert_eq!((names(&place.out()), place.state().exists()), (vec![], false));
    // A full disk that does not say so.
    let (_, blob) = place.source(&[place.input("t/large")]);
    let disk = Arc::new(Faulty::new(Faults { allocate: Some(ENOSPC), ..Faults::default() }));
    assert!(matches!(create(&place, &blob, &disk), Err(SinkError::NoSpace { .. })));
    assert_eq!((names(&place.out()), place.state().exists()), (vec![], false));
}

#[test]
fn a_disk_that_fills_up_keeps_what_it_has_and_goes_on() {
    let place = Place::new();
    let source = files(&place);
    // At each of the first writes in turn, the first of them within a pack too.
    for at in [1, 2, 4, 6, 7, 8, 300, 700, 1200] {
        let disk = Arc::new(Faulty::new(Faults { write: Some((at, ENOSPC)), ..Faults::default() }));
        let sink = create(&place, &source, &disk).unwrap();
        let failed = (0..source.plan().pieces()).find_map(|piece| {
            sink.write_piece(piece, &read(&source, piece)).err().map(|error| (piece, error))
        });
        let (piece, error) = failed.unwrap();
        assert!(matches!(error, WriteError::DiskFull { .. }), "{error}");
        assert_eq!(sink.bits().count(), piece);
        assert!(matches!(sink.finish(), Err(SinkError::Incomplete { .. })));
        disk.set(Faults::default());
        let sink = match at % 2 {
            0 => sink,
            _ => {
                drop(sink);
                Sink::resume(source.plan().clone(), &place.state(), None).unwrap()
            }
        };
        assert_eq!(sink.bits().count(), piece);
        transfer(&source, &sink);
        let path = &sink.finish().unwrap().paths[0];
        assert!(tree(path) == tree(&place.input("t")));
    }
}

#[test]
fn a_broken_disk_is_named() {
    let place = Place::new();
    let source = files(&place);
    let disk = Arc::new(Faulty::new(Faults { one_write: Some((3, EIO)), ..Faults::default() }));
    let sink = create(&place, &source, &disk).unwrap();
    sink.write_piece(0, &read(&source, 0)).unwrap();
    sink.write_piece(1, &read(&source, 1)).unwrap();
    let error = sink.write_piece(2, &read(&source, 2)).unwrap_err();
    let WriteError::Io { path, .. } = error else { panic!("{error}") };
    assert_eq!(path, place.out().join("t.part/large"));
    transfer(&source, &sink);
    assert!(tree(&sink.finish().unwrap().paths[0]) == tree(&place.input("t")));
}

#[test]
fn what_a_failed_sync_may_have_lost_counts_as_missing() {
    for (errno, blob) in [(EIO, false), (ENOSPC, true)] {
        let place = Place::new();
        let source = files(&place);
        let source = if blob { place.source(&[place.input("t/large")]).1 } else { source };
        let disk = Arc::new(Faulty::new(Faults::default()));
        let sink = create(&place, &source, &disk).unwrap();
        sink.write_piece(0, &read(&source, 0)).unwrap();
        assert_eq!(sink.checkpoint().unwrap().count(), 1);
        sink.write_piece(1, &read(&source, 1)).unwrap();
        sink.write_piece(2, &read(&source, 2)).unwrap();
        disk.set(Faults { sync: Some((1, errno)), ..Faults::default() });
        let error = sink.checkpoint().unwrap_err();
        assert_eq!(matches!(error, WriteError::DiskFull { .. }), blob, "{error}");
        assert!(sink.bits().present_runs().eq(std::iter::once(0..1)));
        drop(sink);
        disk.set(Faults::default());
        let plan = source.plan().clone();
        let sink = Sink::resume_on(disk.clone(), plan, &place.state(), None).unwrap();
        assert!(sink.bits().present_runs().eq(std::iter::once(0..1)));
        transfer(&source, &sink);
        // The last sync is what makes it complete.
        disk.set(Faults { sync: Some((1, errno)), ..Faults::default() });
        sink.finish().unwrap_err();
        assert!(!place.out().join("t").exists());
        disk.set(Faults::default());
        transfer(&source, &sink);
        sink.finish().unwrap();
    }
}

#[test]
fn a_checkpoint_without_news_syncs_nothing() {
    let place = Place::new();
    let source = files(&place);
    let disk = Arc::new(Faulty::new(Faults::default()));
    let sink = create(&place, &source, &disk).unwrap();
    sink.write_piece(0, &read(&source, 0)).unwrap();
    let first = sink.checkpoint().unwrap();
    let syncs = disk.syncs();
    assert_eq!(sink.checkpoint().unwrap(), first);
    assert_eq!(disk.syncs(), syncs);
}

#[test]
fn a_corrupt_group_is_refused_and_nothing_is_written() {
    let place = Place::new();
    let source = files(&place);
    let disk = Arc::new(Faulty::new(Faults::default()));
    let sink = create(&place, &source, &disk).unwrap();
    for piece in 0..source.plan().pieces() {
        let good = read(&source, piece);
        for at in (0..good.len()).step_by(16 << 10).chain([good.len() - 1]) {
            let mut bad = good.clone();
            bad[at] ^= 1;
            let error = sink.write_piece(piece, &bad).unwrap_err();
            assert!(
                matches!(error, WriteError::Corrupt(corrupt) if corrupt.offset <= at),
                "{error}"
            );
        }
    }
    assert_eq!((disk.writes(), sink.bits().count()), (0, 0));
    assert_eq!(names(&sink.staging()), Vec::<String>::new());
    let pieces = source.plan().pieces();
    assert!(matches!(sink.write_piece(pieces, &[]), Err(WriteError::NoPiece { .. })));
}

#[test]
fn a_source_that_changed_or_is_gone_is_said_so() {
    let place = Place::new();
    let source = files(&place);
    let pieces = source.plan().pieces();
    let mut out = Vec::new();
    let large = place.input("t/large");
    let mut content = noise(1, 5_000_000);
    let changed = |source: &Source, piece, out: &mut Vec<u8>| match source.read_piece(piece, out) {
        Err(SourceError::Changed { path }) => path,
        other => panic!("{other:?}"),
    };
    // One byte of the second block: the others are still served.
    content[1_100_000] ^= 1;
    fs::write(&large, &content).unwrap();
    assert_eq!(changed(&source, 1, &mut out), large);
    source.read_piece(0, &mut out).unwrap();
    // Shorter.
    fs::write(&large, &content[..2_000_000]).unwrap();
    assert_eq!(changed(&source, 4, &mut out), large);
    source.read_piece(0, &mut out).unwrap();
    // The last byte of the last file of the last pack.
    let small = place.input("t/d6/f993");
    fs::write(&small, b"other").unwrap();
    assert_eq!(changed(&source, pieces - 1, &mut out), small);
    fs::remove_file(&small).unwrap();
    let gone = source.read_piece(pieces - 1, &mut out).unwrap_err();
    assert!(matches!(&gone, SourceError::Missing { path } if *path == small), "{gone}");
    // A link is not what was shared, even to the same content.
    let kept = place.file("kept", &noise(993, 2000));
    std::os::unix::fs::symlink(kept, &small).unwrap();
    assert_eq!(changed(&source, pieces - 1, &mut out), small);
    let no_piece = source.read_piece(pieces, &mut out);
    assert!(matches!(no_piece, Err(SourceError::NoPiece { .. })));
    // A blob is looked at when it is opened.
    let blob = place.prepare(std::slice::from_ref(&large)).record;
    fs::write(&large, b"short").unwrap();
    assert!(matches!(Source::open(&blob, &place.cache), Err(SourceError::Changed { .. })));
    fs::remove_file(&large).unwrap();
    assert!(matches!(Source::open(&blob, &place.cache), Err(SourceError::Missing { .. })));
}

#[test]
fn a_damaged_or_missing_cache_is_made_up_for() {
    let place = Place::new();
    let source = files(&place);
    let (record, _) = place.source(&[place.input("t")]);
    let outboards = place.dir.path().join("cache/outboards");
    for damage in [0, 1, 2] {
        for name in names(&outboards) {
            let path = outboards.join(name);
            let mut pairs = fs::read(&path).unwrap();
            match damage {
                0 => pairs[3] ^= 1,
                1 => pairs.truncate(10),
                _ => {
                    fs::remove_file(path).unwrap();
                    continue;
                }
            }
            fs::write(path, pairs).unwrap();
        }
        let again = Source::open(&record.record, &place.cache).unwrap();
        for piece in 0..6 {
            assert!(read(&again, piece) == read(&source, piece));
        }
        assert_eq!(names(&outboards).len(), 1);
    }
    assert!(place.cache.bytes().unwrap() > 1000);
    assert!(place.cache.trim(0).unwrap() > 1000, "manifests stay");
    assert_eq!(names(&outboards), Vec::<String>::new());
    place.cache.forget(record.record.root);
    assert_eq!(place.cache.bytes().unwrap(), 0);
    let unknown = Source::open(&record.record, &place.cache);
    assert!(matches!(unknown, Err(SourceError::Unknown { .. })));
}

#[test]
fn a_destination_that_cannot_be_written_is_named() {
    let place = Place::new();
    let (_, source) = place.source(&[place.file("a", b"content")]);
    let create = |dir: std::path::PathBuf| {
        let target = peerage_content::Target { dir, name: None, file: None };
        Sink::create(source.plan().clone(), "a", &target, &place.state()).unwrap_err()
    };
    let none = create(place.out().join("none"));
    assert!(matches!(none, SinkError::NoDirectory { .. }), "{none}");
    let file = create(place.input("a"));
    assert!(matches!(file, SinkError::NoDirectory { .. }), "{file}");
    fs::set_permissions(place.out(), fs::Permissions::from_mode(0o500)).unwrap();
    if fs::write(place.out().join("probe"), "").is_err() {
        let denied = create(place.out());
        assert!(matches!(denied, SinkError::Denied { .. }), "{denied}");
    }
    fs::set_permissions(place.out(), fs::Permissions::from_mode(0o700)).unwrap();
    assert!(!place.state().exists());
    let name = |name: &str| {
        Sink::create(source.plan().clone(), name, &place.target(), &place.state()).unwrap_err()
    };
    for bad in ["../a", "a/b", "", "CON", "a\u{202e}"] {
        assert!(matches!(name(bad), SinkError::Name(_)), "{bad}");
    }
    let plan: Plan = source.plan().clone();
    assert_eq!(plan.pieces(), 1);
}
