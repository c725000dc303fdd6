//! The behaviour: opens, serves and moves streams, and answers the facet's commands.

use std::{
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use libp2p_core::{Endpoint, Multiaddr, transport::PortUse};
use libp2p_swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, StreamProtocol, THandlerInEvent,
    THandlerOutEvent, ToSwarm,
};
use peerage_api::{
    LinkError,
    exchange::{ExchangeError, Outbox, Stats},
};
use peerage_dialog::{self as dialog, DialogError, DialogId, Dialogs, Handler, Open};
use peerage_types::{Network, PeerId};

use crate::{
    bounds::{MAX_DIALOGS_PER_PEER, MAX_STREAMS},
    door::Door,
    links::{Admission, Inbound, Links, Outbound, Turns},
    registry::Registry,
    session::{self, Misbehaviour, Sending, Serving},
};

/// How the behaviour is set up.
#[derive(Debug, Clone)]
pub struct Config {
    /// Names the protocol: only nodes of the same network exchange messages.
    pub network: Network,
    /// Streams of all peers, both directions; above, peers are told that this node is busy.
    pub max_streams: usize,
    /// How long a stream may take to open.
    pub open_timeout: Duration,
}

impl Config {
    /// [`MAX_STREAMS`] streams, each opened within 10 s.
    #[must_use]
    pub fn new(network: Network) -> Self {
        Self { network, max_streams: MAX_STREAMS, open_timeout: Duration::from_secs(10) }
    }
}

/// What the swarm is told.
#[derive(Debug)]
pub enum Event {
    /// A peer did what no correct node does; its stream was reset, the connection stays.
    Misbehaved {
        /// Who.
        peer: PeerId,
        /// What it did.
        reason: Misbehaviour,
    },
}

/// Typed messages between connected nodes. See the [crate] page.
///
/// Dropping it ends all streams and subscriptions.
#[derive(Debug)]
pub struct Behaviour {
    protocol: StreamProtocol,
    open_timeout: Duration,
    pub(crate) dialogs: Dialogs<Result<(), Misbehaviour>>,
    pub(crate) links: Links<DialogId>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) stopping: bool,
}

impl Behaviour {
    /// Without connections and listeners.
    #[must_use]
    pub fn new(config: Config) -> Self {
        let Config { network, max_streams, open_timeout } = config;
        let id = peerage_wire::exchange::protocol(&network);
        let protocol = StreamProtocol::try_from_owned(id).expect("it begins with a slash");
        let dialogs = Dialogs::new(dialog::Config {
            max_outbound_per_peer: MAX_DIALOGS_PER_PEER,
            max_inbound_per_peer: MAX_DIALOGS_PER_PEER,
            max_total: max_streams,
            open_timeout,
            // A stream without messages is idle, not stalled.
            progress_timeout: None,
            ..dialog::Config::new([protocol.clone()])
        });
        Self {
            protocol,
            open_timeout,
            dialogs,
            links: Links::new(),
            registry: Arc::default(),
            stopping: false,
        }
    }

    /// The protocol that a peer must speak to get our messages.
    #[must_use]
    pub fn protocol(&self) -> StreamProtocol {
        self.protocol.clone()
    }

    /// A connected peer told whether it speaks [`Behaviour::protocol`]: broadcasts go to those who do.
    ///
    /// Peers that have sent us a message, or that we have sent one, need not be told of.
    pub fn on_identified(&mut self, peer: PeerId, supported: bool) {
        self.links.identified(peer, supported && self.dialogs.is_connected(&peer));
    }

    /// Tells a new round-trip time of a connection, by which the best of several is chosen.
    pub fn on_rtt(&mut self, connection: ConnectionId, rtt: Duration) {
        self.dialogs.on_rtt(connection, rtt);
    }

    /// Tells that a connection will be closed once it is idle: streams on it move to the best other
    /// one, after what is queued has gone out.
    pub fn on_retired(&mut self, connection: ConnectionId) {
        self.dialogs.on_retired(connection);
    }

