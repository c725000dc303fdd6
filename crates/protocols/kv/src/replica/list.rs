//! Pages of entries, versions and figures.

use std::ops::{Bound, ControlFlow};

use bytes::Bytes;
use peerage_api::{
    kv::{About, Entry, KvError, List, Op, Stats, Value, ValueKind, Version},
    users::Paged,
};
use peerage_store::{KvRead, KvTable, StoreError};
use peerage_types::{KvKey, Space, UnixMillis};
use peerage_wire::kv::Kind;

use super::{Place, Replica, parts, peers, row, stored};
use crate::{
    bounds::{MAX_PAGE_BYTES, MAX_SCAN},
    key_hash,
    rows::{self, BARE, Counters, EXPIRED, Prefix, Row, corrupt, key_of},
};

/// Beside keys and values an entry takes about this much as JSON.
const ENTRY_BYTES: usize = 256;

impl Replica {
    /// A page of entries in the order of the keys' bytes.
    ///
    /// # Errors
    /// [`KvError::NoSuchSpace`], [`KvError::Store`].
    ///
    /// # Cancel safety
    /// Yes.
    pub async fn list(&self, ask: List, now: UnixMillis) -> Result<Paged<Entry>, KvError> {
        let place = self.named(ask.space)?.place;
        let read = self.inner.kv.read(move |snapshot| page(snapshot, place, &ask, now));
        read.await.map_err(stored)
    }

    /// The versions of a key that are still kept, the newest first.
    ///
    /// # Errors
    /// [`KvError::NotFound`] if there are none; [`KvError::NoSuchSpace`], [`KvError::Store`].
    ///
    /// # Cancel safety
    /// Yes.
    pub async fn history(&self, space: Space, key: KvKey) -> Result<Vec<Version>, KvError> {
        let place = self.named(space)?.place;
        let wanted = key.clone();
        let read = self.inner.kv.read(move |snapshot| versions(snapshot, place, &wanted));
        let found = read.await.map_err(stored)?;
        if found.is_empty() { Err(KvError::NotFound { space, key }) } else { Ok(found) }
    }

    /// Figures of a space.
    ///
    /// # Errors
    /// [`KvError::NoSuchSpace`], [`KvError::Store`].
    ///
    /// # Cancel safety
    /// Yes.
    pub async fn stats(&self, space: Space) -> Result<Stats, KvError> {
        let space = self.named(space)?;
        let no = space.place.no;
        let read = self.inner.kv.read(move |snapshot| peers::known(snapshot, no));
        let peers::Known { replicas, last_sync, last_moved } = read.await.map_err(stored)?;
        let (access, revoked_ms) = space.access(&self.inner.local.author, UnixMillis::now());
        let last_refusal = space.last_refusal();
        let Counters { head: seq, entries, tombstones, bytes } = *space.counters.borrow();
        let spaces = self.all().len() as u64;
        let file_bytes = self.inner.kv.file_bytes();
        Ok(Stats {
            entries,
            tombstones,
            bytes,
            file_bytes,
            spaces,
            seq,
            replicas,
            last_sync,
            last_moved,
            last_refusal,
            access,
            revoked_ms,
        })
    }
}

fn page(
    read: &impl KvRead,
    place: Place,
    ask: &List,
    now: UnixMillis,
) -> Result<Paged<Entry>, StoreError> {
    let prefix = Prefix::new(&rows::entry(place.no, &ask.prefix));
    let at = |key: &str| rows::entry(place.no, key);
    let from = ask.from.as_ref().map(|from| at(from.as_str()));
    let to = ask.to.as_ref().map(|to| at(to.as_str()));
    let after = ask.page.after.as_deref().map(at);
    let first = from.max(Some(at(&ask.prefix))).unwrap_or_default();
    let start = match &after {
        Some(after) if *after >= first => Bound::Excluded(&after[..]),
        _ => Bound::Included(&first[..]),
    };
    let end = match (prefix.end(), &to) {
        (Bound::Excluded(end), Some(to)) => Bound::Excluded(end.min(to)),
        (Bound::Unbounded, Some(to)) => Bound::Excluded(&to[..]),
        (end, _) => end,
    };
    let mut list = Paged { items: Vec::new(), next: None };
    if is_empty(start, end) {
        return Ok(list);
    }
    let (mut bytes, mut scanned, mut last) = (0, 0, None);
    let mut full = false;
    read.scan(KvTable::Entries, (start, end), false, &mut |key, value| {
        let key = key_of(&key[4..])?;
        let row = Row::decode(place.id, &key, value)?;
        let size = row.entry().size as usize + key.as_str().len() + ENTRY_BYTES;
        let gone = row.is_gone(now);
        let exceeds = !list.items.is_empty() && (bytes + size > MAX_PAGE_BYTES);
        if scanned >= MAX_SCAN || list.items.len() >= ask.page.limit() || (!gone && exceeds) {
            full = true;
            return Ok(ControlFlow::Break(()));
        }
        scanned += 1;
        last = Some(key);
        if !gone {
            bytes += size;
            list.items.push(entry_of(read, place, row)?);
        }
        Ok(ControlFlow::Continue(()))
    })?;
    list.next = last.filter(|_| full).map(String::from);
    Ok(list)
}

