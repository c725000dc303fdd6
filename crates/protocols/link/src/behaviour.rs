//! The behaviour: which measurement runs for whom, and who may measure us.

use std::{
    collections::HashMap,
    task::{Context, Poll},
    time::Duration,
};

use libp2p_core::{Endpoint, Multiaddr, transport::PortUse};
use libp2p_identity::PeerId;
use libp2p_swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, StreamProtocol, THandlerInEvent,
    THandlerOutEvent, ToSwarm,
};
use peerage_api::{
    Ask,
    peers::{
        Command, Flow, MAX_MEASURE_BYTES, Measure, Measured, PeersError, Ping, Pong, Transport,
    },
};
use peerage_dialog::{self as dialog, DialogError, DialogId, Dialogs, Handler, Open};
use peerage_types::Network;

use crate::session::{self, SessionError};

const PING: StreamProtocol = StreamProtocol::new("/ipfs/ping/1.0.0");

/// How long a ping may take.
pub const PING_TIMEOUT: Duration = Duration::from_secs(10);
/// How often a ping is tried. rust-libp2p answers one stream at a time and drops the one before, so a
/// ping of the swarm itself that begins at the same moment, as on connecting, breaks ours.
const MAX_PINGS: usize = 3;
/// Measurements that others may run against this node at once: two chunks of 256 KiB each, 2 MiB.
pub const MAX_SERVED: usize = 4;
/// Measurements of our own at once.
const MAX_JOBS: usize = 64;
/// Blocks echoed before the bytes flow.
const ECHOES: u64 = 200;

/// Measures paths to peers and lets peers measure theirs to us.
#[derive(Debug)]
pub struct Behaviour {
    dialogs: Dialogs<Done>,
    protocol: StreamProtocol,
    jobs: HashMap<DialogId, Job>,
    transports: HashMap<ConnectionId, Transport>,
}

/// What this behaviour reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A round trip was measured, which says something about the connection.
    Rtt {
        /// The connection.
        connection: ConnectionId,
        /// The round trip.
        rtt: Duration,
    },
}

#[derive(Debug)]
enum Job {
    Ping { ask: Ask<Ping>, tries: usize },
    Measure(Ask<Measure>),
}

#[derive(Debug)]
enum Done {
    Ping(Result<Duration, SessionError>),
    Measure(Result<Times, SessionError>),
    Served(Result<(), SessionError>),
}

#[derive(Debug)]
struct Times {
    rtt: Duration,
    sent: Duration,
    received: Duration,
}

impl Behaviour {
    /// A behaviour that measures and is measured by members of `network`, and pings anyone.
    ///
    /// # Panics
    /// Never: a network name makes a valid protocol id.
    #[must_use]
    pub fn new(network: &Network) -> Self {
        let protocol = StreamProtocol::try_from_owned(peerage_wire::link::protocol(network))
            .expect("a protocol id that starts with a slash");
        let mut config = dialog::Config::new([protocol.clone()]);
        config.max_inbound_per_peer = 1;
        config.max_total = MAX_SERVED + MAX_JOBS;
        Self {
            dialogs: Dialogs::new(config),
            protocol,
            jobs: HashMap::new(),
            transports: HashMap::new(),
        }
    }

    /// Answers `peers.ping` and `peers.measure`; other commands are dropped.
    pub fn on_command(&mut self, command: Command) {
        match command {
            Command::Ping(ask) => self.ping(ask, 1),
            Command::Measure(ask) => self.measure(ask),
            other => tracing::error!(?other, "a command that no one answers"),
        }
    }

    /// Tells the round trip of a connection, by which paths are chosen.
    pub fn on_rtt(&mut self, connection: ConnectionId, rtt: Duration) {
        self.dialogs.on_rtt(connection, rtt);
    }

    /// Tells that a connection will be closed once it is idle.
    pub fn on_retired(&mut self, connection: ConnectionId) {
        self.dialogs.on_retired(connection);
    }

    fn ping(&mut self, ask: Ask<Ping>, tries: usize) {
        let peer = ask.request.peer;
        if self.jobs.len() >= MAX_JOBS {
            return ask.reply(Err(busy_here()));
        }
        let open = Open::new(peer, PING).plain().progress_timeout(Some(PING_TIMEOUT));
        let dialog = |stream| async { Done::Ping(session::ping(stream).await) };
        let id = self.dialogs.open(open, dialog);
        self.jobs.insert(id, Job::Ping { ask, tries });
    }

    fn measure(&mut self, ask: Ask<Measure>) {
        let Measure { peer, bytes } = ask.request;
        if !(1..=MAX_MEASURE_BYTES).contains(&bytes) {
            let range = format!("1 to {MAX_MEASURE_BYTES} bytes");
            return ask.reply(Err(PeersError::OutOfRange { what: "the amount".into(), range }));
        }
        if self.jobs.len() >= MAX_JOBS {
            return ask.reply(Err(busy_here()));
        }
        let open = Open::new(peer, self.protocol.clone());
        let dialog = move |stream| async move { Done::Measure(measure(stream, bytes).await) };
        let id = self.dialogs.open(open, dialog);
        self.jobs.insert(id, Job::Measure(ask));
    }

    fn on_dialog_event(&mut self, event: dialog::Event<Done>) -> Option<Event> {
        match event {
            dialog::Event::Inbound(inbound) => self.on_inbound(inbound),
            dialog::Event::Finished { id, peer, connection, outcome } => {
                return self.on_finished(id, peer, connection, outcome);
            }
            dialog::Event::BetterPath { .. } => {}
        }
        None
    }