    /// Counts since the start.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.registry.counts.stats(self.links.peers())
    }

    /// Stops: refuses commands and streams, ends subscriptions and what others send to us, and lets
    /// the messages that are queued go out. [`Behaviour::is_idle`] tells when they have.
    pub fn shutdown(&mut self) {
        self.stopping = true;
        self.registry.clear();
        self.links.all_outbound().for_each(|stream| stream.turns.succeeded.cancel());
        self.links.all_inbound().for_each(|stream| self.dialogs.cancel(stream.id));
    }

    /// Whether there are no streams.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.dialogs.active() == 0
    }

    /// Opens a stream to a peer; it takes over from the one in use, if there is one.
    pub(crate) fn open(&mut self, peer: PeerId) -> Outbound<DialogId> {
        let (outbox, messages) = Outbox::new();
        let (door, turns) = (Arc::new(Door::new(peer)), Turns::default());
        let former = self.links.outbound(&peer).map(|stream| stream.turns.clone());
        let sending = Sending {
            peer,
            messages,
            after: former.as_ref().map(|turns| turns.done.clone()),
            succeeded: turns.succeeded.clone(),
            done: turns.done.clone().drop_guard(),
            registry: Arc::clone(&self.registry),
        };
        let opened = (Arc::clone(&door), outbox.clone());
        let open = Open::new(peer, self.protocol.clone());
        let id = self.dialogs.open(open, move |stream| async move {
            let (door, outbox) = opened;
            door.open(stream.connection(), &outbox);
            drop(outbox);
            if let Some(former) = former {
                former.succeeded.cancel();
            }
            session::initiate(stream, sending).await
        });
        let stream = Outbound { id, outbox, door, turns };
        self.links.opened(peer, stream.clone());
        stream
    }

    fn on_inbound(&mut self, inbound: dialog::Inbound) {
        let peer = inbound.peer;
        match self.links.admit(&peer) {
            _ if self.stopping => return self.dialogs.refuse(inbound),
            Admission::Serve => {}
            Admission::Replace(id) => {
                self.dialogs.cancel(id);
                self.links.finished(&peer, id);
            }
            Admission::Refuse => {
                tracing::debug!(%peer, "exchange stream refused: the peer has two already");
                return self.dialogs.refuse(inbound);
            }
        }
        let turns = Turns::default();
        let former = self.links.latest_inbound(&peer).map(|stream| stream.turns.clone());
        let after = former.map(|former| {
            former.succeeded.cancel();
            former.done
        });
        let serving = Serving {
            peer,
            after,
            succeeded: turns.succeeded.clone(),
            done: turns.done.clone().drop_guard(),
            registry: Arc::clone(&self.registry),
        };
        let id = self.dialogs.serve(inbound, |stream| session::respond(stream, serving));
        self.links.serving(peer, Inbound { id, turns });
        // A peer that sends us messages of this network is a member of it.
        self.on_identified(peer, true);
    }

    fn on_finished(
        &mut self,
        peer: PeerId,
        id: DialogId,
        outcome: Result<Result<(), Misbehaviour>, DialogError>,
    ) -> Option<Event> {
        let stream = self.links.finished(&peer, id);
        if let (Some(stream), Err(error)) = (&stream, &outcome) {
            tracing::debug!(%peer, %error, "exchange stream ended");
            stream.door.refuse(&self.refusal(peer, error));
        }
        let reason = outcome.ok()?.err()?;
        tracing::debug!(%peer, %reason, "exchange stream reset");
        Some(Event::Misbehaved { peer, reason })
    }

    fn refusal(&self, peer: PeerId, error: &DialogError) -> ExchangeError {
        match error {
            DialogError::NotConnected | DialogError::Closed => ExchangeError::NotConnected { peer },
            DialogError::Unsupported(_) => ExchangeError::Unsupported { peer },
            DialogError::Busy { .. } => ExchangeError::Busy { peer },
            DialogError::OpenTimeout | DialogError::Stalled => {
                let deadline_ms = u64::try_from(self.open_timeout.as_millis()).unwrap_or(u64::MAX);
                ExchangeError::TimedOut { peer, deadline_ms }
            }
            DialogError::Io(_) | DialogError::Panicked => ExchangeError::Broken { peer },
            DialogError::Cancelled => LinkError::Stopped.into(),
        }
    }

    /// New streams use the direct connection by themselves; a stream that is open has to move.
    fn on_better_path(&mut self, peer: PeerId, connection: ConnectionId) {
        if !self.stopping && self.links.should_move(&peer, connection) {
            tracing::debug!(%peer, "exchange moves to a better connection");
            self.open(peer);
        }
    }

    fn on_dialog(&mut self, event: dialog::Event<Result<(), Misbehaviour>>) -> Option<Event> {
        match event {
            dialog::Event::Inbound(inbound) => {
                self.on_inbound(inbound);
                None
            }
            dialog::Event::Finished { id, peer, outcome, .. } => {
                self.on_finished(peer, id, outcome)
            }
            dialog::Event::BetterPath { peer, path } => {
                self.on_better_path(peer, path.connection);
                None
            }
        }
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
        if let FromSwarm::ConnectionClosed(closed) = event
            && closed.remaining_established == 0
        {
            self.links.disconnected(&closed.peer_id);
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
            let Poll::Ready(polled) = self.dialogs.poll(cx) else { return Poll::Pending };
            match polled {
                ToSwarm::GenerateEvent(event) => {
                    if let Some(event) = self.on_dialog(event) {
                        return Poll::Ready(ToSwarm::GenerateEvent(event));
                    }
                }
                other => {
                    return Poll::Ready(
                        other.map_out(|_| unreachable!("its events are handled above")),
                    );
                }
            }
        }
    }
}