/// Whether a range is empty or turned round, which the store would not take.
fn is_empty(start: Bound<&[u8]>, end: Bound<&[u8]>) -> bool {
    match (start, end) {
        (Bound::Included(start) | Bound::Excluded(start), Bound::Excluded(end)) => start >= end,
        _ => false,
    }
}

/// A row as it is shown, with its value.
pub(super) fn entry_of(read: &impl KvRead, place: Place, row: Row) -> Result<Entry, StoreError> {
    let bytes = if row.has_parts() { large(read, place, &row)? } else { row.value.clone() };
    let value = value_of(row.entry().kind, &bytes).ok_or_else(|| corrupt("a value"))?;
    let entry = row.entry();
    Ok(Entry {
        key: entry.key.clone(),
        value,
        revision: entry.revision(row.signed.fingerprint()),
        author: entry.author,
        updated_ms: entry.hlc.at(),
        expires_ms: entry.expires,
        seq: row.seq,
    })
}

/// A value that is kept in parts.
fn large(read: &impl KvRead, place: Place, row: &Row) -> Result<Bytes, StoreError> {
    let size = row.entry().size as usize;
    let hash = key_hash(row.entry().key.as_str());
    let mut bytes = Vec::with_capacity(size);
    for part in 0..parts(size) {
        let at = rows::value(place.no, &hash, part);
        read.get_with(KvTable::Values, &at, |part| bytes.extend_from_slice(part))?;
    }
    if bytes.len() == size { Ok(bytes.into()) } else { Err(corrupt("a large value")) }
}

fn value_of(kind: Kind, bytes: &Bytes) -> Option<Value> {
    Value::from_bytes(type_of(kind)?, bytes)
}

/// The type of a value, unless it is a deletion.
pub(super) fn type_of(kind: Kind) -> Option<ValueKind> {
    match kind {
        Kind::String => Some(ValueKind::String),
        Kind::Int => Some(ValueKind::Int),
        Kind::Float => Some(ValueKind::Float),
        Kind::Bytes => Some(ValueKind::Bytes),
        Kind::Json => Some(ValueKind::Json),
        Kind::Delete | Kind::Purge => None,
    }
}

/// What a version did.
pub(super) fn op_of(row: &Row) -> Op {
    if row.is_dead() { Op::Delete } else { Op::Put }
}

/// What the value of a version is, if it had one.
pub(super) fn about(row: &Row, current: bool) -> Option<About> {
    let entry = row.entry();
    let hash = blake3::Hash::from_bytes(entry.hash).to_hex().to_string();
    type_of(entry.kind).map(|kind| About { kind, size: entry.size.into(), hash, current })
}

/// Whether the time of a version is over, which somebody has noticed.
pub(super) fn is_expired(row: &Row) -> bool {
    row.flags & EXPIRED != 0
}

/// The value of a version, if it had one and it is still kept with it.
pub(super) fn kept_value(row: &Row) -> Option<Value> {
    let kept = row.flags & (BARE | EXPIRED) == 0 && !row.has_parts();
    value_of(row.entry().kind, &row.value).filter(|_| kept)
}

fn versions(read: &impl KvRead, place: Place, key: &KvKey) -> Result<Vec<Version>, StoreError> {
    let mut found = Vec::new();
    if let Some(row) = row(read, place, key)? {
        let value = match row.has_parts() {
            true => value_of(row.entry().kind, &large(read, place, &row)?),
            false => kept_value(&row),
        };
        found.push(version_of(&row, value));
    }
    let prefix = Prefix::new(&rows::versions(place.no, key.as_str()));
    read.scan(KvTable::History, prefix.range(), true, &mut |_, row| {
        let row = Row::decode(place.id, key, row)?;
        found.push(version_of(&row, kept_value(&row)));
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(found)
}

fn version_of(row: &Row, value: Option<Value>) -> Version {
    let entry = row.entry();
    Version {
        op: op_of(row),
        value,
        size: u64::from(entry.size),
        expired: is_expired(row),
        revision: entry.revision(row.signed.fingerprint()),
        author: entry.author,
        updated_ms: entry.hlc.at(),
        seq: row.seq,
    }
}
