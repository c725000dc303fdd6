//! Calls: every method is there, answers and errors keep their types, calls can be given up.

use std::{collections::BTreeSet, time::Duration};

use peerage_api::{
    Failure, Feed, Feeding, LinkError, Method, Remote, RemoteError, Visitor,
    discovery::DiscoveryError,
    exchange::{Broadcasted, ExchangeError},
    node::{Identity, NodeError},
    peers::{Connected, PeersError},
    pubsub::{Published, PubsubError},
    types::{MessageType, Multiaddr, Namespace, PeerId, Topic},
    visit,
};
use peerage_rpc::Limits;
use serde_json::{Value, json};

use crate::daemon::{Daemon, asked};

#[derive(Default)]
struct Names {
    all: BTreeSet<&'static str>,
    feeds: BTreeSet<&'static str>,
}

impl Visitor for Names {
    fn method<M: Method>(&mut self) {
        assert!(self.all.insert(M::NAME), "{} is named twice", M::NAME);
    }
    fn feed<F: Feed>(&mut self) {
        assert!(self.all.insert(F::NAME), "{} is named twice", F::NAME);
        self.feeds.insert(F::NAME);
    }
}

fn names() -> Names {
    let mut names = Names::default();
    visit(&mut names);
    names
}

#[tokio::test]
async fn every_method_and_feed_of_the_contract_is_described() {
    let daemon = Daemon::start().await;
    let document = daemon.client().await.call("rpc.discover", json!({})).await.unwrap();
    let names = names();
    let methods = document["methods"].as_array().unwrap();
    let described: BTreeSet<_> = methods.iter().map(|m| m["name"].as_str().unwrap()).collect();
    let expected: BTreeSet<_> = names.all.iter().copied().chain(["rpc.discover"]).collect();
    assert_eq!(described, expected);
    for method in methods {
        let name = method["name"].as_str().unwrap();
        assert_eq!(method.get("x-feed").is_some(), names.feeds.contains(name), "{name}");
        assert!(method["result"]["schema"].is_object(), "{name} has no result");
    }
    let measure = methods.iter().find(|m| m["name"] == "peers.measure").unwrap();
    let params: Vec<_> = measure["params"].as_array().unwrap().iter().map(|p| &p["name"]).collect();
    assert_eq!(params, ["bytes", "peer"]);
    assert_every_reference_resolves(&document, &document);
}

fn assert_every_reference_resolves(document: &Value, part: &Value) {
    if let Some(target) = part.get("$ref").and_then(Value::as_str) {
        let pointer = target.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{target} leads nowhere");
    }
    match part {
        Value::Object(members) => {
            members.values().for_each(|v| assert_every_reference_resolves(document, v));
        }
        Value::Array(items) => {
            items.iter().for_each(|v| assert_every_reference_resolves(document, v));
        }
        _ => {}
    }
}

fn mismatch(result: Result<Value, RemoteError>) -> String {
    match result {
        Err(RemoteError::Link(LinkError::Mismatch { reason, .. })) => reason,
        other => panic!("expected a mismatch, got {other:?}"),
    }
}

#[tokio::test]
async fn every_method_and_feed_of_the_contract_is_registered() {
    let daemon = Daemon::start().await;
    let client = daemon.client().await;
    for name in names().all {
        let reason = mismatch(client.call(name, json!([1])).await);
        assert!(reason.contains("named members") && reason.contains(name), "{name}: {reason}");
    }
    assert_eq!(mismatch(client.call("node.dance", json!({})).await), "Method not found");
}

#[tokio::test]
async fn a_bad_parameter_is_named() {
    let daemon = Daemon::start().await;
    let client = daemon.client().await;
    let reason = mismatch(client.call("peers.show", json!({ "peer": 5 })).await);
    assert!(reason.starts_with("peers.show: peer: "), "{reason}");
    let reason = mismatch(client.call("peers.show", json!({})).await);
    assert!(reason.contains("`peer`"), "{reason}");
}

