//! Entries of other replicas, and what is shown to them.

use proptest::prelude::*;

use peerage_api::kv::SyncReport;

use super::*;
use crate::{Item, LEAF_LEVEL, Node, Summary, bounds::MAX_DRIFT};

fn delete(name: &str) -> Write {
    Write::Delete { key: key(name), expect: None }
}

/// Entries by key as they are kept, without what is this replica's own.
async fn state(replica: &Replica) -> Vec<(KvKey, [u8; 32], [u8; 64], Option<Bytes>)> {
    let entries = replica.outgoing().await.into_iter();
    let mut all: Vec<_> = entries
        .map(|it| {
            let fingerprint = it.claimed.entry.fingerprint();
            (it.claimed.entry.key, fingerprint, it.claimed.proof.signature, it.value)
        })
        .collect();
    all.sort();
    all
}

#[tokio::test]
async fn two_replicas_that_take_all_from_each_other_are_equal() {
    let ((one, ..), (two, ..)) = (replica(1).await, replica(2).await);
    let large = Value::Bytes(Bytes::from(vec![1; 3 << 20]));
    one.write(vec![put("a", 1), put("b", 1), put("large", large)], START).await.unwrap();
    one.write(vec![put("b", 2)], START).await.unwrap();
    two.write(vec![put("b", 3), put("c", 3)], START.plus(DAY)).await.unwrap();
    two.write(vec![delete("c")], START.plus(DAY)).await.unwrap();
    let now = START.plus(DAY);
    let received = two.take(1, one.outgoing().await, now).await;
    assert_eq!((received.new, received.known, received.refused), (2, 1, 0));
    assert_eq!(received.changed, [key("a"), key("large")]);
    assert_eq!(one.take(2, two.outgoing().await, now).await.new, 2);
    assert_eq!(state(&one).await, state(&two).await);
    assert_eq!(one.whole().await.summary(), two.whole().await.summary());
    assert_eq!(one.read("b", now).await, Some(Value::Int(3)));
    assert_eq!(one.take(2, two.outgoing().await, now).await.new, 0);
}

#[tokio::test]
async fn what_is_not_as_it_was_signed_is_refused_and_nothing_is_taken() {
    let ((one, ..), (two, ..)) = (replica(1).await, replica(2).await);
    one.write((0..20).map(|n| put(format!("k{n}"), n)).collect(), START).await.unwrap();
    let good = one.outgoing().await;
    let space = two.default_space();
    let changes: [fn(&mut Incoming); 6] = [
        |it| it.claimed.entry.size += 1,
        |it| it.claimed.entry.space = SpaceId([1; 32]),
        |it| it.value = Some(Bytes::from_static(b"87654321")),
        |it| it.value = Some(Bytes::from_static(b"longer than it was")),
        |it| it.claimed.entry.expires = Some(UnixMillis(1)),
        |it| it.claimed.proof.signature[3] ^= 1,
    ];
    for (at, change) in changes.into_iter().enumerate() {
        let mut bad = good.clone();
        change(&mut bad[17]);
        let outcome = two.receive(&space, peer(1), bad, None, START).await;
        assert!(matches!(outcome, Err(ReceiveError::Misbehaviour(_))), "{at}: {outcome:?}");
        assert_eq!(two.stats(Space::Default).await.unwrap().entries, 0);
    }
    let mut without = good.clone();
    without[5].value = None;
    let received = two.take(1, without, START).await;
    assert_eq!((received.new, received.refused), (19, 1));
}

#[tokio::test]
async fn an_entry_dated_too_far_ahead_is_refused_until_its_time_comes() {
    let ((one, ..), (two, ..)) = (replica(1).await, replica(2).await);
    let ahead = START.plus(MAX_DRIFT).plus(Duration::from_millis(1));
    one.write(vec![put("a", 1)], ahead).await.unwrap();
    let sent = one.outgoing().await;
    assert_eq!(two.take(1, sent.clone(), START).await.refused, 1);
    // Nor did it move the clock.
    two.write(vec![put("b", 1)], START).await.unwrap();
    assert_eq!(two.take(1, sent, START.plus(Duration::from_millis(1))).await.new, 1);
    // Now it did: what is written now is later, though this clock is behind.
    two.write(vec![put("a", 2)], START.plus(Duration::from_millis(2))).await.unwrap();
    assert_eq!(two.read("a", START).await, Some(Value::Int(2)));
}

