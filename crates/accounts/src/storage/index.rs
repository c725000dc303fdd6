//! What a space holds, without the values: plans writes, pages and expiry.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ops::Bound,
    sync::Arc,
};

use peerage_api::storage::{
    Event, MAX_BATCH, MAX_BATCH_BYTES, MAX_BYTES, MAX_ENTRIES, MAX_KEY_BYTES, MAX_VALUE_BYTES,
    StorageError, Write,
};
use peerage_types::{ServiceName, UnixMillis};

use super::rows::{Row, slot_of};

/// Bytes of keys and values in one page of a list: 4 MiB, one value at least.
pub(crate) const MAX_PAGE_BYTES: u64 = 4 << 20;
/// Entries that are removed in one go when their time is over.
pub(crate) const MAX_EXPIRED: usize = 1000;

/// What is kept in memory of an entry: about 100 bytes and the key, twice if it expires;
/// × [`MAX_ENTRIES`] = 10 MB and the keys at worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Meta {
    revision: u64,
    expires: Option<UnixMillis>,
    /// Of key and value.
    bytes: u64,
    /// Where its row is, see [`rows`](super::rows).
    slot: u32,
}

/// An entry whose removal is not durable yet: its row may still be there, and whoever writes the
/// key again takes it over, so that a key has never two rows even if the removal fails.
#[derive(Debug, Clone, Copy)]
struct Leaving {
    slot: u32,
    /// Of the removal.
    revision: u64,
}

/// All entries of a space as they are once every write on its way has arrived.
pub(crate) struct Index {
    service: ServiceName,
    entries: BTreeMap<Arc<str>, Meta>,
    /// As many as the store's queue has room for: 8 MiB / 49 bytes = 171,000 at worst.
    leaving: HashMap<Arc<str>, Leaving>,
    expiring: BTreeSet<(UnixMillis, Arc<str>)>,
    bytes: u64,
    last: u64,
}

/// Writes that were checked, as one change.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) revision: u64,
    /// By key.
    pub(crate) changes: BTreeMap<String, Change>,
}

/// What becomes of an entry.
#[derive(Debug)]
pub(crate) struct Change {
    /// Where its row is or will be.
    pub(crate) slot: u32,
    /// Nothing if it goes.
    pub(crate) row: Option<Row>,
}

impl Plan {
    fn rows(&self) -> impl Iterator<Item = &Row> {
        self.changes.values().filter_map(|change| change.row.as_ref())
    }

    pub(crate) fn bytes(&self) -> usize {
        self.rows().map(|row| row.value.len()).sum()
    }

    pub(crate) fn removes(&self) -> bool {
        self.changes.values().any(|change| change.row.is_none())
    }

    /// What readers are told once it is durable.
    pub(crate) fn events(&self) -> Vec<Event> {
        let event = |(key, change): (&String, &Change)| match &change.row {
            Some(row) => Event::Put(row.to_entry()),
            None => Event::Deleted { key: key.clone(), revision: self.revision },
        };
        self.changes.iter().map(event).collect()
    }
}

impl Index {
    pub(crate) fn new(service: ServiceName) -> Self {
        let (entries, leaving, expiring) = (BTreeMap::new(), HashMap::new(), BTreeSet::new());
        Self { service, entries, leaving, expiring, bytes: 0, last: 0 }
    }

    /// Takes a row as it was stored, or only its revision if it is the mark of the last one.
    pub(crate) fn restore(&mut self, slot: u32, row: &Row) {
        self.last = self.last.max(row.revision);
        let is_news = |entry: &Meta| entry.revision < row.revision;
        if !row.is_mark() && self.entries.get(&*row.key).is_none_or(is_news) {
            self.remove(&row.key);
            self.insert(slot, row);
        }
    }

