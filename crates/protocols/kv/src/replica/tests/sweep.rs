//! Expiry, release and burial.

use super::*;
use crate::bounds::{TOMBSTONE_LIFE, floor};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn what_is_over_reads_as_deleted_before_and_after_the_sweep() {
    let (replica, ..) = replica(1).await;
    let writes = vec![put("a", 1).expiring(SECOND), put("b", 1).expiring(2 * SECOND), put("c", 1)];
    replica.write(writes, START).await.unwrap();
    let before = replica.whole().await.summary();
    let at = |seconds| START.plus(seconds * SECOND);
    assert_eq!(replica.read("a", at(1)).await, None);
    assert_eq!(replica.expire(START).await.unwrap(), Some(at(1)));
    assert_eq!(replica.expire(at(1)).await.unwrap(), Some(at(2)));
    replica.assert_sound().await;
    assert_eq!(replica.read("a", START).await, None, "its value is gone");
    assert_eq!(replica.expire(at(5)).await.unwrap(), None);
    replica.assert_sound().await;
    assert_eq!(replica.whole().await.summary(), before, "as on who has not looked");
    let stats = replica.stats(Space::Default).await.unwrap();
    assert_eq!((stats.entries, stats.tombstones), (1, 2));
    let versions = replica.history(Space::Default, key("a")).await.unwrap();
    let ops: Vec<_> = versions.iter().map(|it| (it.op, it.value.is_some())).collect();
    assert_eq!(ops, [(Op::Delete, false), (Op::Put, false)]);
    assert_eq!((versions[0].expired, versions[1].expired), (true, false));
    let mut changes = replica.changes(Space::Default, "a".into(), Some(3)).unwrap();
    let events = changes.next().await.unwrap();
    assert_eq!((events.len(), events[0].op, events[0].expired), (1, Op::Delete, true));
    assert_eq!((&events[0].about, &events[0].old), (&None, &None), "nobody followed when it ended");
    assert_eq!(
        events[0].old_about.as_ref().map(|old| (old.kind, old.size)),
        Some((ValueKind::Int, 8))
    );
    replica.write(vec![put("a", 2).expecting(Expected::Absent)], at(6)).await.unwrap();
    assert_eq!(replica.read("a", at(9)).await, Some(Value::Int(2)));
}

#[tokio::test]
async fn an_expired_entry_is_not_sent_twice_but_to_whom_it_is_new() {
    let (replica, ..) = replica(1).await;
    replica.write(vec![put("a", 1).expiring(SECOND), put("b", 1)], START).await.unwrap();
    replica.expire(START.plus(SECOND)).await.unwrap();
    let view = replica.whole().await;
    let (sent, through) = view.since(2, None, usize::MAX).await.unwrap();
    assert_eq!((sent.len(), through), (0, view.head()));
    let (sent, _) = view.since(0, None, usize::MAX).await.unwrap();
    let names = sent.iter().map(|it| (it.signed.entry().key.as_str(), it.value.is_some()));
    let names: Vec<_> = names.collect();
    assert_eq!(names, [("a", false), ("b", true)]);
    // One replica that has it without a sweep, and one to which it comes when it is over.
    let (two, ..) = super::replica(2).await;
    let taken = two.take(1, replica.outgoing().await, START.plus(SECOND)).await;
    assert_eq!((taken.new, two.read("a", START).await), (2, None));
    assert_eq!(two.whole().await.summary(), view.summary());
}

