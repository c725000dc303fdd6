//! Whether this node should serve Kademlia to others.
//!
//! libp2p turns to server mode only on a confirmed external address. On a local network nobody has
//! one, so nobody would serve and nothing could be found. As long as every connected peer is on a
//! local network, being reachable there is enough.

use std::{collections::HashMap, net::IpAddr};

use libp2p::{Multiaddr, kad::Mode, multiaddr::Protocol, swarm::ConnectionId};

/// The connections, by where they lead.
#[derive(Debug, Default)]
pub(crate) struct Lan {
    /// Whether each connection stays on a local network.
    local: HashMap<ConnectionId, bool>,
    forced: bool,
}

impl Lan {
    /// `forced`: always a server, as bootstrap nodes and local-only ones are.
    pub(crate) fn new(forced: bool) -> Self {
        Self { local: HashMap::new(), forced }
    }

    pub(crate) fn on_connected(&mut self, id: ConnectionId, address: &Multiaddr) {
        self.local.insert(id, is_local(address));
    }

    pub(crate) fn on_disconnected(&mut self, id: ConnectionId) {
        self.local.remove(&id);
    }

    /// The mode to ask for; `None` leaves it to the external addresses.
    pub(crate) fn mode(&self) -> Option<Mode> {
        let all_local = !self.local.is_empty() && self.local.values().all(|local| *local);
        (self.forced || all_local).then_some(Mode::Server)
    }
}

/// Whether an address is of this machine or of a private network.
pub(crate) fn is_local(address: &Multiaddr) -> bool {
    let ip = address.iter().find_map(|p| match p {
        Protocol::Ip4(ip) => Some(IpAddr::V4(ip)),
        Protocol::Ip6(ip) => Some(IpAddr::V6(ip)),
        _ => None,
    });
    let relayed = address.iter().any(|p| p == Protocol::P2pCircuit);
    !relayed
        && ip.is_some_and(|ip| match ip {
            IpAddr::V4(ip) => ip.is_loopback() || ip.is_private() || ip.is_link_local(),
            IpAddr::V6(ip) => {
                ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local()
            }
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_serves_while_all_its_peers_are_local() {
        let mut lan = Lan::new(false);
        let id = ConnectionId::new_unchecked;
        assert_eq!(lan.mode(), None, "alone it is nobody's server");
        lan.on_connected(id(1), &"/ip4/192.168.1.9/tcp/1".parse().unwrap());
        lan.on_connected(id(2), &"/ip6/::1/udp/1/quic-v1".parse().unwrap());
        assert_eq!(lan.mode(), Some(Mode::Server));
        lan.on_connected(id(3), &"/ip4/11.0.0.1/tcp/1".parse().unwrap());
        assert_eq!(lan.mode(), None, "the wide world needs evidence");
        lan.on_disconnected(id(3));
        assert_eq!(lan.mode(), Some(Mode::Server));
    }
}
