use peerage_api::{
    Feeding,
    storage::{Event, Place},
    users::Auth,
};
use peerage_store::{AccountId, SealKey, SealedKind};
use peerage_types::{Payload, ServiceName};
use tokio::sync::mpsc;

use super::*;
use crate::storage::rows::{split, storage_key};

const ACCOUNT: AccountId = AccountId([1; 16]);
const USER: UserId = UserId([2; 32]);
const NOW: UnixMillis = UnixMillis(1_000);

struct Desk {
    store: Store,
    master: SealKey,
}

impl Desk {
    fn new() -> Self {
        Self { store: Store::in_memory(), master: SealKey::new([9; 32]) }
    }

    fn keys(&self, service: &str) -> Keys {
        Keys::new(ACCOUNT, storage_key(&self.master), ServiceName::new(service).unwrap())
    }

    /// A space that knows nothing but what is on disk.
    fn space(&self, service: &str) -> Space {
        Space::new(self.keys(service), self.store.clone(), Arc::default(), Arc::default())
    }

    fn rows(&self, service: &str) -> Vec<(peerage_store::SealedKey, bytes::Bytes)> {
        let place = self.keys(service).place();
        self.store.accounts().sealed_blocking(ACCOUNT, SealedKind::Storage, place).unwrap()
    }

    async fn damage(&self, service: &str, key: &str) {
        let tail = self.keys(service).tail(key);
        let is_it = |(at, _): &(SealedKey, bytes::Bytes)| split(at).1 == tail;
        let (at, row) = self.rows(service).into_iter().find(is_it).unwrap();
        let mut row = row.to_vec();
        row[30] ^= 1;
        let change = AccountChange::Sealed(at, Some(row.into()));
        self.store.accounts().apply(vec![change]).await.unwrap();
    }
}

fn put(key: &str, value: &str) -> Write {
    let (key, value) = (key.to_owned(), Payload::from(value.to_owned()));
    Write::Put { key, value, if_revision: None, ttl_ms: None }
}

fn put_for(key: &str, ttl_ms: u64) -> Write {
    let (key, value) = (key.to_owned(), Payload::from("x"));
    Write::Put { key, value, if_revision: None, ttl_ms: Some(ttl_ms) }
}

fn delete(key: &str) -> Write {
    Write::Delete { key: key.to_owned(), if_revision: None }
}

async fn all(space: &Space) -> Vec<(String, String)> {
    let page = space.list(&USER, String::new(), Page::default(), NOW).await.unwrap();
    let text = |entry: Entry| (entry.key, entry.value.as_text().unwrap().to_owned());
    page.items.into_iter().map(text).collect()
}

fn watch(space: &Space, prefix: &str) -> mpsc::Receiver<Feeding<Event>> {
    let auth = Auth { user: USER, token: None };
    let place = Place { auth, service: ServiceName::new("notes").unwrap() };
    let (open, _, items) = Open::new(Watch { place, prefix: prefix.into() }, 256);
    space.watch(open);
    items
}

#[tokio::test]
async fn what_was_answered_for_is_there_after_a_new_start() {
    let desk = Desk::new();
    let space = desk.space("notes");
    assert_eq!(space.apply(&USER, vec![put("a", "1"), put("b", "2")], NOW).await, Ok(1));
    assert_eq!(space.apply(&USER, vec![put("a", "3"), delete("b")], NOW).await, Ok(2));
    assert_eq!(space.get(&USER, "a".into(), NOW).await.unwrap().revision, 2);
    let again = desk.space("notes");
    assert_eq!(all(&again).await, [("a".into(), "3".into())]);
    let missing = again.get(&USER, "b".into(), NOW).await;
    assert!(matches!(missing, Err(StorageError::NotFound { .. })));
}

#[tokio::test]
async fn revisions_rise_even_when_the_highest_was_removed_before_a_restart() {
    let desk = Desk::new();
    let space = desk.space("notes");
    space.apply(&USER, vec![put("a", "1")], NOW).await.unwrap();
    space.apply(&USER, vec![put("b", "1")], NOW).await.unwrap();
    assert_eq!(space.apply(&USER, vec![delete("b")], NOW).await, Ok(3));
    assert_eq!(desk.space("notes").apply(&USER, vec![put("b", "2")], NOW).await, Ok(4));
    assert_eq!(all(&desk.space("notes")).await.len(), 2, "the mark is no entry");
    let mark = space.get(&USER, String::new(), NOW).await;
    assert!(matches!(mark, Err(StorageError::BadField { .. })));
}

