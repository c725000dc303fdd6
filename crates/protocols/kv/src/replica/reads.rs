//! Single reads. A row is a few pages that are nearly always in memory, so it is read on the thread that
//! asks; on the blocking pool are read values that are kept apart, and everything while the disk is slow.

use std::{
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::{Duration, Instant},
};

use peerage_api::kv::{Entry, KvError, Value};
use peerage_store::StoreError;
use peerage_types::{KvKey, Space, UnixMillis};

use super::{
    Place, Replica,
    list::{entry_of, type_of},
    row, stored,
};
use crate::{
    bounds::SLOW_READ,
    rows::{self, Shown, corrupt},
};

/// How long the last read took.
#[derive(Debug, Default)]
pub(super) struct Pace {
    is_slow: AtomicBool,
}

impl Pace {
    fn is_slow(&self) -> bool {
        self.is_slow.load(Relaxed)
    }

    fn note(&self, took: Duration) {
        let is_slow = took > SLOW_READ;
        if is_slow != self.is_slow() {
            self.is_slow.store(is_slow, Relaxed);
        }
    }
}

/// What one row says of a key.
enum Glance {
    Entry(Entry),
    Nothing,
    /// The value is somewhere else.
    Apart,
}

impl Replica {
    /// The entry of a key.
    ///
    /// # Errors
    /// [`KvError::NotFound`], [`KvError::NoSuchSpace`], [`KvError::Store`].
    ///
    /// # Cancel safety
    /// Yes.
    pub async fn get(&self, space: Space, key: KvKey, now: UnixMillis) -> Result<Entry, KvError> {
        if let Some(answer) = self.get_at_once(space, &key, now) {
            return answer;
        }
        let (place, wanted, inner) = (self.named(space)?.place, key.clone(), self.inner.clone());
        let read = self.inner.kv.read(move |snapshot| {
            let begun = Instant::now();
            let row = row(snapshot, place, &wanted)?.filter(|row| !row.is_gone(now));
            inner.pace.note(begun.elapsed());
            row.map(|row| entry_of(snapshot, place, row)).transpose()
        });
        let found = read.await.map_err(stored)?;
        found.ok_or(KvError::NotFound { space, key })
    }

    /// The same without waiting; `None`: it must be waited for.
    pub(crate) fn get_at_once(
        &self,
        space: Space,
        key: &KvKey,
        now: UnixMillis,
    ) -> Option<Result<Entry, KvError>> {
        if self.inner.pace.is_slow() {
            return None;
        }
        let place = match self.named(space) {
            Ok(joined) => joined.place,
            Err(error) => return Some(Err(error)),
        };
        let begun = Instant::now();
        let glance = self.glance(place, key, now);
        self.inner.pace.note(begun.elapsed());
        match glance {
            Ok(Glance::Entry(entry)) => Some(Ok(entry)),
            Ok(Glance::Nothing) => Some(Err(KvError::NotFound { space, key: key.clone() })),
            Ok(Glance::Apart) => None,
            Err(error) => Some(Err(stored(error))),
        }
    }

    fn glance(&self, place: Place, key: &KvKey, now: UnixMillis) -> Result<Glance, StoreError> {
        let at = rows::entry(place.no, key.as_str());
        let read = self.inner.kv.peek(&at, |row| glance(key, &Shown::decode(row)?, now))?;
        read.unwrap_or(Ok(Glance::Nothing))
    }
}

#[cfg(test)]
impl Pace {
    pub(super) fn slow_down(&self) {
        self.note(SLOW_READ * 2);
    }
}

fn glance(key: &KvKey, shown: &Shown<'_>, now: UnixMillis) -> Result<Glance, StoreError> {
    if shown.is_gone(now) {
        return Ok(Glance::Nothing);
    }
    if shown.has_parts() {
        return Ok(Glance::Apart);
    }
    let kept = &shown.kept;
    let value = type_of(kept.kind).and_then(|kind| Value::copied(kind, shown.value));
    Ok(Glance::Entry(Entry {
        key: key.clone(),
        value: value.ok_or_else(|| corrupt("a value"))?,
        revision: kept.revision(),
        author: kept.author,
        updated_ms: kept.hlc.at(),
        expires_ms: kept.expires,
        seq: shown.seq,
    }))
}