#[tokio::test]
async fn deletions_are_forgotten_by_all_at_once_and_never_taken_again() {
    let ((one, ..), (two, ..)) = (replica(1).await, replica(2).await);
    one.write(vec![put("a", 1), put("b", 1).expiring(SECOND), put("c", 1)], START).await.unwrap();
    one.write(vec![put("a", 2)], START).await.unwrap();
    one.write(vec![Write::Delete { key: key("a"), expect: None }], START).await.unwrap();
    let sent = one.outgoing().await;
    let last = UnixMillis(START.0 + TOMBSTONE_LIFE.as_millis() as u64 - 1);
    assert_eq!(one.release(last).await.unwrap(), 0);
    two.take(1, sent.clone(), last).await;
    let due = last.plus(DAY);
    assert_eq!((floor(last) < START, floor(due) >= START), (true, true));
    assert_eq!(one.release(due).await.unwrap(), 1, "what was deleted");
    one.assert_sound().await;
    assert_eq!(one.release(due.plus(DAY)).await.unwrap(), 1, "what has expired a second later");
    one.assert_sound().await;
    assert_eq!(two.release(due.plus(DAY)).await.unwrap(), 2);
    assert_eq!(one.whole().await.summary(), two.whole().await.summary());
    assert_eq!(one.stats(Space::Default).await.unwrap().tombstones, 0);
    let gone = one.history(Space::Default, key("a")).await;
    assert!(matches!(gone, Err(KvError::NotFound { .. })));
    let again = two.take(1, sent, due.plus(DAY)).await;
    assert_eq!((again.new, again.known, again.refused), (0, 3, 0));
}

#[tokio::test]
async fn only_what_is_still_as_it_was_said_is_buried() {
    let (one, ..) = replica(1).await;
    let large = Value::Bytes(Bytes::from(vec![1; 2 << 20]));
    one.write(vec![put("a", large), put("b", 1), put("c", 1)], START).await.unwrap();
    let view = one.whole().await;
    let (all, _) = view.since(0, None, usize::MAX).await.unwrap();
    let named =
        |it: &Outgoing| (key_hash(it.signed.entry().key.as_str()), *it.signed.fingerprint());
    let dead: Vec<_> = all.iter().map(named).filter(|(hash, _)| *hash != key_hash("c")).collect();
    one.write(vec![put("b", 2)], START).await.unwrap();
    let space = one.default_space();
    assert_eq!(one.bury(&space, dead).await.unwrap(), 1);
    one.assert_sound().await;
    assert_eq!(one.read("a", START).await, None);
    assert_eq!(one.read("b", START).await, Some(Value::Int(2)));
}

#[tokio::test]
async fn a_crash_during_any_sweep_leaves_nothing_half_done() {
    for cut in 0..4 {
        let (one, store, power) = replica(1).await;
        let writes = (0..10).map(|n| put(format!("k{n}"), n).expiring(SECOND)).collect();
        one.write(writes, START).await.unwrap();
        let late = START.plus(TOMBSTONE_LIFE).plus(2 * DAY);
        power.cut_after(cut);
        let outcome = one.release(late).await;
        assert_eq!(outcome.is_ok(), cut >= 2, "one to expire, one to release");
        power.restore();
        let one = on(&store, 1, Limits::default()).await;
        one.assert_sound().await;
        one.release(late).await.unwrap();
        one.assert_sound().await;
        assert_eq!(one.whole().await.summary(), crate::Summary::default());
    }
}

#[tokio::test]
async fn a_space_that_was_left_leaves_no_row_behind_even_if_it_is_interrupted() {
    for cut in 1..4 {
        let (one, store, power) = replica(1).await;
        let id = SpaceId([9; 32]);
        let kind = peerage_api::kv::SpaceKind::Joined;
        one.join_space(id, kind, "notes".into(), START).await.unwrap();
        assert_eq!(one.spaces().len(), 2);
        power.cut_after(cut);
        let left = one.leave_space(id).await;
        assert_eq!(left.is_ok(), cut > 1);
        power.restore();
        let one = on(&store, 1, Limits::default()).await;
        assert_eq!(one.spaces().len(), 1);
        assert!(one.leave_space(one.default_space()).await.is_err());
        one.join_space(id, kind, "again".into(), START).await.unwrap();
        assert_eq!(one.audit(&id).await.unwrap(), Vec::<String>::new());
        one.join_space(id, kind, "renamed".into(), START).await.unwrap();
        let one = on(&store, 1, Limits::default()).await;
        assert_eq!(one.space(&id).unwrap().name, "renamed");
    }
}
