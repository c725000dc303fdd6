//! Small writes above TLS wait for what follows them.
//!
//! yamux writes the 12 bytes of a frame's header on their own, and a TLS stream makes every write a
//! record, a system call and, without Nagle's delay, a packet. Here they go out together with the
//! frame's body, at the latest when the writer flushes.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures::{AsyncRead, AsyncWrite};

/// Writes up to this size are kept, while all that is kept stays within it.
const MAX_KEPT: usize = 1024;

/// Gathers small writes; reads go straight through.
#[derive(Debug)]
pub(crate) struct Gather<S> {
    inner: S,
    /// Written to us and not yet to `inner`.
    kept: Vec<u8>,
}

impl<S> Gather<S> {
    pub(crate) fn new(inner: S) -> Self {
        Self { inner, kept: Vec::new() }
    }
}

impl<S: AsyncWrite + Unpin> Gather<S> {
    /// Writes what is kept and, in the same call, `bytes`. Returns how many of those.
    fn poll_through(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        while !self.kept.is_empty() {
            let slices = [IoSlice::new(&self.kept), IoSlice::new(bytes)];
            let written = ready!(Pin::new(&mut self.inner).poll_write_vectored(cx, &slices))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            let of_kept = written.min(self.kept.len());
            self.kept.drain(..of_kept);
            if written > of_kept {
                return Poll::Ready(Ok(written - of_kept));
            }
        }
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gather<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.kept.len() + bytes.len() > MAX_KEPT {
            return self.poll_through(cx, bytes);
        }
        self.kept.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_through(cx, &[]))?;
        if self.kept.capacity() > 64 {
            self.kept = Vec::new();
        }
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_through(cx, &[]))?;
        Pin::new(&mut self.inner).poll_close(cx)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Gather<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_read(cx, into)
    }
}

#[cfg(test)]
mod tests {
    use futures::AsyncWriteExt;
    use proptest::prelude::*;

    use super::*;

    /// Takes at most `.limit` bytes at a time and notes each piece.
    #[derive(Debug)]
    struct Sink {
        limit: usize,
        pieces: Vec<Vec<u8>>,
    }

    impl AsyncWrite for Sink {
        fn poll_write(
            self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
        }

        fn poll_write_vectored(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            slices: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            let mut piece: Vec<u8> = slices.iter().flat_map(|slice| slice.to_vec()).collect();
            piece.truncate(self.limit);
            self.pieces.push(piece.clone());
            Poll::Ready(Ok(piece.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    fn written(limit: usize, writes: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let mut gather = Gather::new(Sink { limit, pieces: Vec::new() });
        futures::executor::block_on(async {
            for bytes in writes {
                gather.write_all(bytes).await.unwrap();
            }
            gather.flush().await.unwrap();
        });
        assert!(gather.kept.is_empty());
        gather.inner.pieces
    }

    proptest! {
        #[test]
        fn every_byte_goes_out_once_and_in_order(
            writes in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..3000), 0..9),
            limit in 1usize..5000,
        ) {
            prop_assert_eq!(written(limit, &writes).concat(), writes.concat());
        }
    }

    #[test]
    fn a_header_goes_out_with_its_body() {
        let frame = [vec![1; 12], vec![2; 16 * 1024]];
        assert_eq!(written(usize::MAX, &frame), [frame.concat()]);
        let small = [vec![1; 12], vec![2; 12]];
        assert_eq!(written(usize::MAX, &small), [small.concat()]);
    }
}
