//! The component itself: what an embedding behaviour asks of it.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    task::Waker,
    time::Duration,
};

use libp2p_identity::PeerId;
use libp2p_swarm::{ConnectionId, StreamProtocol};
use tokio::{
    sync::oneshot,
    task::{self, AbortHandle, JoinSet},
};

use crate::{
    Config, DialogError, DialogId, Handler, Inbound, Open, Path, Side, Stream,
    config::MAX_REFUSALS,
    gate::Gate,
    handler::Served,
    links::Links,
    paths::Paths,
    queue::Queue,
    slots::{Slot, Slots},
    task::{Limits, Opened, initiate, refuse, respond},
};

/// What the embedding behaviour learns.
#[derive(Debug)]
pub enum Event<T> {
    /// A remote opened a substream: call [`Dialogs::serve`] or [`Dialogs::refuse`].
    Inbound(Inbound),
    /// A dialog ended; its id means nothing from now on.
    Finished {
        /// What [`Dialogs::open`] or [`Dialogs::serve`] returned.
        id: DialogId,
        /// Who it was with.
        peer: PeerId,
        /// The connection it ran on, or was last tried on.
        connection: Option<ConnectionId>,
        /// What the dialog returned, or why it could not.
        outcome: Result<T, DialogError>,
    },
    /// A peer so far reached only through relays has a direct connection now.
    ///
    /// Running dialogs stay where they are; new ones use it.
    BetterPath {
        /// Which peer.
        peer: PeerId,
        /// The direct connection.
        path: Path,
    },
}

/// Runs dialogs whose outcome is a `T`. See the [crate] page.
///
/// A dialog is stopped [`crate::CLOSED_GRACE`] after its connection closed, and when it does no I/O for
/// its progress timeout, whether or not it still holds its stream: long work after the last byte
/// belongs into the embedding behaviour.
///
/// Dropping it aborts every dialog and resets their substreams.
pub struct Dialogs<T> {
    pub(crate) config: Config,
    pub(crate) served: Served,
    pub(crate) paths: Paths,
    pub(crate) links: Links,
    pub(crate) queue: Queue,
    pub(crate) slots: Slots,
    pub(crate) entries: HashMap<DialogId, Entry>,
    pub(crate) tasks: JoinSet<Result<T, DialogError>>,
    pub(crate) task_ids: HashMap<task::Id, DialogId>,
    pub(crate) refusals: JoinSet<()>,
    /// Drained by every poll: at most one for each call and callback since the last.
    pub(crate) events: VecDeque<Event<T>>,
    pub(crate) waker: Option<Waker>,
    next_id: u64,
}

/// A dialog that has not finished.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) peer: PeerId,
    pub(crate) stage: Stage,
    task: AbortHandle,
    _slot: Slot,
}

/// `Waiting` → `Opening` → `Started`; back to `Waiting` when the connection is lost while opening and
/// the peer has another; `Started` from anywhere once the task has been told that it cannot be opened.
#[derive(Debug)]
pub(crate) enum Stage {
    /// In its peer's line.
    Waiting(Wish),
    /// The handler of this connection was asked.
    Opening { connection: ConnectionId, wish: Wish },
    /// The task has its stream, or the error instead.
    Started { connection: Option<ConnectionId> },
}

/// What is left to do for a dialog that has no substream.
#[derive(Debug)]
pub(crate) struct Wish {
    pub(crate) protocol: StreamProtocol,
    pub(crate) on: Option<ConnectionId>,
    /// The connection on which it has just failed.
    pub(crate) avoid: Option<ConnectionId>,
    pub(crate) plain: bool,
    pub(crate) opened: oneshot::Sender<Result<Opened, DialogError>>,
}

