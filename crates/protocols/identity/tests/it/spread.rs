use std::time::Duration;

use bytes::Bytes;
use libp2p::swarm::dial_opts::DialOpts;
use peerage_api::users::{Event as Told, Matching, Page, Search};
use peerage_identity::{Behaviour, Config, Event, Verdict};
use peerage_store::Store;
use peerage_types::{Network, PeerId};
use peerage_wire::identity::frames::push;

use crate::support::{Node, Person, within};

fn batch(bundles: &[peerage_wire::identity::Bundle]) -> Bytes {
    let mut batch = Vec::new();
    bundles.iter().for_each(|bundle| push(&mut batch, &bundle.encode()));
    batch.into()
}

async fn verdict(node: &mut Node, ticket: u64, data: Bytes) -> Verdict {
    node.gossip(ticket, PeerId::random(), data).await;
    let judged = move |event| match event {
        Event::Judged { ticket: of, verdict } if of == ticket => Some(verdict),
        _ => None,
    };
    node.event("a verdict", judged).await
}

#[tokio::test]
async fn two_who_meet_know_each_others_users() {
    let (one, two) = (Node::new().await, Node::new().await);
    let (ana, ben) = (Person::new(1), Person::new(2));
    one.directory.publish(&ana.profile(1, "ana"));
    two.directory.publish(&ben.profile(4, "ben"));
    one.dial(&two.address).await;
    one.knows(&ben, 4).await;
    two.knows(&ana, 1).await;
    let seen = two.users.get(ana.user()).await.unwrap();
    assert_eq!(seen.display_name.as_deref(), Some("The 1th ana"));
    assert!(!seen.local && one.users.get(ana.user()).await.unwrap().local);
}

#[tokio::test]
async fn a_change_reaches_who_knows_the_user_already_and_readers_of_events() {
    let (mut one, two) = (Node::new().await, Node::new().await);
    let ana = Person::new(1);
    one.directory.publish(&ana.profile(1, "ana"));
    one.dial(&two.address).await;
    two.knows(&ana, 1).await;
    one.message().await;
    let mut events = two.users.events().await.unwrap();
    one.directory.publish(&ana.profile(2, "anabel"));
    one.directory.publish(&ana.at(one.peer, Duration::from_secs(3600)));
    let message = one.message().await;
    two.gossip(1, one.peer, message).await;
    let (user, node) = (ana.user(), one.peer);
    let told = within("the news", async { [events.item().await, events.item().await] }).await;
    assert_eq!(told, [Some(Told::Changed { user, seq: 2 }), Some(Told::Online { user, node })]);
    let seen = two.users.get(user).await.unwrap();
    assert_eq!((seen.handle.unwrap().as_str(), seen.nodes), ("anabel", vec![node]));
}

#[tokio::test]
async fn messages_are_passed_on_only_if_they_are_new_and_valid() {
    let mut node = Node::new().await;
    let (ana, ben) = (Person::new(1), Person::new(2));
    let (first, second) = (ana.profile(1, "ana"), ben.profile(1, "ben"));
    assert_eq!(verdict(&mut node, 1, batch(std::slice::from_ref(&first))).await, Verdict::Accept);
    assert_eq!(verdict(&mut node, 2, batch(std::slice::from_ref(&first))).await, Verdict::Ignore);
    let both = batch(&[first, second.clone()]);
    assert_eq!(verdict(&mut node, 3, both.clone()).await, Verdict::Accept, "one is new");
    for (ticket, wrong) in (4..).zip([Bytes::new(), both.slice(1..), vec![7; 49 << 10].into()]) {
        assert_eq!(verdict(&mut node, ticket, wrong).await, Verdict::Reject);
    }
    let mut forged = Person::new(3).profile(1, "carl").encode().to_vec();
    *forged.last_mut().unwrap() ^= 1;
    let mut message = Vec::new();
    push(&mut message, &forged);
    assert_eq!(verdict(&mut node, 9, message.into()).await, Verdict::Reject);
    assert!(node.directory.profile(&Person::new(3).user()).is_none());
}

#[tokio::test]
async fn what_was_learned_of_one_network_is_told_to_the_other() {
    let (one, mut middle, two) = (Node::new().await, Node::new().await, Node::new().await);
    let ana = Person::new(1);
    middle.dial(&two.address).await;
    let ben = Person::new(2);
    two.directory.publish(&ben.profile(1, "ben"));
    middle.knows(&ben, 1).await;
    one.directory.publish(&ana.profile(1, "ana"));
    one.dial(&middle.address).await;
    middle.knows(&ana, 1).await;
    let message = middle.message().await;
    two.gossip(1, middle.peer, message).await;
    two.knows(&ana, 1).await;
}

