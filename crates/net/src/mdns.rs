//! Peers on the local network, of our own network only.
//!
//! libp2p's mDNS says nothing about which private network a peer belongs to, so members would dial
//! every libp2p node in the building. Besides its real addresses a node therefore advertises one
//! address per interface that only serves as a mark: `/ip4/<ip>/memory/<tag>`, the tag being a hash
//! of the network's name. Peers without the mark are not dialled; software of others ignores it.

use std::{
    collections::{HashMap, HashSet},
    io,
    task::{Context, Poll},
    time::Duration,
};

use libp2p::{
    Multiaddr, PeerId,
    core::{Endpoint, transport::PortUse},
    mdns,
    multiaddr::Protocol,
    swarm::{
        ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, NewListenAddr, THandler,
        THandlerInEvent, THandlerOutEvent, ToSwarm, behaviour::ExpiredListenAddr,
    },
};
use peerage_types::Network;

/// Peers of which addresses but no mark has been seen, 8 addresses each: about 64 KiB at worst.
const MAX_UNMARKED: usize = 64;
/// Members that are remembered; entries are unauthenticated, so anyone on the LAN can make some.
const MAX_MEMBERS: usize = 512;
/// Addresses kept of one peer.
const MAX_ADDRESSES: usize = 8;
/// How often peers are asked for when nothing was heard.
const QUERY_INTERVAL: Duration = Duration::from_secs(30);

/// A member of our network was seen at these addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Discovered {
    pub(crate) peer: PeerId,
    pub(crate) addresses: Vec<Multiaddr>,
}

/// mDNS over one IP version, filtered by network.
pub(crate) struct Behaviour {
    inner: mdns::tokio::Behaviour,
    filter: Filter,
    /// Listen addresses by IP, so that each IP carries one mark.
    marked: HashMap<Multiaddr, usize>,
    ready: Vec<Discovered>,
}

impl Behaviour {
    pub(crate) fn new(network: &Network, local: PeerId, ipv6: bool) -> io::Result<Self> {
        let config = mdns::Config {
            query_interval: QUERY_INTERVAL,
            enable_ipv6: ipv6,
            ..mdns::Config::default()
        };
        let inner = mdns::tokio::Behaviour::new(config, local)?;
        Ok(Self { inner, filter: Filter::new(tag(network)), marked: HashMap::new(), ready: vec![] })
    }

    /// Members seen now.
    pub(crate) fn members(&self) -> usize {
        self.filter.members.len()
    }

    fn mark(&self, address: &Multiaddr) -> Option<Multiaddr> {
        let ip =
            address.iter().next().filter(|p| matches!(p, Protocol::Ip4(_) | Protocol::Ip6(_)))?;
        Some(Multiaddr::from(ip).with(Protocol::Memory(self.filter.tag)))
    }

    fn on_new(&mut self, new: NewListenAddr<'_>) {
        self.inner.on_swarm_event(FromSwarm::NewListenAddr(new));
        let Some(mark) = self.mark(new.addr) else { return };
        let uses = self.marked.entry(mark.clone()).or_default();
        *uses += 1;
        if *uses == 1 {
            let new = NewListenAddr { listener_id: new.listener_id, addr: &mark };
            self.inner.on_swarm_event(FromSwarm::NewListenAddr(new));
        }
    }

    fn on_expired(&mut self, gone: ExpiredListenAddr<'_>) {
        self.inner.on_swarm_event(FromSwarm::ExpiredListenAddr(gone));
        let Some(mark) = self.mark(gone.addr) else { return };
        let Some(uses) = self.marked.get_mut(&mark) else { return };
        *uses -= 1;
        if *uses == 0 {
            self.marked.remove(&mark);
            let gone = ExpiredListenAddr { listener_id: gone.listener_id, addr: &mark };
            self.inner.on_swarm_event(FromSwarm::ExpiredListenAddr(gone));
        }
    }
}

fn tag(network: &Network) -> u64 {
    let hash = blake3::derive_key("peerage mdns network mark 1", network.as_str().as_bytes());
    u64::from_be_bytes(hash[..8].try_into().expect("8 of 32 bytes"))
}

/// Who is a member; pure.
#[derive(Debug)]
struct Filter {
    tag: u64,
    members: HashSet<PeerId>,
    unmarked: HashMap<PeerId, Vec<Multiaddr>>,
}

impl Filter {
    fn new(tag: u64) -> Self {
        Self { tag, members: HashSet::new(), unmarked: HashMap::new() }
    }

