//! Whether everything that is derived from the entries is what it would be if it were derived anew.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::{Bound, ControlFlow},
};

use peerage_api::kv::KvError;
use peerage_store::{KvRead, KvTable, StoreError};
use peerage_types::{Author, SpaceId};
use peerage_wire::kv::Entry;

use super::{Place, Replica, children, parts, stored, sums::waiting};
use crate::{
    KeyHash, LEAF_LEVEL, Node, Summary,
    bounds::HISTORY,
    key_hash,
    rows::{self, Counters, Meta, Prefix, Row, Usage, key_of, seq_of},
};

/// What the entries of a space say the other tables must hold.
#[derive(Default)]
struct Derived {
    counters: Counters,
    authors: BTreeMap<Author, Usage>,
    nodes: BTreeMap<Node, Summary>,
    leaves: BTreeSet<Vec<u8>>,
    feed: BTreeSet<Vec<u8>>,
    history: BTreeSet<Vec<u8>>,
    expiry: BTreeSet<Vec<u8>>,
    tombstones: BTreeSet<Vec<u8>>,
    values: BTreeSet<Vec<u8>>,
}

impl Replica {
    /// Reads a whole space and compares indexes, counters and summaries with the entries: for tests
    /// and for support. Gives what is wrong, of each kind once; nothing if all is well.
    ///
    /// # Errors
    /// [`KvError::NoSuchSpace`], [`KvError::Store`].
    ///
    /// # Cancel safety
    /// Yes.
    pub async fn audit(&self, space: &SpaceId) -> Result<Vec<String>, KvError> {
        let place = self.joined(space)?.place;
        let read = self.inner.kv.read(move |snapshot| {
            let derived = Derived::read(snapshot, place)?;
            derived.compare(snapshot, place)
        });
        read.await.map_err(stored)
    }
}

impl Derived {
    fn read(read: &impl KvRead, place: Place) -> Result<Self, StoreError> {
        let mut derived = Self::default();
        let prefix = Prefix::new(&rows::entry(place.no, ""));
        read.scan(KvTable::Entries, prefix.range(), false, &mut |key, row| {
            let key = key_of(&key[4..])?;
            derived.add(read, place, &Row::decode(place.id, &key, row)?)?;
            Ok(ControlFlow::Continue(()))
        })?;
        let counters =
            read.get_with(KvTable::Meta, &rows::meta(Meta::Counters, place.no), Counters::decode)?;
        derived.counters.head = counters.transpose()?.unwrap_or_default().head;
        Ok(derived)
    }

    fn add(&mut self, read: &impl KvRead, place: Place, row: &Row) -> Result<(), StoreError> {
        let entry = row.entry();
        let hash = key_hash(entry.key.as_str());
        self.count(row);
        self.sum(&hash, row);
        self.index(place, row, &hash);
        let leaf = rows::leaf_value(row.seq, row.signed.fingerprint());
        self.leaves.insert([&rows::leaf(place.no, &hash)[..], &leaf].concat());
        self.feed.insert(rows::feed(place.no, row.seq).to_vec());
        self.add_history(read, place, row)
    }

    fn count(&mut self, row: &Row) {
        let counted = match row.is_dead() {
            true => &mut self.counters.tombstones,
            false => &mut self.counters.entries,
        };
        *counted += 1;
        self.counters.bytes += row.weight();
        let usage = self.authors.entry(row.entry().author).or_default();
        usage.entries += 1;
        usage.bytes += row.weight();
    }

    fn sum(&mut self, hash: &KeyHash, row: &Row) {
        for level in 0..=LEAF_LEVEL {
            self.nodes.entry(Node::of(hash, level)).or_default().add(row.signed.fingerprint());
        }
    }

    fn index(&mut self, place: Place, row: &Row, hash: &KeyHash) {
        let (no, entry) = (place.no, row.entry());
        let Entry { key, expires, size, .. } = entry;
        if row.is_dead() {
            self.tombstones.insert(rows::tombstone(no, rows::died(entry), key.as_str()));
        } else if let Some(at) = expires {
            self.expiry.insert(rows::expiry(*at, no, key.as_str()));
        }
        if row.has_parts() {
            let parts = 0..parts(*size as usize);
            self.values.extend(parts.map(|part| rows::value(no, hash, part).to_vec()));
        }
    }

