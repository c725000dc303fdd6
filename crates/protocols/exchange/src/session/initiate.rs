//! The side that opened the stream: writes messages as they are queued and reads the answers.

use std::{
    future::pending,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures::{AsyncRead, AsyncReadExt, AsyncWrite};
use peerage_api::exchange::{Body, Outgoing};
use peerage_types::{MessageType, PeerId};
use peerage_wire::exchange::Frame;
use tokio::{select, sync::mpsc};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{
    Ended, Misbehaviour,
    awaited::{Awaited, Wanted},
    encoding_from_wire, encoding_to_wire,
    read::Reader,
    write::Writer,
};
use crate::{bounds::BATCH_MESSAGES, registry::Registry};

/// What an outbound stream is for.
#[derive(Debug)]
pub(crate) struct Sending {
    pub(crate) peer: PeerId,
    pub(crate) messages: mpsc::Receiver<Outgoing>,
    /// Nothing is written before this, so that the messages of a former stream come first.
    pub(crate) after: Option<CancellationToken>,
    /// Cancelled when another stream is to take over.
    pub(crate) succeeded: CancellationToken,
    /// Dropped when all is written; the next one's turn also comes if this is never run.
    pub(crate) done: DropGuard,
    pub(crate) registry: Arc<Registry>,
}

/// Writes the messages of the queue until it is closed or succeeded, then waits for the last answers.
///
/// Ends as well when the stream breaks. Whoever still waits for an answer then finds its door
/// dropped.
///
/// # Errors
/// [`Misbehaviour`] of the peer.
pub(crate) async fn initiate<S>(stream: S, sending: Sending) -> Result<(), Misbehaviour>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let Sending { peer, mut messages, after, succeeded, done, registry } = sending;
    let awaited = Mutex::new(Awaited::new(peer));
    let (reader, writer) = stream.split();
    let write = async {
        if let Some(after) = after {
            after.cancelled().await;
        }
        write_messages(Writer::new(writer), &mut messages, &succeeded, &awaited, &registry).await?;
        drop(done);
        // The reader sees the end when the peer has answered everything.
        pending().await
    };
    let ended = select! {
        biased;
        ended = read_answers(Reader::new(reader), &awaited) => ended,
        ended = write => ended,
    };
    if let Err(Ended::Io(error)) = &ended
        && error.kind() == io::ErrorKind::ConnectionRefused
    {
        refuse(&mut messages, &awaited);
    }
    ended.or_else(Ended::outcome)
}

async fn write_messages<W: AsyncWrite + Unpin>(
    mut out: Writer<W>,
    messages: &mut mpsc::Receiver<Outgoing>,
    succeeded: &CancellationToken,
    awaited: &Mutex<Awaited>,
    registry: &Registry,
) -> Result<(), Ended> {
    let mut batch = Vec::new();
    loop {
        let taken = select! {
            biased;
            taken = messages.recv_many(&mut batch, BATCH_MESSAGES) => taken,
            // What is queued is still to be written; more is refused, and goes to the successor.
            () = succeeded.cancelled(), if !messages.is_closed() => {
                messages.close();
                continue;
            }
        };
        if taken == 0 {
            return Ok(out.close().await?);
        }
        for Outgoing { kind, body, expect, room } in batch.drain(..) {
            let Some(wanted) = lock(awaited).expect(&kind, expect) else { continue };
            registry.counts.sent(body.data.len());
            out.push(&frame(kind, body, wanted)).await?;
            drop(room);
        }
        if messages.is_empty() {
            out.flush().await?;
        }
    }
}

fn frame(kind: MessageType, body: Body, wanted: Wanted) -> Frame {
    let encoding = encoding_to_wire(body.encoding);
    let body = body.data.0;
    match wanted {
        Wanted::Nothing => Frame::Message { kind, encoding, body, ack: None },
        Wanted::Ack(id) => Frame::Message { kind, encoding, body, ack: Some(id) },
        Wanted::Response { id, deadline_ms } => {
            Frame::Request { id, deadline_ms, kind, encoding, body }
        }
    }
}

/// Never waits for an application: that is what keeps the two directions from blocking each other.
async fn read_answers<R: AsyncRead + Unpin>(
    mut frames: Reader<R>,
    awaited: &Mutex<Awaited>,
) -> Result<(), Ended> {
    while let Some(frame) = frames.next().await? {
        match frame {
            Frame::Ack { id } => lock(awaited).acked(id)?,
            Frame::Response { id, encoding, body } => {
                let body = Body { encoding: encoding_from_wire(encoding), data: body.into() };
                lock(awaited).answered(id, body)?;
            }
            Frame::Refusal { id, code } => lock(awaited).refused(id, code)?,
            Frame::Message { .. } | Frame::Request { .. } => {
                return Err(Misbehaviour::Direction.into());
            }
        }
    }
    Ok(())
}

/// The peer turned the stream away: nothing was delivered.
fn refuse(messages: &mut mpsc::Receiver<Outgoing>, awaited: &Mutex<Awaited>) {
    let mut awaited = lock(awaited);
    awaited.refuse_all();
    messages.close();
    while let Ok(Outgoing { kind, expect, .. }) = messages.try_recv() {
        awaited.expect(&kind, expect);
        awaited.refuse_all();
    }
}

fn lock(awaited: &Mutex<Awaited>) -> MutexGuard<'_, Awaited> {
    awaited.lock().unwrap_or_else(PoisonError::into_inner)
}
