//! Addresses: which can be dialled, how far they reach, and whose they are. Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use libp2p_core::{Multiaddr, multiaddr::Protocol};
use libp2p_identity::PeerId;

/// From where an address can be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reach {
    /// This machine or this process.
    Loopback,
    /// The local network, or a range that is routed nowhere.
    Private,
    /// The internet.
    Global,
}

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
    match address.iter().next()? {
        Protocol::Ip4(ip) => reach_v4(ip),
        Protocol::Ip6(ip) => reach_v6(ip),
        Protocol::Dns(name) | Protocol::Dns4(name) | Protocol::Dns6(name) => Some(reach_dns(&name)),
        Protocol::Dnsaddr(name) => Some(reach_dns(&name)),
        Protocol::Memory(_) => Some(Reach::Loopback),
        _ => None,
    }
}

fn reach_v4(ip: Ipv4Addr) -> Option<Reach> {
    let [a, b, c, _] = ip.octets();
    if a == 0 || ip.is_multicast() || a >= 240 {
        None
    } else if ip.is_loopback() {
        Some(Reach::Loopback)
    } else if ip.is_private()
        || ip.is_link_local()
        || ip.is_documentation()
        // Carrier-grade NAT (RFC 6598), protocol assignments (RFC 6890), benchmarks (RFC 2544).
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 198 && (b == 18 || b == 19))
    {
        Some(Reach::Private)
    } else {
        Some(Reach::Global)
    }
}

fn reach_v6(ip: Ipv6Addr) -> Option<Reach> {
    if let Some(v4) = ip.to_ipv4_mapped() {
        return reach_v4(v4);
    }
    let documentation = ip.segments()[0] == 0x2001 && ip.segments()[1] == 0xdb8;
    if ip.is_unspecified() || ip.is_multicast() {
        None
    } else if ip.is_loopback() {
        Some(Reach::Loopback)
    } else if ip.is_unique_local() || ip.is_unicast_link_local() || documentation {
        Some(Reach::Private)
    } else {
        Some(Reach::Global)
    }
}

fn reach_dns(name: &str) -> Reach {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    if name == "localhost" || name.ends_with(".localhost") {
        Reach::Loopback
    } else if !name.contains('.') || name.ends_with(".local") || name.ends_with(".internal") {
        Reach::Private
    } else {
        Reach::Global
    }
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
