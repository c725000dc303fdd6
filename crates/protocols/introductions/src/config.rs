//! What the behaviour is told at its start, and what it tells.

use libp2p_core::Multiaddr;
use peerage_types::{Network, PeerId};

/// How the behaviour is set up.
#[derive(Debug, Clone)]
pub struct Config {
    /// Only nodes of the same network introduce each other.
    pub network: Network,
    /// Tell and believe loopback and private addresses as if they were public: for tests and closed
    /// networks. Otherwise private ones are told to, and believed of, peers on local addresses only.
    pub allow_private: bool,
}

/// What the embedding node is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Somebody has met a peer of which this node did not know, or knew something older. That it
    /// is what it says is signed; that it is where it says is not proven before it answers there.
    Introduced {
        /// Whom.
        peer: PeerId,
        /// Where, without its id at the end.
        addresses: Vec<Multiaddr>,
        /// The one who introduced it is on the local network.
        nearby: bool,
    },
    /// A search has found a peer; each once.
    Found {
        /// Which search.
        search: u64,
        /// Whom.
        peer: PeerId,
        /// Where, without its id at the end.
        addresses: Vec<Multiaddr>,
    },
    /// A search is over: everybody who was asked has answered.
    Searched {
        /// Which.
        search: u64,
    },
    /// A peer did what no correct node does.
    Misbehaved {
        /// Who.
        peer: PeerId,
        /// What it did.
        reason: String,
    },
}
