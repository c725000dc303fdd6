//! The behaviour: what it holds, and how the swarm drives it.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    pin::Pin,
    sync::{Arc, atomic::Ordering::Relaxed},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use futures::{StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use libp2p_core::{Endpoint, Multiaddr, transport::PortUse};
use libp2p_identity::PeerId;
use libp2p_swarm::{
    ConnectionDenied, ConnectionId, ExternalAddresses, FromSwarm, ListenAddresses,
    NetworkBehaviour, StreamProtocol, THandlerInEvent, THandlerOutEvent, ToSwarm,
};
use peerage_api::{
    Sink,
    files::{self as api, State},
    peers::PeersError,
};
use peerage_content::Cache;
use peerage_dialog::{self as dialog, DialogError, DialogId, Dialogs, Handler};
use peerage_store::{Store, TransfersSnapshot};
use peerage_types::{ContentHash, TransferId, UnixMillis};
use peerage_wire::files::{Answer, protocol};
use tokio::{
    sync::{Semaphore, mpsc},
    task::JoinSet,
    time::{Sleep, sleep_until},
};

use crate::{
    bounds::{
        FIRST_CONTACT_TIMEOUT, MAX_HASHING, MAX_KNOCKS, MAX_SERVING, MAX_STREAMS_PER_PEER,
        OFFER_EXPIRY, PROGRESS_TIMEOUT,
    },
    config::{Config, Event},
    inbound::Knock,
    session::{Fetched, SessionError},
    shares::{Grant, ShareRow},
    traffic::Traffic,
    transfer::{Row, Side, Transfer},
    work::{Library, Work},
};

/// How a dialog ended.
#[derive(Debug)]
pub(crate) enum Done {
    Asked(Result<Answer, SessionError>),
    Fetched(Result<Fetched, SessionError>),
    Served(Result<(), SessionError>),
}

/// What a dialog is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Job {
    Offer(TransferId),
    Tell(TransferId),
    Resolve(TransferId),
    Fetch(TransferId),
    /// Of a peer, by its token.
    Serve(u64),
}

/// Counts since the start.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) done: u64,
    pub(crate) failed: u64,
    pub(crate) corrupt: u64,
}

type Connecting = BoxFuture<'static, (PeerId, Result<(), PeersError>)>;

/// Sends, shares and fetches content. See the [crate] page.
///
/// Dropping it resets all streams; transfers go on after the next start.
pub struct Behaviour {
    pub(crate) config: Config,
    pub(crate) protocol: StreamProtocol,
    pub(crate) store: Store,
    pub(crate) cache: Cache,
    pub(crate) library: Arc<Library>,
    pub(crate) dialogs: Dialogs<Done>,
    pub(crate) jobs: HashMap<DialogId, Job>,
    pub(crate) transfers: BTreeMap<TransferId, Transfer>,
    pub(crate) shares: BTreeMap<TransferId, ShareRow>,
    pub(crate) grants: VecDeque<Grant>,
    /// Streams that peers have opened, by token; what they are served of, once known.
    pub(crate) inbound: HashMap<u64, (DialogId, Option<TransferId>)>,
    pub(crate) next_token: u64,
    pub(crate) knock: mpsc::Sender<Knock>,
    pub(crate) knocks: mpsc::Receiver<Knock>,
    pub(crate) work: JoinSet<Work>,
    pub(crate) hashing: Arc<Semaphore>,
    pub(crate) hashing_shares: Vec<(TransferId, Arc<peerage_content::Progress>)>,
    pub(crate) connecting: FuturesUnordered<Connecting>,
    /// Whom we are connecting to.
    pub(crate) dialled: HashSet<PeerId>,
    pub(crate) feeds: Vec<(Option<TransferId>, Sink<api::Event>)>,
    pub(crate) listen: ListenAddresses,
    pub(crate) external: ExternalAddresses,
    pub(crate) sent: Arc<Traffic>,
    pub(crate) received: Arc<Traffic>,
    pub(crate) counts: Counts,
    pub(crate) outbox: VecDeque<ToSwarm<Event, dialog::HandlerCommand>>,
    pub(crate) timer: Option<Pin<Box<Sleep>>>,
    pub(crate) last_tick: Option<Instant>,
    pub(crate) stopping: bool,
}

