//! The bridge to the BitTorrent DHT in this node: how it is made, what it is told, what it tells.

use std::{collections::BTreeMap, time::Instant};

use libp2p::{Multiaddr, identity::Keypair, multiaddr::Protocol};
use peerage_api::peers::Source;
use peerage_mainline::{Behaviour, Config, Event};
use peerage_store::Store;
use peerage_types::Reach;

use crate::{driver::Driver, settings::Settings, stack::Stack};

/// The bridge, unless it is switched off or there is no way into a DHT: for a node that keeps to
/// private addresses only one that was named for it.
pub(crate) fn behaviour(settings: &Settings, keys: &Keypair, store: &Store) -> Option<Behaviour> {
    let bootstrap = &settings.mainline_bootstrap;
    if !settings.mainline || (settings.local_only && bootstrap.is_empty()) {
        return None;
    }
    let mut config = match settings.local_only {
        true => Config::local(bootstrap.clone()),
        false if bootstrap.is_empty() => Config::default(),
        false => Config { bootstrap: bootstrap.clone(), ..Config::default() },
    };
    config.quic = settings.network_key.is_none();
    Some(Behaviour::new(&config, keys.clone(), Some(store.marks())))
}

/// The port to announce: of those that are open to others the one with the most transports, TCP and
/// QUIC if they have one in common.
fn port<'a>(addresses: impl Iterator<Item = &'a Multiaddr>, local_only: bool) -> Option<u16> {
    let mut ports: BTreeMap<u16, [bool; 2]> = BTreeMap::new();
    for address in addresses {
        let open = Reach::of(address).is_some_and(|reach| local_only || reach != Reach::Loopback);
        let mut parts = address.iter().skip(1);
        match (open, parts.next(), parts.next()) {
            (true, Some(Protocol::Tcp(port)), None | Some(Protocol::P2p(_))) => {
                ports.entry(port).or_default()[0] = true;
            }
            (true, Some(Protocol::Udp(port)), Some(Protocol::QuicV1)) => {
                ports.entry(port).or_default()[1] = true;
            }
            _ => {}
        }
    }
    let best = ports.into_iter().max_by_key(|(_, [tcp, quic])| (*tcp && *quic, *tcp));
    best.map(|(port, _)| port)
}

impl Driver {
    /// Tells the bridge under which port this node can be found, and whether it can be reached there.
    pub(crate) fn tell_port(&mut self) {
        let local_only = self.settings.local_only;
        let external: Vec<_> = self.swarm.external_addresses().cloned().collect();
        let listen = self.swarm.listeners();
        let port = port(external.iter(), local_only).or_else(|| port(listen, local_only));
        let stack: &mut Stack = self.swarm.behaviour_mut();
        if let Some(bridge) = stack.mainline.as_mut() {
            bridge.on_port(port);
            bridge.on_reachable((!external.is_empty()).then_some(true));
        }
    }

    pub(crate) fn on_mainline(&mut self, event: Event) {
        let now = Instant::now();
        let stack: &mut Stack = self.swarm.behaviour_mut();
        match event {
            Event::Found { find, peer, addresses, infohash, how } => {
                tracing::debug!(%peer, %infohash, ?how, "found on Mainline");
                stack.peers.on_discovered(peer, addresses.clone(), Source::Mainline, now);
                let is_read =
                    find.is_none_or(|id| self.discovery.on_found_by_bridge(id, peer, addresses));
                if let (Some(find), false, Some(bridge)) = (find, is_read, stack.mainline.as_mut())
                {
                    bridge.cancel(find);
                }
            }
            Event::FindEnded { find, reached } => {
                tracing::debug!(reached, "a search on Mainline ended");
                self.discovery.on_searched_by_bridge(find);
            }
            Event::Announced { infohash } => self.discovery.on_announced_by_bridge(infohash),
            Event::Resolved { resolve, addresses, .. } => {
                self.discovery.on_resolved(&mut stack.peers, resolve, addresses, now);
            }
            Event::Health(health) => tracing::debug!(?health, "Mainline"),
            other => tracing::debug!(?other, "Mainline"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port_of(addresses: &[&str], local_only: bool) -> Option<u16> {
        let parsed: Vec<Multiaddr> = addresses.iter().map(|text| text.parse().unwrap()).collect();
        port(parsed.iter(), local_only)
    }

    #[test]
    fn the_port_of_both_tcp_and_quic_is_announced_before_that_of_one() {
        let both = ["/ip4/10.0.0.1/tcp/9", "/ip4/10.0.0.1/tcp/4", "/ip4/10.0.0.1/udp/4/quic-v1"];
        assert_eq!(port_of(&both, false), Some(4));
        assert_eq!(port_of(&both[..2], false), Some(9));
        assert_eq!(port_of(&both[2..], false), Some(4));
        assert_eq!(port_of(&[both[2], "/ip4/10.0.0.1/tcp/3"], false), Some(3), "TCP before QUIC");
    }

    #[test]
    fn what_nobody_else_can_dial_is_not_announced() {
        let closed = ["/ip4/127.0.0.1/tcp/9", "/ip4/1.2.3.4/tcp/8/ws"];
        assert_eq!(port_of(&closed, false), None);
        assert_eq!(port_of(&closed, true), Some(9));
    }
}
