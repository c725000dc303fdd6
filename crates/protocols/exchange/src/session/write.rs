//! Frames onto a stream: many small ones in one write, large ones from where they are.

use std::io;

use bytes::BytesMut;
use futures::{AsyncWrite, AsyncWriteExt};
use peerage_wire::exchange::Frame;

use crate::bounds::{BATCH_BYTES, MAX_COPIED_BYTES};

#[derive(Debug)]
pub(crate) struct Writer<W> {
    out: W,
    batch: BytesMut,
}

impl<W: AsyncWrite + Unpin> Writer<W> {
    pub(crate) fn new(out: W) -> Self {
        Self { out, batch: BytesMut::new() }
    }

    /// Writes a frame or keeps it for the next write.
    pub(crate) async fn push(&mut self, frame: &Frame) -> io::Result<()> {
        match frame.body() {
            Some(body) if body.len() > MAX_COPIED_BYTES => {
                frame.encode_head(&mut self.batch);
                self.write().await?;
                self.out.write_all(body).await?;
            }
            _ => frame.encode(&mut self.batch),
        }
        if self.batch.len() >= BATCH_BYTES { self.write().await } else { Ok(()) }
    }

    pub(crate) async fn write(&mut self) -> io::Result<()> {
        self.out.write_all(&self.batch).await?;
        self.batch.clear();
        Ok(())
    }

    /// Writes all that was kept and sees it off. An idle stream keeps no large buffer.
    pub(crate) async fn flush(&mut self) -> io::Result<()> {
        self.write().await?;
        if self.batch.capacity() > BATCH_BYTES / 4 {
            self.batch = BytesMut::new();
        }
        self.out.flush().await
    }

    pub(crate) async fn close(mut self) -> io::Result<()> {
        self.write().await?;
        self.out.close().await
    }
}
