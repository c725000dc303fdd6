//! Our own dials that are under way, and the found peers that wait for one. Pure.

use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, Instant},
};

use libp2p_identity::PeerId;
use libp2p_swarm::ConnectionId;

use crate::{Autodial, connect::Key, redial::Target};

/// Found peers that wait; the oldest give way. 256 × about 40 bytes = 10 KiB.
const MAX_WANTED: usize = 256;
/// Peers that rest; 1024 × about 56 bytes = 56 KiB.
const MAX_RESTING: usize = 1024;
/// How often a node without any peer tries the best of its book again.
const REVISIT: Duration = Duration::from_secs(120);
/// How long a found peer that did not answer is left alone.
const REST: Duration = Duration::from_secs(60);

/// Why we dial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To stay connected.
    Redial(Target),
    /// Because it was found.
    Found(PeerId),
    /// Because somebody asked.
    Connect(Key),
}

/// What is under way and what waits.
#[derive(Debug)]
pub(crate) struct Dials {
    config: Autodial,
    /// From the moment a dial is handed to the swarm until it reports how it went.
    pending: HashMap<ConnectionId, Purpose>,
    wanted: VecDeque<PeerId>,
    resting: HashMap<PeerId, Instant>,
    /// No found peer is dialled before.
    earliest: Instant,
    /// The book is not gone through again before.
    revisit: Instant,
}

impl Dials {
    pub(crate) fn new(config: Autodial, now: Instant) -> Self {
        let (pending, wanted, resting) = (HashMap::new(), VecDeque::new(), HashMap::new());
        Self { config, pending, wanted, resting, earliest: now, revisit: now + REVISIT }
    }

    pub(crate) fn begin(&mut self, id: ConnectionId, purpose: Purpose) {
        self.pending.insert(id, purpose);
    }

    /// Why this dial was made, if it was ours; it is over.
    pub(crate) fn end(&mut self, id: ConnectionId) -> Option<Purpose> {
        self.pending.remove(&id)
    }

    /// Whether a user waits for this dial.
    pub(crate) fn is_asked_for(&self, id: ConnectionId) -> bool {
        matches!(self.pending.get(&id), Some(Purpose::Connect(_)))
    }

    /// Dials that have not come to an end.
    pub(crate) fn len(&self) -> usize {
        self.pending.len()
    }

    /// A peer was found: it is dialled when there is room, unless it rests.
    pub(crate) fn want(&mut self, peer: PeerId, now: Instant) {
        let rests = self.resting.get(&peer).is_some_and(|until| *until > now);
        if self.config.target_peers == 0 || rests || self.wanted.contains(&peer) {
            return;
        }
        if self.wanted.len() >= MAX_WANTED {
            self.wanted.pop_front();
        }
        self.wanted.push_back(peer);
    }

    /// A found peer did not answer.
    pub(crate) fn rest(&mut self, peer: PeerId, now: Instant) {
        if self.resting.len() >= MAX_RESTING {
            self.resting.retain(|_, until| *until > now);
        }
        // A flood of dead peers may take turns; the dial rate still bounds what they cost.
        if self.resting.len() >= MAX_RESTING {
            self.resting.clear();
        }
        self.resting.insert(peer, now + REST);
    }

    /// The network changed: nobody rests any more.
    pub(crate) fn wake_all(&mut self) {
        self.resting.clear();
    }

    /// Whether a node without any peer is to go through its book again; if so, it counts as done.
    pub(crate) fn is_revisit_due(&mut self, now: Instant) -> bool {
        let due = self.config.target_peers > 0 && self.revisit <= now;
        if due {
            self.revisit = now + REVISIT;
        }
        due
    }

    /// When that is to happen, if ever.
    pub(crate) fn next_revisit(&self) -> Option<Instant> {
        (self.config.target_peers > 0).then_some(self.revisit)
    }

    /// Whether found peers are wanted at all with so many connected.
    pub(crate) fn is_lonely(&self, connected: usize) -> bool {
        connected + self.found() < self.config.target_peers
    }

    /// The next found peer to dial for which `usable` holds, at the configured rate. Peers that
    /// came in vain are dropped: they will be found again.
    pub(crate) fn next_wanted(
        &mut self,
        connected: usize,
        now: Instant,
        usable: impl Fn(&PeerId) -> bool,
    ) -> Option<PeerId> {
        if !self.is_ready(connected) || now < self.earliest {
            return None;
        }
        while let Some(peer) = self.wanted.pop_front() {
            if usable(&peer) {
                self.earliest = now + self.config.interval;
                return Some(peer);
            }
        }
        None
    }

    /// When [`Dials::next_wanted`] is worth asking again.
    pub(crate) fn next_due(&self, connected: usize) -> Option<Instant> {
        (self.is_ready(connected) && !self.wanted.is_empty()).then_some(self.earliest)
    }

    #[cfg(test)]
    pub(crate) fn resting(&self) -> usize {
        self.resting.len()
    }

    fn is_ready(&self, connected: usize) -> bool {
        self.is_lonely(connected) && self.found() < self.config.max_pending
    }

    fn found(&self) -> usize {
        self.pending.values().filter(|purpose| matches!(purpose, Purpose::Found(_))).count()
    }
}
