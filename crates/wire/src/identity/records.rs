//! The three kinds of records.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use ed25519_dalek::{Signature, Signer as _, SigningKey};
use peerage_types::{ContentHash, Handle, PeerId, ServiceName, UnixMillis, UserId};
use serde::{Deserialize, Serialize};

use super::record::{Record, RecordError, verify};

/// Longest signed profile: what fits a Kademlia record beside the presences.
pub const MAX_PROFILE_BYTES: usize = 14 * 1024;
/// Longest display name in bytes.
pub const MAX_NAME_BYTES: usize = 256;
/// Entries of a bio.
pub const MAX_BIO_ENTRIES: usize = 32;
/// Longest topic of a bio's entry in bytes.
pub const MAX_TOPIC_BYTES: usize = 64;
/// Longest text of a bio's entry in bytes.
pub const MAX_BIO_BYTES: usize = 4 * 1024;
/// Services a profile names.
pub const MAX_SERVICES: usize = 32;
/// Mailboxes a profile names.
pub const MAX_MAILBOXES: usize = 4;
// As the reasons say that `Profile::check` gives.
const _: () = assert!(
    MAX_NAME_BYTES == 256
        && MAX_BIO_ENTRIES == 32
        && MAX_TOPIC_BYTES == 64
        && MAX_BIO_BYTES == 4096
        && MAX_SERVICES == 32
        && MAX_MAILBOXES == 4
);
/// How far a clock may be ahead before its records are refused.
pub const MAX_SKEW: Duration = Duration::from_secs(10 * 60);
/// How long a presence may be valid.
pub const MAX_PRESENCE: Duration = Duration::from_secs(24 * 60 * 60);

/// What a user says about itself. The newest valid one counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// Who; its key signs.
    pub user: UserId,
    /// Rises with each change, from 1.
    pub seq: u64,
    /// What it calls itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handle: Option<Handle>,
    /// Its name as it is to be shown, up to [`MAX_NAME_BYTES`].
    #[serde(default, rename = "name", skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// What it says by topic, up to [`MAX_BIO_ENTRIES`].
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub bio: BTreeMap<String, String>,
    /// Root of a picture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub avatar: Option<ContentHash>,
    /// Services it uses, up to [`MAX_SERVICES`].
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub services: BTreeSet<ServiceName>,
    /// Nodes that hold its mail, up to [`MAX_MAILBOXES`].
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub mailboxes: BTreeSet<PeerId>,
    /// [`recovery_commitment`] of its recovery key. Never changes for one user.
    pub recovery: ContentHash,
    /// When it was signed, by the user's clock.
    pub updated: UnixMillis,
}

impl Record for Profile {
    const KIND: &'static str = "profile";
    const MAX_BYTES: usize = MAX_PROFILE_BYTES;

    fn signer(&self) -> &[u8; 32] {
        self.user.as_bytes()
    }

    fn check(&self) -> Result<(), RecordError> {
        let field = |field, reason| Err(RecordError::Field { field, reason });
        match self {
            _ if self.seq == 0 => field("seq", "begins with 1"),
            _ if self.display_name.as_ref().is_some_and(|n| n.len() > MAX_NAME_BYTES) => {
                field("display name", "is longer than 256 bytes")
            }
            _ if self.display_name.iter().any(|n| n.chars().any(is_unprintable)) => {
                field("display name", "has control characters")
            }
            _ if self.bio.len() > MAX_BIO_ENTRIES => field("bio", "has more than 32 entries"),
            _ if self.bio.keys().any(|t| t.is_empty() || t.len() > MAX_TOPIC_BYTES) => {
                field("bio", "has a topic that is empty or longer than 64 bytes")
            }
            _ if self.bio.values().any(|text| text.len() > MAX_BIO_BYTES) => {
                field("bio", "has an entry that is longer than 4096 bytes")
            }
            _ if self.bio.keys().any(|topic| topic.chars().any(is_unprintable)) => {
                field("bio", "has control characters in a topic")
            }
            _ if self.bio.values().any(|text| text.chars().any(is_unprintable_text)) => {
                field("bio", "has control characters")
            }
            _ if self.services.len() > MAX_SERVICES => field("services", "are more than 32"),
            _ if self.mailboxes.len() > MAX_MAILBOXES => field("mailboxes", "are more than 4"),
            _ => Ok(()),
        }
    }
}

impl Profile {
    /// Checks the date against a clock.
    ///
    /// # Errors
    /// [`RecordError::Future`].
    pub fn check_time(&self, now: UnixMillis) -> Result<(), RecordError> {
        not_ahead(self.updated, now)
    }
}

/// That a user is logged in on a node, or, when it has expired, no longer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Presence {
    /// Who; its key signs.
    pub user: UserId,
    /// Where.
    pub node: PeerId,
    /// Rises with each statement of this user about this node: milliseconds of its clock.
    pub seq: u64,
    /// Until when it holds; not after `issued` when the user has logged out.
    pub expires: UnixMillis,
    /// When it was signed.
    pub issued: UnixMillis,
}

impl Record for Presence {
    const KIND: &'static str = "presence";
    const MAX_BYTES: usize = 512;

    fn signer(&self) -> &[u8; 32] {
        self.user.as_bytes()
    }

    fn check(&self) -> Result<(), RecordError> {
        if self.expires.since(self.issued) > MAX_PRESENCE {
            return Err(RecordError::Field { field: "presence", reason: "holds for too long" });
        }
        Ok(())
    }
}

