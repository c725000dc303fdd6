//! Who may store what, and who makes room.

use std::time::{Duration, Instant};

use libp2p::{
    PeerId,
    kad::{
        ProviderRecord, Record, RecordKey,
        store::{Error, RecordStore as _},
    },
};

use super::{Limits, Records};

fn key(n: u32) -> RecordKey {
    RecordKey::new(&n.to_be_bytes())
}

fn provider(n: u32, peer: PeerId) -> ProviderRecord {
    ProviderRecord::new(key(n), peer, vec![])
}

fn records() -> (PeerId, Records) {
    let local = PeerId::random();
    (local, Records::new(local, Limits::default()))
}

#[test]
fn a_flood_from_one_publisher_displaces_nobody() {
    let (_, mut records) = records();
    let (honest, flooder, now) = (PeerId::random(), PeerId::random(), Instant::now());
    for n in 0..100 {
        records.add_provider_at(provider(n, honest), now).unwrap();
    }
    let stored =
        (1000..101_000).filter(|n| records.add_provider_at(provider(*n, flooder), now).is_ok());
    assert_eq!(stored.count(), Limits::default().max_per_publisher);
    assert!((0..100).all(|n| records.providers(&key(n)).len() == 1));
}

#[test]
fn a_full_store_keeps_what_is_nearest_and_what_is_ours() {
    let (local, mut records) = records();
    let now = Instant::now();
    records.add_provider_at(provider(u32::MAX, local), now).unwrap();
    for n in 0..20_000 {
        let _ = records.add_provider_at(provider(n, PeerId::random()), now);
    }
    assert_eq!(records.providers.len(), Limits::default().max_keys);
    assert_eq!(records.provided().len(), 1);
    let (kept, dropped): (Vec<_>, Vec<_>) =
        (0..20_000).map(key).partition(|key| records.providers.get(key).is_some());
    let furthest_kept = kept.iter().map(|key| records.providers.distance(key)).max().unwrap();
    let nearest_dropped = dropped.iter().map(|key| records.providers.distance(key)).min().unwrap();
    assert!(furthest_kept < nearest_dropped);
}

#[test]
fn what_expires_frees_its_place_and_its_quota() {
    let (_, mut records) = records();
    let (peer, now) = (PeerId::random(), Instant::now());
    for n in 0..256 {
        records.add_provider_at(provider(n, peer), now).unwrap();
    }
    assert!(records.add_provider_at(provider(256, peer), now).is_err());
    records.expire(now + Duration::from_secs(31 * 60));
    assert_eq!(records.len(), 0);
    assert!(records.provides.is_empty());
    records.add_provider_at(provider(256, peer), now).unwrap();
}

#[test]
fn a_value_that_cannot_be_sent_is_not_stored() {
    let (_, mut records) = records();
    let record = Record::new(key(1), vec![0; 16 * 1024]);
    assert!(matches!(records.put(record), Err(Error::ValueTooLarge)));
}

fn value(n: u32, publisher: PeerId, bytes: &[u8]) -> Record {
    Record { publisher: Some(publisher), ..Record::new(key(n), bytes.to_vec()) }
}

#[test]
fn a_flood_of_values_from_one_publisher_displaces_nobody() {
    let (_, mut records) = records();
    let (honest, flooder, now) = (PeerId::random(), PeerId::random(), Instant::now());
    for n in 0..100 {
        records.put_at(value(n, honest, b"honest"), false, now).unwrap();
    }
    // New keys and those of others in turn.
    let keys = (0..100_000).map(|n| if n % 2 == 0 { 1000 + n } else { n / 2 % 100 });
    let stored = keys.filter(|n| records.put_at(value(*n, flooder, b"x"), false, now).is_ok());
    assert!(stored.count() <= Limits::default().max_per_publisher);
    for n in 0..100 {
        assert_eq!(records.get(&key(n)).unwrap().value, b"honest");
    }
    assert_eq!(records.publishers[&honest], 100);
}

#[test]
fn what_this_node_provides_does_not_expire_and_goes_when_it_is_taken_back() {
    let (local, mut records) = records();
    let (other, now) = (PeerId::random(), Instant::now());
    for peer in [local, other] {
        records.add_provider_at(provider(1, peer), now).unwrap();
    }
    records.expire(now + Duration::from_secs(24 * 60 * 60));
    assert_eq!(records.provided().len(), 1, "it is put out again and again");
    assert_eq!(records.providers(&key(1)).len(), 1, "the other's is over");
    records.remove_provider(&key(1), &local);
    assert_eq!(records.len(), 0);
}

#[test]
fn a_crowd_of_providers_of_one_key_does_not_push_this_node_out() {
    let (local, mut records) = records();
    let now = Instant::now();
    records.add_provider_at(provider(1, local), now).unwrap();
    for n in 0..1000 {
        let later = now + Duration::from_secs(n);
        records.add_provider_at(provider(1, PeerId::random()), later).unwrap();
    }
    let providers = records.providers(&key(1));
    assert_eq!(providers.len(), Limits::default().max_providers_per_key);
    assert!(providers.iter().any(|record| record.provider == local));
    assert_eq!(records.provides.len(), providers.len() - 1, "those dropped are not counted");
}

#[test]
fn a_value_is_replaced_by_its_publisher_or_by_what_was_found_to_be_newer() {
    let (local, mut records) = records();
    let [one, two] = [PeerId::random(), PeerId::random()];
    let now = Instant::now();
    let held = |records: &Records| records.get(&key(1)).map(|r| (r.value.clone(), r.publisher));
    let mut put = |publisher, bytes: &[u8], replace| {
        let _ = records.put_at(value(1, publisher, bytes), replace, now);
        held(&records).unwrap()
    };
    assert_eq!(put(one, b"a", false), (b"a".to_vec(), Some(one)));
    assert_eq!(put(two, b"b", false), (b"a".to_vec(), Some(one)), "it is another's");
    assert_eq!(put(two, b"a", false), (b"a".to_vec(), Some(one)), "a copy of it");
    assert_eq!(put(one, b"c", false), (b"c".to_vec(), Some(one)));
    assert_eq!(put(two, b"d", true), (b"d".to_vec(), Some(two)), "it is newer");
    assert_eq!(put(local, b"e", false), (b"e".to_vec(), Some(local)), "our own word");
    assert_eq!(put(two, b"e", false), (b"e".to_vec(), Some(local)), "a copy of our own");
    assert!(!records.publishers.contains_key(&one) && !records.publishers.contains_key(&two));
    assert_eq!(records.publishers[&local], 1);
    let expired = now + Duration::from_secs(31 * 60);
    records.put_at(value(1, two, b"f"), false, expired).unwrap();
    assert_eq!(records.publishers.get(&local), None, "what has expired keeps nobody out");
}
