//! When more providers are looked for. Pure.

use std::time::{Duration, Instant};

use crate::bounds::{FIRST_SEARCH_INTERVAL, SEARCH_INTERVAL, SEARCH_TIMEOUT};

/// The searches of one transfer: now and then while somebody sends, soon and ever less often while
/// nobody does.
#[derive(Debug, Default)]
pub(crate) struct Search {
    last: Option<Instant>,
    /// Searches since the last progress that were begun while nobody sent.
    in_vain: u32,
}

impl Search {
    pub(crate) fn is_due(&self, fetching: bool, now: Instant) -> bool {
        self.next(fetching, now) <= now
    }

    pub(crate) fn on_begun(&mut self, fetching: bool, now: Instant) {
        self.last = Some(now);
        self.in_vain = if fetching { 0 } else { self.in_vain + 1 };
    }

    /// When the next one is due.
    pub(crate) fn next(&self, fetching: bool, now: Instant) -> Instant {
        let doubled = FIRST_SEARCH_INTERVAL * (1 << self.in_vain.saturating_sub(1).min(5));
        let interval: Duration = if fetching { SEARCH_INTERVAL } else { doubled };
        self.last.map_or(now, |last| last + interval.min(SEARCH_INTERVAL))
    }

    /// Until when the last one may bring somebody.
    pub(crate) fn may_bring_until(&self) -> Option<Instant> {
        self.last.map(|last| last + SEARCH_TIMEOUT)
    }

    pub(crate) fn on_progress(&mut self) {
        self.in_vain = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_lost_the_last_source_looks_at_once_and_then_ever_less_often() {
        let (mut search, mut now) = (Search::default(), Instant::now());
        assert!(search.is_due(true, now));
        search.on_begun(true, now);
        now += Duration::from_secs(30);
        assert!(!search.is_due(true, now) && search.is_due(false, now));
        let mut waits = Vec::new();
        for _ in 0..8 {
            search.on_begun(false, now);
            waits.push((search.next(false, now) - now).as_secs());
            now = search.next(false, now);
            assert!(search.is_due(false, now));
        }
        assert_eq!(waits, [5, 10, 20, 40, 60, 60, 60, 60]);
        search.on_progress();
        search.on_begun(false, now);
        assert_eq!((search.next(false, now) - now).as_secs(), 5);
        assert_eq!(search.may_bring_until(), Some(now + SEARCH_TIMEOUT));
    }
}
