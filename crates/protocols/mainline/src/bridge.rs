//! What the bridge decides: which rounds run, who is dialled, what is told. No swarm, no DHT, no clock.

mod own;
mod report;
mod rounds;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    net::SocketAddr,
    time::{Duration, Instant},
};

use libp2p_core::Multiaddr;
use libp2p_identity::{Keypair, PeerId};
use libp2p_swarm::ConnectionId;
use peerage_types::UnixMillis;
use peerage_wire::mainline::key_of;

use crate::{
    Config, Health,
    budget::Budget,
    cadence::{Due, Now, Rhythm},
    client::{Report, Request},
    dials::{Dials, Effect, RoundId},
    guards::{Guards, Screen, Who, socket_of},
    rendezvous::{Infohash, Rendezvous},
};
use own::Own;
use report::is_quic;
pub(crate) use report::multiaddrs;

/// Rendezvous that are announced or joined at once.
pub const MAX_RENDEZVOUS: usize = 64;
/// Finds at once: 16 × 32 candidates, of which 256 wait.
pub const MAX_FINDS: usize = 16;
/// Questions for the addresses of a peer at once.
pub const MAX_RESOLVES: usize = 16;
/// Rounds of rendezvous at once: one packet to each of 20 nodes for each is a burst of 30 KiB.
const MAX_ROUNDS: usize = 4;
/// How long a find may take with its dials.
const FIND_TIMEOUT: Duration = Duration::from_secs(60);
/// Peers of whom the newest record's time is remembered. 1024 × 60 bytes = 60 KiB.
const MAX_NEWEST: usize = 1024;
/// Listen addresses of a member that are remembered, so that it is not dialled as a stranger.
const MAX_SOCKETS: usize = 16;

/// A find that was begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FindId(pub u64);

/// A question for the addresses of a peer that was begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ResolveId(pub u64);

/// How a peer was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum How {
    /// Something announced its address; a handshake and identify proved what it is.
    Announced,
    /// It signed a record.
    Record,
}

/// What the owner of the swarm should know.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A member was found: connected and identified as one, or for a find by its signed record,
    /// which is no proof that it is there.
    Found {
        /// Under which rendezvous.
        infohash: Infohash,
        /// For which find; none for a rendezvous that was joined.
        find: Option<FindId>,
        /// Who.
        peer: PeerId,
        /// Where: public and relayed addresses, without `/p2p/…` at their end.
        addresses: Vec<Multiaddr>,
        /// How.
        how: How,
    },
    /// A find is over: every source has answered and every candidate is decided.
    FindEnded {
        /// Which.
        find: FindId,
        /// Whether the DHT answered.
        reached: bool,
    },
    /// A rendezvous was announced.
    Announced {
        /// Which.
        infohash: Infohash,
    },
    /// Addresses of a peer, signed by it; none if the DHT has no current ones. Each ends in
    /// `/p2p/PEER`.
    Resolved {
        /// Which question.
        resolve: ResolveId,
        /// Who.
        peer: PeerId,
        /// Where.
        addresses: Vec<Multiaddr>,
    },
    /// The DHT is reached, or no longer, or knows more.
    Health(Health),
}

/// Why something is not begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// [`MAX_RENDEZVOUS`] are held.
    #[error("{MAX_RENDEZVOUS} rendezvous are announced already, which is the most")]
    TooMany,
    /// [`MAX_FINDS`] or [`MAX_RESOLVES`] are under way.
    #[error("too many lookups at once; ask again shortly")]
    Busy,
    /// The peer id holds no Ed25519 key, so nothing can be found under it.
    #[error("the peer id is not one of an Ed25519 key")]
    NoKey,
}

/// What the behaviour carries out.
#[derive(Debug)]
pub(crate) enum Output {
    Dial(Effect),
    Tell(Event),
    Ask(Request),
}

#[derive(Debug)]
pub(crate) struct Bridge {
    own: Own,
    held: HashMap<Infohash, Held>,
    finds: VecDeque<(FindId, Rendezvous)>,
    rounds: BTreeMap<RoundId, Running>,
    resolves: HashMap<ResolveId, PeerId>,
    next_id: u64,
    budget: Budget,
    /// When the budget allows what it refused.
    afford_at: Instant,
    guards: Guards,
    turn_at: Instant,
    dials: Dials,
    known: HashMap<PeerId, Known>,
    newest: HashMap<PeerId, UnixMillis>,
    health: Health,
    outputs: VecDeque<Output>,
}