impl Presence {
    /// Whether the user is there at `now`.
    #[must_use]
    pub fn is_online(&self, now: UnixMillis) -> bool {
        self.expires > self.issued && self.expires > now
    }

    /// Checks the dates against a clock.
    ///
    /// # Errors
    /// [`RecordError::Future`]; [`RecordError::Expired`] when it could no longer take back an
    /// older one, since that has expired as well.
    pub fn check_time(&self, now: UnixMillis) -> Result<(), RecordError> {
        not_ahead(self.issued, now)?;
        let over = self.expires.max(self.issued.plus(MAX_PRESENCE)) <= now;
        if over { Err(RecordError::Expired) } else { Ok(()) }
    }
}

/// That a key is no longer valid, and which one took its place. Final: the first valid one counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Succession {
    /// The key that is no longer valid.
    pub user: UserId,
    /// The one that took its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub successor: Option<UserId>,
    /// The successor's signature over both: nobody's contacts are moved to a key that does not
    /// want them. 64 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "consent")]
    pub consent: Option<[u8; 64]>,
    /// The recovery key, which signs; the old key's profile commits to it.
    #[serde(rename = "key")]
    pub recovery_key: ContentHash,
    /// When it was signed.
    pub issued: UnixMillis,
}

impl Record for Succession {
    const KIND: &'static str = "succession";
    const MAX_BYTES: usize = 512;

    fn signer(&self) -> &[u8; 32] {
        self.recovery_key.as_bytes()
    }

    fn check(&self) -> Result<(), RecordError> {
        let field = |reason| Err(RecordError::Field { field: "successor", reason });
        match (&self.successor, &self.consent) {
            (None, None) => Ok(()),
            (Some(successor), _) if *successor == self.user => field("is the old key"),
            (Some(successor), Some(consent)) => {
                let signature = Signature::from_bytes(consent);
                verify(successor.as_bytes(), &consented(&self.user, successor), &signature)
            }
            (Some(_), None) | (None, Some(_)) => field("needs its consent"),
        }
    }
}

impl Succession {
    /// The statement that moves `user` to the key `successor`.
    #[must_use]
    pub fn moved(
        user: UserId,
        successor: &SigningKey,
        recovery: &SigningKey,
        now: UnixMillis,
    ) -> Self {
        let to = UserId(successor.verifying_key().to_bytes());
        Self {
            successor: Some(to),
            consent: Some(successor.sign(&consented(&user, &to)).to_bytes()),
            ..Self::revoked(user, recovery, now)
        }
    }

    /// The statement that ends the key of `user`.
    #[must_use]
    pub fn revoked(user: UserId, recovery: &SigningKey, now: UnixMillis) -> Self {
        let recovery_key = ContentHash(recovery.verifying_key().to_bytes());
        Self { user, successor: None, consent: None, recovery_key, issued: now }
    }

    /// Checks the date against a clock.
    ///
    /// # Errors
    /// [`RecordError::Future`].
    pub fn check_time(&self, now: UnixMillis) -> Result<(), RecordError> {
        not_ahead(self.issued, now)
    }

    /// Checks that the recovery key is the one a profile of the user commits to.
    ///
    /// # Errors
    /// [`RecordError::Recovery`].
    pub fn check_commitment(&self, commitment: &ContentHash) -> Result<(), RecordError> {
        let same = recovery_commitment(self.recovery_key.as_bytes()) == *commitment;
        if same { Ok(()) } else { Err(RecordError::Recovery) }
    }
}

/// What a profile says of its recovery key: the BLAKE3 hash of the public key, 32 bytes.
#[must_use]
pub fn recovery_commitment(public_key: &[u8; 32]) -> ContentHash {
    ContentHash(blake3::derive_key("peerage 2026 identity recovery commitment", public_key))
}

/// Characters that move the cursor, colour the terminal or turn what follows round.
fn is_unprintable(c: char) -> bool {
    let turns = matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    turns || c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')
}

fn is_unprintable_text(c: char) -> bool {
    is_unprintable(c) && !matches!(c, '\n' | '\t')
}

fn consented(user: &UserId, successor: &UserId) -> Vec<u8> {
    [&b"peerage/identity/1/consent\0"[..], user.as_bytes(), successor.as_bytes()].concat()
}

fn not_ahead(at: UnixMillis, now: UnixMillis) -> Result<(), RecordError> {
    let ahead = at.since(now);
    if ahead > MAX_SKEW { Err(RecordError::Future { seconds: ahead.as_secs() }) } else { Ok(()) }
}

/// A byte string of 64 bytes, or nothing.
mod consent {
    use serde::{Deserialize, Deserializer, Serializer, de::Error as _};

    use crate::identity::bundle::Blob;

    #[expect(clippy::ref_option, reason = "the form that serde asks for")]
    pub(super) fn serialize<S: Serializer>(
        consent: &Option<[u8; 64]>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        match consent {
            Some(bytes) => to.serialize_bytes(bytes),
            None => to.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<[u8; 64]>, D::Error> {
        let Some(Blob(bytes)) = Option::<Blob>::deserialize(from)? else { return Ok(None) };
        let wrong = |_| D::Error::invalid_length(bytes.len(), &"64 bytes");
        bytes.as_ref().try_into().map(Some).map_err(wrong)
    }
}
