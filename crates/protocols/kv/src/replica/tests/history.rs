//! Versions and changes.

use futures::FutureExt as _;

use peerage_api::kv::About;

use super::*;
use crate::bounds::HISTORY;

fn delete(name: &str) -> Write {
    Write::Delete { key: key(name), expect: None }
}

/// Number, what happened to which key, its value and the one before.
type Told = (u64, Op, String, Option<Value>, Option<Value>);

/// What is told until now, without waiting for more.
fn told(changes: &mut Changes) -> Vec<Told> {
    let mut all = Vec::new();
    while let Some(page) = changes.next().now_or_never() {
        let events = page.unwrap().into_iter();
        all.extend(events.map(|it| (it.seq, it.op, it.key.into(), it.value, it.old)));
    }
    all
}

#[tokio::test]
async fn the_last_versions_of_a_key_are_kept_with_its_deletions() {
    let (replica, ..) = replica(1).await;
    for n in 0..20 {
        replica.write(vec![put("a", n)], START).await.unwrap();
    }
    replica.write(vec![delete("a")], START).await.unwrap();
    let versions = replica.history(Space::Default, key("a")).await.unwrap();
    assert_eq!(versions.len(), HISTORY + 1);
    assert_eq!((versions[0].op, &versions[0].value), (Op::Delete, &None));
    let values: Vec<_> = versions[1..].iter().map(|version| version.value.clone()).collect();
    let expected: Vec<_> = (12..20).rev().map(|n| Some(Value::Int(n))).collect();
    assert_eq!(values, expected);
    replica.write(vec![Write::Purge { key: key("a") }], START).await.unwrap();
    let versions = replica.history(Space::Default, key("a")).await.unwrap();
    assert_eq!(versions.len(), 1, "the purge itself");
    let missing = replica.history(Space::Default, key("b")).await;
    assert!(matches!(missing, Err(KvError::NotFound { .. })));
}

#[tokio::test]
async fn changes_are_replayed_and_followed_without_gap_or_repetition() {
    let (replica, store, _) = replica(1).await;
    replica.write(vec![put("a/1", 1), put("b", 1)], START).await.unwrap();
    replica.write(vec![put("a/1", 2)], START).await.unwrap();
    let mut changes = replica.changes(Space::Default, "a/".into(), Some(0)).unwrap();
    let mut fresh = replica.changes(Space::Default, "a/".into(), None).unwrap();
    let one = |n| Some(Value::Int(n));
    let expected = vec![
        (1, Op::Put, "a/1".to_owned(), one(1), None),
        (3, Op::Put, "a/1".to_owned(), one(2), one(1)),
    ];
    assert_eq!(told(&mut changes), expected);
    assert_eq!(told(&mut fresh), []);
    replica.write(vec![put("b", 2)], START).await.unwrap();
    assert_eq!(told(&mut changes), []);
    replica.write(vec![delete("a/1")], START).await.unwrap();
    let last = (5, Op::Delete, "a/1".to_owned(), None, one(2));
    assert_eq!(told(&mut changes), std::slice::from_ref(&last));
    assert_eq!(told(&mut fresh), std::slice::from_ref(&last));
    let reopened = on(&store, 1, Limits::default()).await;
    let mut changes = reopened.changes(Space::Default, "a/".into(), Some(1)).unwrap();
    assert_eq!(told(&mut changes), [expected[1].clone(), last]);
    let ahead = reopened.changes(Space::Default, String::new(), Some(6)).unwrap_err();
    assert_eq!(ahead, KvError::Ahead { from: 6, seq: 5 });
}

#[tokio::test]
async fn every_version_that_is_kept_is_told_and_no_other() {
    let (replica, ..) = replica(1).await;
    for n in 0..300 {
        let name = format!("k{}", n % 7);
        replica.write(vec![put(&name, n)], START).await.unwrap();
    }
    let mut changes = replica.changes(Space::Default, String::new(), Some(0)).unwrap();
    let events = told(&mut changes);
    assert_eq!(events.len(), 7 * (HISTORY + 1));
    for (at, (seq, ..)) in events.iter().enumerate() {
        assert_eq!(*seq, (300 - events.len() + at + 1) as u64);
    }
}

#[tokio::test]
async fn many_changes_come_in_pages_and_all_of_them() {
    let (replica, ..) = replica(1).await;
    let writes = (0..1000).map(|n| put(format!("k{n:04}"), n)).collect();
    replica.write(writes, START).await.unwrap();
    let mut changes = replica.changes(Space::Default, "k".into(), Some(10)).unwrap();
    let first = changes.next().await.unwrap();
    assert!(first.len() < 990);
    let seqs = first.iter().map(|event| event.seq);
    let rest = told(&mut changes);
    let seqs: Vec<_> = seqs.chain(rest.iter().map(|event| event.0)).collect();
    assert_eq!(seqs, (11..=1000).collect::<Vec<_>>());
}

