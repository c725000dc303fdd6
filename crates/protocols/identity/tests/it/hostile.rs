//! A peer that does what no correct node does.

use std::task::{Context, Poll};

use futures::{AsyncReadExt as _, AsyncWriteExt as _, StreamExt as _};
use libp2p::{
    Multiaddr, PeerId,
    core::{Endpoint, transport::PortUse},
    swarm::{
        ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, StreamProtocol, SwarmEvent,
        THandlerInEvent, THandlerOutEvent, ToSwarm,
    },
};
use peerage_dialog::{Config, Dialogs, Handler, Open};
use peerage_identity::Event;
use peerage_types::Network;
use peerage_wire::identity::{frames::Frame, protocol};

use crate::support::{Node, Person, listening, within};

/// Nothing but dialogs.
struct Raw(Dialogs<()>);

impl NetworkBehaviour for Raw {
    type ConnectionHandler = Handler;
    type ToSwarm = ();

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<Handler, ConnectionDenied> {
        Ok(self.0.handler())
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<Handler, ConnectionDenied> {
        Ok(self.0.handler())
    }

    fn on_swarm_event(&mut self, event: FromSwarm) {
        self.0.on_swarm_event(event);
    }

    fn on_connection_handler_event(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        self.0.on_handler_event(peer, connection, event);
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<(), THandlerInEvent<Self>>> {
        self.0.poll(cx).map(|step| step.map_out(|_| ()))
    }
}

#[tokio::test]
async fn a_peer_that_sends_what_is_no_session_is_reported_and_the_node_goes_on() {
    let mut node = Node::new().await;
    let ana = Person::new(1);
    node.directory.publish(&ana.profile(1, "ana"));
    let protocol = StreamProtocol::try_from_owned(protocol(&Network::default())).unwrap();
    let (mut swarm, _) = listening(|_| Raw(Dialogs::new(Config::new([])))).await;
    let hostile = *swarm.local_peer_id();
    swarm.dial(node.address.clone()).unwrap();
    let (to, peer) = (protocol.clone(), node.peer);
    tokio::spawn(async move {
        loop {
            if let SwarmEvent::ConnectionEstablished { .. } = swarm.select_next_some().await {
                let open = Open::new(peer, to.clone());
                swarm.behaviour_mut().0.open(open, |mut stream| async move {
                    let _ = stream.write_all(&Frame::Done.encode()).await;
                    let _ = stream.flush().await;
                    let _ = stream.read_to_end(&mut Vec::new()).await;
                });
            }
        }
    });
    let misbehaved = |event| match event {
        Event::Misbehaved { peer, .. } => Some(peer),
        _ => None,
    };
    assert_eq!(node.event("a report", misbehaved).await, hostile);
    let other = Node::new().await;
    other.dial(&node.address).await;
    within("a session", other.knows(&ana, 1)).await;
}
