//! What Peerage keeps in the BitTorrent DHT, in mutable items (BEP 44) of at most 1000 bytes.
//!
//! [`slot`]: signed records of peers under keys that are derived from a namespace, by which nodes
//! without an open port are found. [`packet`]: the addresses of one peer under its own key, in the
//! format of pkarr. Both are read from strangers.

pub mod packet;
pub mod slot;

use peerage_types::PeerId;

/// Most bytes of an item's value: BEP 44 allows 1000 with the bencoded length, which takes 4.
pub const MAX_VALUE_BYTES: usize = 996;

/// The multihash and the protobuf around an Ed25519 key in a peer id.
const KEY_PREFIX: [u8; 6] = [0x00, 0x24, 0x08, 0x01, 0x12, 0x20];

/// The Ed25519 key in a peer id; `None` if it is of another kind, which can only be a hash.
#[must_use]
pub fn key_of(peer: &PeerId) -> Option<[u8; 32]> {
    peer.to_bytes().strip_prefix(&KEY_PREFIX)?.try_into().ok()
}

/// The peer id of an Ed25519 key.
///
/// # Panics
/// Never: every key makes a valid id.
#[must_use]
pub fn peer_of(key: &[u8; 32]) -> PeerId {
    let bytes = [&KEY_PREFIX[..], key].concat();
    PeerId::from_bytes(&bytes).expect("an identity multihash of 36 bytes")
}

/// What an Ed25519 key signs of a mutable item without salt: number and value as they are bencoded.
#[must_use]
pub fn signable(seq: i64, value: &[u8]) -> Vec<u8> {
    let mut signed = format!("3:seqi{seq}e1:v{}:", value.len()).into_bytes();
    signed.extend_from_slice(value);
    signed
}
