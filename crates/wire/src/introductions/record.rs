//! What a node says of itself, signed.

use std::{fmt, time::Duration};

use bytes::Bytes;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use peerage_types::{Author, Multiaddr, Network, PeerId, UnixMillis};

use super::take;

/// SHA-1 of the name of a namespace.
pub type Infohash = [u8; 20];

/// Addresses of one record.
pub const MAX_ADDRESSES: usize = 8;
/// Longest address in bytes.
pub const MAX_ADDRESS_BYTES: usize = 128;
/// Namespaces of one record.
pub const MAX_NAMESPACES: usize = 8;
/// How long a record may be valid.
pub const MAX_LIFETIME: Duration = Duration::from_secs(60 * 60);
/// How far a clock may be ahead before its records are refused.
pub const MAX_SKEW: Duration = Duration::from_secs(10 * 60);
/// Longest record: 8 namespaces × 20 bytes, 8 addresses × 129 bytes and 108 bytes = 1,300.
pub const MAX_RECORD_BYTES: usize =
    HEAD_BYTES + 2 + MAX_NAMESPACES * 20 + MAX_ADDRESSES * (1 + MAX_ADDRESS_BYTES);

const SIGNATURE_BYTES: usize = 64;
/// Signature, key, number and lifetime.
const HEAD_BYTES: usize = SIGNATURE_BYTES + 32 + 8 + 2;

/// What a node says of itself. The newest valid one counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Who; its key signs. Ed25519, as that of every Peerage node is.
    pub peer: PeerId,
    /// When it was signed; rises with each record.
    pub seq: UnixMillis,
    /// For how long it counts from then: whole seconds, up to [`MAX_LIFETIME`].
    pub lifetime: Duration,
    /// Where it belongs: rising, up to [`MAX_NAMESPACES`].
    pub namespaces: Vec<Infohash>,
    /// Where it is, without `/p2p/ID` of its own at the end: 1 to [`MAX_ADDRESSES`], each up to
    /// [`MAX_ADDRESS_BYTES`].
    pub addresses: Vec<Multiaddr>,
}

/// Why bytes are not a valid record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
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
    /// Not signed by whom it says, or for another network.
    #[error("the signature is not valid for this network")]
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
}

impl Record {
    /// Until when it counts.
    #[must_use]
    pub fn expires(&self) -> UnixMillis {
        self.seq.plus(self.lifetime)
    }

    /// Whether it counts now.
    ///
    /// # Errors
    /// [`RecordError::Future`] and [`RecordError::Expired`].
    pub fn check_time(&self, now: UnixMillis) -> Result<(), RecordError> {
        let ahead = self.seq.since(now);
        if ahead > MAX_SKEW {
            return Err(RecordError::Future { seconds: ahead.as_secs() });
        }
        if self.expires() <= now { Err(RecordError::Expired) } else { Ok(()) }
    }

    fn check(&self) -> Result<(), RecordError> {
        let field = |field, reason| Err(RecordError::Field { field, reason });
        let whole = self.lifetime.subsec_nanos() == 0 && !self.lifetime.is_zero();
        if !whole || self.lifetime > MAX_LIFETIME {
            return field("the lifetime", "is not 1 to 3600 whole seconds");
        }
        if self.namespaces.len() > MAX_NAMESPACES {
            return field("the list of namespaces", "is longer than 8");
        }
        if !self.namespaces.is_sorted_by(|a, b| a < b) {
            return field("the list of namespaces", "does not rise");
        }
        if !(1..=MAX_ADDRESSES).contains(&self.addresses.len()) {
            return field("the list of addresses", "does not have 1 to 8");
        }
        if self.addresses.iter().any(|a| !(1..=MAX_ADDRESS_BYTES).contains(&a.len())) {
            return field("an address", "does not have 1 to 128 bytes");
        }
        Ok(())
    }

