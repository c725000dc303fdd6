//! Joining and leaving spaces.

use std::{
    ops::{Bound, ControlFlow},
    sync::{Arc, PoisonError},
};

use peerage_api::kv::{KvError, MAX_SPACES, SpaceKind};
use peerage_store::{KvRead, KvTable, KvTxn, StoreError};
use peerage_types::{SpaceId, UnixMillis};

use super::{Joined, Replica, open, stored};
use crate::{
    bounds::MAX_SWEEP,
    rows::{self, Counters, Meta, Prefix, SpaceNo, SpaceRow},
};

impl Replica {
    /// The spaces of this node, the default one among them.
    #[must_use]
    pub fn spaces(&self) -> Vec<Joined> {
        self.all().values().map(|space| space.shown()).collect()
    }

    /// One of them.
    ///
    /// # Errors
    /// [`KvError::NoSuchSpace`].
    pub fn space(&self, id: &SpaceId) -> Result<Joined, KvError> {
        self.joined(id).map(|space| space.shown())
    }

    /// Joins a space, or gives one that was joined another name.
    ///
    /// # Errors
    /// [`KvError::TooMany`], [`KvError::Busy`], [`KvError::Store`].
    ///
    /// # Cancel safety
    /// It may be joined nevertheless, which shows after a restart.
    pub async fn join_space(
        &self,
        id: SpaceId,
        kind: SpaceKind,
        name: String,
        _now: UnixMillis,
    ) -> Result<Joined, KvError> {
        if let Ok(space) = self.joined(&id) {
            let (no, renamed) = (space.place.no, name.clone());
            let pending = self.inner.kv.write(name.len(), move |txn| rename(txn, no, &renamed));
            pending.await.map_err(stored)?;
            *space.name() = name;
            return Ok(space.shown());
        }
        if self.all().len() >= MAX_SPACES {
            return Err(KvError::TooMany { what: "spaces".into(), max: MAX_SPACES as u64 });
        }
        let row = open::new_row(id, kind, name);
        let added = row.clone();
        let no =
            self.inner.kv.write(128, move |txn| open::add(txn, &added)).await.map_err(stored)?;
        let state = open::state(no, self.space_of(id), row, Counters::default(), Vec::new());
        let mut spaces = self.inner.spaces.write().unwrap_or_else(PoisonError::into_inner);
        Ok(spaces.entry(id).or_insert_with(|| Arc::new(state)).shown())
    }

    /// Leaves a space and removes all that this node has of it.
    ///
    /// # Errors
    /// [`KvError::NoSuchSpace`], also for the default one; [`KvError::Busy`]; [`KvError::Store`]: it
    /// was left, and what is still there of it is removed at the next start.
    ///
    /// # Cancel safety
    /// As after a crash: it was left or not, and the rest is removed at the next start.
    pub async fn leave_space(&self, id: SpaceId) -> Result<(), KvError> {
        if id == self.inner.default {
            return Err(KvError::NoSuchSpace { space: self.space_of(id) });
        }
        let no = self.joined(&id)?.place.no;
        let marked = self.inner.kv.write(16, move |txn| {
            txn.remove(KvTable::Meta, &rows::meta(Meta::Space, no))?;
            // Writes that are on their way find no counters and fail.
            txn.remove(KvTable::Meta, &rows::meta(Meta::Counters, no))?;
            txn.put(KvTable::Meta, &rows::meta(Meta::Leaving, no), &[])
        });
        marked.await.map_err(stored)?;
        self.inner.spaces.write().unwrap_or_else(PoisonError::into_inner).remove(&id);
        self.remove_all(no).await.map_err(stored)
    }

    /// Removes all rows of a space that was left, some at a time.
    pub(super) async fn remove_all(&self, no: SpaceNo) -> Result<(), StoreError> {
        loop {
            if self.inner.kv.write(0, move |txn| remove_some(txn, no)).await? {
                return Ok(());
            }
        }
    }
}

fn rename(txn: &mut KvTxn<'_>, no: SpaceNo, name: &str) -> Result<(), StoreError> {
    let key = rows::meta(Meta::Space, no);
    let row = txn.get_with(KvTable::Meta, &key, SpaceRow::decode)?.transpose()?;
    match row {
        Some(row) => txn.put(KvTable::Meta, &key, &SpaceRow { name: name.into(), ..row }.encode()),
        None => Ok(()),
    }
}

/// Whether that was all.
fn remove_some(txn: &mut KvTxn<'_>, no: SpaceNo) -> Result<bool, StoreError> {
    let of_space = no.to_be_bytes();
    let mut left = MAX_SWEEP;
    for table in [
        KvTable::Entries,
        KvTable::Feed,
        KvTable::Leaves,
        KvTable::Summaries,
        KvTable::History,
        KvTable::Tombstones,
        KvTable::Values,
    ] {
        remove_prefix(txn, table, &of_space, &mut left)?;
    }
    for kind in [Meta::Author, Meta::Replica, Meta::Grant, Meta::Revoking, Meta::Waiting] {
        remove_prefix(txn, KvTable::Meta, &rows::meta(kind, no), &mut left)?;
    }
    let mut expiring = Vec::new();
    let everything = (Bound::Unbounded, Bound::Unbounded);
    txn.scan(KvTable::Expiry, everything, false, &mut |key, _| {
        if key.get(8..12) == Some(&of_space) && expiring.len() < left {
            expiring.push(key.to_vec());
        }
        Ok(ControlFlow::Continue(()))
    })?;
    left -= expiring.len();
    remove(txn, KvTable::Expiry, &expiring)?;
    if left > 0 {
        txn.remove(KvTable::Meta, &rows::meta(Meta::Leaving, no))?;
    }
    Ok(left > 0)
}

fn remove_prefix(
    txn: &mut KvTxn<'_>,
    table: KvTable,
    prefix: &[u8],
    left: &mut usize,
) -> Result<(), StoreError> {
    if *left == 0 {
        return Ok(());
    }
    let mut keys = Vec::new();
    txn.scan(table, Prefix::new(prefix).range(), false, &mut |key, _| {
        keys.push(key.to_vec());
        Ok(if keys.len() < *left { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
    })?;
    *left -= keys.len();
    remove(txn, table, &keys)
}

fn remove(txn: &mut KvTxn<'_>, table: KvTable, keys: &[Vec<u8>]) -> Result<(), StoreError> {
    keys.iter().try_for_each(|key| txn.remove(table, key).map(drop))
}
