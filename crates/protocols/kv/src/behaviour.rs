//! The behaviour: how replicas of different nodes meet.

use std::{
    collections::{HashMap, VecDeque},
    pin::Pin,
    sync::{PoisonError, atomic::Ordering::Relaxed},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::Bytes;
use libp2p_core::{Endpoint, Multiaddr, transport::PortUse};
use libp2p_identity::PeerId;
use libp2p_swarm::{
    ConnectionDenied, ConnectionId, ExternalAddresses, FromSwarm, ListenAddresses,
    NetworkBehaviour, StreamProtocol, THandlerInEvent, THandlerOutEvent, ToSwarm,
};
use peerage_api::{Ask, kv::KvError, peers::Connect};
use peerage_dialog::{self as dialog, DialogError, DialogId, Dialogs, Handler, Open};
use peerage_types::{SpaceId, UnixMillis};
use peerage_wire::kv::{default_space, protocol};
use tokio::{
    task::{AbortHandle, JoinSet},
    time::{Sleep, sleep_until},
};

use crate::{
    Config,
    bounds::{MAX_JUDGING, MAX_SERVED, MAX_STREAMS_PER_PEER, PROGRESS_TIMEOUT},
    gossip::{self, Work},
    handle::{Kv, Outbox},
    replica::Replica,
    session::{self, Outcome, SessionError},
    sessions::{Ended, MAX_OPENED, Pair, Served, Sessions},
    syncs::Syncs,
    upkeep,
};

/// What a session gave, and about which space it was.
type Done = Result<Outcome, SessionError>;

/// A session that runs.
#[derive(Debug, Clone, Copy)]
struct Running {
    /// The pair, if this node has opened it.
    ours: Option<Pair>,
    since: Instant,
}

/// Whether a gossiped message is passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Yes.
    Accept,
    /// No, and its sender is to blame.
    Reject,
    /// No.
    Ignore,
}

/// What the behaviour wants of the swarm it is in.
#[derive(Debug)]
pub enum Event {
    /// Gossip this on [`topic`](peerage_wire::kv::topic).
    Gossip(Bytes),
    /// The answer to [`Behaviour::on_gossip`].
    Judged {
        /// The same as there.
        ticket: u64,
        /// What to do with the message.
        verdict: Verdict,
    },
    /// Connect to a peer that a ticket names; nobody waits for the answer.
    Connect(Ask<Connect>),
    /// A peer broke the protocol or lied.
    Misbehaved {
        /// Who.
        peer: PeerId,
        /// How.
        reason: String,
        /// It has lied before: it should be disconnected.
        again: bool,
    },
}

/// Figures.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Sessions that run.
    pub sessions: u64,
    /// Connected peers that speak the protocol.
    pub peers: u64,
    /// Sessions that ended well.
    pub completed: u64,
    /// Sessions that broke off.
    pub failed: u64,
    /// Entries that came from others and were new.
    pub entries_in: u64,
    /// Entries that were sent.
    pub entries_out: u64,
    /// Bytes that were sent in sessions.
    pub sent_bytes: u64,
    /// Bytes that were received in sessions.
    pub received_bytes: u64,
}

/// Keeps the spaces of this node the same as those of its peers. See the [crate] page.
///
/// Dropping it ends all sessions; everything that was acknowledged is in the store.
#[derive(Debug)]
pub struct Behaviour {
    local: PeerId,
    default_space: SpaceId,
    protocol: StreamProtocol,
    kv: Kv,
    dialogs: Dialogs<Done>,
    running: HashMap<DialogId, Running>,
    sessions: Sessions,
    served: Served,
    syncs: Syncs,
    work: JoinSet<Work>,
    is_telling: bool,
    /// Peers that have lied once since they connected.
    liars: HashMap<PeerId, u32>,
    stats: Stats,
    listen: ListenAddresses,
    external: ExternalAddresses,
    events: VecDeque<Event>,
    timer: Option<(Instant, Pin<Box<Sleep>>)>,
    upkeep: AbortHandle,
}

impl Drop for Behaviour {
    fn drop(&mut self) {
        self.upkeep.abort();
    }
}

