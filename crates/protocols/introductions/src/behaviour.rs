//! The behaviour: how the core and the swarm meet.

use std::{
    collections::{HashMap, VecDeque},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use libp2p_core::{Endpoint, Multiaddr, transport::PortUse};
use libp2p_identity::{Keypair, PeerId};
use libp2p_swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, StreamProtocol, THandlerInEvent,
    THandlerOutEvent, ToSwarm,
};
use peerage_dialog::{self as dialog, DialogError, DialogId, Dialogs, Handler, Open};
use peerage_types::{Reach, UnixMillis};
use peerage_wire::introductions::{Infohash, Signed, protocol};
use rand::rngs::StdRng;
use tokio::time::{Sleep, sleep_until};

use crate::{
    Config, Event,
    bounds::{MAX_ASKED, MAX_SEARCHES, MAX_SERVED, PROGRESS_TIMEOUT, SEARCH_PEERS},
    introductions::Introductions,
    own::Own,
    session::{self, Question, SessionError},
};

type Core = Introductions<StdRng>;
type Outcome = Result<Vec<Signed>, SessionError>;

/// How often expired records are dropped, at the latest.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(60);

/// What a dialog is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Ask,
    Search(u64),
    Serve,
}

/// Introduces peers to each other. See the [crate] page.
#[derive(Debug)]
pub struct Behaviour {
    protocol: StreamProtocol,
    /// Shared with the dialogs that answer, which hold it only to read and write memory.
    core: Arc<Mutex<Core>>,
    dialogs: Dialogs<Outcome>,
    running: HashMap<DialogId, Purpose>,
    serving: usize,
    /// At most 16 of each dialog that ended since the last poll, and what searches knew already.
    events: VecDeque<Event>,
    next_upkeep: Instant,
    timer: Option<(Instant, Pin<Box<Sleep>>)>,
    waker: Option<Waker>,
}

impl Behaviour {
    /// A behaviour that knows nobody and introduces itself with `keys`. A node whose key is not
    /// Ed25519 learns of others but is not introduced.
    ///
    /// # Panics
    /// Never: a network name makes a valid protocol id.
    #[must_use]
    pub fn new(config: Config, keys: &Keypair) -> Self {
        let Config { network, allow_private } = config;
        let protocol = StreamProtocol::try_from_owned(protocol(&network))
            .expect("a protocol id that starts with a slash");
        let dialogs = Dialogs::new(dialog::Config {
            max_outbound_per_peer: 4,
            max_inbound_per_peer: 2,
            max_total: MAX_ASKED + MAX_SERVED + MAX_SEARCHES * SEARCH_PEERS,
            progress_timeout: Some(PROGRESS_TIMEOUT),
            ..dialog::Config::new([protocol.clone()])
        });
        let own = Own::new(keys, network, allow_private);
        let local = keys.public().to_peer_id();
        let core = Introductions::new(own, local, allow_private, rand::make_rng());
        Self {
            protocol,
            core: Arc::new(Mutex::new(core)),
            dialogs,
            running: HashMap::new(),
            serving: 0,
            events: VecDeque::new(),
            next_upkeep: Instant::now() + UPKEEP_INTERVAL,
            timer: None,
            waker: None,
        }
    }

    /// The protocol that a peer must speak.
    #[must_use]
    pub fn protocol(&self) -> StreamProtocol {
        self.protocol.clone()
    }

    /// A connected peer told whether it speaks [`Behaviour::protocol`].
    pub fn on_identified(&mut self, peer: PeerId, speaks: bool) {
        if speaks && self.dialogs.is_connected(&peer) {
            self.core().on_speaks(peer, Instant::now());
        } else {
            self.core().rounds.on_gone(&peer);
        }
        self.wake();
    }

    /// This node belongs to a namespace from now on, and says so; the latest eight are told.
    pub fn join(&mut self, namespace: Infohash) {
        self.change(|own| own.join(namespace));
    }

    /// This node belongs to it no longer. What was told before expires within the hour.
    pub fn leave(&mut self, namespace: Infohash) {
        self.change(|own| own.leave(namespace));
    }

