//! How a question to the facet `exchange` fails.

use peerage_types::{MessageType, PeerId};
use serde::{Deserialize, Serialize};

use crate::{Failure, LinkError};

/// How a question to this facet fails.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(tag = "code", rename_all = "snake_case")]
pub enum ExchangeError {
    /// The peer is not connected.
    #[error("{peer} is not connected; connect first with `peerage connect {peer}`")]
    NotConnected {
        /// Who.
        peer: PeerId,
    },
    /// The peer does not take exchange messages of this network.
    #[error("{peer} does not take exchange messages of this network")]
    Unsupported {
        /// Who.
        peer: PeerId,
    },
    /// Nobody listens for the type there.
    #[error("nobody at {peer} listens for {kind:?}")]
    NoListener {
        /// Who.
        peer: PeerId,
        /// The type.
        kind: MessageType,
    },
    /// Nobody answers requests of the type there.
    #[error("nobody at {peer} answers requests of type {kind:?}")]
    NoResponder {
        /// Who.
        peer: PeerId,
        /// The type.
        kind: MessageType,
    },
    /// The responder refused.
    #[error("{peer} refused: {reason}")]
    Refused {
        /// Who.
        peer: PeerId,
        /// Why, in its words.
        reason: String,
    },
    /// No answer before the deadline.
    #[error("{peer} did not answer within {deadline_ms} ms")]
    TimedOut {
        /// Who.
        peer: PeerId,
        /// How long it was given.
        deadline_ms: u64,
    },
    /// The connection broke before the outcome was known.
    #[error("the connection to {peer} broke before the outcome was known")]
    Broken {
        /// Who.
        peer: PeerId,
    },
    /// Too much is under way.
    #[error("{peer} is busy; send slower or ask again shortly")]
    Busy {
        /// Who.
        peer: PeerId,
    },
    /// More bytes than a body may have.
    #[error("the body has {bytes} bytes; the most is {max}: send a file instead")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// A subscription names no type, or more than it may.
    #[error("a subscription names 1 to {max} message types")]
    TooManyTypes {
        /// The limit.
        max: usize,
    },
    /// Another responder answers this type.
    #[error("{kind:?} has a responder already")]
    ResponderTaken {
        /// The type.
        kind: MessageType,
    },
    /// The request was answered already, its deadline passed or its sender is gone.
    #[error("request {request} waits no longer for an answer")]
    TooLate {
        /// The request.
        request: u64,
    },
    /// The number is out of range.
    #[error("{what} must be {range}")]
    OutOfRange {
        /// Which number.
        what: String,
        /// The range.
        range: String,
    },
    /// The body is not what it should be.
    #[error("the body cannot be read or written: {reason}")]
    Encoding {
        /// What is wrong.
        reason: String,
    },
    /// The node could not be asked.
    #[error(transparent)]
    #[serde(untagged)]
    Link(#[from] LinkError),
}

impl Failure for ExchangeError {
    fn is_retryable(&self) -> bool {
        match self {
            Self::Link(link) => link.is_retryable(),
            Self::NotConnected { .. } | Self::TimedOut { .. } | Self::Broken { .. } => true,
            Self::Busy { .. } | Self::NoListener { .. } | Self::NoResponder { .. } => true,
            Self::Unsupported { .. } | Self::Refused { .. } | Self::TooLarge { .. } => false,
            Self::TooManyTypes { .. } | Self::ResponderTaken { .. } | Self::TooLate { .. } => false,
            Self::OutOfRange { .. } | Self::Encoding { .. } => false,
        }
    }

    fn is_refusal(&self) -> bool {
        matches!(
            self,
            Self::Refused { .. }
                | Self::NoListener { .. }
                | Self::NoResponder { .. }
                | Self::Busy { .. }
        )
    }

    fn is_timeout(&self) -> bool {
        matches!(self, Self::TimedOut { .. })
    }
}
