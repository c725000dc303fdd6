//! Tests of the pure cores, one file for each.

mod addresses;
mod book;
mod connects;
mod core;
mod dials;
mod pool;
mod pruning;
mod redials;

use std::time::{Duration, Instant};

use libp2p_core::{ConnectedPoint, Endpoint, Multiaddr, transport::PortUse};
use libp2p_identity::{Keypair, PeerId};
use libp2p_swarm::ConnectionId;
use peerage_types::UnixMillis;

use crate::Config;

/// The same peer for the same number.
pub(crate) fn peer(number: u8) -> PeerId {
    Keypair::ed25519_from_bytes([number; 32]).unwrap().public().to_peer_id()
}

/// The peers of these numbers, smallest id first.
fn sorted(numbers: impl IntoIterator<Item = u8>) -> Vec<PeerId> {
    let mut peers: Vec<_> = numbers.into_iter().map(peer).collect();
    peers.sort_unstable();
    peers
}

pub(crate) fn address(text: &str) -> Multiaddr {
    text.parse().unwrap()
}

/// A public address for each number.
fn public(number: u32) -> Multiaddr {
    let [_, b, c, d] = number.to_be_bytes();
    address(&format!("/ip4/11.{b}.{c}.{d}/tcp/4001"))
}

fn id(number: usize) -> ConnectionId {
    ConnectionId::new_unchecked(number)
}

fn ms(millis: u64) -> UnixMillis {
    UnixMillis(millis)
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn dialled(address: Multiaddr) -> ConnectedPoint {
    let (role_override, port_use) = (Endpoint::Dialer, PortUse::Reuse);
    ConnectedPoint::Dialer { address, role_override, port_use }
}

fn accepted(send_back_addr: Multiaddr) -> ConnectedPoint {
    ConnectedPoint::Listener { local_addr: address("/ip4/11.0.0.1/tcp/4001"), send_back_addr }
}

fn config() -> Config {
    Config::new(peer(0))
}

fn start() -> Instant {
    Instant::now()
}
