//! Users go from node to node in sealed archives.

use peerage_api::{
    contacts::ContactChange,
    users::{AuthError, Update, UsersError},
};
use peerage_types::{Payload, ServiceName, UserId};

use crate::support::{Home, password};

fn notes() -> ServiceName {
    ServiceName::new("org.example.notes").unwrap()
}

/// A node, a user on it with a contact and storage, and its archive under `archive`.
async fn exported() -> (Home, UserId, Payload) {
    let home = Home::new();
    let alice = home.user("alice").await.session;
    let change = ContactChange { nick: Update::Set("Bobby".into()), ..ContactChange::default() };
    home.node.contacts(alice.auth()).set(UserId([2; 32]), change).await.unwrap();
    home.node.storage(alice.auth(), notes()).put("key", "value", None, None).await.unwrap();
    let users = home.node.users();
    let archive = users.export(alice.user, password("password"), password("archive")).await;
    (home, alice.user, archive.unwrap())
}

#[tokio::test]
async fn a_user_comes_whole_to_another_node() {
    let (_home, user, archive) = exported().await;
    let other = Home::new();
    let users = other.node.users();
    let local = users.import(archive, password("archive"), password("new")).await.unwrap();
    assert_eq!((local.user, local.sessions, local.deleted), (user, 0, false));
    assert_eq!(local.handle.unwrap().as_str(), "alice");
    assert_eq!(other.world.take_published()[0].profile.as_ref().unwrap().user, user);
    let old = users.login(user, password("password"), None).await;
    assert_eq!(old, Err(UsersError::WrongPassword {}));
    let auth = other.login(user, "new").await;
    let contact = other.node.contacts(auth.clone()).get(UserId([2; 32])).await.unwrap();
    assert_eq!(contact.nick.as_deref(), Some("Bobby"));
    let entry = other.node.storage(auth, notes()).get("key").await.unwrap();
    assert_eq!(entry.value.as_text(), Some("value"));
}

#[tokio::test]
async fn an_export_needs_the_password_and_an_import_that_of_the_archive() {
    let (home, user, archive) = exported().await;
    let users = home.node.users();
    let wrong = users.export(user, password("wrong"), password("archive")).await;
    assert_eq!(wrong, Err(UsersError::WrongPassword {}));
    let nobody = UserId([9; 32]);
    let unknown = users.export(nobody, password("password"), password("archive")).await;
    assert_eq!(unknown, Err(AuthError::NoSuchUser { user: nobody }.into()));
    let other = Home::new();
    let wrong = other.node.users().import(archive.clone(), password("x"), password("new")).await;
    assert_eq!(wrong, Err(UsersError::WrongArchivePassword {}));
    let here = users.import(archive, password("archive"), password("new")).await;
    assert_eq!(here, Err(UsersError::AlreadyHere { user }));
}

#[tokio::test]
async fn a_damaged_archive_is_refused_and_leaves_nothing() {
    let (_home, _, archive) = exported().await;
    let other = Home::new();
    let users = other.node.users();
    let mut broken: Vec<Payload> = vec![Payload::default(), Payload::from("garbage".to_owned())];
    let whole = archive.0;
    for len in [1, 16, 17, 48, 49, 60, 73, 100, whole.len() - 1] {
        broken.push(Payload(whole.slice(..len)));
    }
    for at in (0..whole.len()).step_by(97).chain(0..80) {
        let mut changed = whole.to_vec();
        changed[at] ^= 1;
        broken.push(Payload::from(changed));
    }
    let count = broken.len();
    for archive in broken {
        let refused = users.import(archive, password("archive"), password("new")).await;
        assert!(matches!(refused, Err(UsersError::BadArchive { .. })), "{refused:?}");
    }
    assert!(count > 90);
    assert_eq!(users.local().await.unwrap(), []);
    assert_eq!(other.store.accounts().load_blocking().unwrap(), <_>::default());
    users.import(Payload(whole), password("archive"), password("new")).await.unwrap();
}

#[tokio::test]
async fn a_user_whose_key_was_revoked_or_moved_is_not_brought_back() {
    let (home, user, archive) = exported().await;
    let (other, successor) = (Home::new(), Some(UserId([4; 32])));
    other.world.known().fates.insert(user, successor);
    let users = other.node.users();
    let refused = users.import(archive.clone(), password("archive"), password("new")).await;
    assert_eq!(refused, Err(UsersError::Revoked { user, successor }));
    // A key that has moved on, where the account lives: it is not replaced by its own past.
    let created = home.user("carol").await;
    let users = home.node.users();
    let past =
        users.export(created.session.user, password("password"), password("a")).await.unwrap();
    let auth = created.session.auth();
    let rotated = users.rotate(auth, password("password"), created.recovery).await.unwrap();
    home.world.known().fates.clear();
    let refused = users.import(past, password("a"), password("new")).await;
    assert_eq!(refused, Err(UsersError::AlreadyHere { user: rotated.user }));
}

#[tokio::test]
async fn an_archive_that_would_not_travel_is_refused() {
    let home = Home::new();
    let alice = home.user("alice").await.session;
    let storage = home.node.storage(alice.auth(), notes());
    for n in 0..25 {
        storage.put(format!("{n}"), vec![n; 256 << 10], None, None).await.unwrap();
    }
    let users = home.node.users();
    let large = users.export(alice.user, password("password"), password("a")).await;
    assert!(matches!(large, Err(UsersError::TooMany { .. })), "{large:?}");
    for n in 20..25 {
        storage.delete(format!("{n}"), None).await.unwrap();
    }
    let archive = users.export(alice.user, password("password"), password("a")).await.unwrap();
    assert!(archive.len() > 5 << 20);
    // 8 MiB is what a message of the control API may have.
    assert!(serde_json::to_string(&archive).unwrap().len() < (8 << 20) - (32 << 10));
    let other = Home::new();
    other.node.users().import(archive, password("a"), password("new")).await.unwrap();
    let auth = other.login(alice.user, "new").await;
    let entry = other.node.storage(auth, notes()).get("19").await.unwrap();
    assert_eq!(entry.value.0, vec![19; 256 << 10]);
}
