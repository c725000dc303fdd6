//! Connects that somebody waits for. Pure but for the doors of the answers.
//!
//! Discovery is asked only when the caller named no address. Callers with the same target share
//! its dials. The stages of one are in `waiting.rs`.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use libp2p_core::Multiaddr;
use libp2p_identity::PeerId;
use libp2p_swarm::{ConnectionId, dial_opts::DialOpts};
use peerage_api::{
    Ask,
    peers::{Connect, Connected, PeersError},
};

use crate::{
    address::{self, split},
    outcome::Failure,
    waiting::{Stage, Waiting},
};

/// Addresses of one connect, as the contract says.
pub(crate) const MAX_ADDRESSES: usize = 16;
/// Targets at a time. 256 × 16 addresses of about 60 bytes = 240 KiB.
const MAX_TARGETS: usize = 256;
/// Callers that share a target.
const MAX_CALLERS: usize = 64;

/// What a caller wants to be connected to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Key {
    Peer(PeerId),
    /// Whoever answers at one of them.
    Addresses(Vec<Multiaddr>),
}

/// What the swarm or discovery is to do.
#[derive(Debug)]
pub(crate) enum Effect {
    Dial { key: Key, opts: DialOpts },
    NeedAddresses { peer: PeerId },
}

/// Every connect that is not answered yet.
#[derive(Debug)]
pub(crate) struct Connects {
    local: PeerId,
    lookup_timeout: Duration,
    settle_timeout: Duration,
    waiting: Vec<Waiting>,
}

/// What a request asks for: the peer, if one is named, and bare addresses without duplicates.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn resolve(
    request: &Connect,
    local: &PeerId,
) -> Result<(Option<PeerId>, Vec<Multiaddr>), PeersError> {
    let bad = |address: String, reason: &str| PeersError::BadAddress {
        address,
        reason: reason.to_owned(),
    };
    if request.addresses.len() > MAX_ADDRESSES {
        let (what, range) = ("the number of addresses".into(), format!("at most {MAX_ADDRESSES}"));
        return Err(PeersError::OutOfRange { what, range });
    }
    let (mut peer, mut addresses) = (request.peer, Vec::new());
    for given in &request.addresses {
        let (bare, named) = split(given);
        match (peer, named) {
            (Some(expected), Some(named)) if expected != named => {
                return Err(bad(
                    given.to_string(),
                    &format!("it names another peer than {expected}"),
                ));
            }
            (None, Some(named)) => peer = Some(named),
            _ => {}
        }
        if !bare.is_empty() {
            address::check(&bare).map_err(|reason| bad(given.to_string(), reason))?;
            if !addresses.contains(&bare) {
                addresses.push(bare);
            }
        }
    }
    match peer {
        Some(peer) if peer == *local => Err(PeersError::Own { peer }),
        None if addresses.is_empty() => Err(bad(String::new(), "neither a peer nor an address")),
        peer => Ok((peer, addresses)),
    }
}

impl Connects {
    pub(crate) fn new(local: PeerId, lookup_timeout: Duration, settle_timeout: Duration) -> Self {
        Self { local, lookup_timeout, settle_timeout, waiting: Vec::new() }
    }

    /// A caller wants to be connected to `peer`, or to whoever answers at `given`. `known`: the book
    /// has addresses of the peer.
    pub(crate) fn begin(
        &mut self,
        ask: Ask<Connect>,
        peer: Option<PeerId>,
        given: Vec<Multiaddr>,
        known: bool,
        now: Instant,
    ) -> Vec<Effect> {
        self.drop_deserted();
        let key = peer.map_or_else(|| Key::Addresses(given.clone()), Key::Peer);
        if let Some(waiting) = self.waiting.iter_mut().find(|w| w.key == key) {
            if waiting.asks.len() >= MAX_CALLERS {
                ask.reply(Err(refused("too many callers wait for this peer")));
                return Vec::new();
            }
            waiting.asks.push(ask);
            return waiting.join(given);
        }
        if self.waiting.len() >= MAX_TARGETS {
            ask.reply(Err(refused("too many connects are under way")));
            return Vec::new();
        }
        let mut waiting = Waiting {
            key,
            asks: vec![ask],
            stage: Stage::Seeking { until: now + self.lookup_timeout },
            may_seek: given.is_empty(),
            next: Vec::new(),
            dialled: HashSet::new(),
            tried: Vec::new(),
            worst: None,
        };
        let effects = match peer {
            Some(_) if !given.is_empty() => waiting.dial(given),
            Some(peer) if known => waiting.dial_known(peer),
            Some(peer) => waiting.seek(peer, now + self.lookup_timeout),
            None => waiting.dial(given),
        };
        self.waiting.push(waiting);
        effects
    }

    /// Whether somebody waits for a connection to the peer.
    pub(crate) fn is_waiting_for(&self, peer: &PeerId) -> bool {
        self.waiting.iter().any(|waiting| waiting.key == Key::Peer(*peer))
    }

