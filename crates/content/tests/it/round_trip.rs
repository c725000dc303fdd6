//! What is shared arrives.

use std::{
    fs::{self, File},
    os::unix::fs::{PermissionsExt as _, symlink},
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use peerage_content::{
    Collector, Manifest, Plan, Sink, Source, Target,
    faults::{Faults, Faulty},
};
use peerage_types::ContentHash;

use crate::support::{Place, names, noise, read, transfer, tree};

const DEEP: usize = 100;

/// A tree with one of everything.
fn fill(place: &Place, top: &str) {
    let file = |name: &str, content: &[u8]| place.file(&format!("{top}/{name}"), content);
    for name in ["日本語/ファイル.txt", "Ärger/Öl", "العربية", "emoji 👩\u{200d}💻/x", ".hidden"]
    {
        file(name, name.as_bytes());
    }
    file("empty file", b"");
    file("run.sh", b"#!/bin/sh\n");
    fs::set_permissions(place.input(top).join("run.sh"), fs::Permissions::from_mode(0o755))
        .unwrap();
    file("large/one.bin", &noise(1, 3_000_000));
    file("large/two.bin", &noise(2, 16_385));
    file("large/block.bin", &noise(3, 1 << 20));
    for number in 0..700 {
        file(&format!("many/{number}"), &noise(number, 3000 + number as usize));
    }
    file(&format!("{}/deep", vec!["d"; DEEP].join("/")), b"down here");
    fs::create_dir_all(place.input(top).join("empty/er")).unwrap();
    symlink("../run.sh", place.input(top).join("large/link")).unwrap();
    symlink("nowhere", place.input(top).join("dangling")).unwrap();
    for name in ["large/one.bin", "run.sh", "empty file", ".hidden"] {
        let old = UNIX_EPOCH + Duration::new(1_000_000_000, 123_000_000);
        File::options()
            .write(true)
            .open(place.input(top).join(name))
            .unwrap()
            .set_modified(old)
            .unwrap();
    }
}

/// Sends the manifest of a tree as a blob, as a node does.
fn send_manifest(source: &Source) -> Manifest {
    let manifest = source.plan().manifest().unwrap();
    let from = Source::manifest(manifest);
    assert_eq!(from.root(), source.root());
    let plan = Plan::blob(source.root(), from.plan().bytes()).unwrap();
    let mut into = Collector::new(plan);
    for piece in 0..from.plan().pieces() {
        into.write_piece(piece, &read(&from, piece)).unwrap();
    }
    Manifest::decode(into.finish().unwrap()).unwrap()
}

#[test]
fn a_file_arrives_under_its_name() {
    for size in [0, 1, 16_384, 16_385, 1 << 20, 5_000_001] {
        let place = Place::new();
        let content = noise(9, size);
        let (prepared, source) = place.source(&[place.file("song.ogg", &content)]);
        let sink = place.sink(&source, &prepared.record.name);
        assert_eq!(names(&place.out()), ["song.ogg.part"]);
        transfer(&source, &sink);
        let finished = sink.finish().unwrap();
        assert_eq!(finished.paths, [place.out().join("song.ogg")]);
        assert_eq!(sink.finish().unwrap(), finished);
        assert!(fs::read(&finished.paths[0]).unwrap() == content, "{size}");
        assert_eq!(names(&place.out()), ["song.ogg"]);
    }
}

#[test]
fn a_file_arrives_with_its_mode_and_time_also_after_a_kill() {
    let place = Place::new();
    for (size, executable, (secs, nanos)) in [
        (0, true, (1_000_000_000, 123_000_000)),
        (10, false, (-86_400, 999_999_999)),
        (3_000_000, true, (1, 0)),
    ] {
        let path = place.file("run", &noise(9, size));
        let mode = if executable { 0o755 } else { 0o644 };
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let time = if secs < 0 { UNIX_EPOCH - Duration::from_secs(86_400) } else { UNIX_EPOCH };
        let time = time + Duration::new(secs.max(0) as u64, nanos);
        File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
        let (prepared, source) = place.source(&[path]);
        let file = prepared.record.file();
        assert_eq!(file, Some((executable, secs, nanos).into()));
        let target = Target { file, ..place.target() };
        drop(Sink::create(source.plan().clone(), "run", &target, &place.state()).unwrap());
        let sink = Sink::resume(source.plan().clone(), &place.state(), None).unwrap();
        transfer(&source, &sink);
        sink.checkpoint().unwrap();
        let metadata = fs::metadata(&sink.finish().unwrap().paths[0]).unwrap();
        let may_read = metadata.permissions().mode() & 0o444;
        let may_run = metadata.permissions().mode() & 0o111;
        assert_eq!(may_run, if executable { may_read >> 2 } else { 0 });
        assert_eq!(metadata.modified().unwrap(), time);
        Sink::discard(&place.state()).unwrap();
        fs::remove_file(place.out().join("run")).unwrap();
    }
}

#[test]
fn a_time_that_is_none_is_left_out() {
    let place = Place::new();
    let (_, source) = place.source(&[place.file("a", b"content")]);
    // The last two mean "now" and "leave it" to the system.
    for nanos in [u32::MAX, 1_000_000_000, 0x3fff_ffff, 0x3fff_fffe] {
        let target = Target { file: Some((true, 5, nanos).into()), ..place.target() };
        let sink = Sink::create(source.plan().clone(), "a", &target, &place.state()).unwrap();
        transfer(&source, &sink);
        let metadata = fs::metadata(&sink.finish().unwrap().paths[0]).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o111, 0);
    }
    // A file system need not hold every time, but the content arrives.
    for secs in [i64::MIN, i64::MAX] {
        let target = Target { file: Some((false, secs, 0).into()), ..place.target() };
        let sink = Sink::create(source.plan().clone(), "a", &target, &place.state()).unwrap();
        transfer(&source, &sink);
        assert_eq!(fs::read(&sink.finish().unwrap().paths[0]).unwrap(), b"content");
    }
}

