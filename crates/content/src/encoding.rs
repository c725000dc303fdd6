//! The bao encoding of blocks: groups of 16 KiB and the hash pairs above them.
//!
//! The same bytes as `bao_tree` makes with a block size of 16 KiB (the tests compare), but read into
//! place, hashed once and written from where they arrived.

use std::io::{IoSlice, IoSliceMut};

use blake3::{
    Hasher,
    hazmat::{
        ChainingValue, HasherExt as _, Mode, left_subtree_len, merge_subtrees_non_root,
        merge_subtrees_root,
    },
};

use crate::plan::{BLOCK_BYTES, FileRef, GROUP_BYTES, Pack, block_len, blocks};

/// Bytes of the hashes of two subtrees.
pub(crate) const PAIR_BYTES: usize = 64;

/// A piece that is not what its hash says: whoever sent it lies or is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the piece does not match its hash from byte {offset} on: ask another peer for it")]
pub struct Corrupt {
    /// Where in the encoded piece the first wrong group or hash pair starts.
    pub offset: usize,
}

/// A step from the root of a file down to one of its blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Step {
    /// The number of the hash pair in pre-order: where it is in the outboard.
    pub(crate) pair: u64,
    /// Whether the block is under its first hash.
    pub(crate) left: bool,
    /// Whether it is the topmost.
    pub(crate) root: bool,
}

/// The way down to a block.
pub(crate) fn steps(size: u64, block: u64) -> impl Iterator<Item = Step> {
    let (mut from, mut count, mut pair) = (0, blocks(size), 0);
    let mut root = true;
    std::iter::from_fn(move || {
        if count <= 1 {
            return None;
        }
        let first = left_blocks(count);
        let step = Step { pair, left: block < from + first, root };
        if step.left {
            (count, pair) = (first, pair + 1);
        } else {
            // Behind the pairs of the left subtree, one less than its blocks, and this one.
            (from, count, pair) = (from + first, count - first, pair + first);
        }
        root = false;
        Some(step)
    })
}

/// How many of so many blocks are in the left subtree.
fn left_blocks(count: u64) -> u64 {
    count.div_ceil(2).next_power_of_two()
}

/// Bytes of a subtree of `len` bytes of content, pairs included.
fn wire_len(len: u64) -> usize {
    // A block at most.
    len as usize + PAIR_BYTES * (len.div_ceil(GROUP_BYTES).saturating_sub(1) as usize)
}

pub(crate) fn block_wire_len(size: u64, block: u64) -> usize {
    PAIR_BYTES * steps(size, block).count() + wire_len(block_len(size, block))
}

/// The places of the groups in the encoding of a block, behind the pairs that lead to it.
pub(crate) fn groups_mut<'a>(mut wire: &'a mut [u8], len: u64) -> Vec<IoSliceMut<'a>> {
    fn walk<'a>(wire: &mut &'a mut [u8], len: u64, groups: &mut Vec<IoSliceMut<'a>>) {
        if len <= GROUP_BYTES {
            let group = wire.split_off_mut(..len as usize).unwrap_or_default();
            return groups.push(IoSliceMut::new(group));
        }
        let _pair = wire.split_off_mut(..PAIR_BYTES);
        let left = left_subtree_len(len);
        walk(wire, left, groups);
        walk(wire, len - left, groups);
    }
    let mut groups = Vec::with_capacity((BLOCK_BYTES / GROUP_BYTES) as usize);
    walk(&mut wire, len, &mut groups);
    groups
}

/// Puts the hash pairs between the groups; returns the hash of the block.
///
/// `whole` says that the block is the whole file, whose hash is the root.
pub(crate) fn fill_pairs(wire: &mut [u8], offset: u64, len: u64, whole: bool) -> ChainingValue {
    if len <= GROUP_BYTES {
        return subtree(wire, offset);
    }
    let left_len = left_subtree_len(len);
    let (pair, rest) = wire.split_at_mut(PAIR_BYTES);
    let (left, right) = rest.split_at_mut(wire_len(left_len));
    let left = fill_pairs(left, offset, left_len, false);
    let right = fill_pairs(right, offset + left_len, len - left_len, false);
    pair[..32].copy_from_slice(&left);
    pair[32..].copy_from_slice(&right);
    merge(&left, &right, whole)
}

