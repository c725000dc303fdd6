//! Who may read and write: grants as they are stored, and what becomes of entries when one is taken
//! back.

use std::{
    ops::{Bound, ControlFlow},
    sync::Arc,
};

use bytes::Bytes;
use peerage_api::kv::KvError;
use peerage_store::{KvRead, KvTable, StoreError};
use peerage_types::{Author, KvKey, Space, SpaceId, UnixMillis};
use peerage_wire::kv::grant::GrantRecord;

use super::{Place, Refusal, Replica, SpaceState, stored, total};
use crate::{
    View,
    bounds::MAX_SCAN,
    grants::{GrantError, Grants, Inserted},
    rows::{self, Counters, Meta, Prefix, Row, SpaceRow, corrupt, key_of},
    view::Facts,
};

impl Replica {
    /// The grants of an owned space; nothing for the default one, and for one that was not joined.
    #[must_use]
    pub fn grants(&self, space: &SpaceId) -> Option<Arc<Grants>> {
        self.joined(space).ok()?.grants()
    }

    /// Takes grants and revocations in, each after those it refers to or in any order; tells how many
    /// were new. Entries that were written under what was taken back are removed. Durable when it
    /// returns.
    ///
    /// # Errors
    /// [`KvError::BadTicket`]: one of them is forged or gives more than its issuer had; those before
    /// it were not taken either. [`KvError::NoSuchSpace`], [`KvError::Busy`], [`KvError::Store`].
    ///
    /// # Cancel safety
    /// They may be taken nevertheless.
    pub async fn add_grants(
        &self,
        space: &SpaceId,
        grants: Vec<Bytes>,
        _now: UnixMillis,
    ) -> Result<usize, KvError> {
        let space = self.joined(space)?;
        let gate = space.gate.lock().await;
        let Some(held) = space.grants() else { return Ok(0) };
        let mut held = Grants::clone(&held);
        let new = take(&mut held, grants)
            .map_err(|error| KvError::BadTicket { reason: error.to_string() })?;
        if new.is_empty() {
            return Ok(0);
        }
        let count = new.len();
        let revokes = new.iter().any(is_revocation);
        let no = space.place.no;
        let pending = self.inner.kv.write(count * 512, move |txn| {
            if txn.get_with(KvTable::Meta, &rows::meta(Meta::Space, no), |_| ())?.is_none() {
                return Ok(());
            }
            for record in &new {
                let place = GrantRecord::place(record).ok_or_else(|| corrupt("a grant"))?;
                txn.put(KvTable::Meta, &rows::grant(no, &place), record)?;
            }
            match revokes {
                true => txn.put(KvTable::Meta, &rows::meta(Meta::Revoking, no), &[]),
                false => Ok(()),
            }
        });
        pending.await.map_err(stored)?;
        space.set_grants(held);
        drop(gate);
        if revokes {
            self.remove_uncovered(&space).await?;
        }
        Ok(count)
    }

    /// Removes the entries that nobody may have written.
    pub(super) async fn remove_uncovered(&self, space: &Arc<SpaceState>) -> Result<(), KvError> {
        let mut after: Option<KvKey> = None;
        loop {
            let (of, from) = (space.clone(), after.clone());
            let read = self.inner.kv.read(move |snapshot| uncovered(snapshot, &of, from.as_ref()));
            let (keys, last) = read.await.map_err(stored)?;
            let of = space.clone();
            self.erase(space, keys, Arc::new(move |row| !is_covered(&of, row))).await?;
            if last.is_none() {
                break;
            }
            after = last;
        }
        let no = space.place.no;
        let done = move |txn: &mut peerage_store::KvTxn<'_>| {
            txn.remove(KvTable::Meta, &rows::meta(Meta::Revoking, no)).map(drop)
        };
        self.inner.kv.write(8, done).await.map_err(stored)
    }

    /// A snapshot of what a reader may read.
    ///
    /// # Errors
    /// [`Refusal`].
    ///
    /// # Cancel safety
    /// Yes.
    pub async fn view(
        &self,
        space: &SpaceId,
        reader: &Author,
        now: UnixMillis,
    ) -> Result<View, Refusal> {
        let space = self.joined(space).map_err(|_| Refusal::NoSuchSpace)?;
        let prefixes = space.readable(reader, now).ok_or(Refusal::NoGrant)?;
        let failed = |error| Refusal::Store(stored(error));
        let kv = self.inner.kv.clone();
        let snapshot = kv.snapshot().await.map_err(failed)?;
        let place = space.place;
        let facts = kv.read_at(&snapshot, move |read| facts(read, place)).await.map_err(failed)?;
        let facts = facts.ok_or(Refusal::NoSuchSpace)?;
        View::new(kv, snapshot, place, facts, prefixes).await.map_err(failed)
    }
}

