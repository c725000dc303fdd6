//! The `NetworkBehaviour`: gives the core a clock, a timer and a disk, and the swarm its orders.

use std::{
    convert::Infallible,
    fmt,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use futures_timer::Delay;
use libp2p_core::{Endpoint, Multiaddr, transport::PortUse};
use libp2p_identity::PeerId;
use libp2p_swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, StreamProtocol, ToSwarm,
};
use peerage_api::peers::{Command, PeersError, Source};
use peerage_store::{BookSnapshot, Pending, Store};
use peerage_types::UnixMillis;
use tracing::warn;

use crate::{
    Config, Handler, Keep,
    address::Reach,
    peers::{Now, Peers},
    pool::Told,
    redial::Target,
};

/// Changes of the book wait this long for others before they are saved.
const SAVE_DELAY: Duration = Duration::from_secs(2);
/// Changes of lists that wait for the disk. 64 × a few hundred bytes = 20 KiB.
const MAX_SAVING: usize = 64;
/// Protocols that are remembered of a connected peer.
const MAX_PROTOCOLS: usize = 64;
/// Longest agent that is remembered, in characters.
const MAX_AGENT: usize = 128;

/// What the owner of the swarm should know or do.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// Somebody wants to connect to a peer of whom no address is known, or none that answers. Look
    /// it up, then call [`Behaviour::on_discovered`] or [`Behaviour::on_addresses_missing`].
    NeedAddresses {
        /// Who is wanted.
        peer: PeerId,
    },
    /// All connections of a peer are being closed to make room.
    Trimmed {
        /// Who.
        peer: PeerId,
    },
    /// One of several connections to a peer is superseded: put no new work on it. It closes once
    /// its streams have ended, or with them after [`Config::drain_timeout`].
    Retired {
        /// Who.
        peer: PeerId,
        /// Which connection.
        connection: ConnectionId,
    },
}

/// Address book, connections and lists of a node. See the crate's page.
///
/// Apart from the calls below it needs nothing from its owner but to be polled. It sleeps until
/// something is due: an idle node costs no CPU.
pub struct Behaviour {
    peers: Peers,
    store: peerage_store::Book,
    saving: FuturesUnordered<BoxFuture<'static, ()>>,
    /// When the changes of the book are to be saved, if there are any.
    save_at: Option<Instant>,
    timer: Option<Delay>,
    /// Whether something happened since the timer was set.
    stale: bool,
    waker: Option<Waker>,
}

impl Behaviour {
    /// A behaviour that knows what `book` says, saves what it learns in `store`, and begins to
    /// dial bootstrap peers, protected peers and the best of the book.
    ///
    /// `book` comes from [`Book::load`](peerage_store::Book::load) of the same store.
    #[must_use]
    pub fn new(config: Config, store: &Store, book: BookSnapshot, now: Instant) -> Self {
        Self {
            peers: Peers::new(config, book, at(now)),
            store: store.book(),
            saving: FuturesUnordered::new(),
            save_at: None,
            timer: None,
            stale: true,
            waker: None,
        }
    }

    /// Bootstrap and protected peers that are not connected: peer ids, or addresses of those whose id
    /// is not known, in order.
    #[must_use]
    pub fn missing(&self) -> Vec<String> {
        let mut missing: Vec<_> = self.peers.redials.missing().collect();
        missing.sort();
        missing
            .into_iter()
            .map(|target| match target {
                Target::Peer(peer) => peer.to_string(),
                Target::Address(address) => address.to_string(),
            })
            .collect()
    }

    /// Answers a command of the facet, now or later; gives back `Ping` and `Measure`, which are
    /// answered elsewhere.
    ///
    /// Changes of the lists take effect at once and are answered when they are durable; one that
    /// could not be saved is effective until the node stops.
    pub fn on_command(&mut self, command: Command, now: Instant) -> Option<Command> {
        let rest = self.peers.on_command(command, at(now));
        for save in std::mem::take(&mut self.peers.saves) {
            if self.saving.len() < MAX_SAVING {
                self.saving.push(save.begin(&self.store));
            } else {
                let reason = "too many changes wait for the disk; try again shortly".to_owned();
                save.refuse(PeersError::Store { reason });
            }
        }
        self.touched();
        rest
    }

