//! What an operator can set, with defaults that suit a peer at home.

use std::time::Duration;

use libp2p_core::Multiaddr;
use libp2p_identity::PeerId;

/// Limits and rhythms of [`Behaviour`](crate::Behaviour). Start from [`Config::new`].
#[derive(Debug, Clone)]
pub struct Config {
    /// Our own id.
    pub local: PeerId,
    /// Addresses to stay connected to. With `/p2p/ID` at the end only that peer counts, without it
    /// whoever answers.
    pub bootstrap: Vec<Multiaddr>,
    /// Peers that are protected on top of the saved list.
    pub protected: Vec<PeerId>,
    /// Connected peers above which the worst are closed. Default 512.
    pub max_peers: usize,
    /// Connected peers that remain after that. Default 384.
    pub low_peers: usize,
    /// Established connections of all peers, incoming ones on their way included. Above
    /// `max_peers`, so that protected peers find room. Default 640.
    pub max_connections: usize,
    /// Established connections to one peer. Three, because a relayed one, a hole-punched one and a
    /// simultaneous dial must coexist for a moment. Default 3.
    pub max_connections_per_peer: usize,
    /// Incoming connections from one IPv4 address or IPv6 /64. Default 32.
    pub max_connections_per_ip: usize,
    /// Whether private addresses are free of that limit; loopback always is. Default true.
    pub exempt_private: bool,
    /// Incoming connections that have not proven their peer id yet. Default 128.
    pub max_pending_inbound: usize,
    /// Dials at a time, those of other behaviours included; the user's own are not counted against
    /// it. Default 64.
    pub max_pending_dials: usize,
    /// Peers in the address book. Default 4096.
    pub max_book: usize,
    /// Whether loopback, private and in-memory addresses are believed from strangers: for tests
    /// and closed networks. Default false.
    pub allow_private: bool,
    /// When found peers are dialled without being asked for.
    pub autodial: Autodial,
    /// How long two connections to a peer may stand before one is retired. Default 2 s.
    pub prune_grace: Duration,
    /// How long a retired connection may still finish its streams. Default 15 s.
    pub drain_timeout: Duration,
    /// How long a peer that does not speak our protocols keeps an idle connection. Default 60 s.
    pub idle_grace: Duration,
    /// How long a new connection is safe from trimming. Default 30 s.
    pub trim_grace: Duration,
    /// How long a connect waits for discovery to name an address. Default 20 s.
    pub lookup_timeout: Duration,
    /// How long a connect waits for identify before it counts as accepted by the other side; zero
    /// answers as soon as the handshake is done. Default 1 s.
    pub settle_timeout: Duration,
}

/// When peers that were found are dialled without being asked for.
#[derive(Debug, Clone)]
pub struct Autodial {
    /// Connected peers above which nobody is dialled. 0 switches it off. Default 64.
    pub target_peers: usize,
    /// Peers of the book that are dialled at start. Default 16.
    pub at_start: usize,
    /// Dials of this kind at a time. Default 16.
    pub max_pending: usize,
    /// Time between two of them. Default 100 ms.
    pub interval: Duration,
}

impl Config {
    /// The defaults for the node `local`.
    #[must_use]
    pub fn new(local: PeerId) -> Self {
        Self {
            local,
            bootstrap: Vec::new(),
            protected: Vec::new(),
            max_peers: 512,
            low_peers: 384,
            max_connections: 640,
            max_connections_per_peer: 3,
            max_connections_per_ip: 32,
            exempt_private: true,
            max_pending_inbound: 128,
            max_pending_dials: 64,
            max_book: 4096,
            allow_private: false,
            autodial: Autodial::default(),
            prune_grace: Duration::from_secs(2),
            drain_timeout: Duration::from_secs(15),
            idle_grace: Duration::from_secs(60),
            trim_grace: Duration::from_secs(30),
            lookup_timeout: Duration::from_secs(20),
            settle_timeout: Duration::from_secs(1),
        }
    }
}

impl Default for Autodial {
    fn default() -> Self {
        Self {
            target_peers: 64,
            at_start: 16,
            max_pending: 16,
            interval: Duration::from_millis(100),
        }
    }
}
