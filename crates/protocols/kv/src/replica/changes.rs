//! Changes of a space, replayed from the feed and then followed: the feed is the only source, so
//! there is neither a gap nor a repetition between the two.

use std::{
    ops::{Bound, ControlFlow},
    sync::{Arc, Mutex, PoisonError},
};

use peerage_api::kv::{Event, KvError, Value};
use peerage_store::{Kv, KvRead, KvTable, StoreError};
use peerage_types::{KvKey, Space};
use tokio::sync::{OwnedSemaphorePermit, watch};

use super::{
    Place, Replica,
    lately::Lately,
    list::{about, is_expired, kept_value, op_of},
    row, stored,
};
use crate::{
    bounds::{MAX_PAGE_BYTES, MAX_PAGE_EVENTS, MAX_SCAN, MAX_WATCHERS},
    rows::{self, Counters, Meta, REMOTE, Row, key_of, seq_of},
};

/// Changes of keys with a prefix, in pages.
#[derive(Debug)]
pub struct Changes {
    kv: Kv,
    place: Place,
    space: Space,
    prefix: String,
    /// The last one that was told.
    seq: u64,
    counters: watch::Receiver<Counters>,
    lately: Arc<Mutex<Lately>>,
    _place_among_watchers: OwnedSemaphorePermit,
}

impl Replica {
    /// Changes after `from`, a sequence number, and then those to come; without it only those.
    ///
    /// # Errors
    /// [`KvError::NoSuchSpace`], [`KvError::TooMany`] readers, [`KvError::Ahead`].
    pub fn changes(
        &self,
        space: Space,
        prefix: String,
        from: Option<u64>,
    ) -> Result<Changes, KvError> {
        let state = self.named(space)?;
        let full =
            |_| KvError::TooMany { what: "readers of changes".into(), max: MAX_WATCHERS as u64 };
        let permit = state.watchers.clone().try_acquire_owned().map_err(full)?;
        let counters = state.counters.subscribe();
        let last = counters.borrow().head;
        let seq = from.unwrap_or(last);
        if seq > last {
            return Err(KvError::Ahead { from: seq, seq: last });
        }
        let (kv, place, lately) = (self.inner.kv.clone(), state.place, state.lately.clone());
        let _place_among_watchers = permit;
        Ok(Changes { kv, place, space, prefix, seq, counters, lately, _place_among_watchers })
    }
}

impl Changes {
    /// The next changes; waits until there are any.
    ///
    /// # Errors
    /// [`KvError::NoSuchSpace`] once the space was left; [`KvError::Store`].
    ///
    /// # Cancel safety
    /// Yes: nothing is lost.
    pub async fn next(&mut self) -> Result<Vec<Event>, KvError> {
        loop {
            if self.counters.borrow_and_update().head > self.seq {
                let (place, seq, prefix) = (self.place, self.seq, self.prefix.clone());
                let read = self.kv.read(move |snapshot| page(snapshot, place, &prefix, seq));
                let (mut events, through) = read.await.map_err(stored)?;
                events.iter_mut().filter(|event| event.expired).for_each(|it| self.recall(it));
                self.seq = through;
                if !events.is_empty() {
                    return Ok(events);
                }
                continue;
            }
            let left = |_| KvError::NoSuchSpace { space: self.space };
            self.counters.changed().await.map_err(left)?;
        }
    }

    /// Adds the value that has expired, if it has only just.
    fn recall(&self, event: &mut Event) {
        let lately = self.lately.lock().unwrap_or_else(PoisonError::into_inner);
        event.old = lately.get(event.seq).or(event.old.take());
    }
}

/// A page of changes after `seq`, and up to where it reaches.
fn page(
    read: &impl KvRead,
    place: Place,
    prefix: &str,
    seq: u64,
) -> Result<(Vec<Event>, u64), StoreError> {
    let (first, last) = (rows::feed(place.no, seq), rows::feed(place.no, u64::MAX));
    let (mut events, mut through, mut scanned, mut bytes) = (Vec::new(), seq, 0, 0);
    let mut full = false;
    let range = (Bound::Excluded(&first[..]), Bound::Included(&last[..]));
    read.scan(KvTable::Feed, range, false, &mut |at, told| {
        if scanned >= MAX_SCAN || events.len() >= MAX_PAGE_EVENTS || bytes > MAX_PAGE_BYTES {
            full = true;
            return Ok(ControlFlow::Break(()));
        }
        (scanned, through) = (scanned + 1, seq_of(at)?);
        let key = told.get(8..).unwrap_or_default();
        if key.starts_with(prefix.as_bytes()) {
            let event = event(read, place, &key_of(key)?, through)?;
            bytes += event.as_ref().map_or(0, |event| size(event) + key.len());
            events.extend(event);
        }
        Ok(ControlFlow::Continue(()))
    })?;
    if !full {
        // Behind the last row there may be numbers that have none.
        let at = rows::meta(Meta::Counters, place.no);
        let counters = read.get_with(KvTable::Meta, &at, Counters::decode)?.transpose()?;
        through = through.max(counters.unwrap_or_default().head);
    }
    Ok((events, through))
}

fn size(event: &Event) -> usize {
    let of = |value: &Option<Value>| value.as_ref().map_or(0, |value| value.to_bytes().len());
    of(&event.value) + of(&event.old) + 256
}

/// The change that has a number; nothing if its version is not kept any more.
fn event(
    read: &impl KvRead,
    place: Place,
    key: &KvKey,
    seq: u64,
) -> Result<Option<Event>, StoreError> {
    let current = row(read, place, key)?.filter(|row| row.seq == seq);
    let is_current = current.is_some();
    let found = match current {
        Some(row) => Some(row),
        None => {
            let at = rows::version(place.no, key.as_str(), seq);
            let former = |bytes: &[u8]| Row::decode(place.id, key, bytes);
            read.get_with(KvTable::History, &at, former)?.transpose()?
        }
    };
    let Some(row) = found else { return Ok(None) };
    let before = before(read, place, key, seq)?;
    let entry = row.entry();
    Ok(Some(Event {
        seq,
        op: op_of(&row),
        key: key.clone(),
        value: kept_value(&row),
        about: about(&row, is_current).filter(|_| !row.is_dead()),
        old: before.as_ref().and_then(kept_value),
        old_about: before.as_ref().and_then(|before| about(before, false)),
        expired: is_expired(&row),
        revision: entry.revision(row.signed.fingerprint()),
        author: entry.author,
        updated_ms: entry.hlc.at(),
        remote: row.flags & REMOTE != 0,
    }))
}

/// The version before the one with a number.
fn before(
    read: &impl KvRead,
    place: Place,
    key: &KvKey,
    seq: u64,
) -> Result<Option<Row>, StoreError> {
    let first = rows::versions(place.no, key.as_str());
    let end = rows::version(place.no, key.as_str(), seq);
    let mut before = None;
    let range = (Bound::Included(&first[..]), Bound::Excluded(&end[..]));
    read.scan(KvTable::History, range, true, &mut |_, row| {
        before = Some(Row::decode(place.id, key, row)?);
        Ok(ControlFlow::Break(()))
    })?;
    Ok(before)
}
