//! What was acknowledged, flushed or handed in before the last drop is there at the next start.

use bytes::Bytes;
use libp2p_identity::PeerId;
use peerage_store::{BookSnapshot, List, MAX_MARK_BYTES, MAX_MARK_NAME_BYTES, Store, StoreError};

use crate::open;

fn sorted(count: usize) -> Vec<PeerId> {
    let mut peers: Vec<_> = (0..count).map(|_| PeerId::random()).collect();
    peers.sort_by_key(|peer| peer.to_bytes());
    peers
}

fn row(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

#[tokio::test]
async fn rows_and_lists_survive_a_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let peers = sorted(4);
    let store = open(dir.path());
    let book = store.book();
    book.put(peers.iter().map(|peer| (*peer, row(&peer.to_base58()))).collect()).await.unwrap();
    book.put(vec![(peers[1], row("changed"))]).await.unwrap();
    book.remove(vec![peers[0], PeerId::random()]).await.unwrap();
    for (list, peer) in [(List::Blocked, 0), (List::Allowed, 1), (List::Protected, 2)] {
        book.set_listed(list, peers[peer], true).await.unwrap();
        book.set_listed(list, peers[3], true).await.unwrap();
    }
    book.set_listed(List::Allowed, peers[3], false).await.unwrap();
    book.set_listed(List::Allowed, peers[3], false).await.unwrap();
    let expected = BookSnapshot {
        peers: vec![
            (peers[1], row("changed")),
            (peers[2], row(&peers[2].to_base58())),
            (peers[3], row(&peers[3].to_base58())),
        ],
        blocked: vec![peers[0], peers[3]],
        allowed: vec![peers[1]],
        protected: vec![peers[2], peers[3]],
    };
    assert_eq!(book.load().await.unwrap(), expected);
    store.close().await.unwrap();
    assert_eq!(open(dir.path()).book().load_blocking().unwrap(), expected);
}

#[test]
fn the_last_drop_writes_what_nobody_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let marks = open(dir.path()).marks();
    for n in 0..100_u8 {
        drop(marks.put(&n.to_string(), Bytes::copy_from_slice(&[n])));
    }
    let clone = marks.clone();
    drop(marks);
    drop(clone);
    let marks = open(dir.path()).marks();
    for n in 0..100_u8 {
        assert_eq!(marks.get_blocking(&n.to_string()).unwrap().as_deref(), Some(&[n][..]));
    }
}

#[tokio::test]
async fn a_closed_store_says_so_to_every_handle() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let (marks, other) = (store.marks(), store.clone());
    let written = marks.put("a", row("1"));
    store.close().await.unwrap();
    written.await.unwrap();
    assert!(matches!(marks.put("a", row("2")).await, Err(StoreError::Closed)));
    assert!(matches!(marks.get("a").await, Err(StoreError::Closed)));
    assert!(matches!(other.flush().await, Err(StoreError::Closed)));
    other.close().await.unwrap();
    // The file is free although handles are left.
    assert_eq!(open(dir.path()).marks().get("a").await.unwrap(), Some(row("1")));
}

#[tokio::test]
async fn marks_are_set_read_and_removed() {
    let marks = Store::in_memory().marks();
    assert_eq!(marks.get("a").await.unwrap(), None);
    marks.put("a", row("1")).await.unwrap();
    marks.put("a", row("2")).await.unwrap();
    marks.put("ab", row("")).await.unwrap();
    assert_eq!(marks.get("a").await.unwrap(), Some(row("2")));
    assert_eq!(marks.get("ab").await.unwrap(), Some(row("")));
    marks.remove("a").await.unwrap();
    marks.remove("a").await.unwrap();
    assert_eq!(marks.get("a").await.unwrap(), None);
}

#[tokio::test]
async fn an_oversized_mark_is_refused_with_its_limit() {
    let marks = Store::in_memory().marks();
    let longest = "n".repeat(MAX_MARK_NAME_BYTES);
    marks.put(&longest, vec![1; MAX_MARK_BYTES].into()).await.unwrap();
    let too_long = marks.put(&(longest + "n"), row("")).await.unwrap_err();
    assert!(matches!(too_long, StoreError::TooLarge { max: MAX_MARK_NAME_BYTES, .. }));
    let too_large = marks.put("a", vec![1; MAX_MARK_BYTES + 1].into()).await.unwrap_err();
    assert!(matches!(too_large, StoreError::TooLarge { max: MAX_MARK_BYTES, .. }));
}

#[cfg(unix)]
#[test]
fn only_the_owner_can_read_the_files() {
    use std::os::unix::fs::PermissionsExt;
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("new/data");
    let mode = |path: &std::path::Path| path.metadata().unwrap().permissions().mode() & 0o777;
    drop(open(&dir));
    assert_eq!((mode(&dir), mode(&crate::file(&dir))), (0o700, 0o600));
    std::fs::set_permissions(crate::file(&dir), std::fs::Permissions::from_mode(0o644)).unwrap();
    drop(open(&dir));
    assert_eq!(mode(&crate::file(&dir)), 0o600);
}

#[test]
fn a_file_shrinks_when_its_rows_are_gone() {
    let dir = tempfile::tempdir().unwrap();
    let size = || crate::file(dir.path()).metadata().unwrap().len();
    let large: Vec<String> = (0..20).map(|n| format!("large-{n}")).collect();
    crate::runtime().block_on(async {
        let store = open(dir.path());
        for name in &large {
            store.marks().put(name, vec![7; MAX_MARK_BYTES].into()).await.unwrap();
        }
        store.close().await.unwrap();
        assert!(size() > 20 << 20);
        let store = open(dir.path());
        for name in &large {
            store.marks().remove(name).await.unwrap();
        }
        store.close().await.unwrap();
        // Twice: pages freed by the last commit are given back by the next close.
        open(dir.path()).close().await.unwrap();
    });
    assert!(size() < 4 << 20, "{} bytes are left", size());
}
