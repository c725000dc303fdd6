use std::collections::BTreeMap;

use peerage_types::Payload;
use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};

use super::*;

const NOW: UnixMillis = UnixMillis(1_000);

fn index() -> Index {
    Index::new(ServiceName::new("org.example.notes").unwrap())
}

fn put(key: &str, value: &str) -> Write {
    let (key, value) = (key.to_owned(), Payload::from(value.to_owned()));
    Write::Put { key, value, if_revision: None, ttl_ms: None }
}

fn put_if(key: &str, if_revision: u64) -> Write {
    let (key, value) = (key.to_owned(), Payload::from("x"));
    Write::Put { key, value, if_revision: Some(if_revision), ttl_ms: None }
}

fn put_for(key: &str, ttl_ms: u64) -> Write {
    let (key, value) = (key.to_owned(), Payload::from("x"));
    Write::Put { key, value, if_revision: None, ttl_ms: Some(ttl_ms) }
}

fn delete(key: &str, if_revision: Option<u64>) -> Write {
    Write::Delete { key: key.to_owned(), if_revision }
}

fn apply(index: &mut Index, writes: Vec<Write>, now: UnixMillis) -> Result<Plan, StorageError> {
    let plan = index.plan(writes, now)?;
    index.adopt(&plan);
    Ok(plan)
}

fn keys(index: &Index, prefix: &str, now: UnixMillis) -> Vec<String> {
    let (keys, more) = index.page(prefix, None, 1000, now);
    assert!(!more);
    keys.iter().map(|(key, _)| key.to_string()).collect()
}

#[test]
fn a_batch_has_one_revision_and_its_last_write_of_a_key_counts() {
    let mut index = index();
    let writes = vec![put("a", "1"), put("b", "1"), put_if("a", 1), delete("b", Some(1))];
    let plan = apply(&mut index, writes, NOW).unwrap();
    assert_eq!(plan.revision, 1);
    assert_eq!(keys(&index, "", NOW), ["a"]);
    assert_eq!(plan.events().len(), 2);
    assert_eq!(apply(&mut index, vec![put("c", "")], NOW).unwrap().revision, 2);
}

#[test]
fn a_condition_that_does_not_hold_refuses_the_whole_batch() {
    let mut index = index();
    apply(&mut index, vec![put("a", "1")], NOW).unwrap();
    let conflict =
        |expected, found| Err(StorageError::Conflict { key: "a".into(), expected, found });
    for (write, refused) in [
        (put_if("a", 0), conflict(0, 1)),
        (put_if("a", 7), conflict(7, 1)),
        (delete("a", Some(2)), conflict(2, 1)),
        (delete("x", None), Err(index.not_found("x".into()))),
        (delete("x", Some(0)), Err(index.not_found("x".into()))),
    ] {
        let refusal = index.plan(vec![put("b", "1"), write], NOW).map(|_| ());
        assert_eq!(refusal, refused);
    }
    let gone = vec![delete("a", Some(1)), put_if("a", 1)];
    assert_eq!(index.plan(gone, NOW).map(|_| ()), conflict(1, 0));
    assert_eq!(keys(&index, "", NOW), ["a"]);
    apply(&mut index, vec![put_if("a", 1), put_if("new", 0)], NOW).unwrap();
}

#[test]
fn what_is_over_is_invisible_at_once_and_removed_later() {
    let mut index = index();
    apply(&mut index, vec![put_for("a", 10), put_for("b", 20), put("c", "")], NOW).unwrap();
    let later = UnixMillis(NOW.0 + 10);
    assert_eq!(keys(&index, "", UnixMillis(NOW.0 + 9)), ["a", "b", "c"]);
    assert_eq!(index.next_expiry(), Some(UnixMillis(NOW.0 + 10)));
    assert_eq!(keys(&index, "", later), ["b", "c"]);
    assert!(index.plan(vec![delete("a", None)], later).is_err());
    assert!(index.plan(vec![put_if("a", 0)], later).is_ok());
    let plan = index.plan_expiry(later).unwrap();
    assert_eq!(plan.events(), [Event::Deleted { key: "a".into(), revision: 2 }]);
    index.adopt(&plan);
    assert!(index.plan_expiry(later).is_none());
    // A new value without a time takes the old one's time away.
    apply(&mut index, vec![put("b", "stays")], later).unwrap();
    assert!(index.plan_expiry(UnixMillis(u64::MAX)).is_none());
    apply(&mut index, vec![put_for("z", u64::MAX)], later).unwrap();
    assert!(index.plan_expiry(UnixMillis(u64::MAX - 1)).is_none(), "beyond all time is capped");
}

