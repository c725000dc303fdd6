//! The `NetworkBehaviour`.

use std::{
    collections::HashMap,
    convert::Infallible,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use libp2p_core::{Endpoint, Multiaddr, transport::PortUse};
use libp2p_identity::PeerId;
use libp2p_swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, StreamProtocol, ToSwarm,
};
use peerage_api::peers::{Command, Source};
use peerage_store::{BookSnapshot, Store};

use crate::{Config, Handler, Keep};

/// What the owner of the swarm should know or do.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// Somebody wants to connect to a peer whose address is not known. Ask the DHT, then call
    /// [`Behaviour::on_discovered`] or [`Behaviour::on_addresses_missing`].
    NeedAddresses {
        /// Who is wanted.
        peer: PeerId,
    },
    /// A peer was closed to make room.
    Trimmed {
        /// Who.
        peer: PeerId,
    },
    /// One of several connections to a peer is superseded: it opens no new work, and closes once
    /// its streams have ended or `drain_timeout` has passed.
    Retired {
        /// Who.
        peer: PeerId,
        /// Which connection.
        connection: ConnectionId,
    },
}

/// The behaviour. Put it into a swarm next to identify and ping.
#[derive(Debug)]
pub struct Behaviour {
    config: Config,
    peers: HashMap<PeerId, usize>,
}

#[expect(clippy::needless_pass_by_ref_mut, clippy::unused_self, reason = "being built")]
impl Behaviour {
    /// A behaviour that knows what `book` says and saves what it learns in `store`.
    #[must_use]
    pub fn new(config: Config, store: &Store, book: BookSnapshot, now: Instant) -> Self {
        let _ = (store, book, now);
        Self { config, peers: HashMap::new() }
    }

    /// Answers a command of the facet, now or later; gives back `Ping` and `Measure`, which are
    /// answered elsewhere.
    pub fn on_command(&mut self, command: Command, now: Instant) -> Option<Command> {
        let _ = now;
        matches!(command, Command::Ping(_) | Command::Measure(_)).then_some(command)
    }

    /// Discovery found a peer.
    pub fn on_discovered(
        &mut self,
        peer: PeerId,
        addresses: Vec<Multiaddr>,
        source: Source,
        now: Instant,
    ) {
        let _ = (peer, addresses, source, now);
    }

    /// Discovery found nothing that [`Event::NeedAddresses`] asked for.
    pub fn on_addresses_missing(&mut self, peer: PeerId, now: Instant) {
        let _ = (peer, now);
    }

    /// A connected peer told who it is.
    pub fn on_identified(
        &mut self,
        peer: PeerId,
        agent: &str,
        protocols: &[StreamProtocol],
        listen: &[Multiaddr],
        member: bool,
        now: Instant,
    ) {
        let _ = (peer, agent, protocols, listen, member, now);
    }

    /// A round trip was measured.
    pub fn on_rtt(&mut self, connection: ConnectionId, rtt: Duration) {
        let _ = (connection, rtt);
    }

    /// The addresses in the book, best first.
    #[must_use]
    pub fn addresses_of(&self, peer: &PeerId) -> Vec<Multiaddr> {
        let _ = peer;
        Vec::new()
    }

    /// The connected peers, in no order.
    pub fn connected(&self) -> impl Iterator<Item = &PeerId> {
        self.peers.keys()
    }

    /// How many peers are connected.
    #[must_use]
    pub fn connected_len(&self) -> usize {
        self.peers.len()
    }

    /// How many connections are established.
    #[must_use]
    pub fn connections_len(&self) -> usize {
        self.peers.values().sum()
    }

    /// Whether the peer is protected.
    #[must_use]
    pub fn is_protected(&self, peer: &PeerId) -> bool {
        self.config.protected.contains(peer)
    }

    /// Whether connections with the peer are refused.
    #[must_use]
    pub fn is_blocked(&self, peer: &PeerId) -> bool {
        let _ = peer;
        false
    }

    /// How the peer became known.
    #[must_use]
    pub fn sources(&self, peer: &PeerId) -> Vec<Source> {
        let _ = peer;
        Vec::new()
    }

    /// Lowers the standing of a peer.
    pub fn penalise(&mut self, peer: PeerId, points: u32) {
        let _ = (peer, points);
    }

    /// The network changed: whatever could not be reached may be reachable now.
    pub fn on_network_change(&mut self, now: Instant) {
        let _ = now;
    }

    /// Saves the book and dials nobody any more.
    pub fn shutdown(&mut self) {}
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = Handler;
    type ToSwarm = Event;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<Handler, ConnectionDenied> {
        Ok(Handler::new())
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<Handler, ConnectionDenied> {
        Ok(Handler::new())
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(made) => {
                *self.peers.entry(made.peer_id).or_default() += 1;
            }
            FromSwarm::ConnectionClosed(gone) if gone.remaining_established == 0 => {
                self.peers.remove(&gone.peer_id);
            }
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: Infallible) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Event, Keep>> {
        Poll::Pending
    }
}