#[derive(Debug)]
struct Held {
    rendezvous: Rendezvous,
    rhythm: Rhythm,
    is_running: bool,
    /// No round of it has begun: somebody waits for the first.
    is_new: bool,
}

/// A round whose lookup or dials are not over.
#[derive(Debug)]
struct Running {
    infohash: Infohash,
    find: Option<FindId>,
    due: Due,
    screen: Screen,
    told: HashSet<PeerId>,
    ended: Option<bool>,
    deadline: Instant,
}

/// A connected peer that said what it is.
#[derive(Debug)]
struct Known {
    is_member: bool,
    sockets: Vec<SocketAddr>,
    /// Whether it listens on TCP, and on QUIC.
    transports: [bool; 2],
}

impl Bridge {
    pub(crate) fn new(config: &Config, keypair: Keypair, now: Instant) -> Self {
        Self {
            own: Own::new(keypair, config.local_only, now),
            held: HashMap::new(),
            finds: VecDeque::new(),
            rounds: BTreeMap::new(),
            resolves: HashMap::new(),
            next_id: 0,
            budget: Budget::new(now),
            afford_at: now,
            guards: Guards::new(config.local_only),
            turn_at: now,
            dials: Dials::new(config.quic, config.tcp),
            known: HashMap::new(),
            newest: HashMap::new(),
            health: Health::default(),
            outputs: VecDeque::new(),
        }
    }

    pub(crate) fn hold(
        &mut self,
        rendezvous: Rendezvous,
        looks: bool,
        now: Instant,
    ) -> Result<(), Refused> {
        let infohash = rendezvous.infohash();
        if let Some(held) = self.held.get_mut(&infohash) {
            if looks {
                held.rhythm.look(now);
            }
            return Ok(());
        }
        if self.held.len() >= MAX_RENDEZVOUS {
            return Err(Refused::TooMany);
        }
        let rhythm = Rhythm::new(looks, rand::random(), now);
        self.held.insert(infohash, Held { rendezvous, rhythm, is_running: false, is_new: true });
        Ok(())
    }

    pub(crate) fn withdraw(&mut self, infohash: Infohash) -> bool {
        self.held.remove(&infohash).is_some()
    }

    pub(crate) fn find(&mut self, rendezvous: Rendezvous) -> Result<FindId, Refused> {
        let running = self.rounds.values().filter(|round| round.find.is_some()).count();
        if self.finds.len() + running >= MAX_FINDS {
            return Err(Refused::Busy);
        }
        let id = FindId(self.take_id());
        self.finds.push_back((id, rendezvous));
        Ok(id)
    }

    /// Nobody waits for it any more.
    pub(crate) fn cancel_find(&mut self, find: FindId) {
        self.finds.retain(|(id, _)| *id != find);
        let dials = &mut self.dials;
        self.rounds.retain(|id, round| {
            let cancelled = round.find == Some(find);
            if cancelled {
                dials.on_cancelled(*id);
            }
            !cancelled
        });
    }

    pub(crate) fn resolve(&mut self, peer: PeerId) -> Result<ResolveId, Refused> {
        let key = key_of(&peer).ok_or(Refused::NoKey)?;
        if self.resolves.len() >= MAX_RESOLVES {
            return Err(Refused::Busy);
        }
        let id = ResolveId(self.take_id());
        self.resolves.insert(id, peer);
        self.outputs.push_back(Output::Ask(Request::Resolve { id: id.0, key }));
        Ok(id)
    }

    pub(crate) fn health(&self) -> Health {
        self.health
    }

    pub(crate) fn is_lonely(&self) -> bool {
        !self.known.values().any(|known| known.is_member)
    }

    pub(crate) fn on_established(&mut self, connection: ConnectionId, peer: PeerId, now: Instant) {
        let member = self.known.get(&peer).map(|known| known.is_member);
        let effects = self.dials.on_established(connection, peer, member, now);
        self.carry_out(effects, now);
    }

