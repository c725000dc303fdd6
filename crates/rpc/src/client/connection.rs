//! The connection for calls: many at once, each of which may be given up.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use jsonrpsee::core::client::{ReceivedMessage, TransportReceiverT, TransportSenderT};
use peerage_api::RemoteError;
use serde_json::{Value, json};
use tokio::sync::{Notify, Semaphore, mpsc, oneshot};
use tokio_util::task::AbortOnDropHandle;

use super::{
    dial::Transport,
    message::{self, Incoming},
};
use crate::CANCEL;

/// Calls under way at once; half of what a daemon bears by default, so that given up ones that it
/// still counts do no harm. More wait for their turn, as on the queue of a node in this process.
const MAX_CALLS: usize = 512;
/// Requests that wait to be written: at worst 16 × 24 MiB.
const MAX_QUEUED: usize = 16;

/// A WebSocket with its reading and its writing task; closes when dropped.
#[derive(Debug)]
pub(super) struct Connection {
    requests: mpsc::Sender<(u64, String)>,
    turns: Semaphore,
    calls: Arc<Calls>,
    _tasks: [AbortOnDropHandle<()>; 2],
}

#[derive(Debug, Default)]
struct Calls {
    state: Mutex<State>,
    given_up: Notify,
}

#[derive(Debug, Default)]
struct State {
    last_id: u64,
    /// At most [`MAX_CALLS`].
    waiting: HashMap<u64, oneshot::Sender<Incoming>>,
    /// Calls the daemon is to give up; written before anything else.
    given_up: Vec<u64>,
    closed: Option<String>,
}

impl Calls {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn close(&self, reason: impl ToString) {
        let mut state = self.lock();
        state.closed.get_or_insert_with(|| reason.to_string());
        state.waiting.clear();
    }

    fn closed_reason(&self) -> String {
        self.lock().closed.clone().unwrap_or_else(|| "the connection was closed".to_owned())
    }
}

/// A call that waits for its answer; gives it up when dropped.
struct Waiting<'a> {
    id: u64,
    calls: &'a Calls,
    answered: bool,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if self.answered {
            return;
        }
        let mut state = self.calls.lock();
        if state.waiting.remove(&self.id).is_some() {
            state.given_up.push(self.id);
            self.calls.given_up.notify_one();
        }
    }
}

impl Connection {
    pub(super) fn start((sender, receiver): Transport) -> Self {
        let (requests, queue) = mpsc::channel(MAX_QUEUED);
        let calls = Arc::<Calls>::default();
        let writer = tokio::spawn(write(sender, queue, Arc::clone(&calls)));
        let reader = tokio::spawn(read(receiver, Arc::clone(&calls)));
        let tasks = [AbortOnDropHandle::new(writer), AbortOnDropHandle::new(reader)];
        Self { requests, turns: Semaphore::new(MAX_CALLS), calls, _tasks: tasks }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.calls.lock().closed.is_some()
    }

    /// Calls `method`. Dropping the future gives the call up in the daemon.
    pub(super) async fn call(&self, method: &str, params: Value) -> Result<Value, RemoteError> {
        let lost = || message::unreachable(self.calls.closed_reason());
        let _turn = self.turns.acquire().await.map_err(message::unreachable)?;
        let (reply, answer) = oneshot::channel();
        let id = self.register(reply)?;
        let mut waiting = Waiting { id, calls: &self.calls, answered: false };
        let request = message::request(Some(id), method, params);
        let request = request.inspect_err(|_| {
            // Nothing was sent, so there is nothing to give up.
            self.calls.lock().waiting.remove(&id);
        })?;
        self.requests.send((id, request)).await.map_err(|_| lost())?;
        let answer = answer.await.map_err(|_| lost())?;
        waiting.answered = true;
        answer.answer(method)
    }

    fn register(&self, reply: oneshot::Sender<Incoming>) -> Result<u64, RemoteError> {
        let mut state = self.calls.lock();
        if let Some(reason) = &state.closed {
            return Err(message::unreachable(reason));
        }
        state.last_id += 1;
        let id = state.last_id;
        state.waiting.insert(id, reply);
        Ok(id)
    }
}

async fn write(
    mut sender: impl TransportSenderT,
    mut queue: mpsc::Receiver<(u64, String)>,
    calls: Arc<Calls>,
) {
    loop {
        let given_up = std::mem::take(&mut calls.lock().given_up);
        for id in given_up {
            // A notification with one number is never too large.
            let Ok(cancel) = message::request(None, CANCEL, json!({ "id": id })) else { continue };
            if let Err(error) = sender.send(cancel).await {
                return calls.close(error);
            }
        }
        let request = tokio::select! {
            biased;
            () = calls.given_up.notified() => continue,
            request = queue.recv() => request,
        };
        let Some((id, request)) = request else { return };
        if !calls.lock().waiting.contains_key(&id) {
            // Given up before it was written.
            continue;
        }
        if let Err(error) = sender.send(request).await {
            return calls.close(error);
        }
    }
}

async fn read(mut receiver: impl TransportReceiverT, calls: Arc<Calls>) {
    loop {
        let text = match receiver.receive().await {
            Ok(ReceivedMessage::Text(text)) => text.into_bytes(),
            Ok(ReceivedMessage::Bytes(bytes)) => bytes,
            Ok(ReceivedMessage::Pong) => continue,
            Err(error) => return calls.close(error),
        };
        match serde_json::from_slice::<Incoming>(&text) {
            Ok(answer) => {
                let waiting = answer.id.and_then(|id| calls.lock().waiting.remove(&id));
                if let Some(reply) = waiting {
                    // A caller that gave up is no error.
                    let _ = reply.send(answer);
                }
            }
            Err(error) => return calls.close(error),
        }
    }
}
