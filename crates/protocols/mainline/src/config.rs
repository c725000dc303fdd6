//! What a user sets.

/// Where one enters the DHT when no node of it is known. From BEP 5's clients.
pub const DEFAULT_BOOTSTRAP: [&str; 4] = [
    "router.bittorrent.com:6881",
    "dht.transmissionbt.com:6881",
    "dht.libtorrent.org:25401",
    "relay.pkarr.org:6881",
];

/// How the bridge behaves.
#[derive(Debug, Clone)]
pub struct Config {
    /// `HOST:PORT` of nodes of the DHT; [`DEFAULT_BOOTSTRAP`] unless set. At most
    /// [`MAX_BOOTSTRAP`] are used.
    pub bootstrap: Vec<String>,
    /// Only addresses of this machine are used, for networks of tests, and the socket is bound to
    /// it. Without a bootstrap list of one's own there is then no DHT at all.
    pub local_only: bool,
    /// UDP port of the DHT's socket (IPv4); 0 for any. Not the node's own port.
    pub port: u16,
    /// Whether the node dials QUIC.
    pub quic: bool,
    /// Whether the node dials TCP.
    pub tcp: bool,
}

/// Entries of a bootstrap list that are used. With the saved nodes at most 16: every lookup asks all
/// of them while the routing table knows fewer that are close.
pub const MAX_BOOTSTRAP: usize = 8;

impl Default for Config {
    fn default() -> Self {
        Self {
            bootstrap: DEFAULT_BOOTSTRAP.map(str::to_owned).to_vec(),
            local_only: false,
            port: 0,
            quic: true,
            tcp: true,
        }
    }
}

impl Config {
    /// Only this machine, and a DHT that is entered at `bootstrap`.
    #[must_use]
    pub fn local(bootstrap: Vec<String>) -> Self {
        Self { bootstrap, local_only: true, ..Self::default() }
    }
}
