//! Who is asked when, and who is answered. Pure.

use std::{
    collections::{BTreeSet, HashMap, hash_map::Entry},
    time::{Duration, Instant},
};

use peerage_types::PeerId;
use rand::{Rng, RngExt as _};

use crate::bounds::{
    AGAIN_DELAY, ASK_INTERVAL, FIRST_DELAY, MAX_ASK_INTERVAL, MAX_ASKED, MAX_COUNTED, MAX_TELL,
    RETRY_DELAY, SERVE_BURST, SERVE_INTERVAL, SETTLED_PEERS, TELL_DELAY, TELL_INTERVAL,
};

/// Connected peers that speak the protocol.
///
/// `Waiting` → `Asked` when due and there is room → `Waiting`, for [`ASK_INTERVAL`] or more, at first
/// for [`AGAIN_DELAY`] where there are few, or [`RETRY_DELAY`] and more after a failure.
#[derive(Debug, Default)]
pub(crate) struct Rounds {
    peers: HashMap<PeerId, Peer>,
    due: BTreeSet<(Instant, PeerId)>,
    asked: usize,
    /// When news of this node were, or will be, told.
    told: Option<Instant>,
}

#[derive(Debug)]
struct Peer {
    state: State,
    answers: u32,
    failures: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Waiting(Instant),
    Asked,
}

impl Rounds {
    /// A peer speaks the protocol.
    pub(crate) fn on_speaks(&mut self, peer: PeerId, now: Instant, random: &mut impl Rng) {
        if let Entry::Vacant(vacant) = self.peers.entry(peer) {
            let at = now + FIRST_DELAY.mul_f64(random.random_range(0.0..1.0));
            vacant.insert(Peer { state: State::Waiting(at), answers: 0, failures: 0 });
            self.due.insert((at, peer));
        }
    }

    /// A peer has gone, or speaks it no longer.
    pub(crate) fn on_gone(&mut self, peer: &PeerId) {
        match self.peers.remove(peer).map(|gone| gone.state) {
            Some(State::Waiting(at)) => _ = self.due.remove(&(at, *peer)),
            Some(State::Asked) => self.asked -= 1,
            None => {}
        }
    }

    /// Peers that speak it.
    pub(crate) fn len(&self) -> usize {
        self.peers.len()
    }

    /// A peer that is to be asked now.
    pub(crate) fn next(&mut self, now: Instant) -> Option<PeerId> {
        let (at, id) = self.due.first().copied().filter(|(at, _)| *at <= now)?;
        if self.asked >= MAX_ASKED {
            return None;
        }
        self.due.remove(&(at, id));
        self.peers.get_mut(&id)?.state = State::Asked;
        self.asked += 1;
        Some(id)
    }

    /// When the next one is due, if there is room for it.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.due.first().filter(|_| self.asked < MAX_ASKED).map(|(at, _)| *at)
    }

    /// A peer has answered, or could not be asked.
    pub(crate) fn on_done(
        &mut self,
        id: &PeerId,
        answered: bool,
        now: Instant,
        random: &mut impl Rng,
    ) {
        let share = u32::try_from(self.peers.len().div_ceil(SETTLED_PEERS)).unwrap_or(u32::MAX);
        let is_lonely = self.peers.len() < SETTLED_PEERS;
        let Some(peer) = self.peers.get_mut(id).filter(|peer| peer.state == State::Asked) else {
            return;
        };
        peer.failures = if answered { 0 } else { peer.failures.saturating_add(1) };
        peer.answers = peer.answers.saturating_add(u32::from(answered));
        let doubled = |delay: Duration, times: u32| delay * (1 << (times - 1).min(10));
        let delay = match peer.failures {
            // Those who come at the same time have not yet met the same peers.
            0 if is_lonely => doubled(AGAIN_DELAY, peer.answers).min(ASK_INTERVAL),
            0 => ASK_INTERVAL.saturating_mul(share),
            failures => doubled(RETRY_DELAY, failures),
        };
        let delay = delay.min(MAX_ASK_INTERVAL).mul_f64(random.random_range(0.75..1.25));
        peer.state = State::Waiting(now + delay);
        self.due.insert((now + delay, *id));
        self.asked -= 1;
    }

    /// This node has news of itself: some of its peers are asked soon, and so told.
    pub(crate) fn hurry(&mut self, now: Instant, random: &mut impl Rng) {
        if self.told.is_some_and(|told| told > now) {
            // What is told then is what is true then.
            return;
        }
        let earliest = self.told.map_or(now, |told| now.max(told + TELL_INTERVAL));
        self.told = Some(earliest);
        let latest = earliest + TELL_DELAY;
        let late: Vec<_> = self.due.iter().filter(|(at, _)| *at > latest).copied().collect();
        for (at, id) in late.into_iter().take(MAX_TELL) {
            let Some(peer) = self.peers.get_mut(&id).filter(|peer| peer.failures == 0) else {
                continue;
            };
            let soon = earliest + TELL_DELAY.mul_f64(random.random_range(0.1..1.0));
            self.due.remove(&(at, id));
            self.due.insert((soon, id));
            peer.state = State::Waiting(soon);
        }
    }

    /// Some of the peers, for a search.
    pub(crate) fn some(&self, count: usize, random: &mut impl Rng) -> Vec<PeerId> {
        let mut peers: Vec<_> = self.peers.keys().copied().collect();
        peers.sort_unstable();
        for at in 0..count.min(peers.len()) {
            let other = random.random_range(at..peers.len());
            peers.swap(at, other);
        }
        peers.truncate(count);
        peers
    }
}

/// How often others have asked lately. It outlives their connections.
#[derive(Debug, Default)]
pub(crate) struct Served {
    /// When a peer will have used nothing of its burst.
    free_at: HashMap<PeerId, Instant>,
}

impl Served {
    /// Whether a peer is answered now; counted if so.
    pub(crate) fn admit(&mut self, peer: PeerId, now: Instant) -> bool {
        const BURST: Duration = SERVE_INTERVAL.saturating_mul(SERVE_BURST - 1);
        if self.free_at.len() >= MAX_COUNTED {
            self.free_at.retain(|_, free_at| *free_at > now);
        }
        // Who comes and goes under ever new names shares what is left.
        if self.free_at.len() >= MAX_COUNTED && !self.free_at.contains_key(&peer) {
            return false;
        }
        let free_at = self.free_at.entry(peer).or_insert(now);
        let is_free = free_at.saturating_duration_since(now) <= BURST;
        if is_free {
            *free_at = (*free_at).max(now) + SERVE_INTERVAL;
        }
        is_free
    }
}
