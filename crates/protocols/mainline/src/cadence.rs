//! When a rendezvous is looked up, announced and written: the rhythm of one, without clock or I/O.
//!
//! | state | next lookup after one ended |
//! |---|---|
//! | lonely (no member connected) | 1, 2, 4, 8, 16, then 30 s |
//! | settled | 10 to 15 min |

use std::time::{Duration, Instant};

use peerage_types::UnixMillis;
use peerage_wire::mainline::slot::{HOUR, LEAD, Slot};

/// Longest wait between lookups while no member is connected.
pub const LONELY_INTERVAL: Duration = Duration::from_secs(30);
/// Shortest wait between lookups and between announcements when some is. Announcements are forgotten
/// after 30 min by the strictest nodes of the DHT.
pub const SETTLED_INTERVAL: Duration = Duration::from_secs(10 * 60);
/// Added to [`SETTLED_INTERVAL`] at random, so that nodes do not fall into step.
pub const SETTLED_JITTER: Duration = Duration::from_secs(5 * 60);
/// The first wait, which doubles up to [`LONELY_INTERVAL`].
const FIRST_DELAY: Duration = Duration::from_secs(1);
/// After a write that failed.
const REWRITE_DELAY: Duration = Duration::from_secs(60);

/// A moment, by both clocks: intervals are measured by one, hours are told by the other.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// Of the monotonic clock.
    pub instant: Instant,
    /// Of the wall clock.
    pub unix: UnixMillis,
}

impl Now {
    /// What both clocks say.
    #[must_use]
    pub fn get() -> Self {
        Self { instant: Instant::now(), unix: UnixMillis::now() }
    }
}

/// When what is due for one rendezvous.
#[derive(Debug, Clone)]
pub struct Rhythm {
    /// Whether lookups go on by themselves.
    looks: bool,
    rounds: u32,
    lookup_at: Instant,
    announce_at: Instant,
    /// The last hour whose slot holds our record.
    written: Option<u64>,
    write_at: Instant,
    /// Our place in the 15 minutes before an hour, so that members do not all write at once.
    offset: Duration,
}

/// What the node has to offer at the moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Can {
    /// A port to announce.
    pub announce: bool,
    /// Addresses to write into slots.
    pub write: bool,
}

/// What is to be done now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Due {
    /// Look up.
    pub lookup: bool,
    /// Announce.
    pub announce: bool,
    /// Write our record into a slot of this hour.
    pub write: Option<u64>,
}

impl Due {
    /// Whether there is nothing.
    #[must_use]
    pub fn is_nothing(self) -> bool {
        self == Self::default()
    }
}

/// What of a round was done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Done {
    /// The lookup, whatever it found.
    pub lookup: bool,
    /// The announcement, by nodes that said so.
    pub announce: bool,
    /// The slot of this hour holds our record.
    pub write: Option<u64>,
}

impl Rhythm {
    /// A rhythm whose everything is due. `looks`: whether lookups go on by themselves; `jitter` is
    /// from 0 to 1.
    #[must_use]
    pub fn new(looks: bool, jitter: f64, now: Instant) -> Self {
        Self {
            looks,
            rounds: 0,
            lookup_at: now,
            announce_at: now,
            written: None,
            write_at: now,
            // Done two thirds into the lead: the rest is for those that must try again.
            offset: LEAD.mul_f64(jitter.clamp(0.0, 1.0) * 2.0 / 3.0),
        }
    }

    /// What is due.
    #[must_use]
    pub fn due(&self, now: Now, can: Can) -> Due {
        let writes = can.write && self.write_at <= now.instant;
        Due {
            lookup: self.looks && self.lookup_at <= now.instant,
            announce: can.announce && self.announce_at <= now.instant,
            write: self.unwritten(now.unix).filter(|_| writes),
        }
    }

    /// When something will be due, at the latest a [`SETTLED_INTERVAL`] from now.
    #[must_use]
    pub fn wake_at(&self, now: Now, can: Can) -> Instant {
        let lookup = self.looks.then_some(self.lookup_at);
        let announce = can.announce.then_some(self.announce_at);
        let unwritten = now.instant + self.until_unwritten(now.unix);
        let write = can.write.then(|| self.write_at.max(unwritten));
        let first = [lookup, announce, write].into_iter().flatten().min();
        let latest = now.instant + SETTLED_INTERVAL;
        first.map_or(latest, |at| at.min(latest))
    }

