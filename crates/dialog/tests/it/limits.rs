//! Caps, and what happens beyond them.

use std::{
    collections::VecDeque,
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    task::{Context, Poll},
};

use libp2p_core::{Endpoint, Multiaddr, transport::PortUse, upgrade::DeniedUpgrade};
use libp2p_identity::{Keypair, PeerId};
use libp2p_swarm::{
    ConnectionDenied, ConnectionHandler, ConnectionHandlerEvent, ConnectionId, FromSwarm,
    NetworkBehaviour, NotifyHandler, SubstreamProtocol, THandler, THandlerInEvent,
    THandlerOutEvent, ToSwarm, handler::ConnectionEvent,
};
use libp2p_swarm_test::SwarmExt;
use peerage_dialog::{Config, DialogError, Event, Open, Side};
use tokio::sync::oneshot;

use crate::support::*;

const BURST: usize = 200;

fn wide() -> Config {
    Config { max_outbound_per_peer: BURST, max_inbound_per_peer: BURST, ..config() }
}

#[tokio::test]
async fn a_burst_within_the_caps_finishes() {
    let (mut swarm, peer) = pair(Behaviour::serving(wide(), echo), wide()).await;
    for _ in 0..BURST {
        swarm.behaviour_mut().ask(peer);
    }
    for _ in 0..BURST {
        assert_eq!(finished(&mut swarm).await.value(), b"hello");
    }
    assert_eq!(swarm.behaviour().dialogs.active(), 0);
}

#[tokio::test]
async fn what_exceeds_the_cap_of_a_peer_is_busy_and_the_rest_finishes() {
    let (mut swarm, peer) = pair(Behaviour::serving(wide(), echo), config()).await;
    let outcomes = burst(&mut swarm, peer).await;
    assert_eq!(outcomes, (64, BURST - 64));
    // The places are free again.
    assert_eq!(burst(&mut swarm, peer).await, (64, BURST - 64));
}

#[tokio::test]
async fn what_exceeds_the_total_cap_is_busy() {
    let tight = Config { max_total: 10, ..wide() };
    let (mut swarm, peer) = pair(Behaviour::serving(wide(), echo), tight).await;
    assert_eq!(burst(&mut swarm, peer).await, (10, BURST - 10));
}

/// Returns how many finished and how many were busy here.
async fn burst(swarm: &mut libp2p_swarm::Swarm<Behaviour>, peer: PeerId) -> (usize, usize) {
    for _ in 0..BURST {
        swarm.behaviour_mut().ask(peer);
    }
    let (mut done, mut busy) = (0, 0);
    for _ in 0..BURST {
        match finished(swarm).await.outcome {
            Ok(answer) => {
                assert_eq!(answer.unwrap(), b"hello");
                done += 1;
            }
            Err(DialogError::Busy { by: Side::Local }) => busy += 1,
            Err(other) => panic!("{other}"),
        }
    }
    (done, busy)
}

#[tokio::test]
async fn what_exceeds_the_inbound_cap_is_refused() {
    let one = Config { max_inbound_per_peer: 1, ..config() };
    let (mut swarm, peer) = pair(Behaviour::serving(one, stall), config()).await;
    for _ in 0..3 {
        swarm.behaviour_mut().dialogs.open(Open::new(peer, ECHO), listen);
    }
    for _ in 0..2 {
        let error = finished(&mut swarm).await.error();
        assert!(matches!(error, DialogError::Busy { by: Side::Remote }), "{error}");
    }
    assert_eq!(swarm.behaviour().dialogs.active(), 1);
}

#[tokio::test]
async fn an_inbound_place_is_free_again_when_its_dialog_ends() {
    let one = Config { max_inbound_per_peer: 1, ..config() };
    let (mut server, address) = listening(&Keypair::generate_ed25519(), Behaviour::new(one)).await;
    let peer = *server.local_peer_id();
    let mut client = local(config());
    let clients = tokio::spawn(async move {
        connect(&mut client, peer, &address).await;
        for _ in 0..3 {
            client.behaviour_mut().dialogs.open(Open::new(peer, ECHO), listen);
            finished(&mut client).await.outcome.unwrap().unwrap_err();
        }
    });
    for _ in 0..3 {
        match server.next_behaviour_event().await {
            Event::Inbound(inbound) => drop(inbound),
            other => panic!("{other:?}"),
        }
    }
    tokio::spawn(server.loop_on_next());
    clients.await.unwrap();
}

