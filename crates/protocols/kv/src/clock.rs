//! The hybrid logical clock of a node.

use peerage_types::{Hlc, UnixMillis};

use crate::bounds::MAX_DRIFT;

/// Gives readings that are later than all it has given and seen.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Clock {
    high: Hlc,
}

/// The wall clock is behind what was seen by more than [`MAX_DRIFT`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Behind {
    /// By so many seconds.
    pub(crate) seconds: u64,
}

impl Clock {
    /// Goes on after a reading.
    #[must_use]
    pub(crate) fn after(high: Hlc) -> Self {
        Self { high }
    }

    /// The latest reading it has given or seen.
    #[must_use]
    pub(crate) fn high(&self) -> Hlc {
        self.high
    }

    /// The first of `count` consecutive readings, all of which are given by this.
    ///
    /// # Errors
    /// [`Behind`]: nothing was given.
    pub(crate) fn tick(&mut self, now: UnixMillis, count: u64) -> Result<Hlc, Behind> {
        let first = Hlc::new(now, 0).0.max(self.high.0.saturating_add(1));
        let last = Hlc(first.saturating_add(count.max(1) - 1));
        if is_ahead(last, now) {
            return Err(Behind { seconds: last.at().since(now).as_secs() });
        }
        self.high = last;
        Ok(Hlc(first))
    }

    /// Sees a reading of another node.
    pub(crate) fn observe(&mut self, seen: Hlc) {
        self.high = self.high.max(seen);
    }
}

/// Whether a reading is further ahead of the wall clock than [`MAX_DRIFT`].
#[must_use]
pub(crate) fn is_ahead(hlc: Hlc, now: UnixMillis) -> bool {
    hlc.at() > now.plus(MAX_DRIFT)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_never_goes_back_whatever_the_wall_clock_does(
            steps in prop::collection::vec((0_u64..200_000, 1_u64..70_000, any::<bool>()), 1..50),
        ) {
            let mut clock = Clock::default();
            for (at, count, seen) in steps {
                let (now, before) = (UnixMillis(at), clock.high());
                if seen {
                    clock.observe(Hlc::new(now, count as u16));
                    prop_assert!(clock.high() >= before);
                    continue;
                }
                match clock.tick(now, count) {
                    Ok(first) => {
                        prop_assert!(first > before && first >= Hlc::new(now, 0));
                        prop_assert_eq!(clock.high(), Hlc(first.0 + count - 1));
                        prop_assert!(!is_ahead(clock.high(), now));
                    }
                    Err(behind) => {
                        prop_assert!(behind.seconds >= MAX_DRIFT.as_secs());
                        prop_assert_eq!(clock.high(), before);
                    }
                }
            }
        }
    }

    #[test]
    fn a_clock_that_is_too_far_behind_writes_nothing() {
        let mut clock = Clock::after(Hlc::new(UnixMillis(100_000), 0));
        assert_eq!(clock.tick(UnixMillis(39_999), 1), Err(Behind { seconds: 60 }));
        assert!(clock.tick(UnixMillis(40_000), 1).is_ok());
    }
}