#[tokio::test]
async fn answers_keep_their_types() {
    let mut daemon = Daemon::start().await;
    let node = daemon.node().await;
    let peer = PeerId::random();

    let identity = Identity { peer_id: peer, public_key: "CAES".into() };
    let (answer, ()) = tokio::join!(node.id(), async {
        asked!(daemon, Node::Id).reply(Ok(identity.clone()));
    });
    assert_eq!(answer.unwrap(), identity);

    let peers = node.peers();
    let (answer, ()) = tokio::join!(peers.disconnect(peer), async {
        let ask = asked!(daemon, Peers::Disconnect);
        assert_eq!(ask.request.peer, peer);
        ask.reply(Ok(()));
    });
    answer.unwrap();

    let address: Multiaddr = "/ip4/127.0.0.1/tcp/1".parse().unwrap();
    let connected = Connected { peer_id: peer, address: address.clone(), already: true };
    let (answer, ()) = tokio::join!(peers.connect(address.clone()), async {
        let ask = asked!(daemon, Peers::Connect);
        assert_eq!((ask.request.peer, &ask.request.addresses), (None, &vec![address]));
        ask.reply(Ok(connected.clone()));
    });
    assert_eq!(answer.unwrap(), connected);
}

#[tokio::test]
async fn the_largest_body_fits_whatever_its_bytes() {
    let mut daemon = Daemon::start().await;
    let exchange = daemon.node().await.exchange();
    let kind = MessageType::new("x").unwrap();
    for byte in [0_u8, b'a', 0xff] {
        let body = vec![byte; peerage_api::exchange::MAX_BODY_BYTES];
        let (answer, ()) = tokio::join!(exchange.broadcast(kind.clone(), body.clone()), async {
            let ask = asked!(daemon, Exchange::Broadcast);
            assert!(ask.request.body.data.0 == body);
            ask.reply(Ok(Broadcasted { sent: 1, missed: 0 }));
        });
        assert_eq!(answer.unwrap().sent, 1);
    }
    let error = exchange.broadcast(kind, vec![0xff; 24 << 20]).await.unwrap_err();
    assert!(
        matches!(&error, ExchangeError::Link(LinkError::Mismatch { reason, .. })
            if reason.contains("the most is 25165824")),
        "{error}"
    );
}

#[tokio::test]
async fn a_typed_error_of_each_facet_survives_the_way() {
    let mut daemon = Daemon::start().await;
    let node = daemon.node().await;
    let peer = PeerId::random();
    let topic = Topic::new("news").unwrap();
    let namespace = Namespace::new("shop").unwrap();

    for error in [NodeError::from(LinkError::Stopped), LinkError::Overloaded.into()] {
        let (answer, ()) = tokio::join!(node.stop(), async {
            asked!(daemon, Node::Stop).reply(Err(error.clone()));
        });
        assert_eq!(answer.unwrap_err(), error);
    }
    let peers = [
        PeersError::NotConnected { peer },
        PeersError::TimedOut { peer, seconds: 30 },
        PeersError::Unreachable { target: "x".into(), tried: vec!["a: no".into(), "b".into()] },
        PeersError::WrongPeer { address: "y".into(), expected: peer, found: PeerId::random() },
        PeersError::Refused { reason: "full".into() },
        LinkError::Unreachable { reason: "z".into() }.into(),
    ];
    for error in peers {
        let facet = node.peers();
        let (answer, ()) = tokio::join!(facet.disconnect(peer), async {
            asked!(daemon, Peers::Disconnect).reply(Err(error.clone()));
        });
        let answer = answer.unwrap_err();
        assert_eq!((answer.code(), answer.is_retryable()), (error.code(), error.is_retryable()));
        assert_eq!(answer, error);
    }
    for error in [PubsubError::NoPeers { topic: topic.clone() }, LinkError::Stopped.into()] {
        let facet = node.pubsub();
        let (answer, ()) = tokio::join!(facet.publish(topic.clone(), "hi"), async {
            asked!(daemon, Pubsub::Publish).reply(Err(error.clone()));
        });
        assert_eq!(answer.unwrap_err(), error);
    }
    for error in [DiscoveryError::Off, DiscoveryError::TooManyNamespaces { max: 64 }] {
        let facet = node.discovery();
        let (answer, ()) = tokio::join!(facet.announce(namespace.clone()), async {
            asked!(daemon, Discovery::Announce).reply(Err(error.clone()));
        });
        assert_eq!(answer.unwrap_err(), error);
    }
    let exchange = [
        ExchangeError::TooLate { request: u64::MAX },
        ExchangeError::TooLarge { bytes: 2, max: 1 },
        ExchangeError::OutOfRange { what: "deadline_ms".into(), range: "1 to 2".into() },
    ];
    for error in exchange {
        let facet = node.exchange();
        let (answer, ()) = tokio::join!(facet.refuse(7, "no"), async {
            asked!(daemon, Exchange::Refuse).reply(Err(error.clone()));
        });
        assert_eq!(answer.unwrap_err(), error);
    }
}

