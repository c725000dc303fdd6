//! One publisher floods the DHT.

use futures::{AsyncReadExt as _, AsyncWriteExt as _};
use peerage_api::types::{Namespace, PeerId};
use peerage_testkit::within;

use super::{
    bytes::{bytes, framed, varint},
    hostile::Hostile,
    victim::Victim,
};

const PROTOCOL: &str = "/peerage/peerage/kad/1";
/// Records of each kind that the publisher sends.
const FLOOD: u64 = 20_000;
/// Records of each kind that the node keeps of one publisher.
const MAX_PER_PUBLISHER: usize = 256;
/// 256 values of 1 KiB and 256 provider records in a few tables: under 1 MiB, and the slack.
const MAX_GROWTH: u64 = 32 << 20;

const PUT_VALUE: u64 = 0;
const ADD_PROVIDER: u64 = 2;
const FIND_NODE: u64 = 4;

fn message(kind: u64, key: &[u8], rest: &[u8]) -> Vec<u8> {
    framed(&[&varint(1, kind)[..], &bytes(2, key), rest].concat())
}

fn provider(key: &[u8], peer: PeerId) -> Vec<u8> {
    let peer = bytes(1, peer.to_bytes());
    message(ADD_PROVIDER, key, &bytes(9, peer))
}

fn value(key: &[u8], publisher: PeerId) -> Vec<u8> {
    let record = [bytes(1, key), bytes(2, [b'x'; 1024]), bytes(666, publisher.to_bytes())];
    message(PUT_VALUE, key, &bytes(3, record.concat()))
}

#[tokio::test]
async fn a_flood_of_one_publisher_displaces_nobody_in_the_dht() {
    let victim = Victim::start().await;
    let namespace = Namespace::new("chess players").unwrap();
    let announcer = victim.honest_peer().await;
    within("the announcement", announcer.node.discovery().announce(namespace.clone()))
        .await
        .unwrap();
    let mut hostile = Hostile::connected(victim.peer_id, &victim.address).await;
    let us = hostile.peer_id();

    let mut providers = Vec::new();
    for n in 0..FLOOD {
        providers.extend(provider(format!("provided {n}").as_bytes(), us));
    }
    // Has an answer, so that all before it has been taken.
    providers.extend(message(FIND_NODE, &us.to_bytes(), &[]));
    hostile.pour(PROTOCOL, &providers).await;

    let stream = hostile.open(PROTOCOL);
    let values = async {
        let (mut answers, mut requests) = stream.await.unwrap().split();
        let ask = async {
            for n in 0..FLOOD {
                // A made-up publisher must not help.
                let value = value(format!("valued {n}").as_bytes(), PeerId::random());
                if requests.write_all(&value).await.is_err() {
                    break;
                }
            }
            let _ = requests.close().await;
        };
        let hear = async {
            let _ = answers.read_to_end(&mut Vec::new()).await;
        };
        futures::join!(ask, hear);
    };
    hostile.during("the end of the flood", values).await;

    let records = victim.node.discovery().status().await.unwrap().kad_records;
    println!("keeps {records} of {} records", 2 * FLOOD);
    assert!(records > MAX_PER_PUBLISHER, "the flood did not arrive");
    assert!(records <= 2 * MAX_PER_PUBLISHER + 1, "{records} records, one of them the announcer's");

    let seeker = victim.honest_peer().await;
    let mut found = seeker.node.discovery().find(namespace).await.unwrap();
    let provider = within("the one who announced", found.item()).await.unwrap();
    assert_eq!(provider.peer_id, announcer.peer_id);
    victim.has_survived(MAX_GROWTH).await;
}
