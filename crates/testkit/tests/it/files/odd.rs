//! Content and requests that are special.

use super::*;

#[tokio::test]
async fn what_is_empty_arrives_by_push_and_by_ticket() {
    let dir = tempfile::tempdir().unwrap();
    let net = Net::start(2).await;
    net.connect(0, 1).await;
    let (file, empty) = (put(&dir.path().join("in/file"), 0), dir.path().join("in/empty"));
    fs::create_dir(&empty).unwrap();
    let out = dir.path().join("out");
    for path in [&file, &empty] {
        let request = send(path, net.nodes[1].peer_id);
        let id = push(net.node(0), request, net.node(1), &out).await;
        let got = end(net.node(1), id).await.unwrap();
        assert_eq!((got.bytes, got.done_bytes), (0, 0));
        end(net.node(0), id).await.unwrap();
        let (_, ticket) = share(net.node(0), path).await;
        let id = fetch(net.node(1), &ticket, &dir.path().join("got")).await;
        end(net.node(1), id).await.unwrap();
    }
    for out in [out, dir.path().join("got")] {
        assert_eq!(fs::read(out.join("file")).unwrap(), b"");
        assert!(fs::read_dir(out.join("empty")).unwrap().next().is_none());
    }
    net.stop().await;
}

#[tokio::test]
async fn more_transfers_than_are_received_at_a_time_all_complete() {
    const COUNT: usize = 40;
    let dir = tempfile::tempdir().unwrap();
    let sender = start(loopback()).await.unwrap();
    let mut welcoming = loopback();
    welcoming.files.accept_from = vec![sender.peer_id];
    welcoming.files.downloads = Some(dir.path().join("out"));
    let receiver = start(welcoming).await.unwrap();
    connect(&sender.node, &receiver).await;
    let mut sent = Vec::new();
    for n in 0..COUNT {
        let path = put(&dir.path().join(format!("in/{n}")), 1000 * n);
        let id = sender.node.files().send(send(&path, receiver.peer_id)).await.unwrap().transfer;
        sent.push(id);
    }
    for id in &sent {
        end(&sender.node, *id).await.unwrap();
    }
    for n in 0..COUNT {
        assert!(fs::read(dir.path().join(format!("out/{n}"))).unwrap() == noise(1000 * n));
    }
    let (out, got) = (sender.node.files(), receiver.node.files());
    let (out, got) = (out.stats().await.unwrap(), got.stats().await.unwrap());
    assert_eq!((out.done, got.done, out.active, got.active), (40, 40, 0, 0));
    assert_eq!(out.sent_bytes, got.received_bytes);
    let bytes: u64 = (0..COUNT as u64).map(|n| 1000 * n).sum();
    assert!(got.received_bytes >= bytes && got.received_bytes < bytes + bytes / 50, "{got:?}");
}

/// Eight whose provider is away do not keep the ninth waiting.
#[tokio::test]
async fn transfers_that_wait_for_an_absent_provider_hold_nobody_up() {
    let dir = tempfile::tempdir().unwrap();
    let mut net = Net::start(3).await;
    net.connect(0, 1).await;
    net.connect(2, 1).await;
    let mut waiting = Vec::new();
    for n in 0..8 {
        let path = put(&dir.path().join(format!("in/{n}")), 2 * MIB);
        let slow = Send { limit_bps: Some(100_000), ..send(&path, net.nodes[1].peer_id) };
        let out = dir.path().join("out");
        waiting.push(push(net.node(0), slow, net.node(1), &out).await);
    }
    for id in &waiting {
        in_state(net.node(1), *id, State::Running).await;
    }
    net.nodes.remove(0).stop().await;
    for id in &waiting {
        in_state(net.node(0), *id, State::Connecting).await;
    }
    let path = put(&dir.path().join("in/ninth"), 1000);
    let request = send(&path, net.nodes[0].peer_id);
    let id = push(net.node(1), request, net.node(0), &dir.path().join("out")).await;
    end(net.node(0), id).await.unwrap();
    net.stop().await;
}

#[tokio::test]
async fn two_gets_of_a_ticket_into_the_same_folder_get_names_of_their_own() {
    let dir = tempfile::tempdir().unwrap();
    let net = Net::start(2).await;
    let path = put(&dir.path().join("in/file.bin"), 2 * MIB);
    let (_, ticket) = share(net.node(0), &path).await;
    let out = dir.path().join("out");
    let first = fetch(net.node(1), &ticket, &out).await;
    let second = fetch(net.node(1), &ticket, &out).await;
    let mut paths = end(net.node(1), first).await.unwrap().paths;
    paths.extend(end(net.node(1), second).await.unwrap().paths);
    paths.sort();
    assert_eq!(paths, [out.join("file (1).bin"), out.join("file.bin")]);
    assert!(paths.iter().all(|path| fs::read(path).unwrap() == noise(2 * MIB)));
    assert_eq!(fs::read_dir(&out).unwrap().count(), 2, "nothing else is left there");
    net.stop().await;
}

#[tokio::test]
async fn what_this_node_shares_itself_need_not_be_fetched() {
    let dir = tempfile::tempdir().unwrap();
    let net = Net::start(1).await;
    let path = put(&dir.path().join("in/file"), 100);
    let (_, ticket) = share(net.node(0), &path).await;
    let wanted = get(Wanted::Ticket(ticket), &dir.path().join("out"));
    let own = net.node(0).files().get(wanted).await.unwrap_err();
    assert!(matches!(&own, FilesError::Path { path: at, .. } if *at == path), "{own:?}");
    let wanted = Wanted::Published { peer: net.nodes[0].peer_id, path: "x".into() };
    let own = net.node(0).files().get(get(wanted, dir.path())).await.unwrap_err();
    assert!(matches!(own, FilesError::Unreachable { .. }), "{own:?}");
    net.stop().await;
}

#[tokio::test]
async fn what_was_cancelled_at_any_moment_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("home");
    let sender = start(loopback()).await.unwrap();
    let receiver = start(settings(&home)).await.unwrap();
    connect(&sender.node, &receiver).await;
    let path = put(&dir.path().join("in/file"), 2 * MIB);
    let (_, ticket) = share(&sender.node, &path).await;
    let out = dir.path().join("out");
    fs::create_dir(&out).unwrap();
    for round in 0..20 {
        let id = fetch(&receiver.node, &ticket, &out).await;
        if round % 2 == 1 {
            // On a busy machine it may be over before anybody looks.
            let began = |now: &Transfer| now.state == State::Running || now.state.is_over();
            until("that it runs", &receiver.node, id, began).await;
        }
        // Too late when all of it is there.
        match receiver.node.files().cancel(id).await {
            Ok(now) => assert_eq!(now.state, State::Cancelled),
            Err(FilesError::WrongState { .. }) => _ = end(&receiver.node, id).await.unwrap(),
            Err(other) => panic!("{other}"),
        }
        receiver.node.files().forget(id).await.unwrap();
    }
    receiver.stop().await;
    let left = tree(&out).into_keys().filter(|path| path.to_string_lossy().contains(".part"));
    assert_eq!(left.collect::<Vec<_>>(), Vec::<PathBuf>::new());
    let states = fs::read_dir(home.join("content/parts")).unwrap().count();
    assert_eq!(states, 0, "states of cancelled transfers are left");
}
