//! The direct way from a handle to the message stream of a peer, past the driver.
//!
//! The driver is asked once per peer for an [`Outbox`]; after that messages go straight into the
//! stream's queue, so that back-pressure reaches the caller and the driver stays free.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use peerage_types::{MessageType, PeerId};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::{Body, ExchangeError, MAX_BODY_BYTES, MAX_DEADLINE_MS, Request, Send as SendRequest};
use crate::{Command, LinkError, Local, Method};

/// A message on its way to a stream.
#[derive(Debug)]
pub struct Outgoing {
    /// Its type.
    pub kind: MessageType,
    /// What it carries.
    pub body: Body,
    /// What the sender waits for.
    pub expect: Expect,
    /// Room taken in the queue; given back when this is dropped.
    pub room: Option<OwnedSemaphorePermit>,
}

/// What the sender of a message waits for. A door that is dropped means that the stream broke.
#[derive(Debug)]
pub enum Expect {
    /// Nothing.
    Nothing,
    /// That a listener took it.
    Ack(oneshot::Sender<Result<(), ExchangeError>>),
    /// An answer.
    Response {
        /// How long the answer is waited for.
        deadline: Duration,
        /// Where the answer goes.
        reply: oneshot::Sender<Result<Body, ExchangeError>>,
    },
}

/// The queue of one peer's message stream.
#[derive(Debug, Clone)]
pub struct Outbox {
    queue: mpsc::Sender<Outgoing>,
    room: Arc<Semaphore>,
}

impl Outbox {
    /// Messages that may wait in a queue.
    pub const MAX_MESSAGES: usize = 1024;
    /// Bytes of bodies that may wait in a queue: four of the largest, 4 MiB a peer.
    pub const MAX_BYTES: usize = 4 * MAX_BODY_BYTES;

    /// A queue and its reading end.
    #[must_use]
    pub fn new() -> (Self, mpsc::Receiver<Outgoing>) {
        let (queue, messages) = mpsc::channel(Self::MAX_MESSAGES);
        (Self { queue, room: Arc::new(Semaphore::new(Self::MAX_BYTES)) }, messages)
    }

    /// Whether the stream is gone.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.queue.is_closed()
    }

    /// Queues a message, waiting for room; gives it back if the stream is gone.
    ///
    /// # Errors
    /// The message.
    ///
    /// # Cancel safety
    /// Dropping the future does not send the message.
    pub async fn send(&self, mut message: Outgoing) -> Result<(), Outgoing> {
        message.room = match Arc::clone(&self.room).acquire_many_owned(size(&message)).await {
            Ok(room) => Some(room),
            Err(_) => return Err(message),
        };
        self.queue.send(message).await.map_err(|e| e.0)
    }

    /// Queues a message if there is room now; gives it back otherwise.
    ///
    /// # Errors
    /// The message.
    pub fn try_send(&self, mut message: Outgoing) -> Result<(), Outgoing> {
        message.room = match Arc::clone(&self.room).try_acquire_many_owned(size(&message)) {
            Ok(room) => Some(room),
            Err(_) => return Err(message),
        };
        self.queue.try_send(message).map_err(|e| match e {
            mpsc::error::TrySendError::Full(m) | mpsc::error::TrySendError::Closed(m) => m,
        })
    }
}

fn size(message: &Outgoing) -> u32 {
    u32::try_from(message.body.data.len().min(Outbox::MAX_BYTES)).unwrap_or(u32::MAX)
}

/// Asks the driver for the outbox of a peer; answered once its stream is open.
#[derive(Debug)]
pub struct OpenOutbox {
    /// Whose.
    pub peer: PeerId,
    /// Where the outbox goes.
    pub reply: oneshot::Sender<Result<Outbox, ExchangeError>>,
}

/// The outboxes a handle has been given.
#[derive(Debug, Default)]
pub struct Outboxes(Mutex<HashMap<PeerId, Outbox>>);

impl Outboxes {
    fn get(&self, peer: &PeerId) -> Option<Outbox> {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let outbox = open.get(peer)?.clone();
        if outbox.is_closed() {
            open.remove(peer);
            return None;
        }
        Some(outbox)
    }

    fn put(&self, peer: PeerId, outbox: Outbox) {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Peers come and go: without this the map would keep every peer there ever was.
        open.retain(|_, outbox| !outbox.is_closed());
        open.insert(peer, outbox);
    }
}

async fn outbox(local: &Local, peer: PeerId) -> Result<Outbox, ExchangeError> {
    if let Some(outbox) = local.outboxes.get(&peer) {
        return Ok(outbox);
    }
    let (reply, answer) = oneshot::channel();
    local.send(Command::Exchange(super::Command::Outbox(OpenOutbox { peer, reply }))).await?;
    let outbox = answer.await.map_err(|_| LinkError::Stopped)??;
    local.outboxes.put(peer, outbox.clone());
    Ok(outbox)
}

/// Queues a message on the peer's stream, opening it anew if the one we knew is gone.
async fn deliver(local: &Local, peer: PeerId, message: Outgoing) -> Result<(), ExchangeError> {
    let Err(message) = outbox(local, peer).await?.send(message).await else { return Ok(()) };
    let again = outbox(local, peer).await?;
    again.send(message).await.map_err(|_| ExchangeError::Broken { peer })
}

fn check_size(body: &Body) -> Result<(), ExchangeError> {
    match body.data.len() {
        0..=MAX_BODY_BYTES => Ok(()),
        bytes => Err(ExchangeError::TooLarge { bytes, max: MAX_BODY_BYTES }),
    }
}

impl Method for SendRequest {
    const NAME: &'static str = "exchange.send";
    type Reply = ();
    type Error = ExchangeError;

    async fn run(self, local: &Local) -> Result<(), ExchangeError> {
        let Self { peer, kind, body, ack } = self;
        check_size(&body)?;
        if !ack {
            let message = Outgoing { kind, body, expect: Expect::Nothing, room: None };
            return deliver(local, peer, message).await;
        }
        let (reply, taken) = oneshot::channel();
        deliver(local, peer, Outgoing { kind, body, expect: Expect::Ack(reply), room: None })
            .await?;
        taken.await.unwrap_or(Err(ExchangeError::Broken { peer }))
    }
}

impl Method for Request {
    const NAME: &'static str = "exchange.request";
    type Reply = Body;
    type Error = ExchangeError;

    async fn run(self, local: &Local) -> Result<Body, ExchangeError> {
        let Self { peer, kind, body, deadline_ms } = self;
        check_size(&body)?;
        if !(1..=MAX_DEADLINE_MS).contains(&deadline_ms) {
            let range = format!("1 to {MAX_DEADLINE_MS} ms");
            return Err(ExchangeError::OutOfRange { what: "the deadline".into(), range });
        }
        let deadline = Duration::from_millis(deadline_ms);
        let (reply, answer) = oneshot::channel();
        let expect = Expect::Response { deadline, reply };
        let answered = async {
            deliver(local, peer, Outgoing { kind, body, expect, room: None }).await?;
            answer.await.unwrap_or(Err(ExchangeError::Broken { peer }))
        };
        let timed = tokio::time::timeout(deadline, answered).await;
        timed.unwrap_or(Err(ExchangeError::TimedOut { peer, deadline_ms }))
    }
}
