//! Which connection a dialog runs on.

use std::time::Duration;

use libp2p_core::{
    Multiaddr,
    multiaddr::Protocol,
    transport::{MemoryTransport, OrTransport},
};
use libp2p_identity::{Keypair, PeerId};
use libp2p_swarm::{NetworkBehaviour, Swarm, SwarmEvent};
use libp2p_swarm_test::SwarmExt;
use peerage_dialog::{DialogError, Event, Open, Path};

use crate::support::*;

/// A swarm with two direct connections to the same peer.
async fn doubly_connected() -> (Swarm<Behaviour>, PeerId, [libp2p_swarm::ConnectionId; 2]) {
    let (peer, address) = remote(Behaviour::serving(config(), echo)).await;
    let mut swarm = local(config());
    let first = connect(&mut swarm, peer, &address).await;
    let second = connect(&mut swarm, peer, &address).await;
    (swarm, peer, [first, second])
}

#[tokio::test]
async fn the_direct_connection_with_the_lowest_round_trip_is_used() {
    let (mut swarm, peer, [first, second]) = doubly_connected().await;
    for (fast, slow) in [(second, first), (first, second)] {
        let dialogs = &mut swarm.behaviour_mut().dialogs;
        dialogs.on_rtt(slow, Duration::from_millis(50));
        dialogs.on_rtt(fast, Duration::from_millis(5));
        swarm.behaviour_mut().ask(peer);
        let finished = finished(&mut swarm).await;
        assert_eq!(finished.connection, Some(fast));
        assert_eq!(finished.value(), b"hello");
    }
    assert_eq!(swarm.behaviour().dialogs.paths(&peer).count(), 2);
}

#[tokio::test]
async fn a_dialog_may_insist_on_a_connection() {
    let (mut swarm, peer, [first, second]) = doubly_connected().await;
    swarm.behaviour_mut().dialogs.on_rtt(first, Duration::from_millis(5));
    swarm.behaviour_mut().dialogs.open(Open::new(peer, ECHO).on(second), ask);
    assert_eq!(finished(&mut swarm).await.connection, Some(second));

    swarm.close_connection(second);
    swarm.wait(|event| matches!(event, SwarmEvent::ConnectionClosed { .. }).then_some(())).await;
    swarm.behaviour_mut().dialogs.open(Open::new(peer, ECHO).on(second), ask);
    assert!(matches!(finished(&mut swarm).await.error(), DialogError::Closed));
}

/// A peer that answers on one of its two connections only; returns the mute one, then the other.
async fn half_mute() -> (Swarm<Behaviour>, PeerId, [libp2p_swarm::ConnectionId; 2]) {
    let key = Keypair::generate_ed25519();
    let peer = key.public().to_peer_id();
    let (mute_address, _) = mute(&key).await;
    let (server, address) = listening(&key, Behaviour::serving(config(), echo)).await;
    tokio::spawn(server.loop_on_next());
    let mut swarm = local(config());
    let mute = connect(&mut swarm, peer, &mute_address).await;
    let other = connect(&mut swarm, peer, &address).await;
    swarm.behaviour_mut().dialogs.on_rtt(mute, Duration::from_millis(1));
    (swarm, peer, [mute, other])
}

#[tokio::test]
async fn dialogs_being_opened_move_to_the_next_best_connection_when_theirs_closes() {
    let (mut swarm, peer, [mute, other]) = half_mute().await;
    let ids: Vec<_> = (0..20).map(|_| swarm.behaviour_mut().ask(peer)).collect();
    let insisting = swarm.behaviour_mut().dialogs.open(Open::new(peer, ECHO).on(mute), ask);
    for _ in 0..32 {
        tokio::select! {
            biased;
            event = swarm.next_behaviour_event() => panic!("{event:?}"),
            () = tokio::task::yield_now() => {}
        }
    }
    swarm.close_connection(mute);
    let mut finished_ids = Vec::new();
    for _ in 0..21 {
        let finished = finished(&mut swarm).await;
        if finished.id == insisting {
            assert!(matches!(finished.error(), DialogError::Closed));
        } else {
            finished_ids.push(finished.id);
            assert_eq!(finished.connection, Some(other));
            assert_eq!(finished.value(), b"hello");
        }
    }
    finished_ids.sort();
    assert_eq!(finished_ids, ids);
}

