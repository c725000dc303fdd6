use bytes::Bytes;
use data_encoding::HEXLOWER;
use peerage_types::ContentHash;
use peerage_wire::{
    files::{
        manifest::{
            Entry, FileEntry, Kind, MAX_TREE_BYTES, Manifest, ManifestBuilder, ManifestError,
            Modified, link_target,
        },
        path::{PathFault, RelPath, RelRef},
    },
    fuzz,
};
use proptest::prelude::*;

use crate::replay::{corpus, replay};

const EMPTY: &str = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262";

fn file(size: u64, executable: bool, secs: i64, nanos: u32) -> Kind<'static> {
    let root = if size == 0 { EMPTY.parse().unwrap() } else { ContentHash([0xab; 32]) };
    Kind::File(FileEntry { size, root, executable, modified: Modified { secs, nanos } })
}

fn build(name: Option<&str>, entries: &[(&str, Kind<'_>)]) -> Result<Manifest, ManifestError> {
    let mut builder = ManifestBuilder::new(name)?;
    for (path, kind) in entries {
        builder.push(Entry { path: RelRef::parse(path)?, kind: *kind })?;
    }
    Ok(builder.finish())
}

fn entries() -> Vec<(&'static str, Kind<'static>)> {
    vec![
        ("a", Kind::Dir),
        ("a/empty", file(0, false, 0, 0)),
        ("a/ö", file(300, true, -2, 999_999_999)),
        ("a.txt", file(1 << 40, false, 1_700_000_000, 5)),
        ("b", Kind::Dir),
        ("link", Kind::Link { target: "a/ö" }),
    ]
}

/// Version 1. These bytes never change: a change is a new version.
fn golden() -> Vec<(Manifest, String)> {
    let ab = "ab".repeat(32);
    let all = format!(
        "01 04 74726565 06
         00 01 61
         01 07 612f656d707479 00 {EMPTY} 00 00
         02 04 612fc3b6 ac02 {ab} 03 ff93ebdc03
         01 05 612e747874 808080808020 {ab} 80c49fd50c 05
         00 01 62
         03 04 6c696e6b 04 612fc3b6"
    );
    let bundle = format!("01 00 01 01 01 78 01 {ab} 02 00");
    vec![
        (build(Some("tree"), &entries()).unwrap(), all),
        (build(None, &[("x", file(1, false, 1, 0))]).unwrap(), bundle),
        (build(Some("x"), &[]).unwrap(), "01 01 78 00".into()),
    ]
}

fn bytes_of(hex: &str) -> Bytes {
    let hex: String = hex.split_whitespace().collect();
    HEXLOWER.decode(hex.as_bytes()).unwrap().into()
}

#[test]
fn version_1_is_these_bytes() {
    for (manifest, hex) in golden() {
        let bytes = bytes_of(&hex);
        assert_eq!(HEXLOWER.encode(manifest.bytes()), HEXLOWER.encode(&bytes), "{manifest:?}");
        let decoded = Manifest::decode(bytes.clone()).unwrap();
        assert_eq!(decoded, manifest);
        assert_eq!(decoded.root().0, *blake3::hash(&bytes).as_bytes());
        assert_eq!((decoded.name(), decoded.len()), (manifest.name(), manifest.len()));
        assert_eq!(decoded.total_bytes(), manifest.total_bytes());
    }
    let manifest = build(Some("tree"), &entries()).unwrap();
    let read: Vec<_> = manifest.entries().map(|entry| (entry.path.as_str(), entry.kind)).collect();
    assert_eq!(read, entries());
    assert_eq!((manifest.files(), manifest.total_bytes()), (3, 300 + (1 << 40)));
    assert_eq!(manifest.entry(6), None);
}

#[test]
fn what_is_kept_is_the_bytes_and_not_a_copy() {
    let bytes = golden()[0].0.bytes().clone();
    let manifest = Manifest::decode(bytes.clone()).unwrap();
    assert_eq!(manifest.bytes().as_ptr(), bytes.as_ptr());
}

#[test]
fn what_is_no_manifest_is_refused_with_the_reason() {
    use ManifestError as E;
    let order = |path: &str| E::Order { path: path.into() };
    let orphan = |path: &str| E::NoParent { path: path.into() };
    for (hex, error) in [
        ("", E::Short),
        ("02", E::Version(2)),
        ("01 00", E::Short),
        ("01 00 00 00", E::Trailing(1)),
        ("01 00 c1843d", E::Entries),
        ("01 00 02 000161", E::Short),
        ("01 00 8000", E::Number),
        ("01 00 01 040161", E::Kind(4)),
        ("01 01ff 00", E::Text),
        ("01 00 01 0001ff", E::Text),
        ("01 00 01 00ffffff0161", E::Number),
        ("01 00 02 000162 000161", order("a")),
        ("01 00 02 000161 000161", order("a")),
        ("01 00 01 0003612f62", orphan("a/b")),
        ("01 00 03 000161 000162 0003612f62", order("a/b")),
        // Behind `a` comes `a b`, but what is in `a` comes before that.
        ("01 00 03 000161 0003612062 0003612f62", order("a/b")),
        ("01 00 02 000161 0004 61622f63", orphan("ab/c")),
    ] {
        assert_eq!(Manifest::decode(bytes_of(hex)), Err(error), "{hex}");
    }
    let fault = |hex: &str| match Manifest::decode(bytes_of(hex)) {
        Err(E::Path(error)) => error.fault,
        other => panic!("{hex}: {other:?}"),
    };
    assert_eq!(fault("01 03612f62 00"), PathFault::Many);
    assert_eq!(fault("01 022e2e 00"), PathFault::Dots);
    assert_eq!(fault("01 00 01 00022e2e"), PathFault::Dots);
    assert_eq!(fault("01 00 01 00022f61"), PathFault::Empty);
}

#[test]
fn entries_that_cannot_be_are_refused() {
    use ManifestError as E;
    let inside = |kind| build(Some("t"), &[("f", kind)]);
    let nanos = 1_000_000_000;
    assert_eq!(inside(file(1, false, 0, nanos)), Err(E::Time { path: "f".into(), nanos }));
    assert!(inside(file(1, false, i64::MIN, 0)).is_ok());
    assert!(inside(file(MAX_TREE_BYTES, false, i64::MAX, 0)).is_ok());
    assert_eq!(inside(file(MAX_TREE_BYTES + 1, false, 0, 0)), Err(E::TooMuch));
    let most = file(MAX_TREE_BYTES, false, 0, 0);
    assert_eq!(build(None, &[("a", most), ("b", file(1, false, 0, 0))]), Err(E::TooMuch));
    let nothing = FileEntry {
        size: 0,
        root: ContentHash([0; 32]),
        executable: false,
        modified: Modified::default(),
    };
    assert_eq!(inside(Kind::File(nothing)), Err(E::EmptyRoot { path: "f".into() }));
    // A file is no directory.
    let below = build(Some("t"), &[("f", file(1, false, 0, 0)), ("f/x", Kind::Dir)]);
    assert_eq!(below, Err(E::NoParent { path: "f/x".into() }));
}

#[test]
fn links_stay_inside() {
    let tree = |name, target| {
        let link = Kind::Link { target };
        build(name, &[("d", Kind::Dir), ("d/e", Kind::Dir), ("d/e/l", link)]).is_ok()
    };
    for target in ["x", "x/y", "../x", "../../x", "..", "../.."] {
        assert!(tree(Some("t"), target), "{target}");
    }
    for target in [
        "",
        ".",
        "/",
        "/etc",
        "./x",
        "x/",
        "x//y",
        "x/..",
        "x/../y",
        "../x/../..",
        "../../..",
        "../../../x",
        "../",
        "a:b",
        "x\\y",
        "..\u{0}",
        "...",
    ] {
        assert!(!tree(Some("t"), target), "{target}");
    }
    // In a bundle not out of the item either.
    assert!(tree(None, "../x") && tree(None, ".."));
    assert!(!tree(None, "../../x") && !tree(None, "../.."));
    assert!(build(None, &[("l", Kind::Link { target: "x" })]).is_err());
    assert!(build(Some("t"), &[("l", Kind::Link { target: "x" })]).is_ok());
}

#[test]
fn targets_are_made_canonical_for_sending() {
    let link = RelPath::parse("d/l").unwrap();
    let target = |text| link_target(link.as_ref(), text, 0);
    for (text, expected) in [
        ("./x", Some("x")),
        ("x//y/", Some("x/y")),
        ("./../x", Some("../x")),
        ("../..", None),
        ("/abs", None),
        ("x/../y", None),
        (".", None),
    ] {
        assert_eq!(target(text).as_deref(), expected, "{text}");
    }
}

fn manifests() -> impl Strategy<Value = Manifest> {
    let name = "[a-zé.]{1,3}";
    let path = prop::collection::vec(name, 1..4).prop_map(|names| names.join("/"));
    let kind = (0u8..3, any::<u32>(), any::<bool>(), any::<i64>(), 0u32..1_000_000_000);
    let kind = kind.prop_map(|(of, size, executable, secs, nanos)| match of {
        0 => Kind::Dir,
        1 => Kind::Link { target: "x" },
        _ => file(size.into(), executable, secs, nanos),
    });
    let entries = prop::collection::btree_map(path, kind, 0..12);
    (prop::option::of("[a-z]{1,4}"), entries).prop_map(|(name, entries)| {
        let mut sorted = std::collections::BTreeMap::new();
        for (path, kind) in entries {
            let Ok(path) = RelPath::parse(&path) else { continue };
            // What others are in is a directory.
            let mut above = path.as_ref().parent();
            while let Some(dir) = above {
                sorted.insert(dir.to_owned(), Kind::Dir);
                above = dir.parent();
            }
            let top = path.as_ref().depth() == 1 && name.is_none();
            let kind = if top && matches!(kind, Kind::Link { .. }) { Kind::Dir } else { kind };
            sorted.entry(path).or_insert(kind);
        }
        let mut builder = ManifestBuilder::new(name.as_deref()).unwrap();
        for (path, kind) in &sorted {
            builder.push(Entry { path: RelPath::as_ref(path), kind: *kind }).unwrap();
        }
        builder.finish()
    })
}

proptest! {
    #[test]
    fn what_is_built_is_read(manifest in manifests()) {
        fuzz::files_manifest(manifest.bytes());
        let read = Manifest::decode(manifest.bytes().clone()).unwrap();
        prop_assert!(read.entries().eq(manifest.entries()));
        let counted = (read.files(), read.total_bytes());
        prop_assert_eq!(counted, (manifest.files(), manifest.total_bytes()));
    }

    #[test]
    fn no_change_to_a_manifest_breaks_the_decoder(
        manifest in manifests(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = manifest.bytes().to_vec();
        for (at, to) in changes {
            let at = at.index(bytes.len());
            bytes[at] = to;
        }
        fuzz::files_manifest(&bytes);
    }

    #[test]
    fn no_bytes_break_the_decoder(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        fuzz::files_manifest(&bytes);
    }
}

#[test]
fn neither_the_corpus_nor_changes_of_it_break_the_decoder() {
    replay(env!("CARGO_MANIFEST_DIR"), "files_manifest", fuzz::files_manifest);
}

#[test]
fn the_corpus_has_every_golden_vector() {
    let corpus = corpus(env!("CARGO_MANIFEST_DIR"), "files_manifest");
    for (manifest, hex) in golden() {
        let bytes = bytes_of(&hex);
        assert!(corpus.iter().any(|(_, file)| *file == bytes), "{manifest:?} is missing");
        for cut in 0..bytes.len() {
            Manifest::decode(bytes.slice(..cut)).unwrap_err();
        }
    }
}
