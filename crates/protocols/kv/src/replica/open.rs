//! What is read when a node starts.

use std::{
    collections::BTreeMap,
    ops::{Bound, ControlFlow},
    sync::{Arc, Mutex, RwLock, atomic::AtomicU64},
};

use bytes::Bytes;
use peerage_api::kv::SpaceKind;
use peerage_store::{Kv, KvRead, KvTable, KvTxn, StoreError};
use peerage_types::{Hlc, Network, Space, SpaceId, UnixMillis};

use super::{Inner, Limits, Place, Replica, Signer, SpaceState, default_space, reads::Pace};
use crate::{
    bounds::floor,
    clock::Clock,
    fills::SharedFills,
    grants::Grants,
    rows::{self, Counters, Meta, SpaceNo, SpaceRow, corrupt},
};

/// Everything in Meta but authors and replicas.
#[derive(Default)]
struct Found {
    spaces: BTreeMap<SpaceNo, SpaceRow>,
    counters: BTreeMap<SpaceNo, Counters>,
    grants: BTreeMap<SpaceNo, Vec<Bytes>>,
    leaving: Vec<SpaceNo>,
    revoking: Vec<SpaceNo>,
    clock: Hlc,
}

impl Replica {
    /// Opens the replica of a node, and joins the network's default space the first time.
    ///
    /// # Errors
    /// What the store said.
    pub async fn open(
        local: Signer,
        network: &Network,
        limits: Limits,
        kv: Kv,
        now: UnixMillis,
    ) -> Result<Self, StoreError> {
        let default = default_space(network);
        let mut found = kv.read(load).await?;
        if !found.spaces.values().any(|space| space.id == default) {
            let row = new_row(default, SpaceKind::Default, "default".into());
            let no = kv.write(64, move |txn| add(txn, &row)).await?;
            found = kv.read(load).await?;
            debug_assert!(found.spaces.contains_key(&no));
        }
        let mut spaces = BTreeMap::new();
        for (no, row) in found.spaces {
            let counters = found.counters.get(&no).copied().unwrap_or_default();
            let grants = found.grants.remove(&no).unwrap_or_default();
            let space = if row.id == default { Space::Default } else { Space::Owned(row.id) };
            spaces.insert(row.id, Arc::new(state(no, space, row, counters, grants)));
        }
        let inner = Inner {
            pace: Pace::default(),
            kv,
            local,
            default,
            limits,
            clock: Mutex::new(Clock::after(found.clock)),
            spaces: RwLock::new(spaces),
            floor: AtomicU64::new(floor(now).0),
            fills: SharedFills::default(),
        };
        let replica = Self { inner: Arc::new(inner) };
        for no in found.leaving {
            replica.remove_all(no).await?;
        }
        for no in found.revoking {
            replica.finish_revoking(no).await;
        }
        Ok(replica)
    }
}

impl Replica {
    /// Ends what a crash has interrupted.
    async fn finish_revoking(&self, no: SpaceNo) {
        let space = self.all().values().find(|space| space.place.no == no).cloned();
        let Some(space) = space else { return };
        if let Err(error) = self.remove_uncovered(&space).await {
            tracing::warn!(space = %space.space, %error, "entries under a revoked grant are left");
        }
    }
}

/// A space as it is read or joined.
pub(super) fn state(
    no: SpaceNo,
    space: Space,
    row: SpaceRow,
    counters: Counters,
    grants: Vec<Bytes>,
) -> SpaceState {
    let place = Place { no, id: row.id };
    let grants = matches!(space, Space::Owned(_)).then(|| {
        let (grants, refused) = Grants::load(row.id, grants);
        if refused > 0 {
            tracing::warn!(space = %row.id, refused, "stored grants that do not hold are skipped");
        }
        grants
    });
    SpaceState::new(place, (space, row.kind), row.name, counters, grants)
}

pub(super) fn new_row(id: SpaceId, kind: SpaceKind, name: String) -> SpaceRow {
    SpaceRow {
        id,
        kind,
        epoch: rand::random::<u64>().max(1),
        as_of: UnixMillis(0),
        settled: 0,
        name,
    }
}

/// Adds a space under a number that has no rows.
pub(super) fn add(txn: &mut KvTxn<'_>, row: &SpaceRow) -> Result<SpaceNo, StoreError> {
    let found = load(txn)?;
    let used = found.spaces.keys().chain(&found.leaving).max();
    let no = used.map_or(1, |last| last + 1);
    txn.put(KvTable::Meta, &rows::meta(Meta::Space, no), &row.encode())?;
    let counters = Counters::default().encode();
    txn.put(KvTable::Meta, &rows::meta(Meta::Counters, no), &counters)?;
    Ok(no)
}

fn load(read: &impl KvRead) -> Result<Found, StoreError> {
    let mut found = Found::default();
    each(read, Meta::Space, &mut |no, _, row| {
        found.spaces.insert(no, SpaceRow::decode(row)?);
        Ok(())
    })?;
    each(read, Meta::Counters, &mut |no, _, row| {
        found.counters.insert(no, Counters::decode(row)?);
        Ok(())
    })?;
    each(read, Meta::Grant, &mut |no, _, row| {
        found.grants.entry(no).or_default().push(Bytes::copy_from_slice(row));
        Ok(())
    })?;
    each(read, Meta::Leaving, &mut |no, _, _| {
        found.leaving.push(no);
        Ok(())
    })?;
    each(read, Meta::Revoking, &mut |no, _, _| {
        found.revoking.push(no);
        Ok(())
    })?;
    let clock = read.get_with(KvTable::Meta, &rows::CLOCK, |high| high.try_into().ok())?;
    found.clock = Hlc(clock.flatten().map_or(0, u64::from_be_bytes));
    Ok(found)
}

type Visit<'a> = dyn FnMut(SpaceNo, &[u8], &[u8]) -> Result<(), StoreError> + 'a;

/// The rows of Meta of one kind: their space, the rest of their key, and what they say.
fn each(read: &impl KvRead, kind: Meta, visit: &mut Visit<'_>) -> Result<(), StoreError> {
    let (first, end) = ([kind as u8], [kind as u8 + 1]);
    let range = (Bound::Included(&first[..]), Bound::Excluded(&end[..]));
    read.scan(KvTable::Meta, range, false, &mut |key, row| {
        let (no, rest) = key[1..].split_first_chunk().ok_or_else(|| corrupt("a space"))?;
        visit(SpaceNo::from_be_bytes(*no), rest, row)?;
        Ok(ControlFlow::Continue(()))
    })
}