    fn add_history(
        &mut self,
        read: &impl KvRead,
        place: Place,
        row: &Row,
    ) -> Result<(), StoreError> {
        let prefix = Prefix::new(&rows::versions(place.no, row.entry().key.as_str()));
        let before = self.history.len();
        read.scan(KvTable::History, prefix.range(), false, &mut |key, _| {
            self.history.insert(key.to_vec());
            self.feed.insert(rows::feed(place.no, seq_of(key)?).to_vec());
            Ok(ControlFlow::Continue(()))
        })?;
        let kept = self.history.len() - before;
        if kept != usize::from(row.past) || kept > HISTORY {
            // Shows as a difference of History.
            self.history.insert(rows::versions(place.no, row.entry().key.as_str()));
        }
        Ok(())
    }

    fn compare(&self, read: &impl KvRead, place: Place) -> Result<Vec<String>, StoreError> {
        let no = place.no;
        let mut wrong = Vec::new();
        let mut note = |what: &str, is_right: bool| {
            if !is_right {
                wrong.push(format!("{what} differ"));
            }
        };
        let at = rows::meta(Meta::Counters, no);
        let counters = read.get_with(KvTable::Meta, &at, Counters::decode)?.transpose()?;
        note("counters", counters == Some(self.counters));
        let authors = self.authors.iter();
        let authors: BTreeSet<_> = authors
            .map(|(author, usage)| [&rows::author(no, author)[..], &usage.encode()].concat())
            .collect();
        let of_space = no.to_be_bytes();
        let meta = rows::meta(Meta::Author, no);
        note("authors", all(read, KvTable::Meta, &meta, true)? == authors);
        note("leaves", all(read, KvTable::Leaves, &of_space, true)? == self.leaves);
        note("rows of the feed", all(read, KvTable::Feed, &of_space, false)? == self.feed);
        note("versions", all(read, KvTable::History, &of_space, false)? == self.history);
        note("tombstones", all(read, KvTable::Tombstones, &of_space, false)? == self.tombstones);
        note("values", all(read, KvTable::Values, &of_space, false)? == self.values);
        let expiry = all(read, KvTable::Expiry, &[], false)?;
        let expiry: BTreeSet<_> =
            expiry.into_iter().filter(|key| key.get(8..12) == Some(&of_space)).collect();
        note("expiries", expiry == self.expiry);
        note("summaries", self.has_summaries(read, no)?);
        Ok(wrong)
    }

    fn has_summaries(&self, read: &impl KvRead, no: rows::SpaceNo) -> Result<bool, StoreError> {
        let above = self.nodes.keys().filter(|node| node.level < LEAF_LEVEL);
        for node in above {
            for (nibble, child) in (0..).zip(children(read, no, *node)?) {
                let derived = node.child(nibble).and_then(|child| self.nodes.get(&child));
                if child != derived.copied().unwrap_or_default() {
                    return Ok(false);
                }
            }
        }
        let rows = all(read, KvTable::Summaries, &no.to_be_bytes(), false)?.len();
        Ok(rows == self.stored_nodes(waiting(read, no)?))
    }

    /// How many nodes above the leaf buckets are not empty without what waits.
    fn stored_nodes(&self, waiting: BTreeMap<u16, Summary>) -> usize {
        let mut nodes = self.nodes.clone();
        for (bucket, delta) in waiting {
            for level in 0..=LEAF_LEVEL {
                let prefix = u32::from(bucket) >> (4 * u32::from(LEAF_LEVEL - level));
                let node = Node { level, prefix: prefix as u16 };
                nodes.entry(node).or_default().split(&delta);
            }
        }
        let is_stored = |(node, sum): &(&Node, &Summary)| {
            node.level < LEAF_LEVEL && **sum != Summary::default()
        };
        nodes.iter().filter(is_stored).count()
    }
}

/// The keys of a table that begin with a prefix, each with its value if asked for.
fn all(
    read: &impl KvRead,
    table: KvTable,
    prefix: &[u8],
    with_values: bool,
) -> Result<BTreeSet<Vec<u8>>, StoreError> {
    let mut found = BTreeSet::new();
    let (start, end) = (prefix.to_vec(), Prefix::new(prefix));
    read.scan(table, (Bound::Included(&start), end.end()), false, &mut |key, value| {
        let value = if with_values { value } else { &[] };
        found.insert([key, value].concat());
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(found)
}