    /// Lookups go on by themselves from now on.
    pub fn look(&mut self, now: Instant) {
        if !self.looks {
            self.looks = true;
            self.lookup_at = now;
        }
    }

    /// A round ended. `jitter` is from 0 to 1.
    pub fn on_round(&mut self, due: Due, done: Done, lonely: bool, jitter: f64, now: Instant) {
        if due.lookup {
            self.rounds = self.rounds.saturating_add(1);
            self.lookup_at = now + self.lookup_delay(lonely, jitter);
        }
        if due.announce {
            // What failed is tried again with the next lookup.
            let again = self.lookup_delay(true, jitter);
            self.announce_at = now + if done.announce { settled(jitter) } else { again };
        }
        if done.write.is_some() {
            self.written = self.written.max(done.write);
        } else if due.write.is_some() {
            self.write_at = now + REWRITE_DELAY;
        }
    }

    /// The last member is gone, or the first has come. `jitter` is from 0 to 1.
    pub fn on_lonely(&mut self, lonely: bool, jitter: f64, now: Instant) {
        self.rounds = 0;
        let delay = self.lookup_delay(lonely, jitter);
        self.lookup_at = if lonely { self.lookup_at.min(now + delay) } else { now + delay };
    }

    /// The port or whether it can be reached changed: announce at once.
    pub fn on_port(&mut self, now: Instant) {
        self.announce_at = now;
    }

    /// The addresses changed: write again, at most once a minute.
    pub fn on_addresses(&mut self, now: Instant) {
        if self.written.take().is_some() {
            self.write_at = now + REWRITE_DELAY;
        }
    }

    fn lookup_delay(&self, lonely: bool, jitter: f64) -> Duration {
        if lonely {
            (FIRST_DELAY * 2_u32.saturating_pow(self.rounds.saturating_sub(1).min(5)))
                .min(LONELY_INTERVAL)
        } else {
            settled(jitter)
        }
    }

    /// The hour for which a record should stand in a slot already and does not: this one, or the
    /// next once its slots are written.
    fn unwritten(&self, now: UnixMillis) -> Option<u64> {
        let hour = Slot::hour_at(now);
        let next = Slot::hour_at(now.plus(LEAD - self.offset));
        match self.written {
            Some(written) if written >= next => None,
            Some(written) if written >= hour => Some(next),
            _ => Some(hour),
        }
    }

    fn until_unwritten(&self, now: UnixMillis) -> Duration {
        if self.unwritten(now).is_some() {
            return Duration::ZERO;
        }
        let hour = u64::try_from(HOUR.as_millis()).unwrap_or(u64::MAX);
        let into = now.plus(LEAD - self.offset).0 % hour;
        Duration::from_millis(hour - into)
    }
}

