//! Between the dialogs and the swarm: the callbacks that the embedding behaviour forwards.

use std::{
    convert::Infallible,
    task::{Context, Poll},
};

use libp2p_identity::PeerId;
use libp2p_swarm::{
    ConnectionClosed, ConnectionId, FromSwarm, NotifyHandler, StreamProtocol, StreamUpgradeError,
    ToSwarm, behaviour::ConnectionEstablished,
};
use tokio::task::JoinError;

use crate::{
    DialogError, DialogId, Dialogs, Event, HandlerCommand, HandlerEvent, Inbound, Stream,
    dialogs::{Entry, Stage, Wish},
    gate::Gate,
    handler::Report,
    task::Opened,
};

impl<T: Send + 'static> Dialogs<T> {
    /// Forward every event unchanged. State changes only at `ConnectionEstablished` and
    /// `ConnectionClosed`, as a connection may still be denied before.
    pub fn on_swarm_event(&mut self, event: FromSwarm) {
        match event {
            FromSwarm::ConnectionEstablished(established) => self.on_established(established),
            FromSwarm::ConnectionClosed(closed) => self.on_closed(closed),
            _ => {}
        }
    }

    fn on_established(&mut self, established: ConnectionEstablished<'_>) {
        let ConnectionEstablished { peer_id: peer, connection_id, endpoint, .. } = established;
        self.links.established(connection_id);
        if let Some(path) = self.paths.established(peer, connection_id, endpoint.is_relayed()) {
            self.events.push_back(Event::BetterPath { peer, path });
        }
        self.queue.stir(peer);
        self.wake();
    }

    fn on_closed(
        &mut self,
        ConnectionClosed { peer_id: peer, connection_id, .. }: ConnectionClosed,
    ) {
        self.links.closed(connection_id);
        let last = self.paths.closed(connection_id);
        let mut lost: Vec<_> = (self.entries.iter())
            .filter(|(_, entry)| entry.peer == peer)
            .filter(|(_, entry)| match &entry.stage {
                Stage::Waiting(wish) => last || wish.on == Some(connection_id),
                Stage::Opening { connection, .. } => *connection == connection_id,
                Stage::Started { .. } => false,
            })
            .map(|(id, _)| *id)
            .collect();
        // Each goes to the front of the line, so that the oldest is first again at the end.
        lost.sort_unstable_by(|a, b| b.cmp(a));
        for id in lost {
            if let Some(wish) = self.settle(id, connection_id) {
                self.retry_or_fail(id, connection_id, wish);
            }
        }
        if last {
            self.slots.sweep();
        }
        self.queue.stir(peer);
        self.wake();
    }

    /// Forward every event of the [`crate::Handler`].
    pub fn on_handler_event(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
        event: HandlerEvent,
    ) {
        match event.0 {
            Report::Taken(count) => self.links.taken(connection, count),
            Report::Opened { id, stream } => {
                self.links.answered(connection);
                self.on_opened(id, connection, stream);
            }
            Report::Failed { id, error } => {
                self.links.answered(connection);
                self.on_failed(id, connection, error);
            }
            Report::Inbound { protocol, stream } => {
                self.on_inbound(peer, connection, protocol, stream);
            }
        }
        self.queue.stir(peer);
        self.wake();
    }

    fn on_opened(&mut self, id: DialogId, connection: ConnectionId, stream: libp2p_swarm::Stream) {
        // The dialog may be cancelled or timed out by now: dropping the stream resets it.
        let (Some(wish), Some(closed)) =
            (self.settle(id, connection), self.links.token(connection))
        else {
            return;
        };
        let Some(peer) = self.entries.get(&id).map(|entry| entry.peer) else { return };
        let relayed = self.paths.get(&peer, connection).is_some_and(|path| path.relayed);
        let gate = if wish.plain { Gate::open(stream) } else { Gate::awaiting(stream) };
        let stream = Stream::new(gate, peer, connection, relayed);
        let _ = wish.opened.send(Ok(Opened { stream, closed }));
    }

    fn on_failed(
        &mut self,
        id: DialogId,
        connection: ConnectionId,
        error: StreamUpgradeError<Infallible>,
    ) {
        let why = |wish: &Wish| match error {
            StreamUpgradeError::Timeout => DialogError::OpenTimeout,
            StreamUpgradeError::Apply(never) => match never {},
            StreamUpgradeError::NegotiationFailed => {
                DialogError::Unsupported(wish.protocol.clone())
            }
            StreamUpgradeError::Io(error) => DialogError::before_start(error),
        };
        let Some(wish) = self.settle(id, connection) else { return };
        match why(&wish) {
            DialogError::Closed => self.retry_or_fail(id, connection, wish),
            error => drop(wish.opened.send(Err(error))),
        }
    }

    fn on_inbound(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
        protocol: StreamProtocol,
        stream: libp2p_swarm::Stream,
    ) {
        let plain = self.config.plain.contains(&protocol);
        let (Some(path), Some(closed)) =
            (self.paths.get(&peer, connection), self.links.token(connection))
        else {
            return;
        };
        let Some(slot) = self.slots.inbound(peer) else {
            tracing::debug!(%peer, %protocol, "inbound dialog refused: no room");
            return self.turn_away(stream, plain);
        };
        let inbound = Inbound {
            peer,
            connection,
            protocol,
            relayed: path.relayed,
            stream,
            plain,
            closed,
            slot,
            until: None,
            progress_timeout: None,
        };
        self.events.push_back(Event::Inbound(inbound));
    }

    /// Takes the wish of a dialog that waits, or is being opened on this connection.
    fn settle(&mut self, id: DialogId, connection: ConnectionId) -> Option<Wish> {
        let entry = self.entries.get_mut(&id)?;
        let started = Stage::Started { connection: Some(connection) };
        match std::mem::replace(&mut entry.stage, started) {
            Stage::Opening { connection: on, wish } if on == connection => Some(wish),
            Stage::Waiting(wish) => {
                self.queue.remove(&entry.peer, id);
                Some(wish)
            }
            other => {
                entry.stage = other;
                None
            }
        }
    }

    /// The substream could not be opened because `connection` went away: tries the next best one.
    ///
    /// Ends: a connection that is still up is given a second chance only once.
    fn retry_or_fail(&mut self, id: DialogId, connection: ConnectionId, mut wish: Wish) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        let peer = entry.peer;
        let spent = wish.avoid.is_some() && self.paths.get(&peer, connection).is_some();
        let other = self.paths.best_but(&peer, Some(connection)).is_some();
        if wish.on.is_none() && !spent && other {
            wish.avoid = Some(connection);
            entry.stage = Stage::Waiting(wish);
            self.queue.push_front(peer, id);
        } else {
            let _ = wish.opened.send(Err(DialogError::Closed));
        }
    }

    /// Finished dialogs first, then new work: forward what comes, mapping only the event.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Event<T>, HandlerCommand>> {
        if let Some(event) = self.events.pop_front() {
            return Poll::Ready(ToSwarm::GenerateEvent(event));
        }
        if let Some(event) = self.poll_finished(cx) {
            return Poll::Ready(ToSwarm::GenerateEvent(event));
        }
        while let Poll::Ready(Some(_)) = self.refusals.poll_join_next(cx) {}
        if let Some((peer_id, connection, event)) = self.dispatch() {
            let handler = NotifyHandler::One(connection);
            return Poll::Ready(ToSwarm::NotifyHandler { peer_id, handler, event });
        }
        self.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    fn poll_finished(&mut self, cx: &mut Context<'_>) -> Option<Event<T>> {
        while let Poll::Ready(Some(joined)) = self.tasks.poll_join_next_with_id(cx) {
            let task = joined.as_ref().map_or_else(JoinError::id, |(task, _)| *task);
            let Some(id) = self.task_ids.remove(&task) else { continue };
            // A cancelled dialog has no entry any more.
            let Some(Entry { peer, stage, .. }) = self.forget(id) else { continue };
            let connection = match stage {
                Stage::Waiting(wish) => wish.on,
                Stage::Opening { connection, .. } => Some(connection),
                Stage::Started { connection } => connection,
            };
            let outcome = match joined {
                Ok((_, outcome)) => outcome,
                Err(error) if error.is_panic() => {
                    tracing::error!(%peer, dialog = %id, %error, "a dialog panicked");
                    Err(DialogError::Panicked)
                }
                // Nobody but `cancel` aborts, unless the runtime shuts down.
                Err(_) => Err(DialogError::Cancelled),
            };
            return Some(Event::Finished { id, peer, connection, outcome });
        }
        None
    }

    /// The next open that has room on its connection.
    fn dispatch(&mut self) -> Option<(PeerId, ConnectionId, HandlerCommand)> {
        while let Some(peer) = self.queue.next_ready() {
            let Some((id, connection)) = self.next_open(&peer) else { continue };
            self.queue.remove(&peer, id);
            self.queue.stir(peer);
            let Some(entry) = self.entries.get_mut(&id) else { continue };
            let stage = std::mem::replace(&mut entry.stage, Stage::Started { connection: None });
            if let Stage::Waiting(wish) = stage {
                let protocol = wish.protocol.clone();
                entry.stage = Stage::Opening { connection, wish };
                self.links.sent(connection);
                return Some((peer, connection, HandlerCommand { id, protocol }));
            }
            entry.stage = stage;
        }
        None
    }

    fn next_open(&self, peer: &PeerId) -> Option<(DialogId, ConnectionId)> {
        self.queue.line(peer).find_map(|id| {
            let Stage::Waiting(wish) = &self.entries.get(&id)?.stage else { return None };
            let best = || self.paths.best_but(peer, wish.avoid).or_else(|| self.paths.best(peer));
            let connection = wish.on.or_else(|| Some(best()?.connection))?;
            self.links.has_room(connection).then_some((id, connection))
        })
    }
}
