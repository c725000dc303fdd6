//! What one transaction changes in one space: rows, their indexes, counters and summaries.

use std::{
    collections::{BTreeMap, btree_map},
    ops::ControlFlow,
};

use bytes::Bytes;
use peerage_store::{KvRead, KvTable, KvTxn, StoreError};
use peerage_types::{Author, KvKey, SpaceId};
use peerage_wire::kv::{Entry, Fingerprint, Kind, SignedEntry};

use super::sums::Sums;
use crate::{
    KeyHash, Limits,
    bounds::{HISTORY, PART_BYTES},
    key_hash,
    rows::{self, BARE, Counters, EXPIRED, Meta, Prefix, Row, SpaceNo, Usage},
};

/// A space and its number.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) no: SpaceNo,
    pub(crate) id: SpaceId,
}

/// A version that may become the current one of its key.
#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) signed: SignedEntry,
    pub(super) hash: KeyHash,
    pub(super) flags: u8,
    /// What follows the header in its row.
    pub(super) body: Vec<u8>,
    /// The value, if it is kept apart.
    pub(super) large: Option<Bytes>,
}

impl Candidate {
    pub(super) fn entry(&self) -> &Entry {
        self.signed.entry()
    }

    /// About what its row takes.
    pub(super) fn bytes(&self) -> usize {
        self.body.len() + self.large.as_ref().map_or(0, Bytes::len)
    }

    pub(super) fn key(&self) -> &str {
        self.entry().key.as_str()
    }
}

/// What would be exceeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Over {
    pub(super) what: &'static str,
    pub(super) max: u64,
}

#[derive(Debug)]
pub(super) struct Edit<'a, 't> {
    txn: &'a mut KvTxn<'t>,
    place: Place,
    pub(super) counters: Counters,
    authors: BTreeMap<Author, Usage>,
    sums: Sums,
}

impl<'a, 't> Edit<'a, 't> {
    /// `None`: this node has left the space.
    pub(super) fn begin(txn: &'a mut KvTxn<'t>, place: Place) -> Result<Option<Self>, StoreError> {
        let key = rows::meta(Meta::Counters, place.no);
        let Some(counters) = txn.get_with(KvTable::Meta, &key, Counters::decode)?.transpose()?
        else {
            return Ok(None);
        };
        Ok(Some(Self { txn, place, counters, authors: BTreeMap::new(), sums: Sums::default() }))
    }

    /// The current version of a key.
    pub(super) fn row(&self, key: &KvKey) -> Result<Option<Row>, StoreError> {
        row(self.txn, self.place, key)
    }

    /// Counts a version in, and one out.
    ///
    /// Gives what would be exceeded by it; then nothing was counted.
    pub(super) fn account(
        &mut self,
        new: &Candidate,
        old: Option<&Row>,
        limits: &Limits,
    ) -> Result<Result<(), Over>, StoreError> {
        let Usage { entries, bytes } = Usage {
            entries: self.counters.entries + self.counters.tombstones,
            bytes: self.counters.bytes,
        };
        let weight = rows::weight(new.entry(), new.flags);
        let (rows_before, bytes_before) = old.map_or((0, 0), |old| (1, old.weight()));
        let author = self.usage(&new.entry().author)?;
        let own = old.filter(|old| old.entry().author == new.entry().author);
        let (own_rows, own_bytes) = own.map_or((0, 0), |old| (1, old.weight()));
        for (what, before, without, more, max) in [
            ("entries", entries, entries - rows_before.min(entries), 1, limits.space_entries),
            ("bytes", bytes, bytes - bytes_before.min(bytes), weight, limits.space_bytes),
            (
                "entries of one author",
                author.entries,
                author.entries - own_rows.min(author.entries),
                1,
                limits.author_entries,
            ),
            (
                "bytes of one author",
                author.bytes,
                author.bytes - own_bytes.min(author.bytes),
                weight,
                limits.author_bytes,
            ),
        ] {
            let after = without + more;
            if after > before && after > max {
                return Ok(Err(Over { what, max }));
            }
        }
        if let Some(old) = old {
            self.count_out(old)?;
        }
        self.count_in(new.entry(), new.flags)?;
        Ok(Ok(()))
    }

    fn count_in(&mut self, entry: &Entry, flags: u8) -> Result<(), StoreError> {
        let weight = rows::weight(entry, flags);
        match rows::is_dead(entry, flags) {
            true => self.counters.tombstones += 1,
            false => self.counters.entries += 1,
        }
        self.counters.bytes += weight;
        let usage = self.usage(&entry.author)?;
        *usage = Usage { entries: usage.entries + 1, bytes: usage.bytes + weight };
        Ok(())
    }

