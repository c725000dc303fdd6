//! The state file: what a sink receives, where to, and which pieces are there.
//!
//! ```text
//! magic     8 bytes  "peerpart"
//! version   u8       1
//! kind      u8       0 blob, 1 tree, 2 bundle
//! root      32 bytes
//! size      u64      bytes of the content
//! pieces    u32
//! folds     u8       1 if the destination takes names for one that differ by case or form only,
//!                    0 if not, 2 while that is not known
//! mode      u8       of a blob: 1 if it is to be executable, 0 if not, 2 if nothing is known
//! modified  i64, u32 seconds and nanoseconds, 0 if nothing is known
//! boot, staging, name, directory    strings: u16 length, bytes
//! check     32 bytes BLAKE3 of all before
//! zeros     up to byte 8192
//! bits      ⌈pieces / 8⌉ bytes, as of a Bitfield
//! moves     entry u32, name string: what is about to get its final name
//! ```
//!
//! Numbers are little-endian. Single bytes of the bits are written without a sync when a piece is
//! there: they survive the process, and `boot` tells whether the machine was started since.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io,
    os::unix::{
        ffi::{OsStrExt as _, OsStringExt as _},
        fs::FileExt as _,
    },
    path::{Path, PathBuf},
};

use peerage_types::ContentHash;
use peerage_wire::files::{FileMode, manifest::Modified};

use crate::{Bitfield, Plan, cache};

const MAGIC: &[u8; 8] = b"peerpart";
const VERSION: u8 = 1;
/// Where the bits start: behind the longest path of Linux and the longest names.
const BITS_AT: usize = 8192;
/// A state file above this is not one: 2²⁸ + 10⁶ pieces and moves.
const MAX_BYTES: u64 = 256 << 20;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) kind: Kind,
    pub(super) root: ContentHash,
    pub(super) size: u64,
    pub(super) pieces: u32,
    /// Whether the destination takes names for one that differ by case or form only; `None` for a
    /// blob, and until the directory of a tree is there.
    pub(super) folds: Option<bool>,
    /// Mode and time that a blob is to get.
    pub(super) file: Option<FileMode>,
    /// Empty where it cannot be told.
    pub(super) boot: String,
    /// The name in the directory while receiving.
    pub(super) staging: String,
    /// The name that the content is to get; unused for a bundle.
    pub(super) name: String,
    /// The destination, absolute.
    pub(super) dir: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Blob,
    Tree,
    Bundle,
}

impl Kind {
    pub(super) fn of(plan: &Plan) -> Self {
        match plan.manifest() {
            None => Self::Blob,
            Some(manifest) if manifest.name().is_some() => Self::Tree,
            Some(_) => Self::Bundle,
        }
    }
}

/// Something that got, or was about to get, its final name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Move {
    /// Its entry in a bundle, otherwise 0.
    pub(super) entry: u32,
    pub(super) name: String,
}

impl Move {
    /// Drops names that were noted but turned out to be taken.
    pub(super) fn keep_last(moves: &mut Vec<Self>) {
        // Stable, so that the last of each entry stays the last.
        moves.sort_by_key(|next| next.entry);
        moves.dedup_by(|later, earlier| {
            let same = later.entry == earlier.entry;
            if same {
                std::mem::swap(later, earlier);
            }
            same
        });
    }
}

/// What a state file says.
#[derive(Debug)]
pub(super) struct Saved {
    pub(super) header: Header,
    pub(super) bits: Bitfield,
    pub(super) moves: Vec<Move>,
}

/// An open state file.
#[derive(Debug)]
pub(super) struct State {
    file: File,
    path: PathBuf,
    /// Where the next move goes.
    end: u64,
}

impl State {
    /// Writes a new state file in place of any other.
    pub(super) fn create(path: &Path, saved: &Saved) -> io::Result<Self> {
        let (Some(dir), Some(name)) = (path.parent(), path.file_name().and_then(|n| n.to_str()))
        else {
            return Err(io::ErrorKind::InvalidFilename.into());
        };
        cache::create_private_dir(dir)?;
        let content = encode(saved).ok_or(io::ErrorKind::InvalidFilename)?;
        cache::write(dir, name, &content, false)?;
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        Ok(Self { file, path: path.to_owned(), end: content.len() as u64 })
    }

