//! What is on the disk: enough to log in after a restart, nothing in clear, damage is survived.

use bytes::Bytes;
use peerage_api::{
    contacts::ContactChange,
    users::{AuthError, Update, UsersError},
};
use peerage_store::{AccountChange, AccountId, SealKey, Store};
use peerage_types::{ServiceName, UserId};
use peerage_wire::identity::SigningKey;
use serde::Deserialize;

use crate::support::{Home, config, password};

fn notes() -> ServiceName {
    ServiceName::new("org.example.notes").unwrap()
}

#[tokio::test]
async fn users_log_in_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::open(dir.path());
    let users = home.node.users();
    let (alice, bob) = (home.user("alice").await.session, home.user("bob").await.session);
    users.change_password(alice.auth(), password("password"), password("new")).await.unwrap();
    home.stop().await;

    let home = Home::open(dir.path());
    let users = home.node.users();
    let local = users.local().await.unwrap();
    let shown = local.iter().map(|l| (l.handle.as_ref().unwrap().as_str(), l.sessions));
    let mut shown: Vec<_> = shown.collect();
    shown.sort_unstable();
    assert_eq!(shown, [("alice", 0), ("bob", 0)]);
    let refused = AuthError::NotAuthorised { user: alice.user };
    assert_eq!(users.sessions(alice.auth()).await, Err(refused.into()), "no session survives");
    let old = users.login(alice.user, password("password"), None).await;
    assert_eq!(old, Err(UsersError::WrongPassword {}));
    home.login(alice.user, "new").await;
    home.login(bob.user, "password").await;
    home.stop().await;
}

/// Seed and master key of an account, from its row and its password, after the documentation of
/// the format rather than the code: what is stored today must open for ever.
fn opened(id: AccountId, row: &[u8], password: &str) -> ([u8; 32], [u8; 32]) {
    #[derive(Deserialize)]
    struct Row {
        user: UserId,
        seed: Bytes,
        lock: Lock,
    }
    #[derive(Deserialize)]
    struct Lock {
        cost: Cost,
        salt: [u8; 16],
        wrapped: Bytes,
    }
    #[derive(Deserialize)]
    struct Cost {
        memory_kib: u32,
        passes: u32,
    }
    let row: Row = cbor4ii::serde::from_slice(&row[1..]).unwrap();
    let Cost { memory_kib, passes } = row.lock.cost;
    let params = argon2::Params::new(memory_kib, passes, 1, None).unwrap();
    let mut kek = [0; 32];
    argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params)
        .hash_password_into(password.as_bytes(), &row.lock.salt, &mut kek)
        .unwrap();
    let wrap = SealKey::new(kek).derive("peerage 2026 accounts wrapping of the master key");
    let master: [u8; 32] = wrap.open(&id.0, &row.lock.wrapped).unwrap()[..].try_into().unwrap();
    let seal = SealKey::new(master).derive("peerage 2026 accounts sealing of the private key");
    let bound = [&id.0[..], row.user.as_bytes()].concat();
    (seal.open(&bound, &row.seed).unwrap()[..].try_into().unwrap(), master)
}

#[tokio::test]
async fn a_stolen_file_shows_no_contact_note_or_key() {
    const SECRETS: [&str; 6] = [
        "nick-hedgehog",
        "notes-hedgehog",
        "tag-hedgehog",
        "key-hedgehog",
        "value-hedgehog",
        "password-hedgehog",
    ];
    let dir = tempfile::tempdir().unwrap();
    let home = Home::open(dir.path());
    let created = home.node.users().create(password(SECRETS[5]), None).await.unwrap();
    let (auth, user) = (created.session.auth(), created.session.user);
    let friend = UserId([0xd7; 32]);
    let change = ContactChange {
        nick: Update::Set(SECRETS[0].into()),
        notes: Update::Set(SECRETS[1].into()),
        tags_add: [SECRETS[2].into()].into(),
        ..ContactChange::default()
    };
    home.node.contacts(auth.clone()).set(friend, change).await.unwrap();
    home.node.storage(auth.clone(), notes()).put(SECRETS[3], SECRETS[4], None, None).await.unwrap();
    let (id, row) = home.store.accounts().load_blocking().unwrap().accounts.remove(0);
    let (seed, master) = opened(id, &row, SECRETS[5]);
    assert_eq!(SigningKey::from_bytes(&seed).verifying_key().as_bytes(), user.as_bytes());
    home.stop().await;

    let raw: Vec<u8> = std::fs::read_dir(dir.path())
        .unwrap()
        .map(|file| file.unwrap().path())
        .filter(|path| path.is_file())
        .flat_map(|path| std::fs::read(path).unwrap())
        .collect();
    let found = |needle: &[u8]| raw.windows(needle.len()).any(|window| window == needle);
    assert!(found(user.as_bytes()), "the file is the one that was written");
    for secret in SECRETS {
        assert!(!found(secret.as_bytes()), "{secret}");
    }
    for (what, secret) in [
        ("the private key", &seed[..]),
        ("the master key", &master[..]),
        ("the recovery code", created.recovery.expose()),
        ("the token", created.session.token.expose()),
        ("whom the user knows", friend.as_bytes()),
        ("which services it uses", notes().as_str().as_bytes()),
    ] {
        assert!(!found(secret), "{what}");
    }
}

