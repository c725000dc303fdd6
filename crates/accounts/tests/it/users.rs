//! Users are made, log in and out, and change their profiles.

use std::{collections::BTreeMap, time::Duration};

use peerage_accounts::Config;
use peerage_api::{
    LinkError,
    users::{Auth, AuthError, Event, MAX_SESSIONS, ProfileChange, Update, User, UsersError},
};
use peerage_store::Store;
use peerage_types::{PeerId, ServiceName, Token, UnixMillis, UserId};

use crate::support::{Home, config, password};

#[tokio::test]
async fn a_user_needs_nothing_but_a_password_and_is_logged_in_at_once() {
    let home = Home::new();
    let created = home.node.users().create(password("password"), None).await.unwrap();
    let user = created.session.user;
    let local = home.node.users().local().await.unwrap();
    assert_eq!(local.len(), 1);
    assert_eq!((local[0].user, local[0].sessions, local[0].deleted), (user, 1, false));
    let published = home.world.take_published();
    let profile = published.iter().find_map(|bundle| bundle.profile.clone()).unwrap();
    assert_eq!((profile.user, profile.seq, &profile.handle), (user, 1, &None));
    let presence = published.iter().find_map(|bundle| bundle.presences.first().cloned()).unwrap();
    assert!(presence.is_online(UnixMillis::now()));
    assert_eq!(presence.user, user);
}