/// A swarm polls no behaviour while the command queue of one connection is full. Here the connection
/// is kept from taking any command, and another behaviour must still be polled.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_on_a_blocked_connection_does_not_stall_other_behaviours() {
    let (peer, address) = remote(Behaviour::serving(wide(), echo)).await;
    let both = Both { dialogs: Behaviour::new(wide()), other: Other::default() };
    let mut swarm = swarm_of(&Keypair::generate_ed25519(), both);
    let connection = connect(&mut swarm, peer, &address).await;

    let (release, released) = sync_channel(1);
    let (blocked, mut is_blocked) = oneshot::channel();
    swarm.behaviour_mut().other.commands.push_back((peer, connection, Block { blocked, released }));
    loop {
        tokio::select! {
            _ = &mut is_blocked => break,
            event = swarm.next_swarm_event() => drop(event),
        }
    }

    for _ in 0..BURST {
        swarm.behaviour_mut().dialogs.ask(peer);
    }
    swarm.behaviour_mut().other.polls_to_report = 1;
    match swarm.next_behaviour_event().await {
        BothEvent::Other(Polled) => {}
        BothEvent::Dialogs(event) => panic!("the connection was not blocked: {event:?}"),
    }

    release_and_finish(release, swarm).await;
}

async fn release_and_finish(release: SyncSender<()>, mut swarm: libp2p_swarm::Swarm<Both>) {
    release.send(()).unwrap();
    for _ in 0..BURST {
        match swarm.next_behaviour_event().await {
            BothEvent::Dialogs(Event::Finished { outcome, .. }) => {
                assert_eq!(outcome.unwrap().unwrap(), b"hello");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[derive(NetworkBehaviour)]
#[behaviour(prelude = "libp2p_swarm::derive_prelude")]
struct Both {
    dialogs: Behaviour,
    other: Other,
}

/// Can block the task of a connection, and can say that it was polled.
#[derive(Default)]
struct Other {
    commands: VecDeque<(PeerId, ConnectionId, Block)>,
    polls_to_report: usize,
}

#[derive(Debug)]
struct Polled;

#[derive(Debug)]
struct Block {
    blocked: oneshot::Sender<()>,
    released: Receiver<()>,
}

struct Blockable;

impl NetworkBehaviour for Other {
    type ConnectionHandler = Blockable;
    type ToSwarm = Polled;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(Blockable)
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(Blockable)
    }

    fn on_swarm_event(&mut self, _: FromSwarm) {}

    fn on_connection_handler_event(
        &mut self,
        _: PeerId,
        _: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Polled, THandlerInEvent<Self>>> {
        if let Some((peer_id, connection, event)) = self.commands.pop_front() {
            let handler = NotifyHandler::One(connection);
            return Poll::Ready(ToSwarm::NotifyHandler { peer_id, handler, event });
        }
        if self.polls_to_report > 0 {
            self.polls_to_report -= 1;
            return Poll::Ready(ToSwarm::GenerateEvent(Polled));
        }
        Poll::Pending
    }
}

impl ConnectionHandler for Blockable {
    type FromBehaviour = Block;
    type ToBehaviour = std::convert::Infallible;
    type InboundProtocol = DeniedUpgrade;
    type OutboundProtocol = DeniedUpgrade;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = ();

    fn listen_protocol(&self) -> SubstreamProtocol<DeniedUpgrade> {
        SubstreamProtocol::new(DeniedUpgrade, ())
    }

    fn on_behaviour_event(&mut self, Block { blocked, released }: Block) {
        let _ = blocked.send(());
        let _ = released.recv();
    }

    fn on_connection_event(
        &mut self,
        _: ConnectionEvent<'_, DeniedUpgrade, DeniedUpgrade, (), ()>,
    ) {
    }

    fn poll(
        &mut self,
        _: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<DeniedUpgrade, (), std::convert::Infallible>> {
        Poll::Pending
    }
}
