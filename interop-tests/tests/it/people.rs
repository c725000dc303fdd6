//! Users that live in a record only, for what a DHT stores.

use std::collections::BTreeSet;

use anyhow::Result;
use ed25519_dalek::SigningKey;
use libp2p_identity::Keypair;
use peerage_types::{UnixMillis, UserId};
use peerage_wire::identity::{Bundle, Profile, Signed, kad_key, recovery_commitment};

/// A user without a node.
pub(crate) struct Person {
    /// Its id.
    pub(crate) user: UserId,
    /// Where its record belongs.
    pub(crate) key: Vec<u8>,
    /// Its record, as valid as any.
    pub(crate) record: Vec<u8>,
}

impl Person {
    /// Somebody new, with a display name.
    pub(crate) fn new(name: &str) -> Result<Self> {
        let secret = Keypair::generate_ed25519().try_into_ed25519()?.secret();
        let key = SigningKey::from_bytes(secret.as_ref().try_into()?);
        let user = UserId(key.verifying_key().to_bytes());
        let profile = Profile {
            user,
            seq: 1,
            handle: None,
            display_name: Some(name.to_owned()),
            bio: [].into(),
            avatar: None,
            services: BTreeSet::new(),
            mailboxes: BTreeSet::new(),
            recovery: recovery_commitment(&[1; 32]),
            updated: UnixMillis::now(),
        };
        let profile = Some(Signed::sign(profile, &key)?);
        let record = Bundle { profile, ..Bundle::default() }.encode().to_vec();
        Ok(Self { user, key: kad_key(&user), record })
    }

    /// Its record with one bit wrong.
    pub(crate) fn forged(&self) -> Vec<u8> {
        let mut forged = self.record.clone();
        if let Some(last) = forged.last_mut() {
            *last ^= 1;
        }
        forged
    }
}
