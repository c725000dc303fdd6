//! The facets `users`, `contacts`, `services` and `storage`.

use std::{collections::BTreeSet, time::Duration};

use peerage_api::{
    Failure, Feeding, Node, Stream,
    contacts::{ContactChange, ContactQuery, ContactsError},
    services::{self, Register, ServicesError},
    storage::{self, StorageError, Write},
    types::{Handle, Password, ServiceName, Token, UserId},
    users::{
        Auth, AuthError, Event, Matching, Page, ProfileChange, Search, Session, Update, User,
        UsersError,
    },
};

use crate::within;

/// The password of every user here.
///
/// # Panics
/// Never: it is not empty.
#[must_use]
pub fn password() -> Password {
    "correct horse battery".parse().expect("not empty")
}

/// A handle.
///
/// # Panics
/// When it is none.
#[must_use]
pub fn handle(name: &str) -> Handle {
    Handle::new(name).expect("a literal handle")
}

/// A service.
///
/// # Panics
/// When it is none.
#[must_use]
pub fn service(name: &str) -> ServiceName {
    ServiceName::new(name).expect("a literal name")
}

/// A new user that is logged in.
pub async fn user(node: &Node, name: &str) -> Session {
    node.users().create(password(), Some(handle(name))).await.expect("a user is made").session
}

/// Waits until `node` knows `seq` or more of `user`'s profile.
pub async fn known(node: &Node, user: UserId, seq: u64) -> User {
    until("a profile to become known", node, user, |known| known.seq >= seq).await
}

/// Waits until `holds` of what `node` knows of `user`.
pub async fn until(what: &str, node: &Node, user: UserId, holds: impl Fn(&User) -> bool) -> User {
    let mut events = node.users().events().await.expect("a feed");
    within(what, async {
        loop {
            match node.users().get(user).await {
                Ok(known) if holds(&known) => return known,
                Ok(_) | Err(UsersError::Unknown { .. }) => _ = events.next().await,
                Err(error) => panic!("{error}"),
            }
        }
    })
    .await
}

async fn next<T: std::fmt::Debug>(what: &str, feed: &mut Stream<T>) -> T {
    match within(what, feed.next()).await {
        Some(Feeding::Item(item)) => item,
        other => panic!("{what}: {other:?} instead of an item"),
    }
}

/// All four facets; the two nodes are connected.
pub async fn users(near: &Node, far: &Node) {
    let ada = accounts(near).await;
    profiles(near, far, &ada).await;
    contacts(near, far, &ada).await;
    let notes = services(near, &ada).await;
    storage(near, &ada, &notes).await;
    ending(near, &ada).await;
}

async fn accounts(near: &Node) -> Session {
    let users = near.users();
    let created = users.create(password(), None).await.unwrap();
    assert!(created.recovery.to_text().starts_with("recovery1"));
    let ada = created.session;
    let shown = users.get(ada.user).await.unwrap();
    assert_eq!((shown.handle, shown.seq, shown.local, shown.online), (None, 1, true, true));
    let local = users.local().await.unwrap();
    assert!(local.iter().any(|user| user.user == ada.user && user.sessions == 1));

    let wrong: Password = "wrong".parse().unwrap();
    assert_eq!(users.login(ada.user, wrong, None).await, Err(UsersError::WrongPassword {}));
    let nobody = UserId([3; 32]);
    let error = users.login(nobody, password(), None).await.unwrap_err();
    assert_eq!(error, AuthError::NoSuchUser { user: nobody }.into());
    assert_eq!(error.code(), "no_such_user");

    let second = users.login(ada.user, password(), None).await.unwrap();
    assert_ne!(second.token, ada.token);
    let sessions = users.sessions(second.auth()).await.unwrap();
    assert_eq!(sessions.len(), 2);
    assert!(sessions.iter().any(|session| session.current && session.session == second.session));
    users.revoke(second.auth(), ada.session).await.unwrap();
    let refused = Err(UsersError::Auth(AuthError::NotAuthorised { user: ada.user }));
    assert_eq!(users.sessions(ada.auth()).await, refused);
    assert_eq!(
        users.revoke(second.auth(), 999_999).await,
        Err(UsersError::NoSuchSession { session: 999_999 })
    );
    users.change_password(second.auth(), password(), "new one".parse().unwrap()).await.unwrap();
    assert_eq!(users.login(ada.user, password(), None).await, Err(UsersError::WrongPassword {}));
    users.change_password(second.auth(), "new one".parse().unwrap(), password()).await.unwrap();
    second
}

