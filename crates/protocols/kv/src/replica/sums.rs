//! The stored summaries: four levels of 16 parts each, above leaf buckets that are not stored.
//!
//! A change of one entry would touch a row of each level, mostly on pages of their own. So the last
//! differences of leaf buckets wait in one row, and are brought into the levels many at a time; who reads
//! a level adds what waits.

use std::collections::BTreeMap;

use peerage_store::{KvRead, KvTable, KvTxn, StoreError};
use peerage_wire::kv::Fingerprint;

use crate::{
    KeyHash, LEAF_LEVEL, Node, Summary,
    bounds::MAX_WAITING,
    rows::{self, Meta, SpaceNo, corrupt},
};

const PART_BYTES: usize = 36;
const ROW_BYTES: usize = 16 * PART_BYTES;
const WAITING_BYTES: usize = 2 + PART_BYTES;

/// How leaf buckets differ from what is stored.
#[derive(Debug, Default)]
pub(super) struct Sums(BTreeMap<u16, Summary>);

impl Sums {
    pub(super) fn add(&mut self, hash: &KeyHash, fingerprint: &Fingerprint) {
        self.bucket(hash).add(fingerprint);
    }

    pub(super) fn sub(&mut self, hash: &KeyHash, fingerprint: &Fingerprint) {
        self.bucket(hash).sub(fingerprint);
    }

    fn bucket(&mut self, hash: &KeyHash) -> &mut Summary {
        self.0.entry(Node::of(hash, LEAF_LEVEL).prefix).or_default()
    }

    /// Brings what is stored up to date: in the row of what waits, or each row of the levels once.
    pub(super) fn write(self, txn: &mut KvTxn<'_>, space: SpaceNo) -> Result<(), StoreError> {
        let before = waiting(txn, space)?;
        let had = !before.is_empty();
        let mut all = self.0;
        for (bucket, delta) in before {
            all.entry(bucket).or_default().merge(&delta);
        }
        all.retain(|_, delta| *delta != Summary::default());
        let key = rows::meta(Meta::Waiting, space);
        match all.len() {
            1..=MAX_WAITING => return txn.put(KvTable::Meta, &key, &encode(&all)),
            _ if had => drop(txn.remove(KvTable::Meta, &key)?),
            _ => {}
        }
        Self(all).fold(txn, space)
    }

    fn fold(self, txn: &mut KvTxn<'_>, space: SpaceNo) -> Result<(), StoreError> {
        let mut below = self.0;
        for level in (0..LEAF_LEVEL).rev() {
            let mut here = BTreeMap::<u16, Summary>::new();
            let mut parts = below.into_iter().peekable();
            while let Some((first, _)) = parts.peek() {
                let node = Node { level, prefix: first >> 4 };
                let mut children = stored(txn, space, node)?;
                let mut all = Summary::default();
                while let Some((prefix, delta)) =
                    parts.next_if(|(prefix, _)| prefix >> 4 == node.prefix)
                {
                    children[usize::from(prefix & 15)].merge(&delta);
                    all.merge(&delta);
                }
                put(txn, space, node, &children)?;
                here.insert(node.prefix, all);
            }
            below = here;
        }
        Ok(())
    }
}

fn put(
    txn: &mut KvTxn<'_>,
    space: SpaceNo,
    node: Node,
    children: &[Summary; 16],
) -> Result<(), StoreError> {
    let key = rows::summary(space, node);
    if *children == [Summary::default(); 16] {
        return txn.remove(KvTable::Summaries, &key).map(drop);
    }
    let mut row = [0; ROW_BYTES];
    for (part, child) in row.chunks_exact_mut(PART_BYTES).zip(children) {
        // More than 2^32 entries do not fit into a store, and a difference wraps around.
        part[..4].copy_from_slice(&(child.count as u32).to_be_bytes());
        part[4..].copy_from_slice(&child.sum);
    }
    txn.put(KvTable::Summaries, &key, &row)
}

/// Differences of leaf buckets that are not in the levels yet.
///
/// As bytes for each: prefix `u16`, count `i32`, both big-endian, sum 32, little-endian.
pub(super) fn waiting(
    read: &impl KvRead,
    space: SpaceNo,
) -> Result<BTreeMap<u16, Summary>, StoreError> {
    let key = rows::meta(Meta::Waiting, space);
    let row = read.get_with(KvTable::Meta, &key, decode)?;
    row.map_or(Ok(BTreeMap::new()), |row| row.ok_or_else(|| corrupt("what waits")))
}

fn encode(waiting: &BTreeMap<u16, Summary>) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(waiting.len() * WAITING_BYTES);
    for (bucket, delta) in waiting {
        bytes.extend_from_slice(&bucket.to_be_bytes());
        // A difference wraps around; there are less than 2^31 entries.
        bytes.extend_from_slice(&(delta.count as u32).to_be_bytes());
        bytes.extend_from_slice(&delta.sum);
    }
    bytes
}

fn decode(row: &[u8]) -> Option<BTreeMap<u16, Summary>> {
    let (all, []) = row.as_chunks::<WAITING_BYTES>() else { return None };
    let one = |bytes: &[u8; WAITING_BYTES]| {
        let (bucket, rest) = bytes.split_first_chunk().expect("38 bytes");
        let (count, sum) = rest.split_first_chunk().expect("36 bytes");
        let count = i64::from(i32::from_be_bytes(*count)).cast_unsigned();
        let sum = sum.try_into().expect("32 bytes");
        (u16::from_be_bytes(*bucket), Summary { count, sum })
    };
    Some(all.iter().map(one).collect())
}

/// The summaries of the parts of a node above the leaf buckets.
pub(crate) fn children(
    read: &impl KvRead,
    space: SpaceNo,
    node: Node,
) -> Result<[Summary; 16], StoreError> {
    let mut children = stored(read, space, node)?;
    // Leaf buckets below a part.
    let shift = 4 * u32::from(LEAF_LEVEL - 1 - node.level.min(LEAF_LEVEL - 1));
    for (bucket, delta) in waiting(read, space)? {
        let part = bucket >> shift;
        if u32::from(part) >> 4 == u32::from(node.prefix) {
            children[usize::from(part & 15)].merge(&delta);
        }
    }
    Ok(children)
}

/// Without what waits.
fn stored(read: &impl KvRead, space: SpaceNo, node: Node) -> Result<[Summary; 16], StoreError> {
    let decode = |row: &[u8]| {
        let (parts, []) = row.as_chunks::<PART_BYTES>() else { return None };
        let parts: &[_; 16] = parts.try_into().ok()?;
        Some(parts.map(|part| {
            let (count, sum) = part.split_first_chunk().expect("36 bytes");
            let sum = sum.try_into().expect("32 bytes");
            Summary { count: u64::from(u32::from_be_bytes(*count)), sum }
        }))
    };
    let row = read.get_with(KvTable::Summaries, &rows::summary(space, node), decode)?;
    row.map_or(Ok([Summary::default(); 16]), |row| row.ok_or_else(|| corrupt("a summary")))
}

/// All of a space.
pub(crate) fn total(read: &impl KvRead, space: SpaceNo) -> Result<Summary, StoreError> {
    let mut total = Summary::default();
    children(read, space, Node::ROOT)?.iter().for_each(|child| total.merge(child));
    Ok(total)
}
