//! Writes of this node, and reading them.

use peerage_wire::kv::MAX_INLINE_BYTES;

use super::*;
use crate::bounds::MAX_WAITING;

#[tokio::test]
async fn what_was_written_is_read_in_its_type_also_after_a_restart() {
    let (replica, store, _) = replica(1).await;
    let values = [
        Value::from("text"),
        Value::from(i64::MIN),
        Value::from(0.5),
        Value::from(Bytes::from_static(&[0, 255])),
        Value::Json(serde_json::json!({"a": [1, null]})),
    ];
    let writes = values.iter().enumerate().map(|(at, value)| put(format!("k{at}"), value.clone()));
    let applied = replica.write(writes.collect(), START).await.unwrap();
    assert_eq!(applied.seq, 5);
    for _ in 0..2 {
        let replica = on(&store, 1, Limits::default()).await;
        for (at, value) in values.iter().enumerate() {
            assert_eq!(replica.read(&format!("k{at}"), START).await.as_ref(), Some(value));
        }
        assert_eq!(replica.stats(Space::Default).await.unwrap().entries, 5);
    }
}

#[tokio::test]
async fn a_batch_happens_whole_or_not_at_all() {
    let (replica, ..) = replica(1).await;
    let first = replica.write(vec![put("a", 1)], START).await.unwrap();
    let batch = vec![put("b", 1), put("a", 2).expecting(Expected::Absent)];
    let error = replica.write(batch, START).await.unwrap_err();
    let found = Expected::At(first.revision);
    assert_eq!(error, KvError::Conflict { key: key("a"), expected: Expected::Absent, found });
    assert_eq!(replica.read("b", START).await, None);
    let batch = vec![put("b", 1), Write::Delete { key: key("none"), expect: None }];
    let error = replica.write(batch, START).await.unwrap_err();
    assert!(matches!(error, KvError::NotFound { .. }), "{error}");
    assert_eq!(replica.read("b", START).await, None);
    // What was not written did not move the feed.
    assert_eq!(replica.stats(Space::Default).await.unwrap().seq, first.seq);
}

#[tokio::test]
async fn only_who_knows_the_present_revision_updates() {
    let (replica, ..) = replica(1).await;
    let update = |to: i64, expected| vec![put("a", to).expecting(expected)];
    let first = replica.write(update(1, Expected::Absent), START).await.unwrap();
    let second = replica.write(update(2, Expected::At(first.revision)), START).await.unwrap();
    assert_ne!(first.revision, second.revision);
    let error = replica.write(update(3, Expected::At(first.revision)), START).await.unwrap_err();
    assert!(matches!(error, KvError::Conflict { .. }), "{error}");
    let delete = Write::Delete { key: key("a"), expect: None };
    replica
        .write(vec![delete.clone().expecting(Expected::At(second.revision))], START)
        .await
        .unwrap();
    assert_eq!(replica.read("a", START).await, None);
    assert!(matches!(replica.write(vec![delete], START).await, Err(KvError::NotFound { .. })));
    replica.write(update(4, Expected::Absent), START).await.unwrap();
    assert_eq!(replica.read("a", START).await, Some(Value::Int(4)));
}

#[tokio::test]
async fn of_several_writes_to_one_key_the_last_one_counts_and_all_conditions_hold() {
    let (replica, ..) = replica(1).await;
    let delete = || Write::Delete { key: key("a"), expect: None };
    replica.write(vec![put("a", 1), delete(), put("b", 1), put("a", 3)], START).await.unwrap();
    assert_eq!(replica.read("a", START).await, Some(Value::Int(3)));
    assert_eq!(replica.history(Space::Default, key("a")).await.unwrap().len(), 1);
    let batch = vec![put("a", 4).expecting(Expected::Absent), put("a", 5)];
    replica.write(batch, START).await.unwrap_err();
    replica
        .write(vec![put("c", 1), Write::Delete { key: key("c"), expect: None }], START)
        .await
        .unwrap();
    assert_eq!(replica.read("c", START).await, None);
}

#[tokio::test]
async fn a_large_value_is_kept_whole_and_goes_with_its_entry() {
    let (replica, ..) = replica(1).await;
    let value = |byte, len| Value::Bytes(Bytes::from(vec![byte; len]));
    let large = value(7, (5 << 20) + 3);
    replica.write(vec![put("a", large.clone())], START).await.unwrap();
    assert_eq!(replica.read("a", START).await, Some(large));
    let small = value(8, 65 << 10);
    replica.write(vec![put("a", small.clone())], START).await.unwrap();
    assert_eq!(replica.read("a", START).await, Some(small));
    let versions = replica.history(Space::Default, key("a")).await.unwrap();
    assert_eq!(versions[1].value, None, "too large to be kept");
    assert_eq!(versions[1].size, (5 << 20) + 3);
    replica.write(vec![Write::Delete { key: key("a"), expect: None }], START).await.unwrap();
    let error = replica.write(vec![put("a", value(0, (16 << 20) + 1))], START).await.unwrap_err();
    assert!(matches!(error, KvError::TooLarge { .. }), "{error}");
}

