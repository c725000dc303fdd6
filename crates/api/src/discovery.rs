//! The facet `discovery`: finding nodes by namespace and by id.

use peerage_types::{Author, Multiaddr, Namespace, PeerId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Failure, Link, LinkError, Stream, contract::facet, peers::Source};

/// Finding nodes by namespace and by id.
#[derive(Debug, Clone)]
pub struct Discovery {
    link: Link,
}

impl Discovery {
    pub(crate) fn new(link: Link) -> Self {
        Self { link }
    }

    /// Announces this node under a namespace until it is withdrawn or the node stops, and looks for
    /// others there. Anyone can read what is announced; on Mainline that is the whole internet. Returns
    /// after the first round, at the latest after 10 s: a source that could not be told by then is told
    /// later.
    ///
    /// # Errors
    /// [`DiscoveryError::NoNetwork`] when there is nobody to tell and no way to find anyone,
    /// [`DiscoveryError::TooManyNamespaces`].
    pub async fn announce(&self, namespace: Namespace) -> Result<Announced, DiscoveryError> {
        self.link.call(Announce { namespace }).await
    }

    /// Stops announcing. Records already out expire within 30 minutes, on Mainline within 2 hours.
    ///
    /// # Errors
    /// [`DiscoveryError::NotAnnounced`].
    pub async fn withdraw(&self, namespace: Namespace) -> Result<(), DiscoveryError> {
        self.link.call(Withdraw { namespace }).await
    }

    /// Looks for nodes that announce a namespace, through every source at once. Results stream as they
    /// come, each with the first source that had it; the stream ends when every source has answered.
    ///
    /// # Errors
    /// [`DiscoveryError::NoNetwork`].
    pub async fn find(&self, namespace: Namespace) -> Result<Stream<Found>, DiscoveryError> {
        self.link.open(Find { namespace }).await
    }

    /// Looks for the addresses of a peer in both DHTs: the first that knows answers, else what this node
    /// remembers.
    ///
    /// # Errors
    /// [`DiscoveryError::NotFound`], [`DiscoveryError::NoNetwork`], [`DiscoveryError::Off`];
    /// [`DiscoveryError::Unlisted`] for an id that is no Ed25519 key's, which only Kademlia can know, when
    /// that is off.
    pub async fn resolve(&self, peer: PeerId) -> Result<Found, DiscoveryError> {
        self.link.call(Resolve { peer }).await
    }

    /// How each way of finding peers fares.
    ///
    /// # Errors
    /// [`DiscoveryError::Link`] when the node cannot be asked.
    pub async fn status(&self) -> Result<Status, DiscoveryError> {
        self.link.call(GetStatus {}).await
    }
}

/// Most namespaces a node announces at once.
pub const MAX_NAMESPACES: usize = 64;

/// Announces this node under a namespace.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Announce {
    /// Which.
    pub namespace: Namespace,
}

/// Stops announcing.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Withdraw {
    /// Which.
    pub namespace: Namespace,
}

/// Looks for nodes that announce a namespace.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Find {
    /// Which.
    pub namespace: Namespace,
}

/// Looks for the addresses of a peer.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Resolve {
    /// Who.
    #[schemars(with = "String")]
    pub peer: PeerId,
}

/// Asks how discovery fares.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct GetStatus {}

/// The first round of an announcement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Announced {
    /// The namespace.
    pub namespace: Namespace,
    /// Its key in the DHTs: SHA-1 of the name, hexadecimal.
    pub infohash: String,
    /// Where it is announced so far; the others follow.
    pub sources: Vec<Source>,
}

/// A node that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Found {
    /// Who.
    #[schemars(with = "String")]
    pub peer_id: PeerId,
    /// Where, as far as known.
    #[schemars(with = "Vec<String>")]
    pub addresses: Vec<Multiaddr>,
    /// How.
    pub source: Source,
}