    /// Discovery found a peer, perhaps with addresses (with or without `/p2p/ID`; the first 16 are
    /// read).
    ///
    /// Addresses are believed by how far they reach: from the DHTs and introductions only those of
    /// the internet, from mDNS those of the local network too, from [`Source::Manual`] and
    /// [`Source::Bootstrap`] all; see [`Config::allow_private`]. The peer is dialled if there are
    /// few connected.
    pub fn on_discovered(
        &mut self,
        peer: PeerId,
        addresses: Vec<Multiaddr>,
        source: Source,
        now: Instant,
    ) {
        self.peers.on_discovered(peer, addresses, source, at(now));
        self.touched();
    }

    /// A peer was introduced by another, with addresses as for [`Behaviour::on_discovered`]. `nearby`:
    /// that other one is on the local network, so that addresses there are believed, too.
    pub fn on_introduced(
        &mut self,
        peer: PeerId,
        addresses: &[Multiaddr],
        nearby: bool,
        now: Instant,
    ) {
        let least = if nearby { Reach::Private } else { Reach::Global };
        self.peers.on_found(peer, addresses, Source::Pex, least, at(now));
        self.touched();
    }

    /// Discovery found nothing that [`Event::NeedAddresses`] asked for.
    pub fn on_addresses_missing(&mut self, peer: PeerId, _now: Instant) {
        self.peers.connects.on_addresses_missing(peer);
        self.touched();
    }

    /// A connected peer told who it is. `member`: it speaks a protocol of our network; other peers
    /// lose their connection when it is idle [`Config::idle_grace`] after it was made.
    pub fn on_identified(
        &mut self,
        peer: PeerId,
        agent: &str,
        protocols: &[StreamProtocol],
        listen: &[Multiaddr],
        member: bool,
        now: Instant,
    ) {
        let agent = agent.chars().filter(|c| !c.is_control()).take(MAX_AGENT).collect();
        let protocols = protocols.iter().take(MAX_PROTOCOLS).map(ToString::to_string).collect();
        self.peers.on_identified(peer, Told { agent, protocols, member }, listen, at(now));
        self.touched();
    }

    /// A round trip on a connection was measured.
    pub fn on_rtt(&mut self, connection: ConnectionId, rtt: Duration) {
        self.peers.pool.on_rtt(connection, rtt);
    }

    /// The addresses of a peer in the book, best first, without `/p2p/ID`; at most 8.
    #[must_use]
    pub fn addresses_of(&self, peer: &PeerId) -> Vec<Multiaddr> {
        self.peers.book.addresses_of(peer)
    }

    /// The connected peers, in the order of their ids.
    pub fn connected(&self) -> impl Iterator<Item = &PeerId> {
        self.peers.pool.peers.keys()
    }

    /// Whether the address book has changes that were not handed to the store yet.
    #[must_use]
    pub fn has_unsaved(&self) -> bool {
        self.peers.book.has_changes()
    }

    /// How many peers are connected.
    #[must_use]
    pub fn connected_len(&self) -> usize {
        self.peers.pool.peers.len()
    }

    /// How many connections are established.
    #[must_use]
    pub fn connections_len(&self) -> usize {
        self.peers.pool.len()
    }

    /// Whether the peer is on the protect list.
    #[must_use]
    pub fn is_protected(&self, peer: &PeerId) -> bool {
        self.peers.lists.is_protected(peer)
    }

    /// Whether connections with the peer are refused: it is on the block list, or there is an
    /// allow list without it.
    #[must_use]
    pub fn is_blocked(&self, peer: &PeerId) -> bool {
        self.peers.lists.check(peer).is_err()
    }

    /// How the peer became known; empty if it is not in the book.
    #[must_use]
    pub fn sources(&self, peer: &PeerId) -> Vec<Source> {
        self.peers.sources(peer)
    }

    /// Lowers the score of a peer that misbehaved; scores lie within ±100, a good connection gives
    /// 2 points. Below −20 it is no longer dialled without being asked for.
    pub fn penalise(&mut self, peer: PeerId, points: u32) {
        self.peers.book.penalise(peer, points);
        self.touched();
    }

