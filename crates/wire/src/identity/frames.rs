//! What two nodes say in a session, and what is gossiped.
//!
//! Both sides order users by id and cut them into [`BUCKETS`] by the first byte of the id: ids are
//! public keys, as evenly spread as their hash would be, and as easily chosen by who wants to.
//!
//! ```text
//! frame     length u32 big-endian, 1 to MAX_FRAME_BYTES; kind u8; body
//! 1 Root     root 32                                       initiator's first
//! 2 Same                                                   and that was the session
//! 3 Digests  256 × digest 16
//! 4 Page     flags u8 (1: after, 2: through, 4: full), buckets 32 (bit n of byte n / 8),
//!            [after 32], [through 32], entries × 52
//! 5 Diff     flags u8 (2: through), [through 32], places × u16 big-endian, rising
//! 6 Bundles  flags u8 (1: the last), then a batch
//! 7 Done
//! entry      user 32, seq u64 big-endian, profile 4, rest 8
//! batch      (length u16 big-endian, bundle)*
//!
//! initiator  Root         Page              Bundles* Page …      Bundles* Done
//! responder       Digests      Diff Bundles*              Diff …
//! ```

use bytes::Bytes;
use peerage_types::UserId;

use super::MAX_BUNDLE_BYTES;

/// Bytes before a frame: its length, `u32` big-endian.
pub const LENGTH_BYTES: usize = 4;
/// Longest frame after its length.
pub const MAX_FRAME_BYTES: usize = 64 * 1024;
/// Parts in which directories are compared: the first byte of the id.
pub const BUCKETS: usize = 256;
/// Length of the digest of a bucket in bytes.
pub const DIGEST_BYTES: usize = 16;
/// Length of an entry in bytes.
pub const ENTRY_BYTES: usize = 32 + 8 + 4 + 8;
/// Entries of one page: 1024 × 52 bytes = 52 KiB.
pub const MAX_ENTRIES: usize = 1024;
/// Bytes of a batch that fills one frame: 64 KiB without kind and flags.
pub const MAX_BATCH_BYTES: usize = MAX_FRAME_BYTES - 2;

const AFTER: u8 = 1;
const THROUGH: u8 = 2;
const FULL: u8 = 4;
const LAST: u8 = 1;

/// BLAKE3 over the digests of all buckets.
pub type Root = [u8; 32];
/// The first half of BLAKE3 over the entries of each bucket, in the order of the ids.
pub type Digests = [[u8; DIGEST_BYTES]; BUCKETS];

/// What a node has of a user, in a few bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Who.
    pub user: UserId,
    /// Of the profile; `u64::MAX` when the key was revoked, with nothing but zeros behind it.
    pub seq: u64,
    /// The beginning of the BLAKE3 hash of the profile.
    pub profile: [u8; 4],
    /// Stands for the presences; zeros when there are none.
    pub rest: [u8; 8],
}

impl Entry {
    /// As it travels, and as it goes into digests.
    #[must_use]
    pub fn encode(&self) -> [u8; ENTRY_BYTES] {
        let mut bytes = [0; ENTRY_BYTES];
        bytes[..32].copy_from_slice(self.user.as_bytes());
        bytes[32..40].copy_from_slice(&self.seq.to_be_bytes());
        bytes[40..44].copy_from_slice(&self.profile);
        bytes[44..].copy_from_slice(&self.rest);
        bytes
    }

    fn decode(bytes: &mut &[u8]) -> Option<Self> {
        let (user, seq) = (UserId(take(bytes)?), u64::from_be_bytes(take(bytes)?));
        Some(Self { user, seq, profile: take(bytes)?, rest: take(bytes)? })
    }
}

/// A set of buckets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Buckets([u8; BUCKETS / 8]);

impl Buckets {
    /// Those in which the two differ.
    #[must_use]
    pub fn differing(ours: &Digests, theirs: &Digests) -> Self {
        let mut set = Self::default();
        for bucket in (0..=u8::MAX).filter(|b| ours[usize::from(*b)] != theirs[usize::from(*b)]) {
            set.insert(bucket);
        }
        set
    }

    /// Adds one.
    pub fn insert(&mut self, bucket: u8) {
        self.0[usize::from(bucket / 8)] |= 1 << (bucket % 8);
    }

    /// Whether a bucket is among them.
    #[must_use]
    pub fn contains(&self, bucket: u8) -> bool {
        self.0[usize::from(bucket / 8)] & 1 << (bucket % 8) != 0
    }

