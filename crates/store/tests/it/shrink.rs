//! A file that is mostly free is made smaller at a clean stop.

use std::path::Path;

use bytes::Bytes;
use peerage_store::MAX_MARK_BYTES;

use crate::{file, kept, open, runtime};

/// More than 64 MiB of them, of which the first ones are removed again.
const WRITTEN: u32 = 90;

fn size(dir: &Path) -> u64 {
    file(dir).metadata().unwrap().len()
}

fn large(n: u32) -> Bytes {
    vec![n as u8; MAX_MARK_BYTES].into()
}

/// Writes many, removes all but the last ones, and closes.
async fn fill(dir: &Path, left: u32) {
    let store = open(dir);
    for n in 0..WRITTEN {
        store.marks().put(&format!("large-{n}"), large(n)).await.unwrap();
    }
    for n in 0..WRITTEN - left {
        store.marks().remove(&format!("large-{n}")).await.unwrap();
    }
    store.marks().put("small", Bytes::from_static(b"kept")).await.unwrap();
    store.close().await.unwrap();
}

#[test]
fn a_file_that_is_mostly_free_is_rewritten_with_all_its_rows() {
    let dir = tempfile::tempdir().unwrap();
    runtime().block_on(async {
        fill(dir.path(), 3).await;
        assert!(size(dir.path()) < 16 << 20, "{} bytes are left", size(dir.path()));
        let store = open(dir.path());
        for n in 0..WRITTEN {
            let expected = Some(large(n)).filter(|_| n >= WRITTEN - 3);
            assert_eq!(store.marks().get(&format!("large-{n}")).await.unwrap(), expected);
        }
        let small = store.marks().get("small").await.unwrap();
        assert_eq!(small.as_deref(), Some(&b"kept"[..]));
        // It is written to as before.
        store.marks().put("more", Bytes::from_static(b"1")).await.unwrap();
        store.close().await.unwrap();
    });
    assert!(kept(dir.path()).is_empty());
}

#[test]
fn a_file_that_is_in_use_is_looked_through_once_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    runtime().block_on(async {
        fill(dir.path(), WRITTEN).await;
        let before = size(dir.path());
        assert!(before > u64::from(WRITTEN) * MAX_MARK_BYTES as u64);
        let looked_at = open(dir.path()).marks().get("store/looked-at").await.unwrap();
        assert_eq!(looked_at.map(|note| note.len()), Some(16));
    });
}

#[test]
fn what_a_process_that_was_killed_has_left_is_removed_and_the_file_is_whole() {
    let dir = tempfile::tempdir().unwrap();
    runtime().block_on(async {
        let store = open(dir.path());
        store.marks().put("small", Bytes::from_static(b"kept")).await.unwrap();
        store.close().await.unwrap();
        let unfinished = dir.path().join("peerage.redb.new");
        std::fs::write(&unfinished, b"half of it").unwrap();
        let store = open(dir.path());
        assert!(!unfinished.exists());
        assert!(store.marks().get("small").await.unwrap().is_some());
    });
}
