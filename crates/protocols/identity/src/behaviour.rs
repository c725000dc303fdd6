//! The behaviour: how the directory and the swarm meet.

use std::{
    collections::{HashMap, VecDeque},
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::Bytes;
use libp2p_core::{Endpoint, Multiaddr, transport::PortUse};
use libp2p_identity::PeerId;
use libp2p_swarm::{
    ConnectionDenied, ConnectionId, DialError, FromSwarm, NetworkBehaviour, StreamProtocol,
    THandlerInEvent, THandlerOutEvent, ToSwarm,
};
use peerage_dialog::{self as dialog, DialogError, DialogId, Dialogs, Handler, Open};
use peerage_store::Store;
use peerage_types::{UnixMillis, UserId};
use peerage_wire::identity::{kad_key, protocol};
use tokio::{
    runtime::Handle,
    task::{AbortHandle, JoinSet},
    time::{Sleep, sleep_until},
};

use crate::{
    Config, Directory, Event, Stats, Verdict,
    bounds::{
        MAX_OPENED, MAX_PASSED_ON, MAX_SERVED, MAX_VERIFYING, PROGRESS_TIMEOUT, PUT_INTERVAL,
    },
    lost::Lost,
    persist,
    records::record,
    session::{self, Report, SessionError},
    sessions::{Served, Sessions},
    verify::{self, Verified},
};

/// Who opened a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    We,
    They,
}

/// Tells peers of users and learns from them. See the [crate] page.
///
/// Dropping it ends all sessions; what is known stays with the [`Directory`].
#[derive(Debug)]
pub struct Behaviour {
    local: PeerId,
    protocol: StreamProtocol,
    directory: Directory,
    dialogs: Dialogs<Result<Report, SessionError>>,
    running: HashMap<DialogId, Side>,
    sessions: Sessions,
    served: Served,
    lost: Lost,
    verifying: JoinSet<Verified>,
    /// At most one for each call since the last poll.
    events: VecDeque<Event>,
    next_put: Option<Instant>,
    timer: Option<(Instant, Pin<Box<Sleep>>)>,
    keeper: AbortHandle,
}

impl Drop for Behaviour {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

impl Behaviour {
    /// A behaviour that goes on with what `store` knows, which it reads in the background.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    #[must_use]
    pub fn new(config: Config, store: Store) -> Self {
        let Config { network, local, limits } = config;
        let protocol = StreamProtocol::try_from_owned(protocol(&network))
            .expect("a protocol id that starts with a slash");
        let dialogs = Dialogs::new(dialog::Config {
            max_outbound_per_peer: 1,
            max_inbound_per_peer: 1,
            max_total: MAX_OPENED + MAX_SERVED,
            progress_timeout: Some(PROGRESS_TIMEOUT),
            ..dialog::Config::new([protocol.clone()])
        });
        let directory = Directory::new(local, limits, store, Handle::current());
        let keeper = tokio::spawn(persist::keep(directory.clone())).abort_handle();
        Self {
            local,
            protocol,
            directory,
            dialogs,
            running: HashMap::new(),
            sessions: Sessions::default(),
            served: Served::default(),
            lost: Lost::default(),
            verifying: JoinSet::new(),
            events: VecDeque::new(),
            next_put: None,
            timer: None,
            keeper,
        }
    }

    /// Who is known.
    #[must_use]
    pub fn directory(&self) -> Directory {
        self.directory.clone()
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
            self.sessions.on_gone(&peer);
        }
        self.wake();
    }

    /// A connected peer has subscribed to [`topic`](peerage_wire::identity::topic).
    pub fn on_hears(&mut self, peer: PeerId) {
        if self.local < peer {
            self.sessions.on_hears(&peer, Instant::now());
            self.wake();
        }
    }

    /// There is somebody now who keeps records for Kademlia: puts out those of this node's users.
    pub fn announce_all(&mut self) {
        let own = self.directory.read().own().collect();
        self.directory.outbox().puts = own;
        self.wake();
    }

    /// Tells a new round-trip time of a connection, by which the best of several is chosen.
    pub fn on_rtt(&mut self, connection: ConnectionId, rtt: Duration) {
        self.dialogs.on_rtt(connection, rtt);
    }

