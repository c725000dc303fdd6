//! Frames off a stream.

use std::io;

use bytes::BytesMut;
use futures::{AsyncRead, AsyncReadExt};
use peerage_wire::exchange::{Frame, decode};

use super::{Ended, Misbehaviour};
use crate::bounds::READ_BYTES;

#[derive(Debug)]
pub(crate) struct Reader<R> {
    from: R,
    /// What has arrived and is not decoded.
    buffer: BytesMut,
    /// Where the stream puts bytes: grows while reads fill it.
    landing: Vec<u8>,
}

impl<R: AsyncRead + Unpin> Reader<R> {
    pub(crate) fn new(from: R) -> Self {
        Self { from, buffer: BytesMut::new(), landing: vec![0; *READ_BYTES.start()] }
    }

    /// The next frame of those that have arrived.
    pub(crate) fn arrived(&mut self) -> Result<Option<Frame>, Misbehaviour> {
        Ok(decode(&mut self.buffer)?)
    }

    /// Waits for more bytes; false at the end, which yamux also shows for a stream that was reset.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub(crate) async fn more(&mut self) -> io::Result<bool> {
        let read = self.from.read(&mut self.landing).await?;
        if self.buffer.is_empty() {
            // What is left of a large frame's room would be held for as long as the stream is idle.
            self.buffer = BytesMut::new();
        }
        self.buffer.extend_from_slice(&self.landing[..read]);
        if read == self.landing.len() && read < *READ_BYTES.end() {
            self.landing.resize(read * 2, 0);
        }
        Ok(read > 0)
    }

    /// The next frame; `None` at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Frame>, Ended> {
        loop {
            if let Some(frame) = self.arrived()? {
                return Ok(Some(frame));
            }
            if !self.more().await? {
                return Ok(None);
            }
        }
    }
}
