//! The `NetworkBehaviour`: gives the bridge a clock, a timer and a DHT, and the swarm its dials.

use std::{
    collections::VecDeque,
    convert::Infallible,
    fmt,
    task::{Context, Poll, Waker},
    time::Instant,
};

use futures::FutureExt as _;
use futures_timer::Delay;
use libp2p_core::{Endpoint, Multiaddr, transport::PortUse};
use libp2p_identity::{Keypair, PeerId};
use libp2p_swarm::{
    CloseConnection, ConnectionDenied, ConnectionId, DialError, FromSwarm, NetworkBehaviour,
    ToSwarm, dial_opts::DialOpts, dummy,
};
use peerage_store::Marks;

pub use crate::bridge::{
    Event, FindId, How, MAX_FINDS, MAX_RENDEZVOUS, MAX_RESOLVES, Refused, ResolveId,
};
use crate::{
    Config, Health, Infohash, Rendezvous,
    bridge::{Bridge, Output, multiaddrs},
    cadence::Now,
    client::{Client, Request, starter},
    dials::{Effect, Transport},
    guards::Who,
};

/// The bridge to the BitTorrent DHT. See the crate's page.
///
/// It learns of connections, listen addresses and external addresses (relayed ones too) from the
/// swarm, and dials by itself; which peers are members, which port to announce and whether it can be
/// reached, the owner of the swarm tells it. Idle it costs what the DHT's thread does: 20 wake-ups a
/// second.
pub struct Behaviour {
    bridge: Bridge,
    client: Client,
    /// What the DHT had no room for.
    asks: VecDeque<Request>,
    timer: Option<Delay>,
    /// Whether something happened since the timer was set.
    stale: bool,
    waker: Option<Waker>,
}

impl Behaviour {
    /// A bridge for the node whose key is `keypair`. Starts the DHT and, with `marks`, remembers its
    /// nodes from one start to the next.
    ///
    /// # Panics
    /// Outside of a runtime of tokio.
    #[must_use]
    pub fn new(config: &Config, keypair: Keypair, marks: Option<Marks>) -> Self {
        let client = Client::spawn(config, starter(config), marks);
        Self {
            bridge: Bridge::new(config, keypair, Instant::now()),
            client,
            asks: VecDeque::new(),
            timer: None,
            stale: true,
            waker: None,
        }
    }

    /// Announces this node under a rendezvous, again and again, and looks it up, dialling whom it
    /// finds: [`Event::Found`] for every member.
    ///
    /// # Errors
    /// [`Refused::TooMany`].
    pub fn join(&mut self, rendezvous: Rendezvous) -> Result<(), Refused> {
        self.changed();
        self.bridge.hold(rendezvous, true, Instant::now())
    }

    /// Announces this node under a rendezvous without looking for others there.
    ///
    /// # Errors
    /// [`Refused::TooMany`].
    pub fn announce(&mut self, rendezvous: Rendezvous) -> Result<(), Refused> {
        self.changed();
        self.bridge.hold(rendezvous, false, Instant::now())
    }

    /// Stops announcing and looking up. False if it was not. What is in the DHT is forgotten there
    /// after 15 min to 2 h.
    pub fn withdraw(&mut self, infohash: Infohash) -> bool {
        self.changed();
        self.bridge.withdraw(infohash)
    }

    /// Looks up a rendezvous once: [`Event::Found`] for each member as it is proven, then
    /// [`Event::FindEnded`], within a minute.
    ///
    /// # Errors
    /// [`Refused::Busy`].
    pub fn find(&mut self, rendezvous: Rendezvous) -> Result<FindId, Refused> {
        self.changed();
        self.bridge.find(rendezvous)
    }

    /// Nobody waits for a find any more: no more is dialled for it, and it is not told of again.
    pub fn cancel(&mut self, find: FindId) {
        self.bridge.cancel_find(find);
    }

    /// Looks up the addresses of a peer: [`Event::Resolved`] follows, within half a minute.
    ///
    /// # Errors
    /// [`Refused::NoKey`], [`Refused::Busy`].
    pub fn resolve(&mut self, peer: PeerId) -> Result<ResolveId, Refused> {
        self.changed();
        self.bridge.resolve(peer)
    }

    /// The port on which both TCP and QUIC listen, if they do on the same.
    pub fn on_port(&mut self, port: Option<u16>) {
        self.changed();
        self.bridge.on_port(port, Instant::now());
    }

    /// Whether the port can be reached from the internet; `None` while nobody can tell.
    pub fn on_reachable(&mut self, reachable: Option<bool>) {
        self.changed();
        self.bridge.on_reachable(reachable, Instant::now());
    }

