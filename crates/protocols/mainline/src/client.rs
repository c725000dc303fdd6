//! The DHT as a task: requests in, reports out, and its thread behind it.
//!
//! `mainline` runs a thread of its own, whose handle panics when that thread has. So everything that
//! touches the handle is a task whose panic is caught: the thread is then started anew.

mod round;
mod supervisor;
#[cfg(test)]
mod tests;

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use mainline::Dht;
use peerage_store::Marks;
use peerage_wire::mainline::slot::{Record, Slot};
use tokio::{
    sync::mpsc::{self, error::TrySendError},
    task::JoinHandle,
};

use crate::{Config, cadence::Done, dials::RoundId, rendezvous::Infohash};
use supervisor::Supervisor;

/// Requests that wait; the behaviour keeps the rest.
const MAX_REQUESTS: usize = 32;
/// Reports that wait to be read; lookups stall when the swarm does. 256 × 64 addresses at most.
const MAX_REPORTS: usize = 256;

/// How long a node may take to answer. In every lookup some are gone, and it ends with the last of them.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(1);

/// What the DHT is asked to do.
#[derive(Debug)]
pub(crate) enum Request {
    /// One round of a rendezvous.
    Round(Box<Round>),
    /// Put an item of our own key.
    Publish(Box<Item>),
    /// Get the item of somebody's key.
    Resolve { id: u64, key: [u8; 32] },
}

/// What to do for a rendezvous, in this order; reading slots goes beside it.
#[derive(Debug)]
pub(crate) struct Round {
    pub(crate) id: RoundId,
    pub(crate) infohash: Infohash,
    pub(crate) lookup: bool,
    pub(crate) announce: Option<u16>,
    pub(crate) read: Vec<Slot>,
    pub(crate) write: Option<Write>,
}

/// Our record for one of an hour's slots: the first that has room, the last in any case.
#[derive(Debug)]
pub(crate) struct Write {
    pub(crate) hour: u64,
    pub(crate) choices: Vec<(Slot, Record)>,
}

/// A signed mutable item without salt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Item {
    pub(crate) key: [u8; 32],
    pub(crate) seq: i64,
    pub(crate) value: Vec<u8>,
    pub(crate) signature: [u8; 64],
}

/// What the DHT tells.
#[derive(Debug)]
pub(crate) enum Report {
    /// A lookup names addresses, the likeliest first.
    Addresses { round: RoundId, addresses: Vec<SocketAddr> },
    /// A slot holds verified records of others.
    Records { round: RoundId, records: Vec<Record> },
    /// A round is over; what of it was done, and how many nodes a lookup asked if counted.
    RoundEnded { round: RoundId, done: Done, asked: Option<u32> },
    /// An item of ours was stored, or not.
    Published { stored: bool },
    /// The newest item under a key, if there is one: its number and value, signature verified.
    Resolved { id: u64, item: Option<(i64, Vec<u8>)> },
    /// How the DHT fares.
    Health(Health),
}

/// How the DHT fares.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Health {
    /// Whether its thread runs and knows nodes.
    pub is_up: bool,
    /// Nodes in its routing table.
    pub nodes: usize,
    /// Our UDP address as other nodes see it, by their vote.
    pub seen_as: Option<SocketAddrV4>,
    /// Its own UDP socket.
    pub local: Option<SocketAddrV4>,
    /// How often its thread was started again because it had failed.
    pub restarts: u32,
}

/// Starts the thread; blocks until it runs.
pub(crate) type Start = Arc<dyn Fn(&[SocketAddrV4]) -> io::Result<Dht> + Send + Sync>;

/// A client of the DHT: it does not answer others (BEP 43), see the crate's page.
pub(crate) fn starter(config: &Config) -> Start {
    let bind = if config.local_only { Ipv4Addr::LOCALHOST } else { Ipv4Addr::UNSPECIFIED };
    let port = config.port;
    Arc::new(move |bootstrap| {
        let mut builder = Dht::builder();
        builder.bootstrap(bootstrap).bind_address(bind).port(port).request_timeout(REQUEST_TIMEOUT);
        builder.build()
    })
}

/// The handle of the task. Dropping it ends task and thread without saving.
#[derive(Debug)]
pub(crate) struct Client {
    requests: Option<mpsc::Sender<Request>>,
    reports: mpsc::Receiver<Report>,
    task: Option<JoinHandle<()>>,
}

impl Client {
    /// Starts the task; it starts the thread. Needs the runtime of tokio.
    pub(crate) fn spawn(config: &Config, start: Start, marks: Option<Marks>) -> Self {
        let (requests, inbox) = mpsc::channel(MAX_REQUESTS);
        let (outbox, reports) = mpsc::channel(MAX_REPORTS);
        let supervisor = Supervisor::new(config.clone(), start, marks, outbox);
        let task = tokio::spawn(supervisor.run(inbox));
        Self { requests: Some(requests), reports, task: Some(task) }
    }

    /// Gives the request back when too many wait; drops it when the task has ended.
    pub(crate) fn request(&self, request: Request) -> Result<(), Request> {
        match self.requests.as_ref().map(|requests| requests.try_send(request)) {
            Some(Err(TrySendError::Full(request))) => Err(request),
            Some(Ok(()) | Err(TrySendError::Closed(_))) | None => Ok(()),
        }
    }

    /// The next report; `None` when it has ended.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Report>> {
        self.reports.poll_recv(cx)
    }

    /// Ends the thread and saves its nodes; resolves when they are saved.
    pub(crate) fn stop(&mut self) -> impl Future<Output = ()> + Send + 'static {
        self.requests = None;
        // Whoever waits to report must not keep it from ending.
        self.reports.close();
        let task = self.task.take();
        async move {
            if let Some(task) = task {
                _ = task.await;
            }
        }
    }

    #[cfg(test)]
    pub(crate) async fn report(&mut self) -> Option<Report> {
        self.reports.recv().await
    }
}