impl Behaviour {
    /// A behaviour for the spaces of a replica.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    #[must_use]
    pub fn new(config: Config, replica: Replica) -> Self {
        let Config { network, local } = config;
        let protocol = StreamProtocol::try_from_owned(protocol(&network))
            .expect("a protocol id that starts with a slash");
        let dialogs = Dialogs::new(dialog::Config {
            max_outbound_per_peer: MAX_STREAMS_PER_PEER,
            max_inbound_per_peer: MAX_STREAMS_PER_PEER,
            max_total: MAX_OPENED + MAX_SERVED,
            progress_timeout: Some(PROGRESS_TIMEOUT),
            ..dialog::Config::new([protocol.clone()])
        });
        let now = Instant::now();
        let mut sessions = Sessions::default();
        replica.spaces().iter().for_each(|joined| sessions.on_joined(joined.id, now));
        let peer = local.author.peer().expect("a node");
        let kv = Kv::new(replica, local);
        let upkeep = tokio::spawn(upkeep::run(kv.clone())).abort_handle();
        Self {
            local: peer,
            default_space: default_space(&network),
            protocol,
            kv,
            dialogs,
            running: HashMap::new(),
            sessions,
            served: Served::default(),
            syncs: Syncs::default(),
            work: JoinSet::new(),
            is_telling: false,
            liars: HashMap::new(),
            stats: Stats::default(),
            listen: ListenAddresses::default(),
            external: ExternalAddresses::default(),
            events: VecDeque::new(),
            timer: None,
            upkeep,
        }
    }

    /// The handle that answers the facet.
    #[must_use]
    pub fn handle(&self) -> Kv {
        self.kv.clone()
    }

    /// The protocol that a peer must speak.
    #[must_use]
    pub fn protocol(&self) -> StreamProtocol {
        self.protocol.clone()
    }

    /// A connected peer told whether it speaks [`Behaviour::protocol`].
    pub fn on_identified(&mut self, peer: PeerId, speaks: bool) {
        if speaks && self.dialogs.is_connected(&peer) {
            self.sessions.on_speaks(peer, self.local < peer, Instant::now());
        } else {
            self.on_gone(&peer);
        }
        self.on_peers_changed();
    }

    /// Tells a new round-trip time of a connection, by which the best of several is chosen.
    pub fn on_rtt(&mut self, connection: ConnectionId, rtt: Duration) {
        self.dialogs.on_rtt(connection, rtt);
    }

    /// Tells that a connection will be closed once it is idle.
    pub fn on_retired(&mut self, connection: ConnectionId) {
        self.dialogs.on_retired(connection);
    }

    /// A message came on [`topic`](peerage_wire::kv::topic) by way of `via`. Answered by
    /// [`Event::Judged`] with the same ticket.
    pub fn on_gossip(&mut self, ticket: u64, via: PeerId, data: Bytes) {
        if self.work.len() >= MAX_JUDGING {
            self.events.push_back(Event::Judged { ticket, verdict: Verdict::Ignore });
        } else {
            let kv = self.kv.clone();
            self.work.spawn_on(
                gossip::judge(kv, self.default_space, ticket, via, data),
                &self.kv.0.runtime,
            );
        }
        self.kv.0.waker.wake();
    }

