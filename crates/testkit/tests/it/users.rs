//! Users on whole nodes: what only shows when accounts, directory, gossip and Kademlia are composed.

use std::collections::BTreeSet;

use futures::StreamExt as _;
use libp2p::{
    PeerId, StreamProtocol, SwarmBuilder, identify,
    identity::Keypair,
    kad::{self, Quorum, Record, RecordKey, store::MemoryStore},
    noise,
    swarm::{NetworkBehaviour, SwarmEvent},
    tcp, yamux,
};
use peerage_api::{
    contacts::{ContactChange, Event as BookEvent},
    pubsub::PubsubError,
    types::{Network, Topic, UnixMillis, UserId},
    users::{ProfileChange, Update, UsersError},
};
use peerage_net::{Settings, start};
use peerage_testkit::{
    Net, loopback,
    suite::users::{handle, known, password, until, user},
    within,
};
use peerage_wire::identity::{
    Bundle, Profile, Signed, SigningKey, kad_key, recovery_commitment, topic,
};

fn named(name: &str) -> ProfileChange {
    let display_name = Update::Set(name.to_owned());
    ProfileChange { display_name, ..ProfileChange::default() }
}

#[tokio::test]
async fn a_profile_and_its_changes_go_down_a_line_of_nodes_and_to_one_that_joins_later() {
    let net = Net::start(4).await;
    let ada = user(net.node(0), "ada").await;
    net.connect(0, 1).await;
    net.connect(1, 2).await;
    known(net.node(2), ada.user, 1).await;
    net.node(0).users().update(ada.auth(), named("Ada")).await.unwrap();
    let seen = known(net.node(2), ada.user, 2).await;
    assert_eq!(seen.display_name.as_deref(), Some("Ada"));
    assert_eq!(seen.nodes, [net.nodes[0].peer_id]);
    net.connect(3, 2).await;
    known(net.node(3), ada.user, 2).await;
    net.stop().await;
}

#[tokio::test]
async fn who_logs_out_or_whose_node_stops_is_offline_everywhere() {
    let mut net = Net::start(2).await;
    let (ada, ben) = (user(net.node(0), "ada").await, user(net.node(0), "ben").await);
    net.connect(0, 1).await;
    until("Ada to be online", net.node(1), ada.user, |user| user.online).await;
    net.node(0).users().logout(ada.auth()).await.unwrap();
    let gone = until("Ada to be offline", net.node(1), ada.user, |user| !user.online).await;
    assert!(gone.last_seen_ms.is_some());
    let there = until("Ben to be there", net.node(1), ben.user, |user| user.online).await;
    assert_eq!(there.nodes, [net.nodes[0].peer_id]);
    let first = net.nodes.remove(0);
    within("the stop", first.stop()).await;
    until("Ben to be offline", net.node(0), ben.user, |user| !user.online).await;
    net.stop().await;
}

#[tokio::test]
async fn a_user_lives_on_two_nodes_at_once_and_either_may_change_its_profile() {
    let net = Net::start(3).await;
    let ada = user(net.node(0), "ada").await;
    net.connect(0, 1).await;
    net.connect(1, 2).await;
    let sealed = || "archive".parse().unwrap();
    let archive = net.node(0).users().export(ada.user, password(), sealed()).await.unwrap();
    net.node(1).users().import(archive, sealed(), password()).await.unwrap();
    let there = net.node(1).users().login(ada.user, password(), None).await.unwrap();
    let both = BTreeSet::from([net.nodes[0].peer_id, net.nodes[1].peer_id]);
    until("both nodes to be known", net.node(2), ada.user, |user| {
        user.nodes.iter().copied().collect::<BTreeSet<_>>() == both
    })
    .await;
    net.node(1).users().update(there.auth(), named("from there")).await.unwrap();
    known(net.node(0), ada.user, 2).await;
    let change = ProfileChange { handle: Update::Set(handle("lace")), ..named("from here") };
    net.node(0).users().update(ada.auth(), change).await.unwrap();
    let seen = known(net.node(2), ada.user, 3).await;
    assert_eq!(seen.display_name.as_deref(), Some("from here"));
    net.stop().await;
}