    /// Reads a state file; `None` when it is not there or damaged.
    pub(super) fn load(path: &Path) -> io::Result<Option<(Self, Saved)>> {
        let file = match OpenOptions::new().read(true).write(true).open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        if file.metadata()?.len() > MAX_BYTES {
            return Ok(None);
        }
        let content = fs::read(path)?;
        let Some((saved, end)) = decode(&content) else { return Ok(None) };
        Ok(Some((Self { file, path: path.to_owned(), end: end as u64 }, saved)))
    }

    /// Writes the byte that has the bit of a piece.
    pub(super) fn write_bit(&self, bits: &Bitfield, piece: u32) -> io::Result<()> {
        let at = piece as usize / 8;
        self.file.write_all_at(&bits.as_bytes()[at..=at], (BITS_AT + at) as u64)
    }

    /// Writes all bits.
    pub(super) fn write_bits(&self, bits: &Bitfield) -> io::Result<()> {
        self.file.write_all_at(bits.as_bytes(), BITS_AT as u64)
    }

    /// Notes that something is about to get its final name.
    pub(super) fn add_move(&mut self, next: &Move) -> io::Result<()> {
        let mut record = Vec::new();
        put_move(&mut record, next).ok_or(io::ErrorKind::InvalidFilename)?;
        self.file.write_all_at(&record, self.end)?;
        self.end += record.len() as u64;
        Ok(())
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the file and its name durable.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_all()?;
        self.path.parent().map_or(Ok(()), |dir| File::open(dir)?.sync_all())
    }
}

fn encode(saved: &Saved) -> Option<Vec<u8>> {
    let Header { kind, root, size, pieces, folds, file, boot, staging, name, dir } = &saved.header;
    let mut out = Vec::with_capacity(BITS_AT + saved.bits.as_bytes().len());
    out.extend_from_slice(MAGIC);
    let kind = match kind {
        Kind::Blob => 0,
        Kind::Tree => 1,
        Kind::Bundle => 2,
    };
    out.extend_from_slice(&[VERSION, kind]);
    out.extend_from_slice(root.as_bytes());
    out.extend_from_slice(&size.to_le_bytes());
    out.extend_from_slice(&pieces.to_le_bytes());
    out.push(put_flag(*folds));
    let Modified { secs, nanos } = file.map(|file| file.modified).unwrap_or_default();
    out.push(put_flag(file.map(|file| file.executable)));
    out.extend_from_slice(&secs.to_le_bytes());
    out.extend_from_slice(&nanos.to_le_bytes());
    for text in [boot.as_bytes(), staging.as_bytes(), name.as_bytes(), dir.as_os_str().as_bytes()] {
        put_text(&mut out, text)?;
    }
    let check = *blake3::hash(&out).as_bytes();
    out.extend_from_slice(&check);
    if out.len() > BITS_AT {
        return None;
    }
    out.resize(BITS_AT, 0);
    out.extend_from_slice(saved.bits.as_bytes());
    for next in &saved.moves {
        put_move(&mut out, next)?;
    }
    Some(out)
}

fn put_flag(flag: Option<bool>) -> u8 {
    flag.map_or(2, u8::from)
}

fn put_text(out: &mut Vec<u8>, text: &[u8]) -> Option<()> {
    out.extend_from_slice(&u16::try_from(text.len()).ok()?.to_le_bytes());
    out.extend_from_slice(text);
    Some(())
}

fn put_move(out: &mut Vec<u8>, next: &Move) -> Option<()> {
    out.extend_from_slice(&next.entry.to_le_bytes());
    put_text(out, next.name.as_bytes())
}

