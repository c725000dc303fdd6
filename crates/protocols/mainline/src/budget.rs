//! How many bytes the DHT may take: a bucket that fills at a rate.
//!
//! The DHT's own upkeep is not drawn from it: with 150 nodes in the routing table, a ping of 130
//! bytes to each every 5 min and a refresh every 15 min, 65 + 45 B/s. With [`SETTLED_RATE`] on top
//! that is under 450 B/s.

use std::time::{Duration, Instant};

/// Bytes a second when settled.
pub const SETTLED_RATE: u32 = 300;
/// Bytes a second while lonely: a lookup of 64 nodes every 20 s.
pub const LONELY_RATE: u32 = 2_000;
/// What can be taken at once: some lookups and every slot of a namespace, for a start in seconds.
pub const BURST_BYTES: u32 = 512 * 1024;
/// The same when settled: what comes in 5 min, two lookups.
pub const SETTLED_BURST_BYTES: u32 = SETTLED_RATE * 300;
/// Bytes that asking one node costs: the question and a ping (105 + 75), the answers (350 + 70).
pub const NODE_BYTES: u32 = 600;
/// Nodes asked in a lookup, as long as none was counted.
pub const ASSUMED_NODES: u32 = 64;
/// Bytes that storing costs: 20 nodes, each 1,200 bytes at the most and an answer of 70.
pub const STORE_BYTES: u32 = 20 * 300;

/// A bucket of bytes.
#[derive(Debug, Clone)]
pub struct Budget {
    level: f64,
    filled_at: Instant,
    lonely: bool,
    /// Nodes that a lookup asks, by the last ones.
    nodes: f64,
}

impl Budget {
    /// A full bucket of a lonely node.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        let nodes = f64::from(ASSUMED_NODES);
        Self { level: f64::from(BURST_BYTES), filled_at: now, lonely: true, nodes }
    }

    /// Takes what `lookups` and `stores` cost, or says for how long to wait. What costs more than the
    /// bucket holds is let through when it is full, and paid for afterwards.
    ///
    /// # Errors
    /// How long until there is enough.
    pub fn take(&mut self, lookups: u32, stores: u32, now: Instant) -> Result<(), Duration> {
        self.fill(now);
        let cost = self.cost(lookups, stores);
        let missing = cost.min(self.most()) - self.level;
        if missing > 0.0 {
            return Err(Duration::from_secs_f64(missing / self.rate()));
        }
        self.level -= cost;
        Ok(())
    }

    /// The same for what somebody waits for: it goes ahead while less than [`BURST_BYTES`] are owed, which
    /// is paid for afterwards.
    ///
    /// # Errors
    /// How long until it may.
    pub fn borrow(&mut self, lookups: u32, stores: u32, now: Instant) -> Result<(), Duration> {
        self.fill(now);
        let owed = -f64::from(BURST_BYTES) - self.level;
        if owed > 0.0 {
            return Err(Duration::from_secs_f64(owed / self.rate()));
        }
        self.level -= self.cost(lookups, stores);
        Ok(())
    }

    /// Members came or went.
    pub fn on_lonely(&mut self, lonely: bool, now: Instant) {
        self.fill(now);
        self.lonely = lonely;
        if !lonely {
            // What was saved up for a start is not for settled times.
            self.level = self.level.min(self.most());
        }
    }

    /// A lookup asked so many nodes.
    pub fn on_asked(&mut self, nodes: u32) {
        self.nodes += (f64::from(nodes.clamp(8, 256)) - self.nodes) / 4.0;
    }

    fn cost(&self, lookups: u32, stores: u32) -> f64 {
        f64::from(lookups) * self.nodes * f64::from(NODE_BYTES)
            + f64::from(stores) * f64::from(STORE_BYTES)
    }

    fn fill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.filled_at).as_secs_f64();
        self.level = (self.level + passed * self.rate()).min(self.most());
        self.filled_at = now;
    }

    /// What the bucket holds.
    fn most(&self) -> f64 {
        f64::from(if self.lonely { BURST_BYTES } else { SETTLED_BURST_BYTES })
    }

    fn rate(&self) -> f64 {
        f64::from(if self.lonely { LONELY_RATE } else { SETTLED_RATE })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes taken in an hour by someone who always wants more.
    fn greedy(lonely: bool, start: Instant) -> f64 {
        let mut budget = Budget::new(start);
        budget.on_lonely(lonely, start);
        let (mut now, mut taken) = (start, 0.0);
        while now < start + Duration::from_secs(3600) {
            match budget.take(1, 1, now) {
                Ok(()) => taken += f64::from(ASSUMED_NODES * NODE_BYTES + STORE_BYTES),
                Err(wait) => now += wait.max(Duration::from_millis(1)),
            }
        }
        taken
    }

    #[test]
    fn whoever_is_settled_stays_under_the_rate_whatever_it_wants() {
        let rate = greedy(false, Instant::now()) / 3600.0;
        assert!(rate <= f64::from(SETTLED_RATE) * (1.0 + 300.0 / 3600.0) + 20.0, "{rate} B/s");
        assert!(rate > f64::from(SETTLED_RATE) * 0.9, "{rate} B/s");
    }

    #[test]
    fn whoever_is_lonely_gets_a_burst_and_then_the_rate() {
        let taken = greedy(true, Instant::now());
        let most = f64::from(BURST_BYTES) + 3600.0 * f64::from(LONELY_RATE);
        assert!(taken <= most * 1.05 && taken > most * 0.9, "{taken} of {most}");
    }

    #[test]
    fn a_start_looks_up_and_reads_every_slot_at_once() {
        let now = Instant::now();
        let mut budget = Budget::new(now);
        assert_eq!(budget.take(12, 2, now), Ok(()));
    }

    #[test]
    fn in_a_small_network_lookups_cost_little() {
        let now = Instant::now();
        let mut budget = Budget::new(now);
        (0..20).for_each(|_| budget.on_asked(6));
        budget.on_lonely(false, now);
        let fits = (0..1000).take_while(|_| budget.take(1, 0, now).is_ok()).count();
        assert!(fits >= 15, "{fits} lookups");
    }

    #[test]
    fn a_settled_node_can_afford_a_round_of_a_large_network() {
        let now = Instant::now();
        let mut budget = Budget::new(now);
        budget.on_lonely(false, now);
        assert_eq!(budget.take(3, 1, now), Ok(()));
        let wait = budget.take(3, 1, now).expect_err("and pays for it");
        let cost = 3 * ASSUMED_NODES * NODE_BYTES + STORE_BYTES;
        assert!(wait >= Duration::from_secs((cost / SETTLED_RATE).into()), "{wait:?}");
        assert_eq!(budget.take(3, 1, now + wait), Ok(()));
    }

    #[test]
    fn what_costs_more_than_the_bucket_holds_is_not_refused_for_ever() {
        let now = Instant::now();
        let mut budget = Budget::new(now);
        assert_eq!(budget.take(17, 0, now), Ok(()));
        assert!(budget.take(1, 0, now).is_err(), "and is paid for");
    }
}
