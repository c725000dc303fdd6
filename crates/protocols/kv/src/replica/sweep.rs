//! What leaves the store: entries whose time is over, deletions that all have forgotten, and entries
//! that were deleted while this replica was away.

use std::{
    collections::BTreeMap,
    ops::{Bound, ControlFlow},
    sync::{Arc, atomic::Ordering::Relaxed},
};

use peerage_api::kv::KvError;
use peerage_store::{KvRead, KvTable, KvTxn, StoreError};
use peerage_types::{KvKey, SpaceId, UnixMillis};
use peerage_wire::kv::Fingerprint;

use super::{
    Replica, SpaceState,
    batch::Verdict,
    edit::{Edit, Place},
    lately::Lately,
    list::kept_value,
    stored,
};
use crate::{
    KeyHash,
    bounds::{MAX_SWEEP, floor},
    rows::{self, Counters, Row, SpaceNo, corrupt, key_of},
};

/// Whether an entry that was found by its key is to be removed.
type Pick = dyn Fn(&Row) -> bool + Send + Sync;

impl Replica {
    /// Marks the entries whose time is over; tells when the next one is due. Reads take them for
    /// deleted without that.
    ///
    /// # Errors
    /// [`KvError::Busy`], [`KvError::Store`]: some may be marked.
    ///
    /// # Cancel safety
    /// Some may be marked.
    pub async fn expire(&self, now: UnixMillis) -> Result<Option<UnixMillis>, KvError> {
        loop {
            let next = self.inner.kv.read(next_due).await.map_err(stored)?;
            if next.is_none_or(|next| next > now) {
                return Ok(next);
            }
            let spaces: BTreeMap<_, _> =
                self.all().values().map(|space| (space.place.no, space.clone())).collect();
            let places: BTreeMap<_, _> =
                spaces.iter().map(|(no, space)| (*no, space.place)).collect();
            let tell = move |done: &Vec<Expired>| {
                for Expired { no, counters, lately } in done {
                    let space = spaces.get(no).into_iter();
                    space.for_each(|space| space.publish_expired(*counters, lately));
                }
            };
            let expire = move |txn: &mut KvTxn<'_>| expire_some(txn, &places, now);
            self.inner.kv.write_then(0, expire, tell).await.map_err(stored)?;
        }
    }

    /// Forgets what was deleted or expired up to [`floor`]`(now)`, in all spaces; tells how many.
    /// Such entries are not accepted again from then on.
    ///
    /// # Errors
    /// [`KvError::Busy`], [`KvError::Store`]: some may be forgotten.
    ///
    /// # Cancel safety
    /// Some may be forgotten.
    pub async fn release(&self, now: UnixMillis) -> Result<u64, KvError> {
        let floor = floor(now);
        self.expire(floor).await?;
        self.inner.floor.fetch_max(floor.0, Relaxed);
        let spaces: Vec<_> = self.all().values().cloned().collect();
        let mut released = 0;
        for space in spaces {
            loop {
                let no = space.place.no;
                let dead = self.inner.kv.read(move |snapshot| dead_until(snapshot, no, floor));
                let dead = dead.await.map_err(stored)?;
                if dead.is_empty() {
                    break;
                }
                let is_dead = move |row: &Row| row.is_dead() && rows::died(row.entry()) <= floor;
                released += self.erase(&space, dead, Arc::new(is_dead)).await?;
            }
        }
        Ok(released)
    }

    /// Removes entries without a trace, if they still are what is said; tells how many.
    ///
    /// # Errors
    /// [`KvError::NoSuchSpace`], [`KvError::Busy`], [`KvError::Store`]: some may be removed.
    ///
    /// # Cancel safety
    /// Some may be removed.
    pub async fn bury(
        &self,
        space: &SpaceId,
        dead: Vec<(KeyHash, Fingerprint)>,
    ) -> Result<u64, KvError> {
        let space = self.joined(space)?;
        let mut buried = 0;
        for part in dead.chunks(MAX_SWEEP) {
            let (part, no) = (part.to_vec(), space.place.no);
            let fingerprints: BTreeMap<_, _> = part.iter().copied().collect();
            let keys = self.inner.kv.read(move |snapshot| {
                let found = part.iter().map(|(hash, _)| key_behind(snapshot, no, hash));
                found.filter_map(Result::transpose).collect::<Result<Vec<_>, _>>()
            });
            let keys = keys.await.map_err(stored)?;
            let is_said = move |row: &Row| {
                let hash = crate::key_hash(row.entry().key.as_str());
                fingerprints.get(&hash) == Some(row.signed.fingerprint())
            };
            buried += self.erase(&space, keys, Arc::new(is_said)).await?;
        }
        Ok(buried)
    }

    /// Removes those of the entries that are picked, in one transaction.
    pub(super) async fn erase(
        &self,
        space: &Arc<SpaceState>,
        keys: Vec<KvKey>,
        pick: Arc<Pick>,
    ) -> Result<u64, KvError> {
        if keys.is_empty() {
            return Ok(0);
        }
        let (place, named) = (space.place, space.space);
        let pending = self.commit(space, 0, move |txn| {
            let erased = erase_some(txn, place, &keys, &*pick)?;
            let verdict: Verdict<u64> = erased.ok_or(KvError::NoSuchSpace { space: named });
            Ok(verdict)
        });
        let (_, erased) = pending.await.map_err(stored)??;
        Ok(erased)
    }
}

