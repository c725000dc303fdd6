//! What a node is told at its start.

use std::{path::PathBuf, time::Duration};

use peerage_types::{Multiaddr, Network, PeerId};
use serde::{Deserialize, Serialize};

/// What a node is for, which sets its defaults.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Profile {
    /// A person's or a service's node.
    #[default]
    Peer,
    /// Also relays connections of others; needs an external address.
    Relay,
    /// Stays where it is and serves the DHT, so that new nodes have someone to start with.
    Bootstrap,
}

/// How connections over TCP and WebSocket are secured; QUIC brings TLS of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Security {
    /// TLS or Noise, as the peer likes.
    #[default]
    Both,
    /// Noise only: peers without it cannot connect.
    Noise,
    /// TLS only: peers without it cannot connect.
    Tls,
}

/// What a node is told at its start. `Settings::default()` is a node that keeps nothing, listens on
/// free ports of every interface and finds others by mDNS; what it announces goes to Kademlia and to
/// the BitTorrent DHT.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// Folder for identity, store and tokens, created 0700; `None` keeps nothing.
    pub data: Option<PathBuf>,
    /// Only nodes with the same network name are members.
    pub network: Network,
    /// File with a pre-shared key of the network (swarm.key format): TCP only, QUIC is switched off.
    pub network_key: Option<PathBuf>,
    /// What secures connections over TCP and WebSocket; fewer than both is for tests of others.
    pub security: Security,
    /// What the node is for.
    pub profile: Profile,
    /// Where to listen. Empty: TCP and QUIC on one port of all interfaces, the same as last time if
    /// it is free.
    pub listen: Vec<Multiaddr>,
    /// Addresses at which the node is known to be reachable from outside.
    pub external: Vec<Multiaddr>,
    /// Peers to start with; their connection is kept.
    pub bootstrap: Vec<Multiaddr>,
    /// Peers whose connection is kept and restored.
    pub protected: Vec<PeerId>,
    /// Find peers on the local network.
    pub mdns: bool,
    /// Take part in the network's Kademlia DHT.
    pub kad: bool,
    /// Find and be found through the BitTorrent DHT. What is announced there anyone can read.
    pub mainline: bool,
    /// Nodes (`HOST:PORT`) to enter the BitTorrent DHT at; none: the well-known ones. With `local_only`
    /// it is only used if nodes are named here.
    pub mainline_bootstrap: Vec<String>,
    /// For one machine or LAN: private and loopback addresses are believed, kept and told like
    /// public ones, and the node always serves the DHT.
    pub local_only: bool,
    /// Connected peers above which the least useful are let go.
    pub max_peers: usize,
    /// Connections from one address, loopback excepted.
    pub max_connections_per_ip: usize,
    /// Bytes of memory of the process above which new connections are refused.
    pub max_memory_bytes: usize,
    /// Program and version as told to peers.
    pub agent: String,
    /// Transfers of files.
    pub files: FilesSettings,
    /// Sessions of users.
    pub users: UsersSettings,
    /// The key-value store.
    pub kv: KvSettings,
}

/// How long users stay logged in, and what a guess at a password costs.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default)]
pub struct UsersSettings {
    /// A session that is unused for this long ends.
    pub idle_timeout: Duration,
    /// A session ends after this even if it is used.
    pub session_timeout: Duration,
    /// Argon2id: KiB of memory a login takes.
    pub argon_memory_kib: u32,
    /// Argon2id: passes over that memory.
    pub argon_passes: u32,
}

impl Default for UsersSettings {
    fn default() -> Self {
        let accounts = peerage_accounts::Config::default();
        Self {
            idle_timeout: accounts.idle_timeout,
            session_timeout: accounts.session_timeout,
            argon_memory_kib: accounts.argon_memory_kib,
            argon_passes: accounts.argon_passes,
        }
    }
}

/// What the key-value store may hold.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default)]
pub struct KvSettings {
    /// Longest value in bytes; the same on all nodes, or some will refuse what others have.
    pub max_value_bytes: usize,
    /// Bytes of keys and values of one space.
    pub max_space_bytes: u64,
    /// Entries of one space, those included that were deleted in the last 30 days.
    pub max_space_entries: u64,
}

impl Default for KvSettings {
    fn default() -> Self {
        Self {
            max_value_bytes: peerage_api::kv::MAX_VALUE_BYTES,
            max_space_bytes: 1 << 30,
            max_space_entries: 4_000_000,
        }
    }
}

/// How files are sent and received.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default)]
pub struct FilesSettings {
    /// Where accepted offers go; none: the folder `downloads` of the data directory.
    pub downloads: Option<PathBuf>,
    /// Peers whose offers are accepted without asking.
    pub accept_from: Vec<PeerId>,
    /// Offers of these peers above this size are asked about all the same.
    pub accept_max_bytes: u64,
    /// Bytes a second that all transfers together may send.
    pub send_limit_bps: Option<u64>,
    /// Bytes a second that all transfers together may receive.
    pub receive_limit_bps: Option<u64>,
    /// Also transfer through relays, rather than wait for a direct connection.
    pub allow_relay: bool,
}

impl Default for FilesSettings {
    fn default() -> Self {
        Self {
            downloads: None,
            accept_from: Vec::new(),
            accept_max_bytes: 10 << 30,
            send_limit_bps: None,
            receive_limit_bps: None,
            allow_relay: false,
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            data: None,
            network: Network::default(),
            network_key: None,
            security: Security::Both,
            profile: Profile::Peer,
            listen: Vec::new(),
            external: Vec::new(),
            bootstrap: Vec::new(),
            protected: Vec::new(),
            mdns: true,
            kad: true,
            mainline: true,
            mainline_bootstrap: Vec::new(),
            local_only: false,
            max_peers: 512,
            max_connections_per_ip: 32,
            max_memory_bytes: 1 << 30,
            agent: concat!("peerage/", env!("CARGO_PKG_VERSION")).to_owned(),
            files: FilesSettings::default(),
            users: UsersSettings::default(),
            kv: KvSettings::default(),
        }
    }
}
