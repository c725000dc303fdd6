//! The substream as a dialog sees it.

use std::{
    io::{self, IoSlice, IoSliceMut},
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use futures::{AsyncRead, AsyncWrite};
use libp2p_identity::PeerId;
use libp2p_swarm::ConnectionId;

use crate::gate::{Answer, Gate};

type Substream = Gate<libp2p_swarm::Stream>;

/// A negotiated substream, given to a dialog by value.
///
/// Close it (`AsyncWriteExt::close`) to let the other side read to its end; dropping it unclosed
/// resets it. After `AsyncReadExt::split` the halves may live in two tasks.
///
/// The end of the stream does not prove that the other side closed it: yamux shows a reset and a lost
/// connection as the end, too. Let the protocol say how much is to come.
///
/// # Errors
/// `ConnectionRefused` once the other side has said that it is busy; the dialog's outcome is then
/// [`crate::DialogError::Busy`], whatever the dialog returns.
#[derive(Debug)]
pub struct Stream {
    /// `None` only while it is being dropped.
    substream: Option<Substream>,
    tally: Arc<Tally>,
    peer: PeerId,
    connection: ConnectionId,
    relayed: bool,
}

/// What the task that runs a dialog knows of its stream.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Bytes read and written.
    bytes: AtomicU64,
    busy: AtomicBool,
    /// The stream of a dialog that ended without having seen the answer.
    unanswered: Mutex<Option<Substream>>,
}

impl Tally {
    pub(crate) fn count(&self, bytes: usize) {
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn is_busy(&self) -> bool {
        self.busy.load(Ordering::Relaxed)
    }

    pub(crate) fn take_unanswered(&self) -> Option<Substream> {
        self.unanswered.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Stream {
    pub(crate) fn new(
        substream: Substream,
        peer: PeerId,
        connection: ConnectionId,
        relayed: bool,
    ) -> Self {
        Self { substream: Some(substream), tally: Arc::default(), peer, connection, relayed }
    }

    /// Who is at the other end.
    pub fn peer(&self) -> PeerId {
        self.peer
    }

    /// The connection it is a part of; it does not move to another.
    pub fn connection(&self) -> ConnectionId {
        self.connection
    }

    /// Whether a relay forwards the connection: such connections are short-lived and metered.
    pub fn relayed(&self) -> bool {
        self.relayed
    }

    /// Lets the swarm close the connection as idle in spite of this stream.
    pub fn ignore_for_keep_alive(&mut self) {
        if let Some(substream) = &mut self.substream {
            substream.inner_mut().ignore_for_keep_alive();
        }
    }

    pub(crate) fn tally(&self) -> Arc<Tally> {
        self.tally.clone()
    }

    /// Runs one poll function of the substream and keeps the tally.
    fn poll_io<R>(
        &mut self,
        bytes: impl FnOnce(&R) -> usize,
        poll: impl FnOnce(Pin<&mut Substream>) -> Poll<io::Result<R>>,
    ) -> Poll<io::Result<R>> {
        let Some(substream) = &mut self.substream else {
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        };
        let polled = poll(Pin::new(substream));
        match &polled {
            Poll::Ready(Ok(done)) => self.tally.count(bytes(done)),
            Poll::Ready(Err(_)) if substream.answer() == Answer::Busy => {
                self.tally.busy.store(true, Ordering::Relaxed);
            }
            Poll::Ready(Err(_)) | Poll::Pending => {}
        }
        polled
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let unanswered = self.substream.take_if(|s| s.answer() == Answer::Awaited);
        if unanswered.is_some() {
            *self.tally.unanswered.lock().unwrap_or_else(PoisonError::into_inner) = unanswered;
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_io(|n| *n, |s| s.poll_read(cx, buf))
    }

    fn poll_read_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_io(|n| *n, |s| s.poll_read_vectored(cx, bufs))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_io(|n| *n, |s| s.poll_write(cx, buf))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_io(|n| *n, |s| s.poll_write_vectored(cx, bufs))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_io(|()| 0, |s| s.poll_flush(cx))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_io(|()| 0, |s| s.poll_close(cx))
    }
}