#[tokio::test]
async fn services_do_not_see_each_other() {
    let desk = Desk::new();
    desk.space("notes").apply(&USER, vec![put("a", "mine")], NOW).await.unwrap();
    assert_eq!(all(&desk.space("other")).await, []);
    let names = |service| desk.rows(service).into_iter().map(|(at, _)| at.name).collect::<Vec<_>>();
    desk.space("other").apply(&USER, vec![put("a", "theirs")], NOW).await.unwrap();
    assert_ne!(names("notes"), names("other"), "even equal keys look unrelated");
    assert_eq!(all(&desk.space("notes")).await, [("a".into(), "mine".into())]);
}

#[tokio::test]
async fn readers_are_told_in_order_and_of_what_expires() {
    let desk = Desk::new();
    let space = Arc::new(desk.space("notes"));
    let mut items = watch(&space, "a/");
    let writes = (0..100).map(|at| {
        let space = Arc::clone(&space);
        let writes = vec![put(&format!("a/{at}"), "x"), put(&format!("b/{at}"), "x")];
        tokio::spawn(async move { space.apply(&USER, writes, NOW).await.unwrap() })
    });
    for write in writes.collect::<Vec<_>>() {
        write.await.unwrap();
    }
    for expected in 1..=100 {
        let Some(Feeding::Item(Event::Put(entry))) = items.recv().await else { panic!() };
        assert_eq!(entry.revision, expected);
        assert!(entry.key.starts_with("a/"));
    }
    space.apply(&USER, vec![put_for("a/soon", 5)], NOW).await.unwrap();
    let later = UnixMillis(NOW.0 + 5);
    assert!(space.next_expiry().is_some_and(|at| NOW < at && at <= later));
    let over = space.get(&USER, "a/soon".into(), later).await;
    assert!(matches!(over, Err(StorageError::NotFound { .. })), "invisible before it is removed");
    space.expire(&USER, later).await.unwrap();
    assert_eq!(space.next_expiry(), None);
    assert!(matches!(items.recv().await, Some(Feeding::Item(Event::Put(_)))));
    let deleted = Event::Deleted { key: "a/soon".into(), revision: 102 };
    assert_eq!(items.recv().await, Some(Feeding::Item(deleted)));
    assert_eq!(desk.rows("notes").len(), 201, "the row is gone; there is a mark");
}

#[tokio::test]
async fn readers_hear_of_what_expired_before_a_write_that_was_refused_and_of_all_after_it() {
    let desk = Desk::new();
    let space = desk.space("notes");
    let mut items = watch(&space, "");
    space.apply(&USER, vec![put_for("soon", 5)], NOW).await.unwrap();
    let later = UnixMillis(NOW.0 + 5);
    assert!(space.apply(&USER, vec![delete("missing")], later).await.is_err());
    space.apply(&USER, vec![put("a", "1")], later).await.unwrap();
    assert!(matches!(items.recv().await, Some(Feeding::Item(Event::Put(_)))));
    let deleted = Event::Deleted { key: "soon".into(), revision: 2 };
    assert_eq!(items.recv().await, Some(Feeding::Item(deleted)));
    let Some(Feeding::Item(Event::Put(entry))) = items.recv().await else { panic!() };
    assert_eq!((entry.key.as_str(), entry.revision), ("a", 3));
}

#[tokio::test]
async fn a_list_sees_all_of_a_batch_or_nothing() {
    let desk = Desk::new();
    let space = Arc::new(desk.space("notes"));
    let writer = Arc::clone(&space);
    let writing = tokio::spawn(async move {
        for round in 0..100 {
            let value = round.to_string();
            let mut writes = vec![put("a", &value), put("b", &value)];
            writes.push(if round % 2 == 0 { put("c", &value) } else { delete("c") });
            writer.apply(&USER, writes, NOW).await.unwrap();
        }
    });
    while !writing.is_finished() {
        let seen = all(&space).await;
        let same = seen.iter().all(|(_, value)| *value == seen[0].1);
        let even = seen
            .first()
            .is_none_or(|(_, value)| (value.parse::<u32>().unwrap() % 2 == 0) == (seen.len() == 3));
        assert!(same && even, "{seen:?}");
    }
    writing.await.unwrap();
}

