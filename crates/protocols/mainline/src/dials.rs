//! From an address to a peer: one attempt for each candidate, without sockets or clock.
//!
//! | state | on | to |
//! |---|---|---|
//! | waiting | its turn, a second after the last | dialling: QUIC, and TCP 250 ms later or when QUIC fails |
//! | dialling | a connection | proving |
//! | dialling | every leg failed, or 30 s | failed: left alone for an hour |
//! | proving | identify lists our protocols | found |
//! | proving | it lists others, or 15 s | stranger: closed and left alone for an hour |

use std::{
    collections::VecDeque,
    net::SocketAddr,
    time::{Duration, Instant},
};

use libp2p_core::Multiaddr;
use libp2p_identity::PeerId;
use libp2p_swarm::ConnectionId;

use crate::guards::Who;

/// Candidates that wait for their turn: the most of eight lookups.
pub const MAX_WAITING: usize = 256;
/// Attempts under way: one a second for as long as they may take.
pub const MAX_ACTIVE: usize = 32;
/// How long TCP waits for QUIC.
pub const TCP_DELAY: Duration = Duration::from_millis(250);
/// How long a dial may take before the attempt has failed.
pub const DIAL_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a peer may take to say what it is.
pub const PROOF_TIMEOUT: Duration = Duration::from_secs(15);

/// Which round of which lookup a candidate is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RoundId(pub u64);

/// Someone to dial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Where it is from.
    pub round: RoundId,
    /// An address of an unknown peer, or a peer.
    pub who: Who,
    /// Addresses of the peer, if it is one.
    pub addresses: Vec<Multiaddr>,
}

/// A way to dial an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// QUIC version 1.
    Quic,
    /// TCP.
    Tcp,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Dial an address of an unknown peer, then call [`Dials::on_dialling`].
    Dial {
        /// Where.
        address: SocketAddr,
        /// How.
        transport: Transport,
    },
    /// Dial a peer, then call [`Dials::on_dialling`].
    DialPeer {
        /// Whom.
        peer: PeerId,
        /// Where.
        addresses: Vec<Multiaddr>,
    },
    /// A member was found.
    Found {
        /// By which round.
        round: RoundId,
        /// Who.
        peer: PeerId,
        /// Where it answered.
        who: Who,
    },
    /// Leave it alone for an hour.
    Failed {
        /// Whom.
        who: Who,
    },
    /// Close the connection: it is superfluous or leads to a stranger.
    Close {
        /// To whom.
        peer: PeerId,
        /// Which.
        connection: ConnectionId,
    },
}

/// Candidates and attempts of a node.
#[derive(Debug)]
pub struct Dials {
    quic: bool,
    tcp: bool,
    waiting: VecDeque<Candidate>,
    active: Vec<Attempt>,
}

#[derive(Debug)]
struct Attempt {
    round: RoundId,
    who: Who,
    state: State,
}

#[derive(Debug)]
enum State {
    Dialling { since: Instant, legs: Vec<ConnectionId>, tcp_at: Option<Instant> },
    Proving { since: Instant, peer: PeerId, connection: ConnectionId, others: Vec<ConnectionId> },
}

impl Dials {
    /// No candidates yet; what the node can dial.
    #[must_use]
    pub fn new(quic: bool, tcp: bool) -> Self {
        Self { quic, tcp, waiting: VecDeque::new(), active: Vec::new() }
    }

    /// Takes a candidate that passed the guards. False if it is known already or there is no room.
    pub fn add(&mut self, candidate: Candidate) -> bool {
        let known = self.waiting.iter().any(|other| other.who == candidate.who)
            || self.active.iter().any(|attempt| attempt.who == candidate.who);
        let room = self.waiting.len() < MAX_WAITING;
        if room && !known {
            match candidate.who {
                // It has signed that it is there, which an address has not.
                Who::Peer(_) => self.waiting.push_front(candidate),
                Who::Address(_) => self.waiting.push_back(candidate),
            }
        }
        room && !known
    }

    /// Whether somebody waits and there is room to dial.
    #[must_use]
    pub fn wants_turn(&self) -> bool {
        !self.waiting.is_empty() && self.active.len() < MAX_ACTIVE
    }

