//! How fast, and how fast at most. Pure.

use std::time::{Duration, Instant};

/// How far back the rate looks.
const WINDOW: Duration = Duration::from_secs(3);
/// Bytes that may be sent at once after a rest, in time at the full rate.
const BURST: Duration = Duration::from_millis(250);

/// Bytes a second of late: an average whose weights fall by e every [`WINDOW`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rate {
    bytes_per_s: f64,
    last: Instant,
    /// Since the start, an average over less than the window would be too low.
    began: Instant,
}

impl Rate {
    pub(crate) fn new(now: Instant) -> Self {
        Self { bytes_per_s: 0.0, last: now, began: now }
    }

    /// So many bytes moved since the last call.
    #[expect(clippy::cast_precision_loss, reason = "an average")]
    pub(crate) fn on_bytes(&mut self, bytes: u64, now: Instant) {
        let passed = now.duration_since(self.last).as_secs_f64();
        if passed <= 0.0 {
            self.bytes_per_s += bytes as f64 / WINDOW.as_secs_f64();
            return;
        }
        let kept = (-passed / WINDOW.as_secs_f64()).exp();
        self.bytes_per_s = self.bytes_per_s * kept + (1.0 - kept) * bytes as f64 / passed;
        self.last = now;
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "never negative")]
    pub(crate) fn bytes_per_s(&self) -> u64 {
        let age = self.last.duration_since(self.began).as_secs_f64();
        let weight = 1.0 - (-age / WINDOW.as_secs_f64()).exp();
        (self.bytes_per_s / weight.max(0.01)) as u64
    }

    /// Seconds until `bytes` have moved at this rate; `None` when that is not in sight.
    pub(crate) fn eta_s(&self, bytes: u64) -> Option<u64> {
        match self.bytes_per_s() {
            0 => None,
            rate => Some(bytes.div_ceil(rate)).filter(|eta| *eta < 365 * 86_400),
        }
    }
}

/// At most so many bytes a second, as a debt that is paid off by waiting.
#[derive(Debug)]
pub(crate) struct Throttle {
    bytes_per_s: Option<u64>,
    /// When all that was taken so far is paid off.
    paid: Instant,
}

impl Throttle {
    pub(crate) fn new(bytes_per_s: Option<u64>, now: Instant) -> Self {
        Self { bytes_per_s: bytes_per_s.map(|rate| rate.max(1)), paid: now }
    }

    /// Whether there is a limit at all.
    pub(crate) fn is_limited(&self) -> bool {
        self.bytes_per_s.is_some()
    }

    /// Takes `bytes` and returns how long to wait before they may move.
    pub(crate) fn take(&mut self, bytes: u64, now: Instant) -> Duration {
        let Some(rate) = self.bytes_per_s else { return Duration::ZERO };
        let from = self.paid.max(now.checked_sub(BURST).unwrap_or(now));
        #[expect(clippy::cast_precision_loss, reason = "a duration")]
        let cost = Duration::from_secs_f64(bytes as f64 / rate as f64);
        self.paid = from + cost;
        self.paid.saturating_duration_since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn a_steady_flow_is_shown_as_it_is_from_the_first_second_on() {
        let start = Instant::now();
        let mut rate = Rate::new(start);
        for tick in 1..=300 {
            rate.on_bytes(100_000, start + ms(100) * tick);
            if tick >= 10 {
                let shown = rate.bytes_per_s();
                assert!((990_000..1_010_000).contains(&shown), "{shown} after {tick} ticks");
            }
        }
        assert_eq!(rate.eta_s(10_000_000), Some(10).or(Some(11)));
        rate.on_bytes(0, start + ms(90_000));
        assert_eq!((rate.bytes_per_s(), rate.eta_s(1)), (0, None));
    }

    #[test]
    fn a_limit_holds_over_time_and_allows_a_short_burst() {
        let start = Instant::now();
        let mut throttle = Throttle::new(Some(1_000_000), start + ms(1000));
        let (mut now, mut taken) = (start + ms(1000), 0);
        while now < start + ms(11_000) {
            now += throttle.take(65_536, now);
            taken += 65_536;
        }
        assert!((10_000_000..10_400_000).contains(&taken), "{taken}");
        now += ms(60_000);
        assert_eq!(throttle.take(200_000, now), Duration::ZERO, "a rest earns a burst");
        assert!(throttle.take(200_000, now) >= ms(140), "but not more than that");
        assert_eq!(Throttle::new(None, now).take(u64::MAX, now), Duration::ZERO);
    }
}
