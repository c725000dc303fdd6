//! Leaves of a range.

use std::ops::{Bound, ControlFlow};

use peerage_store::{KvRead, KvTable, StoreError};

use crate::{
    Item, Node,
    rows::{self, SpaceNo, corrupt},
};

/// What is in a node, in the order of the hashes.
pub(super) fn items(read: &impl KvRead, no: SpaceNo, node: Node) -> Result<Vec<Item>, StoreError> {
    let (first, last) = node.bounds();
    let (first, last) = (rows::leaf(no, &first), rows::leaf(no, &last));
    let mut items = Vec::new();
    let range = (Bound::Included(&first[..]), Bound::Included(&last[..]));
    read.scan(KvTable::Leaves, range, false, &mut |key, value| {
        let hash = key.last_chunk().copied().ok_or_else(|| corrupt("a leaf"))?;
        let (_, fingerprint) = rows::leaf_of(value)?;
        items.push(Item { hash, fingerprint });
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(items)
}