    /// A connected peer said what it is: whether it lists our protocols, and where it listens.
    pub fn on_identified(&mut self, peer: PeerId, is_member: bool, listens: &[Multiaddr]) {
        self.changed();
        self.bridge.on_identified(peer, is_member, listens, Instant::now());
    }

    /// How the DHT fares.
    #[must_use]
    pub fn health(&self) -> Health {
        self.bridge.health()
    }

    /// Ends the DHT and saves its nodes; resolves when that is done, within seconds. Dropping the
    /// behaviour ends it as well, without waiting.
    pub fn stop(&mut self) -> impl Future<Output = ()> + Send + 'static {
        self.client.stop()
    }

    fn changed(&mut self) {
        self.stale = true;
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn ask(&mut self, request: Request) {
        // Bounded by what the bridge has under way: rounds, finds, resolves and one packet.
        self.asks.push_back(request);
    }

    /// Gives the DHT what waits for it.
    fn send_asks(&mut self) {
        while let Some(request) = self.asks.pop_front() {
            if let Err(request) = self.client.request(request) {
                self.asks.push_front(request);
                return;
            }
        }
    }

    fn dial(&mut self, effect: Effect) -> Option<ToSwarm<Event, Infallible>> {
        let (who, opts) = match effect {
            Effect::Dial { address, transport } => {
                let [quic, tcp] = multiaddrs(address);
                let address_of = if transport == Transport::Quic { quic } else { tcp };
                let opts = DialOpts::unknown_peer_id().address(address_of).build();
                (Who::Address(address), opts)
            }
            Effect::DialPeer { peer, addresses } => {
                (Who::Peer(peer), DialOpts::peer_id(peer).addresses(addresses).build())
            }
            Effect::Close { peer, connection } => {
                let connection = CloseConnection::One(connection);
                return Some(ToSwarm::CloseConnection { peer_id: peer, connection });
            }
            Effect::Found { .. } | Effect::Failed { .. } => return None,
        };
        self.bridge.on_dialling(&who, opts.connection_id());
        Some(ToSwarm::Dial { opts })
    }

    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if std::mem::take(&mut self.stale) {
            return Poll::Ready(());
        }
        let now = Now::get();
        let at = self.bridge.wake_at(now);
        let left = at.saturating_duration_since(now.instant);
        if left.is_zero() {
            return Poll::Ready(());
        }
        let timer = self.timer.insert(Delay::new(left));
        timer.poll_unpin(cx)
    }
}

impl fmt::Debug for Behaviour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Behaviour").field("health", &self.health()).finish_non_exhaustive()
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Event;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<dummy::ConnectionHandler, ConnectionDenied> {
        Ok(dummy::ConnectionHandler)
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<dummy::ConnectionHandler, ConnectionDenied> {
        Ok(dummy::ConnectionHandler)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        let now = Instant::now();
        match event {
            FromSwarm::ConnectionEstablished(made) => {
                self.bridge.on_established(made.connection_id, made.peer_id, now);
            }
            FromSwarm::ConnectionClosed(closed) => {
                let remaining = closed.remaining_established;
                self.bridge.on_closed(closed.connection_id, closed.peer_id, remaining, now);
            }
            FromSwarm::DialFailure(failed) => {
                let real = !matches!(failed.error, DialError::DialPeerConditionFalse(_));
                self.bridge.on_dial_failure(failed.connection_id, real, now);
            }
            FromSwarm::NewListenAddr(new) => self.bridge.on_listening(new.addr, true),
            FromSwarm::ExpiredListenAddr(old) => self.bridge.on_listening(old.addr, false),
            FromSwarm::ExternalAddrConfirmed(new) => self.bridge.on_external(new.addr, true, now),
            FromSwarm::ExternalAddrExpired(old) => self.bridge.on_external(old.addr, false, now),
            _ => return,
        }
        self.changed();
    }

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: Infallible) {
        match event {}
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Event, Infallible>> {
        loop {
            self.send_asks();
            while let Some(output) = self.bridge.next() {
                match output {
                    Output::Tell(event) => return Poll::Ready(ToSwarm::GenerateEvent(event)),
                    Output::Ask(request) => self.ask(request),
                    Output::Dial(effect) => {
                        if let Some(step) = self.dial(effect) {
                            return Poll::Ready(step);
                        }
                    }
                }
            }
            self.send_asks();
            if let Poll::Ready(Some(report)) = self.client.poll(cx) {
                self.bridge.on_report(report, Now::get());
                self.stale = true;
                continue;
            }
            if self.poll_timer(cx).is_ready() {
                self.bridge.on_time(Now::get());
                continue;
            }
            self.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
    }
}
