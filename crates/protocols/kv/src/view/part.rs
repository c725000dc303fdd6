//! What a reader with a grant for some prefixes sees: summed up in memory, as it is no range of hashes.

use std::ops::ControlFlow;

use peerage_store::{KvRead, KvTable, StoreError};

use crate::{
    Item, KeyHash, Node, Summary, key_hash,
    replica::Place,
    rows::{self, Prefix, fingerprint_in},
};

/// 88 bytes an entry: 88 MB for a million.
#[derive(Debug)]
pub(super) struct Part {
    prefixes: Vec<String>,
    /// In the order of the hashes.
    items: Vec<Item>,
    /// Of the first n items, for each n.
    sums: Vec<Summary>,
}

impl Part {
    pub(super) fn read(
        read: &impl KvRead,
        place: Place,
        prefixes: Vec<String>,
    ) -> Result<Self, StoreError> {
        let mut items = Vec::new();
        for prefix in &prefixes {
            let range = Prefix::new(&rows::entry(place.no, prefix));
            read.scan(KvTable::Entries, range.range(), false, &mut |key, row| {
                let hash = key_hash(rows::key_of(&key[4..])?.as_str());
                items.push(Item { hash, fingerprint: fingerprint_in(row)? });
                Ok(ControlFlow::Continue(()))
            })?;
        }
        items.sort_unstable();
        // One prefix may be a part of another.
        items.dedup();
        let mut sums = vec![Summary::default()];
        let mut sum = Summary::default();
        for item in &items {
            sum.add(&item.fingerprint);
            sums.push(sum);
        }
        Ok(Self { prefixes, items, sums })
    }

    pub(super) fn has(&self, hash: &KeyHash) -> bool {
        self.items.binary_search_by_key(hash, |item| item.hash).is_ok()
    }

    pub(super) fn covers(&self, key: &str) -> bool {
        self.prefixes.iter().any(|prefix| key.starts_with(prefix))
    }

    pub(super) fn items(&self, node: Node) -> &[Item] {
        let (first, end) = self.range(node);
        &self.items[first..end]
    }

    pub(super) fn summary(&self, node: Node) -> Summary {
        let (first, end) = self.range(node);
        let mut sum = self.sums[end];
        sum.split(&self.sums[first]);
        sum
    }

    pub(super) fn children(&self, node: Node) -> [Summary; 16] {
        let child = |nibble| node.child(nibble).map_or(Summary::default(), |it| self.summary(it));
        std::array::from_fn(|nibble| child(nibble as u8))
    }

    fn range(&self, node: Node) -> (usize, usize) {
        let (first, last) = node.bounds();
        let before = self.items.partition_point(|item| item.hash < first);
        (before, self.items.partition_point(|item| item.hash <= last))
    }
}