/// Takes records in, in whichever order they can be; gives those that were new.
fn take(held: &mut Grants, mut records: Vec<Bytes>) -> Result<Vec<Bytes>, GrantError> {
    let mut new = Vec::new();
    loop {
        let (before, mut later) = (records.len(), Vec::new());
        for record in records {
            match held.insert(record.clone()) {
                Ok(Inserted::New) => new.push(record),
                Ok(Inserted::Known) => {}
                Err(error) if error.is_fault() => return Err(error),
                Err(_) => later.push(record),
            }
        }
        if later.is_empty() || later.len() == before {
            return Ok(new);
        }
        records = later;
    }
}

fn is_revocation(record: &Bytes) -> bool {
    matches!(GrantRecord::decode(record.clone()), Ok(GrantRecord::Revocation(_)))
}

fn is_covered(space: &SpaceState, row: &Row) -> bool {
    let entry = row.entry();
    space.may_write(&entry.author, entry.key.as_str(), entry.hlc)
}

/// Keys of entries that are not covered, and the key behind which to go on.
fn uncovered(
    read: &impl KvRead,
    space: &SpaceState,
    after: Option<&KvKey>,
) -> Result<(Vec<KvKey>, Option<KvKey>), StoreError> {
    let place = space.place;
    let all = Prefix::new(&rows::entry(place.no, ""));
    let from = after.map(|key| rows::entry(place.no, key.as_str()));
    let start = from.as_deref().map_or(all.range().0, Bound::Excluded);
    let (mut found, mut scanned, mut last) = (Vec::new(), 0, None);
    read.scan(KvTable::Entries, (start, all.end()), false, &mut |key, row| {
        let key = key_of(&key[4..])?;
        if !is_covered(space, &Row::decode(place.id, &key, row)?) {
            found.push(key.clone());
        }
        scanned += 1;
        if scanned < MAX_SCAN {
            return Ok(ControlFlow::Continue(()));
        }
        last = Some(key);
        Ok(ControlFlow::Break(()))
    })?;
    Ok((found, last))
}

/// `None`: the space was left.
fn facts(read: &impl KvRead, place: Place) -> Result<Option<Facts>, StoreError> {
    let at = rows::meta(Meta::Space, place.no);
    let row = read.get_with(KvTable::Meta, &at, SpaceRow::decode)?.transpose()?;
    let at = rows::meta(Meta::Counters, place.no);
    let counters = read.get_with(KvTable::Meta, &at, Counters::decode)?.transpose()?;
    let (Some(row), Some(counters)) = (row, counters) else { return Ok(None) };
    let summary = total(read, place.no)?;
    let SpaceRow { epoch, as_of, settled, .. } = row;
    Ok(Some(Facts { epoch, head: counters.head, summary, as_of, settled }))
}

impl SpaceState {
    /// Whether an author may write a key.
    pub(super) fn may_write(&self, author: &Author, key: &str, at: peerage_types::Hlc) -> bool {
        self.space == Space::Default
            || self.grants().is_some_and(|grants| grants.may_write(author, key, at))
    }

    fn readable(&self, reader: &Author, now: UnixMillis) -> Option<Vec<String>> {
        match self.space {
            Space::Default => Some(vec![String::new()]),
            Space::Owned(_) => self.grants()?.readable(reader, now),
        }
    }
}
