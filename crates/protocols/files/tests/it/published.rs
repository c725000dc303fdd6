//! Published folders: what may be resolved of them, by whom, and for how long.

use std::{fs, os::unix::fs::symlink};

use peerage_api::files::{FilesError, Publish, State, Wanted};
use peerage_wire::files::{Content, Kind, Ticket};

use super::support::*;

/// Publishes the folder `docs`, which has `a` and `deep/b`.
async fn publisher(readers: Vec<libp2p::PeerId>) -> (Node, peerage_types::TransferId) {
    let node = Node::new().await;
    node.put("docs/a", 2 * MIB);
    node.put("docs/deep/b", 100);
    node.put("secret", 100);
    let publish = Publish { path: node.dir.path().join("docs"), name: None, readers };
    let share = node.files.publish(publish).await.unwrap().share;
    (node, share)
}

fn published(node: &Node, path: &str) -> Wanted {
    Wanted::Published { peer: node.peer, path: path.to_owned() }
}

#[tokio::test]
async fn only_what_is_in_the_folder_is_there() {
    let (publisher, _) = publisher(vec![]).await;
    let docs = publisher.dir.path().join("docs");
    symlink("../secret", docs.join("out")).unwrap();
    symlink("..", docs.join("up")).unwrap();
    symlink("/etc", docs.join("etc")).unwrap();
    symlink("deep/b", docs.join("inside")).unwrap();
    let reader = Node::new().await;
    reader.meet(&publisher).await;
    let outside = [
        "docs/..",
        "docs/../secret",
        "docs/deep/../../secret",
        "docs//etc/passwd",
        "docs/./a",
        "/docs/a",
        "docs/out",
        "docs/up/secret",
        "docs/etc/passwd",
        "docs/a/b",
        "docs/\0",
        "other/a",
        "",
        "/",
    ];
    for path in outside {
        let id = reader.get(published(&publisher, path), None).await;
        let none = FilesError::NotPublished { peer: publisher.peer, path: path.to_owned() };
        assert_eq!(reader.end(id).await, Err(none), "{path:?}");
    }
    for (path, name) in [("docs/a", "a"), ("docs/deep/", "deep"), ("docs/inside", "b")] {
        let id = reader.get(published(&publisher, path), None).await;
        assert_eq!(reader.end(id).await.unwrap().paths, [reader.out().join(name)]);
    }
    let all = reader.get(published(&publisher, "docs"), None).await;
    let all = reader.end(all).await.unwrap();
    assert_eq!(all.files, 2, "links are not followed");
    assert!(!reader.out().join("docs/etc").exists() && !reader.out().join("secret").exists());
}

#[tokio::test]
async fn a_folder_is_for_its_readers_even_by_the_hash_of_what_is_in_it() {
    let reader = Node::new().await;
    let (publisher, _) = publisher(vec![reader.peer]).await;
    let stranger = Node::new().await;
    reader.meet(&publisher).await;
    stranger.meet(&publisher).await;
    let got = reader.get(published(&publisher, "docs/a"), None).await;
    let got = reader.end(got).await.unwrap();

    let refused = stranger.get(published(&publisher, "docs/a"), None).await;
    let path = "docs/a".to_owned();
    let none = FilesError::NotPublished { peer: publisher.peer, path };
    assert_eq!(stranger.end(refused).await, Err(none));
    let root = got.hash.unwrap();
    let (size, name) = (got.bytes, "a".to_owned());
    let content = Content { root, kind: Kind::File, size, bytes: size, files: 1, name, file: None };
    let ticket = Ticket { content, peers: vec![(publisher.peer, vec![])] }.encode();
    let stolen = stranger.get(Wanted::Ticket(ticket), None).await;
    let gone = FilesError::NotThere { peer: publisher.peer, hash: root };
    assert_eq!(stranger.end(stolen).await, Err(gone));
}

#[tokio::test]
async fn unsharing_a_folder_cuts_off_who_fetches_from_it() {
    let (publisher, share) = publisher(vec![]).await;
    let reader = Node::new().await;
    reader.meet(&publisher).await;
    let id = reader.get(published(&publisher, "docs/a"), Some(200_000)).await;
    reader.in_state(id, State::Running).await;
    publisher.files.unshare(share).await.unwrap();
    let path = "docs/a".to_owned();
    let none = FilesError::NotPublished { peer: publisher.peer, path };
    assert_eq!(reader.end(id).await, Err(none));
    assert_eq!(publisher.files.stats().await.unwrap().serving, 0);
}

#[tokio::test]
async fn unsharing_content_cuts_off_who_fetches_it() {
    let (one, other) = (Node::new().await, Node::new().await);
    let path = one.put("file", 2 * MIB);
    let (share, ticket) = one.share(&path).await;
    let id = other.get(Wanted::Ticket(ticket), Some(200_000)).await;
    other.in_state(id, State::Running).await;
    one.files.unshare(share).await.unwrap();
    let gone = other.end(id).await.unwrap_err();
    assert!(matches!(gone, FilesError::NotThere { .. }), "{gone:?}");
    assert!(
        fs::read_dir(other.out())
            .unwrap()
            .all(|entry| { entry.unwrap().file_name().to_string_lossy().ends_with(".part") })
    );
}
