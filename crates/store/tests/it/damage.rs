//! Damaged files are kept aside; files that merely cannot be used are left alone.

use std::{fs, path::Path};

use bytes::Bytes;
use peerage_store::{KeptAside, OpenError, Store};
use rand::{RngExt, SeedableRng, rngs::StdRng};

use crate::{file, kept, open, runtime};

const ROWS: usize = 500;

/// A cleanly closed file of some pages.
fn filled(dir: &Path) -> Vec<u8> {
    let store = open(dir);
    for n in 0..ROWS {
        drop(store.marks().put(&n.to_string(), vec![n as u8; 700].into()));
    }
    runtime().block_on(store.close()).unwrap();
    fs::read(file(dir)).unwrap()
}

/// Opens what must be damaged, and sees to it that the damaged bytes are all there.
fn open_damaged(dir: &Path, damaged: &[u8]) -> (Store, KeptAside) {
    fs::write(file(dir), damaged).unwrap();
    let opened = Store::open(dir).unwrap();
    let kept_aside = opened.kept_aside.expect("the damage is noticed");
    assert_eq!(kept(dir), std::slice::from_ref(&kept_aside.kept));
    assert_eq!(kept_aside.path, file(dir));
    assert_eq!(peerage_store::kept_aside(dir).as_ref(), Some(&kept_aside.kept));
    let message = kept_aside.to_string();
    assert!(message.contains(&*kept_aside.kept.to_string_lossy()), "{message}");
    assert_eq!(opened.store.marks().get_blocking("1").unwrap(), None, "the new one is empty");
    (opened.store, kept_aside)
}

fn damaged_is_kept_aside(damage: impl FnOnce(&mut Vec<u8>)) {
    let dir = tempfile::tempdir().unwrap();
    let mut bytes = filled(dir.path());
    damage(&mut bytes);
    let (store, kept_aside) = open_damaged(dir.path(), &bytes);
    assert_eq!(fs::read(&kept_aside.kept).unwrap().len(), bytes.len());
    runtime().block_on(async {
        store.marks().put("new", Bytes::from_static(b"1")).await.unwrap();
        store.close().await.unwrap();
    });
    // Told once only.
    assert!(open(dir.path()).marks().get_blocking("new").unwrap().is_some());
}

#[test]
fn a_zeroed_header_is_kept_aside() {
    damaged_is_kept_aside(|bytes| bytes[..4096].fill(0));
}

#[test]
fn a_zeroed_magic_number_is_kept_aside() {
    damaged_is_kept_aside(|bytes| bytes[..9].fill(0));
}

#[test]
fn an_empty_file_is_kept_aside() {
    damaged_is_kept_aside(Vec::clear);
}

#[test]
fn a_file_of_a_few_bytes_is_kept_aside() {
    damaged_is_kept_aside(|bytes| bytes.truncate(5));
}

#[test]
fn a_truncated_file_is_kept_aside() {
    damaged_is_kept_aside(|bytes| bytes.truncate(bytes.len() / 2));
    damaged_is_kept_aside(|bytes| bytes.truncate(4096));
    damaged_is_kept_aside(|bytes| bytes.truncate(100));
}

#[test]
fn a_file_of_something_else_is_kept_aside() {
    damaged_is_kept_aside(|bytes| *bytes = b"SQLite format 3\0".repeat(1000));
}

#[test]
fn a_database_without_our_tables_is_kept_aside() {
    damaged_is_kept_aside(|bytes| {
        let dir = tempfile::tempdir().unwrap();
        drop(redb::Database::create(dir.path().join("other")).unwrap());
        *bytes = fs::read(dir.path().join("other")).unwrap();
    });
}

