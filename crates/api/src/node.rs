//! The facet `node`: who this node is, how it fares, and stopping it.

use std::path::PathBuf;

use peerage_types::{Multiaddr, Network, PeerId, ServiceName, Space};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Failure, Link, LinkError, Stream,
    contacts::Contacts,
    contract::facet,
    discovery::Discovery,
    exchange::Exchange,
    files::Files,
    kv::{Kv, Spaces},
    peers::Peers,
    pubsub::Pubsub,
    services::Services,
    storage::Storage,
    users::{Auth, Users},
};

/// A handle on a node: in this process or a daemon, with the same methods and errors.
///
/// Cheap to clone. A node in this process stops when its last handle is dropped.
#[derive(Debug, Clone)]
pub struct Node {
    link: Link,
}

impl Node {
    /// A handle over `link`.
    #[must_use]
    pub fn new(link: Link) -> Self {
        Self { link }
    }

    /// The way to the node, for code that is generic over methods.
    #[must_use]
    pub fn link(&self) -> &Link {
        &self.link
    }

    /// Connections, the address book, block and allow lists.
    #[must_use]
    pub fn peers(&self) -> Peers {
        Peers::new(self.link.clone())
    }

    /// Topics: messages to everyone who subscribed.
    #[must_use]
    pub fn pubsub(&self) -> Pubsub {
        Pubsub::new(self.link.clone())
    }

    /// Finding nodes by namespace and by id.
    #[must_use]
    pub fn discovery(&self) -> Discovery {
        Discovery::new(self.link.clone())
    }

    /// Typed messages between connected nodes.
    #[must_use]
    pub fn exchange(&self) -> Exchange {
        Exchange::new(self.link.clone())
    }

    /// Sending, sharing and fetching files and directories.
    #[must_use]
    pub fn files(&self) -> Files {
        Files::new(self.link.clone())
    }

    /// Users of this node, their sessions and profiles, and everybody that is known.
    #[must_use]
    pub fn users(&self) -> Users {
        Users::new(self.link.clone())
    }

    /// The contact book of a user, with the proof of a session.
    #[must_use]
    pub fn contacts(&self, auth: Auth) -> Contacts {
        Contacts::new(self.link.clone(), auth)
    }

    /// Applications that act for users.
    #[must_use]
    pub fn services(&self) -> Services {
        Services::new(self.link.clone())
    }

    /// What a service keeps for a user; the token is that of a session or of the service.
    #[must_use]
    pub fn storage(&self, auth: Auth, service: ServiceName) -> Storage {
        Storage::new(self.link.clone(), auth, service)
    }

    /// A space of the replicated key-value store.
    #[must_use]
    pub fn kv(&self, space: Space) -> Kv {
        Kv::new(self.link.clone(), space)
    }

    /// The spaces of the key-value store.
    #[must_use]
    pub fn spaces(&self) -> Spaces {
        Spaces::new(self.link.clone())
    }

    /// The identity of the node.
    ///
    /// # Errors
    /// [`NodeError::Link`] when the node cannot be asked.
    pub async fn id(&self) -> Result<Identity, NodeError> {
        self.link.call(Id {}).await
    }

    /// Addresses, reachability, number of peers, memory.
    ///
    /// # Errors
    /// [`NodeError::Link`] when the node cannot be asked.
    pub async fn status(&self) -> Result<Status, NodeError> {
        self.link.call(GetStatus {}).await
    }

    /// Checks what commonly keeps a node from being found and reached, with remedies.
    ///
    /// # Errors
    /// [`NodeError::Link`] when the node cannot be asked.
    pub async fn doctor(&self) -> Result<Vec<Check>, NodeError> {
        self.link.call(Doctor {}).await
    }

    /// All metrics as OpenMetrics text.
    ///
    /// # Errors
    /// [`NodeError::Link`] when the node cannot be asked.
    pub async fn metrics(&self) -> Result<String, NodeError> {
        self.link.call(Metrics {}).await
    }

    /// Asks the node to stop: no new connections, running dialogs end, the store is flushed,
    /// connections close. Returns when the stop has begun.
    ///
    /// # Errors
    /// [`NodeError::Link`] when the node cannot be asked.
    pub async fn stop(&self) -> Result<(), NodeError> {
        self.link.call(Stop {}).await
    }

