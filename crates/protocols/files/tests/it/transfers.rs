//! Pushes and pulls without anything of a Peerage node around.

use peerage_api::files::{Get, Wanted};

use super::support::*;
use peerage_api::files::{FilesError, Side, State};

#[tokio::test]
async fn a_store_and_a_config_are_all_that_it_takes() {
    let (one, other) = (Node::new().await, Node::new().await);
    let path = one.put("file", 3 * MIB);
    let (_, ticket) = one.share(&path).await;
    assert!(!addresses(&ticket).is_empty());
    let got = other.get(Wanted::Ticket(ticket), None).await;
    let got = other.end(got).await.unwrap();
    assert!(std::fs::read(&got.paths[0]).unwrap() == noise(3 * MIB));

    let reply = other.put("reply", MIB);
    let sent = other.send(&reply, &one, None).await;
    one.in_state(sent, State::Asked).await;
    one.files.accept(sent, None).await.unwrap();
    let got = one.end(sent).await.unwrap();
    assert_eq!(got.paths, [one.dir.path().join("downloads/reply")]);
    other.end(sent).await.unwrap();
}

#[tokio::test]
async fn what_is_to_be_shared_is_shared_when_it_is_complete() {
    let (one, other) = (Node::new().await, Node::new().await);
    let path = one.put("file", MIB);
    let (_, ticket) = one.share(&path).await;
    let get = Get { share: true, ..Get::new(Wanted::Ticket(ticket), Some(other.out())) };
    let got = other.files.get(get).await.unwrap().transfer;
    let got = other.end(got).await.unwrap();
    let shares = other.files.shares().await.unwrap();
    assert_eq!(shares.len(), 1);
    assert_eq!(shares[0].paths, got.paths);
    assert!(!shares[0].missing);
    std::fs::remove_file(&got.paths[0]).unwrap();
    assert!(other.files.shares().await.unwrap()[0].missing);

    // Also when it is paused meanwhile, at whatever moment.
    let large = one.put("large", 20 * MIB);
    let (_, ticket) = one.share(&large).await;
    let get = Get { share: true, ..Get::new(Wanted::Ticket(ticket), Some(other.out())) };
    let got = other.files.get(get).await.unwrap().transfer;
    other.until(got, |now| now.done_bytes == now.bytes && now.bytes > 0).await;
    if other.files.pause(got).await.is_ok() {
        other.files.resume(got).await.unwrap();
    }
    let got = other.end(got).await.unwrap();
    let shares = other.files.shares().await.unwrap();
    assert!(shares.iter().any(|share| share.paths == got.paths), "{shares:?}");
}

#[tokio::test]
async fn offers_beyond_those_that_wait_come_when_there_is_a_place() {
    let (one, other) = (Node::new().await, Node::new().await);
    one.meet(&other).await;
    let most = peerage_files::bounds::MAX_ASKED_PER_PEER;
    let path = one.put("file", 1);
    let mut sent = Vec::new();
    for _ in 0..most + 3 {
        sent.push(one.send(&path, &other, None).await);
    }
    for id in &sent {
        one.in_state(*id, State::Offered).await;
    }
    let asked = |all: &[peerage_api::files::Transfer]| {
        let ids = all.iter().filter(|t| t.state == State::Asked).map(|t| t.transfer);
        ids.collect::<Vec<_>>()
    };
    let waiting = asked(&other.files.transfers().await.unwrap());
    assert_eq!(waiting.len(), most);
    for id in waiting {
        other.files.reject(id, String::new()).await.unwrap();
    }
    for id in &sent {
        let came =
            |t: &peerage_api::files::Transfer| matches!(t.state, State::Asked | State::Rejected);
        other.until(*id, came).await;
    }
    assert_eq!(asked(&other.files.transfers().await.unwrap()).len(), 3);
}