#[tokio::test]
async fn what_exceeds_a_quota_is_refused_and_the_rest_is_taken() {
    let (store, _) = Store::simulated();
    let limits = Limits { author_entries: 3, max_value: 100, ..Limits::default() };
    let two = on(&store, 2, limits).await;
    let (one, ..) = replica(1).await;
    one.write((0..5).map(|n| put(format!("k{n}"), n)).collect(), START).await.unwrap();
    let received = two.take(1, one.outgoing().await, START).await;
    assert_eq!((received.new, received.refused), (3, 2));
    two.write((0..3).map(|n| put(format!("mine{n}"), n)).collect(), START).await.unwrap();
    one.write(vec![put("k0", "x".repeat(101))], START).await.unwrap();
    assert_eq!(two.take(1, one.outgoing().await, START).await.refused, 3);
    assert_eq!(two.read("k0", START).await, Some(Value::Int(0)));
}

#[tokio::test]
async fn a_cursor_is_kept_with_what_was_taken_over_a_restart() {
    let (one, ..) = replica(1).await;
    let (two, store, power) = replica(2).await;
    one.write(vec![put("a", 1), put("b", 1)], START).await.unwrap();
    let cursor = Some(Cursor { epoch: 7, seq: 2 });
    let space = two.default_space();
    power.cut_after(0);
    two.receive(&space, peer(1), one.outgoing().await, cursor, START).await.unwrap_err();
    power.restore();
    let two = on(&store, 2, Limits::default()).await;
    assert_eq!(two.whole().await.peer(&peer(1)).await.unwrap(), None);
    two.receive(&space, peer(1), one.outgoing().await, cursor, START).await.unwrap();
    let two = on(&store, 2, Limits::default()).await;
    let row = two.whole().await.peer(&peer(1)).await.unwrap().unwrap();
    assert_eq!((row.cursor, row.synced_ms), (cursor, UnixMillis(0)));
    let report = SyncReport {
        peer: peer(1),
        rounds: 1,
        sent_bytes: 2,
        received_bytes: 3,
        entries_in: 4,
        entries_out: 5,
        refused: 6,
        ms: 7,
        at_ms: Some(START),
        error: None,
    };
    let equal = Some(Equal { as_of: UnixMillis(0), head: 1 });
    two.synced(&space, peer(1), report.clone(), equal, None, START).await.unwrap();
    let view = two.whole().await;
    let row = view.peer(&peer(1)).await.unwrap().unwrap();
    assert_eq!((row.cursor, row.synced_ms, row.settled), (cursor, START, 1));
    assert_eq!((view.as_of(), view.settled()), (START, 1));
    let stats = two.stats(Space::Default).await.unwrap();
    assert_eq!((stats.replicas, stats.last_sync), (1, Some(report.clone())));
    // One in which nothing travels is not worth telling of, and the same again not worth a write.
    let nothing = SyncReport { entries_in: 0, entries_out: 0, refused: 0, ..report.clone() };
    let later = START.plus(Duration::from_secs(30));
    two.synced(&space, peer(1), nothing.clone(), equal, None, later).await.unwrap();
    assert_eq!(two.stats(Space::Default).await.unwrap().last_sync, Some(report.clone()));
    // The first one with another peer is told of, and hides none in which something travelled.
    let other = SyncReport { peer: peer(3), at_ms: Some(later), ..nothing.clone() };
    two.synced(&space, peer(3), other.clone(), equal, None, later).await.unwrap();
    let stats = two.stats(Space::Default).await.unwrap();
    assert_eq!((stats.last_sync, stats.last_moved), (Some(other), Some(report)));
    power.cut_after(0);
    let later = later.plus(Duration::from_secs(30));
    two.synced(&space, peer(1), nothing.clone(), equal, None, later).await.unwrap();
    let later = later.plus(Duration::from_secs(60 * 60));
    two.synced(&space, peer(1), nothing, equal, None, later).await.unwrap_err();
}