    fn encode(&self, key: &[u8; 32]) -> Vec<u8> {
        let count = |len: usize| u8::try_from(len).expect("checked: no more than 128");
        let seconds = u16::try_from(self.lifetime.as_secs()).expect("checked: no more than 3600");
        let mut body = key.to_vec();
        body.extend(self.seq.0.to_be_bytes());
        body.extend(seconds.to_be_bytes());
        body.push(count(self.namespaces.len()));
        body.extend(self.namespaces.iter().flatten());
        body.push(count(self.addresses.len()));
        for address in &self.addresses {
            body.push(count(address.len()));
            body.extend(address.as_ref());
        }
        body
    }

    fn decode(mut body: &[u8]) -> Option<([u8; 32], Self)> {
        let key = take(&mut body)?;
        let peer = Author::Node(key).peer()?;
        let seq = UnixMillis(u64::from_be_bytes(take(&mut body)?));
        let lifetime = Duration::from_secs(u16::from_be_bytes(take(&mut body)?).into());
        let namespaces = many(&mut body, MAX_NAMESPACES, take)?;
        let addresses = many(&mut body, MAX_ADDRESSES, address)?;
        let record = Self { peer, seq, lifetime, namespaces, addresses };
        body.is_empty().then_some((key, record))
    }
}

fn many<T>(body: &mut &[u8], most: usize, one: fn(&mut &[u8]) -> Option<T>) -> Option<Vec<T>> {
    let [count] = take(body)?;
    let count = usize::from(count);
    if count > most {
        return None;
    }
    std::iter::repeat_with(|| one(body)).take(count).collect()
}

fn address(body: &mut &[u8]) -> Option<Multiaddr> {
    let [len] = take(body)?;
    let (address, rest) = body.split_at_checked(len.into())?;
    *body = rest;
    Multiaddr::try_from(address.to_vec()).ok()
}

/// A record with a valid signature, and its bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Signed {
    record: Record,
    bytes: Bytes,
}

impl Signed {
    /// Signs a record for a network.
    ///
    /// # Errors
    /// [`RecordError::Field`] when it breaks a bound; [`RecordError::Signature`] when `key` is not
    /// that of the peer it names.
    pub fn sign(record: Record, key: &SigningKey, network: &Network) -> Result<Self, RecordError> {
        record.check()?;
        let public = key.verifying_key().to_bytes();
        if Author::Node(public).peer() != Some(record.peer) {
            return Err(RecordError::Signature);
        }
        let body = record.encode(&public);
        let mut bytes = key.sign(&signed(network, &body)).to_vec();
        bytes.extend(body);
        Ok(Self { record, bytes: bytes.into() })
    }

    /// Reads a record of a network and verifies its signature; takes about 50 µs.
    ///
    /// # Errors
    /// [`RecordError`]; the signature is looked at last, so that it costs nothing to refuse what
    /// is malformed.
    pub fn decode(bytes: &[u8], network: &Network) -> Result<Self, RecordError> {
        let (signature, body) =
            bytes.split_first_chunk::<SIGNATURE_BYTES>().ok_or(RecordError::Malformed)?;
        let (key, record) = Record::decode(body).ok_or(RecordError::Malformed)?;
        record.check()?;
        let key = VerifyingKey::from_bytes(&key).map_err(|_| RecordError::Signature)?;
        let signature = Signature::from_bytes(signature);
        let verified = key.verify_strict(&signed(network, body), &signature);
        verified.map_err(|_| RecordError::Signature)?;
        // In memory of its own: it may outlive the frame it came in by an hour.
        Ok(Self { record, bytes: Bytes::copy_from_slice(bytes) })
    }

    /// As it travels.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }
}

impl std::ops::Deref for Signed {
    type Target = Record;

    fn deref(&self) -> &Record {
        &self.record
    }
}

impl fmt::Debug for Signed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Signed").field(&self.record).finish()
    }
}

fn signed(network: &Network, body: &[u8]) -> Vec<u8> {
    [b"peerage/introductions/1/", network.as_str().as_bytes(), &[0], body].concat()
}