    fn count_out(&mut self, row: &Row) -> Result<(), StoreError> {
        let counted = match row.is_dead() {
            true => &mut self.counters.tombstones,
            false => &mut self.counters.entries,
        };
        *counted = counted.saturating_sub(1);
        self.counters.bytes = self.counters.bytes.saturating_sub(row.weight());
        let usage = self.usage(&row.entry().author)?;
        usage.entries = usage.entries.saturating_sub(1);
        usage.bytes = usage.bytes.saturating_sub(row.weight());
        Ok(())
    }

    fn usage(&mut self, author: &Author) -> Result<&mut Usage, StoreError> {
        match self.authors.entry(*author) {
            btree_map::Entry::Occupied(known) => Ok(known.into_mut()),
            btree_map::Entry::Vacant(new) => {
                let key = rows::author(self.place.no, author);
                let usage = self.txn.get_with(KvTable::Meta, &key, Usage::decode)?.transpose()?;
                Ok(new.insert(usage.unwrap_or_default()))
            }
        }
    }

    /// Makes a version that was counted the current one. Its rows in Feed and Leaves are the
    /// caller's, who can write them in their order.
    pub(super) fn replace(
        &mut self,
        new: &Candidate,
        seq: u64,
        old: Option<&Row>,
    ) -> Result<(), StoreError> {
        let past = match old {
            None => 0,
            Some(old) => {
                self.sums.sub(&new.hash, old.signed.fingerprint());
                self.unindex(old, &new.hash)?;
                self.put_past(new.entry().kind, old)?
            }
        };
        self.sums.add(&new.hash, new.signed.fingerprint());
        self.index(new.entry(), new.flags)?;
        self.put_parts(&new.hash, new.large.as_ref())?;
        let mut row = rows::head(seq, new.flags, past, new.body.len());
        row.extend_from_slice(&new.body);
        self.txn.put(KvTable::Entries, &rows::entry(self.place.no, new.key()), &row)
    }

    /// Where the former version goes; how many are kept then.
    fn put_past(&mut self, by: Kind, old: &Row) -> Result<u8, StoreError> {
        if by == Kind::Purge {
            self.forget(old)?;
            return Ok(0);
        }
        self.shelve(old)
    }

    /// Moves the current version to History, and its oldest out if it is full.
    fn shelve(&mut self, old: &Row) -> Result<u8, StoreError> {
        let key = old.entry().key.as_str();
        let mut past = old.past;
        while usize::from(past) >= HISTORY {
            let prefix = Prefix::new(&rows::versions(self.place.no, key));
            let mut oldest = None;
            self.txn.scan(KvTable::History, prefix.range(), false, &mut |key, _| {
                oldest = Some(rows::seq_of(key)?);
                Ok(ControlFlow::Break(()))
            })?;
            past -= 1;
            if let Some(seq) = oldest {
                self.drop_version(key, seq)?;
            }
        }
        let version = rows::version(self.place.no, key, old.seq);
        self.txn.put(KvTable::History, &version, &old.clone().former().encode())?;
        Ok(past + 1)
    }

    fn drop_version(&mut self, key: &str, seq: u64) -> Result<(), StoreError> {
        self.txn.remove(KvTable::History, &rows::version(self.place.no, key, seq))?;
        self.txn.remove(KvTable::Feed, &rows::feed(self.place.no, seq)).map(drop)
    }

    /// Removes all former versions of a key and what the feed says of them and of the current one.
    fn forget(&mut self, row: &Row) -> Result<(), StoreError> {
        let key = row.entry().key.as_str();
        if row.past > 0 {
            let prefix = Prefix::new(&rows::versions(self.place.no, key));
            let mut all = Vec::new();
            self.txn.scan(KvTable::History, prefix.range(), false, &mut |key, _| {
                all.push(rows::seq_of(key)?);
                Ok(ControlFlow::Continue(()))
            })?;
            all.into_iter().try_for_each(|seq| self.drop_version(key, seq))?;
        }
        self.txn.remove(KvTable::Feed, &rows::feed(self.place.no, row.seq)).map(drop)
    }

    fn index(&mut self, entry: &Entry, flags: u8) -> Result<(), StoreError> {
        let (no, key) = (self.place.no, entry.key.as_str());
        if rows::is_dead(entry, flags) {
            let key = rows::tombstone(no, rows::died(entry), key);
            return self.txn.put(KvTable::Tombstones, &key, &[]);
        }
        match entry.expires {
            Some(at) => self.txn.put(KvTable::Expiry, &rows::expiry(at, no, key), &[]),
            None => Ok(()),
        }
    }

