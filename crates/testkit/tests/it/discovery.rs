//! How nodes find each other when they know only one.

use std::time::Instant;

use peerage_api::{
    peers::{self, Source},
    types::{Multiaddr, Namespace, PeerId},
};
use peerage_net::{Profile, Running, Settings, start};
use peerage_testkit::{loopback, within};

/// Nodes of the crowd.
const CROWD: usize = 50;
/// Peers of one bucket.
const K: usize = 8;

async fn bootstrap() -> Running {
    start(Settings { profile: Profile::Bootstrap, ..loopback() }).await.unwrap()
}

fn knowing(node: &Running) -> Settings {
    Settings { bootstrap: vec![node.listen[0].clone()], ..loopback() }
}

/// How many peers the buckets of `node` hold at best.
fn capacity(node: &PeerId, others: &[PeerId]) -> usize {
    use libp2p::kad::KBucketKey;
    let here = KBucketKey::from(*node);
    let mut buckets = [0; 256];
    for other in others.iter().filter(|other| *other != node) {
        if let Some(bucket) = here.distance(&KBucketKey::from(*other)).ilog2() {
            buckets[bucket as usize] += 1;
        }
    }
    buckets.into_iter().map(|count: usize| count.min(K)).sum()
}

/// CPU time of this process in ms: says whether the nodes waited or the machine was busy.
fn cpu_ms() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields = stat.rsplit_once(')').unwrap().1.split_whitespace();
    // User and system time, in ticks of 10 ms.
    fields.skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap() * 10).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_nodes_with_one_bootstrap_fill_their_routing_tables() {
    let first = bootstrap().await;
    let mut nodes = Vec::new();
    let begin = Instant::now();
    for _ in 1..CROWD {
        nodes.push(start(knowing(&first)).await.unwrap());
    }
    let started = begin.elapsed();
    nodes.push(first);
    let ids: Vec<_> = nodes.iter().map(|node| node.peer_id).collect();
    let filled = async {
        for node in &nodes {
            let capacity = capacity(&node.peer_id, &ids);
            let mut events = node.node.peers().events().await.unwrap();
            // Every new entry comes with a connection or its identify.
            while node.node.discovery().status().await.unwrap().kad_peers < capacity * 9 / 10 {
                events.item().await.unwrap();
            }
        }
    };
    within("that the routing tables are full", filled).await;
    let (full, cpu) = (begin.elapsed(), cpu_ms());
    println!(
        "{CROWD} nodes: started after {started:?}, tables full after {full:?}; {cpu} ms of CPU"
    );
    for node in nodes {
        within("the stop", node.stop()).await;
    }
}

#[tokio::test]
async fn the_routing_table_of_a_node_is_there_after_a_restart() {
    let first = bootstrap().await;
    let other = start(knowing(&first)).await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let data = Some(dir.path().join("home"));
    let settings = Settings { data: data.clone(), ..knowing(&first) };
    let node = start(settings).await.unwrap();
    let mut events = node.node.peers().events().await.unwrap();
    let has_two = async {
        while node.node.discovery().status().await.unwrap().kad_peers < 2 {
            events.item().await.unwrap();
        }
    };
    within("that both are in the table", has_two).await;
    within("the stop", node.stop()).await;
    within("the stop", first.stop()).await;
    within("the stop", other.stop()).await;

    let again = start(Settings { data, ..loopback() }).await.unwrap();
    assert_eq!(again.node.discovery().status().await.unwrap().kad_peers, 2, "with nobody there");
    within("the stop", again.stop()).await;
}

/// Without mDNS and Kademlia.
fn quiet() -> Settings {
    Settings { kad: false, ..loopback() }
}

/// What `node` knows of `wanted` once it is connected with it and has been told where it listens.
async fn connected(node: &Running, wanted: &Running) -> peers::Known {
    let listens = |a: &Multiaddr| {
        let named = a.clone().with_p2p(wanted.peer_id).unwrap();
        wanted.listen.contains(&named)
    };
    let mut events = node.node.peers().events().await.unwrap();
    let connected = async {
        loop {
            if let Ok(known) = node.node.peers().show(wanted.peer_id).await
                && known.connected.is_some()
                && known.addresses.iter().any(|known| listens(&known.address))
            {
                return known;
            }
            let _: peers::Event = events.item().await.unwrap();
        }
    };
    within("that they are connected", connected).await
}

#[tokio::test]
async fn two_nodes_that_know_only_a_third_meet_and_find_each_other_without_any_dht() {
    let middle = start(quiet()).await.unwrap();
    let knows = || Settings { bootstrap: vec![middle.listen[0].clone()], ..quiet() };
    let (one, two) = (start(knows()).await.unwrap(), start(knows()).await.unwrap());
    let (of_two, of_one) = (connected(&one, &two).await, connected(&two, &one).await);
    // Either may have dialled before the other was told of it.
    let sources = [of_two.sources, of_one.sources].concat();
    assert!(sources.contains(&Source::Pex), "{sources:?}");

    let chess = Namespace::new("chess players").unwrap();
    let announced = two.node.discovery().announce(chess.clone()).await.unwrap();
    assert_eq!(announced.sources, [Source::Pex]);
    let found = within("that it is found", async {
        loop {
            // The word has yet to spread.
            let mut found = one.node.discovery().find(chess.clone()).await.unwrap();
            if let Some(found) = found.item().await {
                return found;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!((found.peer_id, found.source), (two.peer_id, Source::Pex));
    for node in [one, two, middle] {
        within("the stop", node.stop()).await;
    }
}