    pub(crate) fn on_dial_failure(&mut self, connection: ConnectionId, real: bool, now: Instant) {
        if real {
            let effects = self.dials.on_dial_failure(connection, now);
            self.carry_out(effects, now);
        } else {
            self.dials.on_abandoned(connection);
        }
    }

    pub(crate) fn on_closed(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        remaining: usize,
        now: Instant,
    ) {
        let effects = self.dials.on_closed(connection);
        self.carry_out(effects, now);
        if remaining == 0 {
            let lonely = self.is_lonely();
            self.known.remove(&peer);
            self.tell_lonely(lonely, now);
        }
    }

    pub(crate) fn on_identified(
        &mut self,
        peer: PeerId,
        is_member: bool,
        listens: &[Multiaddr],
        now: Instant,
    ) {
        let lonely = self.is_lonely();
        let sockets = listens.iter().filter_map(socket_of).take(MAX_SOCKETS).collect();
        let transports = [false, true].map(|quic| listens.iter().any(|a| is_quic(a) == quic));
        self.known.insert(peer, Known { is_member, sockets, transports });
        self.tell_lonely(lonely, now);
        let effects = self.dials.on_identified(peer, is_member);
        self.carry_out(effects, now);
    }

    pub(crate) fn on_dialling(&mut self, who: &Who, connection: ConnectionId) {
        self.dials.on_dialling(who, connection);
    }

    pub(crate) fn on_port(&mut self, port: Option<u16>, now: Instant) {
        if self.own.on_port(port) {
            self.announce_again(now);
        }
    }

    pub(crate) fn on_reachable(&mut self, reachable: Option<bool>, now: Instant) {
        if self.own.on_reachable(reachable) {
            self.announce_again(now);
        }
    }

    pub(crate) fn on_listening(&mut self, address: &Multiaddr, begins: bool) {
        self.own.on_listening(address, begins);
        self.tell_own();
    }

    pub(crate) fn on_external(&mut self, address: &Multiaddr, begins: bool, now: Instant) {
        if self.own.on_external(address, begins, now) {
            self.held.values_mut().for_each(|held| held.rhythm.on_addresses(now));
        }
        self.tell_own();
    }

    fn announce_again(&mut self, now: Instant) {
        self.held.values_mut().for_each(|held| held.rhythm.on_port(now));
        self.tell_own();
    }

    fn tell_own(&mut self) {
        self.guards.on_own(self.own.sockets(self.health.seen_as));
    }

    fn tell_lonely(&mut self, before: bool, now: Instant) {
        let lonely = self.is_lonely();
        if lonely != before {
            self.budget.on_lonely(lonely, now);
            self.afford_at = now;
            for held in self.held.values_mut() {
                held.rhythm.on_lonely(lonely, rand::random(), now);
            }
        }
    }

    /// Does what time brings; then what is to be carried out is in [`Bridge::next`].
    pub(crate) fn on_time(&mut self, now: Now) {
        let effects = self.dials.on_time(now.instant);
        self.carry_out(effects, now.instant);
        while self.dials.wants_turn() {
            match self.guards.take_turn(now.instant) {
                Ok(()) => self.outputs.extend(self.dials.begin(now.instant).map(Output::Dial)),
                Err(at) => {
                    self.turn_at = at;
                    break;
                }
            }
        }
        self.start_finds(now);
        self.start_rounds(now);
        self.publish(now);
        self.end_rounds(now.instant);
    }

    /// What the DHT told.
    pub(crate) fn on_report(&mut self, report: Report, now: Now) {
        self.handle(report, now);
    }

    pub(crate) fn next(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Bridge::on_time`] has something to do, at the latest in 10 minutes.
    pub(crate) fn wake_at(&self, now: Now) -> Instant {
        let mut at = self.work_wake_at(now);
        if let Some(dials) = self.dials.wake_at() {
            at = at.min(dials);
        }
        if self.dials.wants_turn() {
            at = at.min(self.turn_at);
        }
        self.rounds.values().map(|round| round.deadline).fold(at, Instant::min)
    }

    fn carry_out(&mut self, effects: Vec<Effect>, now: Instant) {
        for effect in effects {
            match effect {
                Effect::Found { round, peer, who } => self.found(round, peer, &who),
                Effect::Failed { who } => self.guards.on_failed(who, now),
                other => self.outputs.push_back(Output::Dial(other)),
            }
        }
    }

    fn take_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }
}
