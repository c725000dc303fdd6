//! All there is to say about one user.

use std::{collections::BTreeSet, fmt};

use bytes::Bytes;
use peerage_types::UserId;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{MAX_PROFILE_BYTES, Presence, Profile, Record, RecordError, Signed, Succession};

/// Nodes of one user that are known and told.
pub const MAX_NODES: usize = 8;
/// Longest bundle: a profile, a succession, [`MAX_NODES`] presences, and what surrounds them:
/// 14 KiB + 9 × 512 bytes + 64 bytes.
pub const MAX_BUNDLE_BYTES: usize =
    MAX_PROFILE_BYTES + Succession::MAX_BYTES + MAX_NODES * Presence::MAX_BYTES + 64;

/// Verified records of one user. At least one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Bundle {
    /// The newest profile.
    pub profile: Option<Signed<Profile>>,
    /// What became of the key.
    pub succession: Option<Signed<Succession>>,
    /// Where the user is, or was until lately; up to [`MAX_NODES`].
    pub presences: Vec<Signed<Presence>>,
}

/// Bytes, as a byte string rather than a list of numbers.
pub(super) struct Blob(pub(super) Bytes);

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Blob;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }
            fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Blob, E> {
                Ok(Blob(Bytes::copy_from_slice(bytes)))
            }
        }
        from.deserialize_bytes(Visitor)
    }
}

#[derive(Serialize, Deserialize)]
struct Wire(Option<Blob>, Option<Blob>, Vec<Blob>);

impl Bundle {
    /// Whose records they are; `None` if there are none.
    #[must_use]
    pub fn user(&self) -> Option<UserId> {
        let profile = self.profile.as_ref().map(|profile| profile.user);
        let succession = self.succession.as_ref().map(|succession| succession.user);
        profile.or(succession).or(self.presences.first().map(|presence| presence.user))
    }

    /// The bytes that travel.
    ///
    /// # Panics
    /// Never: byte strings have a CBOR form.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let wire = Wire(
            self.profile.as_ref().map(|profile| Blob(profile.bytes().clone())),
            self.succession.as_ref().map(|succession| Blob(succession.bytes().clone())),
            self.presences.iter().map(|presence| Blob(presence.bytes().clone())).collect(),
        );
        cbor4ii::serde::to_vec(Vec::new(), &wire).expect("these types have a CBOR form").into()
    }

    /// Reads a bundle and verifies every signature in it.
    ///
    /// # Errors
    /// [`RecordError`]; also when it is empty, mixes users, has more than [`MAX_NODES`] presences
    /// or two for one node, or a succession that its profile does not commit to.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        if bytes.len() > MAX_BUNDLE_BYTES {
            return Err(RecordError::TooLarge { bytes: bytes.len(), max: MAX_BUNDLE_BYTES });
        }
        let wire: Wire = cbor4ii::serde::from_slice(bytes).map_err(|_| RecordError::Malformed)?;
        let Wire(profile, succession, presences) = wire;
        if presences.len() > MAX_NODES {
            return Err(RecordError::Field { field: "presences", reason: "are too many" });
        }
        let presences = presences.into_iter().map(|Blob(bytes)| Signed::decode(bytes));
        let bundle = Self {
            profile: profile.map(|Blob(bytes)| Signed::decode(bytes)).transpose()?,
            succession: succession.map(|Blob(bytes)| Signed::decode(bytes)).transpose()?,
            presences: presences.collect::<Result<_, _>>()?,
        };
        bundle.check()?;
        // What is read is what would be written: trailing or surplus bytes are refused.
        if bundle.encode() == bytes { Ok(bundle) } else { Err(RecordError::Malformed) }
    }

    fn check(&self) -> Result<(), RecordError> {
        let user = self.user().ok_or(RecordError::Malformed)?;
        let others = self.succession.iter().any(|succession| succession.user != user)
            || self.presences.iter().any(|presence| presence.user != user);
        if others {
            return Err(RecordError::Mixed);
        }
        let nodes: BTreeSet<_> = self.presences.iter().map(|presence| presence.node).collect();
        if nodes.len() < self.presences.len() {
            return Err(RecordError::Field { field: "presences", reason: "name a node twice" });
        }
        match (&self.profile, &self.succession) {
            (Some(profile), Some(succession)) => succession.check_commitment(&profile.recovery),
            _ => Ok(()),
        }
    }
}
