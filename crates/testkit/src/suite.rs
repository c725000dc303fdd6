//! What every handle must do, in this process or remote: one function per facet.
//!
//! `near` is the handle under test, `far` another node that is connected to it.

pub mod files;
pub mod kv;
pub mod users;

use std::time::Duration;

use peerage_api::{
    Failure, Feeding, Node, Stream,
    discovery::DiscoveryError,
    exchange::{Body, ExchangeError, MAX_BODY_BYTES},
    node::Verdict as Health,
    peers::{Direction, Event, PeersError},
    pubsub::{self, PubsubError, Verdict},
    types::{MessageType, Namespace, PeerId, Topic},
};

use crate::within;

pub use files::files;
pub use kv::kv;
pub use users::users;

fn topic(name: &str) -> Topic {
    Topic::new(name).expect("a literal name")
}

fn kind(name: &str) -> MessageType {
    MessageType::new(name).expect("a literal name")
}

async fn next<T: std::fmt::Debug>(what: &str, feed: &mut Stream<T>) -> T {
    match within(what, feed.next()).await {
        Some(Feeding::Item(item)) => item,
        other => panic!("{what}: {other:?} instead of an item"),
    }
}

async fn id(node: &Node) -> PeerId {
    node.id().await.expect("a node knows who it is").peer_id
}

/// The facet `node`.
pub async fn node(near: &Node) {
    let identity = near.id().await.unwrap();
    let status = near.status().await.unwrap();
    assert_eq!(identity.peer_id, status.peer_id);
    assert!(!identity.public_key.is_empty());
    assert!(!status.listen.is_empty());
    assert!(status.rss_bytes > 1_000_000, "a process has some memory");
    let checks = near.doctor().await.unwrap();
    assert!(checks.iter().any(|check| check.name == "listening"));
    let sick = checks.iter().filter(|check| check.verdict != Health::Ok);
    sick.for_each(|check| assert!(!check.remedy.is_empty(), "{check:?} has no remedy"));
    let metrics = near.metrics().await.unwrap();
    assert!(metrics.contains("peerage_peers "), "{metrics}");
    assert!(metrics.trim_end().ends_with("# EOF"));
    drop(near.events().await.unwrap());
}

/// The facet `peers`; the two nodes are connected before and after.
pub async fn peers(near: &Node, far: &Node) {
    let (local, remote) = (id(near).await, id(far).await);
    let peers = near.peers();
    let list = peers.list().await.unwrap();
    let peer = list.iter().find(|peer| peer.peer_id == remote).expect("the other node is listed");
    assert!(!peer.connections.is_empty());
    assert!(peer.agent.as_deref().is_some_and(|agent| agent.starts_with("peerage/")));
    let known = peers.show(remote).await.unwrap();
    assert!(known.connected.is_some() && !known.protocols.is_empty());
    assert!(peers.ping(remote).await.unwrap().rtt_us > 0);
    let measured = peers.measure(remote, 1_000_000).await.unwrap();
    assert_eq!(measured.len(), 2);
    assert!(measured.iter().all(|m| m.bytes == 1_000_000 && m.mb_per_s > 0.0));
    assert!(matches!(peers.measure(remote, 0).await, Err(PeersError::OutOfRange { .. })));

    let stranger = PeerId::random();
    assert_eq!(peers.show(stranger).await, Err(PeersError::Unknown { peer: stranger }));
    assert_eq!(peers.connect_to(local).await, Err(PeersError::Own { peer: local }));
    assert_eq!(peers.disconnect(stranger).await, Err(PeersError::NotConnected { peer: stranger }));
    let nobody = "/ip4/127.0.0.1/tcp/1".parse().unwrap();
    let refused = peers.connect(nobody).await.unwrap_err();
    assert!(matches!(refused, PeersError::Unreachable { .. }), "{refused:?}");
    let unspoken = "/ip4/127.0.0.1/udp/1".parse().unwrap();
    let refused = peers.connect(unspoken).await.unwrap_err();
    assert!(matches!(refused, PeersError::BadAddress { .. }), "{refused:?}");

    let mut events = peers.events().await.unwrap();
    peers.block(remote).await.unwrap();
    loop {
        let event = next("the end of a blocked peer's connection", &mut events).await;
        if matches!(event, Event::Disconnected { peer, .. } if peer == remote) {
            break;
        }
    }
    assert_eq!(peers.lists().await.unwrap().blocked, [remote]);
    assert_eq!(peers.connect_to(remote).await, Err(PeersError::Blocked { peer: remote }));
    peers.unblock(remote).await.unwrap();
    let address = far.status().await.unwrap().listen.remove(0);
    assert_eq!(peers.connect(address.clone()).await.unwrap().peer_id, remote);
    loop {
        if let Event::Connected { peer, direction, .. } = next("a connection", &mut events).await {
            assert_eq!((peer, direction), (remote, Direction::Out));
            break;
        }
    }
    assert!(peers.connect(address).await.unwrap().already);
    peers.protect(remote, true).await.unwrap();
    peers.allow(remote, true).await.unwrap();
    let lists = peers.lists().await.unwrap();
    assert_eq!((lists.protected, lists.allowed), (vec![remote], vec![remote]));
    peers.allow(remote, false).await.unwrap();
    peers.protect(remote, false).await.unwrap();
    assert_eq!(peers.lists().await.unwrap(), Default::default());
}