    fn unindex(&mut self, row: &Row, hash: &KeyHash) -> Result<(), StoreError> {
        let (no, entry) = (self.place.no, row.entry());
        let key = entry.key.as_str();
        if row.is_dead() {
            let key = rows::tombstone(no, rows::died(entry), key);
            self.txn.remove(KvTable::Tombstones, &key)?;
        } else if let Some(at) = entry.expires {
            self.txn.remove(KvTable::Expiry, &rows::expiry(at, no, key))?;
        }
        if row.has_parts() {
            for part in 0..parts(entry.size as usize) {
                self.txn.remove(KvTable::Values, &rows::value(no, hash, part))?;
            }
        }
        Ok(())
    }

    fn put_parts(&mut self, hash: &KeyHash, value: Option<&Bytes>) -> Result<(), StoreError> {
        let Some(value) = value else { return Ok(()) };
        for (part, bytes) in (0..).zip(value.chunks(PART_BYTES)) {
            self.txn.put(KvTable::Values, &rows::value(self.place.no, hash, part), bytes)?;
        }
        Ok(())
    }

    /// Says in the feed that a key has changed.
    pub(super) fn tell(&mut self, seq: u64, from: [u8; 8], key: &str) -> Result<(), StoreError> {
        let value = [&from, key.as_bytes()].concat();
        self.txn.put(KvTable::Feed, &rows::feed(self.place.no, seq), &value)
    }

    /// Sets what is current under a hash.
    pub(super) fn leaf(
        &mut self,
        hash: &KeyHash,
        seq: u64,
        fingerprint: &Fingerprint,
    ) -> Result<(), StoreError> {
        let value = rows::leaf_value(seq, fingerprint);
        self.txn.put(KvTable::Leaves, &rows::leaf(self.place.no, hash), &value)
    }

    /// Marks an entry as expired, which is a change but no other entry; gives its number.
    pub(super) fn expire(&mut self, row: &Row) -> Result<u64, StoreError> {
        let key = row.entry().key.as_str();
        let hash = key_hash(key);
        self.count_out(row)?;
        self.unindex(row, &hash)?;
        let bare = Row { value: Bytes::new(), flags: row.flags | BARE, ..row.clone() };
        let past = self.shelve(&bare)?;
        let seq = self.next_seq();
        let flags = row.flags | EXPIRED;
        let now = Row { seq, flags, past, value: Bytes::new(), signed: row.signed.clone() };
        self.count_in(now.entry(), flags)?;
        self.index(now.entry(), flags)?;
        self.txn.put(KvTable::Entries, &rows::entry(self.place.no, key), &now.encode())?;
        self.tell(seq, [0; 8], key)?;
        self.leaf(&hash, seq, row.signed.fingerprint())?;
        Ok(seq)
    }

    /// Removes an entry without a trace.
    pub(super) fn erase(&mut self, row: &Row) -> Result<(), StoreError> {
        let key = row.entry().key.as_str();
        let hash = key_hash(key);
        // A change that the feed does not tell of, but readers must notice.
        self.next_seq();
        self.count_out(row)?;
        self.unindex(row, &hash)?;
        self.forget(row)?;
        self.sums.sub(&hash, row.signed.fingerprint());
        self.txn.remove(KvTable::Leaves, &rows::leaf(self.place.no, &hash))?;
        self.txn.remove(KvTable::Entries, &rows::entry(self.place.no, key)).map(drop)
    }

    /// The number of the next change.
    pub(super) fn next_seq(&mut self) -> u64 {
        self.counters.head += 1;
        self.counters.head
    }

    /// Writes what was counted.
    pub(super) fn finish(self) -> Result<Counters, StoreError> {
        let Self { txn, place: Place { no, .. }, counters, authors, sums } = self;
        for (author, usage) in authors {
            let key = rows::author(no, &author);
            match usage.entries {
                0 => txn.remove(KvTable::Meta, &key).map(drop)?,
                _ => txn.put(KvTable::Meta, &key, &usage.encode())?,
            }
        }
        sums.write(txn, no)?;
        txn.put(KvTable::Meta, &rows::meta(Meta::Counters, no), &counters.encode())?;
        Ok(counters)
    }
}

/// Parts of a large value.
pub(crate) fn parts(size: usize) -> u32 {
    size.div_ceil(PART_BYTES) as u32
}

/// The current version of a key.
pub(crate) fn row(
    read: &impl KvRead,
    place: Place,
    key: &KvKey,
) -> Result<Option<Row>, StoreError> {
    let at = rows::entry(place.no, key.as_str());
    read.get_with(KvTable::Entries, &at, |bytes| Row::decode(place.id, key, bytes))?.transpose()
}
