//! The status byte: the responder's first byte says whether it takes part.
//!
//! | byte | meaning |
//! |---|---|
//! | `0x00` | accepted; the protocol's own bytes follow |
//! | `0x01` | busy; nothing follows |
//!
//! The initiator does not wait for it, which would cost a round trip: it is looked for at the first
//! read, and by writers for as long as nobody reads.

use std::{
    io::{self, IoSlice, IoSliceMut},
    pin::Pin,
    task::{Context, Poll, Waker, ready},
};

use futures::{AsyncRead, AsyncWrite};

pub(crate) const ACCEPTED: u8 = 0x00;
pub(crate) const BUSY: u8 = 0x01;

/// What is known of the responder's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Not yet read.
    Awaited,
    /// `0x00`, or a stream without status byte.
    Accepted,
    /// `0x01`.
    Busy,
    /// The stream ended or broke before it.
    Missing(io::ErrorKind),
    /// Some other byte.
    Invalid,
}

impl Answer {
    fn ok(self) -> io::Result<()> {
        match self {
            Self::Awaited | Self::Accepted => Ok(()),
            Self::Busy => Err(io::Error::new(io::ErrorKind::ConnectionRefused, "the peer is busy")),
            Self::Missing(kind) => Err(io::Error::new(kind, "reset before it was accepted")),
            Self::Invalid => Err(io::Error::new(io::ErrorKind::InvalidData, "no such status byte")),
        }
    }
}

/// A stream whose first inbound byte is the status byte, which readers do not see.
#[derive(Debug)]
pub(crate) struct Gate<S> {
    inner: S,
    answer: Answer,
    /// Only one task at a time is woken by the inner stream's read side, so whoever finds the answer
    /// wakes the other: the halves of a split stream may live in two tasks.
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Gate<S> {
    /// The responder's end, or a protocol without status byte.
    pub(crate) fn open(inner: S) -> Self {
        Self { inner, answer: Answer::Accepted, reader: None, writer: None }
    }

    /// The initiator's end.
    pub(crate) fn awaiting(inner: S) -> Self {
        Self { inner, answer: Answer::Awaited, reader: None, writer: None }
    }

    pub(crate) fn answer(&self) -> Answer {
        self.answer
    }

    pub(crate) fn inner_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// Resolves once the answer is not [`Answer::Awaited`]. Cancel safe.
    pub(crate) async fn answered(&mut self) -> Answer {
        std::future::poll_fn(|cx| self.poll_answer(cx)).await
    }

    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Answer> {
        if self.answer == Answer::Awaited {
            let mut byte = [0];
            self.answer = match ready!(Pin::new(&mut self.inner).poll_read(cx, &mut byte)) {
                Ok(0) => Answer::Missing(io::ErrorKind::ConnectionReset),
                Err(error) => Answer::Missing(error.kind()),
                Ok(_) => match byte {
                    [ACCEPTED] => Answer::Accepted,
                    [BUSY] => Answer::Busy,
                    _ => Answer::Invalid,
                },
            };
            [self.reader.take(), self.writer.take()].into_iter().flatten().for_each(Waker::wake);
        }
        Poll::Ready(self.answer)
    }

    /// Ready once bytes of the protocol itself may be read.
    fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.poll_answer(cx) {
            Poll::Ready(answer) => Poll::Ready(answer.ok()),
            Poll::Pending => {
                remember(&mut self.reader, cx);
                Poll::Pending
            }
        }
    }

    /// Fails once a refusal has arrived. Looks for it itself until the first read: from then on it
    /// would steal the reader's wake-up.
    fn check_writable(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if self.answer == Answer::Awaited {
            remember(&mut self.writer, cx);
            if self.reader.is_none() {
                let _ = self.poll_answer(cx);
            }
        }
        match self.answer {
            // A writer without reader may well outlive the other direction: let the write tell.
            Answer::Missing(_) => Ok(()),
            answer => answer.ok(),
        }
    }
}

