//! `/peerage/<network>/link/1`: measures the path between two nodes.
//!
//! The requester writes [`Request`]s of 9 bytes, one after another, and closes when it is done:
//!
//! | byte | then | follows |
//! |---|---|---|
//! | `1` send | number of bytes | requester: that many bytes; responder: how many came, `u64` |
//! | `2` receive | number of bytes | responder: that many bytes |
//! | `3` echo | number of blocks | requester: so many blocks of 64 bytes, each sent back at once |
//!
//! Numbers are `u64`, big-endian, 0 to [`MAX_BYTES`].

use peerage_types::Network;

/// Length of a request in bytes.
pub const HEADER_LEN: usize = 9;
/// Most bytes, or blocks, that one request may name: 2³².
pub const MAX_BYTES: u64 = 1 << 32;

const SEND: u8 = 1;
const RECEIVE: u8 = 2;
const ECHO: u8 = 3;

/// The protocol id.
#[must_use]
pub fn protocol(network: &Network) -> String {
    format!("/peerage/{network}/link/1")
}

/// What the requester wants to measure next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Request {
    /// The requester sends.
    Send {
        /// How many bytes.
        bytes: u64,
    },
    /// The responder sends.
    Receive {
        /// How many bytes.
        bytes: u64,
    },
    /// The responder sends blocks of 64 bytes back as they come.
    Echo {
        /// How many blocks.
        blocks: u64,
    },
}

/// Nine bytes that are no request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// No such kind of measurement.
    #[error("there is no measurement of kind {0}")]
    Kind(u8),
    /// More than one request may name.
    #[error("a measurement of {0} is too large; the most is {MAX_BYTES}")]
    TooMany(u64),
}

impl Request {
    /// The request as it is sent.
    #[must_use]
    pub fn encode(self) -> [u8; HEADER_LEN] {
        let (kind, number) = match self {
            Self::Send { bytes } => (SEND, bytes),
            Self::Receive { bytes } => (RECEIVE, bytes),
            Self::Echo { blocks } => (ECHO, blocks),
        };
        let mut header = [kind; HEADER_LEN];
        header[1..].copy_from_slice(&number.to_be_bytes());
        header
    }

    /// Reads a request.
    ///
    /// # Errors
    /// [`HeaderError`]: reset the stream.
    pub fn decode(header: &[u8; HEADER_LEN]) -> Result<Self, HeaderError> {
        let [kind, number @ ..] = *header;
        let number = u64::from_be_bytes(number);
        if number > MAX_BYTES {
            return Err(HeaderError::TooMany(number));
        }
        match kind {
            SEND => Ok(Self::Send { bytes: number }),
            RECEIVE => Ok(Self::Receive { bytes: number }),
            ECHO => Ok(Self::Echo { blocks: number }),
            other => Err(HeaderError::Kind(other)),
        }
    }
}
