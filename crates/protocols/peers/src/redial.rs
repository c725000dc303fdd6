//! When to dial again whom we want to stay connected to. Pure.
//!
//! | state     | on                              | becomes |
//! |-----------|---------------------------------|---------|
//! | Waiting   | its time has come               | Dialling |
//! | Dialling  | failure                         | Waiting for 1 s, 2 s, 4 s … 2 min, each ±20 % |
//! | any       | a connection                    | Connected |
//! | Connected | the last connection is gone     | Waiting: 2 s if it stood for 60 s, else as after a failure |
//! | any but Connected | the network changed     | Waiting for up to 1 s, failures forgotten |
//!
//! Bootstrap and protected peers stay for ever. Members that were lost, or that were found on the
//! local network and did not answer, are dialled [`MAX_LOST_ATTEMPTS`] times and then forgotten: the
//! other side may have meant it.

use std::{
    collections::{HashMap, hash_map::DefaultHasher},
    hash::{Hash, Hasher},
    time::{Duration, Instant},
};

use libp2p_core::Multiaddr;
use libp2p_identity::PeerId;

const FIRST_DELAY: Duration = Duration::from_secs(1);
const MAX_DELAY: Duration = Duration::from_secs(120);
/// How long a connection must have stood for its loss to count as an accident.
const STABLE: Duration = Duration::from_secs(60);
const STABLE_DELAY: Duration = Duration::from_secs(2);
const MAX_LOST_ATTEMPTS: u32 = 6;
/// Lost members at a time; further ones are left to discovery.
const MAX_LOST: usize = 256;

/// Whom to dial.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Target {
    /// A peer, wherever it is.
    Peer(PeerId),
    /// Whoever answers at an address.
    Address(Multiaddr),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Waiting { until: Instant },
    Dialling,
    Connected { peer: PeerId, since: Instant },
}

#[derive(Debug)]
struct Entry {
    forever: bool,
    /// Failures in a row.
    failures: u32,
    state: State,
}

/// Everybody who is to be dialled again.
#[derive(Debug)]
pub(crate) struct Redials {
    /// Spreads the delays: two nodes that lost the same peer do not come back at the same moment.
    seed: u64,
    entries: HashMap<Target, Entry>,
}

impl Redials {
    pub(crate) fn new(local: &PeerId) -> Self {
        let mut hasher = DefaultHasher::new();
        local.hash(&mut hasher);
        Self { seed: hasher.finish(), entries: HashMap::new() }
    }

    /// Stay connected to the target for ever; dial at once unless it is `connected` since then.
    pub(crate) fn keep(
        &mut self,
        target: Target,
        connected: Option<(PeerId, Instant)>,
        now: Instant,
    ) {
        let state = match connected {
            Some((peer, since)) => State::Connected { peer, since },
            None => State::Waiting { until: now },
        };
        let entry =
            self.entries.entry(target).or_insert(Entry { forever: true, failures: 0, state });
        entry.forever = true;
    }

    /// Whom we want to stay connected to and are not.
    pub(crate) fn missing(&self) -> impl Iterator<Item = &Target> {
        let missing =
            |entry: &Entry| entry.forever && !matches!(entry.state, State::Connected { .. });
        self.entries.iter().filter(move |(_, entry)| missing(entry)).map(|(target, _)| target)
    }

    pub(crate) fn forget(&mut self, target: &Target) {
        self.entries.remove(target);
    }

    /// Whether the peer is one we stay connected to for ever.
    pub(crate) fn keeps(&self, peer: &PeerId) -> bool {
        let by_address = |(target, entry): (&Target, &Entry)| match (target, entry.state) {
            (Target::Address(_), State::Connected { peer: kept, .. }) => kept == *peer,
            (Target::Address(_) | Target::Peer(_), _) => false,
        };
        self.entries.get(&Target::Peer(*peer)).is_some_and(|entry| entry.forever)
            || self.entries.iter().any(by_address)
    }

    /// A connection to `peer` stands, made by the dial of `dialled` if by any of these.
    pub(crate) fn on_connected(&mut self, peer: PeerId, dialled: Option<&Target>, now: Instant) {
        for (target, entry) in &mut self.entries {
            let it_is = *target == Target::Peer(peer) || Some(target) == dialled;
            if it_is && !matches!(entry.state, State::Connected { .. }) {
                entry.state = State::Connected { peer, since: now };
            }
        }
    }

