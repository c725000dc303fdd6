//! What this node says of itself. Pure.

use std::{
    collections::{BTreeSet, VecDeque},
    fmt,
};

use bytes::Bytes;
use libp2p_core::{Multiaddr, multiaddr::Protocol};
use libp2p_identity::Keypair;
use peerage_types::{Network, PeerId, Reach, UnixMillis};
use peerage_wire::introductions::{
    Infohash, MAX_ADDRESS_BYTES, MAX_ADDRESSES, MAX_LIFETIME, MAX_NAMESPACES, Record, Signed,
    SigningKey,
};

use crate::bounds::RENEW_INTERVAL;

/// Addresses that are listened on and those that others have confirmed, of each kind: no more than
/// interfaces and reports give, and these are this machine's own.
const MAX_HEARD: usize = 64;

/// Namespaces that are remembered: as many as a node announces.
const MAX_JOINED: usize = 64;

/// Where this node is, and its signed word for it.
pub(crate) struct Own {
    peer: PeerId,
    network: Network,
    /// Without one this node is not introduced: its key is of another kind than Ed25519.
    key: Option<SigningKey>,
    /// Also tell of this machine itself.
    allow_private: bool,
    listening: BTreeSet<Multiaddr>,
    external: BTreeSet<Multiaddr>,
    /// The latest first.
    namespaces: VecDeque<Infohash>,
    signed: Option<Pair>,
    last: UnixMillis,
}

#[derive(Debug, Clone)]
struct Pair {
    global: Option<Signed>,
    local: Option<Signed>,
    at: UnixMillis,
}

impl Own {
    pub(crate) fn new(keys: &Keypair, network: Network, allow_private: bool) -> Self {
        let key = keys.clone().try_into_ed25519().ok().and_then(|keys| {
            let secret: [u8; 32] = keys.secret().as_ref().try_into().ok()?;
            Some(SigningKey::from_bytes(&secret))
        });
        Self {
            peer: keys.public().to_peer_id(),
            network,
            key,
            allow_private,
            listening: BTreeSet::new(),
            external: BTreeSet::new(),
            namespaces: VecDeque::new(),
            signed: None,
            last: UnixMillis(0),
        }
    }

    pub(crate) fn network(&self) -> &Network {
        &self.network
    }

    /// Returns whether that changes what is told; so do the others.
    pub(crate) fn on_listening(&mut self, address: &Multiaddr, is_on: bool) -> bool {
        let changed = change(&mut self.listening, self.peer, address, is_on);
        self.changed(changed)
    }

    pub(crate) fn on_external(&mut self, address: &Multiaddr, is_on: bool) -> bool {
        let changed = change(&mut self.external, self.peer, address, is_on);
        self.changed(changed)
    }

    /// Belongs to a namespace from now on. The latest [`MAX_NAMESPACES`] are told.
    pub(crate) fn join(&mut self, namespace: Infohash) -> bool {
        let is_new = !self.namespaces.contains(&namespace);
        if is_new {
            self.namespaces.push_front(namespace);
            self.namespaces.truncate(MAX_JOINED);
        }
        self.changed(is_new)
    }

    pub(crate) fn leave(&mut self, namespace: Infohash) -> bool {
        let before = self.namespaces.len();
        self.namespaces.retain(|other| *other != namespace);
        self.changed(before != self.namespaces.len())
    }

    fn changed(&mut self, changed: bool) -> bool {
        if changed {
            self.signed = None;
        }
        changed
    }

    /// What a peer is told: one record for everybody, and another for those who are `nearby`.
    pub(crate) fn records(&mut self, nearby: bool, unix: UnixMillis) -> Vec<Bytes> {
        let is_fresh = |pair: &Pair| pair.at <= unix && unix.since(pair.at) < RENEW_INTERVAL;
        if !self.signed.as_ref().is_some_and(is_fresh) {
            self.signed = Some(self.sign(unix));
        }
        let Some(pair) = &self.signed else { return Vec::new() };
        let local = pair.local.iter().filter(|_| nearby);
        pair.global.iter().chain(local).map(|record| record.bytes().clone()).collect()
    }

    fn sign(&mut self, unix: UnixMillis) -> Pair {
        // A clock that was set back must not make this node's records look old.
        self.last = unix.max(UnixMillis(self.last.0.saturating_add(1)));
        let global: Vec<_> = self.reaching(Reach::Global).take(MAX_ADDRESSES).collect();
        let mut near: Vec<_> = self.reaching(Reach::Private).collect();
        if self.allow_private {
            near.extend(self.reaching(Reach::Loopback));
        }
        let both = match near.is_empty() {
            true => Vec::new(),
            // Half of the room for each, or what the other leaves.
            false => {
                let room = MAX_ADDRESSES - near.len().min(MAX_ADDRESSES / 2);
                let both = global.iter().take(room).cloned().chain(near);
                both.take(MAX_ADDRESSES).collect()
            }
        };
        Pair { global: self.signed(global), local: self.signed(both), at: unix }
    }

    fn reaching(&self, reach: Reach) -> impl Iterator<Item = Multiaddr> {
        let all = self.external.iter().chain(self.listening.difference(&self.external));
        all.filter(move |address| Reach::of(address) == Some(reach)).cloned()
    }

    fn signed(&self, addresses: Vec<Multiaddr>) -> Option<Signed> {
        let key = self.key.as_ref().filter(|_| !addresses.is_empty())?;
        let mut namespaces: Vec<_> = self.namespaces.iter().take(MAX_NAMESPACES).copied().collect();
        namespaces.sort_unstable();
        let (peer, seq, lifetime) = (self.peer, self.last, MAX_LIFETIME);
        let record = Record { peer, seq, lifetime, namespaces, addresses };
        let signed = Signed::sign(record, key, &self.network);
        signed.inspect_err(|error| tracing::error!(%error, "this node is not introduced")).ok()
    }
}

impl fmt::Debug for Own {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Own").field("peer", &self.peer).finish_non_exhaustive()
    }
}

fn change(
    addresses: &mut BTreeSet<Multiaddr>,
    own: PeerId,
    address: &Multiaddr,
    is_on: bool,
) -> bool {
    let mut bare = address.clone();
    if bare.iter().last() == Some(Protocol::P2p(own)) {
        bare.pop();
    }
    if !is_on {
        return addresses.remove(&bare);
    }
    let is_fit = (1..=MAX_ADDRESS_BYTES).contains(&bare.len()) && addresses.len() < MAX_HEARD;
    is_fit && addresses.insert(bare)
}
