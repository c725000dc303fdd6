//! Entries on their way.

use bytes::Bytes;
use peerage_types::{Author, Hlc, KvKey, SpaceId};

use super::{FRAME_TARGET, FrameError, MAX_FRAME_BYTES};
use crate::kv::{
    Claimed, Entry, Kind, MAX_DEPTH, MAX_INLINE_BYTES, Proof,
    entry::{put_author, take_author},
    proof::expiry,
    root, take,
};

/// Longest body of an `Entries` frame.
pub const MAX_ENTRIES_BYTES: usize = MAX_FRAME_BYTES - 1;

const DEPTH: u8 = 0b0_0111;
const SINGLE: u8 = 0b0_1000;
const SAME_AUTHOR: u8 = 0b1_0000;
const KIND: u8 = 0b001_1111;
const EXPIRES: u8 = 0b010_0000;
const VALUE: u8 = 0b100_0000;

/// An entry to be sent. It must have been verified.
#[derive(Debug, Clone, Copy)]
pub struct Shown<'a> {
    /// What it says.
    pub entry: &'a Entry,
    /// That it was signed.
    pub proof: &'a Proof,
    /// The value, if it travels along.
    pub value: Option<&'a Bytes>,
}

/// An entry that came, not yet verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Carried {
    /// What it says, and its proof.
    pub claimed: Claimed,
    /// The value, if it came along; then it is the one that the entry names.
    pub value: Option<Bytes>,
}

impl Carried {
    /// To be sent on.
    #[must_use]
    pub fn shown(&self) -> Shown<'_> {
        let Claimed { entry, proof } = &self.claimed;
        Shown { entry, proof, value: self.value.as_ref() }
    }
}