/// 10 to 15 minutes.
#[must_use]
pub fn settled(jitter: f64) -> Duration {
    SETTLED_INTERVAL + SETTLED_JITTER.mul_f64(jitter.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAN: Can = Can { announce: true, write: true };
    const ALL: Due = Due { lookup: true, announce: true, write: None };
    const DONE: Done = Done { lookup: true, announce: true, write: None };

    fn at(instant: Instant, minute: u64) -> Now {
        Now { instant, unix: UnixMillis(1_800_000_000_000 + minute * 60_000) }
    }

    fn hour(minute: u64) -> u64 {
        Slot::hour_at(at(Instant::now(), minute).unix)
    }

    #[test]
    fn a_lonely_node_looks_up_ever_less_often_down_to_every_30_seconds() {
        let start = Instant::now();
        let mut rhythm = Rhythm::new(true, 0.5, start);
        assert!(rhythm.due(at(start, 0), CAN).lookup, "at once");
        let mut delays = Vec::new();
        let mut now = start;
        for _ in 0..8 {
            rhythm.on_round(ALL, DONE, true, 0.5, now);
            delays.push((rhythm.lookup_at - now).as_secs());
            now = rhythm.lookup_at;
        }
        assert_eq!(delays, [1, 2, 4, 8, 16, 30, 30, 30]);
    }

    #[test]
    fn a_settled_node_looks_up_every_10_to_15_minutes() {
        let start = Instant::now();
        for (jitter, expected) in [(0.0, 600), (0.5, 750), (1.0, 900)] {
            let mut rhythm = Rhythm::new(true, 0.5, start);
            rhythm.on_lonely(false, jitter, start);
            assert_eq!((rhythm.lookup_at - start).as_secs(), expected);
            rhythm.on_round(ALL, DONE, false, jitter, start);
            assert_eq!((rhythm.lookup_at - start).as_secs(), expected);
        }
    }

    #[test]
    fn a_node_that_loses_its_last_peer_looks_up_within_a_second() {
        let start = Instant::now();
        let mut rhythm = Rhythm::new(true, 0.5, start);
        rhythm.on_lonely(false, 0.5, start);
        rhythm.on_lonely(true, 0.5, start);
        assert_eq!(rhythm.lookup_at - start, Duration::from_secs(1));
    }

    #[test]
    fn an_announcement_lasts_for_10_minutes_though_lookups_go_on() {
        let start = Instant::now();
        let mut rhythm = Rhythm::new(true, 0.5, start);
        rhythm.on_round(ALL, DONE, true, 0.0, start);
        let later = start + Duration::from_secs(30);
        assert!(!rhythm.due(at(later, 0), CAN).announce);
        assert!(rhythm.due(at(later, 0), CAN).lookup);
        assert!(rhythm.due(at(start + SETTLED_INTERVAL, 0), CAN).announce);
    }

    #[test]
    fn an_announcement_that_failed_is_tried_again_soon() {
        let start = Instant::now();
        let mut rhythm = Rhythm::new(true, 0.5, start);
        rhythm.on_round(ALL, Done { announce: false, ..DONE }, true, 0.0, start);
        assert!(rhythm.due(at(start + Duration::from_secs(2), 0), CAN).announce);
    }

    #[test]
    fn what_only_announces_does_not_look_up() {
        let start = Instant::now();
        let rhythm = Rhythm::new(false, 0.5, start);
        let due = rhythm.due(at(start, 0), CAN);
        assert!(!due.lookup && due.announce);
    }

    #[test]
    fn a_record_is_written_at_once_and_45_minutes_into_each_hour_for_the_next() {
        let start = Instant::now();
        let mut rhythm = Rhythm::new(true, 0.0, start);
        let write = |rhythm: &Rhythm, minute| rhythm.due(at(start, minute), CAN).write;
        assert_eq!(write(&rhythm, 10), Some(hour(10)));
        rhythm.written = Some(hour(10));
        assert_eq!(write(&rhythm, 44), None);
        assert_eq!(write(&rhythm, 45), Some(hour(60)));
        rhythm.written = Some(hour(60));
        assert_eq!(write(&rhythm, 59), None);
        assert_eq!(write(&rhythm, 104), None);
        assert_eq!(write(&rhythm, 105), Some(hour(120)));
    }

    #[test]
    fn a_node_that_slept_through_an_hour_writes_the_present_one_first() {
        let start = Instant::now();
        let mut rhythm = Rhythm::new(true, 0.0, start);
        rhythm.written = Some(hour(0));
        assert_eq!(rhythm.due(at(start, 59 + 60), CAN).write, Some(hour(60)));
    }

    #[test]
    fn members_write_at_different_minutes_but_before_the_hour() {
        let start = Instant::now();
        let mut rhythm = Rhythm::new(true, 1.0, start);
        rhythm.written = Some(hour(0));
        assert_eq!(rhythm.due(at(start, 54), CAN).write, None);
        assert_eq!(rhythm.due(at(start, 55), CAN).write, Some(hour(60)));
    }

    #[test]
    fn it_wakes_when_something_is_due_and_not_before() {
        let start = Instant::now();
        let mut rhythm = Rhythm::new(true, 0.0, start);
        rhythm.on_round(ALL, Done { write: Some(hour(0)), ..DONE }, false, 0.0, start);
        for minute in 0..45 {
            let now = at(start, minute);
            let wake = rhythm.wake_at(now, CAN);
            let until_slots = Duration::from_secs((45 - minute) * 60);
            assert_eq!(wake, start + SETTLED_INTERVAL.min(until_slots), "at minute {minute}");
            assert!(rhythm.due(now, CAN).is_nothing(), "at minute {minute}");
        }
        assert_eq!(rhythm.wake_at(at(start, 45), CAN), start, "the slots of the next hour");
    }

    #[test]
    fn new_addresses_are_written_but_not_more_than_once_a_minute() {
        let start = Instant::now();
        let mut rhythm = Rhythm::new(true, 0.0, start);
        rhythm.written = Some(hour(0));
        rhythm.on_addresses(start);
        assert_eq!(rhythm.due(at(start, 1), CAN).write, None);
        assert_eq!(rhythm.due(at(start + REWRITE_DELAY, 1), CAN).write, Some(hour(1)));
    }
}