#[tokio::test]
async fn contacts_follow_a_user_to_its_new_key_and_the_old_one_is_refused() {
    let net = Net::start(2).await;
    let created = net.node(1).users().create(password(), Some(handle("ben"))).await.unwrap();
    let (ben, recovery) = (created.session, created.recovery);
    let ada = user(net.node(0), "ada").await;
    net.connect(0, 1).await;
    known(net.node(0), ben.user, 1).await;
    let book = net.node(0).contacts(ada.auth());
    let change = ContactChange {
        nick: Update::Set("Benny".to_owned()),
        trust: Update::Set(90),
        ..ContactChange::default()
    };
    book.set(ben.user, change).await.unwrap();
    book.verify(ben.user, None).await.unwrap();
    let mut events = book.watch().await.unwrap();
    let users = net.node(1).users();
    let moved = users.rotate(ben.auth(), password(), recovery.clone()).await.unwrap();
    assert_eq!(moved.previous, ben.user);
    let told = BookEvent::Moved { from: ben.user, to: moved.user };
    within("the contact to move", async { while events.item().await.unwrap() != told {} }).await;
    let followed = book.get(moved.user).await.unwrap();
    assert_eq!((followed.nick.as_deref(), followed.trust), (Some("Benny"), 90));
    assert_eq!((followed.moved_from, followed.verified), (Some(ben.user), false));
    assert_eq!(
        book.get(ben.user).await.unwrap(),
        followed,
        "whoever names the former key means the live one"
    );
    let old = until("the old key to be refused", net.node(0), ben.user, |user| user.revoked).await;
    assert_eq!(old.successor, Some(moved.user));
    let again = net.node(0).users().revoke_key(ben.user, recovery).await;
    let is_over =
        matches!(again, Err(UsersError::Revoked { successor: Some(to), .. }) if to == moved.user);
    assert!(is_over, "{again:?}");
    let wrong = net.node(0).users().revoke_key(moved.user, moved.recovery.clone()).await;
    assert_eq!(wrong, Ok(()), "anywhere, with nothing but the new code");
    until("the new key to be refused", net.node(1), moved.user, |user| user.revoked).await;
    net.stop().await;
}

#[tokio::test]
async fn who_was_known_is_known_after_a_restart_and_users_can_log_in_again() {
    let net = Net::start(1).await;
    let far = user(net.node(0), "far").await;
    let dir = tempfile::tempdir().unwrap();
    let settings = Settings { data: Some(dir.path().to_owned()), ..loopback() };
    let first = start(settings.clone()).await.unwrap();
    let ada = user(&first.node, "ada").await;
    first.node.peers().connect(net.nodes[0].listen[0].clone()).await.unwrap();
    known(&first.node, far.user, 1).await;
    first.node.contacts(ada.auth()).set(far.user, ContactChange::default()).await.unwrap();
    first.node.stop().await.unwrap();
    within("the stop", first.stopped()).await;
    net.stop().await;

    let second = start(settings).await.unwrap();
    let still = until("the other to be known", &second.node, far.user, |user| user.seq == 1).await;
    assert_eq!(still.handle, Some(handle("far")));
    assert!(second.node.contacts(ada.auth()).get(far.user).await.is_err(), "logged out");
    let ada = second.node.users().login(ada.user, password(), None).await.unwrap();
    let contact = second.node.contacts(ada.auth()).get(far.user).await.unwrap();
    assert_eq!(contact.handle, Some(handle("far")));
    within("the stop", second.stop()).await;
}

#[tokio::test]
async fn the_topic_of_users_is_the_nodes_own() {
    let net = Net::start(2).await;
    net.connect(0, 1).await;
    let topic = Topic::new(&topic(&Network::default())).unwrap();
    let pubsub = net.node(0).pubsub();
    let refused = PubsubError::Reserved { topic: topic.clone() };
    assert_eq!(pubsub.publish(topic.clone(), "noise").await, Err(refused.clone()));
    assert_eq!(pubsub.subscribe(topic).await.map(|_| ()), Err(refused));
    assert!(pubsub.topics().await.unwrap().is_empty());
    net.stop().await;
}

#[derive(NetworkBehaviour)]
struct Plain {
    identify: identify::Behaviour,
    kad: kad::Behaviour<MemoryStore>,
}

