//! `/peerage/<network>/introductions/1`: nodes tell each other whom they have met.
//!
//! A [`Record`] is what a node says of itself: where it is and which namespaces it belongs to. It
//! exists here only as [`Signed`], which cannot be made without a valid signature of that node: who
//! passes one on can neither make it up nor change it. The signature names the network, so that a
//! record of one is none in another.
//!
//! ```text
//! frame      length u16, 1 to MAX_FRAME_BYTES; kind u8; body
//! 1 Ask      limit u8, 0 to 16; flags u8 (1: namespace); [namespace 20]; up to 2 records of the asker
//! 2 Answer   up to 16 records
//! records    (length u16, record)*
//! record     signature 64, Ed25519 (RFC 8032, strictly verified)
//!                          over "peerage/introductions/1/" + network + 0x00 + body
//!            body          key 32, seq u64 in ms since 1970, lifetime u16 in s, 1 to 3600,
//!                          count u8 up to 8, namespaces × 20, rising,
//!                          count u8 from 1 to 8, addresses × (length u8 up to 128, multiaddr)
//!
//! initiator  Ask
//! responder       Answer
//! ```
//!
//! Numbers are big-endian. A namespace is the SHA-1 hash of its name.

mod record;

pub use ed25519_dalek::SigningKey;
pub use record::{
    Infohash, MAX_ADDRESS_BYTES, MAX_ADDRESSES, MAX_LIFETIME, MAX_NAMESPACES, MAX_RECORD_BYTES,
    MAX_SKEW, Record, RecordError, Signed,
};

use bytes::Bytes;
use peerage_types::Network;

/// Bytes before a frame: its length, `u16` big-endian.
pub const LENGTH_BYTES: usize = 2;
/// Records of one answer.
pub const MAX_RECORDS: usize = 16;
/// Records of itself that a node tells: one for everybody, one for its local network.
pub const MAX_OWN: usize = 2;
/// Longest frame after its length: 16 records × 1,302 bytes and the kind = 20.3 KiB.
pub const MAX_FRAME_BYTES: usize = 1 + MAX_RECORDS * (2 + MAX_RECORD_BYTES);

const ASK: u8 = 1;
const ANSWER: u8 = 2;
const NAMESPACE: u8 = 1;

/// The protocol id.
#[must_use]
pub fn protocol(network: &Network) -> String {
    format!("/peerage/{network}/introductions/1")
}

/// One frame of a dialog. Its records are yet to be verified by [`Signed::decode`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// The initiator wants to be introduced.
    Ask {
        /// Records it wants at most, up to [`MAX_RECORDS`].
        limit: u8,
        /// Only peers of this namespace; without, any of the network.
        namespace: Option<Infohash>,
        /// What it says of itself; up to [`MAX_OWN`].
        own: Vec<Bytes>,
    },
    /// Whom the responder has met, itself included; up to [`MAX_RECORDS`].
    Answer(Vec<Bytes>),
}

/// Bytes that are no frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The announced length is 0 or above [`MAX_FRAME_BYTES`].
    #[error("a frame of {len} bytes; it must be 1 to {MAX_FRAME_BYTES}")]
    Length {
        /// What was announced.
        len: u16,
    },
    /// There is no such kind.
    #[error("there is no frame of the kind {0}")]
    Kind(u8),
    /// It is shorter or longer than its kind.
    #[error("the frame cannot be read")]
    Malformed,
}

/// The length that the first bytes of a frame announce.
///
/// # Errors
/// [`FrameError::Length`]: reset the stream.
pub fn length(head: [u8; LENGTH_BYTES]) -> Result<usize, FrameError> {
    let len = u16::from_be_bytes(head);
    match usize::from(len) {
        size @ 1..=MAX_FRAME_BYTES => Ok(size),
        _ => Err(FrameError::Length { len }),
    }
}

impl Frame {
    /// The frame as it is sent, with its length.
    ///
    /// # Panics
    /// When it breaks one of the bounds of this module: a defect of this program.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![0; LENGTH_BYTES];
        match self {
            Self::Ask { limit, namespace, own } => {
                assert!(usize::from(*limit) <= MAX_RECORDS && own.len() <= MAX_OWN);
                bytes.extend([ASK, *limit, if namespace.is_some() { NAMESPACE } else { 0 }]);
                bytes.extend(namespace.iter().flatten());
                own.iter().for_each(|record| push(&mut bytes, record));
            }
            Self::Answer(records) => {
                assert!(records.len() <= MAX_RECORDS, "an answer of {} records", records.len());
                bytes.push(ANSWER);
                records.iter().for_each(|record| push(&mut bytes, record));
            }
        }
        let len = u16::try_from(bytes.len() - LENGTH_BYTES).expect("at most MAX_FRAME_BYTES");
        bytes[..LENGTH_BYTES].copy_from_slice(&len.to_be_bytes());
        bytes
    }

    /// Reads a frame without its length.
    ///
    /// # Errors
    /// [`FrameError`]: reset the stream.
    pub fn decode(bytes: &Bytes) -> Result<Self, FrameError> {
        let (kind, mut body) = bytes.split_first().ok_or(FrameError::Malformed)?;
        let frame = match *kind {
            ASK => ask(bytes, &mut body),
            ANSWER => records(bytes, &mut body, MAX_RECORDS).map(Self::Answer),
            kind => return Err(FrameError::Kind(kind)),
        };
        frame.filter(|_| body.is_empty()).ok_or(FrameError::Malformed)
    }
}

fn ask(frame: &Bytes, body: &mut &[u8]) -> Option<Frame> {
    let [limit, flags] = take(body)?;
    if usize::from(limit) > MAX_RECORDS || flags & !NAMESPACE != 0 {
        return None;
    }
    let namespace = if flags & NAMESPACE == 0 { None } else { Some(take(body)?) };
    Some(Frame::Ask { limit, namespace, own: records(frame, body, MAX_OWN)? })
}

fn records(of: &Bytes, body: &mut &[u8], most: usize) -> Option<Vec<Bytes>> {
    let mut records = Vec::new();
    while !body.is_empty() {
        let len = usize::from(u16::from_be_bytes(take(body)?));
        if records.len() >= most || len == 0 || len > MAX_RECORD_BYTES {
            return None;
        }
        let (record, rest) = body.split_at_checked(len)?;
        records.push(of.slice_ref(record));
        *body = rest;
    }
    Some(records)
}

fn push(bytes: &mut Vec<u8>, record: &[u8]) {
    assert!(record.len() <= MAX_RECORD_BYTES, "a record of {} bytes", record.len());
    let len = u16::try_from(record.len()).expect("MAX_RECORD_BYTES is less than 64 KiB");
    bytes.extend(len.to_be_bytes());
    bytes.extend(record);
}

fn take<const N: usize>(body: &mut &[u8]) -> Option<[u8; N]> {
    let (head, rest) = body.split_first_chunk()?;
    *body = rest;
    Some(*head)
}
