//! The facet `kv`.

use std::time::Duration;

use peerage_api::{
    Failure, Feeding, Node, Stream,
    kv::{
        self, Access, Denial, Event, GrantRequest, Kv, KvError, MAX_INLINE_BYTES, Op, Refused,
        Rights, SpaceKind, Value, Write,
    },
    types::{Author, Expected, KvKey, Space, SpaceId},
    users::Page,
};

use crate::within;

/// A key.
///
/// # Panics
/// When it is none.
#[must_use]
pub fn key(name: &str) -> KvKey {
    KvKey::new(name).expect("a literal key")
}

/// Waits until `kv` has a value under `name`.
pub async fn until(kv: &Kv, name: &str, value: impl Into<Value>) -> kv::Entry {
    let value = value.into();
    let what = format!("{name} to become {value:?}");
    within(&what, async {
        let mut events = kv.watch(name, Some(0)).await.expect("a feed");
        loop {
            match kv.get(key(name)).await {
                Ok(entry) if entry.value == value => return entry,
                Ok(_) | Err(KvError::NotFound { .. }) => _ = events.next().await,
                Err(error) => panic!("{error}"),
            }
        }
    })
    .await
}

/// The next event.
pub async fn next(what: &str, feed: &mut Stream<Event>) -> Event {
    match within(what, feed.next()).await {
        Some(Feeding::Item(item)) => item,
        other => panic!("{what}: {other:?} instead of an event"),
    }
}

/// The whole facet; the two nodes are connected.
pub async fn kv(near: &Node, far: &Node) {
    let (here, there) = (near.kv(Space::Default), far.kv(Space::Default));
    values(&here).await;
    conditions(&here).await;
    lists(&here).await;
    time(&here).await;
    watching(&here, &there).await;
    replication(near, far).await;
    spaces(near, far).await;
}

async fn values(kv: &Kv) {
    let json = serde_json::json!({ "nested": [1, 2.5, null, "x"] });
    let large: bytes::Bytes = (0..3 * MAX_INLINE_BYTES).map(|n| (n % 251) as u8).collect();
    for (name, value) in [
        ("values/text", Value::from("häuser")),
        ("values/empty", Value::from("")),
        ("values/int", Value::from(i64::MIN)),
        ("values/float", Value::from(-0.25)),
        ("values/bytes", Value::from(bytes::Bytes::from_static(&[0, 1, 255]))),
        ("values/json", Value::from(json)),
        ("values/large", Value::from(large)),
    ] {
        let applied = kv.put(key(name), value.clone()).await.unwrap();
        let entry = kv.get(key(name)).await.unwrap();
        assert_eq!((entry.value, entry.revision), (value, applied.revision), "{name}");
        assert!(matches!(entry.author, Author::Node(_)));
        assert!(entry.seq <= applied.seq);
    }
    let missing = kv.get(key("values/none")).await.unwrap_err();
    assert_eq!(missing.code(), "not_found");
    assert!(missing.to_string().contains("values/none"), "{missing}");
    let wrong = kv.put(key("values/nan"), f64::NAN).await.unwrap_err();
    assert!(matches!(wrong, KvError::BadField { .. } | KvError::Link(_)), "{wrong:?}");
    let nobody = kv.delete(key("values/none")).await.unwrap_err();
    assert!(matches!(nobody, KvError::NotFound { .. }), "{nobody:?}");
}