#[tokio::test]
async fn every_call_needs_a_token_of_that_user() {
    let home = Home::new();
    let (alice, bob) = (home.user("alice").await, home.user("bob").await);
    let (alice, bob) = (alice.session, bob.session);
    let users = home.node.users();
    let refused = AuthError::NotAuthorised { user: alice.user };
    for token in [None, Some(bob.token.clone()), Some(Token::new([7; 32]))] {
        let auth = Auth { user: alice.user, token };
        assert_eq!(users.sessions(auth.clone()).await, Err(refused.clone().into()));
        assert_eq!(users.logout(auth.clone()).await, Err(refused.clone().into()));
        assert_eq!(users.revoke_all(auth.clone(), false).await, Err(refused.clone().into()));
        assert_eq!(users.revoke(auth.clone(), 1).await, Err(refused.clone().into()));
        let changed = users.update(auth.clone(), ProfileChange::default()).await;
        assert_eq!(changed, Err(refused.clone().into()));
        let changed = users.change_password(auth.clone(), password("password"), password("x"));
        assert_eq!(changed.await, Err(refused.clone().into()));
        let deleted = users.delete(auth.clone(), password("password"), false).await;
        assert_eq!(deleted, Err(refused.clone().into()));
        assert_eq!(home.accounts.blocked(&auth), Err(refused.clone()));
    }
    let nobody = UserId([9; 32]);
    let unknown = users.sessions(Auth::new(nobody, alice.token.clone())).await;
    assert_eq!(unknown, Err(AuthError::NoSuchUser { user: nobody }.into()));
    assert_eq!(users.sessions(alice.auth()).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_session_that_is_limited_to_a_service_may_only_end_itself() {
    let home = Home::new();
    let user = home.user("alice").await.session.user;
    let users = home.node.users();
    let notes = ServiceName::new("org.example.notes").unwrap();
    let limited = users.login(user, password("password"), Some(notes.clone())).await.unwrap();
    let refused = Err(AuthError::NotAuthorised { user }.into());
    assert_eq!(users.update(limited.auth(), ProfileChange::default()).await, refused);
    let own = home.node.storage(limited.auth(), notes);
    own.put("key", "value", None, None).await.unwrap();
    let mail = ServiceName::new("org.example.mail").unwrap();
    assert!(home.node.storage(limited.auth(), mail).get("key").await.is_err());
    users.logout(limited.auth()).await.unwrap();
}

#[tokio::test]
async fn an_expired_session_is_told_from_a_wrong_one() {
    let config = Config { idle_timeout: Duration::ZERO, ..config() };
    let home = Home::with(config, Store::in_memory());
    let session = home.user("alice").await.session;
    let user = session.user;
    let expired = AuthError::SessionExpired { user };
    let users = home.node.users();
    home.world.take_published();
    for _ in 0..2 {
        assert_eq!(users.sessions(session.auth()).await, Err(expired.clone().into()));
    }
    assert_eq!(users.logout(session.auth()).await, Err(expired.into()));
    let published = home.world.take_published();
    assert_eq!(published.len(), 1, "the presence is taken back");
    assert!(!published[0].presences[0].is_online(UnixMillis(0)));
    let bob = home.user("bob").await.session;
    assert_eq!(
        users.sessions(Auth::new(user, bob.token)).await,
        Err(AuthError::NotAuthorised { user }.into())
    );
}

#[tokio::test]
async fn what_has_expired_is_ended_even_if_nobody_asks() {
    let config = Config { session_timeout: Duration::ZERO, ..config() };
    let home = Home::with(config, Store::in_memory());
    let user = home.user("alice").await.session.user;
    home.world.take_published();
    home.accounts.on_time();
    let published = home.world.take_published();
    assert!(published.iter().any(|b| b.presences.iter().any(|p| p.expires <= p.issued)));
    assert_eq!(home.node.users().local().await.unwrap()[0].sessions, 0);
    assert!(!home.accounts.is_blocked(&user, &user));
}

#[tokio::test]
async fn a_presence_is_renewed_at_half_of_its_time_and_taken_back_with_the_last_session() {
    let config = Config { presence_timeout: Duration::ZERO, ..config() };
    let home = Home::with(config, Store::in_memory());
    let first = home.user("alice").await.session;
    let second = home.login(first.user, "password").await;
    let mut seen: Vec<_> =
        home.world.take_published().into_iter().flat_map(|bundle| bundle.presences).collect();
    assert_eq!(seen.len(), 1, "one for all sessions");
    home.accounts.on_time();
    seen.extend(home.world.take_published().into_iter().flat_map(|bundle| bundle.presences));
    assert_eq!(seen.len(), 2, "renewed");
    home.node.users().logout(first.auth()).await.unwrap();
    assert_eq!(home.world.take_published(), [], "another session lives");
    home.node.users().logout(second).await.unwrap();
    seen.extend(home.world.take_published().into_iter().flat_map(|bundle| bundle.presences));
    assert_eq!(seen.len(), 3);
    assert!(seen.windows(2).all(|pair| pair[0].seq < pair[1].seq));
    let fresh = Home::new();
    fresh.user("alice").await;
    fresh.world.take_published();
    fresh.world.known().met_again = Some(UnixMillis::now().plus(Duration::from_secs(1)));
    fresh.accounts.on_time();
    assert_eq!(fresh.world.take_published(), [], "not before half of the time, nor for each peer");
}

#[tokio::test]
async fn sessions_are_listed_revoked_and_bounded() {
    let home = Home::new();
    let users = home.node.users();
    let first = users.create(password("password"), None).await.unwrap().session;
    let second = users.login(first.user, password("password"), None).await.unwrap();
    let listed = users.sessions(first.auth()).await.unwrap();
    let numbers: Vec<_> = listed.iter().map(|s| (s.session, s.current)).collect();
    assert_eq!(numbers, [(first.session, true), (second.session, false)]);
    users.revoke(first.auth(), second.session).await.unwrap();
    let refused = Err(AuthError::NotAuthorised { user: first.user }.into());
    assert_eq!(users.sessions(second.auth()).await, refused);
    let gone = Err(UsersError::NoSuchSession { session: second.session });
    assert_eq!(users.revoke(first.auth(), second.session).await, gone);
    for _ in 1..MAX_SESSIONS {
        home.login(first.user, "password").await;
    }
    let too_many = users.login(first.user, password("password"), None).await;
    assert!(matches!(too_many, Err(UsersError::TooMany { .. })), "{too_many:?}");
    assert_eq!(users.revoke_all(first.auth(), true).await, Ok(MAX_SESSIONS as u64 - 1));
    assert_eq!(users.revoke_all(first.auth(), false).await, Ok(1));
    assert_eq!(users.sessions(first.auth()).await, refused);
}

#[tokio::test]
async fn wrong_passwords_are_refused_then_throttled() {
    let home = Home::new();
    let users = home.node.users();
    let user = home.user("alice").await.session.user;
    let nobody = UserId([9; 32]);
    let unknown = users.login(nobody, password("password"), None).await;
    assert_eq!(unknown, Err(AuthError::NoSuchUser { user: nobody }.into()));
    for _ in 0..4 {
        let wrong = users.login(user, password("wrong"), None).await;
        assert_eq!(wrong, Err(UsersError::WrongPassword {}));
    }
    home.login(user, "password").await;
    for _ in 0..5 {
        let wrong = users.export(user, password("wrong"), password("a")).await;
        assert_eq!(wrong, Err(UsersError::WrongPassword {}), "the right one began anew");
    }
    let throttled = users.login(user, password("password"), None).await;
    assert!(matches!(throttled, Err(UsersError::Throttled { retry_after_ms: 1..=1000 })));
    home.user("bob").await;
}

#[tokio::test]
async fn more_attempts_than_may_wait_are_refused() {
    let home = Home::new();
    let user = home.user("alice").await.session.user;
    let attempts: Vec<_> = (0..64)
        .map(|_| {
            let users = home.node.users();
            tokio::spawn(async move { users.login(user, password("password"), None).await })
        })
        .collect();
    let mut busy = 0;
    for attempt in attempts {
        match attempt.await.unwrap() {
            Ok(_) => {}
            Err(UsersError::Busy {}) => busy += 1,
            // The first session is that of its creation.
            other => panic!("{other:?}"),
        }
    }
    assert!(busy > 0, "64 at once are more than 34");
}

#[tokio::test]
async fn a_new_password_takes_the_place_of_the_old_one_and_sessions_go_on() {
    let home = Home::new();
    let users = home.node.users();
    let session = home.user("alice").await.session;
    let auth = session.auth();
    let wrong = users.change_password(auth.clone(), password("wrong"), password("new")).await;
    assert_eq!(wrong, Err(UsersError::WrongPassword {}));
    users.change_password(auth.clone(), password("password"), password("new")).await.unwrap();
    assert_eq!(users.sessions(auth).await.unwrap().len(), 1);
    let old = users.login(session.user, password("password"), None).await;
    assert_eq!(old, Err(UsersError::WrongPassword {}));
    home.login(session.user, "new").await;
}

fn named(name: &str) -> ProfileChange {
    ProfileChange { display_name: Update::Set(name.into()), ..ProfileChange::default() }
}

#[tokio::test]
async fn a_profile_changes_field_by_field_and_each_change_is_signed_and_told() {
    let home = Home::new();
    let users = home.node.users();
    let auth = home.user("alice").await.session.auth();
    let text = |topic: &str, text: &str| BTreeMap::from([(topic.into(), text.into())]);
    let change = ProfileChange { bio_set: text("likes", "bees"), ..named("Alice") };
    let user = users.update(auth.clone(), change).await.unwrap();
    assert_eq!((user.seq, user.display_name.as_deref()), (2, Some("Alice")));
    assert!(user.local && user.online && !user.revoked);
    let change = ProfileChange {
        handle: Update::Unset,
        bio_set: text("from", "Ghent"),
        bio_remove: ["likes".into()].into(),
        ..ProfileChange::default()
    };
    let user = users.update(auth.clone(), change).await.unwrap();
    assert_eq!((user.seq, user.handle, user.bio), (3, None, text("from", "Ghent")));
    assert_eq!(user.display_name.as_deref(), Some("Alice"), "what is ignored stays");
    home.world.take_published();
    let user = users.update(auth.clone(), named("Alice")).await.unwrap();
    assert_eq!(user.seq, 3, "nothing has changed");
    assert_eq!(home.world.take_published(), []);
    users.update(auth, named("Alicia")).await.unwrap();
    let told = home.world.take_published().remove(0).profile.unwrap();
    assert_eq!((told.seq, told.display_name.as_deref()), (4, Some("Alicia")));
}

#[tokio::test]
async fn a_profile_out_of_bounds_is_refused_and_nothing_has_changed() {
    let home = Home::new();
    let users = home.node.users();
    let auth = home.user("alice").await.session.auth();
    let long = users.update(auth.clone(), named(&"x".repeat(257))).await;
    assert!(matches!(long, Err(UsersError::BadField { .. })), "{long:?}");
    let bio = |count: usize, bytes: usize| ProfileChange {
        bio_set: (0..count).map(|n| (format!("{n}"), "x".repeat(bytes))).collect(),
        ..ProfileChange::default()
    };
    let many = users.update(auth.clone(), bio(33, 1)).await;
    assert!(matches!(many, Err(UsersError::TooMany { max: 32, .. })), "{many:?}");
    let large = users.update(auth.clone(), bio(4, 4096)).await;
    assert!(matches!(large, Err(UsersError::ProfileTooLarge { .. })), "{large:?}");
    assert_eq!(users.update(auth, named("Alice")).await.unwrap().seq, 2);
}

#[tokio::test]
async fn a_change_builds_on_what_another_node_of_the_user_has_signed() {
    let (home, other) = (Home::new(), Home::new());
    let alice = home.user("alice").await.session;
    let users = home.node.users();
    let archive = users.export(alice.user, password("password"), password("a")).await.unwrap();
    other.node.users().import(archive, password("a"), password("other")).await.unwrap();
    let there = other.login(alice.user, "other").await;
    for name in ["one", "two"] {
        other.node.users().update(there.clone(), named(name)).await.unwrap();
    }
    let newest = other.world.take_published().pop().unwrap();
    home.world.known().hear(&newest);
    let change = ProfileChange { handle: Update::Unset, ..ProfileChange::default() };
    let user = users.update(alice.auth(), change).await.unwrap();
    assert_eq!((user.seq, user.display_name.as_deref()), (4, Some("two")));
}

#[tokio::test]
async fn a_revoked_key_changes_no_profile_wherever_it_was_revoked() {
    let home = Home::new();
    let alice = home.user("alice").await.session;
    let user = alice.user;
    home.accounts.on_learned(&Event::Revoked { user, successor: None });
    let revoked = UsersError::Revoked { user, successor: None };
    // Told to a task; the row is durable once a change answers that.
    loop {
        match home.node.users().update(alice.auth(), named("Alice")).await {
            Err(error) => break assert_eq!(error, revoked),
            Ok(_) => tokio::task::yield_now().await,
        }
    }
    let export = home.node.users().export(user, password("password"), password("a")).await;
    export.unwrap();
}

#[tokio::test]
async fn profiles_are_told_at_start_without_anybody_logged_in() {
    let home = Home::new();
    let user = home.user("alice").await.session.user;
    let again = Home::with(config(), home.store.clone());
    again.accounts.start();
    let told: Vec<_> = again.world.take_published();
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].profile.as_ref().map(|p| (p.user, p.seq)), Some((user, 1)));
    assert!(told[0].presences.is_empty());
}