/// Wherever the bytes are changed: either the store has every row, or the file is kept aside.
/// Never an error, a panic, or a row that is wrong or missing.
#[test]
fn random_bytes_anywhere_are_noticed_or_harmless() {
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let dir = tempfile::tempdir().unwrap();
    let sound = filled(dir.path());
    let mut noticed = 0;
    for round in 0..60 {
        let mut bytes = sound.clone();
        // Every third time in the header, where a few bytes decide about everything.
        let (within, longest) = if round % 3 == 0 { (320, 16) } else { (bytes.len(), 5000) };
        let (at, length) = (random.random_range(0..within), random.random_range(1..longest));
        let end = (at + length).min(bytes.len());
        random.fill(&mut bytes[at..end]);
        fs::write(file(dir.path()), &bytes).unwrap();
        let opened = Store::open(dir.path()).unwrap();
        match opened.kept_aside {
            Some(kept_aside) => {
                noticed += 1;
                fs::remove_file(kept_aside.kept).unwrap();
            }
            None => assert_complete(&opened.store, &format!("round {round}: {at}..{end}")),
        }
    }
    println!("{noticed} of 60 were noticed, the others harmless");
    assert!(noticed > 20);
}

fn assert_complete(store: &Store, round: &str) {
    for n in 0..ROWS {
        let found = store.marks().get_blocking(&n.to_string()).unwrap();
        assert_eq!(found, Some(vec![n as u8; 700].into()), "{round}, row {n}");
    }
}

/// Beyond 8 MiB a start does not read everything, unless damage was seen before.
#[test]
fn a_large_file_is_verified_once_it_is_suspect() {
    let dir = tempfile::tempdir().unwrap();
    let suspect = dir.path().join("peerage.redb.suspect");
    let store = open(dir.path());
    for n in 0..12 {
        runtime().block_on(store.marks().put(&n.to_string(), vec![n; 1 << 20].into())).unwrap();
    }
    drop(store);
    let mut bytes = fs::read(file(dir.path())).unwrap();
    let inside_a_value = bytes.windows(4096).position(|page| *page == [5; 4096]).unwrap();
    bytes[inside_a_value + 100] ^= 1;
    fs::write(file(dir.path()), &bytes).unwrap();
    drop(open(dir.path()));
    fs::write(&suspect, b"").unwrap();
    assert!(Store::open(dir.path()).unwrap().kept_aside.is_some());
    assert!(!suspect.exists(), "the new file is not suspect");
}

#[test]
fn two_damaged_files_of_one_second_are_both_kept() {
    let dir = tempfile::tempdir().unwrap();
    for _ in 0..3 {
        fs::write(file(dir.path()), b"damaged").unwrap();
        assert!(Store::open(dir.path()).unwrap().kept_aside.is_some());
    }
    assert_eq!(kept(dir.path()).len(), 3);
}

#[test]
fn something_that_is_no_file_is_an_io_error_and_stays() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(file(dir.path())).unwrap();
    let error = Store::open(dir.path()).unwrap_err();
    assert!(matches!(error, OpenError::Io { .. }), "{error:?}");
    assert!(error.to_string().contains("peerage.redb"), "{error}");
    assert!(file(dir.path()).is_dir() && kept(dir.path()).is_empty());
}

#[cfg(unix)]
#[test]
fn a_file_without_permission_is_an_io_error_and_stays() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let bytes = filled(dir.path());
    fs::set_permissions(file(dir.path()), fs::Permissions::from_mode(0o000)).unwrap();
    if fs::File::open(file(dir.path())).is_ok() {
        println!("SKIPPED: this user (root?) may open every file");
        return;
    }
    let error = Store::open(dir.path()).unwrap_err();
    assert!(matches!(error, OpenError::Io { .. }), "{error:?}");
    fs::set_permissions(file(dir.path()), fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(fs::read(file(dir.path())).unwrap(), bytes);
}

/// A creation that was interrupted is not mistaken for damage.
#[test]
fn an_unfinished_new_file_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("peerage.redb.new"), b"unfinished").unwrap();
    drop(open(dir.path()));
    assert!(!dir.path().join("peerage.redb.new").exists());
}
