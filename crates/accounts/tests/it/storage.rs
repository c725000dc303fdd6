//! What services keep for users.

use std::time::Duration;

use peerage_api::{
    Feeding,
    contacts::ContactsError,
    services::Register,
    storage::{Event, StorageError, Write},
    users::{Auth, AuthError, Page},
};
use peerage_types::{ServiceName, Token};

use crate::support::Home;

fn name(text: &str) -> ServiceName {
    ServiceName::new(text).unwrap()
}

async fn keys(home: &Home, auth: &Auth, service: &str) -> Result<Vec<String>, StorageError> {
    let storage = home.node.storage(auth.clone(), name(service));
    let page = storage.list("", Page::default()).await?;
    Ok(page.items.into_iter().map(|entry| entry.key).collect())
}

async fn put(home: &Home, auth: &Auth, service: &str, key: &str) {
    home.node.storage(auth.clone(), name(service)).put(key, "value", None, None).await.unwrap();
}

#[tokio::test]
async fn users_and_services_do_not_see_each_other() {
    let home = Home::new();
    let alice = home.user("alice").await.session.auth();
    let bob = home.user("bob").await.session.auth();
    put(&home, &alice, "notes", "alice's").await;
    put(&home, &bob, "notes", "bob's").await;
    put(&home, &alice, "other", "alice's other").await;
    assert_eq!(keys(&home, &alice, "notes").await.unwrap(), ["alice's"]);
    assert_eq!(keys(&home, &bob, "notes").await.unwrap(), ["bob's"]);
    assert_eq!(keys(&home, &alice, "other").await.unwrap(), ["alice's other"]);
    let refused = Err(AuthError::NotAuthorised { user: alice.user }.into());
    for token in [None, bob.token.clone(), Some(Token::new([1; 32]))] {
        let auth = Auth { user: alice.user, token };
        assert_eq!(keys(&home, &auth, "notes").await, refused);
        let storage = home.node.storage(auth, name("notes"));
        let refused = StorageError::from(AuthError::NotAuthorised { user: alice.user });
        assert_eq!(storage.put("k", "v", None, None).await, Err(refused.clone()));
        assert_eq!(storage.delete("alice's", None).await, Err(refused.clone()));
        assert_eq!(storage.get("alice's").await, Err(refused.clone()));
        assert_eq!(storage.watch("").await.err(), Some(refused));
    }
}

#[tokio::test]
async fn a_service_uses_its_own_storage_of_users_that_are_logged_in() {
    let home = Home::new();
    let alice = home.user("alice").await.session.auth();
    let register =
        |text| Register { name: name(text), version: None, description: None, token: None };
    let notes = home.node.services().register(register("notes")).await.unwrap();
    let other = home.node.services().register(register("other")).await.unwrap();
    let as_notes = Auth::new(alice.user, notes.token.clone());
    put(&home, &as_notes, "notes", "by the service").await;
    assert_eq!(keys(&home, &alice, "notes").await.unwrap(), ["by the service"]);
    let refused = Err(AuthError::NotAuthorised { user: alice.user }.into());
    assert_eq!(keys(&home, &as_notes, "other").await, refused);
    assert_eq!(keys(&home, &Auth::new(alice.user, other.token), "notes").await, refused);
    let refusal = ContactsError::Auth(AuthError::NotAuthorised { user: alice.user });
    let contacts = home.node.contacts(as_notes.clone()).get(alice.user).await;
    assert_eq!(contacts, Err(refusal), "its token opens nothing but its storage");

    home.node.users().logout(alice.clone()).await.unwrap();
    let sealed = Err(StorageError::Sealed { user: alice.user });
    assert_eq!(keys(&home, &as_notes, "notes").await, sealed);
    home.login(alice.user, "password").await;
    assert_eq!(keys(&home, &as_notes, "notes").await.unwrap(), ["by the service"]);
    home.node.services().unregister(name("notes"), notes.token).await.unwrap();
    assert_eq!(keys(&home, &as_notes, "notes").await, refused);
}

#[tokio::test]
async fn storage_is_sealed_after_the_logout_and_there_at_the_next_login() {
    let home = Home::new();
    let alice = home.user("alice").await.session.auth();
    put(&home, &alice, "notes", "k").await;
    let storage = home.node.storage(alice.clone(), name("notes"));
    let mut changes = storage.watch("").await.unwrap();
    home.node.users().logout(alice.clone()).await.unwrap();
    assert!(changes.next().await.is_none(), "readers end");
    let refused = Err(AuthError::NotAuthorised { user: alice.user }.into());
    assert_eq!(keys(&home, &alice, "notes").await, refused);
    let again = home.login(alice.user, "password").await;
    assert_eq!(keys(&home, &again, "notes").await.unwrap(), ["k"]);
    let revision = home.node.storage(again, name("notes")).put("k", "2", Some(1), None).await;
    assert_eq!(revision.unwrap().revision, 2);
}