#[tokio::test]
async fn a_damaged_row_is_kept_and_hides_nothing_else() {
    let desk = Desk::new();
    let space = desk.space("notes");
    space.apply(&USER, vec![put("a", "1"), put("b", "2")], NOW).await.unwrap();
    desk.damage("notes", "a").await;
    let before = desk.rows("notes");
    let damaged = StorageError::Damaged { user: USER, service: ServiceName::new("notes").unwrap() };
    let again = desk.space("notes");
    assert_eq!(all(&again).await, [("b".into(), "2".into())]);
    assert_eq!(again.get(&USER, "a".into(), NOW).await, Err(damaged.clone()));
    for write in [put("a", "lost?"), delete("a")] {
        let refused = again.apply(&USER, vec![write], NOW).await;
        assert_eq!(refused, Err(damaged.clone()));
    }
    assert_eq!(desk.rows("notes"), before);
    again.apply(&USER, vec![put("c", "3")], NOW).await.unwrap();
    assert_eq!(again.get(&USER, "b".into(), NOW).await.unwrap().value, "2".into());
    desk.damage("notes", "b").await;
    let read = again.list(&USER, String::new(), Page::default(), NOW).await;
    assert_eq!(read, Err(damaged.clone()), "what was there when it was read first is missed");
    desk.damage("notes", "c").await;
    let nothing = desk.space("notes").list(&USER, String::new(), Page::default(), NOW).await;
    assert_eq!(nothing, Err(damaged), "a list of nothing would be a lie");
}

#[tokio::test]
async fn rows_of_a_batch_are_neighbours_and_stay_where_they_are() {
    let desk = Desk::new();
    let space = desk.space("notes");
    let slots = || desk.rows("notes").iter().map(|(at, _)| split(at).0).collect::<Vec<_>>();
    let many = |of: &str| (0..20).map(|at| put(&format!("{at}{of}"), "x")).collect::<Vec<_>>();
    space.apply(&USER, many("a"), NOW).await.unwrap();
    space.apply(&USER, many("b"), NOW).await.unwrap();
    let expected = [[1; 20], [2; 20]].concat();
    assert_eq!(slots(), expected);
    let again = desk.space("notes");
    again.apply(&USER, many("a"), NOW).await.unwrap();
    assert_eq!(slots(), expected, "also after a new start");
    assert_eq!(again.get(&USER, "7a".into(), NOW).await.unwrap().revision, 3);
    again.apply(&USER, many("a").iter().map(removal).collect(), NOW).await.unwrap();
    assert_eq!(slots(), [vec![0], vec![2; 20]].concat(), "there is a mark");
    again.apply(&USER, many("a"), NOW).await.unwrap();
    assert_eq!(slots(), [vec![0], vec![2; 20], vec![5; 20]].concat());
}