    /// A connection stands.
    pub(crate) fn on_established(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        now: Instant,
    ) {
        for waiting in &mut self.waiting {
            let dialled =
                matches!(&waiting.stage, Stage::Dialling(ids) if ids.contains(&connection));
            let settled = matches!(waiting.stage, Stage::Settling { .. });
            if !settled && (dialled || waiting.key == Key::Peer(peer)) {
                let (address, until) = (address.clone(), now + self.settle_timeout);
                waiting.stage = Stage::Settling { peer, connection, address, until };
            }
        }
        if self.settle_timeout.is_zero() {
            self.on_identified(peer);
        }
    }

    /// A peer told who it is: it lets us stay.
    pub(crate) fn on_identified(&mut self, peer: PeerId) {
        self.answer_if(|waiting| match &waiting.stage {
            Stage::Settling { peer: settling, .. } if *settling == peer => Some(waiting.success()),
            _ => None,
        });
    }

    /// A connection is gone; `other` is another one to the same peer.
    pub(crate) fn on_closed(&mut self, gone: ConnectionId, other: Option<ConnectionId>) {
        for waiting in &mut self.waiting {
            if let Stage::Settling { connection, .. } = &mut waiting.stage
                && *connection == gone
                && let Some(other) = other
            {
                *connection = other;
            }
        }
        self.answer_if(|waiting| match &waiting.stage {
            Stage::Settling { peer, connection, .. } if *connection == gone => Some(Err(refused(
                &format!("{peer} closed the connection at once; it may be full or have blocked us"),
            ))),
            _ => None,
        });
    }

    /// A dial made for `key` failed. `known`: what the book still knows of its peer.
    pub(crate) fn on_failed(
        &mut self,
        key: &Key,
        connection: ConnectionId,
        failure: Failure,
        known: Vec<Multiaddr>,
        now: Instant,
    ) -> Vec<Effect> {
        let Some(at) = self.waiting.iter().position(|waiting| waiting.key == *key) else {
            return Vec::new();
        };
        let waiting = &mut self.waiting[at];
        let Stage::Dialling(ids) = &mut waiting.stage else { return Vec::new() };
        if !ids.remove(&connection) {
            return Vec::new();
        }
        let remaining = !ids.is_empty();
        waiting.note(failure, known, self.local);
        if remaining {
            return Vec::new();
        }
        let next = std::mem::take(&mut waiting.next);
        match waiting.key {
            _ if !next.is_empty() => waiting.dial(next),
            Key::Peer(peer) if waiting.may_seek => waiting.seek(peer, now + self.lookup_timeout),
            _ => {
                let waiting = self.waiting.swap_remove(at);
                let failure = waiting.failure();
                waiting.answer(Err(failure));
                Vec::new()
            }
        }
    }

    /// Discovery named addresses of a peer.
    pub(crate) fn on_addresses(&mut self, peer: PeerId, known: &[Multiaddr]) -> Vec<Effect> {
        let mut effects = Vec::new();
        for waiting in self.waiting.iter_mut().filter(|w| w.key == Key::Peer(peer)) {
            if let Stage::Seeking { .. } = waiting.stage {
                let fresh = known.iter().filter(|a| !waiting.dialled.contains(*a)).cloned();
                let fresh: Vec<_> = fresh.take(MAX_ADDRESSES).collect();
                if !fresh.is_empty() {
                    effects.extend(waiting.dial(fresh));
                }
            }
        }
        effects
    }

    /// Discovery found no address.
    pub(crate) fn on_addresses_missing(&mut self, peer: PeerId) {
        self.answer_if(|waiting| match waiting.stage {
            Stage::Seeking { .. } if waiting.key == Key::Peer(peer) => Some(Err(waiting.failure())),
            _ => None,
        });
    }

    /// The peer was put on the block list.
    pub(crate) fn on_refused(&mut self, peer: PeerId) {
        self.answer_if(|waiting| {
            (waiting.key == Key::Peer(peer)).then_some(Err(PeersError::Blocked { peer }))
        });
    }

    /// Answers what is due and forgets callers that have gone.
    pub(crate) fn tick(&mut self, now: Instant) {
        self.drop_deserted();
        self.answer_if(|waiting| match waiting.stage {
            Stage::Seeking { until } if until <= now => Some(Err(waiting.failure())),
            Stage::Settling { until, .. } if until <= now => Some(waiting.success()),
            _ => None,
        });
    }

    /// When [`Connects::tick`] has something to do.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        let due = |waiting: &Waiting| match waiting.stage {
            Stage::Seeking { until } | Stage::Settling { until, .. } => Some(until),
            Stage::Dialling(_) => None,
        };
        self.waiting.iter().filter_map(due).min()
    }

    /// Nobody is answered any more: the node stops.
    pub(crate) fn stop(&mut self) {
        self.waiting.clear();
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    fn drop_deserted(&mut self) {
        for waiting in &mut self.waiting {
            waiting.asks.retain(|ask| !ask.is_cancelled());
        }
        self.waiting.retain(|waiting| !waiting.asks.is_empty());
    }

    fn answer_if(&mut self, answer: impl Fn(&Waiting) -> Option<Result<Connected, PeersError>>) {
        for at in (0..self.waiting.len()).rev() {
            if let Some(answer) = answer(&self.waiting[at]) {
                self.waiting.swap_remove(at).answer(answer);
            }
        }
    }
}

fn refused(reason: &str) -> PeersError {
    PeersError::Refused { reason: reason.to_owned() }
}
