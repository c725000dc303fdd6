//! The side that the stream was opened to: reads messages, hands them to listeners and responders,
//! and writes what becomes of them.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{AsyncRead, AsyncReadExt, AsyncWrite};
use peerage_api::exchange::{Body, Incoming, Message};
use peerage_types::PeerId;
use peerage_wire::exchange::{Frame, Id, Refusal};
use tokio::{
    pin, select,
    sync::{Semaphore, mpsc},
    time::{sleep, sleep_until},
};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{Ended, Misbehaviour, encoding_from_wire, read::Reader, write::Writer};
use crate::{
    bounds::{
        BATCH_MESSAGES, HANDOVER_TIMEOUT, LINGER_TIMEOUT, MAX_REPLY_BYTES, MAX_WAITING_ACKS,
        MAX_WAITING_PER_STREAM,
    },
    registry::Registry,
    replies::{Answer, StreamKey, Waiting},
};

/// What an inbound stream is for.
#[derive(Debug)]
pub(crate) struct Serving {
    pub(crate) peer: PeerId,
    /// Nothing is read before this, so that the messages of a former stream come first.
    pub(crate) after: Option<CancellationToken>,
    /// Cancelled when the peer has opened another.
    pub(crate) succeeded: CancellationToken,
    /// Dropped when all is read; the next one's turn also comes if this is never run.
    pub(crate) done: DropGuard,
    pub(crate) registry: Arc<Registry>,
}

/// Reads messages until the peer has no more, then writes the last answers.
///
/// # Errors
/// [`Misbehaviour`] of the peer.
pub(crate) async fn respond<S>(stream: S, serving: Serving) -> Result<(), Misbehaviour>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let Serving { peer, after, succeeded, done, registry } = serving;
    let (reader, writer) = stream.split();
    let (answers, queue) = mpsc::channel(MAX_WAITING_PER_STREAM + MAX_WAITING_ACKS);
    let stream = Registered { key: registry.replies().stream(), registry: &registry };
    let dispatch = Dispatch {
        peer,
        stream: stream.key,
        registry: Arc::clone(&registry),
        answers,
        room: Arc::new(Semaphore::new(MAX_REPLY_BYTES)),
        turn: Arc::new(Semaphore::new(MAX_WAITING_PER_STREAM)),
    };
    let write = write_answers(Writer::new(writer), queue);
    pin!(write);
    let read = async move {
        if let Some(after) = after {
            after.cancelled().await;
        }
        read_messages(Reader::new(reader), dispatch, &succeeded).await
    };
    let ended = select! {
        biased;
        ended = read => ended,
        ended = &mut write => return ended.or_else(Ended::outcome),
    };
    if let Err(ended) = ended {
        return ended.outcome();
    }
    drop(done);
    // The queue ends with the last request that waits for an answer.
    let latest = registry.replies().latest(stream.key).unwrap_or_else(Instant::now);
    select! {
        ended = write => ended.or_else(Ended::outcome),
        () = sleep_until((latest + LINGER_TIMEOUT).into()) => Ok(()),
    }
}

/// Takes the requests of a stream out of the registry however the stream ends.
struct Registered<'a> {
    key: StreamKey,
    registry: &'a Registry,
}

impl Drop for Registered<'_> {
    fn drop(&mut self) {
        self.registry.replies().forget(self.key);
    }
}

async fn read_messages<R: AsyncRead + Unpin>(
    mut frames: Reader<R>,
    dispatch: Dispatch,
    succeeded: &CancellationToken,
) -> Result<(), Ended> {
    loop {
        while let Some(frame) = frames.arrived()? {
            dispatch.frame(frame).await?;
        }
        let more = select! {
            biased;
            more = frames.more() => more?,
            () = silent(succeeded) => false,
        };
        if !more {
            return Ok(());
        }
    }
}

/// A stream whose peer has opened another has nothing more to say, or its connection is dead.
async fn silent(succeeded: &CancellationToken) {
    succeeded.cancelled().await;
    sleep(HANDOVER_TIMEOUT).await;
}

async fn write_answers<W: AsyncWrite + Unpin>(
    mut out: Writer<W>,
    mut queue: mpsc::Receiver<Answer>,
) -> Result<(), Ended> {
    let mut batch = Vec::new();
    while queue.recv_many(&mut batch, BATCH_MESSAGES).await > 0 {
        for Answer { frame, room } in batch.drain(..) {
            out.push(&frame).await?;
            drop(room);
        }
        if queue.is_empty() {
            out.flush().await?;
        }
    }
    Ok(out.close().await?)
}

struct Dispatch {
    peer: PeerId,
    stream: StreamKey,
    registry: Arc<Registry>,
    answers: mpsc::Sender<Answer>,
    room: Arc<Semaphore>,
    turn: Arc<Semaphore>,
}

impl Dispatch {
    /// Waits while a listener is slow: that is how back-pressure reaches the sender.
    async fn frame(&self, frame: Frame) -> Result<(), Misbehaviour> {
        let peer = self.peer;
        let frame = match frame {
            Frame::Message { kind, encoding, body, ack } => {
                self.registry.counts.received(body.len());
                let body = Body { encoding: encoding_from_wire(encoding), data: body.into() };
                let heard = self.registry.hear(Message { peer, kind, body }).await;
                if !heard {
                    self.registry.counts.unheard();
                }
                match (ack, heard) {
                    (None, _) => return Ok(()),
                    (Some(id), true) => Frame::Ack { id },
                    (Some(id), false) => Frame::Refusal { id, code: Refusal::NoListener },
                }
            }
            Frame::Request { id, deadline_ms, kind, encoding, body } => {
                self.registry.counts.received(body.len());
                let body = Body { encoding: encoding_from_wire(encoding), data: body.into() };
                let deadline_ms = u64::from(deadline_ms);
                let request = Incoming { id: 0, peer, kind, body, deadline_ms };
                match self.ask(id, request) {
                    Ok(()) => return Ok(()),
                    Err(code) => Frame::Refusal { id, code },
                }
            }
            Frame::Ack { .. } | Frame::Response { .. } | Frame::Refusal { .. } => {
                return Err(Misbehaviour::Direction);
            }
        };
        // When it cannot be sent the writer has failed, and with it the stream.
        let _ = self.answers.send(Answer { frame, room: None }).await;
        Ok(())
    }

    fn ask(&self, id: Id, mut request: Incoming) -> Result<(), Refusal> {
        let Some(responder) = self.registry.responder(&request.kind) else {
            self.registry.counts.unheard();
            return Err(Refusal::NoResponder);
        };
        let now = Instant::now();
        let waiting = self.waiting(id, now + Duration::from_millis(request.deadline_ms), now)?;
        let name = self.registry.replies().insert(waiting, now).ok_or(Refusal::Busy)?;
        request.id = name;
        // Shown only now, as the application may answer before this function returns.
        responder.try_put(request).map_err(|_| {
            self.registry.replies().remove(name);
            Refusal::Busy
        })
    }

    fn waiting(&self, id: Id, deadline: Instant, now: Instant) -> Result<Waiting, Refusal> {
        let turn = || Arc::clone(&self.turn).try_acquire_owned();
        let turn = turn().or_else(|_| {
            self.registry.replies().sweep(now);
            turn()
        });
        let place = self.answers.clone().try_reserve_owned();
        let (Ok(_turn), Ok(place)) = (turn, place) else { return Err(Refusal::Busy) };
        let (stream, peer, room) = (self.stream, self.peer, Arc::clone(&self.room));
        Ok(Waiting { stream, peer, id, deadline, place, room, _turn })
    }
}
