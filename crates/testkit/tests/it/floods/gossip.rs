//! One peer floods gossip.

use libp2p::identity::Keypair;
use peerage_api::{pubsub::Event, types::Topic};
use peerage_net::start;
use peerage_testkit::{loopback, within};

use super::{
    bytes::{bytes, framed, number, varint},
    hostile::Hostile,
    victim::Victim,
};

const PROTOCOL: &str = "/meshsub/1.1.0";
/// What a node remembers of one peer's topics: 256 × 128 bytes of names in a few tables, and the
/// allocator's slack.
const MAX_TOPIC_GROWTH: u64 = 32 << 20;
/// Gossip keeps the messages of five heartbeats, however many: at worst the whole flood of 20,000,
/// each about 2.5 KiB with its id and its place in three tables = 50 MiB, and as much in slack.
const MAX_GOSSIP_GROWTH: u64 = 128 << 20;
/// Topics the node counts of one peer.
const MAX_TOPICS_PER_PEER: usize = 256;

fn subscription(topic: &str, subscribe: bool) -> Vec<u8> {
    bytes(1, [varint(1, subscribe.into()), bytes(2, topic)].concat())
}

#[tokio::test]
async fn thousands_of_topics_of_one_peer_are_not_remembered() {
    let victim = Victim::start().await;
    let mut events = victim.node.pubsub().events().await.unwrap();
    let mut hostile = Hostile::connected(victim.peer_id, &victim.address).await;
    let name = |n: u32| format!("{n}-{}", "x".repeat(100));
    let mut flood = Vec::new();
    for batch in 0..200 {
        let topics = (0..100).map(|n| subscription(&name(100 * batch + n), true));
        flood.extend(framed(&topics.collect::<Vec<_>>().concat()));
    }
    hostile.pour(PROTOCOL, &flood).await;
    // All at once, which is more than one message may hold; less than the window of a stream, as
    // yamux does not tell a writer that waits for more of it that the reader has gone.
    let topics = (0..1500).map(|n| subscription(&name(n), true));
    hostile.pour(PROTOCOL, &framed(&topics.collect::<Vec<_>>().concat())).await;
    // Makes room again, and shows that all was read to here.
    let last = [subscription(&name(0), false), subscription("after the flood", true)].concat();
    hostile.pour(PROTOCOL, &framed(&last)).await;
    let after = async {
        while !matches!(events.item().await, Some(Event::Joined { topic, .. }) if topic == "after the flood")
        {
        }
    };
    hostile.during("the subscription after the flood", after).await;
    let topics = victim.node.pubsub().topics().await.unwrap();
    assert!(topics.len() <= MAX_TOPICS_PER_PEER, "{} topics", topics.len());
    victim.has_survived(MAX_TOPIC_GROWTH).await;
}

/// A gossip message in its envelope; signed with `keys` if there are any.
fn gossip(keys: Option<&Keypair>, seq: u64, topic: &str, len: usize) -> Vec<u8> {
    let from = keys.map(|keys| keys.public().to_peer_id().to_bytes());
    let mut message = from.map_or_else(Vec::new, |from| bytes(1, from));
    message.extend(bytes(2, vec![b'x'; len]));
    message.extend(bytes(3, seq.to_be_bytes()));
    message.extend(bytes(4, topic));
    if let Some(keys) = keys {
        let signature = keys.sign(&[b"libp2p-pubsub:", &message[..]].concat()).unwrap();
        message.extend(bytes(5, signature));
        message.extend(bytes(6, keys.public().encode_protobuf()));
    }
    framed(&bytes(2, message))
}

/// A message of an honest node, which was there before the `flood`, arrives after it.
async fn gossips_after(victim: &Victim, topic: &Topic, flood: impl AsyncFnOnce()) {
    let honest = start(loopback()).await.unwrap();
    let mut joined = honest.node.pubsub().events().await.unwrap();
    victim.connected_by(&honest).await;
    let _own = honest.node.pubsub().subscribe(topic.clone()).await.unwrap();
    let subscribed = async {
        while !matches!(joined.item().await, Some(Event::Joined { peer, .. }) if peer == victim.peer_id)
        {
        }
    };
    within("the victim's subscription", subscribed).await;
    flood().await;
    // A new reader, whose queue the flood has not filled.
    let mut news = victim.node.pubsub().subscribe(topic.clone()).await.unwrap();
    honest.node.pubsub().publish(topic.clone(), "honest").await.unwrap();
    let arrived = async { while news.item().await.unwrap().from != honest.peer_id {} };
    within("the honest message", arrived).await;
}

#[tokio::test]
async fn unsigned_and_oversized_gossip_is_never_delivered() {
    let victim = Victim::start().await;
    let topic = Topic::new("news").unwrap();
    let mut all = victim.node.pubsub().subscribe(topic.clone()).await.unwrap();
    let mut hostile = Hostile::connected(victim.peer_id, &victim.address).await;
    let forger = Keypair::generate_ed25519();
    let unsigned: Vec<_> = (0..20_000).flat_map(|n| gossip(None, n, "news", 1024)).collect();
    let mut forged = gossip(Some(&forger), 1, "news", 1024);
    let signed = forged.windows(4).position(|part| part == b"xxxx").unwrap();
    forged[signed] = b'y';
    let oversized = gossip(Some(&hostile.keys), 2, "news", 200_000);
    gossips_after(&victim, &topic, async || {
        let garbage = [&number(u64::MAX)[..], b"garbage"].concat();
        for flood in [unsigned, forged, oversized, garbage] {
            hostile.pour(PROTOCOL, &flood).await;
        }
    })
    .await;
    assert_eq!(all.item().await.unwrap().data.as_text(), Some("honest"));
    victim.has_survived(MAX_GOSSIP_GROWTH).await;
}

#[tokio::test]
async fn a_flood_of_valid_gossip_does_not_drown_an_honest_message() {
    let victim = Victim::start().await;
    let topic = Topic::new("news").unwrap();
    let mut hostile = Hostile::connected(victim.peer_id, &victim.address).await;
    let keys = hostile.keys.clone();
    let flood: Vec<_> = (0..20_000).flat_map(|n| gossip(Some(&keys), n, "news", 1024)).collect();
    let _reader = victim.node.pubsub().subscribe(topic.clone()).await.unwrap();
    gossips_after(&victim, &topic, async || {
        hostile.pour(PROTOCOL, &flood).await;
        let accepted = async || victim.node.pubsub().stats().await.unwrap().accepted;
        let all = async { while accepted().await < 20_000 {} };
        within("the acceptance of the flood", all).await;
    })
    .await;
    victim.has_survived(MAX_GOSSIP_GROWTH).await;
}