#[tokio::test]
async fn what_was_answered_for_survives_a_restart_and_tells_a_thief_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::open(dir.path());
    let alice = home.user("alice").await.session.auth();
    let storage = home.node.storage(alice.clone(), name("org.example.diary"));
    let secret = "Dear diary, nobody must read this";
    let put = |key: &str, ttl_ms| Write::Put {
        key: key.into(),
        value: secret.into(),
        if_revision: Some(0),
        ttl_ms,
    };
    let hour = Some(3_600_000);
    storage.batch(vec![put("2026-11-22 Sunday", None), put("for an hour", hour)]).await.unwrap();
    let before = storage.list("", Page::default()).await.unwrap();
    home.stop().await;
    for file in std::fs::read_dir(dir.path()).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        for text in [secret, "2026-11-22 Sunday", "for an hour", "org.example.diary"] {
            assert!(!bytes.windows(text.len()).any(|part| part == text.as_bytes()), "{text}");
        }
    }
    let home = Home::open(dir.path());
    let again = home.login(alice.user, "password").await;
    let storage = home.node.storage(again, name("org.example.diary"));
    assert_eq!(storage.list("", Page::default()).await.unwrap(), before);
    assert_eq!(storage.put("new", "x", None, None).await.unwrap().revision, 2);
}

#[tokio::test]
async fn an_entry_whose_time_is_over_is_told_to_readers() {
    let home = Home::new();
    let alice = home.user("alice").await.session.auth();
    let storage = home.node.storage(alice, name("notes"));
    let mut changes = storage.watch("a").await.unwrap();
    storage.put("b", "not asked for", None, None).await.unwrap();
    storage.put("a", "x", None, Some(Duration::from_millis(1))).await.unwrap();
    assert!(matches!(changes.next().await, Some(Feeding::Item(Event::Put(_)))));
    let deleted = within_seconds(changes.next()).await;
    let expected = Event::Deleted { key: "a".into(), revision: 3 };
    assert_eq!(deleted, Some(Feeding::Item(expected)));
    assert!(matches!(storage.get("a").await, Err(StorageError::NotFound { .. })));
}

/// Well below the minute after which the node looks at its clock anyway.
async fn within_seconds<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future).await.expect("it did not happen")
}

#[tokio::test]
async fn of_several_entries_each_is_told_of_when_its_own_time_is_over() {
    let home = Home::new();
    let alice = home.user("alice").await.session.auth();
    let [notes, diary] = ["notes", "diary"].map(|of| home.node.storage(alice.clone(), name(of)));
    let mut told = notes.watch("").await.unwrap();
    let last = Some(Duration::from_secs(3600));
    diary.put("late", "x", None, last).await.unwrap();
    for (key, ms) in [("late", 3_600_000), ("second", 400), ("first", 100)] {
        notes.put(key, "x", None, Some(Duration::from_millis(ms))).await.unwrap();
    }
    let mut gone = Vec::new();
    while gone.len() < 2 {
        if let Some(Feeding::Item(Event::Deleted { key, .. })) = within_seconds(told.next()).await {
            gone.push(key);
        }
    }
    assert_eq!(gone, ["first", "second"]);
}

#[tokio::test]
async fn a_reader_hears_of_what_is_over_though_nobody_has_used_the_storage_since_the_login() {
    let home = Home::new();
    let session = home.user("alice").await.session;
    let storage = home.node.storage(session.auth(), name("notes"));
    storage.put("a", "x", None, Some(Duration::from_secs(2))).await.unwrap();
    home.node.users().logout(session.auth()).await.unwrap();
    let again = home.login(session.user, "password").await;
    let mut told = home.node.storage(again, name("notes")).watch("").await.unwrap();
    let gone = Event::Deleted { key: "a".into(), revision: 2 };
    assert_eq!(within_seconds(told.next()).await, Some(Feeding::Item(gone)));
}

#[tokio::test]
async fn of_many_that_compare_and_set_one_wins_each_time() {
    let home = Home::new();
    let alice = home.user("alice").await.session.auth();
    let storage = home.node.storage(alice, name("counter"));
    storage.put("n", "0", Some(0), None).await.unwrap();
    let count = |storage: peerage_api::storage::Storage| async move {
        for _ in 0..10 {
            loop {
                let entry = storage.get("n").await.unwrap();
                let next = entry.value.as_text().unwrap().parse::<u32>().unwrap() + 1;
                match storage.put("n", next.to_string(), Some(entry.revision), None).await {
                    Ok(_) => break,
                    Err(StorageError::Conflict { .. }) => {}
                    Err(other) => panic!("{other}"),
                }
            }
        }
    };
    let all: Vec<_> = (0..8).map(|_| tokio::spawn(count(storage.clone()))).collect();
    for one in all {
        one.await.unwrap();
    }
    assert_eq!(storage.get("n").await.unwrap().value, "80".into());
}

#[tokio::test]
async fn a_write_goes_on_when_its_caller_goes_away() {
    let home = Home::new();
    let alice = home.user("alice").await.session.auth();
    let storage = home.node.storage(alice, name("notes"));
    let mut changes = storage.watch("").await.unwrap();
    {
        let mut put = std::pin::pin!(storage.put("a", "x", None, None));
        let begun = std::future::poll_fn(|cx| std::task::Poll::Ready(put.as_mut().poll(cx))).await;
        assert!(begun.is_pending());
    }
    assert!(matches!(changes.next().await, Some(Feeding::Item(Event::Put(_)))));
}