async fn profiles(near: &Node, far: &Node, ada: &Session) {
    let mut events = far.users().events().await.unwrap();
    let change = ProfileChange {
        handle: Update::Set(handle("ada")),
        display_name: Update::Set("Ada Lovelace".to_owned()),
        bio_set: [("work".to_owned(), "analytical engines".to_owned())].into(),
        ..ProfileChange::default()
    };
    let updated = near.users().update(ada.auth(), change).await.unwrap();
    assert_eq!((updated.seq, updated.display_name.as_deref()), (2, Some("Ada Lovelace")));
    let seen = known(far, ada.user, 2).await;
    assert_eq!((seen.handle, seen.bio, seen.local), (Some(handle("ada")), updated.bio, false));
    loop {
        let event = next("the far node is told", &mut events).await;
        if (event == Event::Changed { user: ada.user, seq: 2 }) {
            break;
        }
    }
    let renamed = ProfileChange {
        handle: Update::Set(handle("countess")),
        display_name: Update::Unset,
        ..ProfileChange::default()
    };
    near.users().update(ada.auth(), renamed).await.unwrap();
    let seen = known(far, ada.user, 3).await;
    assert_eq!((seen.handle, seen.display_name), (Some(handle("countess")), None));
    assert_eq!(seen.bio.len(), 1, "what was not named stays");
    let search =
        |text: &str, matching| Search { text: text.to_owned(), matching, ..Search::default() };
    for node in [near, far] {
        let by = |text, matching| async move {
            let found = node.users().search(search(text, matching)).await.unwrap();
            found.items.iter().any(|user| user.user == ada.user)
        };
        assert!(by("COUNT", Matching::Prefix).await);
        assert!(by("engine", Matching::Contains).await);
        assert!(by("countess", Matching::Exact).await);
        assert!(!by("ada", Matching::Exact).await, "a former handle is not found");
    }
    let too_long = ProfileChange {
        bio_set: (0..8).map(|n| (n.to_string(), "x".repeat(4000))).collect(),
        ..ProfileChange::default()
    };
    let error = near.users().update(ada.auth(), too_long).await.unwrap_err();
    assert!(matches!(error, UsersError::ProfileTooLarge { .. }), "{error:?}");
    assert_eq!(near.users().get(ada.user).await.unwrap().seq, 3);
}

async fn contacts(near: &Node, far: &Node, ada: &Session) {
    let ben = user(far, "ben").await;
    until("Ben to be online", near, ben.user, |user| user.online).await;
    let book = near.contacts(ada.auth());
    let change = ContactChange {
        nick: Update::Set("Benny".to_owned()),
        trust: Update::Set(80),
        met: Update::Set(true),
        tags_add: BTreeSet::from(["friend".to_owned()]),
        ..ContactChange::default()
    };
    let contact = book.set(ben.user, change).await.unwrap();
    assert_eq!((contact.trust, contact.handle.clone()), (80, Some(handle("ben"))));
    assert_eq!(book.get(ben.user).await.unwrap(), contact);
    let query = ContactQuery { trust_min: Some(80), ..ContactQuery::default() };
    let found = book.list(query, Page::default()).await.unwrap().items;
    assert_eq!(found, [contact], "trust of at least 80 includes 80");
    let query = ContactQuery { trust_max: Some(79), ..ContactQuery::default() };
    assert!(book.list(query, Page::default()).await.unwrap().items.is_empty());

    let number = book.safety_number(ben.user).await.unwrap();
    let theirs = far.contacts(ben.auth()).safety_number(ada.user).await.unwrap();
    assert_eq!(number, theirs, "both sides see the same");
    assert_eq!(number.digits.chars().filter(char::is_ascii_digit).count(), 60);
    let wrong = Some("00000 ".repeat(12));
    let error = book.verify(ben.user, wrong).await.unwrap_err();
    assert_eq!(error, ContactsError::SafetyMismatch { contact: ben.user });
    assert!(book.verify(ben.user, Some(theirs.digits)).await.unwrap().verified);

    let impostor = user(far, "Ben").await;
    known(near, impostor.user, 1).await;
    assert_eq!(book.get(ben.user).await.unwrap().lookalikes, [impostor.user]);
    assert!(book.block(impostor.user).await.unwrap().blocked);
    let search = |viewer| Search { text: "ben".to_owned(), viewer, ..Search::default() };
    let found = near.users().search(search(Some(ada.auth()))).await.unwrap().items;
    assert!(found.iter().all(|user| user.user != impostor.user), "blocked for this user");
    let found = near.users().search(search(None)).await.unwrap().items;
    assert!(found.iter().any(|user| user.user == impostor.user), "and for no other");
    assert!(!book.unblock(impostor.user).await.unwrap().blocked);
    book.remove(impostor.user).await.unwrap();
    let gone = Err(ContactsError::NoSuchContact { contact: impostor.user });
    assert_eq!(book.get(impostor.user).await, gone);
    assert_eq!(book.block(ada.user).await, Err(ContactsError::Own {}));
}