#[tokio::test]
async fn dropping_a_call_gives_it_up_in_the_node_and_spares_the_others() {
    let mut daemon = Daemon::start().await;
    let node = daemon.node().await;
    let topic = Topic::new("t").unwrap();

    let other = tokio::spawn({
        let (pubsub, topic) = (node.pubsub(), topic.clone());
        async move { pubsub.publish(topic, "kept").await }
    });
    let kept = asked!(daemon, Pubsub::Publish);
    let dropped = tokio::spawn(async move { node.pubsub().publish(topic, "dropped").await });
    let (request, mut reply) = asked!(daemon, Pubsub::Publish).split();
    assert_eq!(request.data.as_text(), Some("dropped"));
    dropped.abort();
    reply.closed().await;
    kept.reply(Ok(Published { id: "ok".into() }));
    assert_eq!(other.await.unwrap().unwrap().id, "ok");
}

#[tokio::test]
async fn a_call_whose_connection_closes_is_dropped() {
    let mut daemon = Daemon::start().await;
    let client = daemon.client().await;
    let call = tokio::spawn(async move { client.call("node.id", json!({})).await });
    let (_, mut reply) = asked!(daemon, Node::Id).split();
    call.abort();
    reply.closed().await;
}

#[tokio::test]
async fn a_call_beyond_the_limit_is_told_that_the_node_is_busy() {
    let limits = Limits { max_calls: 1, ..Limits::default() };
    let mut daemon = Daemon::with(|c| c.limits = limits).await;
    let node = daemon.node().await;
    let first = tokio::spawn({
        let node = node.clone();
        async move { node.metrics().await }
    });
    let ask = asked!(daemon, Node::Metrics);
    assert_eq!(node.id().await.unwrap_err(), NodeError::Link(LinkError::Overloaded));
    ask.reply(Ok("m".into()));
    assert_eq!(first.await.unwrap().unwrap(), "m");
}

#[tokio::test]
async fn a_node_that_is_gone_has_stopped() {
    let mut daemon = Daemon::start().await;
    let node = daemon.node().await;
    let call = tokio::spawn({
        let node = node.clone();
        async move { node.id().await }
    });
    let ask = asked!(daemon, Node::Id);
    daemon.commands.close();
    drop(ask);
    assert_eq!(call.await.unwrap().unwrap_err(), NodeError::Link(LinkError::Stopped));
    assert_eq!(node.id().await.unwrap_err(), NodeError::Link(LinkError::Stopped));
}

#[tokio::test]
async fn stopping_the_server_lets_calls_finish_ends_feeds_and_is_unreachable_after() {
    let mut daemon = Daemon::start().await;
    let node = daemon.node().await;
    let (events, sink) =
        tokio::join!(node.events(), async { asked!(daemon, Node::Events).accept().1 });
    let mut events = events.unwrap();
    let call = tokio::spawn({
        let node = node.clone();
        async move { node.metrics().await }
    });
    let ask = asked!(daemon, Node::Metrics);
    let stopping = tokio::spawn(daemon.server.stop());
    assert_eq!(events.next().await, None::<Feeding<_>>);
    sink.closed().await;
    ask.reply(Ok("last words".into()));
    assert_eq!(call.await.unwrap().unwrap(), "last words");
    stopping.await.unwrap();
    let error = node.id().await.unwrap_err();
    assert!(matches!(error, NodeError::Link(LinkError::Unreachable { .. })), "{error}");
    assert!(daemon.commands.recv().await.is_none(), "the server still holds the node");
}

#[tokio::test]
async fn a_call_that_does_not_end_cannot_hold_up_the_stop() {
    let mut daemon = Daemon::start().await;
    let node = daemon.node().await;
    let call = tokio::spawn(async move { node.metrics().await });
    let (_, mut reply) = asked!(daemon, Node::Metrics).split();
    let stop = tokio::time::timeout(Duration::from_secs(30), daemon.server.stop());
    stop.await.expect("stop is bounded");
    reply.closed().await;
    let error = call.await.unwrap().unwrap_err();
    assert!(
        matches!(error, NodeError::Link(LinkError::Stopped | LinkError::Unreachable { .. })),
        "{error}"
    );
}