impl<T: Send + 'static> Dialogs<T> {
    /// Without connections and dialogs.
    pub fn new(config: Config) -> Self {
        Self {
            served: Served::new(&config.protocols),
            paths: Paths::default(),
            links: Links::new(config.max_outbound_per_peer),
            queue: Queue::default(),
            slots: Slots::new(&config),
            entries: HashMap::new(),
            tasks: JoinSet::new(),
            task_ids: HashMap::new(),
            refusals: JoinSet::new(),
            events: VecDeque::new(),
            waker: None,
            next_id: 0,
            config,
        }
    }

    /// Opens a substream to `open.peer` and runs `dialog` on it, in a task of its own.
    ///
    /// The best connection is chosen when its turn comes, and again if that connection closes before
    /// the substream is negotiated. Every failure comes back as [`Event::Finished`].
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn open<F, Fut>(&mut self, open: Open, dialog: F) -> DialogId
    where
        F: FnOnce(Stream) -> Fut + Send + 'static,
        Fut: Future<Output = T> + Send + 'static,
    {
        let id = self.next_id();
        let Open { peer, protocol, until, on, progress_timeout, plain } = open;
        let slot = match self.admit(&peer, on) {
            Ok(slot) => slot,
            Err(error) => {
                self.events.push_back(Event::Finished {
                    id,
                    peer,
                    connection: None,
                    outcome: Err(error),
                });
                self.wake();
                return id;
            }
        };
        let (opened, opening) = oneshot::channel();
        let limits = Limits {
            open_timeout: self.config.open_timeout,
            progress_timeout: progress_timeout.unwrap_or(self.config.progress_timeout),
            until,
        };
        let wish = Wish { protocol, on, avoid: None, plain, opened };
        self.start(id, peer, Stage::Waiting(wish), slot, initiate(opening, limits, dialog));
        self.queue.push_back(peer, id);
        id
    }

    fn admit(&mut self, peer: &PeerId, on: Option<ConnectionId>) -> Result<Slot, DialogError> {
        if !self.paths.is_connected(peer) {
            return Err(DialogError::NotConnected);
        }
        if on.is_some_and(|connection| self.paths.get(peer, connection).is_none()) {
            return Err(DialogError::Closed);
        }
        self.slots.outbound(*peer).ok_or(DialogError::Busy { by: Side::Local })
    }

    /// Accepts an inbound substream and runs `dialog` on it, in a task of its own.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn serve<F, Fut>(&mut self, inbound: Inbound, dialog: F) -> DialogId
    where
        F: FnOnce(Stream) -> Fut + Send + 'static,
        Fut: Future<Output = T> + Send + 'static,
    {
        let id = self.next_id();
        let Inbound { peer, connection, relayed, stream, plain, closed, slot, .. } = inbound;
        let wrap = move |substream| Opened {
            stream: Stream::new(Gate::open(substream), peer, connection, relayed),
            closed,
        };
        let limits = Limits {
            open_timeout: self.config.open_timeout,
            progress_timeout: inbound.progress_timeout.unwrap_or(self.config.progress_timeout),
            until: inbound.until,
        };
        let stage = Stage::Started { connection: Some(connection) };
        self.start(id, peer, stage, slot, respond(stream, plain, wrap, limits, dialog));
        id
    }

    /// Tells the remote that this node is busy; its dialog ends with
    /// [`DialogError::Busy`].
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn refuse(&mut self, inbound: Inbound) {
        self.turn_away(inbound.stream, inbound.plain);
    }

    pub(crate) fn turn_away(&mut self, substream: libp2p_swarm::Stream, plain: bool) {
        while self.refusals.try_join_next().is_some() {}
        if !plain && self.refusals.len() < MAX_REFUSALS {
            self.refusals.spawn(refuse(substream));
            self.wake();
        }
    }

    /// Drops a dialog wherever it is and resets its substream; no [`Event::Finished`] follows.
    ///
    /// Does nothing if the dialog has finished.
    pub fn cancel(&mut self, id: DialogId) {
        if let Some(entry) = self.forget(id) {
            entry.task.abort();
        }
        self.events
            .retain(|e| !matches!(e, Event::Finished { id: finished, .. } if *finished == id));
    }

    /// Tells a new round-trip time of a connection, for instance as measured by ping.
    pub fn on_rtt(&mut self, connection: ConnectionId, rtt: Duration) {
        self.paths.on_rtt(connection, rtt);
    }

    /// Tells that a connection will be closed once it is idle: no new dialog goes over it while
    /// there is another, and [`Event::BetterPath`] names the one to move to.
    pub fn on_retired(&mut self, connection: ConnectionId) {
        if let Some((peer, path)) = self.paths.on_retired(connection) {
            self.events.push_back(Event::BetterPath { peer, path });
            self.wake();
        }
    }

    /// The connection that a dialog with this peer would use now.
    pub fn best(&self, peer: &PeerId) -> Option<Path> {
        self.paths.best(peer)
    }

    /// All connections to this peer, oldest first.
    pub fn paths(&self, peer: &PeerId) -> impl Iterator<Item = Path> {
        self.paths.of(peer)
    }

    /// Whether there is a connection to this peer.
    pub fn is_connected(&self, peer: &PeerId) -> bool {
        self.paths.is_connected(peer)
    }

    /// Dialogs waiting, opening or running, whose [`Event::Finished`] is still to come.
    pub fn active(&self) -> usize {
        self.entries.len()
    }

    /// The handler for a new connection, for both `handle_established_*` functions.
    pub fn handler(&self) -> Handler {
        Handler::new(self.served.clone(), self.config.open_timeout)
    }

    fn next_id(&mut self) -> DialogId {
        self.next_id += 1;
        DialogId(self.next_id)
    }

    fn start(
        &mut self,
        id: DialogId,
        peer: PeerId,
        stage: Stage,
        slot: Slot,
        work: impl Future<Output = Result<T, DialogError>> + Send + 'static,
    ) {
        let task = self.tasks.spawn(work);
        self.task_ids.insert(task.id(), id);
        self.entries.insert(id, Entry { peer, stage, task, _slot: slot });
        self.wake();
    }

    pub(crate) fn forget(&mut self, id: DialogId) -> Option<Entry> {
        let entry = self.entries.remove(&id)?;
        if let Stage::Waiting(_) = entry.stage {
            self.queue.remove(&entry.peer, id);
        }
        Some(entry)
    }
}

impl<T> Dialogs<T> {
    /// A behaviour may be called from outside of its `poll`, and an empty `JoinSet` keeps no waker.
    pub(crate) fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl<T> fmt::Debug for Dialogs<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialogs")
            .field("protocols", &self.config.protocols)
            .field("entries", &self.entries)
            .finish_non_exhaustive()
    }
}
