//! `/peerage/<network>/kv/1`: entries of the key-value store and how replicas compare them.
//!
//! An [`Entry`] says what was written; it exists as [`SignedEntry`] only if its author has signed it.
//! The value is not part of it but its BLAKE3 hash is, so that a value may be dropped when its time is
//! over, and travel apart when it is large.
//!
//! ```text
//! entry        space 32, author kind u8 (1 node, 2 user), author 32, clock u64, kind u8, size u32,
//!              hash of the value 32, expiry u64 in ms (0: never), key length u16, key
//! fingerprint  BLAKE3 keyed with "peerage/kv/1/entry" over that
//! signature    Ed25519 over "peerage/kv/1/group", depth u8 and a root: that of a perfect Merkle tree
//!              of up to 16 fingerprints, whose nodes are BLAKE3 keyed with "peerage/kv/1/node" over
//!              their two children; depth 0: the fingerprint itself
//! proof        depth u8, place u8, signature 64, siblings 32 × depth from the bottom up
//! ```
//!
//! Numbers are big-endian; keys of BLAKE3 are padded with zeros to 32 bytes.

mod entry;
pub mod frames;
pub mod gossip;
pub mod grant;
mod proof;
pub mod ticket;

pub use entry::{Entry, Fingerprint, Kind, MAX_ENTRY_BYTES, MAX_KEY_BYTES};
pub use proof::{
    Claimed, EntryError, Kept, MAX_DEPTH, MAX_GROUP, MAX_PROOF_BYTES, Proof, SignedEntry, Verifier,
    root,
};

use peerage_types::{Network, SpaceId};

/// Up to this size a value travels with its entry: 64 KiB.
pub const MAX_INLINE_BYTES: usize = 64 << 10;
/// Longest value whatever a node is configured to take: 64 MiB.
pub const MAX_VALUE_BYTES: usize = 64 << 20;

/// The protocol id.
#[must_use]
pub fn protocol(network: &Network) -> String {
    format!("/peerage/{network}/kv/1")
}

/// The topic on which new entries are gossiped.
#[must_use]
pub fn topic(network: &Network) -> String {
    format!("/peerage/{network}/kv/1")
}

/// The space that belongs to a network. Nobody has its key.
#[must_use]
pub fn default_space(network: &Network) -> SpaceId {
    SpaceId(blake3::derive_key("peerage/kv/1 default space", network.as_str().as_bytes()))
}

/// A key for BLAKE3 of a name.
const fn named(name: &[u8]) -> [u8; 32] {
    let mut key = [0; 32];
    let mut at = 0;
    while at < name.len() {
        key[at] = name[at];
        at += 1;
    }
    key
}

fn take<const N: usize>(body: &mut &[u8]) -> Option<[u8; N]> {
    let (head, rest) = body.split_first_chunk()?;
    *body = rest;
    Some(*head)
}
