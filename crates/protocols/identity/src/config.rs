//! What the behaviour is told at its start, and what it tells.

use bytes::Bytes;
use peerage_api::users;
use peerage_types::{Network, PeerId, UserId};

use crate::Limits;

/// How the behaviour is set up.
#[derive(Debug, Clone)]
pub struct Config {
    /// Names the protocol: only nodes of the same network tell each other of users.
    pub network: Network,
    /// Our own id.
    pub local: PeerId,
    /// How much is kept.
    pub limits: Limits,
}

impl Config {
    /// With [`Limits::default`].
    #[must_use]
    pub fn new(network: Network, local: PeerId) -> Self {
        Self { network, local, limits: Limits::default() }
    }
}

/// What a message is worth to others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Something was new: pass it on.
    Accept,
    /// Nothing was, or it could not be judged: do not pass it on.
    Ignore,
    /// It is not valid, whatever is known: who passes such things on is faulty.
    Reject,
}

/// What the embedding node is told and asked.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// Publish this on [`topic`](peerage_wire::identity::topic), if anybody is there.
    Gossip(Bytes),
    /// A message given to [`on_gossip`](crate::Behaviour::on_gossip) was verified.
    Judged {
        /// Which.
        ticket: u64,
        /// What it is worth.
        verdict: Verdict,
    },
    /// Put this into Kademlia.
    PutRecord {
        /// [`kad_key`](peerage_wire::identity::kad_key) of a user of this node.
        key: Vec<u8>,
        /// Its bundle.
        value: Bytes,
    },
    /// Look this up in Kademlia, and answer with [`on_record`](crate::Behaviour::on_record).
    NeedRecord {
        /// Whom somebody asks for.
        user: UserId,
        /// Under which key.
        key: Vec<u8>,
    },
    /// Something new is known of a user, as [`Directory`](crate::Directory)'s feeds tell it.
    Learned(users::Event),
    /// A peer did what no correct node does.
    Misbehaved {
        /// Who.
        peer: PeerId,
        /// What it did.
        reason: String,
    },
}

/// Figures of the behaviour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Users that are known.
    pub known: u64,
    /// Users of this node among them.
    pub local: u64,
    /// Signed bytes of them, and what the search looks at.
    pub known_bytes: u64,
    /// Sessions that are under way.
    pub sessions: u64,
    /// Peers that speak the protocol.
    pub peers: u64,
    /// Bundles that told something new since the start.
    pub accepted: u64,
    /// Bundles that were invalid or refused since the start.
    pub rejected: u64,
}