impl std::fmt::Debug for Behaviour {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Behaviour")
            .field("transfers", &self.transfers.len())
            .field("shares", &self.shares.len())
            .finish_non_exhaustive()
    }
}

impl Behaviour {
    /// A behaviour that goes on with the transfers of `snapshot`.
    ///
    /// # Errors
    /// When the folder [`Config::home`] cannot be made.
    ///
    /// # Panics
    /// Never: a network name makes a valid protocol id.
    pub fn new(config: Config, store: Store, snapshot: TransfersSnapshot) -> std::io::Result<Self> {
        let protocol = StreamProtocol::try_from_owned(protocol(&config.network))
            .expect("a protocol id that starts with a slash");
        let dialogs = Dialogs::new(dialog::Config {
            max_outbound_per_peer: MAX_STREAMS_PER_PEER,
            max_inbound_per_peer: MAX_STREAMS_PER_PEER,
            max_total: 4 * MAX_SERVING,
            progress_timeout: Some(PROGRESS_TIMEOUT),
            ..dialog::Config::new([protocol.clone()])
        });
        let cache = Cache::open(&config.home)?;
        let (knock, knocks) = mpsc::channel(MAX_KNOCKS);
        let mut behaviour = Self {
            sent: Arc::new(Traffic::new(config.send_limit_bps, None)),
            received: Arc::new(Traffic::new(config.receive_limit_bps, None)),
            config,
            protocol,
            store,
            cache,
            library: Arc::default(),
            dialogs,
            jobs: HashMap::new(),
            transfers: BTreeMap::new(),
            shares: BTreeMap::new(),
            grants: VecDeque::new(),
            inbound: HashMap::new(),
            next_token: 0,
            knock,
            knocks,
            work: JoinSet::new(),
            hashing: Arc::new(Semaphore::new(MAX_HASHING)),
            hashing_shares: Vec::new(),
            connecting: FuturesUnordered::new(),
            dialled: HashSet::new(),
            feeds: Vec::new(),
            listen: ListenAddresses::default(),
            external: ExternalAddresses::default(),
            counts: Counts::default(),
            outbox: VecDeque::new(),
            timer: None,
            last_tick: None,
            stopping: false,
        };
        behaviour.restore(snapshot, Instant::now());
        Ok(behaviour)
    }

    fn restore(&mut self, snapshot: TransfersSnapshot, now: Instant) {
        for (id, bytes) in snapshot.transfers {
            match Row::decode(&bytes) {
                Some(row) => self.restore_transfer(id, row, now),
                None => tracing::warn!(%id, "a transfer of another version is passed over"),
            }
        }
        for (id, bytes) in snapshot.shares {
            match ShareRow::decode(&bytes) {
                Some(row) => _ = self.shares.insert(id, row),
                None => tracing::warn!(%id, "a share of another version is passed over"),
            }
        }
        for share in self.shares.values() {
            if let Some(hash) = share.hash() {
                self.outbox.push_back(ToSwarm::GenerateEvent(Event::Provide { hash }));
            }
        }
    }

    fn restore_transfer(&mut self, id: TransferId, mut row: Row, now: Instant) {
        if matches!(row.state, State::Running | State::AwaitingDirect) {
            row.state = State::Connecting;
        }
        let age = Duration::from_millis(UnixMillis::now().0.saturating_sub(row.started.0));
        let answered_by = now + OFFER_EXPIRY.saturating_sub(age);
        let whole = match row.side {
            Side::Send { .. } | Side::Serve { .. } => &self.sent,
            Side::Receive { .. } => &self.received,
        };
        let mut transfer = Transfer::new(id, row, Arc::clone(whole), now);
        transfer.patience = match (transfer.row.state, &transfer.row.side) {
            (State::Asked | State::Offered, _) => Some(answered_by),
            (
                State::Connecting,
                Side::Receive { begun: false, .. } | Side::Send { offered: false, .. },
            ) => {
                let rest = transfer.contact_timeout().saturating_sub(age);
                Some(now + rest.max(FIRST_CONTACT_TIMEOUT))
            }
            _ => None,
        };
        // Nobody else makes it go on.
        transfer.retry_at = (!transfer.row.state.is_over()).then_some(now);
        self.transfers.insert(id, transfer);
    }

