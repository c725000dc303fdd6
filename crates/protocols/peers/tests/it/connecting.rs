//! Connects: what they find and how they fail.

use std::time::{Duration, Instant};

use libp2p_core::Multiaddr;
use libp2p_identity::PeerId;
use libp2p_swarm::SwarmEvent;
use peerage_api::{
    Ask, Feeding, Open,
    peers::{
        Block, Command, Connect, Disconnect, Event as Told, Events, List, PeersError, Show, Source,
        Transport,
    },
};
use peerage_peers::Event;

use crate::network::{Peers, ask, established, listen, node, run, wait};

async fn connect(
    swarm: &mut Peers,
    peer: Option<PeerId>,
    addresses: Vec<Multiaddr>,
) -> Result<peerage_api::peers::Connected, PeersError> {
    ask(swarm, Connect { peer, addresses }, Command::Connect).await
}

/// A TCP address of this machine where nothing listens.
fn dead_address() -> Multiaddr {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = socket.local_addr().unwrap().port();
    format!("/ip4/127.0.0.1/tcp/{port}").parse().unwrap()
}

#[tokio::test]
async fn a_connect_says_who_answered_where_and_whether_it_was_there_before() {
    let (mut a, mut b) = (node(|_| {}), node(|_| {}));
    let (place, id) = (listen(&mut b).await, *b.local_peer_id());
    run(b);
    let connected = connect(&mut a, None, vec![place.clone()]).await.unwrap();
    assert_eq!((connected.peer_id, connected.already), (id, false));
    assert_eq!(connected.address.to_string(), place.to_string());
    for (peer, addresses) in [(Some(id), vec![]), (None, vec![place.clone()])] {
        assert!(connect(&mut a, peer, addresses).await.unwrap().already);
    }
    let listed = ask(&mut a, List {}, Command::List).await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!((listed[0].peer_id, listed[0].connections.len()), (id, 1));
    assert_eq!(listed[0].connections[0].transport, Transport::Other);
    let known = ask(&mut a, Show { peer: id }, Command::Show).await.unwrap();
    assert!(known.connected.is_some() && known.score > 0);
    assert_eq!(known.addresses[0].failures, 0);
    assert!(known.addresses[0].worked_ms.is_some());
}

#[tokio::test]
async fn nothing_listens() {
    let mut a = node(|_| {});
    let dead = dead_address();
    let error = connect(&mut a, None, vec![dead.clone()]).await.unwrap_err();
    let said = format!("{dead}: connection refused");
    assert_eq!(error, PeersError::Unreachable { target: dead.to_string(), tried: vec![said] });
}

#[tokio::test]
async fn somebody_else_answers() {
    let (mut a, mut b, expected) = (node(|_| {}), node(|_| {}), PeerId::random());
    let (place, found) = (listen(&mut b).await, *b.local_peer_id());
    run(b);
    let named = place.clone().with_p2p(expected).unwrap();
    let error = connect(&mut a, None, vec![named]).await.unwrap_err();
    let address = place.to_string();
    assert_eq!(error, PeersError::WrongPeer { address, expected, found });
    // The right one among several still counts.
    let places = vec![place, dead_address()];
    assert!(connect(&mut a, Some(found), places).await.is_ok());
}

#[tokio::test]
async fn this_node_itself() {
    let mut a = node(|_| {});
    let (place, own) = (listen(&mut a).await, *a.local_peer_id());
    for (peer, addresses) in [(Some(own), vec![]), (None, vec![place])] {
        let error = connect(&mut a, peer, addresses).await.unwrap_err();
        assert_eq!(error, PeersError::Own { peer: own });
    }
}

#[tokio::test]
async fn no_address_is_known_until_discovery_finds_one() {
    let (mut a, mut b) = (node(|_| {}), node(|_| {}));
    let (place, id) = (listen(&mut b).await, *b.local_peer_id());
    run(b);
    let missing = connect(&mut a, Some(id), vec![]).await.unwrap_err();
    assert_eq!(missing, PeersError::NoAddress { peer: id });

    let (question, answer) = Ask::new(Connect { peer: Some(id), addresses: vec![] });
    a.behaviour_mut().on_command(Command::Connect(question), Instant::now());
    let needed = wait(&mut a, |event| match event {
        SwarmEvent::Behaviour(Event::NeedAddresses { peer }) => Some(*peer),
        _ => None,
    });
    assert_eq!(needed.await, id);
    a.behaviour_mut().on_discovered(id, vec![place], Source::Kad, Instant::now());
    assert_eq!(a.behaviour().sources(&id), [Source::Kad]);
    run(a);
    assert_eq!(answer.await.unwrap().unwrap().peer_id, id);
}

#[tokio::test]
async fn a_found_peer_is_dialled_without_being_asked_for() {
    let (mut a, mut b) = (node(|_| {}), node(|_| {}));
    let (place, id) = (listen(&mut b).await, *b.local_peer_id());
    run(b);
    a.behaviour_mut().on_discovered(id, vec![place], Source::Mdns, Instant::now());
    assert_eq!(established(&mut a).await, id);
}

#[tokio::test]
async fn the_other_side_refuses() {
    let (mut a, mut b) = (node(|c| c.settle_timeout = Duration::from_secs(30)), node(|_| {}));
    let (place, own) = (listen(&mut b).await, *a.local_peer_id());
    ask(&mut b, Block { peer: own }, Command::Block).await.unwrap();
    run(b);
    let error = connect(&mut a, None, vec![place]).await.unwrap_err();
    assert!(matches!(error, PeersError::Refused { .. }), "{error}");
}

#[tokio::test]
async fn watchers_hear_of_a_peer_that_comes_and_goes() {
    let (mut a, mut b) = (node(|_| {}), node(|_| {}));
    let (place, id) = (listen(&mut b).await, *b.local_peer_id());
    run(b);
    let (open, granted, mut items) = Open::new(Events {}, 16);
    a.behaviour_mut().on_command(Command::Events(open), Instant::now());
    granted.await.unwrap().unwrap();
    connect(&mut a, Some(id), vec![place]).await.unwrap();
    ask(&mut a, Disconnect { peer: id }, Command::Disconnect).await.unwrap();
    assert_eq!(a.behaviour().connected_len(), 0, "answered when it is gone");
    let mut heard = Vec::new();
    while let Ok(Feeding::Item(event)) = items.try_recv() {
        heard.push(event);
    }
    let [Told::Connected { peer: came, .. }, Told::Disconnected { peer: went, reason }] =
        &heard[..]
    else {
        panic!("{heard:?}")
    };
    assert_eq!((came, went, reason.as_str()), (&id, &id, "closed by the user"));
    let again = ask(&mut a, Disconnect { peer: id }, Command::Disconnect).await.unwrap_err();
    assert_eq!(again, PeersError::NotConnected { peer: id });
}
