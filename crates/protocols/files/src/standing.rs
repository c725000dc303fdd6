//! How transfers stand: changed, told, remembered.

use std::time::Instant;

use futures::FutureExt as _;
use libp2p_core::Multiaddr;
use libp2p_identity::PeerId;
use libp2p_swarm::ToSwarm;
use peerage_api::{
    Ask,
    files::{self as api, FilesError, State},
    peers::{Connect, PeersError},
};
use peerage_store::RowKind;
use peerage_types::{TransferId, UnixMillis};
use tokio::time::sleep_until;

use crate::{behaviour::Behaviour, config::Event};

impl Behaviour {
    pub(crate) fn emit(&mut self, event: Event) {
        self.outbox.push_back(ToSwarm::GenerateEvent(event));
        self.wake();
    }

    /// Commands come between polls: the timer, being due, makes the swarm poll again.
    pub(crate) fn wake(&mut self) {
        self.timer = Some(Box::pin(sleep_until(tokio::time::Instant::now())));
    }

    pub(crate) fn tell(&mut self, id: TransferId, event: &api::Event) {
        self.feeds.retain(|(wanted, sink)| {
            if wanted.is_none_or(|wanted| wanted == id) {
                sink.offer(event.clone())
            } else {
                !sink.is_closed()
            }
        });
    }

    /// Changes how a transfer stands, tells it and remembers it.
    pub(crate) fn set_state(&mut self, id: TransferId, state: State, now: Instant) {
        let Some(transfer) = self.transfers.get_mut(&id) else { return };
        if transfer.row.state == state {
            return;
        }
        transfer.settle(now);
        transfer.row.state = state;
        transfer.since = (state == State::Running).then_some(now);
        if state.is_over() {
            transfer.row.finished = Some(UnixMillis::now());
            transfer.rate = crate::rate::Rate::new(now);
            match state {
                State::Done => self.counts.done += 1,
                State::Failed => self.counts.failed += 1,
                _ => {}
            }
        }
        self.save(id);
        self.tell_state(id, now);
    }

    pub(crate) fn tell_state(&mut self, id: TransferId, now: Instant) {
        let Some(transfer) = self.transfers.get(&id) else { return };
        let event = api::Event::State { transfer: Box::new(transfer.shown(now)) };
        self.tell(id, &event);
        self.wake();
    }

    pub(crate) fn save(&self, id: TransferId) {
        let kept = self.transfers.get(&id).filter(|transfer| !transfer.is_pull());
        if let Some(row) = kept.and_then(|transfer| transfer.row.encode()) {
            // The store reports what it could not write.
            drop(self.store.transfers().put(RowKind::Transfer, id, row));
        }
    }

    pub(crate) fn fail(&mut self, id: TransferId, error: FilesError, now: Instant) {
        tracing::debug!(%id, %error, "transfer failed");
        if let Some(transfer) = self.transfers.get_mut(&id) {
            transfer.row.error = Some(error);
        }
        self.suspend(id, now);
        self.clear_if_empty(id);
        self.set_state(id, State::Failed, now);
    }

    /// Asks the embedding node for a connection, unless it is asked already.
    pub(crate) fn connect(&mut self, peer: PeerId, addresses: Vec<Multiaddr>) {
        if self.stopping || !self.dialled.insert(peer) {
            return;
        }
        let (ask, answer) = Ask::new(Connect { peer: Some(peer), addresses });
        self.emit(Event::Connect(ask));
        let connecting = async move {
            let outcome = match answer.await {
                Ok(outcome) => outcome.map(drop),
                Err(_) => Err(PeersError::Link(peerage_api::LinkError::Stopped)),
            };
            (peer, outcome)
        };
        self.connecting.push(connecting.boxed());
    }
}