fn remember(slot: &mut Option<Waker>, cx: &Context<'_>) {
    match slot {
        Some(waker) => waker.clone_from(cx.waker()),
        None => *slot = Some(cx.waker().clone()),
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Gate<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_readable(cx))?;
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }

    fn poll_read_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_readable(cx))?;
        Pin::new(&mut self.inner).poll_read_vectored(cx, bufs)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Gate<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check_writable(cx)?;
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check_writable(cx)?;
        Pin::new(&mut self.inner).poll_write_vectored(cx, bufs)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check_writable(cx)?;
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check_writable(cx)?;
        Pin::new(&mut self.inner).poll_close(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::{AsyncReadExt, AsyncWriteExt};
    use tokio::{
        io::{DuplexStream, duplex},
        task::JoinHandle,
        time::timeout,
    };
    use tokio_util::compat::{Compat, TokioAsyncReadCompatExt};

    use super::*;

    type Pipe = Compat<DuplexStream>;

    /// The initiator's end and the raw other one; `room` bytes fit in each direction.
    fn initiator(room: usize) -> (Gate<Pipe>, Pipe) {
        let (near, far) = duplex(room);
        (Gate::awaiting(near.compat()), far.compat())
    }

    /// What a spawned task returns, unless it sleeps for ever.
    async fn result<T>(task: JoinHandle<T>) -> T {
        timeout(Duration::from_secs(5), task).await.expect("it is woken").unwrap()
    }

    /// Lets every spawned task run until it waits for something.
    async fn settle() {
        for _ in 0..8 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn readers_do_not_see_the_status_byte() {
        let (mut near, mut far) = initiator(64);
        far.write_all(&[ACCEPTED, 5, 6]).await.unwrap();
        far.close().await.unwrap();
        let mut read = Vec::new();
        near.read_to_end(&mut read).await.unwrap();
        assert_eq!(read, [5, 6]);
    }

    #[tokio::test]
    async fn busy_fails_reads_and_writes() {
        let (mut near, mut far) = initiator(64);
        far.write_all(&[BUSY]).await.unwrap();
        for _ in 0..2 {
            let error = near.read(&mut [0; 8]).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        }
        let error = near.write(&[0]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }

    #[tokio::test]
    async fn an_end_before_the_status_byte_is_a_reset() {
        let (mut near, far) = initiator(64);
        drop(far);
        let error = near.read(&mut [0; 8]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    }

    #[tokio::test]
    async fn another_status_byte_is_invalid() {
        let (mut near, mut far) = initiator(64);
        far.write_all(&[0x02]).await.unwrap();
        let error = near.read(&mut [0; 8]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }

    #[tokio::test]
    async fn a_writer_that_has_no_room_learns_that_the_peer_is_busy() {
        let (mut near, mut far) = initiator(4);
        let writing = tokio::spawn(async move { near.write_all(&[0; 64]).await });
        settle().await;
        far.write_all(&[BUSY]).await.unwrap();
        let error = result(writing).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }

    #[tokio::test]
    async fn a_reader_is_woken_although_a_writer_looked_first() {
        let (near, mut far) = initiator(4);
        let (mut reader, mut writer) = near.split();
        let writing = tokio::spawn(async move { writer.write_all(&[0; 64]).await });
        settle().await;
        let reading = tokio::spawn(async move {
            let mut read = [0];
            reader.read_exact(&mut read).await.map(|()| read)
        });
        settle().await;
        far.write_all(&[ACCEPTED, 7]).await.unwrap();
        assert_eq!(result(reading).await.unwrap(), [7]);
        far.read_exact(&mut [0; 64]).await.unwrap();
        result(writing).await.unwrap();
    }

    #[tokio::test]
    async fn a_writer_is_woken_although_a_reader_waits_for_the_answer() {
        let (near, mut far) = initiator(4);
        let (mut reader, mut writer) = near.split();
        let reading = tokio::spawn(async move { reader.read(&mut [0]).await });
        settle().await;
        let writing = tokio::spawn(async move { writer.write_all(&[0; 64]).await });
        settle().await;
        far.write_all(&[BUSY]).await.unwrap();
        for failed in [result(reading).await.map(drop), result(writing).await] {
            assert_eq!(failed.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        }
    }

    #[tokio::test]
    async fn a_reader_is_woken_although_a_writer_came_and_went() {
        let (near, mut far) = initiator(4);
        let (mut reader, mut writer) = near.split();
        let reading = tokio::spawn(async move {
            let mut read = [0];
            reader.read_exact(&mut read).await.map(|()| read)
        });
        settle().await;
        let writing = tokio::spawn(async move { writer.write_all(&[0; 64]).await });
        settle().await;
        writing.abort();
        settle().await;
        far.write_all(&[ACCEPTED, 7]).await.unwrap();
        assert_eq!(result(reading).await.unwrap(), [7]);
    }
}
