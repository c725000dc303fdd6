//! Signed statements.

use std::{fmt, marker::PhantomData};

use bytes::Bytes;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use serde::{Serialize, de::DeserializeOwned};

/// Length of a signature in bytes.
const SIGNATURE_BYTES: usize = 64;

/// Something that can be signed.
pub trait Record: Serialize + DeserializeOwned + Clone + PartialEq + fmt::Debug {
    /// Keeps signatures of one kind from counting as another's.
    const KIND: &'static str;
    /// Longest form in bytes, signature included.
    const MAX_BYTES: usize;

    /// The Ed25519 public key that must have signed it.
    fn signer(&self) -> &[u8; 32];

    /// Checks what must hold whatever the time is.
    ///
    /// # Errors
    /// [`RecordError`], never about the signature.
    fn check(&self) -> Result<(), RecordError>;
}

/// Why bytes are not a valid record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// More bytes than the kind may have.
    #[error("{bytes} bytes, where at most {max} are allowed")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// Cannot be read at all.
    #[error("it cannot be read")]
    Malformed,
    /// A field breaks its bound.
    #[error("{field} {reason}")]
    Field {
        /// Which one.
        field: &'static str,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Not signed by whom it says.
    #[error("the signature is not valid")]
    Signature,
    /// Dated so far ahead that one of the clocks must be wrong.
    #[error("it is dated {seconds} s in the future; check the clocks of both machines")]
    Future {
        /// By how much.
        seconds: u64,
    },
    /// Its time is over.
    #[error("it has expired")]
    Expired,
    /// A bundle of records of different users.
    #[error("it mixes records of different users")]
    Mixed,
    /// The recovery key is another than the user has committed to.
    #[error("it is not signed by the recovery key of the user")]
    Recovery,
    /// The key was revoked.
    #[error("the user's key is no longer valid")]
    Revoked,
    /// An older one than is known, or the same again.
    #[error("a newer one is known")]
    Stale,
}

/// A record with a valid signature, and its bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Signed<T> {
    record: T,
    bytes: Bytes,
}

impl<T: Record> Signed<T> {
    /// Signs a record.
    ///
    /// # Errors
    /// [`RecordError::TooLarge`] and [`RecordError::Field`] when the record breaks a bound;
    /// [`RecordError::Signature`] when `key` is not the signer it names.
    ///
    /// # Panics
    /// Never: records have a CBOR form.
    pub fn sign(record: T, key: &SigningKey) -> Result<Self, RecordError> {
        record.check()?;
        if key.verifying_key().as_bytes() != record.signer() {
            return Err(RecordError::Signature);
        }
        let body = cbor4ii::serde::to_vec(Vec::new(), &record).expect("records have a CBOR form");
        let mut bytes = key.sign(&signed::<T>(&body)).to_vec();
        bytes.extend_from_slice(&body);
        within(bytes.len(), T::MAX_BYTES)?;
        Ok(Self { record, bytes: bytes.into() })
    }

    /// Reads a record and verifies its signature.
    ///
    /// # Errors
    /// [`RecordError`]; the signature is looked at last, so that it costs nothing to refuse what
    /// is malformed.
    pub fn decode(bytes: Bytes) -> Result<Self, RecordError> {
        within(bytes.len(), T::MAX_BYTES)?;
        let (signature, body) =
            bytes.split_at_checked(SIGNATURE_BYTES).ok_or(RecordError::Malformed)?;
        let record: T = cbor4ii::serde::from_slice(body).map_err(|_| RecordError::Malformed)?;
        record.check()?;
        let signature = Signature::from_slice(signature).map_err(|_| RecordError::Signature)?;
        verify(record.signer(), &signed::<T>(body), &signature)?;
        Ok(Self { record, bytes })
    }

    /// What it says.
    #[must_use]
    pub fn record(&self) -> &T {
        &self.record
    }

    /// As it travels and is stored.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Its bytes, in memory of their own, and the knowledge that they were verified.
    #[must_use]
    pub fn keep(&self) -> Kept<T> {
        Kept { bytes: Bytes::copy_from_slice(&self.bytes), kind: PhantomData }
    }
}

/// The bytes of a record that was verified: a [`Signed`] that takes little memory.
#[derive(Clone, PartialEq, Eq)]
pub struct Kept<T> {
    bytes: Bytes,
    kind: PhantomData<fn() -> T>,
}

impl<T: Record> Kept<T> {
    /// The record again, without looking at the signature a second time.
    ///
    /// # Panics
    /// Never: it was read from these bytes before.
    #[must_use]
    pub fn open(&self) -> Signed<T> {
        let record = cbor4ii::serde::from_slice(&self.bytes[SIGNATURE_BYTES..]);
        let record = record.expect("a record was read from these bytes before");
        Signed { record, bytes: self.bytes.clone() }
    }

    /// As it travels and is stored.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }
}

impl<T: Record> fmt::Debug for Kept<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Kept").field(&T::KIND).field(&self.bytes.len()).finish()
    }
}

impl<T> std::ops::Deref for Signed<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.record
    }
}

impl<T: fmt::Debug> fmt::Debug for Signed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Signed").field(&self.record).finish()
    }
}

fn within(bytes: usize, max: usize) -> Result<(), RecordError> {
    if bytes > max { Err(RecordError::TooLarge { bytes, max }) } else { Ok(()) }
}

fn signed<T: Record>(body: &[u8]) -> Vec<u8> {
    [b"peerage/identity/1/", T::KIND.as_bytes(), &[0], body].concat()
}

pub(super) fn verify(
    key: &[u8; 32],
    message: &[u8],
    signature: &Signature,
) -> Result<(), RecordError> {
    let key = VerifyingKey::from_bytes(key).map_err(|_| RecordError::Signature)?;
    key.verify_strict(message, signature).map_err(|_| RecordError::Signature)
}
