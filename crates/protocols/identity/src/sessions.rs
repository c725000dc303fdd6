//! With whom a session is held when. Pure.

use std::{
    collections::{BTreeSet, HashMap, hash_map::Entry},
    time::{Duration, Instant},
};

use peerage_types::{PeerId, UserId};

use crate::bounds::{CONTINUE_DELAY, MAX_OPENED, MAX_RETRY_DELAY, RESYNC_INTERVAL, RETRY_DELAY};

/// Connected peers that speak the protocol.
///
/// Of each two nodes the one with the smaller id opens the first session. `waiting` → `running` when
/// due and there is room → `waiting` until it goes on ([`CONTINUE_DELAY`]), is tried again
/// ([`RETRY_DELAY`] and more) or is repeated ([`RESYNC_INTERVAL`]).
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    peers: HashMap<PeerId, Peer>,
    due: BTreeSet<(Instant, PeerId)>,
    running: usize,
}

#[derive(Debug)]
struct Peer {
    state: State,
    failures: u32,
    /// Where the last session has ended before everything was compared.
    at: Option<UserId>,
    /// The next session follows soon.
    again: bool,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    Waiting(Instant),
    Running,
}

impl Sessions {
    /// A peer speaks the protocol; `first`: this node opens the first session.
    pub(crate) fn on_speaks(&mut self, peer: PeerId, first: bool, now: Instant) {
        // The other side asks at its time; if it does not, this one does a little later.
        let at = if first { now } else { now + RESYNC_INTERVAL * 5 / 4 };
        if let Entry::Vacant(vacant) = self.peers.entry(peer) {
            vacant.insert(Peer { state: State::Waiting(at), failures: 0, at: None, again: false });
            self.due.insert((at, peer));
        }
    }

    /// A peer has gone, or speaks it no longer.
    pub(crate) fn on_gone(&mut self, peer: &PeerId) {
        match self.peers.remove(peer).map(|gone| gone.state) {
            Some(State::Waiting(at)) => _ = self.due.remove(&(at, *peer)),
            Some(State::Running) => self.running -= 1,
            None => {}
        }
    }

    /// Peers that speak it.
    pub(crate) fn len(&self) -> usize {
        self.peers.len()
    }

    /// A peer with whom a session is to be opened now, and where it goes on.
    pub(crate) fn next(&mut self, now: Instant) -> Option<(PeerId, Option<UserId>)> {
        let (at, id) = self.due.first().copied().filter(|(at, _)| *at <= now)?;
        if self.running >= MAX_OPENED {
            return None;
        }
        self.due.remove(&(at, id));
        let peer = self.peers.get_mut(&id)?;
        peer.state = State::Running;
        self.running += 1;
        Some((id, peer.at.take()))
    }

    /// A session that this node had opened is over, at an id if there is more to compare.
    pub(crate) fn on_done(&mut self, id: &PeerId, at: Option<UserId>, now: Instant) {
        if let Some(peer) = self.peers.get_mut(id) {
            (peer.failures, peer.at) = (0, at);
            let soon = at.is_some() || std::mem::take(&mut peer.again);
            let delay = if soon { CONTINUE_DELAY } else { RESYNC_INTERVAL };
            self.wait(*id, now + delay);
        }
    }

    /// From now on a peer hears what is gossiped. What was said between the first session and this
    /// moment it has not heard, so another session follows.
    pub(crate) fn on_hears(&mut self, id: &PeerId, now: Instant) {
        let soon = now + CONTINUE_DELAY;
        match self.peers.get_mut(id) {
            Some(Peer { state: State::Waiting(at), failures: 0, .. }) if *at > soon => {
                self.wait(*id, soon);
            }
            Some(peer) if peer.state == State::Running => peer.again = true,
            Some(_) | None => {}
        }
    }

    /// It could not be opened, or broke.
    pub(crate) fn on_failed(&mut self, id: &PeerId, now: Instant) {
        if let Some(peer) = self.peers.get_mut(id) {
            peer.failures = peer.failures.saturating_add(1);
            let factor = 1 << (peer.failures - 1).min(10);
            let delay = (RETRY_DELAY * factor).min(MAX_RETRY_DELAY);
            self.wait(*id, now + delay);
        }
    }

    /// A peer has compared everything with us.
    pub(crate) fn on_served(&mut self, id: &PeerId, now: Instant) {
        let waits = |peer: &Peer| peer.state != State::Running && peer.at.is_none();
        if self.peers.get(id).is_some_and(waits) {
            self.wait(*id, now + RESYNC_INTERVAL * 5 / 4);
        }
    }

    /// This node has learned from one peer what others may lack.
    pub(crate) fn on_learned(&mut self, from: &PeerId, now: Instant) {
        let sooner = now + CONTINUE_DELAY;
        let later = |state: State| matches!(state, State::Waiting(at) if at > sooner);
        let others = self
            .peers
            .iter()
            .filter(|(id, peer)| *id != from && peer.failures == 0 && later(peer.state));
        let others: Vec<_> = others.map(|(id, _)| *id).collect();
        others.into_iter().for_each(|id| self.wait(id, sooner));
    }

    /// When the next session is due, if there is room for it.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.due.first().filter(|_| self.running < MAX_OPENED).map(|(at, _)| *at)
    }

    fn wait(&mut self, id: PeerId, at: Instant) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        match std::mem::replace(&mut peer.state, State::Waiting(at)) {
            State::Waiting(before) => _ = self.due.remove(&(before, id)),
            State::Running => self.running -= 1,
        }
        self.due.insert((at, id));
    }
}