#[tokio::test]
async fn a_view_stays_as_it_was_and_gives_each_current_version_once() {
    let (one, ..) = replica(1).await;
    one.write((0..100).map(|n| put(format!("k{n}"), n)).collect(), START).await.unwrap();
    one.write((0..50).map(|n| put(format!("k{n}"), -n)).collect(), START).await.unwrap();
    let view = one.whole().await;
    one.write(vec![put("later", 1), delete("k1")], START).await.unwrap();
    let (mut seq, mut found) = (0, Vec::new());
    while seq < view.head() {
        let (some, through) = view.since(seq, None, 2_000).await.unwrap();
        assert!(through > seq);
        found.extend(some.into_iter().map(|it| it.signed.entry().key.to_string()));
        seq = through;
    }
    assert_eq!(found.len(), 100);
    assert_eq!(&found[..2], ["k50", "k51"]);
    found.sort();
    found.dedup();
    assert_eq!(found.len(), 100);
    assert_eq!(view.summary().count, 100);
    assert_eq!(one.whole().await.summary().count, 101);
}

#[tokio::test]
async fn what_was_learned_from_a_peer_is_not_sent_back_to_it() {
    let ((one, ..), (two, ..)) = (replica(1).await, replica(2).await);
    one.write(vec![put("a", 1), put("b", 1)], START).await.unwrap();
    two.take(1, one.outgoing().await, START).await;
    two.write(vec![put("c", 1), put("b", 2)], START.plus(DAY)).await.unwrap();
    let view = two.whole().await;
    let (sent, through) = view.since(0, Some(peer(1)), usize::MAX).await.unwrap();
    let keys: Vec<_> = sent.iter().map(|it| it.signed.entry().key.as_str()).collect();
    assert_eq!((keys, through), (vec!["c", "b"], view.head()));
    assert_eq!(view.since(0, Some(peer(3)), usize::MAX).await.unwrap().0.len(), 3);
}

#[tokio::test]
async fn ranges_add_up_from_the_items_to_the_whole() {
    let (one, ..) = replica(1).await;
    one.write((0..500).map(|n| put(format!("k{n}"), n)).collect(), START).await.unwrap();
    one.write(vec![delete("k1"), put("k2", -1)], START).await.unwrap();
    let view = one.whole().await;
    let mut nodes = vec![(Node::ROOT, view.summary())];
    let mut found = 0;
    while let Some((node, expected)) = nodes.pop() {
        let items = view.items(vec![node], usize::MAX).await.unwrap().remove(0);
        let mut sum = Summary::default();
        items.iter().for_each(|Item { fingerprint, .. }| sum.add(fingerprint));
        assert_eq!(sum, expected, "{node:?}");
        assert!(items.is_sorted() && items.iter().all(|it| Node::of(&it.hash, node.level) == node));
        if node.level == LEAF_LEVEL {
            found += items.len();
            let hashes = items.iter().map(|item| item.hash).collect();
            let entries = view.find(hashes).await.unwrap();
            for (item, entry) in items.iter().zip(entries) {
                assert_eq!(entry.unwrap().signed.fingerprint(), &item.fingerprint);
            }
            continue;
        }
        let children = view.children(vec![node]).await.unwrap().remove(0);
        for (nibble, child) in (0..).zip(children).filter(|(_, child)| child.count > 0) {
            nodes.push((node.child(nibble).unwrap(), child));
        }
    }
    assert_eq!(found, 500);
    assert_eq!(view.find(vec![[0; 16]]).await.unwrap().len(), 1);
}

#[tokio::test]
async fn as_many_items_as_fit_are_given_and_one_node_at_least() {
    let (one, ..) = replica(1).await;
    one.write((0..100).map(|n| put(format!("k{n}"), n)).collect(), START).await.unwrap();
    let view = one.whole().await;
    let nodes: Vec<_> = (0..16).map(|nibble| Node::ROOT.child(nibble).unwrap()).collect();
    let all = view.items(nodes.clone(), usize::MAX).await.unwrap();
    let counts: Vec<_> = all.iter().map(Vec::len).collect();
    assert_eq!(counts.iter().sum::<usize>(), 100);
    let two = view.items(nodes.clone(), counts[0] + counts[1]).await.unwrap();
    assert_eq!(two, all[..2]);
    assert_eq!(view.items(nodes, 0).await.unwrap().len(), 1);
}