    /// Looks for peers of a namespace: those that are known, and by asking some that are connected.
    /// Answered by any number of [`Event::Found`] and one [`Event::Searched`] with the same number,
    /// which must not be in use.
    pub fn find(&mut self, search: u64, namespace: Infohash) {
        let unix = UnixMillis::now();
        let (known, asked) = self.core().search(search, namespace, unix);
        let found = |record: Signed| Event::Found {
            search,
            peer: record.peer,
            addresses: record.addresses.clone(),
        };
        self.events.extend(known.into_iter().map(found));
        if asked.is_empty() {
            self.events.push_back(Event::Searched { search });
        }
        for peer in asked {
            let question = self.core().search_question(&peer, namespace, unix);
            self.ask(peer, question, Purpose::Search(search));
        }
        self.wake();
    }

    /// Nobody waits for a search any more; [`Event::Searched`] does not follow.
    pub fn forget(&mut self, search: u64) {
        self.core().end_search(search);
    }

    /// How many peers can be asked: connected ones that speak the protocol.
    #[must_use]
    pub fn peers(&self) -> usize {
        self.core().rounds.len()
    }

    /// How many records of others are kept.
    #[must_use]
    pub fn known(&self) -> usize {
        self.core().known.len()
    }

    /// Tells a new round-trip time of a connection, by which the best of several is chosen.
    pub fn on_rtt(&mut self, connection: ConnectionId, rtt: Duration) {
        self.dialogs.on_rtt(connection, rtt);
    }

    /// Tells that a connection will be closed once it is idle.
    pub fn on_retired(&mut self, connection: ConnectionId) {
        self.dialogs.on_retired(connection);
    }

