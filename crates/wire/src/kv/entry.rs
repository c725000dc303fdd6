//! What was written.

use peerage_types::{Author, Hlc, KvKey, Revision, SpaceId, UnixMillis, UserId};

use super::{named, take};

/// Longest key in bytes.
pub const MAX_KEY_BYTES: usize = KvKey::MAX_LEN;
/// Longest form of an entry in bytes, without proof and value.
pub const MAX_ENTRY_BYTES: usize = FIXED_BYTES + 2 + MAX_KEY_BYTES;

const FIXED_BYTES: usize = 32 + 1 + 32 + 8 + 1 + 4 + 32 + 8;
const FINGERPRINT_KEY: [u8; 32] = named(b"peerage/kv/1/entry");

/// Names what an entry says.
pub type Fingerprint = [u8; 32];

/// What was done to a key, and the type of the value if there is one. Numbers never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// Set to UTF-8 text.
    String = 1,
    /// Set to an `i64`, 8 bytes big-endian.
    Int = 2,
    /// Set to a finite `f64`, 8 bytes big-endian.
    Float = 3,
    /// Set to bytes.
    Bytes = 4,
    /// Set to a JSON document.
    Json = 5,
    /// Deleted.
    Delete = 16,
    /// Deleted, and whoever has former versions shall forget them.
    Purge = 17,
}

impl Kind {
    /// From its number.
    #[must_use]
    pub fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::String,
            2 => Self::Int,
            3 => Self::Float,
            4 => Self::Bytes,
            5 => Self::Json,
            16 => Self::Delete,
            17 => Self::Purge,
            _ => return None,
        })
    }

    /// Whether there is a value.
    #[must_use]
    pub fn has_value(self) -> bool {
        (self as u8) < 16
    }
}

/// What was written to a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Where.
    pub space: SpaceId,
    /// To which key.
    pub key: KvKey,
    /// When.
    pub hlc: Hlc,
    /// By whom.
    pub author: Author,
    /// What.
    pub kind: Kind,
    /// Bytes of the value.
    pub size: u32,
    /// BLAKE3 of the value; zeros where there is none.
    pub hash: [u8; 32],
    /// When it shall read as deleted.
    pub expires: Option<UnixMillis>,
}

impl Entry {
    /// What is hashed.
    #[must_use]
    pub fn canonical(&self) -> Vec<u8> {
        let key = self.key.as_str().as_bytes();
        let mut bytes = Vec::with_capacity(FIXED_BYTES + 2 + key.len());
        bytes.extend_from_slice(&self.space.0);
        put_author(&mut bytes, &self.author);
        bytes.extend_from_slice(&self.hlc.0.to_be_bytes());
        bytes.push(self.kind as u8);
        bytes.extend_from_slice(&self.size.to_be_bytes());
        bytes.extend_from_slice(&self.hash);
        bytes.extend_from_slice(&self.expires.map_or(0, |at| at.0).to_be_bytes());
        // At most MAX_KEY_BYTES.
        bytes.extend_from_slice(&(key.len() as u16).to_be_bytes());
        bytes.extend_from_slice(key);
        bytes
    }

    /// Names it.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        *blake3::keyed_hash(&FINGERPRINT_KEY, &self.canonical()).as_bytes()
    }

    /// The name of this version for people.
    #[must_use]
    pub fn revision(&self, fingerprint: &Fingerprint) -> Revision {
        revision(self.hlc, fingerprint)
    }

    /// Where it stands among the versions of its key: the greatest wins, everywhere.
    #[must_use]
    pub fn rank(&self, fingerprint: &Fingerprint) -> (Hlc, [u8; 32], Fingerprint) {
        (self.hlc, *self.author.key(), *fingerprint)
    }
}

pub(super) fn revision(hlc: Hlc, fingerprint: &Fingerprint) -> Revision {
    let mark = *fingerprint.first_chunk().expect("32 bytes");
    Revision { hlc, mark }
}

/// The author as it is written in entries, 33 bytes.
pub(super) fn put_author(bytes: &mut Vec<u8>, author: &Author) {
    let kind = match author {
        Author::Node(_) => 1,
        Author::User(_) => 2,
    };
    bytes.push(kind);
    bytes.extend_from_slice(author.key());
}

pub(super) fn take_author(body: &mut &[u8]) -> Option<Author> {
    let [kind] = take(body)?;
    let key = take(body)?;
    match kind {
        1 => Some(Author::Node(key)),
        2 => Some(Author::User(UserId(key))),
        _ => None,
    }
}