    /// Listen addresses that come and go, external addresses, and the stop.
    ///
    /// # Errors
    /// [`NodeError::Link`] when the node cannot be asked.
    pub async fn events(&self) -> Result<Stream<Event>, NodeError> {
        self.link.open(Events {}).await
    }
}

/// Asks for the identity.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Id {}

/// Asks for the status.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct GetStatus {}

/// Asks for a check-up.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Doctor {}

/// Asks for the metrics.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Metrics {}

/// Asks the node to stop.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Stop {}

/// Subscribes to events of the node itself.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Events {}

/// Who a node is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Identity {
    /// Hash or, for Ed25519, wrapping of the public key.
    #[schemars(with = "String")]
    pub peer_id: PeerId,
    /// The public key in libp2p's protobuf form, base64 with padding.
    pub public_key: String,
}

/// Whether strangers can dial this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reachability {
    /// An external address is confirmed.
    Public,
    /// Known to be behind NAT or a firewall.
    Private,
    /// No evidence yet.
    Unknown,
}

/// How a node fares.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Status {
    /// Who it is.
    #[schemars(with = "String")]
    pub peer_id: PeerId,
    /// Version of the program.
    pub version: String,
    /// Seconds since the start.
    pub uptime_s: u64,
    /// Connected peers.
    pub peers: usize,
    /// Established connections.
    pub connections: usize,
    /// Addresses it listens on, each ending in its id.
    #[schemars(with = "Vec<String>")]
    pub listen: Vec<Multiaddr>,
    /// Confirmed external addresses.
    #[schemars(with = "Vec<String>")]
    pub external: Vec<Multiaddr>,
    /// Whether strangers can dial it.
    pub reachability: Reachability,
    /// Resident memory in bytes; 0 where the system does not tell.
    pub rss_bytes: u64,
    /// File transfers under way.
    pub transfers_active: usize,
    /// The private network it belongs to.
    pub network: Network,
    /// Whether a pre-shared network key protects every connection (TCP only).
    pub network_key: bool,
    /// Folder of identity, store and tokens; empty for a node that keeps nothing.
    #[schemars(with = "String")]
    pub data: PathBuf,
    /// A damaged store that was moved out of the way, whereupon the node began with an empty one;
    /// until the file is deleted.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub kept_aside: Option<PathBuf>,
}

/// Outcome of one check of the doctor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// Works, with a limitation worth knowing.
    Warn,
    /// Does not work.
    Fail,
}

/// One thing the doctor looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Check {
    /// What was looked at, such as `listening`.
    pub name: String,
    /// How it is.
    pub verdict: Verdict,
    /// What was found.
    pub detail: String,
    /// What to do about it; empty when nothing is wrong.
    pub remedy: String,
}

/// Something that happened to the node itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A listen address is up.
    Listening {
        /// The address, ending in the node's id.
        #[schemars(with = "String")]
        address: Multiaddr,
    },
    /// A listen address went away.
    ListenerClosed {
        /// The address.
        #[schemars(with = "String")]
        address: Multiaddr,
        /// Why, as the system says.
        reason: String,
    },
    /// An external address is confirmed.
    ExternalConfirmed {
        /// The address.
        #[schemars(with = "String")]
        address: Multiaddr,
    },
    /// An external address no longer counts.
    ExternalExpired {
        /// The address.
        #[schemars(with = "String")]
        address: Multiaddr,
    },
    /// The node stops.
    Stopping,
}

/// How a question to this facet fails.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(tag = "code", rename_all = "snake_case")]
pub enum NodeError {
    /// The node could not be asked.
    #[error(transparent)]
    #[serde(untagged)]
    Link(#[from] LinkError),
}

impl Failure for NodeError {
    fn is_retryable(&self) -> bool {
        match self {
            Self::Link(link) => link.is_retryable(),
        }
    }
}

facet! {
    Node, NodeError;
    methods {
        Id => "node.id" -> Identity;
        GetStatus => "node.status" -> Status;
        Doctor => "node.doctor" -> Vec<Check>;
        Metrics => "node.metrics" -> String;
        Stop => "node.stop" -> ();
    }
    local {}
    feeds {
        Events[64] => "node.events" -> Event;
    }
    extra {}
}