    fn core(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn change(&mut self, change: impl FnOnce(&mut Own) -> bool) {
        let mut core = self.core();
        let changed = change(&mut core.own);
        core.on_changed(changed, Instant::now());
        drop(core);
        self.wake();
    }

    fn ask(&mut self, peer: PeerId, question: Question, purpose: Purpose) {
        let network = self.core().network();
        let open = Open::new(peer, self.protocol.clone());
        let id = self.dialogs.open(open, move |stream| session::ask(stream, question, network));
        self.running.insert(id, purpose);
    }

    fn on_inbound(&mut self, inbound: dialog::Inbound, now: Instant) {
        let peer = inbound.peer;
        if self.serving >= MAX_SERVED || !self.core().served.admit(peer, now) {
            return self.dialogs.refuse(inbound);
        }
        let (network, core) = (self.core().network(), self.core.clone());
        let answer = move |limit, namespace| {
            let mut core = core.lock().unwrap_or_else(PoisonError::into_inner);
            core.answer(&peer, limit, namespace, UnixMillis::now())
        };
        let serve = move |stream| session::answer(stream, peer, network, answer);
        let id = self.dialogs.serve(inbound, serve);
        self.running.insert(id, Purpose::Serve);
        self.serving += 1;
    }

    fn on_finished(
        &mut self,
        id: DialogId,
        peer: PeerId,
        outcome: Result<Outcome, DialogError>,
        now: Instant,
    ) {
        let Some(purpose) = self.running.remove(&id) else { return };
        let records = match outcome {
            Ok(Ok(records)) => Some(records),
            Ok(Err(error)) => {
                self.on_broken(peer, &error);
                None
            }
            Err(error) => {
                tracing::debug!(%peer, %error, "no introductions");
                None
            }
        };
        let answered = records.is_some();
        self.learn(peer, records.unwrap_or_default(), purpose);
        match purpose {
            Purpose::Serve => self.serving -= 1,
            Purpose::Ask => self.on_asked(peer, answered, now),
            Purpose::Search(search) => {
                if self.core().on_searched(search) {
                    self.events.push_back(Event::Searched { search });
                }
            }
        }
    }

    fn on_asked(&self, peer: PeerId, answered: bool, now: Instant) {
        let mut core = self.core();
        let Core { rounds, random, .. } = &mut *core;
        rounds.on_done(&peer, answered, now, random);
    }

    fn on_broken(&mut self, peer: PeerId, error: &SessionError) {
        tracing::debug!(%peer, %error, "introductions broke");
        if error.is_misbehaviour() {
            self.events.push_back(Event::Misbehaved { peer, reason: error.to_string() });
        }
    }

    fn learn(&mut self, from: PeerId, records: Vec<Signed>, purpose: Purpose) {
        let search = match purpose {
            Purpose::Search(search) => Some(search),
            Purpose::Ask | Purpose::Serve => None,
        };
        let learned = self.core().learn(records, from, search, UnixMillis::now());
        for it in learned {
            let (peer, addresses, nearby) = (it.peer, it.addresses, it.nearby);
            if let Some(search) = search.filter(|_| it.is_found) {
                self.events.push_back(Event::Found { search, peer, addresses: addresses.clone() });
            }
            if it.is_news {
                self.events.push_back(Event::Introduced { peer, addresses, nearby });
            }
        }
    }

    fn ask_due(&mut self, now: Instant) {
        loop {
            let mut core = self.core();
            let Some(peer) = core.rounds.next(now) else { return };
            let question = core.question(&peer, UnixMillis::now());
            drop(core);
            self.ask(peer, question, Purpose::Ask);
        }
    }

    /// Whether something is due already.
    fn is_due(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        if self.next_upkeep <= now {
            self.next_upkeep = now + UPKEEP_INTERVAL;
            self.core().known.expire(now, UnixMillis::now());
        }
        let due = self.core().rounds.deadline();
        // An idle node without peers is not woken to drop what has expired: it does not count anyway.
        let Some(due) = due else {
            self.timer = None;
            return false;
        };
        // A timer that rings too early is cheaper than a new one at every poll.
        if self.timer.as_ref().is_none_or(|(at, _)| *at > due) {
            self.timer = Some((due, Box::pin(sleep_until(due.into()))));
        }
        let Some((_, sleep)) = &mut self.timer else { return false };
        let rings = sleep.as_mut().poll(cx).is_ready();
        if rings {
            self.timer = None;
        }
        rings
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = Handler;
    type ToSwarm = Event;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<Handler, ConnectionDenied> {
        Ok(self.dialogs.handler())
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<Handler, ConnectionDenied> {
        Ok(self.dialogs.handler())
    }

    fn on_swarm_event(&mut self, event: FromSwarm) {
        self.dialogs.on_swarm_event(event);
        match event {
            FromSwarm::ConnectionEstablished(made) => {
                let reach = Reach::of(made.endpoint.get_remote_address());
                let near = !made.endpoint.is_relayed() && reach.is_some_and(|r| r < Reach::Global);
                self.core().on_connected(made.peer_id, near);
            }
            FromSwarm::ConnectionClosed(closed) if closed.remaining_established == 0 => {
                self.core().on_gone(closed.peer_id, Instant::now());
            }
            FromSwarm::NewListenAddr(new) => self.change(|own| own.on_listening(new.addr, true)),
            FromSwarm::ExpiredListenAddr(old) => {
                self.change(|own| own.on_listening(old.addr, false));
            }
            FromSwarm::ExternalAddrConfirmed(new) => {
                self.change(|own| own.on_external(new.addr, true));
            }
            FromSwarm::ExternalAddrExpired(old) => {
                self.change(|own| own.on_external(old.addr, false));
            }
            _ => return,
        }
        self.wake();
    }

    fn on_connection_handler_event(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        self.dialogs.on_handler_event(peer, connection, event);
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Event, THandlerInEvent<Self>>> {
        loop {
            let now = Instant::now();
            while let Poll::Ready(step) = self.dialogs.poll(cx) {
                match step {
                    ToSwarm::GenerateEvent(dialog::Event::Inbound(inbound)) => {
                        self.on_inbound(inbound, now);
                    }
                    ToSwarm::GenerateEvent(dialog::Event::Finished {
                        id, peer, outcome, ..
                    }) => {
                        self.on_finished(id, peer, outcome, now);
                    }
                    ToSwarm::GenerateEvent(dialog::Event::BetterPath { .. }) => {}
                    other => {
                        return Poll::Ready(
                            other.map_out(|_| unreachable!("its events are handled above")),
                        );
                    }
                }
            }
            self.ask_due(now);
            if let Some(event) = self.events.pop_front() {
                return Poll::Ready(ToSwarm::GenerateEvent(event));
            }
            if !self.is_due(cx, now) {
                self.waker = Some(cx.waker().clone());
                return Poll::Pending;
            }
        }
    }
}
