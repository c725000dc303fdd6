//! What two nodes say in a session about one space.
//!
//! The sides speak in turns: one writes while the other reads, so that they cannot wait for each
//! other with full pipes. A turn is any number of frames up to `Turn` or `Done`. Ranges of hashed
//! keys are compared from the top down, each side opening in its turn what it found to differ.
//!
//! ```text
//! frame       length u32, 1 to MAX_FRAME_BYTES; kind u8; body
//!  1 Hello    space 32, facts                          initiator's first
//!  2 Same     epoch u64, as of u64, head u64           and that was the session
//!  3 Refused  reason u8                                and that was the session, but for `Grants`
//!                                                     behind it: revocations that are the reason
//!  4 Show                                              show your grants, and then a `Welcome` follows
//!  5 Welcome  facts                                    begins the responder's first turn
//!  6 Grants   (length u16, record)*
//!  7 Entries  see below
//!  8 Through  seq u64                                  the feed up to here has been sent
//!  9 Rows     (tag u8, prefix u16, mask u16, (count u32, sum 32) per bit of the mask)*
//! 10 Items    tag u8, prefix u16, (hash 16, fingerprint 32)*
//! 11 Want     (hash 16)*
//! 12 Gone     (hash 16)*
//! 13 Fetch    (hash 16, fingerprint 32)*
//! 14 Part     flags u8 (1: the last), bytes
//! 15 State    state                                    what is compared from now on
//! 16 Turn     flags u8 (1: cut)                        yours
//! 17 Done     state                                    ends the session
//!
//! facts       flags u8 (1: cursor, 2: state), floor u64, grants 8,
//!             [epoch u64, seq u64: how far the other side's feed was taken over], [state]
//! state       flags u8 (1: partial), epoch u64, as of u64, head u64, count u64, digest 16
//! tag         level in bits 0 to 2; Rows: bit 7: an answer; Items: bit 7: more of the node follow
//! mask        bit n: part n; in a row those that are not empty, in an answer those that differ
//!             from the row that it answers
//! ```
//!
//! `Entries` is a sequence of runs: either all entries of a signed group in their order, from which
//! the proofs follow, or one entry with its proof. The hash of a value that is there is left out.
//!
//! ```text
//! run         head u8 (bits 0 to 2: depth, bit 3: single, bit 4: author as before),
//!             [author kind u8, author 32], signature 64, [single: place u8, siblings 32 × depth],
//!             entries: one if single, otherwise 2 to the power of the depth
//! entry       head u8 (bits 0 to 4: kind, bit 5: expires, bit 6: with value), clock u64,
//!             [expiry u64 in ms], key length u16, key,
//!             [size u32, value | size u32, hash 32], none of these for a deletion
//! ```
//!
//! Numbers are big-endian, times in ms since 1970. Every frame has exactly one form.

mod compare;
mod entries;
mod opening;

pub use compare::{Item, Items, MAX_ITEMS, Node, Part, Row};
pub use entries::{Carried, MAX_ENTRIES_BYTES, Shown, decode_entries, encode_entries, pack};
pub use opening::{Cursor, Facts, Reason, State};

use bytes::Bytes;
use peerage_types::SpaceId;

use super::{Fingerprint, MAX_ENTRY_BYTES, MAX_INLINE_BYTES, MAX_PROOF_BYTES, take};

/// Bytes before a frame: its length, `u32` big-endian.
pub const LENGTH_BYTES: usize = 4;
/// Frames are filled up to this: 64 KiB.
pub const FRAME_TARGET: usize = 64 << 10;
/// Longest frame after its length: 64 KiB and one entry with the longest value that travels with it.
pub const MAX_FRAME_BYTES: usize = FRAME_TARGET + MAX_INLINE_BYTES + 4096;
/// Hashes in one `Want` or `Gone`: 2,048 × 16 bytes = 32 KiB.
pub const MAX_HASHES: usize = 2_048;
/// Values that one `Fetch` asks for: 1,024 × 48 bytes = 48 KiB.
pub const MAX_FETCHED: usize = 1_024;

const _: () = assert!(MAX_FRAME_BYTES > MAX_ENTRY_BYTES + MAX_PROOF_BYTES + MAX_INLINE_BYTES);

const LAST: u8 = 1;
const CUT: u8 = 1;

/// The first 16 bytes of the hash of a key.
pub type KeyHash = [u8; 16];

