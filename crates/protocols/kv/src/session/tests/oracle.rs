//! What is found to differ is what others find.

use std::collections::{BTreeMap, BTreeSet};

use negentropy::{Id, Negentropy, NegentropyStorageVector};
use proptest::prelude::*;

use super::*;
use crate::key_hash;

/// The ids that each side lacks, as `negentropy` finds them.
fn differences(ours: &[Item], theirs: &[Item]) -> (BTreeSet<[u8; 32]>, BTreeSet<[u8; 32]>) {
    let storage = |items: &[Item]| {
        let mut storage = NegentropyStorageVector::new();
        for item in items {
            storage.insert(0, Id::from_byte_array(item.fingerprint)).unwrap();
        }
        storage.seal().unwrap();
        storage
    };
    let mut client = Negentropy::owned(storage(ours), 0).unwrap();
    let mut server = Negentropy::owned(storage(theirs), 0).unwrap();
    let mut query = client.initiate().unwrap();
    let (mut have, mut need) = (Vec::new(), Vec::new());
    loop {
        let answer = server.reconcile(&query).unwrap();
        match client.reconcile_with_ids(&answer, &mut have, &mut need).unwrap() {
            Some(next) => query = next,
            None => break,
        }
    }
    let set = |ids: Vec<Id>| ids.into_iter().map(|id| id.to_bytes()).collect();
    (set(have), set(need))
}

/// Replicas that have never met, with some entries in common.
async fn pair(both: u32, ours: u32, theirs: u32) -> (Peer, Peer) {
    let (one, two, source) = (peer(1).await, peer(2).await, peer(3).await);
    source.fill("both", 0..both).await;
    for peer in [&one, &two] {
        meet_quickly(peer, &source).await;
    }
    one.fill("one", 0..ours).await;
    two.fill("two", 0..theirs).await;
    (one, two)
}

#[tokio::test]
async fn exactly_the_entries_that_negentropy_finds_travel() {
    for (both, ours, theirs) in [(0, 50, 60), (300, 0, 1), (2_000, 10, 0), (700, 33, 80), (9, 1, 1)]
    {
        let (one, two) = pair(both, ours, theirs).await;
        let (have, need) = differences(&one.items().await, &two.items().await);
        assert_eq!((have.len() as u32, need.len() as u32), (ours, theirs));
        let (first, second) = meet(&one, &two).await;
        assert!(first.equal);
        let (first, second) = (first.report, second.report);
        assert_eq!((first.entries_out, first.entries_in), (have.len() as u64, need.len() as u64));
        assert_eq!((second.entries_out, second.entries_in), (need.len() as u64, have.len() as u64));
        assert_equal(&one, &two).await;
    }
}

/// Writes of three replicas: who, which key, when, and whether it is a deletion.
fn writes() -> impl Strategy<Value = Vec<(u8, u8, u16, bool)>> {
    prop::collection::vec((0..3_u8, any::<u8>(), any::<u16>(), any::<bool>()), 0..120)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn whatever_was_written_where_all_end_with_the_latest(writes in writes(), order in prop::collection::vec(0..3_usize, 3)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let peers = [peer(1).await, peer(2).await, peer(3).await];
            for (who, name, at, deletes) in &writes {
                let (peer, name) = (&peers[usize::from(*who)], format!("{name}"));
                let now = START.plus(Duration::from_millis(u64::from(*at) / 4));
                let write = if *deletes && peer.read(&name, now).await.is_some() {
                    delete(name)
                } else {
                    put(name, i64::from(*at))
                };
                peer.write(vec![write], now).await;
            }
            // The oracle: of each key the greatest rank of all.
            let mut winners = BTreeMap::new();
            for peer in &peers {
                let (entries, _) = peer.view().await.since(0, None, usize::MAX).await.unwrap();
                for it in entries {
                    let (entry, fingerprint) = (it.signed.entry(), it.signed.fingerprint());
                    let rank = entry.rank(fingerprint);
                    let best = winners.entry(key_hash(entry.key.as_str())).or_insert(rank);
                    *best = rank.max(*best);
                }
            }
            let now = START.plus(DAY);
            let next = |at: usize| (at + 1) % 3;
            for first in order.into_iter().chain([0, 1, 2, 0, 1, 2]) {
                let (ours, _) = meet_at(&peers[first], &peers[next(first)], now).await;
                assert!(ours.equal);
            }
            let expected: Vec<_> = winners.into_iter().map(|(hash, rank)| (hash, rank.2)).collect();
            for peer in &peers {
                let items: Vec<_> =
                    peer.items().await.into_iter().map(|it| (it.hash, it.fingerprint)).collect();
                assert_eq!(items, expected);
            }
        });
    }
}