#[tokio::test]
async fn values_that_others_could_not_read_are_refused() {
    let (replica, ..) = replica(1).await;
    let mut deep = serde_json::json!(1);
    for _ in 0..200 {
        deep = serde_json::json!([deep]);
    }
    for value in [Value::Float(f64::NAN), Value::Json(deep)] {
        let error = replica.write(vec![put("a", value)], START).await.unwrap_err();
        assert!(matches!(error, KvError::BadField { .. }), "{error}");
    }
}

#[tokio::test]
async fn a_quota_stops_what_grows_and_nothing_else() {
    let (store, _) = Store::simulated();
    let limits = Limits { space_entries: 2, space_bytes: 20, ..Limits::default() };
    let replica = on(&store, 1, limits).await;
    replica.write(vec![put("a", "1234"), put("b", "1234")], START).await.unwrap();
    let error = replica.write(vec![put("c", "1")], START).await.unwrap_err();
    assert!(matches!(error, KvError::Quota { max: 2, .. }), "{error}");
    let error = replica.write(vec![put("a", "12345678901234567890")], START).await.unwrap_err();
    assert!(matches!(error, KvError::Quota { max: 20, .. }), "{error}");
    replica.write(vec![put("a", "4321")], START).await.unwrap();
    replica.write(vec![Write::Delete { key: key("a"), expect: None }], START).await.unwrap();
    replica.write(vec![put("b", "1")], START).await.unwrap();
}

#[tokio::test]
async fn pages_hold_every_key_of_a_prefix_once_and_in_order() {
    let (replica, ..) = replica(1).await;
    let names: Vec<_> = (0..25).map(|n| format!("a/{n:02}")).collect();
    let others = ["a", "b", "a0", "a/00/x"].map(|name| put(name, 1));
    let all = names.iter().map(|name| put(name, 1)).chain(others);
    replica.write(all.collect(), START).await.unwrap();
    replica.write(vec![Write::Delete { key: key("a/07"), expect: None }], START).await.unwrap();
    let (mut after, mut found) = (None, Vec::new());
    loop {
        let page = Page { limit: 10, after };
        let (prefix, from, to) = ("a/".into(), None, None);
        let ask = peerage_api::kv::List { space: Space::Default, prefix, from, to, page };
        let list = replica.list(ask, START).await.unwrap();
        assert!(list.items.len() <= 10);
        found.extend(list.items.into_iter().map(|entry| entry.key.to_string()));
        after = list.next;
        if after.is_none() {
            break;
        }
    }
    let mut expected: Vec<_> = names.into_iter().filter(|name| name != "a/07").collect();
    expected.insert(1, "a/00/x".into());
    assert_eq!(found, expected);
    let range = |from: &str, to: &str| peerage_api::kv::List {
        space: Space::Default,
        prefix: String::new(),
        from: Some(key(from)),
        to: Some(key(to)),
        page: Page::default(),
    };
    let list = replica.list(range("a/03", "a/05"), START).await.unwrap();
    let found: Vec<_> = list.items.iter().map(|entry| entry.key.as_str()).collect();
    assert_eq!((found, list.next), (vec!["a/03", "a/04"], None));
    assert_eq!(replica.list(range("b", "a"), START).await.unwrap().items, []);
}

#[tokio::test]
async fn the_clock_never_goes_back_not_even_over_a_restart() {
    let (replica, store, _) = replica(1).await;
    let late = START.plus(Duration::from_secs(3600));
    let first = replica.write(vec![put("a", 1)], late).await.unwrap();
    let reopened = on(&store, 1, Limits::default()).await;
    let soon = UnixMillis(late.0 - 59_000);
    let second = reopened.write(vec![put("a", 2)], soon).await.unwrap();
    assert!(second.revision > first.revision);
    let error = reopened.write(vec![put("a", 3)], START).await.unwrap_err();
    assert!(matches!(error, KvError::Clock { seconds: 3600 }), "{error}");
}

