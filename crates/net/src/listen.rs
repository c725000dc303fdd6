//! Where to listen: what the settings say, or one port for TCP and QUIC that stays the same.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket},
};

use bytes::Bytes;
use libp2p::{Multiaddr, TransportError, multiaddr::Protocol};
use peerage_store::Store;
use socket2::{Domain, Socket, Type};

use crate::settings::Settings;

/// Mark in the store: the port of the last start, two bytes, big-endian.
const PORT_MARK: &str = "listen.port";
/// Ports that are tried when none is remembered.
const ATTEMPTS: usize = 16;

/// An address that cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Something else listens there.
    #[error(
        "{address} is in use by another program; choose another port with --listen, or 0 for any"
    )]
    InUse {
        /// The address.
        address: Multiaddr,
    },
    /// The system does not let this user listen there.
    #[error("listening on {address} is not permitted; ports below 1024 need privileges")]
    NotPermitted {
        /// The address.
        address: Multiaddr,
    },
    /// This machine has no such address.
    #[error("{address} is not an address of this machine")]
    NotHere {
        /// The address.
        address: Multiaddr,
    },
    /// No transport of this node can listen there.
    #[error("{address} cannot be listened on: {reason}")]
    Unsupported {
        /// The address.
        address: Multiaddr,
        /// What is wrong with it.
        reason: String,
    },
    /// The system said something else.
    #[error("{address}: {source}")]
    Io {
        /// The address.
        address: Multiaddr,
        /// What it said.
        source: io::Error,
    },
}

impl ListenError {
    pub(crate) fn of(address: Multiaddr, error: TransportError<io::Error>) -> Self {
        let source = match error {
            TransportError::MultiaddrNotSupported(_) => {
                let reason =
                    "no transport of this node fits (TCP, QUIC v1, WebSocket, relay circuit)";
                return Self::Unsupported { address, reason: reason.into() };
            }
            TransportError::Other(source) => source,
        };
        match kind_within(&source) {
            io::ErrorKind::AddrInUse => Self::InUse { address },
            io::ErrorKind::PermissionDenied => Self::NotPermitted { address },
            io::ErrorKind::AddrNotAvailable => Self::NotHere { address },
            _ => Self::Io { address, source },
        }
    }
}

/// The kind of the innermost I/O error.
///
/// The transports wrap each other's errors in types that hide their source, but all of them show
/// the text of the innermost one, which ends in the system's error number.
fn kind_within(error: &io::Error) -> io::ErrorKind {
    let text = error.to_string();
    let number = text.rsplit_once("(os error ").and_then(|(_, rest)| rest.split_once(')'));
    match number.and_then(|(number, _)| number.parse().ok()) {
        Some(number) => io::Error::from_raw_os_error(number).kind(),
        None => error.kind(),
    }
}

/// An address to listen on, and whether the node can do without it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) address: Multiaddr,
    pub(crate) optional: bool,
}

/// The addresses to listen on. Blocking: looks whether ports are free.
pub(crate) fn places(
    settings: &Settings,
    network_key: bool,
    store: &Store,
) -> Result<Vec<Place>, ListenError> {
    if !settings.listen.is_empty() {
        if let Some(address) = settings.listen.iter().find(|address| is_taken(address)) {
            return Err(ListenError::InUse { address: address.clone() });
        }
        let given = settings.listen.iter().cloned();
        return Ok(given.map(|address| Place { address, optional: false }).collect());
    }
    let remembered = store.marks().get_blocking(PORT_MARK).ok().flatten();
    let last = remembered.and_then(|b| Some(u16::from_be_bytes(b.as_ref().try_into().ok()?)));
    let port = last.filter(|port| is_free(*port)).or_else(free_port).unwrap_or(0);
    if port != 0 && last != Some(port) {
        // Losing the mark costs no more than another port at the next start.
        drop(store.marks().put(PORT_MARK, Bytes::copy_from_slice(&port.to_be_bytes())));
    }
    Ok(automatic(port, network_key))
}

