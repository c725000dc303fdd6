//! Streams that break, and stores that fail.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use super::*;

/// A stream that ends after some bytes were written to it.
struct Cut {
    stream: Pipe,
    left: usize,
}

impl AsyncRead for Cut {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_read(cx, into)
    }
}

impl AsyncWrite for Cut {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.left == 0 {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let some = &bytes[..bytes.len().min(self.left)];
        let written = Pin::new(&mut self.stream).poll_write(cx, some);
        if let Poll::Ready(Ok(count)) = &written {
            self.left -= count;
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(cx)
    }
}

/// Two replicas with something to say about everything.
async fn pair(met: bool) -> (Peer, Peer) {
    let (one, two) = (peer(1).await, peer(2).await);
    one.write(vec![put("one", 1)], START).await;
    if met {
        meet(&two, &one).await;
    }
    two.write(vec![put("k", 2), put("two", 2)], START).await;
    one.write(vec![put("k", 1), delete("one")], START).await;
    (one, two)
}

/// The same with enough for rows and a large value.
async fn large_pair() -> (Peer, Peer) {
    let (one, two) = pair(false).await;
    two.fill("two", 0..40).await;
    let large = Value::Bytes(vec![7; 70_000].into());
    one.write(vec![put("large", large)], START).await;
    (one, two)
}

/// A session whose streams carry only so many bytes one way and the other.
async fn cut_session(one: &Peer, two: &Peer, there: usize, back: usize) -> bool {
    let (left, right) = pipe();
    let (left, right) = (Cut { stream: left, left: there }, Cut { stream: right, left: back });
    let space = one.replica.default_space();
    let (ours, theirs) = (one.replica.clone(), two.replica.clone());
    let (first, second) = tokio::join!(
        initiate(left, two.id, space, ours, || START),
        respond(right, one.id, theirs, || START),
    );
    for error in [first.as_ref().err(), second.as_ref().err()].into_iter().flatten() {
        assert!(!error.is_misbehaviour(), "{error}");
    }
    first.is_ok() && second.is_ok()
}

/// Breaks the session of such a pair at each offset, there and back.
async fn break_everywhere(pair: impl AsyncFn() -> (Peer, Peer), step: usize) {
    let (one, two) = pair().await;
    let (ours, theirs) = meet(&one, &two).await;
    let (there, back) = (ours.report.sent_bytes as usize, theirs.report.sent_bytes as usize);
    let expected = one.items().await.len();
    let there = (0..there).step_by(step).map(|at| (at, usize::MAX));
    let back = (0..back).step_by(step).map(|at| (usize::MAX, at));
    for (there, back) in there.chain(back) {
        let (one, two) = pair().await;
        cut_session(&one, &two, there, back).await;
        one.assert_sound().await;
        two.assert_sound().await;
        let (ours, _) = meet(&two, &one).await;
        assert!(ours.equal, "cut at {there} and {back}");
        assert_eq!(one.items().await.len(), expected, "cut at {there} and {back}");
        assert_equal(&one, &two).await;
    }
}

#[tokio::test]
async fn wherever_a_stream_breaks_both_stay_sound_and_the_next_session_completes() {
    break_everywhere(async || pair(false).await, 1).await;
    break_everywhere(async || pair(true).await, 1).await;
    break_everywhere(large_pair, 769).await;
}

#[tokio::test]
async fn a_node_that_is_killed_at_any_write_goes_on_after_its_restart() {
    for writes in 0..12 {
        let (one, two) = large_pair().await;
        two.power.cut_after(writes);
        let (first, second) = run(&one, &two, Bounds::default(), START).await;
        for error in [first.as_ref().err(), second.as_ref().err()].into_iter().flatten() {
            assert!(!error.is_misbehaviour(), "{error}");
        }
        two.power.restore();
        let replica = open(2, &two.store, Limits::default()).await;
        let two = Peer { replica, ..two };
        two.assert_sound().await;
        let (ours, _) = meet(&two, &one).await;
        assert!(ours.equal, "after {writes} writes");
        assert_equal(&one, &two).await;
    }
}

#[tokio::test]
async fn a_first_session_that_breaks_is_gone_on_with_where_it_broke() {
    let (one, two) = (peer(1).await, peer(2).await);
    let text = "x".repeat(1_000);
    let writes = (0..5_000).map(|n| put(format!("{n}"), text.clone())).collect();
    one.write(writes, START).await;
    // It breaks after 4 MB of 5 MB.
    assert!(!cut_session(&two, &one, usize::MAX, 4_000_000).await);
    let stored = two.items().await.len();
    assert!(stored > 1_000, "{stored}");
    let (ours, _) = meet(&two, &one).await;
    assert!(ours.equal);
    let again = ours.report.entries_in as usize + stored;
    assert_eq!(again, 5_000);
    assert!(ours.report.received_bytes < 3_000_000, "{}", ours.report.received_bytes);
}

#[tokio::test]
async fn a_replica_that_lost_its_store_gets_back_what_it_had_written() {
    let (one, two) = (peer(1).await, peer(2).await);
    one.fill("one", 0..100).await;
    two.fill("two", 0..100).await;
    meet(&one, &two).await;
    let again = peer(1).await;
    let (ours, _) = meet(&again, &two).await;
    assert!(ours.equal);
    assert_eq!(again.items().await.len(), 200);
    // Also if it has written something since.
    let again = peer(1).await;
    again.write(vec![put("new", 1)], START.plus(DAY)).await;
    let (ours, _) = meet_at(&two, &again, START.plus(DAY)).await;
    assert!(ours.equal);
    assert_eq!(again.items().await.len(), 201);
}
