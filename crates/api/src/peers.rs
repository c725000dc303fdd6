//! The facet `peers`: who we know, whom we are connected to, and whom we refuse.

use std::time::Duration;

use peerage_types::{Multiaddr, PeerId, UnixMillis};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Link, Stream, contract::facet};

mod error;

pub use error::PeersError;

/// Connections, the address book, block and allow lists.
#[derive(Debug, Clone)]
pub struct Peers {
    link: Link,
}

impl Peers {
    pub(crate) fn new(link: Link) -> Self {
        Self { link }
    }

    /// The connected peers.
    ///
    /// # Errors
    /// [`PeersError::Link`] when the node cannot be asked.
    pub async fn list(&self) -> Result<Vec<Peer>, PeersError> {
        self.link.call(List {}).await
    }

    /// All that is known of one peer, connected or not.
    ///
    /// # Errors
    /// [`PeersError::Unknown`] when the address book has never heard of it.
    pub async fn show(&self, peer: PeerId) -> Result<Known, PeersError> {
        self.link.call(Show { peer }).await
    }

    /// Connects to an address, whoever answers there. If it ends in `/p2p/ID` only that peer counts.
    ///
    /// # Errors
    /// [`PeersError::Unreachable`] with what each address said, [`PeersError::Blocked`],
    /// [`PeersError::Refused`] when a limit of either side is reached.
    ///
    /// # Cancel safety
    /// Dropping the future does not take back a dial that has begun.
    pub async fn connect(&self, address: Multiaddr) -> Result<Connected, PeersError> {
        self.link.call(Connect { peer: None, addresses: vec![address] }).await
    }

    /// Connects to a peer at the addresses that the book and discovery know.
    ///
    /// # Errors
    /// As [`Peers::connect`], and [`PeersError::NoAddress`].
    pub async fn connect_to(&self, peer: PeerId) -> Result<Connected, PeersError> {
        self.link.call(Connect { peer: Some(peer), addresses: vec![] }).await
    }

    /// Closes all connections to a peer. A protected peer will be dialled again.
    ///
    /// # Errors
    /// [`PeersError::NotConnected`].
    pub async fn disconnect(&self, peer: PeerId) -> Result<(), PeersError> {
        self.link.call(Disconnect { peer }).await
    }

    /// Measures one round trip of 32 bytes with libp2p's ping, which every libp2p peer answers.
    ///
    /// Connects first if need be.
    ///
    /// # Errors
    /// [`PeersError::TimedOut`] after 10 s, [`PeersError::Unsupported`], and those of
    /// [`Peers::connect_to`].
    pub async fn ping(&self, peer: PeerId) -> Result<Pong, PeersError> {
        match self.link.call(Ping { peer }).await {
            Err(PeersError::NotConnected { .. }) => {}
            answered => return answered,
        }
        self.connect_to(peer).await?;
        self.link.call(Ping { peer }).await
    }

    /// Measures throughput both ways and the round trip on the best path to a connected peer.
    ///
    /// # Errors
    /// [`PeersError::Refused`] when the peer measures already, [`PeersError::Unsupported`].
    ///
    /// # Cancel safety
    /// Dropping the future ends the measurement.
    pub async fn measure(&self, peer: PeerId, bytes: u64) -> Result<Vec<Measured>, PeersError> {
        self.link.call(Measure { peer, bytes }).await
    }

    /// Refuses a peer from now on, across restarts, and closes its connections.
    ///
    /// # Errors
    /// [`PeersError::Store`] when the list could not be saved.
    pub async fn block(&self, peer: PeerId) -> Result<(), PeersError> {
        self.link.call(Block { peer }).await
    }

    /// Lifts a block.
    ///
    /// # Errors
    /// [`PeersError::Store`] when the list could not be saved.
    pub async fn unblock(&self, peer: PeerId) -> Result<(), PeersError> {
        self.link.call(Unblock { peer }).await
    }

    /// Puts a peer on (or takes it off) the allow list. While the list is not empty only its
    /// peers may connect.
    ///
    /// # Errors
    /// [`PeersError::Store`] when the list could not be saved.
    pub async fn allow(&self, peer: PeerId, allowed: bool) -> Result<(), PeersError> {
        self.link.call(Allow { peer, allowed }).await
    }

    /// Protects a peer: its connection is kept, restored for ever, and trimmed last.
    ///
    /// # Errors
    /// [`PeersError::Store`] when the list could not be saved.
    pub async fn protect(&self, peer: PeerId, protected: bool) -> Result<(), PeersError> {
        self.link.call(Protect { peer, protected }).await
    }

