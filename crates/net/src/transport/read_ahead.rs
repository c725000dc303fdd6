//! A read buffer under the security layer that is there only while it pays.
//!
//! Noise reads 8 KiB per system call; reading ahead 128 KiB doubles what a receiver takes. But a
//! hub with a thousand quiet connections must not hold 128 MiB, so at rest bytes go straight to the
//! reader. The buffer comes when a read fills what the reader has, and goes after a row of reads
//! that were small.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures::{AsyncRead, AsyncWrite};

/// For a reader of a few bytes at a time, as the negotiation of protocols is.
const SMALL: usize = 2 * 1024;
/// While it pays: 128 KiB for each connection that is receiving at full speed.
const LARGE: usize = 128 * 1024;
/// Reads of at most [`SMALL`] in a row after which the large buffer is given back. A bulk transfer
/// has some whenever it catches up with the sender; a connection at rest soon has that many.
const MAX_SMALL_READS: u8 = 16;

/// Reads ahead; writes go straight through.
#[derive(Debug)]
pub(crate) struct ReadAhead<S> {
    inner: S,
    /// Empty, [`SMALL`] or [`LARGE`].
    buffer: Box<[u8]>,
    /// Unread bytes are `buffer[start..end]`.
    start: usize,
    end: usize,
    small_reads: u8,
}

impl<S> ReadAhead<S> {
    pub(crate) fn new(inner: S) -> Self {
        Self { inner, buffer: Box::default(), start: 0, end: 0, small_reads: 0 }
    }

    /// Sizes the empty buffer for a reader of so many bytes.
    fn resize(&mut self, wanted: usize) {
        let size = match self.buffer.len() {
            LARGE if self.small_reads < MAX_SMALL_READS => LARGE,
            _ if wanted >= SMALL => 0,
            _ => SMALL,
        };
        if size != self.buffer.len() {
            self.allocate(size);
        }
    }

    fn allocate(&mut self, size: usize) {
        self.buffer = vec![0; size].into_boxed_slice();
        self.small_reads = 0;
    }
}

impl<S: AsyncRead + Unpin> ReadAhead<S> {
    /// Reads as much as there is room in `into`, and has the large buffer from then on if that was
    /// not enough.
    fn poll_through(&mut self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        let read = ready!(Pin::new(&mut self.inner).poll_read(cx, into))?;
        if read == into.len() && read < LARGE {
            self.allocate(LARGE);
        }
        Poll::Ready(Ok(read))
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        (self.start, self.end) = (0, 0);
        self.end = ready!(Pin::new(&mut self.inner).poll_read(cx, &mut self.buffer))?;
        self.small_reads = if self.end <= SMALL { self.small_reads.saturating_add(1) } else { 0 };
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
            this.resize(into.len());
            if this.buffer.is_empty() || into.len() >= LARGE {
                return this.poll_through(cx, into);
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

    /// Gives as much as is asked for, but at most `.0` at a time.
    struct Source(usize);

    impl AsyncRead for Source {
        fn poll_read(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            into: &mut [u8],
        ) -> Poll<io::Result<usize>> {
            Poll::Ready(Ok(into.len().min(self.0)))
        }
    }

    #[test]
    fn the_buffer_comes_with_the_flow_and_goes_when_it_ebbs() {
        let mut reader = ReadAhead::new(Source(100));
        let mut part = [0; SMALL];
        let mut read = |reader: &mut ReadAhead<Source>, size: usize| {
            futures::executor::block_on(reader.read(&mut part[..size])).unwrap()
        };
        read(&mut reader, 1);
        assert_eq!(reader.buffer.len(), SMALL, "not a system call for every byte");
        assert_eq!(read(&mut reader, SMALL), 99);
        read(&mut reader, SMALL);
        assert_eq!(reader.buffer.len(), 0, "nothing at rest");
        reader.inner.0 = usize::MAX;
        read(&mut reader, SMALL);
        assert_eq!(reader.buffer.len(), LARGE);
        read(&mut reader, SMALL);
        reader.inner.0 = 100;
        while reader.start < reader.end {
            read(&mut reader, SMALL);
        }
        for _ in 0..MAX_SMALL_READS {
            read(&mut reader, SMALL);
            assert_eq!(reader.buffer.len(), LARGE, "a pause does not cost the buffer");
        }
        read(&mut reader, SMALL);
        assert_eq!(reader.buffer.len(), 0);
    }
}