/// The facet `pubsub`.
pub async fn pubsub(near: &Node, far: &Node) {
    let (local, remote) = (id(near).await, id(far).await);
    let news = topic("news");
    let nobody = near.pubsub().publish(topic("nobody reads"), "x").await.unwrap_err();
    assert!(matches!(nobody, PubsubError::NoPeers { .. }) && nobody.is_retryable());
    let huge = vec![0; pubsub::MAX_MESSAGE_BYTES + 1];
    let huge = near.pubsub().publish(news.clone(), huge).await.unwrap_err();
    assert!(matches!(huge, PubsubError::TooLarge { .. }));

    let mut here_events = near.pubsub().events().await.unwrap();
    let mut there_events = far.pubsub().events().await.unwrap();
    let mut here = near.pubsub().subscribe(news.clone()).await.unwrap();
    let mut there = far.pubsub().subscribe(news.clone()).await.unwrap();
    joined(&mut here_events, remote, "news").await;
    joined(&mut there_events, local, "news").await;
    near.pubsub().publish(news.clone(), "from here").await.unwrap();
    let message = next("a message", &mut there).await;
    assert_eq!((message.from, message.data.as_text()), (local, Some("from here")));
    far.pubsub().publish_json(news.clone(), &["from", "there"]).await.unwrap();
    let message = next("a message", &mut here).await;
    assert_eq!(message.read_json::<Vec<String>>().unwrap(), ["from", "there"]);
    let topics = near.pubsub().topics().await.unwrap();
    assert!(topics.iter().any(|t| t.topic == "news" && t.subscribed && t.peers == 1));
    assert_eq!(near.pubsub().peers(news.clone()).await.unwrap().peers, [remote]);

    let mut candidates = near.pubsub().validate(news.clone()).await.unwrap();
    let taken = near.pubsub().validate(news.clone()).await.unwrap_err();
    assert!(matches!(taken, PubsubError::ValidatorTaken { .. }));
    far.pubsub().publish(news.clone(), "bad").await.unwrap();
    let bad = next("a candidate", &mut candidates).await;
    near.pubsub().verdict(bad.id, Verdict::Ignore).await.unwrap();
    let late = near.pubsub().verdict(bad.id, Verdict::Accept).await;
    assert_eq!(late, Err(PubsubError::TooLate { candidate: bad.id }));
    far.pubsub().publish(news.clone(), "good").await.unwrap();
    let good = next("a candidate", &mut candidates).await;
    near.pubsub().verdict(good.id, Verdict::Accept).await.unwrap();
    assert_eq!(next("the accepted message", &mut here).await.data.as_text(), Some("good"));
    drop(candidates);
    let stats = near.pubsub().stats().await.unwrap();
    assert!(stats.published >= 1 && stats.accepted >= 2 && stats.ignored >= 1, "{stats:?}");

    drop(here);
    loop {
        let event = next("the end of a subscription", &mut there_events).await;
        if event == (pubsub::Event::Left { peer: local, topic: "news".into() }) {
            break;
        }
    }
}

async fn joined(events: &mut Stream<pubsub::Event>, peer: PeerId, topic: &str) {
    let wanted = pubsub::Event::Joined { peer, topic: topic.to_owned() };
    while next("a subscription of the other node", events).await != wanted {}
}