async fn conditions(kv: &Kv) {
    let name = || key("conditions/a");
    let first = kv.create(name(), 1).await.unwrap().revision;
    let error = kv.create(name(), 2).await.unwrap_err();
    let (expected, found) = (Expected::Absent, Expected::At(first));
    assert_eq!(error, KvError::Conflict { key: name(), expected, found });
    let second = kv.update(name(), 2, first).await.unwrap().revision;
    let error = kv.update(name(), 3, first).await.unwrap_err();
    assert!(matches!(error, KvError::Conflict { .. }), "{error:?}");
    assert_eq!(kv.get(name()).await.unwrap().value, Value::from(2));
    // All or none.
    let writes = vec![
        Write::put(key("conditions/b"), 1),
        Write::put(name(), 4).expecting(Expected::At(first)),
    ];
    kv.batch(writes).await.unwrap_err();
    assert!(kv.get(key("conditions/b")).await.is_err());
    // Of several writes to one key the last counts.
    let writes = vec![
        Write::put(key("conditions/b"), 1),
        Write::Delete { key: name(), expect: Some(Expected::At(second)) },
        Write::put(key("conditions/b"), 2),
    ];
    kv.batch(writes).await.unwrap();
    assert_eq!(kv.get(key("conditions/b")).await.unwrap().value, Value::from(2));
    assert!(kv.get(name()).await.is_err());
    let versions = kv.history(name()).await.unwrap();
    let told: Vec<_> = versions.iter().map(|version| (version.op, version.value.clone())).collect();
    let put = |number| (Op::Put, Some(Value::from(number)));
    assert_eq!(told, [(Op::Delete, None), put(2), put(1)]);
    kv.create(name(), 5).await.unwrap();
    kv.purge(name()).await.unwrap();
    let nothing = kv.purge(key("conditions/none")).await.unwrap_err();
    assert_eq!(nothing.code(), "not_found");
    let left = kv.history(name()).await;
    assert!(
        left.as_ref().is_ok_and(|left| left.iter().all(|version| version.value.is_none()))
            || matches!(left, Err(KvError::NotFound { .. })),
        "{left:?}"
    );
    assert!(kv.batch(Vec::new()).await.is_err());
}

async fn lists(kv: &Kv) {
    let writes = (0..25).map(|n| Write::put(key(&format!("lists/{n:02}")), n)).collect();
    kv.batch(writes).await.unwrap();
    let mut page = Page { limit: 10, after: None };
    let mut found = Vec::new();
    loop {
        let part = kv.list("lists/", page.clone()).await.unwrap();
        assert!(part.items.len() <= 10);
        found.extend(part.items.into_iter().map(|entry| entry.value));
        match part.next {
            Some(next) => page.after = Some(next),
            None => break,
        }
    }
    assert_eq!(found, (0..25).map(Value::from).collect::<Vec<_>>());
    let some =
        kv.range(Some(key("lists/03")), Some(key("lists/06")), Page::default()).await.unwrap();
    let keys: Vec<_> = some.items.iter().map(|entry| entry.key.as_str()).collect();
    assert_eq!(keys, ["lists/03", "lists/04", "lists/05"]);
    assert!(kv.list("lists/x", Page::default()).await.unwrap().items.is_empty());
}

async fn time(kv: &Kv) {
    let mut events = kv.watch("time/", None).await.unwrap();
    kv.put_for(key("time/short"), "soon gone", Duration::from_millis(300)).await.unwrap();
    assert!(kv.get(key("time/short")).await.unwrap().expires_ms.is_some());
    assert_eq!(next("it was put", &mut events).await.op, Op::Put);
    let gone = next("its time is over", &mut events).await;
    assert_eq!((gone.op, gone.value, gone.expired), (Op::Delete, None, true));
    assert_eq!(gone.old, Some(Value::from("soon gone")));
    // What is kept for a time is not kept beyond it.
    let versions = kv.history(key("time/short")).await.unwrap();
    assert!(versions.iter().all(|version| version.value.is_none()), "{versions:?}");
    assert!(kv.get(key("time/short")).await.is_err());
}