/// The body of one `Entries` frame, however long that becomes.
#[must_use]
pub fn encode_entries(entries: &[Shown<'_>]) -> Vec<u8> {
    let mut body = Vec::new();
    let (mut rest, mut last) = (entries, None);
    while let Some(first) = rest.first() {
        let run = rest.split_off(..run_len(rest)).expect("a run of what is there");
        put_run(&mut body, run, last);
        last = Some(&first.entry.author);
    }
    body
}

/// Packs entries into bodies of `Entries` frames of about 64 KiB, in their order.
#[must_use]
pub fn pack(entries: &[Shown<'_>]) -> Vec<Vec<u8>> {
    let mut packer = Packer::default();
    let mut rest = entries;
    while !rest.is_empty() {
        let run = rest.split_off(..run_len(rest)).expect("a run of what is there");
        if !packer.push(run) {
            // A group with large values: each with its own proof.
            run.iter().for_each(|shown| assert!(packer.push(&[*shown]), "an entry fits a frame"));
        }
    }
    packer.finish()
}

#[derive(Default)]
struct Packer<'a> {
    bodies: Vec<Vec<u8>>,
    body: Vec<u8>,
    last: Option<&'a Author>,
}

impl<'a> Packer<'a> {
    /// Adds a run, unless it does not even fit a frame of its own.
    fn push(&mut self, run: &[Shown<'a>]) -> bool {
        let before = self.body.len();
        put_run(&mut self.body, run, self.last);
        if before > 0 && self.body.len() > FRAME_TARGET {
            self.body.truncate(before);
            self.bodies.push(std::mem::take(&mut self.body));
            put_run(&mut self.body, run, None);
        }
        if self.body.len() > MAX_ENTRIES_BYTES {
            self.body.clear();
            self.last = None;
            return false;
        }
        self.last = run.last().map(|shown| &shown.entry.author);
        true
    }

    fn finish(mut self) -> Vec<Vec<u8>> {
        if !self.body.is_empty() {
            self.bodies.push(self.body);
        }
        self.bodies
    }
}

/// How many entries from the front go together: a whole group, or one.
fn run_len(entries: &[Shown<'_>]) -> usize {
    let len = 1 << entries[0].proof.depth();
    let is_whole = entries.get(..len).is_some_and(|run| is_group(run.iter().copied()));
    if is_whole { len } else { 1 }
}

/// Whether these are all entries of one group, in their order.
fn is_group<'a>(run: impl IntoIterator<Item = Shown<'a>>) -> bool {
    let mut first = None;
    run.into_iter().enumerate().all(|(place, shown)| {
        let group = (&shown.proof.signature, shown.proof.depth(), &shown.entry.author);
        *first.get_or_insert(group) == group && usize::from(shown.proof.place) == place
    })
}

fn put_run(body: &mut Vec<u8>, run: &[Shown<'_>], last: Option<&Author>) {
    let Shown { entry: Entry { author, .. }, proof, .. } = run[0];
    let depth = proof.depth();
    let is_single = run.len() < 1 << depth;
    let is_same = last == Some(author);
    body.push(depth | (u8::from(is_single) * SINGLE) | (u8::from(is_same) * SAME_AUTHOR));
    if !is_same {
        put_author(body, author);
    }
    body.extend_from_slice(&proof.signature);
    if is_single {
        body.push(proof.place);
        proof.siblings.iter().for_each(|sibling| body.extend_from_slice(sibling));
    }
    run.iter().for_each(|shown| put_entry(body, shown));
}

fn put_entry(body: &mut Vec<u8>, shown: &Shown<'_>) {
    let Entry { key, hlc, kind, size, hash, expires, .. } = shown.entry;
    let value = shown.value.filter(|_| kind.has_value());
    let flags = (u8::from(expires.is_some()) * EXPIRES) | (u8::from(value.is_some()) * VALUE);
    body.push(*kind as u8 | flags);
    body.extend_from_slice(&hlc.0.to_be_bytes());
    expires.iter().for_each(|at| body.extend_from_slice(&at.0.to_be_bytes()));
    // At most MAX_KEY_BYTES.
    body.extend_from_slice(&(key.as_str().len() as u16).to_be_bytes());
    body.extend_from_slice(key.as_str().as_bytes());
    if kind.has_value() {
        body.extend_from_slice(&size.to_be_bytes());
        body.extend_from_slice(value.map_or(&hash[..], |value| &value[..]));
    }
}

/// Reads the body of an `Entries` frame. Signatures are not verified; values that came along are
/// hashed, so they are what their entries name.
///
/// # Errors
/// [`FrameError::Malformed`]: reset the stream.
pub fn decode_entries(body: &Bytes, space: SpaceId) -> Result<Vec<Carried>, FrameError> {
    let mut rest = &body[..];
    let mut entries = Vec::new();
    while !rest.is_empty() {
        take_run(body, &mut rest, space, &mut entries).ok_or(FrameError::Malformed)?;
    }
    Some(entries).filter(|entries| !entries.is_empty()).ok_or(FrameError::Malformed)
}

fn take_run(
    of: &Bytes,
    rest: &mut &[u8],
    space: SpaceId,
    entries: &mut Vec<Carried>,
) -> Option<()> {
    let [head] = take(rest)?;
    let (depth, is_single) = (head & DEPTH, head & SINGLE != 0);
    if head & !(DEPTH | SINGLE | SAME_AUTHOR) != 0 || depth > MAX_DEPTH || is_single && depth == 0 {
        return None;
    }
    let last = entries.last().map(|last| last.claimed.entry.author);
    let author = if head & SAME_AUTHOR != 0 {
        last?
    } else {
        take_author(rest).filter(|author| Some(*author) != last)?
    };
    let signature = take(rest)?;
    if is_single {
        let [place] = take(rest).filter(|[place]| *place < 1 << depth)?;
        let siblings = (0..depth).map(|_| take(rest)).collect::<Option<_>>()?;
        let (entry, value) = take_entry(of, rest, space, author)?;
        let claimed = Claimed { entry, proof: Proof { signature, place, siblings } };
        entries.push(Carried { claimed, value });
        return (!ends_group(entries)).then_some(());
    }
    let group = (0..1 << depth).map(|_| take_entry(of, rest, space, author));
    let group: Vec<_> = group.collect::<Option<_>>()?;
    let leaves: Vec<_> = group.iter().map(|(entry, _)| entry.fingerprint()).collect();
    for ((place, siblings), (entry, value)) in (0..).zip(root(&leaves).1).zip(group) {
        let claimed = Claimed { entry, proof: Proof { signature, place, siblings } };
        entries.push(Carried { claimed, value });
    }
    Some(())
}

/// Whether single entries at the end make up a group, which has a shorter form.
fn ends_group(entries: &[Carried]) -> bool {
    let len = entries.last().map_or(1, |last| 1 << last.claimed.proof.depth());
    let run = entries.len().checked_sub(len).map(|from| &entries[from..]);
    run.is_some_and(|run| is_group(run.iter().map(Carried::shown)))
}

fn take_entry(
    of: &Bytes,
    rest: &mut &[u8],
    space: SpaceId,
    author: Author,
) -> Option<(Entry, Option<Bytes>)> {
    let [head] = take(rest)?;
    let kind = Kind::from_byte(head & KIND)?;
    let hlc = Hlc(u64::from_be_bytes(take(rest)?));
    let expires = if head & EXPIRES == 0 { None } else { Some(expiry(take(rest)?)?) };
    let key = usize::from(u16::from_be_bytes(take(rest)?));
    let key = std::str::from_utf8(rest.split_off(..key)?).ok()?;
    let key = KvKey::new(key).ok()?;
    let (mut size, mut hash, mut value) = (0, [0; 32], None);
    if kind.has_value() {
        size = u32::from_be_bytes(take(rest)?);
    }
    if head & VALUE != 0 {
        let len = Some(size as usize).filter(|len| *len <= MAX_INLINE_BYTES)?;
        let bytes = rest.split_off(..len).filter(|_| kind.has_value())?;
        hash = *blake3::hash(bytes).as_bytes();
        value = Some(of.slice_ref(bytes));
    } else if kind.has_value() {
        hash = take(rest)?;
    }
    let is_known = head & !(KIND | EXPIRES | VALUE) == 0;
    let entry = Entry { space, key, hlc, author, kind, size, hash, expires };
    is_known.then_some((entry, value))
}
