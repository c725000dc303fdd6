//! One target of connects, from the first caller to the answer. Pure but for the doors of the
//! answers.
//!
//! | stage    | on                              | becomes |
//! |----------|---------------------------------|---------|
//! | (new)    | addresses given or in the book  | Dialling |
//! | (new)    | none                            | Seeking |
//! | Dialling | a connection                    | Settling |
//! | Dialling | failure, more addresses         | Dialling |
//! | Dialling | failure, discovery not asked    | Seeking |
//! | Dialling | failure                         | answered: what each address said |
//! | Seeking  | an address not tried yet        | Dialling |
//! | Seeking  | nothing found, or too late      | answered: `NoAddress`, or what was tried before |
//! | Settling | identify, or `settle_timeout`   | answered: connected |
//! | Settling | the connection is gone          | answered: `Refused` |

use std::{collections::HashSet, time::Instant};

use libp2p_core::Multiaddr;
use libp2p_identity::PeerId;
use libp2p_swarm::{
    ConnectionId,
    dial_opts::{DialOpts, PeerCondition},
};
use peerage_api::{
    Ask,
    peers::{Connect, Connected, PeersError},
};

use crate::{
    connect::{Effect, Key, MAX_ADDRESSES},
    outcome::Failure,
};

/// How far it is.
#[derive(Debug)]
pub(crate) enum Stage {
    Dialling(HashSet<ConnectionId>),
    Seeking { until: Instant },
    Settling { peer: PeerId, connection: ConnectionId, address: Multiaddr, until: Instant },
}

/// One target and everybody who waits for it.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) key: Key,
    pub(crate) asks: Vec<Ask<Connect>>,
    pub(crate) stage: Stage,
    /// To be dialled when the present dial has failed.
    pub(crate) next: Vec<Multiaddr>,
    /// Dialled so far.
    pub(crate) dialled: HashSet<Multiaddr>,
    pub(crate) tried: Vec<String>,
    /// What is more telling than `tried`.
    pub(crate) worst: Option<PeersError>,
    /// Whether discovery may still be asked.
    pub(crate) may_seek: bool,
}

impl Waiting {
    /// Another caller names further addresses.
    pub(crate) fn join(&mut self, given: Vec<Multiaddr>) -> Vec<Effect> {
        let fresh: Vec<_> =
            given.into_iter().filter(|address| !self.dialled.contains(address)).collect();
        match self.stage {
            Stage::Seeking { .. } if !fresh.is_empty() => self.dial(fresh),
            Stage::Dialling(_) => {
                self.next.extend(fresh);
                self.next.truncate(MAX_ADDRESSES);
                Vec::new()
            }
            Stage::Seeking { .. } | Stage::Settling { .. } => Vec::new(),
        }
    }

    /// One dial of all addresses if the peer is known, else one for each.
    ///
    /// `Always`: the core has looked whether there is a usable connection, and a dial of another
    /// behaviour may be to other addresses.
    pub(crate) fn dial(&mut self, addresses: Vec<Multiaddr>) -> Vec<Effect> {
        self.dialled.extend(addresses.iter().cloned());
        let dials: Vec<DialOpts> = match self.key {
            Key::Peer(peer) => vec![
                DialOpts::peer_id(peer)
                    .addresses(addresses)
                    .condition(PeerCondition::Always)
                    .build(),
            ],
            Key::Addresses(_) => addresses
                .into_iter()
                .map(|address| DialOpts::unknown_peer_id().address(address).build())
                .collect(),
        };
        self.dialling(dials)
    }

    /// A dial to whatever the behaviours of the swarm know, the book first.
    pub(crate) fn dial_known(&mut self, peer: PeerId) -> Vec<Effect> {
        self.dialling(vec![DialOpts::peer_id(peer).condition(PeerCondition::Always).build()])
    }

    pub(crate) fn dialling(&mut self, dials: Vec<DialOpts>) -> Vec<Effect> {
        self.stage = Stage::Dialling(dials.iter().map(DialOpts::connection_id).collect());
        dials.into_iter().map(|opts| Effect::Dial { key: self.key.clone(), opts }).collect()
    }

    pub(crate) fn seek(&mut self, peer: PeerId, until: Instant) -> Vec<Effect> {
        self.may_seek = false;
        self.stage = Stage::Seeking { until };
        vec![Effect::NeedAddresses { peer }]
    }

    /// Remembers how a dial failed, and what to dial instead.
    pub(crate) fn note(&mut self, failure: Failure, known: Vec<Multiaddr>, local: PeerId) {
        match failure {
            Failure::Unneeded => {}
            Failure::NoAddress => {
                // The swarm leaves out our own listen addresses: nothing else was given.
                if !self.dialled.is_empty() {
                    self.worst = Some(PeersError::Own { peer: local });
                }
            }
            Failure::Tried(errors) => {
                for (address, words) in errors {
                    self.tried.push(format!("{address}: {words}"));
                    self.dialled.insert(address);
                }
                self.tried.truncate(2 * MAX_ADDRESSES);
            }
            Failure::Wrong { address, found } => {
                if let Key::Peer(expected) = self.key {
                    let shown = address.to_string();
                    self.worst = Some(PeersError::WrongPeer { address: shown, expected, found });
                }
                // The swarm gives up all addresses of a dial for one that is wrong.
                self.retry_without(&address, known);
            }
            Failure::Own => self.worst = Some(PeersError::Own { peer: local }),
            Failure::Refused(error) => self.worst = Some(error),
        }
    }

    pub(crate) fn retry_without(&mut self, wrong: &Multiaddr, known: Vec<Multiaddr>) {
        let unanswered: Vec<_> =
            if self.dialled.is_empty() { known } else { self.dialled.iter().cloned().collect() };
        self.dialled.insert(wrong.clone());
        let said_no = |address: &Multiaddr| {
            self.tried.iter().any(|line| line.starts_with(&format!("{address}: ")))
        };
        let retry: Vec<_> = unanswered.into_iter().filter(|a| a != wrong && !said_no(a)).collect();
        self.tried.push(format!("{wrong}: another peer answers there"));
        self.next.extend(retry);
        self.next.truncate(MAX_ADDRESSES);
    }

    pub(crate) fn success(&self) -> Result<Connected, PeersError> {
        match &self.stage {
            Stage::Settling { peer, address, .. } => {
                Ok(Connected { peer_id: *peer, address: address.clone(), already: false })
            }
            Stage::Dialling(_) | Stage::Seeking { .. } => Err(self.failure()),
        }
    }

    pub(crate) fn failure(&self) -> PeersError {
        let target = match &self.key {
            Key::Peer(peer) => peer.to_string(),
            Key::Addresses(addresses) => {
                addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
            }
        };
        match (&self.worst, &self.key) {
            // That a stale address belongs to somebody else explains nothing if others were tried.
            (Some(PeersError::WrongPeer { .. }), _) if self.tried.len() > 1 => {
                PeersError::Unreachable { target, tried: self.tried.clone() }
            }
            (Some(worst), _) => worst.clone(),
            (None, Key::Peer(peer)) if self.tried.is_empty() => {
                PeersError::NoAddress { peer: *peer }
            }
            (None, _) => PeersError::Unreachable { target, tried: self.tried.clone() },
        }
    }

    pub(crate) fn answer(self, answer: Result<Connected, PeersError>) {
        for ask in self.asks {
            ask.reply(answer.clone());
        }
    }
}