async fn watching(here: &Kv, there: &Kv) {
    for number in 1..=3 {
        here.put(key("watch/a"), number).await.unwrap();
    }
    let mut replay = here.watch("watch/", Some(0)).await.unwrap();
    let mut told = Vec::new();
    for number in 1..=3 {
        let event = next("what was before", &mut replay).await;
        assert_eq!(
            (event.op, event.value, event.remote),
            (Op::Put, Some(Value::from(number)), false)
        );
        told.push(event.seq);
    }
    assert!(told.is_sorted_by(|a, b| a < b), "{told:?}");
    let mut live = here.watch("watch/", Some(told[1])).await.unwrap();
    assert_eq!(next("only what is later", &mut live).await.seq, told[2]);
    until(there, "watch/a", 3).await;
    there.put(key("watch/a"), 4).await.unwrap();
    for feed in [&mut replay, &mut live] {
        let event = next("what the other side has written", feed).await;
        assert_eq!((event.value, event.remote), (Some(Value::from(4)), true));
        assert_eq!(event.old, Some(Value::from(3)));
    }
    there.delete(key("watch/a")).await.unwrap();
    let event = next("a deletion", &mut live).await;
    assert_eq!((event.op, event.value, event.remote), (Op::Delete, None, true));
    let ahead = here.watch("", Some(u64::MAX)).await.unwrap_err();
    assert_eq!(ahead.code(), "ahead");
}

async fn replication(near: &Node, far: &Node) {
    let (here, there) = (near.kv(Space::Default), far.kv(Space::Default));
    let large: bytes::Bytes = vec![7; 2 * MAX_INLINE_BYTES].into();
    here.put(key("replication/large"), large.clone()).await.unwrap();
    until(&there, "replication/large", large).await;
    let writes = (0..500).map(|n| Write::put(key(&format!("replication/{n}")), n)).collect();
    here.batch(writes).await.unwrap();
    let peer = far.id().await.unwrap().peer_id;
    let reports = within("a session", here.sync(Some(peer))).await.unwrap();
    assert_eq!((reports.len(), reports[0].peer, &reports[0].error), (1, peer, &None));
    let (ours, theirs) = (here.stats().await.unwrap(), there.stats().await.unwrap());
    assert_eq!((ours.entries, ours.tombstones), (theirs.entries, theirs.tombstones));
    assert_eq!(ours.bytes, theirs.bytes);
    assert!(ours.last_sync.is_some() && ours.replicas >= 1);
    let nobody = peerage_api::types::PeerId::random();
    let error = here.sync(Some(nobody)).await.unwrap_err();
    assert_eq!(error, KvError::NotConnected { peer: nobody });
}

