//! Where callers wait until a stream is open.

use std::sync::{Mutex, MutexGuard, PoisonError};

use libp2p_swarm::ConnectionId;
use peerage_api::exchange::{ExchangeError, Outbox};
use peerage_types::PeerId;
use tokio::sync::oneshot;

use crate::bounds::MAX_WAITING_OPENS;

type Caller = oneshot::Sender<Result<Outbox, ExchangeError>>;

/// Shared by the behaviour, which sends callers here, and the stream's task, which opens it.
#[derive(Debug)]
pub(crate) struct Door {
    peer: PeerId,
    state: Mutex<State>,
}

/// `Shut` → `Open` when the stream is negotiated; callers that are left when it cannot be are refused.
#[derive(Debug)]
enum State {
    Shut(Vec<Caller>),
    Open(ConnectionId),
}

impl Door {
    pub(crate) fn new(peer: PeerId) -> Self {
        Self { peer, state: Mutex::new(State::Shut(Vec::new())) }
    }

    /// Answers with `outbox` once the stream is open.
    pub(crate) fn wait(&self, caller: Caller, outbox: &Outbox) {
        let answer = match &mut *self.state() {
            State::Shut(callers) if callers.len() < MAX_WAITING_OPENS => {
                callers.push(caller);
                return;
            }
            State::Shut(_) => Err(ExchangeError::Busy { peer: self.peer }),
            State::Open(_) => Ok(outbox.clone()),
        };
        let _ = caller.send(answer);
    }

    pub(crate) fn open(&self, connection: ConnectionId, outbox: &Outbox) {
        let state = std::mem::replace(&mut *self.state(), State::Open(connection));
        answer(state, || Ok(outbox.clone()));
    }

    /// The stream has ended; refuses whoever still waits for it.
    pub(crate) fn refuse(&self, error: &ExchangeError) {
        let state = std::mem::replace(&mut *self.state(), State::Shut(Vec::new()));
        answer(state, || Err(error.clone()));
    }

    /// The connection of the stream, once it is open.
    pub(crate) fn connection(&self) -> Option<ConnectionId> {
        match &*self.state() {
            State::Shut(_) => None,
            State::Open(connection) => Some(*connection),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn answer(state: State, with: impl Fn() -> Result<Outbox, ExchangeError>) {
    if let State::Shut(callers) = state {
        for caller in callers {
            let _ = caller.send(with());
        }
    }
}
