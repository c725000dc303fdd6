//! From whom a space is filled: from one peer at a time, since two would send the same.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use peerage_types::SpaceId;

use crate::bounds::PROGRESS_TIMEOUT;

/// Entries that may come in a session beside one that fills the space.
pub(crate) const LARGE: u64 = 1_000;
/// Whoever fills a space stores this much in each [`PROGRESS_TIMEOUT`], or others need not wait any longer:
/// 64 KiB, 2 KiB/s.
const PACE: u64 = 64 << 10;
/// Others wait no longer than this, however well it goes: over a slow line a space is filled for hours, and others
/// have news.
const MAX_WAIT: Duration = Duration::from_secs(600);

/// Who fills which space. Pure.
///
/// | a space is | on | becomes |
/// |---|---|---|
/// | free, or its filling has stalled | a session in which much is to come | filled by it |
/// | filled | something is stored | filled, for longer |
/// | filled | another session in which much is to come | the same: that one is put off |
/// | filled | the session ends, however it does | free |
#[derive(Debug, Default)]
struct Fills {
    /// Of joined spaces only.
    spaces: HashMap<SpaceId, Filling>,
    last: u64,
}

#[derive(Debug)]
struct Filling {
    number: u64,
    began: Instant,
    /// Since then, these bytes were stored.
    paced: (Instant, u64),
}

impl Filling {
    /// When others need not wait any longer, as it goes.
    fn until(&self) -> Instant {
        (self.paced.0 + PROGRESS_TIMEOUT).min(self.began + MAX_WAIT)
    }
}

impl Fills {
    /// The number of the filling, unless there is another one.
    fn begin(&mut self, space: SpaceId, now: Instant) -> Option<u64> {
        if self.until(&space, now).is_some() {
            return None;
        }
        self.last += 1;
        let filling = Filling { number: self.last, began: now, paced: (now, 0) };
        self.spaces.insert(space, filling);
        Some(self.last)
    }

    fn on_stored(&mut self, space: &SpaceId, number: u64, bytes: u64, now: Instant) {
        let filling = self.spaces.get_mut(space).filter(|filling| filling.number == number);
        let Some(Filling { paced, .. }) = filling else { return };
        paced.1 += bytes;
        if paced.1 >= PACE {
            *paced = (now, 0);
        }
    }

    fn end(&mut self, space: &SpaceId, number: u64) {
        if self.spaces.get(space).is_some_and(|filling| filling.number == number) {
            self.spaces.remove(space);
        }
    }

    /// Until when others wait; `None`: nobody fills the space, or it has stalled.
    fn until(&self, space: &SpaceId, now: Instant) -> Option<Instant> {
        self.spaces.get(space).map(Filling::until).filter(|until| *until > now)
    }
}

/// The same for all sessions of a node.
#[derive(Debug, Clone, Default)]
pub(crate) struct SharedFills(Arc<Mutex<Fills>>);

impl SharedFills {
    fn lock(&self) -> MutexGuard<'_, Fills> {
        // No code that can panic runs under the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The right to fill a space, unless somebody has it.
    pub(crate) fn begin(&self, space: SpaceId, now: Instant) -> Option<Fill> {
        let number = self.lock().begin(space, now)?;
        Some(Fill { fills: self.clone(), space, number })
    }

    /// Until when others wait; `None`: nobody fills the space, or it has stalled.
    pub(crate) fn until(&self, space: &SpaceId, now: Instant) -> Option<Instant> {
        self.lock().until(space, now)
    }
}

/// The right to fill a space, until dropped or stalled.
#[derive(Debug)]
pub(crate) struct Fill {
    fills: SharedFills,
    space: SpaceId,
    number: u64,
}

impl Fill {
    /// Something new was stored.
    pub(crate) fn on_stored(&self, bytes: u64, now: Instant) {
        self.fills.lock().on_stored(&self.space, self.number, bytes, now);
    }
}

impl Drop for Fill {
    fn drop(&mut self) {
        self.fills.lock().end(&self.space, self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPACE: SpaceId = SpaceId([1; 32]);
    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_space_is_filled_by_one_at_a_time_and_another_one_meanwhile() {
        let (fills, now) = (SharedFills::default(), Instant::now());
        let first = fills.begin(SPACE, now).unwrap();
        assert!(fills.begin(SPACE, now).is_none());
        assert!(fills.begin(SpaceId([2; 32]), now).is_some());
        assert_eq!(fills.until(&SPACE, now), Some(now + PROGRESS_TIMEOUT));
        drop(first);
        assert_eq!(fills.until(&SPACE, now), None);
        assert!(fills.begin(SPACE, now).is_some());
    }

    #[test]
    fn one_that_stalls_or_crawls_keeps_others_off_for_the_progress_timeout_only() {
        let (fills, now) = (SharedFills::default(), Instant::now());
        let first = fills.begin(SPACE, now).unwrap();
        first.on_stored(PACE, now + SECOND);
        // A little now and then is none.
        first.on_stored(PACE - 1, now + SECOND * 2);
        let stalled = now + SECOND + PROGRESS_TIMEOUT;
        assert!(fills.begin(SPACE, stalled - SECOND).is_none());
        let second = fills.begin(SPACE, stalled).unwrap();
        // What the first one does counts no more.
        first.on_stored(PACE, stalled + SECOND);
        assert_eq!(fills.until(&SPACE, stalled), Some(stalled + PROGRESS_TIMEOUT));
        drop(first);
        assert!(fills.begin(SPACE, stalled).is_none());
        drop(second);
        assert!(fills.begin(SPACE, stalled).is_some());
    }

    #[test]
    fn others_do_not_wait_for_hours() {
        let (fills, mut now) = (SharedFills::default(), Instant::now());
        let latest = now + MAX_WAIT;
        let first = fills.begin(SPACE, now).unwrap();
        while now < latest {
            assert!(fills.begin(SPACE, now).is_none());
            now += SECOND * 10;
            first.on_stored(PACE, now);
        }
        assert!(fills.begin(SPACE, now).is_some());
    }
}