    /// Begins with the next candidate: its effect is carried out and told with
    /// [`Dials::on_dialling`] before anything else.
    pub fn begin(&mut self, now: Instant) -> Option<Effect> {
        if self.active.len() >= MAX_ACTIVE {
            return None;
        }
        let Candidate { round, who, addresses } = self.waiting.pop_front()?;
        let both = self.quic && self.tcp;
        let (effect, tcp_at) = match &who {
            Who::Address(address) => {
                let transport = if self.quic { Transport::Quic } else { Transport::Tcp };
                let tcp_at = both.then(|| now + TCP_DELAY);
                (Effect::Dial { address: *address, transport }, tcp_at)
            }
            Who::Peer(peer) => (Effect::DialPeer { peer: *peer, addresses }, None),
        };
        let state = State::Dialling { since: now, legs: Vec::with_capacity(2), tcp_at };
        self.active.push(Attempt { round, who, state });
        Some(effect)
    }

    /// The dial of a candidate is under way as this connection.
    pub fn on_dialling(&mut self, who: &Who, connection: ConnectionId) {
        let attempt = self.active.iter_mut().find(|attempt| attempt.who == *who);
        if let Some(State::Dialling { legs, .. }) = attempt.map(|attempt| &mut attempt.state) {
            legs.push(connection);
        }
    }

    /// A connection is established. `member` says whether the peer is known to be one.
    pub fn on_established(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        member: Option<bool>,
        now: Instant,
    ) -> Vec<Effect> {
        let Some(at) = self.attempt_of(connection) else { return Vec::new() };
        match &mut self.active[at].state {
            State::Dialling { legs, .. } => {
                legs.retain(|leg| *leg != connection);
                let others = std::mem::take(legs);
                self.active[at].state = State::Proving { since: now, peer, connection, others };
                member.map_or_else(Vec::new, |member| self.on_identified(peer, member))
            }
            State::Proving { others, .. } => {
                others.retain(|leg| *leg != connection);
                vec![Effect::Close { peer, connection }]
            }
        }
    }

    /// A connection could not be established.
    pub fn on_dial_failure(&mut self, connection: ConnectionId, now: Instant) -> Vec<Effect> {
        let Some(at) = self.attempt_of(connection) else { return Vec::new() };
        let attempt = &mut self.active[at];
        match &mut attempt.state {
            State::Proving { others, .. } => {
                others.retain(|leg| *leg != connection);
                return Vec::new();
            }
            State::Dialling { legs, tcp_at, .. } => {
                legs.retain(|leg| *leg != connection);
                if let Some(at) = tcp_at.as_mut() {
                    *at = (*at).min(now);
                    return Vec::new();
                }
                if !legs.is_empty() {
                    return Vec::new();
                }
            }
        }
        let Attempt { who, .. } = self.active.swap_remove(at);
        vec![Effect::Failed { who }]
    }

    /// A dial did not take place, because there is a connection already. That is no failure.
    pub fn on_abandoned(&mut self, connection: ConnectionId) {
        if let Some(at) = self.attempt_of(connection) {
            self.active.swap_remove(at);
        }
    }

    /// A connection closed.
    pub fn on_closed(&mut self, connection: ConnectionId) -> Vec<Effect> {
        let closed = |attempt: &Attempt| matches!(&attempt.state, State::Proving { connection: c, .. } if *c == connection);
        let Some(at) = self.active.iter().position(closed) else { return Vec::new() };
        let Attempt { who, .. } = self.active.swap_remove(at);
        vec![Effect::Failed { who }]
    }

    /// A peer said what it is.
    pub fn on_identified(&mut self, peer: PeerId, member: bool) -> Vec<Effect> {
        let mut effects = Vec::new();
        let its = |attempt: &Attempt| matches!(&attempt.state, State::Proving { peer: p, .. } if *p == peer);
        while let Some(at) = self.active.iter().position(its) {
            let Attempt { round, who, state } = self.active.swap_remove(at);
            let State::Proving { connection, .. } = state else { continue };
            if member {
                effects.push(Effect::Found { round, peer, who });
            } else {
                effects.extend([Effect::Close { peer, connection }, Effect::Failed { who }]);
            }
        }
        effects
    }

