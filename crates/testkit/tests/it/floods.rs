//! Peers that send too much, nonsense or nothing: the node goes on serving others in bounded memory.
//!
//! Each test has a node in a process of its own ([`victim`]) and a raw libp2p peer ([`hostile`])
//! that floods it. Nothing here depends on how long anything takes.

mod bytes;
mod gossip;
mod hostile;
mod kademlia;
mod victim;

use std::io;

use futures::{AsyncWriteExt as _, future::join_all};
use peerage_api::{exchange::MAX_BODY_BYTES, types::Multiaddr};
use peerage_testkit::within;
use tokio::{io::AsyncReadExt as _, net::TcpStream};

use bytes::number;
use hostile::Hostile;
use victim::Victim;

const EXCHANGE: &str = "/peerage/peerage/exchange/1";
/// 512 streams × the 20 KiB that a stream and its dialog hold, and the largest frame on a few.
const MAX_STREAM_GROWTH: u64 = 64 << 20;
/// 128 handshakes × 100 KiB and what the refused ones leave behind.
const MAX_HANDSHAKE_GROWTH: u64 = 32 << 20;
/// Connections it keeps with one peer.
const MAX_CONNECTIONS_PER_PEER: usize = 3;

#[tokio::test]
async fn frames_that_are_none_cost_their_stream_and_no_memory() {
    let victim = Victim::start().await;
    let mut hostile = Hostile::connected(victim.peer_id, &victim.address).await;
    let largest = [&number(MAX_BODY_BYTES as u64)[..], &[0x01, 0, 0, 1, b'x']].concat();
    let unheard = [&[5 + 100, 0x01, 0, 0, 1, b'x'][..], &[0; 100]].concat();
    for round in 0..100 {
        hostile.pour(EXCHANGE, b"\x04\xffgarbage").await;
        hostile.pour(EXCHANGE, &number(2 * MAX_BODY_BYTES as u64)).await;
        hostile.pour(EXCHANGE, &number(u64::MAX)).await;
        hostile.pour(EXCHANGE, &largest).await;
        hostile.pour(EXCHANGE, &vec![round; 100_000]).await;
        hostile.pour(EXCHANGE, &unheard.repeat(100)).await;
        hostile.pour("/peerage/peerage/link/1", &[round; 900]).await;
    }
    let unheard = victim.node.exchange().stats().await.unwrap().unheard;
    assert!(unheard >= 100, "the node read {unheard} messages: its streams were not served");
    victim.has_survived(MAX_STREAM_GROWTH).await;
}

/// What the node speaks, as it tells in identify.
async fn spoken(victim: &Victim) -> Vec<String> {
    let honest = victim.honest_peer().await;
    honest.node.peers().show(victim.peer_id).await.unwrap().protocols
}

#[tokio::test]
async fn streams_that_never_say_anything_keep_nobody_out() {
    let victim = Victim::start().await;
    let protocols = spoken(&victim).await;
    assert!(protocols.len() >= 6, "{protocols:?}");
    let mut hostile = Hostile::connected(victim.peer_id, &victim.address).await;
    let mut held = Vec::new();
    for protocol in protocols.iter().cycle().take(2000) {
        let stream = hostile.open(protocol);
        // Refused ones are as good; every other one begins a frame that it never finishes.
        let opened = hostile.during("an answer to a stream", stream).await;
        let Ok(mut stream) = opened else { continue };
        if held.len() % 2 == 0 {
            let begun = async {
                let _ = stream.write_all(&number(MAX_BODY_BYTES as u64)).await;
                let _ = stream.flush().await;
            };
            hostile.during("the beginning of a frame", begun).await;
        }
        held.push(stream);
    }
    println!("holds {} streams", held.len());
    assert!(held.len() >= protocols.len(), "it held none");
    let survived = victim.has_survived(MAX_STREAM_GROWTH);
    hostile.during("the survival", survived).await;
}

#[tokio::test]
async fn one_peer_keeps_few_connections_however_many_it_makes() {
    let victim = Victim::start().await;
    let mut hostile = Hostile::connected(victim.peer_id, &victim.address).await;
    for _ in 0..200 {
        hostile.dial(&victim.address);
    }
    let survived = victim.has_survived(MAX_HANDSHAKE_GROWTH);
    hostile.during("the survival", survived).await;
    let list = hostile.during("the list of peers", victim.node.peers().list()).await.unwrap();
    let peer = list.iter().find(|peer| peer.peer_id == hostile.peer_id()).unwrap();
    assert!(peer.connections.len() <= MAX_CONNECTIONS_PER_PEER, "{peer:?}");
}

async fn half_open(address: &Multiaddr) -> io::Result<TcpStream> {
    let port = address.to_string().split('/').nth(4).unwrap().parse().unwrap();
    TcpStream::connect(("127.0.0.1", port)).await
}

#[tokio::test]
async fn connections_that_never_shake_hands_are_let_go() {
    let victim = Victim::start().await;
    let mut held = Vec::new();
    for _ in 0..600 {
        // A full backlog is one more way of being refused.
        held.extend(half_open(&victim.address).await.ok());
    }
    assert!(held.len() > 128, "only {} were taken", held.len());
    within("its status", victim.node.status()).await.unwrap();
    // The node closes each of them, those beyond its bound at once and the others for their silence.
    let closed = held.into_iter().map(ended);
    within("the end of the silent connections", join_all(closed)).await;
    victim.has_survived(MAX_HANDSHAKE_GROWTH).await;
}

/// Whatever the node says first, and however it ends.
async fn ended(mut stream: TcpStream) {
    let _ = stream.read_to_end(&mut Vec::new()).await;
}
