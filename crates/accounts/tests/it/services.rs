//! Applications that act for users.

use peerage_api::{
    Feeding, Stream,
    services::{Event, Register, ServicesError},
};
use peerage_types::{ServiceName, Token};

use crate::support::Home;

fn notes(token: Option<Token>) -> Register {
    let name = ServiceName::new("org.example.notes").unwrap();
    let (version, description) = (Some("1.0".into()), Some("Keeps notes".into()));
    Register { name, version, description, token }
}

async fn next(events: &mut Stream<Event>) -> Event {
    match events.next().await {
        Some(Feeding::Item(event)) => event,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_service_learns_who_comes_and_goes_without_their_tokens() {
    let home = Home::new();
    let services = home.node.services();
    let alice = home.user("alice").await.session;
    let registered = services.register(notes(None)).await.unwrap();
    let mut events =
        services.watch(registered.name.clone(), registered.token.clone()).await.unwrap();
    assert_eq!(next(&mut events).await, Event::Opened { user: alice.user }, "those that are");
    let second = home.login(alice.user, "password").await;
    let bob = home.user("bob").await.session;
    assert_eq!(next(&mut events).await, Event::Opened { user: bob.user }, "once for each user");
    home.node.users().logout(alice.auth()).await.unwrap();
    home.node.users().logout(second).await.unwrap();
    assert_eq!(next(&mut events).await, Event::Closed { user: alice.user }, "the last session");
    home.login(alice.user, "password").await;
    assert_eq!(next(&mut events).await, Event::Opened { user: alice.user });
    assert!(services.list().await.unwrap()[0].watching);
    services.unregister(registered.name, registered.token).await.unwrap();
    assert!(events.next().await.is_none());
    assert_eq!(services.list().await.unwrap(), []);
}

#[tokio::test]
async fn a_service_proves_itself_by_its_token_even_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::open(dir.path());
    let registered = home.node.services().register(notes(None)).await.unwrap();
    home.stop().await;
    for file in std::fs::read_dir(dir.path()).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        assert!(!bytes.windows(32).any(|part| part == registered.token.expose()));
    }
    let home = Home::open(dir.path());
    let services = home.node.services();
    let name = registered.name.clone();
    for wrong in [None, Some(Token::new([0; 32]))] {
        let taken = ServicesError::Taken { name: name.clone() };
        assert_eq!(services.register(notes(wrong.clone())).await, Err(taken));
        let wrong = wrong.unwrap_or_else(|| Token::new([1; 32]));
        let refused = ServicesError::NotAuthorised { name: name.clone() };
        assert_eq!(services.unregister(name.clone(), wrong.clone()).await, Err(refused.clone()));
        assert_eq!(services.watch(name.clone(), wrong).await.err(), Some(refused));
    }
    let newer = Register { version: Some("2.0".into()), ..notes(Some(registered.token.clone())) };
    assert_eq!(services.register(newer).await.unwrap(), registered);
    assert_eq!(services.list().await.unwrap()[0].version, "2.0");
    services.unregister(name.clone(), registered.token.clone()).await.unwrap();
    let gone = ServicesError::NoSuchService { name: name.clone() };
    assert_eq!(services.unregister(name, registered.token).await, Err(gone));
    home.stop().await;
    assert_eq!(Home::open(dir.path()).node.services().list().await.unwrap(), []);
}

#[tokio::test]
async fn of_two_that_register_a_name_at_once_one_gets_it() {
    let home = Home::new();
    let services = home.node.services();
    let (one, two) = tokio::join!(services.register(notes(None)), services.register(notes(None)));
    assert_eq!([one.is_ok(), two.is_ok()].iter().filter(|ok| **ok).count(), 1);
}
