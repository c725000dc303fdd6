//! A disk without space: typed errors, nothing lost, nothing mistaken for damage.
//!
//! The limit on the size of files (`ulimit -f`) stands in for the disk: writing past it fails in
//! the same calls as a full disk does. A shell sets it, because this crate forbids unsafe code.
#![cfg(unix)]

use std::{path::Path, process::Command};

use bytes::Bytes;
use peerage_store::{OpenError, Store, StoreError};

use crate::{as_child, child_dir, file, kept, open, runtime};

/// Runs a test of this binary that cannot write files beyond `blocks` of 512 or 1024 bytes (shells
/// differ). Returns what it reported.
fn run_limited(test: &str, dir: &Path, blocks: u32) -> String {
    let mut shell = Command::new("sh");
    // Without the trap the kernel would kill the process instead of failing the call.
    let script = format!("trap '' XFSZ; ulimit -f {blocks} || exit 1; exec \"$0\" \"$@\"");
    shell.args(["-c", &script]).arg(std::env::current_exe().unwrap());
    let output = as_child(shell, test, dir).output().unwrap();
    let report = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{report}");
    report
}

/// The child of the first test.
fn fill_the_disk(dir: &Path) {
    let store = open(dir);
    let marks = store.marks();
    runtime().block_on(async {
        let big = |n: u32| Bytes::from(vec![n as u8; 256 << 10]);
        let (mut count, mut error) = (0, None);
        while error.is_none() {
            match marks.put(&format!("big-{count}"), big(count)).await {
                Ok(()) => count += 1,
                Err(full) => error = Some(full),
            }
        }
        let error = error.unwrap();
        assert!(matches!(error, StoreError::Full { .. }), "{error:?}");
        assert!(!error.is_retryable());
        assert!(store.stats().failing);
        assert!(count > 0, "the limit left no space at all");
        for n in 0..count {
            assert_eq!(marks.get(&format!("big-{n}")).await.unwrap(), Some(big(n)));
        }
        // The thread is alive: it takes what still fits, now that something made room.
        marks.remove("big-0").await.unwrap();
        marks.put("small", Bytes::from_static(b"fits")).await.unwrap();
        let stats = store.stats();
        assert!(stats.failures >= 1 && !stats.failing, "{stats:?}");
        eprintln!("acknowledged {count} before {error}");
    });
}

#[test]
fn a_full_disk_fails_writes_but_not_the_store() {
    if let Some(dir) = child_dir() {
        return fill_the_disk(&dir);
    }
    let dir = tempfile::tempdir().unwrap();
    let report =
        run_limited("full::a_full_disk_fails_writes_but_not_the_store", dir.path(), 8 * 1024);
    let count: u32 = report
        .split_once("acknowledged ")
        .and_then(|(_, rest)| rest.split_once(' ')?.0.parse().ok())
        .unwrap_or_else(|| panic!("no report: {report}"));
    let marks = open(dir.path()).marks();
    assert_eq!(marks.get_blocking("big-0").unwrap(), None);
    assert_eq!(marks.get_blocking("small").unwrap(), Some(Bytes::from_static(b"fits")));
    for n in 1..count {
        assert!(marks.get_blocking(&format!("big-{n}")).unwrap().is_some());
    }
}

/// The child of the second test.
fn open_without_space(dir: &Path) {
    match Store::open(dir) {
        Ok(opened) => assert!(opened.kept_aside.is_none()),
        Err(OpenError::Io { path, source }) => eprintln!("refused: {} {source}", path.display()),
        Err(other) => panic!("{other:?}"),
    }
}

#[test]
fn a_full_disk_is_not_mistaken_for_damage() {
    const THIS: &str = "full::a_full_disk_is_not_mistaken_for_damage";
    if let Some(dir) = child_dir() {
        return open_without_space(&dir);
    }
    let dir = tempfile::tempdir().unwrap();
    let report = run_limited(THIS, dir.path(), 4);
    assert!(report.contains("refused"), "a file of 1 MiB was created without space: {report}");
    assert!(!file(dir.path()).exists(), "a file that could not be created leaves none behind");
    // Not cleanly closed, so that opening it has to write.
    let store = open(dir.path());
    runtime().block_on(store.marks().put("a", Bytes::from_static(b"1"))).unwrap();
    let unclean = std::fs::read(file(dir.path())).unwrap();
    drop(store);
    for blocks in 0..4 {
        std::fs::write(file(dir.path()), &unclean).unwrap();
        run_limited(THIS, dir.path(), blocks);
        assert!(kept(dir.path()).is_empty());
    }
    assert!(open(dir.path()).marks().get_blocking("a").unwrap().is_some());
}