/// How each way of finding peers fares.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Status {
    /// Kademlia's protocol id; empty when it is off.
    pub kad_protocol: String,
    /// Whether this node serves Kademlia to others.
    pub kad_server: bool,
    /// Peers in the routing table.
    pub kad_peers: usize,
    /// Records stored for others.
    pub kad_records: usize,
    /// Whether mDNS runs.
    pub mdns: bool,
    /// Peers mDNS sees now.
    pub mdns_peers: usize,
    /// Whether the bridge to the BitTorrent DHT (Mainline) runs.
    pub mainline: bool,
    /// Whether it knows nodes there.
    pub mainline_up: bool,
    /// Nodes of that DHT in its routing table.
    pub mainline_nodes: usize,
    /// Where those nodes see this one, by their vote.
    #[schemars(with = "Option<String>")]
    pub mainline_seen_as: Option<std::net::SocketAddr>,
    /// Connected peers that introduce others.
    pub pex_peers: usize,
    /// What this node announces, and where it is announced so far.
    pub announced: Vec<Announced>,
}

/// How a question to this facet fails.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(tag = "code", rename_all = "snake_case")]
pub enum DiscoveryError {
    /// There is nobody to ask.
    #[error(
        "nobody can be asked yet: connect to a peer, or start with --bootstrap; `peerage doctor` says more"
    )]
    NoNetwork,
    /// Every way of finding peers is switched off.
    #[error(
        "nobody can be asked: both DHTs are switched off; start without --no-kad or --no-mainline, or \
         connect to a peer"
    )]
    Off,
    /// Nobody knows the peer.
    #[error("no address of {peer} was found{}", unlisted(peer))]
    NotFound {
        /// Who.
        peer: PeerId,
    },
    /// Only Kademlia could know the peer, and it is switched off.
    #[error("nobody can be asked for {peer}: Kademlia is switched off{}", unlisted(peer))]
    Unlisted {
        /// Who.
        peer: PeerId,
    },
    /// Not announced by this node.
    #[error("{namespace:?} is not announced by this node")]
    NotAnnounced {
        /// The namespace.
        namespace: Namespace,
    },
    /// This node announces as many namespaces as it may.
    #[error("{max} namespaces are announced already, which is the most")]
    TooManyNamespaces {
        /// The limit.
        max: usize,
    },
    /// Too many lookups at once.
    #[error("too many lookups at once; ask again shortly")]
    Busy,
    /// The node could not be asked.
    #[error(transparent)]
    #[serde(untagged)]
    Link(#[from] LinkError),
}

/// Of a peer that the BitTorrent DHT cannot know, why not.
fn unlisted(peer: &PeerId) -> &'static str {
    match Author::of_peer(peer) {
        Some(_) => "",
        None => {
            "; the BitTorrent DHT was not asked: its records hold only Ed25519 identities, whose peer \
             ids begin with 12D3KooW"
        }
    }
}

impl Failure for DiscoveryError {
    fn is_retryable(&self) -> bool {
        match self {
            Self::Link(link) => link.is_retryable(),
            Self::NoNetwork | Self::NotFound { .. } | Self::Busy => true,
            Self::Off | Self::Unlisted { .. } => false,
            Self::NotAnnounced { .. } | Self::TooManyNamespaces { .. } => false,
        }
    }
}

facet! {
    Discovery, DiscoveryError;
    methods {
        Announce => "discovery.announce" -> Announced;
        Withdraw => "discovery.withdraw" -> ();
        Resolve => "discovery.resolve" -> Found;
        GetStatus => "discovery.status" -> Status;
    }
    local {}
    feeds {
        Find[256] => "discovery.find" -> Found;
    }
    extra {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_peer_that_is_no_ed25519_identity_it_is_told_where_it_cannot_be() {
        let rsa = "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N".parse().unwrap();
        let ed25519 = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN".parse().unwrap();
        let of = |peer| DiscoveryError::NotFound { peer }.to_string();
        assert!(
            of(rsa).ends_with("hold only Ed25519 identities, whose peer ids begin with 12D3KooW")
        );
        assert!(of(ed25519).ends_with("was found"), "{}", of(ed25519));
    }
}