#[tokio::test]
async fn only_what_would_win_is_lacking() {
    let ((one, ..), (two, ..)) = (replica(1).await, replica(2).await);
    one.write(vec![put("a", 1), put("b", 1), put("c", 1)], START).await.unwrap();
    let space = two.default_space();
    let claimed: Vec<_> = one.outgoing().await.into_iter().map(|it| it.claimed).collect();
    assert_eq!(two.lacks(&space, &claimed).await.unwrap(), [true; 3]);
    two.take(1, one.outgoing().await.split_off(2), START).await;
    two.write(vec![put("a", 2)], START.plus(DAY)).await.unwrap();
    assert_eq!(two.lacks(&space, &claimed).await.unwrap(), [false, true, false]);
}

/// What one of three writers does to one of a few keys.
#[derive(Debug, Clone)]
enum Act {
    Put(u8, u8, i64),
    Delete(u8, u8),
    Purge(u8, u8),
    PutFor(u8, u8, u64),
}

fn act() -> impl Strategy<Value = Act> {
    let (who, what) = (0..3_u8, 0..6_u8);
    prop_oneof![
        4 => (who.clone(), what.clone(), any::<i64>()).prop_map(|(a, b, c)| Act::Put(a, b, c)),
        1 => (who.clone(), what.clone()).prop_map(|(a, b)| Act::Delete(a, b)),
        1 => (who.clone(), what.clone()).prop_map(|(a, b)| Act::Purge(a, b)),
        1 => (who, what, 1..40_u64).prop_map(|(a, b, c)| Act::PutFor(a, b, c)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn merged_in_any_order_and_repeatedly_it_is_the_merge_of_maps(
        acts in prop::collection::vec(act(), 1..40),
        order in prop::collection::vec(any::<prop::sample::Index>(), 1..80),
        cut in 1..9_usize,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut writers = Vec::new();
            for number in 1..=3 {
                writers.push(replica(number).await.0);
            }
            let mut sent = Vec::new();
            for (at, act) in acts.into_iter().enumerate() {
                let now = UnixMillis(START.0 + at as u64);
                let (who, write) = match act {
                    Act::Put(who, what, value) => (who, put(format!("k{what}"), value)),
                    Act::Delete(who, what) => (who, delete(&format!("k{what}"))),
                    Act::Purge(who, what) => (who, Write::Purge { key: key(format!("k{what}")) }),
                    Act::PutFor(who, what, ms) => {
                        let ttl = Duration::from_millis(ms);
                        (who, put(format!("k{what}"), 1).expiring(ttl))
                    }
                };
                let writer = &writers[usize::from(who)];
                let wanted = write.key().clone();
                if writer.write(vec![write], now).await.is_ok() {
                    let made = writer.outgoing().await.into_iter();
                    sent.extend(made.filter(|it| it.claimed.entry.key == wanted));
                }
            }
            let now = START.plus(DAY);
            let mut merged = std::collections::BTreeMap::new();
            for it in &sent {
                let entry = &it.claimed.entry;
                let fingerprint = entry.fingerprint();
                let rank = entry.rank(&fingerprint);
                let best = merged.entry(entry.key.clone()).or_insert(rank);
                *best = rank.max(*best);
            }
            let (shuffled, ..) = replica(4).await;
            let mut all: Vec<_> = order.iter().filter(|_| !sent.is_empty()).map(|at| at.get(&sent).clone()).collect();
            all.extend(sent.iter().cloned());
            for part in all.chunks(cut) {
                shuffled.take(1, part.to_vec(), START).await;
            }
            let found: std::collections::BTreeMap<_, _> = shuffled
                .outgoing()
                .await
                .into_iter()
                .map(|it| (it.claimed.entry.key.clone(), it.claimed.entry.rank(&it.claimed.entry.fingerprint())))
                .collect();
            assert_eq!(found, merged);
            // Whether it has looked at the time or not.
            let (late, ..) = replica(5).await;
            late.take(1, sent, now).await;
            assert_eq!(late.whole().await.summary(), shuffled.whole().await.summary());
            shuffled.expire(now).await.unwrap();
            shuffled.assert_sound().await;
            assert_eq!(late.whole().await.summary(), shuffled.whole().await.summary());
            assert_eq!(state(&late).await, state(&shuffled).await);
        });
    }
}