    /// Tells that a connection will be closed once it is idle.
    pub fn on_retired(&mut self, connection: ConnectionId) {
        self.dialogs.on_retired(connection);
    }

    /// A message came on [`topic`](peerage_wire::identity::topic), signed by `source`. Answered by
    /// [`Event::Judged`] with the same ticket.
    pub fn on_gossip(&mut self, ticket: u64, source: PeerId, data: Bytes) {
        if self.verifying.len() >= MAX_VERIFYING {
            self.events.push_back(Event::Judged { ticket, verdict: Verdict::Ignore });
        } else {
            let directory = self.directory.clone();
            let work = move || verify::gossip(&directory, ticket, source, &data);
            self.verifying.spawn_blocking_on(work, &self.directory.0.runtime);
        }
        self.wake();
    }

    /// What Kademlia has found of a user who was needed; `None` when it has nothing.
    pub fn on_record(&mut self, user: UserId, record: Option<Bytes>) {
        let Some(record) = record else { return self.directory.on_missing(user) };
        let directory = self.directory.clone();
        let work = move || verify::found(&directory, user, &record);
        self.verifying.spawn_blocking_on(work, &self.directory.0.runtime);
        self.wake();
    }

    /// Whether everything that users of this node have signed was handed out to be told.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.events.is_empty() && self.directory.outbox().gossip.deadline().is_none()
    }

    /// Figures.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let (accepted, rejected) = self.directory.counts();
        let known = self.directory.read();
        Stats {
            known: known.len() as u64,
            local: known.own_len() as u64,
            known_bytes: known.bytes() as u64,
            sessions: self.running.len() as u64,
            peers: self.sessions.len() as u64,
            accepted,
            rejected,
        }
    }

    fn wake(&self) {
        self.directory.0.waker.wake();
    }

    fn on_dialog(&mut self, event: dialog::Event<Result<Report, SessionError>>, now: Instant) {
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
        let theirs = self.running.values().filter(|side| **side == Side::They).count();
        if theirs >= MAX_SERVED || !self.served.admit(peer, now) {
            return self.dialogs.refuse(inbound);
        }
        let directory = self.directory.clone();
        let serve = move |stream| session::respond(stream, peer, directory);
        let id = self.dialogs.serve(inbound, serve);
        self.running.insert(id, Side::They);
    }

    fn open_sessions(&mut self, now: Instant) {
        while let Some((peer, at)) = self.sessions.next(now) {
            let directory = self.directory.clone();
            let open = Open::new(peer, self.protocol.clone());
            let dialog = move |stream| session::initiate(stream, peer, directory, at);
            let id = self.dialogs.open(open, dialog);
            self.running.insert(id, Side::We);
        }
    }

    fn on_finished(
        &mut self,
        id: DialogId,
        peer: PeerId,
        outcome: Result<Result<Report, SessionError>, DialogError>,
        now: Instant,
    ) {
        let Some(side) = self.running.remove(&id) else { return };
        let report = match outcome {
            Ok(Ok(report)) => report,
            Ok(Err(error)) => return self.on_broken(peer, side, &error, now),
            Err(error) => {
                tracing::debug!(%peer, %error, "no session about users");
                return self.on_lost(peer, side, now);
            }
        };
        let Report { learned, sent, bytes, at, .. } = report;
        tracing::debug!(%peer, learned, sent, bytes, is_over = at.is_none(), "session about users");
        match side {
            Side::We => self.sessions.on_done(&peer, at, now),
            Side::They => self.sessions.on_served(&peer, now),
        }
        self.pass_on(peer, report, now);
    }

    fn on_broken(&mut self, peer: PeerId, side: Side, error: &SessionError, now: Instant) {
        tracing::debug!(%peer, %error, "session about users broke");
        if error.is_misbehaviour() {
            self.events.push_back(Event::Misbehaved { peer, reason: error.to_string() });
        }
        self.on_lost(peer, side, now);
    }

    fn on_lost(&mut self, peer: PeerId, side: Side, now: Instant) {
        if side == Side::We {
            self.sessions.on_failed(&peer, now);
        }
    }

    /// Others may lack what one peer has told: networks that were apart have met.
    fn pass_on(&mut self, peer: PeerId, report: Report, now: Instant) {
        let has_others = self.sessions.len() > 1;
        match report.learned {
            0 => {}
            _ if !has_others => {}
            1..MAX_PASSED_ON => {
                report.users.into_iter().for_each(|user| self.directory.spread(user, false));
            }
            _ => self.sessions.on_learned(&peer, now),
        }
    }

    /// What the directory has for us to do.
    fn take_outbox(&mut self, now: Instant) {
        let directory = self.directory.clone();
        directory.sweep();
        if self.next_put.is_some_and(|next| next <= now) {
            let own = directory.read().own().collect();
            directory.outbox().puts = own;
            self.next_put = None;
        }
        let mut outbox = directory.outbox();
        outbox.lookups.expire(now);
        let puts = std::mem::take(&mut outbox.puts);
        self.events.extend(outbox.learned.drain(..).map(Event::Learned));
        let is_loaded = directory.is_loaded();
        let needs = std::iter::from_fn(|| if is_loaded { outbox.lookups.next() } else { None });
        let needs = needs.map(|user| Event::NeedRecord { user, key: kad_key(&user) });
        self.events.extend(needs);
        self.events
            .extend(outbox.gossip.message(now, |user| directory.bundle(user)).map(Event::Gossip));
        drop(outbox);
        if !puts.is_empty() {
            self.next_put.get_or_insert(now + PUT_INTERVAL);
        }
        for user in puts {
            let value = directory.read().bundle(&user).and_then(record);
            let put = value.map(|value| Event::PutRecord { key: kad_key(&user), value });
            self.events.extend(put);
        }
    }

    fn take_verified(&mut self, cx: &mut Context<'_>) {
        while let Poll::Ready(Some(done)) = self.verifying.poll_join_next(cx) {
            match done {
                Ok(Verified::Gossip { ticket, verdict }) => {
                    self.events.push_back(Event::Judged { ticket, verdict });
                }
                Ok(Verified::Found) => {}
                Err(error) => tracing::error!(%error, "a worker of identity panicked"),
            }
        }
    }

    fn deadline(&self, now: Instant) -> Option<Instant> {
        let expiry = self.directory.read().deadline();
        let expiry = expiry.map(|due| now + due.since(UnixMillis::now()).min(PUT_INTERVAL));
        let outbox = self.directory.outbox();
        let dues = [
            expiry,
            outbox.gossip.deadline(),
            outbox.lookups.deadline(),
            self.sessions.deadline(),
            self.next_put,
        ];
        dues.into_iter().flatten().min()
    }

    /// Whether something is due already.
    fn is_due(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        let deadline = self.deadline(now);
        // A timer that rings too early is cheaper than a new one at every poll.
        match (&self.timer, deadline) {
            (_, None) => self.timer = None,
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

/// Whether nobody is there, or somebody else: not that this node did not want to look.
fn is_unreachable(error: &DialError) -> bool {
    matches!(error, DialError::Transport(_) | DialError::WrongPeerId { .. })
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
            FromSwarm::ConnectionClosed(closed) if closed.remaining_established == 0 => {
                self.sessions.on_gone(&closed.peer_id);
                self.served.on_gone(&closed.peer_id);
                self.lost.on_gone(closed.peer_id, UnixMillis::now());
                self.wake();
            }
            FromSwarm::ConnectionEstablished(made) => {
                if let Some(lost) = self.lost.on_met(made.peer_id, UnixMillis::now()) {
                    self.directory.on_met_again(made.peer_id, lost);
                }
            }
            FromSwarm::DialFailure(failed) if is_unreachable(failed.error) => {
                let lost = failed.peer_id.and_then(|peer| Some((peer, self.lost.since(&peer)?)));
                lost.into_iter().for_each(|(peer, at)| self.directory.on_unreachable(peer, at));
            }
            _ => {}
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
        self.directory.0.waker.register(cx.waker());
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
            self.take_verified(cx);
            self.take_outbox(now);
            self.open_sessions(now);
            if let Some(event) = self.events.pop_front() {
                return Poll::Ready(ToSwarm::GenerateEvent(event));
            }
            if !self.is_due(cx, now) {
                return Poll::Pending;
            }
        }
    }
}