    /// The last connection to `peer` is gone. `lost`: a member that is worth a few attempts even
    /// if it is not kept for ever.
    pub(crate) fn on_disconnected(&mut self, peer: PeerId, lost: bool, now: Instant) {
        let target = Target::Peer(peer);
        if !lost && self.entries.get(&target).is_some_and(|entry| !entry.forever) {
            self.entries.remove(&target);
        }
        if lost {
            self.try_again(peer, State::Connected { peer, since: now });
        }
        let mut spent = false;
        for (target, entry) in &mut self.entries {
            let State::Connected { peer: connected, since } = entry.state else { continue };
            if connected != peer {
                continue;
            }
            let delay = if now.duration_since(since) >= STABLE {
                entry.failures = 0;
                jitter(self.seed, target, 0, STABLE_DELAY)
            } else {
                entry.failures += 1;
                backoff(self.seed, target, entry.failures)
            };
            spent |= entry.is_spent();
            entry.state = State::Waiting { until: now + delay };
        }
        if spent {
            self.entries.remove(&target);
        }
    }

    /// A peer that must be there did not answer its first dial.
    pub(crate) fn missed(&mut self, peer: PeerId, now: Instant) {
        self.try_again(peer, State::Dialling);
        self.on_failed(&Target::Peer(peer), now);
    }

    /// Enters a peer for a few attempts, unless there are too many of them.
    fn try_again(&mut self, peer: PeerId, state: State) {
        let others = self.entries.values().filter(|entry| !entry.forever).count();
        let target = Target::Peer(peer);
        if others < MAX_LOST && !self.entries.contains_key(&target) {
            self.entries.insert(target, Entry { forever: false, failures: 0, state });
        }
    }

    /// The dial of a target failed.
    pub(crate) fn on_failed(&mut self, target: &Target, now: Instant) {
        let Some(entry) = self.entries.get_mut(target) else { return };
        entry.failures = entry.failures.saturating_add(1);
        if entry.is_spent() {
            self.entries.remove(target);
        } else if !matches!(entry.state, State::Connected { .. }) {
            let delay = backoff(self.seed, target, entry.failures);
            entry.state = State::Waiting { until: now + delay };
        }
    }

    /// The target was not dialled after all, for no fault of its own: try again shortly.
    pub(crate) fn on_deferred(&mut self, target: &Target, now: Instant) {
        let Some(entry) = self.entries.get_mut(target) else { return };
        if !matches!(entry.state, State::Connected { .. }) {
            let until = now + jitter(self.seed, target, entry.failures, STABLE_DELAY);
            entry.state = State::Waiting { until };
        }
    }

    /// An address of the peer became known: a target that waits for longer is dialled now.
    pub(crate) fn hurry(&mut self, peer: PeerId, now: Instant) {
        if let Some(entry) = self.entries.get_mut(&Target::Peer(peer))
            && let State::Waiting { until } = &mut entry.state
        {
            *until = now.min(*until);
        }
    }

    /// The network changed: whoever was out of reach may be in reach.
    pub(crate) fn reset(&mut self, now: Instant) {
        for (target, entry) in &mut self.entries {
            entry.failures = 0;
            if let State::Waiting { until } = &mut entry.state {
                *until = now + FIRST_DELAY.mul_f64(fraction(self.seed, target, 0));
            }
        }
    }

    /// At most `room` targets whose time has come, longest waiting first; they count as being
    /// dialled from now on.
    pub(crate) fn take_due(&mut self, room: usize, now: Instant) -> Vec<Target> {
        let mut due: Vec<_> = self
            .entries
            .iter()
            .filter_map(|(target, entry)| match entry.state {
                State::Waiting { until } if until <= now => Some((until, target.clone())),
                _ => None,
            })
            .collect();
        due.sort_unstable();
        due.truncate(room);
        for (_, target) in &due {
            if let Some(entry) = self.entries.get_mut(target) {
                entry.state = State::Dialling;
            }
        }
        due.into_iter().map(|(_, target)| target).collect()
    }

    /// When the next target is due.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        let until = |entry: &Entry| match entry.state {
            State::Waiting { until } => Some(until),
            State::Dialling | State::Connected { .. } => None,
        };
        self.entries.values().filter_map(until).min()
    }
}

impl Entry {
    fn is_spent(&self) -> bool {
        !self.forever && self.failures > MAX_LOST_ATTEMPTS
    }
}

/// Time to wait after so many failures in a row, at least one.
pub(crate) fn backoff(seed: u64, target: &Target, failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    let delay = FIRST_DELAY.saturating_mul(1 << doublings).min(MAX_DELAY);
    jitter(seed, target, failures, delay)
}

/// The delay ±20 %.
fn jitter(seed: u64, target: &Target, failures: u32, delay: Duration) -> Duration {
    delay.mul_f64(0.8 + 0.4 * fraction(seed, target, failures))
}

/// From 0 to 1, the same for the same arguments.
fn fraction(seed: u64, target: &Target, failures: u32) -> f64 {
    let mut hasher = DefaultHasher::new();
    (seed, target, failures).hash(&mut hasher);
    f64::from(u32::try_from(hasher.finish() >> 32).unwrap_or(0)) / f64::from(u32::MAX)
}
