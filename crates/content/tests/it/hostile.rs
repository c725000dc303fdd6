//! Whoever sends, and whoever else writes to the destination, is not trusted.

use std::{fs, os::unix::fs::symlink};

use peerage_content::{Manifest, Plan, Sink, WriteError};
use peerage_types::ContentHash;
use peerage_wire::files::{
    manifest::{Entry, FileEntry, Kind, ManifestBuilder},
    path::RelRef,
};

use crate::support::{Place, names, noise, read, transfer, tree};

fn source(place: &Place) -> peerage_content::Source {
    place.file("t/dir/large", &noise(1, 2_000_000));
    place.file("t/dir/small", b"small");
    place.source(&[place.input("t")]).1
}

#[test]
fn nothing_is_written_through_a_planted_link() {
    for inside in [false, true] {
        let place = Place::new();
        let source = source(&place);
        let sink = place.sink(&source, "t");
        let victim = if inside { sink.staging().join("victim") } else { place.input("victim") };
        fs::create_dir(&victim).unwrap();
        symlink(&victim, sink.staging().join("dir")).unwrap();
        for piece in 0..3 {
            let error = sink.write_piece(piece, &read(&source, piece)).unwrap_err();
            assert!(matches!(error, WriteError::Io { .. }), "{error}");
        }
        assert_eq!(names(&victim), Vec::<String>::new());
        // Once it is out of the way, it goes on.
        fs::remove_file(sink.staging().join("dir")).unwrap();
        transfer(&source, &sink);
        fs::remove_dir(&victim).unwrap();
        sink.finish().unwrap();
        assert!(tree(&place.input("t")) == tree(&place.out().join("t")));
    }
}

#[test]
fn planted_files_are_replaced_or_refused_but_never_overwritten() {
    let place = Place::new();
    let source = source(&place);
    let sink = place.sink(&source, "t");
    let dir = sink.staging().join("dir");
    fs::create_dir(&dir).unwrap();
    let victim = place.file("victim", b"precious");
    symlink(&victim, dir.join("small")).unwrap();
    fs::hard_link(&victim, dir.join("large")).unwrap();
    assert!(matches!(sink.write_piece(0, &read(&source, 0)), Err(WriteError::Io { .. })));
    fs::remove_file(dir.join("large")).unwrap();
    symlink(&victim, dir.join("large")).unwrap();
    assert!(matches!(sink.write_piece(0, &read(&source, 0)), Err(WriteError::Io { .. })));
    fs::remove_file(dir.join("large")).unwrap();
    transfer(&source, &sink);
    sink.finish().unwrap();
    assert_eq!(fs::read(&victim).unwrap(), b"precious");
    assert!(tree(&place.input("t")) == tree(&place.out().join("t")));
}

#[test]
fn discarding_follows_no_link() {
    let place = Place::new();
    let source = source(&place);
    let sink = place.sink(&source, "t");
    transfer(&source, &sink);
    place.file("victims/one", b"precious");
    symlink(place.input("victims"), sink.staging().join("dir/link")).unwrap();
    drop(sink);
    Sink::discard(&place.state()).unwrap();
    assert_eq!(names(&place.out()), Vec::<String>::new());
    assert_eq!(names(&place.input("victims")), ["one"]);
}

#[test]
fn a_manifest_that_lies_about_a_file_ends_with_a_corrupt_piece() {
    let place = Place::new();
    let real = source(&place);
    for (size, root) in
        [(2_000_000, [1; 32]), (1_999_999, *blake3::hash(&noise(1, 2_000_000)).as_bytes())]
    {
        let mut builder = ManifestBuilder::new(Some("t")).unwrap();
        let file = FileEntry {
            size,
            root: ContentHash(root),
            executable: false,
            modified: Default::default(),
        };
        let path = RelRef::parse("large").unwrap();
        builder.push(Entry { path, kind: Kind::File(file) }).unwrap();
        let plan = Plan::tree(builder.finish());
        let sink = Sink::create(plan, "t", &place.target(), &place.state()).unwrap();
        // The end proves the size; a block before it is what it is.
        let error = sink.write_piece(1, &read(&real, 1)).unwrap_err();
        assert!(matches!(error, WriteError::Corrupt(_)), "{error}");
        let first = sink.write_piece(0, &read(&real, 0));
        assert_eq!(first.is_ok(), root != [1; 32]);
        sink.finish().unwrap_err();
        Sink::discard(&place.state()).unwrap();
    }
}

#[test]
fn a_manifest_that_leads_out_is_refused_before_anything_is_written() {
    let place = Place::new();
    let source = source(&place);
    let bytes = source.plan().manifest().unwrap().bytes().to_vec();
    let at = bytes.windows(9).position(|window| window == b"dir/small").unwrap();
    for evil in [&b"../../sma"[..], b"/etc/pass", b"dir/../sm", b"dir//smal", b"dir\\small"] {
        let mut bytes = bytes.clone();
        bytes[at..at + 9].copy_from_slice(evil);
        Manifest::decode(bytes.into()).unwrap_err();
    }
}