fn slots(plan: &Plan) -> Vec<u32> {
    plan.changes.values().map(|change| change.slot).collect()
}

#[test]
fn entries_written_together_share_a_slot_and_keep_it_while_they_exist() {
    let mut index = index();
    let plan = apply(&mut index, vec![put("a", "1"), put("b", "1")], NOW).unwrap();
    assert_eq!(slots(&plan), [1, 1]);
    let plan = apply(&mut index, vec![put("a", "2"), put("c", "2")], NOW).unwrap();
    assert_eq!(slots(&plan), [1, 2], "one entry is overwritten, one is new");
    let again = vec![delete("a", None), put("a", "3"), delete("b", None)];
    let plan = apply(&mut index, again, NOW).unwrap();
    assert_eq!(slots(&plan), [1, 1], "gone for a moment within a batch is not gone");
    index.settle(plan.revision);
    assert_eq!(["a", "b", "c"].map(|key| index.slot(key)), [Some(1), None, Some(2)]);
    assert_eq!(slots(&apply(&mut index, vec![put("b", "4")], NOW).unwrap()), [4]);
    index.last = u64::from(u32::MAX) + 7;
    assert_eq!(slots(&apply(&mut index, vec![put("far", "")], NOW).unwrap()), [7]);
}

#[test]
fn a_key_takes_over_the_row_whose_removal_is_not_durable_yet() {
    let mut index = index();
    apply(&mut index, vec![put("a", "1")], NOW).unwrap();
    apply(&mut index, vec![put("b", "1")], NOW).unwrap();
    let of_a = apply(&mut index, vec![delete("a", None)], NOW).unwrap().revision;
    let of_b = apply(&mut index, vec![delete("b", None)], NOW).unwrap().revision;
    assert_eq!(index.slot("a"), Some(1), "it may still be read");
    // That of `a` may have failed, whatever became of a later one.
    index.settle(of_b);
    assert_eq!((index.slot("a"), index.slot("b")), (Some(1), None));
    assert_eq!(slots(&apply(&mut index, vec![put("a", "2")], NOW).unwrap()), [1]);
    index.settle(of_a);
    assert_eq!(index.slot("a"), Some(1));
    assert!(index.leaving.is_empty());
}

#[test]
fn of_two_rows_of_one_key_the_newer_counts() {
    let row = |revision, value: &str| {
        let (key, value) = ("a".to_owned(), value.to_owned().into());
        Row { key, revision, updated: NOW, expires: Some(NOW), value }
    };
    for rows in [[(1, "old"), (2, "newer")], [(2, "newer"), (1, "old")]] {
        let mut index = index();
        for (revision, value) in rows {
            index.restore(slot_of(revision), &row(revision, value));
        }
        assert_eq!((index.slot("a"), index.bytes, index.last), (Some(2), 6, 2));
        index.adopt(&index.plan_expiry(NOW).unwrap());
        assert!(index.is_empty() && index.next_expiry().is_none());
    }
}