fn removal(write: &Write) -> Write {
    let (Write::Put { key, .. } | Write::Delete { key, .. }) = write;
    delete(key)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_is_overwritten_is_found_at_all_times() {
    let desk = Desk::new();
    let space = Arc::new(desk.space("notes"));
    space.apply(&USER, vec![put("a", "x")], NOW).await.unwrap();
    let writer = Arc::clone(&space);
    let writing = tokio::spawn(async move {
        for round in 0..200 {
            let gone = if round % 2 == 0 { vec![] } else { vec![delete("a")] };
            let writes = gone.into_iter().chain([put("a", "x"), put(&round.to_string(), "x")]);
            writer.apply(&USER, writes.collect(), NOW).await.unwrap();
        }
    });
    let mut last = 0;
    while !writing.is_finished() {
        let seen = space.get(&USER, "a".into(), NOW).await.unwrap().revision;
        assert!(seen >= last, "{seen} after {last}");
        last = seen;
    }
    writing.await.unwrap();
}

#[tokio::test]
async fn a_removal_that_never_arrives_hides_nothing_and_leaves_no_second_row() {
    let desk = Desk::new();
    let space = desk.space("notes");
    space.apply(&USER, vec![put("a", "1")], NOW).await.unwrap();
    {
        let mut slot = space.loaded.lock().await;
        let index = &mut slot.as_mut().unwrap().index;
        let plan = index.plan(vec![delete("a")], NOW).unwrap();
        index.adopt(&plan);
    }
    assert_eq!(space.get(&USER, "a".into(), NOW).await.unwrap().value, "1".into());
    assert_eq!(space.apply(&USER, vec![put("a", "2")], NOW).await, Ok(3));
    assert_eq!(desk.rows("notes").len(), 1);
    assert_eq!(all(&desk.space("notes")).await, [("a".into(), "2".into())]);
}

#[tokio::test]
async fn after_a_removal_nothing_of_it_is_kept_in_memory() {
    let desk = Desk::new();
    let space = desk.space("notes");
    space.apply(&USER, vec![put("a", "1"), put_for("b", 1)], NOW).await.unwrap();
    space.apply(&USER, vec![delete("a")], UnixMillis(NOW.0 + 1)).await.unwrap();
    let slot = space.loaded.lock().await;
    let index = &slot.as_ref().unwrap().index;
    assert_eq!((index.slot("a"), index.slot("b")), (None, None));
}

#[tokio::test]
async fn after_a_failed_write_the_disk_is_asked_what_became_of_it() {
    let desk = Desk::new();
    let space = desk.space("notes");
    let mut items = watch(&space, "");
    space.apply(&USER, vec![put("a", "1")], NOW).await.unwrap();
    let ticket = {
        let mut slot = space.loaded.lock().await;
        let index = &mut slot.as_mut().unwrap().index;
        let plan = index.plan(vec![put("ghost", "2")], NOW).unwrap();
        index.adopt(&plan);
        space.feed().begin(|| plan.events())
    };
    let landing = Landing { ticket, removal: None };
    let failed = space.settle(landing, Err(StoreError::Reopening)).await;
    assert!(matches!(failed, Err(StorageError::Store { .. })));
    assert_eq!(all(&space).await, [("a".into(), "1".into())]);
    assert_eq!(space.apply(&USER, vec![put("b", "3")], NOW).await, Ok(2));
    for expected in ["a", "b"] {
        let Some(Feeding::Item(Event::Put(entry))) = items.recv().await else { panic!() };
        assert_eq!(entry.key, expected, "readers hear of no write that failed");
    }
}

#[tokio::test]
async fn a_write_that_the_store_refuses_changes_nothing() {
    let desk = Desk::new();
    let space = desk.space("notes");
    space.apply(&USER, vec![put("a", "1")], NOW).await.unwrap();
    desk.store.clone().close().await.unwrap();
    let refused = space.apply(&USER, vec![put("b", "2")], NOW).await;
    assert!(matches!(refused, Err(StorageError::Store { .. })), "{refused:?}");
    let slot = space.loaded.lock().await;
    let (keys, _) = slot.as_ref().unwrap().index.page("", None, 10, NOW);
    assert_eq!(keys.len(), 1);
}

#[tokio::test]
async fn a_closed_account_takes_no_more_writes() {
    let desk = Desk::new();
    let closed = Arc::new(Mutex::new(false));
    let space =
        Space::new(desk.keys("notes"), desk.store.clone(), Arc::clone(&closed), Arc::default());
    let mut items = watch(&space, "");
    space.apply(&USER, vec![put("a", "1")], NOW).await.unwrap();
    *closed.lock().unwrap() = true;
    let refused = space.apply(&USER, vec![put("a", "2")], NOW).await;
    assert_eq!(refused, Err(StorageError::Sealed { user: USER }));
    space.end();
    assert!(matches!(items.recv().await, Some(Feeding::Item(Event::Put(_)))));
    assert!(items.recv().await.is_none());
    assert_eq!(all(&desk.space("notes")).await, [("a".into(), "1".into())]);
}

#[tokio::test]
async fn a_write_waits_for_room_in_the_store() {
    let desk = Desk::new();
    let space = desk.space("notes");
    space.apply(&USER, vec![put("a", "1")], NOW).await.unwrap();
    let rest = peerage_store::MAX_QUEUED_BYTES;
    let full = AccountChange::Service("full".into(), Some(vec![0; rest].into()));
    let filling = desk.store.accounts().apply(vec![full]);
    assert!(filling.refused().is_none());
    space.apply(&USER, vec![put("b", "2")], NOW).await.unwrap();
    filling.await.unwrap();
    assert_eq!(all(&space).await.len(), 2);
}

#[tokio::test]
async fn pages_go_on_where_the_one_before_ended() {
    let desk = Desk::new();
    let space = desk.space("notes");
    let writes = (0..7).map(|at| put(&format!("a/{at}"), "x")).chain([put("b", "x")]);
    space.apply(&USER, writes.collect(), NOW).await.unwrap();
    let (mut sizes, mut after) = (Vec::new(), None);
    loop {
        let page = Page { limit: 3, after };
        let page = space.list(&USER, "a/".into(), page, NOW).await.unwrap();
        sizes.push(page.items.len());
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(sizes, [3, 3, 1]);
}