    /// Them, rising.
    pub fn iter(&self) -> impl Iterator<Item = u8> + '_ {
        (0..=u8::MAX).filter(|bucket| self.contains(*bucket))
    }
}

/// What the initiator has of some buckets, from one id to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Users of other buckets are passed over.
    pub buckets: Buckets,
    /// It begins behind this one.
    pub after: Option<UserId>,
    /// It ends with this one; without, with the last of all.
    pub through: Option<UserId>,
    /// The initiator has no room: it wants nothing of users that it does not name.
    pub full: bool,
    /// What it has, in the order of the ids; up to [`MAX_ENTRIES`].
    pub entries: Vec<Entry>,
}

/// One frame of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// The initiator has this.
    Root(Root),
    /// So has the responder.
    Same,
    /// The responder has this.
    Digests(Box<Digests>),
    /// The initiator has this of a part.
    Page(Page),
    /// The responder has compared the part.
    Diff {
        /// Up to this one, as [`Page::through`]; never behind it.
        through: Option<UserId>,
        /// Places in [`Page::entries`] of what it wants, rising.
        wanted: Vec<u16>,
    },
    /// What the other side lacks; each is a [`Bundle`](super::Bundle) yet to be verified.
    Bundles {
        /// No more of them follow.
        last: bool,
        /// Up to [`MAX_BATCH_BYTES`] with their lengths.
        bundles: Vec<Bytes>,
    },
    /// The initiator ends the session.
    Done,
}

/// Bytes that are no frame or no batch.
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
        match self {
            Self::Root(root) => put(&mut bytes, 1, [&root[..]]),
            Self::Same => bytes.push(2),
            Self::Digests(digests) => put(&mut bytes, 3, digests.iter().map(|d| &d[..])),
            Self::Page(page) => page.encode(&mut bytes),
            Self::Diff { through, wanted } => {
                bytes.extend([5, flag(through.is_some(), THROUGH)]);
                bytes.extend(through.iter().flat_map(UserId::as_bytes));
                bytes.extend(wanted.iter().flat_map(|place| place.to_be_bytes()));
            }
            Self::Bundles { last, bundles } => {
                bytes.extend([6, flag(*last, LAST)]);
                bundles.iter().for_each(|bundle| push(&mut bytes, bundle));
            }
            Self::Done => bytes.push(7),
        }
        let len = bytes.len() - LENGTH_BYTES;
        assert!(len <= MAX_FRAME_BYTES, "a frame of {len} bytes");
        let len = u32::try_from(len).expect("at most 64 KiB");
        bytes[..LENGTH_BYTES].copy_from_slice(&len.to_be_bytes());
        bytes
    }

    /// Reads a frame without its length. Bundles are cut out and not yet verified.
    ///
    /// # Errors
    /// [`FrameError`]: reset the stream.
    pub fn decode(bytes: &Bytes) -> Result<Self, FrameError> {
        if bytes.len() > MAX_FRAME_BYTES {
            return Err(FrameError::Malformed);
        }
        let (kind, mut body) = bytes.split_first().ok_or(FrameError::Malformed)?;
        let body = &mut body;
        let frame = match kind {
            1 => take(body).map(Self::Root),
            2 => Some(Self::Same),
            3 => digests(body).map(Self::Digests),
            4 => Page::decode(body).map(Self::Page),
            5 => diff(body),
            6 => bundles(bytes, body),
            7 => Some(Self::Done),
            kind => return Err(FrameError::Kind(*kind)),
        };
        frame.filter(|_| body.is_empty()).ok_or(FrameError::Malformed)
    }
}

impl Page {
    fn encode(&self, bytes: &mut Vec<u8>) {
        let flags = flag(self.after.is_some(), AFTER)
            | flag(self.through.is_some(), THROUGH)
            | flag(self.full, FULL);
        bytes.extend([4, flags]);
        bytes.extend(self.buckets.0);
        bytes.extend(self.after.iter().chain(&self.through).flat_map(UserId::as_bytes));
        bytes.extend(self.entries.iter().flat_map(Entry::encode));
    }

