//! Telling: subscribe, send, broadcast.

use bytes::Bytes;
use peerage_api::{
    Failure,
    exchange::{Body, Broadcasted, ExchangeError, MAX_BODY_BYTES, MAX_KINDS, Message},
};

use crate::support::*;

#[tokio::test]
async fn every_listener_of_a_type_gets_every_message_until_it_is_dropped() {
    let (a, b) = (Node::new().await, Node::new().await);
    a.connect(&b).await;
    let mut all = b.exchange.subscribe([kind("x"), kind("y"), kind("x")]).await.unwrap();
    let mut only_y = b.exchange.subscribe([kind("y")]).await.unwrap();
    a.exchange.send(b.peer, kind("x"), "1", false).await.unwrap();
    a.exchange.send(b.peer, kind("y"), Body::json(&2).unwrap(), true).await.unwrap();
    let message = |name, body| Message { peer: a.peer, kind: kind(name), body };
    assert_eq!(all.item().await, Some(message("x", "1".into())));
    assert_eq!(all.item().await, Some(message("y", Body::json(&2).unwrap())));
    assert_eq!(only_y.item().await, Some(message("y", Body::json(&2).unwrap())));

    drop(all);
    let peer = b.peer;
    let nobody = a.exchange.send(peer, kind("x"), "3", true).await;
    assert_eq!(nobody, Err(ExchangeError::NoListener { peer, kind: kind("x") }));
    assert!(nobody.unwrap_err().is_refusal());
    a.exchange.send(b.peer, kind("y"), "4", true).await.unwrap();
    assert_eq!(only_y.item().await, Some(message("y", "4".into())));

    let stats = b.exchange.stats().await.unwrap();
    assert_eq!((stats.received, stats.unheard, stats.peers), (4, 1, 1));
    assert_eq!(a.exchange.stats().await.unwrap().sent, 4);
}

#[tokio::test]
async fn a_listener_that_reads_one_message_and_goes_listens_once() {
    let (a, b) = (Node::new().await, Node::new().await);
    a.connect(&b).await;
    for round in ["1", "2"] {
        let mut once = b.exchange.subscribe([kind("x")]).await.unwrap();
        a.exchange.send(b.peer, kind("x"), round, true).await.unwrap();
        assert_eq!(once.item().await.unwrap().body, round.into());
        drop(once);
        assert!(a.exchange.send(b.peer, kind("x"), "more", true).await.is_err());
    }
}

#[tokio::test]
async fn many_messages_arrive_in_order_in_both_directions_at_once() {
    let (a, b) = (Node::new().await, Node::new().await);
    a.connect(&b).await;
    let mut streams = Vec::new();
    for (from, to) in [(&a, &b), (&b, &a)] {
        streams.push(to.exchange.subscribe([kind("n")]).await.unwrap());
        let (exchange, to) = (from.exchange.clone(), to.peer);
        tokio::spawn(async move {
            for n in 0u32..5000 {
                let body = Bytes::from(n.to_be_bytes().to_vec());
                exchange.send(to, kind("n"), body, false).await.unwrap();
            }
        });
    }
    for mut stream in streams {
        for n in 0u32..5000 {
            assert_eq!(stream.item().await.unwrap().body.data.0[..], n.to_be_bytes());
        }
    }
}

#[tokio::test]
async fn a_broadcast_reaches_every_connected_node_of_the_network() {
    let hub = Node::new().await;
    let mut nodes = Vec::new();
    for _ in 0..4 {
        let node = Node::new().await;
        hub.connect(&node).await;
        let items = node.exchange.subscribe([kind("news")]).await.unwrap();
        nodes.push((node, items));
    }
    let outsider = Node::new().await;
    hub.connect(&outsider).await;
    let peer = outsider.peer;
    hub.act(move |swarm| swarm.behaviour_mut().exchange.on_identified(peer, false)).await;

    for round in ["first", "second"] {
        let outcome = hub.exchange.broadcast(kind("news"), round).await.unwrap();
        assert_eq!(outcome, Broadcasted { sent: 4, missed: 0 });
        for (_, items) in &mut nodes {
            assert_eq!(items.item().await.unwrap().body, round.into());
        }
    }
    // Who has sent us a message is a member by that.
    outsider.exchange.send(hub.peer, kind("hello"), "", true).await.unwrap_err();
    assert_eq!(hub.exchange.broadcast(kind("news"), "third").await.unwrap().sent, 5);

    for (node, _) in &nodes {
        hub.disconnect(node.peer).await;
    }
    assert_eq!(hub.exchange.broadcast(kind("news"), "fourth").await.unwrap().sent, 1);
}

#[tokio::test]
async fn what_is_too_large_is_refused_where_it_is_sent() {
    let (a, b) = (Node::new().await, Node::new().await);
    a.connect(&b).await;
    let mut items = b.exchange.subscribe([kind("x")]).await.unwrap();
    let body = |bytes: usize| Bytes::from(vec![1; bytes]);
    let bytes = MAX_BODY_BYTES + 1;
    let too_large = ExchangeError::TooLarge { bytes, max: MAX_BODY_BYTES };
    let sent = a.exchange.send(b.peer, kind("x"), body(bytes), false).await;
    assert_eq!(sent, Err(too_large.clone()));
    let broadcast = a.exchange.broadcast(kind("x"), body(bytes)).await;
    assert_eq!(broadcast, Err(too_large.clone()));
    let request = a.exchange.request(b.peer, kind("x"), body(bytes), HOUR).await;
    assert_eq!(request, Err(too_large.clone()));
    let replied = a.exchange.reply(1, body(bytes)).await;
    assert_eq!(replied, Err(too_large));

    a.exchange.send(b.peer, kind("x"), body(MAX_BODY_BYTES), true).await.unwrap();
    assert_eq!(items.item().await.unwrap().body.data.len(), MAX_BODY_BYTES);
}

#[tokio::test]
async fn a_subscription_names_one_to_sixty_four_types() {
    let a = Node::new().await;
    let refused = ExchangeError::TooManyTypes { max: MAX_KINDS };
    assert_eq!(a.exchange.subscribe([]).await.unwrap_err(), refused);
    let kinds = |n: usize| (0..n).map(|n| kind(&format!("k{n}"))).collect::<Vec<_>>();
    assert_eq!(a.exchange.subscribe(kinds(MAX_KINDS + 1)).await.unwrap_err(), refused);
    let mut held = Vec::new();
    for _ in 0..peerage_exchange::MAX_LISTENED / MAX_KINDS {
        held.push(a.exchange.subscribe(kinds(MAX_KINDS)).await.unwrap());
    }
    let full = a.exchange.subscribe(kinds(1)).await.unwrap_err();
    assert!(matches!(full, ExchangeError::Link(_)) && full.is_retryable());
    held.pop();
    let _room = a.exchange.subscribe(kinds(1)).await.unwrap();
}