    /// Takes what mDNS saw and returns what of it belongs to members.
    fn on_seen(&mut self, seen: impl IntoIterator<Item = (PeerId, Multiaddr)>) -> Vec<Discovered> {
        let mut touched = Vec::new();
        for (peer, address) in seen {
            let mark = address.iter().find_map(|p| match p {
                Protocol::Memory(tag) => Some(tag),
                _ => None,
            });
            match mark {
                Some(tag) if tag == self.tag && self.members.len() < MAX_MEMBERS => {
                    self.members.insert(peer);
                }
                Some(_) => continue,
                None => self.keep(peer, address),
            }
            if !touched.contains(&peer) {
                touched.push(peer);
            }
        }
        touched.retain(|peer| self.members.contains(peer));
        let found = touched.into_iter().filter_map(|peer| {
            let addresses = self.unmarked.remove(&peer)?;
            Some(Discovered { peer, addresses })
        });
        found.collect()
    }

    fn keep(&mut self, peer: PeerId, address: Multiaddr) {
        if self.unmarked.len() >= MAX_UNMARKED && !self.unmarked.contains_key(&peer) {
            // Whoever is here without a mark is a stranger, most likely for good.
            self.unmarked.clear();
        }
        let addresses = self.unmarked.entry(peer).or_default();
        if addresses.len() < MAX_ADDRESSES && !addresses.contains(&address) {
            addresses.push(address);
        }
    }

    fn on_expired(&mut self, gone: &[(PeerId, Multiaddr)]) {
        for (peer, address) in gone {
            if address.iter().any(|p| matches!(p, Protocol::Memory(_))) {
                self.members.remove(peer);
            }
            self.unmarked.remove(peer);
        }
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = <mdns::tokio::Behaviour as NetworkBehaviour>::ConnectionHandler;
    type ToSwarm = Discovered;

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.inner.handle_established_inbound_connection(id, peer, local, remote)
    }

    fn handle_established_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        role: Endpoint,
        port: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.inner.handle_established_outbound_connection(id, peer, address, role, port)
    }

    fn on_swarm_event(&mut self, event: FromSwarm) {
        match event {
            FromSwarm::NewListenAddr(new) => self.on_new(new),
            FromSwarm::ExpiredListenAddr(gone) => self.on_expired(gone),
            other => self.inner.on_swarm_event(other),
        }
    }

    fn on_connection_handler_event(
        &mut self,
        peer: PeerId,
        id: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        self.inner.on_connection_handler_event(peer, id, event);
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Discovered, THandlerInEvent<Self>>> {
        loop {
            if let Some(discovered) = self.ready.pop() {
                return Poll::Ready(ToSwarm::GenerateEvent(discovered));
            }
            match self.inner.poll(cx) {
                Poll::Ready(ToSwarm::GenerateEvent(mdns::Event::Discovered(seen))) => {
                    self.ready = self.filter.on_seen(seen);
                }
                Poll::Ready(ToSwarm::GenerateEvent(mdns::Event::Expired(gone))) => {
                    self.filter.on_expired(&gone);
                }
                // Addresses reach others through wiring, once the peer is known as a member.
                Poll::Ready(_) => {}
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Multiaddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_peer_counts_only_with_the_mark_of_our_network() {
        let ours = tag(&Network::default());
        let theirs = tag(&Network::new("other").unwrap());
        assert_ne!(ours, theirs);
        let mut filter = Filter::new(ours);
        let (member, stranger) = (PeerId::random(), PeerId::random());
        let real = address("/ip4/10.0.0.2/tcp/1");
        let mark = |tag| address("/ip4/10.0.0.2").with(Protocol::Memory(tag));
        assert_eq!(filter.on_seen([(member, real.clone())]), []);
        assert_eq!(filter.on_seen([(stranger, real.clone()), (stranger, mark(theirs))]), []);
        let found = filter.on_seen([(member, mark(ours))]);
        assert_eq!(found, [Discovered { peer: member, addresses: vec![real.clone()] }]);
        let more = filter.on_seen([(member, address("/ip4/10.0.0.2/udp/1/quic-v1"))]);
        assert_eq!(more.len(), 1, "addresses that come later count too");
    }

    #[test]
    fn a_flood_of_made_up_peers_is_bounded() {
        let ours = tag(&Network::default());
        let mut filter = Filter::new(ours);
        for _ in 0..10_000 {
            let peer = PeerId::random();
            let mark = address("/ip4/10.0.0.2").with(Protocol::Memory(ours));
            filter.on_seen([(peer, address("/ip4/10.0.0.2/tcp/1"))]);
            filter.on_seen([(peer, mark)]);
        }
        assert!(filter.members.len() <= MAX_MEMBERS);
        assert!(filter.unmarked.len() <= MAX_UNMARKED);
    }
}
