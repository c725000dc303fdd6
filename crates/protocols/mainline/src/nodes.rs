//! The nodes of the DHT that are remembered from one start to the next.
//!
//! Value of the mark: a byte `1`, then 6 bytes for each node, as BEP 5 has them.

use std::net::{Ipv4Addr, SocketAddrV4};

use bytes::Bytes;
use libp2p_core::Multiaddr;
use peerage_types::Reach;
use rand::seq::IteratorRandom as _;

/// The mark under which nodes are kept.
pub const MARK: &str = "mainline/nodes";
/// Nodes that are kept: enough to find some alive, and under the 20 that a lookup asks anyway.
pub const MAX_NODES: usize = 8;

const VERSION: u8 = 1;
const NODE_BYTES: usize = 6;

/// Some of `nodes` (`IP:PORT`), as they are kept.
#[must_use]
pub fn encode(nodes: &[String]) -> Bytes {
    let parsed = nodes.iter().filter_map(|node| node.parse::<SocketAddrV4>().ok());
    let chosen = parsed.sample(&mut rand::rng(), MAX_NODES);
    let mut value = vec![VERSION];
    for node in chosen {
        value.extend_from_slice(&node.ip().octets());
        value.extend_from_slice(&node.port().to_be_bytes());
    }
    value.into()
}

/// The nodes in a mark; none if it is of another format. With `local_only` only those of this
/// machine, otherwise only those of the internet.
#[must_use]
pub fn decode(value: &[u8], local_only: bool) -> Vec<SocketAddrV4> {
    let Some((&VERSION, nodes)) = value.split_first() else { return Vec::new() };
    let wanted = if local_only { Reach::Loopback } else { Reach::Global };
    let parsed = nodes.chunks_exact(NODE_BYTES).take(MAX_NODES).filter_map(node);
    parsed.filter(|node| Reach::of(&Multiaddr::from(*node.ip())) == Some(wanted)).collect()
}

fn node(bytes: &[u8]) -> Option<SocketAddrV4> {
    let (ip, port) = bytes.split_first_chunk::<4>()?;
    let port = u16::from_be_bytes(port.try_into().ok()?);
    Some(SocketAddrV4::new(Ipv4Addr::from(*ip), port)).filter(|node| node.port() != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_that_are_kept_are_read_again() {
        let kept = encode(&["11.0.0.1:6881".to_owned(), "no node".to_owned()]);
        assert_eq!(&kept[..], [1, 11, 0, 0, 1, 0x1a, 0xe1]);
        assert_eq!(decode(&kept, false), ["11.0.0.1:6881".parse().expect("a node")]);
        assert_eq!(decode(&kept, true), [], "not of this machine");
    }

    #[test]
    fn a_mark_of_another_format_and_private_nodes_are_ignored() {
        assert_eq!(decode(b"", false), []);
        assert_eq!(decode(b"\x02\x0b\0\0\x01\x1a\xe1", false), []);
        assert_eq!(decode(b"\x01\x0b\0\0\x01\x1a", false), []);
        assert_eq!(decode(&encode(&["10.0.0.1:6881".to_owned()]), false), []);
    }

    #[test]
    fn of_many_nodes_a_few_are_kept() {
        let many: Vec<String> = (1..200).map(|n| format!("11.0.0.{n}:6881")).collect();
        assert_eq!(decode(&encode(&many), false).len(), MAX_NODES);
    }
}
