//! Peers that offer, claim and tell what is not true.

use peerage_api::files::Side;
use peerage_wire::files::{Answer, Content, Kind, News, Part, Refusal, Request};

use super::*;

/// A node and a peer without manners that is connected to it and has a file of 2 MiB.
async fn beside(fault: Fault) -> (tempfile::TempDir, Net, Faulty) {
    let dir = tempfile::tempdir().unwrap();
    let net = Net::start(1).await;
    let path = put(&dir.path().join("in/file"), 2 * MIB);
    let peer = Faulty::start(&path, fault).await;
    connect_to(net.node(0), peer.address.clone()).await;
    (dir, net, peer)
}

fn offer(id: u8, content: &Content) -> Request {
    Request::Offer { transfer: TransferId([id; 8]), content: content.clone() }
}

/// Has the offer of such content accepted and returns how that ends.
async fn accepted(net: &Net, peer: &Faulty, content: &Content) -> Result<Transfer, FilesError> {
    let node = net.node(0);
    let answer = peer.ask(net.nodes[0].peer_id, &offer(1, content)).await;
    assert_eq!(answer, Some(Answer::Later));
    let id = TransferId([1; 8]);
    node.files().accept(id, None).await.unwrap();
    end(node, id).await
}

#[tokio::test]
async fn forged_sizes_are_corrupt_whatever_they_claim() {
    let (_dir, net, peer) = beside(Fault::None).await;
    let hash = peer.content.root;
    for size in [1, 16 << 10, 2 * MIB as u64 - 1, 2 * MIB as u64 + 1, 3 * MIB as u64] {
        let forged = Content { size, bytes: size, ..peer.content.clone() };
        let outcome = accepted(&net, &peer, &forged).await;
        assert_eq!(outcome, Err(FilesError::Corrupt { hash }), "{size} bytes");
        net.node(0).files().forget(TransferId([1; 8])).await.unwrap();
    }
    let nothing = Content { size: 0, bytes: 0, ..peer.content.clone() };
    assert_eq!(accepted(&net, &peer, &nothing).await, Err(FilesError::Corrupt { hash }));
    net.stop().await;
}

#[tokio::test]
async fn a_list_of_files_that_does_not_fit_its_description_is_corrupt() {
    let dir = tempfile::tempdir().unwrap();
    let net = Net::start(1).await;
    put(&dir.path().join("tree/a"), 100);
    put(&dir.path().join("tree/b"), MIB);
    let peer = Faulty::start(&dir.path().join("tree"), Fault::None).await;
    connect_to(net.node(0), peer.address.clone()).await;
    let (hash, truth) = (peer.content.root, peer.content.clone());
    // The list that is verified by the others is not fetched again: the first claims its size.
    let claims = [
        Content { size: truth.size - 1, ..truth.clone() },
        Content { bytes: truth.bytes + 1, ..truth.clone() },
        Content { files: 1, ..truth.clone() },
    ];
    for claim in claims {
        let outcome = accepted(&net, &peer, &claim).await;
        assert_eq!(outcome, Err(FilesError::Corrupt { hash }), "{claim:?}");
        net.node(0).files().forget(TransferId([1; 8])).await.unwrap();
    }
    accepted(&net, &peer, &truth).await.unwrap();
    net.stop().await;
}

#[tokio::test]
async fn a_list_of_files_that_is_too_long_is_not_fetched() {
    let (_dir, net, peer) = beside(Fault::None).await;
    let huge = Content { kind: Kind::Tree, size: 1 << 40, ..peer.content.clone() };
    let outcome = accepted(&net, &peer, &huge).await;
    assert!(matches!(outcome, Err(FilesError::TooMany { .. })), "{outcome:?}");
    net.stop().await;
}

#[tokio::test]
async fn offers_of_one_peer_are_bounded_and_the_same_offer_is_one() {
    let (_dir, net, peer) = beside(Fault::None).await;
    let node = net.nodes[0].peer_id;
    for id in 0..100 {
        let answer = peer.ask(node, &offer(id, &peer.content)).await;
        let wanted = match id {
            0..16 => Answer::Later,
            _ => Answer::Refused(Refusal::Busy),
        };
        assert_eq!(answer, Some(wanted), "offer {id}");
    }
    assert_eq!(peer.ask(node, &offer(3, &peer.content)).await, Some(Answer::Later));
    let asked = net.node(0).files().transfers().await.unwrap();
    assert_eq!((asked.len(), net.node(0).files().stats().await.unwrap().asked), (16, 16));
    net.node(0).files().reject(TransferId([3; 8]), String::new()).await.unwrap();
    assert_eq!(peer.ask(node, &offer(99, &peer.content)).await, Some(Answer::Later));
    let again = peer.ask(node, &offer(3, &peer.content)).await;
    assert!(matches!(again, Some(Answer::Refused(Refusal::Declined(_)))), "{again:?}");
    net.stop().await;
}

