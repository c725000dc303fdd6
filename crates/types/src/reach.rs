//! From where an address can be reached.

use std::net::{Ipv4Addr, Ipv6Addr};

use multiaddr::{Multiaddr, Protocol};

/// From where an address can be reached; the farthest is the greatest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reach {
    /// This machine or this process.
    Loopback,
    /// The local network, or a range that is routed nowhere.
    Private,
    /// The internet.
    Global,
}

impl Reach {
    /// By the first part of the address, which of a relayed one is the relay; `None` for what names
    /// no place, such as `0.0.0.0`.
    #[must_use]
    pub fn of(address: &Multiaddr) -> Option<Self> {
        match address.iter().next()? {
            Protocol::Ip4(ip) => of_v4(ip),
            Protocol::Ip6(ip) => of_v6(ip),
            Protocol::Dns(name) | Protocol::Dns4(name) | Protocol::Dns6(name) => {
                Some(of_dns(&name))
            }
            Protocol::Dnsaddr(name) => Some(of_dns(&name)),
            Protocol::Memory(_) => Some(Self::Loopback),
            _ => None,
        }
    }
}

fn of_v4(ip: Ipv4Addr) -> Option<Reach> {
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

fn of_v6(ip: Ipv6Addr) -> Option<Reach> {
    if let Some(v4) = ip.to_ipv4_mapped() {
        return of_v4(v4);
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

fn of_dns(name: &str) -> Reach {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    if name == "localhost" || name.ends_with(".localhost") {
        Reach::Loopback
    } else if !name.contains('.') || name.ends_with(".local") || name.ends_with(".internal") {
        Reach::Private
    } else {
        Reach::Global
    }
}