#[test]
fn pages_are_exact_in_byte_order_and_bounded_in_bytes() {
    let mut index = index();
    let names = ["a", "a/1", "a/10", "a/2", "a0", "b", "ä", "A"];
    apply(&mut index, names.iter().map(|name| put(name, "")).collect(), NOW).unwrap();
    assert_eq!(keys(&index, "a/", NOW), ["a/1", "a/10", "a/2"]);
    assert_eq!(keys(&index, "", NOW).first().map(String::as_str), Some("A"));
    let (page, more) = index.page("a", None, 5, NOW);
    assert_eq!((page.len(), more), (5, false), "five of five, and no more");
    let (page, more) = index.page("a", Some("a/10"), 1, NOW);
    assert_eq!((&*page[0].0, more), ("a/2", true));
    let (page, _) = index.page("a/", Some("A"), 1, NOW);
    assert_eq!(&*page[0].0, "a/1", "a cursor before the prefix is its beginning");
    let large = "x".repeat(MAX_VALUE_BYTES);
    for at in 0..20 {
        apply(&mut index, vec![put(&format!("large/{at:02}"), &large)], NOW).unwrap();
    }
    let (page, more) = index.page("large/", None, 1000, NOW);
    assert_eq!((page.len(), more), (15, true), "15 × 256 KiB and their keys are under 4 MiB");
}

#[test]
fn bounds_of_keys_values_and_batches_hold() {
    let index = index();
    let refused = |writes| index.plan(writes, NOW).unwrap_err();
    let bad = |write: Write| match refused(vec![write]) {
        StorageError::BadField { field, .. } => field,
        other => panic!("{other:?}"),
    };
    assert_eq!(bad(put("", "x")), "key");
    assert_eq!(bad(put(&"k".repeat(MAX_KEY_BYTES + 1), "x")), "key");
    assert_eq!(bad(delete("", None)), "key");
    assert_eq!(bad(put("a", &"x".repeat(MAX_VALUE_BYTES + 1))), "value");
    assert_eq!(bad(put_for("a", 0)), "ttl_ms");
    assert!(index.plan(vec![put(&"k".repeat(512), &"x".repeat(256 << 10))], NOW).is_ok());
    let many = |count| (0..count).map(|at| put(&at.to_string(), "")).collect::<Vec<_>>();
    assert!(index.plan(many(MAX_BATCH), NOW).is_ok());
    assert!(matches!(refused(many(MAX_BATCH + 1)), StorageError::TooMany { max: 1000, .. }));
    assert!(matches!(refused(Vec::new()), StorageError::BadField { .. }));
    let large: Vec<_> =
        (0..17).map(|at| put(&at.to_string(), &"x".repeat(MAX_VALUE_BYTES))).collect();
    assert!(matches!(refused(large), StorageError::TooMany { .. }));
}

#[test]
fn quotas_refuse_growth_and_never_what_makes_room() {
    let mut index = index();
    for batch in 0..MAX_ENTRIES / MAX_BATCH {
        let writes = (0..MAX_BATCH).map(|at| put(&format!("{batch}/{at}"), "")).collect();
        apply(&mut index, writes, NOW).unwrap();
    }
    let refused = index.plan(vec![put("one more", "")], NOW).unwrap_err();
    assert!(
        matches!(refused, StorageError::Quota { ref what, max: 100_000, .. } if what == "entries")
    );
    assert!(index.plan(vec![put("one more", ""), delete("0/0", None)], NOW).is_ok());
    assert!(index.plan(vec![put("0/0", "other")], NOW).is_ok());

    let mut index = self::index();
    let value = "x".repeat(MAX_VALUE_BYTES - 4);
    for at in 0..256 {
        apply(&mut index, vec![put(&format!("{at:04}"), &value)], NOW).unwrap();
    }
    let refused = index.plan(vec![put("m", "")], NOW).unwrap_err();
    assert!(
        matches!(refused, StorageError::Quota { ref what, max: MAX_BYTES, .. } if what == "bytes")
    );
    assert!(index.plan(vec![put("more", &value), delete("0001", None)], NOW).is_ok());
    assert!(index.plan(vec![put("0001", "")], NOW).is_ok());
}