/// Sessions that others open follow each other no faster than this.
const MIN_GAP: Duration = Duration::from_millis(CONTINUE_DELAY.as_millis() as u64 / 2);

/// When others have opened sessions lately.
#[derive(Debug, Default)]
pub(crate) struct Served {
    since: HashMap<PeerId, Instant>,
}

impl Served {
    /// Whether a peer may have a session now; counted if so.
    pub(crate) fn admit(&mut self, peer: PeerId, now: Instant) -> bool {
        let too_soon = |since: &Instant| now.duration_since(*since) < MIN_GAP;
        let is_free = !self.since.get(&peer).is_some_and(too_soon);
        if is_free {
            self.since.insert(peer, now);
        }
        is_free
    }

    /// Of connected peers only.
    pub(crate) fn on_gone(&mut self, peer: &PeerId) {
        self.since.remove(peer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peers(count: usize) -> Vec<PeerId> {
        std::iter::repeat_with(PeerId::random).take(count).collect()
    }

    #[test]
    fn one_side_opens_the_first_session_and_the_other_only_when_none_comes() {
        let (mut sessions, now) = (Sessions::default(), Instant::now());
        let [first, second] = peers(2)[..] else { unreachable!() };
        sessions.on_speaks(first, true, now);
        sessions.on_speaks(second, false, now);
        assert_eq!(sessions.next(now), Some((first, None)));
        assert_eq!(sessions.next(now), None);
        sessions.on_done(&first, None, now);
        assert_eq!(sessions.deadline(), Some(now + RESYNC_INTERVAL));
        sessions.on_gone(&first);
        assert_eq!(sessions.deadline(), Some(now + RESYNC_INTERVAL * 5 / 4));
    }

    #[test]
    fn a_failed_session_is_tried_again_ever_more_seldom_and_a_long_one_goes_on() {
        let (mut sessions, mut now) = (Sessions::default(), Instant::now());
        let peer = PeerId::random();
        sessions.on_speaks(peer, true, now);
        let mut delays = Vec::new();
        for _ in 0..12 {
            assert!(sessions.next(now).is_some());
            sessions.on_failed(&peer, now);
            delays.push(sessions.deadline().unwrap() - now);
            now = sessions.deadline().unwrap();
        }
        assert_eq!(delays[..3], [RETRY_DELAY, RETRY_DELAY * 2, RETRY_DELAY * 4]);
        assert_eq!(delays[11], MAX_RETRY_DELAY);
        sessions.next(now).unwrap();
        sessions.on_done(&peer, Some(UserId([7; 32])), now);
        assert_eq!(sessions.deadline(), Some(now + CONTINUE_DELAY));
        assert_eq!(sessions.next(now + CONTINUE_DELAY), Some((peer, Some(UserId([7; 32])))));
    }

    #[test]
    fn only_so_many_run_at_once() {
        let (mut sessions, now) = (Sessions::default(), Instant::now());
        let peers = peers(MAX_OPENED + 2);
        peers.iter().for_each(|peer| sessions.on_speaks(*peer, true, now));
        let running: Vec<_> = std::iter::from_fn(|| sessions.next(now)).collect();
        assert_eq!(running.len(), MAX_OPENED);
        assert_eq!(sessions.deadline(), None, "nothing is due before one ends");
        sessions.on_gone(&running[0].0);
        assert_eq!(sessions.deadline(), Some(now));
        assert!(sessions.next(now).is_some());
    }

    #[test]
    fn what_was_gossiped_before_a_peer_heard_it_is_made_up_for_by_another_session() {
        let (mut sessions, now) = (Sessions::default(), Instant::now());
        let peer = PeerId::random();
        sessions.on_hears(&peer, now);
        sessions.on_speaks(peer, true, now);
        sessions.next(now).unwrap();
        sessions.on_hears(&peer, now);
        sessions.on_done(&peer, None, now);
        assert_eq!(sessions.deadline(), Some(now + CONTINUE_DELAY), "it was under way");
        sessions.next(now + CONTINUE_DELAY).unwrap();
        sessions.on_done(&peer, None, now);
        assert_eq!(sessions.deadline(), Some(now + RESYNC_INTERVAL), "once is enough");
        sessions.on_hears(&peer, now);
        assert_eq!(sessions.deadline(), Some(now + CONTINUE_DELAY), "it was over");
    }

    #[test]
    fn what_was_learned_of_one_is_soon_compared_with_the_others() {
        let (mut sessions, now) = (Sessions::default(), Instant::now());
        let [from, other] = peers(2)[..] else { unreachable!() };
        sessions.on_speaks(from, false, now);
        sessions.on_speaks(other, false, now);
        sessions.on_learned(&from, now);
        assert_eq!(sessions.next(now + CONTINUE_DELAY), Some((other, None)));
        assert_eq!(sessions.next(now + CONTINUE_DELAY), None);
    }

    #[test]
    fn a_peer_that_asks_too_often_is_refused() {
        let (mut served, now, peer) = (Served::default(), Instant::now(), PeerId::random());
        assert!(served.admit(peer, now));
        assert!(!served.admit(peer, now));
        assert!(served.admit(PeerId::random(), now));
        assert!(served.admit(peer, now + CONTINUE_DELAY));
    }
}
