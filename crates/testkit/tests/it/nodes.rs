//! Whole nodes together: what only shows when everything is composed.

use std::os::unix::fs::PermissionsExt as _;

use peerage_api::{
    Failure as _, LinkError,
    node::NodeError,
    peers::{PeersError, Transport},
    types::{Network, Topic},
};
use peerage_net::{ListenError, Profile, Settings, StartError, create_network_key, start};
use peerage_testkit::{Net, loopback, within};

#[tokio::test]
async fn a_node_without_handles_stops_by_itself() {
    let running = start(loopback()).await.unwrap();
    within("the stop", running.stopped()).await;
}

#[tokio::test]
async fn a_stopped_node_says_so() {
    let running = start(loopback()).await.unwrap();
    let node = running.node.clone();
    node.stop().await.unwrap();
    within("the stop", running.stopped()).await;
    assert_eq!(node.id().await, Err(NodeError::Link(LinkError::Stopped)));
}

#[tokio::test]
async fn a_restart_keeps_identity_book_and_blocks() {
    let net = Net::start(1).await;
    let dir = tempfile::tempdir().unwrap();
    let settings = Settings { data: Some(dir.path().join("home")), ..loopback() };
    let first = start(settings.clone()).await.unwrap();
    let blocked = "12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA".parse().unwrap();
    first.node.peers().connect(net.nodes[0].listen[0].clone()).await.unwrap();
    first.node.peers().block(blocked).await.unwrap();
    let peer_id = first.peer_id;
    first.node.stop().await.unwrap();
    within("the stop", first.stopped()).await;

    let second = start(settings).await.unwrap();
    assert_eq!(second.peer_id, peer_id);
    assert_eq!(second.node.peers().lists().await.unwrap().blocked, [blocked]);
    let known = second.node.peers().show(net.nodes[0].peer_id).await.unwrap();
    assert!(known.addresses.iter().any(|known| known.worked_ms.is_some()));
    second.node.stop().await.unwrap();
    within("the stop", second.stopped()).await;
    net.stop().await;
}

#[tokio::test]
async fn a_second_node_on_the_same_directory_is_told_who_has_it() {
    let dir = tempfile::tempdir().unwrap();
    let settings = Settings { data: Some(dir.path().to_owned()), ..loopback() };
    let first = start(settings.clone()).await.unwrap();
    let refused = start(settings).await.unwrap_err();
    assert!(matches!(refused, StartError::Locked(_)), "{refused:?}");
    assert!(refused.to_string().contains(&std::process::id().to_string()), "{refused}");
    drop(first);
}

#[tokio::test]
async fn an_address_in_use_and_an_exposed_key_are_refused_with_a_remedy() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let listen = vec![format!("/ip4/127.0.0.1/tcp/{port}").parse().unwrap()];
    let refused = start(Settings { listen, ..loopback() }).await.unwrap_err();
    assert!(matches!(refused, StartError::Listen(ListenError::InUse { .. })), "{refused:?}");

    let dir = tempfile::tempdir().unwrap();
    let settings = Settings { data: Some(dir.path().to_owned()), ..loopback() };
    let running = start(settings.clone()).await.unwrap();
    within("the stop", running.stopped()).await;
    let key = dir.path().join("identity.key");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o640)).unwrap();
    let refused = start(settings).await.unwrap_err();
    assert!(matches!(refused, StartError::Key(_)) && refused.to_string().contains("chmod 600"));
}

#[tokio::test]
async fn members_of_different_networks_do_not_become_peers_of_each_other() {
    let ours = start(loopback()).await.unwrap();
    let other = Settings { network: Network::new("other").unwrap(), ..loopback() };
    let theirs = start(other).await.unwrap();
    let address = theirs.listen[0].clone();
    ours.node.peers().connect(address).await.unwrap();
    let kind = "x".parse().unwrap();
    let refused = ours.node.exchange().send(theirs.peer_id, kind, "x", true).await.unwrap_err();
    assert_eq!(refused.code(), "unsupported");
}

