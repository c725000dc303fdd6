//! What the behaviour is told at its start, and what it tells.

use std::{collections::HashSet, path::PathBuf};

use libp2p_identity::PeerId;
use peerage_api::{Ask, peers::Connect};
use peerage_types::{ContentHash, Network};

/// How the behaviour is set up.
#[derive(Debug, Clone)]
pub struct Config {
    /// Names the protocol: only nodes of the same network exchange files.
    pub network: Network,
    /// Our own id, for tickets.
    pub local: PeerId,
    /// Folder for lists of files, hashes and what is known of incomplete transfers; made 0700.
    pub home: PathBuf,
    /// Where accepted offers go unless somebody says otherwise.
    pub downloads: PathBuf,
    /// Peers whose offers are accepted without asking.
    pub accept_from: HashSet<PeerId>,
    /// Their offers above this size are asked about all the same.
    pub accept_max_bytes: u64,
    /// Bytes a second that all transfers together may send.
    pub send_limit_bps: Option<u64>,
    /// Bytes a second that all transfers together may receive.
    pub receive_limit_bps: Option<u64>,
    /// Also transfer through relays, rather than wait for a direct connection.
    pub allow_relay: bool,
}

/// What the embedding node is told and asked.
#[derive(Debug)]
pub enum Event {
    /// Connect to this peer, and answer how that went.
    Connect(Ask<Connect>),
    /// Who provides this content? Answer with [`on_providers`](crate::Behaviour::on_providers).
    NeedProviders {
        /// What.
        hash: ContentHash,
    },
    /// This node provides content: announce it, and again before the announcement expires.
    Provide {
        /// What.
        hash: ContentHash,
    },
    /// It no longer does.
    Withdraw {
        /// What.
        hash: ContentHash,
    },
    /// A peer did what no correct node does.
    Misbehaved {
        /// Who.
        peer: PeerId,
        /// What it did.
        reason: String,
    },
}