#[tokio::test]
async fn who_waits_is_woken_by_the_next_change() {
    let (replica, ..) = replica(1).await;
    let mut changes = replica.changes(Space::Default, String::new(), None).unwrap();
    let waiting = tokio::spawn(async move { changes.next().await });
    tokio::task::yield_now().await;
    replica.write(vec![put("a", 1)], START).await.unwrap();
    assert_eq!(waiting.await.unwrap().unwrap().len(), 1);
}

#[tokio::test]
async fn a_large_value_is_told_by_its_size_and_hash_and_whether_it_is_still_there() {
    let (replica, ..) = replica(1).await;
    let large = |byte: u8| Value::Bytes(Bytes::from(vec![byte; 200_000]));
    let hash = |byte: u8| blake3::hash(&[byte; 200_000]).to_hex().to_string();
    replica.write(vec![put("a", large(1))], START).await.unwrap();
    replica.write(vec![put("a", large(2))], START).await.unwrap();
    replica.write(vec![put("a", 3)], START).await.unwrap();
    replica.write(vec![put("b", large(4))], START).await.unwrap();
    let mut changes = replica.changes(Space::Default, String::new(), Some(0)).unwrap();
    let events = changes.next().await.unwrap();
    let of =
        |about: &Option<About>| about.clone().map(|it| (it.kind, it.size, it.hash, it.current));
    let it = |byte, current| Some((ValueKind::Bytes, 200_000, hash(byte), current));
    let told: Vec<_> = events.iter().map(|it| (of(&it.about), of(&it.old_about))).collect();
    assert_eq!(told[0], (it(1, false), None));
    assert_eq!(told[1], (it(2, false), it(1, false)));
    assert_eq!(told[2].1, it(2, false));
    assert_eq!(told[3], (it(4, true), None));
    let values: Vec<_> =
        events.iter().map(|it| (it.op, it.value.clone(), it.old.clone())).collect();
    let put = |value| (Op::Put, value, None);
    assert_eq!(values, [put(None), put(None), put(Some(Value::Int(3))), put(None)]);
}

#[tokio::test]
async fn who_follows_learns_of_an_expiry_as_such_and_what_it_has_ended() {
    let (replica, ..) = replica(1).await;
    let second = Duration::from_secs(1);
    let large = Value::Bytes(Bytes::from(vec![1; 200_000]));
    let writes = vec![put("a", 1).expiring(second), put("b", large).expiring(second), put("c", 1)];
    replica.write(writes, START).await.unwrap();
    let mut changes = replica.changes(Space::Default, String::new(), None).unwrap();
    replica.expire(START.plus(second)).await.unwrap();
    replica.write(vec![delete("c")], START.plus(second)).await.unwrap();
    let events = changes.next().await.unwrap();
    let told: Vec<_> =
        events.iter().map(|it| (it.key.as_str(), it.op, it.expired, it.old.clone())).collect();
    let (gone, one) = (Op::Delete, Some(Value::Int(1)));
    assert_eq!(
        told,
        [("a", gone, true, one.clone()), ("b", gone, true, None), ("c", gone, false, one)]
    );
    assert_eq!(events[1].old_about.as_ref().map(|old| old.size), Some(200_000));
    // Not kept beyond its time on disk, so not for whoever comes later.
    drop(changes);
    let reopened = replica.changes(Space::Default, String::new(), Some(0)).unwrap().next().await;
    assert!(reopened.unwrap().iter().any(|it| it.expired && it.key.as_str() == "b"));
    let old = replica.history(Space::Default, key("a")).await.unwrap();
    assert!(old.iter().all(|version| version.value.is_none()), "{old:?}");
}

#[tokio::test]
async fn there_is_nothing_to_purge_of_a_key_that_never_was() {
    let (replica, ..) = replica(1).await;
    let purge = |name| vec![Write::Purge { key: key(name) }];
    let never = replica.write(purge("a"), START).await;
    assert!(matches!(never, Err(KvError::NotFound { .. })), "{never:?}");
    replica.write(vec![put("a", 1)], START).await.unwrap();
    replica.write(vec![delete("a")], START).await.unwrap();
    replica.write(purge("a"), START).await.unwrap();
    let again = replica.write(purge("a"), START).await;
    assert!(matches!(again, Err(KvError::NotFound { .. })), "{again:?}");
    let both = [vec![put("b", 1)], purge("b")].concat();
    replica.write(both, START).await.unwrap();
    assert_eq!(replica.stats(Space::Default).await.unwrap().entries, 0);
}
