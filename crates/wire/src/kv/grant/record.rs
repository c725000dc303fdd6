//! Signed statements, as they travel and are stored.

use std::{fmt, ops::Deref};

use bytes::Bytes;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use peerage_types::SpaceId;

use super::{Grant, GrantId, MAX_RECORD_BYTES, Revocation, SIGNATURE_BYTES};
use crate::kv::named;

const ID_KEY: [u8; 32] = named(b"peerage/kv/1/grant");
const SIGNED: &[u8] = b"peerage/kv/1/grant\0";

/// Something about grants that can be signed: a [`Grant`] or a [`Revocation`].
pub trait Statement: Sized + Clone + PartialEq + fmt::Debug {
    /// What its form begins with.
    const KIND: u8;

    /// The Ed25519 public key that must have signed it.
    fn issuer(&self) -> &[u8; 32];

    /// Checks what must hold whatever else is known.
    ///
    /// # Errors
    /// [`RecordError::Field`].
    fn check(&self) -> Result<(), RecordError>;

    /// Appends its form without the kind.
    fn put(&self, body: &mut Vec<u8>);

    /// Takes what [`Statement::put`] has written from the front; no other bytes give the same.
    fn take(body: &mut &[u8]) -> Option<Self>;
}

/// Why bytes are not a valid record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// It cannot be read, or has more than [`MAX_RECORD_BYTES`].
    #[error("a grant that cannot be read")]
    Malformed,
    /// A field breaks its bound.
    #[error("a grant whose {0} is out of range")]
    Field(&'static str),
    /// Not signed by whom it says.
    #[error("a grant with a wrong signature")]
    Signature,
}

/// A statement with a valid signature, and its bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Signed<T> {
    says: T,
    id: GrantId,
    bytes: Bytes,
}

impl<T: Statement> Signed<T> {
    /// Signs a statement.
    ///
    /// # Errors
    /// [`RecordError::Field`] when it breaks a bound; [`RecordError::Signature`] when `key` is not
    /// the issuer it names.
    pub fn sign(says: T, key: &SigningKey) -> Result<Self, RecordError> {
        says.check()?;
        if key.verifying_key().as_bytes() != says.issuer() {
            return Err(RecordError::Signature);
        }
        let mut bytes = body(&says);
        let signature = key.sign(&[SIGNED, &bytes].concat());
        let id = id(&bytes);
        bytes.extend_from_slice(&signature.to_bytes());
        Ok(Self { says, id, bytes: bytes.into() })
    }

    /// Puts a statement and its signature together again, and verifies it.
    pub(in crate::kv) fn join(says: T, signature: [u8; 64]) -> Result<Self, RecordError> {
        says.check()?;
        let mut bytes = body(&says);
        bytes.extend_from_slice(&signature);
        Self::verify(says, bytes.into())
    }

    /// What its id will be once it is signed.
    pub(in crate::kv) fn id_of(says: &T) -> GrantId {
        id(&body(says))
    }

    /// The signature is looked at last, so that it costs nothing to refuse what is malformed.
    fn decode(bytes: Bytes) -> Result<Self, RecordError> {
        let body = bytes.get(1..bytes.len().saturating_sub(SIGNATURE_BYTES));
        let mut body = body.ok_or(RecordError::Malformed)?;
        let says = T::take(&mut body).filter(|_| body.is_empty()).ok_or(RecordError::Malformed)?;
        says.check()?;
        Self::verify(says, bytes)
    }

    fn verify(says: T, bytes: Bytes) -> Result<Self, RecordError> {
        let (body, signature) = bytes.split_last_chunk().ok_or(RecordError::Malformed)?;
        let key = VerifyingKey::from_bytes(says.issuer()).map_err(|_| RecordError::Signature)?;
        key.verify_strict(&[SIGNED, body].concat(), &Signature::from_bytes(signature))
            .map_err(|_| RecordError::Signature)?;
        Ok(Self { says, id: id(body), bytes })
    }

    /// Names it; the signature does not count.
    #[must_use]
    pub fn id(&self) -> GrantId {
        self.id
    }

    /// As it travels and is stored.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    pub(in crate::kv) fn signature(&self) -> &[u8; 64] {
        self.bytes.last_chunk().expect("it was made with one")
    }
}

impl<T> Deref for Signed<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.says
    }
}

impl<T: fmt::Debug> fmt::Debug for Signed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Signed").field(&self.id).field(&self.says).finish()
    }
}

fn body<T: Statement>(says: &T) -> Vec<u8> {
    let mut body = vec![T::KIND];
    says.put(&mut body);
    body
}

fn id(body: &[u8]) -> GrantId {
    let hash = blake3::keyed_hash(&ID_KEY, body);
    GrantId(*hash.as_bytes().first_chunk().expect("32 bytes"))
}

/// A grant or a revocation, with a valid signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GrantRecord {
    /// Gives.
    Grant(Signed<Grant>),
    /// Takes back.
    Revocation(Signed<Revocation>),
}

impl GrantRecord {
    /// Reads a record and verifies its signature.
    ///
    /// # Errors
    /// [`RecordError`].
    pub fn decode(bytes: Bytes) -> Result<Self, RecordError> {
        if bytes.len() > MAX_RECORD_BYTES {
            return Err(RecordError::Malformed);
        }
        match bytes.first() {
            Some(&Grant::KIND) => Signed::decode(bytes).map(Self::Grant),
            Some(&Revocation::KIND) => Signed::decode(bytes).map(Self::Revocation),
            _ => Err(RecordError::Malformed),
        }
    }

    /// The id of what is in these bytes if they are a record, before anything is verified.
    #[must_use]
    pub fn claimed_id(bytes: &[u8]) -> Option<GrantId> {
        let (body, _) = bytes.split_last_chunk::<SIGNATURE_BYTES>()?;
        (bytes.len() <= MAX_RECORD_BYTES).then(|| id(body))
    }

    /// Where a store keeps these bytes if they are a record: of two in the same place the later one
    /// replaces the former. The kind and the id of the grant that they give or take back.
    #[must_use]
    pub fn place(bytes: &[u8]) -> Option<[u8; 17]> {
        let (&kind, mut body) = bytes.split_first()?;
        let grant = match kind {
            Grant::KIND => Self::claimed_id(bytes)?,
            Revocation::KIND => Revocation::take(&mut body)?.grant,
            _ => return None,
        };
        let mut place = [kind; 17];
        place[1..].copy_from_slice(&grant.0);
        Some(place)
    }

    /// Names it; the signature does not count.
    #[must_use]
    pub fn id(&self) -> GrantId {
        match self {
            Self::Grant(grant) => grant.id(),
            Self::Revocation(revocation) => revocation.id(),
        }
    }

    /// The space it is about.
    #[must_use]
    pub fn space(&self) -> SpaceId {
        match self {
            Self::Grant(grant) => grant.space,
            Self::Revocation(revocation) => revocation.space,
        }
    }

    /// As it travels and is stored.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        match self {
            Self::Grant(grant) => grant.bytes(),
            Self::Revocation(revocation) => revocation.bytes(),
        }
    }
}