    /// Where the row of a key is, if it has one on disk or will have one.
    pub(crate) fn slot(&self, key: &str) -> Option<u32> {
        let entry = self.entries.get(key).map(|entry| entry.slot);
        entry.or_else(|| self.leaving.get(key).map(|leaving| leaving.slot))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Checks writes and says what they change; nothing changes yet.
    ///
    /// # Errors
    /// The first write that cannot be done refuses all of them.
    pub(crate) fn plan(&self, writes: Vec<Write>, now: UnixMillis) -> Result<Plan, StorageError> {
        check_batch(&writes)?;
        let mut plan = Plan { revision: self.last.saturating_add(1), changes: BTreeMap::new() };
        for write in writes {
            self.step(&mut plan, write, now)?;
        }
        self.check_quota(&plan)?;
        Ok(plan)
    }

    fn step(&self, plan: &mut Plan, write: Write, now: UnixMillis) -> Result<(), StorageError> {
        let (key, row, expected) = match write {
            Write::Put { key, value, if_revision, ttl_ms } => {
                let expires = ttl_ms.map(|ttl| UnixMillis(now.0.saturating_add(ttl)));
                let (revision, value) = (plan.revision, value.0);
                let row = Row { key: key.clone(), revision, updated: now, expires, value };
                (key, Some(row), if_revision)
            }
            Write::Delete { key, if_revision } => (key, None, if_revision),
        };
        let found = self.revision(plan, &key, now);
        match expected {
            Some(expected) if expected != found => {
                return Err(StorageError::Conflict { key, expected, found });
            }
            _ if found == 0 && row.is_none() => return Err(self.not_found(key)),
            _ => {
                let slot = self.slot(&key).unwrap_or(slot_of(plan.revision));
                plan.changes.insert(key, Change { slot, row });
            }
        }
        Ok(())
    }

    /// Of an entry after the writes before; 0 if there is none.
    fn revision(&self, plan: &Plan, key: &str, now: UnixMillis) -> u64 {
        match plan.changes.get(key) {
            Some(Change { row: Some(_), .. }) => plan.revision,
            Some(Change { row: None, .. }) => 0,
            None => {
                let entry = self.entries.get(key).filter(|entry| entry.is_live(now));
                entry.map_or(0, |entry| entry.revision)
            }
        }
    }

    pub(crate) fn not_found(&self, key: String) -> StorageError {
        StorageError::NotFound { service: self.service.clone(), key }
    }

    fn check_quota(&self, plan: &Plan) -> Result<(), StorageError> {
        let (mut entries, mut bytes) = (self.entries.len(), self.bytes);
        for (key, Change { row, .. }) in &plan.changes {
            if let Some(old) = self.entries.get(&**key) {
                (entries, bytes) = (entries - 1, bytes - old.bytes);
            }
            if let Some(row) = row {
                (entries, bytes) = (entries + 1, bytes + row.bytes());
            }
        }
        let over = |what: &str, max| {
            Err(StorageError::Quota { service: self.service.clone(), what: what.into(), max })
        };
        match () {
            // What takes space away is always welcome.
            () if entries > MAX_ENTRIES && entries > self.entries.len() => {
                over("entries", MAX_ENTRIES as u64)
            }
            () if bytes > MAX_BYTES && bytes > self.bytes => over("bytes", MAX_BYTES),
            () => Ok(()),
        }
    }

    /// Holds what was planned as done.
    pub(crate) fn adopt(&mut self, plan: &Plan) {
        self.last = plan.revision;
        for (key, Change { slot, row }) in &plan.changes {
            let removed = self.remove(key);
            match row {
                Some(row) => self.insert(*slot, row),
                None => {
                    let leaving = Leaving { slot: *slot, revision: plan.revision };
                    self.leaving.extend(removed.map(|key| (key, leaving)));
                }
            }
        }
    }

    /// A removal is durable.
    pub(crate) fn settle(&mut self, revision: u64) {
        self.leaving.retain(|_, leaving| leaving.revision != revision);
    }

    fn insert(&mut self, slot: u32, row: &Row) {
        let key: Arc<str> = row.key.as_str().into();
        let Row { revision, expires, .. } = *row;
        self.bytes += row.bytes();
        self.expiring.extend(expires.map(|at| (at, Arc::clone(&key))));
        self.entries.insert(key, Meta { revision, expires, bytes: row.bytes(), slot });
    }

    fn remove(&mut self, key: &str) -> Option<Arc<str>> {
        let (key, old) = self.entries.remove_entry(key)?;
        self.bytes -= old.bytes;
        if let Some(at) = old.expires {
            self.expiring.remove(&(at, Arc::clone(&key)));
        }
        Some(key)
    }

    /// When the next entry is over.
    pub(crate) fn next_expiry(&self) -> Option<UnixMillis> {
        self.expiring.first().map(|(at, _)| *at)
    }

    /// The removal of entries whose time is over, up to [`MAX_EXPIRED`] of them; nothing if there
    /// are none.
    pub(crate) fn plan_expiry(&self, now: UnixMillis) -> Option<Plan> {
        let over = self.expiring.iter().take_while(|(at, _)| *at <= now).take(MAX_EXPIRED);
        let removal = |key: &Arc<str>| {
            let slot = self.slot(key)?;
            Some((key.to_string(), Change { slot, row: None }))
        };
        let changes: BTreeMap<_, _> = over.filter_map(|(_, key)| removal(key)).collect();
        let revision = self.last.saturating_add(1);
        (!changes.is_empty()).then_some(Plan { revision, changes })
    }

    /// The next keys under a prefix with their slots, in the order of their bytes, and whether there
    /// are more.
    pub(crate) fn page(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
        now: UnixMillis,
    ) -> (Vec<(Arc<str>, u32)>, bool) {
        let from = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let live = self.entries.range::<str, _>((from, Bound::Unbounded));
        let live = live.take_while(|(key, _)| key.starts_with(prefix));
        let (mut keys, mut bytes) = (Vec::new(), 0);
        for (key, entry) in live.filter(|(_, entry)| entry.is_live(now)) {
            bytes += entry.bytes;
            if keys.len() == limit || (bytes > MAX_PAGE_BYTES && !keys.is_empty()) {
                return (keys, true);
            }
            keys.push((Arc::clone(key), entry.slot));
        }
        (keys, false)
    }
}

impl std::fmt::Debug for Index {
    /// Nothing of what is private.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let entries = self.entries.len();
        f.debug_struct("Index").field("service", &self.service).field("entries", &entries).finish()
    }
}

