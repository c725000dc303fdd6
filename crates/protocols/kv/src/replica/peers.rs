//! What is remembered of peers.

use std::ops::ControlFlow;

use peerage_api::kv::{KvError, SyncReport};
use peerage_store::{KvRead, KvTable, KvTxn, StoreError};
use peerage_types::{PeerId, SpaceId, UnixMillis};

use super::{Replica, stored};
use crate::{
    Cursor, Equal,
    bounds::{MAX_REPLICAS, floor},
    rows::{self, Meta, Prefix, ReplicaRow, SpaceNo, SpaceRow},
};

/// Notes how far a feed was taken over.
pub(super) fn put_cursor(
    txn: &mut KvTxn<'_>,
    space: SpaceNo,
    peer: &[u8],
    cursor: Cursor,
) -> Result<(), StoreError> {
    change(txn, space, peer, |row| row.cursor = Some(cursor))
}

fn change(
    txn: &mut KvTxn<'_>,
    space: SpaceNo,
    key: &[u8],
    change: impl FnOnce(&mut ReplicaRow),
) -> Result<(), StoreError> {
    let row = txn.get_with(KvTable::Meta, key, ReplicaRow::decode)?.transpose()?;
    if row.is_none() {
        make_room(txn, space)?;
    }
    let mut row = row.unwrap_or_default();
    change(&mut row);
    txn.put(KvTable::Meta, key, &row.encode())
}

/// Forgets the peer that was not synchronised with for the longest time, if there are too many.
fn make_room(txn: &mut KvTxn<'_>, space: SpaceNo) -> Result<(), StoreError> {
    let (mut count, mut oldest) = (0, None);
    each(txn, space, &mut |key, row| {
        count += 1;
        let found = (row.synced_at.max(row.equal_at), key.to_vec());
        oldest =
            Some(oldest.take().map_or(found.clone(), |oldest: (UnixMillis, _)| oldest.min(found)));
    })?;
    match oldest {
        Some((_, key)) if count >= MAX_REPLICAS => txn.remove(KvTable::Meta, &key).map(drop),
        _ => Ok(()),
    }
}

fn each(
    read: &impl KvRead,
    space: SpaceNo,
    visit: &mut dyn FnMut(&[u8], ReplicaRow),
) -> Result<(), StoreError> {
    let prefix = Prefix::new(&rows::meta(Meta::Replica, space));
    read.scan(KvTable::Meta, prefix.range(), false, &mut |key, row| {
        visit(key, ReplicaRow::decode(row)?);
        Ok(ControlFlow::Continue(()))
    })
}

/// What is remembered of all peers.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// How many they are.
    pub(super) replicas: u64,
    /// The last session in which entries travelled, or that was the first with its peer.
    pub(super) last_sync: Option<SyncReport>,
    /// The last session in which entries travelled.
    pub(super) last_moved: Option<SyncReport>,
}

pub(super) fn known(read: &impl KvRead, space: SpaceNo) -> Result<Known, StoreError> {
    let mut known = Known::default();
    each(read, space, &mut |key, row| {
        let Ok(peer) = PeerId::from_bytes(&key[rows::meta(Meta::Replica, space).len()..]) else {
            return;
        };
        known.replicas += 1;
        if row.synced_at.0 > 0 {
            known.on_report(row.report(peer));
        }
    })?;
    Ok(known)
}

impl Known {
    fn on_report(&mut self, report: SyncReport) {
        let is_later =
            |than: &Option<SyncReport>| than.as_ref().is_none_or(|it| report.at_ms > it.at_ms);
        if moved(&report) && is_later(&self.last_moved) {
            self.last_moved = Some(report.clone());
        }
        if is_later(&self.last_sync) {
            self.last_sync = Some(report);
        }
    }
}

/// Whether entries travelled.
fn moved(report: &SyncReport) -> bool {
    report.entries_in + report.entries_out + report.refused > 0
}

impl Replica {
    /// Notes a session that ended well, with what it did if it did anything, and how far the peer's feed
    /// was taken over if it was. A session that tells no more than the one before is noted once an hour.
    ///
    /// `equal`: both sides were found equal. A replica that is up to date, or becomes equal with one that is,
    /// knows of all deletions up to now; two that both were away for long know no more than the one
    /// that was away for less.
    ///
    /// # Errors
    /// [`KvError::NoSuchSpace`], [`KvError::Busy`], [`KvError::Store`].
    ///
    /// # Cancel safety
    /// It may happen nevertheless.
    pub async fn synced(
        &self,
        space: &SpaceId,
        peer: PeerId,
        report: SyncReport,
        equal: Option<Equal>,
        cursor: Option<Cursor>,
        now: UnixMillis,
    ) -> Result<(), KvError> {
        let space = self.joined(space)?;
        space.on_served(&peer);
        let moved = moved(&report);
        let noted = (cursor, equal.map(|equal| equal.head));
        if space.is_noted(peer, noted, now) && !moved {
            return Ok(());
        }
        let (no, key) = (space.place.no, rows::replica(space.place.no, &peer));
        let pending = self.inner.kv.write(key.len() + 88, move |txn| {
            let at = rows::meta(Meta::Space, no);
            let Some(row) = txn.get_with(KvTable::Meta, &at, SpaceRow::decode)?.transpose()? else {
                return Ok(());
            };
            if let Some(Equal { as_of, head }) = equal {
                let as_of = known_to(row.as_of, as_of, now);
                // Among what two that were away have in common is what others never saw.
                let settled = if as_of == now { head } else { row.settled };
                txn.put(KvTable::Meta, &at, &SpaceRow { as_of, settled, ..row }.encode())?;
            }
            change(txn, no, &key, |row| {
                if moved || row.synced_at.0 == 0 {
                    row.set_report(&report);
                    row.synced_at = now;
                }
                row.cursor = cursor.or(row.cursor);
                if let Some(Equal { head, .. }) = equal {
                    (row.equal_at, row.settled) = (now, head);
                }
            })
        });
        let outcome = pending.await.map_err(stored);
        if outcome.is_err() {
            space.forget_noted(&peer);
        }
        outcome
    }
}

/// Up to when a replica knows of all deletions after it was found equal with another one.
fn known_to(mine: UnixMillis, theirs: UnixMillis, now: UnixMillis) -> UnixMillis {
    let present = |as_of: UnixMillis| as_of >= floor(now);
    let both_new = mine.0 == 0 && theirs.0 == 0;
    if both_new || present(mine) || present(theirs) { now } else { mine.max(theirs) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_away_for_long_is_not_present_again_because_of_another_who_was() {
        let at = |days: u64| UnixMillis(days * 24 * 60 * 60 * 1000);
        let now = at(100);
        assert_eq!(known_to(at(0), at(0), now), now, "a new network");
        assert_eq!(known_to(at(10), at(90), now), now);
        assert_eq!(known_to(at(90), at(10), now), now);
        assert_eq!(known_to(at(10), at(20), now), at(20));
        assert_eq!(known_to(at(0), at(20), now), at(20), "a new one learns from one that was away");
    }
}