    /// The block, allow and protect lists.
    ///
    /// # Errors
    /// [`PeersError::Link`] when the node cannot be asked.
    pub async fn lists(&self) -> Result<Lists, PeersError> {
        self.link.call(GetLists {}).await
    }

    /// Peers that come and go.
    ///
    /// # Errors
    /// [`PeersError::Link`] when the node cannot be asked.
    pub async fn events(&self) -> Result<Stream<Event>, PeersError> {
        self.link.open(Events {}).await
    }
}

macro_rules! by_peer {
    ($($(#[$doc:meta])* $name:ident { $($(#[$fdoc:meta])* $field:ident: $ty:ty),* })*) => {
        $($(#[$doc])*
        #[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
        pub struct $name {
            /// The peer it is about.
            #[schemars(with = "String")]
            pub peer: PeerId,
            $($(#[$fdoc])* pub $field: $ty,)*
        })*
    };
}

by_peer! {
    /// Asks for all that is known of a peer.
    Show {}
    /// Closes all connections to a peer.
    Disconnect {}
    /// Measures one round trip.
    Ping {}
    /// Measures the path.
    Measure {
        /// Bytes to send in each direction, 1 to [`MAX_MEASURE_BYTES`].
        bytes: u64
    }
    /// Blocks a peer.
    Block {}
    /// Lifts a block.
    Unblock {}
    /// Changes the allow list.
    Allow {
        /// On the list, or off it.
        allowed: bool
    }
    /// Changes the protect list.
    Protect {
        /// On the list, or off it.
        protected: bool
    }
}

/// Most bytes of one measurement in one direction: 4 GiB.
pub const MAX_MEASURE_BYTES: u64 = 4 << 30;

/// Asks for the connected peers.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct List {}

/// Asks for the lists.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct GetLists {}

/// Subscribes to peers that come and go.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Events {}

/// Connects to a peer, to addresses, or to a peer at addresses.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Connect {
    /// Who must answer; whoever does when absent.
    #[schemars(with = "Option<String>")]
    #[serde(default)]
    pub peer: Option<PeerId>,
    /// Where; up to 16. Without any the address book and discovery are asked.
    #[schemars(with = "Vec<String>")]
    #[serde(default)]
    pub addresses: Vec<Multiaddr>,
}

/// Who opened a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// They did.
    In,
    /// We did.
    Out,
}

/// What carries a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Transport {
    /// TCP with Noise or TLS and yamux.
    Tcp,
    /// QUIC v1.
    Quic,
    /// WebSocket over TCP.
    Ws,
    /// A circuit through a relay.
    Relay,
    /// Memory or something that this version does not know.
    Other,
}

impl Transport {
    /// Tells the transport from an address.
    #[must_use]
    pub fn of(address: &Multiaddr) -> Self {
        let mut found = Self::Other;
        for tag in address.protocol_stack() {
            match tag {
                "p2p-circuit" => return Self::Relay,
                "tcp" => found = Self::Tcp,
                "quic" | "quic-v1" => found = Self::Quic,
                "ws" | "wss" | "x-parity-ws" | "x-parity-wss" => found = Self::Ws,
                _ => {}
            }
        }
        found
    }

    /// The name as it is shown, such as `tcp`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Quic => "quic",
            Self::Ws => "ws",
            Self::Relay => "relay",
            Self::Other => "other",
        }
    }
}

/// How a peer became known.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// Multicast DNS on the local network.
    Mdns,
    /// Kademlia.
    Kad,
    /// BitTorrent Mainline.
    Mainline,
    /// Named in the configuration.
    Bootstrap,
    /// Introduced by a peer.
    Pex,
    /// Given by the user, or it came to us by itself.
    Manual,
}

impl Source {
    /// The name as it is shown, such as `mdns`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mdns => "mdns",
            Self::Kad => "kad",
            Self::Mainline => "mainline",
            Self::Bootstrap => "bootstrap",
            Self::Pex => "pex",
            Self::Manual => "manual",
        }
    }
}

/// One connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Connection {
    /// The remote address.
    #[schemars(with = "String")]
    pub address: Multiaddr,
    /// Who opened it.
    pub direction: Direction,
    /// What carries it.
    pub transport: Transport,
    /// Whether it goes through a relay.
    pub relayed: bool,
}

