//! A mutable item that the members of a namespace share.
//!
//! For every hour a namespace has [`SLOTS`] items, each under a key of its own that follows from the
//! namespace's name, so that who knows the name can read and write them, and who only sees the
//! infohash cannot. Value: a byte `1`, then up to [`MAX_RECORDS`] records, each after its length:
//!
//! | bytes | |
//! |---|---|
//! | 32 | Ed25519 key of the peer |
//! | 8 | when it signed, `u64` milliseconds of Unix time, big-endian |
//! | 1 | number of addresses, 1 to [`MAX_ADDRESSES`]; then each, after a byte with its length |
//! | 64 | Ed25519 signature of [`CONTEXT`], the item's key, and all of the above |
//!
//! The signature names the item and so the namespace and the hour: a record copied to another item
//! or kept for another hour does not verify.

use std::time::Duration;

use ed25519_dalek::{Signature, SigningKey, VerifyingKey};
use peerage_types::{Multiaddr, Namespace, PeerId, UnixMillis};

use super::{MAX_VALUE_BYTES, peer_of};

/// Items a namespace has at a time.
pub const SLOTS: u8 = 16;
/// Records in an item: 1 + 4 × (1 + 240) = 965 bytes, under [`MAX_VALUE_BYTES`].
pub const MAX_RECORDS: usize = 4;
/// Longest record: two relayed addresses of 53 bytes and two direct ones fit.
pub const MAX_RECORD_BYTES: usize = 240;
/// Addresses in a record.
pub const MAX_ADDRESSES: usize = 4;
/// How long an item's keys are used.
pub const HOUR: Duration = Duration::from_secs(3600);
/// How long before its hour an item is written: it is there when its hour begins.
pub const LEAD: Duration = Duration::from_secs(15 * 60);
/// By how much the clocks of two nodes may differ.
pub const MAX_SKEW: Duration = Duration::from_secs(10 * 60);
/// What a signature of a record begins with.
pub const CONTEXT: &[u8] = b"peerage mainline record 1";

const VERSION: u8 = 1;
const SEED_CONTEXT: &str = "peerage mainline slot 1";
const KEY_BYTES: usize = 32;
const SIGNATURE_BYTES: usize = 64;
const HEAD_BYTES: usize = KEY_BYTES + 8 + 1;

/// One of a namespace's items.
#[derive(Clone)]
pub struct Slot {
    hour: u64,
    key: SigningKey,
}

impl Slot {
    /// The item `number` (below [`SLOTS`]) of the `hour` (hours of Unix time).
    #[must_use]
    pub fn of(namespace: &Namespace, hour: u64, number: u8) -> Self {
        let mut material = hour.to_be_bytes().to_vec();
        material.push(number);
        material.extend_from_slice(namespace.as_str().as_bytes());
        let seed = blake3::derive_key(SEED_CONTEXT, &material);
        Self { hour, key: SigningKey::from_bytes(&seed) }
    }

    /// The hour that `now` is in.
    #[must_use]
    pub fn hour_at(now: UnixMillis) -> u64 {
        now.0 / hour_millis()
    }

    /// The public key under which the item is found.
    #[must_use]
    pub fn key(&self) -> [u8; KEY_BYTES] {
        self.key.verifying_key().to_bytes()
    }

    /// Signs the item itself, which everyone can who knows the namespace.
    #[must_use]
    pub fn sign_item(&self, seq: i64, value: &[u8]) -> [u8; SIGNATURE_BYTES] {
        use ed25519_dalek::Signer as _;
        self.key.sign(&super::signable(seq, value)).to_bytes()
    }

    /// Makes a record of a peer for this item. `sign` is given what the peer's key is to sign.
    ///
    /// Addresses that do not fit are left out, the last first; `None` if none fits.
    pub fn record(
        &self,
        key: &[u8; KEY_BYTES],
        addresses: &[Multiaddr],
        now: UnixMillis,
        sign: impl FnOnce(&[u8]) -> [u8; SIGNATURE_BYTES],
    ) -> Option<Record> {
        let mut bytes = key.to_vec();
        bytes.extend_from_slice(&now.0.to_be_bytes());
        bytes.push(0);
        let mut taken = Vec::new();
        for address in addresses.iter().take(MAX_ADDRESSES) {
            let part = address.to_vec();
            let Ok(len) = u8::try_from(part.len()) else { continue };
            if bytes.len() + 1 + part.len() + SIGNATURE_BYTES <= MAX_RECORD_BYTES {
                bytes.push(len);
                bytes.extend_from_slice(&part);
                taken.push(address.clone());
            }
        }
        bytes[HEAD_BYTES - 1] = u8::try_from(taken.len()).ok().filter(|count| *count > 0)?;
        let signature = sign(&self.signed(&bytes));
        bytes.extend_from_slice(&signature);
        Some(Record { peer: peer_of(key), signed_at: now, addresses: taken, bytes })
    }

    /// Reads a record and verifies that its peer made it for this item, not long ago.
    ///
    /// # Errors
    /// [`RecordError`]: ignore the record.
    pub fn open(&self, bytes: &[u8], now: UnixMillis) -> Result<Record, RecordError> {
        let shape = Shape::read(bytes)?;
        self.check_time(shape.signed_at, now)?;
        let key = VerifyingKey::from_bytes(shape.key).map_err(|_| RecordError::Signature)?;
        let signature = Signature::from_bytes(shape.signature);
        let signed = self.signed(&bytes[..bytes.len() - SIGNATURE_BYTES]);
        key.verify_strict(&signed, &signature).map_err(|_| RecordError::Signature)?;
        Ok(Record {
            peer: peer_of(shape.key),
            signed_at: shape.signed_at,
            addresses: shape.addresses,
            bytes: bytes.to_vec(),
        })
    }

