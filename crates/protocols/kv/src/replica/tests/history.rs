//! Versions and changes.

use futures::FutureExt as _;

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