#[tokio::test]
async fn a_transfer_is_bound_to_its_peer() {
    let (dir, net, thief) = beside(Fault::None).await;
    let node = net.nodes[0].peer_id;
    let friend = start(loopback()).await.unwrap();
    connect(&friend.node, &net.nodes[0]).await;
    let path = put(&dir.path().join("in/secret"), 2 * MIB);
    let slow = Send { limit_bps: Some(500_000), ..send(&path, friend.peer_id) };
    let out = dir.path().join("out");
    let id = push(net.node(0), slow, &friend.node, &out).await;
    in_state(net.node(0), id, State::Running).await;
    let root = net.node(0).files().transfer(id).await.unwrap().hash.unwrap();
    let all_news = [
        News::Accepted,
        News::Rejected("x".into()),
        News::Paused,
        News::Resumed,
        News::Cancelled,
        News::Failed("x".into()),
        News::Done,
    ];
    let none = Some(Answer::Refused(Refusal::NotFound));
    for news in all_news {
        for transfer in [id, TransferId([7; 8])] {
            let told = thief.ask(node, &Request::Tell { transfer, news: news.clone() }).await;
            assert_eq!(told, none, "{news:?}");
        }
    }
    for transfer in [Some(id), Some(TransferId([7; 8])), None] {
        let request = Request::Fetch { transfer, root, part: Part::Root, have: 0 };
        assert_eq!(thief.ask(node, &request).await, none);
    }
    let taken = Request::Offer { transfer: id, content: thief.content.clone() };
    let refused = thief.ask(node, &taken).await;
    assert!(matches!(refused, Some(Answer::Refused(Refusal::Declined(_)))), "{refused:?}");
    assert_eq!(net.node(0).files().transfer(id).await.unwrap().state, State::Running);
    net.node(0).files().cancel(id).await.unwrap();
    net.stop().await;
}

#[tokio::test]
async fn frames_that_are_none_cost_their_sender_its_standing() {
    let (_dir, net, peer) = beside(Fault::None).await;
    let node = net.nodes[0].peer_id;
    use peerage_wire::files::Frame as _;
    let long = Content { name: "x".repeat(256), ..peer.content.clone() };
    let path = Content { name: "../x".into(), ..peer.content.clone() };
    let sizes = Content { bytes: 1, ..peer.content.clone() };
    for content in [long, path, sizes] {
        assert_eq!(peer.pour(node, offer(1, &content).encode()).await, None, "{content:?}");
    }
    assert_eq!(peer.pour(node, vec![0xff; 100]).await, None);
    assert_eq!(peer.pour(node, b"\0\0\0\x04junk".to_vec()).await, None);
    let path = Request::Resolve { path: "x".repeat(5000) };
    assert_eq!(peer.pour(node, path.encode()).await, None);
    assert_eq!(net.node(0).files().transfers().await.unwrap(), []);
    let score = net.node(0).peers().show(peer.peer_id).await.unwrap().score;
    assert!(score <= -90, "{score}");
    net.stop().await;
}

#[tokio::test]
async fn who_is_blocked_can_neither_offer_nor_be_offered() {
    let dir = tempfile::tempdir().unwrap();
    let net = Net::start(2).await;
    net.connect(0, 1).await;
    let (one, other) = (net.nodes[0].peer_id, net.nodes[1].peer_id);
    let path = put(&dir.path().join("file"), 100);
    net.node(1).peers().block(one).await.unwrap();
    let sent = net.node(0).files().send(send(&path, other)).await.unwrap().transfer;
    let error = end(net.node(0), sent).await.unwrap_err();
    assert!(matches!(error, FilesError::Unreachable { peer, .. } if peer == other), "{error:?}");
    assert_eq!(net.node(1).files().transfers().await.unwrap(), []);
    let sent = net.node(1).files().send(send(&path, one)).await.unwrap().transfer;
    assert_eq!(end(net.node(1), sent).await, Err(FilesError::Blocked { peer: one }));
    net.stop().await;
}

#[tokio::test]
async fn a_kind_that_is_not_what_it_says_never_reaches_the_disk() {
    let (dir, net, peer) = beside(Fault::None).await;
    let (hash, size) = (peer.content.root, peer.content.size);
    let forged = Content { kind: Kind::Tree, files: 5, size, ..peer.content.clone() };
    assert_eq!(accepted(&net, &peer, &forged).await, Err(FilesError::Corrupt { hash }));
    assert!(!dir.path().join("out").exists());
    net.stop().await;
}

/// As when its fetch overtakes the news.
#[tokio::test]
async fn a_fetch_of_what_its_sender_cancelled_is_told_so() {
    let (dir, net, peer) = beside(Fault::None).await;
    let path = put(&dir.path().join("in/other"), 100);
    let id = net.node(0).files().send(send(&path, peer.peer_id)).await.unwrap().transfer;
    let root = until("its hash", net.node(0), id, |now| now.hash.is_some()).await.hash.unwrap();
    net.node(0).files().cancel(id).await.unwrap();
    let request = Request::Fetch { transfer: Some(id), root, part: Part::Root, have: 0 };
    let refused = peer.ask(net.nodes[0].peer_id, &request).await;
    assert!(matches!(refused, Some(Answer::Refused(Refusal::Declined(_)))), "{refused:?}");
    net.stop().await;
}

#[tokio::test]
async fn a_push_whose_fetch_is_declined_is_cancelled_by_the_other_side() {
    let (_dir, net, peer) = beside(Fault::Declines).await;
    let outcome = accepted(&net, &peer, &peer.content).await;
    assert_eq!(outcome, Err(FilesError::Cancelled { by: Side::Them }));
    net.stop().await;
}