    /// The records of an item that are genuine, one of each peer, the newest first.
    #[must_use]
    pub fn records(&self, value: &[u8], now: UnixMillis) -> Vec<Record> {
        let parts = split(value).unwrap_or_default();
        let opened = parts.into_iter().filter_map(|part| self.open(part, now).ok());
        let mut records: Vec<Record> = opened.collect();
        newest_of_each(&mut records);
        records
    }

    fn check_time(&self, signed_at: UnixMillis, now: UnixMillis) -> Result<(), RecordError> {
        let begins = UnixMillis(self.hour.saturating_mul(hour_millis()));
        let too_early = signed_at.plus(LEAD).plus(MAX_SKEW) < begins;
        let too_late = signed_at > begins.plus(HOUR).plus(MAX_SKEW);
        if too_early || too_late || signed_at > now.plus(MAX_SKEW) {
            return Err(RecordError::Time);
        }
        Ok(())
    }

    fn signed(&self, body: &[u8]) -> Vec<u8> {
        [CONTEXT, &self.key(), body].concat()
    }
}

impl std::fmt::Debug for Slot {
    // Whoever has the key can write the item.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Slot").field("hour", &self.hour).finish_non_exhaustive()
    }
}

/// A record that a peer signed, in the bytes in which it did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    peer: PeerId,
    signed_at: UnixMillis,
    addresses: Vec<Multiaddr>,
    bytes: Vec<u8>,
}

impl Record {
    /// Who signed.
    #[must_use]
    pub fn peer(&self) -> PeerId {
        self.peer
    }

    /// When, by the clock of the peer.
    #[must_use]
    pub fn signed_at(&self) -> UnixMillis {
        self.signed_at
    }

    /// Where it says it can be reached: 1 to [`MAX_ADDRESSES`].
    #[must_use]
    pub fn addresses(&self) -> &[Multiaddr] {
        &self.addresses
    }

    /// As it stands in the item.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// Why bytes are no record of an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Not the bytes of a record.
    #[error("the bytes are no record of a peer")]
    Shape,
    /// Not from the hour of the item.
    #[error("the record is not from the hour of its item")]
    Time,
    /// Not signed by the peer, or for another item.
    #[error("the record is not signed by its peer for this item")]
    Signature,
}

/// Leaves the newest record of each peer, the newest first.
pub fn newest_of_each(records: &mut Vec<Record>) {
    records.sort_by(|a, b| b.signed_at.cmp(&a.signed_at).then_with(|| a.bytes.cmp(&b.bytes)));
    let mut seen = Vec::with_capacity(records.len());
    records.retain(|record| {
        let new = !seen.contains(&record.peer);
        seen.push(record.peer);
        new
    });
}

/// The value of an item with these records; those beyond [`MAX_RECORDS`] are left out.
#[must_use]
pub fn join<'a>(records: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut value = vec![VERSION];
    for bytes in records.into_iter().take(MAX_RECORDS) {
        if let Ok(len) = u8::try_from(bytes.len()) {
            value.push(len);
            value.extend_from_slice(bytes);
        }
    }
    value
}

/// The records in an item, unverified; `None` if the value is not of this format.
#[must_use]
pub fn split(value: &[u8]) -> Option<Vec<&[u8]>> {
    let (version, mut rest) = value.split_first()?;
    if *version != VERSION || value.len() > MAX_VALUE_BYTES {
        return None;
    }
    let mut records = Vec::with_capacity(MAX_RECORDS);
    while !rest.is_empty() {
        let part = take_sized(&mut rest)?;
        if records.len() == MAX_RECORDS || part.len() > MAX_RECORD_BYTES {
            return None;
        }
        records.push(part);
    }
    Some(records)
}

/// The parts of a record before its signature is looked at.
#[derive(Debug)]
pub(crate) struct Shape<'a> {
    pub(crate) key: &'a [u8; KEY_BYTES],
    pub(crate) signed_at: UnixMillis,
    pub(crate) addresses: Vec<Multiaddr>,
    pub(crate) signature: &'a [u8; SIGNATURE_BYTES],
}

impl<'a> Shape<'a> {
    pub(crate) fn read(bytes: &'a [u8]) -> Result<Self, RecordError> {
        Self::parse(bytes).ok_or(RecordError::Shape)
    }

    fn parse(bytes: &'a [u8]) -> Option<Self> {
        if bytes.len() > MAX_RECORD_BYTES {
            return None;
        }
        let (body, signature) = bytes.split_last_chunk()?;
        let (key, rest) = body.split_first_chunk()?;
        let (signed_at, rest) = rest.split_first_chunk()?;
        let (count, mut rest) = rest.split_first()?;
        if !(1..=MAX_ADDRESSES).contains(&usize::from(*count)) {
            return None;
        }
        let addresses = (0..*count).map(|_| take_address(&mut rest)).collect::<Option<_>>()?;
        let signed_at = UnixMillis(u64::from_be_bytes(*signed_at));
        rest.is_empty().then_some(Self { key, signed_at, addresses, signature })
    }
}

/// An address whose bytes are the only ones it has.
fn take_address(rest: &mut &[u8]) -> Option<Multiaddr> {
    let bytes = take_sized(rest)?;
    let address = Multiaddr::try_from(bytes.to_vec()).ok()?;
    let again: Multiaddr = address.iter().collect();
    (!bytes.is_empty() && again.as_ref() == bytes).then_some(address)
}

fn take_sized<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (len, after) = rest.split_first()?;
    let (part, after) = after.split_at_checked(usize::from(*len))?;
    *rest = after;
    Some(part)
}

fn hour_millis() -> u64 {
    HOUR.as_secs() * 1000
}
