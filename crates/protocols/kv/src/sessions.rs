//! With whom which space is compared when. Pure.

use std::{
    collections::{BTreeSet, HashMap},
    time::{Duration, Instant},
};

use peerage_types::{PeerId, SpaceId};

/// Sessions that this node opens at once: 8 × the memory of a session, see `session/bounds.rs`.
pub(crate) const MAX_OPENED: usize = 8;
/// How often equal replicas make sure that they are, give or take a fifth.
pub(crate) const RESYNC_INTERVAL: Duration = Duration::from_secs(30);
/// A peer that has told of a change is asked this soon again if it tells of another.
pub(crate) const HINT_GAP: Duration = Duration::from_millis(5);
/// After something was gossiped, this long passes until cursors are brought up to date with it: else
/// whoever is away next would be sent all of it again.
pub(crate) const SETTLE_DELAY: Duration = Duration::from_secs(2);
/// The first session with a peer keeps other first ones about the same space off for this long, unless it is found
/// that much is to come: then for as long as it comes.
pub(crate) const OPENING_TIME: Duration = Duration::from_secs(2);
/// First wait after a session broke; doubled each time.
pub(crate) const RETRY_DELAY: Duration = Duration::from_secs(1);
/// Longest wait after a session broke.
pub(crate) const MAX_RETRY_DELAY: Duration = Duration::from_secs(120);
/// A peer that has not joined a space, or does not let us read it, is asked again after this.
pub(crate) const REFUSED_DELAY: Duration = Duration::from_secs(300);
/// Sessions that one peer may open in [`SERVED_WINDOW`].
const MAX_SERVED_IN_WINDOW: u32 = 256;
const SERVED_WINDOW: Duration = Duration::from_secs(1);

/// A peer and a space.
pub(crate) type Pair = (PeerId, SpaceId);

/// How a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Both have the same now.
    Equal,
    /// More is left than fits one session.
    Unfinished,
    /// All was sent and they still differ: one of them does not take what the other has.
    Fruitless,
    /// The other side has refused.
    Refused,
    /// One of the two is being sent the space by a third.
    PutOff,
    /// It broke off.
    Failed,
}

/// Connected peers that speak the protocol, and the spaces of this node.
///
/// Of each two nodes the one with the smaller id opens the first session. A pair is `Waiting` → due
/// and there is room → `Running` → `Waiting`, for how long depends on how it [`Ended`]. One that is due while
/// another peer sends the space, or may be about to, is `Waiting` until that one has ended or stalled.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    /// And whether this node opens the first session.
    peers: HashMap<PeerId, bool>,
    spaces: BTreeSet<SpaceId>,
    pairs: HashMap<Pair, State>,
    due: BTreeSet<(Instant, Pair)>,
    running: usize,
    /// The last first session of a space, since when it runs.
    opening: HashMap<SpaceId, (PeerId, Instant)>,
    /// Those that are due as soon as another one ends.
    put_off: BTreeSet<Pair>,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    failures: u32,
    /// Something was told while it ran, so another follows.
    again: bool,
    /// Somebody waits for one that begins later.
    asked: bool,
    /// The peer has not joined the space, or does not let us read it: our news are none of its
    /// business.
    refused: bool,
    /// They were equal once since it is connected.
    met: bool,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Phase {
    Waiting(Instant),
    Running,
}

impl Sessions {
    /// A peer speaks the protocol; `first`: this node opens the first session.
    pub(crate) fn on_speaks(&mut self, peer: PeerId, first: bool, now: Instant) {
        if self.peers.insert(peer, first).is_none() {
            let spaces: Vec<_> = self.spaces.iter().copied().collect();
            spaces.into_iter().for_each(|space| self.begin((peer, space), first, now));
        }
    }

    /// A peer has gone, or speaks it no longer.
    pub(crate) fn on_gone(&mut self, peer: &PeerId) {
        if self.peers.remove(peer).is_some() {
            let spaces: Vec<_> = self.spaces.iter().copied().collect();
            spaces.into_iter().for_each(|space| self.forget(&(*peer, space)));
        }
    }

