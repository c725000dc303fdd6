//! The dialog: [`ask`] against [`answer`].

use std::io;

use bytes::Bytes;
use futures::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use peerage_types::{Network, PeerId};
use peerage_wire::introductions::{
    Frame, FrameError, Infohash, LENGTH_BYTES, RecordError, Signed, length,
};
use tokio::task::yield_now;

/// How a dialog fails.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SessionError {
    /// The stream broke.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The peer sent something that is no frame.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The peer sent a record that is not valid.
    #[error("a record is not valid: {0}")]
    Record(#[from] RecordError),
    /// The peer broke the order of the protocol.
    #[error("the peer sent something out of turn")]
    OutOfTurn,
    /// The peer sent more records than it was asked for.
    #[error("the peer sent more than it was asked for")]
    TooMuch,
    /// The peer sent a record of another one as its own.
    #[error("the peer says that it is another")]
    Another,
}

impl SessionError {
    /// Whether no correct node does such a thing.
    pub(crate) fn is_misbehaviour(&self) -> bool {
        !matches!(self, Self::Io(_))
    }
}

/// What a peer is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Question {
    /// Records at most.
    pub(crate) limit: u8,
    /// Only peers of this namespace.
    pub(crate) namespace: Option<Infohash>,
    /// What this node says of itself.
    pub(crate) own: Vec<Bytes>,
}

/// Asks a peer. Returns the records it gives, all with valid signatures.
pub(crate) async fn ask<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    question: Question,
    network: Network,
) -> Result<Vec<Signed>, SessionError> {
    let Question { limit, namespace, own } = question;
    say(&mut stream, &Frame::Ask { limit, namespace, own }).await?;
    let Frame::Answer(records) = hear(&mut stream).await? else {
        return Err(SessionError::OutOfTurn);
    };
    if records.len() > usize::from(limit) {
        return Err(SessionError::TooMuch);
    }
    let records = verify(&records, &network).await?;
    stream.close().await?;
    Ok(records)
}

/// Answers what [`ask`] asks. Returns what the peer says of itself; `answer` makes the records of the
/// answer from it, the limit and the namespace.
pub(crate) async fn answer<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    peer: PeerId,
    network: Network,
    answer: impl FnOnce(u8, Option<Infohash>) -> Vec<Bytes>,
) -> Result<Vec<Signed>, SessionError> {
    let Frame::Ask { limit, namespace, own } = hear(&mut stream).await? else {
        return Err(SessionError::OutOfTurn);
    };
    let own = verify(&own, &network).await?;
    if own.iter().any(|record| record.peer != peer) {
        return Err(SessionError::Another);
    }
    say(&mut stream, &Frame::Answer(answer(limit, namespace))).await?;
    stream.close().await?;
    Ok(own)
}

async fn verify(records: &[Bytes], network: &Network) -> Result<Vec<Signed>, SessionError> {
    let mut verified = Vec::with_capacity(records.len());
    for record in records {
        verified.push(Signed::decode(record, network)?);
        // Each takes as long as its signature.
        yield_now().await;
    }
    Ok(verified)
}

async fn say<S: AsyncWrite + Unpin>(stream: &mut S, frame: &Frame) -> Result<(), SessionError> {
    stream.write_all(&frame.encode()).await?;
    Ok(stream.flush().await?)
}

async fn hear<S: AsyncRead + Unpin>(stream: &mut S) -> Result<Frame, SessionError> {
    let mut head = [0; LENGTH_BYTES];
    stream.read_exact(&mut head).await?;
    let mut body = vec![0; length(head)?];
    stream.read_exact(&mut body).await?;
    Ok(Frame::decode(&Bytes::from(body))?)
}
