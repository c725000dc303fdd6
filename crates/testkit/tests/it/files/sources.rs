//! One file, several who have it, some of them badly.

use super::*;

/// A node gets 8 MiB from an honest node and from one with this fault.
async fn beside_an_honest_one(fault: Fault) -> (Net, Faulty, Transfer) {
    let dir = tempfile::tempdir().unwrap();
    let net = Net::start(2).await;
    let path = put(&dir.path().join("in/file"), 8 * MIB);
    let bad = Faulty::start(&path, fault).await;
    share(net.node(1), &path).await;
    let honest = (net.nodes[1].peer_id, net.nodes[1].listen.clone());
    let ticket = bad.ticket(vec![bad.provider(), honest]);
    // As slow as to have both of them asked.
    let slow =
        Get { limit_bps: Some(8_000_000), ..get(Wanted::Ticket(ticket), &dir.path().join("out")) };
    let got = net.node(0).files().get(slow).await.unwrap().transfer;
    let done = end(net.node(0), got).await.unwrap();
    assert!(fs::read(&done.paths[0]).unwrap() == noise(8 * MIB), "{fault:?}");
    (net, bad, done)
}

async fn score(net: &Net, peer: &Faulty) -> i32 {
    net.node(0).peers().show(peer.peer_id).await.unwrap().score
}

#[tokio::test]
async fn a_liar_is_penalised_and_dropped_while_the_honest_one_finishes() {
    let (net, liar, done) = beside_an_honest_one(Fault::WrongBytes).await;
    liar.asked_for(1).await;
    assert!(score(&net, &liar).await < 0, "the liar is not penalised");
    let honest = net.node(0).peers().show(net.nodes[1].peer_id).await.unwrap();
    assert!(honest.score > 0, "{}", honest.score);
    let stats = net.node(0).files().stats().await.unwrap();
    assert!(stats.corrupt_bytes > MIB as u64 / 2, "{stats:?}");
    assert!(done.wire_bytes > done.bytes && stats.done == 1 && stats.failed == 0);
    net.stop().await;
}

#[tokio::test]
async fn who_stalls_truncates_floods_or_lacks_does_not_keep_a_file_from_arriving() {
    let faults = [
        Fault::Stalls,
        Fault::Truncates,
        Fault::Floods,
        Fault::Garbage,
        Fault::Lacks,
        Fault::Denies,
        Fault::None,
    ];
    let all = faults.map(|fault| async move {
        let (net, bad, _) = beside_an_honest_one(fault).await;
        let lies = matches!(fault, Fault::Floods | Fault::Garbage);
        assert_eq!(score(&net, &bad).await < 0, lies, "{fault:?}");
        net.stop().await;
    });
    futures::future::join_all(all).await;
}

#[tokio::test]
async fn a_ticket_of_a_liar_alone_ends_as_corrupt_and_an_honest_one_completes_it() {
    let dir = tempfile::tempdir().unwrap();
    let net = Net::start(2).await;
    let path = put(&dir.path().join("in/file"), 2 * MIB);
    let liar = Faulty::start(&path, Fault::WrongBytes).await;
    let ticket = liar.ticket(vec![liar.provider()]);
    let got = fetch(net.node(0), &ticket, &dir.path().join("out")).await;
    let hash = liar.content.root;
    assert_eq!(end(net.node(0), got).await, Err(FilesError::Corrupt { hash }));
    assert!(!dir.path().join("out/file").exists());
    net.stop().await;
}

#[tokio::test]
async fn one_of_three_sources_disappears_in_the_middle() {
    let dir = tempfile::tempdir().unwrap();
    let mut net = Net::start(4).await;
    let path = put(&dir.path().join("in/file"), 12 * MIB);
    let mut peers = Vec::new();
    for node in 1..4 {
        share(net.node(node), &path).await;
        peers.push((net.nodes[node].peer_id, net.nodes[node].listen.clone()));
    }
    let described = Faulty::start(&path, Fault::None).await;
    let ticket = described.ticket(peers);
    let slow =
        Get { limit_bps: Some(8_000_000), ..get(Wanted::Ticket(ticket), &dir.path().join("out")) };
    let got = net.node(0).files().get(slow).await.unwrap().transfer;
    until("three sources", net.node(0), got, |now| now.providers == 3).await;
    let gone = net.nodes.pop().unwrap();
    gone.stop().await;
    let done = end(net.node(0), got).await.unwrap();
    assert!(fs::read(&done.paths[0]).unwrap() == noise(12 * MIB));
    // What was in flight from the lost source, and what is asked twice at the end.
    assert!(done.wire_bytes < 20 * MIB as u64, "{} bytes were fetched", done.wire_bytes);
    net.stop().await;
}

/// Nobody tells it of the second source but the provider records of the DHT.
#[tokio::test]
async fn a_source_that_joins_late_is_found_through_provider_records() {
    let dir = tempfile::tempdir().unwrap();
    let net = Net::start(3).await;
    for other in [1, 2] {
        net.connect(0, other).await;
    }
    net.connect(1, 2).await;
    let path = put(&dir.path().join("in/file"), 3 * MIB);
    let stalls = Faulty::start(&path, Fault::Stalls).await;
    let ticket = stalls.ticket(vec![stalls.provider()]);
    let got = fetch(net.node(0), &ticket, &dir.path().join("out")).await;
    stalls.asked_for(1).await;
    share(net.node(2), &path).await;
    // Provided by another node in its own words; a search may come before they are heard.
    let searching = async {
        loop {
            net.node(0).files().pause(got).await.unwrap();
            net.node(0).files().resume(got).await.unwrap();
            let now = until("another source", net.node(0), got, |now| {
                now.state.is_over() || now.providers >= 1
            })
            .await;
            if now.providers != 1 || now.done_bytes > 0 {
                return;
            }
        }
    };
    within("a source of the DHT", searching).await;
    let done = end(net.node(0), got).await.unwrap();
    assert!(fs::read(&done.paths[0]).unwrap() == noise(3 * MIB));
    net.stop().await;
}

#[tokio::test]
async fn who_loses_the_only_source_finds_another_that_was_announced_since() {
    let dir = tempfile::tempdir().unwrap();
    let mut net = Net::start(3).await;
    for other in [1, 2] {
        net.connect(0, other).await;
    }
    net.connect(1, 2).await;
    let path = put(&dir.path().join("in/file"), 6 * MIB);
    let (_, ticket) = share(net.node(1), &path).await;
    let slow =
        Get { limit_bps: Some(2_000_000), ..get(Wanted::Ticket(ticket), &dir.path().join("out")) };
    let got = net.node(0).files().get(slow).await.unwrap().transfer;
    has(net.node(0), got, MIB).await;
    share(net.node(2), &path).await;
    net.nodes.remove(1).stop().await;
    let done = end(net.node(0), got).await.unwrap();
    assert!(fs::read(&done.paths[0]).unwrap() == noise(6 * MIB));
    net.stop().await;
}
