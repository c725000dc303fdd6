//! Ranges of hashed keys and what is in them.

use super::{FRAME_TARGET, Fingerprint, KeyHash, list, take};

/// Items of one frame: 1,365 × 48 bytes = 64 KiB.
pub const MAX_ITEMS: usize = FRAME_TARGET / ITEM_BYTES;

const ITEM_BYTES: usize = 48;
const MORE: u8 = 0x80;
const ANSWER: u8 = 0x80;
const MAX_LEVEL: u8 = 4;

/// A range: all hashes that begin with the same nibbles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Node {
    /// Nibbles, 0 to 4.
    pub level: u8,
    /// The nibbles, in the lowest bits.
    pub prefix: u16,
}

/// What is in one of the 16 parts of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Part {
    /// Entries.
    pub count: u32,
    /// The sum of their fingerprints as little-endian numbers modulo 2^256; zeros if there are none.
    pub sum: [u8; 32],
}

/// What is in the parts of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Which; of level 0 to 3.
    pub node: Node,
    /// It answers the row of the same node of the other side.
    pub answer: bool,
    /// By their nibbles, rising: in an answer those that differ from the row that it answers, else
    /// those that are not empty.
    pub parts: Vec<(u8, Part)>,
}

/// What an entry says, in short.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Item {
    /// Of its key.
    pub hash: KeyHash,
    /// Of the entry.
    pub fingerprint: Fingerprint,
}

/// All entries of a node, or a part of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Items {
    /// Which; of level 0 to 4.
    pub node: Node,
    /// The next frame has more.
    pub more: bool,
    /// By their hashes, rising, all of the node; up to [`MAX_ITEMS`].
    pub items: Vec<Item>,
}

impl Node {
    fn encode(self, flag: u8, bytes: &mut Vec<u8>) {
        bytes.push(self.level | flag);
        bytes.extend(self.prefix.to_be_bytes());
    }

    fn decode(flag: u8, body: &mut &[u8]) -> Option<(Self, bool)> {
        let [tag] = take(body)?;
        let (level, prefix) = (tag & !flag, u16::from_be_bytes(take(body)?));
        let fits = level <= MAX_LEVEL && u32::from(prefix) >> (4 * u32::from(level)) == 0;
        fits.then_some((Self { level, prefix }, tag & flag != 0))
    }

    fn contains(self, hash: &KeyHash) -> bool {
        let nibbles = u32::from(u16::from_be_bytes([hash[0], hash[1]]));
        nibbles >> (4 * u32::from(MAX_LEVEL - self.level)) == u32::from(self.prefix)
    }
}

impl Row {
    /// The row as it travels, in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        5 + 36 * self.parts.len()
    }

    /// Whether no part is told.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    pub(super) fn encode(&self, bytes: &mut Vec<u8>) {
        self.node.encode(u8::from(self.answer) * ANSWER, bytes);
        let mask = self.parts.iter().fold(0_u16, |mask, (nibble, _)| mask | 1 << nibble);
        bytes.extend(mask.to_be_bytes());
        for (_, part) in &self.parts {
            bytes.extend(part.count.to_be_bytes());
            bytes.extend(part.sum);
        }
    }

    pub(super) fn decode(body: &mut &[u8]) -> Option<Self> {
        let (node, answer) = Node::decode(ANSWER, body)?;
        let mask = u16::from_be_bytes(take(body)?);
        let mut parts = Vec::with_capacity(mask.count_ones() as usize);
        for nibble in (0..16).filter(|nibble| mask & 1 << nibble != 0) {
            let part = Part { count: u32::from_be_bytes(take(body)?), sum: take(body)? };
            let is_void = part.count == 0 && (!answer || part.sum != [0; 32]);
            parts.push((nibble, Some(part).filter(|_| !is_void)?));
        }
        (node.level < MAX_LEVEL).then_some(Self { node, answer, parts })
    }
}

impl Items {
    pub(super) fn encode(&self, bytes: &mut Vec<u8>) {
        self.node.encode(u8::from(self.more) * MORE, bytes);
        for item in &self.items {
            bytes.extend(item.hash);
            bytes.extend(item.fingerprint);
        }
    }

    pub(super) fn decode(body: &mut &[u8]) -> Option<Self> {
        let (node, more) = Node::decode(MORE, body)?;
        if body.len() > MAX_ITEMS * ITEM_BYTES {
            return None;
        }
        let item = |body: &mut &[u8]| Some(Item { hash: take(body)?, fingerprint: take(body)? });
        let items = list(body, item)?;
        let fits = items.is_sorted_by(|a, b| a.hash < b.hash)
            && items.iter().all(|item| node.contains(&item.hash))
            && !(more && items.is_empty());
        fits.then_some(Self { node, more, items })
    }
}
