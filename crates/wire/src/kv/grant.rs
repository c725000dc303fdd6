//! Who may read and write in an owned space.
//!
//! A *grant* lets a key read or write entries whose keys begin with a prefix. The first is signed by
//! the key of the space, every further one by whom its parent was given to. A *revocation* takes a
//! grant back, and so all that were derived from it. Both exist only as [`Signed`], which cannot be
//! made without a valid signature.
//!
//! ```text
//! grant       1 u8, space 32, to kind u8 (1 node, 2 user, 3 invite), to 32, issuer 32,
//!             rights u8 (1 read, 2 read and write), given u64 in ms, expiry u64 in ms (0: never),
//!             parent 16 (zeros: none), nonce 8, prefix length u16, prefix
//! revocation  2 u8, space 32, grant 16, issuer 32, clock u64
//! record      one of them, and the issuer's Ed25519 signature 64 over "peerage/kv/1/grant", 0x00
//!             and it
//! id          the first 16 bytes of BLAKE3 keyed with "peerage/kv/1/grant" over it, without signature
//! ```
//!
//! Numbers are big-endian; the key of BLAKE3 is padded with zeros to 32 bytes.

mod record;

use std::fmt;

use ed25519_dalek::SigningKey;
use peerage_types::{Author, Hlc, KvKey, SpaceId, UnixMillis, UserId};
use zeroize::Zeroizing;

use super::{proof::expiry, take};

pub use record::{GrantRecord, RecordError, Signed, Statement};

/// Longest prefix in bytes: that of a key.
pub const MAX_PREFIX_BYTES: usize = KvKey::MAX_LEN;
/// Longest record in bytes: 1.2 KiB.
pub const MAX_RECORD_BYTES: usize = 1 + GRANT_BYTES + MAX_PREFIX_BYTES + SIGNATURE_BYTES;

/// A grant with an empty prefix.
const GRANT_BYTES: usize = 32 + 33 + 32 + 1 + 8 + 8 + 16 + 8 + 2;
pub(super) const SIGNATURE_BYTES: usize = 64;

const _: () = assert!(MAX_RECORD_BYTES <= 1434);

/// Names a record: the same wherever it is. As text 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GrantId(pub [u8; 16]);

impl GrantId {
    /// From its text; `None` when that is not 32 lower-case hexadecimal digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        let well_formed = text.len() == 32 && text.bytes().all(hex);
        let number = well_formed.then(|| u128::from_str_radix(text, 16).ok())?;
        number.map(|number| Self(number.to_be_bytes()))
    }
}

impl fmt::Display for GrantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for GrantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Whom a grant is given to. Equal keys of different kinds are different grantees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Grantee {
    /// A node, by its Ed25519 public key.
    Node([u8; 32]),
    /// A user.
    User(UserId),
    /// Whoever has the secret of this Ed25519 public key, which is in a ticket. It may only pass the
    /// grant on.
    Invite([u8; 32]),
}

impl Grantee {
    /// The key that signs what is derived from the grant.
    #[must_use]
    pub fn key(&self) -> &[u8; 32] {
        match self {
            Self::Node(key) | Self::User(UserId(key)) | Self::Invite(key) => key,
        }
    }

    /// Who may write under it; nobody for an invite.
    #[must_use]
    pub fn author(&self) -> Option<Author> {
        match self {
            Self::Node(key) => Some(Author::Node(*key)),
            Self::User(user) => Some(Author::User(*user)),
            Self::Invite(_) => None,
        }
    }

    pub(super) fn kind(&self) -> u8 {
        match self {
            Self::Node(_) => 1,
            Self::User(_) => 2,
            Self::Invite(_) => 3,
        }
    }

    pub(super) fn new(kind: u8, key: [u8; 32]) -> Option<Self> {
        Some(match kind {
            1 => Self::Node(key),
            2 => Self::User(UserId(key)),
            3 => Self::Invite(key),
            _ => return None,
        })
    }
}

impl From<Author> for Grantee {
    fn from(author: Author) -> Self {
        match author {
            Author::Node(key) => Self::Node(key),
            Author::User(user) => Self::User(user),
        }
    }
}

/// What a grantee may do. The greater one implies the lesser.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Rights {
    /// Read.
    Read = 1,
    /// Read and write.
    Write = 2,
}

impl Rights {
    pub(super) fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Read),
            2 => Some(Self::Write),
            _ => None,
        }
    }
}