fn erase_some(
    txn: &mut KvTxn<'_>,
    place: Place,
    keys: &[KvKey],
    pick: &Pick,
) -> Result<Option<(Counters, u64)>, StoreError> {
    let Some(mut edit) = Edit::begin(txn, place)? else { return Ok(None) };
    let mut erased = 0;
    for key in keys {
        if let Some(row) = edit.row(key)?.filter(|row| pick(row)) {
            edit.erase(&row)?;
            erased += 1;
        }
    }
    // A number without a row in the feed: whoever waits for changes sees that something has.
    edit.next_seq();
    Ok(Some((edit.finish()?, erased)))
}

fn next_due(read: &impl KvRead) -> Result<Option<UnixMillis>, StoreError> {
    let mut next = None;
    let everything = (Bound::Unbounded, Bound::Unbounded);
    read.scan(KvTable::Expiry, everything, false, &mut |key, _| {
        next = Some(due(key)?.0);
        Ok(ControlFlow::Break(()))
    })?;
    Ok(next)
}

/// When, where and what.
fn due(key: &[u8]) -> Result<(UnixMillis, SpaceNo, KvKey), StoreError> {
    let parts = key.split_first_chunk::<8>().and_then(|(at, rest)| {
        let (no, key) = rest.split_first_chunk()?;
        Some((UnixMillis(u64::from_be_bytes(*at)), SpaceNo::from_be_bytes(*no), key))
    });
    let (at, no, key) = parts.ok_or_else(|| corrupt("an expiry"))?;
    Ok((at, no, key_of(key)?))
}

/// What was marked in a space.
#[derive(Debug)]
struct Expired {
    no: SpaceNo,
    counters: Counters,
    lately: Lately,
}

fn expire_some(
    txn: &mut KvTxn<'_>,
    places: &BTreeMap<SpaceNo, Place>,
    now: UnixMillis,
) -> Result<Vec<Expired>, StoreError> {
    let mut found = BTreeMap::<SpaceNo, Vec<(UnixMillis, KvKey)>>::new();
    let mut left = MAX_SWEEP;
    let end = now.0.saturating_add(1).to_be_bytes();
    let range = (Bound::Unbounded, Bound::Excluded(&end[..]));
    txn.scan(KvTable::Expiry, range, false, &mut |key, _| {
        let (at, no, key) = due(key)?;
        found.entry(no).or_default().push((at, key));
        left -= 1;
        Ok(if left > 0 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
    })?;
    let mut done = Vec::new();
    for (no, keys) in found {
        let edit = match places.get(&no) {
            Some(place) => Edit::begin(txn, *place)?,
            None => None,
        };
        match edit {
            Some(edit) => done.push(expire_in(edit, no, &keys)?),
            // Of a space that was left.
            None => {
                for (at, key) in keys {
                    txn.remove(KvTable::Expiry, &rows::expiry(at, no, key.as_str()))?;
                }
            }
        }
    }
    Ok(done)
}

fn expire_in(
    mut edit: Edit<'_, '_>,
    no: SpaceNo,
    keys: &[(UnixMillis, KvKey)],
) -> Result<Expired, StoreError> {
    let mut lately = Lately::default();
    for (_, key) in keys {
        if let Some(row) = edit.row(key)?.filter(|row| !row.is_dead()) {
            let (seq, value) = (edit.expire(&row)?, kept_value(&row));
            value.into_iter().for_each(|value| lately.remember(seq, row.value.len(), value));
        }
    }
    Ok(Expired { no, counters: edit.finish()?, lately })
}

fn dead_until(
    read: &impl KvRead,
    no: SpaceNo,
    floor: UnixMillis,
) -> Result<Vec<KvKey>, StoreError> {
    let first = no.to_be_bytes();
    let end = rows::tombstone(no, UnixMillis(floor.0.saturating_add(1)), "");
    let mut keys = Vec::new();
    let range = (Bound::Included(&first[..]), Bound::Excluded(&end[..]));
    read.scan(KvTable::Tombstones, range, false, &mut |key, _| {
        keys.push(key_of(key.get(12..).unwrap_or_default())?);
        let more = keys.len() < MAX_SWEEP;
        Ok(if more { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
    })?;
    Ok(keys)
}

/// The key that has a hash.
pub(crate) fn key_behind(
    read: &impl KvRead,
    no: SpaceNo,
    hash: &KeyHash,
) -> Result<Option<KvKey>, StoreError> {
    let leaf = read.get_with(KvTable::Leaves, &rows::leaf(no, hash), rows::leaf_of)?;
    let Some((seq, _)) = leaf.transpose()? else { return Ok(None) };
    let told = read.get_with(KvTable::Feed, &rows::feed(no, seq), |row| {
        key_of(row.get(8..).unwrap_or_default())
    })?;
    told.transpose()?.map(Some).ok_or_else(|| corrupt("a leaf"))
}
