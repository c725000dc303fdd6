//! A read buffer under the security layer that is large only while it pays.
//!
//! Noise reads 8 KiB per system call; reading ahead 128 KiB doubles what a receiver takes. But a
//! hub with a thousand quiet connections must not hold 128 MiB, so the buffer starts small, grows
//! while reads fill it, and is given back as soon as the stream runs dry.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures::{AsyncRead, AsyncWrite};

/// While nothing much flows.
const SMALL: usize = 2 * 1024;
/// While it pays: 128 KiB for each connection that is receiving at full speed.
const LARGE: usize = 128 * 1024;

/// Reads ahead; writes go straight through.
#[derive(Debug)]
pub(crate) struct ReadAhead<S> {
    inner: S,
    buffer: Box<[u8]>,
    /// Unread bytes are `buffer[start..end]`.
    start: usize,
    end: usize,
}

impl<S> ReadAhead<S> {
    pub(crate) fn new(inner: S) -> Self {
        Self { inner, buffer: Box::default(), start: 0, end: 0 }
    }

    /// What to allocate for the next read, judged by how full the last one got.
    fn next_size(&self) -> usize {
        match self.buffer.len() {
            0 => SMALL,
            full if full == self.end => (full * 4).min(LARGE),
            len => len,
        }
    }
}

impl<S: AsyncRead + Unpin> ReadAhead<S> {
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let size = self.next_size();
        if size != self.buffer.len() {
            self.buffer = vec![0; size].into_boxed_slice();
        }
        (self.start, self.end) = (0, 0);
        let read = Pin::new(&mut self.inner).poll_read(cx, &mut self.buffer);
        if read.is_pending() {
            // Dry: the next bytes may be long in coming.
            self.buffer = Box::default();
        }
        self.end = ready!(read)?;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for ReadAhead<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if this.start == this.end {
            if into.len() >= LARGE {
                return Pin::new(&mut this.inner).poll_read(cx, into);
            }
            ready!(this.poll_fill(cx))?;
        }
        let taken = into.len().min(this.end - this.start);
        into[..taken].copy_from_slice(&this.buffer[this.start..this.start + taken]);
        this.start += taken;
        Poll::Ready(Ok(taken))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for ReadAhead<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, slices)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_close(cx)
    }
}

#[cfg(test)]
mod tests {
    use futures::{AsyncReadExt, io::Cursor};
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_byte_comes_out_once_and_in_order(len in 0usize..400_000, step in 1usize..70_000) {
            let bytes: Vec<u8> = (0..len).map(|n| n.to_le_bytes()[0]).collect();
            let mut reader = ReadAhead::new(Cursor::new(bytes.clone()));
            let mut out = Vec::new();
            let mut part = vec![0; step];
            loop {
                let read = futures::executor::block_on(reader.read(&mut part)).unwrap();
                if read == 0 { break }
                out.extend_from_slice(&part[..read]);
            }
            prop_assert_eq!(out, bytes);
        }
    }

    #[test]
    fn the_buffer_grows_with_the_flow_and_is_given_back_when_it_runs_dry() {
        struct Source(usize);
        impl AsyncRead for Source {
            fn poll_read(
                mut self: Pin<&mut Self>,
                _: &mut Context<'_>,
                into: &mut [u8],
            ) -> Poll<io::Result<usize>> {
                let now = into.len().min(self.0);
                self.0 -= now;
                if now == 0 { Poll::Pending } else { Poll::Ready(Ok(now)) }
            }
        }
        let mut reader = ReadAhead::new(Source(1 << 20));
        let mut part = [0; 8192];
        let mut largest = 0;
        let mut cx = Context::from_waker(futures::task::noop_waker_ref());
        while Pin::new(&mut reader).poll_read(&mut cx, &mut part).is_ready() {
            largest = largest.max(reader.buffer.len());
        }
        assert_eq!(largest, LARGE);
        assert_eq!(reader.buffer.len(), 0);
    }
}
