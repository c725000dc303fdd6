//! What we are to others: a port, addresses, a key.

use std::{
    collections::HashSet,
    net::{IpAddr, SocketAddr, SocketAddrV4},
    time::{Duration, Instant},
};

use libp2p_core::{Multiaddr, multiaddr::Protocol};
use libp2p_identity::{Keypair, PeerId};
use peerage_types::{Reach, UnixMillis};
use peerage_wire::mainline::{
    key_of, packet, signable,
    slot::{Record, Slot},
};

use crate::{cadence::Can, client::Item, guards::socket_of};

/// Between two publications of our packet. Nodes of the DHT forget after 2 h.
const PUBLISH_INTERVAL: Duration = Duration::from_secs(55 * 60);
/// After one that failed, and after addresses changed.
const REPUBLISH_DELAY: Duration = Duration::from_secs(60);
/// After the first address was confirmed, when more may follow.
const FIRST_DELAY: Duration = Duration::from_secs(1);
/// Addresses of ours that are kept; libp2p confirms a handful.
const MAX_OWN: usize = 64;
/// Relayed addresses in a record or packet, and direct ones.
const MAX_EACH: usize = 2;

#[derive(Debug)]
pub(super) struct Own {
    keypair: Keypair,
    peer: PeerId,
    key: Option<[u8; 32]>,
    local_only: bool,
    port: Option<u16>,
    reachable: Option<bool>,
    listening: HashSet<SocketAddr>,
    external: Vec<Multiaddr>,
    publish_at: Instant,
    is_publishing: bool,
    published: bool,
}

impl Own {
    pub(super) fn new(keypair: Keypair, local_only: bool, now: Instant) -> Self {
        let peer = keypair.public().to_peer_id();
        Self {
            key: key_of(&peer),
            keypair,
            peer,
            local_only,
            port: None,
            reachable: None,
            listening: HashSet::new(),
            external: Vec::new(),
            publish_at: now,
            is_publishing: false,
            published: false,
        }
    }

    pub(super) fn peer(&self) -> PeerId {
        self.peer
    }

    /// Whether it changed.
    pub(super) fn on_port(&mut self, port: Option<u16>) -> bool {
        std::mem::replace(&mut self.port, port) != port
    }

    /// Whether it changed.
    pub(super) fn on_reachable(&mut self, reachable: Option<bool>) -> bool {
        std::mem::replace(&mut self.reachable, reachable) != reachable
    }

    pub(super) fn on_listening(&mut self, address: &Multiaddr, begins: bool) {
        let Some(socket) = socket_of(address).filter(|_| !is_relayed(address)) else { return };
        if !begins {
            self.listening.remove(&socket);
        } else if self.listening.len() < MAX_OWN {
            self.listening.insert(socket);
        }
    }

    /// Whether what we would publish changed.
    pub(super) fn on_external(&mut self, address: &Multiaddr, begins: bool, now: Instant) -> bool {
        let before = self.addresses();
        self.external.retain(|other| other != address);
        if begins && self.external.len() < MAX_OWN {
            self.external.push(address.clone());
        }
        let changed = self.addresses() != before;
        if changed {
            let delay = if self.published { REPUBLISH_DELAY } else { FIRST_DELAY };
            self.publish_at = self.publish_at.min(now + delay).max(now + FIRST_DELAY);
        }
        changed
    }

    /// Sockets by which we would reach ourselves. `seen_as` is how the DHT sees us.
    pub(super) fn sockets(&self, seen_as: Option<SocketAddrV4>) -> Vec<SocketAddr> {
        let mut own: Vec<SocketAddr> = self.listening.iter().copied().collect();
        let direct = self.external.iter().filter(|address| !is_relayed(address));
        own.extend(direct.filter_map(socket_of));
        if let (Some(seen), Some(port)) = (seen_as, self.port) {
            own.push(SocketAddr::new(IpAddr::V4(*seen.ip()), port));
        }
        own
    }

    /// The port to announce. While nobody could tell yet whether it is reachable, a lonely node
    /// announces it: two fresh nodes would else wait for each other.
    pub(super) fn announced(&self, lonely: bool) -> Option<u16> {
        let open = self.local_only || self.reachable.unwrap_or(lonely);
        self.port.filter(|_| open)
    }

    pub(super) fn can(&self, lonely: bool, has_slots: bool) -> Can {
        let announce = self.announced(lonely).is_some();
        Can { announce, write: has_slots && self.key.is_some() && !self.addresses().is_empty() }
    }

    /// What may be published: relayed and public addresses, never those of a local network.
    pub(super) fn addresses(&self) -> Vec<Multiaddr> {
        let wanted = if self.local_only { Reach::Loopback } else { Reach::Global };
        let fit = |address: &&Multiaddr| Reach::of(address) == Some(wanted);
        let relayed = self.external.iter().filter(fit).filter(|address| is_relayed(address));
        let direct = self.external.iter().filter(fit).filter(|address| !is_relayed(address));
        let all = relayed.take(MAX_EACH).chain(direct.take(MAX_EACH));
        all.map(|address| without_peer(address, self.peer)).collect()
    }

    /// Our record for a slot.
    pub(super) fn record(&self, slot: &Slot, now: UnixMillis) -> Option<Record> {
        let key = self.key?;
        // A signature that could not be made is one that nobody believes.
        slot.record(&key, &self.addresses(), now, |signed| self.sign(signed).unwrap_or([0; 64]))
    }

    /// When the next packet is due, if there is one to publish.
    pub(super) fn publish_at(&self) -> Option<Instant> {
        let can = self.key.is_some() && !self.is_publishing && !self.addresses().is_empty();
        can.then_some(self.publish_at)
    }

    /// Our packet, which is then under way.
    pub(super) fn packet(&mut self, now: UnixMillis) -> Option<Item> {
        let key = self.key?;
        let value = packet::encode(&key, &self.addresses())?;
        let seq = packet::seq_at(now);
        let signature = self.sign(&signable(seq, &value))?;
        self.is_publishing = true;
        Some(Item { key, seq, value, signature })
    }

    pub(super) fn on_published(&mut self, stored: bool, now: Instant) {
        self.is_publishing = false;
        self.published |= stored;
        self.publish_at = now + if stored { PUBLISH_INTERVAL } else { REPUBLISH_DELAY };
    }

    pub(super) fn put_off(&mut self, now: Instant, wait: Duration) {
        self.publish_at = now + wait;
    }

    fn sign(&self, bytes: &[u8]) -> Option<[u8; 64]> {
        self.keypair.sign(bytes).ok()?.try_into().ok()
    }
}

pub(super) fn is_relayed(address: &Multiaddr) -> bool {
    address.iter().any(|part| part == Protocol::P2pCircuit)
}

/// Records do without `/p2p/PEER` at the end, as their key says who it is.
pub(super) fn without_peer(address: &Multiaddr, peer: PeerId) -> Multiaddr {
    let mut address = address.clone();
    if address.iter().last() == Some(Protocol::P2p(peer)) {
        address.pop();
    }
    address
}