    fn on_inbound(&mut self, inbound: dialog::Inbound) {
        if self.dialogs.active().saturating_sub(self.jobs.len()) >= MAX_SERVED {
            return self.dialogs.refuse(inbound);
        }
        self.dialogs.serve(inbound, |stream| async { Done::Served(session::serve(stream).await) });
    }

    fn on_finished(
        &mut self,
        id: DialogId,
        peer: PeerId,
        connection: Option<ConnectionId>,
        outcome: Result<Done, DialogError>,
    ) -> Option<Event> {
        let Some(job) = self.jobs.remove(&id) else {
            tracing::debug!(%peer, ?outcome, "measured by a peer");
            return None;
        };
        let transport = connection.and_then(|c| self.transports.get(&c).copied());
        match (job, outcome) {
            (Job::Ping { ask, .. }, Ok(Done::Ping(Ok(rtt)))) => {
                let rtt_us = u64::try_from(rtt.as_micros()).unwrap_or(u64::MAX);
                ask.reply(Ok(Pong { rtt_us }));
                return connection.map(|connection| Event::Rtt { connection, rtt });
            }
            (Job::Ping { ask, tries }, Ok(Done::Ping(Err(SessionError::Io(error)))))
                if tries < MAX_PINGS =>
            {
                tracing::debug!(%peer, %error, "a ping broke and is tried again");
                self.ping(ask, tries + 1);
            }
            (Job::Measure(ask), Ok(Done::Measure(Ok(times)))) => {
                let bytes = ask.request.bytes;
                ask.reply(Ok(times.shown(transport.unwrap_or(Transport::Other), bytes)));
            }
            (Job::Ping { ask, .. }, outcome) => {
                ask.reply(Err(explain(peer, PING.as_ref(), outcome)));
            }
            (Job::Measure(ask), outcome) => {
                ask.reply(Err(explain(peer, self.protocol.as_ref(), outcome)));
            }
        }
        None
    }

    /// Ends the measurements whose callers have gone.
    fn drop_cancelled(&mut self, cx: &mut Context<'_>) {
        let dialogs = &mut self.dialogs;
        self.jobs.retain(|id, job| {
            let gone = match job {
                Job::Ping { ask, .. } => ask.poll_cancelled(cx),
                Job::Measure(ask) => ask.poll_cancelled(cx),
            };
            if gone.is_ready() {
                dialogs.cancel(*id);
            }
            gone.is_pending()
        });
    }
}

async fn measure<S>(mut stream: S, bytes: u64) -> Result<Times, SessionError>
where
    S: futures::AsyncRead + futures::AsyncWrite + Unpin,
{
    let rtt = session::echo(&mut stream, ECHOES).await?;
    let sent = session::send(&mut stream, bytes).await?;
    let received = session::receive(&mut stream, bytes).await?;
    Ok(Times { rtt, sent, received })
}

impl Times {
    fn shown(&self, transport: Transport, bytes: u64) -> Vec<Measured> {
        let one = |direction, took: Duration| {
            let seconds = took.as_secs_f64();
            // Counts up to 4 GiB are exact as f64.
            #[expect(clippy::cast_precision_loss)]
            let mb_per_s = bytes as f64 / 1e6 / seconds.max(f64::EPSILON);
            let rtt_p50_us = u64::try_from(self.rtt.as_micros()).unwrap_or(u64::MAX);
            Measured { transport, direction, bytes, seconds, mb_per_s, rtt_p50_us }
        };
        vec![one(Flow::Send, self.sent), one(Flow::Receive, self.received)]
    }
}

fn busy_here() -> PeersError {
    PeersError::Refused { reason: format!("{MAX_JOBS} measurements are under way here already") }
}

fn explain(peer: PeerId, protocol: &str, outcome: Result<Done, DialogError>) -> PeersError {
    let error = match outcome {
        Err(error) => error,
        Ok(Done::Ping(Err(e)) | Done::Measure(Err(e)) | Done::Served(Err(e))) => {
            return PeersError::Broken { peer, reason: e.to_string() };
        }
        Ok(_) => return PeersError::Broken { peer, reason: "an outcome of another kind".into() },
    };
    match error {
        DialogError::NotConnected => PeersError::NotConnected { peer },
        DialogError::Unsupported { .. } => {
            PeersError::Unsupported { peer, protocol: protocol.to_owned() }
        }
        DialogError::Busy { .. } => {
            PeersError::Refused { reason: format!("{peer} is busy with other measurements") }
        }
        DialogError::OpenTimeout | DialogError::Stalled => {
            PeersError::TimedOut { peer, seconds: PING_TIMEOUT.as_secs() }
        }
        other => PeersError::Broken { peer, reason: other.to_string() },
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
        match &event {
            FromSwarm::ConnectionEstablished(made) => {
                let transport = Transport::of(made.endpoint.get_remote_address());
                self.transports.insert(made.connection_id, transport);
            }
            FromSwarm::ConnectionClosed(closed) => {
                self.transports.remove(&closed.connection_id);
            }
            _ => {}
        }
        self.dialogs.on_swarm_event(event);
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
        self.drop_cancelled(cx);
        while let Poll::Ready(step) = self.dialogs.poll(cx) {
            match step {
                ToSwarm::GenerateEvent(event) => {
                    if let Some(event) = self.on_dialog_event(event) {
                        return Poll::Ready(ToSwarm::GenerateEvent(event));
                    }
                }
                other => {
                    return Poll::Ready(other.map_out(|_| unreachable!("events are taken above")));
                }
            }
        }
        Poll::Pending
    }
}