async fn spaces(near: &Node, far: &Node) {
    let made = near.spaces().create("settings", None).await.unwrap();
    let space = made.space.unwrap();
    assert_eq!((made.kind, made.rights), (SpaceKind::Owned, Some(Rights::Write)));
    let again = near.spaces().create("settings", None).await.unwrap();
    assert_eq!(again.space, Some(space), "the same name is the same space");
    let (here, there) = (near.kv(Space::Owned(space)), far.kv(Space::Owned(space)));
    here.put(key("shared/a"), "one").await.unwrap();
    let error = there.get(key("shared/a")).await.unwrap_err();
    assert_eq!(error, KvError::NoSuchSpace { space: Space::Owned(space) });

    // Somebody who was not invited learns nothing, but why.
    let joined = far.spaces().join(space.to_string(), None, None).await.unwrap();
    assert_eq!((joined.access, joined.rights), (Access::None, None));
    let peer = near.id().await.unwrap().peer_id;
    let error = within("a refusal", there.sync(Some(peer))).await.unwrap_err();
    assert!(matches!(error, KvError::Refused { why: Some(Denial::NoGrant), .. }), "{error:?}");
    let error = within("the same from all", there.sync(None)).await.unwrap_err();
    let refusals = vec![Refused { peer, why: Denial::NoGrant }];
    assert_eq!(error, KvError::RefusedByAll { space: Space::Owned(space), refusals, count: 1 });
    let shown = far.spaces().show(Space::Owned(space)).await.unwrap().last_refusal;
    assert_eq!(shown.map(|last| (last.peer, last.why)), Some((peer, Denial::NoGrant)));
    assert_eq!(there.stats().await.unwrap().last_refusal, shown);
    let error = there.put(key("shared/b"), "mine").await.unwrap_err();
    assert!(matches!(error, KvError::NoGrant { .. }), "{error:?}");
    far.spaces().leave(space).await.unwrap();

    let reader = near.spaces().ticket(space, Rights::Read, "", None, None).await.unwrap();
    let joined = far.spaces().join(&reader.ticket, None, None).await.unwrap();
    assert_eq!((joined.space, joined.rights), (Some(space), Some(Rights::Read)));
    assert_eq!(until(&there, "shared/a", "one").await.value, Value::from("one"));
    let error = there.put(key("shared/b"), "mine").await.unwrap_err();
    assert!(matches!(error, KvError::NoGrant { .. }), "{error:?}");

    // A grant for some keys, and its end.
    let to = Author::of_peer(&far.id().await.unwrap().peer_id).unwrap();
    let grant = GrantRequest { to, rights: Rights::Write, prefix: "far/".into(), ttl_ms: None };
    let granted = near.spaces().grant(space, grant, None).await.unwrap();
    within("the grant to arrive", async {
        while there.put(key("far/a"), "two").await.is_err() {
            there.sync(Some(peer)).await.unwrap();
        }
    })
    .await;
    until(&here, "far/a", "two").await;
    assert!(there.put(key("shared/b"), "mine").await.is_err());
    near.spaces().revoke(space, &granted.grant.id, None).await.unwrap();
    within("the end of the grant to arrive", async {
        while there.put(key("far/b"), "three").await.is_ok() {
            there.sync(Some(peer)).await.unwrap();
        }
    })
    .await;
    assert!(here.get(key("far/b")).await.is_err());
    let shown = near.spaces().show(Space::Owned(space)).await.unwrap();
    let ended = shown.grants.iter().find(|grant| grant.id == granted.grant.id).unwrap();
    assert!(ended.revoked_ms.is_some());
    mistakes(near, space, &granted.grant.id).await;
    shut_out(near, far, space, &reader.grant.id).await;
    let error = far.spaces().join("peeragespace1qqqq", None, None).await.unwrap_err();
    assert!(matches!(error, KvError::BadTicket { .. }), "{error:?}");
    assert_eq!(near.spaces().list().await.unwrap().len(), 2);
    far.spaces().leave(space).await.unwrap();
    assert!(there.get(key("shared/a")).await.is_err());
}

/// What cannot be granted or revoked; `revoked` was.
async fn mistakes(near: &Node, space: SpaceId, revoked: &str) {
    let error = near.spaces().revoke(space, revoked, None).await.unwrap_err();
    assert!(matches!(error, KvError::AlreadyRevoked { .. }), "{error:?}");
    let error = near.spaces().revoke(space, "00".repeat(16), None).await.unwrap_err();
    assert!(matches!(error, KvError::NoSuchGrant { .. }), "{error:?}");
    let error = near.spaces().revoke(space, &revoked[..31], None).await.unwrap_err();
    assert!(matches!(error, KvError::BadField { .. }), "{error:?}");
    let prefix = "p".repeat(KvKey::MAX_LEN + 1);
    let error = near.spaces().ticket(space, Rights::Read, prefix, None, None).await.unwrap_err();
    assert!(matches!(&error, KvError::TooLarge { what, .. } if what == "the prefix"), "{error:?}");
}

/// Whose last grant is revoked is told so by whoever refuses it, and keeps what it has.
async fn shut_out(near: &Node, far: &Node, space: SpaceId, last: &str) {
    let there = far.kv(Space::Owned(space));
    near.spaces().revoke(space, last, None).await.unwrap();
    let error = within("a refusal", there.sync(None)).await.unwrap_err();
    assert!(matches!(error, KvError::RefusedByAll { .. }), "{error:?}");
    let shown = far.spaces().show(Space::Owned(space)).await.unwrap();
    assert_eq!((shown.access, shown.rights), (Access::Revoked, None));
    assert!(shown.revoked_ms.is_some() && shown.last_refusal.is_some(), "{shown:?}");
    let error = there.put(key("far/c"), "four").await.unwrap_err();
    assert!(matches!(error, KvError::Revoked { .. }) && error.is_refusal(), "{error:?}");
    assert_eq!(there.get(key("shared/a")).await.unwrap().value, Value::from("one"));
}