    /// The protocol that a peer must speak.
    #[must_use]
    pub fn protocol(&self) -> StreamProtocol {
        self.protocol.clone()
    }

    /// Tells a new round-trip time of a connection, by which the best of several is chosen.
    pub fn on_rtt(&mut self, connection: ConnectionId, rtt: Duration) {
        self.dialogs.on_rtt(connection, rtt);
    }

    /// Tells that a connection will be closed once it is idle.
    pub fn on_retired(&mut self, connection: ConnectionId) {
        self.dialogs.on_retired(connection);
    }

    /// Transfers that are not over.
    #[must_use]
    pub fn active(&self) -> usize {
        self.transfers.values().filter(|transfer| !transfer.row.state.is_over()).count()
    }

    /// Content that this node provides and should be announced.
    pub fn provided(&self) -> impl Iterator<Item = ContentHash> + '_ {
        self.shares.values().filter_map(ShareRow::hash)
    }

    /// Figures over all transfers.
    #[must_use]
    pub fn stats(&self) -> api::Stats {
        let transfers = || self.transfers.values();
        let corrupt = transfers().filter_map(Transfer::download).map(|d| d.corrupt_bytes());
        let rate = |wanted: api::Direction| {
            let running = transfers().filter(move |transfer| {
                transfer.direction() == wanted && transfer.row.state == State::Running
            });
            running.map(|transfer| transfer.rate.bytes_per_s()).sum()
        };
        api::Stats {
            active: self.active() as u64,
            asked: transfers().filter(|t| t.row.state == State::Asked).count() as u64,
            done: self.counts.done,
            failed: self.counts.failed,
            sent_bytes: self.sent.wire.load(Relaxed),
            received_bytes: self.received.wire.load(Relaxed),
            corrupt_bytes: self.counts.corrupt + corrupt.sum::<u64>(),
            serving: self.inbound.len() as u64,
            shares: self.shares.len() as u64,
            send_bps: rate(api::Direction::Send),
            receive_bps: rate(api::Direction::Receive),
        }
    }

    /// Stops: ends all streams, makes durable what was received, refuses commands.
    /// [`Behaviour::is_idle`] tells when that is done.
    pub fn shutdown(&mut self) {
        self.stopping = true;
        let now = Instant::now();
        for share in &self.hashing_shares {
            share.1.cancel();
        }
        let running: Vec<_> = self.transfers.keys().copied().collect();
        for id in running {
            self.suspend(id, now);
        }
        let inbound: Vec<_> = self.inbound.values().map(|(dialog, _)| *dialog).collect();
        inbound.into_iter().for_each(|dialog| self.dialogs.cancel(dialog));
        self.inbound.clear();
        self.jobs.clear();
        self.feeds.clear();
        self.wake();
    }

    /// Whether nothing is left to be done after [`Behaviour::shutdown`].
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.work.is_empty()
    }

    fn on_dialog(&mut self, event: dialog::Event<Done>, now: Instant) {
        match event {
            dialog::Event::Inbound(inbound) => self.on_inbound(inbound),
            dialog::Event::Finished { id, peer, outcome, .. } => {
                self.on_finished(id, peer, outcome, now);
            }
            dialog::Event::BetterPath { peer, .. } => self.on_better_path(peer, now),
        }
    }

    fn on_finished(
        &mut self,
        dialog: DialogId,
        peer: PeerId,
        outcome: Result<Done, DialogError>,
        now: Instant,
    ) {
        if let Ok(Done::Asked(Err(error)) | Done::Fetched(Err(error)) | Done::Served(Err(error))) =
            &outcome
            && error.is_misbehaviour()
        {
            tracing::debug!(%peer, %error, "files stream reset");
            self.emit(Event::Misbehaved { peer, reason: error.to_string() });
        }
        match (self.jobs.remove(&dialog), outcome) {
            (Some(Job::Offer(id)), Ok(Done::Asked(answer))) => {
                self.on_offered(id, peer, answer, now);
            }
            (Some(Job::Offer(id)), Err(error)) => self.on_offer_lost(id, peer, &error, now),
            (Some(Job::Tell(id)), outcome) => self.on_told(id, outcome, now),
            (Some(Job::Resolve(id)), Ok(Done::Asked(answer))) => {
                self.on_resolved(id, peer, answer, now);
            }
            (Some(Job::Resolve(id)), Err(error)) => self.on_resolve_lost(id, peer, &error, now),
            (Some(Job::Fetch(id)), outcome) => self.on_fetched(id, dialog, peer, outcome, now),
            (Some(Job::Serve(token)), outcome) => self.on_served(token, &outcome, now),
            (None | Some(_), _) => {}
        }
    }

    fn on_better_path(&mut self, peer: PeerId, now: Instant) {
        self.on_connected(peer, now);
        // Streams do not move by themselves.
        let slow = self.transfers.values().filter(|transfer| {
            transfer.path == Some(api::Path::Relayed)
                && transfer.providers.iter().any(|provider| provider.peer == peer)
        });
        let slow: Vec<_> = slow.map(|transfer| transfer.id).collect();
        for id in slow {
            self.refetch(id, peer, now);
        }
    }

    /// Whoever waited for this peer goes on.
    pub(crate) fn on_connected(&mut self, peer: PeerId, now: Instant) {
        let waiting: Vec<_> = self.transfers.keys().copied().collect();
        for id in waiting {
            let Some(transfer) = self.transfers.get_mut(&id) else { continue };
            let its = transfer.row.peer == Some(peer) || transfer.providers.get(&peer).is_some();
            if !its {
                continue;
            }
            if let Some(provider) = transfer.providers.get(&peer) {
                provider.on_connected();
            }
            transfer.retry_at = None;
            self.step(id, now);
        }
    }

    fn on_connect_outcome(&mut self, peer: PeerId, outcome: &Result<(), PeersError>, now: Instant) {
        self.dialled.remove(&peer);
        match outcome {
            Ok(()) => self.on_connected(peer, now),
            Err(error) => {
                tracing::debug!(%peer, %error, "not connected for files");
                self.on_unreachable(peer, error, now);
            }
        }
    }

    fn poll_all(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        let mut moved = false;
        if self.last_tick.is_none() && self.timer.is_none() {
            // What was restored goes on.
            self.wake();
        }
        while let Poll::Ready(Some((peer, outcome))) = self.connecting.poll_next_unpin(cx) {
            self.on_connect_outcome(peer, &outcome, now);
            moved = true;
        }
        while let Poll::Ready(Some(done)) = self.work.poll_join_next(cx) {
            match done {
                Ok(work) => self.on_work(work, now),
                Err(error) => tracing::error!(%error, "a worker of files panicked"),
            }
            moved = true;
        }
        while let Poll::Ready(Some(knock)) = self.knocks.poll_recv(cx) {
            self.on_knock(knock, now);
            moved = true;
        }
        while let Some(timer) = &mut self.timer
            && timer.as_mut().poll(cx).is_ready()
        {
            self.timer = None;
            self.on_time(now);
            let next = self.deadline(now);
            self.timer = next.map(|at| Box::pin(sleep_until(at.into())));
            // An empty set of workers keeps no waker: those that were started are looked at once.
            moved = true;
        }
        moved
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
        self.listen.on_swarm_event(&event);
        self.external.on_swarm_event(&event);
        self.dialogs.on_swarm_event(event);
        match event {
            FromSwarm::ConnectionEstablished(made) if made.other_established == 0 => {
                self.on_connected(made.peer_id, Instant::now());
            }
            FromSwarm::ConnectionClosed(closed) if closed.remaining_established == 0 => {
                self.on_disconnected(closed.peer_id, Instant::now());
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
        loop {
            if let Some(order) = self.outbox.pop_front() {
                return Poll::Ready(order);
            }
            let now = Instant::now();
            match self.dialogs.poll(cx) {
                Poll::Ready(ToSwarm::GenerateEvent(event)) => {
                    self.on_dialog(event, now);
                    continue;
                }
                Poll::Ready(other) => {
                    return Poll::Ready(
                        other.map_out(|_| unreachable!("its events are handled above")),
                    );
                }
                Poll::Pending => {}
            }
            if !self.poll_all(cx, now) && self.outbox.is_empty() {
                return Poll::Pending;
            }
        }
    }
}
