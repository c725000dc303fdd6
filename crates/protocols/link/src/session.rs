//! The dialogs: `ping`, and the measuring side's `echo`, `send`, `receive` against `serve`.

use std::{
    io,
    time::{Duration, Instant},
};

use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use peerage_wire::link::{HEADER_LEN, HeaderError, Request};

/// Bytes of one echoed block and of one ping.
pub const BLOCK: usize = 64;
/// Bytes that are read or written at once: large enough that system calls do not count.
const CHUNK: usize = 256 * 1024;
/// Blocks one echo request may ask for: more tells nothing new about a median.
const MAX_ECHOES: u64 = 10_000;

/// How a measurement fails.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The connection broke or stalled.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The peer asks for something that does not exist or for too much.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// The peer did not send back what it was sent.
    #[error("the peer answered with other bytes than it was sent")]
    Mismatch,
}

/// One round trip of 32 random bytes with libp2p's ping protocol.
///
/// # Errors
/// [`SessionError::Mismatch`] when other bytes come back, else what the stream says.
pub async fn ping<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
) -> Result<Duration, SessionError> {
    let sent: [u8; 32] = rand::random();
    let mut back = [0; 32];
    let start = Instant::now();
    stream.write_all(&sent).await?;
    stream.flush().await?;
    stream.read_exact(&mut back).await?;
    let rtt = start.elapsed();
    // The answer is here: how the stream ends says nothing about it.
    let _ = stream.close().await;
    if back == sent { Ok(rtt) } else { Err(SessionError::Mismatch) }
}

/// The median round trip of `count` blocks of 64 bytes on an open substream.
///
/// # Errors
/// [`SessionError::Mismatch`] when other bytes come back, else what the stream says.
pub async fn echo<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    count: u64,
) -> Result<Duration, SessionError> {
    ask(stream, Request::Echo { blocks: count }).await?;
    let mut round_trips = Vec::new();
    let mut back = [0; BLOCK];
    for round in 0..count {
        let sent = [round.to_le_bytes()[0]; BLOCK];
        let start = Instant::now();
        stream.write_all(&sent).await?;
        stream.flush().await?;
        stream.read_exact(&mut back).await?;
        round_trips.push(start.elapsed());
        if back != sent {
            return Err(SessionError::Mismatch);
        }
    }
    round_trips.sort_unstable();
    Ok(round_trips.get(round_trips.len() / 2).copied().unwrap_or_default())
}

/// Sends `bytes` and returns the time until the peer confirmed that all have arrived.
///
/// # Errors
/// [`SessionError::Mismatch`] when the peer counted otherwise, else what the stream says.
pub async fn send<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    bytes: u64,
) -> Result<Duration, SessionError> {
    let start = Instant::now();
    ask(stream, Request::Send { bytes }).await?;
    pour(stream, bytes).await?;
    let mut counted = [0; 8];
    stream.read_exact(&mut counted).await?;
    if u64::from_be_bytes(counted) != bytes {
        return Err(SessionError::Mismatch);
    }
    Ok(start.elapsed())
}

/// Asks for `bytes` and returns the time until all have arrived.
///
/// # Errors
/// What the stream says.
pub async fn receive<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    bytes: u64,
) -> Result<Duration, SessionError> {
    let start = Instant::now();
    ask(stream, Request::Receive { bytes }).await?;
    drain(stream, bytes).await?;
    Ok(start.elapsed())
}

/// Answers requests until the peer closes the stream.
///
/// # Errors
/// [`SessionError::Header`] on a request that is malformed or asks for too much.
pub async fn serve<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) -> Result<(), SessionError> {
    let mut header = [0; HEADER_LEN];
    loop {
        match stream.read_exact(&mut header).await {
            Ok(()) => {}
            Err(end) if end.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            Err(broken) => return Err(broken.into()),
        }
        match Request::decode(&header)? {
            Request::Send { bytes } => {
                drain(&mut stream, bytes).await?;
                stream.write_all(&bytes.to_be_bytes()).await?;
                stream.flush().await?;
            }
            Request::Receive { bytes } => pour(&mut stream, bytes).await?,
            Request::Echo { blocks } => reflect(&mut stream, blocks.min(MAX_ECHOES)).await?,
        }
    }
}

async fn ask<S: AsyncWrite + Unpin>(stream: &mut S, request: Request) -> Result<(), SessionError> {
    stream.write_all(&request.encode()).await?;
    Ok(stream.flush().await?)
}

async fn pour<S: AsyncWrite + Unpin>(stream: &mut S, bytes: u64) -> Result<(), SessionError> {
    let chunk = vec![0; CHUNK];
    let mut left = bytes;
    while left > 0 {
        let now = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
        let written = stream.write(&chunk[..now]).await?;
        if written == 0 {
            return Err(io::Error::from(io::ErrorKind::WriteZero).into());
        }
        left -= written as u64;
    }
    Ok(stream.flush().await?)
}

async fn drain<S: AsyncRead + Unpin>(stream: &mut S, bytes: u64) -> Result<(), SessionError> {
    let mut chunk = vec![0; CHUNK];
    let mut left = bytes;
    while left > 0 {
        let now = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
        let read = stream.read(&mut chunk[..now]).await?;
        if read == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        left -= read as u64;
    }
    Ok(())
}

async fn reflect<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    blocks: u64,
) -> Result<(), SessionError> {
    let mut block = [0; BLOCK];
    for _ in 0..blocks {
        stream.read_exact(&mut block).await?;
        stream.write_all(&block).await?;
        stream.flush().await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use tokio_util::compat::TokioAsyncReadCompatExt;

    use super::*;

    #[tokio::test]
    async fn every_request_is_answered_on_one_stream_until_it_closes() {
        let (ours, theirs) = tokio::io::duplex(4096);
        let served = tokio::spawn(serve(theirs.compat()));
        let mut stream = ours.compat();
        echo(&mut stream, 20).await.unwrap();
        send(&mut stream, 1_000_000).await.unwrap();
        receive(&mut stream, 1_000_001).await.unwrap();
        stream.close().await.unwrap();
        drop(stream);
        served.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_malformed_request_ends_the_dialog_with_a_typed_error() {
        let (ours, theirs) = tokio::io::duplex(4096);
        let served = tokio::spawn(serve(theirs.compat()));
        let mut stream = ours.compat();
        stream.write_all(&[9; HEADER_LEN]).await.unwrap();
        assert!(matches!(served.await.unwrap(), Err(SessionError::Header(_))));
    }

    #[tokio::test]
    async fn a_peer_that_echoes_other_bytes_is_caught() {
        let (ours, theirs) = tokio::io::duplex(4096);
        let liar = tokio::spawn(async move {
            let mut theirs = theirs.compat();
            let mut block = [0; 32];
            theirs.read_exact(&mut block).await.unwrap();
            block[7] ^= 1;
            theirs.write_all(&block).await.unwrap();
            theirs
        });
        assert!(matches!(ping(ours.compat()).await, Err(SessionError::Mismatch)));
        liar.await.unwrap();
    }
}