/// That somebody may do something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Where.
    pub space: SpaceId,
    /// Who.
    pub to: Grantee,
    /// Who says so: the key of the space if there is no parent, else the parent's grantee.
    pub issuer: [u8; 32],
    /// What.
    pub rights: Rights,
    /// With which keys: those that begin with it; up to [`MAX_PREFIX_BYTES`].
    pub prefix: String,
    /// When it was given. Nothing is decided by it.
    pub at: UnixMillis,
    /// Until when, inclusive; never 0.
    pub expires: Option<UnixMillis>,
    /// The grant it was derived from; never zeros.
    pub parent: Option<GrantId>,
    /// Makes it another one than an equal one before, which may have been revoked.
    pub nonce: [u8; 8],
}

/// That a grant is valid no longer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revocation {
    /// Where.
    pub space: SpaceId,
    /// Which.
    pub grant: GrantId,
    /// Who says so: the key of the space, or the issuer of the grant or of one above it.
    pub issuer: [u8; 32],
    /// What was written later than this does not count.
    pub at: Hlc,
}

impl Statement for Grant {
    const KIND: u8 = 1;

    fn issuer(&self) -> &[u8; 32] {
        &self.issuer
    }

    fn check(&self) -> Result<(), RecordError> {
        let field = |fine: bool, name| if fine { Ok(()) } else { Err(RecordError::Field(name)) };
        field(self.prefix.len() <= MAX_PREFIX_BYTES && !self.prefix.contains('\0'), "prefix")?;
        field(self.expires != Some(UnixMillis(0)), "expiry")?;
        field(self.parent != Some(GrantId([0; 16])), "parent")?;
        field(self.parent.is_none() == (self.issuer == self.space.0), "issuer")
    }

    fn put(&self, body: &mut Vec<u8>) {
        body.extend_from_slice(&self.space.0);
        body.push(self.to.kind());
        body.extend_from_slice(self.to.key());
        body.extend_from_slice(&self.issuer);
        body.push(self.rights as u8);
        body.extend_from_slice(&self.at.0.to_be_bytes());
        body.extend_from_slice(&self.expires.map_or(0, |at| at.0).to_be_bytes());
        body.extend_from_slice(&self.parent.map_or([0; 16], |parent| parent.0));
        body.extend_from_slice(&self.nonce);
        // At most MAX_PREFIX_BYTES, or it is refused before it is signed.
        body.extend_from_slice(&(self.prefix.len() as u16).to_be_bytes());
        body.extend_from_slice(self.prefix.as_bytes());
    }

    fn take(body: &mut &[u8]) -> Option<Self> {
        let space = SpaceId(take(body)?);
        let [kind] = take(body)?;
        let to = Grantee::new(kind, take(body)?)?;
        let issuer = take(body)?;
        let rights = Rights::from_byte(take::<1>(body)?[0])?;
        let at = UnixMillis(u64::from_be_bytes(take(body)?));
        let expires = expiry(take(body)?);
        let parent = Some(GrantId(take(body)?)).filter(|parent| parent.0 != [0; 16]);
        let nonce = take(body)?;
        let prefix = take_text(body)?;
        Some(Self { space, to, issuer, rights, prefix, at, expires, parent, nonce })
    }
}

impl Statement for Revocation {
    const KIND: u8 = 2;

    fn issuer(&self) -> &[u8; 32] {
        &self.issuer
    }

    fn check(&self) -> Result<(), RecordError> {
        Ok(())
    }

    fn put(&self, body: &mut Vec<u8>) {
        body.extend_from_slice(&self.space.0);
        body.extend_from_slice(&self.grant.0);
        body.extend_from_slice(&self.issuer);
        body.extend_from_slice(&self.at.0.to_be_bytes());
    }

    fn take(body: &mut &[u8]) -> Option<Self> {
        let space = SpaceId(take(body)?);
        let grant = GrantId(take(body)?);
        let issuer = take(body)?;
        let at = Hlc(u64::from_be_bytes(take(body)?));
        Some(Self { space, grant, issuer, at })
    }
}

/// UTF-8 behind its length as a u16.
pub(super) fn take_text(body: &mut &[u8]) -> Option<String> {
    let len = u16::from_be_bytes(take(body)?);
    let (text, rest) = body.split_at_checked(len.into())?;
    *body = rest;
    std::str::from_utf8(text).ok().map(str::to_owned)
}

/// The key of the space that `owner` calls `name`; its public key is the [`SpaceId`]. Always the same
/// one, so that it need not be stored.
#[must_use]
pub fn space_key(owner: &SigningKey, name: &str) -> SigningKey {
    let material = Zeroizing::new([owner.as_bytes(), name.as_bytes()].concat());
    let seed = Zeroizing::new(blake3::derive_key("peerage/kv/1 space key", &material));
    SigningKey::from_bytes(&seed)
}
