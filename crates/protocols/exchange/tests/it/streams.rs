//! Streams: who shares one, where it runs, when it ends.

use bytes::Bytes;
use futures::{AsyncReadExt, future::join_all};
use libp2p::multiaddr::Protocol;
use peerage_api::{
    Command, LinkError,
    exchange::{self, ExchangeError, OpenOutbox, Outbox},
};
use peerage_types::Network;
use tokio::sync::oneshot;

use crate::support::*;

async fn outbox(node: &Node, peer: libp2p::PeerId) -> Outbox {
    let (reply, answer) = oneshot::channel();
    let command = exchange::Command::Outbox(OpenOutbox { peer, reply });
    node.local.send(Command::Exchange(command)).await.unwrap();
    answer.await.unwrap().unwrap()
}

#[tokio::test]
async fn a_peer_that_cannot_be_sent_to_is_told_apart() {
    let a = Node::new().await;
    let other = Node::of(Network::new("other").unwrap()).await;
    let peer = other.peer;
    let sent = a.exchange.send(peer, kind("x"), "", false).await;
    assert_eq!(sent, Err(ExchangeError::NotConnected { peer }));
    a.connect(&other).await;
    let sent = a.exchange.send(peer, kind("x"), "", false).await;
    assert_eq!(sent, Err(ExchangeError::Unsupported { peer }));
}

#[tokio::test]
async fn all_senders_to_a_peer_share_one_stream() {
    let a = Node::new().await;
    let (peer, mut opened) = Raw::dialled_by(&a, &[protocol()], |dialogs, inbound, heard| {
        let heard = heard.clone();
        dialogs.serve(inbound, async move |mut stream| {
            heard.send(b"opened".to_vec()).await.unwrap();
            let mut byte = [0];
            while stream.read(&mut byte).await.is_ok_and(|read| read > 0) {
                heard.send(byte.to_vec()).await.unwrap();
            }
        });
    })
    .await;
    let sends = (0..50).map(|_| {
        // Each with a handle that knows no outbox yet.
        let open = outbox(&a, peer);
        let sent = a.exchange.send(peer, kind("x"), "", false);
        async { (open.await, sent.await.unwrap()) }
    });
    join_all(sends).await;
    assert_eq!(opened.recv().await.unwrap(), b"opened");
    // A message of type `x` without body has 6 bytes.
    for _ in 0..50 * 6 {
        assert_eq!(opened.recv().await.unwrap().len(), 1);
    }
    assert!(opened.try_recv().is_err());
    assert_eq!(a.exchange.stats().await.unwrap().peers, 1);
}

#[tokio::test]
async fn messages_move_to_a_direct_connection_in_order() {
    let relay = relay().await;
    let (a, b) = (Node::new().await, Node::new().await);
    let circuit = relay.with(Protocol::P2pCircuit);
    let listen = circuit.clone();
    b.act(move |swarm| swarm.listen_on(listen).unwrap()).await;
    let relayed_address = circuit.with(Protocol::P2p(b.peer));
    b.wait_reachable_through_relay().await;
    let relayed = a.dial(b.peer, relayed_address).await;

    let mut items = b.exchange.subscribe([kind("n")]).await.unwrap();
    let mut requests = b.exchange.respond(kind("ask")).await.unwrap();
    let old = outbox(&a, b.peer).await;
    let sender = async {
        let mut n = 0u32;
        let mut send = async || {
            let body = Bytes::from(n.to_be_bytes().to_vec());
            a.exchange.send(b.peer, kind("n"), body, n % 10 == 9).await.unwrap();
            n += 1;
        };
        for _ in 0..100 {
            send().await;
        }
        a.connect(&b).await;
        while !old.is_closed() {
            send().await;
        }
        for _ in 0..100 {
            send().await;
        }
        a.exchange.send(b.peer, kind("n"), "end", true).await.unwrap();
        n
    };
    let reader = async {
        let mut n = 0u32;
        loop {
            let body = items.item().await.unwrap().body.data.0;
            if body == "end" {
                return n;
            }
            assert_eq!(body[..], n.to_be_bytes());
            n += 1;
        }
    };
    let (sent, read) = tokio::join!(sender, reader);
    assert_eq!(sent, read);

    // Nothing depends on the relay any more.
    let (answer, ()) = tokio::join!(a.exchange.request(b.peer, kind("ask"), "", HOUR), async {
        let asked = requests.item().await.unwrap();
        a.act(move |swarm| swarm.close_connection(relayed)).await;
        a.wait(b.peer, move |connections| !connections.contains(&relayed)).await;
        b.exchange.reply(asked.id, "direct").await.unwrap();
    });
    assert_eq!(answer, Ok("direct".into()));
}

#[tokio::test]
async fn a_shutdown_lets_queued_messages_go_and_refuses_what_comes_after() {
    let (a, b) = (Node::new().await, Node::new().await);
    a.connect(&b).await;
    let mut items = b.exchange.subscribe([kind("n")]).await.unwrap();
    let mut ended = a.exchange.subscribe([kind("n")]).await.unwrap();
    b.exchange.send(a.peer, kind("n"), "", true).await.unwrap();
    assert!(ended.item().await.is_some());
    for _ in 0..500 {
        a.exchange.send(b.peer, kind("n"), vec![0; 1000], false).await.unwrap();
    }
    a.act(|swarm| swarm.behaviour_mut().exchange.shutdown()).await;
    assert!(ended.item().await.is_none());
    for _ in 0..500 {
        assert!(items.item().await.is_some());
    }
    let stopped = Err(ExchangeError::Link(LinkError::Stopped));
    assert_eq!(a.exchange.send(b.peer, kind("n"), "", false).await, stopped);
    let sent = b.exchange.send(a.peer, kind("n"), "", true).await.unwrap_err();
    assert!(matches!(sent, ExchangeError::Broken { .. } | ExchangeError::Busy { .. }), "{sent}");
    while !a.act(|swarm| swarm.behaviour().exchange.is_idle()).await {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn the_behaviour_needs_no_other_in_the_swarm() {
    use libp2p_swarm_test::SwarmExt;
    use peerage_exchange::{Behaviour, Config};
    use std::time::Instant;

    let alone =
        || libp2p::Swarm::new_ephemeral_tokio(|_| Behaviour::new(Config::new(Network::default())));
    let (mut a, mut b) = (alone(), alone());
    b.listen().with_memory_addr_external().await;
    a.connect(&mut b).await;
    let (open, _, mut items) =
        peerage_api::Open::new(exchange::Subscribe { kinds: vec![kind("x")] }, 1);
    b.behaviour_mut().on_command(exchange::Command::Subscribe(open), Instant::now());
    let peer = *b.local_peer_id();
    a.behaviour_mut().on_identified(peer, true);
    let (ask, sent) =
        peerage_api::Ask::new(exchange::Broadcast { kind: kind("x"), body: "hi".into() });
    a.behaviour_mut().on_command(exchange::Command::Broadcast(ask), Instant::now());
    assert_eq!(sent.await.unwrap().unwrap().sent, 1);
    tokio::spawn(a.loop_on_next());
    tokio::select! {
        item = items.recv() => assert!(item.is_some()),
        () = b.loop_on_next() => {}
    }
}

impl Node {
    async fn wait_reachable_through_relay(&self) {
        while !self
            .act(|swarm| {
                swarm.listeners().any(|a| a.iter().any(|part| part == Protocol::P2pCircuit))
            })
            .await
        {
            tokio::task::yield_now().await;
        }
    }
}
