//! `/peerage/<network>/identity/1`: who users are, where they are, and what became of their keys.
//!
//! A *record* is a statement somebody signed: a [`Profile`], a [`Presence`] or a [`Succession`]. It
//! exists here only as [`Signed`], which cannot be made without a valid signature: there is no way
//! to hold an unverified one. A *bundle* is all there is to say about one user, and is what travels
//! in sessions, over GossipSub and in Kademlia.
//!
//! ```text
//! record   signature  64 bytes, Ed25519 (RFC 8032, strictly verified)
//!                     over "peerage/identity/1/" + kind + 0x00 + body
//!          body       CBOR map; the signer's public key is in it
//! bundle   CBOR       [profile | null, succession | null, [presence, …]], records as byte strings
//! ```
//!
//! What two nodes say in a session is in [`frames`]; what is gossiped is a batch of bundles, as it is
//! defined there.
//!
//! Fields that a reader does not know are passed over and, since the bytes are kept, passed on.

mod bundle;
pub mod frames;
mod record;
mod records;

pub use bundle::{Bundle, MAX_BUNDLE_BYTES, MAX_NODES};
pub use ed25519_dalek::SigningKey;
pub use record::{Kept, Record, RecordError, Signed};
pub use records::{
    MAX_BIO_BYTES, MAX_BIO_ENTRIES, MAX_MAILBOXES, MAX_NAME_BYTES, MAX_PRESENCE, MAX_PROFILE_BYTES,
    MAX_SERVICES, MAX_SKEW, MAX_TOPIC_BYTES, Presence, Profile, Succession, recovery_commitment,
};

use peerage_types::Network;

/// The protocol id.
#[must_use]
pub fn protocol(network: &Network) -> String {
    format!("/peerage/{network}/identity/1")
}

/// The topic on which bundles are gossiped.
#[must_use]
pub fn topic(network: &Network) -> String {
    format!("/peerage/{network}/identity/1")
}

/// The key of a user's bundle in Kademlia: `/user/` and the BLAKE3 hash of the id, 38 bytes.
#[must_use]
pub fn kad_key(user: &peerage_types::UserId) -> Vec<u8> {
    let mut key = KAD_PREFIX.to_vec();
    key.extend_from_slice(blake3::hash(user.as_bytes()).as_bytes());
    key
}

/// What keys of users in Kademlia begin with.
pub const KAD_PREFIX: &[u8] = b"/user/";