/// The obvious implementation.
#[derive(Default)]
struct Model {
    entries: BTreeMap<String, (u64, Option<u64>, Payload)>,
    last: u64,
}

impl Model {
    fn apply(&mut self, writes: &[Write], now: u64) -> bool {
        let (before, revision) = (self.entries.clone(), self.last + 1);
        self.entries.retain(|_, (_, expires, _)| expires.is_none_or(|at| at > now));
        for write in writes {
            let (Write::Put { key, if_revision, .. } | Write::Delete { key, if_revision }) = write;
            let found = self.entries.get(key).map_or(0, |(revision, ..)| *revision);
            let missing = matches!(write, Write::Delete { .. }) && found == 0;
            if missing || if_revision.is_some_and(|expected| expected != found) {
                self.entries = before;
                return false;
            }
            match write {
                Write::Put { key, value, ttl_ms, .. } => {
                    let entry = (revision, ttl_ms.map(|ttl| now + ttl), value.clone());
                    self.entries.insert(key.clone(), entry);
                }
                Write::Delete { key, .. } => _ = self.entries.remove(key),
            }
        }
        self.last = revision;
        true
    }
}

fn random_write(rng: &mut SmallRng, last: u64) -> Write {
    let key = format!("{}", rng.random_range(0..12));
    let if_revision = match rng.random_range(0..4) {
        0 => Some(0),
        1 => Some(rng.random_range(last.saturating_sub(6)..=last)),
        _ => None,
    };
    if rng.random_bool(0.3) {
        return Write::Delete { key, if_revision };
    }
    let ttl_ms = rng.random_bool(0.3).then(|| rng.random_range(1..50));
    let value = Payload::from(vec![7; rng.random_range(0..20)]);
    Write::Put { key, value, if_revision, ttl_ms }
}

#[test]
fn random_batches_do_what_the_obvious_implementation_does() {
    for seed in 0..200 {
        let mut rng = SmallRng::seed_from_u64(seed);
        let (mut index, mut model, mut now) = (index(), Model::default(), 1_000);
        let (mut done, mut refused) = (0, 0);
        for _ in 0..100 {
            now += rng.random_range(0..10);
            let at = UnixMillis(now);
            if rng.random_bool(0.2)
                && let Some(plan) = index.plan_expiry(at)
            {
                index.adopt(&plan);
                model.last += 1;
            }
            let count = rng.random_range(1..5);
            let writes: Vec<_> = (0..count).map(|_| random_write(&mut rng, model.last)).collect();
            let modelled = model.apply(&writes, now);
            let planned = apply(&mut index, writes, at);
            assert_eq!(planned.is_ok(), modelled, "seed {seed}: {planned:?}");
            if modelled {
                done += 1
            } else {
                refused += 1
            }
            check(&index, &model, at, seed);
        }
        assert!(done > 10 && refused > 10, "seed {seed}: both ways must be taken");
    }
}

fn check(index: &Index, model: &Model, now: UnixMillis, seed: u64) {
    let live = |(_, (_, expires, _)): &(&String, &(u64, Option<u64>, Payload))| {
        expires.is_none_or(|at| at > now.0)
    };
    let modelled: Vec<_> = model.entries.iter().filter(live).collect();
    let names: Vec<_> = modelled.iter().map(|(key, _)| (*key).clone()).collect();
    assert_eq!(keys(index, "", now), names, "seed {seed}");
    for (key, (revision, expires, value)) in modelled {
        let entry = index.entries[&**key];
        assert_eq!((entry.revision, entry.expires), (*revision, expires.map(UnixMillis)));
        assert_eq!(entry.bytes, (key.len() + value.len()) as u64, "seed {seed}");
    }
    assert_eq!(index.bytes, index.entries.values().map(|entry| entry.bytes).sum::<u64>());
    let expiring = index.entries.values().filter(|entry| entry.expires.is_some()).count();
    assert_eq!(index.expiring.len(), expiring, "seed {seed}");
    assert_eq!(index.last, model.last, "seed {seed}");
}