#[tokio::test]
async fn known_users_are_listed_and_found() {
    let node = Node::new().await;
    for number in 0..25 {
        node.directory.publish(&Person::new(number).profile(1, &format!("user{number}")));
    }
    let page = |limit, after| Page { limit, after };
    let first = node.users.list(None, page(20, None)).await.unwrap();
    assert_eq!(first.items.len(), 20);
    let second = node.users.list(None, page(20, first.next)).await.unwrap();
    assert_eq!((second.items.len(), second.next), (5, None));
    let exact = node.users.list(None, page(25, None)).await.unwrap();
    assert_eq!((exact.items.len(), exact.next), (25, None), "no empty page follows");
    let search = |text: &str, matching| Search { text: text.into(), matching, ..Search::default() };
    let found = node.users.search(search("user1", Matching::Contains)).await.unwrap();
    // Every id begins with `user1`, which nobody means.
    assert_eq!(found.items.len(), 11);
    assert_eq!(found.items[0].handle.as_ref().unwrap().as_str(), "user1");
    let found = node.users.search(search("USER24", Matching::Exact)).await.unwrap();
    assert_eq!(found.items[0].user, Person::new(24).user());
    assert!(node.users.search(search("", Matching::Exact)).await.is_err());
    assert!(node.users.list(None, page(1, Some("x".into()))).await.is_err());
}

#[tokio::test]
async fn what_is_known_outlives_the_process() {
    let store = Store::in_memory();
    let (ana, ben) = (Person::new(1), Person::new(2));
    let one = Node::with(store.clone()).await;
    one.directory.publish(&ana.profile(3, "ana"));
    let mut learned = ben.profile(5, "ben");
    learned.presences = ben.at(PeerId::random(), Duration::from_secs(60)).presences;
    one.gossip(1, PeerId::random(), batch(&[learned])).await;
    one.knows(&ben, 5).await;
    one.directory.flush().await.unwrap();
    drop(one);
    let two = Node::with(store).await;
    two.users.get(ana.user()).await.unwrap();
    let seen = two.users.get(ben.user()).await.unwrap();
    assert!(seen.online && !seen.local && seen.last_seen_ms.is_some());
    assert!(two.directory.get(&ana.user()).unwrap().local);
}

#[tokio::test]
async fn a_node_that_crashed_does_not_say_that_users_are_still_here() {
    let (store, peer, ana) = (Store::in_memory(), PeerId::random(), Person::new(1));
    let start = || Behaviour::new(Config::new(Network::default(), peer), store.clone());
    let crashed = start();
    let directory = crashed.directory();
    directory.publish(&ana.profile(1, "ana"));
    directory.publish(&ana.at(peer, Duration::from_secs(60)));
    assert!(directory.is_online(&ana.user()));
    directory.flush().await.unwrap();
    drop(crashed);
    let again = start();
    let directory = again.directory();
    let loaded = async {
        while directory.profile(&ana.user()).is_none() {
            tokio::task::yield_now().await;
        }
    };
    within("the load", loaded).await;
    let shown = directory.get(&ana.user()).unwrap();
    assert!(shown.local && !shown.online && shown.nodes.is_empty());
    // Nor when it says so anew.
    directory.publish(&ana.at(peer, Duration::from_secs(60)));
    assert!(directory.is_online(&ana.user()));
}

#[tokio::test]
async fn users_of_a_node_that_can_no_longer_be_reached_are_not_shown_as_online() {
    let (one, two) = (Node::new().await, Node::new().await);
    let ana = Person::new(1);
    one.directory.publish(&ana.profile(1, "ana"));
    one.directory.publish(&ana.at(one.peer, Duration::from_secs(3600)));
    let mut events = two.users.events().await.unwrap();
    two.dial(&one.address).await;
    let (node, user) = (one.peer, ana.user());
    let online = Some(Told::Online { user, node });
    within("the login", async { while events.item().await != online {} }).await;
    assert_eq!(two.directory.met_again(), None);
    let address = one.address.clone();
    drop(one);
    let gone = async { while two.is_connected(node).await {} };
    within("the end of the connection", gone).await;
    assert!(two.directory.is_online(&user), "it may have been a short break");
    two.run(move |swarm| {
        swarm.dial(DialOpts::peer_id(node).addresses(vec![address]).build()).unwrap();
    })
    .await;
    assert_eq!(within("the news", events.item()).await, Some(Told::Offline { user, node }));
    let shown = two.directory.get(&user).unwrap();
    assert!(!shown.online && shown.last_seen_ms.is_some());
}
