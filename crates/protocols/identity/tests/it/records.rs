use std::time::Duration;

use peerage_api::users::UsersError;
use peerage_identity::{Event, check_record, is_newer};
use peerage_types::{PeerId, UnixMillis};
use peerage_wire::identity::{RecordError, kad_key};

use crate::support::{Node, Person};

#[tokio::test]
async fn users_of_a_node_are_put_into_kademlia_and_others_found_there() {
    let (mut one, mut two) = (Node::new().await, Node::new().await);
    let ana = Person::new(1);
    one.directory.publish(&ana.profile(1, "ana"));
    let put = |event| match event {
        Event::PutRecord { key, value } => Some((key, value)),
        _ => None,
    };
    let (key, value) = one.event("a record", put).await;
    assert_eq!(key, kad_key(&ana.user()));

    let users = two.users.clone();
    let user = ana.user();
    let asked = tokio::spawn(async move { users.get(user).await });
    let need = |event| match event {
        Event::NeedRecord { user, key } => Some((user, key)),
        _ => None,
    };
    assert_eq!(two.event("a need", need).await, (user, key));
    two.run(move |swarm| swarm.behaviour_mut().on_record(user, Some(value))).await;
    assert_eq!(asked.await.unwrap().unwrap().user, user);
}

#[tokio::test]
async fn one_whom_nobody_knows_is_unknown_and_so_is_one_with_a_forged_record() {
    let mut node = Node::new().await;
    for (number, record) in [(1, None), (2, Some(Person::new(9).profile(1, "other").encode()))] {
        let (users, user) = (node.users.clone(), Person::new(number).user());
        let asked = tokio::spawn(async move { users.get(user).await });
        let need = |event| matches!(event, Event::NeedRecord { .. }).then_some(());
        node.event("a need", need).await;
        node.run(move |swarm| swarm.behaviour_mut().on_record(user, record)).await;
        assert_eq!(asked.await.unwrap(), Err(UsersError::Unknown { user }));
    }
    assert!(node.directory.get(&Person::new(9).user()).is_none());
}

#[test]
fn a_record_is_stored_only_under_the_key_of_its_user_and_if_it_is_valid() {
    let (ana, now) = (Person::new(1), UnixMillis::now());
    let (key, value) = (kad_key(&ana.user()), ana.profile(1, "ana").encode());
    assert!(check_record(&key, &value, now).is_ok());
    let other = kad_key(&Person::new(2).user());
    assert!(matches!(check_record(&other, &value, now), Err(RecordError::Field { .. })));
    assert!(matches!(
        check_record(&key, &value, UnixMillis(now.0 - 3_600_000)),
        Err(RecordError::Future { .. })
    ));
    for at in [0, 40, 100, value.len() - 1] {
        let mut wrong = value.to_vec();
        wrong[at] ^= 1;
        assert!(check_record(&key, &wrong, now).is_err(), "{at}");
    }
    assert!(check_record(&key, &vec![0; 16 << 10], now).is_err());
    let nowhere = ana.at(PeerId::random(), Duration::from_secs(60)).encode();
    assert_eq!(check_record(&key, &nowhere, now), Err(RecordError::Malformed));
}

#[test]
fn an_older_record_never_takes_the_place_of_a_newer_one() {
    let ana = Person::new(1);
    let plain = ana.profile(1, "ana");
    let mut online = plain.clone();
    online.presences = ana.at(PeerId::random(), Duration::from_secs(60)).presences;
    let renamed = ana.profile(2, "anabel");
    let order: Vec<_> = [plain, online, renamed].iter().map(|bundle| bundle.encode()).collect();
    for (older, newer) in [(0, 1), (1, 2), (0, 2)] {
        assert!(is_newer(&order[older], &order[newer]), "{older} {newer}");
        assert!(!is_newer(&order[newer], &order[older]), "{newer} {older}");
    }
    assert!(!is_newer(&order[0], &order[0]));
    assert!(is_newer(b"garbage", &order[0]) && !is_newer(&order[0], b"garbage"));
}
