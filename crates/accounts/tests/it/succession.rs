//! Keys are moved and revoked with recovery codes.

use peerage_api::users::{Auth, AuthError, ProfileChange, Update, UsersError};
use peerage_types::{RecoveryCode, ServiceName, UnixMillis};

use crate::support::{Home, config, password};

fn named(name: &str) -> ProfileChange {
    ProfileChange { display_name: Update::Set(name.into()), ..ProfileChange::default() }
}

#[tokio::test]
async fn a_user_moves_to_a_new_key_with_its_sessions_profile_and_storage() {
    let home = Home::new();
    let users = home.node.users();
    let created = home.user("alice").await;
    let (old, token) = (created.session.user, created.session.token.clone());
    users.update(created.session.auth(), named("Alice")).await.unwrap();
    let notes = ServiceName::new("org.example.notes").unwrap();
    let before = home.node.storage(created.session.auth(), notes.clone());
    before.put("key", "value", None, None).await.unwrap();
    home.world.take_published();

    let rotated = users
        .rotate(created.session.auth(), password("password"), created.recovery.clone())
        .await
        .unwrap();
    assert_eq!(rotated.previous, old);
    assert_ne!(rotated.user, old);
    assert_ne!(rotated.recovery, created.recovery);

    let told = home.world.take_published();
    let moved = told[0].succession.as_ref().unwrap();
    assert_eq!((moved.user, moved.successor), (old, Some(rotated.user)));
    assert!(moved.check_commitment(&told[0].profile.as_ref().unwrap().recovery).is_ok());
    let profile = told.iter().filter_map(|b| b.profile.as_ref()).find(|p| p.user == rotated.user);
    let profile = profile.unwrap();
    assert_eq!((profile.seq, profile.display_name.as_deref()), (1, Some("Alice")));
    let presence = told.iter().find_map(|bundle| bundle.presences.first()).unwrap();
    assert!(presence.user == rotated.user && presence.is_online(UnixMillis::now()));

    let auth = Auth::new(rotated.user, token.clone());
    assert_eq!(users.sessions(auth.clone()).await.unwrap().len(), 1);
    assert_eq!(users.update(auth.clone(), named("Alicia")).await.unwrap().seq, 2);
    let after = home.node.storage(auth, notes.clone());
    assert_eq!(after.get("key").await.unwrap().value.as_text(), Some("value"));
    let gone = AuthError::NoSuchUser { user: old };
    assert_eq!(users.sessions(Auth::new(old, token)).await, Err(gone.clone().into()));
    assert_eq!(users.login(old, password("password"), None).await, Err(gone.into()));

    // The same after a restart, which tells everything again.
    let again = Home::with(config(), home.store.clone());
    let auth = again.login(rotated.user, "password").await;
    let kept = again.node.storage(auth.clone(), notes).get("key").await.unwrap();
    assert_eq!(kept.value.as_text(), Some("value"));
    again.world.take_published();
    again.accounts.start();
    let told = again.world.take_published();
    assert!(told.iter().any(|bundle| bundle.succession.as_ref() == Some(moved)));
    let twice = again.node.users();
    let twice = twice.rotate(auth, password("password"), rotated.recovery).await.unwrap();
    assert_eq!(twice.previous, rotated.user);
}

#[tokio::test]
async fn a_key_moves_only_with_password_and_recovery_code() {
    let home = Home::new();
    let users = home.node.users();
    let created = home.user("alice").await;
    let (auth, user) = (created.session.auth(), created.session.user);
    let wrong = RecoveryCode::new([1; 32]);
    let refused = users.rotate(auth.clone(), password("password"), wrong.clone()).await;
    assert_eq!(refused, Err(UsersError::WrongRecovery { user }));
    let refused = users.rotate(auth.clone(), password("wrong"), created.recovery.clone()).await;
    assert_eq!(refused, Err(UsersError::WrongPassword {}));
    let refused = users.revoke_key(user, wrong).await;
    assert_eq!(refused, Err(UsersError::WrongRecovery { user }));
    assert_eq!(users.update(auth, named("Alice")).await.unwrap().seq, 2, "nothing has changed");
}

#[tokio::test]
async fn a_key_is_revoked_for_ever_where_it_lives() {
    let home = Home::new();
    let users = home.node.users();
    let created = home.user("alice").await;
    let user = created.session.user;
    home.world.take_published();
    users.revoke_key(user, created.recovery.clone()).await.unwrap();
    let told = home.world.take_published().remove(0).succession.unwrap();
    assert_eq!((told.user, told.successor), (user, None));
    let revoked = UsersError::Revoked { user, successor: None };
    let auth = created.session.auth();
    let again = users.revoke_key(user, created.recovery.clone()).await;
    assert_eq!(again, Err(revoked.clone()));
    assert_eq!(users.update(auth.clone(), named("A")).await, Err(revoked.clone()));
    let moved = users.rotate(auth, password("password"), created.recovery).await;
    assert_eq!(moved, Err(revoked.clone()));
    // Remembered here, even if the world forgets.
    let restarted = Home::with(config(), home.store.clone());
    let auth = restarted.login(user, "password").await;
    assert_eq!(restarted.world.take_published(), [], "no presence under a revoked key");
    let changed = restarted.node.users().update(auth, named("A")).await;
    assert_eq!(changed, Err(revoked));
}

#[tokio::test]
async fn any_node_that_knows_the_profile_can_revoke_a_key() {
    let (home, other) = (Home::new(), Home::new());
    let created = home.user("alice").await;
    let user = created.session.user;
    let unknown = other.node.users().revoke_key(user, created.recovery.clone()).await;
    assert_eq!(unknown, Err(UsersError::Unknown { user }));
    for bundle in home.world.take_published() {
        other.world.known().hear(&bundle);
    }
    other.node.users().revoke_key(user, created.recovery).await.unwrap();
    assert_eq!(other.world.take_published()[0].succession.as_ref().unwrap().user, user);
}
