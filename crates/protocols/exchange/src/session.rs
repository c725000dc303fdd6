//! The dialogs: `initiate` writes messages and reads answers, `respond` reads messages and writes
//! answers.

mod awaited;
mod initiate;
mod read;
mod respond;
#[cfg(test)]
mod tests;
mod write;

use std::io;

use peerage_api::exchange::Encoding;
use peerage_wire::exchange::{Encoding as WireEncoding, FrameError};

pub(crate) use initiate::{Sending, initiate};
pub(crate) use respond::{Serving, respond};

/// What a peer did that no correct node does. Its stream was reset.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Misbehaviour {
    /// It sent bytes that are no frame.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// It sent a frame that only the other side of the stream may send.
    #[error("a frame of the wrong direction")]
    Direction,
    /// It answered what it was never asked.
    #[error("an answer to {id}, which was never asked")]
    Answer {
        /// The id in the answer.
        id: u64,
    },
}

/// Why a half of a stream went no further.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Ended {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Misbehaved(#[from] Misbehaviour),
}

impl Ended {
    /// A stream that broke is nobody's fault.
    fn outcome(self) -> Result<(), Misbehaviour> {
        match self {
            Self::Io(error) => {
                tracing::trace!(%error, "exchange stream broke");
                Ok(())
            }
            Self::Misbehaved(misbehaviour) => Err(misbehaviour),
        }
    }
}

pub(crate) fn encoding_to_wire(encoding: Encoding) -> WireEncoding {
    match encoding {
        Encoding::Bytes => WireEncoding::Bytes,
        Encoding::Json => WireEncoding::Json,
        Encoding::Cbor => WireEncoding::Cbor,
    }
}

fn encoding_from_wire(encoding: WireEncoding) -> Encoding {
    match encoding {
        WireEncoding::Bytes => Encoding::Bytes,
        WireEncoding::Json => Encoding::Json,
        WireEncoding::Cbor => Encoding::Cbor,
    }
}