async fn services(near: &Node, ada: &Session) -> Token {
    let (name, services) = (service("org.example.notes"), near.services());
    let register = |token| Register {
        name: service("org.example.notes"),
        version: Some("1.2".to_owned()),
        description: Some("keeps notes".to_owned()),
        token,
    };
    let token = services.register(register(None)).await.unwrap().token;
    assert_eq!(
        services.register(register(None)).await,
        Err(ServicesError::Taken { name: name.clone() })
    );
    assert_eq!(services.register(register(Some(token.clone()))).await.unwrap().token, token);
    let wrong = Token::new([9; 32]);
    let refused = Err(ServicesError::NotAuthorised { name: name.clone() });
    assert_eq!(services.watch(name.clone(), wrong.clone()).await.map(|_| ()), refused);
    let listed = services.list().await.unwrap();
    assert!(listed.iter().any(|service| service.name == name && service.version == "1.2"));

    let mut users = services.watch(name.clone(), token.clone()).await.unwrap();
    let opened = |user| services::Event::Opened { user };
    assert_eq!(next("who is there", &mut users).await, opened(ada.user));
    let eve = user(near, "eve").await;
    assert_eq!(next("who comes", &mut users).await, opened(eve.user));
    near.users().logout(eve.auth()).await.unwrap();
    let closed = services::Event::Closed { user: eve.user };
    assert_eq!(next("who goes", &mut users).await, closed);
    let sealed = near.storage(Auth::new(eve.user, token.clone()), name).get("x").await;
    assert_eq!(sealed, Err(StorageError::Sealed { user: eve.user }));
    token
}

async fn storage(near: &Node, ada: &Session, notes: &Token) {
    let name = service("org.example.notes");
    // The service with its own token, and the user, see the same.
    let storage = near.storage(Auth::new(ada.user, notes.clone()), name.clone());
    let own = near.storage(ada.auth(), name.clone());
    let mut watch = storage.watch("list/").await.unwrap();
    let first = storage.put("list/1", "milk", Some(0), None).await.unwrap();
    let entry = own.get("list/1").await.unwrap();
    assert_eq!((entry.value.as_text(), entry.revision), (Some("milk"), first.revision));
    let conflict = storage.put("list/1", "tea", Some(0), None).await.unwrap_err();
    assert!(matches!(conflict, StorageError::Conflict { expected: 0, .. }), "{conflict:?}");
    let put = |key: &str, if_revision| Write::Put {
        key: key.to_owned(),
        value: "x".into(),
        if_revision,
        ttl_ms: None,
    };
    let failing = vec![put("list/2", None), put("list/1", Some(first.revision + 77))];
    storage.batch(failing).await.unwrap_err();
    let missing = Err(StorageError::NotFound { service: name.clone(), key: "list/2".to_owned() });
    assert_eq!(own.get("list/2").await, missing, "all or none");
    storage.batch(vec![put("list/2", None), put("other", None)]).await.unwrap();
    let page = Page { limit: 1, after: None };
    let listed = storage.list("list/", page).await.unwrap();
    assert_eq!((listed.items.len(), listed.items[0].key.as_str()), (1, "list/1"));
    let rest = Page { limit: 10, after: listed.next };
    let keys = storage.list("list/", rest).await.unwrap().items;
    assert_eq!(keys.iter().map(|entry| entry.key.as_str()).collect::<Vec<_>>(), ["list/2"]);
    storage.delete("list/1", None).await.unwrap();
    let told = [next("a put", &mut watch).await, next("a put", &mut watch).await];
    assert!(told.iter().all(|event| matches!(event, storage::Event::Put(_))), "{told:?}");
    let deleted = next("a removal", &mut watch).await;
    assert!(matches!(deleted, storage::Event::Deleted { key, .. } if key == "list/1"));
    storage.put("short", "lived", None, Some(Duration::from_millis(1))).await.unwrap();
    within("an entry to expire", async {
        while own.get("short").await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;

    // Another service, and a session that is limited to another service, see nothing of it.
    let register = Register {
        name: service("org.example.other"),
        version: None,
        description: None,
        token: None,
    };
    let other = near.services().register(register).await.unwrap().token;
    let refused = Err(AuthError::NotAuthorised { user: ada.user }.into());
    assert_eq!(
        near.storage(Auth::new(ada.user, other.clone()), name.clone()).get("other").await,
        refused
    );
    let other_name = Some(service("org.example.other"));
    let limited = near.users().login(ada.user, password(), other_name).await.unwrap();
    assert_eq!(near.storage(limited.auth(), name).get("other").await, refused);
    let elsewhere = near.storage(limited.auth(), service("org.example.other"));
    elsewhere.put("mine", "yes", None, None).await.unwrap();
    near.services().unregister(service("org.example.other"), other).await.unwrap();
}

async fn ending(near: &Node, ada: &Session) {
    let users = near.users();
    let archive = users.export(ada.user, password(), "archive".parse().unwrap()).await.unwrap();
    let again = users.import(archive.clone(), "archive".parse().unwrap(), password()).await;
    assert_eq!(again, Err(UsersError::AlreadyHere { user: ada.user }));
    let wrong = users.import(archive, "wrong".parse().unwrap(), password()).await;
    assert_eq!(wrong, Err(UsersError::WrongArchivePassword {}));
    let eve =
        users.local().await.unwrap().into_iter().find(|user| user.handle == Some(handle("eve")));
    let eve = users.login(eve.unwrap().user, password(), None).await.unwrap();
    users.delete(eve.auth(), password(), false).await.unwrap();
    let gone = users.login(eve.user, password(), None).await.unwrap_err();
    assert_eq!(gone, AuthError::NoSuchUser { user: eve.user }.into());
    assert!(users.revoke_all(ada.auth(), false).await.unwrap() >= 1);
    assert!(users.sessions(ada.auth()).await.is_err());
}