/// What the bytes say, and where the last complete move ends.
fn decode(content: &[u8]) -> Option<(Saved, usize)> {
    let mut fields = Fields { content, at: 0 };
    if fields.take(9)? != [&MAGIC[..], &[VERSION]].concat() {
        return None;
    }
    let kind = match fields.take(1)? {
        [0] => Kind::Blob,
        [1] => Kind::Tree,
        [2] => Kind::Bundle,
        _ => return None,
    };
    let root = ContentHash(fields.array()?);
    let size = u64::from_le_bytes(fields.array()?);
    let pieces = u32::from_le_bytes(fields.array()?);
    let (folds, executable) = (fields.flag()?, fields.flag()?);
    let secs = i64::from_le_bytes(fields.array()?);
    let modified = Modified { secs, nanos: u32::from_le_bytes(fields.array()?) };
    let file = executable.map(|executable| FileMode { executable, modified });
    let (boot, staging, name) = (fields.string()?, fields.string()?, fields.string()?);
    let dir = OsString::from_vec(fields.text()?.to_vec()).into();
    let checked = *blake3::hash(&content[..fields.at]).as_bytes();
    if fields.array()? != checked {
        return None;
    }
    let header = Header { kind, root, size, pieces, folds, file, boot, staging, name, dir };
    fields.at = BITS_AT;
    let bits = Bitfield::from_bytes(fields.take(pieces.div_ceil(8) as usize)?, pieces).ok()?;
    let (mut moves, mut end) = (Vec::new(), fields.at);
    while let Some(next) = fields.next_move() {
        moves.push(next);
        end = fields.at;
    }
    Move::keep_last(&mut moves);
    Some((Saved { header, bits, moves }, end))
}

struct Fields<'a> {
    content: &'a [u8],
    at: usize,
}

impl<'a> Fields<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let taken = self.content.get(self.at..self.at.checked_add(len)?)?;
        self.at += len;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    /// Yes, no, or not known.
    fn flag(&mut self) -> Option<Option<bool>> {
        match self.take(1)? {
            [0] => Some(Some(false)),
            [1] => Some(Some(true)),
            [2] => Some(None),
            _ => None,
        }
    }

    fn text(&mut self) -> Option<&'a [u8]> {
        let len = u16::from_le_bytes(self.array()?);
        self.take(len.into())
    }

    fn string(&mut self) -> Option<String> {
        String::from_utf8(self.text()?.to_vec()).ok()
    }

    fn next_move(&mut self) -> Option<Move> {
        let entry = u32::from_le_bytes(self.array()?);
        Some(Move { entry, name: self.string()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn saved() -> Saved {
        let header = Header {
            kind: Kind::Bundle,
            root: ContentHash([3; 32]),
            size: 1 << 40,
            pieces: 17,
            folds: Some(true),
            file: Some((true, -5, 999_999_999).into()),
            boot: "boot".into(),
            staging: "ä.part".into(),
            name: String::new(),
            dir: OsString::from_vec(b"/tmp/\xff".to_vec()).into(),
        };
        let mut bits = Bitfield::new(17);
        bits.set(16);
        let moves =
            vec![Move { entry: 0, name: "ä".into() }, Move { entry: 9, name: "b (1)".into() }];
        Saved { header, bits, moves }
    }

    #[test]
    fn what_is_written_is_read_and_damage_is_noticed() {
        let saved = saved();
        let bytes = encode(&saved).unwrap();
        let (read, end) = decode(&bytes).unwrap();
        assert_eq!((read.header, read.bits, read.moves), (saved.header, saved.bits, saved.moves));
        assert_eq!(end, bytes.len());
        // Header and check, then a spare bit.
        for at in (0..125).chain([BITS_AT + 2]) {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x80;
            assert!(decode(&damaged).is_none(), "byte {at}");
        }
        for len in 0..BITS_AT + 3 {
            assert!(decode(&bytes[..len]).is_none(), "{len} bytes");
        }
    }

    #[test]
    fn a_move_that_was_cut_off_is_forgotten() {
        let bytes = encode(&saved()).unwrap();
        let (read, end) = decode(&bytes[..bytes.len() - 1]).unwrap();
        assert_eq!(read.moves.len(), 1);
        assert_eq!(end, BITS_AT + 3 + 4 + 2 + 2);
    }
}