    /// The network changed: whoever could not be reached is tried again now.
    pub fn on_network_change(&mut self, now: Instant) {
        self.peers.on_network_change(at(now));
        self.touched();
    }

    /// Hands what is not saved to the store, ends all feeds, and dials nobody any more. Flush the
    /// store afterwards.
    pub fn shutdown(&mut self) {
        self.peers.shutdown(clock());
        self.save();
        self.touched();
    }

    fn touched(&mut self) {
        self.stale = true;
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// Does what is due and sets the timer to what is due next.
    fn tick(&mut self) {
        self.stale = false;
        let now = clock();
        let mut next = self.peers.tick(now);
        if self.peers.book.has_changes() {
            let save_at = *self.save_at.get_or_insert(now.at + SAVE_DELAY);
            if save_at <= now.at {
                self.save();
            }
            if self.peers.book.has_changes() {
                let save_at = *self.save_at.get_or_insert(now.at + SAVE_DELAY);
                next = Some(next.map_or(save_at, |next| next.min(save_at)));
            }
        }
        self.timer = next.map(|at| Delay::new(at.saturating_duration_since(now.at)));
    }

    fn save(&mut self) {
        self.save_at = None;
        let changes = self.peers.book.take_changes();
        let put: Vec<_> = changes.put.iter().map(|(peer, _)| *peer).collect();
        if !put.is_empty() && is_busy(self.store.put(changes.put)) {
            self.peers.book.restore(put);
        }
        let removed = changes.remove;
        if !removed.is_empty() && is_busy(self.store.remove(removed.clone())) {
            self.peers.book.restore(removed);
        }
    }
}

/// Whether the write is worth repeating. Nobody waits for it, so that the store may collect a
/// batch; a failure of the disk is reported by the store's own flush.
fn is_busy(pending: Pending) -> bool {
    match pending.refused() {
        Some(error) if error.is_retryable() => true,
        Some(error) => {
            warn!(%error, "the address book was not saved");
            false
        }
        None => false,
    }
}

fn clock() -> Now {
    at(Instant::now())
}

fn at(now: Instant) -> Now {
    Now { at: now, wall: UnixMillis::now() }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = Handler;
    type ToSwarm = Event;

    fn handle_pending_inbound_connection(
        &mut self,
        id: ConnectionId,
        _: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        self.peers.pool.admit_inbound(id, remote).map_err(ConnectionDenied::new)
    }

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<Handler, ConnectionDenied> {
        self.peers.admit(id, peer).map(|()| Handler::new())
    }

    fn handle_pending_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: Option<PeerId>,
        _: &[Multiaddr],
        _: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        self.peers.admit_dial(id, peer)
    }

    fn handle_established_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<Handler, ConnectionDenied> {
        self.peers.admit(id, peer).map(|()| Handler::new())
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        let (peers, now) = (&mut self.peers, clock());
        match event {
            FromSwarm::ConnectionEstablished(made) => peers.on_established(
                made.connection_id,
                made.peer_id,
                made.endpoint,
                made.failed_addresses,
                now,
            ),
            FromSwarm::ConnectionClosed(gone) => {
                peers.on_closed(gone.connection_id, gone.peer_id, gone.cause, now);
            }
            FromSwarm::DialFailure(failed) => {
                peers.on_dial_failure(failed.connection_id, failed.peer_id, failed.error, now);
            }
            FromSwarm::ListenFailure(failed) => peers.pool.failed(failed.connection_id),
            FromSwarm::AddressChange(moved) => {
                peers.pool.readdressed(moved.connection_id, moved.new);
            }
            _ => return,
        }
        self.touched();
    }

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: Infallible) {
        match event {}
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Event, Keep>> {
        while let Poll::Ready(Some(())) = self.saving.poll_next_unpin(cx) {}
        loop {
            if let Some(timer) = &mut self.timer
                && timer.poll_unpin(cx).is_ready()
            {
                self.timer = None;
                self.stale = true;
            }
            if !self.stale {
                break;
            }
            self.tick();
        }
        if let Some(order) = self.peers.outbox.pop_front() {
            return Poll::Ready(order);
        }
        self.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl fmt::Debug for Behaviour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Behaviour")
            .field("peers", &self.connected_len())
            .field("connections", &self.connections_len())
            .finish_non_exhaustive()
    }
}
