use peerage_api::{
    Feeding, Open,
    services::{Event, Watch},
};
use tokio::sync::mpsc;

use super::*;

const NOW: UnixMillis = UnixMillis(1_000);

fn name(text: &str) -> ServiceName {
    ServiceName::new(text).unwrap()
}

fn request(text: &str, token: Option<Token>) -> Register {
    let (version, description) = (Some("1".into()), Some("does it".into()));
    Register { name: name(text), version, description, token }
}

/// Registers, and returns what is stored.
fn register(registry: &mut Registry, text: &str) -> (Token, (String, Bytes)) {
    let registration = registry.plan_registration(request(text, None), NOW).unwrap();
    let AccountChange::Service(name, Some(row)) = registration.change() else { panic!() };
    let token = registration.token.clone();
    registry.adopt(registration);
    (token, (name, row))
}

fn follow(
    registry: &Registry,
    service: &str,
    token: &Token,
) -> Result<mpsc::Receiver<Feeding<Event>>, ServicesError> {
    let follower = registry.follow(&name(service), Some(token))?;
    let watch = Watch { name: name(service), token: Some(token.clone()) };
    // Room for one: a service that reads slowly.
    let (open, _, items) = Open::new(watch, 1);
    tokio::spawn(follower.run(open.accept().1));
    Ok(items)
}

#[test]
fn only_the_hash_of_a_token_is_stored_and_it_is_good_after_a_restart() {
    let mut registry = Registry::default();
    let (token, row) = register(&mut registry, "org.example.notes");
    assert!(!row.1.windows(32).any(|bytes| bytes == token.expose()));
    let again = Registry::restore(vec![row]);
    assert!(again.is_token(&name("org.example.notes"), &token));
    assert!(!again.is_token(&name("org.example.other"), &token));
    assert!(!again.is_token(&name("org.example.notes"), &Token::new([0; 32])));
    assert_eq!(again.list(), registry.list());
    assert!(!format!("{registry:?}").contains(&token.to_text()));
}

#[test]
fn a_name_that_is_taken_is_changed_with_its_token_alone() {
    let mut registry = Registry::default();
    let (token, _) = register(&mut registry, "a");
    let (foreign, _) = register(&mut registry, "b");
    let taken = ServicesError::Taken { name: name("a") };
    for wrong in [None, Some(foreign)] {
        assert_eq!(registry.plan_registration(request("a", wrong), NOW).unwrap_err(), taken);
    }
    let newer = Register {
        version: Some("2".into()),
        description: None,
        ..request("a", Some(token.clone()))
    };
    let registration = registry.plan_registration(newer, UnixMillis(9_000)).unwrap();
    assert_eq!(registration.token, token);
    registry.adopt(registration);
    let listed = &registry.list()[0];
    assert_eq!((listed.version.as_str(), listed.registered_ms), ("2", NOW));
    assert_eq!(listed.description, "does it", "what is not given stays");
    registry.remove(&name("a"));
    let anew = registry.plan_registration(request("a", Some(token.clone())), NOW).unwrap();
    assert_ne!(anew.token, token, "an old token is worth nothing");
}

#[test]
fn texts_and_services_are_bounded() {
    let mut registry = Registry::default();
    let refused = |registry: &Registry, request| match registry.plan_registration(request, NOW) {
        Err(ServicesError::BadField { field, .. }) => field,
        Err(ServicesError::TooMany { what, .. }) => what,
        other => panic!("{other:?}"),
    };
    let long = Register { version: Some("1".repeat(65)), ..request("a", None) };
    assert_eq!(refused(&registry, long), "version");
    let long = Register { description: Some("x".repeat(1025)), ..request("a", None) };
    assert_eq!(refused(&registry, long), "description");
    let control = Register { description: Some("\x1b[2J".into()), ..request("a", None) };
    assert_eq!(refused(&registry, control), "description");
    let tokens: Vec<_> =
        (0..MAX_SERVICES).map(|at| register(&mut registry, &at.to_string()).0).collect();
    assert_eq!(refused(&registry, request("a", None)), "services");
    assert!(registry.plan_registration(request("0", Some(tokens[0].clone())), NOW).is_ok());
}

#[test]
fn a_service_that_cannot_be_read_keeps_its_name() {
    let mut registry = Registry::default();
    let (token, (text, row)) = register(&mut registry, "a");
    let newer = [&[2], &row[1..]].concat().into();
    let rows = vec![(text, newer), ("Not A Name".into(), row)];
    let again = Registry::restore(rows);
    assert_eq!(again.list(), []);
    assert!(!again.is_token(&name("a"), &token));
    let taken = again.plan_registration(request("a", Some(token)), NOW).unwrap_err();
    assert_eq!(taken, ServicesError::Taken { name: name("a") });
}

#[tokio::test]
async fn a_slow_service_learns_of_every_user_that_is_there() {
    let mut registry = Registry::default();
    let (token, _) = register(&mut registry, "a");
    let users: Vec<_> = (0..100).map(|id| UserId([id; 32])).collect();
    users.iter().for_each(|user| registry.on_opened(*user));
    let mut items = follow(&registry, "a", &token).unwrap();
    for user in &users {
        assert_eq!(items.recv().await, Some(Feeding::Item(Event::Opened { user: *user })));
    }
    registry.on_closed(users[1]);
    assert_eq!(items.recv().await, Some(Feeding::Item(Event::Closed { user: users[1] })));
    registry.on_moved(users[2], users[1]);
    assert_eq!(items.recv().await, Some(Feeding::Item(Event::Closed { user: users[2] })));
    assert_eq!(items.recv().await, Some(Feeding::Item(Event::Opened { user: users[1] })));
}

#[tokio::test]
async fn feeds_end_with_their_service_and_are_bounded() {
    let mut registry = Registry::default();
    let (token, _) = register(&mut registry, "a");
    let (other, _) = register(&mut registry, "b");
    registry.on_opened(UserId([1; 32]));
    registry.on_opened(UserId([2; 32]));
    assert!(!registry.list()[0].watching);
    let mut feeds: Vec<_> =
        (0..MAX_FOLLOWERS).map(|_| follow(&registry, "a", &token).unwrap()).collect();
    assert!(registry.list()[0].watching && !registry.list()[1].watching);
    let refused = follow(&registry, "a", &token).unwrap_err();
    assert!(matches!(refused, ServicesError::TooMany { max: 16, .. }));
    let refused = follow(&registry, "a", &other).unwrap_err();
    assert_eq!(refused, ServicesError::NotAuthorised { name: name("a") });
    let refused = follow(&registry, "c", &other).unwrap_err();
    assert_eq!(refused, ServicesError::NoSuchService { name: name("c") });
    // Even one that waits for its reader.
    registry.remove(&name("a"));
    for items in &mut feeds {
        while items.recv().await.is_some() {}
    }
}
