//! Frames on a stream, counted.

use bytes::Bytes;
use futures::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, io::BufReader};
use peerage_wire::kv::frames::{FRAME_TARGET, Frame, LENGTH_BYTES, length};

use super::{SessionError, bounds::Bounds};

/// Bytes that are read ahead, for heads and small frames; large ones are read into their place. A hub
/// has a session with each of its peers now and then, nearly all of them of a few hundred bytes.
const AHEAD: usize = 4 << 10;

/// One side of a stream. Only one of the two sides writes at a time.
pub(super) struct Line<S> {
    stream: BufReader<S>,
    /// Frames that are about to be written.
    out: Vec<u8>,
    /// Bytes sent.
    pub(super) sent: u64,
    /// Bytes received.
    pub(super) received: u64,
    most: u64,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Line<S> {
    pub(super) fn new(stream: S, bounds: Bounds) -> Self {
        let stream = BufReader::with_capacity(AHEAD, stream);
        Self { stream, out: Vec::new(), sent: 0, received: 0, most: bounds.received }
    }

    /// Writes a frame, or keeps it to be written with the next ones.
    pub(super) async fn say(&mut self, frame: &Frame) -> Result<(), SessionError> {
        let bytes = frame.encode();
        self.sent += bytes.len() as u64;
        self.out.extend_from_slice(&bytes);
        if self.out.len() >= FRAME_TARGET {
            self.stream.write_all(&self.out).await?;
            self.out.clear();
        }
        Ok(())
    }

    /// Writes what was kept.
    pub(super) async fn flush(&mut self) -> Result<(), SessionError> {
        self.stream.write_all(&self.out).await?;
        self.out.clear();
        Ok(self.stream.flush().await?)
    }

    /// Reads a frame.
    pub(super) async fn hear(&mut self) -> Result<Frame, SessionError> {
        let mut head = [0; LENGTH_BYTES];
        self.stream.read_exact(&mut head).await?;
        let mut body = vec![0; length(head)?];
        self.received += (LENGTH_BYTES + body.len()) as u64;
        if self.received > self.most {
            return Err(SessionError::TooMuch("bytes"));
        }
        self.stream.read_exact(&mut body).await?;
        Ok(Frame::decode(&Bytes::from(body))?)
    }

    /// Says goodbye.
    pub(super) async fn close(&mut self) -> Result<(), SessionError> {
        self.flush().await?;
        Ok(self.stream.close().await?)
    }
}