/// The facet `exchange`.
pub async fn exchange(near: &Node, far: &Node) {
    let (local, remote) = (id(near).await, id(far).await);
    let (here, there) = (near.exchange(), far.exchange());
    let deadline = Duration::from_secs(10);

    let unheard = here.send(remote, kind("greeting"), "x", true).await.unwrap_err();
    assert!(matches!(unheard, ExchangeError::NoListener { .. }) && unheard.is_refusal());
    let mut greetings = there.subscribe([kind("greeting"), kind("other")]).await.unwrap();
    here.send(remote, kind("greeting"), Body::json(&[1, 2]).unwrap(), true).await.unwrap();
    let message = next("a message", &mut greetings).await;
    assert_eq!((message.peer, message.kind), (local, kind("greeting")));
    assert_eq!(message.body.read::<Vec<u8>>().unwrap(), [1, 2]);
    for n in 0..100u32 {
        here.send(remote, kind("other"), n.to_be_bytes().to_vec(), false).await.unwrap();
    }
    for n in 0..100u32 {
        let body = next("messages in order", &mut greetings).await.body;
        assert_eq!(body.data.0.as_ref(), n.to_be_bytes());
    }
    drop(greetings);

    let large = vec![0xff; MAX_BODY_BYTES];
    let mut mine = here.subscribe([kind("large")]).await.unwrap();
    there.send(local, kind("large"), large.clone(), true).await.unwrap();
    assert_eq!(next("a large message", &mut mine).await.body.data.len(), MAX_BODY_BYTES);
    let too_large = vec![0; MAX_BODY_BYTES + 1];
    let too_large = here.send(remote, kind("large"), too_large, false).await.unwrap_err();
    assert!(matches!(too_large, ExchangeError::TooLarge { .. }));
    let sent = there.broadcast(kind("large"), "to all").await.unwrap();
    assert_eq!((sent.sent, sent.missed), (1, 0));
    assert_eq!(next("a broadcast", &mut mine).await.body.data.as_text(), Some("to all"));

    let nobody = here.request(remote, kind("add"), "", deadline).await.unwrap_err();
    assert!(matches!(nobody, ExchangeError::NoResponder { .. }));
    let mut asked = there.respond(kind("add")).await.unwrap();
    let taken = there.respond(kind("add")).await.unwrap_err();
    assert!(matches!(taken, ExchangeError::ResponderTaken { .. }));
    let answering = async {
        let first = next("a request", &mut asked).await;
        assert_eq!(first.peer, local);
        there.reply(first.id, Body::cbor(&5).unwrap()).await.unwrap();
        let late = there.reply(first.id, "again").await;
        assert_eq!(late, Err(ExchangeError::TooLate { request: first.id }));
        let second = next("a request", &mut asked).await;
        there.refuse(second.id, "not today").await.unwrap();
    };
    let asking = async {
        let five = here.request(remote, kind("add"), Body::cbor(&(2, 3)).unwrap(), deadline).await;
        assert_eq!(five.unwrap().read::<u32>().unwrap(), 5);
        let refused = here.request(remote, kind("add"), "", deadline).await;
        let reason = "not today".to_owned();
        assert_eq!(refused, Err(ExchangeError::Refused { peer: remote, reason }));
        let short = Duration::from_millis(50);
        let late = here.request(remote, kind("add"), "", short).await.unwrap_err();
        assert!(matches!(late, ExchangeError::TimedOut { .. }) && late.is_timeout());
    };
    tokio::join!(answering, asking);

    let mut responses = here.respond(kind("double")).await.unwrap();
    let answering = async {
        let request = next("a request to the handle under test", &mut responses).await;
        let n: u64 = request.body.read().unwrap();
        here.reply(request.id, Body::json(&(n * 2)).unwrap()).await.unwrap();
    };
    let asking = there.request(local, kind("double"), Body::json(&21).unwrap(), deadline);
    let (doubled, ()) = tokio::join!(asking, answering);
    assert_eq!(doubled.unwrap().read::<u64>().unwrap(), 42);

    let stranger = PeerId::random();
    let lost = here.send(stranger, kind("greeting"), "x", false).await;
    assert_eq!(lost, Err(ExchangeError::NotConnected { peer: stranger }));
    let none = here.subscribe([]).await.unwrap_err();
    assert!(matches!(none, ExchangeError::TooManyTypes { .. }));
    assert!(here.stats().await.unwrap().sent >= 100);
}

/// The facet `discovery`.
pub async fn discovery(near: &Node, far: &Node) {
    let remote = id(far).await;
    let chess = Namespace::new("chess players").unwrap();
    let unknown = near.discovery().withdraw(chess.clone()).await.unwrap_err();
    assert!(matches!(unknown, DiscoveryError::NotAnnounced { .. }));
    let announced = far.discovery().announce(chess.clone()).await.unwrap();
    assert_eq!(announced.infohash.len(), 40);
    let held = far.discovery().status().await.unwrap().announced;
    assert_eq!(held.iter().map(|it| &it.namespace).collect::<Vec<_>>(), [&chess]);
    let mut found = near.discovery().find(chess.clone()).await.unwrap();
    assert_eq!(next("the one who announced", &mut found).await.peer_id, remote);
    assert!(within("the end of the search", found.next()).await.is_none());
    let resolved = near.discovery().resolve(remote).await.unwrap();
    assert!(!resolved.addresses.is_empty());
    far.discovery().withdraw(chess).await.unwrap();
    let status = near.discovery().status().await.unwrap();
    assert!(status.kad_server && status.kad_peers >= 1, "{status:?}");
}
