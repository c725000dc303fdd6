//! GossipSub that tells a peer its subscriptions again when one of several connections is gone.
//!
//! libp2p's tells them once, on the first connection, and lets all connections of a peer take
//! turns in sending. A peer that died and came back is connected twice until the dead connection
//! times out: what was sent on that one is lost, and nothing is told on the other.
//!
//! Its streams are [`Trimmed`], as every peer has two of them open, topics or not.

use std::{
    ops::{Deref, DerefMut},
    task::{Context, Poll},
};

use libp2p::{
    Multiaddr, PeerId,
    core::{ConnectedPoint, Endpoint, transport::PortUse},
    gossipsub::Event,
    swarm::{
        ConnectionClosed, ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler,
        THandlerInEvent, THandlerOutEvent, ToSwarm, behaviour::ConnectionEstablished,
    },
};

use super::{Gossipsub, trimmed::Trimmed};

/// The wrapped behaviour, which this dereferences to.
pub(crate) struct Behaviour(pub(super) Gossipsub);

impl Deref for Behaviour {
    type Target = Gossipsub;

    fn deref(&self) -> &Gossipsub {
        &self.0
    }
}

impl DerefMut for Behaviour {
    fn deref_mut(&mut self) -> &mut Gossipsub {
        &mut self.0
    }
}

impl Behaviour {
    /// A first connection is what it greets on. Without an address it changes nothing else: the
    /// score of a peer depends on its IP addresses.
    fn greet(&mut self, peer_id: PeerId, connection_id: ConnectionId) {
        let (address, role_override) = (Multiaddr::empty(), Endpoint::Dialer);
        let nowhere = ConnectedPoint::Dialer { address, role_override, port_use: PortUse::Reuse };
        self.0.on_swarm_event(FromSwarm::ConnectionEstablished(ConnectionEstablished {
            peer_id,
            connection_id,
            endpoint: &nowhere,
            failed_addresses: &[],
            other_established: 0,
        }));
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = Trimmed<THandler<Gossipsub>>;
    type ToSwarm = Event;

    fn handle_pending_inbound_connection(
        &mut self,
        id: ConnectionId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        self.0.handle_pending_inbound_connection(id, local, remote)
    }

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.0.handle_established_inbound_connection(id, peer, local, remote).map(Trimmed)
    }

    fn handle_pending_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: Option<PeerId>,
        addresses: &[Multiaddr],
        role: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        self.0.handle_pending_outbound_connection(id, peer, addresses, role)
    }

    fn handle_established_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        role: Endpoint,
        port: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        let made = self.0.handle_established_outbound_connection(id, peer, address, role, port);
        made.map(Trimmed)
    }

    fn on_swarm_event(&mut self, event: FromSwarm) {
        self.0.on_swarm_event(event);
        if let FromSwarm::ConnectionClosed(ConnectionClosed {
            peer_id,
            connection_id,
            remaining_established: 1..,
            ..
        }) = event
        {
            self.greet(peer_id, connection_id);
        }
    }

    fn on_connection_handler_event(
        &mut self,
        peer: PeerId,
        id: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        self.0.on_connection_handler_event(peer, id, event);
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Event, THandlerInEvent<Self>>> {
        self.0.poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::StreamExt;
    use libp2p::{
        Swarm,
        gossipsub::{Event, IdentTopic},
        identity::Keypair,
        swarm::{self, SwarmEvent},
    };
    use prometheus_client::registry::Registry;

    use crate::{gossip, transport};

    fn gossiping(keys: &Keypair) -> Swarm<gossip::Behaviour> {
        let (connections, _) = transport::all(keys, None, Default::default()).unwrap();
        let behaviour = gossip::behaviour(keys, &mut Registry::default()).unwrap();
        let config = swarm::Config::with_tokio_executor()
            .with_idle_connection_timeout(Duration::from_secs(60));
        Swarm::new(connections, behaviour, keys.public().to_peer_id(), config)
    }

    /// Polls both until `one` has an event that is `wanted`.
    async fn until(
        one: &mut Swarm<gossip::Behaviour>,
        other: &mut Swarm<gossip::Behaviour>,
        wanted: impl Fn(&SwarmEvent<Event>) -> bool,
    ) -> SwarmEvent<Event> {
        loop {
            tokio::select! {
                event = one.select_next_some() => if wanted(&event) { return event },
                _ = other.select_next_some() => {}
            }
        }
    }

    #[tokio::test]
    async fn a_peer_that_comes_back_before_its_death_is_noticed_learns_what_we_read() {
        let keys = Keypair::generate_ed25519();
        let mut reader = gossiping(&Keypair::generate_ed25519());
        let (mut dying, mut reborn) = (gossiping(&keys), gossiping(&keys));
        reader.behaviour_mut().subscribe(&IdentTopic::new("news")).unwrap();
        reader.listen_on("/ip4/127.0.0.1/tcp/0".parse().unwrap()).unwrap();
        let listening = |event: &SwarmEvent<_>| matches!(event, SwarmEvent::NewListenAddr { .. });
        let event = until(&mut reader, &mut dying, listening).await;
        let SwarmEvent::NewListenAddr { address, .. } = event else { panic!("{event:?}") };

        let told = |event: &SwarmEvent<_>| {
            matches!(event, SwarmEvent::Behaviour(Event::Subscribed { .. }))
        };
        dying.dial(address.clone()).unwrap();
        until(&mut dying, &mut reader, told).await;
        reborn.dial(address).unwrap();
        let twice = |event: &SwarmEvent<_>| {
            matches!(event, SwarmEvent::ConnectionEstablished { num_established, .. }
                if num_established.get() == 2)
        };
        until(&mut reader, &mut reborn, twice).await;
        drop(dying);
        let learned = until(&mut reborn, &mut reader, told);
        tokio::time::timeout(Duration::from_secs(10), learned).await.unwrap();
    }
}