#[tokio::test]
async fn a_network_key_keeps_strangers_out_and_leaves_tcp_only() {
    let dir = tempfile::tempdir().unwrap();
    let key = dir.path().join("swarm.key");
    create_network_key(&key).unwrap();
    let listen = vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()];
    let keyed = Settings { network_key: Some(key), listen, ..loopback() };
    let (a, b) = (start(keyed.clone()).await.unwrap(), start(keyed.clone()).await.unwrap());
    let stranger = start(loopback()).await.unwrap();
    a.node.peers().connect(b.listen[0].clone()).await.unwrap();
    assert!(a.node.status().await.unwrap().network_key);
    let refused = stranger.node.peers().connect(b.listen[0].clone()).await.unwrap_err();
    assert!(matches!(refused, PeersError::Unreachable { .. }), "{refused:?}");
    let quic = vec!["/ip4/127.0.0.1/udp/0/quic-v1".parse().unwrap()];
    let refused = start(Settings { listen: quic, ..keyed }).await.unwrap_err();
    assert!(matches!(refused, StartError::Listen(ListenError::Unsupported { .. })), "{refused:?}");
}

#[tokio::test]
async fn every_transport_carries_a_connection() {
    let listen = |text: &str| text.parse().unwrap();
    let server = start(Settings {
        listen: vec![
            listen("/ip4/127.0.0.1/tcp/0"),
            listen("/ip4/127.0.0.1/udp/0/quic-v1"),
            listen("/ip4/127.0.0.1/tcp/0/ws"),
        ],
        ..loopback()
    })
    .await
    .unwrap();
    for address in server.listen.clone() {
        let client = start(loopback()).await.unwrap();
        client.node.peers().connect(address.clone()).await.unwrap();
        let list = client.node.peers().list().await.unwrap();
        assert_eq!(list[0].connections[0].transport, Transport::of(&address));
        client.node.peers().ping(server.peer_id).await.unwrap();
    }
}

#[tokio::test]
async fn a_chain_of_bootstrap_nodes_becomes_one_gossiping_network() {
    let hub = start(Settings { profile: Profile::Bootstrap, ..loopback() }).await.unwrap();
    let spoke = Settings { bootstrap: vec![hub.listen[0].clone()], ..loopback() };
    let topic = Topic::new("all").unwrap();
    let mut nodes = Vec::new();
    for _ in 0..5 {
        let running = start(spoke.clone()).await.unwrap();
        let feed = running.node.pubsub().subscribe(topic.clone()).await.unwrap();
        nodes.push((running, feed));
    }
    let speaker = start(spoke).await.unwrap();
    let mut joined = speaker.node.pubsub().events().await.unwrap();
    // Everybody meets through the hub's routing table; each subscription is seen once they have.
    let mut seen = std::collections::HashSet::new();
    within("five subscriptions", async {
        while seen.len() < 5 {
            use peerage_api::pubsub::Event;
            if let Some(Event::Joined { peer, .. }) = joined.item().await {
                seen.insert(peer);
            }
        }
    })
    .await;
    speaker.node.pubsub().publish(topic, "hello all").await.unwrap();
    for (_, feed) in &mut nodes {
        let message = within("the message", feed.item()).await.unwrap();
        assert_eq!(message.data.as_text(), Some("hello all"));
    }
}

#[tokio::test]
async fn the_largest_messages_arrive_however_fast_they_follow_each_other() {
    const MESSAGES: u8 = 50;
    let net = Net::start(2).await;
    net.connect(0, 1).await;
    let topic = Topic::new("large").unwrap();
    let mut joined = net.node(0).pubsub().events().await.unwrap();
    let mut feed = net.node(1).pubsub().subscribe(topic.clone()).await.unwrap();
    within("the subscription", joined.item()).await.unwrap();
    for n in 0..MESSAGES {
        let message = vec![n; peerage_api::pubsub::MAX_MESSAGE_BYTES];
        net.node(0).pubsub().publish(topic.clone(), message).await.unwrap();
    }
    let mut seen = std::collections::HashSet::new();
    within("all messages", async {
        while seen.len() < usize::from(MESSAGES) {
            seen.insert(feed.item().await.unwrap().data.0[0]);
        }
    })
    .await;
    net.stop().await;
}