#[tokio::test]
async fn what_never_came_leaves_nothing_behind_and_may_come_yet() {
    let (one, other) = (Node::new().await, Node::new().await);
    let path = one.put("file", MIB);
    let (_, ticket) = one.share(&path).await;
    let aside = one.dir.path().join("aside");
    std::fs::rename(&path, &aside).unwrap();
    let got = other.get(Wanted::Ticket(ticket), None).await;
    let error = other.end(got).await.unwrap_err();
    assert!(matches!(error, FilesError::NotThere { .. }), "{error:?}");
    let cleared = async {
        while std::fs::read_dir(other.out()).unwrap().next().is_some() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    within("an empty folder", cleared).await;
    std::fs::rename(&aside, &path).unwrap();
    other.files.resume(got).await.unwrap();
    other.end(got).await.unwrap();
    assert!(std::fs::read(other.out().join("file")).unwrap() == noise(MIB));
}

#[tokio::test]
async fn the_last_word_counts_however_fast_it_follows_the_one_before() {
    let (one, other) = (Node::new().await, Node::new().await);
    one.meet(&other).await;
    let path = one.put("file", 2 * MIB);
    for node in [&one, &other] {
        let sent = one.send(&path, &other, Some(2_000_000)).await;
        other.in_state(sent, State::Asked).await;
        other.files.accept(sent, None).await.unwrap();
        one.in_state(sent, State::Running).await;
        other.in_state(sent, State::Running).await;
        // Both are asked before anything can be told.
        let (paused, resumed) = tokio::join!(node.files.pause(sent), node.files.resume(sent));
        paused.and(resumed).unwrap();
        other.end(sent).await.unwrap();
        one.end(sent).await.unwrap();
    }

    let sent = one.send(&path, &other, Some(100_000)).await;
    other.in_state(sent, State::Asked).await;
    other.files.accept(sent, None).await.unwrap();
    one.in_state(sent, State::Running).await;
    one.files.pause(sent).await.unwrap();
    one.files.cancel(sent).await.unwrap();
    assert_eq!(other.end(sent).await, Err(FilesError::Cancelled { by: Side::Them }));
}

#[tokio::test]
async fn what_is_hashed_can_be_cancelled_but_not_paused() {
    let (one, other) = (Node::new().await, Node::new().await);
    let path = one.put("file", 20 * MIB);
    let sent = one.send(&path, &other, None).await;
    let hashing = one.files.pause(sent).await.unwrap_err();
    assert!(matches!(hashing, FilesError::WrongState { .. }), "{hashing:?}");
    one.files.cancel(sent).await.unwrap();
    assert_eq!(one.end(sent).await, Err(FilesError::Cancelled { by: Side::Us }));
    one.files.forget(sent).await.unwrap();
    assert_eq!(one.files.stats().await.unwrap().active, 0);
}

#[tokio::test]
async fn whom_nobody_can_reach_is_unreachable_and_resume_tries_again() {
    let (one, other) = (Node::new().await, Node::new().await);
    let path = one.put("file", 100);
    let sent = one.send(&path, &other, None).await;
    let error = one.end(sent).await.unwrap_err();
    assert!(matches!(error, FilesError::Unreachable { peer, .. } if peer == other.peer));
    one.meet(&other).await;
    one.files.resume(sent).await.unwrap();
    other.in_state(sent, State::Asked).await;
    other.files.accept(sent, None).await.unwrap();
    other.end(sent).await.unwrap();
    one.end(sent).await.unwrap();
}

#[tokio::test]
async fn what_is_shared_again_can_be_got_again() {
    let (one, other) = (Node::new().await, Node::new().await);
    let path = one.put("file", MIB);
    let (share, ticket) = one.share(&path).await;
    one.files.unshare(share).await.unwrap();
    let got = other.get(Wanted::Ticket(ticket), None).await;
    let gone = other.end(got).await.unwrap_err();
    assert!(matches!(gone, FilesError::NotThere { peer, .. } if peer == one.peer), "{gone:?}");
    one.share(&path).await;
    other.files.resume(got).await.unwrap();
    other.end(got).await.unwrap();
}

#[tokio::test]
async fn more_gets_than_are_received_at_a_time_all_complete() {
    let (one, other) = (Node::new().await, Node::new().await);
    let mut tickets = Vec::new();
    for n in 0..3 * peerage_files::bounds::MAX_RECEIVING {
        tickets.push(one.share(&one.put(&n.to_string(), 200_000 + n)).await.1);
    }
    let mut all = Vec::new();
    for ticket in tickets {
        // As slow as to have many of them under way.
        all.push(other.get(Wanted::Ticket(ticket), Some(200_000)).await);
    }
    for (n, id) in all.into_iter().enumerate() {
        let got = other.end(id).await.unwrap();
        assert!(std::fs::read(&got.paths[0]).unwrap() == noise(200_000 + n));
    }
}
