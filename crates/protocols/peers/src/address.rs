//! Addresses: which can be dialled, how far they reach, and whose they are. Pure.

use std::net::{IpAddr, Ipv6Addr};

use libp2p_core::{Multiaddr, multiaddr::Protocol};
use libp2p_identity::PeerId;
pub(crate) use peerage_types::Reach;

/// The address without the `/p2p/ID` at its end, and that id.
pub(crate) fn split(address: &Multiaddr) -> (Multiaddr, Option<PeerId>) {
    let mut bare = address.clone();
    match bare.pop() {
        Some(Protocol::P2p(peer)) => (bare, Some(peer)),
        _ => (address.clone(), None),
    }
}

/// Whether the address runs through a relay.
pub(crate) fn is_relayed(address: &Multiaddr) -> bool {
    address.iter().any(|part| part == Protocol::P2pCircuit)
}

/// From where it can be reached; nothing for what names no place, such as `0.0.0.0`.
pub(crate) fn reach(address: &Multiaddr) -> Option<Reach> {
    Reach::of(address)
}

/// What is wrong with an address (without the peer id at its end), if anything: it must name a
/// place and a transport that Peerage has.
pub(crate) fn check(address: &Multiaddr) -> Result<(), &'static str> {
    let mut parts = address.iter().peekable();
    match parts.next() {
        None => return Err("it is empty"),
        Some(Protocol::Dnsaddr(_) | Protocol::Memory(_)) => {}
        Some(Protocol::Ip4(_) | Protocol::Ip6(_)) if reach(address).is_none() => {
            return Err("no host has that IP address");
        }
        Some(
            Protocol::Ip4(_)
            | Protocol::Ip6(_)
            | Protocol::Dns(_)
            | Protocol::Dns4(_)
            | Protocol::Dns6(_),
        ) => match parts.next() {
            Some(Protocol::Tcp(0) | Protocol::Udp(0)) => return Err("port 0 cannot be dialled"),
            Some(Protocol::Tcp(_)) => {
                parts.next_if(|part| *part == Protocol::Tls);
                parts.next_if(|part| matches!(part, Protocol::Ws(_) | Protocol::Wss(_)));
            }
            Some(Protocol::Udp(_)) => {
                if parts.next() != Some(Protocol::QuicV1) {
                    return Err("after /udp/PORT only /quic-v1 is spoken");
                }
            }
            _ => return Err("it names neither /tcp/PORT nor /udp/PORT/quic-v1"),
        },
        Some(_) => return Err("it begins with neither an IP address nor a DNS name"),
    }
    match (parts.next(), parts.next(), parts.next()) {
        (None, ..) => Ok(()),
        (Some(Protocol::P2p(_)), Some(Protocol::P2pCircuit), None) => Ok(()),
        (Some(Protocol::P2pCircuit), ..) => Err("it names no relay before /p2p-circuit"),
        _ => Err("this node has no such transport"),
    }
}

/// Whom to count a connection from this address for: the IPv4 address or the IPv6 /64. Nothing for
/// loopback, relayed and in-memory connections, and for private ones if they are exempt.
pub(crate) fn counted_ip(address: &Multiaddr, exempt_private: bool) -> Option<IpAddr> {
    if is_relayed(address) {
        return None;
    }
    let least = if exempt_private { Reach::Global } else { Reach::Private };
    match address.iter().next()? {
        _ if reach(address)? < least => None,
        Protocol::Ip4(ip) => Some(ip.into()),
        Protocol::Ip6(ip) => Some(match ip.to_ipv4_mapped() {
            Some(v4) => v4.into(),
            None => Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX)).into(),
        }),
        _ => None,
    }
}