#[tokio::test]
async fn a_crash_at_any_write_leaves_all_of_a_batch_or_nothing() {
    let (replica, store, power) = replica(1).await;
    replica.write((0..20).map(|n| put(format!("k{n}"), 0)).collect(), START).await.unwrap();
    for round in 1..12 {
        power.cut_after(round % 2);
        let replica = on(&store, 1, Limits::default()).await;
        let writes = (0..20).map(|n| put(format!("k{n}"), round as i64)).collect();
        let outcome = replica.apply(Space::Default, replica.local(), writes, START).await;
        assert_eq!(outcome.is_ok(), round % 2 == 1);
        power.restore();
        let replica = on(&store, 1, Limits::default()).await;
        replica.assert_sound().await;
        let expected = round as i64 - i64::from(round % 2 == 0);
        for n in 0..20 {
            assert_eq!(replica.read(&format!("k{n}"), START).await, Some(Value::Int(expected)));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_was_put_is_read_at_once_while_others_put() {
    let replica = on(&Store::in_memory(), 1, Limits::default()).await;
    let tasks = (0..8).map(|task| {
        let replica = replica.clone();
        tokio::spawn(async move {
            let name = format!("k{task}");
            for number in 0..50 {
                let writes = vec![put(&name, number)];
                replica.apply(Space::Default, replica.local(), writes, START).await.unwrap();
                assert_eq!(replica.read(&name, START).await, Some(Value::Int(number)));
            }
            let delete = vec![Write::Delete { key: key(&name), expect: None }];
            replica.apply(Space::Default, replica.local(), delete, START).await.unwrap();
            assert_eq!(replica.read(&name, START).await, None);
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    replica.assert_sound().await;
}

#[tokio::test]
async fn summaries_are_right_while_changes_wait_and_when_they_are_brought_in() {
    let (replica, store, _) = replica(1).await;
    let waiting = || {
        let read = store.kv().read_blocking(|snapshot| {
            let no = replica.named(Space::Default).unwrap().place.no;
            sums::waiting(snapshot, no)
        });
        read.unwrap().len()
    };
    let mut most = 0;
    for n in 0..2 * MAX_WAITING {
        let before = waiting();
        // Each is checked by an audit.
        replica.write(vec![put(format!("k{n}"), 1)], START).await.unwrap();
        assert!(waiting() == before + 1 || (waiting() == 0 && before == MAX_WAITING));
        most = most.max(waiting());
    }
    assert_eq!(most, MAX_WAITING);
    for n in 0..MAX_WAITING {
        let write = Write::Delete { key: key(format!("k{n}")), expect: None };
        replica.write(vec![write], START).await.unwrap();
    }
    let many = (0..100).map(|n| put(format!("k{n}"), 2));
    replica.write(many.collect(), START).await.unwrap();
    assert_eq!(waiting(), 0);
    assert_eq!(replica.whole().await.summary().count, 2 * MAX_WAITING as u64);
}

#[tokio::test]
async fn while_the_disk_is_slow_and_for_large_values_reads_are_waited_for() {
    let (replica, ..) = replica(1).await;
    let large = Bytes::from(vec![7; MAX_INLINE_BYTES + 1]);
    let all = vec![put("a", 1), put("large", Value::Bytes(large.clone()))];
    replica.write(all, START).await.unwrap();
    let at_once = |name: &str| replica.get_at_once(Space::Default, &key(name), START);
    assert!(at_once("a").unwrap().is_ok() && at_once("b").unwrap().is_err());
    assert_eq!(at_once("large"), None);
    assert_eq!(replica.read("large", START).await, Some(Value::Bytes(large)));
    replica.inner.pace.slow_down();
    assert_eq!(at_once("a"), None);
    assert_eq!(replica.read("b", START).await, None);
    while at_once("a").is_none() {
        assert_eq!(replica.read("a", START).await, Some(Value::Int(1)));
    }
}

#[tokio::test]
async fn what_is_read_again_is_never_older_than_what_was_written() {
    let (replica, ..) = replica(1).await;
    for number in 0..20 {
        replica.write(vec![put("a", number), put("b", number)], START).await.unwrap();
        assert_eq!(replica.read("a", START).await, Some(Value::Int(number)));
    }
    let expiring = put("a", 1).expiring(Duration::from_secs(1));
    replica.write(vec![expiring], START).await.unwrap();
    assert_eq!(replica.read("a", START).await, Some(Value::Int(1)));
    assert_eq!(replica.read("a", START.plus(Duration::from_secs(1))).await, None);
    replica.write(vec![put("a", 2)], START).await.unwrap();
    assert_eq!(replica.read("a", START).await, Some(Value::Int(2)));
    let item = replica.outgoing().await.into_iter().find(|it| it.claimed.entry.key == key("a"));
    let entry = item.unwrap().claimed.entry;
    let dead = vec![(key_hash("a"), entry.fingerprint())];
    assert_eq!(replica.bury(&replica.default_space(), dead).await, Ok(1));
    assert_eq!(replica.read("a", START).await, None, "it was buried");
}