/// Whether another program listens on a TCP address.
///
/// The TCP transport shares its ports, so that connections can leave from the port that is listened
/// on. Two nodes of one user would therefore get the same port, and each connection only one of them.
fn is_taken(address: &Multiaddr) -> bool {
    // That one is its relay's.
    if address.iter().any(|part| part == Protocol::P2pCircuit) {
        return false;
    }
    let mut parts = address.iter();
    let ip: IpAddr = match parts.next() {
        Some(Protocol::Ip4(ip)) => ip.into(),
        Some(Protocol::Ip6(ip)) => ip.into(),
        _ => return false,
    };
    let Some(Protocol::Tcp(port @ 1..)) = parts.next() else { return false };
    let bind = || {
        let at = SocketAddr::new(ip, port);
        let socket = Socket::new(Domain::for_address(at), Type::STREAM, None)?;
        if at.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        // What is left of closed connections holds nobody up.
        socket.set_reuse_address(true)?;
        socket.bind(&at.into())?;
        socket.listen(1)
    };
    bind().is_err_and(|error| error.kind() == io::ErrorKind::AddrInUse)
}

fn automatic(port: u16, network_key: bool) -> Vec<Place> {
    let v4 = Multiaddr::from(Ipv4Addr::UNSPECIFIED);
    let v6 = Multiaddr::from(std::net::Ipv6Addr::UNSPECIFIED);
    let place = |ip: &Multiaddr, quic: bool, optional| {
        let address = match quic {
            true => ip.clone().with(Protocol::Udp(port)).with(Protocol::QuicV1),
            false => ip.clone().with(Protocol::Tcp(port)),
        };
        Place { address, optional }
    };
    let all = [
        place(&v4, false, false),
        place(&v4, true, false),
        place(&v6, false, true),
        place(&v6, true, true),
    ];
    let quic = |place: &Place| place.address.iter().any(|p| p == Protocol::QuicV1);
    all.into_iter().filter(|place| !(network_key && quic(place))).collect()
}

fn is_free(port: u16) -> bool {
    let v4 = (Ipv4Addr::UNSPECIFIED, port);
    port != 0 && TcpListener::bind(v4).is_ok() && UdpSocket::bind(v4).is_ok()
}

/// A port that is free for TCP and UDP.
fn free_port() -> Option<u16> {
    (0..ATTEMPTS).find_map(|_| {
        let port = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?.local_addr().ok()?.port();
        is_free(port).then_some(port)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_stays_the_same_until_somebody_else_has_it() {
        let store = Store::in_memory();
        let settings = Settings::default();
        let places = || places(&settings, false, &store).unwrap();
        let first = places();
        futures::executor::block_on(store.flush()).unwrap();
        assert_eq!(places(), first);
        let port = first[0].address.iter().find_map(|p| match p {
            Protocol::Tcp(port) => Some(port),
            _ => None,
        });
        let taken = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port.unwrap())).unwrap();
        assert_ne!(places(), first);
        drop(taken);
    }

    #[test]
    fn a_port_that_another_node_shares_out_is_taken_all_the_same() {
        let shared = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        shared.set_reuse_address(true).unwrap();
        shared.set_reuse_port(true).unwrap();
        let any = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0);
        shared.bind(&any.into()).unwrap();
        shared.listen(1).unwrap();
        let port = shared.local_addr().unwrap().as_socket().unwrap().port();
        let ask = |text: String| {
            let settings = Settings { listen: vec![text.parse().unwrap()], ..Settings::default() };
            places(&settings, false, &Store::in_memory())
        };
        for ip in ["0.0.0.0", "127.0.0.1"] {
            let refused = ask(format!("/ip4/{ip}/tcp/{port}"));
            assert!(matches!(refused, Err(ListenError::InUse { .. })), "{refused:?}");
            assert!(ask(format!("/ip4/{ip}/tcp/{port}/ws")).is_err());
        }
        assert!(ask(format!("/ip6/::1/tcp/{port}")).is_ok());
        assert!(ask(format!("/ip4/127.0.0.1/tcp/{port}/p2p-circuit")).is_ok());
        assert!(ask("/ip4/127.0.0.1/tcp/0".to_owned()).is_ok());
        drop(shared);
        assert!(ask(format!("/ip4/127.0.0.1/tcp/{port}")).is_ok());
    }

    #[test]
    fn a_network_key_leaves_tcp_only() {
        let places = automatic(1, true);
        assert_eq!(places.len(), 2);
        assert!(places.iter().all(|place| place.address.to_string().contains("/tcp/")));
    }
}