    fn decode(body: &mut &[u8]) -> Option<Self> {
        let flags = flags(body, AFTER | THROUGH | FULL)?;
        let buckets = Buckets(take(body)?);
        let after = if flags & AFTER == 0 { None } else { Some(UserId(take(body)?)) };
        let through = if flags & THROUGH == 0 { None } else { Some(UserId(take(body)?)) };
        if body.len() > MAX_ENTRIES * ENTRY_BYTES {
            return None;
        }
        let mut entries = Vec::with_capacity(body.len() / ENTRY_BYTES);
        while !body.is_empty() {
            entries.push(Entry::decode(body)?);
        }
        let page = Self { buckets, after, through, full: flags & FULL != 0, entries };
        page.is_in_order().then_some(page)
    }

    /// Entries rise, from behind `after` to `through`, and are of its buckets.
    fn is_in_order(&self) -> bool {
        let first = self.entries.first().map(|entry| entry.user);
        let last = self.entries.last().map(|entry| entry.user);
        self.entries.is_sorted_by(|a, b| a.user < b.user)
            && self.entries.iter().all(|entry| self.buckets.contains(entry.user.0[0]))
            && (self.after.is_none() || first.or(self.through).is_none_or(|f| Some(f) > self.after))
            && self.through.is_none_or(|through| last.is_none_or(|last| last <= through))
    }
}

/// Adds a bundle to a batch.
///
/// # Panics
/// When the bundle is longer than [`MAX_BUNDLE_BYTES`]: a defect of this program.
pub fn push(batch: &mut Vec<u8>, bundle: &[u8]) {
    assert!(bundle.len() <= MAX_BUNDLE_BYTES, "a bundle of {} bytes", bundle.len());
    let len = u16::try_from(bundle.len()).expect("MAX_BUNDLE_BYTES is less than 64 KiB");
    batch.extend(len.to_be_bytes());
    batch.extend(bundle);
}

/// Cuts a batch into bundles, not yet verified; they share its memory.
///
/// # Errors
/// [`FrameError::Malformed`], also for an empty one.
pub fn split(batch: &Bytes) -> Result<Vec<Bytes>, FrameError> {
    let mut body = &batch[..];
    let bundles = pieces(batch, &mut body).filter(|bundles| !bundles.is_empty());
    bundles.ok_or(FrameError::Malformed)
}

fn pieces(of: &Bytes, body: &mut &[u8]) -> Option<Vec<Bytes>> {
    let mut bundles = Vec::new();
    while !body.is_empty() {
        let len = usize::from(u16::from_be_bytes(take(body)?));
        if len == 0 || len > MAX_BUNDLE_BYTES {
            return None;
        }
        let (bundle, rest) = body.split_at_checked(len)?;
        bundles.push(of.slice_ref(bundle));
        *body = rest;
    }
    Some(bundles)
}

fn bundles(frame: &Bytes, body: &mut &[u8]) -> Option<Frame> {
    let last = flags(body, LAST)? & LAST != 0;
    Some(Frame::Bundles { last, bundles: pieces(frame, body)? })
}

fn digests(body: &mut &[u8]) -> Option<Box<Digests>> {
    let mut digests = Box::new([[0; DIGEST_BYTES]; BUCKETS]);
    for digest in digests.iter_mut() {
        *digest = take(body)?;
    }
    Some(digests)
}

fn diff(body: &mut &[u8]) -> Option<Frame> {
    let flags = flags(body, THROUGH)?;
    let through = if flags & THROUGH == 0 { None } else { Some(UserId(take(body)?)) };
    let mut wanted = Vec::new();
    while !body.is_empty() && wanted.len() < MAX_ENTRIES {
        wanted.push(u16::from_be_bytes(take(body)?));
    }
    wanted.is_sorted_by(|a, b| a < b).then_some(Frame::Diff { through, wanted })
}

fn put<'a>(bytes: &mut Vec<u8>, kind: u8, parts: impl IntoIterator<Item = &'a [u8]>) {
    bytes.push(kind);
    parts.into_iter().for_each(|part| bytes.extend(part));
}

fn flag(is_set: bool, flag: u8) -> u8 {
    if is_set { flag } else { 0 }
}

/// A byte of flags, none of which is unknown: one form for each frame.
fn flags(body: &mut &[u8], known: u8) -> Option<u8> {
    let [flags] = take(body)?;
    (flags & !known == 0).then_some(flags)
}

fn take<const N: usize>(body: &mut &[u8]) -> Option<[u8; N]> {
    let (head, rest) = body.split_first_chunk()?;
    *body = rest;
    Some(*head)
}
