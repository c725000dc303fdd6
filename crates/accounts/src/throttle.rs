//! How often passwords may be tried: a pure core, with the time as an argument.

use std::{collections::HashMap, time::Duration};

use peerage_types::{UnixMillis, UserId};

/// Wrong passwords in a row that cost nothing.
const FREE: u32 = 5;
/// The longest wait between two attempts.
const MAX_WAIT: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Copy)]
struct Failures {
    count: u32,
    last: UnixMillis,
}

/// Wrong passwords in a row, for users of this node, which bounds it. After [`FREE`] of them the
/// next attempt waits 1 s from the last, then 2, 4, … [`MAX_WAIT`].
#[derive(Debug, Default)]
pub(crate) struct Throttle {
    failures: HashMap<UserId, Failures>,
}

impl Throttle {
    /// How long the user still has to wait, if it has to.
    pub(crate) fn wait(&self, user: &UserId, now: UnixMillis) -> Option<Duration> {
        let Failures { count, last } = self.failures.get(user)?;
        let doublings = count.checked_sub(FREE)?;
        let seconds = 1u64.checked_shl(doublings).unwrap_or(u64::MAX);
        let delay = Duration::from_secs(seconds).min(MAX_WAIT);
        // A clock that was set back must not lock anybody out for longer.
        delay.checked_sub(now.since(*last)).filter(|left| !left.is_zero())
    }

    /// Notes a wrong password.
    pub(crate) fn on_failure(&mut self, user: UserId, now: UnixMillis) {
        let failures = self.failures.entry(user).or_insert(Failures { count: 0, last: now });
        // 32 doublings are more than enough, and cannot overflow.
        *failures = Failures { count: (failures.count + 1).min(FREE + 32), last: now };
    }

    /// Forgets what was wrong: the password was right, or the user is gone.
    pub(crate) fn clear(&mut self, user: &UserId) {
        self.failures.remove(user);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALICE: UserId = UserId([1; 32]);
    const BOB: UserId = UserId([2; 32]);

    fn at(ms: u64) -> UnixMillis {
        UnixMillis(1_000_000 + ms)
    }

    #[test]
    fn five_attempts_are_free_and_each_further_one_waits_longer() {
        let mut throttle = Throttle::default();
        for _ in 0..FREE {
            assert_eq!(throttle.wait(&ALICE, at(0)), None);
            throttle.on_failure(ALICE, at(0));
        }
        for seconds in [1, 2, 4, 8, 16, 32, 60, 60] {
            let wait = Duration::from_secs(seconds);
            assert_eq!(throttle.wait(&ALICE, at(0)), Some(wait));
            assert_eq!(
                throttle.wait(&ALICE, at(seconds * 1000 - 1)),
                Some(Duration::from_millis(1))
            );
            assert_eq!(throttle.wait(&ALICE, at(seconds * 1000)), None);
            throttle.on_failure(ALICE, at(0));
        }
        assert_eq!(throttle.wait(&BOB, at(0)), None, "each user by itself");
        for _ in 0..100 {
            throttle.on_failure(ALICE, at(0));
        }
        assert_eq!(throttle.wait(&ALICE, at(0)), Some(MAX_WAIT));
    }

    #[test]
    fn the_right_password_begins_anew() {
        let mut throttle = Throttle::default();
        (0..FREE).for_each(|_| throttle.on_failure(ALICE, at(0)));
        throttle.clear(&ALICE);
        throttle.on_failure(ALICE, at(1));
        assert_eq!(throttle.wait(&ALICE, at(1)), None);
    }

    #[test]
    fn a_clock_that_was_set_back_locks_nobody_out_for_longer_than_a_minute() {
        let mut throttle = Throttle::default();
        (0..99).for_each(|_| throttle.on_failure(ALICE, at(1_000_000)));
        assert_eq!(throttle.wait(&ALICE, at(0)), Some(MAX_WAIT));
    }
}
