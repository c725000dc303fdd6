//! Ranges of hashed keys and what is in them: a count and a sum, which show a difference without
//! saying what it is.

use peerage_wire::kv::Fingerprint;

/// The first 16 bytes of the keyed BLAKE3 hash of a key.
pub type KeyHash = [u8; 16];

/// The level of leaf buckets: the first four nibbles of a [`KeyHash`].
pub const LEAF_LEVEL: u8 = 4;

const HASH_KEY: [u8; 32] = *b"peerage/kv/1/key\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

/// The hash of a key.
#[must_use]
pub fn key_hash(key: &str) -> KeyHash {
    let hash = blake3::keyed_hash(&HASH_KEY, key.as_bytes());
    *hash.as_bytes().first_chunk().expect("32 bytes")
}

/// What is in a range: how many entries, and the sum of their fingerprints as little-endian numbers
/// modulo 2^256.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Summary {
    /// Entries, deleted ones included.
    pub count: u64,
    /// The sum.
    pub sum: [u8; 32],
}

impl Summary {
    /// Adds an entry.
    pub fn add(&mut self, fingerprint: &Fingerprint) {
        self.merge(&Self { count: 1, sum: *fingerprint });
    }

    /// Takes an entry out.
    pub fn sub(&mut self, fingerprint: &Fingerprint) {
        self.split(&Self { count: 1, sum: *fingerprint });
    }

    /// Adds all of another range, or a difference.
    pub fn merge(&mut self, other: &Self) {
        self.count = self.count.wrapping_add(other.count);
        self.sum = each(&self.sum, &other.sum, u64::overflowing_add);
    }

    /// Takes all of another range out.
    pub fn split(&mut self, other: &Self) {
        self.count = self.count.wrapping_sub(other.count);
        self.sum = each(&self.sum, &other.sum, u64::overflowing_sub);
    }

    /// Names what it says: BLAKE3 of the count, `u64` big-endian, and the sum; the first 16 bytes.
    #[must_use]
    pub fn digest(&self) -> [u8; 16] {
        let mut bytes = [0; 40];
        bytes[..8].copy_from_slice(&self.count.to_be_bytes());
        bytes[8..].copy_from_slice(&self.sum);
        *blake3::hash(&bytes).as_bytes().first_chunk().expect("32 bytes")
    }
}

/// A range: all hashes that begin with the same `level` nibbles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Node {
    /// Nibbles, 0 to [`LEAF_LEVEL`].
    pub level: u8,
    /// The nibbles, in the lowest bits.
    pub prefix: u16,
}

impl Node {
    /// All there is.
    pub const ROOT: Self = Self { level: 0, prefix: 0 };

    /// The range of a level that a hash is in.
    #[must_use]
    pub fn of(hash: &KeyHash, level: u8) -> Self {
        let nibbles = u32::from(u16::from_be_bytes([hash[0], hash[1]]));
        Self { level, prefix: (nibbles >> (4 * (4 - u32::from(level)))) as u16 }
    }

    /// One of its 16 parts; `None` in a leaf bucket, which has none.
    #[must_use]
    pub fn child(self, nibble: u8) -> Option<Self> {
        let below = self.level < LEAF_LEVEL && nibble < 16;
        let prefix = self.prefix << 4 | u16::from(nibble);
        below.then_some(Self { level: self.level + 1, prefix })
    }

    /// Whether level and prefix fit together.
    #[must_use]
    pub fn is_valid(self) -> bool {
        self.level <= LEAF_LEVEL && u32::from(self.prefix) >> (4 * u32::from(self.level)) == 0
    }

    /// The first hash in it and the last.
    #[must_use]
    pub fn bounds(self) -> (KeyHash, KeyHash) {
        let (mut first, mut last) = ([0; 16], [0xff; 16]);
        let shift = 16 - 4 * u32::from(self.level.min(LEAF_LEVEL));
        let low = u32::from(self.prefix) << shift;
        let high = low | ((1_u32 << shift) - 1);
        first[..2].copy_from_slice(&(low as u16).to_be_bytes());
        last[..2].copy_from_slice(&(high as u16).to_be_bytes());
        (first, last)
    }
}

/// An entry in a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Item {
    /// Of its key.
    pub hash: KeyHash,
    /// Of what it says.
    pub fingerprint: Fingerprint,
}

/// A little-endian number in limbs, the lowest first.
fn limbs(bytes: &[u8; 32]) -> [u64; 4] {
    std::array::from_fn(|at| {
        let limb = bytes[8 * at..].first_chunk().expect("32 bytes in four");
        u64::from_le_bytes(*limb)
    })
}

fn bytes(limbs: [u64; 4]) -> [u8; 32] {
    let mut bytes = [0; 32];
    for (to, limb) in bytes.chunks_exact_mut(8).zip(limbs) {
        to.copy_from_slice(&limb.to_le_bytes());
    }
    bytes
}

/// Limb by limb, with what is carried from one to the next.
fn each(mine: &[u8; 32], theirs: &[u8; 32], op: fn(u64, u64) -> (u64, bool)) -> [u8; 32] {
    let (mut made, theirs) = (limbs(mine), limbs(theirs));
    let mut carry = false;
    for (mine, theirs) in made.iter_mut().zip(theirs) {
        let (part, first) = op(*mine, theirs);
        let (part, second) = op(part, u64::from(carry));
        (*mine, carry) = (part, first | second);
    }
    bytes(made)
}