    /// Figures.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let (sessions, peers) = (self.running.len() as u64, self.sessions.peers().count() as u64);
        Stats { sessions, peers, ..self.stats }
    }

    fn on_gone(&mut self, peer: &PeerId) {
        self.sessions.on_gone(peer);
        self.served.on_gone(peer);
        self.liars.remove(peer);
        self.syncs.on_gone(peer);
    }

    fn on_peers_changed(&self) {
        let has_peers = self.sessions.peers().next().is_some();
        self.kv.0.has_peers.store(has_peers, Relaxed);
        self.kv.0.waker.wake();
    }

    fn on_dialog(&mut self, event: dialog::Event<Done>, now: Instant) {
        match event {
            dialog::Event::Inbound(inbound) => self.on_inbound(inbound, now),
            dialog::Event::Finished { id, peer, outcome, .. } => {
                self.on_finished(id, peer, outcome, now);
            }
            dialog::Event::BetterPath { .. } => {}
        }
    }

    fn on_inbound(&mut self, inbound: dialog::Inbound, now: Instant) {
        let peer = inbound.peer;
        let theirs = self.running.values().filter(|running| running.ours.is_none()).count();
        if theirs >= MAX_SERVED || !self.served.admit(peer, now) {
            return self.dialogs.refuse(inbound);
        }
        let replica = self.kv.0.replica.clone();
        let serve = move |stream| session::respond(stream, peer, replica, UnixMillis::now);
        let id = self.dialogs.serve(inbound, serve);
        self.running.insert(id, Running { ours: None, since: now });
    }

    fn open_sessions(&mut self, now: Instant) {
        let fills = self.kv.0.replica.fills().clone();
        while let Some(pair) = self.sessions.next(now, |space| fills.until(space, now)) {
            let (peer, space) = pair;
            let replica = self.kv.0.replica.clone();
            let open = Open::new(peer, self.protocol.clone());
            let dialog =
                move |stream| session::initiate(stream, peer, space, replica, UnixMillis::now);
            let id = self.dialogs.open(open, dialog);
            self.running.insert(id, Running { ours: Some(pair), since: now });
        }
    }

    fn on_finished(
        &mut self,
        id: DialogId,
        peer: PeerId,
        outcome: Result<Done, DialogError>,
        now: Instant,
    ) {
        let Some(Running { ours, since }) = self.running.remove(&id) else { return };
        let outcome = match outcome {
            Ok(Ok(outcome)) => Ok(outcome),
            Ok(Err(error)) if error.is_put_off() => {
                tracing::debug!(%peer, %error, "session about entries put off");
                if let (SessionError::PutOff { space }, None) = (&error, ours) {
                    self.sessions.on_put_off(&(peer, *space));
                }
                Err(KvError::Busy)
            }
            Ok(Err(error)) => Err(self.on_broken(peer, &error)),
            Err(error) => Err(KvError::Failed { peer, reason: error.to_string() }),
        };
        if let Ok(outcome) = &outcome {
            self.on_done(peer, outcome, now);
        }
        if let Some(pair) = ours {
            let ended = match &outcome {
                Ok(outcome) if outcome.equal => Ended::Equal,
                Ok(outcome) if outcome.has_more => Ended::Unfinished,
                Ok(_) => Ended::Fruitless,
                Err(KvError::Refused { .. }) => Ended::Refused,
                Err(KvError::Busy) => Ended::PutOff,
                Err(_) => Ended::Failed,
            };
            self.sessions.on_ended(&pair, ended, rand::random(), now);
            if !matches!(ended, Ended::Unfinished | Ended::PutOff) {
                let outcome = outcome.clone().map(|outcome| outcome.report);
                self.syncs.on_ended(&pair, since, &outcome);
            }
        }
        // One that this node has put off leaves no more room than there was.
        if ours.is_some() || !matches!(outcome, Err(KvError::Busy)) {
            self.sessions.resume(now);
        }
    }

    fn on_done(&mut self, peer: PeerId, outcome: &Outcome, now: Instant) {
        let Outcome { space, report, equal, .. } = outcome;
        if report.refused > 0 {
            let refused = report.refused;
            tracing::warn!(
                %peer,
                %space,
                refused,
                "entries are not taken: the space is full here, or who wrote them may not"
            );
        }
        tracing::debug!(%peer, %space, equal, ?report, "session about entries");
        self.stats.completed += 1;
        self.stats.entries_in += report.entries_in;
        self.stats.entries_out += report.entries_out;
        self.stats.sent_bytes += report.sent_bytes;
        self.stats.received_bytes += report.received_bytes;
        if *equal {
            self.sessions.on_equal(&(peer, *space));
        }
        self.sessions.on_served(&(peer, *space), now);
        if report.entries_in > 0 {
            self.sessions.on_learned(&peer, *space, now);
            self.kv.0.upkeep.notify_one();
        }
    }

    fn on_broken(&mut self, peer: PeerId, error: &SessionError) -> KvError {
        tracing::debug!(%peer, %error, "session about entries broke");
        self.stats.failed += 1;
        if error.is_misbehaviour() {
            let times = self.liars.entry(peer).or_default();
            *times += 1;
            let (again, reason) = (*times > 1, error.to_string());
            self.events.push_back(Event::Misbehaved { peer, reason, again });
        }
        let text = error.to_string();
        match error {
            SessionError::Refused { reason } => {
                KvError::Refused { peer, reason: text, why: Some(session::denial(*reason)) }
            }
            _ => KvError::Failed { peer, reason: text },
        }
    }

    /// What the handle has for us to do.
    fn take_outbox(&mut self, now: Instant) {
        let Outbox { written, syncs, joined, left, connect } =
            std::mem::take(&mut *self.kv.outbox());
        joined.into_iter().for_each(|space| {
            self.sessions.on_left(&space);
            self.sessions.on_joined(space, now);
        });
        left.iter().for_each(|space| self.sessions.on_left(space));
        for (peer, addresses) in connect {
            let (ask, _) = Ask::new(Connect { peer: Some(peer), addresses });
            self.events.push_back(Event::Connect(ask));
        }
        for ask in syncs {
            let id = self.kv.0.replica.resolve(ask.request.space).ok();
            self.syncs.on_ask(ask, id, &mut self.sessions, now);
        }
        self.tell(written, now);
    }

    /// Small changes of the default space are gossiped; of others the peers are asked at once
    /// whether they lack something.
    fn tell(&mut self, written: Vec<(SpaceId, std::ops::RangeInclusive<u64>)>, now: Instant) {
        let default = self.default_space;
        for (space, range) in written {
            if space == default && !self.is_telling {
                self.is_telling = true;
                let kv = self.kv.clone();
                self.work.spawn_on(gossip::tell(kv, space, range), &self.kv.0.runtime);
            } else if space == default {
                // After the one under way.
                self.kv.outbox().written.push((space, range));
            } else {
                self.ask_all(space, now);
            }
        }
    }

    fn ask_all(&mut self, space: SpaceId, now: Instant) {
        let peers: Vec<_> = self.sessions.peers().collect();
        peers.into_iter().for_each(|peer| self.sessions.on_news(&(peer, space), now));
    }

    fn take_work(&mut self, cx: &mut Context<'_>, now: Instant) {
        while let Poll::Ready(Some(done)) = self.work.poll_join_next(cx) {
            match done {
                Ok(Work::Judged { ticket, verdict, new }) => {
                    self.events.push_back(Event::Judged { ticket, verdict });
                    self.stats.entries_in += new;
                    if new > 0 {
                        self.sessions.on_gossiped(self.default_space, now);
                        self.kv.0.upkeep.notify_one();
                    }
                }
                Ok(Work::Told { messages, space, all }) => {
                    self.is_telling = false;
                    self.events.extend(messages.into_iter().map(Event::Gossip));
                    self.sessions.on_gossiped(space, now);
                    if !all {
                        self.ask_all(space, now);
                    }
                }
                Err(error) => {
                    self.is_telling = false;
                    tracing::error!(%error, "a worker of the key-value store panicked");
                }
            }
        }
    }

    fn keep_addresses(&self) {
        let external = self.external.iter().chain(self.listen.iter()).cloned().collect();
        *self.kv.0.addresses.lock().unwrap_or_else(PoisonError::into_inner) = external;
    }

    /// Whether something is due already.
    fn is_due(&mut self, cx: &mut Context<'_>) -> bool {
        match (&self.timer, self.sessions.deadline()) {
            (_, None) => self.timer = None,
            // A timer that rings too early is cheaper than a new one at every poll.
            (Some((at, _)), Some(due)) if *at <= due => {}
            (_, Some(due)) => self.timer = Some((due, Box::pin(sleep_until(due.into())))),
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
        if self.listen.on_swarm_event(&event) | self.external.on_swarm_event(&event) {
            self.keep_addresses();
        }
        self.dialogs.on_swarm_event(event);
        if let FromSwarm::ConnectionClosed(closed) = event
            && closed.remaining_established == 0
        {
            self.on_gone(&closed.peer_id);
            self.on_peers_changed();
        }
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
        self.kv.0.waker.register(cx.waker());
        loop {
            let now = Instant::now();
            while let Poll::Ready(step) = self.dialogs.poll(cx) {
                match step {
                    ToSwarm::GenerateEvent(event) => self.on_dialog(event, now),
                    other => {
                        return Poll::Ready(
                            other.map_out(|_| unreachable!("its events are handled above")),
                        );
                    }
                }
            }
            self.take_work(cx, now);
            self.take_outbox(now);
            self.open_sessions(now);
            if let Some(event) = self.events.pop_front() {
                return Poll::Ready(ToSwarm::GenerateEvent(event));
            }
            if !self.is_due(cx) {
                return Poll::Pending;
            }
        }
    }
}
