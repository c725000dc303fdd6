//! Swarms to test with, and how to ask them.

use std::time::{Duration, Instant};

use futures::{FutureExt, StreamExt, future::BoxFuture};
use libp2p_core::{Multiaddr, Transport, transport::MemoryTransport, upgrade::Version};
use libp2p_identity::{Keypair, PeerId};
use libp2p_swarm::{Swarm, SwarmEvent};
use libp2p_swarm_test::SwarmExt;
use peerage_api::{Ask, Method, peers::Command};
use peerage_peers::{Behaviour, Config, Event};
use peerage_store::{BookSnapshot, Store};

pub(crate) type Peers = Swarm<Behaviour>;

/// A test that hangs fails after this; none measures time.
const PATIENCE: Duration = Duration::from_secs(60);

/// A node with an empty book on a store that nobody else has.
pub(crate) fn node(configure: impl FnOnce(&mut Config)) -> Peers {
    node_on(&Store::in_memory(), BookSnapshot::default(), configure)
}

/// A node on a store.
pub(crate) fn node_on(
    store: &Store,
    book: BookSnapshot,
    configure: impl FnOnce(&mut Config),
) -> Peers {
    Swarm::new_ephemeral_tokio(|key| {
        let mut config = test_config(key.public().to_peer_id());
        configure(&mut config);
        Behaviour::new(config, store, book, Instant::now())
    })
}

/// A node whose swarm closes idle connections at once.
pub(crate) fn hasty_node(configure: impl FnOnce(&mut Config)) -> Peers {
    let key = Keypair::generate_ed25519();
    let local = key.public().to_peer_id();
    let transport = MemoryTransport::default()
        .upgrade(Version::V1)
        .authenticate(libp2p_plaintext::Config::new(&key))
        .multiplex(libp2p_yamux::Config::default())
        .boxed();
    let mut config = test_config(local);
    configure(&mut config);
    let book = BookSnapshot::default();
    let behaviour = Behaviour::new(config, &Store::in_memory(), book, Instant::now());
    let swarm = libp2p_swarm::Config::with_tokio_executor();
    let swarm = swarm.with_idle_connection_timeout(Duration::ZERO);
    Swarm::new(transport, behaviour, local, swarm)
}

/// No identify runs in these swarms, so a connect must not wait for it.
fn test_config(local: PeerId) -> Config {
    let settle_timeout = Duration::ZERO;
    Config { allow_private: true, settle_timeout, ..Config::new(local) }
}

/// Listens in memory.
pub(crate) async fn listen(swarm: &mut Peers) -> Multiaddr {
    swarm.listen_on("/memory/0".parse().unwrap()).unwrap();
    wait(swarm, |event| match event {
        SwarmEvent::NewListenAddr { address, .. } => Some(address.clone()),
        _ => None,
    })
    .await
}

/// Runs the swarm until an event is the one that is waited for.
pub(crate) async fn wait<T>(
    swarm: &mut Peers,
    mut is_it: impl FnMut(&SwarmEvent<Event>) -> Option<T>,
) -> T {
    let found = async {
        loop {
            if let Some(found) = is_it(&swarm.select_next_some().await) {
                return found;
            }
        }
    };
    tokio::time::timeout(PATIENCE, found).await.expect("the event comes")
}

/// Runs the swarm until a connection stands; whose it is.
pub(crate) async fn established(swarm: &mut Peers) -> PeerId {
    wait(swarm, |event| match event {
        SwarmEvent::ConnectionEstablished { peer_id, .. } => Some(*peer_id),
        _ => None,
    })
    .await
}

/// Runs the swarm for ever, in the background.
pub(crate) fn run(mut swarm: Peers) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move {
        loop {
            swarm.select_next_some().await;
        }
    })
}

/// Runs two swarms until an event of either satisfies.
pub(crate) async fn run_both(
    a: &mut Peers,
    b: &mut Peers,
    mut done: impl FnMut(&Peers, &Peers) -> bool,
) {
    let both = async {
        while !done(a, b) {
            let next: [BoxFuture<'_, ()>; 2] =
                [a.select_next_some().map(drop).boxed(), b.select_next_some().map(drop).boxed()];
            futures::future::select_all(next).await;
        }
    };
    tokio::time::timeout(PATIENCE, both).await.expect("it comes to pass");
}

/// Asks a node, running it until it answers. What it needs from discovery is not found.
pub(crate) async fn ask<M: Method>(
    swarm: &mut Peers,
    request: M,
    command: impl FnOnce(Ask<M>) -> Command,
) -> Result<M::Reply, M::Error> {
    let (ask, mut answer) = Ask::new(request);
    let rest = swarm.behaviour_mut().on_command(command(ask), Instant::now());
    assert!(rest.is_none(), "answered here");
    let answered = async {
        loop {
            tokio::select! {
                answer = &mut answer => return answer.expect("the node lives"),
                event = swarm.select_next_some() => {
                    if let SwarmEvent::Behaviour(Event::NeedAddresses { peer }) = event {
                        swarm.behaviour_mut().on_addresses_missing(peer, Instant::now());
                    }
                }
            }
        }
    };
    tokio::time::timeout(PATIENCE, answered).await.expect("it answers")
}