    /// What time alone brings: the second leg, and the end of what takes too long.
    pub fn on_time(&mut self, now: Instant) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.active.retain_mut(|attempt| attempt.on_time(now, &mut effects));
        effects
    }

    /// When [`Dials::on_time`] has something to do.
    #[must_use]
    pub fn wake_at(&self) -> Option<Instant> {
        self.active.iter().map(|attempt| attempt.state.wake_at()).min()
    }

    /// Forgets the candidates of a round that still wait.
    pub fn on_cancelled(&mut self, round: RoundId) {
        self.waiting.retain(|candidate| candidate.round != round);
    }

    /// Candidates of a round that are not decided.
    #[must_use]
    pub fn undecided(&self, round: RoundId) -> usize {
        let waiting = self.waiting.iter().filter(|candidate| candidate.round == round).count();
        waiting + self.active.iter().filter(|attempt| attempt.round == round).count()
    }

    fn attempt_of(&self, connection: ConnectionId) -> Option<usize> {
        self.active.iter().position(|attempt| match &attempt.state {
            State::Dialling { legs, .. } => legs.contains(&connection),
            State::Proving { others, .. } => others.contains(&connection),
        })
    }
}

impl Attempt {
    /// Whether it goes on.
    fn on_time(&mut self, now: Instant, effects: &mut Vec<Effect>) -> bool {
        match &mut self.state {
            State::Dialling { since, .. } if *since + DIAL_TIMEOUT <= now => {
                effects.push(Effect::Failed { who: self.who.clone() });
                false
            }
            State::Dialling { tcp_at, .. } => {
                if tcp_at.is_some_and(|at| at <= now)
                    && let Who::Address(address) = self.who
                {
                    *tcp_at = None;
                    effects.push(Effect::Dial { address, transport: Transport::Tcp });
                }
                true
            }
            State::Proving { since, peer, connection, .. } if *since + PROOF_TIMEOUT <= now => {
                effects.push(Effect::Close { peer: *peer, connection: *connection });
                effects.push(Effect::Failed { who: self.who.clone() });
                false
            }
            State::Proving { .. } => true,
        }
    }
}

