//! The contact book.

use peerage_api::{
    Feeding, Stream,
    contacts::{ContactChange, ContactQuery, ContactsError, Event},
    users::{self, Auth, AuthError, Page, Update},
};
use peerage_types::{Handle, Token, UnixMillis, UserId};

use crate::support::Home;

fn friend() -> ContactChange {
    ContactChange {
        nick: Update::Set("Ally".into()),
        trust: Update::Set(-30),
        tags_add: ["band".to_owned()].into(),
        ..ContactChange::default()
    }
}

async fn next(events: &mut Stream<Event>) -> Event {
    match events.next().await {
        Some(Feeding::Item(event)) => event,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_book_is_private_and_sealed_while_its_user_is_logged_out() {
    let home = Home::new();
    let alice = home.user("alice").await.session.auth();
    let bob = home.user("bob").await.session.auth();
    let set = home.node.contacts(alice.clone()).set(bob.user, friend()).await.unwrap();
    assert_eq!((set.nick.as_deref(), set.trust), (Some("Ally"), -30));
    assert_eq!(set.handle, Some(Handle::new("bob").unwrap()));
    let unknown = ContactsError::NoSuchContact { contact: bob.user };
    assert_eq!(home.node.contacts(bob.clone()).get(bob.user).await, Err(unknown));
    let mut events = home.node.contacts(alice.clone()).watch().await.unwrap();
    home.node.users().logout(alice.clone()).await.unwrap();
    assert!(events.next().await.is_none());
    let refused = ContactsError::Auth(AuthError::NotAuthorised { user: alice.user });
    for token in [None, alice.token, bob.token, Some(Token::new([1; 32]))] {
        let contacts = home.node.contacts(Auth { user: alice.user, token });
        let list = contacts.list(ContactQuery::default(), Page::default()).await;
        assert_eq!(list, Err(refused.clone()));
        assert_eq!(contacts.get(bob.user).await, Err(refused.clone()));
        assert_eq!(contacts.set(bob.user, friend()).await, Err(refused.clone()));
        assert_eq!(contacts.remove(bob.user).await, Err(refused.clone()));
        assert_eq!(contacts.verify(bob.user, None).await, Err(refused.clone()));
        assert_eq!(contacts.block(bob.user).await, Err(refused.clone()));
        assert_eq!(contacts.unblock(bob.user).await, Err(refused.clone()));
        assert_eq!(contacts.safety_number(bob.user).await, Err(refused.clone()));
        assert_eq!(contacts.watch().await.err(), Some(refused.clone()));
    }
    let again = home.login(alice.user, "password").await;
    assert_eq!(home.node.contacts(again).get(bob.user).await, Ok(set));
}

#[tokio::test]
async fn a_contact_is_verified_by_the_number_that_both_see() {
    let home = Home::new();
    let alice = home.user("alice").await.session.auth();
    let bob = home.user("bob").await.session.auth();
    let (a, b) = (home.node.contacts(alice.clone()), home.node.contacts(bob.clone()));
    let number = b.safety_number(alice.user).await.unwrap();
    assert_eq!(a.safety_number(bob.user).await.unwrap(), number);
    let other = a.safety_number(UserId([1; 32])).await.unwrap();
    let mismatch = ContactsError::SafetyMismatch { contact: bob.user };
    assert_eq!(a.verify(bob.user, Some(other.digits)).await, Err(mismatch));
    let unreadable = a.verify(bob.user, Some("12345".into())).await;
    assert!(matches!(unreadable, Err(ContactsError::BadField { .. })));
    assert!(matches!(a.get(bob.user).await, Err(ContactsError::NoSuchContact { .. })));
    assert!(a.verify(bob.user, Some(number.qr)).await.unwrap().verified);
    assert!(b.verify(alice.user, Some(number.digits)).await.unwrap().verified);
    assert_eq!(a.verify(alice.user, None).await, Err(ContactsError::Own {}));
    assert_eq!(a.safety_number(alice.user).await, Err(ContactsError::Own {}));
    let verified = ContactQuery { verified: Some(true), ..ContactQuery::default() };
    assert_eq!(a.list(verified, Page::default()).await.unwrap().items.len(), 1);
}

#[tokio::test]
async fn who_is_blocked_is_known_until_the_block_is_lifted() {
    let home = Home::new();
    let alice = home.user("alice").await.session.auth();
    let contacts = home.node.contacts(alice.clone());
    let eve = UserId([1; 32]);
    assert!(contacts.block(eve).await.unwrap().blocked);
    assert_eq!(home.accounts.blocked(&alice), Ok([eve].into()));
    assert!(home.accounts.is_blocked(&alice.user, &eve));
    home.node.users().logout(alice.clone()).await.unwrap();
    let alice = home.login(alice.user, "password").await;
    assert_eq!(home.accounts.blocked(&alice), Ok([eve].into()));
    let contacts = home.node.contacts(alice.clone());
    assert!(!contacts.unblock(eve).await.unwrap().blocked);
    assert_eq!(home.accounts.blocked(&alice), Ok([].into()));
    let stranger = UserId([2; 32]);
    let unknown = ContactsError::NoSuchContact { contact: stranger };
    assert_eq!(contacts.unblock(stranger).await, Err(unknown));
}

#[tokio::test]
async fn news_of_contacts_reach_the_reader_and_the_disk() {
    let home = Home::new();
    let alice = home.user("alice").await.session.auth();
    let bob = home.user("bob").await.session;
    let contacts = home.node.contacts(alice.clone());
    contacts.set(bob.user, friend()).await.unwrap();
    let mut events = contacts.watch().await.unwrap();
    contacts.set(bob.user, ContactChange::default()).await.unwrap();
    assert_eq!(next(&mut events).await, Event::Changed { contact: bob.user });

    home.accounts.on_learned(&users::Event::Changed { user: bob.user, seq: 1 });
    assert_eq!(next(&mut events).await, Event::Changed { contact: bob.user });
    let eve = home.user("bob").await.session;
    home.accounts.on_learned(&users::Event::Changed { user: eve.user, seq: 1 });
    let handle = Handle::new("bob").unwrap();
    let lookalike = Event::Lookalike { contact: bob.user, other: eve.user, handle };
    assert_eq!(next(&mut events).await, lookalike);

    let new = UserId([7; 32]);
    home.world.known().fates.insert(bob.user, Some(new));
    let moved = users::Event::Revoked { user: bob.user, successor: Some(new) };
    home.accounts.on_learned(&moved);
    assert_eq!(next(&mut events).await, Event::Moved { from: bob.user, to: new });
    home.accounts.on_learned(&moved);
    assert_eq!(contacts.get(new).await.unwrap().nick.as_deref(), Some("Ally"));
    home.accounts.on_learned(&users::Event::Revoked { user: new, successor: None });
    assert_eq!(next(&mut events).await, Event::Revoked { contact: new });
    contacts.remove(new).await.unwrap();
    assert_eq!(next(&mut events).await, Event::Removed { contact: new });
}

#[tokio::test]
async fn contacts_are_there_after_a_restart_and_have_followed_moves() {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::open(dir.path());
    let alice = home.user("alice").await.session.auth();
    let [old, new] = [1, 2].map(|id| UserId([id; 32]));
    home.node.contacts(alice.clone()).set(old, friend()).await.unwrap();
    home.stop().await;
    let home = Home::open(dir.path());
    home.world.known().fates.insert(old, Some(new));
    let again = home.login(alice.user, "password").await;
    let moved = home.node.contacts(again).get(new).await.unwrap();
    assert_eq!((moved.nick.as_deref(), moved.moved_from), (Some("Ally"), Some(old)));
    assert!(moved.added_ms > UnixMillis(0));
    let pinned = |user| home.world.known().pins.get(&user).copied().unwrap_or_default();
    assert_eq!((pinned(old), pinned(new)), (0, 1));
    home.accounts.close();
    home.store.flush().await.unwrap();
}

#[tokio::test]
async fn changes_of_one_contact_at_once_are_all_there_in_the_end() {
    let home = Home::new();
    let alice = home.user("alice").await.session.auth();
    let contacts = home.node.contacts(alice.clone());
    let tag = |at: u8| {
        let tags_add = [format!("tag {at}")].into();
        let change = ContactChange { tags_add, ..ContactChange::default() };
        let contacts = contacts.clone();
        tokio::spawn(async move { contacts.set(UserId([1; 32]), change).await.unwrap() })
    };
    for change in (0..32).map(tag).collect::<Vec<_>>() {
        change.await.unwrap();
    }
    assert_eq!(contacts.get(UserId([1; 32])).await.unwrap().tags.len(), 32);
    home.node.users().logout(alice.clone()).await.unwrap();
    let again = home.login(alice.user, "password").await;
    let stored = home.node.contacts(again).get(UserId([1; 32])).await.unwrap();
    assert_eq!(stored.tags.len(), 32);
}