#[test]
fn a_tree_arrives_as_it_is() {
    let place = Place::new();
    fill(&place, "tree");
    let (prepared, source) = place.source(&[place.input("tree")]);
    assert_eq!((prepared.skipped_count, &prepared.record.name[..]), (0, "tree"));
    assert_eq!(prepared.record.files, 711);
    let plan = Plan::tree(send_manifest(&source));
    let sink = Sink::create(plan, "tree", &place.target(), &place.state()).unwrap();
    transfer(&source, &sink);
    assert_eq!(sink.finish().unwrap().paths, [place.out().join("tree")]);
    assert!(tree(&place.input("tree")) == tree(&place.out().join("tree")));
    assert_eq!(names(&place.out()), ["tree"]);
}

#[test]
fn a_tree_that_four_threads_write_arrives_as_it_is() {
    let place = Place::new();
    fill(&place, "tree");
    let (_, source) = place.source(&[place.input("tree")]);
    let sink = place.sink(&source, "tree");
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (source, sink) = (&source, &sink);
            // Every piece is written by two of the threads.
            let pieces = (0..source.plan().pieces()).filter(move |piece| piece % 2 == thread % 2);
            scope.spawn(move || {
                pieces.for_each(|piece| sink.write_piece(piece, &read(source, piece)).unwrap());
            });
        }
    });
    sink.finish().unwrap();
    assert!(tree(&place.input("tree")) == tree(&place.out().join("tree")));
}

#[test]
fn a_bundle_arrives_side_by_side() {
    let place = Place::new();
    fill(&place, "dir");
    let paths = [
        place.input("dir"),
        place.file("a/x.txt", b"one"),
        place.file("b/x.txt", &noise(1, 99_999)),
    ];
    let (prepared, source) = place.source(&paths);
    assert_eq!(prepared.record.name, "dir and 2 more");
    let plan = Plan::tree(send_manifest(&source));
    fs::write(place.out().join("x.txt"), "was here").unwrap();
    let name = prepared.record.name;
    let sink = Sink::create(plan, &name, &place.target(), &place.state()).unwrap();
    transfer(&source, &sink);
    let finished = sink.finish().unwrap();
    assert_eq!(names(&place.out()), ["dir", "x (1).txt", "x (2).txt", "x.txt"]);
    assert_eq!(finished.paths.len(), 3);
    assert!(finished.paths.iter().all(|path| path.exists()));
    assert!(tree(&place.input("dir")) == tree(&place.out().join("dir")));
    assert_eq!(fs::read(place.out().join("x.txt")).unwrap(), b"was here");
    let contents: Vec<_> = finished.paths.iter().map(|path| fs::read(path).ok()).collect();
    assert!(
        contents.contains(&Some(b"one".to_vec())) && contents.contains(&Some(noise(1, 99_999)))
    );
}