impl State {
    fn wake_at(&self) -> Instant {
        match self {
            Self::Dialling { since, tcp_at, .. } => {
                let end = *since + DIAL_TIMEOUT;
                tcp_at.map_or(end, |at| at.min(end))
            }
            Self::Proving { since, .. } => *since + PROOF_TIMEOUT,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUND: RoundId = RoundId(1);

    fn address(number: u8) -> SocketAddr {
        SocketAddr::from(([11, 0, 0, number], 4001))
    }

    fn candidate(number: u8) -> Candidate {
        Candidate { round: ROUND, who: Who::Address(address(number)), addresses: Vec::new() }
    }

    fn connection(number: usize) -> ConnectionId {
        ConnectionId::new_unchecked(number)
    }

    fn dial(number: u8, transport: Transport) -> Effect {
        Effect::Dial { address: address(number), transport }
    }

    fn failed(number: u8) -> Effect {
        Effect::Failed { who: Who::Address(address(number)) }
    }

    /// One candidate that is being dialled over QUIC as connection 1.
    fn dialling(now: Instant) -> Dials {
        let mut dials = Dials::new(true, true);
        assert!(dials.add(candidate(1)));
        assert_eq!(dials.begin(now), Some(dial(1, Transport::Quic)));
        dials.on_dialling(&Who::Address(address(1)), connection(1));
        dials
    }

    #[test]
    fn tcp_follows_quic_after_250_ms() {
        let now = Instant::now();
        let mut dials = dialling(now);
        assert_eq!(dials.wake_at(), Some(now + TCP_DELAY));
        assert_eq!(dials.on_time(now), []);
        assert_eq!(dials.on_time(now + TCP_DELAY), [dial(1, Transport::Tcp)]);
        assert_eq!(dials.on_time(now + TCP_DELAY), [], "once");
    }

    #[test]
    fn tcp_follows_at_once_when_quic_fails_and_the_attempt_fails_with_it() {
        let now = Instant::now();
        let mut dials = dialling(now);
        assert_eq!(dials.on_dial_failure(connection(1), now), []);
        assert_eq!(dials.on_time(now), [dial(1, Transport::Tcp)]);
        dials.on_dialling(&Who::Address(address(1)), connection(2));
        assert_eq!(dials.on_dial_failure(connection(2), now), [failed(1)]);
        assert_eq!(dials.undecided(ROUND), 0);
    }

    #[test]
    fn a_member_is_found_once_it_said_what_it_is() {
        let now = Instant::now();
        let peer = PeerId::random();
        let mut dials = dialling(now);
        assert_eq!(dials.on_established(connection(1), peer, None, now), []);
        assert_eq!(dials.on_identified(PeerId::random(), true), [], "somebody else");
        let found = Effect::Found { round: ROUND, peer, who: Who::Address(address(1)) };
        assert_eq!(dials.on_identified(peer, true), [found]);
        assert_eq!(dials.on_time(now + DIAL_TIMEOUT * 2), [], "it is settled");
    }

    #[test]
    fn a_stranger_is_closed_and_left_alone() {
        let now = Instant::now();
        let peer = PeerId::random();
        let mut dials = dialling(now);
        dials.on_established(connection(1), peer, None, now);
        let close = Effect::Close { peer, connection: connection(1) };
        assert_eq!(dials.on_identified(peer, false), [close, failed(1)]);
    }

    #[test]
    fn who_does_not_say_what_it_is_within_15_s_is_a_stranger() {
        let now = Instant::now();
        let peer = PeerId::random();
        let mut dials = dialling(now);
        dials.on_established(connection(1), peer, None, now);
        assert_eq!(dials.wake_at(), Some(now + PROOF_TIMEOUT));
        let close = Effect::Close { peer, connection: connection(1) };
        assert_eq!(dials.on_time(now + PROOF_TIMEOUT), [close, failed(1)]);
    }

    #[test]
    fn the_connection_that_comes_second_is_closed() {
        let now = Instant::now();
        let peer = PeerId::random();
        let mut dials = dialling(now);
        dials.on_time(now + TCP_DELAY);
        dials.on_dialling(&Who::Address(address(1)), connection(2));
        dials.on_established(connection(2), peer, None, now);
        let close = Effect::Close { peer, connection: connection(1) };
        assert_eq!(dials.on_established(connection(1), peer, None, now), [close]);
        assert_eq!(dials.on_identified(peer, true).len(), 1, "and the first one counts");
    }

    #[test]
    fn a_dial_that_never_ends_fails_after_30_s() {
        let now = Instant::now();
        let mut dials = dialling(now);
        dials.on_time(now + TCP_DELAY);
        assert_eq!(dials.on_time(now + DIAL_TIMEOUT), [failed(1)]);
        assert_eq!(dials.on_dial_failure(connection(1), now), [], "too late to matter");
    }

    #[test]
    fn the_same_candidate_is_not_dialled_twice_at_a_time() {
        let now = Instant::now();
        let mut dials = dialling(now);
        assert!(!dials.add(candidate(1)));
        assert!(dials.add(candidate(2)) && !dials.add(candidate(2)));
    }

    #[test]
    fn attempts_and_candidates_are_bounded() {
        let now = Instant::now();
        let mut dials = Dials::new(true, true);
        let mut taken = 0;
        for number in 0..=u16::MAX {
            let [c, d] = number.to_be_bytes();
            let who = Who::Address(SocketAddr::from(([11, 0, c, d], 1)));
            taken += usize::from(dials.add(Candidate { round: ROUND, who, addresses: vec![] }));
        }
        assert_eq!(taken, MAX_WAITING);
        let begun = std::iter::from_fn(|| dials.begin(now)).count();
        assert_eq!(begun, MAX_ACTIVE);
        assert!(!dials.wants_turn());
    }

    #[test]
    fn a_known_peer_is_dialled_at_all_its_addresses_at_once() {
        let now = Instant::now();
        let (peer, mut dials) = (PeerId::random(), Dials::new(true, true));
        let addresses: Vec<Multiaddr> = vec!["/ip4/11.0.0.1/tcp/1".parse().expect("an address")];
        let who = Who::Peer(peer);
        dials.add(Candidate { round: ROUND, who: who.clone(), addresses: addresses.clone() });
        assert_eq!(dials.begin(now), Some(Effect::DialPeer { peer, addresses }));
        dials.on_dialling(&who, connection(1));
        assert_eq!(dials.on_dial_failure(connection(1), now), [Effect::Failed { who }]);
    }
}