/// A connected peer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Peer {
    /// Who it is.
    #[schemars(with = "String")]
    pub peer_id: PeerId,
    /// Its connections, best first.
    pub connections: Vec<Connection>,
    /// Round trip of the best connection in milliseconds, once measured.
    pub rtt_ms: Option<f64>,
    /// Program and version as the peer says.
    pub agent: Option<String>,
    /// Seconds since its oldest connection was made.
    pub connected_s: u64,
    /// Whether it is on the protect list.
    pub protected: bool,
    /// How it became known.
    pub sources: Vec<Source>,
}

/// An address in the book.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KnownAddress {
    /// Where.
    #[schemars(with = "String")]
    pub address: Multiaddr,
    /// When a connection to it last succeeded.
    pub worked_ms: Option<UnixMillis>,
    /// Failures since it last worked.
    pub failures: u32,
}

/// All that is known of a peer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Known {
    /// Who it is.
    #[schemars(with = "String")]
    pub peer_id: PeerId,
    /// The live side, if it is connected.
    pub connected: Option<Peer>,
    /// Protocols it speaks, once it told.
    pub protocols: Vec<String>,
    /// Addresses in the book, best first; at most 8.
    pub addresses: Vec<KnownAddress>,
    /// How it became known.
    pub sources: Vec<Source>,
    /// When it was last connected.
    pub seen_ms: Option<UnixMillis>,
    /// Standing: successes raise it, failures and misbehaviour lower it.
    pub score: i32,
    /// On the block list.
    pub blocked: bool,
    /// On the allow list.
    pub allowed: bool,
    /// On the protect list.
    pub protected: bool,
}

/// The outcome of a connect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Connected {
    /// Who answered.
    #[schemars(with = "String")]
    pub peer_id: PeerId,
    /// Where.
    #[schemars(with = "String")]
    pub address: Multiaddr,
    /// Whether there was a connection before.
    pub already: bool,
}

/// One measured round trip.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Pong {
    /// In microseconds.
    pub rtt_us: u64,
}

impl Pong {
    /// The round trip.
    #[must_use]
    pub fn rtt(&self) -> Duration {
        Duration::from_micros(self.rtt_us)
    }
}

/// Which way a measurement went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Flow {
    /// From this node to the peer.
    Send,
    /// From the peer to this node.
    Receive,
}

/// One measured direction of a path.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Measured {
    /// What carried it.
    pub transport: Transport,
    /// Which way.
    pub direction: Flow,
    /// Bytes that arrived.
    pub bytes: u64,
    /// How long it took.
    pub seconds: f64,
    /// Megabytes (10^6 bytes) a second.
    pub mb_per_s: f64,
    /// Median round trip of 64 bytes on an open substream, in microseconds.
    pub rtt_p50_us: u64,
}

/// The lists a user keeps.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Lists {
    /// Peers that are refused.
    #[schemars(with = "Vec<String>")]
    pub blocked: Vec<PeerId>,
    /// The only peers that may connect, unless empty.
    #[schemars(with = "Vec<String>")]
    pub allowed: Vec<PeerId>,
    /// Peers whose connection is kept and restored.
    #[schemars(with = "Vec<String>")]
    pub protected: Vec<PeerId>,
}

/// A change in who is connected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The first connection to a peer stands.
    Connected {
        /// Who.
        #[schemars(with = "String")]
        peer: PeerId,
        /// Where.
        #[schemars(with = "String")]
        address: Multiaddr,
        /// Who opened it.
        direction: Direction,
    },
    /// A connected peer told who it is.
    Identified {
        /// Who.
        #[schemars(with = "String")]
        peer: PeerId,
        /// Program and version as it says.
        agent: String,
        /// Whether it belongs to our network.
        member: bool,
    },
    /// The last connection to a peer is gone.
    Disconnected {
        /// Who.
        #[schemars(with = "String")]
        peer: PeerId,
        /// Why, as far as this side knows.
        reason: String,
    },
    /// A peer became known.
    Discovered {
        /// Who.
        #[schemars(with = "String")]
        peer: PeerId,
        /// How.
        source: Source,
    },
}

facet! {
    Peers, PeersError;
    methods {
        List => "peers.list" -> Vec<Peer>;
        Show => "peers.show" -> Known;
        Connect => "peers.connect" -> Connected;
        Disconnect => "peers.disconnect" -> ();
        Ping => "peers.ping" -> Pong;
        Measure => "peers.measure" -> Vec<Measured>;
        Block => "peers.block" -> ();
        Unblock => "peers.unblock" -> ();
        Allow => "peers.allow" -> ();
        Protect => "peers.protect" -> ();
        GetLists => "peers.lists" -> Lists;
    }
    local {}
    feeds {
        Events[256] => "peers.events" -> Event;
    }
    extra {}
}