/// One frame of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// The initiator wants to compare a space.
    Hello {
        /// Which.
        space: SpaceId,
        /// What it has.
        facts: Facts,
    },
    /// Both have the same.
    Same {
        /// Names the responder's feed.
        epoch: u64,
        /// When the responder was last found equal with another, in ms; 0: never.
        as_of: u64,
        /// The last change in its feed.
        head: u64,
    },
    /// There will be no session.
    Refused(Reason),
    /// The initiator shall show its grants first.
    Show,
    /// The responder has this.
    Welcome(Facts),
    /// Grants and revocations, not yet verified.
    Grants(Vec<Bytes>),
    /// Entries, yet to be read by [`decode_entries`].
    Entries(Bytes),
    /// All of the feed up to this change has been sent.
    Through(u64),
    /// What the parts of nodes hold.
    Rows(Vec<Row>),
    /// What a node holds.
    Items(Items),
    /// Wants these entries.
    Want(Vec<KeyHash>),
    /// Had these entries, which were wanted, but they are deleted.
    Gone(Vec<KeyHash>),
    /// Wants the values of these entries, one after the other.
    Fetch(Vec<(KeyHash, Fingerprint)>),
    /// A part of the value that is due.
    Value {
        /// It is the last.
        last: bool,
        /// The bytes.
        bytes: Bytes,
    },
    /// The sender compares this from now on.
    State(State),
    /// The turn is the other side's.
    Turn {
        /// The sender has more, but this session has carried enough.
        cut: bool,
    },
    /// The session is over.
    Done(State),
}

/// Bytes that are no frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The announced length is 0 or above [`MAX_FRAME_BYTES`].
    #[error("a frame of {len} bytes; it must be 1 to {MAX_FRAME_BYTES}")]
    Length {
        /// What was announced.
        len: u32,
    },
    /// There is no such kind.
    #[error("there is no frame of the kind {0}")]
    Kind(u8),
    /// It is shorter or longer than its kind, or out of order.
    #[error("the frame cannot be read")]
    Malformed,
}