fn profile(key: &SigningKey, seq: u64) -> Signed<Profile> {
    let profile = Profile {
        user: UserId(key.verifying_key().to_bytes()),
        seq,
        handle: None,
        display_name: None,
        bio: [].into(),
        avatar: None,
        services: BTreeSet::new(),
        mailboxes: BTreeSet::new(),
        recovery: recovery_commitment(&[1; 32]),
        updated: UnixMillis::now(),
    };
    Signed::sign(profile, key).unwrap()
}

#[tokio::test]
async fn a_record_in_kademlia_that_is_forged_or_older_replaces_nothing() {
    let net = Net::start(1).await;
    let key = SigningKey::from_bytes(&[4; 32]);
    let id = UserId(key.verifying_key().to_bytes());
    let value = |seq| Bundle { profile: Some(profile(&key, seq)), ..Bundle::default() }.encode();
    let mut forged = value(9).to_vec();
    *forged.last_mut().unwrap() ^= 1;
    let mut peer = plain(&net.nodes[0].listen[0], net.nodes[0].peer_id).await;
    for value in [value(2).to_vec(), value(1).to_vec(), forged] {
        put(&mut peer, &id, value).await;
    }
    // Puts are verified in the background: ask until the first is there, then once more.
    let found = within("the record", async {
        loop {
            if let Some(found) = get(&mut peer, &id).await {
                return found;
            }
        }
    })
    .await;
    let bundle = Bundle::decode(&found).unwrap();
    assert_eq!(bundle.profile.unwrap().seq, 2);
    let newest = value(3);
    put(&mut peer, &id, newest.to_vec()).await;
    within("the newer record", async {
        while get(&mut peer, &id).await.is_none_or(|found| found != newest) {}
    })
    .await;
    net.stop().await;
}

type Peer = libp2p::Swarm<Plain>;

/// A peer of plain libp2p that speaks the network's Kademlia and keeps nothing itself.
async fn plain(address: &libp2p::Multiaddr, id: PeerId) -> Peer {
    let keys = Keypair::generate_ed25519();
    let local = keys.public().to_peer_id();
    let identify = identify::Config::new("/peerage/peerage/1".into(), keys.public());
    let protocol = StreamProtocol::new("/peerage/peerage/kad/1");
    let mut kad =
        kad::Behaviour::with_config(local, MemoryStore::new(local), kad::Config::new(protocol));
    kad.add_address(&id, address.clone());
    let behaviour = Plain { identify: identify::Behaviour::new(identify), kad };
    let mut peer = SwarmBuilder::with_existing_identity(keys)
        .with_tokio()
        .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)
        .unwrap()
        .with_behaviour(|_| behaviour)
        .unwrap()
        .build();
    peer.dial(address.clone()).unwrap();
    let connected = async {
        while !matches!(
            peer.select_next_some().await,
            SwarmEvent::Behaviour(PlainEvent::Identify(identify::Event::Received { .. }))
        ) {}
    };
    within("identify with the node", connected).await;
    peer
}

/// Answered when the node has taken the request, not when it has verified it.
async fn put(peer: &mut Peer, user: &UserId, value: Vec<u8>) {
    let record = Record::new(RecordKey::new(&kad_key(user)), value);
    let to = [*peer.connected_peers().next().unwrap()].into_iter();
    let query = peer.behaviour_mut().kad.put_record_to(record, to, Quorum::One);
    finished(peer, query).await;
}

async fn get(peer: &mut Peer, user: &UserId) -> Option<Vec<u8>> {
    let key = RecordKey::new(&kad_key(user));
    peer.behaviour_mut().kad.remove_record(&key);
    let query = peer.behaviour_mut().kad.get_record(key);
    finished(peer, query).await
}

async fn finished(peer: &mut Peer, query: kad::QueryId) -> Option<Vec<u8>> {
    let mut found = None;
    let done = async {
        loop {
            let SwarmEvent::Behaviour(PlainEvent::Kad(kad::Event::OutboundQueryProgressed {
                id,
                result,
                step,
                ..
            })) = peer.select_next_some().await
            else {
                continue;
            };
            if id != query {
                continue;
            }
            if let kad::QueryResult::GetRecord(Ok(kad::GetRecordOk::FoundRecord(record))) = result {
                found = Some(record.record.value);
            }
            if step.last {
                return;
            }
        }
    };
    within("a query of Kademlia", done).await;
    found
}