impl Meta {
    fn is_live(&self, now: UnixMillis) -> bool {
        self.expires.is_none_or(|at| at > now)
    }
}

fn check_batch(writes: &[Write]) -> Result<(), StorageError> {
    let many =
        |what: &str, max: usize| Err(StorageError::TooMany { what: what.into(), max: max as u64 });
    let size = |write: &Write| match write {
        Write::Put { key, value, .. } => key.len() + value.len(),
        Write::Delete { key, .. } => key.len(),
    };
    match writes {
        [] => Err(bad("writes", "are none; give at least one")),
        _ if writes.len() > MAX_BATCH => many("writes at once", MAX_BATCH),
        _ if writes.iter().map(size).sum::<usize>() > MAX_BATCH_BYTES => {
            many("bytes at once", MAX_BATCH_BYTES)
        }
        _ => writes.iter().try_for_each(check_write),
    }
}

fn check_write(write: &Write) -> Result<(), StorageError> {
    match write {
        Write::Put { value, .. } if value.len() > MAX_VALUE_BYTES => {
            Err(bad("value", format!("is longer than {MAX_VALUE_BYTES} bytes")))
        }
        Write::Put { ttl_ms: Some(0), .. } => Err(bad("ttl_ms", "is at least 1")),
        Write::Put { key, .. } | Write::Delete { key, .. } => check_key(key),
    }
}

/// # Errors
/// [`StorageError::BadField`].
pub(crate) fn check_key(key: &str) -> Result<(), StorageError> {
    match key.len() {
        0 => Err(bad("key", "is empty")),
        1..=MAX_KEY_BYTES => Ok(()),
        _ => Err(bad("key", format!("is longer than {MAX_KEY_BYTES} bytes"))),
    }
}

/// # Errors
/// [`StorageError::BadField`].
pub(crate) fn check_prefix(field: &str, text: &str) -> Result<(), StorageError> {
    match text.len() {
        0..=MAX_KEY_BYTES => Ok(()),
        _ => Err(bad(field, format!("is longer than {MAX_KEY_BYTES} bytes"))),
    }
}

fn bad(field: &str, reason: impl Into<String>) -> StorageError {
    StorageError::BadField { field: field.into(), reason: reason.into() }
}

#[cfg(test)]
mod tests;