/// The length that the first bytes of a frame announce.
///
/// # Errors
/// [`FrameError::Length`]: reset the stream.
pub fn length(head: [u8; LENGTH_BYTES]) -> Result<usize, FrameError> {
    let len = u32::from_be_bytes(head);
    match usize::try_from(len) {
        Ok(size) if (1..=MAX_FRAME_BYTES).contains(&size) => Ok(size),
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
        self.put(&mut bytes);
        let len = bytes.len() - LENGTH_BYTES;
        assert!(len <= MAX_FRAME_BYTES, "a frame of {len} bytes");
        let len = u32::try_from(len).expect("less than 4 GiB");
        bytes[..LENGTH_BYTES].copy_from_slice(&len.to_be_bytes());
        bytes
    }

    fn put(&self, bytes: &mut Vec<u8>) {
        bytes.push(self.kind());
        match self {
            Self::Hello { space, facts } => {
                bytes.extend(space.0);
                facts.encode(bytes);
            }
            Self::Same { epoch, as_of, head } => {
                bytes.extend([epoch, as_of, head].into_iter().flat_map(|n| n.to_be_bytes()));
            }
            Self::Refused(reason) => bytes.push(*reason as u8),
            Self::Show => {}
            Self::Welcome(facts) => facts.encode(bytes),
            Self::Grants(grants) => grants.iter().for_each(|grant| put_grant(bytes, grant)),
            Self::Entries(entries) => bytes.extend_from_slice(entries),
            Self::Through(seq) => bytes.extend(seq.to_be_bytes()),
            Self::Rows(rows) => rows.iter().for_each(|row| row.encode(bytes)),
            Self::Items(items) => items.encode(bytes),
            Self::Want(hashes) | Self::Gone(hashes) => bytes.extend(hashes.iter().flatten()),
            Self::Fetch(values) => values.iter().for_each(|(hash, fingerprint)| {
                bytes.extend_from_slice(hash);
                bytes.extend_from_slice(fingerprint);
            }),
            Self::Value { last, bytes: part } => {
                bytes.push(u8::from(*last) * LAST);
                bytes.extend_from_slice(part);
            }
            Self::State(state) | Self::Done(state) => state.encode(bytes),
            Self::Turn { cut } => bytes.push(u8::from(*cut) * CUT),
        }
    }

    fn kind(&self) -> u8 {
        match self {
            Self::Hello { .. } => 1,
            Self::Same { .. } => 2,
            Self::Refused(_) => 3,
            Self::Show => 4,
            Self::Welcome(_) => 5,
            Self::Grants(_) => 6,
            Self::Entries(_) => 7,
            Self::Through(_) => 8,
            Self::Rows(_) => 9,
            Self::Items(_) => 10,
            Self::Want(_) => 11,
            Self::Gone(_) => 12,
            Self::Fetch(_) => 13,
            Self::Value { .. } => 14,
            Self::State(_) => 15,
            Self::Turn { .. } => 16,
            Self::Done(_) => 17,
        }
    }

    /// Reads a frame without its length. Grants are cut out and entries left as they are.
    ///
    /// # Errors
    /// [`FrameError`]: reset the stream.
    pub fn decode(bytes: &Bytes) -> Result<Self, FrameError> {
        if bytes.len() > MAX_FRAME_BYTES {
            return Err(FrameError::Malformed);
        }
        let (kind, mut body) = bytes.split_first().ok_or(FrameError::Malformed)?;
        if !(1..=17).contains(kind) {
            return Err(FrameError::Kind(*kind));
        }
        let frame = Self::read(*kind, bytes, &mut body);
        frame.filter(|_| body.is_empty()).ok_or(FrameError::Malformed)
    }

    fn read(kind: u8, of: &Bytes, body: &mut &[u8]) -> Option<Self> {
        Some(match kind {
            1 => Self::Hello { space: SpaceId(take(body)?), facts: Facts::decode(body)? },
            2 => Self::Same { epoch: number(body)?, as_of: number(body)?, head: number(body)? },
            3 => Self::Refused(Reason::from_byte(take::<1>(body)?[0])?),
            4 => Self::Show,
            5 => Self::Welcome(Facts::decode(body)?),
            6 => Self::Grants(grants(of, body)?),
            7 => Self::Entries(of.slice_ref(std::mem::take(body))),
            8 => Self::Through(number(body)?),
            9 => Self::Rows(list(body, Row::decode)?),
            10 => Self::Items(Items::decode(body)?),
            11 => Self::Want(some(list(body, take)?, MAX_HASHES)?),
            12 => Self::Gone(some(list(body, take)?, MAX_HASHES)?),
            13 => Self::Fetch(some(list(body, fetched)?, MAX_FETCHED)?),
            14 => value(of, body)?,
            15 => Self::State(State::decode(body)?),
            16 => Self::Turn { cut: flags(body, CUT)? == CUT },
            17 => Self::Done(State::decode(body)?),
            _ => return None,
        })
    }
}

fn fetched(body: &mut &[u8]) -> Option<(KeyHash, Fingerprint)> {
    Some((take(body)?, take(body)?))
}

fn value(of: &Bytes, body: &mut &[u8]) -> Option<Frame> {
    let last = flags(body, LAST)? == LAST;
    let bytes = of.slice_ref(std::mem::take(body));
    (1..=FRAME_TARGET).contains(&bytes.len()).then_some(Frame::Value { last, bytes })
}

fn put_grant(bytes: &mut Vec<u8>, grant: &Bytes) {
    let len = u16::try_from(grant.len()).expect("grants are shorter than 64 KiB");
    bytes.extend(len.to_be_bytes());
    bytes.extend_from_slice(grant);
}

fn grants(of: &Bytes, body: &mut &[u8]) -> Option<Vec<Bytes>> {
    list(body, |body| {
        let len = usize::from(u16::from_be_bytes(take(body)?));
        let (grant, rest) = body.split_at_checked(len).filter(|_| len > 0)?;
        *body = rest;
        Some(of.slice_ref(grant))
    })
}

fn list<T>(body: &mut &[u8], read: impl Fn(&mut &[u8]) -> Option<T>) -> Option<Vec<T>> {
    let mut list = Vec::new();
    while !body.is_empty() {
        list.push(read(body)?);
    }
    Some(list)
}

fn some<T>(list: Vec<T>, most: usize) -> Option<Vec<T>> {
    (1..=most).contains(&list.len()).then_some(list)
}

fn number(body: &mut &[u8]) -> Option<u64> {
    take(body).map(u64::from_be_bytes)
}

/// A byte of flags, none of which is unknown: one form for each frame.
fn flags(body: &mut &[u8], known: u8) -> Option<u8> {
    let [flags] = take(body)?;
    (flags & !known == 0).then_some(flags)
}