/// Verifies the encoding of a block against the root of its file; returns its groups in order.
pub(crate) fn verify_block(
    file: FileRef,
    block: u64,
    wire: &[u8],
) -> Result<Vec<IoSlice<'_>>, Corrupt> {
    let wanted = block_wire_len(file.size, block);
    if wire.len() != wanted {
        return Err(Corrupt { offset: wire.len().min(wanted) });
    }
    let mut cursor = Cursor { wire, at: 0 };
    let (mut expected, mut whole) = (file.root.0, true);
    for step in steps(file.size, block) {
        let [left, right] = cursor.pair(&expected, step.root)?;
        expected = if step.left { left } else { right };
        whole = false;
    }
    let mut groups = Vec::with_capacity((BLOCK_BYTES / GROUP_BYTES) as usize);
    let len = block_len(file.size, block);
    cursor.subtree(&expected, block * BLOCK_BYTES, len, whole, &mut groups)?;
    Ok(groups)
}

/// Verifies the contents of small files against their roots.
pub(crate) fn verify_pack(pack: Pack<'_>, wire: &[u8]) -> Result<(), Corrupt> {
    let mut at = 0;
    for file in pack.files() {
        let content = wire.get(at..at + file.size as usize).ok_or(Corrupt { offset: at })?;
        if *blake3::hash(content).as_bytes() != file.root.0 {
            return Err(Corrupt { offset: at });
        }
        at += content.len();
    }
    if at == wire.len() { Ok(()) } else { Err(Corrupt { offset: at }) }
}

/// Reads the encoding of a block, whose length was checked.
struct Cursor<'a> {
    wire: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], Corrupt> {
        let taken = self.wire.get(self.at..self.at + len).ok_or(Corrupt { offset: self.at })?;
        self.at += len;
        Ok(taken)
    }

    fn pair(
        &mut self,
        expected: &ChainingValue,
        root: bool,
    ) -> Result<[ChainingValue; 2], Corrupt> {
        let offset = self.at;
        let pair = split_pair(self.take(PAIR_BYTES)?).ok_or(Corrupt { offset })?;
        let matches = merge(&pair[0], &pair[1], root) == *expected;
        if matches { Ok(pair) } else { Err(Corrupt { offset }) }
    }

    fn subtree(
        &mut self,
        expected: &ChainingValue,
        offset: u64,
        len: u64,
        whole: bool,
        groups: &mut Vec<IoSlice<'a>>,
    ) -> Result<(), Corrupt> {
        if len <= GROUP_BYTES {
            let at = self.at;
            let group = self.take(len as usize)?;
            if subtree(group, offset) != *expected {
                return Err(Corrupt { offset: at });
            }
            groups.push(IoSlice::new(group));
            return Ok(());
        }
        let [left, right] = self.pair(expected, whole)?;
        let left_len = left_subtree_len(len);
        self.subtree(&left, offset, left_len, false, groups)?;
        self.subtree(&right, offset + left_len, len - left_len, false, groups)
    }
}

/// The hashes of a pair.
pub(crate) fn split_pair(pair: &[u8]) -> Option<[ChainingValue; 2]> {
    let (left, right) = pair.split_first_chunk()?;
    Some([*left, right.try_into().ok()?])
}

pub(crate) fn merge(left: &ChainingValue, right: &ChainingValue, root: bool) -> ChainingValue {
    match root {
        true => *merge_subtrees_root(left, right, Mode::Hash).as_bytes(),
        false => merge_subtrees_non_root(left, right, Mode::Hash),
    }
}

/// The hash of a group or block at `offset` of a file that has more than it.
pub(crate) fn subtree(content: &[u8], offset: u64) -> ChainingValue {
    Hasher::new().set_input_offset(offset).update(content).finalize_non_root()
}

/// The hash pairs above the blocks of a file in pre-order, and its root.
///
/// `blocks` are the hashes of at least two blocks.
pub(crate) fn outboard(blocks: &[ChainingValue]) -> (ChainingValue, Vec<u8>) {
    fn walk(blocks: &[ChainingValue], root: bool, pairs: &mut Vec<u8>) -> ChainingValue {
        if let [block] = blocks {
            return *block;
        }
        let at = pairs.len();
        pairs.resize(at + PAIR_BYTES, 0);
        let (left, right) = blocks.split_at(left_blocks(blocks.len() as u64) as usize);
        let (left, right) = (walk(left, false, pairs), walk(right, false, pairs));
        pairs[at..at + 32].copy_from_slice(&left);
        pairs[at + 32..at + PAIR_BYTES].copy_from_slice(&right);
        merge(&left, &right, root)
    }
    let mut pairs = Vec::with_capacity(blocks.len() * PAIR_BYTES);
    let root = walk(blocks, true, &mut pairs);
    (root, pairs)
}
