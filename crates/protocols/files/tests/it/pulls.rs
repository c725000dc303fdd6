//! What peers fetch of a share, seen and stopped by who shares.

use peerage_api::files::{Direction, FilesError, Shared, Side, State, Transfer, Wanted};
use peerage_types::TransferId;

use super::support::*;

/// `other` fetches so many bytes of `one` at such a rate; its transfer and that of `one`.
async fn fetched(one: &Node, other: &Node, len: usize, bps: u64) -> (TransferId, Transfer) {
    let path = one.put("file", len);
    let (_, ticket) = one.share(&path).await;
    let got = other.get(Wanted::Ticket(ticket), Some(bps)).await;
    other.until(got, |now| now.done_bytes > 0).await;
    let mut seen = one.files.transfers().await.unwrap();
    assert_eq!(seen.len(), 1, "{seen:?}");
    (got, seen.remove(0))
}

#[tokio::test]
async fn who_shares_sees_who_fetches_and_how_far_it_is() {
    let (one, other) = (Node::new().await, Node::new().await);
    let (got, seen) = fetched(&one, &other, 2 * MIB, 2_000_000).await;
    assert_eq!((seen.direction, seen.state), (Direction::Send, State::Running));
    assert_eq!((seen.peer, seen.bytes), (Some(other.peer), 2 * MIB as u64));
    other.end(got).await.unwrap();
    let done = one.end(seen.transfer).await.unwrap();
    assert_eq!(done.done_bytes, 2 * MIB as u64);
    assert_eq!(done.paths, [one.dir.path().join("file")]);
    one.files.forget(seen.transfer).await.unwrap();
    assert!(one.files.transfers().await.unwrap().is_empty());
}

#[tokio::test]
async fn who_shares_pauses_a_fetch_and_it_goes_on_from_there() {
    let (one, other) = (Node::new().await, Node::new().await);
    let (got, seen) = fetched(&one, &other, 4 * MIB, 2_000_000).await;
    one.files.pause(seen.transfer).await.unwrap();
    let stopped = other.until(got, |now| now.state == State::Connecting).await;
    assert!(stopped.done_bytes < stopped.bytes, "{stopped:?}");
    let paused = one.files.transfer(seen.transfer).await.unwrap();
    assert_eq!((paused.state, paused.providers), (State::Paused, 0));
    one.files.resume(seen.transfer).await.unwrap();
    let done = other.end(got).await.unwrap();
    assert!(done.wire_bytes < 6 * MIB as u64, "{done:?}");
    one.end(seen.transfer).await.unwrap();
}

#[tokio::test]
async fn who_shares_refuses_a_fetch_until_it_is_forgotten() {
    let (one, other) = (Node::new().await, Node::new().await);
    let (got, seen) = fetched(&one, &other, 4 * MIB, 2_000_000).await;
    one.files.cancel(seen.transfer).await.unwrap();
    let error = other.end(got).await.unwrap_err();
    assert!(matches!(error, FilesError::Rejected { .. }), "{error:?}");
    other.files.resume(got).await.unwrap();
    assert!(matches!(other.end(got).await, Err(FilesError::Rejected { .. })));
    one.files.forget(seen.transfer).await.unwrap();
    other.files.resume(got).await.unwrap();
    other.end(got).await.unwrap();
}

#[tokio::test]
async fn a_share_that_ends_ends_what_is_fetched_of_it() {
    let (one, other) = (Node::new().await, Node::new().await);
    let (_, seen) = fetched(&one, &other, 4 * MIB, 1_000_000).await;
    let share = one.files.shares().await.unwrap()[0].share;
    one.files.unshare(share).await.unwrap();
    let over = one.files.transfer(seen.transfer).await.unwrap();
    assert_eq!(over.state, State::Cancelled);
}

#[tokio::test]
async fn a_fetch_that_ends_early_says_why() {
    let (one, other) = (Node::new().await, Node::new().await);
    let (got, seen) = fetched(&one, &other, 4 * MIB, 1_000_000).await;
    other.files.cancel(got).await.unwrap();
    let error = one.end(seen.transfer).await.unwrap_err();
    assert_eq!(error, FilesError::Cancelled { by: Side::Them });
    one.files.forget(seen.transfer).await.unwrap();

    // Nothing that was ended by the peer keeps it from fetching again, until the source is another.
    let share = one.files.shares().await.unwrap().remove(0);
    let Shared::Content { ticket, .. } = share.what else { panic!("no content") };
    let got = other.get(Wanted::Ticket(ticket), Some(1_000_000)).await;
    other.until(got, |now| now.done_bytes > 0).await;
    let seen = one.files.transfers().await.unwrap().remove(0);
    let source = std::fs::OpenOptions::new().write(true).open(&share.paths[0]).unwrap();
    source.set_len(MIB as u64).unwrap();
    other.end(got).await.unwrap_err();
    let error = one.end(seen.transfer).await.unwrap_err();
    assert!(matches!(error, FilesError::Broken { .. }), "{error:?}");
}
