//! The dialogs: [`ask`] against [`hear`], and [`fetch`] against [`serve`].

mod fetch;
mod serve;
#[cfg(test)]
mod tests;

use std::io;

use futures::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use peerage_wire::files::{Answer, Frame, FrameError, LENGTH_BYTES, Refusal, Request, length};

pub(crate) use fetch::{Fetched, fetch};
pub(crate) use serve::{Serving, refusal, serve};

/// How a dialog fails.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SessionError {
    /// The stream broke.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The peer sent something that is no frame.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The peer broke the order of the protocol.
    #[error("the peer sent something out of turn")]
    OutOfTurn,
    /// The peer said no.
    #[error("refused: {0:?}")]
    Refused(Refusal),
    /// The peer has the content in another size than we were told.
    #[error("the content has another size than was said")]
    OtherSize,
    /// The peer sent bytes that do not verify.
    #[error("the peer sent bytes that do not verify")]
    Corrupt,
    /// A piece could not be written here.
    #[error(transparent)]
    Write(peerage_content::WriteError),
    /// A blocking worker panicked, or the node stops.
    #[error("the work was given up")]
    Abandoned,
}

impl SessionError {
    /// Whether no correct node does such a thing.
    pub(crate) fn is_misbehaviour(&self) -> bool {
        matches!(self, Self::Frame(_) | Self::OutOfTurn | Self::Corrupt)
    }
}

/// Writes a frame.
pub(crate) async fn say<S: AsyncWrite + Unpin>(
    stream: &mut S,
    frame: &impl Frame,
) -> Result<(), SessionError> {
    stream.write_all(&frame.encode()).await?;
    Ok(stream.flush().await?)
}

/// Reads a frame.
pub(crate) async fn hear<F: Frame>(
    stream: &mut (impl AsyncRead + Unpin),
) -> Result<F, SessionError> {
    let mut head = [0; LENGTH_BYTES];
    stream.read_exact(&mut head).await?;
    let mut body = vec![0; length(head)?];
    stream.read_exact(&mut body).await?;
    Ok(F::decode(&body)?)
}

/// Asks one question and returns its last answer; those on the way go to `on_hashing`.
pub(crate) async fn ask<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    question: Request,
    mut on_hashing: impl FnMut(u64, u64),
) -> Result<Answer, SessionError> {
    say(&mut stream, &question).await?;
    loop {
        match hear(&mut stream).await? {
            Answer::Hashing { bytes, total } => on_hashing(bytes, total),
            answer => {
                stream.close().await?;
                return Ok(answer);
            }
        }
    }
}