#[test]
fn names_that_are_taken_are_numbered_and_what_has_them_stays() {
    let place = Place::new();
    let (_, source) = place.source(&[place.file("a.txt", b"new")]);
    for name in ["a.txt", "a (1).txt", "a.txt.part"] {
        fs::write(place.out().join(name), "old").unwrap();
    }
    let target = Target { name: Some("b.txt".into()), ..place.target() };
    let renamed =
        Sink::create(source.plan().clone(), "a.txt", &target, &place.dir.path().join("s2"))
            .unwrap();
    let sink = place.sink(&source, "a.txt");
    assert_eq!(sink.staging(), place.out().join("a (1).txt.part"));
    for (sink, expected) in [(sink, "a (2).txt"), (renamed, "b.txt")] {
        transfer(&source, &sink);
        assert_eq!(sink.finish().unwrap().paths, [place.out().join(expected)]);
        assert_eq!(fs::read(place.out().join(expected)).unwrap(), b"new");
    }
    for name in ["a.txt", "a (1).txt", "a.txt.part"] {
        assert_eq!(fs::read(place.out().join(name)).unwrap(), b"old");
    }
}

#[test]
fn names_that_differ_in_case_or_form_only_arrive_untouched_where_they_can() {
    let place = Place::new();
    similar(&place);
    if fs::read_dir(place.input("t")).unwrap().count() < 8 {
        return; // A test bed that takes them for one itself.
    }
    let bundle = [place.input("t/README"), place.input("t/readme"), place.input("t/Dir")];
    for paths in [vec![place.input("t")], bundle.into()] {
        let (_, source) = place.source(&paths);
        let sink = place.sink(&source, "t");
        transfer(&source, &sink);
        sink.finish().unwrap();
        Sink::forget(&place.state());
    }
    assert!(tree(&place.input("t")) == tree(&place.out().join("t")));
    assert_eq!(names(&place.out()), ["Dir", "README", "readme", "t"]);
}

#[test]
fn names_that_the_destination_takes_for_one_are_told_apart_and_links_follow() {
    let place = Place::new();
    similar(&place);
    let (_, source) = place.source(&[place.input("t")]);
    let folds = |folds| Arc::new(Faulty::new(Faults { folds, ..Faults::default() }));
    let plan = source.plan();
    let sink =
        Sink::create_on(folds(Some(true)), plan.clone(), "t", &place.target(), &place.state());
    drop(sink.unwrap());
    // What was found out at first counts, whatever the disk says later.
    let sink = Sink::resume_on(folds(Some(false)), plan.clone(), &place.state(), None).unwrap();
    transfer(&source, &sink);
    sink.finish().unwrap();
    let found = tree(&place.out().join("t"));
    let found: Vec<_> = found.keys().map(String::as_str).collect();
    let expected = [
        "Dir",
        "Dir/x",
        "README",
        "dir (1)",
        "dir (1)/link",
        "dir (1)/y",
        "e\u{301}",
        "link",
        "readme (1)",
        "é (1)",
    ];
    assert_eq!(found, expected);
    for (link, content) in [("link", "t/dir/y"), ("dir (1)/link", "t/readme")] {
        assert_eq!(fs::read(place.out().join("t").join(link)).unwrap(), content.as_bytes());
    }
}

/// A tree whose names are hard to tell apart, and links to them.
fn similar(place: &Place) {
    for name in ["t/README", "t/readme", "t/é", "t/e\u{301}", "t/Dir/x", "t/dir/y"] {
        place.file(name, name.as_bytes());
    }
    symlink("dir/y", place.input("t/link")).unwrap();
    symlink("../readme", place.input("t/dir/link")).unwrap();
}

#[test]
fn every_byte_is_in_one_piece() {
    let place = Place::new();
    fill(&place, "tree");
    let (prepared, source) = place.source(&[place.input("tree")]);
    let plan = source.plan();
    let bytes: u64 = (0..plan.pieces()).map(|piece| plan.piece_bytes(piece)).sum();
    assert_eq!((bytes, plan.bytes()), (prepared.record.bytes, prepared.record.bytes));
    assert_eq!((plan.piece_bytes(plan.pieces()), plan.wire_len(plan.pieces())), (0, 0));
    assert!((0..plan.pieces()).all(|piece| plan.piece_bytes(piece) <= 1 << 20));
}

#[test]
fn an_empty_blob_of_another_root_is_refused() {
    assert!(Plan::blob(ContentHash([0; 32]), 0).is_err());
    assert!(Plan::blob(ContentHash([0; 32]), 1 << 49).is_err());
}