#[tokio::test]
async fn a_closed_node_takes_presences_back_and_answers_that_it_has_stopped() {
    let home = Home::new();
    let alice = home.user("alice").await.session;
    home.world.take_published();
    home.accounts.close();
    let told = home.world.take_published();
    assert!(told[0].presences[0].expires <= told[0].presences[0].issued);
    let answer = home.node.users().sessions(alice.auth()).await;
    assert_eq!(answer, Err(LinkError::Stopped.into()));
}

#[tokio::test]
async fn a_deleted_user_is_gone_or_kept_for_export() {
    let home = Home::new();
    let users = home.node.users();
    let (alice, bob) = (home.user("alice").await.session, home.user("bob").await.session);
    let wrong = users.delete(alice.auth(), password("wrong"), false).await;
    assert_eq!(wrong, Err(UsersError::WrongPassword {}));
    users.delete(alice.auth(), password("password"), false).await.unwrap();
    let gone = AuthError::NoSuchUser { user: alice.user };
    assert_eq!(users.sessions(alice.auth()).await, Err(gone.clone().into()));
    let login = users.login(alice.user, password("password"), None).await;
    assert_eq!(login, Err(gone.into()));
    let left = home.store.accounts().load_blocking().unwrap().accounts.len();
    assert_eq!(left, 1, "the row is gone");

    users.delete(bob.auth(), password("password"), true).await.unwrap();
    let refused = Err(AuthError::NotAuthorised { user: bob.user }.into());
    assert_eq!(users.sessions(bob.auth()).await, refused);
    let login = users.login(bob.user, password("password"), None).await;
    assert_eq!(login, Err(UsersError::Deleted { user: bob.user }));
    assert!(users.local().await.unwrap()[0].deleted);
    let archive = users.export(bob.user, password("password"), password("a")).await.unwrap();
    assert_eq!(home.world.known().released, [alice.user, bob.user]);
    // What was deleted here may be brought back.
    users.import(archive, password("a"), password("new")).await.unwrap();
    let auth = home.login(bob.user, "new").await;

    // Or be forgotten after all, by its password.
    let alive = users.forget(bob.user, password("new")).await;
    assert_eq!(alive, Err(UsersError::NotDeleted { user: bob.user }));
    users.delete(auth, password("new"), true).await.unwrap();
    let wrong = users.forget(bob.user, password("wrong")).await;
    assert_eq!(wrong, Err(UsersError::WrongPassword {}));
    assert_eq!(users.local().await.unwrap().len(), 1);
    users.forget(bob.user, password("new")).await.unwrap();
    assert_eq!(users.local().await.unwrap(), []);
    let gone = AuthError::NoSuchUser { user: bob.user };
    assert_eq!(users.forget(bob.user, password("new")).await, Err(gone.into()));
    assert_eq!(home.store.accounts().load_blocking().unwrap().accounts, []);
}

#[tokio::test]
async fn who_changes_its_profile_is_told_of_its_other_nodes_as_well() {
    let home = Home::new();
    let session = home.user("alice").await.session;
    let named = |name: &str| ProfileChange {
        display_name: Update::Set(name.into()),
        ..ProfileChange::default()
    };
    let users = home.node.users();
    let here = users.update(session.auth(), named("Alice")).await.unwrap();
    assert_eq!((here.nodes.len(), here.seq), (1, 2));
    let known = User { seq: 3, nodes: vec![PeerId::random(); 2], ..here };
    home.world.known().users.insert(session.user, known.clone());
    assert_eq!(users.update(session.auth(), named("Alicia")).await.unwrap(), known);
    let newer = users.update(session.auth(), named("Ali")).await.unwrap();
    assert_eq!(newer.display_name.as_deref(), Some("Ali"), "nothing old is told");
}