#[derive(NetworkBehaviour)]
#[behaviour(prelude = "libp2p_swarm::derive_prelude")]
struct Client {
    relay: libp2p_relay::client::Behaviour,
    inner: Behaviour,
}

fn client() -> Swarm<Client> {
    let key = Keypair::generate_ed25519();
    let peer = key.public().to_peer_id();
    let (transport, relay) = libp2p_relay::client::new(peer);
    let transport = secure(OrTransport::new(transport, MemoryTransport::default()), &key);
    let client = Client { relay, inner: Behaviour::serving(config(), echo) };
    let config = libp2p_swarm::Config::with_tokio_executor();
    Swarm::new(transport, client, peer, config)
}

/// Starts a relay.
async fn relay() -> Multiaddr {
    let key = Keypair::generate_ed25519();
    let peer = key.public().to_peer_id();
    let relay = libp2p_relay::Behaviour::new(peer, libp2p_relay::Config::default());
    let (mut swarm, address) = listening(&key, relay).await;
    swarm.add_external_address(address.clone());
    tokio::spawn(swarm.loop_on_next());
    address.with(Protocol::P2p(peer))
}

/// Starts a peer that can be reached through the relay at the first address, directly at the second.
async fn behind(relay: &Multiaddr) -> (PeerId, Multiaddr, Multiaddr) {
    let mut swarm = client();
    swarm.listen_on("/memory/0".parse().unwrap()).unwrap();
    let direct = swarm.wait(new_address).await;
    swarm.listen_on(relay.clone().with(Protocol::P2pCircuit)).unwrap();
    let relayed = swarm.wait(new_address).await;
    let peer = *swarm.local_peer_id();
    tokio::spawn(swarm.loop_on_next());
    (peer, relayed, direct)
}

fn new_address<E>(event: SwarmEvent<E>) -> Option<Multiaddr> {
    match event {
        SwarmEvent::NewListenAddr { address, .. } => Some(address),
        _ => None,
    }
}

async fn event(swarm: &mut Swarm<Client>) -> Event<Outcome> {
    loop {
        if let ClientEvent::Inner(event) = swarm.next_behaviour_event().await {
            return event;
        }
    }
}

#[tokio::test]
async fn a_direct_connection_is_announced_and_used_although_the_relayed_one_was_first() {
    let (peer, relayed_address, direct_address) = behind(&relay().await).await;
    let mut swarm = client();

    let relayed = connect(&mut swarm, peer, &relayed_address).await;
    let dialogs = &mut swarm.behaviour_mut().inner.dialogs;
    dialogs.on_rtt(relayed, Duration::from_millis(1));
    let rtt = Some(Duration::from_millis(1));
    let path = Path { connection: relayed, relayed: true, rtt, retired: false };
    assert_eq!(dialogs.best(&peer), Some(path));
    dialogs.open(Open::new(peer, ECHO), async |stream| {
        assert!(stream.relayed());
        ask(stream).await
    });
    assert_finished_on(&mut swarm, relayed).await;

    let direct = connect(&mut swarm, peer, &direct_address).await;
    match event(&mut swarm).await {
        Event::BetterPath { peer: of, path } => {
            assert_eq!((of, path.connection, path.relayed), (peer, direct, false));
        }
        other => panic!("{other:?}"),
    }
    swarm.behaviour_mut().inner.dialogs.on_rtt(direct, Duration::from_secs(1));
    swarm.behaviour_mut().inner.ask(peer);
    assert_finished_on(&mut swarm, direct).await;
}

async fn assert_finished_on(swarm: &mut Swarm<Client>, expected: libp2p_swarm::ConnectionId) {
    match event(swarm).await {
        Event::Finished { connection, outcome, .. } => {
            assert_eq!(connection, Some(expected));
            assert_eq!(outcome.unwrap().unwrap(), b"hello");
        }
        other => panic!("{other:?}"),
    }
}