    /// This node has joined a space, and asks everybody for it.
    pub(crate) fn on_joined(&mut self, space: SpaceId, now: Instant) {
        if self.spaces.insert(space) {
            let peers: Vec<_> = self.peers.keys().copied().collect();
            peers.into_iter().for_each(|peer| self.begin((peer, space), true, now));
        }
    }

    /// This node has left a space.
    pub(crate) fn on_left(&mut self, space: &SpaceId) {
        if self.spaces.remove(space) {
            let peers: Vec<_> = self.peers.keys().copied().collect();
            peers.into_iter().for_each(|peer| self.forget(&(peer, *space)));
        }
    }

    /// Peers that speak it.
    pub(crate) fn peers(&self) -> impl Iterator<Item = PeerId> + '_ {
        self.peers.keys().copied()
    }

    /// Whether a peer speaks it.
    pub(crate) fn knows(&self, peer: &PeerId) -> bool {
        self.peers.contains_key(peer)
    }

    /// A pair for which a session is to be opened now. `filled_until`: when a peer that sends a space will have
    /// stalled, in the future.
    pub(crate) fn next(
        &mut self,
        now: Instant,
        filled_until: impl Fn(&SpaceId) -> Option<Instant>,
    ) -> Option<Pair> {
        loop {
            let (at, pair) = self.due.first().copied().filter(|(at, _)| *at <= now)?;
            if self.running >= MAX_OPENED {
                return None;
            }
            let until = filled_until(&pair.1).or_else(|| self.opening_until(&pair, now));
            if let Some(until) = until {
                self.wait(&pair, until);
                self.put_off.insert(pair);
                continue;
            }
            self.due.remove(&(at, pair));
            self.put_off.remove(&pair);
            let state = self.pairs.get_mut(&pair)?;
            state.phase = Phase::Running;
            self.running += 1;
            if !state.met {
                self.opening.insert(pair.1, (pair.0, now));
            }
            return Some(pair);
        }
    }

    /// How long a first session waits for another one.
    fn opening_until(&self, pair: &Pair, now: Instant) -> Option<Instant> {
        let is_first = self.pairs.get(pair).is_some_and(|state| !state.met);
        let (_, since) = self.opening.get(&pair.1).filter(|_| is_first)?;
        Some(*since + OPENING_TIME).filter(|until| *until > now)
    }

    /// A session has ended, whoever had opened it: those that were put off are due, after one that goes on with
    /// the same peer.
    pub(crate) fn resume(&mut self, now: Instant) {
        let put_off = std::mem::take(&mut self.put_off);
        put_off.iter().for_each(|pair| self.wait(pair, now + HINT_GAP * 2));
    }

    /// This node has put off a session that the peer had opened, and opens one itself when the time comes.
    pub(crate) fn on_put_off(&mut self, pair: &Pair) {
        if self.pairs.get(pair).is_some_and(|state| state.phase != Phase::Running) {
            self.put_off.insert(*pair);
        }
    }

    /// Both have found that they are equal.
    pub(crate) fn on_equal(&mut self, pair: &Pair) {
        if let Some(state) = self.pairs.get_mut(pair) {
            state.met = true;
        }
    }

    /// There is something new at a peer, or for it.
    pub(crate) fn on_news(&mut self, pair: &Pair, now: Instant) {
        match self.pairs.get_mut(pair) {
            Some(State { refused: true, .. }) => {}
            Some(State { phase: Phase::Waiting(at), .. }) if *at > now + HINT_GAP => {
                self.wait(pair, now + HINT_GAP);
            }
            Some(state) if state.phase == Phase::Running => state.again = true,
            Some(_) | None => {}
        }
    }

    /// Something was gossiped: cursors are to be brought up to date soon, by one of each two.
    pub(crate) fn on_gossiped(&mut self, space: SpaceId, now: Instant) {
        let later = now + SETTLE_DELAY * 2;
        let firsts = self.peers.iter().filter(|(_, first)| **first);
        let waits = |pair: &Pair| match self.pairs.get(pair) {
            Some(State { phase: Phase::Waiting(at), refused: false, failures: 0, .. }) => {
                *at > later
            }
            Some(_) | None => false,
        };
        let pairs: Vec<_> = firsts.map(|(peer, _)| (*peer, space)).filter(waits).collect();
        pairs.iter().for_each(|pair| self.wait(pair, now + SETTLE_DELAY));
    }

    /// Somebody wants a session now, whatever was before.
    pub(crate) fn on_asked(&mut self, pair: &Pair, now: Instant) {
        match self.pairs.get_mut(pair).map(|state| state.phase) {
            Some(Phase::Waiting(_)) => self.wait(pair, now),
            Some(Phase::Running) => {
                self.pairs.entry(*pair).and_modify(|state| state.asked = true);
            }
            None => {}
        }
    }

    /// Whether a peer has refused the space.
    pub(crate) fn is_refused(&self, pair: &Pair) -> bool {
        self.pairs.get(pair).is_some_and(|state| state.refused)
    }

    /// What came from one peer may be new to all others.
    pub(crate) fn on_learned(&mut self, from: &PeerId, space: SpaceId, now: Instant) {
        let others: Vec<_> = self.peers.keys().filter(|peer| *peer != from).copied().collect();
        others.into_iter().for_each(|peer| self.on_news(&(peer, space), now));
    }

    /// A session that this node had opened is over. `jitter` is from 0 to 1.
    pub(crate) fn on_ended(&mut self, pair: &Pair, ended: Ended, jitter: f64, now: Instant) {
        let Some(state) = self.pairs.get_mut(pair) else { return };
        let again = std::mem::take(&mut state.again);
        let asked = std::mem::take(&mut state.asked) && ended != Ended::PutOff;
        state.refused = ended == Ended::Refused;
        let is_vain = matches!(ended, Ended::Failed | Ended::Fruitless | Ended::PutOff);
        state.failures = if is_vain { state.failures.saturating_add(1) } else { 0 };
        let delay = match ended {
            _ if asked => HINT_GAP,
            Ended::Fruitless if again && state.failures == 1 => HINT_GAP,
            Ended::Failed | Ended::Fruitless => {
                (RETRY_DELAY * (1 << (state.failures - 1).min(10))).min(MAX_RETRY_DELAY)
            }
            Ended::PutOff => {
                (RETRY_DELAY * (1 << (state.failures - 1).min(10))).min(RESYNC_INTERVAL)
            }
            Ended::Refused => REFUSED_DELAY,
            Ended::Unfinished => HINT_GAP,
            Ended::Equal if again => HINT_GAP,
            Ended::Equal => RESYNC_INTERVAL.mul_f64(0.8 + 0.4 * jitter),
        };
        self.wait(pair, now + delay);
    }

    /// A peer has compared a space with us.
    pub(crate) fn on_served(&mut self, pair: &Pair, now: Instant) {
        if let Some(state) = self.pairs.get_mut(pair) {
            state.refused = false;
        }
        if let Some(State { phase: Phase::Waiting(_), again: false, .. }) = self.pairs.get(pair) {
            self.wait(pair, now + RESYNC_INTERVAL * 5 / 4);
        }
    }

    /// When the next session is due, if there is room for it.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.due.first().filter(|_| self.running < MAX_OPENED).map(|(at, _)| *at)
    }

    fn begin(&mut self, pair: Pair, first: bool, now: Instant) {
        // The other side asks at its time; if it does not, this one does a little later.
        let at = if first { now } else { now + RESYNC_INTERVAL * 5 / 4 };
        let state = State {
            phase: Phase::Waiting(at),
            failures: 0,
            again: false,
            asked: false,
            refused: false,
            met: false,
        };
        self.forget(&pair);
        self.pairs.insert(pair, state);
        self.due.insert((at, pair));
    }

    fn forget(&mut self, pair: &Pair) {
        self.leave(pair);
        match self.pairs.remove(pair).map(|gone| gone.phase) {
            Some(Phase::Waiting(at)) => _ = self.due.remove(&(at, *pair)),
            Some(Phase::Running) => self.running -= 1,
            None => {}
        }
    }

    /// It neither runs nor is put off any longer.
    fn leave(&mut self, pair: &Pair) {
        self.put_off.remove(pair);
        if self.opening.get(&pair.1).is_some_and(|(peer, _)| *peer == pair.0) {
            self.opening.remove(&pair.1);
        }
    }

    fn wait(&mut self, pair: &Pair, at: Instant) {
        self.leave(pair);
        let Some(state) = self.pairs.get_mut(pair) else { return };
        match std::mem::replace(&mut state.phase, Phase::Waiting(at)) {
            Phase::Waiting(before) => _ = self.due.remove(&(before, *pair)),
            Phase::Running => self.running -= 1,
        }
        self.due.insert((at, *pair));
    }
}

