//! Tests of the pure cores, one file for each, and what they share.

mod known;
mod own;
mod rounds;
mod session;

use std::time::Duration;

use libp2p_core::Multiaddr;
use libp2p_identity::Keypair;
use peerage_types::{Network, PeerId, UnixMillis};
use peerage_wire::introductions::{MAX_LIFETIME, Record, Signed, SigningKey};

pub(crate) const START: UnixMillis = UnixMillis(1_800_000_000_000);

/// The same node for the same number.
pub(crate) struct Person(pub(crate) u32);

impl Person {
    fn secret(&self) -> [u8; 32] {
        let mut secret = [7; 32];
        secret[..4].copy_from_slice(&self.0.to_be_bytes());
        secret
    }

    pub(crate) fn keys(&self) -> Keypair {
        Keypair::ed25519_from_bytes(self.secret()).unwrap()
    }

    pub(crate) fn peer(&self) -> PeerId {
        self.keys().public().to_peer_id()
    }

    pub(crate) fn public(&self) -> Multiaddr {
        let [_, b, c, d] = self.0.to_be_bytes();
        address(&format!("/ip4/11.{b}.{c}.{d}/tcp/4001"))
    }

    pub(crate) fn private(&self) -> Multiaddr {
        let [_, b, c, d] = self.0.to_be_bytes();
        address(&format!("/ip4/10.{b}.{c}.{d}/tcp/4001"))
    }

    pub(crate) fn says(&self, addresses: Vec<Multiaddr>, seq: UnixMillis) -> Signed {
        let (peer, lifetime, namespaces) = (self.peer(), MAX_LIFETIME, vec![[1; 20]]);
        let record = Record { peer, seq, lifetime, namespaces, addresses };
        Signed::sign(record, &SigningKey::from_bytes(&self.secret()), &Network::default()).unwrap()
    }

    pub(crate) fn record(&self, seq: UnixMillis) -> Signed {
        self.says(vec![self.public()], seq)
    }
}

pub(crate) fn address(text: &str) -> Multiaddr {
    text.parse().unwrap()
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}