/// Replaces the row of the only account by what `change` makes of it.
async fn damage(store: &Store, change: impl FnOnce(&mut Vec<u8>)) -> AccountId {
    let (id, row) = store.accounts().load_blocking().unwrap().accounts.remove(0);
    let mut row = row.to_vec();
    change(&mut row);
    let change = AccountChange::Account(id, Some(Bytes::from(row)));
    store.accounts().apply(vec![change]).await.unwrap();
    id
}

/// Where a field's bytes begin in a row.
fn position(row: &[u8], name: &str) -> usize {
    let at = row.windows(name.len()).position(|window| window == name.as_bytes()).unwrap();
    at + name.len() + 10
}

#[tokio::test]
async fn sealed_parts_that_do_not_open_are_told_from_a_wrong_password_and_kept() {
    for (field, what) in [("wrapped", "the master key"), ("seed", "the private key")] {
        let home = Home::new();
        let user = home.user("alice").await.session.user;
        damage(&home.store, |row| {
            let at = position(row, field);
            row[at] ^= 1;
        })
        .await;
        let rows = home.store.accounts().load_blocking().unwrap();
        let home = Home::with(config(), home.store);
        let wrong = home.node.users().login(user, password("wrong"), None).await;
        assert_eq!(wrong, Err(UsersError::WrongPassword {}));
        let damaged = home.node.users().login(user, password("password"), None).await;
        assert_eq!(damaged, Err(UsersError::Damaged { user, what: what.into() }));
        let damaged = home.node.users().export(user, password("password"), password("a")).await;
        assert_eq!(damaged, Err(UsersError::Damaged { user, what: what.into() }));
        assert_eq!(home.store.accounts().load_blocking().unwrap(), rows, "kept as it is");
    }
}

#[tokio::test]
async fn rows_that_cannot_be_read_are_passed_over_and_kept() {
    type Change = fn(&mut Vec<u8>);
    let changes: [Change; 5] = [
        |row| row.clear(),
        |row| row[0] = 99,
        |row| row.truncate(row.len() / 2),
        // The signature of the profile.
        |row| {
            let at = position(row, "profile");
            row[at] ^= 1;
        },
        // Memory for a password beyond reason.
        |row| {
            let at = position(row, "memory_kib") - 10;
            assert_eq!(row[at..at + 2], [0x18, 64]);
            row.splice(at..at + 2, [0x1a, 0xff, 0xff, 0xff, 0xff]);
        },
    ];
    for change in changes {
        let home = Home::new();
        let user = home.user("alice").await.session.user;
        damage(&home.store, change).await;
        let rows = home.store.accounts().load_blocking().unwrap();
        let home = Home::with(config(), home.store);
        let login = home.node.users().login(user, password("password"), None).await;
        assert_eq!(login, Err(AuthError::NoSuchUser { user }.into()));
        home.user("bob").await;
        let after = home.store.accounts().load_blocking().unwrap();
        assert!(after.accounts.contains(&rows.accounts[0]), "kept");
        assert_eq!(after.accounts.len(), 2);
    }
}

#[tokio::test]
async fn a_change_that_the_disk_refuses_has_not_happened() {
    let home = Home::new();
    let users = home.node.users();
    let alice = home.user("alice").await.session;
    home.store.clone().close().await.unwrap();
    let failed = users.change_password(alice.auth(), password("password"), password("new")).await;
    assert!(matches!(failed, Err(UsersError::Store { .. })), "{failed:?}");
    let failed = users.create(password("password"), None).await;
    assert!(matches!(failed, Err(UsersError::Store { .. })), "{failed:?}");
    assert_eq!(users.local().await.unwrap().len(), 1);
    let second = users.login(alice.user, password("password"), None).await;
    assert!(second.is_ok(), "the old password still opens it: {second:?}");
}