/// How many sessions others have opened lately.
#[derive(Debug, Default)]
pub(crate) struct Served {
    windows: HashMap<PeerId, (Instant, u32)>,
}

impl Served {
    /// Whether a peer may have a session now; counted if so.
    pub(crate) fn admit(&mut self, peer: PeerId, now: Instant) -> bool {
        let (since, count) = self.windows.entry(peer).or_insert((now, 0));
        if now.duration_since(*since) >= SERVED_WINDOW {
            (*since, *count) = (now, 0);
        }
        *count += 1;
        *count <= MAX_SERVED_IN_WINDOW
    }

    /// Of connected peers only.
    pub(crate) fn on_gone(&mut self, peer: &PeerId) {
        self.windows.remove(peer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPACE: SpaceId = SpaceId([1; 32]);

    /// Nobody sends anything.
    fn free(_: &SpaceId) -> Option<Instant> {
        None
    }

    fn joined() -> (Sessions, Instant) {
        let (mut sessions, now) = (Sessions::default(), Instant::now());
        sessions.on_joined(SPACE, now);
        (sessions, now)
    }

    #[test]
    fn one_side_opens_the_first_session_and_the_other_only_when_none_comes() {
        let (mut sessions, now) = joined();
        let (first, second) = (PeerId::random(), PeerId::random());
        sessions.on_speaks(first, true, now);
        sessions.on_speaks(second, false, now);
        assert_eq!(sessions.next(now, free), Some((first, SPACE)));
        assert_eq!(sessions.next(now, free), None);
        sessions.on_ended(&(first, SPACE), Ended::Equal, 0.0, now);
        assert_eq!(sessions.deadline(), Some(now + RESYNC_INTERVAL * 4 / 5));
        sessions.on_gone(&first);
        assert_eq!(sessions.deadline(), Some(now + RESYNC_INTERVAL * 5 / 4));
    }

    #[test]
    fn a_space_that_is_joined_later_is_asked_of_everybody_and_one_that_is_left_of_nobody() {
        let (mut sessions, now) = (Sessions::default(), Instant::now());
        let peer = PeerId::random();
        sessions.on_speaks(peer, false, now);
        assert_eq!(sessions.deadline(), None);
        sessions.on_joined(SPACE, now);
        assert_eq!(sessions.next(now, free), Some((peer, SPACE)));
        sessions.on_left(&SPACE);
        sessions.on_ended(&(peer, SPACE), Ended::Equal, 0.5, now);
        assert_eq!(sessions.deadline(), None);
    }

    #[test]
    fn news_bring_a_session_forward_and_during_one_call_for_another() {
        let (mut sessions, now) = joined();
        let pair = (PeerId::random(), SPACE);
        sessions.on_speaks(pair.0, false, now);
        sessions.on_news(&pair, now);
        assert_eq!(sessions.deadline(), Some(now + HINT_GAP));
        assert_eq!(sessions.next(now + HINT_GAP, free), Some(pair));
        sessions.on_news(&pair, now);
        sessions.on_ended(&pair, Ended::Equal, 0.0, now);
        assert_eq!(sessions.deadline(), Some(now + HINT_GAP), "it may have missed it");
        sessions.next(now + HINT_GAP, free).unwrap();
        sessions.on_ended(&pair, Ended::Equal, 1.0, now);
        assert_eq!(sessions.deadline(), Some(now + RESYNC_INTERVAL * 6 / 5), "once is enough");
    }

    #[test]
    fn what_was_gossiped_is_settled_soon_by_one_of_each_two() {
        let (mut sessions, now) = joined();
        let (ours, theirs) = (PeerId::random(), PeerId::random());
        sessions.on_speaks(ours, true, now);
        sessions.on_speaks(theirs, false, now);
        sessions.next(now, free).unwrap();
        sessions.on_ended(&(ours, SPACE), Ended::Equal, 0.5, now);
        sessions.on_gossiped(SPACE, now);
        assert_eq!(sessions.deadline(), Some(now + SETTLE_DELAY));
        sessions.on_gossiped(SPACE, now + SETTLE_DELAY / 2);
        assert_eq!(
            sessions.next(now + SETTLE_DELAY, free),
            Some((ours, SPACE)),
            "more does not delay it"
        );
        assert_eq!(sessions.next(now + SETTLE_DELAY, free), None);
    }

    #[test]
    fn a_session_that_breaks_is_tried_ever_more_seldom_and_a_refusal_is_respected() {
        let (mut sessions, mut now) = joined();
        let pair = (PeerId::random(), SPACE);
        sessions.on_speaks(pair.0, true, now);
        let mut delays = Vec::new();
        for _ in 0..12 {
            assert!(sessions.next(now, free).is_some());
            sessions.on_ended(&pair, Ended::Failed, 0.0, now);
            delays.push(sessions.deadline().unwrap() - now);
            now = sessions.deadline().unwrap();
        }
        assert_eq!(delays[..3], [RETRY_DELAY, RETRY_DELAY * 2, RETRY_DELAY * 4]);
        assert_eq!(delays[11], MAX_RETRY_DELAY);
        sessions.next(now, free).unwrap();
        sessions.on_ended(&pair, Ended::Refused, 0.0, now);
        assert_eq!(sessions.deadline(), Some(now + REFUSED_DELAY));
        sessions.on_news(&pair, now);
        assert_eq!(sessions.deadline(), Some(now + REFUSED_DELAY), "it does not want them");
        sessions.on_asked(&pair, now);
        assert_eq!(sessions.next(now, free), Some(pair), "somebody wants to see it");
        sessions.on_asked(&pair, now);
        sessions.on_ended(&pair, Ended::Refused, 0.0, now);
        assert_eq!(
            sessions.next(now + HINT_GAP, free),
            Some(pair),
            "and one that begins after that"
        );
        sessions.on_ended(&pair, Ended::Refused, 0.0, now);
        sessions.on_served(&pair, now);
        sessions.on_news(&pair, now);
        assert_eq!(sessions.deadline(), Some(now + HINT_GAP), "it does by now");
    }

    #[test]
    fn replicas_of_which_one_does_not_take_what_the_other_has_compare_ever_more_seldom() {
        let (mut sessions, mut now) = joined();
        let pair = (PeerId::random(), SPACE);
        sessions.on_speaks(pair.0, true, now);
        let mut delays = Vec::new();
        for _ in 0..4 {
            assert!(sessions.next(now, free).is_some());
            // Its own answer to what it has sent in vain is no news.
            sessions.on_news(&pair, now);
            sessions.on_ended(&pair, Ended::Fruitless, 0.0, now);
            delays.push(sessions.deadline().unwrap() - now);
            now = sessions.deadline().unwrap();
        }
        assert_eq!(delays, [HINT_GAP, RETRY_DELAY * 2, RETRY_DELAY * 4, RETRY_DELAY * 8]);
        assert!(sessions.next(now, free).is_some());
        sessions.on_ended(&pair, Ended::Unfinished, 0.0, now);
        assert_eq!(sessions.deadline(), Some(now + HINT_GAP), "there is room again");
    }

    #[test]
    fn first_sessions_about_a_space_run_one_at_a_time_unless_one_takes_too_long() {
        let (mut sessions, now) = joined();
        let peers: Vec<_> = std::iter::repeat_with(PeerId::random).take(3).collect();
        peers.iter().for_each(|peer| sessions.on_speaks(*peer, true, now));
        let first = sessions.next(now, free).unwrap();
        assert_eq!(sessions.next(now, free), None);
        assert_eq!(sessions.deadline(), Some(now + OPENING_TIME));
        let later = now + OPENING_TIME;
        let second = sessions.next(later, free).unwrap();
        assert_eq!(sessions.next(later, free), None, "it is waited for, too");
        sessions.on_equal(&second);
        sessions.on_ended(&second, Ended::Equal, 0.5, later);
        sessions.resume(later);
        let third = sessions.next(later + HINT_GAP * 2, free).unwrap();
        assert!(third != first && third != second);
        // Those that have met before do not wait.
        sessions.on_news(&second, later);
        assert_eq!(sessions.next(later + HINT_GAP * 2, free), Some(second));
        sessions.on_joined(SpaceId([2; 32]), later);
        assert!(sessions.next(later, free).is_some(), "nor about another space");
    }

    #[test]
    fn nobody_is_asked_for_a_space_that_another_one_sends_until_it_ends_or_stalls() {
        let (mut sessions, now) = joined();
        let pair = (PeerId::random(), SPACE);
        sessions.on_speaks(pair.0, true, now);
        let until = now + Duration::from_secs(30);
        let filled = |_: &SpaceId| Some(until);
        assert_eq!(sessions.next(now, filled), None);
        assert_eq!(sessions.deadline(), Some(until), "it may stall");
        sessions.on_asked(&pair, now);
        assert_eq!(sessions.next(now, filled), None, "whoever asks waits as well");
        // It has ended.
        sessions.resume(now);
        assert_eq!(sessions.next(now + HINT_GAP * 2, free), Some(pair));
        // The peer itself is being sent it.
        sessions.on_ended(&pair, Ended::PutOff, 0.5, now);
        assert_eq!(sessions.deadline(), Some(now + RETRY_DELAY));
        sessions.on_gone(&pair.0);
        sessions.resume(now);
        assert_eq!(sessions.deadline(), None);
    }

    #[test]
    fn only_so_many_run_at_once_and_a_peer_that_goes_makes_room() {
        let (mut sessions, now) = joined();
        let peers: Vec<_> = std::iter::repeat_with(PeerId::random).take(MAX_OPENED + 2).collect();
        for peer in &peers {
            sessions.on_speaks(*peer, true, now);
            sessions.on_equal(&(*peer, SPACE));
        }
        let running: Vec<_> = std::iter::from_fn(|| sessions.next(now, free)).collect();
        assert_eq!(running.len(), MAX_OPENED);
        assert_eq!(sessions.deadline(), None, "nothing is due before one ends");
        sessions.on_gone(&running[0].0);
        assert!(sessions.next(now, free).is_some());
    }

    #[test]
    fn a_peer_that_asks_too_often_is_refused_for_a_while() {
        let (mut served, now, peer) = (Served::default(), Instant::now(), PeerId::random());
        assert!((0..MAX_SERVED_IN_WINDOW).all(|_| served.admit(peer, now)));
        assert!(!served.admit(peer, now));
        assert!(served.admit(PeerId::random(), now));
        assert!(served.admit(peer, now + SERVED_WINDOW));
    }
}
